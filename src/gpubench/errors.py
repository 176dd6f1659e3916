"""Every error a person can meet, as a tree.

GpubenchError                 shown as one line, without a traceback
├── UnitError                 a unit that is unknown, or two that do not match
├── UnknownName               an accelerator, model, rule, quantity … that nobody lists
│   └── AmbiguousName         a name that leaves the variant open
├── MissingFigure             the catalogue lists the part but not this figure
├── CatalogueError            a catalogue file contradicts itself
├── ClaimsError               claims.yaml cannot be used; holds every problem of the file
├── CannotEstimate            the model has no answer for these conditions, and says why
│   └── DoesNotFit            weights and state exceed the memory
├── CannotMeasure             what was asked for needs hardware that is not here
│   ├── DeviceLost            the device stopped answering half-way
│   └── WrongResult           a kernel's answer is not what it should be; it is never timed
├── RecordError               a file under results/ that cannot be read or written
└── CannotReport              a form of report that is unknown, or needs a package that is missing
"""

from __future__ import annotations

from collections.abc import Iterable


class GpubenchError(Exception):
    """An expected error: its text is a sentence that says what, where and what to do."""

    exit_code = 2


class UnitError(GpubenchError):
    """A unit that is unknown, or two quantities whose units do not match."""


class UnknownName(GpubenchError):
    """A name nobody lists; the message offers those nearest to it, or to `near`."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", near: str = ""
    ) -> None:
        self.kind, self.name = kind, name
        found = near_matches(near or name, known)
        offer = f"did you mean {' or '.join(found)}?" if found else hint or f"no {kind} is similar"
        super().__init__(f"unknown {kind} '{name}': {offer}")


class AmbiguousName(UnknownName):
    """A name that leaves open which of several is meant; the message lists them."""

    def __init__(self, kind: str, name: str, members: Iterable[str]) -> None:
        self.kind, self.name = kind, name
        *first, last = members
        either = f"{', '.join(first)} or {last}" if first else last
        GpubenchError.__init__(self, f"{kind} '{name}' names several variants: write {either}")


class MissingFigure(GpubenchError):
    """The catalogue knows the part, but nobody has published this figure of it."""

    exit_code = 3


class CatalogueError(GpubenchError):
    """A catalogue file that contradicts itself or names something it does not hold."""


class ClaimsError(GpubenchError):
    """claims.yaml cannot be used. `problems` holds one sentence for every error of the file."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class CannotEstimate(GpubenchError):
    """The model has no answer under these conditions; the message gives the reason."""

    exit_code = 3


class DoesNotFit(CannotEstimate):
    """Weights, cache or optimizer state exceed the memory at hand."""


class CannotMeasure(GpubenchError):
    """What was asked for needs hardware or software that is not here."""

    exit_code = 3


class DeviceLost(CannotMeasure):
    """The device stopped answering; nothing more can be measured in this process."""


class WrongResult(CannotMeasure):
    """A kernel's answer differs from the reference, so its speed means nothing."""


class RecordError(GpubenchError):
    """A record that cannot be read, or a folder that cannot be written."""


class CannotReport(GpubenchError):
    """A form of report that nobody knows, or that needs a package which is not installed."""


_MOST_OFFERED = 3


def offer(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to try in place of a name that is not known: the nearest ones, or what is said."""
    near = near_matches(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def near_matches(name: str, known: Iterable[str]) -> list[str]:
    """The names in `known` most like `name`, best first: those that hold it, then by letters."""
    import difflib  # only a mistake needs it, and `--help` should appear at once

    pool = sorted(set(known))
    folded = {entry.lower(): entry for entry in pool}
    like = difflib.get_close_matches(name.lower(), list(folded), n=_MOST_OFFERED, cutoff=0.6)
    longer = [key for key in folded if len(name) > 2 and name.lower() in key]
    return [folded[key] for key in dict.fromkeys((*longer, *like))][:_MOST_OFFERED]
