"""Verdicts follow from intervals: change a figure, a claim or a tolerance, and they move."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpubench.judging import tolerances
from gpubench.judging.tolerances import accepts
from gpubench.judging.verdict import judge
from gpubench.model import Claim, Claimed, Evidence, Interval, Kind
from gpubench.units import parse_printed


def claimed(text: str, qualifier: str = "exact", high: str = "") -> Claimed:
    return Claimed(qualifier, parse_printed(text), parse_printed(high or text))


def claim(
    text: str,
    qualifier: str = "exact",
    high: str = "",
    quantity: str = "memory_bandwidth",
    **more: Any,
) -> Claim:
    return Claim(
        id="a-claim",
        category="datasheet-spec",
        statement="A part has a figure.",
        citations=(),
        quantities=(quantity,),
        claimed=claimed(text, qualifier, high),
        **more,
    )


def found(
    low: float, high: float | None = None, kind: Kind = "catalogue", **where: Any
) -> Evidence:
    high = low if high is None else high
    return Evidence(kind, where, "somebody", low=low, mid=(low + high) / 2, high=high)


def outcome(the_claim: Claim, *evidence: Evidence) -> str:
    return judge(the_claim, evidence).outcome


def test_evidence_inside_outside_and_across_the_accepted_interval() -> None:
    it = claim("4.8 TB/s", "about")
    assert outcome(it, found(4.6e12)) == "supported"
    assert outcome(it, found(3.35e12)) == "refuted"
    assert outcome(it, found(3.9e12, 4.6e12)) == "inconclusive"
    assert outcome(it) == "untested"


@pytest.mark.parametrize(
    ("text", "qualifier", "low", "high"),
    [
        ("4.8 TB/s", "exact", 4.75e12, 4.85e12),  # half of the last digit
        ("1979 TFLOPS", "exact", 1979e12 * 0.995, 1979e12 * 1.005),  # never sharper than 0.5 %
        ("2 x", "exact", 1.96, 2.04),  # never vaguer than 2 %
        ("2 x", "about", 1.7, 2.3),
        ("2 x", "nearly", 1.7, 2.04),
        ("41 % less", "exact", 0.585, 0.595),
        ("60 % more", "about", 1.51, 1.69),
    ],
)
def test_what_a_qualifier_accepts(text: str, qualifier: str, low: float, high: float) -> None:
    interval = accepts(claimed(text, qualifier))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_open_qualifiers_have_one_bound() -> None:
    at_least = accepts(claimed("30 % less", "at-least"))
    assert at_least is not None
    assert at_least.low == -float("inf")
    assert at_least.high == pytest.approx(0.7, abs=0.006)
    more = accepts(claimed("4800 TPP", "more-than"))
    assert more is not None
    assert more.low > 4800
    assert more.high == float("inf")


def test_a_count_is_not_rounded_and_a_ratio_is() -> None:
    assert accepts(claimed("2")) == Interval(2, 2)
    at_least = accepts(claimed("1", "at-least"))
    assert at_least == Interval(1, float("inf"))
    assert accepts(claimed("2"), ratio=True) == Interval(1.96, 2.04)
    assert "needs at least 1" in judge(claim("1", "at-least", quantity="count"), [found(7)]).reason


def test_a_rounded_data_sheet_is_not_more_than_its_twin() -> None:
    it = claim("1 x", "more-than", quantity="peak_fp16", subjects=("a",), baselines=("b",))
    assert outcome(it, found(989.5 / 989.4)) == "refuted"
    assert outcome(it, found(1.43)) == "supported"


def test_the_verdict_follows_the_figure_the_claim_and_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert outcome(claim("2 x", "nearly", quantity="share"), found(1.76)) == "supported"
    assert outcome(claim("2 x", "nearly", quantity="share"), found(1.43)) == "refuted"
    assert outcome(claim("1.5 x", "nearly", quantity="share"), found(1.43)) == "supported"
    tight = {**tolerances.TOLERANCES, "nearly": tolerances.Tolerance(below=0.05, above=0.02)}
    monkeypatch.setattr(tolerances, "TOLERANCES", tight)
    assert outcome(claim("2 x", "nearly", quantity="share"), found(1.76)) == "refuted"


def test_a_claim_that_holds_here_and_fails_there_is_conditional_and_says_where() -> None:
    it = claim("1.9 x", "about", quantity="share", sweep={"batch": (8, 32, 64)})
    said = judge(it, [found(1.1, batch=8), found(1.8, batch=32), found(1.9, batch=64)])
    assert said.outcome == "conditional"
    assert "2 of 3 conditions (67 %)" in said.reason
    assert "batch is 32 or more" in said.reason


def test_the_strongest_kind_decides_where_it_reaches() -> None:
    it = claim("2 x", "about", quantity="share")
    said = judge(it, [found(1.43, kind="arithmetic"), found(2.0, kind="catalogue")])
    assert (said.outcome, said.basis) == ("refuted", "arithmetic")
    assert said.flags == ("catalogue evidence supports it, arithmetic evidence refutes it",)


def test_a_weaker_kind_decides_where_the_stronger_does_not_reach() -> None:
    it = claim("1979 TFLOPS", quantity="peak_fp16", sweep={"sparsity": ("dense", "sparse")})
    dense = found(758e12, 760e12, "published", sparsity="dense", rate="sustained")
    sheet = [found(989.4e12, sparsity="dense"), found(1979e12, sparsity="sparse")]
    said = judge(it, [dense, *sheet])
    assert (said.outcome, said.basis) == ("conditional", "catalogue")
    assert "sparsity is sparse" in said.reason


def test_a_peak_is_held_against_what_is_achievable_of_it() -> None:
    it = claim("4.8 TB/s", conditions={"rate": "peak"})
    good = found(4.48e12, 4.57e12, "published", rate="sustained", kernel="dot")
    slow = found(3.1e12, kind="published", rate="sustained", kernel="copy")
    assert outcome(it, good, slow) == "supported"
    assert outcome(it, slow) == "refuted"


def test_a_sustained_rate_confirms_a_data_sheet_and_does_not_overrule_it() -> None:
    good = found(4.5e12, kind="published", rate="sustained")
    said = judge(claim("4.8 TB/s"), [good, found(4.8e12)])
    assert (said.outcome, said.basis) == ("supported", "published")
    said = judge(claim("5.2 TB/s"), [good, found(4.8e12)])
    assert (said.outcome, said.basis) == ("refuted", "catalogue")


def test_a_rate_above_the_ceiling_is_no_evidence() -> None:
    it = claim("4.8 TB/s", conditions={"rate": "peak"})
    said = judge(it, [found(7.0e12, kind="measured", rate="sustained")])
    assert said.relations == ("implausible",)
    assert said.outcome == "untested"


def test_up_to_needs_one_condition_that_reaches_it_and_none_beyond() -> None:
    it = claim("1.9 x", "up-to", quantity="share", sweep={"batch": (8, 64)})
    assert outcome(it, found(1.1, batch=8), found(1.9, batch=64)) == "supported"
    assert outcome(it, found(1.1, batch=8), found(1.2, batch=64)) == "refuted"
    assert outcome(it, found(1.9, batch=8), found(3.0, batch=64)) == "conditional"


def test_words_and_dates_are_compared_as_such() -> None:
    kind = Claim("c", "datasheet-spec", "s", (), ("memory_type",), Claimed("exact", text="HBM3e"))
    good = judge(kind, [Evidence("catalogue", {}, "x", text="HBM3E")] * 2)
    assert (good.outcome, good.reason) == ("supported", "Found HBM3E, as claimed: HBM3e.")
    assert judge(kind, [Evidence("catalogue", {}, "x", text="HBM3")]).outcome == "refuted"
    date = Claim(
        "c", "not-performance", "s", (), ("announcement_date",), Claimed("exact", text="2023-11")
    )
    assert judge(date, [Evidence("catalogue", {}, "x", text="2023-11-13")]).outcome == "supported"
    assert judge(date, [Evidence("catalogue", {}, "x", text="2024-Q2")]).outcome == "refuted"
    assert judge(date, [Evidence("catalogue", {}, "x", text="2023")]).outcome == "inconclusive"


def test_missing_evidence_is_untested_with_its_reason() -> None:
    said = judge(claim("4.8 TB/s"), [Evidence("catalogue", {}, "", missing="no published figure")])
    assert said.outcome == "untested"
    assert "no published figure" in said.reason


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.sampled_from(sorted(tolerances.TOLERANCES)))
def test_one_piece_of_evidence_is_inside_exactly_when_the_interval_says_so(
    value: float, printed: float, qualifier: str
) -> None:
    text = f"{printed:.3f} x"
    interval = accepts(claimed(text, qualifier))
    assert interval is not None
    assume(all(abs(value - end) > 1e-6 for end in (interval.low, interval.high)))
    said = outcome(claim(text, qualifier, quantity="share"), found(value))
    assert said == ("supported" if interval.low <= value <= interval.high else "refuted")


def test_up_to_is_open_where_the_evidence_may_go_beyond_it() -> None:
    it = claim("1.9 x", "up-to", quantity="share", sweep={"batch": (8, 64)})
    assert outcome(it, found(1.9, batch=8), found(1.2, 1.7, batch=64)) == "supported"
    said = judge(it, [found(1.9, batch=8), found(1.2, 3.0, batch=64)])
    assert said.outcome == "conditional"
    assert "1 undecided" in said.reason


def test_a_rate_above_the_claimed_peak_refutes_it_where_a_data_sheet_lists_more() -> None:
    fast = found(4.5e12, kind="measured", rate="sustained")
    said = judge(claim("3.35 TB/s"), [fast, found(4.8e12)])
    assert said.relations == ("above", "above")
    assert (said.outcome, said.basis) == ("refuted", "measured")
    assert judge(claim("3.35 TB/s"), [fast, found(3.35e12)]).relations[0] == "implausible"


def test_one_alternative_of_an_input_does_not_silence_another() -> None:
    it = claim("2 x", "about", quantity="share")
    printed = found(3.0, kind="arithmetic", bought="printed-figure")
    said = judge(it, [printed, found(2.0, bought="reported-figure")])
    assert (said.outcome, said.basis) == ("conditional", "catalogue")
    assert judge(it, [printed, found(2.0, batch=8)]).outcome == "refuted"


def test_kinds_disagree_only_about_the_same_conditions() -> None:
    it = claim("2 x", "about", quantity="share", sweep={"batch": (8, 64)})
    small = found(2.0, kind="published", batch=8)
    large = found(1.0, kind="estimated", batch=64)
    assert judge(it, [small, large]).flags == ()
    (flag,) = judge(it, [small, large, found(1.0, kind="estimated", batch=8)]).flags
    assert flag == "published evidence supports it, estimated evidence refutes it"


def test_an_undecided_stronger_kind_does_not_settle_a_claim() -> None:
    it = claim("2 x", "about", quantity="share", sweep={"batch": (8, 32, 64)})
    strong = [
        found(2.0, kind="published", batch=8),
        found(1.0, 2.0, kind="published", batch=32),
    ]
    said = judge(it, [*strong, found(1.0, kind="estimated", batch=64)])
    assert (said.outcome, said.basis) == ("conditional", "estimated")


def test_a_conditional_reason_tells_what_sets_a_single_condition_apart_and_both_sides() -> None:
    it = claim("2 x", "about", quantity="share", sweep={"batch": (8, 32, 64)})
    one = found(2.0, kind="published", batch=32, engine="one 1.0", kv="fp8")
    others = [found(1.0, batch=8), found(3.0, batch=64)]
    said = judge(it, [one, *others])
    assert "only where batch is 32; below in 1, above in 1;" in said.reason
    again = found(1.0, kind="published", batch=32, engine="two 1.0", kv="fp8")
    said = judge(it, [one, *others, again])
    assert "only where batch is 32 and engine is one 1.0; below in 2, above in 1;" in said.reason


def test_a_conditional_reason_tells_where_the_others_lie_if_nothing_marks_those_that_hold() -> None:
    it = claim("2 x", "about", quantity="share", sweep={"batch": (8, 64), "gpus": (1, 2)})
    fails = found(1.0, batch=8, gpus=1)
    holds = [found(2.0, batch=b, gpus=g) for b, g in ((8, 2), (64, 1), (64, 2))]
    assert "the others all where batch is 8 and gpus is 1;" in judge(it, [fails, *holds]).reason


def test_of_several_model_errors_each_is_told_with_how_many_it_is_of() -> None:
    it = claim("2 x", "about", quantity="share", sweep={"batch": (8, 32, 64)})
    usual = "median error 3 %; as serving"
    errors = {8: "median error 9 %", 32: usual, 64: usual}
    estimates = [
        Evidence("estimated", {"batch": b}, "model", low=2.0, mid=2.0, high=2.0, error=error)
        for b, error in errors.items()
    ]
    said = judge(it, estimates).reason
    assert said.endswith(
        "Model errors: of 2 of 3 estimates median error 3 %; of 1 of 3 estimates median error 9 %."
    )
    assert judge(it, estimates[1:]).reason.endswith("Model error: median error 3 %; as serving.")


def test_up_to_a_reduction_is_exceeded_by_a_larger_one() -> None:
    it = claim("40 % less", "up-to", quantity="energy_per_token", baselines=("b",))
    assert outcome(it, found(0.6), found(0.9)) == "supported"
    assert outcome(it, found(0.6), found(0.4)) == "conditional"
    assert outcome(it, found(0.6), found(0.5, 0.62)) == "conditional"


def test_up_to_so_many_times_less_is_exceeded_by_more_of_them() -> None:
    it = claim("4 x less", "up-to", quantity="energy_per_token", baselines=("b",))
    assert outcome(it, found(0.25), found(0.5)) == "supported"
    said = judge(it, [found(0.25), found(0.1)])
    assert said.outcome == "conditional"
    assert "10 x less" in said.reason
    strict = claim("6 x less", "more-than", quantity="energy_per_token", baselines=("b",))
    assert outcome(strict, found(0.15)) == "supported"
    assert outcome(strict, found(0.2)) == "refuted"


def test_a_sustained_rate_without_a_known_floor_says_nothing_about_a_peak() -> None:
    it = claim("67 TFLOPS", quantity="peak_fp32")
    slow = found(40e12, kind="published", rate="sustained")
    said = judge(it, [slow, found(67e12)])
    assert (said.outcome, said.basis) == ("supported", "catalogue")
    assert said.relations == ("sustained", "inside")
    assert judge(it, [found(90e12, kind="published", rate="sustained"), found(90e12)]).outcome == (
        "refuted"
    )


def test_refuting_takes_all_sources_of_the_same_weight() -> None:
    said = judge(claim("8 TB/s"), [replace(found(7.7e12), disputed={"S. Bekman": 8e12})])
    assert said.relations == ("disputed",)
    assert said.outcome == "inconclusive"
    assert said.flags == ("S. Bekman says 8 TB/s, which would support it",)
    other = judge(claim("8 TB/s"), [replace(found(7.7e12), disputed={"somebody": 4.1e12})])
    assert (other.outcome, other.flags) == ("refuted", ())
    assert said.reason == (
        "Found 7.7 TB/s, outside the accepted 7.84 to 8.16 TB/s, and sources of the same weight "
        "disagree."
    )


def test_a_sustained_rate_says_nothing_about_an_upper_bound_that_it_keeps() -> None:
    it = claim("4.7 TB/s", "at-most", conditions={"rate": "peak"})
    kept = found(4.0e12, kind="published", rate="sustained")
    said = judge(it, [kept, found(4.8e12)])
    assert (said.outcome, said.basis, said.flags) == ("refuted", "catalogue", ())
    assert said.relations == ("sustained", "above")
    beyond = found(5.2e12, kind="published", rate="sustained")
    assert judge(it, [beyond, found(5.3e12)]).outcome == "refuted"


def test_what_others_sustained_tells_less_of_a_peak_than_a_data_sheet() -> None:
    it = claim("1979 TFLOPS", quantity="peak_fp16", conditions={"rate": "peak"})
    sustained = found(760e12, kind="published", rate="sustained")
    said = judge(it, [sustained, found(989e12)])
    assert (said.outcome, said.basis, said.found) == ("refuted", "catalogue", "989 TFLOPS")
    assert judge(it, [sustained]).basis == "published"  # where no data sheet speaks


def test_a_share_is_told_of_a_peak_and_not_of_a_bound() -> None:
    rate = found(4.5e12, kind="published", rate="sustained")
    peak = judge(claim("4.8 TB/s", conditions={"rate": "peak"}), [rate, found(4.8e12)])
    assert "4.5 TB/s of it, 94 %, have been sustained" in peak.reason
    for text in ("2 TB/s", "0 TB/s"):
        bound = judge(claim(text, "more-than", conditions={"rate": "peak"}), [rate, found(4.8e12)])
        assert bound.outcome == "supported"
        assert "%" not in bound.reason


@pytest.mark.parametrize(
    ("claimed_words", "found_words", "expected"),
    [
        ("NVIDIA Hopper", "Hopper", "supported"),
        ("hbm 3", "HBM3", "supported"),
        ("HBM-3e", "HBM3e", "supported"),
        ("HBM3", "HBM3e", "refuted"),
        ("CDNA3", "CDNA 3", "supported"),
        ("TSMC 7 nm", "TSMC 7nm", "supported"),
        ("4N", "TSMC 4N", "supported"),
        ("5 nm", "TSMC 4N", "inconclusive"),
        ("5 nm", "TSMC 7nm", "refuted"),
        ("Samsung 8 nm", "TSMC 4N", "refuted"),
        ("NVIDIA", "CDNA 3", "refuted"),  # a maker alone is no architecture
    ],
)
def test_words_are_those_of_the_trade(claimed_words: str, found_words: str, expected: str) -> None:
    it = replace(
        claim("1 x", quantity="process_node"), claimed=Claimed("exact", text=claimed_words)
    )
    seen = Evidence("catalogue", {}, "somebody", text=found_words)
    assert outcome(it, seen) == expected


def test_conditions_of_which_nothing_is_known_are_told() -> None:
    it = claim("4.8 TB/s", sweep={"sparsity": ("dense", "sparse")})
    missing = Evidence("catalogue", {"sparsity": "sparse"}, "", missing="nobody published it")
    said = judge(it, [found(4.8e12, sparsity="dense"), missing])
    assert said.outcome == "supported"
    assert said.reason.endswith("Nothing is at hand where sparsity is sparse.")
    covered = judge(it, [found(4.8e12, sparsity=s) for s in ("dense", "sparse")] + [missing])
    assert "Nothing" not in covered.reason


def test_where_nothing_is_known_is_told_only_if_nothing_else_lies_there() -> None:
    it = claim("4.8 TB/s", sweep={"gpus": (1, 2), "precision": ("fp8", "fp16")})
    missing = [
        Evidence("catalogue", {"gpus": gpus, "precision": precision}, "", missing="none")
        for gpus, precision in ((1, "fp16"), (2, "fp8"))
    ]
    known = [found(4.8e12, gpus=1, precision="fp8"), found(4.8e12, gpus=2, precision="fp16")]
    assert judge(it, [*known, *missing]).reason.endswith("Nothing is at hand for 2 more.")
    said = judge(it, [known[1], missing[0]]).reason
    assert said.endswith("Nothing is at hand where gpus is 1.")


def test_a_range_is_no_peak_to_have_a_share_of() -> None:
    rate = found(4.5e12, kind="published", rate="sustained")
    it = claim("4 TB/s", "range", "5 TB/s", conditions={"rate": "peak"})
    said = judge(it, [rate, found(4.8e12)])
    assert said.outcome == "supported"
    assert "4.5 TB/s have been sustained" in said.reason
    assert "%" not in said.reason


def test_findings_that_no_condition_sets_apart_are_told_by_how_they_were_found() -> None:
    it = claim("4.4 TB/s", "at-least")
    copy, dot = (
        replace(found(rate, kind="published"), assumptions=(how,))
        for rate, how in ((4.0e12, "copy"), (4.5e12, "dot, reads only"))
    )
    said = judge(it, [copy, dot])
    assert said.outcome == "conditional"
    assert said.reason.startswith("Holds by 1 of 2 findings (50 %): dot, reads only; found 4 to")


def test_up_to_is_exceeded_where_there_is_more_and_not_missed_where_there_is_less() -> None:
    it = claim("2 x", "up-to", quantity="inference_throughput", sweep={"gpus": (1, 2, 4, 8)})
    rates = {1: 2.0, 2: 3.0, 4: 1.1, 8: 1.0}
    said = judge(it, [found(rate, gpus=gpus) for gpus, rate in rates.items()])
    assert said.outcome == "conditional"
    assert said.reason.startswith(
        "Reached in 2 of 4 conditions (50 %), and exceeded in 1 of them, only where gpus is 2;"
    )
    it = claim("50 % less", "up-to", quantity="energy_per_token", sweep={"gpus": (1, 2, 4)})
    less = judge(it, [found(0.5, gpus=1), found(0.3, gpus=2), found(0.9, gpus=4)])
    assert less.reason.startswith(
        "Reached in 2 of 3 conditions (67 %), and exceeded in 1 of them, only where gpus is 2"
    )


def test_a_refutation_shows_as_many_digits_as_it_takes() -> None:
    ratio = {"quantity": "memory_bandwidth", "baselines": ("other",)}
    less = judge(claim("1.4 x", "exact", **ratio), [found(1.4329)])
    assert less.reason == "Found 1.433 x, outside the accepted 1.372 to 1.428 x."
    strictly = judge(claim("1.43 x", "more-than", **ratio), [found(1.4328)])
    assert strictly.reason == "Found 1.433 x, which is not more than 1.43 x by more than rounding."
    count = judge(claim("8", "more-than", quantity="devices_needed"), [found(8)])
    assert count.reason == "Found 8 devices, where the claim needs more than 8."
    both = judge(claim("1 x", "about", **ratio), [found(0.2), found(5.0)])
    assert "Found 0.2 to 5 x, on both sides of the accepted 0.85 to 1.15 x" in both.reason


def test_bare_numbers_are_told_with_what_they_count() -> None:
    some = {"quantity": "figures_reduced", "baselines": ("other",)}
    assert (
        "Found 7 figures reduced, and" in judge(claim("1", "at-least", **some), [found(7)]).reason
    )
    assert "Found 1 figure reduced, and" in judge(claim("1", "at-least", **some), [found(1)]).reason


def test_what_is_undecided_is_no_failure() -> None:
    it = claim("4.8 TB/s", "about", sweep={"gpus": (1, 2, 4)})
    inside, across = found(4.8e12, gpus=1), found(3.9e12, 4.6e12, gpus=2)
    said = judge(it, [inside, across])
    assert said.reason.startswith("Shown in 1 of 2 conditions (50 %), only where gpus is 1")
    assert "1 undecided, and none fails" in said.reason
    failing = judge(it, [inside, across, found(1e12, gpus=4)])
    assert "Holds in 1 of 3 conditions (33 %), shown only where gpus is 1" in failing.reason


def test_support_by_printed_figures_alone_is_told_as_such() -> None:
    it = claim("2 x", "about", quantity="price_ratio")
    printed = found(2.1, kind="arithmetic")
    assert "nothing else at hand confirms them" in judge(it, [printed]).reason
    assert "nothing else" not in judge(it, [printed, found(2.0)]).reason
    assert "nothing else" not in judge(it, [found(9.0, kind="arithmetic")]).reason
