"""The search for a kernel's fastest configuration, which needs neither Triton nor a GPU."""

from __future__ import annotations

import pytest

from gpubench.kernels import search


def test_the_search_keeps_what_it_saw_and_takes_the_fastest() -> None:
    seconds = {"first": 3.0, "second": None, "third": 2.0, "fourth": 2.0}
    best, table = search.search(lambda config: seconds[config], seconds)
    assert best == "third"
    assert table == [("first", 3.0), ("second", None), ("third", 2.0), ("fourth", 2.0)]


def test_a_search_in_which_nothing_ran_says_so() -> None:
    with pytest.raises(ValueError, match="none of the 4 configurations ran"):
        search.search(lambda _: None, range(4))
