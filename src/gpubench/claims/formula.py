"""Formulas over printed figures: `1 - now / before`, on intervals with units.

The grammar is the four operations, unary minus, parentheses, numbers and names. Anything else is
refused when the claims file is read, not when the formula runs.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gpubench.errors import UnitError
from gpubench.units import Quantity


@dataclass(frozen=True, slots=True)
class Range:
    """An interval with a unit: the least, the printed, and the greatest value."""

    low: Quantity
    mid: Quantity
    high: Quantity

    @classmethod
    def of(cls, quantity: Quantity) -> Range:
        """The interval of a single value."""
        return cls(quantity, quantity, quantity)


def names(formula: str) -> frozenset[str]:
    """The names a formula uses. Raises UnitError when it is no formula of our grammar."""
    return frozenset(node.id for node in ast.walk(_parsed(formula)) if isinstance(node, ast.Name))


def evaluate(formula: str, inputs: Mapping[str, Range]) -> Range:
    """The value of a formula by interval arithmetic, every input taken as independent.

    Raises:
        UnitError: units do not match, a divisor's interval contains zero, or the value is too
            large to be a number.
    """
    found = _value(_parsed(formula), inputs)
    if not all(math.isfinite(end.value) for end in (found.low, found.mid, found.high)):
        raise UnitError(f"the value of the formula '{formula}' is too large to be a figure")
    return found


# Python reads other letters as these, and takes what follows a '#' for a comment.
_WRITTEN = re.compile(r"[A-Za-z0-9_.+\-*/() ]*")
_TOO_MUCH = "the formula '{}' uses more than + - * / ( ), numbers and names of inputs"
_MOST = 1e60


@lru_cache(maxsize=4096)
def _parsed(formula: str) -> ast.expr:
    if not _WRITTEN.fullmatch(formula):
        raise UnitError(_TOO_MUCH.format(formula))
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnitError(
            f"cannot read the formula '{formula}': write one such as '1 - now / before'"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                raise UnitError(f"{node.value!r} in the formula '{formula}' is no number")
            if node.value > _MOST:
                raise UnitError(f"a number in the formula '{formula}' is too large to be a figure")
        if not isinstance(node, _ALLOWED):
            raise UnitError(_TOO_MUCH.format(formula))
    return tree


_ALLOWED = (
    ast.BinOp,
    ast.UnaryOp,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.USub,
)


def _value(node: ast.expr, inputs: Mapping[str, Range]) -> Range:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Range.of(Quantity(float(node.value), "1"))
    if isinstance(node, ast.Name):
        return inputs[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, inputs)
        return Range(inner.high * -1.0, inner.mid * -1.0, inner.low * -1.0)
    assert isinstance(node, ast.BinOp)
    left, right = _value(node.left, inputs), _value(node.right, inputs)
    if isinstance(node.op, ast.Div) and right.low.value <= 0 <= right.high.value:
        raise UnitError("the formula divides by an interval that contains zero")
    return _combine(_OPERATIONS[type(node.op)], left, right)


_OPERATIONS: dict[type[ast.operator], Callable[[Quantity, Quantity], Quantity]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def _combine(
    operation: Callable[[Quantity, Quantity], Quantity], left: Range, right: Range
) -> Range:
    corners = [operation(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    low = min(corners, key=lambda quantity: quantity.value)
    high = max(corners, key=lambda quantity: quantity.value)
    return Range(low, operation(left.mid, right.mid), high)
