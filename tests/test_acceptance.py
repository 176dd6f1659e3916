"""Accepting a machine: the best rates beside what others reached on its part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpubench import cli, records
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.comparing import acceptance
from gpubench.comparing.acceptance import Check, accept, least_rate
from gpubench.model import Block, Case, Caution, Measurement, Work
from gpubench.records import RunRecord
from tests import reported

Run = Callable[..., Result]


def checks(shipped: Catalogue, *found: RunRecord, tolerance: float = 0.05) -> dict[str, Check]:
    part = shipped.accelerators["nvidia-h200-sxm"]
    return {check.figure: check for check in accept(found, part, shipped, tolerance)}


def slower(record: RunRecord, share: float) -> RunRecord:
    """The record as if everything had taken longer."""
    return replace(
        record,
        measurements=tuple(
            replace(
                one,
                blocks=tuple(
                    replace(block, seconds=tuple(s / share for s in block.seconds))
                    for block in one.blocks
                ),
            )
            for one in record.measurements
        ),
    )


def test_what_others_reached_is_the_measure_and_else_a_share_of_the_data_sheet(
    shipped: Catalogue,
) -> None:
    h200 = shipped.accelerators["nvidia-h200-sxm"]
    reached = least_rate("memory_bandwidth", h200, shipped)
    assert reached
    assert reached.rate == pytest.approx(0.95 * 4.48e12)  # BabelStream dot, in published.yaml
    assert "95 % of the 4.48 TB/s that others reached (BabelStream dot" in reached.because
    h20 = shipped.accelerators["nvidia-h20-96gb"]
    share = least_rate("memory_bandwidth", h20, shipped)
    assert share
    assert share.rate == pytest.approx(0.8 * 4.0e12)
    assert share.because.startswith("80 % of the data sheet's 4 TB/s: ")
    bare = replace(h20, id="nobody-1", figures={})
    assert least_rate("memory_bandwidth", bare, shipped) is None


def test_the_best_of_all_records_decides(shipped: Catalogue) -> None:
    found = checks(shipped, slower(reported.record(), 0.5), reported.record())
    assert found["memory_bandwidth"].outcome == "pass"
    assert found["memory_bandwidth"].rate
    assert found["memory_bandwidth"].rate.mid == pytest.approx(0.94 * 4.8e12, rel=0.01)
    assert found["peak_fp16"].outcome == "pass"
    assert found["peak_fp8"].outcome == "not measured"


def test_a_slow_machine_fails_and_an_interval_across_the_bound_decides_nothing(
    shipped: Catalogue,
) -> None:
    slow = slower(reported.record(), 0.62 / 0.94)
    assert checks(shipped, slow)["memory_bandwidth"].outcome == "fail"
    assert checks(shipped, slow, tolerance=0.5)["memory_bandwidth"].outcome == "pass"
    # The blocks differ by 0.4 %, so that a bound at the median lies inside the interval.
    rate = checks(shipped, reported.record())["memory_bandwidth"].rate
    assert rate
    across = 1 - rate.mid / 4.48e12
    assert checks(shipped, reported.record(), tolerance=across)["memory_bandwidth"].outcome == (
        "unsure"
    )


def test_what_hardware_cannot_do_is_no_pass(shipped: Catalogue) -> None:
    record = reported.record()
    faulty = tuple(
        replace(one, cautions=(Caution("implausible", "above the peak", ""),))
        for one in record.measurements
    )
    found = checks(shipped, replace(record, measurements=faulty))
    assert {check.outcome for check in found.values()} == {"not measured"}
    assert found["memory_bandwidth"].cautions == (
        "3 of the measurements do not count: implausible: above the peak",
    )
    one = replace(record, measurements=(faulty[0], *record.measurements[1:]))
    told = checks(shipped, one)["memory_bandwidth"].cautions
    assert told[0] == "1 of the measurements do not count: implausible: above the peak"


def test_slow_copies_alone_decide_nothing(shipped: Catalogue) -> None:
    """Reads are faster than copies, and it is reads of which others' rates are known."""
    copies = tuple(
        one
        for one in reported.record().measurements
        if one.case.parameters.get("pattern") in ("copy", "triad")
    )
    found = checks(shipped, replace(reported.record(), measurements=copies))["memory_bandwidth"]
    assert found.outcome == "unsure"
    assert found.cautions == ("nothing here only reads, which is fastest",)


def all_reduce(bus: float, hosts: int = 1, ranks: int = 8, size: float = 2.0**33) -> RunRecord:
    """A record of one all-reduce, at a bus bandwidth in B/s."""
    parameters = {"collective": "all_reduce", "bytes": size, "ranks": ranks, "hosts": hosts}
    work = Work(wire_bytes=size * 2 * (ranks - 1) / ranks)
    blocks = (Block((work.wire_bytes / bus,), {}),) * 12
    measured = Measurement(Case("collectives", "nccl-tests", parameters), 1, work, blocks, 1, 0)
    return replace(reported.record(), measurements=(measured,))


def test_an_all_reduce_is_held_against_what_rings_reach(shipped: Catalogue) -> None:
    found = checks(shipped, all_reduce(400e9))["all_reduce_bus_bandwidth"]
    assert found.outcome == "pass"
    assert found.least.rate == pytest.approx(0.95 * 368e9)  # stas_net_bench, in published.yaml
    assert found.rate
    assert found.rate.mid == pytest.approx(400e9)
    assert checks(shipped, all_reduce(340e9))["all_reduce_bus_bandwidth"].outcome == "fail"
    h20 = least_rate("all_reduce_bus_bandwidth", shipped.accelerators["nvidia-h20-96gb"], shipped)
    assert h20
    assert h20.rate == pytest.approx(0.75 * 450e9)
    assert "450 GB/s one way" in h20.because


@pytest.mark.parametrize("part", ["nvidia-h100-pcie", "nvidia-h100-nvl", "nvidia-h200-nvl"])
def test_bridges_of_pairs_promise_nothing_to_eight(shipped: Catalogue, part: str) -> None:
    assert least_rate("all_reduce_bus_bandwidth", shipped.accelerators[part], shipped) is None
    assert least_rate("interconnect_bandwidth", shipped.accelerators[part], shipped)


def test_a_switch_that_does_not_add_up_fails_though_the_ring_is_fine(shipped: Catalogue) -> None:
    found = checks(shipped, all_reduce(365e9))
    assert found["all_reduce_bus_bandwidth"].outcome == "pass"
    assert found["all_reduce_in_switch"].outcome == "fail"
    assert found["all_reduce_in_switch"].least.rate == pytest.approx(0.95 * 482e9, rel=1e-3)
    assert checks(shipped, all_reduce(470e9))["all_reduce_in_switch"].outcome == "pass"
    small = checks(shipped, all_reduce(365e9, size=2.0**30))
    assert small["all_reduce_in_switch"].outcome == "not measured"
    h20 = shipped.accelerators["nvidia-h20-96gb"]
    assert least_rate("all_reduce_in_switch", h20, shipped) is None  # nobody has published one


@pytest.mark.parametrize("other", [{"hosts": 2, "ranks": 16}, {"ranks": 16}, {"size": 8.0}])
def test_the_network_and_latency_are_none_of_the_links(
    shipped: Catalogue, other: dict[str, float]
) -> None:
    found = checks(shipped, all_reduce(1e9, **other))  # type: ignore[arg-type]
    assert found["all_reduce_bus_bandwidth"].outcome == "not measured"


def on_gpus(*shares: float) -> RunRecord:
    """The record of a host, one of whose GPUs each reaches that share of the usual rates."""
    return replace(
        reported.record(),
        measurements=tuple(
            replace(one, case=replace(one.case, parameters={**one.case.parameters, "gpu": gpu}))
            for gpu, share in enumerate(shares)
            for one in slower(reported.record(), share).measurements
        ),
    )


def test_a_machine_is_as_good_as_the_worst_of_its_gpus(shipped: Catalogue) -> None:
    bad = checks(shipped, on_gpus(1, 1, 0.7, 1))["memory_bandwidth"]
    assert bad.outcome == "fail"
    assert bad.worst_of == "GPU 2, the worst of 4 GPUs"
    assert checks(shipped, on_gpus(1, 1, 0.99, 1))["memory_bandwidth"].outcome == "pass"


def test_another_tools_records_are_each_of_another_gpu(shipped: Catalogue) -> None:
    def theirs(name: str, share: float) -> RunRecord:
        told = {"imported_from": "babelstream"}
        made = slower(reported.record(name), share)
        return replace(made, suite=records.IMPORTED, environment=told)

    bad = checks(shipped, theirs("00000001", 1), theirs("00000002", 0.7))["memory_bandwidth"]
    assert bad.outcome == "fail"
    assert bad.worst_of == "record 00000002, the worst of 2 records"
    # A tool that gets less out of the same GPU than ours says nothing against it.
    both = checks(shipped, theirs("00000001", 0.7), reported.record("00000003"))
    assert both["memory_bandwidth"].outcome == "pass"


def test_one_slow_link_fails_all(shipped: Catalogue) -> None:
    def copied(source: int, rate: float) -> Measurement:
        p = {
            "collective": collectives.PAIR,
            "bytes": 2**29,
            "ranks": 8,
            "hosts": 1,
            "source": source,
        }
        case = Case("collectives", "nvbandwidth", {**p, "target": 7, "directions": 2})
        linked = collectives.linked(case, shipped.accelerators["nvidia-h200-sxm"])
        return Measurement(
            linked, 1, Work(wire_bytes=2.0**30), (Block((2.0**30 / rate,)),) * 8, 1, 0
        )

    def of(*rates: float) -> Check:
        found = tuple(copied(source, rate) for source, rate in enumerate(rates))
        record = replace(reported.record(), measurements=found)
        return checks(shipped, record)["interconnect_bandwidth"]

    assert of(780e9, 760e9).outcome == "pass"
    assert of(780e9, 25e9, 780e9).outcome == "fail"
    assert of(780e9, 25e9).worst_of == "the link between ranks 1 and 7, the worst of 2 links"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def _run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, ["accept", *arguments])

    return _run


def test_the_command_says_pass_or_fail_and_exits_with_it(run: Run) -> None:
    records.write(reported.record(), Path("results"))
    said = run()
    assert said.exit_code == 0
    assert "NVIDIA H200 SXM 141GB, by record 00000001" in said.output
    assert "2 of 2 figures measured pass (5 not measured)." in said.output
    slow = slower(replace(reported.record("00000002"), created="2026-02-01T00:00:00Z"), 0.5)
    slow = replace(slow, cautions=(Caution("ecc-off", "ECC is off", "turn it on"),))
    records.write(slow, Path("results"))
    failed = run()
    assert failed.exit_code == 1
    assert "| memory bandwidth         | fail" in failed.output
    assert "- ECC is off" in failed.output
    assert run("00000001").exit_code == 0
    document = json.loads(run("--json").stdout)
    assert [one["outcome"] for one in document["checks"]].count("fail") == 2
    assert document["cautions"][0]["fact"] == "ECC is off"


def test_a_wrong_answer_fails_the_machine(run: Run) -> None:
    wrong = "fp16 gives a wrong answer (off by 3 %)"
    told = {
        "gemm torch burst": wrong,
        "gemm triton burst": wrong,
        "launch torch burst": "no memory",
    }
    records.write(replace(reported.record(), failures=told), Path("results"))
    said = run()
    assert said.exit_code == 1
    assert "- gemm torch burst: fp16 gives a wrong answer (off by 3 %)" in said.output
    assert "- launch torch burst: no memory" in said.output
    assert "2 of 2 figures measured pass, and 1 wrong answer came out, which fails" in said.output
    alone = replace(reported.record("00000002"), measurements=(), failures=told)
    records.write(replace(alone, created="2026-02-01T00:00:00Z"), Path("other"))
    nothing = run("--results", "other")
    assert nothing.exit_code == 1
    assert "nothing is accepted, and 1 wrong answer came out" in nothing.output


@pytest.mark.parametrize("complete", [True, False])
def test_a_newer_run_that_failed_hides_behind_no_older_one(run: Run, complete: bool) -> None:
    records.write(reported.record(), Path("results"))
    wrong = {"gemm torch burst": "fp16 gives a wrong answer (off by 3 %)"}
    newer = replace(reported.record("00000002"), created="2026-03-01T00:00:00Z", complete=complete)
    records.write(replace(newer, measurements=(), failures=wrong), Path("results"))
    assert run().exit_code == 1
    older = replace(newer, id="00000003", created="2020-01-01T00:00:00Z", failures=wrong)
    records.write(replace(older, measurements=()), Path("other"))
    records.write(reported.record(), Path("other"))
    assert run("--results", "other").exit_code == 0


def of_card(name: str, day: int, gpu: str = "", share: float = 1.0, **more: object) -> RunRecord:
    """A record of a card, or of a host of two where none is named."""
    made = slower(reported.record(f"0000000{name}"), share) if gpu else on_gpus(1, share)
    told = {"gpu_uuid": gpu or "A", **({} if gpu else {"ranks": "2"})}
    made = replace(made, id=f"0000000{name}", environment=told)
    return replace(made, created=f"2026-03-0{day}T00:00:00Z", **more)  # type: ignore[arg-type]


WRONG = {"gemm torch burst": "fp16 gives a wrong answer (off by 3 %)"}


@pytest.mark.parametrize(
    ("made", "code"),
    [
        # A card measured again says nothing of the host's others, and the host all of it.
        ((of_card("1", 1, share=0.5), of_card("2", 2, "A")), 1),
        ((of_card("1", 1, "B", 0.5), of_card("2", 2)), 0),
        # What was wrong once is wrong until it was measured again.
        ((of_card("1", 1, "A"), of_card("2", 2, "B", failures=WRONG), of_card("3", 3, "B")), 0),
        (
            (
                of_card("1", 1, "A", failures=WRONG, measurements=()),
                replace(of_card("2", 2, "A"), measurements=reported.record().measurements[:1]),
            ),
            1,
        ),
        # What was interrupted is no machine to be judged.
        ((of_card("1", 1, "A"), of_card("2", 2, "A", complete=False)), 0),
        ((of_card("1", 1, "A", complete=False),), 2),
    ],
)
def test_the_newest_of_each_card_and_topic_counts(
    run: Run, made: tuple[RunRecord, ...], code: int
) -> None:
    for one in made:
        records.write(one, Path("results"))
    assert run().exit_code == code


def test_mixed_devices_that_nobody_named_are_left_out(run: Run) -> None:
    records.write(of_card("1", 1, "A"), Path("results"))
    told = {"imported_from": "nvbandwidth"}
    mixed = replace(of_card("2", 2, "A"), suite=records.IMPORTED, environment=told, failures=WRONG)
    mixed = replace(mixed, cautions=(Caution("mixed-devices", "A and B"),))
    path = records.write(mixed, Path("results"))
    assert run().exit_code == 0
    named = run(str(path))
    assert named.exit_code == 2
    assert "is not of one part: A and B" in named.output


def test_each_card_of_a_host_is_judged_by_its_own_newest_record(run: Run) -> None:
    for name, gpu, share, day in (("1", "A", 0.5, 1), ("2", "B", 1.0, 2)):
        made = slower(reported.record(f"0000000{name}"), share)
        made = replace(made, created=f"2026-03-0{day}T00:00:00Z", environment={"gpu_uuid": gpu})
        records.write(made, Path("results"))
    said = run()
    assert said.exit_code == 1
    assert "A, the worst of 2 GPUs" in said.output


def test_a_gpu_that_failed_leaves_the_machine_unsure(shipped: Catalogue) -> None:
    record = on_gpus(1, 1, 1)
    gone = tuple(one for one in record.measurements if one.case.parameters["gpu"] != 2)
    failures = {"bandwidth torch burst gpu=2 n=10 pattern=read": "the device failed"}
    found = checks(shipped, replace(record, measurements=gone, failures=failures))
    assert found["memory_bandwidth"].outcome == "unsure"
    assert "GPU 2 was not measured" in found["memory_bandwidth"].cautions


def test_another_tool_on_one_gpu_hides_no_other(shipped: Catalogue) -> None:
    told = {"imported_from": "babelstream"}
    one = replace(reported.record("00000009"), suite=records.IMPORTED, environment=told)
    assert checks(shipped, on_gpus(1, 1, 0.5, 1), one)["memory_bandwidth"].outcome == "fail"


def test_a_gpu_that_was_not_read_from_is_no_slow_one(shipped: Catalogue) -> None:
    record = on_gpus(1, 0.9)
    unread = tuple(
        one
        for one in record.measurements
        if (one.case.parameters["gpu"], one.case.parameters.get("pattern")) != (1, "read")
    )
    found = checks(shipped, replace(record, measurements=unread))["memory_bandwidth"]
    assert found.outcome == "unsure"
    assert "nothing here only reads, which is fastest" in found.cautions


def test_all_figures_can_be_asked_for(run: Run) -> None:
    records.write(reported.record(), Path("results"))
    assert run().exit_code == 0
    assert run("--all").exit_code == 3


def test_what_must_be_reached_is_told_before_anything_is_measured(run: Run) -> None:
    said = run("--gpu", "nvidia-h20-96gb")
    assert said.exit_code == 0
    assert "| memory bandwidth         | at least 3.2 TB/s" in said.output
    assert "found" not in said.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "holds no measurements"),
        (("--gpu", "h200"), 2, "names several variants"),
        (("--gpu", "nvidia-h20-96gb", "00000001"), 2, "--gpu judges no record"),
        (("nothing",), 2, "no record under results"),
        (("--tolerance", "80"), 2, "80"),
        (("--tolerance", "nan"), 2, "nan is no share"),
    ],
)
def test_bad_input_is_a_sentence(
    run: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = run(*arguments)
    assert said.exit_code == code
    assert words in said.output


def test_records_of_two_parts_or_of_none_known_are_told(run: Run) -> None:
    records.write(reported.record(), Path("results"))
    other = replace(reported.record("00000002"), accelerator="nvidia-h100-sxm5")
    path = records.write(other, Path("results"))
    said = run("00000001", str(path))
    assert said.exit_code == 2
    assert "nvidia-h100-sxm5 and nvidia-h200-sxm: name those of one" in said.output
    host = replace(reported.record("00000004"), accelerator="cpu-something")
    unknown = run(str(records.write(host, Path("host"))))
    assert unknown.exit_code == 3
    assert "nothing is known of what cpu-something should give" in unknown.output
    none = replace(reported.record("00000003"), measurements=(), created="2027-01-01T00:00:00Z")
    assert run(str(records.write(none, Path("other")))).exit_code == 3


def test_a_piece_of_a_card_is_not_accepted_for_it(run: Run) -> None:
    within = replace(reported.record(), environment={"memory_limit": "85899345920"})
    path = records.write(within, Path("results"))
    assert "holds no measurements" in run().output
    said = run(str(path))
    assert said.exit_code == 2
    assert "is not of a whole card" in said.output


def test_what_was_cut_short_is_no_pass(shipped: Catalogue) -> None:
    record = reported.record()
    cut = tuple(replace(one, complete=False) for one in record.measurements)
    found = checks(shipped, replace(record, measurements=cut))
    assert {check.outcome for check in found.values()} == {"not measured"}


def test_one_block_is_no_pass(shipped: Catalogue) -> None:
    found = checks(shipped, reported.record(blocks=1))
    assert {check.outcome for check in found.values()} == {"not measured"}


def measured_on(host: str, name: str, day: int, share: float = 1.0) -> Path:
    """The path of a record of a host, at that share of the usual rates."""
    record = slower(reported.record(name), share)
    created = f"2026-03-{day:02d}T00:00:00Z"
    environment = {**record.environment, **({"hostname": host} if host else {})}
    return records.write(replace(record, created=created, environment=environment), Path("results"))


def test_each_machine_is_judged_by_its_own_records(run: Run) -> None:
    good = measured_on("good", "00000001", 1)
    slow = measured_on("slow", "00000002", 2, 0.5)
    newest = run()
    assert newest.exit_code == 1
    assert "slow" in newest.output.splitlines()[0]
    both = run(str(good), str(slow))
    assert both.exit_code == 2
    assert "the records are of good and slow: name those of one" in both.output
    assert run(str(good)).exit_code == 0


def test_what_no_host_is_known_of_serves_beside_what_was_measured_on_one(run: Run) -> None:
    own = measured_on("good", "00000001", 1, 0.5)
    other = replace(all_reduce(400e9), suite=records.IMPORTED, created="2026-03-02T00:00:00Z")
    imported = records.write(replace(other, id="00000002"), Path("results"))
    for said in (run("--json"), run(str(own), str(imported), "--json")):
        told = {one["figure"]: one["outcome"] for one in json.loads(said.stdout)["checks"]}
        assert told["all_reduce_bus_bandwidth"] == "pass"
        assert told["memory_bandwidth"] == "fail"


def test_a_newer_record_of_a_processor_hides_no_card(run: Run) -> None:
    host = replace(reported.record("00000002"), accelerator="cpu-something")
    records.write(replace(host, created="2026-04-01T00:00:00Z"), Path("results"))
    assert run().exit_code == 3
    measured_on("good", "00000001", 1)
    said = run()
    assert said.exit_code == 0
    assert "by record 00000001" in said.output


def test_units_of_figures_are_those_of_their_rates() -> None:
    assert acceptance.unit("memory_bandwidth") == "B/s"
    assert acceptance.unit("peak_fp8") == "FLOP/s"
