"""Time of one estimate and of a million configurations, and the memory these take.

    python tests/bench_model.py

An estimate is timed as a question never asked before, the sweep as a process of its own.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import time

from gpubench import catalogue, roofline
from gpubench.roofline.sweep import MAX, Axes, sweep


def main() -> None:
    """Print both."""
    known = catalogue.load()
    parts = [known.accelerator(name) for name in ("nvidia-h200-sxm", "nvidia-h100-sxm5")]
    model = known.model("llama-2-70b")
    axes = Axes(
        [*range(5, 250, 5), MAX],
        range(64, 64 * 51, 64),
        range(64, 64 * 51, 64),
        ("fp8", "fp16"),
        (1, 2, 4, 8),
    )
    before = time.perf_counter()
    sweep(*parts, model, axes)
    swept = time.perf_counter() - before
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = []
    for prompt, answer in itertools.product(range(100, 140), range(200, 240)):
        asked = {"model": model.id, "precision": "fp8", "gpus": 2, "batch": 32, "phase": "serving"}
        asked |= {"input_tokens": prompt, "output_tokens": answer}
        before = time.perf_counter()
        roofline.estimate("inference_throughput", parts[0], asked, known)
        times.append(time.perf_counter() - before)
    one = statistics.median(times)
    print(f"one estimate, warm: {1e3 * one:.3f} ms")
    print(f"sweep of {axes.size:,} configurations: {swept:.2f} s, at most {most:.0f} MB")
    print(f"a configuration of the sweep takes {one * axes.size / swept:.0f} times less than one")


if __name__ == "__main__":
    main()
