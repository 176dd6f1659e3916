"""Charts inside a page: SVG that takes its ink from the page, with names of its own.

What Vega draws for a file has a white ground and black ink, and every drawing counts its clips from
0. In a page that is light or dark the ground is the page's, ink is `currentColor` or one of its
variables `--soft` and `--line`, and the names of several drawings must not meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gpubench.report.charts import image

_GROUND = re.compile(r'<rect width="\d+" height="\d+" fill="white"/>')
# The drawing is described as a whole, by the page; what its parts say would be read out beside it.
_SAID = re.compile(r' (?:aria-[a-z]+|role|class|pointer-events|xmlns:xlink)="[^"]*"')
_INK = re.compile(r'(fill|stroke)="(#000|black|#888|#ddd|#777)"')
_VARIABLES = {"#888": "var(--soft)", "#777": "var(--soft)", "#ddd": "var(--line)"}
_NAME = re.compile(r'(\bid="|url\(#|href="#)')
_EMPTY = re.compile(
    r'<path d="" display="none"/>|<path d="[^"]*" stroke="#ddd" stroke-opacity="0"/>'
)
_TEXT = re.compile(r"(<text[^>]*>)([^<]+)(</text>)")


def inline(chart: Any, name: str, translate: Callable[[str], str] = str) -> str:
    """The chart as an SVG element for a page; `name` is not shared by any other of its drawings.

    `translate` is given each text of the drawing, escaped as in XML, and returns what to write.

    Raises:
        CannotReport: vl-convert is missing.
    """
    return themed(image(chart, ".svg").decode(), name, translate)


def themed(svg: str, name: str, translate: Callable[[str], str] = str) -> str:
    """Vega's SVG with the page's ink, without descriptions, its names beginning with `name`."""
    found = _SAID.sub("", _GROUND.sub("", svg, count=1))
    found = _EMPTY.sub("", found)
    found = _INK.sub(lambda m: f'{m[1]}="{_VARIABLES.get(m[2], "currentColor")}"', found)
    found = _NAME.sub(rf"\1{name}-", found)
    found = _TEXT.sub(lambda match: match[1] + translate(match[2]) + match[3], found)
    return found.replace("<svg ", '<svg aria-hidden="true" ', 1)
