"""Dates as articles print them: a day, a month, a quarter or a year, each a span of days."""

from __future__ import annotations

import calendar
import datetime
import re

from gpubench.errors import UnitError

_FORMS = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(\d{2})(?:-(\d{2}))?))?", re.ASCII)


def span(text: str) -> tuple[int, int]:
    """First and last day as proleptic ordinals: "2023-11" is all of November 2023.

    Raises:
        UnitError: the text is no such date.
    """
    match = _FORMS.fullmatch(text)
    try:
        if not match:
            raise ValueError
        year, quarter, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        if day is not None and month is not None:
            first = last = datetime.date(year, month, day)
        elif month is not None:
            first = datetime.date(year, month, 1)
            last = first.replace(day=calendar.monthrange(year, month)[1])
        elif quarter:
            first = datetime.date(year, 3 * quarter - 2, 1)
            last = datetime.date(year, 3 * quarter, calendar.monthrange(year, 3 * quarter)[1])
        else:
            first, last = datetime.date(year, 1, 1), datetime.date(year, 12, 31)
    except ValueError:
        raise UnitError(
            f"cannot read the date '{text}': write 2023-11-13, 2023-11, 2023-Q4 or 2023"
        ) from None
    return first.toordinal(), last.toordinal()
