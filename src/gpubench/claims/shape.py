"""Match the tree of a claims file against the schema, and say what is off in plain words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpubench import yaml_text
from gpubench.claims import schema
from gpubench.errors import near_matches

_Entry = TypeVar("_Entry", schema.ClaimEntry, schema.OutOfScopeEntry)


def entries(
    tree: Any, problems: yaml_text.Problems
) -> tuple[dict[int, schema.ClaimEntry], dict[int, schema.OutOfScopeEntry]]:
    """The well-formed entries by their position in the file; the others become problems."""
    if not isinstance(tree, yaml_text.Mapping):
        problems.add(tree, "the file must begin with 'claims:' and a list of claims")
        return {}, {}
    for key in tree:
        if key not in schema.ClaimsDocument.model_fields:
            problems.add(key, _unknown_key(key, schema.ClaimsDocument))
    if "claims" not in tree:
        problems.add(tree, "key 'claims' is missing: give a list of claims")
    seen: dict[str, int] = {}
    return (
        _section(tree, "claims", schema.ClaimEntry, seen, problems),
        _section(tree, "out_of_scope", schema.OutOfScopeEntry, seen, problems),
    )


def _section(
    tree: yaml_text.Mapping,
    section: str,
    model: type[_Entry],
    seen: dict[str, int],
    problems: yaml_text.Problems,
) -> dict[int, _Entry]:
    found: dict[int, _Entry] = {}
    content = tree.get(section, yaml_text.Sequence())
    if not isinstance(content, yaml_text.Sequence):
        problems.add(yaml_text.locate(tree, (section,)), f"'{section}' must be a list of entries")
        return found
    for index, entry in enumerate(content):
        name = entry.get("id") if isinstance(entry, yaml_text.Mapping) else None
        label = str(name) if isinstance(name, str) else f"entry {index + 1} of {section}"
        if isinstance(name, yaml_text.Text):
            if name in seen:
                problems.add(name, f"the id stands in line {seen[name]} already", label)
            seen.setdefault(str(name), name.line)
        try:
            found[index] = model.model_validate(entry)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=True):
                path = tuple(detail["loc"])
                place = yaml_text.locate(entry, path) or entry
                problems.add(place, _sentence(detail, model), label)
    return found


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong and what to write instead, for one error of the schema."""
    path = [step for step in detail["loc"] if not isinstance(step, int)]
    key = str(path[-1]) if path else "entry"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(key, _owner(model, path))
    if kind == "missing":
        return f"key '{key}' is missing"
    if kind == "literal_error":
        return _unknown_word(key, str(detail["input"]))
    if kind == "string_pattern_mismatch":
        return f"'{detail['input']}' as {key}: write lower-case letters, digits and '-'"
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
    return f"'{value}'" if value else "nothing"


def _owner(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    """The schema class that owns the last key of `path`."""
    nested: dict[str, type[BaseModel]] = {
        "articles": schema.CitationEntry,
        "claimed": schema.ClaimedEntry,
        "printed": schema.ClaimedEntry,
        "arithmetic": schema.ArithmeticEntry,
    }
    for step in path[:-1]:
        model = nested.get(step, model)
    return model


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    near = near_matches(key, model.model_fields)
    offer = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known are {', '.join(model.model_fields)}"
    )
    return f"unknown key '{key}': {offer}"


def _unknown_word(key: str, word: str) -> str:
    known = schema.QUALIFIERS if key == "qualifier" else schema.CATEGORIES
    near = near_matches(word, known)
    offer = f"did you mean {' or '.join(near)}?" if near else f"write one of {', '.join(known)}"
    return f"unknown {key} '{word}': {offer}"
