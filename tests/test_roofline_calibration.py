"""Every parameter has a range and a source, and a broken file says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from gpubench.errors import CatalogueError
from gpubench.roofline import calibration


def document(**changes: dict[str, Any]) -> dict[str, Any]:
    entry = {"low": 1, "mid": 2, "high": 3, "group": "g", "source": "s"}
    names = calibration.Parameters.__dataclass_fields__
    return {"parameters": {**dict.fromkeys(names, entry), **changes}, "energy_per_flop": {}}


def test_the_shipped_file_gives_every_parameter_a_range_and_a_source() -> None:
    found = calibration.load()
    for name in calibration.Parameters.__dataclass_fields__:
        low, mid, high = (getattr(end, name) for end in (found.low, found.mid, found.high))
        assert min(low, high) <= mid <= max(low, high)
        assert len(found.sources[name]) > 20


def test_a_missing_parameter_is_named() -> None:
    broken = document()
    del broken["parameters"]["smoothness"]
    with pytest.raises(CatalogueError, match="smoothness"):
        calibration.read(broken)


def test_a_middle_outside_its_range_is_refused() -> None:
    entry = {"low": 1, "mid": 9, "high": 3, "group": "g", "source": "s"}
    with pytest.raises(CatalogueError, match="smoothness: give low, mid, high"):
        calibration.read(document(smoothness=entry))


def test_a_parameter_without_source_is_refused() -> None:
    entry = {"low": 1, "mid": 2, "high": 3, "group": "g", "source": ""}
    with pytest.raises(CatalogueError, match="and a source"):
        calibration.read(document(smoothness=entry))


def test_a_group_is_varied_alone() -> None:
    found = calibration.load()
    low, high = found.varied("memory")
    assert low.memory_efficiency == found.low.memory_efficiency
    assert high.memory_efficiency == found.high.memory_efficiency
    assert low.compute_ceiling == high.compute_ceiling == found.mid.compute_ceiling


def test_nothing_that_wastes_is_left_where_nothing_is_wasted() -> None:
    """What stays as it was is what things draw and hold, and all that a calibration may gain."""
    ends = calibration.load()
    ideal, high = calibration.ideal(), ends.high
    kept = {
        name
        for name in calibration.Parameters.__slots__
        if getattr(ideal, name) == getattr(high, name)
    }
    assert kept <= {
        *("static_power_share", "serving_power_share", "energy_share_8bit", "energy_share_4bit"),
        *("reported_capacity", "training_efficiency", "attention_efficiency"),
        *("hbm3e_share", "cache_read_efficiency"),
    }
    for name in set(calibration.Parameters.__slots__) - kept - {"energy_per_flop_scale"}:
        worse, best = getattr(ends.low, name), getattr(ideal, name)
        assert (best > getattr(high, name)) is (getattr(high, name) > worse), name
