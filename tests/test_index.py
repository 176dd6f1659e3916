"""The index says what the records say, whatever happens to either."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench import records
from gpubench.comparing import index
from gpubench.errors import RecordError
from gpubench.model import Block, Case, Caution, Measurement, Work
from gpubench.records import RunRecord

MEASURED = Measurement(
    Case("bandwidth", "torch", {"pattern": "read", "n": 10}),
    1,
    Work(bytes=40.0),
    (Block((1e-3,) * 5),) * 6,
    1,
    0.1,
)


@pytest.fixture(params=[True, False], ids=["indexed", "direct"])
def results(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder whose records are indexed, or read each time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "DIRECT", 0 if request.param else 64)
    return tmp_path / "results"


def record(number: int, accelerator: str = "nvidia-h200-sxm", **more: object) -> RunRecord:
    made = RunRecord(
        f"{number:08x}",
        f"2026-01-01T00:00:{number:02d}Z",
        accelerator,
        {"hostname": "a"},
        measurements=(MEASURED,),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_entries_are_the_records_oldest_first(results: Path) -> None:
    for number in (3, 1, 2):
        records.write(record(number, f"part-{number}", failures={"x": "y"}), results)
    for _ in range(2):
        found = index.entries(results)
        assert [entry.id for entry in found] == ["00000001", "00000002", "00000003"]
        assert {(e.host, e.cases, e.failures, e.complete) for e in found} == {("a", 1, 1, True)}
        assert [entry.accelerator for entry in found] == ["part-1", "part-2", "part-3"]


def test_what_changes_is_read_again_and_what_is_gone_is_forgotten(results: Path) -> None:
    first, second = (records.write(record(number), results) for number in (1, 2))
    assert len(index.entries(results)) == 2
    records.write(record(1, failures={"a": "b", "c": "d"}), results)
    second.unlink()
    records.write(record(3), results)
    found = index.entries(results)
    assert [(entry.id, entry.failures) for entry in found] == [("00000001", 2), ("00000003", 0)]
    assert found[0].path == str(first)


def test_a_damaged_record_is_named_and_hides_no_other(results: Path) -> None:
    records.write(record(1), results)
    broken = results / "nvidia-h200-sxm" / "20260101T000002Z-00000002.json"
    for content in ("{", "[]", '{"schema": 99}', '{"schema": 2}', ""):
        broken.write_text(content)
        os.utime(broken, ns=(len(content), len(content)))
        good, bad = index.entries(results)
        assert good.id == "00000001"
        assert str(broken) in bad.problem
        with pytest.raises(RecordError, match=broken.name):
            index.latest(results)


@pytest.mark.parametrize("what", ["a record", "a folder"])
def test_a_link_that_leads_nowhere_is_named_and_hides_no_other(results: Path, what: str) -> None:
    path = records.write(record(1), results)
    link = path.with_name("lost.json") if what == "a record" else results / "lost"
    link.symlink_to("nowhere.json" if what == "a record" else link)
    for _ in range(2):
        found = {entry.path: entry for entry in index.entries(results)}
        assert found[str(path)].id == "00000001"
        assert found[str(link)].problem.startswith(f"cannot read {link}: ")
    with pytest.raises(RecordError, match="cannot read"):
        index.latest(results)
    link.unlink()
    assert [each.id for each in index.latest(results)] == ["00000001"]


def test_a_slice_of_a_card_hides_no_record_of_the_whole(results: Path) -> None:
    slice_ = {"device": "NVIDIA H200 MIG 1g.18gb", "cautions": (Caution(records.SLICE, "half"),)}
    records.write(record(1), results)
    records.write(record(2, **slice_), results)
    whole, piece = index.latest(results)
    assert (whole.id[-1], whole.piece) == ("1", "")
    assert (piece.id[-1], piece.piece) == ("2", "NVIDIA H200 MIG 1g.18gb")
    with pytest.raises(RecordError, match="no two records"):
        index.newest_two(results)


def test_the_newest_of_each_accelerator_and_tool_is_found(results: Path) -> None:
    told = {"hostname": "a", "imported_from": "nccl-tests"}
    for made in (
        record(1),
        record(2),
        record(3, complete=False),
        record(4, measurements=()),
        record(5, "nvidia-h100-sxm5"),
        record(6, environment=told, suite=records.IMPORTED),
    ):
        records.write(made, results)
    assert sorted(found.id[-1] for found in index.latest(results)) == ["2", "5", "6"]
    records.write(record(7), results)
    assert [found.id[-1] for found in index.newest_two(results)] == ["2", "7"]


def test_a_run_of_one_benchmark_hides_no_other_of_an_older_run(results: Path) -> None:
    (known,) = record(1).measurements
    gemm = replace(known, case=replace(known.case, benchmark="gemm"))
    records.write(record(1, measurements=(known, gemm)), results)
    records.write(record(2, measurements=(gemm,)), results)
    old, new = index.latest(results)
    assert [m.case.benchmark for m in old.measurements] == [known.case.benchmark]
    assert (old.id[-1], new.id[-1]) == ("1", "2")
    assert new.measurements == (gemm,)


def test_two_records_of_one_accelerator_are_needed(results: Path) -> None:
    records.write(record(1), results)
    records.write(record(2, "nvidia-h100-sxm5"), results)
    with pytest.raises(RecordError, match="no two records of `gpubench run` on one accelerator"):
        index.newest_two(results)
    with pytest.raises(RecordError, match="no two records"):
        index.newest_two(results / "nowhere")


@pytest.mark.parametrize("damage", ["garbage", "other version", "no table", "a folder"])
def test_a_damaged_index_is_begun_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "DIRECT", 0)
    results, cache = tmp_path / "results", tmp_path / "cache.sqlite"
    records.write(record(1), results)
    before = index.entries(results, cache)
    if damage == "garbage":
        cache.write_bytes(b"not a database at all" * 100)
    elif damage == "a folder":
        cache.unlink()
        cache.mkdir()
    else:
        with contextlib.closing(sqlite3.connect(cache)) as kept, kept:
            kept.execute("PRAGMA user_version = 99" if damage[0] == "o" else "DROP TABLE records")
    for _ in range(3):
        assert index.entries(results, cache) == before


def test_an_index_is_used_where_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "DIRECT", 0)
    results, cache = tmp_path / "results", tmp_path / "cache.sqlite"
    for number in range(1, 6):
        records.write(record(number), results)
    index.entries(results, cache)
    read: list[Path] = []
    monkeypatch.setattr(index, "read", lambda path: read.append(path))
    assert len(index.entries(results, cache)) == 5
    assert read == []


def test_where_nothing_can_be_kept_everything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "DIRECT", 0)
    records.write(record(1), tmp_path / "results")
    nowhere = Path("/dev/null/cache.sqlite")
    assert [e.id for e in index.entries(tmp_path / "results", nowhere)] == ["00000001"]


def test_no_secret_of_a_record_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "DIRECT", 0)
    results, cache = tmp_path / "results", tmp_path / "cache.sqlite"
    records.write(record(1, environment={"hostname": "a", "token": "hunter2"}), results)
    index.entries(results, cache)
    assert b"hunter2" not in cache.read_bytes()
