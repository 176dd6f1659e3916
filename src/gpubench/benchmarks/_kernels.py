"""The modules of our Triton kernels, for benchmarks that launch them."""

from __future__ import annotations

import importlib
from typing import Any

from gpubench.errors import CannotMeasure


def load(family: str) -> Any:
    """A module of our kernels. Raises CannotMeasure when triton is missing or interprets."""
    try:
        checks = importlib.import_module("gpubench.kernels.checks")
        found = importlib.import_module(f"gpubench.kernels.{family}")
    except ImportError as error:
        raise CannotMeasure(
            f"the kernels need triton ({error}): pip install triton; the torch method does not"
        ) from None
    if checks.INTERPRETED:
        raise CannotMeasure("TRITON_INTERPRET is set, which runs kernels on the host: unset it")
    return found
