"""Expressions of parameters: arithmetic only, nothing is run."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable

from econmoral.files.records import InputError, plain

BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
}


def check(text: str, names: Iterable[str]) -> None:
    """Raises InputError unless it is an arithmetic expression of these parameters, whatever their
    values: 1 / (1 - 2 * beta) has none at .5, which says nothing of an estimate."""
    evaluate(text, dict.fromkeys(names, math.nan))


def evaluate(text: str, values: dict[str, float]) -> float:
    """The value of an arithmetic expression of parameters, nan where one of them is.

    Raises InputError for anything else, and for a value that is no finite number.
    """
    if len(text) > 500:
        raise InputError("--nlcom: an expression has at most 500 characters")
    try:
        tree = ast.parse(re.sub(r"\blambda\b", "lambda_", text.strip()), mode="eval").body
        result = _value(tree, {("lambda_" if k == "lambda" else k): v for k, v in values.items()})
    except (
        SyntaxError,
        ArithmeticError,
        ValueError,
        TypeError,
        RecursionError,
        MemoryError,
    ) as error:
        why = "too large a number" if isinstance(error, OverflowError) else str(error)
        raise InputError(
            f"--nlcom {plain(text)}: {' '.join(why.split())[:120]}; write arithmetic of "
            f"{', '.join(values)}"
        ) from None
    unknown = any(map(math.isnan, values.values()))
    if isinstance(result, complex) or not (math.isfinite(result) or unknown):
        raise InputError(f"--nlcom {plain(text)}: the value is not a finite number")
    return float(result)


def _value(node: ast.AST, values: dict[str, float]) -> float:
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    ):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, values)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONS
        and len(node.args) == 1
        and not node.keywords
    ):
        return FUNCTIONS[node.func.id](_value(node.args[0], values))
    raise ValueError(f"{ast.unparse(node)[:60]!r} is not known")
