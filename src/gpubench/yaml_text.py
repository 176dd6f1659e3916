"""YAML as plain values that remember their line and column.

Every scalar stays the text that was typed: `2023-10` is no date, `4.8e12` no surprise, `no` no
boolean. Anchors, tags, duplicate keys and deep nesting are refused, so a small file cannot
grow into a large one. So are characters that cannot be seen: what is read is what is shown.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from gpubench.invisible import hidden, replaced

_MAX_DEPTH = 12
# More invisible characters than this are not named one by one: the file is no text.
_MOST_HIDDEN = 10
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text(str):
    """A scalar or key, with the line and column (both from 1) where it stands."""

    __slots__ = ("column", "line")
    line: int
    column: int


class Mapping(dict[str, Any]):
    """A mapping that knows where it begins; its keys are Texts that know where they stand."""

    __slots__ = ("_places", "column", "line")
    line: int
    column: int
    _places: dict[str, Text]

    def place(self, key: str) -> Any:
        """The key as it stands in the file. Only errors ask, so the index is made when one does."""
        try:
            return self._places[key]
        except AttributeError:
            self._places = {key: key for key in self}  # type: ignore[misc]
        return self._places[key]

    def put(self, key: str, value: Any, place: Any) -> None:
        """Set what stands under `key`, as if the key stood where `place` does."""
        self[_at(place.line, place.column, key)] = value
        if hasattr(self, "_places"):
            del self._places


class Sequence(list[Any]):
    """A list that knows where it begins."""

    __slots__ = ("column", "line")
    line: int
    column: int


class Problems:
    """Everything wrong with one file, each with its place, sorted by place at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: list[tuple[int, int, str, str]] = []

        self._entries: list[tuple[tuple[int, int], str]] = []

    def add(self, place: Any, message: str, entry: str = "") -> None:
        """Note a problem at a Text, Mapping or Sequence; `entry` is the id it belongs to."""
        line, column = getattr(place, "line", 1), getattr(place, "column", 1)
        self._found.append((line, column, entry, message))

    def begin(self, entries: Iterable[tuple[Any, str]]) -> None:
        """Say where each entry begins: what was noted without an id belongs to the last one."""
        self._entries += [((place.line, place.column), name) for place, name in entries]

    def __len__(self) -> int:
        return len(self._found)

    def messages(self) -> list[str]:
        """What is wrong, without the places, in the order in which it was found."""
        return list(dict.fromkeys(message for *_, message in self._found))

    def lines(self) -> list[str]:
        """One `file:line:column: …` for each problem, in file order."""
        self._entries.sort()
        told = (
            (
                line,
                column,
                f"{name}: {text}" if (name := entry or self._around(line, column)) else text,
            )
            for line, column, entry, text in self._found
        )
        return [f"{self.name}:{line}:{column}: {text}" for line, column, text in sorted(set(told))]

    def _around(self, line: int, column: int) -> str:
        """The entry that a place lies in, or nothing."""
        before = bisect_right(self._entries, (line, column), key=lambda entry: entry[0])
        return self._entries[before - 1][1] if before else ""


def parse(data: bytes, problems: Problems) -> Any:
    """The content of a YAML file as Mappings, Sequences and Texts.

    What is wrong is noted in `problems`; then the content serves only to look for more that is
    wrong. It is None when the file is empty or cannot be read to its end.
    """
    tree: Any = None
    try:
        text = data.decode("utf-8-sig")
        if _note_hidden(text, problems):
            # Line ends stay as they are; all else that cannot be seen would end the reading.
            text = _BETWEEN_LINES.sub(lambda match: replaced(match[0]), text)
        events = yaml.parse(text, Loader=_LOADER)
        tree = _document(events, problems)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        problems.add(_place(before), "this is no UTF-8 text: save the file as UTF-8 YAML")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = _at(mark.line + 1, mark.column + 1) if mark else _at(1, 1)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = "".join(text.split("\n")[place.line - 1 : place.line])
        if line[place.column - 1 :].startswith("\t"):
            what = "a tab stands here: indent with spaces"
        problems.add(place, f"not valid YAML: {what}")
    except _Refused:
        pass  # already noted; nothing behind it is worth reading
    return tree


_BETWEEN_LINES = re.compile(r"[^\r\n]+")


def _note_hidden(text: str, problems: Problems) -> bool:
    found = [item for item in hidden(text) if item[1] != _CARRIAGE_RETURN]
    for position, name in found[:_MOST_HIDDEN]:
        problems.add(_place(text[:position]), f"the invisible character {name}: remove it")
    if len(found) > _MOST_HIDDEN:
        rest = len(found) - _MOST_HIDDEN
        place = _place(text[: found[_MOST_HIDDEN][0]])
        problems.add(place, f"{rest} more invisible characters: is this a text file?")
    return bool(found)


_CARRIAGE_RETURN = "U+000D"


def _place(before: str) -> Text:
    """The place that follows some text."""
    lines = re.split(r"\r\n|\r|\n", before)
    return _at(len(lines), len(lines[-1]) + 1)


def locate(tree: Any, path: tuple[str | int, ...]) -> Any:
    """The place of `path` in `tree`: its key where there is one, or the nearest thing above."""
    place = tree
    for step in path:
        if isinstance(tree, Mapping) and step in tree:
            place = tree.place(str(step))
            tree = tree[str(step)]
        elif isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
            place = tree
        else:
            break
    return place


class _Refused(Exception):
    """The file uses something after which reading on makes no sense."""


def _document(events: Iterator[Any], problems: Problems) -> Any:
    for event in events:
        if isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
            continue
        if isinstance(event, yaml.StreamEndEvent):
            return None
        tree = _node(event, events, problems, 0)
        next(events)  # the document's end
        following = next(events)
        if isinstance(following, yaml.DocumentStartEvent):
            place = _placed(Text(), following)
            problems.add(place, "a second YAML document: keep one a file")
            problems.begin([(place, "")])
        return tree
    return None


def _node(event: Any, events: Iterator[Any], problems: Problems, depth: int) -> Any:
    if isinstance(event, yaml.AliasEvent):
        problems.add(
            _placed(Text(), event),
            f"'*{event.anchor}' is a YAML alias: write the value out instead",
        )
        raise _Refused
    if event.anchor is not None:
        problems.add(
            _placed(Text(), event),
            f"'&{event.anchor}' is a YAML anchor: write the value out instead",
        )
        raise _Refused
    if event.tag is not None:
        problems.add(_placed(Text(), event), f"'{event.tag}' is a YAML tag: write plain values")
    if depth > _MAX_DEPTH:
        problems.add(_placed(Text(), event), f"nested deeper than {_MAX_DEPTH} levels")
        raise _Refused
    if isinstance(event, yaml.ScalarEvent):
        text = _placed(Text(event.value), event)
        if event.style == '"':  # the one style that can spell such characters out
            for _, name in itertools.islice(hidden(event.value), 1):
                problems.add(text, f"the invisible character {name} is spelled out: leave it away")
        return text
    if isinstance(event, yaml.SequenceStartEvent):
        return _sequence(event, events, problems, depth)
    return _mapping(event, events, problems, depth)


def _sequence(start: Any, events: Iterator[Any], problems: Problems, depth: int) -> Sequence:
    items = _placed(Sequence(), start)
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            break
        items.append(_node(event, events, problems, depth + 1))
    return items  # type: ignore[no-any-return]


def _mapping(start: Any, events: Iterator[Any], problems: Problems, depth: int) -> Mapping:
    content = _placed(Mapping(), start)
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        key = _node(event, events, problems, depth + 1)
        value = _node(next(events), events, problems, depth + 1)
        if not isinstance(key, Text):
            problems.add(key, "a key must be a plain word")
        elif key in content:
            if not depth:  # a section of its own, no part of the entry before it
                problems.begin([(key, "")])
            problems.add(key, f"key '{key}' stands here a second time: keep one of them")
        else:
            content[key] = value
    return content  # type: ignore[no-any-return]


def _at(line: int, column: int, text: str = "") -> Text:
    place = Text(text)
    place.line, place.column = line, column
    return place


def _placed(thing: Any, event: Any) -> Any:
    mark = event.start_mark
    thing.line, thing.column = mark.line + 1, mark.column + 1
    return thing
