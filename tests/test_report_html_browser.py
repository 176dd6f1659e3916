"""The page in a real browser: light, dark, on a phone and with scripts off.

Screenshots are kept in build/screenshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import browser, reported
from tests.test_report_html import HOSTILE, hostile

__all__ = ["hostile"]  # a fixture that both files use

ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "build" / "screenshots"

MODES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
    "no-scripts": {"java_script_enabled": False},
}
INK = "getComputedStyle(document.body).getPropertyValue('color')"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(reported.page("en"), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", MODES)
def test_the_page_reads_the_same_in_every_mode(chromium: Any, page: Path, mode: str) -> None:
    with browser.opened(chromium, page, **MODES[mode]) as opened:
        shot(opened, mode)
        perceived = opened.perceived()
        assert opened.problems == []
        assert opened.requests == [page.as_uri()]
    findings = reported.findings()
    headings = [name for role, name in perceived if role == "heading"]
    assert "GPU performance claims, checked" in headings
    assert [name for name in headings if name.startswith("Article ")] == [
        f"Article {number}: {findings.articles[name].title}"
        for number, name in enumerate(findings.cited, 1)
    ]
    drawings = " ".join(name for role, name in perceived if role in ("image", "img"))
    assert "claimed 4.8 TB/s; accepted 4.75 to 4.85 TB/s; found 4.48 to 4.92 TB/s" in drawings
    assert "Roofline: NVIDIA H200 SXM 141GB with 4.8 TB/s and NVIDIA H100" in drawings
    assert "Heat map of the estimated uplift" in drawings
    assert "Scatter of 2,285 published results" in drawings
    toggles = [name for role, name in perceived if role == "DisclosureTriangle"]
    told = [name for name in toggles if name.startswith("supported (measured)")]
    assert any("Memory bandwidth of the H200 reaches 4.8 TB/s." in name for name in told)


def shot(opened: browser.Opened, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=SHOTS / f"{name}.png")
    opened.page.locator("#roofline").screenshot(path=SHOTS / f"{name}-roofline.png")


def test_dark_ink_is_light_and_light_ink_is_dark(chromium: Any, page: Path) -> None:
    inks = []
    for mode in ("light", "dark"):
        with browser.opened(chromium, page, **MODES[mode]) as opened:
            inks.append([int(n) for n in opened.page.evaluate(INK)[4:-1].split(",")])
    assert max(inks[0]) < 64
    assert min(inks[1]) > 192


def test_nothing_sticks_out_on_a_phone(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page, **MODES["phone"]) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert opened.page.evaluate(OVERFLOW) == 0


def test_other_accelerators_can_be_chosen(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page) as opened:
        roofline = opened.page.locator("#roofline")
        roofline.get_by_label("First accelerator").select_option("nvidia-h20-96gb")
        assert roofline.locator("tbody tr:visible th").all_text_contents() == [
            "NVIDIA H100 SXM5 80GB",
            "NVIDIA H20 96GB",
        ]
        visible = roofline.locator("svg g[data-part]:visible")
        parts = {visible.nth(n).get_attribute("data-part") for n in range(visible.count())}
        assert parts == {"nvidia-h20-96gb", "nvidia-h100-sxm5"}
        label = roofline.locator("svg").get_attribute("aria-label")
        assert label == "NVIDIA H20 96GB: 4 TB/s; NVIDIA H100 SXM5 80GB: 3.35 TB/s"


def test_claims_can_be_filtered_by_outcome(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page) as opened:
        every = opened.page.locator(".claim:visible").count()
        refuted = opened.page.locator('.claim[data-outcome="refuted"]').count()
        opened.page.get_by_label("refuted", exact=True).uncheck()
        assert opened.page.locator(".claim:visible").count() == every - refuted


def test_an_address_opens_its_claim(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page) as opened:
        claim = opened.page.locator("#h200-memory-bandwidth")
        assert claim.get_attribute("open") is None
        opened.page.locator('#short a[href="#h200-memory-bandwidth"]').click()
        claim.locator("table").wait_for(state="visible", timeout=5000)


def test_without_scripts_every_claim_can_be_opened(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page, **MODES["no-scripts"]) as opened:
        claim = opened.page.locator("#h200-memory-bandwidth")
        claim.locator("summary").click()
        assert claim.locator("table").is_visible()
        assert not opened.page.locator(".scripted").first.is_visible()


def test_print_shows_what_is_closed_on_screen(chromium: Any, page: Path) -> None:
    with browser.opened(chromium, page) as opened:
        opened.page.emulate_media(media="print")
        opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert opened.page.locator("#h200-memory-bandwidth table").is_visible()
        opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert opened.page.locator("#h200-memory-bandwidth").get_attribute("open") is None


def test_hostile_text_stays_text(chromium: Any, hostile: str, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(hostile, encoding="utf-8")
    with browser.opened(chromium, file, **MODES["phone"]) as opened:
        opened.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        shown = opened.page.locator(".statement").first.text_content()
        assert opened.problems == []
        assert opened.requests == [file.as_uri()]
        assert opened.page.locator("img, iframe, object").count() == 0
        assert opened.page.evaluate(OVERFLOW) == 0
        SHOTS.mkdir(parents=True, exist_ok=True)
        opened.page.screenshot(path=SHOTS / "hostile.png")
    assert shown is not None
    assert HOSTILE.split("\u202e")[0] in shown
    assert "<U+202E><U+2066>reversed" in shown
