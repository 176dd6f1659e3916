"""The real NVML bindings on a stand-in library: answers, refusals, reasons, slices, a lost card."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from gpubench import catalogue
from gpubench.measuring import nvlink, telemetry, timing
from gpubench.measuring.telemetry import NullTelemetry, reason_names
from gpubench.measuring.torch_telemetry import TorchTelemetry
from gpubench.model import Block

HERE = Path(__file__).parent
SRC = HERE.parent / "src"

ASK = """
import json, sys
from dataclasses import asdict
from gpubench import catalogue
from gpubench.errors import GpubenchError
from gpubench.measuring import device, provenance, telemetry
from tests.fake_torch import fake_torch

sliced = sys.argv[1] == "mig"
sys.modules["torch"] = fake_torch(
    "NVIDIA H200 MIG 1g.18gb" if sliced else "NVIDIA H200",
    16 if sliced else 132,
    16384 * 2**20 if sliced else 150_754_820_096,
    uuid="5a0c" if sliced else "77f2",
)
said = {"reads": []}
try:
    source = telemetry.connect("5a0c" if sliced else "GPU-77f2")
    said["kind"] = type(source).__name__
    card = source.card()
    said |= {"card": dict(card.values), "card_refused": dict(card.refused)}
    for _ in range(7):
        found = source.read()
        said["reads"].append(dict(found.values))
        said["refused"] = dict(found.refused)
    by_bus = telemetry.connect(pci_bus_id="00000000:65:00.0")
    by_name = telemetry.connect(name="NVIDIA H200")
    said["found_by"] = [type(by_bus).__name__, type(by_name).__name__]
    said["strange"] = asdict(telemetry.connect("0000", name="NVIDIA H100"))
    found = device.find("cuda", catalogue.load().accelerator)
    said |= {
        "accelerator": found.accelerator,
        "shares": [found.memory_share, found.compute_share],
        "problems": [asdict(problem) for problem in found.problems],
        "peak_bandwidth": found.peak_bandwidth,
        "provenance": provenance.facts(found, seed=7),
    }
except GpubenchError as error:
    said["error"] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What gpubench finds with one scenario of the stand-in library, in a process of its own."""
    folders = {}
    for old in (False, True):
        folders[old] = tmp_path_factory.mktemp("nvml")
        library = str(folders[old] / "libnvidia-ml.so.1")
        words = [
            "cc",
            "-O1",
            "-Wall",
            "-shared",
            "-fPIC",
            *(["-DOLD"] if old else []),
            "-o",
            library,
        ]
        subprocess.run([*words, str(HERE / "nvml_stub.c")], check=True)

    @functools.cache
    def asked(scenario: str, launcher: str = "") -> dict[str, Any]:
        surroundings = {
            **os.environ,
            "NVML_STUB": scenario,
            telemetry.LAUNCHER_VARIABLE: launcher,
            "LD_LIBRARY_PATH": str(folders[scenario == "old"]),
            "PYTHONPATH": f"{SRC}{os.pathsep}{HERE.parent}",
            "A_SECRET": "hunter2",
        }
        done = subprocess.run(
            [sys.executable, "-c", ASK, scenario],
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return asked


def test_a_card_tells_of_each_block(ask: Ask) -> None:
    said = ask("normal")
    assert said["kind"] == "NvmlTelemetry"
    first, *_, last = said["reads"]
    assert first == {
        "sm_clock_hz": 1980e6,
        "memory_clock_hz": 3201e6,
        "power_w": pytest.approx(655.4),
        "total_energy_j": pytest.approx(1061),
        "temperature_c": 64,
        "memory_temperature_c": 71,
        "clock_event_reasons": "",
        "clock_event_mask": 0,
        "power_violation_s": 0,
        "thermal_violation_s": 0,
        "board_violation_s": 0,
        "reliability_violation_s": 0,
        "other_processes": 0,
    }
    assert last["total_energy_j"] - first["total_energy_j"] == pytest.approx(6 * 61)
    assert said["refused"] == {}


def test_a_card_tells_of_itself_once(ask: Ask) -> None:
    said = ask("normal")
    assert said["card_refused"] == {}
    assert said["card"] == {
        "name": "NVIDIA H200",
        "uuid": "GPU-77f2",
        "driver": "580.159.04",
        "driver_cuda": "13.0",
        "vbios": "96.00.A5.00.01",
        "virtualization": "passthrough",
        "power_limit_w": 700.0,
        "default_power_limit_w": 700.0,
        "max_sm_clock_hz": 1980e6,
        "max_memory_clock_hz": 3201e6,
        "memory_bus_bits": 6144,
        "board_memory_bytes": 143771 * 2**20,
        "ecc_mode": "on",
        "ecc_corrected_errors": 3,
        "ecc_uncorrected_errors": 0,
        "mig_mode": "off",
        "persistence_mode": "on",
        "other_processes": 0,
        "pcie_generation": 5,
        "pcie_width": 16,
        "max_pcie_generation": 5,
        "max_pcie_width": 16,
        "nvlink_states": " ".join(["up"] * 18),
        "nvlink_up": 18,
        "nvlink_generation": 4,
        "nvlink_rates": " ".join(["26562000000"] * 18),
        "nvlink_ends": " ".join(["switch"] * 18),
        "nvlink_errors": " ".join(["0"] * 18),
        "fabric_state": "completed",
        "numa_node": -1,
    }


def test_the_derived_peak_is_bus_times_clock_times_two(ask: Ask) -> None:
    """The 4,917 GB/s of an H200's driver, beside the 4,800 of its datasheet."""
    assert ask("normal")["peak_bandwidth"] == pytest.approx(4.917e12, rel=1e-4)


def test_what_the_driver_refuses_is_a_reason_and_no_zero(ask: Ask) -> None:
    said = ask("refusing")
    refused = {"sm_clock_hz", "memory_clock_hz", "power_w", "total_energy_j"}
    refused |= {"memory_temperature_c", "clock_event_reasons"}
    refused |= {f"{cause}_violation_s" for cause in telemetry._POLICIES}
    assert set(said["refused"]) == refused
    assert set(said["refused"].values()) == {"Not Supported"}
    assert set(said["reads"][0]) == {"temperature_c", "other_processes"}
    assert "nvlink_states" in said["card_refused"]
    assert said["card"]["virtualization"] == "vgpu"
    assert said["provenance"]["vbios"] == "refused: Not Supported"
    assert said["peak_bandwidth"] is None


def test_an_older_driver_is_asked_in_its_own_words(ask: Ask) -> None:
    said = ask("old")
    assert said["reads"][0]["clock_event_reasons"] == "power cap"
    assert said["reads"][0]["power_w"] == pytest.approx(612.3)
    assert said["refused"] == {"memory_temperature_c": "Not Supported"}


def test_reasons_are_bits_the_power_cap_among_others(ask: Ask) -> None:
    read = ask("throttled")["reads"][0]
    assert read["clock_event_mask"] == 0x04 | 0x20 | 1 << 40
    assert (
        read["clock_event_reasons"] == "power cap, software thermal slowdown, unknown 0x10000000000"
    )
    assert read["clock_event_mask"] & telemetry.THROTTLING


def test_the_time_for_which_power_held_the_clocks_back_is_counted(ask: Ask) -> None:
    reads = ask("throttled")["reads"]
    assert reads[-1]["power_violation_s"] - reads[0]["power_violation_s"] == pytest.approx(0.18)
    assert reads[-1]["thermal_violation_s"] == 0
    # One round in 0.1 s: 30 ms of it.
    blocks = [Block((1e-3,), {**r, "read_at_s": 0.1 * place}) for place, r in enumerate(reads)]
    assert timing.held_back(blocks, "power") == pytest.approx(0.3)
    assert timing.held_back(blocks, "thermal") == 0
    assert timing.held_back(blocks[:1], "power") is None
    assert timing.held_back([Block((1e-3,))] * 9, "power") is None


class PlayedAmd:
    """The part of torch.cuda that tells of an AMD card."""

    def clock_rate(self, index: int) -> int:
        assert index == 1
        return 2100

    def power_draw(self, index: int) -> int:
        assert index == 1
        return 0  # torch's word for N/A

    def temperature(self, index: int) -> int:
        assert index == 1
        raise ModuleNotFoundError("amdsmi does not seem to be installed\nor is broken")


def test_an_amd_card_tells_what_torch_passes_on_and_refuses_the_rest() -> None:
    source: telemetry.Telemetry = TorchTelemetry(PlayedAmd(), 1)
    found = source.read()
    assert found.values == {"sm_clock_hz": 2.1e9}
    assert found.refused["power_w"] == "amdsmi says N/A"
    assert found.refused["temperature_c"] == "amdsmi does not seem to be installed"
    assert found.refused["total_energy_j"] == "torch does not tell it of AMD cards"
    assert source.card().values == {}
    assert "power_limit_w" in source.card().refused


def test_the_bits_are_numbered_as_in_the_bindings() -> None:
    named = {
        "GpuIdle": "idle",
        "ApplicationsClocksSetting": "application clocks",
        "SwPowerCap": "power cap",
        "HwSlowdown": "hardware slowdown",
        "SyncBoost": "sync boost",
        "SwThermalSlowdown": "software thermal slowdown",
        "HwThermalSlowdown": "hardware thermal slowdown",
        "HwPowerBrakeSlowdown": "power brake",
        "DisplayClockSetting": "display clock",
        "BoardLimit": "board limit",
        "Reliability": "reliability limit",
    }
    for theirs, ours in named.items():
        assert reason_names(getattr(pynvml, f"nvmlClocksThrottleReason{theirs}")) == (ours,)
    idle_or_set = telemetry.REASONS.keys() - {
        bit for bit in telemetry.REASONS if bit & telemetry.THROTTLING
    }
    assert {telemetry.REASONS[bit] for bit in idle_or_set} == {
        "idle",
        "application clocks",
        "sync boost",
        "display clock",
    }


def test_other_processes_are_counted_and_this_one_is_not(ask: Ask) -> None:
    assert ask("normal")["reads"][0]["other_processes"] == 0
    assert ask("shared")["reads"][0]["other_processes"] == 2
    # In a container the one process listed has a number of the host's: it is ours.
    assert ask("contained")["reads"][0]["other_processes"] == 0


def test_the_process_that_started_the_ranks_is_no_other_one(ask: Ask) -> None:
    """It keeps its context on the card that it had measured, and waits."""
    us, launcher, stranger = 10, 20, 30
    assert telemetry.others({us, launcher}, us, {us, launcher}) == 0
    assert telemetry.others({us, launcher, stranger}, us, {us, launcher}) == 1
    assert telemetry.others({us, stranger}, us, {us, launcher}) == 1
    for listed, strangers in (({1}, 0), ({1, 2}, 0), ({1, 2, 3}, 1)):  # numbers of the host's
        assert telemetry.others(listed, us, {us, launcher}) == strangers
    assert ask("shared", "4000001")["reads"][0]["other_processes"] == 1


def test_a_slice_is_held_against_its_share_of_the_card(ask: Ask) -> None:
    said = ask("mig")
    assert said["card"]["mig_mode"] == "on"
    assert said["card"]["mig_slice_units"] == 16
    assert said["reads"][0]["sm_clock_hz"] == 1980e6  # of the card; a slice has none to tell
    assert said["accelerator"] == "nvidia-h200-sxm"
    assert said["shares"] == [1 / 8, pytest.approx(16 / 132)]
    assert said["peak_bandwidth"] == pytest.approx(4.917e12 / 8, rel=1e-4)
    [problem] = said["problems"]
    assert problem["code"] == "mig-slice"
    assert "12.5% of the card's memory" in problem["fact"]
    assert problem["remedy"]


def test_a_power_limit_below_the_default_is_told(ask: Ask) -> None:
    assert ask("normal")["problems"] == []
    said = ask("limited")
    assert said["accelerator"] == "nvidia-h200-sxm"
    [problem] = said["problems"]
    assert problem["code"] == "power-limited"
    assert "500 W where 700 W" in problem["fact"]


def test_a_card_that_disappears_half_way_is_one_sentence(ask: Ask) -> None:
    said = ask("lost")
    assert len(said["reads"]) == 5
    kind, sentence = said["error"]
    assert kind == "DeviceLost"
    assert "GPU is lost" in sentence
    assert "--resume" in sentence


def test_a_library_without_a_driver_gives_no_telemetry_and_says_why(ask: Ask) -> None:
    said = ask("nodriver")
    assert said["kind"] == "NullTelemetry"
    assert said["reads"][0] == {}
    assert "Driver Not Loaded" in said["refused"]["telemetry"]
    assert said["accelerator"] == "nvidia-h200-sxm"  # torch still names it


def test_a_device_is_found_by_bus_or_by_name_when_it_is_the_only_one(ask: Ask) -> None:
    said = ask("normal")
    assert said["found_by"] == ["NvmlTelemetry", "NvmlTelemetry"]
    assert said["strange"] == {"why": "NVML does not list the device that torch uses"}


def test_provenance_holds_what_was_allowed_and_no_environment(ask: Ask) -> None:
    facts = ask("normal")["provenance"]
    assert facts["driver"] == "580.159.04"
    assert facts["gpu_uuid"] == "GPU-77f2"
    assert facts["seed"] == "7"
    assert facts["gpu_virtualization"] == "passthrough"
    assert not any("hunter2" in value or "A_SECRET" in value for value in facts.values())


def test_without_the_library_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    source = telemetry.connect("GPU-77f2")
    if isinstance(source, NullTelemetry):  # a machine with a driver has one
        assert "NVML" in source.why
        assert source.card().refused == source.read().refused == {"telemetry": source.why}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    source = telemetry.connect("GPU-77f2")
    assert isinstance(source, NullTelemetry)
    assert "pip install nvidia-ml-py" in source.why


def test_every_reading_is_documented(ask: Ask) -> None:
    page = (HERE.parent / "docs" / "measuring.md").read_text("utf-8")
    said = ask("mig")
    readings = said["card"].keys() | said["reads"][0].keys()
    assert {name for name in readings if f"`{name}`" not in page} == set()


def test_every_slice_of_a_card_names_its_card() -> None:
    """The catalogue refuses a slice's own name, so peaks can only come from the card's."""
    assert catalogue.load().accelerator("NVIDIA H200").id == "nvidia-h200-sxm"


# --------------------------------------------------------------------------- links


def test_links_tell_state_generation_rate_far_end_and_errors(ask: Ask) -> None:
    card = ask("normal")["card"]
    assert card["nvlink_states"].split().count("up") == card["nvlink_up"] == 18
    assert card["nvlink_generation"] == 4
    assert set(card["nvlink_rates"].split()) == {"26562000000"}
    assert set(card["nvlink_ends"].split()) == {"switch"}
    assert set(card["nvlink_errors"].split()) == {"0"}
    assert card["fabric_state"] == "completed"


def test_a_dead_link_is_named(ask: Ask) -> None:
    problems = {p["code"]: p["fact"] for p in ask("links")["problems"]}
    assert problems["link-down"] == "NVLink 7 of 18 is down"
    assert ask("links")["card"]["nvlink_rates"].split()[7] == "0"
    assert ask("normal")["problems"] == []


def test_slow_links_errors_and_a_fabric_that_is_not_ready_are_named(ask: Ask) -> None:
    problems = {p["code"]: p["fact"] for p in ask("links")["problems"]}
    assert problems["link-slow"] == "NVLink 3 at 13.3 of 26.6 GB/s"
    assert problems["link-errors"] == "NVLink 9 had 17 errors since the driver was loaded"
    assert problems["fabric-not-ready"] == "the switch fabric is in progress"


def test_links_that_are_not_told_are_refused_and_no_problem(ask: Ask) -> None:
    found = ask("refusing")
    assert "nvlink_states" in found["card_refused"]
    assert not any(p["code"].startswith("link") for p in found["problems"])


@pytest.mark.parametrize(
    ("up", "generation", "total"),
    # data sheets: A100 600 GB/s, A800 400, H100 900, B200 1800, both directions
    [(12, 3, 600e9), (8, 3, 400e9), (18, 4, 900e9), (18, 5, 1800e9)],
)
def test_what_is_up_adds_up_to_the_data_sheet(up: int, generation: int, total: float) -> None:
    card = {"nvlink_up": up, "nvlink_generation": generation}
    assert nvlink.bandwidth(card) == total
    assert nvlink.bandwidth({"nvlink_up": up}) is None


def test_a_part_with_fewer_links_by_design_has_no_dead_ones() -> None:
    card = {"nvlink_states": "up " * 8 + "down " * 10, "nvlink_up": 8}
    assert nvlink.problems(card, links=8) == ()
    (told,) = nvlink.problems(card, links=18)
    assert told.code == "link-down"
