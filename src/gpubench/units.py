"""Quantities with units: text at the edges, SI base units between them.

`parse("4.8 TB/s")` gives `Quantity(4.8e12, "B/s")`. GB is 10⁹ bytes and GiB is 2³⁰; a capital B is
a byte and a small b a bit; a multiply-add is two FLOP. Only this file knows prefixes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from gpubench import spellings
from gpubench.errors import UnitError, offer

# One symbol -> (factor, exponents of the base units). A month is a twelfth of a Julian year.
_HOUR_S, _DAY_S, _YEAR_S = 3600.0, 86400.0, 365.25 * 86400.0
_ATOMS: dict[str, tuple[float, dict[str, int]]] = {
    "B": (1.0, {"B": 1}),
    "b": (0.125, {"B": 1}),
    "bit": (0.125, {"B": 1}),
    "FLOP": (1.0, {"FLOP": 1}),
    "FLOPS": (1.0, {"FLOP": 1, "s": -1}),
    "OP": (1.0, {"OP": 1}),
    "OPS": (1.0, {"OP": 1, "s": -1}),
    "s": (1.0, {"s": 1}),
    "min": (60.0, {"s": 1}),
    "h": (_HOUR_S, {"s": 1}),
    "day": (_DAY_S, {"s": 1}),
    "month": (_YEAR_S / 12, {"s": 1}),
    "year": (_YEAR_S, {"s": 1}),
    "Hz": (1.0, {"s": -1}),
    "W": (1.0, {"J": 1, "s": -1}),
    "J": (1.0, {"J": 1}),
    "Wh": (_HOUR_S, {"J": 1}),
    "m": (1.0, {"m": 1}),
    "mm2": (1e-6, {"m": 2}),
    "TPP": (1.0, {"TPP": 1}),
    "token": (1.0, {"token": 1}),
    "parameter": (1.0, {"parameter": 1}),
    "USD": (1.0, {"USD": 1}),
    "CNY": (1.0, {"CNY": 1}),
    "card": (1.0, {"card": 1}),
    "server": (1.0, {"server": 1}),
    "x": (1.0, {}),
    "%": (0.01, {}),
}
_PLURALS = {
    "tokens": "token",
    "parameters": "parameter",
    "cards": "card",
    "servers": "server",
    "hours": "h",
    "days": "day",
    "months": "month",
    "years": "year",
    "bits": "bit",
}
_SINGULARS = {one: many for many, one in _PLURALS.items() if many.startswith(one) and len(one) > 1}
_DECIMAL = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24}
_SMALL = {"m": 1e-3, "µ": 1e-6, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_LARGE_PREFIXED = {"B", "b", "bit", "FLOP", "FLOPS", "OP", "OPS", "Hz", "W", "J", "Wh"}
_SMALL_PREFIXED = {"s", "W", "J", "m"}
_WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}

NUMBER = r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
"""What a figure begins with, as a regular expression."""
_WORD = "|".join(_WORDS)
# Other words for a change. "Faster" is none: it is more of a rate and less of a time.
_CHANGES = {
    **dict.fromkeys(("more", "higher", "larger", "greater", "bigger", "longer"), "more"),
    **dict.fromkeys(("less", "lower", "smaller", "fewer", "shorter", "cheaper"), "less"),
}
_TEXT = re.compile(
    rf"\s*(?P<dollar>\$)?(?P<number>{NUMBER})"
    r"(?:\s*/\s*(?P<divisor>[0-9]+(?:\.[0-9]+)?)(?=\s|$))?"
    rf"(?:\s*(?P<word>{_WORD})\b)?"
    rf"\s*(?P<unit>.*?)(?:\s+(?P<change>{'|'.join(_CHANGES)}))?\s*$"
)
# No figure of this trade lies outside, and products of a few such figures stay finite.
_LEAST, _MOST = 1e-60, 1e60


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in SI base units, such as `Quantity(4.8e12, "B/s")`; a pure number has unit "1"."""

    value: float
    unit: str

    def per(self, other: Quantity) -> float:
        """How many times `other` goes into this. Raises UnitError when the units differ."""
        _same(self, other)
        return self.value / other.value

    def __add__(self, other: Quantity) -> Quantity:
        _same(self, other)
        return Quantity(self.value + other.value, self.unit)

    def __sub__(self, other: Quantity) -> Quantity:
        _same(self, other)
        return Quantity(self.value - other.value, self.unit)

    def __mul__(self, other: Quantity | float) -> Quantity:
        if not isinstance(other, Quantity):
            return Quantity(self.value * other, self.unit)
        return Quantity(self.value * other.value, _combined(self.unit, other.unit, 1))

    __rmul__ = __mul__

    def __truediv__(self, other: Quantity | float) -> Quantity:
        if not isinstance(other, Quantity):
            return Quantity(self.value / other, self.unit)
        return Quantity(self.value / other.value, _combined(self.unit, other.unit, -1))

    def __str__(self) -> str:
        return show(self)


@dataclass(frozen=True, slots=True)
class Printed:
    """A figure as an article printed it.

    `value` is the figure itself (0.41 for "41 % less"), `step` one unit in its last printed digit,
    `change` says whether it is an increase ("more") or decrease ("less") over a baseline, and
    `unit` is the unit as it was typed.
    """

    text: str
    value: Quantity
    step: float
    change: str = ""
    unit: str = ""

    @property
    def divides(self) -> bool:
        """Whether it is written as "25 x less", which is a 25th."""
        return self.change == "less" and self.unit == "x"

    def as_found(self, value: float) -> float:
        """A value in the printed frame, in the frame of what is found: 41 % less is 0.59 times, and
        25 x less a 25th.
        """
        if self.divides:
            return 1 / value if value > 0 else math.inf
        return {"": value, "more": 1 + value, "less": 1 - value}[self.change]

    @property
    def one(self) -> float:
        """One of the unit as it was typed, in SI: 86,400 of "78 days"."""
        return _resolve(self.unit or "1", self.unit)[0]

    def show(self, found: float, digits: int = 3) -> str:
        """A found value (SI) in the way this was written: 0.59 as "41 % less"."""
        if self.divides:
            if 0 < found < 1:
                return f"{show(Quantity(1 / found, '1'), 'x', digits)} less"
            return f"{show(Quantity(found, '1'), 'x', digits)} as much"
        if self.change:
            word = "more" if found > 1 or (found == 1 and self.change == "more") else "less"
            return f"{_rounded(round(100 * abs(found - 1), 1), digits)} % {word}"
        if self.value.unit in _COUNTED:  # "5.5 billion USD" was typed with the unit USD
            return show(Quantity(found, self.value.unit), None, digits)
        said = show(Quantity(found, self.value.unit), self.unit or "1", digits)
        if self.unit in _SINGULARS and not said.startswith("1 "):  # "1 year" was typed for 54 years
            return f"{said.removesuffix(self.unit)}{_SINGULARS[self.unit]}"
        return said


def parse(text: str) -> Quantity:
    """Read "4.8 TB/s", "80 GB", "5.5 billion USD", "41 %" or "1/23 x".

    Raises:
        UnitError: the text is no number with a known unit, or the number is not finite.
    """
    printed = parse_printed(text)
    if printed.change:
        raise UnitError(f"'{text}' is a change over something; write a figure such as '1.6 x'")
    return printed.value


def parse_printed(text: str, wanted: str = "") -> Printed:
    """Like `parse`, keeping the last printed digit, and reading "60 % more" and "41 % less".

    `wanted` is the base unit that the figure should have, of which an error offers an example.
    """
    match = _TEXT.match(text)
    if not match:
        such = example(wanted) if wanted else "'4.8 TB/s'"
        raise UnitError(f"cannot read '{text}': write a number and a unit, such as {such}")
    number = match["number"].replace(",", "")
    symbol = spellings.symbol(match["unit"], bool(match["dollar"]))
    scale, unit = _resolve(symbol or "1", text, wanted)
    if match["word"]:
        scale *= _WORDS[match["word"]]
    if match["divisor"]:
        if float(match["divisor"]) == 0:
            raise UnitError(f"cannot read '{text}': it divides by zero")
        scale /= float(match["divisor"])
    value = float(number) * scale
    if not abs(value) <= _MOST:
        raise UnitError(f"cannot read '{text}': the number is too large to be a figure")
    if abs(value) < _LEAST and re.search("[1-9]", _mantissa(number)):
        raise UnitError(f"cannot read '{text}': the number is too small to be a figure")
    change = _CHANGES.get(match["change"], "")
    if change:
        _check_change(text, change, unit, symbol, value)
    return Printed(text.strip(), Quantity(value, unit), _last_digit(number) * scale, change, symbol)


def _check_change(text: str, change: str, unit: str, symbol: str, value: float) -> None:
    """Raises UnitError where a change cannot be told, or may mean two things."""
    if unit != "1" or not symbol:
        raise UnitError(
            f"cannot read '{text}': '{change}' goes with a percentage, as in '60 % more'"
        )
    if symbol == "x" and change == "more":
        raise UnitError(
            f"'{text}' may mean {value:g} or {1 + value:g} times as much: write '{value:g} x' or "
            f"'{100 * value:g} % more'"
        )
    if symbol == "x" and change == "less" and value <= 1:
        raise UnitError(f"'{text}' is no less: write how many times less, as in '4 x less'")


def ends_in_change(text: str) -> str:
    """The word at the end of a figure that makes it a change, such as "more", or nothing."""
    found = re.search(rf"\s+({'|'.join(_CHANGES)})\s*$", text)
    return found[1] if found else ""


def show(quantity: Quantity, unit: str | None = None, digits: int = 3) -> str:
    """Write a quantity for a person: "4.29 TB/s"; in `unit`, if given ("GB/s").

    Raises:
        UnitError: `unit` is unknown or of another dimension.
    """
    if unit is not None:
        scale, base = _resolve(unit, unit)
        if base != quantity.unit:
            raise UnitError(f"cannot write {quantity.value:g} {quantity.unit} in {unit}")
        return _joined(_rounded(quantity.value / scale, digits), unit)
    for scale, name in _SHOWN.get(quantity.unit, ()):
        if abs(quantity.value) >= scale * 0.9995:
            return _joined(_rounded(quantity.value / scale, digits), name)
    if quantity.unit in _SHOWN:
        scale, name = _SHOWN[quantity.unit][-1]
        return _joined(_rounded(quantity.value / scale, digits), name)
    return _joined(_rounded(quantity.value, digits), quantity.unit)


def between(first: str, last: str) -> str:
    """Two shown figures as a range: "4.1 TB/s" and "4.8 TB/s" as "4.1 to 4.8 TB/s"."""
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    same = unit == last.partition(" ")[2]
    return f"{number if same else first} to {last}"


def remedy(figure: Quantity, unit: str) -> str:
    """What to write in place of a figure whose unit should be `unit`, with its own number where
    the two are easily mistaken: "write it as '3.35 TB/s'" for 3.35 TB where B/s is wanted.
    """
    if _counted(figure.unit) and _counted(figure.unit) == _counted(unit):
        return f"write it as '{show(Quantity(figure.value, unit), digits=12)}'"
    return f"write a figure such as {example(unit)}"


def _counted(unit: str) -> str:
    """Whether bytes or operations are counted, a second or at all; "" for anything else."""
    return {"B": "bytes", "FLOP": "operations", "OP": "operations"}.get(unit.removesuffix("/s"), "")


def example(unit: str) -> str:
    """A figure in a base unit, as one would type it: "4.8 TB/s" for B/s."""
    return _EXAMPLES.get(unit, f"1 {unit}")


_EXAMPLES = {
    "1": "'1.6 x', '20 %' or '60 % more'",
    "B": "'80 GB'",
    "B/s": "'4.8 TB/s'",
    "FLOP/s": "'148 TFLOPS'",
    "OP/s": "'296 TOPS'",
    "J/s": "'700 W'",
    "s": "'30 days'",
    "1/s": "'1830 MHz'",
    "m2": "'814 mm2'",
    "USD": "'5.5 billion USD'",
    "CNY": "'170000 CNY'",
    "USD/s": "'4.7 USD/h'",
    "CNY/s": "'70000 CNY/month'",
    "parameter": "'7 billion parameters'",
    "token": "'14.8 trillion tokens'",
    "token/s": "'3000 token/s'",
    "J/token": "'0.5 J/token'",
    "USD/token": "'0.6 USD/million tokens'",
    "card": "'900000 cards'",
    "TPP": "'4800 TPP'",
    "TPP/m2": "'5.92 TPP/mm2'",
    "CNY/server": "'1 million CNY/server'",
}


def _ladder(symbol: str, steps: dict[str, float], tail: str = "") -> list[tuple[float, str]]:
    return [(factor, prefix + symbol + tail) for prefix, factor in steps.items()]


_STEPS = {
    "Y": 1e24,
    "Z": 1e21,
    "E": 1e18,
    "P": 1e15,
    "T": 1e12,
    "G": 1e9,
    "M": 1e6,
    "k": 1e3,
    "": 1.0,
}
_RATES = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}
_COUNTS = [(1e12, "trillion "), (1e9, "billion "), (1e6, "million "), (1.0, "")]
_COUNTED = ("USD", "CNY", "parameter", "token")
_SHOWN: dict[str, list[tuple[float, str]]] = {
    "1": [(1.0, "x")],
    "B": _ladder("B", {k: v for k, v in _STEPS.items() if k not in "YZE" or not k}),
    "B/s": _ladder("B", _RATES, "/s"),
    "FLOP": _ladder("FLOP", _STEPS),
    "FLOP/s": _ladder("FLOPS", _RATES),
    "OP/s": _ladder("OPS", _RATES),
    "FLOP/B": [(1.0, "FLOP/B")],
    "FLOP/J": _ladder("FLOP", _RATES, "/J"),
    "OP/J": _ladder("OP", _RATES, "/J"),
    "B/J": _ladder("B", _RATES, "/J"),
    "J/s": _ladder("W", {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0}),
    "J": _ladder("J", {**_RATES, "m": 1e-3, "µ": 1e-6}),
    "J/token": [(1.0, "J/token"), (1e-3, "mJ/token")],
    "USD/token": [(1e-6, "USD/million tokens")],
    "s": [
        (_YEAR_S, "years"),
        (_DAY_S, "days"),
        (_HOUR_S, "h"),
        (1.0, "s"),
        (1e-3, "ms"),
        (1e-6, "µs"),
    ],
    "1/s": [(1e9, "GHz"), (1e6, "MHz"), (1.0, "Hz")],
    "m2": [(1e-6, "mm2")],
    "TPP/m2": [(1e6, "TPP/mm2")],
    "USD/s": [(1 / _HOUR_S, "USD/h")],
    "CNY/s": [(12 / _YEAR_S, "CNY/month")],
    **{name: [(f, word + name) for f, word in _COUNTS] for name in _COUNTED[:2]},
    "parameter": [(f, word + "parameters") for f, word in _COUNTS],
    "token": [(f, word + "tokens") for f, word in _COUNTS],
    "card": [(1.0, "cards")],
    "server": [(1.0, "servers")],
    "token/s": [(1.0, "token/s")],
}


def _same(left: Quantity, right: Quantity) -> None:
    if left.unit != right.unit:
        raise UnitError(f"{left.unit} and {right.unit} cannot be compared")


@lru_cache(maxsize=4096)
def _resolve(name: str, text: str, wanted: str = "") -> tuple[float, str]:
    """(factor, base unit) of a unit such as "TB/s", "USD/h", "J/million tokens" or "1"."""
    factor, powers = 1.0, dict[str, int]()
    for position, part in enumerate(name.split("/")):
        sign = 1 if position == 0 else -1
        word, blank, rest = part.strip().partition(" ")
        if blank and word in _WORDS:
            factor *= _WORDS[word] ** sign
            part = rest
        for symbol in part.strip().split("*"):
            if symbol.strip() == "1":
                continue
            scale, exponents = _atom(symbol.strip(), text, wanted)
            factor *= scale**sign
            for base, exponent in exponents.items():
                powers[base] = powers.get(base, 0) + sign * exponent
    return factor, _written(powers)


def _atom(symbol: str, text: str, wanted: str) -> tuple[float, dict[str, int]]:
    symbol = _PLURALS.get(symbol, symbol)
    if symbol in _ATOMS:
        return _ATOMS[symbol]
    for table, allowed in (
        (_BINARY, {"B"}),
        (_DECIMAL, _LARGE_PREFIXED),
        (_SMALL, _SMALL_PREFIXED),
    ):
        for prefix, scale in table.items():
            rest = symbol[len(prefix) :]
            if symbol.startswith(prefix) and rest in allowed:
                base, exponents = _ATOMS[rest]
                return scale * base, exponents
    common = [*_ATOMS, "GB", "GiB", "GB/s", "TB/s", "Gb/s", "TFLOPS", "TOPS", "MHz", "ms"]
    such = f"write a figure such as {example(wanted)}" if wanted else "as in TB/s or TFLOPS"
    tip = offer(symbol, common, such)
    raise UnitError(f"unknown unit '{symbol}' in '{text}': {tip}")


@lru_cache(maxsize=4096)
def _combined(left: str, right: str, sign: int) -> str:
    powers = _powers(left)
    for base, exponent in _powers(right).items():
        powers[base] = powers.get(base, 0) + sign * exponent
    return _written(powers)


def _powers(unit: str) -> dict[str, int]:
    powers: dict[str, int] = {}
    for position, part in enumerate(unit.split("/")):
        for symbol in part.split("*"):
            if symbol == "1":
                continue
            name = symbol.rstrip("0123456789")
            exponent = int(symbol[len(name) :] or 1)
            powers[name] = powers.get(name, 0) + (exponent if position == 0 else -exponent)
    return powers


def _written(powers: dict[str, int]) -> str:
    def term(base: str, exponent: int) -> str:
        return base if exponent == 1 else f"{base}{exponent}"

    above = [term(b, e) for b, e in sorted(powers.items()) if e > 0]
    below = [term(b, -e) for b, e in sorted(powers.items()) if e < 0]
    return "/".join(["*".join(above) or "1", *below])


def _last_digit(number: str) -> float:
    """One unit in the last printed digit: 0.1 for "4.8", 1 for "80"."""
    decimals = len(_mantissa(number).partition(".")[2])
    exponent = int(number.lower().partition("e")[2] or 0)
    # A zero may carry any exponent; beyond these its last digit is no step to speak of.
    return float(10.0 ** max(-300, min(300, exponent - decimals)))


def _mantissa(number: str) -> str:
    return number.lower().partition("e")[0]


def _rounded(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if decimals > 9:
        return f"{value:.{digits}g}"
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _joined(number: str, unit: str) -> str:
    return number if unit == "1" else f"{number} {unit}"
