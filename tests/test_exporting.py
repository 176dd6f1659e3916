"""Records in the formats of other tools, read back by those tools."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from gpubench import cli, exporting, importing, records
from gpubench.model import Block, Case, Caution, Measurement, Work
from gpubench.records import RunRecord


def measured(benchmark: str, work: Work, seconds: float, **more: object) -> Measurement:
    blocks = tuple(
        Block(tuple(seconds * (1 + 0.001 * (i + j)) for j in range(4)), {"power_w": 600.0 + i})
        for i in range(6)
    )
    kind = {"precision": "fp16", "data": "normal"} if benchmark == "gemm" else {}
    found = Measurement(Case(benchmark, "triton", {"n": 10, **kind}), 1, work, blocks, 2, 0.1)
    return replace(found, **more)  # type: ignore[arg-type]


RECORD = RunRecord(
    "11111111",
    "2026-01-31T09:30:00Z",
    "nvidia-h200-sxm",
    {"hostname": 'node "1"\n', "git_commit": "abc"},
    device="NVIDIA H200",
    measurements=(
        measured("bandwidth", Work(flops=1e9, bytes=4e9), 1e-3),
        measured("gemm", Work(flops=1e12, bytes=1e9), 2e-3),
        measured("launch", Work(), 5e-6),
        measured("bandwidth", Work(bytes=9e9), 1e-3, complete=False),
        measured("size_sweep", Work(bytes=9e9), 1e-9, cautions=(Caution("implausible", "no"),)),
    ),
    failures={"gemm triton": "no"},
)


def test_what_is_cut_short_or_implausible_is_in_no_format() -> None:
    assert [each.found.case.benchmark for each in exporting.told(RECORD)] == [
        "bandwidth",
        "gemm",
        "launch",
    ]
    rates = [(each.unit, each.rate) for each in exporting.told(RECORD)]
    assert [unit for unit, _ in rates] == ["B/s", "FLOP/s", "1/s"]
    assert rates[0][1] == pytest.approx(4e12, rel=0.01)
    assert all(each.low <= each.rate <= each.high for each in exporting.told(RECORD))


def test_pytest_benchmark_compares_what_was_exported(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "0001_first.json").write_bytes(exporting.render("pytest-benchmark", RECORD))
    slower = replace(
        RECORD,
        measurements=(measured("bandwidth", Work(bytes=4e9), 2e-3), *RECORD.measurements[1:]),
    )
    (folder / "0002_second.json").write_bytes(exporting.render("pytest-benchmark", slower))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "--columns=median,rounds"]
    command += ["--csv=out.csv", *sorted(map(str, folder.iterdir()))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    medians = sorted((row["name"].split("::")[-1], float(row["median"])) for row in rows)
    cases = {each.found.case.benchmark: each.name for each in exporting.told(RECORD)}
    seconds = [
        ("bandwidth", 1e-3),
        ("bandwidth", 2e-3),
        *2 * [("gemm", 2e-3)],
        *2 * [("launch", 5e-6)],
    ]
    middle = 1 + 0.001 * 4  # of six blocks of four samples
    assert medians == [(cases[name], pytest.approx(found * middle)) for name, found in seconds]
    assert {row["rounds"] for row in rows} == {"24"}


def test_our_own_import_reads_it_back(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(exporting.render("pytest-benchmark", RECORD))
    words = ["import", "pytest-benchmark", str(path), "--results", str(tmp_path / "results")]
    assert CliRunner().invoke(cli.main, words).exit_code == 0


LINE = re.compile(r'^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+]+$')


def test_prometheus_lines_follow_its_text_format() -> None:
    text = exporting.render("prometheus", RECORD).decode()
    assert text.endswith("\n")
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    for line in samples:
        assert LINE.match(line), line
    (rate,) = [line for line in samples if line.startswith("gpubench_rate{") and "gemm" in line]
    assert float(rate.rpartition(" ")[2]) == pytest.approx(5e14, rel=0.01)
    assert 'host="node \\"1\\"\\n"' in rate
    assert any(line.startswith("gpubench_failures") and line.endswith(" 1") for line in samples)
    series = [line.rpartition(" ")[0] for line in samples]
    assert len(set(series)) == len(series) == 4 * 3 + 2
    helped = re.findall(r"^# TYPE (\w+) gauge$", text, re.M)
    assert {line.partition("{")[0] for line in samples} <= set(helped)


@pytest.mark.parametrize(
    ("command", "room", "registry"),
    [("export", exporting, "FORMATS"), ("import", importing, "TOOLS")],
)
def test_a_line_in_a_registry_reaches_the_command(
    monkeypatch: pytest.MonkeyPatch, command: str, room: ModuleType, registry: str
) -> None:
    for name in ("gpubench.cli.export", "gpubench.cli.importing"):
        importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)  # it is imported once more, for this test alone
    monkeypatch.setattr(room, registry, {**getattr(room, registry), "new-one": "new_one"})
    assert "new-one" in CliRunner().invoke(cli.main, [command, "--help"]).stdout


def test_what_a_tool_ran_twice_is_one_series(tmp_path: Path) -> None:
    theirs, results = tmp_path / "theirs.csv", tmp_path / "results"
    row = "Triad,100,33554432,8,{rate},0.000193,0.000195,0.000194\n"
    theirs.write_text(
        "function,num_times,n_elements,sizeof,max_TB_per_sec,min_runtime,max_runtime,avg_runtime\n"
        + "".join(row.format(rate=rate) for rate in (4.0, 4.1))
    )
    words = ["import", "babelstream", str(theirs), "--accelerator", "nvidia-h200-sxm"]
    assert CliRunner().invoke(cli.main, [*words, "--results", str(results)]).exit_code == 0
    (saved,) = records.list_records(results)
    text = exporting.render("prometheus", records.read(saved)).decode()
    (rate,) = [line for line in text.splitlines() if line.startswith("gpubench_rate{")]
    assert 4.0e12 < float(rate.rpartition(" ")[2]) < 4.1e12


def test_the_action_gets_what_is_bigger_when_better() -> None:
    found = json.loads(exporting.render("github-action-benchmark", RECORD))
    assert [set(each) for each in found] == [{"name", "unit", "value", "range", "extra"}] * 3
    assert found[0]["value"] == pytest.approx(4e12, rel=0.01)


def test_parquet_holds_every_sample() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.read_parquet(io.BytesIO(exporting.render("parquet", RECORD)))
    assert len(frame) == 3 * 6 * 4
    bandwidth = frame[frame.benchmark == "bandwidth"]
    assert (bandwidth["bytes"] / bandwidth.seconds).median() == pytest.approx(4e12, rel=0.01)
    assert set(frame.power_w) == {600.0 + i for i in range(6)}


def test_parquet_files_with_and_without_readings_are_one_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    silent = tuple(
        replace(one, blocks=tuple(replace(block, telemetry={}) for block in one.blocks))
        for one in RECORD.measurements
    )
    empty = replace(RECORD, measurements=())
    told = (("0", empty), ("a", RECORD), ("b", replace(RECORD, measurements=silent)))
    for name, record in told:
        (tmp_path / f"{name}.parquet").write_bytes(exporting.render("parquet", record))
    frame = pandas.read_parquet(tmp_path)
    assert len(frame) == 2 * 3 * 6 * 4
    assert frame.power_w.isna().sum() == len(frame) // 2


def test_a_pass_of_a_model_is_told_in_tokens() -> None:
    p = {"model": "llama-2-70b", "phase": "prefill", "batch": 8, "input_tokens": 2048}
    made = replace(
        RECORD.measurements[0],
        case=Case("inference", "torch", p),
        choices={"scaled": {"factor": 20}},
    )
    record = replace(RECORD, measurements=(made,))
    (told,) = exporting.told(record)
    assert told.unit == "token/s"
    assert told.rate == pytest.approx(8 * 2048 / 20 / told.timing.seconds.mid)


def test_parquet_without_its_packages_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    records.write(RECORD, tmp_path)
    words = ["export", "11111111", "--format", "parquet", "--results", str(tmp_path)]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2
    assert "pip install 'gpubench-claims[parquet]'" in result.stderr


def test_the_command_writes_a_file_or_stdout(tmp_path: Path) -> None:
    saved = records.write(RECORD, tmp_path)
    words = ["export", str(saved), "--format", "prometheus"]
    printed = CliRunner().invoke(cli.main, words)
    assert printed.exit_code == 0
    out = tmp_path / "out.prom"
    assert CliRunner().invoke(cli.main, [*words, "-o", str(out)]).exit_code == 0
    assert out.read_text() == printed.stdout
    assert CliRunner().invoke(cli.main, ["export", "ffff", "--format", "prometheus"]).exit_code == 2
