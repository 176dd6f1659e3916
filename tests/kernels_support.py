"""What the stories about kernels share: scripts as processes, and launches that are told."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)
needs_torch = pytest.mark.skipif(
    None in (importlib.util.find_spec("triton"), importlib.util.find_spec("torch")),
    reason="Triton and torch are not both installed",
)


class Script:
    """A script of this folder at work in a process of its own, which prints a JSON object.

    In a process of its own: Triton decides while it is imported whether to interpret.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment.pop("TRITON_INTERPRET", None)
        command = [sys.executable, str(ROOT / "tests" / script), *arguments]
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)

    def told(self) -> dict[str, Any]:
        """What it printed, once it has ended."""
        failed = self._process.wait(timeout=300)
        assert not failed, self._err.read_text("utf-8")
        found: dict[str, Any] = json.loads(self._out.read_text("utf-8"))
        return found

    def end(self) -> None:
        """Leaves nothing behind, whether it had ended or not."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


@contextmanager
def scripts(**commands: Sequence[str]) -> Iterator[dict[str, Script]]:
    """Scripts by the name they are given, all at work at the same time."""
    running = dict[str, Script]()
    try:
        for name, command in commands.items():
            running[name] = Script(*command)
        yield running
    finally:
        for script in running.values():
            script.end()


@functools.cache
def told_by(script: str, *arguments: str) -> dict[str, Any]:
    """What a script of this folder prints; it runs once, whoever asks."""
    with scripts(only=(script, *arguments)) as running:
        return running["only"].told()


class Kernel:
    """Records a launch instead of making one."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **options: Any) -> None:
            self.grid, self.arguments, self.options = grid, arguments, options

        return launch


def current_gpu(monkeypatch: pytest.MonkeyPatch, kernels: Any, index: int = 0) -> None:
    """Let a module of kernels believe that this is the current GPU."""
    current = SimpleNamespace(active=SimpleNamespace(get_current_device=lambda: index))
    monkeypatch.setattr(kernels.triton.runtime, "driver", current)


def specialised(kernel: Any, *arguments: Any, **constants: Any) -> list[Any]:
    """For each argument its type and whether its value is looked at, as a launch on sm_90 would."""
    from triton.backends import backends
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import create_function_from_signature

    backend = backends["nvidia"].compiler(GPUTarget("cuda", 90, 32))
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    _, found, _ = bind(*arguments, **constants)
    return list(found[: len(arguments)])
