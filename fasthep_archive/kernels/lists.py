"""What becomes of lists as a whole: they are put in order, paired, and strung together, event by event.

All of it is made of *places*: for each value of some new lists, the position in the content of others where it comes
from. Sorting gives the places in another order, pairing gives the places of both sides, and taking values at places is
one operation for all. New lists have structures of their own, so values that were not rearranged in the same way can't
be combined with each other by mistake: that is refused while the program is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar

from fasthep_archive.errors import FormulaError
from fasthep_archive.formula.columns import DType
from fasthep_archive.formula.functions import FUNCTIONS
from fasthep_archive.kernels import rules
from fasthep_archive.kernels.instructions import STRUCTURES, Instruction, Instructions, Misuse, Value, compatible

Order = Literal["ascending", "descending"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Places:
    """For each value of some lists, where in the content of other lists it comes from.

    :ivar value: the places, int64; -1 where there is none.
    :ivar source: an instruction that the structure of these other lists can be taken from.
    """

    value: Value
    source: int


def _checked(
    method: Callable[Concatenate[Arranger, _Given], _Result],
) -> Callable[Concatenate[Arranger, _Given], _Result]:
    """Return a method whose misuse is a FormulaError."""

    @wraps(method)
    def called(lists: Arranger, /, *arguments: _Given.args, **options: _Given.kwargs) -> _Result:
        try:
            return method(lists, *arguments, **options)
        except Misuse as misuse:
            raise FormulaError(misuse.message, hint=misuse.hint) from None

    return called


@dataclass(frozen=True, slots=True)
class Arranger:
    """Rearranges the lists of a program that is being built.

    Every method raises a FormulaError for values that are not lists, or whose lists don't belong together.
    """

    instructions: Instructions

    @_checked
    def sorted(self, key: Value, order: Order) -> Places:
        """Return the places of the values of each event in the order of ``key``.

        Equal keys, ``0.0`` and ``-0.0`` among them, stay in the order in which they are; NaN comes last either way.
        """
        self._list(key)
        if key.valid is not None:
            hint = "say what a missing value stands for: fill_none(..., value)"
            raise Misuse("lists can't be put in order by values that can be missing", hint=hint)
        number = key.number if key.dtype != "bool" else self.instructions.convert(key.number, "int64")
        domain = self.instructions.add(Instruction("sort", "int64", (number,), order))
        places = self.instructions.add(Instruction("order", "int64", (number,), order, domain))
        return Places(self.instructions.value(places), self.instructions.anchor(number))

    @_checked
    def pairs(self, like: Value) -> tuple[Places, Places]:
        """Return the places of both sides of all pairs that two different values of ``like`` make in each event.

        The order is (0, 1), (0, 2) ... (1, 2) ...: awkward's.
        """
        self._list(like)
        anchor = self.instructions.anchor(like.number)
        return self._sides("pairs", anchor, anchor)

    @_checked
    def product(self, left: Value, right: Value) -> tuple[Places, Places]:
        """Return the places of both sides of all pairs of a value of ``left`` and one of ``right`` in each event.

        The order is (0, 0), (0, 1) ... (1, 0) ...: awkward's.
        """
        self._list(left)
        self._list(right)
        return self._sides("product", *map(self.instructions.anchor, (left.number, right.number)))

    @_checked
    def taken(self, value: Value, places: Places) -> Value:
        """Return the values at ``places``, and 0 or false where there is no place.

        A value per event is repeated for each place.
        """
        if value.structure is None:
            self._list(places.value)
            spread = self.instructions.spread(value.number, places.value.number)
            return self.instructions.value(spread, value.valid)
        self._belongs(value, places)
        valid = None if value.valid is None else self._taken(value.valid, places)
        return self.instructions.value(self._taken(value.number, places), valid)

    @_checked
    def filtered(self, places: Places, mask: Value) -> Places:
        """Return the places where ``mask`` is true; a missing mask selects nothing."""
        chosen = rules.apply(self.instructions, FUNCTIONS["filter"], (places.value, mask))
        return Places(chosen, places.source)

    @_checked
    def reordered(self, places: Places, order: Places) -> Places:
        """Return the places that ``places`` has at the places ``order``: none where ``order`` has none."""
        self._belongs(places.value, order)
        found = self._taken(places.value.number, order, "place")
        return Places(self.instructions.value(found), places.source)

    @_checked
    def strung(self, collections: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
        """Return the fields of several collections, strung together event by event, in the order that is given.

        All collections have the fields of the first. Those of one collection must have the same structure.
        """
        if len(collections) == 1:
            return dict(collections[0])
        for collection in collections:
            for value in collection.values():
                self._list(value)
            self.instructions.joined(list(collection.values()))
        anchors = tuple(self.instructions.anchor(next(iter(c.values())).number) for c in collections)
        domain = self.instructions.add(Instruction("concatenate", "int64", anchors))
        return {field: self._strung([c[field] for c in collections], domain) for field in collections[0]}

    @_checked
    def any_pair(self, mask: Value) -> Value:
        """Return for each value on the left of a product whether ``mask`` is true for one of its pairs.

        ``mask`` has a truth value for each pair; a missing one counts as false.
        """
        number = self.instructions.convert(mask.number, "bool")
        number = self.instructions.both(number, mask.valid) or number
        return self.instructions.value(self._inner("any", number, "bool"))

    @_checked
    def smallest_pair(self, value: Value) -> Places:
        """Return for each value on the left of a product the place of its pair with the smallest ``value``.

        It is the first of equal ones, or the first NaN; -1 where a value has no pair.
        """
        if value.valid is not None:
            raise Misuse("this value can be missing", hint="say what a missing value stands for: fill_none(..., value)")
        number = self.instructions.convert(value.number, "float64")
        found = self._inner("argmin", number, "int64")
        return Places(self.instructions.value(found), self.instructions.anchor(number))

    @_checked
    def counted(self, like: Value) -> Value:
        """Return how many values each event's list has, missing ones too."""
        self._list(like)
        arguments = (self.instructions.anchor(like.number),)
        return self.instructions.value(self.instructions.add(Instruction("length", "int64", arguments)))

    @_checked
    def single(self, value: Value) -> Value:
        """Return a value per event as lists of one."""
        if value.structure is not None:
            raise Misuse("this is a list of values, and one value per event is needed here")
        domain = self.instructions.add(Instruction("fixed", "int64", (), "1"))

        def spread(number: int) -> int:
            dtype = self.instructions[number].dtype
            return self.instructions.add(Instruction("broadcast", dtype, (number, domain), domain=domain))

        valid = None if value.valid is None else spread(value.valid)
        return self.instructions.value(spread(value.number), valid)

    @_checked
    def first(self, places: Places) -> Places:
        """Return the first place of each event, if it has one."""
        zero = self.instructions.value(self.instructions.constant(0))
        none = self.instructions.value(self.instructions.constant(-1))
        place = self.single(rules.apply(self.instructions, FUNCTIONS["nth"], (places.value, zero, none)))
        found = rules.apply(self.instructions, FUNCTIONS["greater_equal"], (place, zero))
        return self.filtered(Places(place, places.source), found)

    def _list(self, value: Value) -> None:
        if value.structure is None:
            raise Misuse("this is one value per event, and a list of values is needed here")

    def _sides(self, operation: str, first: int, second: int) -> tuple[Places, Places]:
        arguments = (first,) if operation == "pairs" else (first, second)
        domain = self.instructions.add(Instruction(operation, "int64", arguments))
        left, right = (
            self.instructions.value(self.instructions.add(Instruction("side", "int64", arguments, side, domain)))
            for side in ("left", "right")
        )
        return Places(left, first), Places(right, second)

    def _belongs(self, value: Value, places: Places) -> None:
        if not compatible(self.instructions, self._domain(places.source), self.instructions.domain(value.number)):
            name = self.instructions.name(value.number)
            raise Misuse(f"the lists of {name!r} are not those that were rearranged: they have other values")

    def _taken(self, number: int, places: Places, what: str = "") -> int:
        arguments = (number, places.value.number, places.source)
        domain = self.instructions.domain(places.value.number)
        dtype = self.instructions[number].dtype
        return self.instructions.add(Instruction("take", dtype, arguments, what, domain))

    def _strung(self, values: Sequence[Value], domain: int) -> Value:
        dtype = _common(value.dtype for value in values)

        def joined(numbers: Iterable[int], kind: DType) -> int:
            return self.instructions.add(Instruction("joined", kind, tuple(numbers), domain=domain))

        content = joined((self.instructions.convert(value.number, dtype) for value in values), dtype)
        if all(value.valid is None for value in values):
            return self.instructions.value(content)
        return self.instructions.value(content, joined(map(self._valid, values), "bool"))

    def _valid(self, value: Value) -> int:
        """Return where a list has values, value by value."""
        if value.valid is not None:
            return value.valid
        return self.instructions.spread(self.instructions.constant(True), value.number)

    def _inner(self, reducer: str, number: int, dtype: DType) -> int:
        """Return ``reducer`` of the pairs of each value on the left, as a value for each of these."""
        domain = self.instructions.domain(number)
        if domain is None or self.instructions[domain].operation != "product":
            raise Misuse("this needs a value for each pair of a product of two lists")
        left = self.instructions[domain].arguments[0]
        return self.instructions.add(Instruction("inner", dtype, (number, left), reducer, self._domain(left)))

    def _domain(self, anchor: int) -> int | None:
        """Return the structure that an anchor stands for."""
        return anchor if self.instructions[anchor].operation in STRUCTURES else self.instructions.domain(anchor)


def _common(dtypes: Iterable[DType]) -> DType:
    """Return the type that values become together: bool if all are, else float64 if one is, else int64."""
    found = set(dtypes)
    if found == {"bool"}:
        return "bool"
    return "float64" if "float64" in found else "int64"
