"""Launches of the kernels as the benchmarks make them, through Triton's own launcher and driver.

Below these stands a stand-in for NVIDIA's driver, `cuda_stub.c`, that refuses what the real one
does. Everything is compiled, loaded and launched as on a card; what runs there is not seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gpubench import catalogue
from gpubench.benchmarks._streams import PATTERNS
from tests.kernels_support import needs_torch, scripts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.launches,
    needs_torch,
]

SCRIPT = "kernels_launched.py"
UNITS, STREAM = {"h200": 132, "a100": 108, "b200": 148, "l40s": 142}, 0x5EED
SHARED = {"h200": 227 * 1024, "a100": 163 * 1024, "b200": 227 * 1024, "l40s": 99 * 1024}
GIB = 2**30

Stories = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told() -> dict[str, Stories]:
    """What the kernels launched, by the card."""
    parts = {  # two of the H200, which has most to tell
        "h200": ("h200", "streams", "simulations", "places", "refusals", "tuned"),
        "and": ("h200", "dense", "models"),
        "a100": ("a100", "dense"),
        "b200": ("b200", "dense"),
        "l40s": ("l40s", "models"),
    }
    with scripts(**{name: (SCRIPT, *arguments) for name, arguments in parts.items()}) as running:
        found = {name: script.told() for name, script in running.items()}
    found["h200"] |= found.pop("and")
    return found


@pytest.fixture(scope="module")
def h200(told: dict[str, Stories]) -> Stories:
    return told["h200"]


def cases(told: dict[str, Stories]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(card, name, story) of each story of a case."""
    for card, stories in told.items():
        yield from ((card, name, story) for name, story in stories.items() if "call" in story)


def test_every_launch_is_taken_by_the_driver(told: dict[str, Stories]) -> None:
    seen = 0
    for card, name, story in cases(told):
        for launch in (*story["call"], *story["tried"]):
            seen += 1
            assert launch["refused"] == 0, (card, name, launch)
            assert launch["spilled"] == 0, (card, name, launch)
            assert launch["shared"] <= SHARED[card], (card, name, launch)
            assert (launch["gpu"], launch["stream"]) == (0, STREAM), (card, name, launch)
    assert seen > 500


def test_nothing_is_compiled_or_loaded_where_time_is_taken(told: dict[str, Stories]) -> None:
    assert {f"{card} {name}": late for card, name, s in cases(told) if (late := s["late"])} == {}


def test_other_data_needs_no_other_code(told: dict[str, Stories]) -> None:
    # Other addresses, and other sizes: of arrays any, of matrices multiples of 16.
    assert {f"{card} {name}": anew for card, name, s in cases(told) if (anew := s["anew"])} == {}


@pytest.mark.parametrize("card", ["h200", "a100", "b200"])
def test_every_configuration_of_a_search_runs(told: dict[str, Stories], card: str) -> None:
    assert {name: s["failed"] for _, name, s in cases({card: told[card]}) if s["failed"]} == {}


def test_where_shared_memory_is_smaller_some_configurations_are_told_to_ask_for_too_much(
    told: dict[str, Stories],
) -> None:
    story = told["l40s"]["model"]
    assert story["failed"]
    for why in story["failed"]:
        assert why.startswith("the kernel asks for more than this device has"), why
        assert f"Hardware limit: {SHARED['l40s']}" in why
    assert {launch["launched"] for launch in story["call"]} == {*LAYER, *REST}


# --------------------------------------------------------------------------- streams


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_stream_is_one_launch_of_persistent_programs(h200: Stories, pattern: str) -> None:
    from gpubench.kernels import stream

    story = h200[f"stream {pattern}"]
    (launch,) = story["call"]
    tried = {(one["grid"][0], one["threads"]) for one in story["tried"]}
    wanted = {(config.programs(UNITS["h200"]), 32 * config.num_warps) for config in stream.CONFIGS}
    assert tried == wanted
    assert launch["grid"][1:] == [1, 1]
    # Partial sums are an array more; what a pattern does not use is another's address again.
    sums = pattern in ("read", "dot")
    assert len(set(addresses(launch))) == PATTERNS[pattern][0] + sums


def test_elements_are_counted_in_64_bits_and_scalars_are_doubles(h200: Stories) -> None:
    *_, s, n = values(h200["stream triad"]["call"][0])
    assert (len(s), len(n), int(n, 16)) == (16, 16, GIB)
    assert float.fromhex("0x1.999999999999ap-2") == 0.4
    assert s == "3fd999999999999a"


def test_steps_and_factors_are_no_constants(h200: Stories) -> None:
    (launch,) = h200["steps"]["call"]
    *_, n, rows = values(launch)
    assert (int(n, 16), int(rows, 16)) == (GIB, 1)
    assert launch["grid"] == [6 * UNITS["h200"], 1, 1]


def test_a_stencil_has_programs_for_every_plane(h200: Stories) -> None:
    from gpubench.kernels import stencil

    side = h200["hpc sizes"]["side"]
    wanted = [
        [-(-side // config.block) * -(-side // config.rows), side, 1] for config in stencil.CONFIGS
    ]
    tried = [launch["grid"] for launch in h200["stencil"]["tried"]]
    assert [grid for place, grid in enumerate(tried) if grid not in tried[:place]] == [
        grid for place, grid in enumerate(wanted) if grid not in wanted[:place]
    ]
    assert [launch["launched"] for launch in h200["hpc triad"]["call"]] == ["_map"]


# --------------------------------------------------------------------------- products


@pytest.mark.parametrize(
    ("card", "name"),
    [
        *(("h200", name) for name in ("fp16", "fp8", "int8", "tf32")),
        ("b200", "fp16"),
        ("a100", "fp16"),
    ],
)
def test_a_product_is_one_launch_with_a_program_for_each_multiprocessor_or_tile(
    told: dict[str, Stories], card: str, name: str
) -> None:
    from gpubench.benchmarks._matrices import PRECISIONS
    from gpubench.kernels import gemm

    capability = {"h200": "9.0", "b200": "10.0", "a100": "8.0"}[card]
    story = told[card][name]
    m, n, k = story["shape"]
    configs = gemm.configs(capability, PRECISIONS[name].out)
    wanted = Counter[tuple[str, int]]()
    for config in configs:
        tiles = config.tiles(m, n)
        kernel = "_persistent" if config.descriptors else "_one_tile"
        wanted[kernel, min(tiles, UNITS[card]) if config.descriptors else tiles] += 1
    tried = {(one["launched"], one["grid"][0]) for one in story["tried"]}
    assert tried == set(wanted)
    (launch,) = story["call"]
    assert [int(size, 16) for size in values(launch)[3:6]] == [m, n, k]
    # On Hopper one group of warps loads, and two multiply where four warps were asked for.
    loading = 4 if configs[0].specialize and card == "h200" else 0
    if card != "b200":
        warps = configs[0].num_warps * (2 if loading else 1) + loading
        assert launch["threads"] == 32 * warps


def test_descriptors_are_given_memory_on_the_current_gpu(h200: Stories) -> None:
    for name in ("fp16", "fp8"):
        *_, scratch, _ = h200[name]["call"][0]["values"]
        assert int(scratch, 16) >> 44 == 1
    second, _ = h200["second GPU"]
    assert int(second["values"][-2], 16) >> 44 == 2


def test_on_a_second_gpu_kernels_go_there_and_nowhere_else(h200: Stories) -> None:
    for launch in h200["second GPU"]:
        assert (launch["gpu"], launch["stream"], launch["refused"]) == (1, STREAM + 1, 0)
        assert {address >> 44 for address in addresses(launch)} == {2}
    assert "is not on the current GPU" in h200["first GPU"]


def test_what_the_tuning_script_compiles_beforehand_is_what_it_times(h200: Stories) -> None:
    assert h200["tuned"] == {
        "beforehand": ["_persistent"],
        "launched beforehand": [],
        "then": [],
        "launched": 1,
    }


# --------------------------------------------------------------------------- models

LAYER = ("_norm", "_skinny", "_rope", "_split", "_combine", "_skinny", "_norm", "_skinny")
REST = ("_rows", "_skinny")


@pytest.mark.parametrize(
    ("card", "name", "batch", "eight"),
    [("h200", "llama-2-70b", 8, True), ("l40s", "llama-3.1-8b", 1, False)],
)
def test_a_step_is_a_dozen_launches_a_layer(
    told: dict[str, Stories], card: str, name: str, batch: int, eight: bool
) -> None:
    from gpubench.kernels import attention

    model = catalogue.load().model(name)
    launches = told[card]["model"]["call"]
    # In 8 bits what attention gives is quantised by itself.
    layer = [*LAYER[:5], *(["_rows"] if eight else []), *LAYER[5:], *REST]
    assert [one["launched"] for one in launches] == [*layer * 2, "_norm", "_skinny"]
    grids = {one["launched"]: one["grid"] for one in launches}
    splits = attention.DEFAULT.splits(batch, model.kv_heads, 2048 + 64, UNITS[card])
    assert grids["_norm"] == [batch, 1, 1]
    assert grids["_split"] == [batch * model.kv_heads, splits, 1]
    assert grids["_combine"] == [batch * model.heads, 1, 1]
    assert grids["_rope"][0] == batch
    assert launches[-1]["grid"] == [-(-model.vocabulary // 32), 1, 1]


# --------------------------------------------------------------------------- refusals


def test_a_configuration_too_large_for_the_card_leaves_the_others(h200: Stories) -> None:
    (why,) = h200["deep"]["failed"]
    assert "shared memory, Required: 36" in why
    assert f"Hardware limit: {SHARED['h200']}" in why
    assert h200["deep"]["best"]
    # Triton keeps the error, and raises it again.
    assert "shared memory, Required: 36" in str(h200["deep again"])


def test_a_launch_that_the_driver_refuses_is_told(h200: Stories) -> None:
    assert "the device refused a launch" in h200["tall"]["said"]
    assert [launch["refused"] for launch in h200["tall"]["launches"]] == [1]


def test_launches_that_never_happen_would_be_seen(h200: Stories) -> None:
    # Triton's launcher counts programs in 32 bits, and 2 ** 32 of them are none: it says nothing.
    assert h200["vast"] == {"said": "", "launches": []}


def values(launch: dict[str, Any]) -> list[str]:
    """What a kernel is given, in hexadecimal digits, without the memory that Triton adds."""
    return list(launch["values"][:-2])


def addresses(launch: dict[str, Any]) -> list[int]:
    """Those arguments that are addresses."""
    each = [int(value, 16) for value in values(launch) if len(value) == 16]
    return [value for value in each if value >> 44 in (1, 2)]
