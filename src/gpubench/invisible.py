"""Characters that show nothing, or that change how their neighbours are shown.

An escape sequence moves a terminal's cursor, and a mark of direction turns a line of text around:
either can make a report say what nobody wrote. Files are read without them, and names that come
from outside are shown with each one spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Controls except tab and line feed, soft hyphens, blanks of no width, marks of direction,
# separators of lines, byte order marks, halves of surrogate pairs, and tags. Joiners stay, since
# scripts need them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_STAND_IN = "?"


def hidden(text: str) -> Iterator[tuple[int, str]]:
    """Where such characters stand in a text, and each one spelled out: (3, "U+202E")."""
    for match in _HIDDEN.finditer(text):
        yield match.start(), _spelled(match[0])


def replaced(text: str) -> str:
    """The text with a question mark for each such character, so that all places stay."""
    return _HIDDEN.sub(_STAND_IN, text)


def shown(text: str) -> str:
    """The text with each such character spelled out: "a<U+202E>b". Lines stay lines."""
    return _HIDDEN.sub(lambda match: f"<{_spelled(match[0])}>", text)


def _spelled(character: str) -> str:
    return f"U+{ord(character):04X}"
