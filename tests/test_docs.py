"""README, docs and commands keep each other true."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from gpubench import __version__, cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
EVERYTHING = README + "".join(PAGES.values())


def commands(group: click.Group, name: str = "gpubench") -> Iterator[tuple[str, click.Command]]:
    """Every command, by the words that call it."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


COMMANDS = dict(commands(cli.main))


def options(command: click.Command) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts}
    return {name for name in found if name.startswith("--")}


def console_lines(text: str) -> list[str]:
    """The commands of a page: what follows a $ in its console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return re.findall(r"^\$ (.+)$", "".join(blocks), re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"`{name}" in README or name in ("gpubench list", "gpubench show")
    page = PAGES["command-line.md"]
    assert name.removeprefix("gpubench ") in page
    missing = {option for option in options(COMMANDS[name]) if f"`{option}" not in page}
    assert missing == set()


def test_every_documented_command_exists() -> None:
    spoken = set(re.findall(r"`gpubench ([a-z]+)(?: (lint|schema|coverage))?", EVERYTHING))
    known = {tuple(name.split()[1:]) for name in COMMANDS} | {("claims",)}
    assert {tuple(word for word in words if word) for words in spoken} <= known


def test_every_documented_option_exists() -> None:
    documented = set(re.findall(r"`(--[a-z-]+)", README + PAGES["command-line.md"]))
    known = {option for command in COMMANDS.values() for option in options(command)}
    assert documented <= known | {"--help", "--version"}


def test_whatever_exits_with_1_is_named_in_the_readme_and_in_the_help() -> None:
    asked = {
        name
        for command in COMMANDS.values()
        for option in command.params
        if "xit with 1" in (getattr(option, "help", "") or "")
        for name in option.opts
    }
    assert asked == {"--fail-on", "--within", "--fail-below"}
    row = next(line for line in README.splitlines() if line.startswith("| 1 |"))
    told = " ".join(CliRunner().invoke(cli.main, ["--help"]).stdout.split())
    told = told.partition("; 1 ")[2].partition("; 2 ")[0]
    assert all(name in row and name in told for name in asked)


@pytest.mark.parametrize(
    "line", [line for line in console_lines(EVERYTHING) if line.startswith("gpubench ")]
)
def test_the_commands_of_the_documentation_run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli.main, shlex.split(line, comments=True)[1:])
    assert result.exit_code == 0, result.output


def ci_lines() -> list[str]:
    """The commands of ours in the jobs of docs/ci.md, without what the shell does with them."""
    lines = []
    for block in re.findall(r"```yaml\n(.*?)```", PAGES["ci.md"], re.DOTALL):
        job = yaml.safe_load(block)
        steps = [step for each in job.get("jobs", {}).values() for step in each["steps"]]
        lines += [step["run"] for step in steps if "run" in step]
        lines += job.get("claims", {}).get("script", [])
        lines += [
            f"{hook['entry']} claims.yaml" for r in job.get("repos", []) for hook in r["hooks"]
        ]
    return [line.partition(" >>")[0] for line in lines if line.startswith("gpubench ")]


@pytest.mark.parametrize("line", ci_lines())
def test_the_jobs_of_the_documentation_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "claims.yaml", tmp_path)
    words = shlex.split(line)[1:]
    if words[0] in ("run", "accept", "compare", "history"):  # what needs a GPU, or records of one
        command = COMMANDS[f"gpubench {words[0]}"]
        assert command.make_context(words[0], words[1:]).params
        return
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == int("refuted" in words), result.output
    written = [words[i + 1] for i, word in enumerate(words) if word == "-o"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in written)


def test_every_kind_of_job_is_tried() -> None:
    assert len(ci_lines()) == 10


def test_the_readme_shows_what_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    line = next(line for line in console_lines(README) if "--only" in line)
    printed = CliRunner().invoke(cli.main, shlex.split(line)[1:]).stdout
    rows = [row for row in printed.splitlines() if row.startswith("| h")]
    assert len(rows) == 2
    shown = [" ".join(row.split()) for row in README.splitlines()]
    for row in rows:
        assert " ".join(row.split()) in shown


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M))
    spoken = set(re.findall(r"(?:^\$ |`)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test", "check", "bench"} <= spoken
    assert spoken <= targets


def test_every_page_is_reached_from_the_index_and_no_link_is_dead() -> None:
    for name in PAGES:
        assert name == "README.md" or f"]({name})" in PAGES["README.md"], name
    for folder, text in [(ROOT, README), *((ROOT / "docs", text) for text in PAGES.values())]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (folder / target).exists(), target


def test_the_changelog_names_this_version() -> None:
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_version_stands_in_one_place_only() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in pyproject
    assert 'path = "src/gpubench/__init__.py"' in pyproject


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "-d", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert {Path(name).stem for name in PAGES} - {"README"} <= built
