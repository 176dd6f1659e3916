"""What goes wrong on a device, told as one sentence each.

Faults are known by the names of their classes and by their messages, so that neither torch nor
triton need be there. What is not known is left alone and keeps its traceback: it is our mistake.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from gpubench.errors import CannotMeasure, DeviceLost

_RUNTIMES = ("CUDA error", "HIP error", "CUDA driver error", "Triton Error [")
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory"),
    "CUBLAS_STATUS_ALLOC_FAILED",
)
# cudaErrorDevicesUnavailable (46), and what torch says when another process holds the card alone.
_BUSY = ("busy or unavailable", "exclusive")
# Errors of one launch, after which the device still answers.
_HARMLESS = (
    *("invalid argument", "invalid configuration", "too many resources requested"),
    *("no kernel image", "kernel image is invalid", "unsupported toolchain"),
    *("CUBLAS_STATUS_NOT_SUPPORTED", "CUBLAS_STATUS_INVALID_VALUE"),
    # What cusparseGetErrorString says of a call that cuSPARSE or cuSPARSELt does not take.
    *("operation not supported", "invalid value", "architecture mismatch"),
    *("insufficient resources", "CUBLAS_STATUS_INTERNAL_ERROR"),
)


def as_sentence(error: BaseException, doing: str) -> CannotMeasure | None:
    """The expected error behind an exception, or None when it is none of the device's faults.

    `doing` completes "… while", as in "measuring triad of 4 GB".
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    if isinstance(error, CannotMeasure):
        return error
    if (
        isinstance(error, MemoryError)
        or "OutOfMemoryError" in kinds
        or (isinstance(error, RuntimeError) and _says(text, _OUT_OF_MEMORY))
    ):
        return CannotMeasure(
            f"out of memory while {doing}: choose a smaller size or suite, "
            f"or end what else uses the device"
        )
    if "OutOfResources" in kinds:
        return CannotMeasure(
            f"the kernel asks for more than this device has while {doing} ({_last_line(error)}): "
            f"the torch method does not need it"
        )
    if _of_the_compiler(error):
        return CannotMeasure(
            f"the kernel does not compile for this device while {doing} ({_last_line(error)}): "
            f"another version of triton may help; the torch method does not need it"
        )
    if _of_the_launcher(error):
        return CannotMeasure(
            f"triton cannot start kernels here while {doing} ({_last_line(error)}): it needs a C "
            f"compiler, Python's headers, the driver's libcuda and a home it can write to; the "
            f"torch method needs none of them"
        )
    if "AcceleratorError" in kinds or (
        isinstance(error, RuntimeError) and text.startswith(_RUNTIMES)
    ):
        return _device_fault(error, doing)
    return None


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Raise the faults of a device in this block as CannotMeasure or DeviceLost."""
    try:
        yield
    except CannotMeasure:
        raise
    except Exception as error:
        sentence = as_sentence(error, doing)
        if sentence is None:
            raise
        raise sentence from error


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Raise as CannotMeasure what torch's operators say of shapes and types they do not take.

    A pass calls a dozen of them, each with rules of its own on each part; one that refuses is told
    with its reason, and the next case follows. Faults of the device keep what they are.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = refusal(error, what)
        if reason is None:
            raise
        raise CannotMeasure(f"torch does not do {what} here ({reason})") from error


def refusal(error: Exception, what: str) -> str | None:
    """What an operator of torch says of `what`, which it does not take; None for faults of the
    device.
    """
    return None if as_sentence(error, what) else first_line(error)


def _device_fault(error: BaseException, doing: str) -> CannotMeasure:
    text = str(error)
    if _says(text, _BUSY):
        return CannotMeasure(
            f"the device is taken by another process while {doing}: wait until it has ended, "
            f"or name another device with --device cuda:N"
        )
    if _says(text, _HARMLESS):
        return CannotMeasure(
            f"the device refused a launch while {doing} ({first_line(error)}): "
            f"this kernel does not suit this device"
        )
    return DeviceLost(
        f"the device failed while {doing} ({first_line(error)}): see dmesg for its Xid, "
        f"restart the process, and continue with --resume"
    )


def _of_the_compiler(error: BaseException) -> bool:
    if any(kind.__module__.split(".")[0] == "triton" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "PassManager::run failed" in str(error)


def _of_the_launcher(error: BaseException) -> bool:
    """Whether triton failed in what it builds and loads beside the kernel, on the host."""
    step, rooms = error.__traceback__, list[str]()
    while step is not None:
        rooms.append(str(step.tb_frame.f_globals.get("__name__", "")))
        step = step.tb_next
    if not any(room.startswith(("triton.runtime", "triton.backends")) for room in rooms):
        return False
    if isinstance(error, OSError | subprocess.SubprocessError | AssertionError | ImportError):
        return True
    return isinstance(error, RuntimeError) and not str(error).startswith(_RUNTIMES)


def _says(text: str, phrases: tuple[str, ...]) -> bool:
    lowered = text.lower()
    return any(phrase.lower() in lowered for phrase in phrases)


def first_line(error: BaseException) -> str:
    """What an error says first, or its type where it says nothing."""
    return _lines(error)[0]


def _last_line(error: BaseException) -> str:
    """Where triton says what is wrong, below the source it quotes."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    lines = [line.strip()[:200] for line in str(error).splitlines() if line.strip()]
    return lines or [type(error).__name__]
