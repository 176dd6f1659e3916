"""From the shape of claims.yaml to its meaning: names, units, ranges and references.

Nothing here stops at the first error: every check notes its problem with its place and goes on,
so that one pass over the file shows them all.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpubench import dates, units, yaml_text
from gpubench.claims import formula, schema
from gpubench.errors import GpubenchError, UnitError, UnknownName, near_matches
from gpubench.model import Arithmetic, Article, Citation, Claim, Claimed, OutOfScope
from gpubench.quantities import CONDITIONS, DATE, QUANTITIES, TEXT, ConditionKind, QuantityKind

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

# More combinations than this are a study of its own, not the open ends of one sentence.
MAX_COMBINATIONS = 200

# What can only be meant as a number: no date, no word.
_NUMERIC = re.compile(r"[-+.]?(\d(?!\d{3}(-|$))|nan\b|inf)", re.IGNORECASE)


def _named(unit: str) -> str:
    return "a plain number" if unit == "1" else f"in {unit}"


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
        self._section, self._id = "", ""
        self._index: int | str = 0

    # -- the kinds of entry

    def article(self, name: str, entry: schema.ArticleEntry | None) -> Article | None:
        """The article that `entry` describes, or None when it is wrong or its id is taken."""
        self._section, self._index, self._id = "articles", name, name
        if name in self.catalogue.articles:
            self._note("an article of this id ships with gpubench: choose another id")
            return None
        return Article(str(name), **entry.model_dump(exclude_none=True)) if entry else None

    def claim(self, index: int, entry: schema.ClaimEntry, whole: bool = True) -> Claim | None:
        """The claim that `entry` describes, or None when something of it is wrong.

        What is not `whole` has gaps; it is only looked through for more that is wrong.
        """
        self._section, self._index, self._id = "claims", index, entry.id
        before = len(self.problems)
        kinds = self._quantities(entry.quantity)
        subjects = self._parts("subject", entry.subject, kinds)
        baselines = self._parts("baseline", entry.baseline, kinds)
        if whole:
            self._subject_needed(kinds, entry)
        claimed = Claimed("exact")
        if entry.claimed:
            claimed = self._claimed(entry.claimed, "claimed", self._unit(kinds, bool(baselines)))
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
        self._sweep_size(entry, sweep)
        self._stages(conditions, sweep)
        claim = Claim(
            id=entry.id,
            category=entry.category,
            statement=entry.statement,
            citations=self._citations(entry.articles),
            quantities=tuple(entry.quantity),
            claimed=claimed,
            subjects=subjects,
            baselines=baselines,
            conditions=conditions,
            sweep=sweep,
            arithmetic=self._arithmetic(entry.arithmetic),
            reading=entry.reading or "",
            line=getattr(self._place(), "line", 0),
        )
        return claim if whole and len(self.problems) == before else None

    def out_of_scope(self, index: int, entry: schema.OutOfScopeEntry) -> OutOfScope | None:
        """The entry that no computation settles, or None when something of it is wrong."""
        self._section, self._index, self._id = "out_of_scope", index, entry.id
        before = len(self.problems)
        printed = self._claimed(entry.printed, "printed", None) if entry.printed else None
        found = OutOfScope(
            id=entry.id,
            statement=entry.statement,
            citations=self._citations(entry.articles),
            reason=entry.reason,
            category=entry.category,
            printed=printed,
            line=getattr(self._place(), "line", 0),
        )
        return found if len(self.problems) == before else None

    def references(self, index: int, claim: Claim, inputs: Callable[[str], formula.Range]) -> None:
        """Check that the inputs of a claim's formula exist and give the claim's unit."""
        self._section, self._index, self._id = "claims", index, claim.id
        if claim.arithmetic is None:
            return
        before = len(self.problems)
        found: dict[str, list[formula.Range]] = {}
        for name, alternatives in claim.arithmetic.inputs.items():
            for text in alternatives:
                if text == claim.id:
                    own = f"'{text}' is the figure to be checked: compute it from others"
                    self._note(own, "arithmetic", "inputs", name)
                try:
                    found.setdefault(name, []).append(inputs(text))
                except GpubenchError as error:
                    self._note(str(error), "arithmetic", "inputs", name)
        if len(self.problems) == before:
            self._formula(claim, claim.arithmetic.formula, found)

    def _formula(
        self, claim: Claim, text: str, inputs: Mapping[str, Sequence[formula.Range]]
    ) -> None:
        """Compute with every combination of alternatives, so that none fails when it is judged."""
        kind = QUANTITIES[claim.quantities[0]]
        wanted = "1" if claim.baselines and not kind.comparative else kind.unit
        for chosen in itertools.product(*inputs.values()):
            try:
                unit = formula.evaluate(text, dict(zip(inputs, chosen, strict=True))).mid.unit
            except UnitError as error:
                self._note(str(error), "arithmetic", "formula")
                return
            if unit != wanted:
                gives = _named(unit).removeprefix("in ")
                says = f"the formula gives {gives}, and {kind.name} is {_named(wanted)}"
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

    def _subject_needed(
        self,
        kinds: Sequence[QuantityKind],
        entry: schema.ClaimEntry,
    ) -> None:
        if not kinds:
            return
        if kinds[0].subject != "none" and not entry.subject:
            self._note(f"{kinds[0].name} needs a subject: name the {kinds[0].subject}", "quantity")
        if kinds[0].comparative and not entry.baseline:
            self._note(f"{kinds[0].name} compares: name a baseline", "quantity")
        if kinds[0].via == "article" and not entry.arithmetic:
            self._note(
                f"{kinds[0].name} can only be checked by arithmetic: give a formula over figures "
                "of the articles, or list the entry under out_of_scope",
                "quantity",
            )
        if len({kind.unit for kind in kinds}) > 1 and not entry.baseline:
            self._note("several quantities of different units need a baseline", "quantity")
        if entry.baseline and any(kind.unit in (TEXT, DATE) for kind in kinds):
            self._note(f"{kinds[0].name} is no number and cannot be a ratio", "baseline")

    def _unit(self, kinds: Sequence[QuantityKind], compared: bool) -> str:
        if not kinds:
            return ""
        return "1" if compared and not kinds[0].comparative else kinds[0].unit

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
            printed = units.parse_printed(text)
        except UnitError as error:
            self._note(str(error), *path)
            return None
        if printed.value.value < 0:
            self._note(
                f"'{text}' is negative: figures and changes are written without a sign", *path
            )
        if unit and printed.value.unit != unit:
            expected = units.example(unit)
            self._note(f"'{text}' is {_named(printed.value.unit)}: write it as {expected}", *path)
        if printed.change == "less" and printed.value.value >= 1:
            self._note(f"'{text}' leaves nothing: a reduction is below 100 %", *path)
        return printed

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
                    f"'{text}' is {_named(quantity.unit)}: write it as {units.example(kind.unit)}"
                )
            if quantity.value <= 0:
                raise UnitError(f"'{text}' must be above zero")
            return quantity.value
        if kind.names == "model":
            return self.catalogue.model(text).id
        if kind.names == "rule":
            return self.catalogue.rule(text).id
        words = [*kind.choices, *(["a whole number above zero"] if kind.integer else [])]
        near = near_matches(text, kind.choices)
        offer = f"did you mean {' or '.join(near)}?" if near else f"write {' or '.join(words)}"
        raise UnitError(f"'{text}' is not known: {offer}")

    def _sweep_size(self, entry: schema.ClaimEntry, sweep: dict[str, tuple[Any, ...]]) -> None:
        for name in sweep:
            if name in entry.conditions:
                self._note(f"'{name}' stands under conditions and under sweep", "sweep", name)
            if not sweep[name]:
                self._note(f"'{name}' has no value to try", "sweep", name)
        size = math.prod(len(values) for values in sweep.values())
        if size > MAX_COMBINATIONS:
            self._note(f"the sweep has {size} combinations, more than {MAX_COMBINATIONS}", "sweep")

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
        if entry is None:
            return None
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
        return Arithmetic(entry.formula, {k: tuple(v) for k, v in entry.inputs.items()})

    # -- places

    def _place(self, *path: str | int) -> Any:
        return yaml_text.locate(self.tree, (self._section, self._index, *path))

    def _note(self, message: str, *path: str | int) -> None:
        self.problems.add(self._place(*path), message, self._id)
