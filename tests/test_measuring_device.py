"""Finding a device, refusing what is not there, and never guessing whose peaks it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure, UnknownName
from gpubench.measuring import device as device_module
from gpubench.measuring import provenance
from gpubench.measuring.clock import DeviceClock, HostClock
from gpubench.measuring.device import Device, clock_for, find
from gpubench.measuring.host_telemetry import HostTelemetry
from gpubench.measuring.telemetry import NullTelemetry
from gpubench.measuring.variant import Facts, standing
from gpubench.model import Accelerator
from tests.fake_torch import fake_torch


@pytest.fixture
def torch_is(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Puts a torch with given devices in place of the real one, and no NVML beside it."""

    def put(**facts: object) -> None:
        monkeypatch.setitem(sys.modules, "torch", fake_torch(**facts))  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", None)

    return put


def test_the_threads_of_a_process_are_added_up(tmp_path: Path) -> None:
    """Nanoseconds on a processor, ready for one, and how often; a thread may end meanwhile."""
    for thread, told in {"7": "2000000000 500000000 9", "8": "1000000000 0 3", "9": ""}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(told)
    assert HostTelemetry(tmp_path).read().values == {"processor_s": 3.0, "waiting_s": 0.5}
    nothing = HostTelemetry(tmp_path / "none").read()
    assert not nothing.values
    assert nothing.refused["waiting_s"] == "this kernel does not count it"


def test_none_is_no_device() -> None:
    assert find("none") is None


def test_auto_without_any_driver_does_not_even_import_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_module, "driver_seems_present", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert find("auto") is None


def test_auto_is_none_where_the_driver_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "driver_seems_present", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(available=False))
    assert find("auto") is None


def test_why_there_is_no_gpu_is_told(torch_is, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(device_module, "driver_seems_present", lambda: False)
    assert device_module.why_no_gpu() == "this machine has no GPU driver"
    monkeypatch.setattr(device_module, "driver_seems_present", lambda: True)
    torch_is(available=False, failure="Found no NVIDIA driver")
    assert "Found no NVIDIA driver" in device_module.why_no_gpu()
    torch_is()
    assert device_module.why_no_gpu() == ""


def test_auto_is_the_first_card(torch_is, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(device_module, "driver_seems_present", lambda: True)
    torch_is()
    found = find("auto")
    assert found is not None
    assert found.torch_name == "cuda:0"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "cpu:1", ""])
def test_a_name_no_device_has_is_a_usage_error(name: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown device|did you mean"):
        find(name)


def test_the_processor_is_measured_under_its_own_name() -> None:
    found = find("cpu")
    assert found is not None
    assert found.kind == found.torch_name == "cpu"
    assert found.name
    assert found.accelerator is None
    assert found.units >= 1
    assert 0 < found.memory_free <= found.memory_total
    assert found.peak_bandwidth is None  # no driver tells it, so it is not guessed
    assert isinstance(clock_for(found), HostClock)
    assert found.telemetry.card().refused == {"telemetry": "a processor has no NVML"}


def test_the_processors_name_and_caches_are_read_from_the_kernel(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name : Other\n")
    assert device_module.cpu_name(info) == "Some CPU @ 3 GHz"
    for cpu, shared in enumerate(("0-1", "0-1", "2-3", "2-3")):
        for level, size in ((0, "32K"), (3, "32768K")):
            cache = tmp_path / f"cpu{cpu}" / "cache" / f"index{level}"
            cache.mkdir(parents=True)
            (cache / "size").write_text(size + "\n")
            (cache / "shared_cpu_list").write_text(shared + "\n")
    assert device_module._last_cache_bytes(tmp_path) == 2 * 32 * 2**20
    assert device_module._last_cache_bytes(tmp_path / "nowhere") == 0


def test_without_torch_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CannotMeasure, match=r"pip install 'gpubench-claims\[gpu\]'"):
        find("cuda")


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"cuda": None}, r"built for the CPU alone.*--device cpu"),
        (
            {"available": False, "failure": "Found no NVIDIA driver\nmore"},
            r"\(Found no NVIDIA driver\)",
        ),
        ({"available": False}, r"the driver lists no device.*nvidia-smi"),
        ({"available": False, "cuda": None, "hip": "6.4"}, "rocm-smi"),
        ({"failure": "CUDA error: all CUDA-capable devices are busy or unavailable"}, "hold it"),
    ],
)
def test_each_way_of_having_no_gpu_has_its_sentence(torch_is, facts, sentence) -> None:  # type: ignore[no-untyped-def]
    torch_is(**facts)
    with pytest.raises(CannotMeasure, match=sentence) as caught:
        find("cuda")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_an_index_beyond_the_last_is_refused(torch_is) -> None:  # type: ignore[no-untyped-def]
    torch_is(count=1)
    with pytest.raises(CannotMeasure, match="no cuda:3 on this machine, only cuda:0"):
        find("cuda:3")
    torch_is(count=8)
    with pytest.raises(CannotMeasure, match="no cuda:8 on this machine, cuda:0 to cuda:7"):
        find("cuda:8")


def test_a_driver_without_nvml_still_measures_and_the_reason_is_kept(torch_is, shipped) -> None:  # type: ignore[no-untyped-def]
    torch_is(count=2, memory_bus_width=6144, memory_clock_rate=3_201_000, clock_rate=1_980_000)
    found = find("cuda:1", shipped.accelerator)
    assert found is not None
    assert found.index == 1
    assert found.accelerator == "nvidia-h200-sxm"
    assert found.memory_free == found.memory_total - 2**30
    assert isinstance(found.telemetry, NullTelemetry)
    assert "nvidia-ml-py" in found.refused["telemetry"]
    # torch has the same figures, in kHz.
    assert found.peak_bandwidth == pytest.approx(4.917e12, rel=1e-4)
    assert found.peak_compute(4096) == pytest.approx(1070.5e12, rel=1e-3)
    assert isinstance(clock_for(found), DeviceClock)


def test_amd_comes_through_the_same_interface_and_derives_no_bandwidth(torch_is, shipped) -> None:  # type: ignore[no-untyped-def]
    torch_is(
        name="AMD Instinct MI300X",
        units=304,
        memory=206_141_652_992,
        hip="6.4.1",
        cuda=None,
        gcnArchName="gfx942:sramecc+:xnack-",
        memory_bus_width=8192,
        memory_clock_rate=1_300_000,
    )
    found = find("cuda", shipped.accelerator)
    assert found is not None
    assert (found.runtime, found.capability) == ("ROCm 6.4.1", "gfx942")
    assert found.accelerator == "amd-mi300x"
    assert found.peak_bandwidth is None
    assert "AMD" in found.refused["power_limit_w"]
    assert set(found.telemetry.read().refused) >= {"sm_clock_hz", "power_w", "total_energy_j"}


def check(name: str, units: int, memory: float, catalogue: Catalogue, **card: int | str) -> object:
    return standing(Facts(name, units, int(memory), card), catalogue.accelerator)


@pytest.mark.parametrize(
    ("name", "units", "memory", "entry"),
    [  # as drivers report them
        ("NVIDIA H200", 132, 150.754e9, "nvidia-h200-sxm"),
        ("NVIDIA H100 80GB HBM3", 132, 85.03e9, "nvidia-h100-sxm5"),
        ("NVIDIA H20", 78, 102.6e9, "nvidia-h20-96gb"),
        ("NVIDIA A100-SXM4-80GB", 108, 85.05e9, "nvidia-a100-80gb-sxm4"),
    ],
)
def test_a_known_card_takes_its_entry(
    name: str, units: int, memory: float, entry: str, shipped: Catalogue
) -> None:
    found = standing(Facts(name, units, int(memory), {}), shipped.accelerator)
    assert (found.accelerator, found.problems) == (entry, ())
    assert (found.memory_share, found.compute_share) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "units", "memory", "told"),
    [
        ("NVIDIA H20", 78, 150.7e9, "151 GB of memory where the catalogue has 96 GB"),
        ("NVIDIA H200", 114, 150.7e9, "114 units where the catalogue has 132"),
        ("AMD Instinct MI250X", 110, 68.7e9, "110 units where the catalogue has 220"),
    ],
)
def test_another_variant_of_that_name_takes_none(
    name: str, units: int, memory: float, told: str, shipped: Catalogue
) -> None:
    found = standing(Facts(name, units, int(memory), {}), shipped.accelerator)
    assert found.accelerator is None
    [problem] = found.problems
    assert problem.code == "another-variant"
    assert told in problem.fact
    assert problem.remedy


def test_an_unknown_card_takes_none_and_is_named(shipped: Catalogue) -> None:
    found = standing(Facts("NVIDIA X900", 200, 10**11, {}), shipped.accelerator)
    assert found.accelerator is None
    [problem] = found.problems
    assert problem.code == "unknown-card"
    assert "NVIDIA X900" in problem.fact


def test_a_slice_of_unknown_size_is_refused(shipped: Catalogue) -> None:
    facts = Facts("NVIDIA H200 MIG 1g.18gb", 16, 16 * 2**30, {"name": "NVIDIA H200"})
    found = standing(facts, shipped.accelerator)
    assert (found.accelerator, found.memory_share, found.compute_share) == (None, 0.0, 0.0)
    [problem] = found.problems
    assert problem.code == "mig-slice"
    assert "does not tell how large" in problem.fact
    device = Device("cuda", "x", memory_bus_bits=6144, max_memory_clock_hz=3.2e9, memory_share=0.0)
    assert device.peak_bandwidth is None


@pytest.mark.parametrize(
    ("usable_mib", "eighths"), [(16384, 1), (33280, 2), (71424, 4), (143771, 8)]
)
def test_a_slices_memory_stands_for_whole_eighths(
    usable_mib: int, eighths: int, shipped: Catalogue
) -> None:
    """Usable sizes of 1g.18gb, 1g.35gb, 3g.71gb and 7g.141gb on an H200."""
    card = {
        "name": "NVIDIA H200",
        "mig_slice_memory_bytes": usable_mib * 2**20,
        "board_memory_bytes": 143771 * 2**20,
        "mig_slice_units": 16,
    }
    facts = Facts("NVIDIA H200 MIG", 16, usable_mib * 2**20, card)
    assert standing(facts, shipped.accelerator).memory_share == eighths / 8


def test_no_entry_is_looked_for_without_a_catalogue() -> None:
    assert standing(Facts("NVIDIA H200", 132, 10, {}), None).accelerator is None


def test_an_entry_without_figures_contradicts_nothing() -> None:
    bare = Accelerator("x", "X", "V", "F", figures={})
    assert standing(Facts("X", 1, 1, {}), lambda _name: bare).accelerator == "x"


# --------------------------------------------------------------------------- provenance


def test_hostname_and_uuid_can_be_redacted_and_still_tell_machines_apart() -> None:
    one = Device("cuda", "NVIDIA H200", card={"uuid": "GPU-1"})
    other = Device("cuda", "NVIDIA H200", card={"uuid": "GPU-2"})
    plain, hidden = provenance.facts(one), provenance.facts(one, redact=True)
    assert plain["gpu_uuid"] == "GPU-1"
    assert hidden["gpu_uuid"].startswith("redacted-")
    assert hidden["gpu_uuid"] == provenance.facts(one, redact=True)["gpu_uuid"]
    assert hidden["gpu_uuid"] != provenance.facts(other, redact=True)["gpu_uuid"]
    assert plain["hostname"] not in hidden.values()


def test_provenance_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2")
    found = provenance.facts(Device("cpu", "Some CPU", card={"something_new": "private"}))
    assert "hunter2" not in "".join(found.values())
    assert "private" not in found.values()
    assert found["device"] == "Some CPU"
    assert found["torch"]
    assert "seed" not in found
    assert all(isinstance(value, str) and value for value in found.values())


def test_a_checkout_tells_its_commit_and_whether_it_was_edited(tmp_path: Path) -> None:
    assert provenance.git_commit(tmp_path) == ""
    (tmp_path / "src" / "gpubench").mkdir(parents=True)
    source = tmp_path / "src" / "gpubench" / "x.py"
    source.write_text("a = 1\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    commit = provenance.git_commit(tmp_path)
    assert len(commit) == 40
    source.write_text("a = 2\n")
    assert provenance.git_commit(tmp_path) == f"{commit}-dirty"
