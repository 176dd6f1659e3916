"""Times many configurations of the matrix product beside torch's, in turn, on the GPU here.

    PYTHONPATH=src python tests/tune_gemm.py [--precisions fp16 bf16 fp8] [--minutes 8]

First all of them are compiled, in as many processes as there are cores, into Triton's cache. Then
each is checked and timed; one line a configuration as it comes. Last comes a short table: for each
precision the five fastest, with median TFLOPS, the ratio to torch measured in the same rounds, and
the difference from its answer. What wins belongs into CONFIGS of kernels/gemm.py, first.

Those of CONFIGS come first, so that a run whose minutes are over has tried what matters. A kernel
that hangs or crashes is named and skipped: configurations run in a process of their own, which is
replaced after --patience seconds of silence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gpubench.benchmarks import _matrices
from gpubench.benchmarks import gemm as benchmark
from gpubench.kernels import gemm
from gpubench.measuring import DeviceClock, find
from gpubench.measuring.verify import poison, relative_error

PRECISIONS = ("fp16", "bf16", "fp8", "int8", "tf32")


@dataclass(frozen=True)
class Trial:
    """One configuration for one precision."""

    precision: str
    config: gemm.Config


def trials(capability: str, precisions: list[str]) -> list[Trial]:
    """Everything to try: what the search knows first, for each precision, then the rest."""
    first, then = list[Trial](), list[Trial]()
    for precision in precisions:
        known = gemm.configs(capability, _matrices.PRECISIONS[precision].out)
        rest = [config for config in beyond(capability) if config not in known]
        first += [Trial(precision, config) for config in known]
        then += [Trial(precision, config) for config in rest]
    # All precisions have their turn, should the minutes be over.
    then.sort(key=lambda trial: beyond(capability).index(trial.config))
    return first + then


def beyond(capability: str) -> list[gemm.Config]:
    """What to try beside the known configurations."""
    tiles, found = [(128, 256), (256, 128), (128, 128)], list[gemm.Config]()
    if gemm.family(capability) in ("hopper", "blackwell"):
        for stages, group, (m, n) in itertools.product((3, 4), (8, 16, 32, 4), tiles):
            found.append(gemm.Config(m, n, 128, 4, stages, group, specialize=True))
        for stages, subtiles, flatten, (m, n) in itertools.product(
            (4, 3), (1, 2), (True, False), tiles[:2]
        ):
            found.append(gemm.Config(m, n, 128, 8, stages, subtiles=subtiles, flatten=flatten))
    else:
        for (m, n), warps, stages, group in itertools.product(tiles, (4, 8), (2, 3, 4), (4, 8)):
            found.append(gemm.Config(m, n, 64, warps, stages, group, descriptors=False))
    return list(dict.fromkeys(found))


# --------------------------------------------------------------------------- in its own process


class Compiling:
    """Stands in for a kernel: compiles what a launch would run, and launches nothing."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: Any) -> Any:
        return lambda *arguments, **how: self.kernel.warmup(*arguments, grid=grid, **how)


def compile_all(options: argparse.Namespace, places: list[int]) -> None:
    """Compiles the trials of these places, on small matrices that specialise as large ones do."""
    device, every = _device_and_trials(options)
    gemm._persistent, gemm._one_tile = Compiling(gemm._persistent), Compiling(gemm._one_tile)
    for place in places:
        trial = every[place]
        x = _matrices.Matrices(_case(trial.precision, 512), device, seed=0)
        try:
            _multiply(x, trial, device)()
        except Exception as error:
            print(f"{place}: {type(error).__name__}", flush=True)


def measure(options: argparse.Namespace, places: list[int]) -> None:
    """Times the trials of these places, and prints a line of JSON for each."""
    device, every = _device_and_trials(options)
    clock = DeviceClock(device.index)
    ready: dict[str, tuple[Any, Any, Any]] = {}
    for place in places:
        trial = every[place]
        print(json.dumps({"trying": place}), flush=True)
        if trial.precision not in ready:
            case = _case(trial.precision, options.size)
            x = _matrices.Matrices(case, device, seed=0)
            theirs = benchmark.torch_call(x, case)
            clock.samples(theirs, 1, 30)
            theirs()
            ready[trial.precision] = x, theirs, x.c.clone()
        x, theirs, reference = ready[trial.precision]
        said: dict[str, Any] = {"place": place}
        try:
            said |= _timed(x, theirs, reference, _multiply(x, trial, device), clock, options.rounds)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            said["failed"] = f"{type(error).__name__}: {lines[-1][:150]}"
        print(json.dumps(said), flush=True)


def _device_and_trials(options: argparse.Namespace) -> tuple[Any, list[Trial]]:
    device = find("cuda")
    assert device is not None
    return device, trials(device.capability, options.precisions)


def _case(precision: str, size: int) -> Any:
    return benchmark._case("triton", precision, size, size, size)


def _multiply(x: Any, trial: Trial, device: Any) -> Any:
    how = {"programs": device.units, "tf32": trial.precision == "tf32"}
    return lambda: gemm.multiply(x.c, x.a, x.b, config=trial.config, **how)


def _timed(
    x: Any, theirs: Any, reference: Any, ours: Any, clock: Any, rounds: int
) -> dict[str, Any]:
    poison(x.c)
    ours()
    error = relative_error(x.c, reference)
    clock.samples(ours, 1, 5)
    ratios, times = [], []
    for _ in range(rounds):
        slow = statistics.median(clock.samples(theirs, 1, 10))
        fast = statistics.median(clock.samples(ours, 1, 10))
        ratios.append(slow / fast)
        times.append(fast)
    m, n, k = x.a.shape[0], x.b.shape[1], x.a.shape[1]
    rate = 2e-12 * m * n * k / statistics.median(times)
    return {"tflops": rate, "ratio": statistics.median(ratios), "error": error}


# --------------------------------------------------------------------------- the process above them


def compile_in_parallel(options: argparse.Namespace, count: int) -> None:
    """Fills Triton's cache; what does not compile is told when it is tried."""
    workers = min(count, os.cpu_count() or 1)
    shares = [list(range(first, count, workers)) for first in range(workers)]
    processes = [
        subprocess.Popen([*_again(options, share), "--compile"], stdout=subprocess.DEVNULL)
        for share in shares
    ]
    deadline = time.monotonic() + options.minutes * 60 / 2
    for process in processes:
        try:
            process.wait(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def supervise(options: argparse.Namespace, count: int, deadline: float) -> Iterator[dict[str, Any]]:
    """Every trial's line; a process that dies or falls silent is replaced, till the time is up."""
    left = list(range(count))
    while left and time.monotonic() < deadline:
        trying = None
        for line in _lines(options, left, deadline):
            told = json.loads(line)
            trying = told.get("trying")
            if trying is None:
                left.remove(told["place"])
                yield told
        if time.monotonic() >= deadline:
            return
        if left:
            lost = left[0] if trying is None else trying
            left.remove(lost)
            yield {"place": lost, "failed": "hung or crashed"}


def _lines(options: argparse.Namespace, places: list[int], deadline: float) -> Iterator[str]:
    """What a process of its own prints, until it ends, says nothing for too long, or time is up."""
    process = subprocess.Popen(_again(options, places), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while left := max(0.0, deadline - time.monotonic()):
            line = lines.get(timeout=min(options.patience, left))
            if line is None:
                return
            if line.startswith("{"):
                yield line
    except queue.Empty:
        pass
    finally:
        process.kill()
        process.wait()
        reader.join()
        output.close()


def _again(options: argparse.Namespace, places: list[int]) -> list[str]:
    """This script once more, for these places."""
    command = [sys.executable, __file__, "--size", str(options.size)]
    command += ["--precisions", *options.precisions, "--rounds", str(options.rounds)]
    return [*command, "--places", *map(str, places)]


def shown(trial: Trial, told: dict[str, Any]) -> str:
    """One line: what was found, and for which configuration."""
    c = trial.config
    how = (
        f"{trial.precision} {c.block_m}x{c.block_n}x{c.block_k_bytes}B warps {c.num_warps} "
        f"stages {c.stages} group {c.group} subtiles {c.subtiles}"
        f"{' specialised' * c.specialize}{' flat' * c.flatten}{' pointers' * (not c.descriptors)}"
    )
    if "failed" in told:
        return f"{how}: {told['failed']}"
    return f"{told['tflops']:7.1f} TFLOPS {told['ratio']:.3f} error {told['error']:.1e}  {how}"


def summary(found: list[tuple[Trial, dict[str, Any]]], precisions: list[str], best: int) -> str:
    """The fastest of each precision by the ratio to torch, as a short table; right ones alone."""
    lines = []
    for precision in precisions:
        allowed = _matrices.PRECISIONS[precision].tolerance
        every = [(t, told) for t, told in found if t.precision == precision and "ratio" in told]
        ran = [(t, told) for t, told in every if told["error"] <= allowed]
        failed = sum(t.precision == precision and "failed" in told for t, told in found)
        wrong = f", {len(every) - len(ran)} wrong" if len(every) > len(ran) else ""
        lines.append(f"{precision}: {len(ran)} ran, {failed} failed{wrong}; ratio to torch in turn")
        ran.sort(key=lambda one: -one[1]["ratio"])
        lines += [shown(*one) for one in ran[:best]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS[:3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--patience", type=float, default=30.0)
    parser.add_argument("--best", type=int, default=5)
    parser.add_argument("--out", help="a file for all that was found, as JSON")
    parser.add_argument("--places", type=int, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.precisions = list(options.precisions)
    if options.places is not None:
        (compile_all if options.compile else measure)(options, options.places)
        return
    deadline = time.monotonic() + options.minutes * 60
    _, every = _device_and_trials(options)
    compile_in_parallel(options, len(every))
    found = []
    for told in supervise(options, len(every), deadline):
        found.append((every[told["place"]], told))
        print(shown(*found[-1]), flush=True)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            rows = [{"precision": t.precision, **asdict(t.config), **told} for t, told in found]
            json.dump(rows, file, indent=1)
    print(f"\n{options.size} cubed, {len(found)} of {len(every)} tried")
    print(summary(found, options.precisions, options.best))


if __name__ == "__main__":
    main()
