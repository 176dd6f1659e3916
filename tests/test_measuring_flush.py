"""Calls whose caches were emptied, on a played card; pytest's fixture uses it for real."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from gpubench.measuring.flush import FlushingClock
from tests.test_rehearsal import DEVICE, PlayedCuda, PlayedEvent
from tests.test_rehearsal import cuda as cuda


def test_each_call_is_timed_alone_between_events(cuda: PlayedCuda) -> None:
    assert cuda
    calls: list[int] = []
    clock = FlushingClock(replace(DEVICE, cache_bytes=2**16))
    before: list[int] = []  # calls made when the buffer was written
    clock._buffer = SimpleNamespace(fill_=lambda _: before.append(len(calls)))
    times = clock.samples(lambda: calls.append(1), 1, 9)
    assert before.count(0) > 10  # a head start, which the host needs to be ahead of the device
    assert before[-8:] == list(range(1, 9))
    assert len(times) == len(calls) == 9
    assert all(0 <= seconds < 0.1 for seconds in times)
    assert clock.host_bound == 0
    assert clock.resolution_s == 0.5e-6


def test_a_device_that_waited_for_the_host_is_told(
    cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda
    answers = iter([False, True, True, False])
    monkeypatch.setattr(PlayedEvent, "query", lambda _: next(answers))
    clock = FlushingClock(replace(DEVICE, cache_bytes=2**16))
    clock.samples(lambda: None, 1, 4)
    assert clock.host_bound == 0.5
