"""How long `gpubench list records` and `check` take over ten thousand records, as processes.

    python tests/bench_records.py

The first listing reads every record and keeps an index; the second one uses it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gpubench import records
from gpubench.model import Block, Case, Measurement, Work
from gpubench.records import RunRecord

COUNT = 10_000


def main() -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results"
        blocks = tuple(Block((1e-3,) * 20, {"power_w": 600.0}) for _ in range(10))
        found = tuple(
            Measurement(
                Case("bandwidth", "torch", {"pattern": pattern, "n": 10}),
                1,
                Work(bytes=1e9),
                blocks,
                1,
                0.1,
            )
            for pattern in ("read", "write", "copy", "add", "triad")
        )
        plain = RunRecord("0", "2026-01-01T00:00:00Z", "nvidia-h200-sxm", {}, measurements=found)
        folder = results / plain.accelerator
        folder.mkdir(parents=True)
        for number in range(COUNT):
            made = replace(plain, id=f"{number:08x}")
            (folder / f"{made.stamp()}.json").write_text(records.text(made))
        environment = {**os.environ, "XDG_CACHE_HOME": name}
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        print(f"{COUNT:,} records, {size:.0f} MB")
        only = ["check", "--only", "h200-memory-bandwidth"]
        for what in (["list", "records"], ["list", "records"], only):
            command = [sys.executable, "-m", "gpubench", *what, "--results", str(results)]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            print(f"gpubench {' '.join(what)}: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
