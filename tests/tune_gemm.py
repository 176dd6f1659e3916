"""Times many configurations of the matrix product beside torch.mm, in turn, on the GPU here.

    PYTHONPATH=src python tests/tune_gemm.py [--size 8192] [--precision fp16] [--rounds 5]

One line a configuration as it is measured, then all of them, the fastest first: median TFLOPS, the
ratio to torch.mm measured in the same rounds, and the difference from its answer. What wins belongs
into CONFIGS of kernels/gemm.py. A kernel that hangs or crashes is named and skipped: configurations
run in a process of their own, which is replaced after --patience seconds of silence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import statistics
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from gpubench.benchmarks import gemm as benchmark
from gpubench.kernels import gemm
from gpubench.measuring import DeviceClock, find
from gpubench.measuring.verify import poison, relative_error


def candidates(family: str) -> list[gemm.Config]:
    """What to try beyond CONFIGS of that family, which come first."""
    found = list(gemm.CONFIGS[family])
    tiles = [(128, 256), (256, 128), (128, 128)]
    if family in ("hopper", "blackwell"):
        for (m, n), group, stages in itertools.product(tiles, (4, 8, 16, 32), (3, 4)):
            found.append(gemm.Config(m, n, 128, 4, stages, group, specialize=True))
        for (m, n), stages, subtiles, flatten in itertools.product(
            tiles[:2], (3, 4), (1, 2), (False, True)
        ):
            found.append(gemm.Config(m, n, 128, 8, stages, subtiles=subtiles, flatten=flatten))
    else:
        for (m, n), warps, stages, group in itertools.product(tiles, (4, 8), (2, 3, 4), (4, 8)):
            found.append(gemm.Config(m, n, 64, warps, stages, group, descriptors=False))
    return list(dict.fromkeys(found))


def measure(options: argparse.Namespace) -> None:
    """Times the configurations whose places are given, and prints a line of JSON for each."""
    device = find("cuda")
    assert device is not None
    size = options.size
    case = benchmark._case("triton", options.precision, size, size, size)
    x = benchmark.Matrices(case, device, seed=0)
    theirs, clock = benchmark._torch_call(x), DeviceClock(device.index)
    clock.samples(theirs, 1, 50)
    theirs()
    reference = x.c.clone()
    configs = candidates(gemm.family(device.capability))
    for place in options.places:
        said: dict[str, Any] = {"place": place, **asdict(configs[place])}
        print(json.dumps({"trying": place}), flush=True)
        try:
            said |= _timed(x, theirs, reference, configs[place], device, clock, options.rounds)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            said["failed"] = f"{type(error).__name__}: {lines[-1][:150]}"
        print(json.dumps(said), flush=True)


def _timed(
    x: Any, theirs: Any, reference: Any, config: Any, device: Any, clock: Any, rounds: int
) -> dict[str, Any]:
    def ours() -> None:
        gemm.multiply(x.c, x.a, x.b, programs=device.units, config=config)

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


def supervise(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every configuration's line; a process that dies or falls silent is replaced."""
    device = find("cuda")
    assert device is not None
    configs = candidates(gemm.family(device.capability))
    left, found = list(range(len(configs))), []
    while left:
        lines = _child(options, left)
        trying = None
        for line in lines:
            told = json.loads(line)
            if "trying" in told:
                trying = told["trying"]
                continue
            found.append(told)
            left.remove(told["place"])
            trying = None
            print(_shown(told), flush=True)
        if left:
            lost = left[0] if trying is None else trying
            found.append({"place": lost, **asdict(configs[lost]), "failed": "hung or crashed"})
            left.remove(lost)
            print(_shown(found[-1]), flush=True)
    return found


def _child(options: argparse.Namespace, places: list[int]) -> Any:
    """The lines of a process of its own, until it ends or says nothing for too long."""
    command = [sys.executable, __file__, "--size", str(options.size)]
    command += ["--precision", options.precision, "--rounds", str(options.rounds)]
    command += ["--places", *map(str, places)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while line := lines.get(timeout=options.patience):
            if line.startswith("{"):
                yield line
    except queue.Empty:
        pass
    finally:
        process.kill()
        process.wait()


def _shown(told: dict[str, Any]) -> str:
    how = (
        f"{told['block_m']}x{told['block_n']}x{told['block_k_bytes']}B warps {told['num_warps']} "
        f"stages {told['stages']} group {told['group']} subtiles {told['subtiles']}"
        f"{' specialised' * told['specialize']}{' flat' * told['flatten']}"
        f"{'' if told['descriptors'] else ' pointers'}"
    )
    if "failed" in told:
        return f"{how}: {told['failed']}"
    return f"{told['tflops']:7.1f} TFLOPS {told['ratio']:.3f} error {told['error']:.1e}  {how}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--precision", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--places", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.places is not None:
        measure(options)
        return
    ranked = [told for told in supervise(options) if "ratio" in told]
    print(f"\n{options.precision} {options.size} cubed, the fastest first; ratio to torch.mm")
    for told in sorted(ranked, key=lambda told: -told["ratio"]):
        print(_shown(told))


if __name__ == "__main__":
    main()
