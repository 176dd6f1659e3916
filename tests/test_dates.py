"""Dates as articles print them are spans of days."""

import datetime

import pytest

from gpubench.dates import span
from gpubench.errors import UnitError


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023-11-13", (2023, 11, 13), (2023, 11, 13)),
        ("2024-02", (2024, 2, 1), (2024, 2, 29)),
        ("2024-Q2", (2024, 4, 1), (2024, 6, 30)),
        ("2023", (2023, 1, 1), (2023, 12, 31)),
    ],
)
def test_a_date_is_the_days_it_names(
    text: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    assert span(text) == (datetime.date(*first).toordinal(), datetime.date(*last).toordinal())


@pytest.mark.parametrize(
    "text",
    ["2023-13", "2023-02-30", "late 2023", "2023-Q5", "2023-00", "2023-00-00", "", "23-01-01"],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="write 2023-11-13"):
        span(text)
