"""The type rules: what each function of formulas makes of its arguments, in terms of instructions.

Everything that formulas promise about types, missing values and list structures is decided here, once for all targets:

* numbers are float64 or int64, a bool counts as 0 or 1 (:data:`fasthep_archive.formula.functions.Takes`);
* a result is missing where an argument is; ``fill_none`` ends that, reducers skip what is missing, ``where`` looks at
  the chosen side only, ``nth`` and its kin give their default;
* values per event broadcast to lists; two lists are combined value by value if their structures are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from fasthep_archive.errors import nearest
from fasthep_archive.formula.columns import DType
from fasthep_archive.formula.functions import FUNCTIONS, Function
from fasthep_archive.kernels.instructions import Instruction, Instructions, Misuse, Value

LARGEST_PADDING = 1000
"""The most values that ``pad_none`` gives an event."""


def apply(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    """Return ``function`` of ``values``.

    :raises Misuse: if the function has no such arguments.
    """
    expected = "at least " * (function.most is None or function.most > function.least) + str(function.least)
    if len(values) < function.least or (function.most is not None and len(values) > function.most):
        raise Misuse(f"{function.name} takes {expected} arguments, not {len(values)}", hint=function.hint)
    if function.kind == "reduce":
        return _reduced(instructions, function, values[0])
    if function.kind == "special":
        return _SPECIAL[function.name](instructions, function, values)
    if not function.variadic:
        return _element(instructions, function, values)
    result = values[0]
    for position, value in enumerate(values[1:], start=1):
        result = _paired(instructions, function, (result, value), position)
    return result


def _paired(instructions: Instructions, function: Function, pair: Sequence[Value], position: int) -> Value:
    """Return ``function`` of two values, of which the second is the caller's argument number ``position``."""
    try:
        return _element(instructions, function, pair)
    except Misuse as misuse:
        raise Misuse(misuse.message, misuse.argument and position, misuse.hint) from None


# What arguments become


def _common(function: Function, values: Sequence[Value]) -> DType:
    """Return the type that the arguments are converted to."""
    dtypes = {value.dtype for value in values}
    if function.takes in {"bits", "integer"} and "float64" in dtypes:
        position = next(index for index, value in enumerate(values) if value.dtype == "float64")
        raise Misuse(
            f"{function.symbol} works on truth values and integers, and this is a float64",
            position,
            _BITS.get(function.name),
        )
    if function.takes in {"float", "logical"}:
        return "float64" if function.takes == "float" else "bool"
    if function.takes in {"same", "bits"} and dtypes == {"bool"}:
        return "bool"
    return "float64" if "float64" in dtypes else "int64"


_BITS: Mapping[str, str] = MappingProxyType(
    {
        "bit_and": "put comparisons in parentheses, (a > 5) & (b < 3), or write a > 5 && b < 3",
        "bit_or": "put comparisons in parentheses, (a > 5) | (b < 3), or write a > 5 || b < 3",
        "bit_xor": "powers are written x ** y",
        "invert": "not x is written !x; minus x is written -x",
    }
)


def _element(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    """Return ``function`` value by value; missing where an argument is."""
    instructions.joined(values)
    dtype = _common(function, values)
    arguments = [instructions.convert(value.number, dtype) for value in values]
    gives: DType = dtype if function.gives == "operands" else function.gives
    if function.name == "positive":
        return instructions.value(arguments[0], values[0].valid)
    return instructions.value(instructions.element(function.name, arguments, gives), _valid(instructions, values))


def _valid(instructions: Instructions, values: Sequence[Value]) -> int | None:
    """Return where none of the values is missing."""
    valid = None
    for value in values:
        valid = instructions.both(valid, value.valid)
    return valid


def _true(instructions: Instructions, number: int | None) -> int:
    return instructions.constant(True) if number is None else number


# Functions with a rule of their own


def _power(instructions: Instructions, _: Function, values: Sequence[Value]) -> Value:
    base, exponent = values
    literal = instructions.literal(exponent.number)
    number = literal if isinstance(literal, (int, float)) and not isinstance(literal, bool) else None
    if number == 2:
        squared = (
            base
            if isinstance(number, int)
            else instructions.value(instructions.convert(base.number, "float64"), base.valid)
        )
        return _element(instructions, FUNCTIONS["multiply"], (squared, squared))
    instructions.joined(values)
    dtype: DType = "int64" if isinstance(number, int) and number >= 0 and base.dtype != "float64" else "float64"
    arguments = [instructions.convert(value.number, dtype) for value in values]
    return instructions.value(instructions.element("power", arguments, dtype), _valid(instructions, values))


def _clip(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    instructions.joined(values)
    dtype = _common(function, values)
    value, low, high = (instructions.value(instructions.convert(v.number, dtype), v.valid) for v in values)
    raised = _element(instructions, FUNCTIONS["maximum"], (value, low))
    return _element(instructions, FUNCTIONS["minimum"], (raised, high))


def _contained(instructions: Instructions, _: Function, values: Sequence[Value]) -> Value:
    result = instructions.value(instructions.constant(False))
    for position, choice in enumerate(values[1:], start=1):
        equal = _paired(instructions, FUNCTIONS["equal"], (values[0], choice), position)
        result = _paired(instructions, FUNCTIONS["or"], (result, equal), position)
    return result


def _where(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    instructions.joined(values)
    condition, *sides = values
    test = instructions.convert(condition.number, "bool")
    dtype = _common(function, sides)
    first, second = (instructions.convert(side.number, dtype) for side in sides)
    chosen = _choice(instructions, test, first, second, dtype)
    valid = condition.valid
    if any(side.optional for side in sides):
        first, second = (_true(instructions, side.valid) for side in sides)
        valid = instructions.both(valid, _choice(instructions, test, first, second, "bool"))
    return instructions.value(chosen, valid)


def _choice(instructions: Instructions, test: int, first: int, second: int, dtype: DType) -> int:
    """Return ``first`` where ``test`` is true, else ``second``; a known test leaves the other out."""
    known = instructions.literal(test)
    if known is None:
        return instructions.element("where", [test, first, second], dtype)
    chosen, other = (first, second) if known else (second, first)
    return chosen if instructions.domain(other) is None else instructions.spread(chosen, other)


def _fill_none(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    instructions.joined(values)
    value, replacement = values
    if value.structure is None and replacement.structure is not None:
        raise Misuse("one value per event can't be replaced by a list", 1)
    dtype = _common(function, values)
    content = instructions.convert(value.number, dtype)
    if value.valid is None:
        return instructions.value(content)
    filled = instructions.element(
        "where", [value.valid, content, instructions.convert(replacement.number, dtype)], dtype
    )
    if replacement.valid is None:
        return instructions.value(filled)
    return instructions.value(filled, instructions.element("or", [value.valid, replacement.valid], "bool"))


def _filter(instructions: Instructions, _: Function, values: Sequence[Value]) -> Value:
    value, mask = values
    if value.structure is None:
        hint = "events are selected by a cutflow stage; where(mask, x, y) chooses between two values"
        raise Misuse(
            "[mask] selects from the list of values that an event has, and this is one value per event", 0, hint
        )
    if mask.dtype != "bool":
        raise Misuse(
            "[mask] takes a condition, and this is a number", 1, "compare it, or take value number i with nth(x, i)"
        )
    if mask.structure is None:
        raise Misuse(
            "[mask] takes a condition for each value of the list, and this is one per event",
            1,
            "select events with a cutflow stage",
        )
    instructions.joined(values)
    chosen = mask.number if mask.valid is None else instructions.element("and", [mask.number, mask.valid], "bool")
    domain = instructions.add(Instruction("select", "int64", (chosen,)))

    def selected(number: int) -> int:
        return instructions.add(Instruction("filter", instructions[number].dtype, (number, chosen), domain=domain))

    return instructions.value(selected(value.number), None if value.valid is None else selected(value.valid))


def _pad_none(instructions: Instructions, _: Function, values: Sequence[Value]) -> Value:
    value = values[0]
    target = instructions.literal(values[1].number)
    clip = instructions.literal(values[2].number) if len(values) > 2 else False
    if value.structure is None:
        raise Misuse("pad_none appends to the list of values that an event has, and this is one value per event", 0)
    if type(target) is not int or not 0 <= target <= LARGEST_PADDING:
        raise Misuse(f"pad_none takes a literal number of values between 0 and {LARGEST_PADDING}", 1)
    if not isinstance(clip, bool):
        raise Misuse("clip is True or False", 2)
    source = instructions.domain(value.number)
    assert source is not None, "jagged values have a structure"
    arguments = () if clip else (source,)
    domain = instructions.add(Instruction("fixed" if clip else "lengthen", "int64", arguments, str(target)))
    anchor = instructions.anchor(value.number)

    def padded(number: int, dtype: DType) -> int:
        return instructions.add(Instruction("padded", dtype, (number, anchor), domain=domain))

    valid = padded(_true(instructions, value.valid), "bool")
    return instructions.value(padded(value.number, value.dtype), valid)


def _nth(instructions: Instructions, _: Function, values: Sequence[Value]) -> Value:
    """Return the value at a position; the default where there is none, or where it is missing."""
    value, index, *default = values
    if value.structure is None:
        raise Misuse("this is one value per event, so there is no list to take a value from", 0)
    if index.dtype == "float64":
        raise Misuse("a position is an integer", 1)
    for argument, flat in ((1, index), *((2, given) for given in default)):
        if flat.structure is not None:
            raise Misuse("this is a list of values, and one value per event is needed here", argument)
    arguments = (instructions.convert(index.number, "int64"), instructions.anchor(value.number))
    position = instructions.add(Instruction("position", "int64", arguments))
    found = instructions.add(Instruction("at", value.dtype, (value.number, position)))
    if not default and value.valid is None:
        return instructions.value(found, index.valid)
    other = (
        default[0] if default else instructions.value(instructions.convert(instructions.constant(False), value.dtype))
    )
    exists = instructions.element("greater_equal", [position, instructions.constant(0)], "bool")
    if value.valid is not None:
        exists = instructions.add(Instruction("at", "bool", (value.valid, position)))
    chosen = _where(instructions, FUNCTIONS["where"], (instructions.value(exists), instructions.value(found), other))
    return instructions.value(chosen.number, instructions.both(chosen.valid, index.valid))


def _leading(instructions: Instructions, function: Function, values: Sequence[Value]) -> Value:
    index = instructions.value(instructions.constant(0 if function.name == "leading" else 1))
    try:
        return _nth(instructions, function, (values[0], index, *values[1:]))
    except Misuse as misuse:  # the default is the third argument of nth and the second here
        raise Misuse(misuse.message, misuse.argument and 1, misuse.hint) from None


_SPECIAL: Mapping[str, Callable[[Instructions, Function, Sequence[Value]], Value]] = MappingProxyType(
    {
        "power": _power,
        "clip": _clip,
        "in": _contained,
        "where": _where,
        "fill_none": _fill_none,
        "filter": _filter,
        "pad_none": _pad_none,
        "nth": _nth,
        "leading": _leading,
        "subleading": _leading,
    }
)


# Reducers


def _reduced(instructions: Instructions, function: Function, value: Value) -> Value:
    """Return ``function`` of the values that each event has; missing ones are skipped."""
    name = function.calls[0]
    if value.structure is None:
        hint = function.hint or f"{name} makes one value of the list of values that an event has"
        raise Misuse(f"{name} needs a list of values per event, and this is one value per event", 0, hint)
    content, mask = value.number, value.valid
    if function.name not in {"argmin", "argmax"}:  # these count positions after the selection
        content, mask = _unfiltered(instructions, content, mask)
    dtype = _common(function, (value,))
    if function.name == "count":
        return instructions.value(_counted(instructions, content, mask))
    content = instructions.convert(content, dtype)
    if function.name == "mean":
        total = instructions.convert(_folded(instructions, "sum", content, mask, dtype), "float64")
        count = instructions.convert(_counted(instructions, content, mask), "float64")
        return instructions.value(instructions.element("divide", [total, count], "float64"))
    if function.name in {"min", "max", "argmin", "argmax"}:
        gives: DType = dtype if function.gives == "operands" else "int64"
        operation = {"min": "all", "max": "any"}.get(name, name) if dtype == "bool" else name
        return instructions.value(
            _folded(instructions, operation, content, mask, gives), _present(instructions, content, mask)
        )
    result: DType = dtype if function.gives == "operands" else function.gives
    return instructions.value(_folded(instructions, name, content, mask, result))


def _unfiltered(instructions: Instructions, content: int, valid: int | None) -> tuple[int, int | None]:
    """Return what was selected from and where, so that reducing a selection needs no copy of it."""
    instruction = instructions[content]
    if instruction.operation != "filter":
        return content, valid
    source, mask = instruction.arguments
    return source, instructions.both(mask, None if valid is None else instructions[valid].arguments[0])


def _folded(instructions: Instructions, name: str, content: int, mask: int | None, dtype: DType) -> int:
    return instructions.add(Instruction(name, dtype, (content,) if mask is None else (content, mask)))


def _counted(instructions: Instructions, content: int, mask: int | None) -> int:
    if mask is None:
        return instructions.add(Instruction("length", "int64", (instructions.anchor(content),)))
    return _folded(instructions, "count_nonzero", mask, None, "int64")


def _present(instructions: Instructions, content: int, mask: int | None) -> int:
    if mask is not None:
        return _folded(instructions, "any", mask, None, "bool")
    return instructions.element("greater", [_counted(instructions, content, None), instructions.constant(0)], "bool")


# Casts

CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "one case": "make the conditions exclude each other, or say on_multiple: first",
        "some case": "add a case, or say on_no_match: default, with a default",
        "some bin": "add a row to the table, select the events before, or limit the variable with clip(...)",
    }
)
"""Casts that only check a value, and what to do where it fails: see :meth:`Builder.checked`."""

RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
    | {f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32)}
    | {"uint64": (0, 2**63 - 1)}
    | {"one case": (0, 1), "some case": (0, 2**63 - 1), "some bin": (0, 2**63 - 1)}
)
"""Smallest and largest value of each integer type that a value can be cast to; uint64 up to what an int64 can hold."""


def cast(instructions: Instructions, value: Value, dtype: str) -> Value:
    """Return ``value`` as ``dtype`` (see :meth:`fasthep_archive.kernels.program.Builder.cast`).

    :raises Misuse: if there is no such type.
    """
    if dtype in {"bool", "float64"}:
        return instructions.value(
            instructions.convert(value.number, "bool" if dtype == "bool" else "float64"), value.valid
        )
    if dtype == "float32":
        number = instructions.convert(value.number, "float64")
        return instructions.value(instructions.element("round_float32", [number], "float64"), value.valid)
    if dtype not in RANGES:
        known = ("bool", "float32", "float64", *(name for name in RANGES if name not in CHECKS))
        raise Misuse(f"unknown type {dtype!r}", hint=nearest(dtype, known) or f"one of {', '.join(known)}")
    if value.dtype == "bool" or (value.dtype == "int64" and dtype == "int64"):
        return instructions.value(instructions.convert(value.number, "int64"), value.valid)
    arguments = [value.number] if value.valid is None else [value.number, value.valid]
    return instructions.value(instructions.element("cast", arguments, "int64", dtype), value.valid)
