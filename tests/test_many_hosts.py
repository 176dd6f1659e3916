"""Two hosts, which are two network namespaces here, or two launchers on loopback where there are
none: every host is measured, and the collective across them; the first rank keeps both records."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpubench import records

pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("joined_run.py")
ROOT = Path(__file__).parents[1]
CLAIM = """\
claims:
  - id: one
    category: datasheet-spec
    statement: A statement.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    subject: nvidia-h200-sxm
    quantity: memory_bandwidth
    claimed: {value: 4.8 TB/s, qualifier: exact}
"""


@dataclass(frozen=True)
class Hosts:
    """How to start a command on either host, where they meet, and the interface they share."""

    prefixes: tuple[list[str], list[str]]
    address: str
    interfaces: tuple[str, str]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    names = [f"gpubench-{os.getpid()}-{side}" for side in "ab"]
    ends = [f"gb{os.getpid() % 100000}{side}" for side in "ab"]
    try:
        try:
            _connect(names, ends)
        except (OSError, subprocess.CalledProcessError):
            yield Hosts(([], []), "127.0.0.1", ("lo", "lo"))
        else:
            first, second = (["ip", "netns", "exec", name] for name in names)
            yield Hosts((first, second), "10.77.0.1", (ends[0], ends[1]))
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _connect(names: list[str], ends: list[str]) -> None:
    """Two namespaces with a cable between them."""
    for name in names:
        _ip("netns", "add", name)
    _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
        _ip("link", "set", end, "netns", name)
        _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
        _ip("-n", name, "link", "set", end, "up")
        _ip("-n", name, "link", "set", "lo", "up")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(
    hosts: Hosts, number: int, port: int, folder: Path, variables: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(number)]
    launcher += ["--master-addr", hosts.address, "--master-port", str(port)]
    launcher += ["--nproc-per-node", "1", str(SCRIPT), "--device", "cpu", "--suite", "quick"]
    claims = folder / "claims.yaml"
    claims.write_text(CLAIM)
    arguments = ["--claims", str(claims), "--results", str(folder / "results")]
    return subprocess.Popen(
        [*hosts.prefixes[number], sys.executable, *launcher, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            **(variables or {}),
            "GLOO_SOCKET_IFNAME": hosts.interfaces[number],
            "PYTHONPATH": str(ROOT),
        },
    )


@pytest.mark.slow
def test_two_hosts_leave_a_record_each_and_the_collective_between_them(
    hosts: Hosts, tmp_path: Path
) -> None:
    port = free_port()
    ranks = [start(hosts, number, port, tmp_path) for number in range(2)]
    told = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    found = [records.read(path) for path in records.list_records(tmp_path / "results")]
    assert len(found) == 2
    assert len({record.id for record in found}) == 2
    assert {record.environment["host"] for record in found} == {"1 of 2", "2 of 2"}
    assert all(record.complete for record in found)
    for record in found:
        patterns = [m.case.parameters.get("pattern") for m in record.measurements]
        assert {"read", "copy", "triad"} <= set(patterns)
    across = [
        m for record in found for m in record.measurements if "collective" in m.case.parameters
    ]
    assert [m.case.parameters["bytes"] for m in across] == [1024, 65536]
    for measured in across:
        assert measured.case.parameters["hosts"] == 2
        assert measured.verification.startswith("equal to the reference in all")
        assert len(measured.choices["rank_seconds"]) == 2
    first, second = (out for out, _ in told)
    assert first.count("Record: ") == 2
    assert "supported" in first
    assert second == ""


@pytest.mark.slow
def test_what_was_measured_before_a_host_is_gone_is_kept(hosts: Hosts, tmp_path: Path) -> None:
    port = free_port()
    fault = {"RANK_1_DIES": "1"}
    ranks = [start(hosts, number, port, tmp_path, fault) for number in range(2)]
    told = [rank.communicate(timeout=120) for rank in ranks]
    assert all(rank.returncode for rank in ranks)
    found = [records.read(path) for path in records.list_records(tmp_path / "results")]
    assert len(found) == 2  # the host that is gone has left what it had found by itself
    assert all(record.measurements for record in found)
    (record,) = (each for each in found if each.failures)
    assert "the group of ranks broke" in record.failures["collectives"]
    assert [m.case.parameters.get("bytes") for m in record.measurements][-1] == 1024
    assert {"read", "copy", "triad"} <= {
        m.case.parameters.get("pattern") for m in record.measurements
    }
    assert "could not be measured" in told[0][1]
