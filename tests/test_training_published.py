"""The training model, fitted to serving, beside published training results."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpubench import catalogue, cli
from gpubench.catalogue import training as table
from gpubench.validating import training_check
from gpubench.validating.training_check import Checked

KNOWN = catalogue.load()
HEADER = (
    "source_id,gpu,num_gpus,model,layers,hidden,heads,vocabulary,sequence,micro_batch,"
    "global_batch_sequences,tp,pp,precision,recomputation,optimizer_sharding,metric,value,notes"
)
# MLPerf Training v5.0, Llama 3.1 405B on 512 devices: TP 4 fits an H200, an H100 needs TP 8.
H200 = "p,nvidia-h200-sxm,512,Llama 3.1 405B,,,,,8192,1,1152,4,8,fp8,none,,step_s,50.02,CP 2; VP 8"
H100 = "p,nvidia-h100-sxm5,512,Llama 3.1 405B,,,,,8192,1,1152,8,8,fp8,none,,step_s,55.13,CP 2; VP 8"


@pytest.fixture(scope="module")
def checked() -> Checked:
    return training_check.check(KNOWN.training_table(table.TABLE), KNOWN)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return path


def test_blank_lines_of_a_table_are_no_rows(tmp_path: Path) -> None:
    path, out = write(tmp_path / "table.csv", H200, "", H100, ""), tmp_path / "out.csv"
    result = CliRunner().invoke(cli.main, ["validate", str(path), "--predictions", str(out)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["gpu"] for row in rows] == ["nvidia-h200-sxm", "nvidia-h100-sxm5"]
    assert all(row["predicted"] for row in rows)


@pytest.mark.parametrize("row", [f"{H200},one more", H200.rpartition(",")[0]])
def test_a_row_with_a_cell_too_many_or_too_few_says_nothing(tmp_path: Path, row: str) -> None:
    wrong, right = KNOWN.training_table(write(tmp_path / "table.csv", row, H100))
    assert (wrong.line, wrong.row) == (2, None)
    assert wrong.problem == "the row does not have 19 cells, as the column names have"
    assert right.row


def speeds(checked: Checked, *sources: str) -> list[float]:
    rows = [row for row in checked.rows if row.value is not None and row.entry.row]
    return [one.speed for one in rows if one.entry.row and one.entry.row.source_id in sources]


def test_every_row_is_predicted_or_says_why(checked: Checked) -> None:
    assert all((row.value is None) == bool(row.skipped) for row in checked.rows)
    assert sum(row.value is not None for row in checked.rows) > 150
    assert not any("unknown accelerator" in why for why in checked.skipped)


def test_dense_models_come_out_within_a_fifth(checked: Checked) -> None:
    dense = checked.absolute["architecture"]["dense"]
    assert dense.count > 120
    assert dense.median < 0.15
    assert dense.mean < 0.20


def test_tuned_runs_come_out_within_a_tenth(checked: Checked) -> None:
    rounds = [f"mlperf-training-{version}" for version in ("3.0", "3.1", "4.1", "5.0")]
    found = speeds(checked, *rounds, "megatron-lm-llama", "dgxc-benchmarking-25.03")
    assert len(found) > 25
    assert statistics.mean(abs(speed - 1) for speed in found) < 0.10


def test_an_h200_trains_405b_as_much_faster_as_mlperf_found(tmp_path: Path) -> None:
    rows = KNOWN.training_table(write(tmp_path / "pair.csv", H200, H100))
    found = training_check.check(rows, KNOWN)
    faster, slower = (row.value for row in found.rows)
    assert faster
    assert slower
    assert slower / faster == pytest.approx(55.13 / 50.02, rel=0.06)
    assert list(found.ratios) == ["nvidia-h200-sxm / nvidia-h100-sxm5"]


def test_a_model_nobody_lists_is_counted_from_its_shape(tmp_path: Path) -> None:
    shape, batch = "32,4096,32,50368", "2048,6,48"
    own = f"p,nvidia-a100-80gb-sxm4,8,Own 7b,{shape},{batch},,,amp_bf16,none,FULL_SHARD"
    own += ",tokens_s_gpu,4000,"
    (entry,) = KNOWN.training_table(write(tmp_path / "own.csv", own))
    assert entry.row
    # 12 layers · hidden² of weights, and the embedding that is also the head
    assert entry.row.model.parameters == 12 * 32 * 4096**2 + 50368 * 4096
    assert entry.row.sharded


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("405B", "406B"), "unknown model 'Llama-3.1-406B': did you mean"),
        (("nvidia-h200-sxm", "nvidia-h201"), "unknown accelerator"),
        (("fp8", "fp7"), "precision 'fp7' is none of"),
        ((",1152,", ",,"), "sequence or batch not published"),
        ((",50.02,", ",0,"), "value '0' is no positive number"),
        (("step_s", "watts"), "watts is not predicted"),
        ((",512,", ",12,"), "12 devices do not split into pipelines"),
        (("CP 2", "SUSPECT CP 2"), "marked suspect"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(
    tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    rows = KNOWN.training_table(write(tmp_path / "odd.csv", H200.replace(*change)))
    (found,) = training_check.check(rows, KNOWN).rows
    assert why in found.skipped


def test_validate_takes_a_table_of_training_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(Path("pair.csv"), H200, H100, H100.replace("405B", "406B"))
    run = CliRunner().invoke(
        cli.main, ["validate", str(path), "--json", "--predictions", "out.csv"]
    )
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert document["predicted"] == 2
    assert document["skipped"][0]["lines"] == [4]
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text("utf-8"))))
    assert [bool(row["predicted"]) for row in rows] == [True, True, False]
    assert rows[0]["value"] == "50.02"
    text = CliRunner().invoke(cli.main, ["validate", str(path)]).stdout
    assert text.startswith("3 rows of training: 2 predicted, 1 skipped")
    refused = CliRunner().invoke(cli.main, ["validate", str(path), "--leave-one-gpu-out"])
    assert refused.exit_code == 2
    assert "neither fitted nor drawn" in refused.stderr
