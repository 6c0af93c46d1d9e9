# mypy: allow-untyped-calls
"""What functions in :mod:`fasthep_archive.kernels.loop_lowering` are called with: numbers, arrays, tuples of those.

Arrays and tuples are there while LLVM's text is written, and nowhere else: a function's parameters are numbers and
addresses, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from llvmlite import ir

from fasthep_archive.kernels.elementary.lowering import BOOL, DOUBLE, WORD, LoweringError
from fasthep_archive.kernels.passing import ARRAY, CONSTANT, DATA, Kind

BYTE, FLOAT = ir.IntType(8), ir.FloatType()

SIZES = DATA + 16
"""Where an array object has the address of its sizes (:data:`fasthep_archive.kernels.passing.DATA`)."""

_ELEMENTS: Mapping[str, tuple[ir.Type, str]] = MappingProxyType(
    {
        "float64": (DOUBLE, ""),
        "float32": (FLOAT, "fpext"),
        "int64": (WORD, ""),
        "uint64": (WORD, ""),
        "bool": (BYTE, ""),
        **{f"int{bits}": (ir.IntType(bits), "sext") for bits in (8, 16, 32)},
        **{f"uint{bits}": (ir.IntType(bits), "zext") for bits in (8, 16, 32)},
    }
)
"""How values of arrays are kept, and promoted to a double or an int64; an unsigned one is known to fit."""

_NUMBERS: Mapping[str, ir.Type] = MappingProxyType({"int64": WORD, "float64": DOUBLE, "bool": BOOL})


@dataclass(frozen=True, slots=True)
class Array:
    """An array.

    :ivar data: address of the first value. :ivar size: number of values. :ivar element: type of the values.
    :ivar memory: address of the first value of the array that this one is a part of.
    :ivar constant: whether it must not be written to.
    """

    data: ir.Value
    size: ir.Value
    element: str
    memory: ir.Value
    constant: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of argument that it is."""
        return f"{CONSTANT if self.constant else ''}{self.element}{ARRAY}"

    @property
    def type(self) -> ir.Type:
        """LLVM's type of a value in memory."""
        return _ELEMENTS[self.element][0]

    def place(self, builder: ir.IRBuilder, index: ir.Value) -> ir.Value:
        """Return the address of a value."""
        return builder.gep(self.data, [index], inbounds=True)

    def part(self, builder: ir.IRBuilder, start: ir.Value, stop: ir.Value) -> Array:
        """Return the values from ``start`` up to ``stop``, which are in the array."""
        return replace(self, data=self.place(builder, start), size=builder.sub(stop, start))

    def read(self, builder: ir.IRBuilder, index: ir.Value) -> ir.Value:
        """Return a value, promoted to a double, an int64 or a truth value."""
        value, promotion = builder.load(self.place(builder, index)), _ELEMENTS[self.element][1]
        if self.element == "bool":
            return builder.icmp_unsigned("!=", value, ir.Constant(BYTE, 0))
        return getattr(builder, promotion)(value, DOUBLE if promotion == "fpext" else WORD) if promotion else value


Value: TypeAlias = "ir.Value | Array | tuple[Value, ...]"


def empty(builder: ir.IRBuilder, element: str, size: int) -> Array:
    """Return a new array that lives until the function returns; nothing is known about its values."""
    made = builder.alloca(ir.ArrayType(_ELEMENTS[element][0], size))
    made.align = 64
    first = builder.gep(made, [ir.Constant(WORD, 0)] * 2, inbounds=True)
    return Array(first, ir.Constant(WORD, size), element, first)


def kind_of(value: Value) -> Kind:
    """Return the kind of argument that a value is."""
    if isinstance(value, tuple):
        return tuple(map(kind_of, value))
    if isinstance(value, Array):
        return value.kind
    return next(kind for kind, type_ in _NUMBERS.items() if type_ == value.type)


def types(kind: Kind) -> list[ir.Type]:
    """Return LLVM's types of what stands for an argument.

    :raises LoweringError: if there are no arguments of this kind.
    """
    if isinstance(kind, tuple):
        return [type_ for member in kind for type_ in types(member)]
    element = _ELEMENTS.get(_element(kind))
    if kind.endswith(ARRAY) and element is not None:
        return [element[0].as_pointer(), WORD]
    if kind not in _NUMBERS:
        raise LoweringError(f"no argument: {kind}")
    return [_NUMBERS[kind]]


def flat(value: Value) -> list[ir.Value]:
    """Return what stands for an argument: types are those of :func:`types`."""
    if isinstance(value, tuple):
        return [part for member in value for part in flat(member)]
    return [value.data, value.size] if isinstance(value, Array) else [value]


def arrays(value: Value) -> Iterator[Array]:
    """Yield the arrays in a value."""
    if isinstance(value, tuple):
        for member in value:
            yield from arrays(member)
    elif isinstance(value, Array):
        yield value


def taken(kind: Kind, words: Iterator[ir.Value]) -> Value:
    """Return the argument for which the next of ``words`` stand, as :func:`flat` has made them."""
    if isinstance(kind, tuple):
        return tuple([taken(member, words) for member in kind])
    if not kind.endswith(ARRAY):
        return next(words)
    data, size = next(words), next(words)
    return Array(data, size, _element(kind), data, kind.startswith(CONSTANT))


def unpacked(builder: ir.IRBuilder, kind: Kind, words: Iterator[ir.Value]) -> list[ir.Value]:
    """Return what stands for an argument that comes as :mod:`fasthep_archive.kernels.passing` says."""
    if isinstance(kind, tuple):
        return [part for member in kind for part in unpacked(builder, member, words)]
    word = next(words)
    if kind.endswith(ARRAY):
        return [_field(builder, word, DATA, types(kind)[0]), _first(builder, word)]
    match _NUMBERS[kind]:
        case ir.DoubleType():
            return [builder.bitcast(word, DOUBLE)]
        case number:
            return [builder.icmp_signed("!=", word, ir.Constant(WORD, 0)) if number == BOOL else word]


def returned(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a number as a word."""
    return builder.zext(value, WORD) if value.type == BOOL else builder.bitcast(value, WORD)


def _first(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Return the size of the array object at ``address``."""
    return builder.load(_field(builder, address, SIZES, WORD.as_pointer()))


def _field(builder: ir.IRBuilder, address: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    """Return what the object at ``address`` has after ``offset`` bytes."""
    place = builder.add(address, ir.Constant(WORD, offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()))


def _element(kind: str) -> str:
    """Return the type of an array's values."""
    return kind.removeprefix(CONSTANT).removesuffix(ARRAY)
