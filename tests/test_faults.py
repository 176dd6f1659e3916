"""What goes wrong in a real run: one sentence, exit code 3 or 130, and what was done is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpubench import records
from gpubench.comparing import comparison
from gpubench.records import RunRecord, case_key
from tests.test_cli import CLAIM

CASES = 3
ROOT = Path(__file__).parents[1]


def run(folder: Path, fault: str, *more: str, device: str = "cpu") -> tuple[int, str]:
    """The exit code and stderr of a quick run in a folder with a small claims file."""
    (folder / "claims.yaml").write_text(CLAIM, "utf-8")
    script = str(ROOT / "tests" / "small_run.py")
    command = [sys.executable, script, fault, "run", "--device", device, "--suite", "quick", *more]
    done = subprocess.run(
        command,
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def only_record(folder: Path) -> RunRecord:
    (path,) = records.list_records(folder / "results")
    return records.read(path)


def is_whole(record: RunRecord) -> bool:
    keys = {case_key(m.case, m.phase) for m in record.measurements if m.complete}
    return record.complete and len(keys) == len(record.measurements) == CASES


def test_without_torch_nothing_is_measured_and_the_remedy_is_told(tmp_path: Path) -> None:
    code, said = run(tmp_path, "no-torch")
    assert code == 3
    assert said.count("\n") == 1
    assert "pip install 'gpubench-claims[gpu]'" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    code, said = run(tmp_path, "none", device="cuda:0")
    assert code == 3
    assert said.count("\n") == 1
    assert said.startswith("Error: cuda:0: ")


def test_where_memory_ends_each_case_says_so_and_can_be_tried_again(tmp_path: Path) -> None:
    code, said = run(tmp_path, "memory")
    record = only_record(tmp_path)
    assert code == 3, said
    assert "out of memory while preparing" in said
    assert f"{CASES} of {CASES} cases could not be measured" in said
    assert len(record.failures) == CASES
    code, said = run(tmp_path, "none", "--resume", record.id)
    assert (code, is_whole(only_record(tmp_path))) == (0, True), said


def test_a_full_disk_keeps_what_was_saved_before(tmp_path: Path) -> None:
    code, said = run(tmp_path, "disk")
    record = only_record(tmp_path)
    assert code == 3, said
    assert "cannot write " in said
    assert f"--resume {record.id}" in said
    assert not record.complete
    assert len(record.measurements) == 1
    assert [path.suffix for path in (tmp_path / "results").glob("*/*")] == [".json"]
    code, said = run(tmp_path, "none", "--resume", record.id)
    assert (code, is_whole(only_record(tmp_path))) == (0, True), said


def test_an_interrupted_run_is_continued_where_it_was_and_nowhere_else(tmp_path: Path) -> None:
    code, said = run(tmp_path, "interrupt")
    partial = only_record(tmp_path)
    assert code == 130, said
    assert f"--resume {partial.id}" in said
    assert [m.complete for m in partial.measurements] == [True, False]
    (path,) = records.list_records(tmp_path / "results")
    state = path.read_text("utf-8")
    for change, words in OTHER_MACHINES:
        path.write_text(json.dumps(json.loads(state) | change), "utf-8")
        code, said = run(tmp_path, "none", "--resume", partial.id)
        assert code == 3, said
        assert words in said
        assert only_record(tmp_path).measurements == partial.measurements
    path.write_text(state, "utf-8")
    code, said = run(tmp_path, "none", "--resume", partial.id[:5])
    whole = only_record(tmp_path)
    assert (code, is_whole(whole)) == (0, True), said
    assert whole.measurements[0] == partial.measurements[0]
    assert f"2/{CASES}" in said
    code, said = run(tmp_path, "none", "--resume", partial.id)
    assert code == 2
    assert "nothing to continue" in said


def test_a_device_that_never_answers_ends_the_run_and_its_case_is_left_out(tmp_path: Path) -> None:
    code, said = run(tmp_path, "hang")
    partial = only_record(tmp_path)
    assert code == 3, said
    assert "Error: bandwidth torch n=262144 pattern=copy: the device did not answer for 1 s" in said
    assert said.rstrip().endswith(f"continue with --resume {partial.id}")
    assert [m.complete for m in partial.measurements] == [True]
    code, said = run(tmp_path, "none", "--resume", partial.id)
    record = only_record(tmp_path)
    assert code == 3, said
    assert "1 of 3 cases could not be measured" in said
    assert [m.case.parameters["pattern"] for m in record.measurements] == ["read", "triad"]
    assert record.failures == partial.failures
    code, said = run(tmp_path, "none", "--resume", partial.id)
    assert code == 2
    assert "nothing to continue" in said


OTHER_MACHINES: tuple[tuple[dict[str, object], str], ...] = (
    ({"device": "NVIDIA H200"}, "was measured on NVIDIA H200, and here is"),
    ({"environment": {"torch": "1.0"}}, "was measured with torch 1.0, and here it is"),
)


def test_two_runs_have_the_same_shape_and_can_be_compared(tmp_path: Path) -> None:
    for _ in range(2):
        code, said = run(tmp_path, "none", "--redact")
        assert code == 0, said
    one, other = (records.read(path) for path in records.list_records(tmp_path / "results"))
    assert one.id != other.id
    assert shape(one) == shape(other)
    found = comparison.pairs(one, other)
    assert [pair.counts for pair in found] == [True] * CASES
    assert all(pair.faster > -1 for pair in found)


def shape(record: RunRecord) -> object:
    """What must not differ from one run to the next on one machine."""
    return (
        record.environment,
        record.device_figures,
        record.verdicts,
        [(m.case, m.phase, m.version, m.work, m.verification) for m in record.measurements],
    )
