"""One process for each GPU of this host, so that they can measure what joins them.

torch's elastic launcher starts the ranks, ends all of them when one fails, and is a child itself:
whatever happens to a rank, this process keeps what it had measured. A rank is `gpubench rank`; it
leaves what it measured, or the sentence that ended it, as a file in a folder of their own.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from gpubench import records
from gpubench.measuring.group import TIMEOUT_S
from gpubench.measuring.telemetry import LAUNCHER_VARIABLE
from gpubench.records import RunRecord

RECORD = "rank-0.json"
BEFORE = "before.json"
FAILED = "failed-"
_LOG = "nccl.log"

SILENCE_S = 2.5 * TIMEOUT_S
"""How long the ranks may say nothing at all. They give up on each other before that."""

_ENDING_S = 10.0
LINE = "gpubench: "
"""How a rank's progress begins on stderr, where much else is said."""


Say = Callable[[str], None]


@dataclass(frozen=True)
class Gathered:
    """What the ranks left: rank 0's record, if it came to save one, why they ended early, and what
    NCCL wrote, where it was asked to.
    """

    record: RunRecord | None
    problem: str = ""
    log: str = ""


def measured_by_ranks(
    count: int,
    device: str,
    suite: str,
    seed: int = 0,
    say: Say = lambda _: None,
    variables: Mapping[str, str] | None = None,
    once: bool = False,
    before: RunRecord | None = None,
    keep: Callable[[RunRecord], None] = lambda _: None,
    silence_s: float = SILENCE_S,
    entry: Sequence[str] = ("-m", "gpubench", "rank"),
) -> Gathered:
    """Start `count` ranks on this host, wait for them, and read what they left.

    Args:
        device: "cpu", or "cuda" for a GPU each.
        variables: added to the environment of every rank, such as NCCL's.
        once: run each collective once and time nothing.
        before: a record whose measurements need not be made again.
        keep: is given rank 0's record whenever there is more in it, so that nothing is lost when
            this process ends.
        entry: what Python is to run as a rank, a module or a script.

    Raises:
        KeyboardInterrupt: interrupted; the ranks have ended.
    """
    with tempfile.TemporaryDirectory(prefix="gpubench-ranks-") as name:
        folder = Path(name)
        asked = ["--device", device, "--suite", suite, "--seed", str(seed), "--folder", name]
        asked += ["--once"] if once else []
        if before:
            records.write_text(folder / BEFORE, records.text(before))

        def heard(line: str) -> None:
            say(line)
            _keep(folder, keep)

        said = _Said(heard)
        told = {"NCCL_DEBUG_FILE": str(folder / _LOG), LAUNCHER_VARIABLE: str(os.getpid())}
        told |= variables or {}
        # Unless it is told where, the launcher leaves a folder of logs behind, though none is kept.
        launched = ["--log-dir", str(folder / "launcher"), *entry, *asked]
        with _started(count, launched, told) as (ranks, stream):
            why = _watched(ranks, stream, said, silence_s)
        record = _keep(folder, keep)
        if not why and (ranks.returncode or record is None):
            why = _first_sentence(folder) or _last_words(ranks.returncode, said)
        log = "".join(file.read_text("utf-8", "replace") for file in folder.glob(f"{_LOG}*"))
        return Gathered(record, why, log)


def _keep(folder: Path, keep: Callable[[RunRecord], None]) -> RunRecord | None:
    """Rank 0's record as far as it was saved, handed on; None where it has saved none."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = records.read(path)
    keep(record)
    return record


@dataclass
class _Said:
    """What the ranks say: progress is passed on, the rest kept in case it explains a failure."""

    say: Say
    rest: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        if line.startswith(LINE):
            self.say(line.removeprefix(LINE).rstrip())
        elif line.strip():
            self.rest = [*self.rest[-20:], line.rstrip()]


@contextlib.contextmanager
def _started(
    count: int, asked: list[str], variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], TextIO]]:
    """The launcher with its ranks, and what they say; on leaving, none of them is left."""
    command = [
        *(sys.executable, "-c", _LAUNCHER, "--standalone", "--max-restarts", "0"),
        *("--nproc-per-node", str(count), "--monitor-interval", "0.1"),
        *asked,
    ]
    environment = {**os.environ, **_DEFAULTS, **variables}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        try:
            ranks = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writing,
                env=environment,
                start_new_session=True,  # a Ctrl-C of the terminal is ours to pass on, once
            )
        finally:
            os.close(writing)
        try:
            yield ranks, stream
        finally:
            _ended(ranks)


# torchrun, which the kernel ends when this process is gone, even killed; ranks end with torchrun.
_LAUNCHER = """\
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
runpy.run_module("torch.distributed.run", run_name="__main__", alter_sys=True)
"""

# One thread a rank unless asked otherwise, as torchrun itself would set, but without its warning.
_DEFAULTS = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def _watched(ranks: subprocess.Popen[bytes], stream: TextIO, said: _Said, silence_s: float) -> str:
    """Pass on what the ranks say until they end; the reason to end them sooner, or ""."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):  # closed when they were ended
            for line in stream:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    heard = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            if time.monotonic() - heard > silence_s:
                return f"the ranks did nothing for {silence_s:.0f} s and were ended"
            continue
        if line is None:
            ranks.wait()
            return ""
        heard = time.monotonic()
        said.take(line)


def _ended(ranks: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends its ranks; ranks end by themselves when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if ranks.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            ranks.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            ranks.wait(_ENDING_S)


def _first_sentence(folder: Path) -> str:
    """Why the ranks gave up. The others of a rank that fails only see that it is gone."""
    told = [path.read_text("utf-8").strip() for path in sorted(folder.glob(f"{FAILED}*.txt"))]
    own = [text for text in told if "the group of ranks broke" not in text]
    return next(iter(own or told), "")


def _last_words(code: int | None, said: _Said) -> str:
    last = said.rest[-1] if said.rest else ""
    why = next((line for line in reversed(said.rest) if "Error" in line), last)
    return f"the ranks ended with exit code {code}{f' ({why.strip()[:300]})' if why else ''}"
