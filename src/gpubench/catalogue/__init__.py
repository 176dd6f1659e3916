"""The catalogue: accelerators, language models, export rules, articles and who said what of them.

`load()` reads the YAML of `data/` once. A name that nobody lists is refused with the nearest ones;
a name that leaves the variant open ("H100") is for `variants`, never for `accelerator`. The table
of published inference results is read only when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from gpubench.catalogue import configs, inference, parts, served, trained, training
from gpubench.catalogue.inference import InferenceRow, MatchedPair, PublishedTable
from gpubench.catalogue.parts import Group, PublishedFinding
from gpubench.catalogue.reading import DATA, read
from gpubench.catalogue.training import TrainingEntry, TrainingRow
from gpubench.errors import AmbiguousName, CatalogueError, UnknownName
from gpubench.model import Accelerator, Article, ExportRule, Figure, LanguageModel, Source

__all__ = [
    "Catalogue",
    "Group",
    "InferenceRow",
    "MatchedPair",
    "PublishedFinding",
    "PublishedTable",
    "load",
]

PUBLISHED_TABLE = DATA / "inference_published.csv"
"""The table of published inference results that ships with gpubench."""

Noun = TypeVar("Noun")

_PUBLISHED = re.compile(r"[\w-]+/[^/]+")
# Names of servers and racks, which hold several devices.
_SYSTEM = re.compile(r"\b(dgx(?! spark)|hgx|mgx|cloudmatrix|superpod)\b|\bnvl ?(36|72|144|576)\b")
_TUNED = re.compile(r"([-_ ](instruct|chat|it|hf|base))+$", re.IGNORECASE)
# What weights were tuned for, and the form of their files.


@dataclass(frozen=True)
class Catalogue:
    """Everything published that claims are held against. All mappings are keyed by id."""

    accelerators: Mapping[str, Accelerator]
    groups: Mapping[str, Group]
    models: Mapping[str, LanguageModel]
    rules: Mapping[str, ExportRule]
    articles: Mapping[str, Article]
    sources: Mapping[str, Source]
    findings: tuple[PublishedFinding, ...]
    reported: Mapping[str, Figure]

    def accelerator(self, name: str) -> Accelerator:
        """The one accelerator of that id, alias or driver name, in any case and spacing.

        Raises:
            UnknownName: nobody lists it, it leaves the variant open, or it is a slice of a card.
        """
        found = self._part_or_group(name)
        if found in self.accelerators:
            return self.accelerators[found]
        if found:
            raise AmbiguousName("accelerator", name, self.groups[found].members)
        if " mig " in f" {_folded(name)} ":
            hint = "a MIG slice has only a share of its card, so the card's figures are not its own"
            raise UnknownName("accelerator", name, (), hint)
        if _SYSTEM.search(_folded(name)):
            hint = "a system of several devices: name the device, and how many of them as gpus"
            raise UnknownName("accelerator", name, (), hint)
        raise UnknownName("accelerator", name, self._spellings, "gpubench list accelerators")

    def variants(self, name: str) -> tuple[Accelerator, ...]:
        """The accelerators a name may mean: a group's members, otherwise the one it names.

        Raises UnknownName like `accelerator`, except for groups.
        """
        found = self._part_or_group(name)
        if found in self.groups:
            return tuple(self.accelerators[member] for member in self.groups[found].members)
        return (self.accelerator(name),)

    def model(self, name: str) -> LanguageModel:
        """The language model of that id, name or alias, in any case and spacing.

        A publisher before it and what it was tuned for behind it do not change the architecture:
        "meta-llama/Llama-3.1-70B-Instruct" is found as well. Raises UnknownName.
        """
        # A publisher is one word before one slash; more, or a dot, is a path.
        plain = name.rpartition("/")[2] if _PUBLISHED.fullmatch(name) else name
        for spelling in (name, plain, _TUNED.sub("", plain)):
            found = _looked_up(self._model_names, spelling)
            if len(found) == 1:
                return self.models[found.pop()]
        raise UnknownName("model", name, self.models, "gpubench list models", near=plain)

    def with_model(self, path: Path) -> tuple[LanguageModel, Catalogue]:
        """The model of a `config.json`, and a catalogue that has it beside the others.

        Raises CatalogueError as `configs.read` does.
        """
        model = configs.read(path)
        return model, replace(self, models={**self.models, model.id: model})

    def rule(self, name: str) -> ExportRule:
        """The export rule of that id. Raises UnknownName."""
        return _entry("export rule", self.rules, name)

    def article(self, name: str) -> Article:
        """The article of that id, which is its file name without ending. Raises UnknownName."""
        return _entry("article", self.articles, name)

    def published(
        self, quantity: str, subject: str, baseline: str | None = None
    ) -> tuple[PublishedFinding, ...]:
        """Third-party measurements of a quantity of one accelerator id, or of two as a ratio.

        What the table of inference results says is apart, in `served`.
        """
        wanted = (quantity, subject, baseline or "")
        return tuple(f for f in self.findings if (f.quantity, f.subject, f.baseline) == wanted)

    def inference_table(self, path: Path) -> PublishedTable:
        """A table of inference results of anybody's, its names looked up here.

        Raises:
            CatalogueError: the file cannot be read, or is no table.
        """
        return inference.read_table(path, self._accelerator_id, self._model_id)

    def training_table(self, path: Path) -> tuple[TrainingEntry, ...]:
        """A table of training results of anybody's, its names looked up here.

        Raises:
            CatalogueError: the file cannot be read, or lacks a column.
        """
        return training.read(path, self._accelerator_id, self.model)

    def served(self, subject: str, baseline: str | None) -> tuple[PublishedFinding, ...]:
        """What the table of inference results says of an accelerator id, or of one over another."""
        rows = self.inference_rows
        if (subject, baseline) not in self._served:
            found = served.of_part(rows, subject)
            if baseline:
                found = served.of_pair(rows, subject, baseline)
            self._served[subject, baseline] = tuple(found)
        return self._served[subject, baseline]

    def trained(self, subject: str, baseline: str) -> tuple[PublishedFinding, ...]:
        """What the table of training results says of an accelerator id over another."""
        return tuple(trained.of_pair(self._training_rows, subject, baseline))

    @cached_property
    def _training_rows(self) -> tuple[TrainingRow, ...]:
        return tuple(entry.row for entry in self.training_table(training.TABLE) if entry.row)

    @cached_property
    def _served(self) -> dict[tuple[str, str | None], tuple[PublishedFinding, ...]]:
        """What was looked up before."""
        return {}

    @cached_property
    def inference_rows(self) -> tuple[InferenceRow, ...]:
        """The published inference results, SUSPECT ones included and marked. Read on first use."""
        return inference.read_rows(PUBLISHED_TABLE, self._accelerator_id, self._model_id)

    def _accelerator_id(self, name: str) -> str:
        return self.accelerator(name).id

    def _model_id(self, name: str) -> str:
        return self.model(name).id

    @cached_property
    def _accelerator_names(self) -> dict[str, str]:
        return _index(
            "accelerator",
            ((a.id, (a.name, *a.aliases, *a.driver_names)) for a in self.accelerators.values()),
        )

    @cached_property
    def _group_names(self) -> dict[str, str]:
        names = _index("group", ((g.id, g.aliases) for g in self.groups.values()))
        for name in names.keys() & self._accelerator_names.keys():
            raise CatalogueError(f"'{name}' names a group and an accelerator")
        return names

    @cached_property
    def _model_names(self) -> dict[str, str]:
        return _index("model", ((m.id, (m.name, *m.aliases)) for m in self.models.values()))

    def _part_or_group(self, name: str) -> str:
        """The id of the accelerator or group that has this name; empty when none has."""
        meant = _looked_up(self._part_names, name)
        groups = meant & self.groups.keys()
        found = next(iter(groups or meant)) if len(groups or meant) == 1 else ""
        brand = _BRAND.match(name[:_LONGEST])
        if meant or not brand or len(name) > _LONGEST:
            return found
        # As makers print it, and only of their own.
        found = self._part_or_group(name[brand.end() :])
        parts = self.groups[found].members if found in self.groups else (found,)
        makers = {self.accelerators[part].vendor.lower() for part in parts if found}
        return found if makers == {_MAKERS[brand[1].lower()]} else ""

    @cached_property
    def _part_names(self) -> dict[str, str]:
        return {**self._accelerator_names, **self._group_names}

    @property
    def _spellings(self) -> list[str]:
        exact = [s for a in self.accelerators.values() for s in (a.id, *a.aliases, *a.driver_names)]
        return exact + [s for g in self.groups.values() for s in (g.id, *g.aliases)]


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """The catalogue that ships with gpubench.

    Raises:
        CatalogueError: a file of the catalogue is wrong; the message says which entry.
    """
    sources = parts.sources(read(DATA / "sources.yaml"))
    chips = read(DATA / "accelerators.yaml")
    return Catalogue(
        accelerators=parts.accelerators(chips, sources),
        groups=parts.groups(chips),
        models=parts.models(read(DATA / "models.yaml")),
        rules=parts.export_rules(read(DATA / "export_rules.yaml")),
        articles=parts.articles(read(DATA / "articles.yaml")),
        sources=sources,
        findings=parts.findings(read(DATA / "published.yaml"), sources),
        reported=parts.reported(read(DATA / "reported.yaml"), sources),
    )


def _folded(name: str) -> str:
    """A name as it is compared: lower case, single spaces."""
    return " ".join(name.lower().split())


def _looked_up(index: Mapping[str, str], name: str) -> set[str]:
    """What a name means: the one that it is listed as, or those with other separators.

    "nvidia_h200" means two: a group, and what a driver calls a part of it.
    """
    exact = index.get(_folded(name))
    if exact:
        return {exact}
    joined = _joined(name)
    return {found for spelling, found in index.items() if _joined(spelling) == joined}


_MAKERS = {
    **dict.fromkeys(("nvidia", "geforce", "tesla"), "nvidia"),
    **dict.fromkeys(("amd", "instinct"), "amd"),
    **{name: name for name in ("intel", "huawei")},
}
"""What stands before a name as makers print it, and whose it is."""
_LONGEST = 200
_BRAND = re.compile(rf"\s*({'|'.join(_MAKERS)})[\s_-]+", re.IGNORECASE)


@lru_cache(maxsize=4096)
def _joined(name: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", name.lower())


def _index(kind: str, entries: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """Every spelling, folded, to its id. Raises CatalogueError when two entries share one."""
    index: dict[str, str] = {}
    for key, spellings in entries:
        for spelling in (key, *spellings):
            if index.setdefault(_folded(spelling), key) != key:
                other = index[_folded(spelling)]
                raise CatalogueError(f"{kind}s {other} and {key} are both called '{spelling}'")
    return index


def _entry(kind: str, entries: Mapping[str, Noun], name: str) -> Noun:
    if name not in entries:
        raise UnknownName(kind, name, entries, f"known are {', '.join(list(entries)[:8])}")
    return entries[name]
