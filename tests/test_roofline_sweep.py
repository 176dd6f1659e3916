"""Sweeps say what single estimates say, and where nothing fits they say nothing."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import catalogue, cli, roofline
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.roofline import sweep as sweeping
from gpubench.roofline.sweep import MAX, Axes, sweep

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


def test_a_sweep_of_nothing_names_the_reason() -> None:
    axes = Axes([1], [128], [128], ["fp16"], [1])
    with pytest.raises(CannotEstimate, match="leaves no room for a KV cache"):
        sweep(H200, H100, KNOWN.model("llama-3.1-405b"), axes)


# --------------------------------------------------------------------------- the command

Run = Callable[..., Result]
PARTS = ("--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5", "--model", "llama-2-70b")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(cli.main, ["sweep", *PARTS, *map(str, words)])


def test_the_share_inside_an_interval_is_that_of_the_combinations(run: Run) -> None:
    words = ("--precision", "fp8", "--tp", "1", "--between", "1.6:1.9", "--csv", "all.csv")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    (whole, *_) = json.loads(result.stdout)["groups"]
    rows = list(csv.DictReader(io.StringIO(Path("all.csv").read_text("utf-8"))))
    assert len(rows) == 4 * 7 * 7
    values = [float(row["uplift"]) for row in rows if row["uplift"]]
    assert whole["count"] == len(values)
    inside = sum(1.6 <= value <= 1.9 for value in values) / len(values)
    assert whole["inside"] == pytest.approx(inside, abs=1e-3)
    assert {row["batch"] for row in rows} == {"1", "8", "64", "max"}


def test_the_table_of_all_combinations_holds_those_that_were_refused(run: Run) -> None:
    words = ("--precision", "fp16,fp8", "--tp", "1", "--isl", "128", "--osl", "128")
    result = run(*words, "--batch", "1", "--csv", "all.csv")
    rows = list(csv.DictReader(io.StringIO(Path("all.csv").read_text("utf-8"))))
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
        (("--batch", "most"), "'most' is no number above zero, max"),
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
