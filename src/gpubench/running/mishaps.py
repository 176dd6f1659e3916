"""When a device hangs or dies: how long a run waits for it, what it suspects, what it leaves out.

A configuration that was being tried is suspected at once and tried no more; a case that merely was
under way gets a second chance when the device died, since a card may fail by itself, and none when
it hung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpubench.measuring import PLANS, Trials, Watchdog
from gpubench.model import Case
from gpubench.records import RunRecord, case_key

PREPARING_S = 120.0
"""Compiling and trying a dozen kernels takes less by far; one that hangs takes for ever. A
benchmark that makes more ready than that has a constant of this name of its own."""
PATIENCE, LEAST_PATIENCE_S = 5.0, 30.0
"""How many times its time limit a case may wait for one answer, and how long at the least."""
TRIAL_S = 40.0
"""How long one configuration of a kernel may take to compile, to be checked and timed."""

_HUNG, _LOST = "the device did not answer", "the device failed"
FATAL = (_HUNG, _LOST)
"""How the reasons begin why a case was left that hung the device, or killed it twice; neither is
tried again."""


@dataclass
class Patience:
    """Whose turn it is, and how long it may wait for the device: while it is prepared, while it
    tries a configuration, and for each answer after. Without a watchdog it may wait for ever.
    """

    suite: str
    trials: Trials
    watchdog: Watchdog | None
    case: Case | None = None
    whole_s: float = PREPARING_S

    def preparing(self, case: Case, whole_s: float) -> None:
        """It is the turn of this case to be made ready, in so many seconds."""
        self.case, self.whole_s = case, whole_s
        self.trials.begin()
        self.trials.told = self._trial
        self._trial()

    def __call__(self, case: Case) -> None:
        """This case waits for the device to answer."""
        self.case = case
        plan = PLANS[self.suite]
        limit = PATIENCE * (plan.warmup_limit_s + plan.limit_s)
        self._await(max(LEAST_PATIENCE_S, limit))

    def _trial(self) -> None:
        self._await(TRIAL_S if self.trials.now else self.whole_s)

    def _await(self, limit_s: float) -> None:
        if self.watchdog:
            self.watchdog.await_answer(self.case, limit_s)


def hung(
    record: RunRecord, case: Case, phases: Sequence[str], trying: str, waited_s: float
) -> tuple[RunRecord, str]:
    """The record without what hung the device, and the reason in words.

    `phases` are those of the case that are not measured yet, `trying` the configuration under way.
    """
    why = f"{_HUNG} for {waited_s:.0f} s while it had {case.benchmark} ({case.method}) to do: a "
    if trying:
        why += f"configuration that hangs there ({trying}), left out from now on"
        return replace(record, suspects=(*record.suspects, trying)), why
    why += "kernel that hangs there; the case is left out from now on"
    return record.with_failure(case, phases, why), why


def lost(record: RunRecord, case: Case, phases: Sequence[str], trying: str, why: str) -> RunRecord:
    """The record with a suspect of the device's death; without a case that is one already."""
    suspect = trying or case_key(case, "")
    if suspect not in record.suspects:
        return replace(record, suspects=(*record.suspects, suspect))
    return record.with_failure(case, phases, f"{_LOST} twice: {why}")
