"""From the shape of claims.yaml to its meaning: names, units, ranges and references.

Nothing here stops at the first error: every check notes its problem with its place and goes on,
so that one pass over the file shows them all.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gpubench import dates, units, yaml_text
from gpubench.claims import formula, schema, shape
from gpubench.errors import GpubenchError, UnitError, UnknownName, offer
from gpubench.model import Arithmetic, Article, Citation, Claim, Claimed, OutOfScope
from gpubench.quantities import CONDITIONS, DATE, QUANTITIES, TEXT, ConditionKind, QuantityKind

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

_Entry = TypeVar("_Entry", schema.ClaimEntry, schema.OutOfScopeEntry)

# More combinations than this are a study of its own, not the open ends of one sentence.
MAX_COMBINATIONS = 200

# What can only be meant as a number: no date, no word.
_NUMERIC = re.compile(r"[-+.]?(\d(?!\d{3}(-|$))|nan\b|inf)", re.IGNORECASE)


def _named(unit: str) -> str:
    return "a plain number" if unit == "1" else f"in {unit}"


def _in_currency(unit: str, claimed: schema.ClaimedEntry | None) -> str:
    """The unit with the currency that was printed: an article's own figures are in any."""
    printed = claimed and (claimed.value or claimed.low)
    try:
        found = units.parse_printed(printed or "").value.unit
    except UnitError:
        return unit
    same = re.sub("CNY|USD", "$", found) == re.sub("CNY|USD", "$", unit)
    return found if same else unit


def _translations(entry: schema.TranslationsEntry | None) -> dict[str, str]:
    return {"zh": entry.zh} if entry and entry.zh else {}


class Checker:
    """The checks of one file; `problems` collects what they find."""

    def __init__(
        self,
        tree: Any,
        catalogue: Catalogue,
        problems: yaml_text.Problems,
        declared: Collection[str] = (),
    ) -> None:
        """`declared` are the ids of the articles that the file declares, right or wrong."""
        self.tree, self.catalogue, self.problems = tree, catalogue, problems
        self.declared = declared
        self.figures: dict[str, Claimed] = {}
        self._unread: set[str] = set()
        self._formulas: list[tuple[shape.Shaped[schema.ClaimEntry], str]] = []
        self._section, self._id = "", ""
        self._index: int | str = 0
        self._gaps: frozenset[str] = frozenset()

    # -- the kinds of entry

    def article(self, name: str, entry: schema.ArticleEntry | None) -> Article | None:
        """The article that `entry` describes, if it is well-formed."""
        self._section, self._index, self._id = "articles", name, name
        if name in self.catalogue.articles:
            self._note("an article of this id ships with gpubench: choose another id")
        return Article(str(name), **entry.model_dump(exclude_none=True)) if entry else None

    def claim(self, shaped: shape.Shaped[schema.ClaimEntry]) -> Claim:
        """The claim that an entry describes; of use only if no problem was found."""
        entry = self._begin("claims", shaped)
        kinds = self._quantities(entry.quantity)
        subjects = self._parts("subject", entry.subject, kinds)
        baselines = self._parts("baseline", entry.baseline, kinds)
        self._completeness(kinds, entry)
        unit = self._unit(kinds, not self._lacks("baseline", entry.baseline))
        if kinds and kinds[0].via == "article":
            unit = _in_currency(unit, entry.claimed)
        claimed = self._figure(entry.claimed, "claimed", unit)
        conditions, sweep = self._conditions(entry, kinds)
        self._size(sweep, {"subject": subjects, "baseline": baselines, "quantity": kinds})
        arithmetic = self._arithmetic(entry.arithmetic)
        if arithmetic:
            self._formulas.append((shaped, unit))
        return Claim(
            id=entry.id,
            category=entry.category,
            statement=entry.statement,
            translations=_translations(entry.translations),
            citations=self._citations(entry.articles),
            quantities=tuple(entry.quantity),
            claimed=claimed,
            subjects=subjects,
            baselines=baselines,
            conditions=conditions,
            sweep=sweep,
            arithmetic=arithmetic,
            reading=entry.reading or "",
            line=getattr(self._place(), "line", 0),
        )

    def out_of_scope(self, shaped: shape.Shaped[schema.OutOfScopeEntry]) -> OutOfScope:
        """The entry that no computation settles; of use only if no problem was found."""
        entry = self._begin("out_of_scope", shaped)
        stated = not self._lacks("printed", entry.printed)
        return OutOfScope(
            id=entry.id,
            statement=entry.statement,
            translations=_translations(entry.translations),
            citations=self._citations(entry.articles),
            reason=entry.reason,
            category=entry.category,
            printed=self._figure(entry.printed, "printed", None) if stated else None,
            line=getattr(self._place(), "line", 0),
        )

    def references(self, inputs: Callable[[str], formula.Range]) -> None:
        """Check that the inputs of every formula exist and give the unit of its claim.

        An input that names an entry whose own figure is wrong is left for when that is right.
        """
        for shaped, unit in self._formulas:
            entry = self._begin("claims", shaped)
            assert entry.arithmetic is not None
            before = len(self.problems)
            found = {
                name: self._alternatives(name, texts, inputs)
                for name, texts in entry.arithmetic.inputs.items()
            }
            if len(self.problems) == before:
                self._formula(entry, unit, found)

    def _alternatives(
        self, name: str, texts: Iterable[str], inputs: Callable[[str], formula.Range]
    ) -> list[formula.Range]:
        """What an input may stand for, as far as that can be read."""
        found = []
        for text in texts:
            try:
                if text == self._id:
                    own = f"'{text}' is the figure to be checked: compute it from others"
                    self._note(own, "arithmetic", "inputs", name)
                elif text not in self._unread:
                    found.append(inputs(text))
            except GpubenchError as error:
                self._note(str(error), "arithmetic", "inputs", name)
        return found

    def _formula(
        self, entry: schema.ClaimEntry, wanted: str, inputs: Mapping[str, Sequence[formula.Range]]
    ) -> None:
        """Compute with every combination of alternatives, so that none fails when it is judged."""
        assert entry.arithmetic is not None
        text = entry.arithmetic.formula
        for chosen in itertools.product(*inputs.values()):
            try:
                unit = formula.evaluate(text, dict(zip(inputs, chosen, strict=True))).mid.unit
            except UnitError as error:
                self._note(str(error), "arithmetic", "formula")
                return
            if wanted and unit != wanted:
                gives = _named(unit).removeprefix("in ")
                says = f"the formula gives {gives}, and {entry.quantity[0]} is {_named(wanted)}"
                self._note(says, "arithmetic", "formula")
                return

    # -- the parts of an entry

    def _quantities(self, names: list[str]) -> list[QuantityKind]:
        kinds = []
        for name in names:
            if name in QUANTITIES:
                kinds.append(QUANTITIES[name])
            else:
                hint = "see `gpubench list quantities`"
                self._note(str(UnknownName("quantity", name, QUANTITIES, hint)), "quantity")
        return kinds

    def _parts(
        self, key: str, names: list[str] | None, kinds: Sequence[QuantityKind]
    ) -> tuple[str, ...]:
        lookup: dict[str, Callable[[str], Iterable[str]]] = {
            "accelerator": lambda name: [part.id for part in self.catalogue.variants(name)],
            "model": lambda name: [self.catalogue.model(name).id],
            "rule": lambda name: [self.catalogue.rule(name).id],
        }
        wanted = kinds[0].subject if kinds else "none"
        found: list[str] = []
        for name in names or ():
            try:
                found.extend(lookup.get(wanted, lookup["accelerator"])(name))
            except UnknownName as error:
                self._note(str(error), key)
        return tuple(dict.fromkeys(found))

    def _completeness(self, kinds: Sequence[QuantityKind], entry: schema.ClaimEntry) -> None:
        """What the quantity needs besides itself."""
        if not kinds:
            return
        kind, unpaired = kinds[0], self._lacks("baseline", entry.baseline)
        if kind.subject != "none" and self._lacks("subject", entry.subject):
            self._note(f"{kind.name} needs a subject: name the {kind.subject}", "quantity")
        if kind.comparative and unpaired:
            self._note(f"{kind.name} compares: name a baseline", "quantity")
        if kind.via == "article" and self._lacks("arithmetic", entry.arithmetic):
            self._note(
                f"{kind.name} can only be checked by arithmetic: give a formula over figures "
                "of the articles, or list the entry under out_of_scope",
                "quantity",
            )
        if len({kind.unit for kind in kinds}) > 1 and unpaired:
            self._note("several quantities of different units need a baseline", "quantity")
        if entry.baseline and any(kind.unit in (TEXT, DATE) for kind in kinds):
            self._note(f"{kind.name} is no number and cannot be a ratio", "baseline")

    def _lacks(self, key: str, value: object) -> bool:
        """Whether the entry says nothing under a key. What cannot be read is not lacking."""
        return value is None and key not in self._gaps

    def _unit(self, kinds: Sequence[QuantityKind], compared: bool) -> str:
        if not kinds:
            return ""
        return "1" if compared and not kinds[0].comparative else kinds[0].unit

    def _figure(self, entry: schema.ClaimedEntry | None, key: str, unit: str | None) -> Claimed:
        """What was printed; kept for formulas, which pass over what is wrong by itself."""
        before = len(self.problems)
        claimed = self._claimed(entry, key, unit) if entry else Claimed("exact")
        if claimed.low and len(self.problems) == before:
            self.figures[self._id] = claimed
        elif not claimed.text:
            self._unread.add(self._id)
        return claimed

    def _claimed(self, entry: schema.ClaimedEntry, key: str, unit: str | None) -> Claimed:
        ends = (entry.low, entry.high)
        if (entry.value is None) == (ends == (None, None)) or (
            entry.value is None and None in ends
        ):
            self._note("give either value, or low and high", key)
            return Claimed(entry.qualifier)
        if unit in (TEXT, DATE):
            return self._word(entry, key, unit)
        if unit == "" and not _NUMERIC.match(entry.value or "0"):
            return Claimed(entry.qualifier)  # perhaps a word or a date: the quantity is unknown
        if entry.value is not None:
            point = self._printed(entry.value, (key, "value"), unit)
            return Claimed(entry.qualifier, point, point)
        low = self._printed(str(entry.low), (key, "low"), unit)
        high = self._printed(str(entry.high), (key, "high"), unit)
        if low and high:
            if low.value.unit != high.value.unit or low.change != high.change:
                self._note(f"low and high differ in kind: {low.text} and {high.text}", key)
            elif low.value.value > high.value.value:
                self._note(f"the range is reversed: {low.text} is above {high.text}", key)
        if entry.qualifier not in ("range", "about", "nearly"):
            self._note(f"'{entry.qualifier}' takes one value, not low and high", key, "qualifier")
        return Claimed(entry.qualifier, low, high)

    def _word(self, entry: schema.ClaimedEntry, key: str, unit: str) -> Claimed:
        if entry.value is None:
            self._note("give one value: a word or a date has no low and high", key)
            return Claimed(entry.qualifier)
        allowed = ("exact",) if unit == TEXT else ("exact", "about", "at-least", "at-most")
        if entry.qualifier not in allowed:
            self._note(f"a {unit} takes {' or '.join(allowed)}", key, "qualifier")
        if unit == DATE:
            try:
                dates.span(entry.value)
            except UnitError as error:
                self._note(str(error), key, "value")
        return Claimed(entry.qualifier, text=entry.value)

    def _printed(self, text: str, path: tuple[str, str], unit: str | None) -> units.Printed | None:
        try:
            printed = units.parse_printed(text, unit or "")
        except UnitError as error:
            self._note(str(error), *path)
            return None
        if printed.value.value < 0:
            self._note(
                f"'{text}' is negative: figures and changes are written without a sign", *path
            )
        if unit and printed.value.unit != unit:
            expected = units.example(unit)
            says = f"'{text}' is {_named(printed.value.unit)}: {units.remedy(printed.value, unit)}"
            if printed.change or printed.unit in ("x", "%"):
                says = (
                    f"'{text}' compares and the claim has no baseline: name one, or write a figure "
                    f"such as {expected}"
                )
            self._note(says, *path)
        if printed.change == "less" and not printed.divides and printed.value.value >= 1:
            self._note(f"'{text}' leaves nothing: a reduction is below 100 %", *path)
        return printed

    def _conditions(
        self, entry: schema.ClaimEntry, kinds: Sequence[QuantityKind]
    ) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        """What the article states, and what it leaves open."""
        conditions = {
            name: self._condition(("conditions", name), name, text, kinds)
            for name, text in entry.conditions.items()
        }
        sweep = {
            name: tuple(
                self._condition(("sweep", name, i), name, text, kinds)
                for i, text in enumerate(texts)
            )
            for name, texts in entry.sweep.items()
        }
        self._sweep(entry, sweep)
        self._stages(conditions, sweep)
        return conditions, sweep

    def _condition(
        self, path: tuple[str | int, ...], name: str, text: str, kinds: Sequence[QuantityKind]
    ) -> Any:
        kind = CONDITIONS.get(name)
        if kind is None:
            hint = "see `gpubench list conditions`"
            self._note(str(UnknownName("condition", name, CONDITIONS, hint)), *path[:2])
            return text
        if kinds and not any(name in k.conditions for k in kinds):
            known = sorted({c for k in kinds for c in k.conditions})
            offer = f"it knows {', '.join(known)}" if known else "it knows no conditions"
            self._note(f"{kinds[0].name} does not depend on '{name}': {offer}", *path[:2])
        try:
            return self._condition_value(kind, str(text))
        except GpubenchError as error:
            self._note(f"{name}: {error}", *path)
            return text

    def _condition_value(self, kind: ConditionKind, text: str) -> Any:
        if text in kind.choices:
            return text
        if kind.integer and text.isascii() and text.isdigit() and 0 < int(text) < 10**9:
            return int(text)
        if kind.unit:
            quantity = units.parse(text)
            if quantity.unit != kind.unit:
                raise UnitError(
                    f"'{text}' is {_named(quantity.unit)}: {units.remedy(quantity, kind.unit)}"
                )
            if quantity.value <= 0:
                raise UnitError(f"'{text}' must be above zero")
            return quantity.value
        if kind.names == "model":
            return self.catalogue.model(text).id
        if kind.names == "rule":
            return self.catalogue.rule(text).id
        words = [*kind.choices, *(["a whole number above zero"] if kind.integer else [])]
        tip = offer(text, kind.choices, f"write {' or '.join(words)}")
        raise UnitError(f"'{text}' is not known: {tip}")

    def _sweep(self, entry: schema.ClaimEntry, sweep: Mapping[str, Sequence[Any]]) -> None:
        for name in sweep:
            if name in entry.conditions:
                self._note(f"'{name}' stands under conditions and under sweep", "sweep", name)
            if not sweep[name]:
                self._note(f"'{name}' has no value to try", "sweep", name)

    def _size(
        self, sweep: Mapping[str, Sequence[Any]], named: Mapping[str, Sequence[object]]
    ) -> None:
        """Note more combinations than can be judged, of the sweep alone or with what is `named`."""
        swept = math.prod(len(values) for values in sweep.values())
        if swept > MAX_COMBINATIONS:
            self._note(f"the sweep has {swept} combinations, more than {MAX_COMBINATIONS}", "sweep")
            return
        counts = {"sweep": swept, **{key: len(values) for key, values in named.items()}}
        several = {key: count for key, count in counts.items() if count > 1}
        size = math.prod(several.values())
        if size > MAX_COMBINATIONS:
            told = " x ".join(f"{key} ({count})" for key, count in several.items())
            largest = max(several, key=lambda key: several[key])
            self._note(f"{told} are {size} combinations, more than {MAX_COMBINATIONS}", largest)

    def _stages(self, conditions: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]]) -> None:
        """Note devices that split into stages in no combination."""
        devices, stages = (
            [n for n in (conditions.get(name), *sweep.get(name, ())) if isinstance(n, int)]
            for name in ("gpus", "pipeline")
        )
        if devices and stages and all(d % n for d in devices for n in stages):
            where = "conditions" if "pipeline" in conditions else "sweep"
            told = f"{devices[0]} devices do not split into {stages[0]} stages"
            self._note(f"{told}: use {stages[0]} devices, or a multiple", where, "pipeline")

    def _citations(self, entries: list[schema.CitationEntry]) -> tuple[Citation, ...]:
        known = self.catalogue.articles
        for position, entry in enumerate(entries):
            if entry.article not in known and entry.article not in self.declared:
                own = "declare an article of your own under the top-level key 'articles'"
                unknown = str(UnknownName("article", entry.article, (*known, *self.declared), own))
                told = f"{unknown} If not, {own}" if unknown.endswith("?") else unknown
                self._note(told, "articles", position, "article")
            elif entry.article in known and not entry.digest:
                self._note(
                    "key 'digest' is missing: name the entries of the digest that this covers, "
                    "as every claim of an article that ships with gpubench does",
                    "articles",
                    position,
                )
        return tuple(Citation(e.article, e.place, tuple(e.digest)) for e in entries)

    def _arithmetic(self, entry: schema.ArithmeticEntry | None) -> Arithmetic | None:
        """The formula, if it can be computed with the inputs that it names."""
        if entry is None:
            return None
        before = len(self.problems)
        try:
            used = formula.names(entry.formula)
        except UnitError as error:
            self._note(str(error), "arithmetic", "formula")
            return None
        for name in sorted(used - set(entry.inputs)):
            self._note(
                f"the formula uses '{name}', which inputs do not give", "arithmetic", "formula"
            )
        for name in sorted(set(entry.inputs) - used):
            self._note(f"the formula does not use '{name}'", "arithmetic", "inputs", name)
        size = math.prod(len(texts) for texts in entry.inputs.values())
        if size > MAX_COMBINATIONS:
            self._note(
                f"the inputs have {size} combinations, more than {MAX_COMBINATIONS}", "arithmetic"
            )
        if len(self.problems) > before:
            return None
        return Arithmetic(entry.formula, {k: tuple(v) for k, v in entry.inputs.items()})

    # -- places

    def _begin(self, section: str, shaped: shape.Shaped[_Entry]) -> _Entry:
        """Turn to an entry: what is noted from now on belongs to it."""
        self._section, self._index, self._id = section, shaped.index, shaped.entry.id
        self._gaps = shaped.gaps
        return shaped.entry

    def _place(self, *path: str | int) -> Any:
        return yaml_text.locate(self.tree, (self._section, self._index, *path))

    def _note(self, message: str, *path: str | int) -> None:
        self.problems.add(self._place(*path), message, self._id)
