"""How fast it starts, how much memory it takes, and how cost grows with the claims.

Run by `make bench`. Prints what it finds and fails on ratios only: seconds depend on the machine.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
GPUBENCH = Path(sys.executable).with_name("gpubench")

MOST_HELP_RATIO = 4.0
MOST_SCALING = 20.0  # 10,000 claims over 500
MOST_MEMORY_MB = 250.0

_ID = re.compile(r"^(  - id: )(\S+)", re.MULTILINE)


def seconds(command: list[str], repeats: int) -> float:
    """The median wall time of a command that succeeds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_memory_mb(command: list[str]) -> float:
    """The largest resident set of one process, in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return usage.ru_maxrss * scale / 1e6


def many_claims(count: int, folder: Path) -> Path:
    """A file of `count` claims: those of claims.yaml over and over, with new ids."""
    head, _, rest = (ROOT / "claims.yaml").read_text("utf-8").partition("claims:\n")
    body, _, aside = rest.partition("\nout_of_scope:")
    starts = [match.start() for match in _ID.finditer(body)]
    body = body.rstrip() + "\n"
    entries = [body[a:b] for a, b in zip(starts, [*starts[1:], len(body)], strict=True)]
    # Formulas refer to entries by id, so the first round keeps its ids.
    copies = [
        entries[i % len(entries)]
        if i < len(entries)
        else _ID.sub(rf"\g<1>\g<2>-{i // len(entries)}", entries[i % len(entries)])
        for i in range(count)
    ]
    path = folder / f"claims-{count}.yaml"
    path.write_text(f"{head}claims:\n{''.join(copies)}\nout_of_scope:{aside}", "utf-8")
    return path


def main() -> None:
    """Print every figure, then fail if a ratio is out of bounds."""
    python = seconds([sys.executable, "-c", "pass"], 30)
    starting = seconds([str(GPUBENCH), "--help"], 30)
    print(f"bare python        {python * 1e3:7.1f} ms")
    print(f"gpubench --help    {starting * 1e3:7.1f} ms, {starting / python:.1f} times bare python")

    check = [str(GPUBENCH), "check"]
    memory = peak_memory_mb(check)
    print(f"gpubench check     {seconds(check, 5):7.2f} s, at most {memory:.0f} MB")

    with tempfile.TemporaryDirectory() as name:
        few, many = (
            seconds([*check, "--claims", str(many_claims(count, Path(name)))], 1)
            for count in (500, 10_000)
        )
    print(f"500 claims         {few:7.2f} s")
    print(f"10,000 claims      {many:7.2f} s, {many / few:.1f} times as long")

    bounds = {
        f"--help takes more than {MOST_HELP_RATIO:g} times bare python": starting
        > MOST_HELP_RATIO * python,
        f"check takes more than {MOST_MEMORY_MB:g} MB": memory > MOST_MEMORY_MB,
        f"10,000 claims take more than {MOST_SCALING:g} times 500": many > MOST_SCALING * few,
    }
    broken = [text for text, out_of_bounds in bounds.items() if out_of_bounds]
    if broken:
        raise SystemExit("; ".join(broken))


if __name__ == "__main__":
    main()
