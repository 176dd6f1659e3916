"""`gpubench doctor`: what works on this machine, and how to mend the rest."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import click

from gpubench import __version__
from gpubench.cli import options
from gpubench.errors import GpubenchError
from gpubench.invisible import shown

BROKEN = 2


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed` things must work; others only widen what can be done."""

    what: str
    works: bool
    detail: str
    needed: bool = True


@click.command("doctor")
@options.claims_file
@options.results
@click.pass_context
def command(ctx: click.Context, claims_path: Path | None, results: Path) -> None:
    """Say what works on this machine, and how to mend the rest."""
    broken = False
    for found in _findings(claims_path, results):
        mark = "✓" if found.works else "✗" if found.needed else "–"
        click.echo(f"{mark} {found.what}: {found.detail}")
        broken = broken or (found.needed and not found.works)
    if broken:
        ctx.exit(BROKEN)


def _findings(claims_path: Path | None, results: Path) -> Iterator[Finding]:
    yield Finding("gpubench", True, f"{__version__} on Python {platform.python_version()}")
    yield Finding("platform", True, f"{platform.system()} {platform.machine()}, {sys.executable}")
    yield _libyaml()
    yield from _files(claims_path)
    yield _results(results)
    for module, package, use in (
        ("torch", "torch", "measuring"),
        ("triton", "triton", "measuring"),
        ("pynvml", "nvidia-ml-py", "finding NVIDIA devices"),
    ):
        yield _optional(module, package, use)
    yield _devices()


def _libyaml() -> Finding:
    import yaml

    if hasattr(yaml, "CSafeLoader"):
        return Finding("YAML", True, f"PyYAML {yaml.__version__} with libyaml", needed=False)
    detail = "PyYAML without libyaml reads files about ten times slower; install a PyYAML wheel"
    return Finding("YAML", False, detail, needed=False)


def _files(claims_path: Path | None) -> Iterator[Finding]:
    from gpubench import catalogue, claims

    try:
        known = catalogue.load()
    except GpubenchError as error:
        yield Finding("catalogue", False, f"{error}; install gpubench again")
        return
    parts, models = len(known.accelerators), len(known.models)
    yield Finding("catalogue", True, f"{parts} accelerators, {models} language models")
    path = claims_path or claims.default_path()
    try:
        file = claims.load(path, known)
    except GpubenchError as error:
        first, *others = str(error).splitlines()
        more = f" (and {len(others)} more; see `gpubench claims lint`)" if others else ""
        yield Finding("claims", False, f"{first}{more}")
        return
    yield Finding("claims", True, f"{len(file.claims)} claims in {path}")


def _results(results: Path) -> Finding:
    from gpubench import records

    made = [folder for folder in (results, *results.parents) if not folder.exists()]
    try:
        records.check_writable(results)
    except GpubenchError as error:
        return Finding("results", False, str(error))
    finally:
        with contextlib.suppress(OSError):  # never made, or another run writes there already
            for folder in made:
                folder.rmdir()
    return Finding("results", True, f"{results} can be written")


def _optional(module: str, package: str, use: str) -> Finding:
    if find_spec(module):
        return Finding(package, True, _version(package), needed=False)
    detail = f"not installed; {use} will need it: pip install '{package}', or the extra 'gpu'"
    return Finding(package, False, detail, needed=False)


def _version(package: str) -> str:
    """As it was installed; of torch, whether it is a build for processors alone."""
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return "installed"
    return f"{found}, which reaches no GPU" if found.endswith("+cpu") else found


def _devices() -> Finding:
    """The GPU that a run would take, and how long that takes; else why there is none."""
    from gpubench import catalogue, measuring
    from gpubench.running import campaign

    try:
        device = measuring.find("auto", catalogue.load().accelerator)
        if device is None:
            why = measuring.why_no_gpu()
            return Finding("GPU", False, f"{why}; claims are judged all the same", needed=False)
        steps = campaign.steps(device, "standard")
    except GpubenchError as error:
        return Finding("GPU", False, str(error), needed=False)
    least, most = sum(step.least_s for step in steps), sum(step.most_s for step in steps)
    driver = f"driver {device.card['driver']}, " if "driver" in device.card else ""
    detail = (
        f"{device.name} ({device.accelerator or 'not in the catalogue'}), {driver}"
        f"{device.runtime}, {device.memory_free / 1e9:.0f} GB free; `gpubench run` would measure "
        f"{len(steps)} cases in {least / 60:.0f} to {most / 60:.0f} minutes"
    )
    problems = "".join(f"; {caution.fact}: {caution.remedy}" for caution in device.problems)
    refused = [why for name, why in device.refused.items() if name == "telemetry"]
    return Finding("GPU", True, shown("; ".join([detail + problems, *refused])), needed=False)
