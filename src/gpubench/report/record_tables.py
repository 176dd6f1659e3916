"""Everything that one record measured, as tables, in the order in which reports show them."""

from __future__ import annotations

from collections.abc import Iterator

from gpubench.catalogue import Catalogue
from gpubench.records import RunRecord
from gpubench.report import experiments, links, rates, workloads
from gpubench.report.table import Table
from gpubench.workloads import differences


def tables(record: RunRecord, catalogue: Catalogue) -> Iterator[tuple[str, Table]]:
    """(title, table) of all that has rows; the title is empty where the columns say enough."""
    for told in (
        rates.rate_table(record, catalogue),
        rates.shortfall_table(record, catalogue),
        rates.compute_shortfall_table(record, catalogue),
        experiments.in_turn_table(record),
        experiments.heat_table(record),
        experiments.data_table(record, catalogue),
        experiments.roof_table(record, catalogue),
        experiments.point_table(record),
        experiments.transfer_table(record, catalogue),
        workloads.pass_table(record),
        workloads.attention_table(record),
        workloads.capacity_table(record),
        workloads.training_table(record),
        workloads.model_table(record, catalogue),
        rates.time_table(record),
        links.collective_table(record),
        links.sweep_table(record),
        rates.figure_table(record),
    ):
        if told.rows:
            yield "", told
    yield from links.pair_tables(record)


def remarks(record: RunRecord, catalogue: Catalogue) -> list[str]:
    """What weakens the measurements, and where they and the model disagree."""
    return [*rates.warnings(record), *differences.sentences(record, catalogue)]
