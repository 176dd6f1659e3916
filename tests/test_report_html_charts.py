"""Drawings of the page: scales, intervals, roofs, shares, traces, cells."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench import catalogue, units
from gpubench.catalogue import Catalogue
from gpubench.judging.verdict import judge
from gpubench.model import Claimed, Interval
from gpubench.report.charts import drawing, inline, interval, roofline, shares, telemetry
from gpubench.report.charts.drawing import Scale
from gpubench.report.findings import Findings
from gpubench.report.html.figures import Figures
from gpubench.report.html.language import language
from gpubench.validating import scoring
from tests import reported
from tests.test_report import claim, found

POSITIVE = st.floats(1e-6, 1e15)


def parsed(svg: str) -> ElementTree.Element:
    """A drawing that is well-formed."""
    return ElementTree.fromstring(svg)


# --------------------------------------------------------------------------- scales


@given(POSITIVE, st.floats(1.001, 1e6), st.floats(0, 1))
def test_a_scale_keeps_the_order_and_its_ends(low: float, ratio: float, share: float) -> None:
    for log in (False, True):
        scale = Scale(low, low * ratio, 10.0, 200.0, log)
        value = low * ratio**share
        assert scale(low) == pytest.approx(10)
        assert scale(low * ratio) == pytest.approx(200)
        assert 10 <= scale(value) <= 200
        assert scale(low / 2) == scale(low)


def test_equal_ratios_are_equal_steps_on_a_logarithmic_scale() -> None:
    scale = Scale(1, 1000, 0, 300, log=True)
    assert [round(scale(value)) for value in (1, 10, 100, 1000)] == [0, 100, 200, 300]


def test_an_axis_has_round_numbers_of_the_unit_that_was_printed() -> None:
    day = units.parse_printed("78 days")
    assert day.one == 86400
    days = interval.Shown(
        *(Interval(low * 86400, high * 86400) for low, high in [(78, 78), (66, 90), (61, 114)])
    )
    svg = interval.draw(days, day.show, ("a", "b", "c"), "said", "refuted", day.one)
    marks = re.findall(r'class="tick"[^>]*>([^<]+)<', svg)
    assert len(marks) > 1
    assert all(float(mark.removesuffix(" days")) % 10 == 0 for mark in marks)


@given(POSITIVE, st.floats(1.01, 1e4))
def test_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    high = low * ratio
    for found_ in (drawing.ticks(low, high), drawing.log_ticks(low, high)):
        assert 2 <= len(found_) <= 6
        assert found_ == sorted(found_)
        assert all(low * 0.999999 <= tick <= high * 1.000001 for tick in found_)


def test_text_in_a_drawing_is_escaped() -> None:
    drawn = drawing.text('<script> & "quotes"', 1, 2, class_='a"b')
    assert parsed(drawn).text == '<script> & "quotes"'
    assert parsed(drawn).get("class") == 'a"b'


# --------------------------------------------------------------------------- one claim


def drawn(value: str, qualifier: str, *rates: float) -> interval.Shown | None:
    printed = units.parse_printed(value)
    one = replace(claim(), claimed=Claimed(qualifier, printed, printed))
    return interval.shown(judge(one, [found(rate) for rate in rates]), one)


def test_what_is_drawn_is_what_was_judged() -> None:
    shown = drawn("4.8 TB/s", "about", 4.1e12, 4.7e12)
    assert shown is not None
    assert shown.claimed == Interval(4.8e12, 4.8e12)
    assert shown.accepted.low == pytest.approx(0.85 * 4.8e12)
    assert shown.found == Interval(4.1e12, 4.7e12)


def test_a_bound_is_open_on_its_other_side() -> None:
    shown = drawn("4.8 TB/s", "at-least", 5e12)
    assert shown is not None
    assert shown.claimed.high == math.inf
    svg = interval.draw(shown, str, ("a", "b", "c"), "said", "supported")
    assert len(re.findall("<polygon", svg)) == 3  # two arrows, and a diamond for what was found
    parsed(svg)


def test_a_reduction_is_drawn_in_the_frame_of_what_is_found() -> None:
    printed = units.parse_printed("40 % less")
    ratio = replace(claim(), claimed=Claimed("at-least", printed, printed), baselines=("acme-a0",))
    shown = interval.shown(judge(ratio, [found(0.5, unit="1")]), ratio)
    assert shown is not None
    assert shown.claimed == Interval(-math.inf, 0.6)


def test_words_and_missing_findings_are_not_drawn() -> None:
    assert drawn("4.8 TB/s", "about") is None
    word = replace(claim(), claimed=Claimed("exact", text="HBM3e"), quantities=("memory_type",))
    assert interval.shown(judge(word, [found(1.0, text="HBM3e")]), word) is None


@given(POSITIVE, st.floats(1, 1e5), st.floats(1e-3, 1e3))
def test_any_interval_stays_within_its_drawing(low: float, ratio: float, off: float) -> None:
    shown = interval.Shown(
        Interval(low * off, low * off), Interval(-math.inf, low * off), Interval(low, low * ratio)
    )
    svg = parsed(interval.draw(shown, "{:.3g}".format, ("a", "b", "c"), "said", "refuted"))
    for rect in svg.iter("rect"):
        x, width = float(rect.get("x") or 0), float(rect.get("width") or 0)
        assert 60 <= x <= x + width <= interval.WIDTH + 1


# --------------------------------------------------------------------------- roofline


def test_no_estimate_lies_above_its_roof(shipped: Catalogue) -> None:
    roofs = roofline.roofs(shipped)
    assert len(roofs) > 40
    for roof in roofs.values():
        wide = roof.peaks.get("fp16") or roof.peaks.get("bf16", 0.0)
        for point in roof.estimated:
            assert point.low <= point.mid <= point.high
            assert point.mid <= min(wide, point.intensity * roof.memory), roof.part.id


def test_the_ridge_is_where_both_limits_meet(shipped: Catalogue) -> None:
    roof = roofline.roofs(shipped)["nvidia-h100-sxm5"]
    assert roof.ridge("fp16") == pytest.approx(989.4e12 / 3.35e12, rel=1e-3)


def test_measured_points_stand_where_they_were_measured(shipped: Catalogue) -> None:
    roof = roofline.roofs(shipped, [reported.record()])["nvidia-h200-sxm"]
    product = next(
        p for p in roof.measured if p.name == "gemm fp16 8192 × 8192 × 8192, torch, burst"
    )
    assert product.intensity == pytest.approx(8192 / 3)
    assert product.mid == pytest.approx(0.8 * 990e12, rel=0.01)
    assert not roofline.roofs(shipped)["nvidia-h200-sxm"].measured


def test_an_implausible_point_is_left_out(shipped: Catalogue) -> None:
    from gpubench.model import Caution

    record = reported.record()
    faulty = tuple(replace(m, cautions=(Caution("implausible", "x"),)) for m in record.measurements)
    roof = roofline.roofs(shipped, [replace(record, measurements=faulty)])["nvidia-h200-sxm"]
    assert not roof.measured


def test_every_accelerator_is_drawn_and_two_are_shown(shipped: Catalogue) -> None:
    roofs = roofline.roofs(shipped)
    svg = parsed(roofline.draw(roofs, "nvidia-h200-sxm", "nvidia-h20-96gb", ("x", "y"), "said"))
    groups = {group.get("data-part"): group.get("class") for group in svg.iter("g")}
    assert roofs.keys() <= groups.keys()
    assert {name for name, place in groups.items() if name and place} == {
        "nvidia-h200-sxm",
        "nvidia-h20-96gb",
    }


# --------------------------------------------------------------------------- shares and traces


def test_shares_are_rates_over_the_data_sheet(shipped: Catalogue) -> None:
    found_ = {share.how: share for share in shares.measured([reported.record()], shipped)}
    read = found_["read, triton, burst"]
    assert read.mid == pytest.approx(0.94, rel=0.01)
    assert read.low <= read.mid <= read.high
    published = shares.published(shipped)
    assert {share.kind for share in published} == {"published"}
    h100 = [s for s in published if s.part == "NVIDIA H100 SXM5 80GB" and "sum of" in s.how]
    assert h100[0].mid == pytest.approx(3.215 / 3.35, rel=1e-3)


def test_a_bar_is_as_long_as_its_share() -> None:
    share = shares.Share("memory_bandwidth", "A", "b", "measured", 0.45, 0.5, 0.55, "1 TB/s")
    svg = parsed(shares.bar(share))
    (bar,) = [rect for rect in svg.iter("rect") if rect.get("class") == "measured"]
    (whole,) = [line for line in svg.iter("line") if line.get("class") == "whole"]
    assert float(bar.get("width") or 0) == pytest.approx(float(whole.get("x1") or 0) / 2)


def test_traces_begin_at_zero_and_the_heated_one_comes_first() -> None:
    traces = telemetry.traces(reported.record())
    assert len(traces) == 4
    assert "sustained" in traces[0].name
    assert all(trace.times[0] == 0 for trace in traces)
    assert traces[0].values["sm_clock_hz"][0] == pytest.approx(1700)
    assert traces[0].times[-1] == pytest.approx(23 * 1.25)


def test_a_run_without_telemetry_has_no_trace() -> None:
    from gpubench.model import Block

    record = reported.record()
    bare = tuple(
        replace(m, blocks=tuple(Block(b.seconds) for b in m.blocks)) for m in record.measurements
    )
    assert telemetry.traces(replace(record, measurements=bare)) == []


# --------------------------------------------------------------------------- what Vega draws


def test_every_row_is_counted_in_a_cell(shipped: Catalogue) -> None:
    from gpubench.report.charts import validation

    found_ = scoring.compare(shipped.inference_table(catalogue.PUBLISHED_TABLE), shipped)
    chart = validation.density(found_).to_dict()
    counted = re.findall(r"'rows': (\d+)", str(chart))
    assert sum(map(int, counted)) == found_.absolute["all"]["all"].count


def test_a_drawing_takes_its_ink_and_names_from_the_page() -> None:
    svg = (
        '<svg version="1.1"><rect width="10" height="20" fill="white"/><g clip-path="url(#c0)">'
        '<clipPath id="c0"/><line stroke="#ddd" aria-label="x"/><text fill="#000">a &amp; b</text>'
        "</g></svg>"
    )
    themed = inline.themed(svg, "one", lambda text: text.upper())
    assert 'fill="white"' not in themed
    assert "url(#one-c0)" in themed
    assert 'id="one-c0"' in themed
    assert 'stroke="var(--line)"' in themed
    assert '<text fill="currentColor">A &AMP; B</text>' in themed
    assert "aria-label" not in themed


def test_the_charts_are_about_the_parts_that_the_claims_compare() -> None:
    shipped_findings: Findings = reported.findings()
    theirs = replace(
        claim(),
        subjects=("amd-mi300x",),
        baselines=("nvidia-h100-sxm5",),
        quantities=("inference_throughput",),
        conditions={"model": "llama-3.1-405b"},
    )
    made = Figures(shipped_findings, language("en"))
    usual = made.roofline()
    assert usual
    assert (usual.first, usual.second) == ("nvidia-h200-sxm", "nvidia-h100-sxm5")
    file = replace(shipped_findings.judgement.claims_file, claims=(theirs,))
    judged = replace(shipped_findings.judgement, claims_file=file, verdicts=(), contradictions=())
    made = Figures(replace(shipped_findings, judgement=judged, measured=()), language("en"))
    roof = made.roofline()
    assert roof
    assert (roof.first, roof.second) == ("amd-mi300x", "nvidia-h100-sxm5")
    (uplift,) = (one for one in made.all() if one.id == "uplift")
    # 405B fits on no two and no four of both.
    for word in ("AMD Instinct MI300X over NVIDIA H100", "Llama 3.1 405B", "8 "):
        assert word in uplift.caption
