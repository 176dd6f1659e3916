"""Evidence is gathered for every condition that a claim leaves open, from everyone who knows."""

from dataclasses import replace

import pytest

from gpubench.catalogue import Catalogue, PublishedFinding
from gpubench.errors import ClaimsError
from gpubench.judging.evidence import gather, situations
from gpubench.judging.judgement import judge_all
from gpubench.model import Evidence
from gpubench.units import parse
from tests.conftest import Load


def evidence(load_claims: Load, shipped: Catalogue, body: str) -> tuple[Evidence, ...]:
    file = load_claims(body)
    return gather(file.claims[0], file.printed(), shipped)


def test_a_data_sheet_figure_comes_with_its_source(load_claims: Load, shipped: Catalogue) -> None:
    (sheet,) = [
        item
        for item in evidence(
            load_claims,
            shipped,
            """
subject: nvidia-h20-96gb
quantity: memory_bandwidth
claimed: {value: 4.0 TB/s, qualifier: exact}
""",
        )
        if item.kind == "catalogue"
    ]
    assert sheet.mid == 4.0e12
    assert "http" in sheet.source
    assert "grade" in sheet.source


def test_an_open_variant_and_open_conditions_are_swept(
    load_claims: Load, shipped: Catalogue
) -> None:
    file = load_claims("""
subject: nvidia-h100
quantity: peak_fp16
claimed: {value: 1979 TFLOPS, qualifier: exact}
sweep: {sparsity: [dense, sparse]}
""")
    cases = list(situations(file.claims[0]))
    assert len(cases) == 3 * 2  # SXM5, PCIe and NVL; dense and sparse
    found = {
        (item.conditions["subject"], item.conditions["sparsity"]): item.mid
        for item in gather(file.claims[0], file.printed(), shipped)
        if item.kind == "catalogue"
    }
    assert found["nvidia-h100-sxm5", "dense"] == pytest.approx(989.4e12)
    assert found["nvidia-h100-sxm5", "sparse"] == pytest.approx(1979e12, rel=1e-3)


def test_a_ratio_divides_like_by_like(load_claims: Load, shipped: Catalogue) -> None:
    *_, ratio = evidence(
        load_claims,
        shipped,
        """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: memory_bandwidth
claimed: {value: 2 x, qualifier: nearly}
""",
    )
    assert ratio.mid == pytest.approx(4.8 / 3.35)
    assert ratio.unit == "1"


def test_one_direction_is_half_of_both(load_claims: Load, shipped: Catalogue) -> None:
    found = evidence(
        load_claims,
        shipped,
        """
subject: nvidia-h20-96gb
quantity: interconnect_bandwidth
claimed: {value: 900 GB/s, qualifier: exact}
sweep: {direction: [both, one-way]}
""",
    )
    assert [item.mid for item in found if item.kind == "catalogue"] == [900e9, 450e9]


def test_a_direction_halves_nothing_that_has_none(load_claims: Load, shipped: Catalogue) -> None:
    found = evidence(
        load_claims,
        shipped,
        """
subject: nvidia-h20-96gb
quantity: [memory_bandwidth, interconnect_bandwidth]
baseline: nvidia-h100-sxm5
claimed: {value: 1 x, qualifier: exact}
conditions: {direction: one-way}
""",
    )
    memory, links = found
    assert (memory.kind, memory.mid) == ("catalogue", None)
    assert memory.missing == "memory_bandwidth does not depend on direction"
    assert links.mid == 1


def test_alternative_inputs_of_a_formula_are_swept(load_claims: Load, shipped: Catalogue) -> None:
    found = evidence(
        load_claims,
        shipped,
        """
quantity: reduction
claimed: {value: 50 %, qualifier: nearly}
arithmetic:
  formula: 1 - now / before
  inputs: {now: 2 USD/h, before: [4.7 USD/h, 8 USD/h]}
""",
    )
    assert [item.mid for item in found] == pytest.approx([1 - 2 / 4.7, 1 - 2 / 8])
    assert {item.kind for item in found} == {"arithmetic"}


def test_arithmetic_on_reported_figures_names_who_reported_them(
    load_claims: Load, shipped: Catalogue
) -> None:
    (item,) = evidence(
        load_claims,
        shipped,
        """
quantity: share
claimed: {value: 13 %, qualifier: exact}
arithmetic:
  formula: china / all
  inputs: {china: nvidia-fy2025-revenue-china, all: nvidia-fy2025-revenue}
""",
    )
    assert item.kind == "catalogue"
    assert item.mid == pytest.approx(17.108 / 130.497)
    filing = shipped.sources[shipped.reported["nvidia-fy2025-revenue"].source]
    assert item.source.count(filing.url) == 1
    assert "(grade B, quoted)" in item.source
    assert any(note.startswith("nvidia-fy2025-revenue-china: year to") for note in item.assumptions)


def test_arithmetic_with_a_figure_of_an_accelerator_names_its_source(
    load_claims: Load, shipped: Catalogue
) -> None:
    (item,) = evidence(
        load_claims,
        shipped,
        """
quantity: cost_ratio
claimed: {value: 2 x, qualifier: about}
arithmetic:
  formula: peak / base
  inputs: {peak: nvidia-h100-sxm5.peak_fp16, base: 500 TFLOPS}
""",
    )
    assert item.kind == "catalogue"
    assert "; from NVIDIA, https://" in item.source


def test_published_pairs_carry_their_address_and_conditions(
    load_claims: Load, shipped: Catalogue
) -> None:
    found = evidence(
        load_claims,
        shipped,
        """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {low: 60 % more, high: 90 % more, qualifier: range}
conditions: {model: llama-2-70b}
sweep: {precision: [fp8], gpus: [1], batch: [max]}
""",
    )
    published = [item for item in found if item.kind == "published"]
    assert len(published) > 20
    assert all("http" in item.source for item in published)
    assert all(item.conditions.get("model") == "llama-2-70b" for item in published)
    estimated = [item for item in found if item.kind == "estimated"]
    assert estimated
    assert all(item.binding_limit and item.error for item in estimated if not item.missing)


GAIN = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {low: 60 % more, high: 90 % more, qualifier: range}
"""


def test_no_published_pair_is_evidence_for_another_split(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = (
        GAIN
        + "conditions: {model: llama-2-70b, precision: fp8, gpus: 2, batch: max, pipeline: STAGES}"
    )
    kinds = {
        stages: {
            item.kind for item in evidence(load_claims, shipped, body.replace("STAGES", stages))
        }
        for stages in ("1", "2")
    }
    assert kinds == {"1": {"published", "estimated"}, "2": {"estimated"}}


def test_a_figure_nobody_published_is_missing_and_never_guessed(
    load_claims: Load, shipped: Catalogue
) -> None:
    (item,) = evidence(
        load_claims,
        shipped,
        """
subject: nvidia-a100-80gb-sxm4
quantity: peak_fp8
claimed: {value: 624 TFLOPS, qualifier: exact}
""",
    )
    assert item.mid is None
    assert "A100" in item.missing


BANDWIDTH = """
subject: nvidia-h200-sxm
quantity: memory_bandwidth
claimed: {value: 4.8 TB/s, qualifier: exact}
"""


def test_a_published_throughput_of_one_part_is_evidence(
    load_claims: Load, shipped: Catalogue
) -> None:
    """TensorRT-LLM 0.13 and 0.14 published 5,215 and 5,195 token/s."""
    body = """
subject: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {value: VALUE, qualifier: about}
conditions:
  {model: llama-3.1-70b, precision: fp8, gpus: 2, batch: max, input_tokens: 128, output_tokens: 128}
"""
    for value, outcome in (("5200 token/s", "supported"), ("9000 token/s", "refuted")):
        (said,) = judge_all(load_claims(body.replace("VALUE", value)), shipped).verdicts
        assert (said.outcome, said.basis) == (outcome, "published")
    assert said.span
    assert said.span.low == pytest.approx(5195, abs=1)


def test_parts_of_equal_power_save_energy_as_they_gain_throughput(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = """
subject: nvidia-h200-sxm
baseline: BASELINE
quantity: energy_per_token
claimed: {value: 0.5 x, qualifier: about}
conditions: {model: llama-2-70b, precision: fp8}
"""
    heard = {
        baseline: [
            item
            for item in evidence(load_claims, shipped, body.replace("BASELINE", baseline))
            if item.kind == "published" and any("equal rated power" in a for a in item.assumptions)
        ]
        for baseline in (H100, A100)
    }
    assert heard[A100] == []  # 400 W
    pairs = [one for one in shipped.served("nvidia-h200-sxm", H100) if _meant(one)]
    assert len(pairs) > 10
    assert [item.mid for item in heard[H100]] == pytest.approx([1 / one.mid for one in pairs])


H100, A100 = "nvidia-h100-sxm5", "nvidia-a100-80gb-sxm4"


def _meant(finding: PublishedFinding) -> bool:
    wanted = {"model": "llama-2-70b", "precision": "fp8"}
    throughput = finding.quantity == "inference_throughput"
    return throughput and wanted.items() <= finding.conditions.items()


def test_models_that_a_claim_does_not_mean_are_not_heard(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = GAIN + "sweep: {model: [gpt-3-175b, llama-3.1-405b], gpus: [8], precision: [fp8]}"
    found = evidence(load_claims, shipped, body)
    assert {item.conditions["model"] for item in found} == {"gpt-3-175b", "llama-3.1-405b"}


def test_where_sparsity_is_open_the_sparse_rate_is_told(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = "subject: nvidia-h100-sxm5\nquantity: peak_fp16\n"
    body += "claimed: {value: 1979 TFLOPS, qualifier: exact}\n"
    dense = "the dense rate, as sparsity is not stated; with 2:4 sparsity 1,979 TFLOPS"
    for more, told in (("", True), ("conditions: {sparsity: dense}\n", False)):
        sheets = [i for i in evidence(load_claims, shipped, body + more) if i.kind == "catalogue"]
        assert any(dense in item.assumptions for item in sheets) is told


def test_a_range_that_is_assumed_spans_an_interval(load_claims: Load, shipped: Catalogue) -> None:
    body = """
quantity: share
claimed: {value: 25 %, qualifier: exact}
arithmetic: {formula: (1 - imported) * part, inputs: {imported: 63 %, part: RANGE}}
"""
    (item,) = evidence(load_claims, shipped, body.replace("RANGE", "0 % to 100 %"))
    assert (item.low, item.high) == pytest.approx((0.0, 0.37))
    for wrong in ("100 % to 0 %", "1 % to 2 cards", "1 % to 2 % to 3 %"):
        with pytest.raises(ClaimsError, match="write a range from low to high"):
            load_claims(body.replace("RANGE", wrong))


def test_what_is_computed_from_a_refuted_figure_says_so(
    load_claims: Load, shipped: Catalogue
) -> None:
    wrong = BANDWIDTH.replace("4.8", "5.6")
    body = """
quantity: cost_ratio
claimed: {value: 2 x, qualifier: about}
arithmetic: {formula: new / old, inputs: {new: claim-1, old: 3.35 TB/s}}
"""
    for first, flags in (
        (wrong, ("claim-1, which it is computed from, is itself refuted",)),
        (BANDWIDTH, ()),
    ):
        file = load_claims(first, body)
        assert judge_all(file, shipped).verdicts[1].flags == flags
        assert judge_all(file, shipped, only=["claim-2"]).verdicts[0].flags == flags


def test_a_changed_data_sheet_changes_the_verdict(load_claims: Load, shipped: Catalogue) -> None:
    file = load_claims(BANDWIDTH)
    assert judge_all(file, shipped).verdicts[0].outcome == "supported"
    part = shipped.accelerators["nvidia-h200-sxm"]
    slower = replace(part.figures["memory_bandwidth"], value=parse("3.9 TB/s"))
    changed = replace(part, figures={**part.figures, "memory_bandwidth": slower})
    other = replace(shipped, accelerators={**shipped.accelerators, part.id: changed})
    assert judge_all(file, other).verdicts[0].outcome == "refuted"


def test_a_changed_claim_changes_the_verdict(load_claims: Load, shipped: Catalogue) -> None:
    file = load_claims(BANDWIDTH.replace("4.8", "5.6"))
    assert judge_all(file, shipped).verdicts[0].outcome == "refuted"


def test_a_changed_bandwidth_moves_an_estimated_ratio(
    load_claims: Load, shipped: Catalogue
) -> None:
    file = load_claims("""
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: time_per_output_token
claimed: {value: 1 x, qualifier: less-than}
conditions: {model: llama-2-70b, precision: fp8, gpus: 2, batch: 32}
""")
    assert judge_all(file, shipped).verdicts[0].outcome == "supported"
    part = shipped.accelerators["nvidia-h200-sxm"]
    slower = replace(part.figures["memory_bandwidth"], value=parse("1.0 TB/s"))
    changed = replace(part, figures={**part.figures, "memory_bandwidth": slower})
    other = replace(shipped, accelerators={**shipped.accelerators, part.id: changed})
    assert judge_all(file, other).verdicts[0].outcome == "refuted"


UPLIFT = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {{value: 1.4 x, qualifier: about}}
conditions: {{model: llama-2-70b, gpus: 8, {more}}}
"""


@pytest.mark.parametrize(
    ("more", "heard"),
    [
        ("phase: serving", True),
        ("phase: decode", False),  # whole requests say nothing about one phase
        ("batch: max", True),
        ("batch: 1", False),  # MLPerf names no batch, TensorRT-LLM another
    ],
)
def test_a_published_workload_counts_only_under_the_conditions_stated(
    load_claims: Load, shipped: Catalogue, more: str, heard: bool
) -> None:
    found = evidence(load_claims, shipped, UPLIFT.format(more=more))
    assert any(item.kind == "published" for item in found) is heard


def test_releases_of_an_engine_are_conditions_of_their_own(
    load_claims: Load, shipped: Catalogue
) -> None:
    found = evidence(load_claims, shipped, UPLIFT.format(more="batch: max"))
    cases = [tuple(sorted(i.conditions.items())) for i in found if i.kind == "published"]
    assert len(cases) == len(set(cases)) > 10


def test_a_derived_figure_names_the_sources_of_its_own_precision(
    load_claims: Load, shipped: Catalogue
) -> None:
    body = """
subject: nvidia-gb200
quantity: tpp
claimed: {value: 4800 TPP, qualifier: more-than}
"""
    (item,) = evidence(load_claims, shipped, body)
    part = shipped.accelerators["nvidia-gb200"]
    fp4 = shipped.sources[part.figures["peak_fp4"].source]
    assert fp4.url in item.source


@pytest.mark.parametrize(
    "body",
    [
        # cuBLAS reaches 65 to 70 % of it
        """
subject: nvidia-h100-sxm5
quantity: peak_fp8
claimed: {value: 1979 TFLOPS, qualifier: exact}
""",
        # BabelStream runs 1.38 to 1.41 times as fast
        """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: memory_bandwidth
claimed: {value: 1.43 x, qualifier: exact}
""",
        # a ring all-reduce of 368 GB/s counts one direction
        """
subject: nvidia-h200-sxm
quantity: interconnect_bandwidth
claimed: {value: 900 GB/s, qualifier: exact}
""",
    ],
)
def test_what_kernels_sustain_does_not_refute_a_true_peak(
    load_claims: Load, shipped: Catalogue, body: str
) -> None:
    (said,) = judge_all(load_claims(body), shipped).verdicts
    assert said.outcome == "supported"
    assert said.flags == ()


def test_a_peak_that_is_refuted_as_dense_says_what_it_is_with_sparsity(
    load_claims: Load, shipped: Catalogue
) -> None:
    file = load_claims("""
subject: nvidia-h100-sxm5
quantity: peak_fp8
claimed: {value: 4 PFLOPS, qualifier: nearly}
""")
    (said,) = judge_all(file, shipped).verdicts
    assert said.outcome == "refuted"
    assert said.reason.endswith(
        "That is the dense rate, as sparsity is not stated; with 2:4 sparsity 3,958 TFLOPS."
    )


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("80 GiB", "inconclusive"), ("81559 MiB", "inconclusive"), ("90 GiB", "refuted")],
)
def test_a_capacity_in_units_of_1024_is_no_mistake_of_who_reads_the_driver(
    load_claims: Load, shipped: Catalogue, value: str, outcome: str
) -> None:
    file = load_claims(f"""
subject: nvidia-h100-sxm5
quantity: memory_capacity
claimed: {{value: {value}, qualifier: exact}}
""")
    (said,) = judge_all(file, shipped).verdicts
    assert said.outcome == outcome
