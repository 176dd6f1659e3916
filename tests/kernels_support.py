"""What the stories about kernels share: scripts as processes, and launches that are told."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
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


def told_by(script: str, *arguments: str, **more: str) -> dict[str, Any]:
    """The JSON object that a script of this folder prints; `more` goes into its environment.

    In a process of its own: Triton decides while it is imported whether to interpret.
    """
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


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
