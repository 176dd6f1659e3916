"""Match the tree of a claims file against the schema, and say what is off in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpubench import yaml_text
from gpubench.claims import schema
from gpubench.claims.remainder import remainder, respell
from gpubench.errors import near_matches, offer

_Entry = TypeVar("_Entry", schema.ClaimEntry, schema.OutOfScopeEntry)

# More errors than this in one entry are one error, made often.
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Shaped(Generic[_Entry]):
    """An entry with its position in its section.

    `gaps` names the keys of which nothing could be read: the entry holds nothing under them.
    """

    index: int
    entry: _Entry
    gaps: frozenset[str] = frozenset()


def entries(
    tree: Any, problems: yaml_text.Problems
) -> tuple[list[Shaped[schema.ClaimEntry]], list[Shaped[schema.OutOfScopeEntry]]]:
    """The entries of a file; whatever is not well-formed becomes a problem and leaves the tree."""
    if not isinstance(tree, yaml_text.Mapping):
        problems.add(tree, "the file must begin with 'claims:' and a list of claims")
        return [], []
    problems.begin((key, "") for key in tree)
    for key in [key for key in tree if key not in schema.ClaimsDocument.model_fields]:
        problems.add(key, _unknown_key(key, schema.ClaimsDocument))
        respell(tree, key, schema.ClaimsDocument)
    if "claims" not in tree:
        problems.add(tree, "key 'claims' is missing: give a list of claims")
    seen: dict[str, int] = {}
    return (
        _section(tree, "claims", schema.ClaimEntry, seen, problems),
        _section(tree, "out_of_scope", schema.OutOfScopeEntry, seen, problems),
    )


def articles(tree: Any, problems: yaml_text.Problems) -> dict[str, schema.ArticleEntry | None]:
    """The articles that a file declares, by id; None for one that is not well-formed."""
    found: dict[str, schema.ArticleEntry | None] = {}
    content = tree.get("articles", {}) if isinstance(tree, yaml_text.Mapping) else {}
    if not isinstance(content, dict):
        told = "'articles' must be a mapping of ids to articles"
        problems.add(yaml_text.locate(tree, ("articles",)), told)
        return found
    for name, entry in content.items():
        problems.begin([(name, _short(name))])
        try:
            found[name] = schema.ArticleEntry.model_validate(entry)
        except ValidationError as error:
            found[name] = None
            _note(error, entry, schema.ArticleEntry, _short(name), problems)
        if not _ID.fullmatch(name):
            told = f"'{_short(name)}' as id: write lower-case letters and digits, '.', '_' and '-'"
            problems.add(name, told, _short(name))
    return found


_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,119}")


def _section(
    tree: yaml_text.Mapping,
    section: str,
    model: type[_Entry],
    seen: dict[str, int],
    problems: yaml_text.Problems,
) -> list[Shaped[_Entry]]:
    found: list[Shaped[_Entry]] = []
    content = tree.get(section, yaml_text.Sequence())
    if not isinstance(content, yaml_text.Sequence):
        problems.add(yaml_text.locate(tree, (section,)), f"'{section}' must be a list of entries")
        return found
    for index, entry in enumerate(content):
        name = entry.get("id") if isinstance(entry, yaml_text.Mapping) else None
        label = _short(name) if isinstance(name, str) else f"entry {index + 1} of {section}"
        if isinstance(entry, yaml_text.Mapping):
            problems.begin([(entry, label)])
        if isinstance(name, yaml_text.Text):
            if name in seen:
                problems.add(name, f"the id stands in line {seen[name]} already", label)
            seen.setdefault(str(name), name.line)
        try:
            found.append(Shaped(index, model.model_validate(entry)))
        except ValidationError as error:
            details = _note(error, entry, model, label, problems)
            if isinstance(entry, yaml_text.Mapping):
                found.append(Shaped(index, *remainder(entry, model, details, label)))
    return found


def _note(
    error: ValidationError,
    entry: Any,
    model: type[BaseModel],
    label: str,
    problems: yaml_text.Problems,
) -> list[ErrorDetails]:
    """Note what the schema finds wrong with an entry; a mistake made often is said briefly."""
    details = error.errors(include_url=False, include_context=True)
    meant = {_meant(detail, model) for detail in details if detail["type"] == "extra_forbidden"}
    # A key that is misspelled is not missing, too.
    told = [d for d in details if d["type"] != "missing" or tuple(d["loc"]) not in meant]
    for detail in told[:MOST_PROBLEMS]:
        place = yaml_text.locate(entry, tuple(detail["loc"]))
        problems.add(place, _sentence(detail, model), label)
    if len(told) > MOST_PROBLEMS:
        problems.add(entry, f"and {len(told) - MOST_PROBLEMS} more like these", label)
    return details


def _meant(detail: ErrorDetails, model: type[BaseModel]) -> tuple[int | str, ...]:
    """Where the key would stand that an unknown one resembles; () where none or several do."""
    *above, key = detail["loc"]
    path = [step for step in detail["loc"] if not isinstance(step, int)]
    near = near_matches(str(key), schema.owner(model, path).model_fields)
    return (*above, near[0]) if len(near) == 1 else ()


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong and what to write instead, for one error of the schema."""
    path = [step for step in detail["loc"] if not isinstance(step, int)]
    key = str(path[-1]) if path else "entry"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(key, schema.owner(model, path))
    if kind == "missing":
        return f"key '{key}' is missing"
    if kind == "literal_error":
        if not isinstance(detail["input"], str):
            return f"'{key}' must be a text, not {_described(detail['input'])}"
        return _unknown_word(key, _short(detail["input"]))
    if path and path[-1] == "[key]":
        told = f"'{_short(detail['input'])}' as a name under {path[-3]}"
        return f"{told}: write lower-case letters, digits and '_'"
    if kind == "string_pattern_mismatch":
        return f"'{_short(detail['input'])}' as {key}: write lower-case letters, digits and '-'"
    if kind == "value_error":
        return f"'{key}': {context['error']}"
    if kind == "string_too_short":
        return f"'{key}' is empty"
    if kind == "string_too_long":
        return f"'{key}' is longer than {context.get('max_length')} characters"
    if kind in ("too_short", "too_long"):
        few = kind == "too_short"
        bound = context.get("min_length" if few else "max_length")
        how = "at least" if few else "at most"
        return f"'{key}' has {context.get('actual_length')} entries and takes {how} {bound}"
    if kind in _WANTED:
        return f"'{key}' must be {_WANTED[kind]}, not {_described(detail['input'])}"
    return f"'{key}': {detail['msg']}"


_WANTED = {
    "string_type": "a text or number",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of keys to values",
}


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"'{_short(value)}'" if value else "nothing"


def _short(text: str) -> str:
    """A text that may be of any length, on one line and cut to what a message can hold."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else f"{flat[:79]}…"


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    known = model.model_fields
    if re.match(r"\d{3}\b", key):
        return f"'{_short(key)}' is no key: put quotes around a number with a comma"
    tip = offer(key, known, f"known are {', '.join(known)}")
    return f"unknown key '{_short(key)}': {tip}"


def _unknown_word(key: str, word: str) -> str:
    known = schema.QUALIFIERS if key == "qualifier" else schema.CATEGORIES
    tip = offer(word, known, f"write one of {', '.join(known)}")
    return f"unknown {key} '{word}': {tip}"
