"""What measured passes say: tokens, joules, evidence, rows, and the two factors of an uplift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpubench import catalogue, cli, records, roofline
from gpubench.benchmarks import _inference_plan
from gpubench.comparing import index
from gpubench.model import Block, Case, Caution, Estimate, Measurement, Verdict, Work
from gpubench.records import RunRecord
from gpubench.report import workloads as tables
from gpubench.roofline import steps
from gpubench.validating import scoring
from gpubench.workloads import differences, figures, rows, shares
from gpubench.workloads import evidence as workloads
from tests.conftest import Load

KNOWN = catalogue.load()
MADE = RunRecord(
    id="0123abcd",
    created="2026-01-31T09:30:00Z",
    accelerator="nvidia-h200-sxm",
    environment={"gpubench": "0.0.0"},
    device="NVIDIA H200",
    suite="standard",
    device_figures={"memory_capacity": 150.75e9},
)
H100 = replace(MADE, id="456789ab", accelerator="nvidia-h100-sxm5", device="NVIDIA H100")


def measured(phase: str, seconds: float, **more: Any) -> Measurement:
    """A made-up pass of Llama 2 70B in FP8 at 600 W, for these stories only."""
    sequences, codes = more.pop("sequences", 0), more.pop("codes", ())
    storage = {"precision": "fp8", "kv_precision": "fp8"}
    p: dict[str, Any] = {"phase": phase, "model": "llama-2-70b", **storage, "batch": 8}
    p |= {"input_tokens": 2048, "layers": 80, **more}
    if phase == "decode":
        p.setdefault("output_tokens", 128)
    choices: dict[str, Any] = {"idle_power_w": 100.0}
    choices["sequences"] = sequences or p["batch"]
    factor = _inference_plan.scale(p, choices["sequences"])
    if factor != 1.0:
        choices["scaled"] = {"layers": p["layers"], "of": 80, "factor": factor}
    if p["batch"] == "max":
        choices["capacity"] = {
            "sequences": sequences,
            "out_of_memory_at": sequences + 1,
            "tokens_each": 2176,
            "memory": p["memory"],
            "weight_bytes": 70e9,
        }
    blocks = tuple(
        Block((seconds,) * 5, {"total_energy_j": 600.0 * at, "read_at_s": float(at)})
        for at in range(8)
    )
    return Measurement(
        case=Case("inference", "triton", p),
        version=1,
        work=_inference_plan.work(p, choices["sequences"]),
        blocks=blocks,
        calls_per_sample=1,
        warmup_s=0.2,
        choices=choices,
        cautions=tuple(Caution(code, "a fact") for code in codes),
    )


def recorded(base: RunRecord, *found: Measurement) -> RunRecord:
    return replace(base, measurements=found)


# --------------------------------------------------------------------------- figures


def test_a_step_gives_a_token_to_each_sequence() -> None:
    (one,) = figures.passes(recorded(MADE, measured("decode", 0.02)))
    assert one.rate.mid == pytest.approx(8 / 0.02)
    # 600 W for 20 ms are 12 J for 8 tokens, of which the card at rest would have drawn 2.
    assert one.joules == pytest.approx(1.5)
    assert one.joules_above == pytest.approx(1.25)
    assert one.joules_per_flop == pytest.approx(12 / one.measurement.work.flops)


def test_a_part_stands_for_the_whole_by_its_factor() -> None:
    whole = measured("prefill", 2.0, batch=4)
    part = measured("prefill", 0.1, batch=4, layers=4)
    factor = part.choices["scaled"]["factor"]
    assert 19.9 < factor <= 20.0
    first, second = figures.passes(recorded(MADE, whole, part))
    assert second.seconds.mid == pytest.approx(0.1 * factor)
    assert first.rate.mid == pytest.approx(4 * 2048 / 2.0)
    assert second.joules == pytest.approx(factor * 60 / (4 * 2048))


def test_serving_takes_turns_of_prefills_and_steps() -> None:
    record = recorded(MADE, measured("decode", 0.025), measured("prefill", 1.6))
    (each,) = figures.servings(record)
    assert each.rate.mid == pytest.approx(8 * 128 / (1.6 + 128 * 0.025))
    # For each token written 16 are read: 960 J for 16384 of them, and 15 J for 8 written.
    assert each.joules == pytest.approx(16 * 960 / 16384 + 15 / 8)
    other = measured("prefill", 1.6, input_tokens=128)
    assert not list(figures.servings(recorded(MADE, measured("decode", 0.025), other)))


def test_what_is_impossible_or_slower_is_left_out() -> None:
    fast, slow = measured("decode", 0.02), measured("decode", 0.03)
    slow = replace(slow, case=replace(slow.case, method="torch"))
    faulty = measured("decode", 0.001, batch=16, codes=("implausible",))
    found = figures.passes(recorded(MADE, slow, fast, faulty))
    assert [one.measurement.case.method for one in found] == ["torch", "triton"]
    assert [one.seconds.mid for one in figures.fastest(found)] == [pytest.approx(0.02)]


# --------------------------------------------------------------------------- verdicts

CLAIM = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {value: 2 x, qualifier: about}
conditions: {model: llama-2-70b}
sweep:
  precision: [fp8]
  gpus: [1]
  batch: [8, max]
  input_tokens: [2048]
  output_tokens: [128]
"""


def judged(load_claims: Load, text: str, *found: RunRecord) -> Verdict:
    from gpubench.judging.judgement import judge_all

    (verdict,) = judge_all(load_claims(text), KNOWN, (), found).verdicts
    return verdict


def test_two_parts_that_were_both_measured_are_compared(load_claims: Load) -> None:
    ours = recorded(MADE, measured("decode", 0.020), measured("prefill", 1.0))
    theirs = recorded(H100, measured("decode", 0.040), measured("prefill", 2.0))
    verdict = judged(load_claims, CLAIM, ours, theirs)
    decided = [e for e in verdict.evidence if e.kind == "measured"]
    assert [(e.conditions["batch"], e.conditions["phase"]) for e in decided] == [(8, "serving")]
    assert decided[0].mid == pytest.approx(2.0)
    assert "0123abcd" in decided[0].source
    assert "456789ab" in decided[0].source
    # Elsewhere, with as many as fit, the model is heard.
    assert any(e.kind == "estimated" and e.conditions["batch"] == "max" for e in verdict.evidence)


def test_what_a_newer_record_of_other_benchmarks_does_not_hold_still_speaks(
    load_claims: Load, tmp_path: Path
) -> None:
    ours = recorded(MADE, measured("decode", 0.020), measured("prefill", 1.0))
    theirs = recorded(H100, measured("decode", 0.040), measured("prefill", 2.0))
    read = Case("bandwidth", "triton", {"pattern": "read", "n": 2**30})
    stream = Measurement(read, 1, Work(bytes=4.5e12), (Block((1.0,) * 5),) * 8, 1, 0.2)
    for base in (MADE, H100):
        later = replace(base, id=f"{base.id[:-1]}f", created="2026-03-01T09:30:00Z")
        records.write(recorded(later, stream), tmp_path)
    records.write(ours, tmp_path)
    records.write(theirs, tmp_path)
    newest = index.latest(tmp_path)
    assert len(newest) == 4
    before, now = judged(load_claims, CLAIM, ours, theirs), judged(load_claims, CLAIM, *newest)
    said = [[e for e in each.evidence if e.kind == "measured"] for each in (before, now)]
    assert said[0] == said[1] != []


def test_the_shares_of_an_uplift_survive_a_newer_record_of_other_benchmarks() -> None:
    within = replace(MADE, environment={"memory_limit": "85520809984"})
    ample = recorded(
        MADE,
        measured("prefill", 1.6),
        measured("decode", 0.040, batch="max", memory=150_754_820_096, sequences=300),
    )
    tight = recorded(
        within,
        measured("prefill", 1.6),
        measured("decode", 0.024, batch="max", memory=85_520_809_984, sequences=40),
    )
    every = [ample, tight, recorded(within, measured("attention", 0.001, output_tokens=128))]
    assert tables.share_table(every, KNOWN).rows == tables.share_table(every[:2], KNOWN).rows != []


def test_a_slice_of_a_card_says_nothing_of_workloads_on_the_card(load_claims: Load) -> None:
    ours = recorded(MADE, measured("decode", 0.020), measured("prefill", 1.0))
    theirs = recorded(H100, measured("decode", 0.040), measured("prefill", 2.0))
    sliced = replace(theirs, cautions=(Caution(records.SLICE, "a slice"),))
    verdict = judged(load_claims, CLAIM, ours, sliced)
    assert not any(e.kind == "measured" for e in verdict.evidence)
    assert rows.records_as_rows([sliced], KNOWN) == ()


def test_a_pass_that_was_cut_short_is_no_evidence(load_claims: Load) -> None:
    cut = replace(measured("decode", 0.020), complete=False)
    assert figures.passes(recorded(MADE, cut)) == ()
    ours = recorded(MADE, cut, measured("prefill", 1.0))
    verdict = judged(load_claims, CLAIM, ours)
    assert not any("over the estimate" in e.source for e in verdict.evidence)


def test_one_part_alone_is_held_against_the_estimate_of_the_other(load_claims: Load) -> None:
    ours = recorded(MADE, measured("decode", 0.020), measured("prefill", 1.0))
    verdict = judged(load_claims, CLAIM, ours)
    mixed = [e for e in verdict.evidence if "over the estimate" in e.source]
    assert [e.kind for e in mixed] == ["estimated"]
    asked = {k: v for k, v in mixed[0].conditions.items() if k != "phase"}
    part = KNOWN.accelerators["nvidia-h100-sxm5"]
    said = roofline.estimate("inference_throughput", part, {**asked, "phase": "serving"}, KNOWN)
    (each,) = figures.servings(ours)
    assert mixed[0].mid == pytest.approx(each.rate.mid / said.mid)
    assert mixed[0].low == pytest.approx(each.rate.low / said.high)
    assert "is absent" in mixed[0].assumptions[0]


def test_other_conditions_than_those_of_the_claim_say_nothing(load_claims: Load) -> None:
    for more in ({"batch": 32}, {"input_tokens": 512}, {"precision": "fp16"}):
        both = (measured("decode", 0.02, **more), measured("prefill", 1.0, **more))
        verdict = judged(load_claims, CLAIM, recorded(MADE, *both), recorded(H100, *both))
        assert not any(e.kind == "measured" for e in verdict.evidence), more


def test_a_figure_of_one_part_is_evidence_of_its_own(load_claims: Load) -> None:
    text = CLAIM.replace("baseline: nvidia-h100-sxm5\n", "").replace(
        "inference_throughput\nclaimed: {value: 2 x, qualifier: about}",
        "energy_per_token\nclaimed: {value: 2 J/token, qualifier: about}",
    )
    record = recorded(MADE, measured("decode", 0.025), measured("prefill", 1.6))
    verdict = judged(load_claims, text, record)
    (decided,) = (e for e in verdict.evidence if e.kind == "measured")
    (each,) = figures.servings(record)
    assert decided.low <= decided.mid <= decided.high
    assert decided.mid == pytest.approx(each.joules)
    assert decided.conditions["gpus"] == 1


def test_hpc_kernels_are_held_against_the_estimate_of_the_other_part(load_claims: Load) -> None:
    text = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: hpc_throughput
claimed: {value: 1 x, qualifier: more-than}
sweep: {kernel: [triad, stencil]}
"""
    case = Case("hpc", "triton", {"pattern": "triad", "n": 2**28})
    from gpubench.benchmarks import hpc

    work = hpc.work(case.parameters)
    blocks = tuple(Block((work.bytes / 4.2e12,) * 5) for _ in range(8))
    found = Measurement(case, 1, work, blocks, 1, 0.2)
    verdict = judged(load_claims, text, recorded(MADE, found))
    (mixed,) = (e for e in verdict.evidence if "over the estimate" in e.source)
    assert mixed.conditions["kernel"] == "triad"
    assert 1.2 < (mixed.mid or 0) < 1.7
    alone = judged(
        load_claims,
        text.replace("baseline: nvidia-h100-sxm5\n", "").replace(
            "{value: 1 x, qualifier: more-than}", "{value: 0.3 TFLOPS, qualifier: more-than}"
        ),
        recorded(MADE, found),
    )
    assert [e.conditions["kernel"] for e in alone.evidence if e.kind == "measured"] == ["triad"]


# --------------------------------------------------------------------------- model and measurement


def test_where_model_and_measurement_disagree_the_report_says_so() -> None:
    part = KNOWN.accelerators["nvidia-h200-sxm"]
    asked = {"model": "llama-2-70b", "precision": "fp8", "kv_precision": "fp8", "gpus": 1}
    asked |= {"batch": 8, "input_tokens": 2048, "output_tokens": 128}
    said = roofline.estimate("time_per_output_token", part, asked, KNOWN)
    agreeing = recorded(MADE, measured("decode", said.mid))
    (one, *_) = differences.held(agreeing, KNOWN)
    held = {h.figure.quantity: h for h in differences.held(agreeing, KNOWN)}
    assert not held["time_per_output_token"].apart
    assert held["time_per_output_token"].ratio == pytest.approx(1.0)
    apart = recorded(MADE, measured("decode", 1.5 * said.high))
    sentences = differences.sentences(apart, KNOWN)
    assert any(s.startswith("time per output token (model llama-2-70b") for s in sentences)
    assert all("beyond its stated error" in s for s in sentences)
    table = tables.model_table(apart, KNOWN)
    assert "no" in {row[-1] for row in table.rows}
    assert one.estimate.unit


# --------------------------------------------------------------------------- rows


def served() -> RunRecord:
    return recorded(
        MADE,
        measured("decode", 0.02),
        measured("prefill", 1.0),
        measured("prefill", 0.14, batch=1),
        measured("decode", 0.03, batch="max", memory=150_754_820_096, sequences=300),
    )


def test_records_are_rows_that_the_model_is_held_against() -> None:
    found = rows.records_as_rows([served(), recorded(replace(MADE, accelerator="cpu"))], KNOWN)
    assert [(r.metric, r.batch) for r in found] == [
        ("output_tok_s", 8),
        ("output_tok_s", 300),
        ("ttft_ms", 1),
    ]
    assert found[0].value == pytest.approx(8 * 128 / (1.0 + 128 * 0.02))
    assert found[2].value == pytest.approx(140.0)
    compared = scoring.compare(rows.as_table([served()], KNOWN), KNOWN)
    assert compared.predicted == 3
    assert not compared.skipped
    limited = replace(served(), environment={"memory_limit": "85520809984"})
    assert rows.records_as_rows([limited], KNOWN) == ()


def test_a_table_of_rows_reads_back_as_the_same_rows(tmp_path: Path) -> None:
    import csv

    table = rows.as_table([served()], KNOWN)
    path = tmp_path / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table.columns)
        writer.writeheader()
        writer.writerows(entry.cells for entry in table.rows)
    again = KNOWN.inference_table(path)
    assert [entry.problem for entry in again.rows] == ["", "", ""]
    for one, other in zip(table.rows, again.rows, strict=True):
        assert one.row is not None
        assert other.row is not None
        assert other.row.value == pytest.approx(one.row.value, rel=1e-5)
        assert (other.row.accelerator, other.row.batch) == (one.row.accelerator, one.row.batch)


def test_validate_takes_a_record_for_a_table(tmp_path: Path) -> None:
    path = records.write(served(), tmp_path)
    done = CliRunner().invoke(cli.main, ["validate", str(path)])
    assert done.exit_code == 0, done.output
    assert "3 rows: 3 predicted" in done.output


# --------------------------------------------------------------------------- shares of an uplift


def test_the_factors_of_an_uplift_are_shown_apart_and_multiplied() -> None:
    ample = recorded(
        MADE,
        measured("prefill", 1.6),
        measured("decode", 0.040, batch="max", memory=150_754_820_096, sequences=300),
    )
    tight = recorded(
        replace(MADE, environment={"memory_limit": "85520809984"}),
        measured("prefill", 1.6),
        measured("decode", 0.024, batch="max", memory=85_520_809_984, sequences=40),
    )
    (one,) = shares.shares(ample, tight, "nvidia-h100-sxm5", KNOWN)
    assert (one.ample, one.tight) == (300, 40)

    def rate(sequences: int, seconds: float) -> float:
        return sequences * 128 / (sequences / 8 * 1.6 + 128 * seconds)

    assert one.capacity[1] == pytest.approx(rate(300, 0.040) / rate(40, 0.024))
    asked = {"model": "llama-2-70b", "precision": "fp8", "kv_precision": "fp8", "gpus": 1}
    asked |= {"input_tokens": 2048, "output_tokens": 128}
    room = roofline.estimate(
        "max_sequences", KNOWN.accelerators["nvidia-h100-sxm5"], asked, KNOWN
    ).mid
    asked["batch"] = min(40, room)
    parts = (KNOWN.accelerators[name] for name in ("nvidia-h200-sxm", "nvidia-h100-sxm5"))
    rest: Estimate = roofline.estimate_ratio("inference_throughput", *parts, asked, KNOWN)
    assert one.rest == (rest.low, rest.mid, rest.high)
    assert one.uplift == pytest.approx([a * b for a, b in zip(one.capacity, one.rest, strict=True)])
    assert one.uplift[0] < one.uplift[1] < one.uplift[2]
    table = tables.share_table([ample, tight], KNOWN)
    assert table.rows[0][:2] == ["llama-2-70b fp8, 2048 + 128 tokens", "300 for 40"]
    assert list(shares.shares(tight, ample, "nvidia-h100-sxm5", KNOWN)) == []
    # What was made within a limit is no figure of the part.
    assert list(workloads.of(tight, "max_sequences"))
    assert list(differences.held(tight, KNOWN)) == []


def test_a_limited_run_does_not_hide_the_whole_one(tmp_path: Path) -> None:
    records.write(served(), tmp_path)
    limited = replace(
        served(),
        id="89abcdef",
        created="2026-02-01T09:30:00Z",
        environment={"memory_limit": "85520809984"},
    )
    records.write(limited, tmp_path)
    assert {record.id for record in index.latest(tmp_path)} == {"0123abcd", "89abcdef"}


def test_every_pass_is_told_with_its_energy_and_the_capacity_found() -> None:
    table = tables.pass_table(served())
    assert len(table.rows) == 4
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert table.columns[9] == "of the limit"
    assert cells["energy"] == "1.5 J/token"
    assert cells["above rest"] == "1.25 J/token"
    assert table.rows[3][5] == "300 (all that fit)"
    assert tables.capacity_table(served()).rows == [
        ["llama-2-70b fp8", "2176", "151 GB", "70 GB", "300", "301"]
    ]
    model = KNOWN.model("llama-2-70b")
    assert steps.part_of(model, 80) is model


def test_passes_are_held_against_what_the_same_record_measured_of_their_limit() -> None:
    read = Case("bandwidth", "triton", {"pattern": "read", "n": 2**30})
    product = Case("gemm", "torch", {"precision": "fp8", "m": 1, "n": 1, "k": 1, "data": "normal"})
    limits = [
        Measurement(read, 1, Work(bytes=4.5e12), (Block((1.0,) * 5),) * 8, 1, 0.2),
        Measurement(product, 1, Work(flops=1.2e15, bytes=1.0), (Block((1.0,) * 5),) * 8, 1, 0.2),
    ]
    step, prompt = measured("decode", 0.02), measured("prefill", 4.0)
    alone = measured("attention", 0.001, output_tokens=128)
    record = recorded(MADE, *limits, step, prompt, alone)
    shares_ = [row[9] for row in tables.pass_table(record).rows]
    assert shares_ == [
        f"{100 * step.work.bytes / 0.02 / 4.5e12:.1f} %",
        f"{100 * prompt.work.flops / 4.0 / 1.2e15:.1f} %",
    ]
    (row,) = tables.attention_table(record).rows
    assert row[2] == "8 x 2112"
    assert row[5] == f"{100 * alone.work.bytes / 0.001 / 4.5e12:.1f} %"
    assert all(row[9] == "" for row in tables.pass_table(served()).rows)


# --------------------------------------------------------------------------- the command line


def test_a_memory_limit_is_a_size_and_needs_a_gpu(tmp_path: Path) -> None:
    run = ["run", "--device", "cpu", "--results", str(tmp_path), "--memory-limit"]
    wrong = CliRunner().invoke(cli.main, [*run, "eighty"])
    assert wrong.exit_code == 2
    wrong = CliRunner().invoke(cli.main, [*run, "3 TB/s"])
    assert wrong.exit_code == 2
    assert "is no size" in wrong.output
    refused = CliRunner().invoke(cli.main, [*run, "80GB"])
    assert refused.exit_code == 3
    assert "no limit to set" in refused.output
