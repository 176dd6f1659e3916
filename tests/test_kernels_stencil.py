"""The stencil's kernel: its results and its machine code, without a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels_support import Script, needs_torch, needs_triton, scripts

pytestmark = [pytest.mark.slow, needs_triton]

TARGETS = ("sm_80", "sm_90", "sm_100")


@pytest.fixture(scope="module")
def stencil() -> Iterator[dict[str, Script]]:
    """The stencil's kernel, interpreted and compiled for each target."""
    script = "kernels_stencil_told.py"
    with scripts(interpreted=(script,), **{name: (script, name) for name in TARGETS}) as running:
        yield running


@needs_torch
def test_it_gives_what_plain_torch_gives_and_touches_nothing_else(
    stencil: dict[str, Script],
) -> None:
    found = stencil["interpreted"].told()
    assert len(found["cases"]) == 10
    assert all(all(case.values()) for case in found["cases"])
    assert len(found["refused"]) == 5


@pytest.mark.parametrize("target", TARGETS)
def test_it_reads_rows_16_bytes_at_a_time_and_spills_nothing(
    stencil: dict[str, Script], target: str
) -> None:
    for code in stencil[target].told().values():
        assert code["spilled"] == 0
        assert set(code["stores"]) == {16}
        # Five of the seven neighbours start where rows do; left and right are a value off.
        wide = code["loads"].count(16)
        assert wide / (wide + code["loads"].count(8) / 2) == pytest.approx(5 / 7)
