"""From the catalogue's YAML to the nouns: accelerators, sources, rules, articles, models, findings.

Every function takes what `reading.read` returned and says in its errors which entry is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gpubench import units
from gpubench.catalogue import export
from gpubench.errors import CatalogueError, UnitError
from gpubench.model import (
    Accelerator,
    Article,
    ExportRule,
    Figure,
    LanguageModel,
    Source,
)
from gpubench.quantities import CONDITIONS, DATE, QUANTITIES, STORAGE_BITS, TEXT

Noun = TypeVar("Noun")
GRADES = ("A", "B", "C")
_DATE = re.compile(r"\d{4}(-(\d{2}(-\d{2})?|Q[1-4]))?")
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PEAK = re.compile(r"(?:peak|measured)_(fp64|fp64_tensor|fp32|tf32|fp16|bf16|fp8|int8|fp4)")
# Figures that no claim is about, beside those of `quantities`.
_OTHER_UNITS = {
    "status": TEXT,
    "interconnect": TEXT,
    "unsupported": TEXT,
    "tpp_reported": "TPP",
    "density_reported": "TPP/m2",
    "measured_memory_bandwidth": "B/s",
}


@dataclass(frozen=True)
class Group:
    """A name that leaves the variant open, such as "H100", and the variants it may mean."""

    id: str
    name: str
    members: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class PublishedFinding:
    """What a third party measured: low ≤ mid ≤ high in `unit` (SI); a ratio when `baseline` is set.

    `conditions` uses the names of `quantities.CONDITIONS`; `how` says what ran, in words.
    """

    quantity: str
    subject: str
    baseline: str
    low: float
    mid: float
    high: float
    unit: str
    conditions: Mapping[str, Any]
    source: str
    how: str = ""
    remark: str = ""


def sources(data: Mapping[str, Any]) -> dict[str, Source]:
    """The sources; one without a day of its own was read by the date at the top of the file."""
    latest = f"by {data['read_by']}"
    return {
        key: Source(
            key,
            entry["url"],
            entry["publisher"],
            entry["kind"],
            entry["read"],
            entry.get("note", ""),
            entry.get("read_on", latest),
        )
        for key, entry in data["sources"].items()
    }


def groups(data: Mapping[str, Any]) -> dict[str, Group]:
    """The names that leave the variant open."""
    return {
        key: Group(
            key,
            entry["name"],
            tuple(entry["members"]),
            tuple(entry.get("aliases", ())),
            entry.get("remark", ""),
        )
        for key, entry in data["groups"].items()
    }


def accelerators(data: Mapping[str, Any], known: Mapping[str, Source]) -> dict[str, Accelerator]:
    """The accelerators. Raises CatalogueError for a figure, grade, unit or source that is wrong."""
    return _each("accelerator", data["accelerators"], lambda k, e: _accelerator(k, e, known))


def figure_unit(name: str) -> str:
    """The SI unit a figure of that name has, TEXT or DATE. Raises CatalogueError when unknown."""
    if name in QUANTITIES and QUANTITIES[name].via == "figure":
        return QUANTITIES[name].unit
    if name in _OTHER_UNITS:
        return _OTHER_UNITS[name]
    peak = _PEAK.match(name)
    if peak and name[peak.end() :] in ("", "_sparse", "_acc16"):
        return "OP/s" if peak[1] == "int8" else "FLOP/s"
    raise CatalogueError(f"no figure is called '{name}'")


def export_rules(data: Mapping[str, Any]) -> dict[str, ExportRule]:
    """The export rules, their bounds in SI."""
    return _each("export rule", data, _rule)


def articles(data: Mapping[str, Any]) -> dict[str, Article]:
    """The articles under test."""
    return _each("article", data, lambda key, entry: Article(id=key, **entry))


def models(data: Mapping[str, Any]) -> dict[str, LanguageModel]:
    """The language models. Raises CatalogueError for an unknown or unreadable entry."""
    return _each("model", data, _model)


def findings(data: Mapping[str, Any], known: Mapping[str, Source]) -> tuple[PublishedFinding, ...]:
    """Third-party measurements of published.yaml, in its order."""
    return tuple(_each("finding", data, lambda _, e: _finding(e, known)).values())


def reported(data: Mapping[str, Any], known: Mapping[str, Source]) -> dict[str, Figure]:
    """Figures of no accelerator, for arithmetic. Raises CatalogueError when one is wrong."""
    return _each("reported figure", data, lambda key, entry: _reported(key, entry, known))


def _each(
    kind: str, entries: Mapping[str, Any], build: Callable[[str, Any], Noun]
) -> dict[str, Noun]:
    built = {}
    for key, entry in entries.items():
        try:
            built[key] = build(key, entry)
        except (CatalogueError, UnitError) as error:
            raise CatalogueError(f"{kind} '{key}': {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(f"{kind} '{key}' cannot be read: {error!r}") from error
    return built


def _accelerator(key: str, entry: Mapping[str, Any], known: Mapping[str, Source]) -> Accelerator:
    figures = {name: _figure(name, raw, known) for name, raw in entry["figures"].items()}
    missing = figures.get("unsupported")
    return Accelerator(
        id=key,
        name=entry["name"],
        vendor=entry["vendor"],
        family=entry["family"],
        figures=figures,
        aliases=tuple(entry.get("aliases", ())),
        driver_names=tuple(entry.get("driver_names", ())),
        die=entry.get("die", ""),
        unit_kind=entry.get("unit_kind", ""),
        unsupported=tuple(str(missing.value).split(", ")) if missing else (),
        notes=entry.get("notes", ""),
        unsettled={
            name: tuple(Figure(*_stated(name, raw, known)) for raw in raws)
            for name, raws in entry.get("unsettled", {}).items()
        },
    )


def _figure(name: str, raw: Any, known: Mapping[str, Source]) -> Figure:
    first, *others = raw if isinstance(raw[0], list) else [raw]
    conflicts = tuple(Figure(*_stated(name, other, known)) for other in others)
    return Figure(*_stated(name, first, known), conflicts)


def _stated(
    name: str, raw: list[str], known: Mapping[str, Source]
) -> tuple[units.Quantity | str, str, str, str]:
    """(value, source, grade, remark) of one figure, checked."""
    if not 3 <= len(raw) <= 4:
        raise CatalogueError(f"{name}: write [value, source, grade] or [.., remark], not {raw}")
    text, source, grade = raw[:3]
    unit = figure_unit(name)
    _check_origin(name, source, grade, known)
    value: units.Quantity | str = text
    if unit == DATE:
        if not _DATE.fullmatch(text):
            raise CatalogueError(
                f"{name}: write 2023, 2023-11, 2023-11-13 or 2023-Q4, not '{text}'"
            )
    elif unit != TEXT:
        value = units.parse(text)
        if value.unit != unit:
            raise CatalogueError(f"{name}: '{text}' is not in {unit}")
    return value, source, grade, raw[3] if len(raw) == 4 else ""


def _check_origin(name: str, source: str, grade: str, known: Mapping[str, Source]) -> None:
    if source not in known:
        raise CatalogueError(f"{name}: no source is called '{source}'")
    if grade not in GRADES:
        raise CatalogueError(f"{name}: the grade is A, B or C, not '{grade}'")


def _reported(key: str, entry: Mapping[str, str], known: Mapping[str, Source]) -> Figure:
    if not _ID.fullmatch(key):
        raise CatalogueError("an id is lower case, words joined by '-'")
    extra = set(entry) - {"value", "source", "grade", "remark"}
    if extra:
        raise CatalogueError(f"unknown key {', '.join(sorted(extra))}")
    text, source, grade = entry["value"], entry["source"], entry["grade"]
    _check_origin("value", source, grade, known)
    value = text if _DATE.fullmatch(text) else units.parse(text)
    return Figure(value, source, grade, entry.get("remark", ""))


def _rule(key: str, entry: Mapping[str, Any]) -> ExportRule:
    def alternatives(name: str) -> tuple[Mapping[str, float], ...]:
        return tuple(
            {bound: units.parse(text).value for bound, text in alternative.items()}
            for alternative in entry.get(name, ())
        )

    texts = ("effective", "effect", "remark", "published", "amends")
    rule = ExportRule(
        id=key,
        announced=entry["announced"],
        citation=entry["citation"],
        sources=tuple(entry["sources"]),
        grade=entry["grade"],
        controlled_if=alternatives("controlled_if"),
        exception_if=alternatives("exception_if"),
        case_by_case_if=alternatives("case_by_case_if"),
        **{name: entry.get(name, "") for name in texts},
    )
    export.check_bounds(rule)
    return rule


def _model(key: str, entry: Mapping[str, Any]) -> LanguageModel:
    shape: dict[str, Any] = dict(entry.get("architecture", {}))
    switches = {
        name: shape.pop(name) == "true"
        for name in ("gated_ffn", "tied_embeddings")
        if name in shape
    }
    counts: dict[str, Any] = {name: int(text) for name, text in shape.items()}
    heads = counts.get("heads", 0)
    counts.setdefault("kv_heads", heads)
    counts.setdefault("head_dim", counts.get("hidden", 0) // heads if heads else 0)
    for name in ("layers", "hidden", "heads", "ffn_hidden", "vocabulary"):
        counts.setdefault(name, 0)
    known = {"name", "source", "aliases", "parameters", "active", "architecture", "remark"}
    extra = set(entry) - known - {"training_tokens", "training_flops", "stored"}
    if extra:
        raise CatalogueError(f"unknown key {', '.join(sorted(extra))}")
    stored = entry.get("stored", "")
    if stored and stored not in STORAGE_BITS:
        raise CatalogueError(f"stored is one of {', '.join(STORAGE_BITS)}, not '{stored}'")
    return LanguageModel(
        id=key,
        name=entry["name"],
        source=entry["source"],
        aliases=tuple(entry.get("aliases", ())),
        parameters=_number(entry, "parameters", "1"),
        active_parameters=_number(entry, "active" if "active" in entry else "parameters", "1"),
        training_tokens=_number(entry, "training_tokens", "token"),
        training_flops=_number(entry, "training_flops", "FLOP"),
        remark=entry.get("remark", ""),
        stored=stored,
        **switches,
        **counts,
    )


def _number(entry: Mapping[str, Any], key: str, unit: str) -> float:
    if key not in entry:
        return 0.0
    found = units.parse(entry[key])
    if found.unit != unit:
        raise CatalogueError(f"{key}: '{entry[key]}' is not in {unit}")
    return found.value


def _finding(entry: Mapping[str, Any], known: Mapping[str, Source]) -> PublishedFinding:
    low, high = units.parse(entry["low"]), units.parse(entry.get("high", entry["low"]))
    unit = "1" if "baseline" in entry else QUANTITIES[entry["quantity"]].unit
    if low.unit != unit or high.unit != unit or low.value > high.value:
        raise CatalogueError(f"low and high are not an interval in {unit}")
    source = known[entry["source"]]
    return PublishedFinding(
        quantity=entry["quantity"],
        subject=entry["subject"],
        baseline=entry.get("baseline", ""),
        low=low.value,
        mid=(low.value + high.value) / 2,
        high=high.value,
        unit=unit,
        conditions=_conditions(entry.get("conditions", {})),
        source=f"{source.publisher}, {source.url}",
        how=entry.get("how", ""),
        remark=entry.get("remark", ""),
    )


def _conditions(raw: Mapping[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for name, text in raw.items():
        kind = CONDITIONS[name]
        if text in kind.choices or kind.names:
            typed[name] = text
        elif kind.integer:
            typed[name] = int(text)
        elif kind.unit:
            typed[name] = units.parse(text).value
        else:
            raise CatalogueError(f"{name}: '{text}' is none of {', '.join(kind.choices)}")
    return typed
