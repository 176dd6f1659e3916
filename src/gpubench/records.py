"""RunRecord <-> JSON under results/: added, never edited, and written whole or not at all.

Schema history
    1   environment, claims file, verdicts in short, measurements
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpubench import __version__
from gpubench.errors import RecordError

SCHEMA = 1
NO_ACCELERATOR = "no-accelerator"


@dataclass(frozen=True)
class RunRecord:
    """One run: when and where, which claims it judged, what it measured.

    `environment` holds an allow-list of facts, never the process environment. `verdicts` maps a
    claim's id to its outcome and basis on that day; they can be computed again from the record.
    """

    id: str
    created: str
    accelerator: str
    environment: Mapping[str, str]
    claims_file: str
    claims_sha256: str
    verdicts: Mapping[str, str]
    measurements: tuple[Mapping[str, Any], ...] = ()
    schema: int = field(default=SCHEMA)


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
    """Save a record as `results/<accelerator>/<UTC time>-<id>.json`.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    stamp = record.created.replace("-", "").replace(":", "")
    path = results / record.accelerator / f"{stamp}-{record.id}.json"
    write_text(path, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")
    return path


def write_text(path: Path, text: str, remedy: str = "choose another folder with --results") -> None:
    """Write a whole file or nothing: a reader never meets half of it.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; {remedy}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_writable(results: Path) -> None:
    """Find out before the work starts whether its result can be saved.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    probe = results / f".{secrets.token_hex(4)}.part"
    write_text(probe, "")
    probe.unlink()


def read(path: Path) -> RunRecord:
    """Read a record of any schema up to today's.

    Raises:
        RecordError: the file is missing, no record, or of a newer schema.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise RecordError(f"{path} is no JSON file: name a record under results/") from None
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise RecordError(f"{path} is no record of gpubench: it has no schema number")
    if content["schema"] > SCHEMA:
        raise RecordError(
            f"{path} has schema {content['schema']}, this version reads up to {SCHEMA}: "
            "upgrade gpubench"
        )
    try:
        return RunRecord(**{**content, "measurements": tuple(content["measurements"])})
    except (KeyError, TypeError):
        raise RecordError(f"{path} is no complete record of schema {content['schema']}") from None


def list_records(results: Path) -> list[Path]:
    """The records under a results folder, oldest first."""
    return sorted(results.glob("*/*.json"), key=lambda path: path.name)
