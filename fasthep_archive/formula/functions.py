"""The functions and operators of formulas: one table for the parser, the type rules, the kernels and the docs.

A row says how a function is written, what it takes and what it gives. How it is computed is the business of
:mod:`fasthep_archive.kernels`, which has one spelling per target; what a target can't spell is refused there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, cast

Kind = Literal["element", "reduce", "special"]
"""``element``: value by value, jagged and flat values broadcast against each other. ``reduce``: the values that one
event has become one value. ``special``: neither; the rule is in :mod:`fasthep_archive.kernels.rules`."""

Takes = Literal["float", "number", "logical", "bits", "integer", "same"]
"""What arguments become before the function sees them.

``float``: float64. ``number``: float64 if one of them is, else int64 (a bool counts as 0 or 1). ``logical``: bool
(a number counts as true when it isn't 0). ``bits``: bool if all are, else int64; float64 is refused. ``integer``:
int64; float64 is refused. ``same``: as ``number``, but bool if all are bool.
"""

Gives = Literal["float64", "int64", "bool", "operands"]
"""The type of the result; ``operands``: what the arguments became."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    required: bool = True
    values: tuple[int, ...] = ()
    """The only values allowed, for a parameter that is accepted, checked and dropped (awkward's ``axis``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """One function or operator."""

    name: str
    """Canonical name: what programs and kernels call it."""
    parameters: tuple[Parameter, ...]
    kind: Kind
    takes: Takes
    gives: Gives
    document: str
    """One line: what it gives, and what it does with NaN, overflow, empty lists and missing values."""
    symbol: str | None = None
    """The operator it is written with."""
    calls: tuple[str, ...] = ()
    """The names it can be called by; the first one is used in canonical text where there is no symbol."""
    variadic: bool = False
    """Whether the last parameter can be repeated."""
    hint: str | None = None
    """What to do when it was called with the wrong number of arguments."""

    @property
    def least(self) -> int:
        """Return the smallest number of arguments."""
        return sum(parameter.required for parameter in self.parameters)

    @property
    def most(self) -> int | None:
        """Return the largest number of arguments, none for any number."""
        return None if self.variadic else sum(not parameter.values for parameter in self.parameters)


def _function(kind: Kind, calls: str, signature: str, document: str, hint: str | None = None) -> Function:
    """Return a function that is called by one of ``calls``; a signature reads ``x default?: takes -> gives``."""
    parameters, types = signature.split(": ")
    takes, gives = types.split(" -> ")
    return Function(
        name=calls.split(maxsplit=1)[0],
        calls=tuple(calls.split()),
        parameters=tuple(_AXIS if name == "axis" else _parameter(name) for name in parameters.split()),
        kind=kind,
        takes=cast("Takes", takes),
        gives=cast("Gives", gives),
        document=document,
        hint=hint,
    )


def _operator(symbol: str, name: str, signature: str, document: str, kind: Kind = "element") -> Function:
    """Return an operator; only power has names that it can be called by too."""
    calls = ("power", "pow") if name == "power" else ()
    variadic = symbol in {"and", "or", "in"}
    return replace(_function(kind, name, signature, document), symbol=symbol, calls=calls, variadic=variadic)


def _parameter(name: str) -> Parameter:
    return Parameter(name=name.rstrip("?"), required=not name.endswith("?"))


_AXIS = Parameter(name="axis", required=False, values=(1, -1))

_ADD = "sum(x) adds up the values of a list inside an event; two values are added with x + y"
_SMALLER = "min(x) is the smallest value of a list inside an event; the smaller of two values is minimum(x, y)"
_LARGER = "max(x) is the largest value of a list inside an event; the larger of two values is maximum(x, y)"

_OPERATORS = (
    _operator("+", "add", "x y: number -> operands", "Sum; int64 wraps around."),
    _operator("-", "subtract", "x y: number -> operands", "Difference; int64 wraps around."),
    _operator("*", "multiply", "x y: number -> operands", "Product; int64 wraps around."),
    _operator("/", "divide", "x y: float -> float64", "Quotient, IEEE: 1/0 is inf, 0/0 is NaN."),
    _operator(
        "//",
        "floor_divide",
        "x y: number -> operands",
        "Quotient rounded down; integers by 0 give 0, floats as NumPy's floor_divide.",
    ),
    _operator(
        "%",
        "remainder",
        "x y: number -> operands",
        "x minus y times x // y, with the sign of y; integers by 0 give 0, floats as NumPy's remainder.",
    ),
    _operator(
        "**",
        "power",
        "x y: number -> operands",
        "x to the power y: the literal 2 is x * x, an integer to a literal integer >= 0 is int64 (wraps around), "
        "all else is float64.",
        "special",
    ),
    _operator("-", "negative", "x: number -> operands", "Minus x; int64 wraps around."),
    _operator("+", "positive", "x: number -> operands", "x itself, a bool as 0 or 1."),
    _operator("~", "invert", "x: bits -> operands", "Not x for bool, all bits flipped for integers."),
    _operator("&", "bit_and", "x y: bits -> operands", "Both, for bool; bit by bit for integers."),
    _operator("|", "bit_or", "x y: bits -> operands", "Either, for bool; bit by bit for integers."),
    _operator("^", "bit_xor", "x y: bits -> operands", "Exactly one, for bool; bit by bit for integers."),
    _operator("<<", "left_shift", "x n: integer -> int64", "x shifted left; 0 when n is not in 0..63."),
    _operator(">>", "right_shift", "x n: integer -> int64", "x shifted right; -1 or 0 when n is not in 0..63."),
    _operator("and", "and", "x y: logical -> bool", "Both; missing when one is missing. Also written &&."),
    _operator("or", "or", "x y: logical -> bool", "Either; missing when one is missing. Also written ||."),
    _operator("not", "not", "x: logical -> bool", "Not x. Also written !."),
    _operator("==", "equal", "x y: number -> bool", "Whether x equals y; an int64 beside a float64 is rounded first."),
    _operator("!=", "not_equal", "x y: number -> bool", "Whether x differs from y; true for NaN."),
    _operator("<", "less", "x y: number -> bool", "Whether x is below y; false for NaN."),
    _operator("<=", "less_equal", "x y: number -> bool", "Whether x is y or below; false for NaN."),
    _operator(">", "greater", "x y: number -> bool", "Whether x is above y; false for NaN."),
    _operator(">=", "greater_equal", "x y: number -> bool", "Whether x is y or above; false for NaN."),
    _operator("in", "in", "x y: number -> bool", "Whether x equals one of the values: x in (1, 2, 3).", "special"),
    _operator(
        "[]",
        "filter",
        "x mask: same -> operands",
        "x[mask]: the values where mask is true; a missing mask selects nothing.",
        "special",
    ),
)

_ELEMENTS = tuple(
    _function("element", calls, signature, document)
    for calls, signature, document in (
        ("sqrt", "x: float -> float64", "Square root; NaN below 0."),
        ("cbrt", "x: float -> float64", "Cube root."),
        ("hypot", "x y: float -> float64", "Length of (x, y) without overflow on the way."),
        ("exp", "x: float -> float64", "e to the x."),
        ("exp2", "x: float -> float64", "2 to the x."),
        ("expm1", "x: float -> float64", "e to the x, minus 1."),
        ("log", "x: float -> float64", "Natural logarithm; -inf at 0, NaN below."),
        ("log2", "x: float -> float64", "Logarithm to base 2; -inf at 0, NaN below."),
        ("log10", "x: float -> float64", "Logarithm to base 10; -inf at 0, NaN below."),
        ("log1p", "x: float -> float64", "Natural logarithm of 1 + x; -inf at -1, NaN below."),
        ("sin", "x: float -> float64", "Sine of x in radians."),
        ("cos", "x: float -> float64", "Cosine of x in radians."),
        ("tan", "x: float -> float64", "Tangent of x in radians."),
        ("arcsin asin", "x: float -> float64", "Inverse sine in [-pi/2, pi/2]; NaN outside [-1, 1]."),
        ("arccos acos", "x: float -> float64", "Inverse cosine in [0, pi]; NaN outside [-1, 1]."),
        ("arctan atan", "x: float -> float64", "Inverse tangent in [-pi/2, pi/2]."),
        ("arctan2 atan2", "y x: float -> float64", "Angle of the point (x, y) in [-pi, pi]; y comes first."),
        ("sinh", "x: float -> float64", "Hyperbolic sine."),
        ("cosh", "x: float -> float64", "Hyperbolic cosine."),
        ("tanh", "x: float -> float64", "Hyperbolic tangent."),
        ("arcsinh asinh", "x: float -> float64", "Inverse hyperbolic sine."),
        ("arccosh acosh", "x: float -> float64", "Inverse hyperbolic cosine; NaN below 1."),
        ("arctanh atanh", "x: float -> float64", "Inverse hyperbolic tangent; NaN outside [-1, 1]."),
        ("abs fabs", "x: number -> operands", "Absolute value; the smallest int64 stays what it is."),
        ("sign", "x: number -> operands", "-1, 0 or 1; NaN for NaN."),
        ("floor", "x: number -> operands", "Rounded down; stays float64."),
        ("ceil", "x: number -> operands", "Rounded up; stays float64."),
        ("trunc", "x: number -> operands", "Rounded towards 0; stays float64."),
        ("round", "x: number -> operands", "Rounded to the nearest integer, halves to the even one; stays float64."),
        ("minimum", "x y: number -> operands", "The smaller; NaN if one is NaN; x when they are equal."),
        ("maximum", "x y: number -> operands", "The larger; NaN if one is NaN; x when they are equal."),
        ("isnan", "x: float -> bool", "Whether x is NaN."),
        ("isinf", "x: float -> bool", "Whether x is inf or -inf."),
        ("isfinite", "x: float -> bool", "Whether x is neither NaN nor infinite."),
    )
)

_SPECIALS = tuple(
    _function("special", calls, signature, document)
    for calls, signature, document in (
        ("where", "condition x y: same -> operands", "x where condition is true, else y; also x if condition else y."),
        ("clip", "x low high: number -> operands", "x held in a range: minimum(maximum(x, low), high)."),
        ("fill_none", "x value axis: same -> operands", "x, with value where x is missing."),
        (
            "pad_none",
            "x target axis clip?: same -> operands",
            "x with missing values appended until each event has target of them; with clip=True exactly target.",
        ),
        (
            "nth",
            "x i default?: same -> operands",
            "Value number i of each event, from the end for i < 0; default where there is none or it is missing.",
        ),
        ("leading", "x default?: same -> operands", "First value of each event: nth(x, 0, default)."),
        ("subleading", "x default?: same -> operands", "Second value of each event: nth(x, 1, default)."),
    )
)

_REDUCERS = tuple(
    _function("reduce", calls, signature, document, hint)
    for calls, signature, document, hint in (
        ("count num len", "x: same -> int64", "Number of values of each event; missing ones don't count.", None),
        ("count_nonzero", "x: logical -> int64", "Number of values that are true or not 0; 0 for none.", None),
        ("any", "x: logical -> bool", "Whether a value is true or not 0; false for none.", None),
        ("all", "x: logical -> bool", "Whether every value is true or not 0; true for none.", None),
        ("sum", "x: number -> operands", "Sum from left to right, starting at 0; int64 wraps around.", _ADD),
        ("prod", "x: number -> operands", "Product from left to right, starting at 1; int64 wraps around.", None),
        ("min", "x: same -> operands", "Smallest value; NaN if one is NaN; missing for an empty list.", _SMALLER),
        ("max", "x: same -> operands", "Largest value; NaN if one is NaN; missing for an empty list.", _LARGER),
        (
            "argmin",
            "x: number -> int64",
            "Position of the first smallest or NaN value; missing for an empty list.",
            None,
        ),
        (
            "argmax",
            "x: number -> int64",
            "Position of the first largest or NaN value; missing for an empty list.",
            None,
        ),
        ("mean", "x: number -> float64", "sum(x) / count(x); NaN for an empty list.", None),
    )
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {function.name: function for function in (*_OPERATORS, *_ELEMENTS, *_SPECIALS, *_REDUCERS)}
)
"""Every function and operator by canonical name."""

CALLS: Mapping[str, Function] = MappingProxyType({call: f for f in FUNCTIONS.values() for call in f.calls})
"""Every function by each name that it can be called by in a formula."""

UNARY: Mapping[str, Function] = MappingProxyType({str(f.symbol): f for f in _OPERATORS if len(f.parameters) == 1})
"""The operators before one operand, by symbol."""

BINARY: Mapping[str, Function] = MappingProxyType({str(f.symbol): f for f in _OPERATORS if len(f.parameters) == 2})
"""The operators between two operands, by symbol."""

CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan})
"""Names that stand for numbers where no column, variable or global has that name."""


def function(name: str, arguments: int) -> Function | None:
    """Return the function with this canonical name, call name or symbol (``-`` by its number of arguments), or none."""
    return FUNCTIONS.get(name) or CALLS.get(name) or (UNARY if arguments == 1 else BINARY).get(name)
