"""Links as tables: the conventions' two rates, who was measured, and pairs as a matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpubench import catalogue
from gpubench.benchmarks import collectives
from gpubench.model import Block, Case, Caution, Measurement
from gpubench.records import IMPORTED, RunRecord
from gpubench.report import links, rates, record_tables
from gpubench.roofline.latency_bandwidth import LatencyBandwidth


def measured(seconds: float, method: str = "nccl", **parameters: Any) -> Measurement:
    case = Case("collectives", method, {"dtype": "bf16", "ranks": 8, "hosts": 1, **parameters})
    told = {"algorithm": "NVLS", "protocol": "SIMPLE"} if method == "nccl" else {}
    work = collectives.work(case.parameters)
    return Measurement(case, 1, work, (Block((seconds,) * 3),) * 6, 1, 0.0, choices=told)


def record(*found: Measurement, **more: Any) -> RunRecord:
    return RunRecord("id", "2026", "nvidia-h200-sxm", {}, measurements=found, **more)


def test_an_all_reduce_shows_both_rates_and_how_it_went() -> None:
    # 17.18 GB in 62.45 ms are 275 GB/s of message, and 481 of the bus over eight ranks.
    found = measured(62.45e-3, collective="all_reduce", bytes=16 * 2**30, place="in")
    ((*cells, by, cautions),) = links.collective_table(record(found)).rows
    assert cells[0] == "all-reduce"
    assert (cells[6], cells[7]) == ("275 GB/s", "481 GB/s")
    assert by == "nccl NVLS SIMPLE"
    assert cautions == ""


def test_a_copy_first_and_other_hosts_are_said() -> None:
    found = measured(1e-3, collective="all_reduce", bytes=2**20, place="out", hosts=2, ranks=16)
    (row,) = links.collective_table(record(found)).rows
    assert row[0] == "all-reduce (copied)"
    assert row[3] == "16 on 2"


def test_behind_a_sweep_are_a_latency_and_the_rate_of_a_huge_message() -> None:
    known = LatencyBandwidth(15e-6, 280e9, 1.0)
    sweep = [
        measured(known.seconds(2.0**n), collective="all_reduce", bytes=2**n, place="in")
        for n in range(10, 34)
    ]
    alone = measured(1e-3, collective="broadcast", bytes=2**30)
    found = links.sweep_table(record(*reversed(sweep), alone))
    ((name, kind, ranks, sizes, latency, rate, mean, most),) = found.rows
    assert (name, kind, ranks, sizes, latency) == ("all-reduce", "bf16", "8", "24", "15 µs")
    assert rate == "490 GB/s"  # 280 times 2 · 7 / 8
    assert (mean, most) == ("0.0 %", "0 %")
    shipped = record_tables.tables(record(*sweep), catalogue.load())
    assert any(table.columns == found.columns for _, table in shipped)


def test_an_implausible_size_is_not_fitted() -> None:
    sizes = [measured(1e-3 * n, collective="all_reduce", bytes=n * 2**20) for n in (1, 2, 4)]
    wrong = replace(sizes[1], cautions=(Caution("implausible", "too fast"),))
    assert links.sweep_table(record(*sizes)).rows
    assert not links.sweep_table(record(sizes[0], wrong, sizes[2])).rows


def test_pairs_stand_in_a_matrix_of_their_direction() -> None:
    def copy(source: int, target: int, ways: int, seconds: float) -> Measurement:
        ends = {"source": source, "target": target, "directions": ways}
        return measured(seconds, collective=collectives.PAIR, bytes=2**30, **ends)

    pairs = [copy(0, 1, 1, 4e-3), copy(1, 0, 1, 8e-3), copy(0, 1, 2, 4e-3), copy(1, 2, 1, 2e-3)]
    (title, table), (of_both, both) = links.pair_tables(record(*pairs))
    assert title == "Copies of 1.07 GB between ranks, one direction"
    assert list(table.columns) == ["from \\ to", "0", "1", "2"]
    assert list(table.rows[0]) == ["0", "", "268 GB/s", ""]
    assert list(table.rows[1]) == ["1", "134 GB/s", "", "537 GB/s"]
    assert of_both == "Copies of 1.07 GB between ranks, both directions at once"
    assert list(both.columns) == ["between", "0", "1"]
    assert list(both.rows[0]) == ["0", "", "537 GB/s"]
    assert links.collective_table(record(*pairs)).rows == []


def test_what_was_imported_is_not_called_measured() -> None:
    ours = record(device="NVIDIA H200")
    assert rates.title(ours) == "Measured on NVIDIA H200, record id"
    told = {"imported_from": "nccl-tests", "imported_file": "a.txt"}
    theirs = RunRecord("id", "2026", "a", told, device="NVIDIA H200", suite=IMPORTED)
    assert rates.title(theirs) == "Imported from nccl-tests (a.txt), NVIDIA H200, record id"
