"""One run: judge, save, and find the claims that contradict each other."""

from pathlib import Path

import pytest

from gpubench import records
from gpubench.catalogue import Catalogue
from gpubench.contradictions import contradictions
from gpubench.errors import CannotMeasure, UnknownName
from gpubench.judgement import judge_all
from gpubench.run import Request, execute, planned
from tests.conftest import Load

H100 = """
subject: nvidia-h100-sxm5
quantity: {quantity}
claimed: {{value: {value}, qualifier: exact}}
"""


def test_claims_that_cannot_both_hold_are_found(load_claims: Load) -> None:
    file = load_claims(
        H100.format(quantity="interconnect_bandwidth", value="900 GB/s"),
        H100.format(quantity="interconnect_bandwidth", value="600 GB/s"),
        H100.format(quantity="memory_bandwidth", value="600 GB/s"),
    )
    (clash,) = contradictions(file.claims)
    assert {clash.left.id, clash.right.id} == {"claim-1", "claim-2"}
    assert "do not overlap" in clash.why


def test_claims_under_different_stated_conditions_do_not_contradict(load_claims: Load) -> None:
    both, one = (
        H100.format(quantity="interconnect_bandwidth", value=f"{value} GB/s")
        + f"conditions: {{direction: {direction}}}\n"
        for value, direction in ((900, "both"), (450, "one-way"))
    )
    assert contradictions(load_claims(both, one).claims) == ()


def test_only_the_claims_asked_for_are_judged(load_claims: Load, shipped: Catalogue) -> None:
    body = H100.format(quantity="memory_bandwidth", value="3.35 TB/s")
    file = load_claims(body, body)
    assert [v.claim for v in judge_all(file, shipped, ["claim-2"]).verdicts] == ["claim-2"]
    with pytest.raises(UnknownName, match="did you mean claim-1"):
        judge_all(file, shipped, ["clam-1"])


def test_a_device_that_is_not_there_is_no_silent_choice(tmp_path: Path, shipped: Catalogue) -> None:
    assert planned(Request(tmp_path / "claims.yaml", tmp_path, "none"), shipped) == ((), "")
    with pytest.raises(CannotMeasure, match=r"--device (none|cpu)"):
        planned(Request(tmp_path / "claims.yaml", tmp_path, "cuda:0"), shipped)


def test_a_run_leaves_a_record_of_its_verdicts(
    load_claims: Load, shipped: Catalogue, tmp_path: Path
) -> None:
    file = load_claims(H100.format(quantity="memory_bandwidth", value="3.35 TB/s"))
    result = execute(Request(file.path, tmp_path / "results", "none"), shipped)
    saved = records.read(result.record_path)
    assert saved.claims_sha256 == file.sha256
    assert saved.verdicts["claim-1"].startswith("supported (")
    assert saved.measurements == ()


OPEN = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {{value: {value}, qualifier: exact}}
{more}
"""


def test_claims_contradict_only_if_a_condition_is_open_to_both(load_claims: Load) -> None:
    large = OPEN.format(value="1.5 x", more="conditions: {model: llama-2-70b}")
    any_model = OPEN.format(value="2 x", more="sweep: {model: [llama-2-7b, llama-2-70b]}")
    small = OPEN.format(value="2 x", more="sweep: {model: [llama-2-7b]}")
    assert len(contradictions(load_claims(large, any_model).claims)) == 1
    assert contradictions(load_claims(large, small).claims) == ()


def test_a_claim_that_leaves_the_quantity_open_contradicts_none_that_does_not(
    load_claims: Load,
) -> None:
    body = "subject: nvidia-h20-96gb\nbaseline: nvidia-h100-sxm5\nquantity: {quantity}\n"
    body += "claimed: {{value: {value}, qualifier: exact}}\n"
    one = body.format(quantity="peak_fp16", value="0.1 x")
    other = body.format(quantity="peak_fp16", value="0.3 x")
    several = body.format(quantity="[peak_fp16, peak_fp8]", value="0.3 x")
    assert len(contradictions(load_claims(one, other).claims)) == 1
    assert contradictions(load_claims(one, several).claims) == ()


def test_what_is_spelled_or_rounded_in_two_ways_is_no_contradiction(load_claims: Load) -> None:
    words = "subject: nvidia-h100-sxm5\nquantity: process_node\n"
    words += "claimed: {{value: {}, qualifier: exact}}\n"
    assert contradictions(load_claims(words.format("4N"), words.format("TSMC 4N")).claims) == ()
    assert contradictions(load_claims(words.format("4N"), words.format("TSMC 7nm")).claims)
    ratio = "subject: nvidia-h200-sxm\nbaseline: nvidia-h100-sxm5\nquantity: peak_fp16\n"
    ratio += "claimed: {{value: {}, qualifier: exact}}\n"
    assert contradictions(load_claims(ratio.format('"1"'), ratio.format("0.99 x")).claims) == ()
