"""What can still be read of an entry that is not well-formed, so that its other mistakes are found.

A misspelled key is read as the one that it resembles, a single value as a list of one; what else is
wrong is cut out where it stands, and the rest is checked like any other entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpubench import yaml_text
from gpubench.claims import schema
from gpubench.errors import near_matches

_Entry = TypeVar("_Entry", schema.ClaimEntry, schema.OutOfScopeEntry)


def remainder(
    entry: yaml_text.Mapping, model: type[_Entry], details: Sequence[ErrorDetails], label: str
) -> tuple[_Entry, frozenset[str]]:
    """What is well-formed of an entry, under the id `label`, and the keys that could not be read.

    What is cut out is gone from `entry` as well, so that positions in it are those of what is left.
    """
    for detail in details:
        if detail["type"] == _UNKNOWN_KEY:
            holder, fields = _within(entry, detail["loc"][:-1]), schema.owner(model, detail["loc"])
            respell(holder, str(detail["loc"][-1]), fields)
    gaps = {
        str(detail["loc"][0])
        for detail in reversed(details)  # from behind: positions shift when an item is cut out
        if detail["type"] != _UNKNOWN_KEY and not _mended(entry, detail)
    }
    found = _validated(entry, model, gaps)
    empty = {name: value for name, value in _EMPTY.items() if name in gaps}
    return found.model_copy(update={**empty, "id": label}), frozenset(gaps)


_UNKNOWN_KEY = "extra_forbidden"


def respell(holder: yaml_text.Mapping, key: str, model: type[BaseModel]) -> None:
    """Give an unknown key the name that it resembles, or take it out."""
    near = near_matches(key, model.model_fields)
    content, place = holder[key], holder.place(key)
    del holder[key]
    if len(near) == 1 and near[0] not in holder:
        holder.put(near[0], content, place)


def _mended(entry: yaml_text.Mapping, detail: ErrorDetails) -> bool:
    """Cut out what is wrong, or let something stand in for it; False when its whole key is lost."""
    key, *path = (step for step in detail["loc"] if step != "[key]")
    *above, last = path or [key]
    holder = _within(entry, [key, *above] if path else [])
    if holder is None:
        return True
    there = last in holder if isinstance(holder, dict) else int(last) < len(holder)
    if (detail["type"] == "missing") == there:
        return True  # a key that was respelled, or what was cut out with something else
    if key == "articles" and len(path) > 1 and path[1] in _CITATION:
        citation = entry["articles"][path[0]]
        citation.put(path[1], _CITATION[str(path[1])], citation)
    elif key == "articles" and path:
        del entry["articles"][path[0]]
    elif key in ("claimed", "printed") and last == "qualifier":
        holder.put(last, "range" if "low" in holder else "exact", holder)
    elif key == "sweep" and path and detail["type"] == "list_type" and _is_text(holder[last]):
        holder[last] = [holder[last]]
    elif key in ("conditions", "sweep") and path:
        del holder[last]
        if not holder and above:
            del entry[str(key)][above[0]]
    else:
        return False
    return True


_CITATION: dict[str, Any] = {"place": "x", "digest": ["x"]}
"""What stands in for what is wrong in a citation; without its article nothing is left of one."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _within(entry: yaml_text.Mapping, path: Sequence[str | int]) -> Any:
    """What stands at a path, or None when it has been cut out."""
    found: Any = entry
    for step in path:
        try:
            found = found[step]
        except (LookupError, TypeError):
            return None
    return found


def _validated(entry: yaml_text.Mapping, model: type[_Entry], gaps: set[str]) -> _Entry:
    """The entry without the keys in `gaps`, to which is added what cannot be read either."""
    needed = {name for name, kind in model.model_fields.items() if kind.is_required()}
    while True:
        gaps |= needed - entry.keys()
        values = {name: entry[name] for name in model.model_fields if name in entry.keys() - gaps}
        stand_ins = {name: _STAND_INS[name] for name in needed & gaps}
        try:
            return model.model_validate({**stand_ins, **values})
        except ValidationError as error:  # a respelled key may hold what it should not
            gaps |= {str(detail["loc"][0]) for detail in error.errors()}


_STAND_INS: dict[str, Any] = {
    "id": "x",
    "category": "market",
    "statement": "x",
    "reason": "x",
    "articles": [{"article": "x", "place": "x"}],
    "quantity": "x",
    "claimed": {"value": "x", "qualifier": "exact"},
}
"""What the schema accepts where an entry has nothing of use."""

_EMPTY: dict[str, Any] = {"articles": [], "quantity": [], "claimed": None}
"""What the checks are given instead, so that they find nothing wrong with a stand-in."""
