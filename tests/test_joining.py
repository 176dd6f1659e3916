"""Ranks of a launcher: each begins as a run of its own does, and all plan the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpubench import measuring, records
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure
from gpubench.measuring import Device
from gpubench.measuring.group import Place
from gpubench.records import RunRecord
from gpubench.running import beginning, campaign, joining, linking, ranks
from gpubench.running.beginning import Request
from tests.devices import H200

PLACE = Place(0, 2, 0, 2, 0, 1)
LIMIT = 85_520_809_984
TAKEN = 700_000_000


class Joined:
    """The group as rank 0 sees it: the other one says the same, and has 1 GB less memory."""

    place = PLACE

    def gather(self, mine: Any) -> list[Any]:
        return [mine, mine - 10**9] if isinstance(mine, int) else [mine]

    def together(self, problem: CannotMeasure | None) -> None:
        if problem:
            raise problem

    def wait_long(self) -> None: ...

    def barrier(self) -> None: ...

    def leave(self) -> None: ...


class Story:
    """What a rank is told on the way: what it is asked for, and the devices it measures on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = ""
        self.devices: list[Device] = []
        monkeypatch.setattr(ranks, "join", self._join)
        monkeypatch.setattr(measuring, "find", lambda *_: H200)
        monkeypatch.setattr(measuring, "limited", self._limited)
        monkeypatch.setattr(measuring, "allocatable_bytes", lambda _: 140 * 10**9)
        monkeypatch.setattr(campaign, "measure_all", self._measure)

    def _join(self, _where: Place, _kind: str, asked: str) -> tuple[Device, Joined]:
        self.asked = asked
        return replace(H200, memory_free=100 * 10**9), Joined()

    def _limited(self, device: Device, limit: int) -> Device:
        if limit > device.memory_total:
            raise CannotMeasure("choose a limit between them")
        return replace(device, memory_limit=limit, memory_free=limit - TAKEN)

    def _measure(
        self, record: RunRecord, device: Device, save: Callable[[RunRecord], None], *_: Any
    ) -> RunRecord:
        self.devices.append(device)
        save(replace(record, complete=True))
        return replace(record, complete=True)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(monkeypatch)


def measured(folder: Path, catalogue: Catalogue, **more: Any) -> RunRecord:
    request = Request(folder / "claims.yaml", folder / "results", "cuda", **more)
    (record,) = joining.measured(request, PLACE, catalogue, lambda _: None, None)
    return record


def test_a_limit_of_memory_holds_for_what_ranks_plan(
    story: Story, tmp_path: Path, shipped: Catalogue
) -> None:
    record = measured(tmp_path, shipped, memory_limit=LIMIT)
    alone, together = story.devices
    assert alone.memory_limit == together.memory_limit == LIMIT
    assert alone.memory_free == LIMIT - TAKEN - 10**9  # the least of all ranks
    assert record.environment["memory_limit"] == str(LIMIT)
    assert "allocatable_memory" not in record.device_figures


def test_ranks_with_other_limits_are_asked_for_something_else(
    story: Story, tmp_path: Path, shipped: Catalogue
) -> None:
    measured(tmp_path, shipped)
    without = story.asked
    measured(tmp_path, shipped, memory_limit=LIMIT)
    assert story.asked == f"{without}, within {LIMIT} B of memory"


def test_a_limit_that_does_not_suit_is_told_to_all_ranks(
    story: Story, tmp_path: Path, shipped: Catalogue
) -> None:
    with pytest.raises(CannotMeasure, match="choose a limit between them"):
        measured(tmp_path, shipped, memory_limit=10**15)
    assert story.devices == []


def test_ranks_find_out_how_much_memory_can_be_had(
    story: Story, tmp_path: Path, shipped: Catalogue
) -> None:
    record = measured(tmp_path, shipped)
    assert record.device_figures["allocatable_memory"] == 140e9
    assert story.devices[0].memory_free == 99 * 10**9
    assert beginning._ALLOCATABLE in record.device_figures
    measured(tmp_path, shipped, benchmarks=(linking.NAME,))
    assert len(story.devices) == 3  # a rank that measures links alone leaves its memory alone


def test_a_record_is_whole_on_disk_only_when_the_links_are_measured_too(
    story: Story, tmp_path: Path, shipped: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: Joined) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(Joined, "wait_long", ended)
        with pytest.raises(KeyboardInterrupt):
            measured(tmp_path, shipped)
    (path,) = records.list_records(tmp_path / "results")
    assert not records.read(path).complete
    assert measured(tmp_path, shipped).complete
    assert len(story.devices) == 3  # the first run ended before the links
    told = {records.read(one).complete for one in records.list_records(tmp_path / "results")}
    assert told == {False, True}
