"""Charts, drawn with Altair: one file a family, and here what they share.

A chart is a Vega-Lite document. `image` turns it into SVG or PNG without a browser. Altair and
vl-convert come with the extra `report` and are imported when a chart is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from gpubench.errors import CannotReport

FORMATS = (".svg", ".png")

_PNG_SCALE = 2.0
_REMEDY = "install it with: pip install 'gpubench-claims[report]'"

# Told apart by people who do not see all colours (Okabe and Ito, jfly.uni-koeln.de/color, 2008),
# and by shape beside colour; yellow is left out, since it vanishes on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "wedge", "arrow")


def altair() -> ModuleType:
    """The drawing library. Raises CannotReport, with the remedy, where it is missing."""
    try:
        return importlib.import_module("altair")
    except ImportError:
        raise CannotReport(f"charts need the package altair: {_REMEDY}") from None


def styled(chart: Any) -> Any:
    """The chart with the fonts, sizes and quiet axes that all of ours have."""
    return (
        chart.configure(font="system-ui, sans-serif", background="white")
        .configure_view(strokeOpacity=0)
        .configure_axis(gridOpacity=0.35, domainOpacity=0.5, labelFontSize=11, titleFontSize=12)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=12, offset=12)
        .configure_legend(labelFontSize=11, titleFontSize=12, labelLimit=320)
        .configure_header(labelFontSize=12, titleFontSize=12)
    )


def image(chart: Any, kind: str) -> bytes:
    """The chart as a file's content; `kind` is one of `FORMATS`.

    Raises:
        CannotReport: no such format, or vl-convert is missing.
    """
    if kind not in FORMATS:
        raise CannotReport(
            f"'{kind or 'no ending'}' is no format of charts: let the name end in "
            f"{' or '.join(FORMATS)}"
        )
    try:
        converter = importlib.import_module("vl_convert")
    except ImportError:
        raise CannotReport(f"charts need the package vl-convert-python: {_REMEDY}") from None
    document = chart.to_json()
    if kind == ".svg":
        text: str = converter.vegalite_to_svg(document)
        return text.encode()
    drawn: bytes = converter.vegalite_to_png(document, scale=_PNG_SCALE)
    return drawn


def write(chart: Any, path: Path) -> None:
    """Draw into a file; its ending decides on the format. Raises as `image`, and OSError."""
    from gpubench import records

    records.write_bytes(path, image(chart, path.suffix.lower()), "write to another file")
