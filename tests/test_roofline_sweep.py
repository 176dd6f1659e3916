"""Sweeps say what single estimates say, and where nothing fits they say nothing."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpubench import catalogue, cli, roofline
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.report import subgroups
from gpubench.roofline import sweep as sweeping
from gpubench.roofline.subgroups import Condition, Explanation, Rule, explain
from gpubench.roofline.sweep import MAX, Axes, Plane, Sweep, sweep

KNOWN = catalogue.load()
H200, H100 = (KNOWN.accelerator(name) for name in ("nvidia-h200-sxm", "nvidia-h100-sxm5"))
LENGTHS = st.integers(1, 16384)


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(["llama-2-70b", "llama-3.1-8b", "mixtral-8x7b", "gpt-oss-20b"]),
    precision=st.sampled_from(["fp16", "fp8"]),
    devices=st.sampled_from([1, 2, 8]),
    pipeline=st.sampled_from([1, 1, 2, 3]),
    batch=st.one_of(st.just(MAX), st.integers(1, 300)),
    prompt=LENGTHS,
    answer=LENGTHS,
)
@example("mixtral-8x7b", "fp16", 1, 2, 230, 1, 1578)  # at an end of a range it does not fit
def test_a_cell_is_the_single_estimate(
    model: str,
    precision: str,
    devices: int,
    pipeline: int,
    batch: int,
    prompt: int,
    answer: int,
) -> None:
    conditions = {"model": model, "precision": precision, "phase": "serving"}
    conditions |= {"gpus": devices * pipeline, "pipeline": pipeline}
    conditions |= {"batch": batch or "max", "input_tokens": prompt, "output_tokens": answer}
    axes = Axes([batch], [prompt], [answer], [precision], [devices], [pipeline])
    try:
        one = roofline.estimate_ratio("inference_throughput", H200, H100, conditions, KNOWN)
    except DoesNotFit:
        with pytest.raises(CannotEstimate):
            sweep(H200, H100, KNOWN.model(model), axes)
        return
    (plane,) = sweep(H200, H100, KNOWN.model(model), axes).planes
    assert plane.uplift is not None
    assert plane.uplift[0, 0, 0] == pytest.approx(one.mid, rel=1e-9)
    assert plane.low is not None
    assert plane.high is not None
    assert plane.errors[0].words == one.error
    ends = plane.low[0, 0, 0], plane.high[0, 0, 0]
    assert ends == pytest.approx((one.low, one.high), rel=1e-9)
    # Ranges of parameters hang on the lengths.
    assert (plane.errors[0].log is None) == (pipeline > 1 or "widened" in one.error)


@pytest.mark.parametrize("parts", [("amd-mi300x", H100.id), (H200.id, "intel-gaudi2")])
@pytest.mark.parametrize("batch", [8, MAX])
def test_each_cell_of_a_part_that_nothing_was_compared_of_has_its_own_interval(
    parts: tuple[str, str], batch: int
) -> None:
    subject, baseline = (KNOWN.accelerator(name) for name in parts)
    model, lengths = KNOWN.model("llama-2-70b"), (100, 900)
    (plane,) = sweep(
        subject, baseline, model, Axes([batch], lengths, lengths, ["bf16"], [4])
    ).planes
    assert plane.low is not None
    assert plane.high is not None
    for place in np.ndindex(2, 2):
        asked = {"model": model.id, "precision": "bf16", "phase": "serving", "gpus": 4}
        asked |= {"input_tokens": lengths[place[0]], "output_tokens": lengths[place[1]]}
        asked |= {"batch": batch or "max"}
        one = roofline.estimate_ratio("inference_throughput", subject, baseline, asked, KNOWN)
        ends = plane.low[0][place], plane.high[0][place]
        assert ends == pytest.approx((one.low, one.high), rel=1e-9)
        assert plane.errors[0].words == one.error


def test_every_axis_stands_in_its_place() -> None:
    axes = Axes([1, MAX], [128, 1024, 4096], [64, 2048], ["fp16", "fp8"], [1, 2])
    found = sweep(H200, H100, KNOWN.model("llama-2-70b"), axes)
    assert [(p.precision, p.tensor) for p in found.planes] == [
        ("fp16", 1),
        ("fp16", 2),
        ("fp8", 1),
        ("fp8", 2),
    ]
    assert "leaves no room for a KV cache" in found.planes[0].problem
    plane = found.planes[2].uplift
    assert plane is not None
    assert plane.shape == (2, 3, 2)
    for place in np.ndindex(plane.shape):
        batch, prompt, answer = (
            axis[n]
            for axis, n in zip((axes.batches, axes.inputs, axes.outputs), place, strict=True)
        )
        small = sweep(
            H200, H100, KNOWN.model("llama-2-70b"), Axes([batch], [prompt], [answer], ["fp8"], [1])
        )
        assert small.values == pytest.approx([plane[place]])


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = Axes(range(1, 30), range(64, 640, 64), [128, 512], ["fp8"], [2])
    whole = sweep(H200, H100, KNOWN.model("llama-2-70b"), axes).values
    monkeypatch.setattr(sweeping, "_CHUNK", 7)
    assert np.array_equal(sweep(H200, H100, KNOWN.model("llama-2-70b"), axes).values, whole)


def test_what_does_not_fit_on_both_has_no_uplift() -> None:
    # One 80 GB card has room for few sequences beside 70 GB of weights.
    axes = Axes([1, 1000], [1024], [1024], ["fp8"], [1])
    plane = sweep(H200, H100, KNOWN.model("llama-2-70b"), axes).planes[0].uplift
    assert plane is not None
    assert plane[0, 0, 0] > 1
    assert math.isnan(plane[1, 0, 0])


def test_a_small_card_serves_a_stated_batch_though_not_as_many_as_an_engine_expects() -> None:
    """13 GB of weights in 16 GB, which leaves no room for what 2,048 sequences would sample."""
    t4, mistral = KNOWN.accelerator("nvidia-t4"), KNOWN.model("mistral-7b")
    axes = Axes([1, MAX], [128], [128], ["fp16"], [1])
    plane = sweep(H200, t4, mistral, axes).planes[0]
    assert plane.uplift is not None
    assert 1 < plane.uplift[0, 0, 0] < 4.8e12 / 320e9  # that of bandwidths, by the data sheets
    assert math.isnan(plane.uplift[1, 0, 0])
    stated = {"model": "mistral-7b", "precision": "fp16", "input_tokens": 128, "output_tokens": 128}
    alone = roofline.estimate("inference_throughput", t4, {**stated, "batch": 1}, KNOWN)
    assert alone.details["gpus"] == 1
    assert 1 / alone.mid > 14.2e9 / 320e9  # seconds to read the matrices once
    most = roofline.estimate("inference_throughput", t4, {**stated, "batch": "max"}, KNOWN)
    assert most.details["gpus"] == 2


def test_a_sweep_of_engines_built_for_fewer_is_the_single_estimate() -> None:
    parts = [KNOWN.accelerator(name) for name in ("nvidia-l4", "nvidia-t4")]
    model, axes = KNOWN.model("llama-3.1-8b"), Axes([8, 40, 65, MAX], [512], [512], ["int8"], [1])
    plane = sweep(*parts, model, axes, built_for=64).planes[0].uplift
    assert plane is not None
    asked = {"model": model.id, "precision": "int8", "gpus": 1, "phase": "serving"}
    asked |= {"input_tokens": 512, "output_tokens": 512, "engine_sequences": 64}
    for place, batch in ((0, 8), (1, 40), (3, "max")):
        one = roofline.estimate_ratio(
            "inference_throughput", *parts, {**asked, "batch": batch}, KNOWN
        )
        assert plane[place, 0, 0] == pytest.approx(one.mid)
    assert math.isnan(plane[2, 0, 0])  # more than they are built for
    usual = sweep(*parts, model, axes).planes[0].uplift
    assert usual is not None
    assert usual[3, 0, 0] > 5 * plane[3, 0, 0]


def test_a_sweep_of_nothing_names_the_reason() -> None:
    axes = Axes([1], [128], [128], ["fp16"], [1])
    with pytest.raises(CannotEstimate, match="leaves no room for a KV cache"):
        sweep(H200, H100, KNOWN.model("llama-3.1-405b"), axes)


# --------------------------------------------------------------------------- where it lies


SWEPT = Axes([1, 8, MAX], [128, 512, 2048], range(64, 64 * 41, 64), ["fp16", "fp8"], [1, 2, 4, 8])


def planted(inside: Callable[[dict[str, Any]], bool]) -> Sweep:
    """A sweep whose uplift is 1.7 where a condition holds, else 1.1."""
    planes = []
    for precision, tensor, pipeline in product(SWEPT.precisions, SWEPT.tensors, SWEPT.pipelines):
        cells = [
            dict(zip(NAMES, (precision, tensor, pipeline, *lengths), strict=True))
            for lengths in product(SWEPT.batches, SWEPT.inputs, SWEPT.outputs)
        ]
        uplift = np.array([1.7 if inside(cell) else 1.1 for cell in cells]).reshape(3, 3, 40)
        planes.append(Plane(precision, tensor, pipeline, uplift))
    return Sweep(SWEPT, tuple(planes))


NAMES = ("precision", "tp", "pp", "batch", "isl", "osl")


def holds(rule: Rule, cell: dict[str, Any]) -> bool:
    return all(cell[condition.axis] in condition.values for condition in rule.conditions)


def in_words(rule: Rule) -> dict[str, tuple[Any, ...]]:
    return {condition.axis: condition.values for condition in rule.conditions}


def test_what_all_have_in_common_is_found_to_the_value() -> None:
    why = explain(
        planted(lambda c: c["tp"] == 4 and 640 <= c["osl"] <= 1280 and not c["batch"]), IN
    )
    assert in_words(why.common) == {
        "tp": (4,),
        "batch": (MAX,),
        "osl": tuple(range(640, 1281, 64)),
    }
    assert why.common.covered == why.common.inside == why.inside == 2 * 3 * 11
    assert why.rules == ()


IN = (1.6, 1.9)


def test_conditions_that_hold_jointly_are_found_and_the_first_explains_most() -> None:
    many = {"precision": ("fp8",), "tp": (2, 8), "batch": (8, MAX)}
    few = {"precision": ("fp16",), "tp": (4,), "isl": (512, 2048)}

    def inside(cell: dict[str, Any]) -> bool:
        return any(all(cell[n] in v for n, v in rule.items()) for rule in (many, few))

    why = explain(planted(inside), IN)
    assert [in_words(rule) for rule in why.rules] == [many, few]
    assert [(rule.covered, rule.inside) for rule in why.rules] == [(480, 480), (240, 240)]
    assert why.explained == why.inside == 720


@pytest.mark.parametrize("between", [(1.1, 1.3), (1.6, 1.9), (1.25, 1.3), (1.0, 1.05)])
def test_a_rule_counts_what_it_covers(between: tuple[float, float]) -> None:
    axes = Axes([64, MAX, 8], [2048, 128], range(100, 8100, 400), ["fp16", "fp8"], [8, 1, 2])
    found = sweep(H200, H100, KNOWN.model("llama-2-70b"), axes)
    cells = []
    for plane in found.planes:
        if plane.uplift is not None:
            where = (plane.precision, plane.tensor, plane.pipeline)
            lengths = product(axes.batches, axes.inputs, axes.outputs)
            for place, value in zip(lengths, plane.uplift.ravel(), strict=True):
                cell = dict(zip(NAMES, (*where, *place), strict=True))
                cells += [] if math.isnan(value) else [(cell, between[0] <= value <= between[1])]
    why = explain(found, between)
    assert why.inside == sum(inside for _, inside in cells)
    for rule in (why.common, *why.rules):
        # Rules come on top of what all have in common.
        both = Rule((*why.common.conditions, *rule.conditions), 0, 0)
        covered = [inside for cell, inside in cells if holds(both, cell)]
        assert (rule.covered, rule.inside) == (len(covered), sum(covered))
        assert len(rule.conditions) <= 3 or rule is why.common
    explained = [c for c, inside in cells if inside and any(holds(r, c) for r in why.rules)]
    assert why.explained == len(explained)
    assert len(why.rules) <= 6


def test_as_many_as_fit_is_no_number_of_a_range() -> None:
    axes = Axes([*range(1, 41), MAX], [512], [512], ["fp8"], [2])
    uplift = np.array([1.7] * 20 + [1.1] * 20 + [1.7]).reshape(41, 1, 1)
    why = explain(Sweep(axes, (Plane("fp8", 2, 1, uplift),)), IN)
    first, second = sorted(why.rules, key=lambda rule: rule.covered)
    assert in_words(first) == {"batch": (MAX,)}
    assert (second.covered, second.inside) == (20, 20)


# --------------------------------------------------------------------------- the command

Run = Callable[..., Result]
PARTS = ("--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5", "--model", "llama-2-70b")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(cli.main, ["sweep", *PARTS, *map(str, words)])


def written() -> list[dict[str, str]]:
    """The rows of all.csv."""
    return list(csv.DictReader(io.StringIO(Path("all.csv").read_text("utf-8"))))


def test_the_share_inside_an_interval_is_that_of_the_combinations(run: Run) -> None:
    words = ("--precision", "fp8", "--tp", "1", "--between", "1.6:1.9", "--csv", "all.csv")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    (whole, *_) = json.loads(result.stdout)["groups"]
    rows = written()
    assert len(rows) == 4 * 5 * 5  # lengths up to half of Llama 2's 4,096
    values = [float(row["uplift"]) for row in rows if row["uplift"]]
    assert whole["count"] == len(values)
    inside = sum(1.6 <= value <= 1.9 for value in values) / len(values)
    assert whole["inside"] == pytest.approx(inside, abs=1e-3)
    assert {row["batch"] for row in rows} == {"1", "8", "64", "max"}


def test_an_interval_lies_inside_surely_possibly_or_not_at_all(run: Run) -> None:
    result = run("--between", "1.1:1.5", "--csv", "all.csv", "--json")
    document = json.loads(result.stdout)
    (whole, *_) = document["groups"]
    rows = [row for row in written() if row["uplift"]]
    ends = [(float(row["uplift_low"]), float(row["uplift_high"])) for row in rows]
    surely = sum(low >= 1.1 and high <= 1.5 for low, high in ends) / len(ends)
    possibly = sum(low <= 1.5 and high >= 1.1 for low, high in ends) / len(ends)
    assert whole["surely"] == pytest.approx(surely, abs=2e-3)
    assert whole["possibly"] == pytest.approx(possibly, abs=2e-3)
    assert 0 < whole["surely"] < whole["inside"] < whole["possibly"] < 1
    assert sum(error["combinations"] for error in document["errors"]) == len(rows)
    text = run("--between", "1.1:1.5").stdout
    for error in document["errors"]:
        assert f"| {error['combinations']:,} " in text
        assert error["error"] in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--pp", "2", "--tp", "2"), "not validated: the interval spans the ranges"),
        (("--tp", "16"), "not validated: the interval spans the ranges"),
        (("--gpu", "amd-mi300x", "--tp", "2"), "widened by the ranges of the parts"),
    ],
)
def test_uplifts_that_no_published_pair_covers_have_intervals_of_their_own(
    run: Run, words: tuple[str, ...], why: str
) -> None:
    lengths = ("--isl", "128", "--osl", "128", "--between", "0.5:1.9", "--csv", "all.csv")
    result = run(*lengths, *words)
    assert why in result.stdout, result.output
    assert "which each combination has of its own" in result.stdout
    rows = written()
    for row in rows:
        assert float(row["uplift_low"]) < float(row["uplift"]) < float(row["uplift_high"])
    document = json.loads(run(*lengths, *words, "--json").stdout)
    assert {error["log_error"] for error in document["errors"]} == {None}
    whole = document["groups"][0]
    assert 0 <= whole["surely"] <= whole["inside"] <= whole["possibly"] <= 1


@pytest.mark.parametrize(
    ("isl", "batch", "beyond"),
    # 9,999 such requests fit on neither part, and are no estimate.
    [
        ("2048", "1", ""),
        ("2048,2049", "1", "1 combination"),
        ("4096", "1,8,9999", "2 combinations"),
    ],
)
def test_requests_beyond_the_context_of_a_model_are_remarked(
    run: Run, isl: str, batch: str, beyond: str
) -> None:
    words = ("--isl", isl, "--osl", "2048", "--batch", batch, "--tp", "4", "--precision", "fp8")
    told = (
        f"Llama 2 70B is published for 4096 tokens, and prompt and answer of {beyond} take more: "
        f"taken to run on"
    )
    assert (told in run(*words).stdout) is bool(beyond)
    assert json.loads(run(*words, "--json").stdout)["assumptions"] == [told] * bool(beyond)


def test_a_part_is_exactly_as_fast_as_itself(run: Run) -> None:
    words = ("--gpu", "nvidia-h100-sxm5", "--isl", "128", "--osl", "128", "--tp", "4", "--json")
    document = json.loads(run(*words).stdout)
    assert [error["error"] for error in document["errors"]] == ["exact: a part over itself"]


def test_the_combinations_alone_go_to_a_pipe(run: Run) -> None:
    text = run("--isl", "128", "--osl", "128", "--batch", "1", "--csv", "-").stdout
    assert text.startswith("precision,tp,pp,batch,isl,osl,uplift")
    assert len(text.splitlines()) == 1 + 2 * 4
    assert not Path("-").exists()


def test_the_table_of_all_combinations_holds_those_that_were_refused(run: Run) -> None:
    words = ("--precision", "fp16,fp8", "--tp", "1", "--isl", "128", "--osl", "128")
    result = run(*words, "--batch", "1", "--csv", "all.csv")
    rows = written()
    # 138 GB of 16-bit weights fit on neither, 69 GB of 8-bit ones on both.
    assert [(row["precision"], bool(row["uplift"])) for row in rows] == [
        ("fp16", False),
        ("fp8", True),
    ]
    assert "- fp16, 1 device: " in result.stdout


def test_the_table_has_a_line_for_every_value(run: Run) -> None:
    text = run("--isl", "128,1024", "--osl", "64..256/64", "--batch", "max", "--tp", "2,4").stdout
    assert "24 of 32 combinations" not in text
    for word in ("| isl ", "| osl ", "| tp ", "| precision ", "| 192 ", "| max "):
        assert word in text


def test_an_interval_is_explained_by_conditions_on_several_axes(run: Run) -> None:
    text = run("--between", "1.6:1.9").stdout
    common = "all with tp 1 or 2; batch max; osl from 256 to 512 (30 combinations). On top of that:"
    assert common in text
    assert (
        "| 50%             | 3            | 100%   | precision fp16; isl from 512 to 2,048;" in text
    )
    where = json.loads(run("--between", "1.6:1.9", "--json").stdout)["where"]
    assert where["common"]["conditions"]["batch"] == ["max"]
    lengths = {"isl": {"low": 512, "high": 2048}, "osl": {"low": 256, "high": 256}}
    assert {"precision": ["fp16"], **lengths} in [rule["conditions"] for rule in where["rules"]]
    assert 0.9 < where["explained"] <= 1


def test_the_tutorial_shows_what_the_program_prints(run: Run) -> None:
    tutorial = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text("utf-8")
    text = run("--precision", "fp8", "--between", "1.6:1.9").stdout
    shown = text[text.index("Inside ") : text.index("One or more")].strip()
    assert shown in tutorial


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--between", "8:9"), "None of the 672 lies inside 8 to 9."),
        (("--between", "1:8"), "All 672 lie inside 1 to 8."),
        (
            ("--tp", "2", "--between", "1.03:8"),
            "no conditions on up to three axes explain it better",
        ),
        (
            ("--isl", "128", "--osl", "128", "--batch", "8", "--between", "1.05:1.1"),
            "Inside 1.05 to 1.1 lies 1 of 7: exactly those with precision fp8; tp 8.",
        ),
    ],
)
def test_an_interval_that_conditions_do_not_explain_is_said_to_be_one(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    assert told in run(*words).stdout
    assert json.loads(run(*words, "--json").stdout)["where"]["rules"] == []


def test_rules_that_hold_less_than_half_are_said_to() -> None:
    weak, strong = (Rule((Condition("tp", (2,), False),), 10, inside) for inside in (4, 5))
    told = "No conditions on up to three axes have half of their combinations inside."
    for rule, said in ((weak, True), (strong, False)):
        why = Explanation(20, Rule((), 100, 20), (rule,), rule.inside)
        assert (told in subgroups.concluded(why)) is said


def test_without_an_interval_nothing_is_explained(run: Run) -> None:
    assert json.loads(run("--tp", "2", "--json").stdout)["where"] is None


def test_a_heat_map_shows_each_cell_and_frames_the_claimed_ones(run: Run) -> None:
    words = ("--precision", "fp8", "--tp", "1", "--isl", "128,512", "--osl", "256,512")
    result = run(*words, "--batch", "64,max", "--between", "1.6:1.9", "--heat-map", "map.svg")
    assert result.exit_code == 0, result.output
    texts = [element.text or "" for element in ElementTree.parse("map.svg").iter()]
    assert "framed: inside the claimed 1.6 to 1.9" in texts
    assert "as many as fit on each" in texts
    assert any(text.startswith("1.") for text in texts)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--isl", "0"), "'0' is no number above zero"),
        (("--isl", "64..32"), "no range: write it as in 64..4096/64"),
        (("--batch", "most"), "'most' is neither a number above zero nor max"),
        (("--precision", "fp9"), "unknown precision 'fp9': did you mean"),
        (("--between", "2:1"), "no interval: write it as in 1.6:1.9"),
        (("--isl", "1..5000", "--osl", "1..5000"), "combinations are more than 10,000,000"),
        (("--tp", "3"), "64 attention heads of Llama 2 70B do not split over 3 devices"),
        (("--heat-map", "map.txt"), "'.txt' is no format of charts"),
    ],
)
def test_what_cannot_be_swept_says_why(run: Run, words: tuple[str, ...], why: str) -> None:
    result = run(*words)
    assert result.exit_code in (2, 3)
    assert why in result.stderr
    assert "Traceback" not in result.output
