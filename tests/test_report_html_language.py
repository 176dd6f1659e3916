"""Whatever a verdict says can be said in Chinese, with the same figures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import units
from gpubench.judging.verdict import judge
from gpubench.model import KINDS, Claim, Claimed, Evidence
from gpubench.report.html.language import language
from tests.test_report import claim

QUALIFIERS = (
    *("exact", "about", "nearly", "up-to"),
    *("at-least", "at-most", "more-than", "less-than", "range"),
)
CONDITIONS: tuple[dict[str, Any], ...] = (
    {},
    *({"gpus": count} for count in (1, 2)),
    {"gpus": 4, "precision": "fp8"},
    {"rate": "sustained"},
    {"rate": "peak", "precision": "fp16"},
)
SWEEPS: tuple[dict[str, Any], ...] = (
    {},
    {"gpus": (1, 2, 4)},
    {"precision": ("fp16", "fp8"), "gpus": (1, 2)},
)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    qualifier = draw(st.sampled_from(QUALIFIERS))
    low = units.parse_printed("4.8 TB/s")
    high = units.parse_printed("5.4 TB/s") if qualifier == "range" else low
    return replace(
        claim(),
        claimed=Claimed(qualifier, low, high),
        conditions=draw(st.sampled_from(({}, {"rate": "peak"}))),
        sweep=draw(st.sampled_from(SWEEPS)),
    )


RATES = st.tuples(st.floats(3e12, 6.5e12), st.sampled_from((0, 0.05, 0.3)))


@st.composite
def evidence(draw: st.DrawFn) -> list[Evidence]:
    # Of one kind, since only the strongest decides.
    kind = draw(st.sampled_from(KINDS))
    conditions = draw(st.sampled_from((CONDITIONS, CONDITIONS[:1])))
    return [
        Evidence(
            kind,
            draw(st.sampled_from(conditions)),
            "somebody",
            *(middle * (1 - width), middle, middle * (1 + width)),
            unit="B/s",
            assumptions=draw(st.sampled_from(((), ("copy",), ("dot, reads only",)))),
        )
        for middle, width in draw(st.lists(RATES, max_size=6))
    ]


@settings(max_examples=300)
@given(claims(), evidence())
def test_a_reason_is_said_in_chinese_with_its_figures(it: Claim, found: list[Evidence]) -> None:
    reason = judge(it, found).reason
    chinese = str(language("zh").reason(reason))
    assert 'lang="en"' not in chinese, reason
    figures = re.compile(r"\d+(?:[.,]\d+)*")
    assert sorted(figures.findall(chinese)) == sorted(figures.findall(reason))


def test_a_longer_sentence_is_not_taken_for_a_figure() -> None:
    item = Evidence("catalogue", {}, "a sheet", low=7.7e12, mid=7.7e12, high=7.7e12)
    said = judge(claim(value="10 TB/s"), [replace(item, disputed={"S. Bekman": 1e13})])
    assert "and sources of the same weight disagree" in said.reason
    told = str(language("zh").reason(said.reason))
    assert told == "查得 7.7 TB/s，在可接受范围 8.5 至 11.5 TB/s 之外，而同等分量的来源说法不一。"
