"""Each guard catches what it is for, says what would mend it, and lets sound runs pass."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench import stats
from gpubench.measuring import guards, timing
from gpubench.measuring.guards import Ceilings
from gpubench.model import Block, Case, Caution, Measurement, Work

PACKAGE = Path(guards.__file__).parents[1]
SOURCES = "".join(path.read_text("utf-8") for path in PACKAGE.glob("**/*.py"))
H200 = Ceilings(bandwidth=4.917e12, compute=1070e12)
GIGABYTE = Work(bytes=1e9)


def measured(
    *block_seconds: float,
    work: Work = GIGABYTE,
    telemetry: list[dict[str, float | int | str]] | None = None,
    method: str = "triton",
    **more: object,
) -> Measurement:
    """A measurement with one sample a block, at 4 TB/s unless told otherwise."""
    readings = telemetry or [{}]
    blocks = tuple(
        Block((seconds,) * 3, readings[i % len(readings)])
        for i, seconds in enumerate(block_seconds or [2.5e-4] * 8)
    )
    case = Case("stream", method, {})
    return Measurement(case, 1, work, blocks, 4, 0.2, **more)  # type: ignore[arg-type]


def found(measurement: Measurement, *args: object, **more: object) -> dict[str, Caution]:
    cautions = guards.inspect(measurement, *args, **more)  # type: ignore[arg-type]
    assert all(caution.remedy and caution.fact for caution in cautions)
    assert {caution.code for caution in cautions} <= guards.CODES.keys()
    return {caution.code: caution for caution in cautions}


def test_a_sound_run_has_no_cautions() -> None:
    telemetry = [{"sm_clock_hz": 1.98e9, "clock_event_mask": 0, "other_processes": 0}]
    sound = measured(telemetry=telemetry)
    assert found(sound, H200, card={"ecc_mode": "on", "ecc_uncorrected_errors": 0}) == {}


def test_a_rate_above_the_ceiling_is_implausible() -> None:
    """7 TB/s from a card whose bus and clock give 4.917."""
    caution = found(measured(*[1e9 / 7e12] * 8), H200)["implausible"]
    assert "7 TB/s is 142% of the memory bandwidth" in caution.fact
    assert "cache" in caution.remedy


@pytest.mark.parametrize(("share", "caught"), [(1.0, False), (1.019, False), (1.021, True)])
def test_two_per_cent_are_the_clocks_own(share: float, caught: bool) -> None:
    run = measured(*[1e9 / (share * 4.917e12)] * 8)
    assert ("implausible" in found(run, H200)) == caught


def test_compute_and_links_have_ceilings_as_well() -> None:
    fast = measured(*[1e-3] * 8, work=Work(flops=1.2e12, wire_bytes=1e9))
    assert "compute peak" in found(fast, H200)["implausible"].fact
    wire = found(replace(fast, work=Work(wire_bytes=1e9)), Ceilings(wire=450e9))
    assert "link bandwidth" in wire["implausible"].fact
    assert found(fast) == {}  # no ceiling, no verdict


def test_a_working_set_in_the_cache_has_no_memory_ceiling() -> None:
    assert found(measured(*[1e9 / 9e12] * 8), Ceilings(compute=1070e12)) == {}


def test_throttling_is_seen_among_other_bits() -> None:
    """Compared for equality with one reason, idle + power cap would go unseen."""
    run = measured(telemetry=[{"clock_event_mask": 0}, {"clock_event_mask": 0x01 | 0x04}])
    caution = found(run)["throttled"]
    assert caution.fact == "the card held itself back in 4 of 8 blocks: power cap"
    assert "power limit" in caution.remedy


def test_how_long_the_card_was_held_back_is_told_where_the_driver_counts_it() -> None:
    """Blocks of a second each, of which the power limit takes 0.8."""
    run = measured(
        telemetry=[
            {"clock_event_mask": 4, "read_at_s": float(at), "power_violation_s": 7 + 0.8 * at}
            for at in range(8)
        ]
    )
    assert "power cap (80% of the time by power)" in found(run)["throttled"].fact
    in_turn = found(replace(run, in_turn_with=("other",)))["throttled"]  # whose time counts too
    assert "of the time" not in in_turn.fact


@pytest.mark.parametrize("bit", [0x004, 0x008, 0x020, 0x040, 0x080, 0x200, 0x400])
def test_every_reason_that_slows_the_card_counts(bit: int) -> None:
    assert "throttled" in found(measured(telemetry=[{"clock_event_mask": bit}]))


@pytest.mark.parametrize("bit", [0x001, 0x002, 0x010, 0x100])
def test_idleness_and_set_clocks_are_no_throttling(bit: int) -> None:
    assert found(measured(telemetry=[{"clock_event_mask": bit}])) == {}


def test_a_falling_clock_is_told_with_both_clocks() -> None:
    clocks = [1.98e9] * 4 + [1.74e9] * 4
    run = measured(telemetry=[{"sm_clock_hz": clock} for clock in clocks])
    caution = found(run)["clock-fell"]
    assert "fell 12% during the run, from 1.98 GHz to 1.74 GHz" in caution.fact


def test_one_odd_clock_reading_or_a_small_fall_is_nothing() -> None:
    odd = [1.98e9] * 7 + [0.3e9]
    small = [1.98e9] * 4 + [1.92e9] * 4
    for clocks in (odd, small):
        run = measured(telemetry=[{"sm_clock_hz": clock} for clock in clocks])
        assert "clock-fell" not in found(run)


def test_another_process_on_the_card_is_told() -> None:
    run = measured(telemetry=[{"other_processes": 0}, {"other_processes": 2}])
    assert "up to 2 other" in found(run)["shared"].fact


def test_threads_that_had_to_wait_for_a_processor_are_told() -> None:
    """12 s on a processor, and 4 s ready for one: a quarter of 16 s."""
    busy = [{"processor_s": 100.0 + n, "waiting_s": 7.0 + n / 3} for n in range(13)]
    run = measured(*[2.5e-4] * 13, telemetry=busy)
    assert "others had the processor for 25% of the time" in found(run)["shared"].fact
    quiet = [{"processor_s": 100.0 + n, "waiting_s": 7.0 + n / 1000} for n in range(13)]
    assert "shared" not in found(measured(*[2.5e-4] * 13, telemetry=quiet))
    assert "shared" not in found(measured(telemetry=[{}]))
    assert timing.waited(run.blocks[:1]) == 0


def test_memory_errors_and_missing_correction_are_told() -> None:
    assert set(found(measured(), card={"ecc_mode": "off"})) == {"ecc-off"}
    assert set(found(measured(), card={"ecc_uncorrected_errors": 2})) == {"ecc-errors"}


def test_a_wide_interval_is_noisy() -> None:
    source = random.Random(5)
    rough = measured(*[2.5e-4 * source.gauss(1, 0.03) for _ in range(20)])
    assert "noisy" in found(rough)
    assert "noisy" not in found(rough, target=0.1)


def test_five_blocks_are_too_few_whatever_they_say() -> None:
    caution = found(measured(*[2.5e-4] * 5))["too-short"]
    assert "interval at 94%" in caution.fact
    assert "noisy" not in found(measured(*[2.5e-4] * 4, 5e-4))


def test_blocks_that_creep_within_the_target_are_enough() -> None:
    creeping = [2.5e-4 * (1 + 1e-4 * i) for i in range(24)]
    run = measured(*creeping)
    assert timing.of(run).independent < 6
    told = found(run)
    assert "too-short" not in told
    assert told["autocorrelated"].fact.endswith(
        "independent ones, and the interval holds them all, at 0%"
    )
    assert "too-short" in found(run, target=1e-4)
    assert timing.known(timing.of(run).seconds, 0.0024)  # they span 23 steps of 1e-4
    assert not timing.known(timing.of(run).seconds, 0.0022)


def test_samples_too_short_for_the_clock_are_told() -> None:
    run = measured(*[1e-6] * 8, resolution_s=5e-7)
    assert "a clock of 0.5 µs" in found(run)["too-short"].fact


def test_blocks_that_resemble_their_neighbours_are_told_when_it_matters() -> None:
    waves = [2.5e-4 * (1 + 0.02 * ((i // 6) % 2)) for i in range(36)]
    caution = found(measured(*waves))["autocorrelated"]
    assert "correlation 0." in caution.fact
    assert "36 blocks, which tell as much as " in caution.fact
    tiny = [2.5e-4 * (1 + 0.0002 * ((i // 6) % 2)) for i in range(36)]
    assert found(measured(*tiny)) == {}


def test_a_steady_rise_is_drift_and_noise_is_not() -> None:
    rising = [2.5e-4 * (1 + 0.003 * i) for i in range(12)]
    assert "slower" in found(measured(*rising))["drifting"].fact
    assert "faster" in found(measured(*reversed(rising)))["drifting"].fact
    source = random.Random(11)
    noise = [2.5e-4 * source.gauss(1, 0.02) for _ in range(30)]
    assert "drifting" not in found(measured(*noise))
    # Eight rough blocks that end 3 % above their beginning may do so by chance.
    by_chance = [2.5e-4 * x for x in (1.0, 1.02, 0.99, 1.03, 1.0, 1.02, 1.01, 1.03)]
    assert timing.of(measured(*by_chance)).drift.total > 0.01
    assert "drifting" not in found(measured(*by_chance))


def test_a_run_cut_short_says_so_even_without_blocks() -> None:
    cut = replace(measured(), complete=False)
    assert set(found(cut)) == {"incomplete"}
    empty = replace(cut, blocks=())
    assert set(found(empty, H200)) == {"incomplete"}


def test_two_methods_that_differ_are_flagged() -> None:
    triton, torch = measured(*[2.5e-4] * 8), measured(*[2.7e-4] * 8, method="torch")
    caution = guards.disagreement(triton, torch)
    assert caution == guards.disagreement(torch, triton)
    assert caution is not None
    assert caution.fact == "triton is 8% faster than torch at the same work"
    near = measured(*[2.6e-4] * 8, method="torch")
    assert guards.disagreement(triton, near) is None
    with pytest.raises(ValueError, match="not do the same work"):
        guards.disagreement(triton, measured(work=Work(bytes=2e9)))


def test_cautions_are_kept_once_a_code() -> None:
    old = Caution("noisy", "old", "x")
    run = guards.cautioned(replace(measured(), cautions=(old,)), [Caution("noisy", "new", "x")])
    run = guards.cautioned(run, [Caution("shared", "s", "x")])
    assert [(c.code, c.fact) for c in run.cautions] == [("noisy", "new"), ("shared", "s")]


def test_every_caution_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "measuring.md").read_text("utf-8")
    assert {code for code in guards.CODES if f"`{code}`" not in page} == set()
    assert guards.CODES.keys() >= set(re.findall(r'Caution\(\s*"([a-z-]+)"', SOURCES))


# --------------------------------------------------------------------------- timing


def test_a_rate_turns_its_interval_upside_down() -> None:
    run = measured(2.4e-4, 2.5e-4, 2.5e-4, 2.5e-4, 2.5e-4, 2.6e-4)
    rate = timing.bandwidth(run)
    assert rate.low == pytest.approx(1e9 / 2.6e-4)
    assert rate.mid == pytest.approx(4e12)
    assert rate.high == pytest.approx(1e9 / 2.4e-4)
    assert rate.confidence == pytest.approx(1 - 2 / 2**6)
    with pytest.raises(ValueError, match="states no operations"):
        timing.throughput(run)


def test_a_rate_is_worked_out_without_what_only_its_quality_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(stats, "drift", asked.append)
    assert timing.bandwidth(measured()).mid > 0
    assert asked == []
    assert timing.of(measured()).drift is None
    assert len(asked) == 1


def test_correlation_widens_the_interval_and_never_narrows_it() -> None:
    alike = timing.of(measured(*[2.5e-4 * (1 + 0.01 * (i // 8)) for i in range(24)]))
    assert alike.independent < 6 < alike.blocks
    assert not alike.seconds.enough
    assert alike.half_width == pytest.approx(0.01, rel=0.02)  # as wide as all of them
    zigzag = timing.of(measured(*[2.5e-4 * (1 + 0.01 * (i % 2)) for i in range(24)]))
    assert zigzag.autocorrelation < 0
    assert zigzag.independent == zigzag.blocks == 24


def test_energy_comes_from_the_counter_between_first_and_last_reading() -> None:
    telemetry: list[dict[str, float | int | str]] = [
        {"total_energy_j": 1000 + 60.0 * i, "read_at_s": 0.1 * i, "power_w": 550.0}
        for i in range(8)
    ]
    run = measured(telemetry=telemetry)
    assert timing.power(run) == pytest.approx(600)
    assert timing.energy_per_call(run) == pytest.approx(600 * 2.5e-4)


def test_of_methods_in_turn_the_counter_counts_both_and_the_readings_each_its_own() -> None:
    def one(watts: float, first: int) -> Measurement:
        telemetry: list[dict[str, float | int | str]] = [
            {"total_energy_j": 50.0 * i, "read_at_s": 0.1 * i, "power_w": watts}
            for i in range(first, 16, 2)
        ]
        return measured(telemetry=telemetry, in_turn_with=("other",))

    for watts, first in ((700.0, 0), (300.0, 1)):
        run = one(watts, first)
        assert timing.power(run) == watts
        assert timing.energy_per_call(run) == pytest.approx(watts * 2.5e-4)


def test_without_a_counter_power_is_the_reading_and_energy_unknown() -> None:
    run = measured(telemetry=[{"power_w": 550.0}])
    assert timing.power(run) == 550
    assert timing.energy_per_call(run) is None
    assert timing.power(measured()) is None


def test_a_counter_over_too_little_time_tells_nothing() -> None:
    telemetry: list[dict[str, float | int | str]] = [
        {"total_energy_j": 5.0 * i, "read_at_s": 0.01 * i, "power_w": 550.0} for i in range(8)
    ]
    assert timing.power(measured(telemetry=telemetry)) == 550
