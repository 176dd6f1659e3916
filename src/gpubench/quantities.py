"""The vocabulary of claims: what can be claimed, in which unit, under which conditions.

A quantity's `via` names who can find it: `figure` (the catalogue), `derived` (arithmetic on its
figures), `export` and `rule` (export rules), `model` (a language model's architecture), `estimate`
(the performance model), `article` (only arithmetic on printed figures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Via = Literal["figure", "derived", "export", "rule", "model", "estimate", "article"]
SubjectKind = Literal["accelerator", "model", "rule", "none"]

TEXT, DATE = "text", "date"
"""Stand in `QuantityKind.unit` for quantities that are words or dates."""


@dataclass(frozen=True, slots=True)
class QuantityKind:
    """One thing a claim can be about. `unit` is an SI base unit, TEXT or DATE.

    `comparative` quantities need a baseline but are no ratio ("number of figures improved").
    """

    name: str
    unit: str
    via: Via
    description: str
    conditions: tuple[str, ...] = ()
    subject: SubjectKind = "accelerator"
    comparative: bool = False


@dataclass(frozen=True, slots=True)
class ConditionKind:
    """One condition: a choice among words, a whole number, a quantity or a catalogue name."""

    name: str
    description: str
    choices: tuple[str, ...] = ()
    integer: bool = False
    unit: str = ""
    names: Literal["", "model", "rule"] = ""


PRECISIONS = ("fp64", "fp64_tensor", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4")
STORAGE_BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4, "fp4": 4}
"""Bits a stored weight or cache value takes. Block scales of 4-bit formats come on top."""


@dataclass(frozen=True, slots=True)
class Achievable:
    """The least share of a peak that a good kernel sustains, and what says so."""

    floor: float
    because: str


# The lowest shares that published stream kernels, dense GEMMs and ring all-reduces reach on parts
# whose peak is not in doubt; the measurements stand in the catalogue's published.yaml.
ACHIEVABLE: dict[str, Achievable] = {
    "memory_bandwidth": Achievable(0.80, "published stream kernels reach 83 to 98 % of it"),
    "peak_fp16": Achievable(0.65, "published FP16 GEMMs reach 68 to 96 % of it"),
    "peak_bf16": Achievable(0.65, "published BF16 GEMMs reach 68 to 96 % of it"),
    "peak_fp8": Achievable(0.60, "published FP8 GEMMs reach 65 to 70 % of it"),
    "interconnect_bandwidth": Achievable(0.75, "published ring all-reduces reach 82 % of it"),
}
PEAK_CEILING = 1.02
"""A rate above the peak by more is a fault of the measurement, not a better part."""

_CONDITIONS = (
    ConditionKind("rate", "the theoretical peak, or what a kernel sustains", ("peak", "sustained")),
    ConditionKind("sparsity", "dense, or 2:4 structured sparsity", ("dense", "sparse")),
    ConditionKind("direction", "both directions added, or one", ("both", "one-way")),
    ConditionKind("group", "which figures are compared", ("all", "memory", "compute", "links")),
    ConditionKind("rule", "the dated export rule", names="rule"),
    ConditionKind(
        "limit",
        "what a rule may set a limit on",
        ("tpp", "density", "dram_bandwidth", "io_bandwidth", "dram_plus_io_bandwidth"),
    ),
    ConditionKind("threshold", "a TPP limit to compare with", unit="TPP"),
    ConditionKind("model", "the language model", names="model"),
    ConditionKind("precision", "storage of weights; also sets the peak", tuple(STORAGE_BITS)),
    ConditionKind("kv_precision", "storage of the KV cache", tuple(STORAGE_BITS)),
    ConditionKind("gpus", "devices serving or training one copy", integer=True),
    ConditionKind(
        "pipeline",
        "stages that the layers of a served copy are dealt to, `gpus / pipeline` devices each",
        integer=True,
    ),
    ConditionKind(
        "batch",
        "sequences at once on each part: a number, or max for as many as fit",
        ("max",),
        integer=True,
    ),
    ConditionKind(
        "engine_sequences",
        "sequences at once that a serving engine is built for (max_batch_size, max_num_seqs)",
        integer=True,
    ),
    ConditionKind("input_tokens", "prompt length of a request", integer=True),
    ConditionKind("output_tokens", "generated length of a request", integer=True),
    ConditionKind(
        "phase",
        "prompt processing, generation, or both as a server mixes them",
        ("prefill", "decode", "serving"),
    ),
    ConditionKind("use", "what the memory is for", ("inference", "rag", "lora", "training")),
    ConditionKind("sequences", "sequences held in the KV cache", integer=True),
    ConditionKind("context_tokens", "tokens held for each sequence", integer=True),
    ConditionKind("lora_rank", "rank of LoRA adapters", integer=True),
    ConditionKind("micro_batch", "sequences a device trains on at once", integer=True),
    ConditionKind("recomputation", "activations kept or recomputed", ("none", "selective", "full")),
    ConditionKind("tokens", "training tokens", unit="token"),
    ConditionKind("batch_tokens", "tokens of one optimizer step", unit="token"),
    ConditionKind("sequence_tokens", "tokens of one training sequence", integer=True),
    ConditionKind("utilization", "share of the dense peak reached", unit="1"),
    ConditionKind("hourly_rent", "rent of one device", unit="USD/s"),
    ConditionKind("network", "network bandwidth of one device, one direction", unit="B/s"),
    ConditionKind("reduction", "how an all-reduce runs", ("ring", "in-switch")),
    ConditionKind("message", "bytes reduced", unit="B"),
    ConditionKind("path", "which path a parameter takes", ("hbm", "pcie")),
    ConditionKind(
        "workload",
        "what is trained where it is not a whole language model",
        ("adapters", "graph network"),
    ),
    ConditionKind("engine", "the software that serves a model, with its release"),
    ConditionKind("kernel", "the HPC kernel", ("triad", "spmv", "stencil", "dgemm")),
    ConditionKind(
        "bandwidth_bound_share", "share of the baseline's phase that waits for links", unit="1"
    ),
    ConditionKind("ports", "network ports of a node", integer=True),
    ConditionKind("port_rate", "rate of one port, one direction", unit="B/s"),
    ConditionKind("figure", "the specification compared", ()),
    ConditionKind(
        "whose",
        "whose revenue, shipments or share",
        (
            "NVIDIA",
            "Huawei",
            "Cambricon",
            "Chinese makers",
            "other Chinese makers",
            "foreign makers",
            "cloud providers",
            "China",
            "United States",
        ),
    ),
    ConditionKind("where", "the market a revenue comes from", ("China", "United States", "world")),
    ConditionKind(
        "whole",
        "what a share is a part of",
        (
            "NVIDIA revenue",
            "AI chips in China",
            "AI servers in China",
            "accelerated servers in China",
            "accelerator cards in China",
            "price of a machine tool",
        ),
    ),
    ConditionKind(
        "period",
        "the time that a market figure is about",
        ("2023", "2024-H1", "2024", "2025-Q1", "2025"),
    ),
)
CONDITIONS: dict[str, ConditionKind] = {kind.name: kind for kind in _CONDITIONS}

_SERVING = (
    "model",
    "precision",
    "kv_precision",
    "gpus",
    "pipeline",
    "engine_sequences",
    "batch",
    "input_tokens",
    "output_tokens",
)
_TRAINING = (
    *("model", "precision", "gpus", "micro_batch", "recomputation", "utilization", "network"),
    *("batch_tokens", "sequence_tokens"),
)
_MEMORY = (
    "model",
    "precision",
    "kv_precision",
    "gpus",
    "use",
    "sequences",
    "context_tokens",
    "lora_rank",
)


_MARKET = ("whose", "where", "whole", "period")


def _peaks() -> list[QuantityKind]:
    return [
        QuantityKind(
            f"peak_{p}",
            "OP/s" if p == "int8" else "FLOP/s",
            "figure",
            f"peak {p.replace('_', ' ')} rate of the matrix units"
            if "tensor" in p or p not in ("fp32", "fp64")
            else f"peak {p} vector rate",
            ("sparsity", "rate"),
        )
        for p in PRECISIONS
    ]


_QUANTITIES = (
    # Figures of an accelerator, from the catalogue or the device.
    QuantityKind("memory_capacity", "B", "figure", "device memory as marketed"),
    QuantityKind("memory_bandwidth", "B/s", "figure", "peak device memory bandwidth", ("rate",)),
    QuantityKind("memory_bus_width", "B", "figure", "memory bus, in bits"),
    QuantityKind("memory_pin_rate", "B/s", "figure", "rate of one memory pin"),
    QuantityKind("l2_cache", "B", "figure", "second-level cache"),
    QuantityKind("l3_cache", "B", "figure", "third-level cache"),
    QuantityKind("compute_units", "1", "figure", "enabled SMs, CUs or cores of that rank"),
    QuantityKind(
        "flop_per_clock_per_unit", "FLOP", "figure", "dense FP16 matrix FLOP a clock and unit"
    ),
    QuantityKind("boost_clock", "1/s", "figure", "clock behind the published peaks"),
    QuantityKind("max_clock", "1/s", "figure", "largest clock a device reports"),
    *_peaks(),
    QuantityKind(
        "interconnect_bandwidth",
        "B/s",
        "figure",
        "all scale-up links of one device",
        ("direction",),
    ),
    QuantityKind("interconnect_links", "1", "figure", "scale-up links of one device"),
    QuantityKind("pcie_generation", "1", "figure", "PCI Express generation"),
    QuantityKind("board_power", "J/s", "figure", "rated power of board or module"),
    QuantityKind("die_area", "m2", "figure", "compute silicon in the package"),
    QuantityKind("memory_type", TEXT, "figure", "kind of memory"),
    QuantityKind("architecture", TEXT, "figure", "architecture family"),
    QuantityKind("process_node", TEXT, "figure", "manufacturing process"),
    QuantityKind("announcement_date", DATE, "figure", "day, month or quarter of the announcement"),
    QuantityKind("release_date", DATE, "figure", "day, month or quarter of first shipment"),
    # Derived from the figures of one or two accelerators.
    QuantityKind("ridge_point", "FLOP/B", "derived", "peak divided by bandwidth", ("precision",)),
    QuantityKind(
        "peak_per_watt", "FLOP/J", "derived", "dense peak divided by board power", ("precision",)
    ),
    QuantityKind("bandwidth_per_watt", "B/J", "derived", "memory bandwidth divided by board power"),
    QuantityKind(
        "figures_improved",
        "1",
        "derived",
        "how many figures beat the baseline by 5 % or more",
        ("group",),
        comparative=True,
    ),
    QuantityKind(
        "figures_reduced",
        "1",
        "derived",
        "how many figures fall short of the baseline by 5 % or more",
        ("group",),
        comparative=True,
    ),
    # Export rules.
    QuantityKind("tpp", "TPP", "export", "total processing performance: dense rate x bit length"),
    QuantityKind("performance_density", "TPP/m2", "export", "TPP over die area"),
    QuantityKind("tpp_over_threshold", "1", "export", "TPP over a limit", ("threshold",)),
    QuantityKind(
        "export_status", TEXT, "export", "controlled, exception, case-by-case or free", ("rule",)
    ),
    QuantityKind("rule_date", DATE, "rule", "when a rule was announced", subject="rule"),
    QuantityKind("rule_tpp_threshold", "TPP", "rule", "upper TPP limit of a rule", subject="rule"),
    QuantityKind(
        "rule_density_threshold",
        "TPP/m2",
        "rule",
        "upper limit of a rule on performance density",
        subject="rule",
    ),
    QuantityKind(
        "rule_criteria",
        "1",
        "rule",
        "kinds of limit a rule sets; with `limit`, 1 or 0 for that kind",
        ("limit",),
        subject="rule",
    ),
    # Language models.
    QuantityKind("parameters", "parameter", "model", "weights of a model", subject="model"),
    QuantityKind(
        "active_parameters", "parameter", "model", "weights used for one token", subject="model"
    ),
    QuantityKind(
        "compute_per_token",
        "FLOP/token",
        "model",
        "forward pass, two FLOP a weight used",
        subject="model",
    ),
    QuantityKind(
        "training_compute",
        "FLOP",
        "model",
        "6 x active parameters x tokens",
        ("tokens",),
        subject="model",
    ),
    # Estimated by the performance model.
    QuantityKind(
        "inference_throughput",
        "token/s",
        "estimate",
        "tokens a second of one serving copy",
        (*_SERVING, "phase"),
    ),
    QuantityKind("time_to_first_token", "s", "estimate", "prefill of one request", _SERVING),
    QuantityKind("time_per_output_token", "s", "estimate", "one decode step", _SERVING),
    QuantityKind(
        "energy_per_token",
        "J/token",
        "estimate",
        "board energy for one token",
        (*_SERVING, "phase"),
    ),
    QuantityKind(
        "cost_per_token",
        "USD/token",
        "estimate",
        "rent of the devices for one token",
        (*_SERVING, "phase", "hourly_rent"),
    ),
    QuantityKind("max_sequences", "1", "estimate", "sequences whose KV cache fits", _SERVING),
    QuantityKind(
        "memory_needed",
        "B",
        "estimate",
        "weights, caches and state of a use",
        _MEMORY,
        subject="none",
    ),
    QuantityKind("memory_share", "1", "estimate", "memory needed over memory at hand", _MEMORY),
    QuantityKind(
        "devices_needed", "1", "estimate", "fewest devices whose memory suffices", _MEMORY
    ),
    QuantityKind(
        "training_throughput",
        "token/s",
        "estimate",
        "tokens a second of one training job",
        _TRAINING,
    ),
    QuantityKind(
        "training_time", "s", "estimate", "time of a whole training run", (*_TRAINING, "tokens")
    ),
    QuantityKind(
        "training_cost",
        "USD",
        "estimate",
        "device hours x rent",
        (*_TRAINING, "tokens", "hourly_rent"),
    ),
    QuantityKind(
        "parameter_load_time",
        "s",
        "estimate",
        "reading all weights once",
        ("model", "precision", "gpus", "path"),
    ),
    QuantityKind(
        "gradient_sync_time",
        "s",
        "estimate",
        "all-reduce of all gradients",
        ("model", "precision", "gpus", "network", "reduction"),
    ),
    QuantityKind(
        "all_reduce_time",
        "s",
        "estimate",
        "all-reduce of one message",
        ("gpus", "message", "reduction", "network"),
    ),
    QuantityKind(
        "communication_share",
        "1",
        "estimate",
        "communication over compute time of a training step, not overlapped",
        _TRAINING,
    ),
    QuantityKind(
        "communication_phase_time",
        "s",
        "estimate",
        "a phase of which a share waits for the links",
        ("bandwidth_bound_share",),
    ),
    QuantityKind(
        "node_network_bandwidth",
        "B/s",
        "estimate",
        "ports x rate, one direction",
        ("ports", "port_rate"),
        subject="none",
    ),
    QuantityKind("hpc_throughput", "FLOP/s", "estimate", "rate of an FP64 kernel", ("kernel",)),
    # Figures that only articles print; arithmetic alone can check them.
    QuantityKind("server_price", "CNY", "article", "price of one server", subject="none"),
    QuantityKind("card_price", "CNY", "article", "price of one card", subject="none"),
    QuantityKind(
        "price_per_server", "CNY/server", "article", "contract value over servers", subject="none"
    ),
    QuantityKind("hourly_rent", "USD/s", "article", "rent of one device", subject="none"),
    QuantityKind("server_rent", "CNY/s", "article", "rent of one server", subject="none"),
    QuantityKind("price_ratio", "1", "article", "one price over another", subject="none"),
    QuantityKind(
        "price_performance_ratio",
        "1",
        "article",
        "performance for money over another's",
        subject="none",
    ),
    QuantityKind(
        "reduction", "1", "article", "share by which a price or time fell", subject="none"
    ),
    QuantityKind("lead_time", "s", "article", "time from order to delivery", subject="none"),
    QuantityKind("shipments", "card", "article", "cards shipped", _MARKET, subject="none"),
    QuantityKind("demand", "card", "article", "cards wanted", _MARKET, subject="none"),
    QuantityKind(
        "growth", "1", "article", "growth over an earlier period", _MARKET, subject="none"
    ),
    QuantityKind("market_size", "USD", "article", "value of a market", _MARKET, subject="none"),
    QuantityKind("revenue", "USD", "article", "revenue or purchases", _MARKET, subject="none"),
    QuantityKind("charge", "USD", "article", "loss booked or expected", _MARKET, subject="none"),
    QuantityKind("share", "1", "article", "part of a whole", _MARKET, subject="none"),
    QuantityKind("share_ratio", "1", "article", "one share over another", _MARKET, subject="none"),
    QuantityKind("cost_ratio", "1", "article", "one cost over another", subject="none"),
    QuantityKind("count", "1", "article", "things counted in the articles", subject="none"),
)
QUANTITIES: dict[str, QuantityKind] = {kind.name: kind for kind in _QUANTITIES}
