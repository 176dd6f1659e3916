"""What stands in a results folder, without reading every record each time.

The records are the truth. Of a folder with many of them a summary of each is kept in a small SQLite
file in the user's cache folder, and read again where a record's size or time of change differs. It
may be deleted at any time; where it cannot be written, everything is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpubench import records
from gpubench.errors import RecordError
from gpubench.records import NO_ACCELERATOR, SCHEMA, RunRecord

DIRECT = 64
"""So many records are read each time: a file beside them would save nothing worth having."""

_VERSION = 5
# Of what is kept of a record; another one begins anew.


@dataclass(frozen=True)
class Entry:
    """A record in short. `problem` says why it cannot be read; then all else but its path is empty.

    `piece` is what of the accelerator it was made on, as in `RunRecord`, and `gpu` tells one card
    from another; `cases` counts what was measured whole, `failures` what could not be measured.
    `topics` are the benchmarks, of collectives each by itself.
    """

    path: str
    id: str = ""
    created: str = ""
    accelerator: str = ""
    device: str = ""
    host: str = ""
    suite: str = ""
    tool: str = ""
    piece: str = ""
    complete: bool = False
    cases: int = 0
    failures: int = 0
    topics: tuple[str, ...] = ()
    gpu: str = ""
    mixed: bool = False
    problem: str = ""

    @property
    def measured(self) -> bool:
        """Whether it is whole and holds measurements."""
        return self.complete and self.cases > 0 and not self.problem


def entries(results: Path, cache: Path | None = None) -> tuple[Entry, ...]:
    """Every record under a results folder, oldest first.

    `cache` is where the index is kept, by default the user's cache folder.
    """
    files = _files(results)
    if len(files) <= DIRECT:
        return tuple(read(Path(path)) for path in sorted(files, key=_by_name))
    kept = cache or _cache_file(results)
    known = _load(kept)
    found: _Known = {}
    for path, stamp in files.items():
        before = known.get(path)
        same = before is not None and before[0] == stamp and not before[1].problem
        found[path] = before if same and before else (stamp, read(Path(path)))
    changed = {path: each for path, each in found.items() if known.get(path) != each}
    _save(kept, changed, known.keys() - found.keys())
    return tuple(found[path][1] for path in sorted(found, key=_by_name))


def latest(results: Path) -> tuple[RunRecord, ...]:
    """The newest measurements under a results folder.

    Raises:
        RecordError: a file among the records is none.
    """
    return newest(entries(results))


def newest(among: Iterable[Entry], each_card: bool = False) -> tuple[RunRecord, ...]:
    """The newest measurements of each accelerator, or of each card of it: its newest whole record,
    and of older ones the benchmarks that no newer one holds. What was imported from a tool, and
    what was measured on a slice or within a limit of memory, stand beside it in the same way.

    Raises:
        RecordError: a file among the records is none.
    """
    held: dict[tuple[str, ...], set[str]] = {}
    found = []
    for entry in sorted(_sound(among), key=lambda one: _by_name(one.path), reverse=True):
        card = entry.gpu if each_card else ""
        newer = held.setdefault((entry.accelerator, entry.tool, entry.piece, card), set())
        wanted = set(entry.topics) - newer
        if wanted:
            found.append(_without(records.read(Path(entry.path)), newer))
            newer |= wanted
    return tuple(reversed(found))


def _without(record: RunRecord, newer: Collection[str]) -> RunRecord:
    """The record without what there are newer measurements of."""
    if not newer:
        return record
    return replace(
        record,
        measurements=tuple(
            found
            for found in record.measurements
            if topic(found.case.benchmark, found.case.parameters) not in newer
        ),
        failures={k: why for k, why in record.failures.items() if topic_of(k) not in newer},
    )


def newest_two(results: Path) -> tuple[RunRecord, RunRecord]:
    """The newest record with measurements of our own and the one before it of that accelerator.

    Raises:
        RecordError: there are not two, or a file among the records is none.
    """
    found = [entry for entry in _sound(entries(results)) if not (entry.tool or entry.piece)]
    same = [entry for entry in found if entry.accelerator == found[-1].accelerator]
    if len(same) < 2:
        raise RecordError(
            f"{results} holds no two records of `gpubench run` on one accelerator: run it once "
            f"more, or name two records, imported ones too"
        )
    first, second = (records.read(Path(entry.path)) for entry in same[-2:])
    return first, second


def _sound(found: Iterable[Entry]) -> list[Entry]:
    """The records that are whole and hold measurements, in their order."""
    sound = []
    for entry in found:
        if entry.problem:
            raise RecordError(entry.problem)
        if entry.measured:
            sound.append(entry)
    return sound


_Stamp = tuple[int, int]
_UNREADABLE: _Stamp = (-1, -1)


def _files(results: Path) -> dict[str, _Stamp]:
    """Each record's path with its size and time of change; a folder's own where it cannot be read,
    so that it is named and hides no other.
    """
    found = dict[str, _Stamp]()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for folder in os.scandir(results):
            try:
                if folder.is_dir():
                    found |= {file.path: _stamp(file) for file in _records_in(folder.path)}
            except OSError:
                found[folder.path] = _UNREADABLE
    return {str(path): found[str(path)] for path in records.each_once(map(Path, found))}


def _records_in(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as files:
        return [f for f in files if f.name.endswith(records.ENDINGS) and f.name[0] != "."]


def _stamp(file: os.DirEntry[str]) -> _Stamp:
    """Size and time of change; of what cannot be read, as a link that leads nowhere, neither."""
    try:
        told = file.stat()
    except OSError:
        return _UNREADABLE
    return told.st_size, told.st_mtime_ns


def _by_name(path: str) -> str:
    return path.rpartition(os.sep)[2]


def read(path: Path) -> Entry:
    """A record in short, by its JSON alone; whoever uses it reads and checks the whole."""
    try:
        content = json.loads(records.contents(path))
        return _summary(path, content)
    except OSError as error:
        return Entry(str(path), problem=f"cannot read {path}: {error.strerror or error}")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return Entry(str(path), problem=f"{path} is no record of gpubench, or damaged")


def _summary(path: Path, content: Mapping[str, Any]) -> Entry:
    if content["schema"] > SCHEMA:
        problem = f"{path} has schema {content['schema']}, this version reads up to {SCHEMA}"
        return Entry(str(path), problem=f"{problem}: upgrade gpubench")
    environment = content["environment"]
    several = int(environment.get("ranks", 1)) > 1
    return Entry(
        path=str(path),
        id=str(content["id"]),
        created=str(content["created"]),
        accelerator=str(content["accelerator"]) or NO_ACCELERATOR,
        device=str(content.get("device", "")),
        host=str(environment.get("hostname", "")),
        suite=str(content.get("suite", "")),
        tool=str(environment.get("imported_from", "")),
        piece=_piece(content),
        complete=bool(content.get("complete", True)),
        cases=sum(bool(found.get("complete", True)) for found in content.get("measurements", ())),
        failures=len(content.get("failures", ())),
        topics=tuple(
            sorted(
                {
                    topic(found["case"]["benchmark"], found["case"]["parameters"])
                    for found in content.get("measurements", ())
                }
            )
        ),
        gpu="" if several else str(environment.get("gpu_uuid", "")),
        mixed=any(c["code"] == "mixed-devices" for c in content.get("cautions", ())),
    )


def topic(benchmark: str, parameters: Mapping[str, Any]) -> str:
    """What newer measurements take the place of: a benchmark, or one of the collectives."""
    return f"{benchmark} {parameters['collective']}" if "collective" in parameters else benchmark


def topic_of(failure: str) -> str:
    """The same of a failure's case, which is told as text."""
    return topic(failure.split()[0], records.parameters_of(failure))


def _piece(content: Mapping[str, Any]) -> str:
    """As `RunRecord.piece`."""
    if any(caution["code"] == records.SLICE for caution in content.get("cautions", ())):
        return str(content["device"])
    return str(content["environment"].get("memory_limit", ""))


# --------------------------------------------------------------------------- what is kept

_Known = dict[str, tuple[_Stamp, Entry]]


def _cache_file(results: Path) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = hashlib.sha256(str(results.absolute()).encode()).hexdigest()[:16]
    return Path(home) / "gpubench" / f"records-{name}.sqlite"


def _load(path: Path) -> _Known:
    """What was kept; nothing where the file is missing, damaged or of another version."""
    if not path.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as kept:
            if kept.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                return {}
            rows = kept.execute("SELECT path, size, changed, entry FROM records")
            return {
                name: ((size, changed), _entry(json.loads(entry)))
                for name, size, changed, entry in rows
            }
    except (sqlite3.Error, ValueError, TypeError, KeyError):
        return {}


def _entry(kept: dict[str, Any]) -> Entry:
    return Entry(**{**kept, "topics": tuple(kept["topics"])})


def _save(path: Path, changed: _Known, gone: Iterable[str]) -> None:
    """Keep what changed. An index that cannot be written or is damaged is begun anew next time."""
    if not changed and not gone:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as kept, kept:
            if kept.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                kept.execute("DROP TABLE IF EXISTS records")
                kept.execute(
                    "CREATE TABLE records (path TEXT PRIMARY KEY, size, changed, entry TEXT)"
                )
                kept.execute(f"PRAGMA user_version = {_VERSION}")
            kept.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                [
                    (name, *stamp, json.dumps(asdict(entry)))
                    for name, (stamp, entry) in changed.items()
                ],
            )
            kept.executemany("DELETE FROM records WHERE path = ?", [(name,) for name in gone])
    except (sqlite3.Error, OSError):
        with contextlib.suppress(OSError):
            path.unlink()
