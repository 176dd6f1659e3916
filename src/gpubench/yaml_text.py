"""YAML as plain values that remember their line and column.

Every scalar stays the text that was typed: `2023-10` is no date, `4.8e12` no surprise, `no` no
boolean. Anchors, tags, duplicate keys and deep nesting are refused, so a small file cannot
grow into a large one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

_MAX_DEPTH = 12
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text(str):
    """A scalar or key, with the line and column (both from 1) where it stands."""

    __slots__ = ("column", "line")
    line: int
    column: int


class Mapping(dict[str, Any]):
    """A mapping that knows where it begins; its keys are Texts that know where they stand."""

    __slots__ = ("column", "line")
    line: int
    column: int


class Sequence(list[Any]):
    """A list that knows where it begins."""

    __slots__ = ("column", "line")
    line: int
    column: int


class Problems:
    """Everything wrong with one file, each with its place, sorted by place at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: list[tuple[int, int, str]] = []

    def add(self, place: Any, message: str, entry: str = "") -> None:
        """Note a problem at a Text, Mapping or Sequence; `entry` is the id it belongs to."""
        line, column = getattr(place, "line", 1), getattr(place, "column", 1)
        self._found.append((line, column, f"{entry}: {message}" if entry else message))

    def __len__(self) -> int:
        return len(self._found)

    def lines(self) -> list[str]:
        """One `file:line:column: …` for each problem, in file order."""
        return [
            f"{self.name}:{line}:{column}: {text}" for line, column, text in sorted(self._found)
        ]


def parse(data: bytes, problems: Problems) -> Any:
    """The content of a YAML file as Mappings, Sequences and Texts; None when it is empty.

    What is wrong is noted in `problems`; then the content returned is not to be used.
    """
    tree: Any = None
    try:
        events = yaml.parse(data.decode("utf-8-sig"), Loader=_LOADER)
        tree = _document(events, problems)
    except UnicodeDecodeError as error:
        place = _at(data.count(b"\n", 0, error.start) + 1, 1)
        problems.add(place, "this is no UTF-8 text: save the file as UTF-8 YAML")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = _at(mark.line + 1, mark.column + 1) if mark else _at(1, 1)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.add(place, f"not valid YAML: {what}")
    except _Refused:
        pass  # already noted; nothing behind it is worth reading
    return tree


def locate(tree: Any, path: tuple[str | int, ...]) -> Any:
    """The place of `path` in `tree`: its key where there is one, or the nearest thing above."""
    place = tree
    for step in path:
        if isinstance(tree, Mapping) and step in tree:
            place = next(key for key in tree if key == step)
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
            problems.add(_placed(Text(), following), "a second YAML document: keep one a file")
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
        return _placed(Text(event.value), event)
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
            problems.add(key, f"key '{key}' stands here a second time: keep one of them")
        else:
            content[key] = value
    return content  # type: ignore[no-any-return]


def _at(line: int, column: int) -> Text:
    place = Text()
    place.line, place.column = line, column
    return place


def _placed(thing: Any, event: Any) -> Any:
    mark = event.start_mark
    thing.line, thing.column = mark.line + 1, mark.column + 1
    return thing
