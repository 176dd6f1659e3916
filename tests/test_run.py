"""One run: measure, judge, save, go on; and find the claims that contradict each other."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench import records
from gpubench.benchmarks import Planned
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure, UnknownName
from gpubench.judging.contradictions import contradictions
from gpubench.judging.judgement import judge_all
from gpubench.measuring import Ceilings, Device, Prepared
from gpubench.model import Case, Work
from gpubench.records import RunRecord
from gpubench.running import beginning, campaign, linking
from gpubench.running.run import Request, execute, planned
from tests.conftest import Load
from tests.fake_clock import FakeClock

H100 = """
subject: nvidia-h100-sxm5
quantity: {quantity}
claimed: {{value: {value}, qualifier: exact}}
"""


def test_claims_that_cannot_both_hold_are_found(load_claims: Load) -> None:
    file = load_claims(
        H100.format(quantity="interconnect_bandwidth", value="900 GB/s"),
        H100.format(quantity="interconnect_bandwidth", value="600 GB/s"),
        H100.format(quantity="memory_bandwidth", value="600 GB/s"),
    )
    (clash,) = contradictions(file.claims)
    assert {clash.left.id, clash.right.id} == {"claim-1", "claim-2"}
    assert "do not overlap" in clash.why


def test_claims_under_different_stated_conditions_do_not_contradict(load_claims: Load) -> None:
    both, one = (
        H100.format(quantity="interconnect_bandwidth", value=f"{value} GB/s")
        + f"conditions: {{direction: {direction}}}\n"
        for value, direction in ((900, "both"), (450, "one-way"))
    )
    assert contradictions(load_claims(both, one).claims) == ()


def test_only_the_claims_asked_for_are_judged(load_claims: Load, shipped: Catalogue) -> None:
    body = H100.format(quantity="memory_bandwidth", value="3.35 TB/s")
    file = load_claims(body, body)
    assert [v.claim for v in judge_all(file, shipped, ["claim-2"]).verdicts] == ["claim-2"]
    with pytest.raises(UnknownName, match="did you mean claim-1"):
        judge_all(file, shipped, ["clam-1"])


def test_a_device_that_is_not_there_is_no_silent_choice(tmp_path: Path, shipped: Catalogue) -> None:
    assert planned(Request(tmp_path / "claims.yaml", tmp_path, "none"), shipped) == ((), "")
    with pytest.raises(CannotMeasure, match=r"--device (none|cpu)"):
        planned(Request(tmp_path / "claims.yaml", tmp_path, "cuda:0"), shipped)


def test_a_run_leaves_a_record_of_its_verdicts(
    load_claims: Load, shipped: Catalogue, tmp_path: Path
) -> None:
    file = load_claims(H100.format(quantity="memory_bandwidth", value="3.35 TB/s"))
    result = execute(Request(file.path, tmp_path / "results", "none"), shipped)
    saved = records.read(result.record_path)
    assert saved.claims_sha256 == file.sha256
    assert saved.verdicts["claim-1"].startswith("supported (")
    assert saved.measurements == ()


OPEN = """
subject: nvidia-h200-sxm
baseline: nvidia-h100-sxm5
quantity: inference_throughput
claimed: {{value: {value}, qualifier: exact}}
{more}
"""


def test_claims_contradict_only_if_a_condition_is_open_to_both(load_claims: Load) -> None:
    large = OPEN.format(value="1.5 x", more="conditions: {model: llama-2-70b}")
    any_model = OPEN.format(value="2 x", more="sweep: {model: [llama-2-7b, llama-2-70b]}")
    small = OPEN.format(value="2 x", more="sweep: {model: [llama-2-7b]}")
    assert len(contradictions(load_claims(large, any_model).claims)) == 1
    assert contradictions(load_claims(large, small).claims) == ()


def test_a_sustained_rate_contradicts_no_peak(load_claims: Load) -> None:
    body = "subject: nvidia-h200-sxm\nquantity: memory_bandwidth\n"
    body += "claimed: {{value: {value}, qualifier: exact}}\n{more}"
    peak = body.format(value="4.8 TB/s", more="")
    for rate, clashes in (("sustained", 0), ("peak", 1)):
        other = body.format(value="4.0 TB/s", more=f"conditions: {{rate: {rate}}}\n")
        assert len(contradictions(load_claims(peak, other).claims)) == clashes


def test_less_than_what_is_reached_at_best_contradicts_nothing(load_claims: Load) -> None:
    body = "subject: nvidia-h200-sxm\nbaseline: nvidia-h100-sxm5\nquantity: {}\n"
    body += "claimed: {{value: {}, qualifier: {}}}\n"
    for quantity, best, usual, beyond in (
        ("memory_bandwidth", "1.9 x", "1.3 x", "2.5 x"),
        ("energy_per_token", "50 % less", "20 % less", "70 % less"),
    ):
        first = body.format(quantity, best, "up-to")
        for value, how, clashes in (
            *((usual, "exact", 0), (beyond, "exact", 1)),
            *((usual, "up-to", 1), (usual, "at-most", 1)),
        ):
            file = load_claims(first, body.format(quantity, value, how))
            assert len(contradictions(file.claims)) == clashes, (value, how)


def test_what_one_states_and_the_other_never_mentions_makes_no_contradiction(
    load_claims: Load,
) -> None:
    stated = OPEN.format(value="1.5 x", more="conditions: {model: llama-2-70b}")
    silent = OPEN.format(value="2 x", more="")
    assert contradictions(load_claims(stated, silent).claims) == ()


def test_what_is_spelled_or_rounded_in_two_ways_is_no_contradiction(load_claims: Load) -> None:
    words = "subject: nvidia-h100-sxm5\nquantity: process_node\n"
    words += "claimed: {{value: {}, qualifier: exact}}\n"
    assert contradictions(load_claims(words.format("4N"), words.format("TSMC 4N")).claims) == ()
    assert contradictions(load_claims(words.format("4 nm"), words.format("TSMC 4N")).claims) == ()
    assert contradictions(load_claims(words.format("TSMC 4N"), words.format("Samsung 4N")).claims)
    ratio = "subject: nvidia-h200-sxm\nbaseline: nvidia-h100-sxm5\nquantity: peak_fp16\n"
    ratio += "claimed: {{value: {}, qualifier: exact}}\n"
    assert contradictions(load_claims(ratio.format('"1"'), ratio.format("0.99 x")).claims) == ()


# --------------------------------------------------------------------------- going on


class Played:
    """A benchmark of two cases on a clock that owns its time; `stop` comes before the second."""

    QUANTITY, VERSION = "", 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop: Callable[[], None] = lambda: None

    def plan(self, _device: Device, _suite: str) -> tuple[Planned, ...]:
        return tuple(Planned(Case(self.name, "torch", {"n": n})) for n in (1, 2))

    def work(self, parameters: Mapping[str, Any]) -> Work:
        return Work(bytes=1e6 * parameters["n"])

    def ceilings(self, _case: Case, _device: Device) -> Ceilings:
        return Ceilings()

    def prepare(self, case: Case, _device: Device, _seed: int) -> Prepared:
        if case.parameters["n"] == 2:
            self.stop()
        return Prepared(case, 1, self.work(case.parameters), lambda: None)

    def release(self) -> None:
        pass


class Playing:
    """Runs of two played benchmarks on a processor, on claims of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, claims: Path, catalogue: Catalogue) -> None:
        self.benchmarks = {name: Played(name) for name in ("first", "second")}
        played = SimpleNamespace(names=lambda: ("first", "second"), get=self.benchmarks.get)
        monkeypatch.setattr(campaign, "benchmarks", played)
        monkeypatch.setattr(campaign, "clock_for", lambda _: FakeClock(lambda *_: 1e-3))
        self.asked = Request(claims, claims.parent / "results", suite="quick")
        self.catalogue = catalogue

    def interrupted(self, name: str, **more: Any) -> RunRecord:
        """The record of a run on the processor that ends before the second case of a benchmark."""

        def stop() -> None:
            raise KeyboardInterrupt

        self.benchmarks[name].stop = stop
        with pytest.raises(KeyboardInterrupt):
            execute(replace(self.asked, device="cpu", **more), self.catalogue)
        self.benchmarks[name].stop = lambda: None
        return self.record

    def resumed(self, **more: Any) -> RunRecord:
        """The record when a run has gone on with it, by its id and what `more` says."""
        asked = replace(self.asked, suite="standard", resume=self.record.id, **more)
        assert execute(asked, self.catalogue)
        return self.record

    @property
    def record(self) -> RunRecord:
        (path,) = records.list_records(self.asked.results)
        return records.read(path)


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch, load_claims: Load, shipped: Catalogue) -> Playing:
    pytest.importorskip("torch")
    file = load_claims(H100.format(quantity="memory_bandwidth", value="3.35 TB/s"))
    return Playing(monkeypatch, file.path, shipped)


def cases(record: RunRecord) -> list[str]:
    return [f"{m.case.benchmark} {m.case.parameters['n']}" for m in record.measurements]


def test_a_run_of_one_benchmark_goes_on_with_that_one_by_its_id_alone(playing: Playing) -> None:
    cut = playing.interrupted("first", benchmarks=("first",), seed=7)
    assert (cases(cut), cut.complete) == (["first 1"], False)
    whole = playing.resumed()
    assert (cases(whole), whole.complete) == (["first 1", "first 2"], True)
    assert (whole.suite, whole.seed, whole.device) == ("quick", 7, cut.device)


def test_a_record_of_all_is_complete_when_all_is_measured_not_when_one_benchmark_is(
    playing: Playing,
) -> None:
    playing.interrupted("first")
    part = playing.resumed(benchmarks=("second",))
    assert (cases(part), part.complete) == (["first 1", "second 1", "second 2"], False)
    whole = playing.resumed()
    assert sorted(cases(whole)) == ["first 1", "first 2", "second 1", "second 2"]
    assert whole.complete


def test_what_is_asked_for_later_is_part_of_the_record_too(playing: Playing) -> None:
    playing.interrupted("first", benchmarks=("first",))
    part = playing.resumed(benchmarks=("second",))
    assert (part.asked.benchmarks, part.complete) == (("first", "second"), False)
    assert playing.resumed().complete


def test_what_is_said_again_goes_before_what_the_record_was_asked_for(tmp_path: Path) -> None:
    asked = records.Asked("cuda:1", ("gemm",), 4)
    limited = {"memory_limit": "85520809984"}
    record = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "h", limited, suite="full", asked=asked)
    records.write(record, tmp_path)
    bare = Request(tmp_path / "claims.yaml", tmp_path, resume="0123")
    found = beginning.continued(bare)
    assert (found.device, found.suite, found.benchmarks) == ("cuda:1", "full", ("gemm",))
    assert (found.ranks, found.memory_limit) == (4, 85_520_809_984)
    said = replace(bare, device="cuda:0", benchmarks=("hpc",), ranks=2, memory_limit=10**9)
    found = beginning.continued(said)
    assert (found.device, found.benchmarks, found.ranks) == ("cuda:0", ("hpc",), 2)
    assert found.memory_limit == 10**9


def test_a_dry_run_tells_what_is_left_of_a_record(playing: Playing, shipped: Catalogue) -> None:
    cut = playing.interrupted("second")
    steps, _ = planned(replace(playing.asked, resume=cut.id), shipped)
    assert [(s.planned.case.benchmark, s.planned.case.parameters) for s in steps] == [
        ("second", {"n": 2})
    ]


def test_a_dry_run_of_what_is_measured_says_so(playing: Playing, shipped: Catalogue) -> None:
    cut = playing.interrupted("second")
    again = replace(playing.asked, resume=cut.id, benchmarks=("first",))
    assert planned(again, shipped) == ((), "all of it is measured")


def test_more_ranks_than_there_can_be_are_refused_before_anything_is_measured(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise CannotMeasure("64 ranks need as many GPUs")

    monkeypatch.setattr(linking, "ranks", refuse)
    with pytest.raises(CannotMeasure, match="64 ranks"):
        execute(replace(playing.asked, device="cpu", ranks=64), playing.catalogue)
    assert records.list_records(playing.asked.results) == []


def test_a_record_is_complete_on_disk_only_when_its_links_are_measured_too(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunRecord] = []

    def links(record: RunRecord, *_: Any) -> RunRecord:
        seen.append(playing.record)
        return record

    monkeypatch.setattr(linking, "with_links", links)
    execute(replace(playing.asked, device="cpu"), playing.catalogue)
    assert [(len(record.measurements), record.complete) for record in seen] == [(4, False)]
    assert playing.record.complete


def aged(playing: Playing) -> None:
    """Write the record as schema 2 had it, without what was asked for."""
    (path,) = records.list_records(playing.asked.results)
    text = path.read_text("utf-8").replace('"schema": 3', '"schema": 2')
    start = text.index('"asked": {')
    path.write_text(text[:start] + text[text.index("}", start) + 2 :], "utf-8")


def test_a_record_of_an_older_schema_goes_on_as_one_of_everything(playing: Playing) -> None:
    cut = playing.interrupted("first", benchmarks=("first",))
    aged(playing)
    assert playing.record.asked == records.Asked()
    whole = playing.resumed(device="cpu")
    assert (len(whole.measurements), whole.complete, whole.schema) == (4, True, records.SCHEMA)
    assert whole.id == cut.id


def test_a_record_of_an_older_schema_takes_the_benchmarks_that_are_named_now(
    playing: Playing,
) -> None:
    playing.interrupted("first", benchmarks=("first",))
    aged(playing)
    whole = playing.resumed(device="cpu", benchmarks=("first", "first"))
    assert (cases(whole), whole.complete) == (["first 1", "first 2"], True)
    assert whole.asked.benchmarks == ("first",)
