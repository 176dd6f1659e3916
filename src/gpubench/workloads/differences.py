"""Where a measurement lies outside what the performance model says, stated error included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpubench import roofline
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotEstimate, MissingFigure, UnknownName
from gpubench.model import Estimate
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.units import Quantity, show
from gpubench.workloads import evidence
from gpubench.workloads.evidence import Figure


@dataclass(frozen=True)
class Held:
    """A measured figure and what the model says under its conditions."""

    figure: Figure
    estimate: Estimate

    @property
    def apart(self) -> bool:
        """The two intervals have no value in common."""
        said = self.estimate
        return self.figure.high < said.low or said.high < self.figure.low

    @property
    def ratio(self) -> float:
        """The model over the measurement."""
        return self.estimate.mid / self.figure.mid


def held(record: RunRecord, catalogue: Catalogue) -> Iterator[Held]:
    """Every measured figure that the model has an answer for."""
    part = catalogue.accelerators.get(record.accelerator)
    if part is None or record.piece:
        return
    for quantity in evidence.QUANTITIES_HERE:
        depends = QUANTITIES[quantity].conditions
        for found in evidence.of(record, quantity):
            asked = {name: value for name, value in found.conditions.items() if name in depends}
            try:
                said = roofline.estimate(quantity, part, asked, catalogue)
            except (CannotEstimate, MissingFigure, UnknownName):
                continue
            yield Held(found, said)


def sentences(record: RunRecord, catalogue: Catalogue) -> list[str]:
    """One for each figure on which model and measurement disagree beyond the model's error."""
    return [_sentence(one) for one in held(record, catalogue) if one.apart]


def _sentence(one: Held) -> str:
    unit, found, said = one.estimate.unit, one.figure, one.estimate
    told = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in found.conditions.items()
    )
    figures_ = [show(Quantity(value, unit)) for value in (found.mid, said.low, said.high)]
    return (
        f"{found.quantity.replace('_', ' ')} ({told}): measured {figures_[0]}, and the model says "
        f"{figures_[1]} to {figures_[2]}; they disagree beyond its stated error"
    )
