"""Records are written whole or not at all, never edited, and read by every later version."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench import records
from gpubench.comparing import index
from gpubench.errors import RecordError
from gpubench.model import Block, Case, Measurement, Work
from gpubench.records import RunRecord


def record() -> RunRecord:
    return RunRecord(
        id="0123abcd",
        created="2026-01-31T09:30:00Z",
        accelerator=records.NO_ACCELERATOR,
        environment=records.environment(),
        claims_file="claims.yaml",
        claims_sha256="0" * 64,
        verdicts={"a-claim": "supported (catalogue)"},
    )


def measured_record() -> RunRecord:
    blocks = tuple(Block((0.001 * n, 0.002), {"power_w": 500.0}) for n in (1, 2, 3))
    cases = [Case("stream", method, {"n": 8}) for method in ("torch", "triton")]
    found = tuple(Measurement(case, 1, Work(bytes=32.0), blocks, 1, 0.2) for case in cases)
    return replace(record(), measurements=found)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = records.write(record(), tmp_path)
    assert path == tmp_path / "no-accelerator" / "20260131T093000Z-0123abcd.json"
    assert records.read(path) == record()
    assert records.list_records(tmp_path) == [path]


def test_a_write_that_breaks_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.write(record(), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_is_followed_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "there" / "file.json")
    records.write_text(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file.json").read_text() == "text"
    circle = tmp_path / "circle.json"
    circle.symlink_to(circle)
    with pytest.raises(RecordError):
        records.write_text(circle, "text")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    records.write_text(pipe, "text")
    assert os.read(reader, 10) == b"text"
    assert pipe.is_fifo()
    os.close(reader)


def test_a_name_that_is_no_utf_8_can_be_recorded(tmp_path: Path) -> None:
    odd = replace(record(), claims_file="\udcff.yaml")
    assert records.read(records.write(odd, tmp_path)).claims_file == "\udcff.yaml"


def test_a_folder_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="choose another folder with --results"):
        records.check_writable(tmp_path / "file" / "results")


def test_a_record_from_the_future_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = records.write(replace(record(), schema=records.SCHEMA + 1), tmp_path)
    with pytest.raises(RecordError, match="upgrade gpubench"):
        records.read(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": 1}',
        "\x00",
        '{"schema": "1"}',
        '{"schema": true}',
        '{"schema": 0}',
        '{"schema": 1' + "0" * 5000 + "}",
        "[" * 200_000,
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(RecordError):
        records.read(path)


def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-store")
    assert "do-not-store" not in json.dumps(records.environment())
    assert set(records.environment()) == {
        "gpubench",
        "python",
        "implementation",
        "system",
        "machine",
    }


def test_a_packed_record_is_as_good(tmp_path: Path) -> None:
    path = records.write(measured_record(), tmp_path)
    plain = records.read(path)
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert records.list_records(tmp_path) == [packed]
    assert records.read(packed) == plain
    assert records.find(tmp_path, plain.id) == packed
    assert [entry.id for entry in index.entries(tmp_path)] == [plain.id]
    assert records.write(plain, tmp_path) == path  # a run that is continued takes its place
    assert records.list_records(tmp_path) == [path]
    packed.write_bytes(gzip.compress(path.read_bytes()))  # as gzip -k leaves both
    assert records.list_records(tmp_path) == [path]
    assert len(index.entries(tmp_path)) == 1
    for damaged in (packed.name.encode(), gzip.compress(b"{}")[:-9], gzip.compress(b"{}")):
        packed.write_bytes(damaged)
        with pytest.raises(RecordError, match="is no "):
            records.read(packed)


def test_a_packed_file_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_MOST_BYTES", 10_000)
    bomb = tmp_path / "a.json.gz"
    bomb.write_bytes(gzip.compress(b" " * 20_000))
    with pytest.raises(RecordError, match="is no JSON file that gzip packed"):
        records.read(bomb)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "0", "-1", "1e308", "5e-324", ""])
def test_samples_that_no_clock_gives_are_damage(tmp_path: Path, seconds: str) -> None:
    path = records.write(measured_record(), tmp_path)
    path.write_text(path.read_text().replace('"seconds":[0.001,0.002]', f'"seconds":[{seconds}]'))
    with pytest.raises(RecordError, match="is damaged: stream torch burst n=8 has samples that no"):
        records.read(path)


def test_what_was_measured_before_is_written_alike_and_not_again() -> None:
    whole = measured_record()
    first = records.text(whole)
    assert records.text(whole) == first
    assert len(records._lines) == len(whole.measurements)
    other = replace(whole, measurements=tuple(replace(m, heat_s=1.0) for m in whole.measurements))
    assert '"heat_s":1.0' in records.text(other)
    assert records.text(whole) == first


def test_samples_have_nine_digits(tmp_path: Path) -> None:
    (measurement, *_) = measured_record().measurements
    block = Block((0.1234567891234, 1 / 3e7))
    record = replace(measured_record(), measurements=(replace(measurement, blocks=(block,)),))
    back = records.read(records.write(record, tmp_path)).measurements[0].blocks[0]
    assert back.seconds == (0.123456789, 3.33333333e-08)
