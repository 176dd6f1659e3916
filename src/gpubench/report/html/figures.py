"""The page's charts: each a drawing, what it shows in words, and the same figures as a table."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from gpubench.catalogue import PUBLISHED_TABLE, Catalogue
from gpubench.errors import CannotEstimate, GpubenchError
from gpubench.model import Accelerator, LanguageModel
from gpubench.report.charts import inline as inlining
from gpubench.report.charts import roofline as rooflines
from gpubench.report.charts import shares, telemetry, uplift, validation
from gpubench.report.findings import Findings
from gpubench.report.html.language import Language, safe
from gpubench.roofline import sweep
from gpubench.units import Quantity, show
from gpubench.validating import scoring

if TYPE_CHECKING:
    from gpubench.validating.scoring import Comparison

USUAL = ("nvidia-h200-sxm", "nvidia-h100-sxm5")
"""The parts that are compared where the claims name no others."""

_MODEL = "llama-2-70b"
_DEVICES = (2, 4, 8)  # the first on which anything fits
_LENGTHS = (128, 256, 512, 1024, 2048)
# Two of the longest are what the model is published for.
_BATCHES = (1, 8, 64, sweep.MAX)
_PRECISIONS = ("fp8",)


@dataclass(frozen=True)
class Figure:
    """A chart and all that stands around it. `absent` says why there is none."""

    id: str
    title: Markup
    caption: Markup
    drawing: Markup
    said: Markup
    head: Sequence[Markup] = ()
    rows: Sequence[Sequence[Markup]] = ()
    absent: Markup | str = ""


@dataclass(frozen=True)
class Choice:
    """An accelerator that the roofline can show, with its row of the table."""

    id: str
    name: str
    cells: Sequence[Markup]


@dataclass(frozen=True)
class Roofline:
    """The roofline's figure, the parts to choose from, and the two that are shown at first."""

    figure: Figure
    choices: Sequence[Choice]
    first: str
    second: str


class Figures:
    """Makes the charts of a page."""

    def __init__(self, findings: Findings, language: Language) -> None:
        self.findings, self.language, self.page = findings, language, language.page
        self.catalogue = findings.catalogue

    def all(self) -> list[Figure]:
        """The charts that Vega draws, in the page's order."""
        found = list(self._telemetry())
        for name, make in (("uplift", self._uplift), ("validation", self._validation)):
            try:
                found.append(make())
            except (GpubenchError, ModuleNotFoundError) as error:  # numpy, for one, may be missing
                found.append(self._absent(name, self.page("absent", why=str(error))))
        return found

    def _absent(self, name: str, why: Markup) -> Figure:
        empty = Markup("")
        return Figure(name, self.page(name), empty, empty, empty, absent=why)

    def _plain(self, key: str) -> str:
        """A wording as text, for a drawing that escapes it."""
        return str(self.page(key).unescape())

    def _drawn(self, name: str, chart: object) -> Markup:
        return Markup(inlining.inline(chart, name, self.language.svg))

    # ----------------------------------------------------------------------- roofline

    def roofline(self) -> Roofline | None:
        """The roofs of all accelerators, two of them shown."""
        roofs = rooflines.roofs(self.catalogue, self.findings.measured)
        if len(roofs) < 2:
            return None
        first, second = self._two(roofs)
        axes = self._plain("roofline-x"), self._plain("roofline-y")
        memory = {name: show(Quantity(roofs[name].memory, "B/s")) for name in (first, second)}
        said = self.page(
            "roofline-said",
            first=roofs[first].part.name,
            second=roofs[second].part.name,
            first_memory=memory[first],
            second_memory=memory[second],
        )
        drawing = rooflines.draw(roofs, first, second, axes, str(said.unescape()))
        figure = Figure(
            "roofline",
            self.page("roofline"),
            self.page("roofline-caption"),
            Markup(drawing),
            said,
            head=self._roof_head(),
        )
        choices = [
            Choice(roof.part.id, roof.part.name, self._roof_row(roof))
            for roof in rooflines.choices(roofs)
        ]
        return Roofline(figure, choices, first, second)

    def _two(self, roofs: Mapping[str, rooflines.Roof]) -> tuple[str, str]:
        """What was measured or is claimed most, and what it is compared with most."""
        claims = self.findings.claims.values()
        subjects = Counter(name for claim in claims for name in claim.subjects)
        baselines = Counter(name for claim in claims for name in claim.baselines)
        order = [record.accelerator for record in self.findings.measured]
        order += [name for name, _ in subjects.most_common()]
        first = next((name for name in (*order, *USUAL) if name in roofs), "")
        # Variants of one part differ in little, so that another one beside it shows more.
        groups = [one.members for one in self.catalogue.groups.values() if first in one.members]
        alike = {first, *min(groups, key=len, default=())}
        others = [name for name, _ in baselines.most_common()]
        second = next(n for n in (*others, *USUAL, *roofs) if n in roofs and n not in alike)
        return first, second

    def _roof_head(self) -> list[Markup]:
        peaks = [self.page("peak", precision=name.upper()) for name in rooflines.PRECISIONS]
        rows = [self.page("estimated-points", rows=n) for n in (1, 64, 8192)]
        names = "accelerator", "bandwidth"
        last = self.page("ridge"), *rows, self.page("measured-points")
        return [*(self.page(name) for name in names), *peaks, *last]

    def _roof_row(self, roof: rooflines.Roof) -> list[Markup]:
        def rate(value: float | None) -> Markup:
            return safe(show(Quantity(value, "FLOP/s")) if value else "–")

        wide = next((name for name in ("fp16", "bf16") if name in roof.peaks), "")
        ridge = f"{roof.ridge(wide):.0f} FLOP/B" if wide else "–"
        by_rows = {point.name.split()[1]: point.mid for point in roof.estimated}
        return [
            safe(roof.part.name),
            safe(show(Quantity(roof.memory, "B/s"))),
            *(rate(roof.peaks.get(name)) for name in rooflines.PRECISIONS),
            safe(ridge),
            *(rate(by_rows.get(n)) for n in ("1", "64", "8192")),
            safe(len(roof.measured)) if roof.measured else self.page("none-measured"),
        ]

    # ----------------------------------------------------------------------- measured and published

    def shares(self) -> dict[Markup, list[tuple[shares.Share, Markup]]]:
        """Every sustained rate with its bar, by what it is a rate of; bandwidth first."""
        found = shares.measured(self.findings.measured, self.catalogue)
        found += shares.published(self.catalogue)
        groups: dict[Markup, list[tuple[shares.Share, Markup]]] = {}
        for share in sorted(found, key=lambda one: (one.figure != "memory_bandwidth", one.figure)):
            precision = share.figure.removeprefix("peak_")
            name = self.language.quantity(share.figure)
            if precision != share.figure:
                name = safe(precision.replace("_", ", ").upper())
            groups.setdefault(name, []).append((share, Markup(shares.bar(share))))
        return groups

    def _telemetry(self) -> Iterable[Figure]:
        drawn = False
        for number, record in enumerate(self.findings.measured):
            if found := telemetry.traces(record):
                drawn = True
                yield self._trace(f"telemetry-{number}", record.device, found)
        if not drawn:
            yield self._absent("telemetry", self.page("telemetry-none"))

    def _trace(self, name: str, device: str, found: Sequence[telemetry.Trace]) -> Figure:
        chart = telemetry.lines(found, self._plain("telemetry-axis"))
        what = safe(f"{device}: " + "; ".join(trace.name for trace in found))
        rows = [
            [
                safe(trace.name),
                safe(self.language.svg(title)),
                *(safe(f"{value:,.0f}") for value in (values[0], min(values), values[-1])),
            ]
            for trace in found
            for reading, (title, _) in telemetry.READINGS.items()
            if (values := trace.values.get(reading))
        ]
        names = ("what", "reading-of", "first-value", "least-value", "last-value")
        return Figure(
            name,
            self.page("telemetry"),
            self.page("telemetry-caption", what=what),
            self._drawn(name, chart),
            self.page("telemetry-said", what=what),
            [self.page(name) for name in names],
            rows,
        )

    # ----------------------------------------------------------------------- the model

    def _uplift(self) -> Figure:
        parts, model = self._compared_most()
        devices, found = self._swept(parts, model)
        axes, plane = found.axes, found.planes[0]
        values = sorted(float(value) for value in found.values)
        rows = []
        for place, batch in enumerate(axes.batches):
            assert plane.uplift is not None
            some = sorted(float(v) for v in plane.uplift[place].ravel() if v == v)
            name = safe(self.language.svg(uplift.batch_name(batch)))
            cells = (some[0], statistics.median(some), some[-1]) if some else ()
            rows.append([name, *(safe(f"{value:.2f} x") for value in cells)])
        words = {"model": model.name, "precision": plane.precision.upper(), "devices": devices}
        names = ("batch", "least", "median", "most")
        return Figure(
            "uplift",
            self.page("uplift"),
            self.page("uplift-caption", subject=parts[0].name, baseline=parts[1].name, **words),
            self._drawn("uplift", uplift.panels(found, plane)),
            self.page(
                "uplift-said",
                low=f"{values[0]:.2f}",
                high=f"{values[-1]:.2f}",
                median=f"{statistics.median(values):.2f}",
            ),
            [self.page(name) for name in names],
            rows,
        )

    def _swept(
        self, parts: tuple[Accelerator, Accelerator], model: LanguageModel
    ) -> tuple[int, sweep.Sweep]:
        """On the first number of devices on which the model fits. Raises CannotEstimate."""
        for place, devices in enumerate(_DEVICES, 1):
            axes = sweep.Axes(_BATCHES, _LENGTHS, _LENGTHS, _PRECISIONS, (devices,))
            try:
                return devices, sweep.sweep(*parts, model, axes)
            except CannotEstimate:
                if place == len(_DEVICES):
                    raise
        raise AssertionError("the last one was tried")

    def _compared_most(self) -> tuple[tuple[Accelerator, Accelerator], LanguageModel]:
        """The two parts that most claims on serving compare, and the model they name most."""
        pairs, models = Counter[tuple[str, str]](), Counter[str]()
        for claim in self.findings.claims.values():
            if "inference_throughput" not in claim.quantities:
                continue
            pairs.update(itertools.product(claim.subjects, claim.baselines))
            models.update(claim.sweep.get("model") or [claim.conditions.get("model", _MODEL)])
        first, second = pairs.most_common(1)[0][0] if pairs else USUAL
        model = models.most_common(1)[0][0] if pairs else _MODEL
        known = self.catalogue
        return (known.accelerators[first], known.accelerators[second]), known.model(model)

    def _validation(self) -> Figure:
        found = _compared(self.catalogue)
        whole = found.absolute["all"]["all"]
        by_kind = found.absolute["scenario"]
        told = {
            "rows": f"{whole.count:,}",
            "median": _percent(whole.median, 1),
            "q90": _percent(whole.q90, 1),
        }
        names = ("kind-of-row", "rows", "median-error", "q90-error")
        return Figure(
            "validation",
            self.page("validation"),
            self.page("validation-caption", **told),
            self._drawn("validation", validation.density(found)),
            self.page("validation-said", **told),
            [self.page(name) for name in names],
            [
                [
                    safe(name.replace("_", " ")),
                    safe(f"{errors.count:,}"),
                    safe(_percent(errors.median, 1)),
                    safe(_percent(errors.q90, 1)),
                ]
                for name, errors in by_kind.items()
            ],
        )


def _compared(catalogue: Catalogue) -> Comparison:
    """The shipped table beside the model."""
    return scoring.compare(catalogue.inference_table(PUBLISHED_TABLE), catalogue)


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
