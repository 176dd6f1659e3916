"""Two records of one machine: what is compared, and what makes them disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpubench import cli, records
from gpubench.comparing import comparison
from gpubench.model import Block, Case, Caution, Measurement, Work
from gpubench.records import RunRecord, case_key

RECORD = RunRecord("11111111", "2026-01-31T09:30:00Z", "nvidia-h200-sxm", {}, device="NVIDIA H200")


def measured(benchmark: str, seconds: float, **more: object) -> Measurement:
    """Eight blocks that spread by half a percent around a time."""
    return replace(
        Measurement(
            case=Case(benchmark, "torch", {"pattern": "read", "n": 10}),
            version=1,
            work=Work(bytes=40.0),
            blocks=tuple(Block((seconds * (1 + 0.001 * (i % 3 - 1)),) * 5) for i in range(8)),
            calls_per_sample=1,
            warmup_s=0.2,
        ),
        **more,  # type: ignore[arg-type]
    )


def test_cases_that_both_measured_whole_are_compared() -> None:
    one = replace(RECORD, measurements=(measured("bandwidth", 2e-3), measured("launch", 1e-6)))
    other = replace(RECORD, measurements=(measured("launch", 2e-6), measured("bandwidth", 1e-3)))
    bandwidth, launch = comparison.pairs(one, other)
    assert bandwidth.faster == pytest.approx(1.0)
    assert launch.faster == pytest.approx(-0.5)
    assert (bandwidth.counts, launch.counts) == (True, False)


@pytest.mark.parametrize("change", [{"version": 2}, {"complete": False}, {"phase": "sustained"}])
def test_what_is_not_the_same_is_not_compared(change: dict[str, object]) -> None:
    one = replace(RECORD, measurements=(measured("bandwidth", 1e-3),))
    other = replace(RECORD, measurements=(measured("bandwidth", 1e-3, **change),))
    assert comparison.pairs(one, other) == ()


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Result]:
    """Saves two records with these times of a read, and compares."""

    def _compare(first: float, second: float, *arguments: str) -> Result:
        for number, seconds in ((1, first), (2, second)):
            found = (measured("bandwidth", seconds), measured("launch", number * 1e-6))
            made = f"2026-01-31T09:30:0{number}Z"
            record = replace(RECORD, id=str(number) * 8, created=made, measurements=found)
            records.write(record, tmp_path)
        return CliRunner().invoke(cli.main, ("compare", "--results", str(tmp_path), *arguments))

    return _compare


def test_the_two_newest_records_are_compared_and_agree(compare: Callable[..., Result]) -> None:
    result = compare(1e-3, 1.008e-3, "--within", "1")
    assert result.exit_code == 0, result.output
    assert "22222222 (NVIDIA H200) against 11111111 (NVIDIA H200)" in result.output
    assert "-0.79 %" in result.output
    assert "-50.00 %" in result.output  # a launch, which is shown and judges nothing
    assert "All rates that claims are judged by agree within 1 %." in result.output


@pytest.mark.parametrize("seconds", [1.02e-3, 0.98e-3])
def test_a_rate_that_differs_more_fails_either_way(
    compare: Callable[..., Result], seconds: float
) -> None:
    result = compare(1e-3, seconds, "1111", "2222", "--within", "1")
    assert result.exit_code == 1
    assert "--within 1: bandwidth torch burst n=10 pattern=read" in result.output
    assert compare(1e-3, seconds).exit_code == 0


def test_one_record_has_nothing_to_be_compared_with(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    assert compare(1e-3, 1e-3, "11111111").exit_code == 2
    assert "no record" in compare(1e-3, 1e-3, "11111111", "33").output
    next(tmp_path.glob("*/*-2*.json")).unlink()
    result = CliRunner().invoke(cli.main, ("compare", "--results", str(tmp_path)))
    assert result.exit_code == 2
    assert "no two records" in result.output


def test_without_a_common_rate_nothing_agrees(tmp_path: Path) -> None:
    for number in (1, 2):
        found = (measured("launch", 1e-6),)
        record = replace(RECORD, id=str(number) * 8, measurements=found)
        records.write(record, tmp_path)
    arguments = ("compare", "--results", str(tmp_path), "--within", "1")
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 1
    assert "no rate that claims are judged by, such as a bandwidth or a product" in result.output


# --------------------------------------------------------------------------- what is compared


def spread(seconds: float, share: float) -> Measurement:
    """Eight blocks that reach so far to both sides of a time."""
    blocks = tuple(Block((seconds * (1 + share * (i - 3.5) / 3.5),) * 5) for i in range(8))
    return measured("bandwidth", seconds, blocks=blocks)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (spread(1e-3, 0.001), spread(1.001e-3, 0.001), "same"),
        (spread(1e-3, 0.001), spread(0.9e-3, 0.001), "faster"),
        (spread(1e-3, 0.001), spread(1.1e-3, 0.001), "slower"),
        (spread(1e-3, 0.1), spread(1.05e-3, 0.1), "cannot tell"),
        (spread(1e-3, 0.003), spread(1.008e-3, 0.003), "cannot tell"),
    ],
)
def test_a_ratio_is_the_same_faster_slower_or_more_than_can_be_told(
    first: Measurement, second: Measurement, outcome: str
) -> None:
    one, other = (replace(RECORD, measurements=(found,)) for found in (first, second))
    (pair,) = comparison.compare(one, other).pairs
    assert pair.outcome() == outcome
    low, middle, high = pair.ratio
    assert low <= middle <= high


def test_what_must_not_be_compared_is_refused_with_the_reason() -> None:
    wrong = Caution("implausible", "faster than light")
    one = replace(
        RECORD,
        measurements=(
            measured("bandwidth", 1e-3),
            measured("gemm", 1e-3),
            measured("launch", 1e-3),
            measured("host_copy", 1e-3),
        ),
    )
    other = replace(
        RECORD,
        measurements=(
            measured("bandwidth", 1e-3, version=2),
            measured("gemm", 1e-3, cautions=(wrong,)),
            measured("launch", 1e-3, complete=False),
        ),
        failures={case_key(one.measurements[3].case, "burst"): "out of memory"},
    )
    found = comparison.compare(one, other)
    assert found.pairs == ()
    why = {refused.name.split()[0]: refused.why for refused in found.refused}
    assert "by version 1 and by version 2" in why["bandwidth"]
    assert why["gemm"] == "implausible in the second: faster than light"
    assert why["launch"] == "cut short in the second"
    assert why["host_copy"] == "failed in the second: out of memory"


def test_environments_are_compared_first() -> None:
    one = replace(RECORD, environment={"driver": "550", "torch": "2.11"})
    other = replace(RECORD, environment={"driver": "580", "torch": "2.11", "power_limit_w": "500"})
    found = comparison.differences(one, other)
    assert [(d.name, d.first, d.second) for d in found] == [
        ("driver", "550", "580"),
        ("power_limit_w", "", "500"),
    ]


def test_records_are_named_by_id_file_folder_or_accelerator(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    compare(1e-3, 1.2e-3)
    file = next((tmp_path / "nvidia-h200-sxm").glob("*-11111111.json"))
    folder = tmp_path / "nvidia-h200-sxm"
    for names in (("1111", "2222"), (str(file), str(folder)), (str(file), "nvidia-h200-sxm")):
        words = ("compare", *names, "--results", str(tmp_path), "--json")
        document = json.loads(CliRunner().invoke(cli.main, words).stdout)
        assert [each["id"] for each in document["records"]] == ["11111111", "22222222"]
        assert document["cases"][0]["outcome"] == "slower"
    words = ("compare", "1111", "nvidia-h300", "--results", str(tmp_path))
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2
    assert "is no record's id, file or folder, and as an accelerator: unknown" in result.stderr


def test_a_regression_beyond_the_intervals_exits_with_1(compare: Callable[..., Result]) -> None:
    assert compare(1e-3, 1.2e-3, "--fail-below", "5%").exit_code == 1
    assert compare(1e-3, 1.02e-3, "--fail-below", "5%").exit_code == 0
    assert compare(1.2e-3, 1e-3, "--fail-below", "5%").exit_code == 0
    assert compare(1e-3, 1e-3, "--fail-below", "no").exit_code == 2


def test_a_part_whose_name_could_begin_an_id_is_found_as_a_part(tmp_path: Path) -> None:
    for number, part in ((1, "nvidia-b200"), (2, "nvidia-b300")):
        found = replace(RECORD, id=str(number) * 8, accelerator=part)
        records.write(replace(found, measurements=(measured("bandwidth", 1e-3),)), tmp_path)
    words = ("compare", "b200", "b300", "--results", str(tmp_path), "--json")
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    assert [each["id"] for each in json.loads(result.stdout)["records"]] == ["11111111", "22222222"]


@pytest.mark.parametrize("fact", [{"imported_from": "babelstream"}, {"memory_limit": "80 GB"}])
def test_the_newest_of_a_part_is_one_of_our_own_with_all_its_memory(
    compare: Callable[..., Result], tmp_path: Path, fact: dict[str, str]
) -> None:
    compare(1e-3, 1e-3)
    newer = replace(RECORD, id="33333333", created="2026-02-01T09:30:00Z", environment=fact)
    records.write(replace(newer, measurements=(measured("bandwidth", 1e-3),)), tmp_path)
    for name in ("nvidia-h200-sxm", str(tmp_path / "nvidia-h200-sxm")):
        words = ("compare", "1111", name, "--results", str(tmp_path), "--json")
        document = json.loads(CliRunner().invoke(cli.main, words).stdout)
        assert [each["id"] for each in document["records"]] == ["11111111", "22222222"]


def saved(tmp_path: Path, *found: Measurement) -> tuple[str, ...]:
    """Each measurement as a record of its own; the words that compare them."""
    for number, one in enumerate(found, 1):
        records.write(replace(RECORD, id=str(number) * 8, measurements=(one,)), tmp_path)
    return ("compare", "1111", "2222", "--results", str(tmp_path), "--fail-below", "5")


def test_a_pass_of_a_model_that_takes_longer_is_a_regression(tmp_path: Path) -> None:
    words = saved(tmp_path, *(measured("inference", seconds) for seconds in (464e-6, 31.9e-3)))
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 1
    assert "--fail-below 5: inference torch burst" in result.stderr


def test_figures_without_samples_tell_of_no_regression_and_that_is_said(tmp_path: Path) -> None:
    single = [
        measured("bandwidth", seconds, blocks=(Block((seconds,)),)) for seconds in (1e-3, 1.5e-3)
    ]
    result = CliRunner().invoke(cli.main, saved(tmp_path, *single))
    assert "cannot tell" in result.stdout
    assert result.exit_code == 1
    assert "single figures without samples" in result.stderr
    assert "bandwidth" not in result.stderr


def in_company(seconds: float, fact: str = "up to 2 other compute processes") -> Measurement:
    return measured("bandwidth", seconds, cautions=(Caution("shared", fact),))


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (measured("bandwidth", 1e-3), in_company(1.5e-3), "cannot tell"),
        (in_company(1.5e-3), measured("bandwidth", 1e-3), "cannot tell"),
        (measured("bandwidth", 1.5e-3), in_company(1e-3), "faster"),  # for all their company
        (in_company(1e-3), measured("bandwidth", 1.5e-3), "slower"),
        (in_company(1e-3), in_company(1e-3), "same"),
    ],
)
def test_what_others_took_is_no_change_of_the_machine(
    first: Measurement, second: Measurement, outcome: str
) -> None:
    one, other = (replace(RECORD, measurements=(found,)) for found in (first, second))
    (pair,) = comparison.compare(one, other).pairs
    assert pair.outcome() == outcome


def test_a_regression_gate_in_company_says_that_it_cannot_tell(tmp_path: Path) -> None:
    words = saved(tmp_path, measured("bandwidth", 1e-3), in_company(1.5e-3))
    result = CliRunner().invoke(cli.main, words)
    assert "- Others used the machine in 1 of 1 cases of the second, as in band" in result.stdout
    assert result.exit_code == 1
    assert "no rate would show a fall" in result.stderr
    found = json.loads(CliRunner().invoke(cli.main, (*words, "--json")).stdout)
    assert found["cases"][0]["company"]["second"] == "up to 2 other compute processes"


# --------------------------------------------------------------------------- two tools


@pytest.fixture
def beside(tmp_path: Path) -> Callable[..., Result]:
    """Saves what another tool's copy reached, 100 B in 1 µs, beside ours, and compares."""

    def copied(method: str, seconds: float, n: int) -> Measurement:
        made = measured("bandwidth", seconds, work=Work(bytes=100.0))
        return replace(made, case=Case("bandwidth", method, {"pattern": "copy", "n": n}))

    theirs = replace(copied("babelstream", 1e-6, 7), blocks=(Block((1e-6,)),))
    told = {"imported_from": "babelstream"}
    other = replace(RECORD, suite="imported", environment=told, measurements=(theirs,))

    def _beside(seconds: float, *arguments: str) -> Result:
        ours = (copied("torch", 2e-6, 9), copied("triton", seconds, 9), measured("launch", 1e-6))
        records.write(other, tmp_path)
        records.write(replace(RECORD, id="22222222", measurements=ours), tmp_path)
        words = ("compare", "1111", "2222", "--results", str(tmp_path), *arguments)
        return CliRunner().invoke(cli.main, words)

    return _beside


def test_the_best_of_ours_stands_beside_the_figure_of_another_tool(
    beside: Callable[..., Result],
) -> None:
    result = beside(0.98e-6)
    assert result.exit_code == 0, result.output
    (row,) = (line for line in result.stdout.splitlines() if line.startswith("| copy"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "copy",
        "100 MB/s (100 B a call)",
        "102 MB/s (triton, 100 B a call)",
        "1.020",
        "1.019 to 1.021",
    ]
    assert "gpubench over babelstream" in result.stdout
    assert "launch" not in result.stdout


def test_a_rate_below_another_tools_fails_beyond_the_interval(
    beside: Callable[..., Result],
) -> None:
    assert beside(1.02e-6, "--fail-below", "1").exit_code == 1
    assert beside(1.02e-6, "--fail-below", "3").exit_code == 0
    assert beside(0.90e-6, "--fail-below", "1").exit_code == 0
    assert "--within 5: copy" in beside(0.90e-6, "--within", "5").stderr
    found = json.loads(beside(0.5e-6, "--json").stdout)["figures"][0]
    assert (found["figure"], found["unit"]) == ("copy", "B/s")
    assert found["ratio"]["mid"] == pytest.approx(2.0)


def test_what_ours_lost_or_measured_in_company_is_no_pass(tmp_path: Path) -> None:
    def of(pattern: str, seconds: float, **more: object) -> Measurement:
        made = measured("bandwidth", seconds, work=Work(bytes=100.0), **more)
        return replace(made, case=Case("bandwidth", "torch", {"pattern": pattern, "n": 9}))

    told = {"imported_from": "babelstream"}
    theirs = replace(RECORD, environment=told, measurements=(of("read", 1e-6), of("triad", 1e-6)))
    records.write(theirs, tmp_path)
    failed = {"bandwidth torch burst n=9 pattern=triad": "triad gives a wrong answer"}
    ours = replace(RECORD, id="22222222", measurements=(of("read", 1e-6),), failures=failed)
    words = ("compare", "1111", "2222", "--results", str(tmp_path), "--fail-below", "1")
    records.write(ours, tmp_path)
    lost = CliRunner().invoke(cli.main, words)
    assert lost.exit_code == 1
    assert "- triad is not in the second: triad gives a wrong answer" in lost.stdout
    shared = in_company(1.0).cautions
    slow = tuple(of(name, 2e-6, cautions=shared) for name in ("read", "triad"))
    records.write(replace(ours, id="33333333", measurements=slow, failures={}), tmp_path)
    together = CliRunner().invoke(cli.main, (*words[:2], "3333", *words[3:]))
    assert together.exit_code == 1
    assert "nothing would show a fall, since others used the machine" in together.stderr
    assert "- read of gpubench: up to 2 other" in together.stdout


@pytest.mark.parametrize("option", ["--within", "--fail-below"])
@pytest.mark.parametrize(
    "failed",
    [
        "collectives nccl burst bytes=8589934592 collective=all_reduce dtype=bf16 hosts=1 ranks=8",
        "collectives nccl-tests burst bytes=8589934592 collective=all_reduce place=out ranks=8",
        "host_copy torch burst bytes=1024 direction=to host",
        "bandwidth babelstream burst array=a[]",
    ],
)
def test_what_gave_a_wrong_answer_passes_no_comparison(
    tmp_path: Path, failed: str, option: str
) -> None:
    reduced = {"collective": "all_reduce", "bytes": 8589934592, "ranks": 8, "hosts": 1}
    cases = (
        Case("collectives", "nccl-tests", reduced),
        Case("host_copy", "nvbandwidth", {"direction": "to host", "bytes": 1024}),
        Case("bandwidth", "babelstream", {"pattern": "read", "n": 9}),
    )
    theirs = tuple(
        replace(measured("launch", 1e-3, work=Work(wire_bytes=100.0)), case=case) for case in cases
    )
    told = {"imported_from": "babelstream"}
    records.write(replace(RECORD, environment=told, measurements=theirs), tmp_path)
    why = {failed: "it gives a wrong answer (3 wrong numbers)"}
    lost = failed.split()[0]
    ours = tuple(one for one in theirs if one.case.benchmark != lost or "[]" in failed)
    records.write(replace(RECORD, id="22222222", measurements=ours, failures=why), tmp_path)
    words = ("compare", "1111", "2222", "--results", str(tmp_path), option, "5")
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 1, result.output
    assert "it gives a wrong answer" in result.stderr


def test_tools_that_measured_nothing_alike_agree_on_nothing(
    beside: Callable[..., Result], tmp_path: Path
) -> None:
    beside(1e-6)
    ours = replace(RECORD, id="33333333", measurements=(measured("launch", 1e-6),))
    records.write(ours, tmp_path)
    words = ("compare", "1111", "3333", "--results", str(tmp_path))
    assert "measured nothing alike" in CliRunner().invoke(cli.main, words).stdout
    result = CliRunner().invoke(cli.main, (*words, "--fail-below", "5"))
    assert result.exit_code == 1
    assert "--fail-below 5: the two measured nothing alike" in result.stderr


# --------------------------------------------------------------------------- many


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Four hosts, of which the third has a slow card."""
    for number, seconds in enumerate((1e-3, 1.001e-3, 1.25e-3, 0.999e-3), 1):
        host = {"hostname": f"host-{number}"}
        made = f"2026-01-31T09:30:0{number}Z"
        record = replace(RECORD, id=str(number) * 8, created=made, environment=host)
        records.write(replace(record, measurements=(measured("bandwidth", seconds),)), tmp_path)
    return tmp_path


def test_a_fleet_names_the_slow_and_puts_them_first(many: Path) -> None:
    result = CliRunner().invoke(cli.main, ("compare", str(many)))
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("| host-")]
    assert rows[0].startswith("| host-3 ")
    assert "80.0%" in rows[0]
    assert "- GPU 0 of host-3 is slow" in result.stdout
    words = ("compare", "1111", "2222", "3333", "--results", str(many), "--json")
    document = json.loads(CliRunner().invoke(cli.main, words).stdout)
    assert [each["record"] for each in document["slow"]] == ["33333333"]
    assert CliRunner().invoke(cli.main, ("compare", str(many), "--within", "1")).exit_code == 2


def test_records_of_one_machine_are_no_fleet(many: Path) -> None:
    for path in records.list_records(many):
        alike = replace(records.read(path), environment={"hostname": "host-1"})
        path.unlink()
        records.write(alike, many)
    for words in ((str(many),), ("1111", "2222", "3333", "--results", str(many))):
        result = CliRunner().invoke(cli.main, ("compare", *words))
        assert result.exit_code == 2
        assert "records are of one machine" in result.stderr


def test_the_history_of_a_machine_is_held_against_its_best(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    compare(1e-3, 1.25e-3)
    result = CliRunner().invoke(cli.main, ("history", "--results", str(tmp_path), "--json"))
    document = json.loads(result.stdout)
    assert document["records"] == 2
    (step,) = document["cases"]
    assert step["last"] / step["best"] == pytest.approx(0.8)
    text = CliRunner().invoke(cli.main, ("history", "--results", str(tmp_path))).stdout
    assert "-20.00 %" in text
    words = ("history", "--host", "nobody", "--results", str(tmp_path))
    assert CliRunner().invoke(cli.main, words).exit_code == 2
