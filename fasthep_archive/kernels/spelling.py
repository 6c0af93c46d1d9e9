"""How instructions are spelled for each target: one table per target, and a key that isn't there is a refusal.

A template's ``{0}``, ``{1}`` ... are the arguments; the key is the operation and the type of its last argument. Names
such as ``power_int64`` are functions of :mod:`fasthep_archive.kernels.arithmetic`, such as ``exp_rounded`` of
:mod:`fasthep_archive.kernels.elementary.rounded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fasthep_archive.formula.columns import DType


def _any(template: str) -> Mapping[DType, str]:
    return {"bool": template, "int64": template, "float64": template}


def _both(template: str) -> Mapping[DType, str]:
    return {"int64": template, "float64": template}


def _float(template: str) -> Mapping[DType, str]:
    return {"float64": template}


def _bool(template: str) -> Mapping[DType, str]:
    return {"bool": template}


NUMBA: Mapping[str, Mapping[DType, str]] = MappingProxyType(
    {
        # Arithmetic: IEEE and in the order of the formula; int64 wraps around
        "add": _both("({0} + {1})"),
        "subtract": _both("({0} - {1})"),
        "multiply": _both("({0} * {1})"),
        "divide": _float("({0} / {1})"),
        "floor_divide": {"int64": "floor_divide_int64({0}, {1})", "float64": "floor_divide_float64({0}, {1})"},
        "remainder": {"int64": "remainder_int64({0}, {1})", "float64": "remainder_float64({0}, {1})"},
        "power": {"int64": "power_int64({0}, {1})", "float64": "pow_rounded({0}, {1})"},
        "negative": _both("(-{0})"),
        "abs": _both("abs({0})"),
        "sign": {"int64": "sign_int64({0})", "float64": "sign_float64({0})"},
        "floor": {"int64": "{0}", "float64": "np.floor({0})"},
        "ceil": {"int64": "{0}", "float64": "np.ceil({0})"},
        "trunc": {"int64": "{0}", "float64": "np.trunc({0})"},
        "round": {"int64": "{0}", "float64": "np.rint({0})"},
        "minimum": {"int64": "({0} if {0} <= {1} else {1})", "float64": "minimum_float64({0}, {1})"},
        "maximum": {"int64": "({0} if {0} >= {1} else {1})", "float64": "maximum_float64({0}, {1})"},
        # Logic and comparisons
        "and": _bool("({0} & {1})"),
        "or": _bool("({0} | {1})"),
        "not": _bool("(not {0})"),
        "invert": {"bool": "(not {0})", "int64": "(~{0})"},
        "bit_and": {"bool": "({0} & {1})", "int64": "({0} & {1})"},
        "bit_or": {"bool": "({0} | {1})", "int64": "({0} | {1})"},
        "bit_xor": {"bool": "({0} ^ {1})", "int64": "({0} ^ {1})"},
        "left_shift": {"int64": "left_shift_int64({0}, {1})"},
        "right_shift": {"int64": "right_shift_int64({0}, {1})"},
        "equal": _both("({0} == {1})"),
        "not_equal": _both("({0} != {1})"),
        "less": _both("({0} < {1})"),
        "less_equal": _both("({0} <= {1})"),
        "greater": _both("({0} > {1})"),
        "greater_equal": _both("({0} >= {1})"),
        "where": _any("({1} if {0} else {2})"),
        "isnan": _float("({0} != {0})"),
        "isinf": _float("(abs({0}) == inf)"),
        "isfinite": _float("(abs({0}) < inf)"),
        # Elementary functions, correctly rounded; sqrt is IEEE's
        "sqrt": _float("math.sqrt({0})"),
        "cbrt": _float("cbrt_rounded({0})"),
        "hypot": _float("hypot_rounded({0}, {1})"),
        "exp": _float("exp_rounded({0})"),
        "exp2": _float("exp2_rounded({0})"),
        "expm1": _float("expm1_rounded({0})"),
        "log": _float("log_rounded({0})"),
        "log2": _float("log2_rounded({0})"),
        "log10": _float("log10_rounded({0})"),
        "log1p": _float("log1p_rounded({0})"),
        "sin": _float("sin_rounded({0})"),
        "cos": _float("cos_rounded({0})"),
        "tan": _float("tan_rounded({0})"),
        "arcsin": _float("asin_rounded({0})"),
        "arccos": _float("acos_rounded({0})"),
        "arctan": _float("atan_rounded({0})"),
        "arctan2": _float("atan2_rounded({0}, {1})"),
        "sinh": _float("sinh_rounded({0})"),
        "cosh": _float("cosh_rounded({0})"),
        "tanh": _float("tanh_rounded({0})"),
        "arcsinh": _float("asinh_rounded({0})"),
        "arccosh": _float("acosh_rounded({0})"),
        "arctanh": _float("atanh_rounded({0})"),
        # Conversions and copies
        "to_float64": {"int64": "float64({0})", "bool": "float64({0})"},
        "to_int64": _bool("int64({0})"),
        "to_bool": _both("({0} != 0)"),
        "round_float32": _float("float64(float32({0}))"),
        "copy": _any("{0}"),
        "broadcast": _any("{0}"),
    }
)
"""Operations value by value."""


CALLS: frozenset[tuple[str, DType]] = frozenset(
    (operation, "float64") for operation, spellings in NUMBA.items() if "_rounded(" in spellings.get("float64", "")
)
"""Operations, with the type of their result, that cost a call of a function: ten times an addition, or more."""


@dataclass(frozen=True, slots=True)
class Reducer:
    """How a list becomes one value: ``{a}`` is the result so far, ``{b}`` what else must be remembered.

    ``{x}`` is the value and ``{p}`` its position in the list. A second line of ``update`` is the body of an ``if``.
    """

    start: str
    update: tuple[str, ...]
    second: str | None = None


def _extreme(comparison: str, start: str) -> Reducer:
    """Return the smallest or largest value: the first of equal ones, or the first NaN."""
    keep = f"{{a}} == {{a}} and not ({{x}} {comparison} {{a}})"
    return Reducer(start, (f"if {{b}} or ({keep}):", "{a} = {x}", "{b} = False"), second="True")


def _place(comparison: str, zero: str) -> Reducer:
    """Return the position of the smallest or largest value: the first of equal ones, or the first NaN."""
    keep = f"{{b}} == {{b}} and not ({{x}} {comparison} {{b}})"
    return Reducer("-1", (f"if {{a}} < 0 or ({keep}):", "{a} = {p}", "{b} = {x}"), second=zero)


REDUCERS: Mapping[str, Mapping[DType, Reducer]] = MappingProxyType(
    {
        "sum": {"int64": Reducer("0", ("{a} = {a} + {x}",)), "float64": Reducer("0.0", ("{a} = {a} + {x}",))},
        "prod": {"int64": Reducer("1", ("{a} = {a} * {x}",)), "float64": Reducer("1.0", ("{a} = {a} * {x}",))},
        "min": {"int64": _extreme(">=", "0"), "float64": _extreme(">=", "0.0")},
        "max": {"int64": _extreme("<=", "0"), "float64": _extreme("<=", "0.0")},
        "argmin": {"int64": _place(">=", "0"), "float64": _place(">=", "0.0")},
        "argmax": {"int64": _place("<=", "0"), "float64": _place("<=", "0.0")},
    }
)
"""Operations that make one value of a list, by the type of the list's values. Counts are not here: the schedule has
turned them into something faster (:mod:`fasthep_archive.kernels.schedule`)."""

ZERO: Mapping[DType, str] = MappingProxyType({"float64": "0.0", "int64": "0", "bool": "False"})
"""What stands where there is no value."""
