"""A device that never answers: noticed by a thread of its own, since the one that waits cannot.

    with Watchdog(hung) as watchdog:
        watchdog.await_answer("gemm triton …", 60.0)
        torch.cuda.synchronize()
        watchdog.answered()

A kernel whose warps wait for each other for ever leaves the host in a call that nothing
interrupts, not even Ctrl-C. `hung` is called then, with what was waited for and for how long; all
it can do is to save what there is and end the process. While torch and triton wait, they let other
threads run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gpubench.measuring.clock import HostClock

Hung = Callable[[Any, float], None]
"""Told what was waited for, and for how many seconds."""


class Watchdog:
    """Calls `hung` once, from a thread, when an answer is waited for longer than was allowed."""

    def __init__(self, hung: Hung) -> None:
        self._hung, self._now = hung, HostClock().now
        self._changed = threading.Condition()
        self._what: Any = None
        self._limit_s = 0.0
        self._ends: float | None = None
        self._over = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    def await_answer(self, what: Any, limit_s: float) -> None:
        """From now on wait for `what`, so many seconds at the most; an earlier wait is over."""
        with self._changed:
            self._what, self._limit_s, self._ends = what, limit_s, self._now() + limit_s
            self._changed.notify()

    def answered(self) -> None:
        """Nothing is waited for until further notice."""
        with self._changed:
            self._ends = None

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = None if self._ends is None else self._ends - self._now()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            if self._over:
                return
            what, limit_s = self._what, self._limit_s
        self._hung(what, limit_s)
