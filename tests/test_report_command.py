"""`gpubench report`: which records count, which forms there are, what happens without the extra."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpubench import cli, records
from gpubench.errors import CannotReport
from gpubench.report import html
from gpubench.report.formats import FORMATS
from tests import reported

ROOT = Path(__file__).parents[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


ONLY = ("--only", "h200-memory-bandwidth", "--claims", str(ROOT / "claims.yaml"))


def test_report_without_a_record_checks_afresh(here: CliRunner, tmp_path: Path) -> None:
    result = here.invoke(cli.main, ["report", *ONLY])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "gpubench-report.html").read_text("utf-8")
    assert "supported <small>(published)</small>" in page
    assert "Nothing was measured" in page


def test_report_takes_ids_files_and_folders_and_the_newest_decides(
    here: CliRunner, tmp_path: Path
) -> None:
    paths = [records.write(reported.record(f"{n:08x}"), tmp_path / "results") for n in (1, 2, 3)]
    for names in (["00000001"], [str(paths[0])]):
        text = here.invoke(cli.main, ["report", *names, *ONLY, "--format", "md"]).stdout
        assert "record 00000001" in text
    text = here.invoke(cli.main, ["report", "results", *ONLY, "-o", "-", "--lang", "zh"]).stdout
    assert "record 00000003" in text
    assert "共读取 3 份记录" in text
    newest = here.invoke(cli.main, ["report", *ONLY, "--format", "md", "-o", "-"]).stdout
    assert "record 00000003" in newest


def test_records_that_are_named_count_as_those_of_a_results_folder_do(
    here: CliRunner, tmp_path: Path
) -> None:
    """The newer one holds products alone: of bandwidth the older one still has the newest word."""
    older, newer = reported.record("00000001"), reported.record("00000002")
    products = tuple(m for m in newer.measurements if m.case.benchmark == "gemm")
    for made in (older, replace(newer, measurements=products)):
        records.write(made, tmp_path / "results")
    form = (*ONLY, "--format", "md", "-o", "-")
    named = here.invoke(cli.main, ["report", "results", *form]).stdout
    kept = here.invoke(cli.main, ["report", *form]).stdout
    for text in (named, kept):
        assert "supported (measured)" in text
        assert "record 00000001" in text


def test_a_wrong_format_or_record_is_a_sentence(here: CliRunner) -> None:
    wrong = here.invoke(cli.main, ["report", "--format", "docx"])
    assert wrong.exit_code == 2
    assert all(name in wrong.output for name in FORMATS)
    missing = here.invoke(cli.main, ["report", "nowhere"])
    assert missing.exit_code == 2
    assert "see `gpubench list records`" in missing.output


def test_a_language_that_a_form_does_not_speak_is_refused(here: CliRunner) -> None:
    result = here.invoke(cli.main, ["report", "--format", "summary", "--lang", "zh"])
    assert result.exit_code == 2
    assert "only the page speaks another language" in result.output


def test_an_outcome_may_fail_a_job_that_still_gets_its_report(
    here: CliRunner, tmp_path: Path
) -> None:
    words = ["report", *ONLY, "--format", "junit", "-o", "out.xml", "--fail-on"]
    assert here.invoke(cli.main, [*words, "refuted"]).exit_code == 0
    failed = here.invoke(cli.main, [*words, "supported"])
    assert failed.exit_code == 1
    assert "h200-memory-bandwidth" in failed.output
    assert (tmp_path / "out.xml").is_file()


@pytest.mark.parametrize("package", ["jinja2", "altair", "vl_convert"])
def test_without_the_extra_the_remedy_is_told_and_run_goes_on(
    here: CliRunner, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = importlib.import_module

    def without(name: str, *more: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return whole(name, *more)

    monkeypatch.setattr(html.importlib, "import_module", without)
    with pytest.raises(CannotReport, match="gpubench-claims\\[report\\]"):
        html.check_installed()
    done = here.invoke(cli.main, ["run", "--device", "none", *ONLY])
    assert done.exit_code == 0, done.output
    assert "No page was written: the HTML report needs" in done.stderr
    assert list(tmp_path.glob("results/*/*.md"))
    assert not list(tmp_path.glob("results/*/*.html"))
