"""The report as one HTML page that needs no network and no scripts.

A pure function of what was judged: `claims.py` prepares each claim, `figures.py` the charts,
`templates/` lays them out, and `strings.yaml` holds the wordings in every language. Statements,
titles and sources come from outside: they are escaped, and the page's own policy forbids every
script but the one that stands in it. Needs the extra `report`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gpubench.errors import CannotReport
from gpubench.report.lines import MOST_ROWS

if TYPE_CHECKING:
    from gpubench.report.findings import Findings
    from gpubench.report.html.page import Page

SIZE = 2_000_000
"""Bytes that a page should not exceed: more is slow to open on a phone."""

_FEWER = (MOST_ROWS, 6, 2, 0)
"""Lines of evidence a claim, tried in turn until the page is small enough."""

REMEDY = "install it with: pip install 'gpubench-claims[report]'"


def render(findings: Findings, language: str = "en", page: str = "") -> str:
    """The whole page, at most `SIZE` bytes unless the claims alone need more.

    Args:
        language: one of `language.LANGUAGES`.
        page: the address it will have, for its ClaimReviews; they name none otherwise.

    Raises:
        CannotReport: jinja2, altair or vl-convert is missing.
        KeyError: no such language.
    """
    check_installed()
    from gpubench.report.html.page import Page

    built = Page.of(findings, language, page)
    text = ""
    for most in _FEWER:
        text = _written(built, most)
        if len(text.encode("utf-8", "replace")) <= SIZE:
            break
    return text


def check_installed() -> None:
    """Raises CannotReport, with the remedy, where a package of the extra is missing."""
    for name, package in (
        ("jinja2", "jinja2"),
        ("altair", "altair"),
        ("vl_convert", "vl-convert-python"),
    ):
        try:
            importlib.import_module(name)
        except ImportError:
            raise CannotReport(f"the HTML report needs the package {package}: {REMEDY}") from None


def _written(built: Page, most: int) -> str:
    style, script = _part("page.css"), _part("page.js")
    told: str = (
        _environment()
        .get_template("page.html")
        .render(
            page=built,
            t=built.language.page,
            lang=built.language,
            claims=built.claims(most),
            style=style,
            script=script,
            script_hash=_hash(script),
        )
    )
    return told


def _part(name: str) -> Any:
    """A file of ours as it stands, trusted."""
    from markupsafe import Markup

    return Markup(files(__package__).joinpath(name).read_text("utf-8").strip())


def _hash(script: str) -> str:
    """What a policy knows an inline script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _environment() -> Any:
    import jinja2

    from gpubench.report.html.language import safe

    return jinja2.Environment(
        loader=jinja2.PackageLoader("gpubench.report.html"),
        autoescape=True,
        finalize=safe,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


__all__: Sequence[str] = ("REMEDY", "SIZE", "check_installed", "render")
