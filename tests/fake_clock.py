"""A clock that owns its time: calls take as long as a script says, and nobody waits."""

from __future__ import annotations

from collections.abc import Callable

Script = Callable[[float, int], float]
"""Seconds of one call, from the time since the start and the number of calls so far."""


class FakeClock:
    """Plays a script. `gap_s` passes between two takes, as it does on a real machine."""

    def __init__(
        self,
        script: Script,
        resolution_s: float = 1e-7,
        gap_s: float = 1e-4,
        most_calls: int = 2000,
    ) -> None:
        self.script, self.gap_s = script, gap_s
        self.resolution_s, self.most_calls = resolution_s, most_calls
        self.host_bound = 0.0
        self.time, self.made, self.released = 0.0, 0, 0
        self.takes: list[tuple[int, int]] = []

    def now(self) -> float:
        return self.time

    def samples(
        self,
        call: Callable[[], None],
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        self.takes.append((calls_per_sample, count))
        self.time += self.gap_s
        found = []
        for _ in range(count):
            call()
            seconds = self.script(self.time, self.made)
            self.made += calls_per_sample
            self.time += seconds * calls_per_sample
            found.append(seconds)
        if meanwhile:
            meanwhile()
        return found

    def release(self) -> None:
        self.released += 1
