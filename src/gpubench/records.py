"""RunRecord <-> JSON under results/: added, never edited, and written whole or not at all.

Schema history
    1   environment, claims file, verdicts in short
    2   what was measured: device, suite, seed, facts of the device, measurements, failures
    3   what was asked for: the device, benchmarks, ranks
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import platform
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpubench import __version__, stats
from gpubench.errors import RecordError
from gpubench.model import Case, Caution, Measurement

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 3
NO_ACCELERATOR = "no-accelerator"
ENDINGS = (".json", ".json.gz")
"""Of files that hold a record, as written and as gzip packs it."""
IMPORTED = "imported"
"""The suite of a record that holds another tool's results."""
_WRONG = re.compile(r"\bwrong (?:answers?|numbers?)\b")
SLICE = "mig-slice"
"""The caution in a record that was made on a slice of a card."""


_OF_THE_PLAN = ("left-out", "one-gpu", "not-allocated")
# These tell what a run did not look at, and weaken nothing that it did.


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked to measure, so that it can be continued by its id alone.

    `device` is torch's name of it ("cpu", "cuda:1"), "" where nobody told; `benchmarks` is empty
    for all, and `ranks` zero for as many as there are devices.
    """

    device: str = ""
    benchmarks: tuple[str, ...] = ()
    ranks: int = 0


@dataclass(frozen=True)
class RunRecord:
    """One run: when and where, which claims it judged, what it measured.

    `environment` holds an allow-list of facts, never the process environment. `device_figures` maps
    a quantity's name to what the driver reports of it, in SI. `failures` maps a case (see
    `case_key`) to why it could not be measured. `suspects` are configurations of kernels that hung
    or crashed the device, which are tried no more, and cases that did, which get a second chance.
    `complete` is false while a run goes on, and stays so until all is there that was `asked` for.
    `verdicts` maps a claim's id to its outcome and basis on that day; they can be computed again.
    """

    id: str
    created: str
    accelerator: str
    environment: Mapping[str, str]
    claims_file: str = ""
    claims_sha256: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    device: str = "none"
    suite: str = ""
    seed: int = 0
    cautions: tuple[Caution, ...] = ()
    device_figures: Mapping[str, float] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()
    complete: bool = True
    asked: Asked = Asked()
    schema: int = SCHEMA

    @property
    def tool(self) -> str:
        """The tool whose results it holds; "" for our own."""
        return self.environment.get("imported_from", "")

    @property
    def sliced(self) -> bool:
        """Whether it was made on a slice of a card, whose rates are none of the card's."""
        return any(caution.code == SLICE for caution in self.cautions)

    @property
    def piece(self) -> str:
        """What of the accelerator it was made on: "" for all, else a slice or a limit of memory."""
        return self.device if self.sliced else self.environment.get("memory_limit", "")

    @property
    def standing(self) -> tuple[str, ...]:
        """What weakens all that was measured, such as a power limit below the card's default."""
        return tuple(c.fact for c in self.cautions if c.code not in _OF_THE_PLAN)

    def fault(self, found: Measurement) -> str:
        """Why one of its measurements says nothing of the part; "" where it does.

        Of too few blocks an interval means nothing; another tool's figure has none.
        """
        for caution in found.cautions:
            if caution.code == "implausible":
                return f"implausible: {caution.fact}"
        few = len(found.blocks) < stats.LEAST_FOR_95 and self.suite != IMPORTED
        if found.sound and not few:
            return ""
        blocks = f"{len(found.blocks)} block{'' if len(found.blocks) == 1 else 's'}"
        if found.complete:
            return f"too short, after {blocks}: measure it again"
        return f"cut short, after {blocks}: continue with --resume, or measure it again"

    def speaks(self, found: Measurement) -> bool:
        """Whether one of its measurements says something of the part."""
        return not self.fault(found)

    @property
    def wrong(self) -> dict[str, str]:
        """The failures where something was computed or moved, and not rightly."""
        return {case: why for case, why in self.failures.items() if _WRONG.search(why)}

    def done(self, case: Case, phase: str) -> bool:
        """Measured whole, or tried and failed: a part of a measurement is measured again."""
        key = case_key(case, phase)
        return key in self.failures or any(
            found.complete and case_key(found.case, found.phase) == key
            for found in self.measurements
        )

    def with_failure(self, case: Case, phases: Sequence[str], why: str) -> RunRecord:
        """The record with these phases of a case as failures."""
        found = {case_key(case, phase): why for phase in phases}
        return replace(self, failures={**self.failures, **found})

    def stamp(self) -> str:
        """The file's name without its ending: UTC time and id."""
        return f"{self.created.replace('-', '').replace(':', '')}-{self.id}"


def case_key(case: Case, phase: str) -> str:
    """A case and phase as text, such as "bandwidth triton burst n=1073741824 pattern=read"."""
    parameters = " ".join(f"{name}={case.parameters[name]}" for name in sorted(case.parameters))
    return f"{case.benchmark} {case.method} {phase} {parameters}"


def parameters_of(key: str) -> dict[str, str]:
    """The parameters of a case that `case_key` told as text, as text; none of any other text."""
    return dict(_PARAMETER.findall(key))


_PARAMETER = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")


def new_id() -> str:
    """Eight hexadecimal digits that name a run."""
    return secrets.token_hex(4)


def now() -> str:
    """The time in UTC, to the second: 2026-01-31T09:30:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment() -> dict[str, str]:
    """What a reader needs to know about this machine, and no more."""
    return {
        "gpubench": __version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": platform.system(),
        "machine": platform.machine(),
    }


def write(record: RunRecord, results: Path) -> Path:
    """Save a record as `results/<accelerator>/<UTC time>-<id>.json`, in place of its earlier state.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    path = results / record.accelerator / f"{record.stamp()}.json"
    write_text(path, text(record))
    with contextlib.suppress(OSError):  # what it was, where somebody compressed it
        path.with_name(f"{path.name}.gz").unlink()
    return path


def text(record: RunRecord) -> str:
    """A record as JSON: indented where people read, one line a measurement where samples stand.

    Samples have nine digits, more than any clock of ours gives.
    """
    content = asdict(replace(record, measurements=()))
    head = json.dumps(content, indent=1, ensure_ascii=False)
    lines = ",\n".join(map(_line, record.measurements))
    for gone in _lines.keys() - {id(found) for found in record.measurements}:
        del _lines[gone]
    return head.replace('"measurements": []', f'"measurements": [\n{lines}\n ]', 1) + "\n"


# A run is saved after each case, and what was measured before has not changed since: the lines of
# the record that was written last, with what each was made of.
_lines: dict[int, tuple[Measurement, str]] = {}


def _line(found: Measurement) -> str:
    kept = _lines.get(id(found))
    if kept is None or kept[0] is not found:
        content = asdict(found)
        for block in content["blocks"]:
            block["seconds"] = [float(f"{seconds:.9g}") for seconds in block["seconds"]]
        told = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        kept = _lines[id(found)] = (found, f"  {told}")
    return kept[1]


_OTHER_FOLDER = "choose another folder with --results"


def measurements(record: RunRecord) -> list[dict[str, Any]]:
    """The measurements of a record as plain values, raw samples included."""
    return [asdict(found) for found in record.measurements]


def write_text(path: Path, text: str, remedy: str = _OTHER_FOLDER) -> None:
    """Write a whole text, in UTF-8, or nothing; as `write_bytes`."""
    # Halves of surrogate pairs, from a file name that is no UTF-8, are legal in JSON when escaped.
    write_bytes(path, text.encode("utf-8", "backslashreplace"), remedy)


def write_bytes(path: Path, data: bytes, remedy: str = _OTHER_FOLDER) -> None:
    """Write a whole file or nothing: a reader never meets half of it.

    A link is followed to its file. A device or a pipe is written to and stays what it is.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    try:
        if _is_stream(path):
            path.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)) if path.is_symlink() else path, data)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; {remedy}") from None


def _is_stream(path: Path) -> bool:
    """Whether a path is no file of its own: replaced by one, a device would be gone."""
    target = path.readlink() if path.is_symlink() else path
    if Path("/proc") in target.absolute().parents:  # /dev/stdout, whatever it leads to
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(path: Path, data: bytes) -> None:
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power failure could leave the name without the content
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_writable(results: Path) -> None:
    """Find out before the work starts whether its result can be saved.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".{secrets.token_hex(8)}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        taken = results.exists() and not results.is_dir()
        reason = "it is no folder" if taken else error.strerror or error
        raise RecordError(f"cannot write to {results}: {reason}; {_OTHER_FOLDER}") from None


def read(path: Path) -> RunRecord:
    """Read a record of any schema up to today's.

    Raises:
        RecordError: the file is missing, no record, or of a newer schema.
    """
    try:
        content = json.loads(contents(path))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        kind = "no JSON file that gzip packed" if path.suffix.lower() == ".gz" else "no JSON file"
        raise RecordError(f"{path} is {kind}: name a record under results/") from None
    if not isinstance(content, dict) or type(content.get("schema")) is not int:
        raise RecordError(f"{path} is no record of gpubench: it has no schema number")
    if content["schema"] < 1:
        raise RecordError(
            f"{path} is no record of gpubench: there is no schema {content['schema']}"
        )
    if content["schema"] > SCHEMA:
        raise RecordError(
            f"{path} has schema {content['schema']}, this version reads up to {SCHEMA}: "
            "upgrade gpubench"
        )
    from pydantic import ValidationError

    try:
        found: RunRecord = _adapter().validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise RecordError(f"{path} is no complete record: {where}: {first['msg']}") from None
    if problem := _impossible(found):
        raise RecordError(f"{path} is damaged: {problem}")
    return found


def _impossible(record: RunRecord) -> str:
    """Which samples cannot have been taken; "" for none."""
    for found in record.measurements:
        for block in found.blocks:
            sound = all(_LEAST_S <= seconds <= _MOST_S for seconds in block.seconds)
            if not (sound and block.seconds):
                return f"{case_key(found.case, found.phase)} has samples that no clock gives"
    return ""


_LEAST_S, _MOST_S = 1e-15, 1e9


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[RunRecord]:
    """What builds a record from plain values; made once, since that takes as long as reading."""
    # pydantic takes a tenth of a second to import; only those who read records pay for it.
    from pydantic import TypeAdapter

    return TypeAdapter(RunRecord)


def find(results: Path, name: str) -> Path:
    """The record whose file name is `name`, or holds an id that begins so.

    Raises:
        RecordError: no record, or several, are called so.
    """
    there = list_records(results)
    found = [path for path in there if path.name.partition(".")[0] == name]
    found = found or [path for path in there if id_of(path).startswith(name)]
    if len(found) != 1:
        raise RecordError(
            f"{len(found) or 'no'} record{'s' if found else ''} under {results} with an id that "
            f"begins with '{name}': see `gpubench list records`"
        )
    return found[0]


def list_records(results: Path) -> list[Path]:
    """The records under a results folder, oldest first."""
    return each_once(path for ending in ENDINGS for path in results.glob(f"*/*{ending}"))


def each_once(paths: Iterable[Path]) -> list[Path]:
    """Paths of records, oldest first, without a packed one that lies beside itself unpacked."""
    found = {str(path).removesuffix(".gz"): path for path in sorted(paths, key=_packed_first)}
    return sorted(found.values(), key=lambda path: path.name)


def is_record(name: str) -> bool:
    """Whether a file's name is that of a record, packed or not."""
    return name.lower().endswith(ENDINGS)


def _packed_first(path: Path) -> bool:
    return path.suffix != ".gz"


def id_of(path: Path) -> str:
    """The id that stands in a record's file name."""
    return path.name.removesuffix(".gz").removesuffix(".json").rpartition("-")[2]


def contents(path: Path) -> bytes:
    """What a record's file holds, unpacked. Raises OSError, or ValueError for a damaged file."""
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    import gzip
    import zlib

    try:
        with gzip.open(path) as file:
            data = file.read(_MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{path} is far too large for a record")
    return data


# Unpacked: a full suite has some twenty megabytes.
_MOST_BYTES = 2**29
