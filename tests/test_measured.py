"""Records become evidence for the part they were made on, and for comparisons with absent ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpubench import records
from gpubench.catalogue import Catalogue
from gpubench.comparing import index, normalised
from gpubench.judging.judgement import judge_all
from gpubench.model import Block, Case, Caution, Measurement, Verdict, Work
from gpubench.records import RunRecord
from gpubench.report import experiments, rates
from tests.conftest import Load

N = 2**30
MADE = RunRecord(
    id="0123abcd",
    created="2026-01-31T09:30:00Z",
    accelerator="nvidia-h200-sxm",
    environment={},
    device="NVIDIA H200",
    suite="quick",
    device_figures={
        "memory_bandwidth": 6144 / 8 * 2 * 3.201e9,
        "memory_capacity": 143771 * 2**20,
        "max_memory_clock": 3.201e9,
        "compute_units": 132.0,
        "max_clock": 1.98e9,
    },
)


def rate(pattern: str, share: float, *codes: str) -> Measurement:
    """A made-up measurement of a share of 4.8 TB/s, for these stories only."""
    arrays = {"read": 1, "copy": 2, "triad": 3}[pattern]
    seconds = arrays * 4 * N / (share * 4.8e12)
    return Measurement(
        case=Case("bandwidth", "triton", {"pattern": pattern, "n": N}),
        version=1,
        work=Work(bytes=float(arrays * 4 * N)),
        blocks=tuple(
            Block((seconds,) * 5, {"memory_clock_hz": 3.201e9, "power_w": 480.0}) for _ in range(8)
        ),
        calls_per_sample=1,
        warmup_s=0.2,
        cautions=tuple(Caution(code, "a fact") for code in codes),
    )


def product(
    tflops: float, precision: str = "fp16", data: str = "normal", **more: object
) -> Measurement:
    """A made-up measurement of 8192 × 8192 × 8192, for these stories only."""
    cube = {"m": 8192, "n": 8192, "k": 8192}
    case = Case("gemm", "triton", {"precision": precision, **cube, "data": data})
    work = Work(flops=2.0 * 8192**3, bytes=3 * 2.0 * 8192**2)
    seconds = work.flops / (tflops * 1e12)
    said = {"sm_clock_hz": 1.485e9, "power_w": 690.0}
    blocks = tuple(Block((seconds,) * 5, said) for _ in range(8))
    return Measurement(case, 1, work, blocks, 1, 0.2, **more)  # type: ignore[arg-type]


def verdict(load: Load, catalogue: Catalogue, body: str, *found: Measurement) -> Verdict:
    return judge_all(load(body), catalogue, (), [replace(MADE, measurements=found)]).verdicts[0]


PEAK = """
subject: nvidia-h200-sxm
quantity: memory_bandwidth
claimed: {value: 4.8 TB/s, qualifier: exact}
conditions: {rate: peak}
"""


def test_a_peak_is_supported_by_what_was_measured_of_it(
    load_claims: Load, shipped: Catalogue
) -> None:
    said = verdict(load_claims, shipped, PEAK, rate("read", 0.95), rate("copy", 0.86))
    assert (said.outcome, said.basis) == ("supported", "measured")
    assert "95 %" in said.reason


def test_too_good_is_no_evidence(load_claims: Load, shipped: Catalogue) -> None:
    said = verdict(load_claims, shipped, PEAK, rate("read", 1.3, "implausible"))
    assert said.basis != "measured"
    assert any(e.kind == "measured" and "implausible" in e.missing for e in said.evidence)


def test_what_was_cut_short_is_no_evidence(load_claims: Load, shipped: Catalogue) -> None:
    whole = rate("read", 0.95)
    for part, why in (
        (replace(whole, blocks=whole.blocks[:1], complete=False), "cut short, after 1 block: "),
        (replace(whole, complete=False), "cut short, after 8 blocks"),
        (replace(whole, blocks=whole.blocks[:5]), "too short, after 5 blocks"),
    ):
        said = verdict(load_claims, shipped, PEAK, part)
        assert said.basis != "measured"
        (found,) = [e for e in said.evidence if e.kind == "measured"]
        assert found.missing.startswith(why)


def test_a_record_of_another_part_says_nothing(load_claims: Load, shipped: Catalogue) -> None:
    body = PEAK.replace("nvidia-h200-sxm", "nvidia-h20-96gb").replace("4.8", "4.0")
    said = verdict(load_claims, shipped, body, rate("read", 0.95))
    assert {e.kind for e in said.evidence} & {"measured", "device"} == set()


def test_the_driver_counts_in_binary_what_is_sold_in_decimal(
    load_claims: Load, shipped: Catalogue
) -> None:
    said = verdict(
        load_claims,
        shipped,
        """
subject: nvidia-h200-sxm
quantity: memory_capacity
claimed: {value: 141 GB, qualifier: exact}
""",
    )
    assert (said.outcome, said.basis) == ("conditional", "device")
    assert "counting is binary" in said.reason


CAPACITY = """
subject: nvidia-h200-sxm
quantity: memory_capacity
claimed: {value: 141 GB, qualifier: exact}
"""


def test_what_a_driver_reports_counts_once_however_many_records_tell_it(
    load_claims: Load, shipped: Catalogue, tmp_path: Path
) -> None:
    """Two runs of some benchmarks each, the newer with a driver that reserves less memory."""
    newer = {**MADE.device_figures, "memory_capacity": 143900.0 * 2**20}
    records.write(replace(MADE, measurements=(rate("read", 0.95),)), tmp_path)
    later = replace(MADE, id="89abcdef", created="2026-02-01T09:30:00Z", device_figures=newer)
    records.write(replace(later, measurements=(product(750.0),)), tmp_path)
    (said,) = judge_all(load_claims(CAPACITY), shipped, (), index.latest(tmp_path)).verdicts
    assert [e.source[-8:] for e in said.evidence if e.kind == "device"] == ["89abcdef"] * 2
    assert "Holds in 1 of 2" in said.reason


LINKS = """
subject: nvidia-h100-sxm5
quantity: interconnect_bandwidth
claimed: {value: 450 GB/s, qualifier: exact}
conditions: {direction: one-way}
"""


def linked(gb_s: float, **figures: float) -> RunRecord:
    """Copies between two H100 both ways at once, at so many GB/s."""
    p = {"collective": "send_recv", "bytes": 2**30, "ranks": 8, "hosts": 1, "dtype": "bf16"}
    p |= {"source": 0, "target": 1, "directions": 2, "links": "switch"}
    seconds = 2 * 2**30 / (gb_s * 1e9)
    blocks = tuple(Block((seconds,) * 5) for _ in range(8))
    found = Measurement(
        Case("collectives", "nccl", p), 1, Work(wire_bytes=2.0 * 2**30), blocks, 1, 0.2
    )
    return replace(
        MADE,
        accelerator="nvidia-h100-sxm5",
        device="NVIDIA H100",
        device_figures=figures,
        measurements=(found,),
    )


@pytest.mark.parametrize("figures", [{}, {"interconnect_bandwidth": 900e9}])
def test_a_claim_about_one_direction_is_held_against_half_of_both(
    load_claims: Load, shipped: Catalogue, figures: dict[str, float]
) -> None:
    (said,) = judge_all(load_claims(LINKS), shipped, (), [linked(760.0, **figures)]).verdicts
    assert (said.outcome, said.basis) == ("supported", "measured")
    assert {e.mid for e in said.evidence if e.kind == "device"} == ({450e9} if figures else set())
    (found,) = [e for e in said.evidence if e.kind == "measured"]
    assert found.mid == pytest.approx(380e9)
    assert any("half of both" in text for text in found.assumptions)
    swept = LINKS.replace("conditions: {direction: one-way}", "sweep: {direction: [both, one-way]}")
    (said,) = judge_all(load_claims(swept), shipped, (), [linked(760.0, **figures)]).verdicts
    assert said.outcome == "conditional"


def test_a_claim_about_a_sustained_rate_is_not_judged_by_the_nominal_one(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = PEAK.replace("4.8 TB/s", "4.9 TB/s").replace("rate: peak", "rate: sustained")
    said = verdict(load_claims, shipped, body, rate("read", 0.88))
    assert [e for e in said.evidence if e.kind == "device"] == []
    assert (said.outcome, said.basis) == ("refuted", "measured")
    swept = body.replace("conditions: {rate: sustained}", "sweep: {rate: [peak, sustained]}")
    said = verdict(load_claims, shipped, swept, rate("read", 0.88))
    assert [e.conditions["rate"] for e in said.evidence if e.kind == "device"] == ["peak"]


def test_a_slice_of_a_card_says_nothing_of_the_card(load_claims: Load, shipped: Catalogue) -> None:
    sliced = replace(
        MADE,
        device="NVIDIA H200 MIG 1g.18gb",
        cautions=(Caution("mig-slice", "a slice"),),
        measurements=(rate("read", 0.12),),
    )
    (said,) = judge_all(load_claims(PEAK), shipped, (), [sliced]).verdicts
    assert {e.kind for e in said.evidence} & {"measured", "device"} == set()
    (found,) = normalised.rates(sliced, shipped)
    assert found.of_datasheet is None
    assert experiments.transfer_table(sliced, shipped).rows == []
    assert experiments.transfer_table(replace(sliced, cautions=()), shipped).rows


def test_what_weakens_a_whole_record_is_told_with_all_that_it_says(
    load_claims: Load, shipped: Catalogue
) -> None:
    cautions = (Caution("power-limited", "the power limit is 500 W"), Caution("left-out", "no FP8"))
    record = replace(MADE, cautions=cautions, measurements=(rate("read", 0.95),))
    (said,) = judge_all(load_claims(PEAK), shipped, (), [record]).verdicts
    (found,) = [e for e in said.evidence if e.kind == "measured"]
    assert found.assumptions == ("the power limit is 500 W",)


def test_a_ratio_to_an_absent_part_is_measured_over_estimated(
    load_claims: Load, shipped: Catalogue
) -> None:
    said = verdict(
        load_claims,
        shipped,
        """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: memory_bandwidth
claimed: {value: 2 x, qualifier: nearly}
""",
        rate("read", 0.95),
    )
    (mixed,) = [e for e in said.evidence if "measured (record 0123abcd)" in e.source]
    assert mixed.kind == "estimated"
    assert mixed.low is not None
    assert mixed.high is not None
    assert mixed.low < 0.95 * 4.8 / (3.35 * 0.912) < mixed.high
    assert said.outcome == "refuted"


def test_rates_are_shares_of_every_peak(shipped: Catalogue) -> None:
    record = replace(MADE, measurements=(rate("read", 0.95), rate("triad", 0.88)))
    read, triad = normalised.rates(record, shipped)
    assert read.of_datasheet == pytest.approx(0.95)
    assert read.of_device == pytest.approx(0.95 * 4800 / 4916.7, rel=1e-4)
    assert read.of_observed == read.of_device  # the clock did not fall
    assert read.per_joule == pytest.approx(0.95 * 4.8e12 / 480)
    assert triad.of_reference == pytest.approx(0.88 * 4.8 / 3.35)


def test_the_shortfall_multiplies_to_the_measured_share(shipped: Catalogue) -> None:
    record = replace(MADE, measurements=(rate("read", 0.95), rate("triad", 0.88)))
    budget = normalised.shortfall(record, shipped, "triad")
    product = 1.0
    for loss in budget:
        product *= loss.factor
    assert product == pytest.approx(0.88)
    factors = {loss.name: loss.factor for loss in budget}
    assert factors["mix of reads and writes"] == pytest.approx(0.88 / 0.95)
    assert factors["device peak over data sheet"] == pytest.approx(4916.7 / 4800, rel=1e-4)
    assert normalised.shortfall(replace(record, device_figures={}), shipped, "triad") == ()


FP16 = """
subject: nvidia-h200-sxm
quantity: peak_fp16
claimed: {value: 1979 TFLOPS, qualifier: exact}
sweep: {sparsity: [dense, sparse]}
"""


def test_a_measured_product_is_a_dense_rate(load_claims: Load, shipped: Catalogue) -> None:
    said = verdict(load_claims, shipped, FP16, product(750.0), product(780.0, "bf16"))
    (found,) = [e for e in said.evidence if e.kind == "measured"]
    assert (found.unit, found.conditions["sparsity"]) == ("FLOP/s", "dense")
    assert found.mid == pytest.approx(750e12)
    assert found.conditions["kernel"] == "8192 × 8192 × 8192"
    assert said.outcome == "conditional"
    assert "sparse" in said.reason


def test_a_dense_peak_is_supported_by_what_was_measured_of_it(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = FP16.replace("1979", "989").replace("sweep: {sparsity: [dense, sparse]}", "")
    said = verdict(load_claims, shipped, body, product(750.0))
    assert (said.outcome, said.basis) == ("supported", "measured")


def test_a_dense_product_says_nothing_of_a_sparse_peak(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = FP16.replace("sweep: {sparsity: [dense, sparse]}", "conditions: {sparsity: sparse}")
    said = verdict(load_claims, shipped, body, product(750.0))
    assert [e for e in said.evidence if e.kind == "measured"] == []
    assert said.outcome == "supported"


def test_products_of_zeros_are_no_evidence(load_claims: Load, shipped: Catalogue) -> None:
    said = verdict(load_claims, shipped, FP16, product(880.0, data="zeros"))
    assert [e for e in said.evidence if e.kind == "measured"] == []


def test_what_was_cut_short_or_too_short_is_no_rate_to_estimate_from() -> None:
    whole, short = product(750.0), product(880.0)
    for bad in (replace(short, complete=False), replace(short, blocks=short.blocks[:1])):
        record = replace(MADE, measurements=(whole, bad))
        assert normalised.sustained_rates(record).matrix == {"fp16": pytest.approx(750e12)}


def test_a_product_is_held_against_the_peaks_of_its_precision(shipped: Catalogue) -> None:
    (found,) = normalised.rates(replace(MADE, measurements=(product(750.0),)), shipped)
    device = 132 * 4096 * 1.98e9
    assert found.unit == "FLOP/s"
    assert found.of_datasheet == pytest.approx(750e12 / 990e12, rel=1e-3)
    assert found.of_device == pytest.approx(750e12 / device)
    assert found.of_observed == pytest.approx(750e12 / (device * 1.485 / 1.98))
    assert found.per_joule == pytest.approx(750e12 / 690)


def test_the_shortfall_of_a_product_multiplies_to_its_share(shipped: Catalogue) -> None:
    made = product(700.0, choices={"config": {"block_m": 128, "block_n": 256}})
    record = replace(MADE, measurements=(made,))
    (found,) = normalised.rates(record, shipped)
    budget = normalised.compute_shortfall(found, record, shipped)
    factors = {loss.name: loss.factor for loss in budget}
    assert factors["SM clock"] == pytest.approx(1.485 / 1.98)
    assert factors["last wave of tiles"] == pytest.approx(64 * 32 / (16 * 132))
    product_of_all = 1.0
    for factor in factors.values():
        product_of_all *= factor
    assert product_of_all == pytest.approx(found.of_datasheet)
    bare = replace(record, device_figures={})
    (unknown,) = normalised.rates(bare, shipped)
    assert unknown.of_device is None
    assert normalised.compute_shortfall(unknown, bare, shipped) == ()


def test_rates_stand_beside_the_peak_of_a_part_that_many_know(shipped: Catalogue) -> None:
    record = replace(MADE, measurements=(rate("triad", 0.88),))
    table = rates.rate_table(record, shipped)
    (row,) = table.rows
    assert row[table.columns.index("H100's sheet")] == "126.1 %"  # 0.88 · 4.8 over 3.35 TB/s
    for same in ("nvidia-h100-sxm5", "cpu-somebody"):
        assert (
            "H100's sheet"
            not in rates.rate_table(replace(record, accelerator=same), shipped).columns
        )


def test_products_have_their_rows_in_the_report(shipped: Catalogue) -> None:
    made = (product(750.0), product(880.0, data="zeros"), rate("read", 0.95))
    record = replace(MADE, measurements=made)
    rows = rates.rate_table(record, shipped).rows
    assert [row[0] for row in rows] == [
        "fp16 8192 × 8192 × 8192",
        "fp16 8192 × 8192 × 8192 of zeros",
        "read",
    ]
    assert [row[3].split()[1] for row in rows] == ["TFLOPS", "TFLOPS", "TB/s"]
    (budget,) = rates.compute_shortfall_table(record, shipped).rows
    assert budget[:3] == ["fp16 8192 × 8192 × 8192", "triton", "burst"]
    assert rates.time_table(record).rows == []
