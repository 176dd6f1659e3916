"""Results of nccl-tests, nvbandwidth, BabelStream and pytest-benchmark, as these print them.

The layouts were read in the sources of the tools; figures of real runs are named where they stand.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpubench import benchmarks, catalogue, cli, importing, records
from gpubench.comparing import index
from gpubench.errors import RecordError, UnknownName
from gpubench.measuring import timing
from gpubench.model import Accelerator
from gpubench.records import RunRecord

KNOWN = catalogue.load()
Read = Callable[..., RunRecord]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def identify(name: str) -> Accelerator | None:
        try:
            return KNOWN.accelerator(name)
        except UnknownName:
            return None

    def _read(tool: str, text: str, accelerator: str = "") -> RunRecord:
        path = tmp_path / "theirs"
        path.write_text(text, encoding="utf-8")
        part = KNOWN.accelerator(accelerator) if accelerator else None
        return importing.read(tool, path, identify, part)

    return _read


def rates(record: RunRecord) -> list[float]:
    return [timing.wire_rate(found).mid / 1e9 for found in record.measurements]


# --------------------------------------------------------------------------- nccl-tests, the table

DEVICES = "\n".join(
    f"#  Rank  {n} Group  0 Pid    144 on e49901c75833 device  {n} [0000:4{n}:00] "
    "NVIDIA H100 80GB HBM3"
    for n in range(4)
)
PROLOGUE = "# nThread 1 nGpus 4 minBytes 8 maxBytes 64 step: 2(factor) warmup iters: 5 iters: 50"
COLUMNS = "#  size count type redop root time algbw busbw #wrong time algbw busbw #wrong"
# 4x H100, all-reduce of 8 GiB: github.com/waynehacking8/nccl-collectives-bench at 38c093e,
# results/quiet/all_reduce.txt.
LARGE = "  8589934592 2147483648 float sum -1 35187.6 244.12 366.18 0 35210.4 243.96 365.94 0"
SMALL = "  8 2 float sum -1 23.30 0.00 0.00 0 23.35 0.00 0.00 0"
END = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 124.846 \n#"


def table(*rows: str, columns: str = COLUMNS, devices: str = DEVICES, end: str = END) -> str:
    start = "# Collective test starting: all_reduce_perf\nNCCL version 2.29.2+cuda13.0"
    return "\n".join((start, PROLOGUE, "# Using devices", devices, columns, *rows, end))


def test_a_table_gives_both_places_of_each_size(read: Read) -> None:
    record = read("nccl-tests", table(SMALL, LARGE))
    assert record.accelerator == "nvidia-h100-sxm5"
    assert [m.case.parameters["place"] for m in record.measurements] == ["out", "in"] * 2
    assert rates(record)[2:] == pytest.approx([366.18, 365.94], rel=1e-4)
    found = record.measurements[-1]
    assert found.case.parameters["ranks"] == 4
    assert found.case.parameters["dtype"] == "fp32"
    assert found.calls_per_sample == 50
    assert found.verification == "no wrong number, by the tool"
    assert record.environment["nccl"] == "2.29.2+cuda13.0"


def test_a_size_that_was_run_again_is_one_case_with_two_blocks(read: Read) -> None:
    again = LARGE.replace("35187.6 244.12 366.18", "36187.6 237.37 356.06")
    record = read("nccl-tests", table(LARGE, again))
    out, inside = record.measurements
    assert [block.seconds for block in out.blocks] == [(0.0351876,), (0.0361876,)]
    assert len(inside.blocks) == 2
    (caution,) = out.cautions
    assert caution.fact == "2 figures without their samples, too few for an interval"
    often = read("nccl-tests", table(LARGE, *[again] * 5)).measurements[0]
    assert not often.cautions
    times = timing.of(out).seconds
    assert times.low < times.mid < times.high


def test_tags_of_mpirun_and_messages_in_a_row_are_taken_out(read: Read) -> None:
    tag = "[1,0]<stdout>:"
    torn = [
        f"{tag}  8589934592 2147483648 float sum      -138dcf168f605:1417:1417 [0] NCCL INFO x",
        f"{tag} 35187.6 244.12 366.18 {tag} 0 35210.4 243.96 365.94 0",
    ]
    text = table(*torn).replace("\n#", f"\n{tag}#")
    assert rates(read("nccl-tests", text)) == pytest.approx([366.18, 365.94], rel=1e-4)


def test_the_oldest_layout_has_an_error_in_place_of_a_count(read: Read) -> None:
    columns = "#  size count type redop time algbw busbw error time algbw busbw error"
    row = (
        "  8589934592 2147483648 float sum 35187.6 244.12 366.18 4e-07 35210.4 243.96 365.94 4e-07"
    )
    record = read("nccl-tests", table(row, columns=columns))
    assert rates(record) == pytest.approx([366.18, 365.94], rel=1e-4)
    assert record.measurements[0].verification == "not checked by the tool"
    assert [caution.code for caution in record.cautions] == ["unchecked"]


def test_ranks_follow_from_the_quotient_of_rates_where_no_device_is_listed(read: Read) -> None:
    record = read("nccl-tests", table(LARGE, devices="#"), "nvidia-h100-sxm5")
    assert record.measurements[0].case.parameters["ranks"] == 4
    assert record.accelerator == "nvidia-h100-sxm5"


def test_damaged_rows_and_runs_are_told(read: Read) -> None:
    late = LARGE.replace("35187.6 244.12", "99999 244.12").replace("35210.4", "-35210.4")
    record = read("nccl-tests", table(SMALL, late))
    assert len(record.measurements) == 2
    assert record.failures == {
        failed_at("out"): ("its time of 99999 us means 85.9 GB/s, and the row says 244.12"),
        failed_at("in"): "its time is -35210.4 us",
    }
    twice = (
        f"{table(SMALL)}\n{PROLOGUE}\n host: Test NCCL failure common.cu:1 'remote process exited'"
    )
    with pytest.raises(RecordError, match="a run in it failed, so it is not whole: Test NCCL fai"):
        read("nccl-tests", twice)


def test_the_hosts_time_is_not_taken_for_the_devices(read: Read) -> None:
    columns = COLUMNS.replace(" time ", " cputime ")
    row = LARGE.replace("35187.6", "12.5").replace("35210.4", "12.6")
    record = read("nccl-tests", table(SMALL, row, columns=columns))
    assert rates(record) == pytest.approx([366.18, 365.94], rel=1e-4)
    assert len(record.failures) == 2
    assert set(record.failures.values()) == {"its rate of 0.00 GB/s does not tell its time"}


def test_a_time_of_two_digits_is_told_by_its_rate(read: Read) -> None:
    slow = "  17179869184 4294967296 float sum -1 1.0e+07 1.64 2.46 0 1.0e+07 1.64 2.46 0"
    record = read("nccl-tests", table(slow))
    assert not record.failures
    assert record.measurements[0].blocks[0].seconds[0] == pytest.approx(10.475, rel=1e-3)


def test_devices_of_two_kinds_are_told(read: Read) -> None:
    mixed = DEVICES.replace(
        "device  3 [0000:43:00] NVIDIA H100 80GB HBM3", "device  3 [0000:43:00] NVIDIA H200"
    )
    (caution,) = read("nccl-tests", table(SMALL, devices=mixed)).cautions
    assert caution.code == "mixed-devices"
    assert "names NVIDIA H100 80GB HBM3 and NVIDIA H200, and it is kept as one of" in caution.fact


def test_hosts_are_counted_by_their_names(read: Read) -> None:
    two = DEVICES.replace("e49901c75833 device  2", "b device  0").replace(
        "e49901c75833 device  3", "b device  1"
    )
    assert (
        read("nccl-tests", table(LARGE, devices=two)).measurements[0].case.parameters["hosts"] == 2
    )


def failed_at(place: str) -> str:
    """The name under which LARGE is kept where it is no measurement."""
    told = f"bytes=8589934592 collective=all_reduce dtype=fp32 hosts=1 place={place} ranks=4"
    return f"collectives nccl-tests burst {told}"


def test_wrong_sums_are_failures_and_no_rates(read: Read) -> None:
    wrong = LARGE.replace(" 366.18 0 ", " 366.18 237858 ")
    record = read("nccl-tests", table(wrong))
    assert rates(record) == pytest.approx([365.94], rel=1e-4)
    assert record.failures == {failed_at("out"): "237858 wrong numbers"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (table(SMALL, LARGE, end=""), "cut off: the line with the average bus bandwidth"),
        (table(), "holds no row with a time"),
        ("hello\n", "no line of column names"),
        (
            "x: Test CUDA failure common.cu:893 'no CUDA-capable device is detected'",
            "the run failed before its table: Test CUDA failure common.cu:893 'no CUDA-capable",
        ),
        (" \n", "is empty"),
    ],
)
def test_a_table_that_is_none_or_cut_off_is_refused(read: Read, text: str, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        read("nccl-tests", text)


# --------------------------------------------------------------------------- nccl-tests, JSON


def document(**changes: Any) -> dict[str, Any]:
    half = {"time": 35187.6, "alg_bw": 244.12, "bus_bw": 366.18, "nwrong": 0.0}
    return {
        "version": 2,
        "args": ["./build/all_reduce_perf", "-J", "out.json"],
        "env": ["SECRET=hunter2"],
        "nccl_version": 22902,
        "config": {
            "nthreads": 1,
            "ngpus": 4,
            "iterations": 50,
            "devices": [
                {"rank": 0, "hostname": "a", "pid": 1, "device_info": "NVIDIA H100 80GB HBM3"}
            ],
        },
        "results": [
            {
                "size": 2**33,
                "type": "float",
                "out_of_place": half,
                "in_place": {**half, "nwrong": None},
            }
        ],
        "average_bus_bandwidth": {"bandwidth": 366.18, "okay": "true"},
        **changes,
    }


def test_json_gives_what_the_table_gives_and_no_secret(read: Read) -> None:
    record = read("nccl-tests", json.dumps(document()))
    assert rates(record) == pytest.approx([366.18, 366.18], rel=1e-4)
    assert record.measurements[0].case.parameters["ranks"] == 4
    assert record.environment["nccl"] == "2.29.2"
    assert record.accelerator == "nvidia-h100-sxm5"
    assert "hunter2" not in records.text(record)
    assert [m.verification for m in record.measurements] == [
        "no wrong number, by the tool",
        "not checked by the tool",
    ]


def test_the_misspelt_average_of_older_releases_is_one_too(read: Read) -> None:
    content = document(average_bus_bandwidith={"bandwidith": 1})
    del content["average_bus_bandwidth"]
    assert len(read("nccl-tests", json.dumps(content)).measurements) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps(document())[:-40], "no whole JSON document"),
        (json.dumps(document(average_bus_bandwidth=None)), "cut off: the average bus bandwidth"),
        (json.dumps({"a": 1}), "no JSON of nccl-tests"),
        (json.dumps(document(args=["./gather_perf"])), "'./gather_perf' is none of"),
        (json.dumps(document(results=[])), "no row with a time"),
    ],
)
def test_json_that_is_none_or_cut_off_is_refused(read: Read, text: str, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        read("nccl-tests", text)


# --------------------------------------------------------------------------- nvbandwidth


def bandwidth(*tests: dict[str, Any], **more: Any) -> str:
    listed = ["0: NVIDIA H100 80GB HBM3 (00000000:1b:00): (host)"]
    whole = {"version": "v0.8", "GPU Device list": listed, "testcases": list(tests), **more}
    return json.dumps({"nvbandwidth": whole})


def case(name: str, *matrix: list[str], status: str = "Passed") -> dict[str, Any]:
    said = "memcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)"
    return {
        "name": name,
        "status": status,
        "bandwidth_description": said,
        "bandwidth_matrix": list(matrix),
    }


def test_copies_between_devices_leave_out_the_diagonal(read: Read) -> None:
    # 276.07 GB/s: the matrix in the README of github.com/NVIDIA/nvbandwidth.
    name = "device_to_device_memcpy_write_ce"
    record = read("nvbandwidth", bandwidth(case(name, ["N/A", "276.07"], ["276.19", "N/A"])))
    assert rates(record) == pytest.approx([276.07, 276.19])
    ends = [(m.case.parameters["source"], m.case.parameters["target"]) for m in record.measurements]
    assert ends == [(0, 1), (1, 0)]
    assert record.accelerator == "nvidia-h100-sxm5"


def test_a_read_comes_from_the_column_whatever_its_title_says(read: Read) -> None:
    name = "device_to_device_memcpy_read_ce"
    record = read("nvbandwidth", bandwidth(case(name, ["N/A", "270"], ["280", "N/A"])))
    found = {
        (m.case.parameters["source"], m.case.parameters["target"]): rate
        for m, rate in zip(record.measurements, rates(record), strict=True)
    }
    assert found == {(1, 0): pytest.approx(270), (0, 1): pytest.approx(280)}


def test_of_a_test_in_both_directions_the_total_counts(read: Read) -> None:
    name = "device_to_device_bidirectional_memcpy_read_ce"
    rows = [["N/A", "1"], ["2", "N/A"], ["N/A", "3"], ["4", "N/A"], ["N/A", "5"], ["6", "N/A"]]
    record = read("nvbandwidth", bandwidth(case(name, *rows)))
    assert rates(record) == pytest.approx([5, 6])
    assert {m.case.parameters["directions"] for m in record.measurements} == {2}


def test_copies_to_the_host_are_told_by_device(read: Read) -> None:
    record = read("nvbandwidth", bandwidth(case("device_to_host_memcpy_ce", ["55.2", "55.4"])))
    assert [m.case.parameters["direction"] for m in record.measurements] == ["to host"] * 2
    assert [m.case.parameters["gpu"] for m in record.measurements] == [0, 1]


def test_what_is_left_out_is_told_and_a_pipe_is_read(tmp_path: Path) -> None:
    known, other = case("host_to_device_memcpy_ce", ["55.2"]), case("device_local_copy", ["1900"])
    words = ["import", "nvbandwidth", "-", "--results", str(tmp_path)]
    found = CliRunner().invoke(cli.main, words, input=bandwidth(known, other))
    assert found.exit_code == 0, found.output
    assert "measures nothing like it: device_local_copy" in found.stderr
    assert CliRunner().invoke(cli.main, words, input="").exit_code == 2


def test_a_test_that_did_not_pass_is_a_failure(read: Read) -> None:
    name = "device_to_device_memcpy_write_ce"
    good = case("host_to_device_memcpy_ce", ["55.2"])
    record = read("nvbandwidth", bandwidth(good, case(name, status="Running")))
    assert record.failures == {
        f"collectives nvbandwidth burst collective=send_recv test={name}": "status Running"
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bandwidth(case("host_to_device_memcpy_ce", ["55.2"]))[:-9], "no whole JSON document"),
        ("Running device_to_device_memcpy_write_ce.", "run it with -j"),
        (bandwidth(), "no figure that can be used: no test was passed"),
        (bandwidth(error="CUDA_ERROR_NO_DEVICE"), "no figure that can be used: CUDA_ERROR"),
    ],
)
def test_what_is_no_nvbandwidth_is_refused(read: Read, text: str, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        read("nvbandwidth", text)


def test_both_ways_between_two_devices_of_a_switch_are_their_interconnect(read: Read) -> None:
    name = "device_to_device_bidirectional_memcpy_write_ce"
    rows = [["N/A", "760"], ["761", "N/A"]] * 3
    record = read("nvbandwidth", bandwidth(case(name, *rows)))
    assert [benchmarks.quantity(m.case) for m in record.measurements] == [
        "interconnect_bandwidth",
        "interconnect_bandwidth",
    ]


# --------------------------------------------------------------------------- BabelStream

STREAM = """\
Using CUDA device NVIDIA H200
Driver: 12040
function,num_times,n_elements,sizeof,{column},min_runtime,max_runtime,avg_runtime
Copy,100,33554432,8,{copy},0.000133,0.000135,0.000134
Mul,100,33554432,8,{copy},0.000133,0.000135,0.000134
Add,100,33554432,8,{triad},0.000193,0.000195,0.000194
Triad,100,33554432,8,{triad},0.000193,0.000195,0.000194
Dot,100,33554432,8,{copy},0.000133,0.000135,0.000134
"""


@pytest.mark.parametrize(
    ("column", "copy", "triad"),
    [
        ("max_mbytes_per_sec", "4.01e+06", "4.15e+06"),
        ("max_MB_per_sec", "4.01e+06", "4.15e+06"),
        ("max_TB_per_sec", "4.01", "4.15"),
        ("max_GiB_per_sec", f"{4010 / 1.073741824:.6g}", f"{4150 / 1.073741824:.6g}"),
    ],
)
def test_rates_come_out_as_printed_whatever_their_unit(
    read: Read, column: str, copy: str, triad: str
) -> None:
    # 4.01 and 4.15 TB/s on an H200: Azure/AI-benchmarking-guide, ND_H200_v5.
    text = STREAM.format(column=column, copy=copy, triad=triad)
    record = read("babelstream", text)
    found = {m.case.parameters["pattern"]: timing.bandwidth(m).mid for m in record.measurements}
    assert found["copy"] == pytest.approx(4.01e12, rel=1e-5)
    assert found["triad"] == pytest.approx(4.15e12, rel=1e-5)
    assert len(found) == 5
    assert record.device == "NVIDIA H200"
    assert record.measurements[0].work.bytes == 2 * 8 * 33554432


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Copy 433182.244", "run BabelStream with --csv"),
        ("function,num_times\n", "no column num_times|no column function"),
        (STREAM.format(column="a", copy="1", triad="1"), "no column of rates"),
        (
            STREAM.format(column="max_mbytes_per_sec", copy="1", triad="1").split("Mul")[0],
            "cut off: add, dot, mul, triad are missing",
        ),
        (
            STREAM.format(column="max_mbytes_per_sec", copy="1", triad="x"),
            "the row of Add was cut off",
        ),
    ],
)
def test_what_is_no_babelstream_is_refused(read: Read, text: str, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        read("babelstream", text)


# --------------------------------------------------------------------------- pytest-benchmark


def test_what_pytest_benchmark_writes_is_read(read: Read, tmp_path: Path) -> None:
    story = tmp_path / "test_theirs.py"
    story.write_text("def test_sum(benchmark):\n    benchmark(sum, range(100))\n")
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(story)]
    command += [f"--rootdir={tmp_path}", f"--benchmark-json={out}", "--benchmark-max-time=0.05"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    record = read("pytest-benchmark", out.read_text("utf-8"))
    (found,) = record.measurements
    assert found.case.parameters["name"].endswith("test_sum")
    told = json.loads(out.read_text("utf-8"))["benchmarks"][0]["stats"]
    assert timing.of(found).seconds.mid == pytest.approx(told["median"])


def test_a_test_that_was_saved_twice_is_one_with_the_rounds_of_both(read: Read) -> None:
    twice = [
        {"fullname": "a.py::b", "stats": {"data": data, "median": 1, "iterations": calls}}
        for data, calls in (([1e-3, 2e-3], 5), ([3e-3], 4))
    ]
    (found,) = read("pytest-benchmark", json.dumps({"benchmarks": twice})).measurements
    assert [block.seconds for block in found.blocks] == [(1e-3,), (2e-3,), (3e-3,)]
    assert found.calls_per_sample == 4


def test_what_is_no_pytest_benchmark_is_refused(read: Read) -> None:
    with pytest.raises(RecordError, match="it has no benchmarks"):
        read("pytest-benchmark", "{}")
    with pytest.raises(RecordError, match="one of its benchmarks has no 'stats'"):
        read("pytest-benchmark", '{"benchmarks": [{"fullname": "a"}]}')


# --------------------------------------------------------------------------- the command


def test_an_import_leaves_a_record_that_names_the_file_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "theirs.txt"
    path.write_text(table(LARGE))
    results = tmp_path / "results"
    words = ["import", "nccl-tests", str(path), "--results", str(results)]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    (saved,) = records.list_records(results)
    record = records.read(saved)
    assert saved.parent.name == "nvidia-h100-sxm5"
    assert record.suite == "imported"
    assert record.environment["imported_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(saved) in result.output
    assert "366" in result.output
    assert index.latest(results) == (record,)


def test_a_file_that_is_cut_off_exits_with_2_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "theirs.txt"
    path.write_text(table(LARGE, end=""))
    words = ["import", "nccl-tests", str(path), "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2
    assert "cut off" in result.stderr
    assert not (tmp_path / "results").exists()
    assert CliRunner().invoke(cli.main, ["import", "iperf", str(path)]).exit_code == 2


def test_a_device_nobody_knows_is_said(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(
        STREAM.format(column="max_mbytes_per_sec", copy="1", triad="1").split("\n", 2)[2]
    )
    words = ["import", "babelstream", str(path), "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2
    assert "names no device: say what it was measured on, --accelerator G" in result.stderr
    assert not (tmp_path / "results").exists()
    path.write_text("Using CUDA device NVIDIA X1\n" + path.read_text())
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0
    assert "'NVIDIA X1' is no accelerator of the catalogue" in result.stderr


def test_a_file_that_is_imported_again_is_remarked(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.txt", tmp_path / "results"
    path.write_text(table(LARGE))
    words = ["import", "nccl-tests", str(path), "--results", str(results)]
    assert "already" not in CliRunner().invoke(cli.main, words).stderr
    (first,) = records.list_records(results)
    again = CliRunner().invoke(cli.main, words).stderr
    assert f"The same file is record {records.read(first).id} already" in again


def test_a_file_said_to_be_of_another_part_than_it_names_is_told(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.txt", tmp_path / "results"
    path.write_text(table(LARGE))
    words = ["import", "nccl-tests", str(path), "--results", str(results)]
    named = CliRunner().invoke(cli.main, words)
    assert "other-device" not in named.stdout
    other = CliRunner().invoke(cli.main, [*words, "--accelerator", "nvidia-a100-80gb-sxm4"])
    assert "it is kept as one of NVIDIA A100" in other.stdout
    assert "already, and both are used: delete the one that is wrong" in other.stderr


def test_what_no_data_sheet_allows_is_no_evidence(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.csv", tmp_path / "results"
    path.write_text(STREAM.format(column="max_TB_per_sec", copy="9.26", triad="4.15"))
    words = ["import", "babelstream", str(path), "--results", str(results)]
    imported = CliRunner().invoke(cli.main, words)
    assert "implausible: 9.26 TB/s is 193% of the memory bandwidth" in imported.output
    only = ["--only", "h200-memory-bandwidth", "--results", str(results), "--json", "-"]
    document = json.loads(CliRunner().invoke(cli.main, ["check", *only]).stdout)
    (verdict,) = document["verdicts"]
    own = [each for each in verdict["evidence"] if "babelstream" in each["source"]]
    assert [bool(each["missing"]) for each in own] == [True, True, False, False, True]
    alone = [*only[:2], "--results", str(tmp_path / "none"), *only[4:]]
    without = json.loads(CliRunner().invoke(cli.main, ["check", *alone]).stdout)["verdicts"][0]
    assert (verdict["outcome"], verdict["found"]) == (without["outcome"], without["found"])


def test_links_faster_than_the_part_has_are_no_evidence(read: Read) -> None:
    odd = LARGE.replace("35187.6 244.12 366.18", "8796.9 976.48 1464.72")
    sound, (fast, slow) = (
        [[c.code for c in m.cautions] for m in read("nccl-tests", table(row)).measurements]
        for row in (LARGE, odd)
    )
    assert sound == [["imported"], ["imported"]]
    assert (fast, slow) == (["imported", "implausible"], ["imported"])


def test_one_function_of_babelstream_alone_is_whole(read: Read) -> None:
    lines = STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15").splitlines()
    dot = "\n".join([*lines[:3], lines[-1], lines[-1]])
    (found,) = read("babelstream", dot).measurements
    assert (found.case.parameters["pattern"], len(found.blocks)) == ("dot", 2)
    with pytest.raises(RecordError, match="it holds none of copy, mul"):
        read("babelstream", dot.replace("Dot", "Nstream"))


def test_data_that_did_not_arrive_is_a_wrong_answer(read: Read) -> None:
    name = "device_to_device_memcpy_write_ce"
    good = bandwidth(case(name, ["N/A", "276.07"], ["276.19", "N/A"]), error="ASSERT h_errorFlag")
    said = " Invalid value when checking the pattern at 0x7f\n"
    for text in (said + good, good + "\n" + said):
        assert read("nvbandwidth", text).failures["nvbandwidth"].startswith("wrong answer")


def test_wrong_answers_of_babelstream_are_failures(read: Read) -> None:
    text = STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15")
    said = "Validation failed on a[]. Average error 0.25\n"
    for damaged in (said + text, text + said):
        failures = read("babelstream", damaged).failures
        assert failures == {
            "bandwidth babelstream burst array=a[]": "wrong answer: Average error 0.25"
        }


def test_arrays_that_a_cache_holds_say_nothing_of_memory(read: Read) -> None:
    text = STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15")
    small = text.replace("33554432", "33554")
    assert {benchmarks.quantity(m.case) for m in read("babelstream", text).measurements} == {
        "memory_bandwidth"
    }
    assert not any(benchmarks.is_evidence(m.case) for m in read("babelstream", small).measurements)


@pytest.mark.parametrize(
    "line", ["Using HIP device AMD Instinct MI300X", "Using CUDA device NVIDIA H200"]
)
def test_the_device_is_the_one_that_is_named(read: Read, line: str) -> None:
    text = STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15")
    record = read("babelstream", text.replace("Using CUDA device NVIDIA H200", line))
    assert record.device == line.split("device ")[1]
    assert record.accelerator != importing.UNKNOWN


def test_a_link_that_is_slower_than_its_like_is_named(tmp_path: Path) -> None:
    cells = [["N/A" if one == other else "396" for other in range(4)] for one in range(4)]
    cells[1][2] = "12.5"
    path = tmp_path / "theirs.json"
    path.write_text(bandwidth(case("device_to_device_memcpy_write_ce", *cells)))
    words = ["import", "nvbandwidth", str(path), "--results", str(tmp_path / "results")]
    said = CliRunner().invoke(cli.main, words).stdout
    assert "the link from rank 1 to rank 2" in said
    assert "is slow: 12.5 GB/s" in said


def test_one_figure_has_no_interval_and_settles_no_comparison(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.csv", tmp_path / "results"
    for copy in ("4.01", "4.02"):
        path.write_text(STREAM.format(column="max_TB_per_sec", copy=copy, triad="4.15"))
        words = ["import", "babelstream", str(path), "--results", str(results)]
        assert CliRunner().invoke(cli.main, words).exit_code == 0
    told = CliRunner().invoke(cli.main, ["check", "--results", str(results)]).stdout
    assert "gpubench show ID has what they measured" in told
    first, second = (records.read(one) for one in records.list_records(results))
    shown = CliRunner().invoke(cli.main, ["show", second.id, "--results", str(results)]).stdout
    assert "| – " in shown
    assert "0.00 %" not in shown
    compared = CliRunner().invoke(
        cli.main, ["compare", first.id, second.id, "--results", str(results)]
    )
    assert compared.stdout.count("cannot tell") == 5


def test_what_a_processor_did_is_kept_as_of_no_accelerator(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.csv", tmp_path / "results"
    path.write_text("function,num_times,n_elements,sizeof,max_MB_per_sec\nTriad,30,1000,4,38059\n")
    words = ["import", "babelstream", str(path), "--results", str(results)]
    refused = CliRunner().invoke(cli.main, words)
    assert refused.exit_code == 2
    assert "or --accelerator cpu for a processor" in refused.stderr
    kept = CliRunner().invoke(cli.main, [*words, "--accelerator", "cpu"])
    assert kept.exit_code == 0, kept.output
    (record,) = map(records.read, records.list_records(results))
    assert (record.accelerator, record.device) == ("cpu", "a processor")


def test_a_claim_is_shown_with_what_it_is_judged_by(tmp_path: Path) -> None:
    path, results = tmp_path / "theirs.csv", tmp_path / "results"
    path.write_text(STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15"))
    words = ["import", "babelstream", str(path), "--results", str(results)]
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    shown = CliRunner().invoke(
        cli.main, ["show", "h200-memory-bandwidth", "--results", str(results)]
    )
    assert shown.stdout.count("babelstream, theirs.csv") == 5


def test_a_claim_uses_what_was_imported_as_published(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(STREAM.format(column="max_TB_per_sec", copy="4.01", triad="4.15"))
    results = tmp_path / "results"
    words = ["import", "babelstream", str(path), "--results", str(results)]
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    only = ["--only", "h200-memory-bandwidth", "--results", str(results), "--json", "-"]
    document = json.loads(CliRunner().invoke(cli.main, ["check", *only]).stdout)
    (verdict,) = document["verdicts"]
    own = [each for each in verdict["evidence"] if "babelstream, theirs.csv" in each["source"]]
    assert {each["kind"] for each in own} == {"published"}
    assert max(each["high"] for each in own) == pytest.approx(4.15e12, rel=1e-5)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:12] in own[0]["source"]
