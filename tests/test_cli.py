"""The command line: parse, call, print; errors are sentences with an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gpubench import cli, records
from gpubench.measuring import sampling, timing
from gpubench.quantities import QUANTITIES

CLAIM = """\
claims:
  - id: h200-bandwidth
    category: datasheet-spec
    statement: H200 memory bandwidth is 4.8 TB/s.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    subject: nvidia-h200-sxm
    quantity: memory_bandwidth
    claimed: {value: 4.8 TB/s, qualifier: exact}
    conditions: {rate: peak}
  - id: h200-memory
    category: datasheet-spec
    statement: The H200 has 80 GB.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    subject: nvidia-h200-sxm
    quantity: memory_capacity
    claimed: {value: 80 GB, qualifier: exact}
out_of_scope:
  - id: h200-first
    category: not-performance
    statement: The first one was handed over.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    reason: A delivery is an event.
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs gpubench in an empty folder that holds CLAIM as claims.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims.yaml").write_text(CLAIM, encoding="utf-8")

    def _run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, arguments)

    return _run


def process(*arguments: str, cwd: Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gpubench", *arguments]
    return subprocess.Popen(command, cwd=cwd, text=True, **options)  # type: ignore[call-overload, no-any-return]


def on_a_terminal(folder: Path, columns: int, *words: str) -> str:
    """What a command shows on a terminal of so many columns, without its colours."""
    ours, theirs = os.openpty()
    env = {**os.environ, "COLUMNS": str(columns)}
    ended = process(*words, cwd=folder, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # what Linux says when the other end is closed
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert ended.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


def test_a_terminal_gets_a_claim_laid_out_and_no_raw_markdown(run: Run, tmp_path: Path) -> None:
    assert run  # its folder
    text = on_a_terminal(tmp_path, 120, "show", "h200-bandwidth")
    assert "─────" in text
    assert not re.search(r"^(###|>|\|)|\*\*|\]\(", text, re.M)
    assert "NVIDIA: https://www.nvidia.com/en-us/data-center/h200/" in text.splitlines()


def test_80_columns_list_the_accelerators_in_a_line_each(run: Run, tmp_path: Path) -> None:
    assert run  # its folder
    lines = on_a_terminal(tmp_path, 80, "list", "accelerators").splitlines()
    assert len(lines) < 70
    assert max(map(len, lines)) <= 80


def test_a_terminal_gets_a_drawn_table_and_the_reasons_of_a_few_claims(
    run: Run, tmp_path: Path
) -> None:
    assert run  # its folder
    text = on_a_terminal(tmp_path, 110, "check")
    assert "─────" in text
    assert "|" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    assert "- h200-memory: Found 141 GB, outside the accepted 79.5 to 80.5 GB." in lines


# --------------------------------------------------------------------------- help


def test_the_help_names_every_command_with_its_own_first_line(run: Run) -> None:
    text = run("--help").output
    for name, line in cli.COMMANDS.items():
        command = cli.main.get_command(click.Context(cli.main), name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == line, name
        assert name in text


@pytest.mark.parametrize("name", ["claims.yml", "Claims.yaml", "claims.json"])
def test_a_claims_file_of_nearly_the_right_name_is_not_passed_over_in_silence(
    run: Run, tmp_path: Path, name: str
) -> None:
    words = ("check", "--only", "h100-fp16-peak"), ("claims", "lint")
    (tmp_path / "claims.yaml").rename(tmp_path / name)
    for each in words:
        result = run(*each)
        assert result.exit_code == 0
        assert (
            f"There is no claims.yaml here, so the claims that came along are taken: for {name}"
            in (result.stderr)
        )
    (tmp_path / name).unlink()
    assert run(*words[0]).stderr.count("claims.yaml") == 0


def test_outcomes_are_not_awaited_of_other_claims_in_silence(run: Run, tmp_path: Path) -> None:
    assert "claims that came along" not in run("check", "--fail-on", "untested").stderr
    (tmp_path / "claims.yaml").unlink()
    told = "the claims that came along are taken: --claims names others"
    assert told in run("check", "--fail-on", "untested").stderr
    only = run("check", "--fail-on", "untested", "--only", "h100-fp16-peak")
    assert told not in only.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("list", "articles"),
        ("doctor",),
        ("show", "h100-fp16-peak"),
        ("report", "--format", "md", "-o", "-"),
    ],
)
def test_an_output_that_cannot_write_everything_writes_the_rest(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert b"Error" not in done.stderr
    assert done.returncode == 0
    assert len(done.stdout.decode("latin-1").splitlines()) > 4


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    result = run("runn")
    assert result.exit_code == 2
    assert "No such command 'runn': did you mean run?" in result.output
    assert "No such command 'xyzzy'." in run("xyzzy").output


# --------------------------------------------------------------------------- run and check


def test_run_leaves_a_record_and_a_report_and_names_them(run: Run, tmp_path: Path) -> None:
    result = run("run", "--device", "none")
    assert result.exit_code == 0, result.output
    (record,) = tmp_path.glob("results/no-accelerator/*.json")
    (report,) = tmp_path.glob("results/no-accelerator/*.md")
    (page,) = tmp_path.glob("results/no-accelerator/*.html")
    assert result.stdout.splitlines()[-3:] == [
        f"Record: {record.relative_to(tmp_path)}",
        f"Report: {report.relative_to(tmp_path)}",
        f"Page: {page.relative_to(tmp_path)}",
    ]
    assert "refuted (catalogue)" in report.read_text("utf-8")
    assert json.loads(record.read_text("utf-8"))["verdicts"]["h200-memory"] == "refuted (catalogue)"


def test_check_writes_nothing(run: Run, tmp_path: Path) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["claims.yaml"]
    assert result.stdout.startswith("| claim ")
    assert "| supported (" in result.stdout


def test_off_a_terminal_no_id_is_cut_and_no_colour_is_written(run: Run) -> None:
    long = "h200-bandwidth-" + "x" * 90
    Path("claims.yaml").write_text(CLAIM.replace("h200-bandwidth\n", f"{long}\n"), "utf-8")
    output = run("check").stdout
    assert long in output
    assert "\x1b" not in output


def test_json_is_one_document_on_stdout(run: Run) -> None:
    for command in ("check", "run"):
        document = json.loads(run(command, "--json", "-").stdout)
        outcomes = {v["claim"]: v["outcome"] for v in document["verdicts"]}
        assert outcomes["h200-memory"] == "refuted"
        assert outcomes["h200-first"] == "out-of-scope"
        assert document["environment"]["gpubench"]
        assert document["measurements"] == []


def test_json_goes_to_a_file_beside_the_table(run: Run, tmp_path: Path) -> None:
    result = run("check", "--json", "out/verdicts.json")
    assert "| claim" in result.stdout
    assert len(json.loads((tmp_path / "out" / "verdicts.json").read_text("utf-8"))["verdicts"]) == 3


def test_only_judges_the_claims_named(run: Run) -> None:
    result = run("check", "--only", "h200-memory", "--json", "-")
    assert [v["claim"] for v in json.loads(result.stdout)["verdicts"]] == ["h200-memory"]
    result = run("check", "--only", "h200-memry")
    assert result.exit_code == 2
    assert "did you mean h200-memory" in result.stderr


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [("refuted", 1), ("untested,refuted", 1), ("untested", 0), ("inconclusive, untested", 0)],
)
def test_fail_on_turns_an_outcome_into_exit_code_1(run: Run, outcomes: str, code: int) -> None:
    result = run("check", "--fail-on", outcomes)
    assert result.exit_code == code
    assert ("h200-memory" in result.stderr) == bool(code)


def test_fail_on_refuses_an_outcome_that_does_not_exist(run: Run) -> None:
    result = run("check", "--fail-on", "refutd")
    assert result.exit_code == 2
    assert "did you mean refuted?" in result.stderr


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_exit_code_3(run: Run, device: str) -> None:
    result = run("run", "--device", device)
    assert result.exit_code == 3
    assert "--device cpu" in result.stderr
    assert not Path("results").exists()


def test_one_benchmark_can_be_chosen(run: Run) -> None:
    told = run("run", "--device", "cpu", "--dry-run", "--benchmark", "size_sweep").output
    assert "size_sweep" in told
    assert "bandwidth torch" not in told
    wrong = run("run", "--device", "cpu", "--dry-run", "--benchmark", "bandwith")
    assert wrong.exit_code == 2
    assert "did you mean bandwidth" in wrong.stderr


def test_a_dry_run_tells_bytes_and_time_and_measures_nothing(run: Run) -> None:
    result = run("run", "--device", "cpu", "--suite", "quick", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "pattern=triad" in result.output
    assert " MB " in result.output or " GB " in result.output
    assert not Path("results").exists()
    nothing = run("run", "--device", "none", "--dry-run")
    assert "Nothing would be measured: there is no device" in nothing.output


def test_a_dry_run_without_a_case_says_why(run: Run) -> None:
    pytest.importorskip("torch")
    words = ("--device", "cpu", "--benchmark", "collectives", "--ranks", "1", "--dry-run")
    told = run("run", *words).output
    assert told.startswith("Nothing would be measured: collectives need two GPUs")


def test_a_benchmark_named_twice_is_measured_once(run: Run) -> None:
    pytest.importorskip("torch")
    words = ("--device", "cpu", "--suite", "quick", "--dry-run")
    once, twice = ("--benchmark", "bandwidth"), ("--benchmark", "bandwidth") * 2
    assert run("run", *words, *twice).output == run("run", *words, *once).output


@pytest.mark.slow
def test_a_processor_is_measured_for_real_and_its_record_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = replace(sampling.PLANS["quick"], limit_s=0.2, block_s=0.02, warmup_limit_s=0.1)
    monkeypatch.setitem(sampling.PLANS, "quick", soon)
    result = run("run", "--device", "cpu", "--suite", "quick", "--redact", "--seed", "7")
    assert result.exit_code == 0, result.stderr
    (path,) = Path("results").glob("*/*.json")
    record = records.read(path)
    streams = [m for m in record.measurements if m.case.benchmark == "bandwidth"]
    assert [m.case.parameters["pattern"] for m in streams] == ["read", "copy", "triad"]
    assert all(m.complete and m.verification for m in record.measurements)
    assert all(timing.bandwidth(m).mid > 0 for m in streams)
    assert "read " in run("show", record.id).stdout.partition("Measured on ")[2]
    assert record.environment["hostname"].startswith("redacted-")
    assert record.seed == 7
    assert record.complete
    assert "Measured on" in path.with_suffix(".md").read_text("utf-8")
    again = run("run", "--device", "cpu", "--resume", record.id)
    assert again.exit_code == 2
    assert "nothing to continue" in again.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "none:0", ""])
def test_a_device_that_does_not_exist_is_a_usage_error(run: Run, device: str) -> None:
    result = run("run", "--device", device)
    assert result.exit_code == 2
    assert "write auto, none, cpu, cuda or cuda:0" in result.stderr


# --------------------------------------------------------------------------- bad input

BAD_EDITS = {
    "unknown key": ("claimed: {value: 4.8 TB/s", "claimd: {value: 4.8 TB/s"),
    "unknown unit": ("4.8 TB/s, qual", "4.8 TBs, qual"),
    "unknown accelerator": ("subject: nvidia-h200-sxm", "subject: nvidia-h2000"),
    "unknown quantity": ("quantity: memory_bandwidth", "quantity: memory_bandwith"),
    "unknown qualifier": ("qualifier: exact", "qualifier: exactly"),
    "unknown category": ("category: datasheet-spec", "category: datasheet"),
    "unknown condition": ("{rate: peak}", "{rte: peak}"),
    "unknown condition value": ("{rate: peak}", "{rate: top}"),
    "unknown article": ("article: 000_8d8314c702c96883", "article: 000_nothing"),
    "duplicate key": ("    statement: The H200", "    id: again\n    statement: The H200"),
    "duplicate id": ("id: h200-memory\n", "id: h200-bandwidth\n"),
    "not a number": ("value: 4.8 TB/s", "value: .nan"),
    "nan with a unit": ("value: 4.8 TB/s", "value: nan TB/s"),
    "infinity": ("value: 4.8 TB/s", "value: .inf TB/s"),
    "too large a number": ("value: 4.8 TB/s", "value: 1e999 TB/s"),
    "negative": ("value: 4.8 TB/s", "value: -4.8 TB/s"),
    "reversed range": (
        "{value: 4.8 TB/s, qualifier: exact}",
        "{low: 5 TB/s, high: 4 TB/s, qualifier: range}",
    ),
    "wrong unit for the quantity": ("value: 4.8 TB/s", "value: 4.8 GB"),
    "a list where a text belongs": ("statement: The H200 has 80 GB.", "statement: [a, b]"),
    "a text where a list belongs": ("digest: [a0-h200-bandwidth-4-8]", "digest: {a: b}"),
    "anchor": ("claimed: {value: 80 GB", "claimed: &a {value: 80 GB"),
    "alias": ("claimed: {value: 80 GB, qualifier: exact}", "claimed: *a"),
    "tag": ("statement: The H200", "statement: !!python/name:os.system The H200"),
    "broken YAML": ("claims:", "claims: ["),
}


@pytest.mark.parametrize("edit", BAD_EDITS.values(), ids=BAD_EDITS.keys())
def test_a_bad_claims_file_is_refused_with_the_place(run: Run, edit: tuple[str, str]) -> None:
    old, new = edit
    assert old in CLAIM
    Path("claims.yaml").write_text(CLAIM.replace(old, new), "utf-8")
    for command in (("run",), ("check",), ("claims", "lint")):
        result = run(*command)
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit)
        assert "claims.yaml:" in result.stderr
        _, line, column, _ = result.stderr.split(":", 3)
        assert int(line) > 0
        assert int(column) > 0
        assert "Traceback" not in result.output
    assert not Path("results").exists()


def test_every_error_of_a_file_is_said_in_one_pass(run: Run) -> None:
    text = CLAIM.replace("TB/s, qual", "TBs, qual").replace("quantity: memory_c", "quantity: c")
    Path("claims.yaml").write_text(text, "utf-8")
    lines = run("claims", "lint").stderr.splitlines()
    assert len(lines) == 2
    assert "h200-bandwidth: " in lines[0]
    assert "h200-memory: " in lines[1]


def test_anchors_that_would_explode_are_refused_at_once(run: Run) -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n"
    Path("claims.yaml").write_text(text + "claims: *i\n", "utf-8")
    started = time.monotonic()
    result = run("check")
    assert result.exit_code == 2
    assert "anchor" in result.stderr
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80binary", b"\x89PNG\r\n\x1a\n", b"[]"])
def test_a_file_that_is_no_list_of_claims_is_refused(run: Run, content: bytes) -> None:
    Path("claims.yaml").write_bytes(content)
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith("claims.yaml:1:")
    assert isinstance(result.exception, SystemExit)


def test_a_file_of_50_mb_is_refused_without_being_read(run: Run) -> None:
    with Path("claims.yaml").open("wb") as file:
        file.truncate(50_000_000)
    result = run("check")
    assert result.exit_code == 2
    assert "50 MB" in result.stderr


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_is_refused(run: Run, name: str) -> None:
    for arguments in (("check", "--claims", name), ("claims", "lint", name)):
        result = run(*arguments)
        assert result.exit_code == 2
        assert name in result.stderr
        assert isinstance(result.exception, SystemExit)


def test_results_that_cannot_be_written_are_found_before_judging(run: Run) -> None:
    Path("occupied").write_text("a file, not a folder", "utf-8")
    result = run("run", "--results", "occupied/results")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "--results" in result.stderr
    result = run("check", "--json", "occupied/out.json")
    assert result.exit_code == 2
    assert "--json" in result.stderr


@pytest.mark.parametrize("target", ["", "/", "."])
def test_json_wants_a_file(run: Run, target: str) -> None:
    result = run("check", "--json", target)
    assert result.exit_code == 2
    assert "names no file" in result.stderr


# --------------------------------------------------------------------------- list and show


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("accelerators", "nvidia-h200-sxm"),
        ("models", "llama-2-70b"),
        ("quantities", "memory_bandwidth"),
        ("conditions", "sparsity"),
        ("claims", "h200-memory"),
        ("rules", "us-2023-10"),
        ("articles", "000_8d8314c702c96883"),
    ],
)
def test_list_and_show_agree_on_ids(run: Run, kind: str, entry: str) -> None:
    listed = run("list", kind)
    assert listed.exit_code == 0, listed.output
    assert entry in listed.stdout
    if kind not in ("quantities", "conditions"):
        shown = run("show", entry)
        assert shown.exit_code == 0, shown.output
        assert entry in shown.stdout


def test_list_quantities_lists_them_all(run: Run) -> None:
    output = run("list", "quantities").stdout
    assert all(f"| {name} " in output for name in QUANTITIES)


def test_a_record_is_listed_and_shown_by_its_id(run: Run) -> None:
    run("run")
    line = run("list", "records").stdout.splitlines()[-1]
    record_id = line.split("|")[1].strip()
    assert "refuted (catalogue)" in run("show", record_id).stdout
    Path("results/no-accelerator/broken.json").write_text("{", "utf-8")
    result = run("list", "records")
    assert record_id in result.stdout
    assert "Warning: " in result.stderr


def test_names_from_outside_cannot_drive_the_terminal(run: Run, tmp_path: Path) -> None:
    assert "<U+001B>[2J" in run("show", "\x1b[2J").stderr
    assert "<U+202E>" in run("check", "--claims", "\u202e.yaml").stderr
    run("run")
    (path,) = tmp_path.glob("results/*/*.json")
    content = json.loads(path.read_text("utf-8"))
    content["verdicts"]["a\x1b[2J"] = content["environment"]["b\x1b[2J"] = "c\x1b[2J"
    path.write_text(json.dumps(content), "utf-8")
    shown = run("show", str(path))
    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.stdout


def test_a_file_with_many_errors_has_each_at_its_place(run: Run) -> None:
    Path("sub").mkdir()
    Path("sub/mine.yaml").write_text(CLAIM.replace("4.8 TB/s, q", "nan, q"), "utf-8")
    stderr = run("claims", "lint", "sub/mine.yaml").stderr
    assert stderr.startswith("sub/mine.yaml:9:15: h200-bandwidth: cannot read 'nan'")


def test_show_understands_aliases_driver_names_and_open_variants(run: Run) -> None:
    assert "nvidia-h200-sxm" in run("show", "NVIDIA H200").stdout
    assert "leaves the variant open" in run("show", "H100").stdout


def test_show_gives_a_figure_with_its_source_and_grade(run: Run) -> None:
    output = run("show", "nvidia-h200-sxm").stdout
    assert "4.8 TB/s" in output
    assert "https://www.nvidia.com/en-us/data-center/h200/" in output


def test_show_says_what_the_units_of_a_part_are(run: Run) -> None:
    assert re.search(r"compute_units +\| 132 SM +\|", run("show", "nvidia-h200-sxm").stdout)


def test_show_of_a_claim_gives_its_evidence(run: Run) -> None:
    output = run("show", "h200-bandwidth").stdout
    assert "**supported (" in output
    assert "](https://" in output
    assert "out-of-scope" in run("show", "h200-first").stdout


def test_an_unknown_name_gets_near_matches(run: Run) -> None:
    result = run("show", "nvidia-h200-smx")
    assert result.exit_code == 2
    assert "did you mean nvidia-h200-sxm" in result.stderr


# --------------------------------------------------------------------------- estimate

ASKED = ("--model", "llama-2-70b", "--isl", "128", "--osl", "2048", "--precision", "fp8")


def test_an_estimate_is_an_interval_with_its_limit_and_assumptions(run: Run) -> None:
    result = run("estimate", "--gpu", "nvidia-h200-sxm", *ASKED, "--json")
    found = json.loads(result.stdout)
    for key in ("throughput_tok_s", "ttft_ms", "tpot_ms", "energy_j_per_token"):
        assert found[key]["low"] <= found[key]["mid"] <= found[key]["high"]
    assert found["binding_limit"]
    assert 0 < found["prefill_share"] < 1
    assert found["batch"] > 0
    assert 0.5 < found["device_memory_share"] < 1
    assert found["assumptions"]
    assert "vs" not in found


def test_a_comparison_explains_the_uplift(run: Run) -> None:
    gpus = ("--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5")
    versus = json.loads(run("estimate", *gpus, *ASKED, "--json").stdout)["vs"]
    assert versus["uplift"]["mid"] > 1
    assert {part["effect"] for part in versus["why"]} >= {"memory capacity", "memory bandwidth"}
    assert sum(part["share"] for part in versus["why"]) == pytest.approx(1)
    table = run("estimate", *gpus, *ASKED).stdout
    assert "share of the ratio" in table


def test_a_comparison_names_the_error_of_each_part_where_they_differ(run: Run) -> None:
    gpus = ("--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5")
    # 70 GB of weights nearly fill one H100, and no H200.
    one = run("estimate", *gpus, *ASKED, "--tp", "1").stdout
    for name, kind in (
        ("NVIDIA H200 SXM 141GB", "(max batch)"),
        ("NVIDIA H100 SXM5 80GB", "(max batch nearly full)"),
    ):
        (line,) = (
            line
            for line in one.splitlines()
            if line.startswith(f"Error of the throughput of {name}: ")
        )
        assert kind in line
    two = run("estimate", *gpus, *ASKED, "--tp", "2").stdout
    assert (
        two.count("Error of the throughput") == two.count("Error of the throughput of both: ") == 1
    )
    assert "time to first token is that of one request alone" in two
    alone = run("estimate", *gpus[:2], *ASKED).stdout
    assert "Error of the throughput: " in alone


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--gpu", "nvidia-h9000"), 2, "unknown accelerator"),
        (("--gpu", "H100"), 2, "several variants"),
        (("--gpu", "nvidia-h100-pcie", "--tp", "1", "--precision", "fp16"), 3, "no room"),
        (("--gpu", "nvidia-h200-sxm", "--batch", "0"), 2, "no batch"),
        (("--gpu", "nvidia-h200-sxm", "--batch", "many"), 2, "or max"),
        (("--gpu", "nvidia-h200-sxm", "--precision", "fp7"), 2, "fp7"),
        (("--gpu", "nvidia-h200-sxm", "--isl", "0"), 2, "--isl"),
        (("--gpu", "nvidia-h200-sxm", "--osl", "1e3"), 2, "--osl"),
        (("--gpu", "nvidia-h200-sxm", "--model", "llama-9"), 2, "unknown model"),
        (("--gpu", "nvidia-h200-sxm", "--vs", "x"), 2, "unknown accelerator"),
    ],
)
def test_what_cannot_be_estimated_says_why(
    run: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run("estimate", *ASKED, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


# --------------------------------------------------------------------------- claims and doctor


def test_the_schema_is_one_json_document(run: Run) -> None:
    assert json.loads(run("claims", "schema").stdout)["$schema"].startswith("https://json-schema")


def test_coverage_fails_while_an_entry_of_the_digest_is_missing(run: Run) -> None:
    result = run("claims", "coverage")
    assert result.exit_code == 2
    assert "a0-h200-launch-end-2023 is missing" in result.stderr
    assert "| missing " in result.stdout


def test_lint_counts_what_a_good_file_holds(run: Run) -> None:
    assert "2 claims and 1 statement out" in run("claims", "lint").stdout


def test_an_article_of_ones_own_stands_wherever_a_shipped_one_would(run: Run) -> None:
    text = CLAIM.replace("000_8d8314c702c96883", "my-blog")
    own = """\
articles:
  my-blog:
    title: Our H200 measured
    author: Jane Doe
    publisher: Example Post
    date: 2025-11-13
    url: https://example.org/h200
"""
    Path("claims.yaml").write_text(own + re.sub(", digest: .*]}", "}", text), "utf-8")
    told = "“[Our H200 measured](https://example.org/h200)” (Jane Doe, Example Post; 2025-11-13)"
    for entry in ("h200-bandwidth", "h200-first"):
        assert f"Printed in {told}, section 1" in run("show", entry).stdout
    assert told in run("report", "--format", "md").stdout
    assert "Jane Doe" in run("show", "my-blog").stdout
    assert "Example Post" in run("list", "articles").stdout
    (review, _) = json.loads(run("report", "--format", "claimreview").stdout)["@graph"]
    (appearance,) = review["itemReviewed"]["appearance"]
    assert review["itemReviewed"]["author"]["name"] == "Example Post"
    assert appearance["author"] == {"@type": "Person", "name": "Jane Doe"}
    assert appearance["url"] == "https://example.org/h200"
    account = run("claims", "coverage")
    assert account.exit_code == 0
    told = "claims.yaml cites no article that ships with gpubench: there is nothing to account for"
    assert account.output.strip() == told
    page = run("report", "-o", "-").stdout
    assert page.count('href="https://example.org/h200"') == 3  # of the article and its claims
    assert "000_8d8314c702c96883" not in page


def test_the_doctor_leaves_no_trace_and_names_what_is_broken(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "✓ catalogue" in result.stdout
    assert not Path("results").exists()
    assert run("doctor", "--results", "some/where/deep").exit_code == 0
    assert not Path("some").exists()
    Path("claims.yaml").write_text("claims: 7", "utf-8")
    result = run("doctor")
    assert result.exit_code == 2
    assert "✗ claims: claims.yaml:1:" in result.stdout


# --------------------------------------------------------------------------- as a process


def test_a_reader_that_closes_the_pipe_sees_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = process("list", "accelerators", cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, stderr = done.communicate(timeout=60)
    assert done.returncode == cli.PIPE_CLOSED
    assert stderr == ""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device that is full")
@pytest.mark.parametrize("command", [("--help",), ("list", "models"), ("check", "--json", "-")])
def test_an_output_that_is_full_is_an_error_in_one_line(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, stderr = done.communicate(timeout=60)
        # Buffered, what is left of it is written when the interpreter exits.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        both = process(*command, cwd=tmp_path, stdout=full, stderr=full, env=env)
    assert (done.returncode, stderr) == (
        cli.FAILED,
        "Error: cannot write the output: No space left on device\n",
    )
    assert both.wait(timeout=60) == cli.FAILED


@pytest.mark.parametrize("command", [("list", "models"), ("check", "--json", "-"), ("doctor",)])
def test_without_an_output_the_work_is_done_all_the_same(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = process(*command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    _, stderr = done.communicate(timeout=60)
    assert (done.returncode, stderr) == (0, "")


def when_read(pipe: Path, reader: subprocess.Popen[str]) -> int:
    """A descriptor that writes to a named pipe, as soon as the process reads from it."""
    while reader.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    pytest.fail(f"it ended with {reader.returncode} before reading")


@pytest.mark.parametrize(
    ("command", "sent", "code"),
    [
        ("check", signal.SIGINT, cli.INTERRUPTED),
        ("run", signal.SIGINT, cli.INTERRUPTED),
        ("run", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_command_ends_without_a_traceback(
    tmp_path: Path, command: str, sent: signal.Signals, code: int
) -> None:
    """Reading claims from a pipe that never ends stands for a long run."""
    os.mkfifo(tmp_path / "endless")
    started = process(
        command,
        *("--claims", "endless"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        # A job in the background may have been started with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    writing = when_read(tmp_path / "endless", started)
    while started.poll() is None:  # a signal just before a blocking read is seen only after it
        started.send_signal(sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(timeout=1)
    _, stderr = started.communicate()
    os.close(writing)
    assert started.returncode == code
    assert ("Interrupted" in stderr) == (sent == signal.SIGINT)
    assert "Traceback" not in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["endless"]


def test_a_programming_error_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.catalogue.load", lambda: 1 / 0)
    assert isinstance(run("check").exception, ZeroDivisionError)


def test_python_m_gpubench_is_the_same_command(tmp_path: Path) -> None:
    done = process("--version", cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.communicate(timeout=60)[0].startswith("gpubench, version ")


@pytest.mark.parametrize("text", ["9", "0s", "-1m", "9 minutes", "1e3s", "m"])
def test_a_time_limit_is_a_number_with_a_unit(run: Run, text: str) -> None:
    result = run("run", "--device", "none", "--time-limit", text)
    assert result.exit_code == 2
    assert "is no time: write one such as 540s, 9m or 1.5h" in " ".join(result.output.split())


def test_a_run_whose_time_is_up_judges_what_it_has_and_says_that_it_is_nothing(run: Run) -> None:
    pytest.importorskip("torch")
    words = ("--device", "cpu", "--suite", "quick", "--benchmark", "bandwidth", "--redact")
    result = run("run", *words, "--time-limit", "0.1s")
    assert result.exit_code == 3, result.output
    assert "time is up, and 3 of 3 cases are left" in result.stderr
    assert "nothing was measured: allow more time" in result.stderr
    (path,) = records.list_records(Path("results"))
    record = records.read(path)
    assert f"--resume {record.id}" in result.stderr
    assert (record.complete, record.measurements) == (False, ())
    assert record.verdicts
