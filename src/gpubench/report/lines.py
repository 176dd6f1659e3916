"""Which evidence a report shows, and what it says beside it, whatever the report is written in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpubench.model import Evidence
from gpubench.stats import spread

MOST_ROWS, MOST_REASONS = 12, 6
"""Evidence, and reasons for its absence, shown for one claim; the JSON document has all of it."""

Told = tuple[Evidence, str]
"""A piece of evidence and its relation to what the claim accepts."""


def chosen(rows: Sequence[Told], most: int = MOST_ROWS) -> list[Told]:
    """About `most`, spread over each kind and relation from its lowest finding to its highest.

    Each relation of a kind is shown, so that the one line in which a claim holds is never left out.
    """
    if len(rows) <= most:
        return list(rows)
    groups: dict[tuple[str, str], list[Told]] = {}
    for item, relation in rows:
        groups.setdefault((item.kind, relation), []).append((item, relation))
    room = max(2, most // len(groups))
    shown = [row for g in groups.values() for row in spread(sorted(g, key=_by_finding), room)]
    order = list(dict.fromkeys(item.kind for item, _ in rows))
    return sorted(shown, key=lambda row: (order.index(row[0].kind), *_by_finding(row)))


def _by_finding(row: Told) -> tuple[bool, float]:
    return (row[0].mid is None, row[0].mid or 0.0)


def numbered(notes: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Each note once, with the numbers of the lines, from 1, that it belongs to."""
    lines: dict[str, list[int]] = {}
    for number, texts in enumerate(notes, 1):
        for text in texts:
            lines.setdefault(text, []).append(number)
    return lines


def unfound(items: Sequence[Evidence]) -> dict[str, int]:
    """Why some conditions gave no evidence: each reason once, with how often it came up."""
    reasons = [item.missing or "no reason given" for item in items]
    return {reason: reasons.count(reason) for reason in reasons}


# --------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a source: text, and the address it is the name of; an address may have no name."""

    text: str
    address: str = ""


_URL = re.compile(r"https?://[^\s<>\"'`|\\]+[^\s<>\"'`|\\.,;:!?)\]]")
# At the beginning, or in brackets as in a ratio: "990 TFLOPS (NVIDIA, https://…) over 708 TFLOPS".
_NAMED = re.compile(
    r"(?:^|(?<=\())(?P<name>(?:[^()<>;]|\([^()<>;]*\)){1,80}), " rf"(?P<address>{_URL.pattern})"
)


def pieces(text: str) -> Iterator[Piece]:
    """A source in parts: "publisher, address" names a link, other addresses stand alone."""
    end = 0
    for named in _NAMED.finditer(text):
        yield from _bare(text[end : named.start()])
        yield Piece(named["name"], named["address"])
        end = named.end()
    yield from _bare(text[end:])


def _bare(text: str) -> Iterator[Piece]:
    end = 0
    for match in _URL.finditer(text):
        if match.start() > end:
            yield Piece(text[end : match.start()])
        yield Piece("", match[0])
        end = match.end()
    if end < len(text):
        yield Piece(text[end:])
