"""Everything that one record measured, as tables, in the order in which reports show them."""

from __future__ import annotations

from collections.abc import Iterator

from gpubench.catalogue import Catalogue
from gpubench.records import RunRecord
from gpubench.report import experiments, links, rates, workloads
from gpubench.report.table import Table
from gpubench.workloads import differences


def tables(
    record: RunRecord, catalogue: Catalogue, brief: bool = False
) -> Iterator[tuple[str, Table]]:
    """(title, table) of all that has rows; the title is empty where the columns say enough. Brief
    leaves out what only a report has room for.
    """
    for in_brief, told in (
        (True, rates.rate_table(record, catalogue)),
        (True, rates.shortfall_table(record, catalogue)),
        (False, rates.compute_shortfall_table(record, catalogue)),
        (True, experiments.in_turn_table(record)),
        (False, experiments.heat_table(record)),
        (False, experiments.data_table(record, catalogue)),
        (True, experiments.roof_table(record, catalogue)),
        (False, experiments.point_table(record)),
        (False, experiments.transfer_table(record, catalogue)),
        (True, workloads.pass_table(record)),
        (True, workloads.attention_table(record)),
        (True, workloads.capacity_table(record)),
        (True, workloads.training_table(record)),
        (False, workloads.model_table(record, catalogue)),
        (True, rates.time_table(record)),
        (True, links.collective_table(record)),
        (True, links.sweep_table(record)),
        (True, rates.figure_table(record)),
    ):
        if told.rows and (in_brief or not brief):
            yield "", told
    yield from links.pair_tables(record)


def remarks(record: RunRecord, catalogue: Catalogue) -> list[str]:
    """What weakens the measurements, and where they and the model disagree."""
    return [*rates.warnings(record), *differences.sentences(record, catalogue)]
