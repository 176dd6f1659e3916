"""The catalogue: lookups that refuse rather than guess, and data that holds together."""

import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from gpubench import catalogue, units
from gpubench.catalogue import derived, export, facts, inference, parts, reading
from gpubench.errors import CatalogueError, MissingFigure, UnknownName
from gpubench.quantities import CONDITIONS, QUANTITIES

PAIR = ("nvidia-h200-sxm", "nvidia-h100-sxm5")


@pytest.fixture(scope="module")
def known() -> catalogue.Catalogue:
    return catalogue.load()


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("reported", "meant"),
    [
        ("NVIDIA H200", "nvidia-h200-sxm"),
        ("NVIDIA H200 NVL", "nvidia-h200-nvl"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-sxm5"),
        ("NVIDIA H100 PCIe", "nvidia-h100-pcie"),
        ("NVIDIA H100 NVL", "nvidia-h100-nvl"),
        ("NVIDIA H800", "nvidia-h800-sxm5"),
        ("NVIDIA H20", "nvidia-h20-96gb"),
        ("NVIDIA H20-3e", "nvidia-h20-141gb"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-80gb-sxm4"),
        ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb-pcie"),
        ("NVIDIA A800-SXM4-80GB", "nvidia-a800-80gb-sxm4"),
        ("AMD Instinct MI300X", "amd-mi300x"),
        ("Ascend910B3", "huawei-ascend-910b3"),
    ],
)
def test_a_driver_name_means_exactly_one_variant(known, reported, meant):
    assert known.accelerator(reported).id == meant


def test_names_are_found_in_any_case_and_spacing(known):
    assert known.accelerator("nvidia  h200").id == "nvidia-h200-sxm"
    assert known.accelerator("NVIDIA-H200-SXM").id == "nvidia-h200-sxm"
    assert known.accelerator("gaudi-2").id == "intel-gaudi2"
    assert known.accelerator("nvidia a100 sxm4 80gb").id == "nvidia-a100-80gb-sxm4"
    assert known.model("llama 2 70b") is known.model("Llama2-70B")


def test_separators_do_not_turn_a_group_into_what_a_driver_calls_one_of_its_parts(known):
    assert known.accelerator("NVIDIA H200").id == "nvidia-h200-sxm"
    with pytest.raises(UnknownName, match="several variants"):
        known.accelerator("nvidia-h200")
    with pytest.raises(UnknownName, match="'nvidia_h200' names several variants"):
        known.accelerator("nvidia_h200")


def test_a_slice_of_a_card_is_not_the_card(known):
    with pytest.raises(UnknownName, match="MIG slice"):
        known.accelerator("NVIDIA H200 MIG 1g.18gb")
    with pytest.raises(UnknownName, match="MIG slice"):
        known.variants("NVIDIA A100-SXM4-80GB MIG 3g.40gb")


def test_an_unknown_card_is_refused_with_the_nearest_names(known):
    with pytest.raises(UnknownName, match=r"did you mean .*NVIDIA H200"):
        known.accelerator("NVIDIA H300")
    with pytest.raises(UnknownName):
        known.accelerator("NVIDIA GH200 480GB")
    with pytest.raises(UnknownName):
        known.accelerator("")


def test_a_name_that_leaves_the_variant_open_gives_all_of_them_and_never_one(known):
    assert [part.id for part in known.variants("H100")] == [
        "nvidia-h100-sxm5",
        "nvidia-h100-pcie",
        "nvidia-h100-nvl",
    ]
    with pytest.raises(UnknownName, match="nvidia-h100-sxm5, nvidia-h100-pcie or nvidia-h100-nvl"):
        known.accelerator("H100")


def test_a_name_of_one_variant_gives_that_one(known):
    assert [part.id for part in known.variants("NVIDIA H200")] == ["nvidia-h200-sxm"]


def test_the_members_of_every_group_exist(known):
    for group in known.groups.values():
        assert set(group.members) <= set(known.accelerators), group.id
        assert len(known.variants(group.id)) == len(group.members) > 1


def test_the_ascend_910b_leaves_out_the_variant_without_a_peak(known):
    assert all("peak_fp16" in part.figures for part in known.variants("Ascend 910B"))
    with pytest.raises(MissingFigure):
        known.accelerator("Ascend 910B1").value("peak_fp16")


def test_models_rules_articles_and_sources_are_found_or_refused(known):
    assert known.model("deepseek-r1").id == "deepseek-v3"
    assert known.rule("us-2023-10").announced == "2023-10-17"
    assert known.article("001_55e0ac33c0379bac").publisher.startswith("Guancha")
    assert known.sources["fr_2026"].kind == "regulation"
    with pytest.raises(UnknownName, match="llama-2-70b"):
        known.model("llama-2-70")
    for lookup in (known.rule, known.article):
        with pytest.raises(UnknownName):
            lookup("nothing")


# --------------------------------------------------------------------------- figures


def test_every_figure_leads_to_a_source_with_an_address_and_a_date(known):
    for part in known.accelerators.values():
        stated = [*part.figures.values()]
        others = [other for figure in stated for other in figure.conflicts]
        open_ = [other for values in part.unsettled.values() for other in values]
        for figure in (*stated, *others, *open_):
            source = known.sources[figure.source]
            assert source.url.startswith("http") or source.id == "derived"
            assert re.fullmatch(r"(by )?20\d\d-\d\d(-\d\d)?", source.read_on)
            assert figure.grade in parts.GRADES


def test_figures_are_in_the_units_of_the_vocabulary(known):
    for part in known.accelerators.values():
        for name, figure in part.figures.items():
            if isinstance(figure.value, units.Quantity):
                assert figure.value.unit == parts.figure_unit(name)
                assert figure.value.value > 0


def test_the_h200_reads_as_its_data_sheet(known):
    h200 = known.accelerator("nvidia-h200-sxm")
    assert h200.value("memory_bandwidth") == 4.8e12
    assert h200.value("memory_capacity") == 141e9
    assert h200.value("peak_fp16") == 989.5e12
    assert h200.value("peak_fp16_sparse") == 2 * h200.value("peak_fp16")
    assert h200.value("peak_int8") == 1979e12
    assert h200.value("board_power") == 700
    assert h200.value("memory_bus_width") == pytest.approx(6144 / 8)


def test_announcement_and_shipment_are_two_dates(known):
    h200, b200 = known.accelerator("nvidia-h200-sxm"), known.accelerator("nvidia-b200")
    assert h200.figure("announcement_date").value == "2023-11-13"
    assert h200.figure("release_date").value == "2024-Q2"
    assert b200.figure("announcement_date").value == "2024-03-18"
    with pytest.raises(MissingFigure):
        b200.figure("release_date")


def test_conflicting_values_stay_beside_the_figure_they_concern(known):
    power = known.accelerator("nvidia-h20-96gb").figure("board_power")
    assert power.value == units.parse("400 W")
    assert [other.value for other in power.conflicts] == [units.parse("500 W")]
    rumours = known.accelerator("nvidia-b30a").unsettled["peak_fp16"]
    assert rumours[0].grade == "C"
    with pytest.raises(MissingFigure):
        known.accelerator("nvidia-b30a").value("peak_fp16")


def test_a_format_without_hardware_has_no_peak(known):
    for part in known.accelerators.values():
        for precision in part.unsupported:
            assert f"peak_{precision}" not in part.figures, part.id
    with pytest.raises(MissingFigure, match="no matrix hardware"):
        derived.peak(known.accelerator("nvidia-h100-sxm5"), "fp4")


def test_what_the_catalogue_holds_cannot_be_changed(known):
    with pytest.raises(FrozenInstanceError):
        known.accelerator("nvidia-h200-sxm").name = "faster"


def test_every_reported_figure_is_a_number_or_date_with_a_source(known):
    assert known.reported
    for name, figure in known.reported.items():
        source = known.sources[figure.source]
        assert source.url.startswith("https://"), name
        # Somebody was read: the document itself, or the one whose address the note gives.
        assert source.read != "quoted" or "https://" in source.note, name
        assert isinstance(figure.value, units.Quantity) or re.fullmatch(r"\d{4}-\d\d", figure.value)


def test_reported_revenue_gives_the_shares_and_growth_that_press_reports(known):
    def value(name):
        return known.reported[f"nvidia-{name}"].value

    # 13 % from China and 53 % from outside the United States in fiscal 2025; growth of 78 % in
    # fiscal 2024 and of 66 % in fiscal 2025 in China, of 126 % and 114 % overall.
    revenue = value("fy2025-revenue")
    assert value("fy2025-revenue-china").per(revenue) == pytest.approx(0.13, abs=0.005)
    assert value("fy2025-revenue-united-states").per(revenue) == pytest.approx(0.47, abs=0.005)
    for later, earlier, growth in (
        ("fy2024-revenue-china", "fy2023-revenue-china", 0.78),
        ("fy2025-revenue-china", "fy2024-revenue-china", 0.66),
        ("fy2024-revenue", "fy2023-revenue", 1.26),
        ("fy2025-revenue", "fy2024-revenue", 1.14),
    ):
        assert value(later).per(value(earlier)) - 1 == pytest.approx(growth, abs=0.005)


def test_the_training_compute_of_gpt_4_is_one_figure(known):
    reported = known.reported["gpt-4-training-compute"]
    assert reported.value.value == known.model("gpt-4").training_flops
    assert known.sources[reported.source].url == known.model("gpt-4").source


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("acme-sales: {value: 5 billion USD, source: nobody, grade: A}", "'acme-sales': .*nobody"),
        ("acme-sales: {value: 5 billion USD, source: s, grade: D}", "grade"),
        ("acme-sales: {value: a lot, source: s, grade: A}", "'a lot'"),
        ("acme-sales: {value: 5 USD, source: s, grade: A, unit: USD}", "unknown key unit"),
        ("acme-sales: {value: 5 USD, grade: A}", "source"),
        ("acme.sales: {value: 5 USD, source: s, grade: A}", "lower case"),
        ("8-cards: {value: 8 cards, source: s, grade: A}", "lower case"),
    ],
)
def test_a_wrong_reported_figure_is_refused_by_name(tmp_path, entry, complaint):
    sources = {"s": next(iter(catalogue.load().sources.values()))}
    with pytest.raises(CatalogueError, match=complaint):
        parts.reported(_read(tmp_path, entry), sources)


# --------------------------------------------------------------------------- files


def _read(tmp_path: Path, text: str) -> dict:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return reading.read(path)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    with pytest.raises(CatalogueError, match=r"some.yaml:2:1: key 'a' stands here a second time"):
        _read(tmp_path, "a: 1\na: 2\n")


def test_scalars_stay_text(tmp_path):
    assert _read(tmp_path, "a: 2023-11-13\nb: [1, no, 4.8e12]\n") == {
        "a": "2023-11-13",
        "b": ["1", "no", "4.8e12"],
    }


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x\n", "- 1\n", "a: [1\n"])
def test_a_file_that_is_no_plain_mapping_is_refused(tmp_path, text):
    with pytest.raises(CatalogueError, match=r"some\.yaml"):
        _read(tmp_path, text)


@pytest.mark.parametrize(
    ("figure", "complaint"),
    [
        ("memory_bandwidth: [4800 GB, s, A]", "not in B/s"),
        ("memory_bandwidth: [4800 GBs, s, A]", "unknown unit"),
        ("memory_bandwidth: [4800 GB/s, who, A]", "no source is called 'who'"),
        ("memory_bandwidth: [4800 GB/s, s, D]", "grade"),
        ("memory_bandwidth: [4800 GB/s, s]", "write \\[value, source, grade\\]"),
        ("memory_speed: [4800 GB/s, s, A]", "no figure is called 'memory_speed'"),
        ("release_date: [spring 2024, s, A]", "write 2023"),
        ("peak_int8: [1979 TFLOPS, s, A]", "not in OP/s"),
    ],
)
def test_a_wrong_figure_is_refused_by_name(tmp_path, figure, complaint):
    entry = f"name: X\n    vendor: V\n    family: F\n    figures:\n      {figure}"
    data = _read(tmp_path, f"accelerators:\n  x:\n    {entry}\n")
    sources = {"s": next(iter(catalogue.load().sources.values()))}
    with pytest.raises(CatalogueError, match=f"accelerator 'x': .*{complaint}"):
        parts.accelerators(data, sources)


# --------------------------------------------------------------------------- language models

# What the publishers say, in billions: total and, for mixtures of experts, active.
STATED = {
    "gpt-j-6b": (6.053,),
    "llama-2-7b": (6.74,),
    "llama-2-13b": (13.0,),
    "llama-2-70b": (69.0,),
    "llama-3-8b": (8.03,),
    "llama-3-70b": (70.6,),
    "llama-3.1-8b": (8.03,),
    "llama-3.1-70b": (70.6,),
    "llama-3.1-405b": (405,),
    "mistral-7b": (7.24,),
    "mixtral-8x7b": (46.7, 12.9),
    "mixtral-8x22b": (141, 39),
    "falcon-180b": (180,),
    "gpt-oss-20b": (20.91, 3.61),
    "gpt-oss-120b": (116.83, 5.13),
    "qwen-7b": (7.7,),
    "qwen-72b": (72.3,),
    "qwen2.5-72b": (72.7,),
    "qwen3-8b": (8.2,),
    "qwen3-14b": (14.8,),
    "qwen3-30b-a3b": (30.5, 3.3),
    "qwen3-235b-a22b": (235, 22),
    "deepseek-v3": (671, 37),
    "kimi-k2": (1040, 32),
    "gpt-3-175b": (175,),
    "opt-175b": (175,),
    "bloom-176b": (176.2,),
    "dense-1t": (1008,),
}
# Publishers round active parameters more coarsely than totals.
COARSE = {"kimi-k2": 0.03}


def test_the_architecture_of_every_model_gives_the_parameters_its_publisher_states(known):
    for model in known.models.values():
        if not model.architecture_known:
            continue
        total, *active = STATED[model.id]
        from_shape = derived.parameters_from_architecture(model)
        assert from_shape == pytest.approx(total * 1e9, rel=0.02), model.id
        assert from_shape == pytest.approx(model.parameters, rel=1e-3), model.id
        wanted = active[0] * 1e9 if active else model.parameters
        tolerance = COARSE.get(model.id, 0.02)
        assert model.active_parameters == pytest.approx(wanted, rel=tolerance), model.id


def test_a_model_of_unknown_architecture_says_so(known):
    gpt4 = known.model("GPT-4")
    assert not gpt4.architecture_known
    assert gpt4.training_flops == pytest.approx(2.1e25)
    assert "architecture" in gpt4.remark
    assert [m.id for m in known.models.values() if not m.architecture_known] == ["gpt-4"]


def test_published_training_compute_is_six_times_weights_times_tokens(known):
    for name in ("gpt-3-175b", "llama-3.1-405b"):
        model = known.model(name)
        computed = 6 * model.active_parameters * model.training_tokens
        assert model.training_flops == pytest.approx(computed, rel=0.02)


def test_every_model_has_an_address(known):
    assert all(model.source.startswith("https://") for model in known.models.values())


# --------------------------------------------------------------------------- export rules


@pytest.mark.parametrize(
    ("part", "rule", "status"),
    [
        ("nvidia-a100-80gb-sxm4", "us-2022-10", "controlled"),
        ("nvidia-h100-sxm5", "us-2022-10", "controlled"),
        ("nvidia-a800-80gb-sxm4", "us-2022-10", "free"),
        ("nvidia-h800-sxm5", "us-2022-10", "free"),
        ("nvidia-rtx-4090", "us-2022-10", "free"),
        ("nvidia-h100-sxm5", "us-2023-10", "controlled"),
        ("nvidia-a100-80gb-sxm4", "us-2023-10", "controlled"),
        ("nvidia-h800-sxm5", "us-2023-10", "controlled"),
        ("nvidia-a800-80gb-sxm4", "us-2023-10", "controlled"),
        ("nvidia-rtx-4090", "us-2023-10", "controlled"),
        ("nvidia-h20-96gb", "us-2023-10", "free"),
        ("nvidia-l20", "us-2023-10", "free"),
        ("nvidia-l2", "us-2023-10", "free"),
        ("nvidia-h20-96gb", "us-2025-04", "controlled"),
        ("amd-mi308x", "us-2025-04", "controlled"),
        ("nvidia-l20", "us-2025-04", "free"),
        ("nvidia-h200-sxm", "us-2026-01", "case-by-case"),
        ("amd-mi325x", "us-2026-01", "case-by-case"),
        ("nvidia-b200", "us-2026-01", "controlled"),
        ("nvidia-h20-96gb", "us-2026-01", "free"),
    ],
)
def test_export_rules_have_the_outcomes_that_are_known(known, part, rule, status):
    found = export.export_status(known.accelerator(part), known.rule(rule), known.rules)
    assert found.status == status, found.reason


def test_an_export_status_gives_the_comparison_that_decides(known):
    h20, h800 = known.accelerator("nvidia-h20-96gb"), known.accelerator("nvidia-h800-sxm5")
    caught = export.export_status(h20, known.rule("us-2025-04"), known.rules)
    assert caught.reason == "memory bandwidth of 4 TB/s is at least 1.4 TB/s"
    spared = export.export_status(h800, known.rule("us-2022-10"), known.rules)
    assert spared.reason == "link bandwidth of 400 GB/s is below 600 GB/s"


def test_the_exception_covers_the_lower_tier(known):
    rule = known.rule("us-2023-10")
    l20 = known.accelerator("nvidia-l20")
    smaller = replace(l20.figure("die_area"), value=units.parse("500 mm2"))
    dense = replace(l20, figures={**l20.figures, "die_area": smaller})
    assert export.export_status(dense, rule, known.rules).status == "exception"


def test_an_outcome_that_hangs_on_an_unknown_figure_is_refused(known):
    mi308x, rule = known.accelerator("amd-mi308x"), known.rule("us-2023-10")
    with pytest.raises(MissingFigure, match="die area"):
        export.export_status(mi308x, rule, known.rules)


def test_a_rule_without_limits_gives_no_status(known):
    h200, rule = known.accelerator("nvidia-h200-sxm"), known.rule("us-2025-12")
    with pytest.raises(MissingFigure, match="sets no limit: H200 allowed"):
        export.export_status(h200, rule, known.rules)


@pytest.mark.parametrize("bound", ["tpp_minimum", "tdp_min", "tpp"])
def test_a_misspelt_bound_of_a_rule_is_refused_by_name(tmp_path, bound):
    limits = f"controlled_if: [{{{bound}: '4800 TPP'}}]"
    entry = f"{{announced: '2023', citation: c, sources: [s], grade: A, {limits}}}"
    data = _read(tmp_path, f"x: {entry}\n")
    with pytest.raises(CatalogueError, match=f"export rule 'x': no bound is called '{bound}'"):
        parts.export_rules(data)


def test_every_rule_names_known_sources(known):
    for rule in known.rules.values():
        assert all(known.sources[name] for name in rule.sources)
        assert rule.amends in ("", *known.rules)
        assert rule.controlled_if or rule.case_by_case_if or rule.effect


def test_the_rule_of_2022_has_no_limit_on_density_and_that_of_2023_has(known):
    def limits(rule, limit):
        fact = facts.find("rule_criteria", rule, "", {"limit": limit}, known)
        return fact.value.value

    assert limits("us-2022-10", "tpp") == limits("us-2023-10", "density") == 1
    assert limits("us-2022-10", "density") == limits("us-2025-07", "tpp") == 0
    threshold = facts.find("rule_density_threshold", "us-2023-10", "", {}, known)
    assert threshold.value == units.parse("5.92 TPP/mm2")
    with pytest.raises(MissingFigure, match="us-2022-10 sets no limit on density"):
        facts.find("rule_density_threshold", "us-2022-10", "", {}, known)


def test_every_kind_of_limit_can_be_asked_for(known):
    kinds = {
        bound.rpartition("_")[0]
        for rule in known.rules.values()
        for bounds in (*rule.controlled_if, *rule.exception_if, *rule.case_by_case_if)
        for bound in bounds
    }
    assert kinds <= set(CONDITIONS["limit"].choices)


# --------------------------------------------------------------------------- comparisons


def test_the_h200_improves_on_the_h100_in_memory_alone(known):
    h200, h100 = (known.accelerator(name) for name in PAIR)
    assert derived.figures_improved(h200, h100) == ("memory_capacity", "memory_bandwidth")
    assert derived.figures_improved(h200, h100, "compute") == ()
    assert derived.figures_reduced(h200, h100) == ()


def test_the_h20_is_cut_in_compute_and_not_in_links(known):
    h20, h100 = known.accelerator("nvidia-h20-96gb"), known.accelerator("nvidia-h100-sxm5")
    assert "peak_fp16" in derived.figures_reduced(h20, h100, "compute")
    assert derived.figures_reduced(h20, h100, "links") == ()
    assert "memory_bandwidth" in derived.figures_improved(h20, h100, "memory")


def test_parts_without_a_common_figure_cannot_be_compared(known):
    z100, h100 = known.accelerator("hygon-dcu-z100"), known.accelerator("nvidia-h100-sxm5")
    with pytest.raises(MissingFigure, match="share no published links figure"):
        derived.figures_improved(z100, h100, "links")


def test_ridge_point_and_rates_per_watt(known):
    h100 = known.accelerator("nvidia-h100-sxm5")
    assert derived.ridge_point(h100) == pytest.approx(989.4e12 / 3.35e12)
    assert derived.peak_per_watt(h100, "fp8") == pytest.approx(1978.9e12 / 700)
    assert derived.bandwidth_per_watt(h100) == pytest.approx(3.35e12 / 700)


# --------------------------------------------------------------------------- what others measured


def test_every_finding_names_a_known_quantity_part_and_condition(known):
    for finding in known.findings:
        assert finding.quantity in QUANTITIES
        assert finding.subject in known.accelerators
        assert finding.baseline in ("", *known.accelerators)
        assert finding.low <= finding.mid <= finding.high
        assert set(finding.conditions) <= set(CONDITIONS)
        assert "http" in finding.source
        model = finding.conditions.get("model")
        assert model is None or model in known.models


def test_no_measured_rate_exceeds_the_published_one_by_more_than_a_boost_clock(known):
    for finding in known.findings:
        if finding.baseline or not finding.quantity.startswith(("peak_", "memory_bandwidth")):
            continue
        published = known.accelerator(finding.subject).value(finding.quantity)
        assert 0.3 * published < finding.high < 1.16 * published, finding


def test_all_reduce_times_follow_from_the_bus_bandwidth(known):
    (ring,) = known.published("interconnect_bandwidth", "nvidia-h200-sxm")
    times = known.published("all_reduce_time", "nvidia-h200-sxm")
    seconds = next(t for t in times if t.conditions["reduction"] == "ring")
    wire_bytes = 2 * 7 / 8 * seconds.conditions["message"]
    assert seconds.mid == pytest.approx(wire_bytes / ring.mid, rel=1e-2)


def test_the_mlperf_uplift_is_that_of_the_submissions_in_the_table(known):
    rows = {
        (row.accelerator, row.notes.split()[0]): row.value
        for row in known.inference_rows
        if row.source_id == "mlperf-v4.1"
        and (row.model, row.gpus, row.scenario) == ("llama-2-70b", 8, "offline_max_throughput")
        and "power-capped" not in row.notes
    }
    (offline,) = (
        one
        for one in known.served(*PAIR)
        if one.conditions["engine"] == "TensorRT-LLM MLPerf Inference v4.1 offline"
        and one.conditions["model"] == "llama-2-70b"
    )
    for submitter in ("NVIDIA", "Dell"):
        uplift = rows[PAIR[0], submitter] / rows[PAIR[1], submitter]
        assert offline.low <= uplift <= offline.high


def test_the_table_of_inference_results_is_complete_and_resolved(known):
    rows = known.inference_rows
    assert len(rows) == 3034
    assert sum(row.suspect for row in rows) == 95
    for row in rows:
        assert row.model in known.models
        assert row.accelerator in known.accelerators or row.gpu_variant in inference.UNRESOLVED
        assert row.value > 0
        assert row.url.startswith("https://")


def test_every_variant_left_unresolved_is_in_the_table(known):
    seen = {row.gpu_variant for row in known.inference_rows if not row.accelerator}
    assert seen == set(inference.UNRESOLVED)


def test_pairs_differ_only_in_the_accelerator(known):
    pairs = inference.matched_pairs(known.inference_rows, *PAIR)
    assert len(pairs) > 400
    for pair in pairs:
        assert pair.subject.key == pair.baseline.key
        assert (pair.subject.accelerator, pair.baseline.accelerator) == PAIR
        assert not pair.subject.suspect
        assert not pair.baseline.suspect


def test_an_advantage_is_above_one_when_the_subject_is_better(known):
    row = known.inference_rows[0]
    slow = replace(row, metric="ttft_ms", value=20.0)
    fast = replace(row, metric="ttft_ms", value=10.0)
    pair = catalogue.MatchedPair(fast, slow)
    assert pair.ratio == 0.5
    pair = catalogue.MatchedPair(replace(row, value=3.0), replace(row, value=2.0))
    assert pair.ratio == 1.5


def test_rows_that_share_a_key_make_no_pair(known):
    row = inference.matched_pairs(known.inference_rows, *PAIR)[0]
    assert inference.matched_pairs((row.subject, row.baseline), *PAIR)
    assert not inference.matched_pairs((row.subject, row.subject, row.baseline), *PAIR)


def test_rows_of_another_split_make_no_pair(known):
    row = inference.matched_pairs(known.inference_rows, *PAIR)[0]
    assert not inference.matched_pairs((replace(row.subject, pp=2), row.baseline), *PAIR)


def test_published_uplifts_run_from_nothing_to_elevenfold(known):
    pairs = inference.matched_pairs(known.inference_rows, *PAIR)
    uplifts = [pair.ratio for pair in pairs if pair.subject.metric == "output_tok_s"]
    assert min(uplifts) == pytest.approx(1.0, abs=0.05)
    assert max(uplifts) == pytest.approx(10.9, abs=0.1)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("GeForce RTX 4090", "nvidia-rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
        ("amd instinct mi300x", "amd-mi300x"),
        ("intel H100 SXM5", ""),
        ("huawei gaudi 2", ""),
    ],
)
def test_a_brand_before_a_name_is_that_of_its_maker(
    shipped: catalogue.Catalogue, name: str, part: str
) -> None:
    if part:
        assert shipped.accelerator(name).id == part
        return
    with pytest.raises(UnknownName):
        shipped.accelerator(name)
