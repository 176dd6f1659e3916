"""One figure asked for on the command line: how it reads, what it is judged by, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpubench import catalogue, claims, records
from gpubench.claims import asked
from gpubench.cli import main
from gpubench.errors import UnitError
from gpubench.model import Claim
from gpubench.quantities import QUANTITIES
from gpubench.report import wording
from tests.reported import record

KNOWN = catalogue.load()
H200, H100 = "nvidia-h200-sxm", "nvidia-h100-sxm5"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was measured."""
    monkeypatch.chdir(tmp_path)


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ask", *arguments])


def asked_claim(said: str | None, quantity: str = "inference_throughput", **more: Any) -> Claim:
    given: dict[str, Any] = {"subjects": [H200], "baselines": [H100], "conditions": {}, **more}
    return asked.claim(
        quantity, given["subjects"], given["baselines"], said, given["conditions"], KNOWN
    )


# --------------------------------------------------------------------------- how it reads


@pytest.mark.parametrize(
    ("said", "qualifier", "low", "high", "change"),
    [
        ("60 to 90 % more", "range", 0.6, 0.9, "more"),
        ("60-90 % faster", "range", 0.6, 0.9, "more"),
        ("60 % more to 90 % more", "range", 0.6, 0.9, "more"),
        ("nearly 6 x", "nearly", 6.0, 6.0, ""),
        ("almost six", "", 0, 0, ""),
        ("Up to 30 times", "up-to", 30.0, 30.0, ""),
        ("about 1.5x", "about", 1.5, 1.5, ""),
        ("more than twice", "more-than", 2.0, 2.0, ""),
        ("40% to 45% more", "range", 0.4, 0.45, "more"),
        ("40-45% more", "range", 0.4, 0.45, "more"),
        ("4x to 6x less", "range", 4.0, 6.0, "less"),
        (">= 1.4 x", "at-least", 1.4, 1.4, ""),
        ("Nearly Twice", "nearly", 2.0, 2.0, ""),
        ("Up to 30X", "up-to", 30.0, 30.0, ""),
        ("1.5e-2 x", "exact", 0.015, 0.015, ""),
        ("up to 4 times less", "up-to", 4.0, 4.0, "less"),
        ("over 2 times", "more-than", 2.0, 2.0, ""),
        ("~1.9x", "about", 1.9, 1.9, ""),
        ("≥ 2 x", "at-least", 2.0, 2.0, ""),
        ("at least 41 % lower", "at-least", 0.41, 0.41, "less"),
        ("1/3 x", "exact", 1 / 3, 1 / 3, ""),
    ],
)
def test_a_figure_reads_as_one_says_it(
    said: str, qualifier: str, low: float, high: float, change: str
) -> None:
    if not qualifier:
        with pytest.raises(UnitError, match="cannot read 'six'"):
            asked_claim(said)
        return
    found = asked_claim(said).claimed
    assert found.low is not None
    assert found.high is not None
    assert found.qualifier == qualifier
    assert (found.low.value.value, found.high.value.value) == pytest.approx((low, high))
    assert found.low.change == found.high.change == change


def test_faster_is_more_of_a_rate_and_less_of_a_time() -> None:
    for quantity, change in (("training_throughput", "more"), ("training_time", "less")):
        found = asked_claim("30 % faster", quantity).claimed
        assert found.low is not None
        assert found.low.change == change
    with pytest.raises(UnitError, match="unknown unit '% faster'"):
        asked_claim("30 % faster", "memory_capacity")


def test_words_and_dates_are_left_as_they_are() -> None:
    alone = {"subjects": [H200], "baselines": []}
    assert asked_claim("HBM3e", "memory_type", **alone).claimed.text == "HBM3e"
    assert asked_claim("2023-11", "announcement_date", **alone).claimed.text == "2023-11"


def test_what_articles_print_reads_as_in_a_file() -> None:
    """Every figure of the shipped claims, said with the words of its report, is the same figure."""
    said = 0
    for printed in claims.load(claims.default_path(), KNOWN).claims:
        what, quantity = printed.claimed, printed.quantities[0]
        plain = what.low is not None or what.qualifier == "exact"  # "2023-11 or later"
        if not plain or len(printed.quantities) > 1 or QUANTITIES[quantity].via == "article":
            continue
        found = asked.claim(
            quantity, printed.subjects, printed.baselines, wording.claimed(what), {}, KNOWN
        )
        same = found.claimed.low and what.low and found.claimed.low.value == what.low.value
        assert same or found.claimed == what
        assert found.claimed.qualifier == what.qualifier
        said += 1
    assert said > 100


def test_several_values_of_a_condition_are_tried_each() -> None:
    found = asked.conditions(["precision=fp8", "gpus = 8", "gpus=16", "gpus=8", "KV-Precision=fp8"])
    assert found == {"precision": ["fp8"], "gpus": ["8", "16"], "kv_precision": ["fp8"]}
    claim = asked_claim("2 x", conditions=found)
    assert claim.conditions == {"precision": "fp8", "kv_precision": "fp8"}
    assert claim.sweep == {"gpus": (8, 16)}
    for wrong in ("precision", "=fp8", "precision="):
        with pytest.raises(UnitError, match="write NAME=VALUE"):
            asked.conditions([wrong])


# --------------------------------------------------------------------------- what is told


def test_a_claim_is_judged_as_in_a_file() -> None:
    (verdict,) = judged("memory_bandwidth", "--of", "h200", "--claimed", "4.8 TB/s")
    shipped = CliRunner().invoke(main, ["check", "--only", "h200-memory-bandwidth", "--json", "-"])
    (wanted,) = json.loads(shipped.stdout)["verdicts"]
    alike = ("outcome", "basis", "accepted", "evidence", "found", "reason")
    assert {name: verdict[name] for name in alike} == {name: wanted[name] for name in alike}


def judged(*arguments: str) -> list[dict[str, Any]]:
    content = json.loads(ask(*arguments, "--json").stdout)
    assert content.keys() == {"schema", "environment", "verdicts"}
    return list(content["verdicts"])


def test_a_verdict_is_told_in_words_and_by_the_exit_code() -> None:
    claim = ("peak_fp16", "--gpu", "h200-sxm", "--claimed", "1979 TFLOPS")
    found = ask(*claim)
    assert found.exit_code == 0
    assert found.stdout.startswith("**refuted (catalogue).** Found 990 TFLOPS, outside")
    assert "with 2:4 sparsity 1,979 TFLOPS" in found.stdout
    assert "Printed in" not in found.stdout
    assert ask(*claim, "--fail-on", "refuted,inconclusive").exit_code == 1
    assert ask(*claim, "--fail-on", "inconclusive").exit_code == 0
    assert "supported" in ask(*claim, "--with", "sparsity=sparse").stdout


def test_without_a_claim_what_is_known_is_told() -> None:
    found = ask("memory_bandwidth", "--of", "h200-sxm")
    assert found.exit_code == 0
    assert found.stdout.startswith("memory bandwidth of nvidia-h200-sxm\n\n- published: **4.01 to")
    assert "- catalogue: **4.8 TB/s**" in found.stdout
    assert "Accepted" not in found.stdout
    ratio = ask("memory_bandwidth", "--of", "h200-sxm", "--vs", "h100-sxm")
    assert "- catalogue: **1.43 x**" in ratio.stdout
    devices = ["--with", "model=deepseek-v3", "--with", "precision=fp8"]
    assert "**5 devices**" in ask("devices_needed", "--of", "h200-sxm", *devices).stdout
    content = json.loads(ask("memory_bandwidth", "--of", "h200-sxm", "--json").stdout)
    assert {item["kind"] for item in content["evidence"]} == {"published", "catalogue"}
    assert {item["relation"] for item in content["evidence"]} == {""}


def test_the_model_answers_what_no_other_command_asks() -> None:
    job = ("training_time", "--of", "h200-sxm", "--with", "model=llama-2-70b")
    found = ask(*job, "--with", "gpus=1024", "--with", "tokens=2 trillion tokens")
    assert "- estimated: **15" in found.stdout
    assert "batch tokens not stated" in found.stdout
    assert "tokens not stated: 2 trillion" not in found.stdout
    shorter = ask(*job, "--vs", "h100-sxm", "--with", "gpus=1024", "--claimed", "30 % shorter")
    assert shorter.stdout.startswith("**refuted (")


def test_what_is_measured_here_is_evidence(tmp_path: Path) -> None:
    records.write(record(), tmp_path)
    found = ask("memory_bandwidth", "--of", "h200-sxm", "--results", str(tmp_path))
    assert "- measured: **" in found.stdout


def test_where_nothing_is_known_the_exit_code_says_so() -> None:
    found = ask("export_status", "--of", "h20")
    assert found.exit_code == 3
    assert "no export rule is named" in found.stdout


# --------------------------------------------------------------------------- what is wrong with it


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["memory_bandwith", "--of", "h200"], "did you mean memory_bandwidth"),
        (["memory_bandwidth", "--of", "h300"], "did you mean"),
        (["memory_bandwidth"], "needs a subject: name the accelerator"),
        (["memory_bandwidth", "--of", "h200", "--claimed", "4.8 TB"], "'4.8 TB' is in B"),
        (["memory_bandwidth", "--of", "h200", "--claimed", ""], "cannot read ''"),
        (["memory_bandwidth", "--of", "h200", "--with", "gpus=8"], "does not depend on 'gpus'"),
        (["training_time", "--of", "h200", "--with", "gpus=-8"], "whole number above zero"),
        (["figures_reduced", "--of", "h200"], "compares: name a baseline"),
        (["server_price", "--claimed", "1 CNY"], "what articles print alone"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments: list[str], told: str) -> None:
    found = ask(*arguments)
    assert found.exit_code == 2
    assert told in found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


def test_a_folder_of_records_that_is_not_there_is_told() -> None:
    found = ask("memory_bandwidth", "--of", "h200-sxm", "--results", "typo")
    assert found.exit_code == 0
    assert found.stderr == "There is no folder typo: nothing measured is taken into account\n"
    assert ask("memory_bandwidth", "--of", "h200-sxm").stderr == ""


def test_a_token_costs_what_its_devices_do_in_its_time() -> None:
    served = ["--of", "h200-sxm", "--with", "model=llama-2-70b", "--with", "precision=fp8"]
    served += ["--with", "gpus=2", "--json"]
    rent = ["--with", "hourly_rent=$3/h"]
    (rate,) = estimates("inference_throughput", *served)
    (cost,) = estimates("cost_per_token", *served, *rent)
    for end, other in (("low", "high"), ("mid", "mid"), ("high", "low")):
        assert cost[end] == pytest.approx(2 * 3 / 3600 / rate[other])
    published = [
        item
        for item in json.loads(ask("cost_per_token", *served, *rent).stdout)["evidence"]
        if item["kind"] == "published"
    ]
    assert published
    assert all(item["unit"] == "USD/token" for item in published)
    told = ask("cost_per_token", *served[:-1], *rent, "--claimed", "less than $2/million tokens")
    assert "USD/million tokens" in told.stdout
    assert "needs hourly_rent" in ask("cost_per_token", *served[:-1]).stdout


def estimates(*arguments: str) -> list[dict[str, Any]]:
    found = json.loads(ask(*arguments).stdout)["evidence"]
    return [item for item in found if item["kind"] == "estimated"]


@pytest.mark.parametrize("name", ["GB200 NVL72", "DGX B200", "nvidia hgx h100"])
def test_a_system_is_told_from_its_devices(name: str) -> None:
    assert "a system of several devices" in ask("memory_bandwidth", "--of", name).stderr


def test_a_range_of_times_less_that_crosses_one_says_which_side_is_which() -> None:
    more = ["--of", "h100-sxm", "--vs", "h200-sxm", "--with", "model=llama-2-70b"]
    told = ask("energy_per_token", *more, "--claimed", "2 x less").stdout
    assert " x as much to " in told
    bound = ["peak_fp16", "--of", "h20", "--vs", "h200-sxm", "--claimed", "at least 6 x less"]
    assert "needs at least 5.88 x less" in ask(*bound).stdout
    (verdict,) = judged(*bound)
    assert verdict["accepted"]["low"] is None


def test_rents_that_are_tried_each_have_their_published_costs() -> None:
    served = ["--of", "h200-sxm", "--with", "model=llama-2-70b", "--with", "precision=fp8"]
    rents = ["--with", "hourly_rent=3 USD/h", "--with", "hourly_rent=2 USD/h"]
    found = json.loads(ask("cost_per_token", *served, *rents, "--json").stdout)["evidence"]
    told = {item["conditions"]["hourly_rent"] for item in found if item["kind"] == "published"}
    assert sorted(told) == pytest.approx([2 / 3600, 3 / 3600])


def test_a_verdict_that_nobody_asked_for_cannot_be_awaited() -> None:
    found = ask("memory_bandwidth", "--of", "h200", "--fail-on", "refuted")
    assert found.exit_code == 2
    assert "--claimed" in found.stderr
    untested = ask("boost_clock", "--of", "h200-sxm", "--vs", "h20", "--claimed", "5 % more")
    assert (untested.exit_code, "untested" in untested.stdout) == (3, True)
