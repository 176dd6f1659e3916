"""The page's languages: its own wordings, and the sentences that verdicts are given in.

Verdicts are written in English, by rules. The catalogue in `strings.yaml` states those rules as
patterns with blanks, so that the same sentence can be said in Chinese with the same figures. What
no pattern fits stays English and is marked so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape as escape_xml
from html import unescape
from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup, escape

from gpubench.invisible import shown
from gpubench.model import Claim, OutOfScope

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""The languages to choose from, with the tag that HTML knows them by."""

_BLANK = re.compile(r"\{([a-z_-]+?)(\d*)\}")
_NUMBER = re.compile(r"\{([a-z_]+)\|([^|}]*)\|([^}]*)\}")
"""A word that depends on a count: {judged|claim|claims}."""

_COUNT = r"\d[\d,.]*"
_LOOKS = {
    **dict.fromkeys("njkm", _COUNT),
    "share": r"[\d,.]+ %",
    "number": rf"[+-]?{_COUNT}(?: (?!more\b|less\b)[^ ]+)*?",
    "word": "[^']*",
    "kind": "[a-z-]+",
    "parts": ".+",
}
"""What stands in blanks that need no translation, or only a certain form of it."""

_OR, _AND = " or ", " and "
_GOES_ON = re.compile(r", (and|which|where) ")
_ADDED = re.compile(
    r" (?=That is the dense rate|Nothing is at hand |So say the printed figures|Model errors?: )"
)
# Where the sentences begin that may follow a verdict's own.


@lru_cache(maxsize=1)
def _catalogue() -> Mapping[str, Any]:
    text = files(__package__).joinpath("strings.yaml").read_text("utf-8")
    found: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


@dataclass(frozen=True, slots=True)
class _Pattern:
    """An English wording as an expression with named blanks, and the Chinese one."""

    english: re.Pattern[str]
    blanks: Mapping[str, str]
    other: str

    @classmethod
    def of(cls, english: str, other: str) -> _Pattern:
        blanks: dict[str, str] = {}
        parts, end = [], 0
        for match in _BLANK.finditer(english):
            group = match[1].replace("-", "_") + match[2]
            blanks[group] = match[1]
            parts.append(re.escape(english[end : match.start()]))
            parts.append(f"(?P<{group}>{_LOOKS.get(match[1], '.*?')})")
            end = match.end()
        parts.append(re.escape(english[end:]))
        return cls(re.compile("".join(parts), re.DOTALL), blanks, other)


class Language:
    """One language of the page. Whatever it returns is safe to stand in HTML."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tag = LANGUAGES[name]

    # ----------------------------------------------------------------------- the page's own words

    def page(self, key: str, **values: object) -> Markup:
        """A wording of the page with its blanks filled in. Raises KeyError for no such wording."""
        told = _catalogue()["page"][key][self.name]
        if not values:
            return Markup(escape(told))
        told = _NUMBER.sub(lambda m: m[2] if str(values[m[1]]) == "1" else m[3], told)
        return Markup(escape(told)).format(**{k: safe(v) for k, v in values.items()})

    def word(self, group: str, word: str) -> Markup:
        """A word of a verdict, such as an outcome; itself where the catalogue has no other."""
        entry = _catalogue()[group].get(word)
        if isinstance(entry, dict):
            return safe(entry[self.name])
        return safe(word if self.name == "en" or entry is None else entry)

    def svg(self, text: str) -> str:
        """A text of a drawing, escaped as XML has it, likewise."""
        if self.name == "en":
            return text
        said = unescape(text)
        if at_once := re.fullmatch(r"(\d+) at once", said):
            return f"同时 {at_once[1]} 条"
        found = _catalogue()["chart"].get(said)
        return escape_xml(found) if found else text

    # ----------------------------------------------------------------------- sentences and figures

    def reason(self, text: str) -> Markup:
        """Why a verdict is what it is."""
        return self._marked(text, self._reason(text) if self.name != "en" else None)

    def statement(self, told: Claim | OutOfScope) -> Markup:
        """What was claimed: in this language where the claims file has it so, else in English."""
        translated = told.translations.get(self.name)
        if translated:
            return Markup("<bdi>{}</bdi>").format(safe(translated))
        return Markup('<bdi lang="en">{}</bdi>').format(safe(told.statement))

    def span(self, text: str) -> Markup:
        """A figure or an interval, as `wording` writes them."""
        return self._marked(text, self._span(text) if self.name != "en" else None)

    def error(self, text: str) -> Markup:
        """What is known of the model's error."""
        return self._marked(text, self._error(text) if self.name != "en" else None)

    def note(self, text: str) -> Markup | None:
        """A remark that gpubench itself makes; None where it is somebody's text."""
        if self.name == "en":
            return None
        found = self._fitted("note", text)
        return safe(found) if found is not None else None

    def flag(self, text: str) -> Markup:
        """A remark on a verdict."""
        return self.note(text) or self._marked(text, None)

    def clash(self, text: str) -> Markup:
        """Why two claims contradict each other."""
        return self._marked(text, self._fitted("clash", text) if self.name != "en" else None)

    def limit(self, text: str) -> Markup:
        """What bounds an estimate: "compute", or "compute on A, power on B"."""
        if self.name == "en" or not text:
            return safe(text)
        parts = []
        for part in text.split(", "):
            limit, on, where = part.partition(" on ")
            parts.append(f"{where}：{_word('limits', limit)}" if on else _word("limits", limit))
        return safe("，".join(parts))

    def conditions(self, chosen: Iterable[tuple[str, str]]) -> Markup:
        """Names and values of conditions, as "precision fp8, network 400 GB/s"."""
        joint = ", " if self.name == "en" else "，"
        return safe(
            joint.join(f"{self._name(name)} {self._values(value)}" for name, value in chosen)
        )

    def quantity(self, name: str) -> Markup:
        """A quantity's name in words."""
        return safe(self._name(name.replace("_", " ")))

    def _name(self, name: str) -> str:
        return name if self.name == "en" else _word("names", name)

    def _values(self, text: str) -> str:
        if self.name == "en":
            return text
        known = [self._value(part) for part in text.split(", ")]
        return "、".join(known)

    def _value(self, text: str) -> str:
        said = _word("values", text)
        return said if said != text else _word("names", text.replace("_", " "), text)

    def _marked(self, text: str, found: str | None) -> Markup:
        """A translation, or the English text marked as such."""
        if self.name == "en":
            return safe(text)
        if found is None:
            return Markup('<span lang="en">{}</span>').format(safe(text))
        return safe(found)

    # ----------------------------------------------------------------------- how sentences are made

    def _reason(self, text: str) -> str | None:
        body, *added = _ADDED.split(text)
        more = [self._fitted("more", sentence.removesuffix(".")) for sentence in added]
        first, stop, rest = body.partition(" conditions. ")
        tally = self._fitted("tally", first + " conditions") if stop else ""
        main = (rest if stop else body).removesuffix(".")
        achieved: str | None = ""
        if main.endswith(" have been sustained"):
            main, _, sustained = main.rpartition("; ")
            achieved = self._fitted("achieved", sustained)
        found = self._fitted("reason", main)
        if None in (found, tally, achieved, *more):
            return None
        said = f"{tally}。{found}" if tally else str(found)
        said += f"；{achieved}。" if achieved else "。"
        return said + "".join(f"{sentence}。" for sentence in more)

    def _span(self, text: str) -> str:
        if _OR in text and not text.endswith((" or later", " or earlier")):
            return " 或 ".join(self._span(part) for part in text.split(_OR))
        found = self._fitted("span", text)
        if found is not None:
            return found
        return _with_unit(text)

    def _error(self, text: str) -> str | None:
        parts = [self._fitted("error", part) for part in text.split("; ")]
        return None if None in parts else "；".join(part for part in parts if part)

    def _place(self, text: str) -> str | None:
        parts = [self._fitted("clause", part) for part in text.split(_AND)]
        return None if None in parts else " 且 ".join(part for part in parts if part)

    def _fitted(self, group: str, text: str) -> str | None:
        """The text by the first pattern of a group that fits, its blanks translated in turn."""
        for pattern in self._patterns[group]:
            match = pattern.english.fullmatch(text)
            if not match:
                continue
            blanks = {name: self._blank(kind, match[name]) for name, kind in pattern.blanks.items()}
            if None not in blanks.values():
                return pattern.other.format(**blanks)
        return None

    def _blank(self, kind: str, text: str) -> str | None:
        """What stands in a blank of that kind; None if it should be translated and cannot be."""
        if kind == "span":  # a longer sentence is another pattern's
            return None if _GOES_ON.search(text) else self._span(text)
        if kind == "number":
            return _with_unit(text)
        if kind == "name":
            return self._name(text) if text in _catalogue()["names"] else text
        if kind == "values":
            return " 或 ".join(self._values(part) for part in text.split(_OR))
        if kind == "kind":
            return _word("kinds", text)
        if kind == "limits":
            return "、".join(_word("limits", part) for part in text.split(", "))
        if kind == "error":
            return self._error(text)
        if kind == "errors":
            told = [
                self._fitted("of", f"of {part}") for part in text.removeprefix("of ").split("; of ")
            ]
            return None if None in told else "；".join(part for part in told if part)
        if kind == "place":
            return self._place(text)
        if kind in ("where", "batch"):
            return self._fitted(kind, text)
        return text.replace(_AND, " 与 ") if kind == "parts" else text

    @cached_property
    def _patterns(self) -> Mapping[str, tuple[_Pattern, ...]]:
        return {
            group: tuple(_Pattern.of(english, other) for english, other in pairs)
            for group, pairs in _catalogue()["sentences"].items()
        }


@lru_cache(maxsize=len(LANGUAGES))
def language(name: str) -> Language:
    """The language of that name. Raises KeyError for one that the page does not speak."""
    return Language(name)


def safe(value: object) -> Markup:
    """Text from anywhere for a page: what cannot be seen is spelled out, markup stays text."""
    return value if isinstance(value, Markup) else escape(shown(str(value)))


def linked(text: str, address: str) -> Markup:
    """Text as a link; the text alone where the address is not one of the web."""
    if not address.startswith(("https://", "http://")):
        return safe(text)
    link = Markup('<a href="{}" rel="noreferrer nofollow">{}</a>')
    return link.format(shown(address), safe(text))


def _word(group: str, word: str, otherwise: str | None = None) -> str:
    return str(_catalogue()[group].get(word, word if otherwise is None else otherwise))


def _with_unit(text: str) -> str:
    """A number, or a range of them, with its unit in Chinese, where the unit is a word."""
    if " to " in text:
        return " 至 ".join(_with_unit(part) for part in text.split(" to "))
    match = re.fullmatch(r"([+-]?\d[\d,.]*(?:[./-]\d+)*)( ?)(\D.*)", text)
    if not match:
        return text
    unit = _word("units", match[3])
    return text if unit == match[3] else f"{match[1]} {unit}"
