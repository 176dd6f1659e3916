"""The table of inference results as evidence: of one part, and of one over another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench.catalogue import Catalogue, InferenceRow, PublishedFinding, served
from gpubench.quantities import CONDITIONS, QUANTITIES

H200, H100 = "nvidia-h200-sxm", "nvidia-h100-sxm5"


def a_row(
    shipped: Catalogue, accelerator: str, source: str = "a-source", **more: object
) -> InferenceRow:
    """A throughput of a thousand tokens a second, as `more` would have it."""
    plain = next(row for row in shipped.inference_rows if row.metric == "output_tok_s")
    plain = replace(plain, accelerator=accelerator, source_id=source, version="1", notes="")
    plain = replace(plain, value=1000.0, suspect=False, per_gpu=False, framework_version="")
    return replace(plain, **more)  # type: ignore[arg-type]


def pair(*rows: InferenceRow) -> list[PublishedFinding]:
    return list(served.of_pair(rows, H200, H100))


def test_every_finding_is_told_under_the_conditions_that_claims_use(shipped: Catalogue) -> None:
    found = [*shipped.served(H200, None), *shipped.served(H200, H100)]
    assert len(found) > 500
    for one in found:
        assert 0 < one.low <= one.mid <= one.high
        assert set(one.conditions) <= set(CONDITIONS)
        assert one.unit == ("1" if one.baseline else QUANTITIES[one.quantity].unit)
        assert "https://" in one.source


def test_a_time_in_milliseconds_is_one_in_seconds(shipped: Catalogue) -> None:
    row = a_row(shipped, H100, metric="ttft_ms", value=250.0)
    (found,) = served.of_part([row], H100)
    assert (found.quantity, found.mid, found.unit) == ("time_to_first_token", 0.25, "s")


def test_a_throughput_given_a_device_is_that_of_the_system(shipped: Catalogue) -> None:
    (found,) = served.of_part([a_row(shipped, H100, gpus=8, per_gpu=True)], H100)
    assert found.mid == 8000.0


def test_rows_of_different_releases_or_splits_are_not_compared(shipped: Catalogue) -> None:
    mine, theirs = a_row(shipped, H200, value=1500.0), a_row(shipped, H100)
    (found,) = pair(mine, theirs)
    assert (found.low, found.mid, found.high) == pytest.approx((1.5, 1.5, 1.5))
    for change in ({"version": "2"}, {"pp": 2}, {"tp": 8}, {"precision": "int4"}, {"gpus": 4}):
        assert pair(replace(mine, **change), theirs) == []  # type: ignore[arg-type]


def test_what_several_rows_say_is_heard_only_of_mlperf(shipped: Catalogue) -> None:
    for source, heard in (("a-source", 0), ("mlperf-v4.1", 1)):
        mine = [a_row(shipped, H200, source, value=v) for v in (1500.0, 1600.0, 1900.0)]
        theirs = [a_row(shipped, H100, source, value=v) for v in (900.0, 1000.0)]
        assert len(pair(*mine, *theirs)) == heard
    (found,) = pair(*mine, *theirs)
    assert (found.low, found.mid, found.high) == pytest.approx((1.5, 1600 / 950, 1900 / 900))
    assert "1500 to 1900 of 3 submissions against 900 to 1000 of 2 submissions" in found.how
    (alone,) = served.of_part(mine, H200)
    assert (alone.low, alone.mid, alone.high) == (1500.0, 1600.0, 1900.0)


def test_answers_of_a_data_set_may_differ_in_length(shipped: Catalogue) -> None:
    mine = a_row(shipped, H200, "mlperf-v4.1", input_tokens=None, output_tokens=292.7)
    theirs = a_row(shipped, H100, "mlperf-v4.1", input_tokens=None, output_tokens=290.1)
    assert len(pair(mine, theirs)) == 1
    assert pair(replace(mine, source_id="a"), replace(theirs, source_id="a")) == []


def test_suspect_and_power_capped_rows_are_left_out(shipped: Catalogue) -> None:
    theirs = a_row(shipped, H100)
    for bad in ({"suspect": True}, {"notes": "power-capped at 500 W"}):
        assert pair(a_row(shipped, H200, **bad), theirs) == []


def test_other_releases_beside_each_other_are_named(shipped: Catalogue) -> None:
    mine = a_row(shipped, H200, framework_version="10.2")
    (found,) = pair(mine, a_row(shipped, H100, framework_version="9.3"))
    assert found.how.endswith("10.2 against 9.3")


def test_submissions_of_other_software_are_told_apart(shipped: Catalogue) -> None:
    def of(accelerator: str, engine: str, value: float) -> InferenceRow:
        return a_row(shipped, accelerator, "mlperf-v4.1", framework=engine, value=value)

    ours = [of(H200, "vLLM", 900.0), of(H200, "TensorRT-LLM", 3700.0)]
    assert [one.mid for one in served.of_part(ours, H200)] == [900.0, 3700.0]
    theirs = of(H100, "TensorRT-LLM", 2000.0)
    # The same software where both have it, else whatever there is.
    assert [one.mid for one in pair(*ours, theirs)] == [0.45, 1.85]
    assert [one.mid for one in pair(*ours, theirs, of(H100, "vLLM", 1000.0))] == [0.9, 1.85]


def test_decoding_on_a_part_of_a_system_is_no_serving(shipped: Catalogue) -> None:
    for source in ("infersim-actuals", "deepseek-open-infra"):
        assert any(row.source_id == source for row in shipped.inference_rows)
        assert pair(a_row(shipped, H200, source), a_row(shipped, H100, source)) == []
