"""The forms a report comes in, by the name that `gpubench report --format` knows them by.

Each is a module of this folder with a function from findings to text; a new one is a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpubench.report.findings import Findings


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader can choose; a form that knows no such choice leaves it.

    `language` is "en" or "zh". `page` is the address at which the report will be found.
    """

    language: str = "en"
    page: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """One form: the ending of its files, what it is for, and the text of some findings."""

    ending: str
    what: str
    render: Callable[[Findings, Options], str]


def _of(module: str) -> Callable[[Findings, Options], str]:
    """The `render` of a module that knows no options, imported when it is called."""

    def render(findings: Findings, _: Options) -> str:
        found: str = importlib.import_module(f"gpubench.report.{module}").render(findings)
        return found

    return render


def _html(findings: Findings, options: Options) -> str:
    from gpubench.report import html

    return html.render(findings, options.language, options.page)


def _claimreview(findings: Findings, options: Options) -> str:
    from gpubench.report import claimreview

    return claimreview.render(findings, options.page)


FORMATS: Mapping[str, Format] = {
    "html": Format(".html", "one page for readers, with charts", _html),
    "md": Format(".md", "all verdicts and evidence in Markdown", _of("markdown")),
    "summary": Format(".md", "the worst first, for a comment or a job's summary", _of("summary")),
    "csv": Format(".csv", "a row a claim, for spreadsheets", _of("csv")),
    "junit": Format(".xml", "a test case a claim, for CI", _of("junit")),
    "annotations": Format(".txt", "GitHub annotations on the claims' lines", _of("annotations")),
    "claimreview": Format(".json", "schema.org ClaimReview as JSON-LD", _claimreview),
}
