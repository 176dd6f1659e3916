"""The nouns of gpubench, frozen. No behaviour here beyond arithmetic on their own fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gpubench.errors import MissingFigure
from gpubench.units import Printed, Quantity

Kind = Literal["measured", "device", "arithmetic", "published", "catalogue", "estimated"]
KINDS: tuple[Kind, ...] = (
    "measured",  # by gpubench, on the device present
    "device",  # derived from what the driver reports
    "arithmetic",  # computed from the article's own figures
    "published",  # measured by a third party, with an address
    "catalogue",  # datasheet, white paper or law
    "estimated",  # by the performance model
)
"""The kinds of evidence, strongest first."""

Outcome = Literal["supported", "refuted", "conditional", "inconclusive", "untested", "out-of-scope"]
OUTCOMES: tuple[Outcome, ...] = (
    "supported",
    "conditional",
    "refuted",
    "inconclusive",
    "untested",
    "out-of-scope",
)


# --------------------------------------------------------------------------- catalogue


@dataclass(frozen=True, slots=True)
class Source:
    """Who said a number, where, and how it was read."""

    id: str
    url: str
    publisher: str
    kind: str
    read: str
    note: str = ""
    read_on: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure: a quantity, a text ("HBM3e") or a date ("2023-11", "2024-Q2").

    `source` is the id of a Source; `grade` is A (vendor document), B (vendor statement elsewhere or
    agreeing third parties) or C (press, single third party, estimate).
    """

    value: Quantity | str
    source: str
    grade: str
    remark: str = ""
    conflicts: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Accelerator:
    """A chip variant. `figures` maps a quantity's name ("memory_bandwidth") to its figure.

    A peak is keyed by precision ("peak_fp16", dense) or, with 2:4 sparsity, "peak_fp16_sparse".
    `unsettled` holds published values of figures nobody could settle; they decide nothing.
    """

    id: str
    name: str
    vendor: str
    family: str
    figures: Mapping[str, Figure]
    aliases: tuple[str, ...] = ()
    driver_names: tuple[str, ...] = ()
    die: str = ""
    unit_kind: str = ""
    unsupported: tuple[str, ...] = ()
    notes: str = ""
    unsettled: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)

    def figure(self, quantity: str) -> Figure:
        """The figure of that name. Raises MissingFigure when nobody has published it."""
        try:
            return self.figures[quantity]
        except KeyError:
            raise MissingFigure(
                f"{self.name}: no published {quantity.replace('_', ' ')}; "
                f"add it with its source to the catalogue, or leave the claim untested"
            ) from None

    def value(self, quantity: str) -> float:
        """The figure's value in SI base units. Raises MissingFigure when unknown or a text."""
        found = self.figure(quantity).value
        if not isinstance(found, Quantity):
            raise MissingFigure(f"{self.name}: {quantity} is not a number")
        return found.value


@dataclass(frozen=True)
class LanguageModel:
    """The architecture of a decoder-only transformer, as far as its cost depends on it.

    Dense layers have `experts == 0`. What is cached follows from the attention kind: multi-head and
    grouped-query attention keep 2 · kv_heads · head_dim values a token and layer, latent attention
    keeps `latent_dim` and needs `attention_parameters` weights a layer. A model whose architecture
    nobody published has no layers: ask `architecture_known` first. `stored` is the precision in
    which a configuration of one's own says that the weights are.
    """

    id: str
    name: str
    parameters: float
    active_parameters: float
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_hidden: int
    vocabulary: int
    source: str
    aliases: tuple[str, ...] = ()
    gated_ffn: bool = True
    experts: int = 0
    experts_per_token: int = 0
    shared_experts: int = 0
    expert_hidden: int = 0
    dense_layers: int = 0
    latent_dim: int = 0
    sliding_window: int = 0
    sliding_layers: int = 0
    context: int = 0
    training_tokens: float = 0.0
    training_flops: float = 0.0
    remark: str = ""
    tied_embeddings: bool = False
    attention_parameters: float = 0.0
    stored: str = ""

    @property
    def architecture_known(self) -> bool:
        """Whether anything but the name and the training compute is published."""
        return self.layers > 0


@dataclass(frozen=True, slots=True)
class Engine:
    """How a serving engine was built and run: most sequences at once, most tokens an iteration.

    `memory_fraction` is the share of a device's memory that it may use, `cache_fraction` the share
    of what is free after weights and buffers that it gives to the cache (None: not stated);
    `joins_queries` says whether decode attention handles all queries of a cached head together, on
    matrix units; `pipeline` counts the stages that the layers are dealt to, and the limits hold for
    each of the micro-batches under way. The defaults are those of TensorRT-LLM's builder
    (`BuildConfig`), the engine of most published results, and of its kernels since 0.12.
    """

    sequences: int = 2048
    tokens: int = 8192
    cache_fraction: float | None = None
    memory_fraction: float = 1.0
    joins_queries: bool = True
    pipeline: int = 1


@dataclass(frozen=True)
class ExportRule:
    """A dated US export rule. The three lists hold alternatives; each alternative is a mapping
    from a bound ("tpp_min", "density_min", "dram_bandwidth_below" …) to an SI value, and applies
    when all its bounds do. A rule that `amends` another leaves to it what its own lists leave out.
    """

    id: str
    announced: str
    citation: str
    sources: tuple[str, ...]
    grade: str
    effective: str = ""
    controlled_if: tuple[Mapping[str, float], ...] = ()
    exception_if: tuple[Mapping[str, float], ...] = ()
    case_by_case_if: tuple[Mapping[str, float], ...] = ()
    effect: str = ""
    remark: str = ""
    published: str = ""
    amends: str = ""


@dataclass(frozen=True)
class Article:
    """A press article under test: one of those that ship, or one that a claims file declares."""

    id: str
    title: str
    publisher: str
    date: str
    remark: str = ""
    author: str = ""
    url: str = ""


# --------------------------------------------------------------------------- work and estimates


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of a kernel must do at the least."""

    flops: float = 0.0  # additions and multiplications, each one
    bytes: float = 0.0  # read plus written to device memory, as if caches were perfect
    wire_bytes: float = 0.0  # sent by one device over its links

    def __add__(self, other: Work) -> Work:
        return Work(
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.wire_bytes + other.wire_bytes,
        )

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.bytes * times, self.wire_bytes * times)

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of SI values; an end may be infinite in what a claim accepts."""

    low: float
    high: float

    def disjoint(self, other: Interval) -> bool:
        """No value of this lies in `other`."""
        return self.high < other.low or other.high < self.low

    @property
    def finite(self) -> bool:
        """Both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Estimate:
    """What the performance model says: low ≤ mid ≤ high in `unit` (SI), and why.

    `binding_limit` names what bounds the result ("memory bandwidth", "compute", "links",
    "memory capacity" …). `error` says how the interval was validated, in words.
    """

    low: float
    mid: float
    high: float
    unit: str
    binding_limit: str
    assumptions: tuple[str, ...] = ()
    error: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------- measuring


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure: a benchmark with its parameters ({"pattern": "triad", "n": 2**30})."""

    benchmark: str
    method: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that weakens a measurement, as a fact, and what would mend it.

    `code` is a short name ("throttled", "noisy", "implausible" …) that programs can test for.
    """

    code: str
    fact: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples taken without a break, the unit of our statistics, and what the device said then.

    `seconds` holds the time of one call for each sample. `telemetry` maps a reading's name
    ("sm_clock_hz", "power_w", "clock_event_reasons" …) to its value; `refused` maps the name of a
    reading that the driver refused to the reason it gave.
    """

    seconds: tuple[float, ...]
    telemetry: Mapping[str, float | int | str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one case with everything needed to judge them; rates are derived from it.

    `phase` is "burst" (from cool, the first seconds) or "sustained" (after `heat_s` seconds of the
    same work without a break). `complete` is false when the run was cut short: what had been
    sampled by then is kept. `resolution_s` is the clock's; `choices` holds what was chosen on the
    way, such as a kernel's launch configuration with all that were tried. `in_turn_with` names the
    methods whose blocks were taken in turn with these: block by block, in one loop.
    """

    case: Case
    version: int
    work: Work
    blocks: tuple[Block, ...]
    calls_per_sample: int
    warmup_s: float
    phase: str = "burst"
    verification: str = ""
    cautions: tuple[Caution, ...] = ()
    complete: bool = True
    heat_s: float = 0.0
    resolution_s: float = 0.0
    choices: Mapping[str, Any] = field(default_factory=dict)
    in_turn_with: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether it was taken whole and no guard says that hardware cannot be so fast."""
        return (
            self.complete
            and bool(self.blocks)
            and all(c.code != "implausible" for c in self.cautions)
        )


# --------------------------------------------------------------------------- claims and verdicts


@dataclass(frozen=True)
class Citation:
    """Where an article makes a claim, and which entries of the digest that covers."""

    article: str
    place: str
    digest: tuple[str, ...]


@dataclass(frozen=True)
class Arithmetic:
    """A formula over the article's own figures: names in `formula` are keys of `inputs`.

    Each input is a list of alternatives: the id of a claim or figure in the same file, or a
    literal ("8 cards"). Alternatives are swept.
    """

    formula: str
    inputs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Claimed:
    """What was printed: a point (`low == high`), a range, or a word or date in `text`."""

    qualifier: str
    low: Printed | None = None
    high: Printed | None = None
    text: str = ""


@dataclass(frozen=True)
class Claim:
    """One checkable statement. It says what was printed and where, never what we think of it.

    With a `baseline` the claim is about subject / baseline. `conditions` were stated by the
    article; `sweep` holds what it left open, each name with the values to try. Several subjects,
    baselines or quantities are swept as well. `translations` are of the statement, by language.
    """

    id: str
    category: str
    statement: str
    citations: tuple[Citation, ...]
    quantities: tuple[str, ...]
    claimed: Claimed
    subjects: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    arithmetic: Arithmetic | None = None
    reading: str = ""
    line: int = 0
    translations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OutOfScope:
    """A statement that no computation settles, with the reason, or a figure only computed with."""

    id: str
    statement: str
    citations: tuple[Citation, ...]
    reason: str
    category: str
    printed: Claimed | None = None
    line: int = 0
    translations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """One finding about a claim under one set of conditions.

    A number carries low ≤ mid ≤ high in `unit` (SI); a word carries `text`. A finding that could
    not be made has neither, and `missing` says why. `disputed` are the values of sources that count
    as much, by who says so.
    """

    kind: Kind
    conditions: Mapping[str, Any]
    source: str
    low: float | None = None
    mid: float | None = None
    high: float | None = None
    unit: str = ""
    text: str = ""
    binding_limit: str = ""
    assumptions: tuple[str, ...] = ()
    error: str = ""
    missing: str = ""
    disputed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What was found about a claim, how, and within what interval.

    `accepted` is what the claim allows; `relations` says for each piece of evidence how it lies to
    that ("inside", "below", "above", "straddling", "disputed"), or why it is not held against it
    ("missing", "slower", "achievable", "sustained", "implausible"); `flags` are remarks such as
    kinds that disagree; `found` is what the evidence that decided spans, in the claim's own unit.
    `span` is that as SI values, where it is made of numbers, without the sustained rates that only
    confirm a peak.
    """

    claim: str
    outcome: Outcome
    basis: str
    reason: str
    accepted: Interval | None = None
    unit: str = ""
    evidence: tuple[Evidence, ...] = ()
    relations: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    found: str = ""
    span: Interval | None = None
