"""Units as people type them, in symbols: "TB/s" of "terabytes per second", "x" of "times"."""

from __future__ import annotations

import re

_SPELLINGS = {
    **dict.fromkeys(("x", "times", "×", "倍"), "x"),
    **dict.fromkeys(("percent", "％"), "%"),
    **dict.fromkeys(("second", "seconds", "sec"), "s"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    "hour": "h",
    **dict.fromkeys(("bit", "bits"), "bit"),
    **dict.fromkeys(("byte", "bytes"), "B"),
    **dict.fromkeys(("joule", "joules"), "J"),
    **dict.fromkeys(("watt", "watts"), "W"),
    "hertz": "Hz",
    "flops": "FLOPS",
}
_PREFIXES = {
    "kilo": "k",
    "mega": "M",
    "giga": "G",
    "tera": "T",
    "peta": "P",
    "exa": "E",
    "milli": "m",
    "micro": "µ",
    "nano": "n",
}
_COUNTS = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion", "T": "trillion"}


def symbol(typed: str, dollar: bool = False) -> str:
    """What was typed behind a number, in symbols; behind a `dollar` sign "billion USD" of "B".

    What is no spelling of a unit stays as it is.
    """
    typed = typed.strip().replace("per cent", "percent")
    first, *others = re.split(r"\s*/\s*|(?:^|\s+)per\s+", typed)
    if dollar:
        letter = _COUNTS.get(first, "")
        first = f"{letter} USD".strip() if letter or not first else f"USD {first}"
    return "/".join(_spelled(part) for part in (first, *others))


def _spelled(part: str) -> str:
    if counted := re.fullmatch(r"(?:1\s*)?([kKMBT])\s*(tokens?|parameters?)", part):
        return f"{_COUNTS[counted[1]]} {counted[2]}"
    if part == "FLOPs":  # so many of them
        return "FLOP"
    if part.lower() in _SPELLINGS:
        return _SPELLINGS[part.lower()]
    for prefix, letter in _PREFIXES.items():
        rest = part[len(prefix) :].lower()
        if part.lower().startswith(prefix) and rest in _SPELLINGS:
            return letter + _SPELLINGS[rest]
    each_second = re.fullmatch(r"([kMGT]?[bB])ps", part)
    return f"{each_second[1]}/s" if each_second else part
