"""How long a page takes: of the claims that came along, and of a thousand records, as processes.

    python tests/bench_report.py [RECORDS]

The records are made up: 30 measurements each, of 20 blocks with 10 samples.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpubench import catalogue, claims, records
from gpubench.judging import judgement
from gpubench.report import html
from gpubench.report.findings import Findings, Made
from tests.reported import record


def main() -> None:
    """Print the times and sizes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    _claims()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "results" / "nvidia-h200-sxm"
        folder.mkdir(parents=True)
        for number in range(count):
            made = record(f"{number:08x}", blocks=20, cases=5)
            (folder / f"{made.stamp()}.json").write_text(records.text(made))
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        page = Path(name) / "page.html"
        command = [sys.executable, "-m", "gpubench", "report", str(folder), "-o", str(page)]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1], env=os.environ)
        taken = time.perf_counter() - start
        print(
            f"{count:,} records ({size:.0f} MB): {taken:.1f} s, {page.stat().st_size / 1e6:.2f} MB"
        )


def _claims() -> None:
    known = catalogue.load()
    file = claims.load(claims.default_path(), known)
    judged = judgement.judge_all(file, known)
    made = Made(records.now(), "bench", "none")
    findings = Findings(made, judged, known.articles, known)
    for language in ("en", "en", "zh"):
        start = time.perf_counter()
        text = html.render(findings, language)
        taken = time.perf_counter() - start
        size = len(text.encode()) / 1e6
        print(f"{len(judged.verdicts)} claims ({language}): {taken:.2f} s, {size:.2f} MB")


if __name__ == "__main__":
    main()
