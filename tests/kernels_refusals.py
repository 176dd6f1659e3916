"""What wrappers of kernels say to arguments that would make them wrong or slow."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def said(tries: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """The sentence that refuses each call, by its name; "" where it was not refused."""
    found = dict.fromkeys(tries, "")
    for name, attempt in tries.items():
        try:
            attempt()
        except ValueError as error:
            found[name] = str(error)
    return found
