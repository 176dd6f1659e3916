"""A device that never answers is noticed by a thread that does not wait for it."""

from __future__ import annotations

import threading

from gpubench.measuring import Watchdog


def test_an_answer_that_does_not_come_is_told_once_with_what_was_waited_for() -> None:
    told: list[tuple[object, float]] = []
    noticed = threading.Event()

    def hung(what: object, waited_s: float) -> None:
        told.append((what, waited_s))
        noticed.set()

    with Watchdog(hung) as watchdog:
        watchdog.await_answer("a kernel", 0.02)
        assert noticed.wait(10)  # this thread stands for the one that the device holds up
    assert told == [("a kernel", 0.02)]


def test_answers_in_time_and_idle_moments_are_no_fault() -> None:
    told: list[object] = []
    with Watchdog(lambda what, _: told.append(what)) as watchdog:
        for number in range(50):
            watchdog.await_answer(number, 10.0)
        watchdog.await_answer("the last", 0.05)
        watchdog.answered()
        threading.Event().wait(0.15)
    assert told == []


def test_a_watchdog_that_was_never_asked_ends_with_its_block() -> None:
    with Watchdog(lambda *_: None) as watchdog:
        pass
    assert not watchdog._thread.is_alive()
