"""The few physical parameters of the performance model, each with a range and a source.

They live in `calibration.yaml`, apart from every specification: nothing here is a peak, and
nothing in the catalogue is an efficiency. A parameter has low, mid and high; "low" and "high" are
the ends of its plausible range, not of the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from gpubench.errors import CatalogueError

FILE = "calibration.yaml"


@dataclass(frozen=True, slots=True)
class Parameters:
    """One value of every parameter; units stand in the names, shares are of the peak."""

    memory_efficiency: float
    hbm3e_share: float
    cache_read_efficiency: float
    cache_operations: float
    compute_ceiling: float
    unknown_process_efficiency: float
    static_power_share: float
    energy_per_flop_scale: float
    energy_share_8bit: float
    energy_share_4bit: float
    tile_tokens: float
    tile_columns: float
    attention_efficiency: float
    softmax_operations: float
    elementwise_operations: float
    shard_passes: float
    smoothness: float
    layer_overhead_s: float
    eager_layer_overhead_s: float
    step_overhead_s: float
    sequence_overhead_s: float
    vocabulary_overhead_s: float
    link_efficiency: float
    link_transition: float
    switch_efficiency: float
    pcie_efficiency: float
    network_efficiency: float
    serving_sync_s: float
    link_latency_s: float
    network_latency_s: float
    reported_capacity: float
    runtime_reserve_bytes: float
    group_batch_loss: float
    layer_buffers: float
    logit_buffers: float
    cache_fraction: float
    training_efficiency: float
    training_element_bytes: float
    overlap_share: float
    tensor_overlap_share: float
    serving_power_share: float
    vector_kernel_efficiency: float


@dataclass(frozen=True)
class Calibration:
    """All parameters at their middle, their ranges by group, and where each comes from.

    `energy_per_flop` maps a process node to J per FLOP of dense FP16 with random data, and
    `energy_clock` to the clock in Hz it was measured at.
    Parameters of one group express the same physics and are varied together. `fitted` names those
    that `gpubench calibrate` finds, each within its range; `provenance` says on what.
    """

    mid: Parameters
    low: Parameters
    high: Parameters
    groups: Mapping[str, tuple[str, ...]]
    energy_per_flop: Mapping[str, float]
    energy_clock: Mapping[str, float]
    sources: Mapping[str, str]
    fitted: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def varied(self, group: str) -> Iterator[Parameters]:
        """The middle with one group at its low end, then at its high end."""
        for end in (self.low, self.high):
            yield replace(self.mid, **{name: getattr(end, name) for name in self.groups[group]})


@lru_cache(maxsize=1)
def load() -> Calibration:
    """The calibration shipped with the package. Raises CatalogueError when it is incomplete."""
    return read(yaml.load(text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@lru_cache(maxsize=1)
def ideal() -> Parameters:
    """Nothing wasted and nothing waited for: what data sheets and physics alone leave over.

    Shares of energy and power, which say what things draw, stay as they are.
    """
    ones = (name for name in _NAMES if name.endswith(("efficiency", "fraction", "hbm3e_share")))
    return replace(
        load().high,
        **dict.fromkeys(ones, 1.0),
        **dict.fromkeys((n for n in _NAMES if n.endswith(("_s", "_operations", "_buffers"))), 0.0),
        compute_ceiling=1.0,
        energy_per_flop_scale=_NONE,  # no power ever runs out
        tile_tokens=_NONE,
        tile_columns=0.0,
        shard_passes=0.0,
        smoothness=1e3,
        link_transition=0.0,
        runtime_reserve_bytes=0.0,
        group_batch_loss=0.0,
        training_element_bytes=0.0,
        overlap_share=1.0,
        tensor_overlap_share=1.0 - _NONE,
    )


_NONE = 1e-9  # of what something is divided by
_NAMES = tuple(each.name for each in fields(Parameters))


def text() -> str:
    """The file as it ships with the package."""
    return files(__package__).joinpath(FILE).read_text(encoding="utf-8")


def with_values(values: Mapping[str, float]) -> Calibration:
    """The shipped calibration with other middles."""
    shared = load()
    return replace(shared, mid=replace(shared.mid, **values))


def read(document: Mapping[str, Any]) -> Calibration:
    """Build a calibration from the parsed file.

    Raises:
        CatalogueError: a parameter is missing, unknown, without source, or its middle lies
            outside its range.
    """
    entries: Mapping[str, Mapping[str, Any]] = document["parameters"]
    known = {one.name for one in fields(Parameters)}
    if set(entries) != known:
        odd = ", ".join(sorted(set(entries) ^ known))
        raise CatalogueError(f"calibration.yaml: unknown or missing parameters: {odd}")
    groups: dict[str, list[str]] = {}
    for name, entry in entries.items():
        ends = sorted((float(entry["low"]), float(entry["high"])))
        if not ends[0] <= float(entry["mid"]) <= ends[1] or not entry.get("source"):
            raise CatalogueError(f"calibration.yaml: {name}: give low, mid, high and a source")
        groups.setdefault(entry["group"], []).append(name)
    low, mid, high = (
        Parameters(**{name: float(entry[end]) for name, entry in entries.items()})
        for end in ("low", "mid", "high")
    )
    return Calibration(
        mid=mid,
        low=low,
        high=high,
        groups={group: tuple(names) for group, names in groups.items()},
        energy_per_flop={
            node: float(entry["value"]) for node, entry in document["energy_per_flop"].items()
        },
        energy_clock={
            node: float(entry["clock"]) for node, entry in document["energy_per_flop"].items()
        },
        sources={name: str(entry["source"]) for name, entry in entries.items()},
        fitted=tuple(document.get("fit", {}).get("parameters", ())),
        provenance={k: v for k, v in document.get("fit", {}).items() if k != "parameters"},
    )


def rewritten(before: str, values: Mapping[str, float], provenance: Mapping[str, Any]) -> str:
    """The text of `calibration.yaml` with new middles and provenance, all else untouched.

    Raises:
        CatalogueError: the text holds no middle for one of the values.
    """
    after = before
    for name, value in values.items():
        pattern = rf"(?m)^(  {name}:\n(?:    .*\n)*?    mid: ).*$"
        after, found = re.subn(pattern, rf"\g<1>{_yaml_number(value)}", after)
        if found != 1:
            raise CatalogueError(f"{FILE}: {name} has no line of its own for mid")
    for name, entry in provenance.items():
        after = re.sub(rf"(?m)^(  {name}: ).*$", rf"\g<1>{entry}", after, count=1)
    return after


def _yaml_number(value: float) -> str:
    """A number that YAML reads back as one: an exponent needs a point and a sign."""
    text = f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    if e and "." not in mantissa:
        mantissa += ".0"
    return mantissa + e + exponent
