"""What is being tried on a device, so that a kernel that hangs or kills it has a name.

    with device.trials.trying(f"gemm {config}"):
        clock.samples(call, 1, 5)

A search runs kernels of which nobody knows yet whether they end. When one does not, or takes the
device with it, nothing can be done in that process any more; what can be done is to name it, and to
leave it out when the run is continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import faults


class Shunned(CannotMeasure):
    """This configuration hung or crashed the device earlier in this run."""


class Trials:
    """The configurations that are tried on one device, and those that are not to be."""

    def __init__(self) -> None:
        self.now = ""
        """What is tried, or was when the device failed; "" between trials."""
        self._shunned: frozenset[str] = frozenset()
        self.rest()

    def rest(self) -> None:
        """Nobody is told of trials any more, nor is the device asked."""
        self.told: Callable[[], None] = _nothing
        """Called when a trial begins and when it ends."""
        self.answers: Callable[[], None] = _nothing
        """Raises what the device says when it is asked whether it still works."""

    def shun(self, names: Iterable[str]) -> None:
        """From now on these are not tried."""
        self._shunned |= set(names)

    def begin(self) -> None:
        """Forget what was tried when the device failed."""
        self.now = ""

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Try what has this name in the block. Raises Shunned when it is not to be tried."""
        if name in self._shunned:
            raise Shunned("left out: it hung or crashed the device when it was tried before")
        self.now = name
        self.told()
        try:
            yield
        except Exception as error:
            if isinstance(faults.as_sentence(error, f"trying {name}"), DeviceLost):
                raise
            self.answers()  # else the next trial would be blamed for what this one broke
            self._over()
            raise
        self._over()

    def _over(self) -> None:
        self.now = ""
        self.told()


def _nothing() -> None:
    pass
