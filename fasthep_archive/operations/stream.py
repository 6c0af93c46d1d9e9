"""What a stage sees while the plan is made: the stream before it, and where to report faults.

Nothing is computed here. Stages of a stream *lower* their formulas, one after the other, into one program
(:class:`fasthep_archive.kernels.program.Builder`); a :class:`Stream` is the state between two stages: which names
stand for which values, and which events are still in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import Fault, FormulaError, Location
from fasthep_archive.formula.functions import CONSTANTS
from fasthep_archive.formula.parse import parse
from fasthep_archive.formula.tree import Member, Name, Node, places
from fasthep_archive.formula.tree import path as dotted
from fasthep_archive.formula.unspeakable import advice
from fasthep_archive.kernels.program import Builder, Named, Value

__all__ = [
    "NOMINAL",
    "WEIGHT",
    "Factor",
    "Lowering",
    "Named",
    "Scope",
    "Shift",
    "Stream",
    "TakenForConstant",
    "TextBranch",
    "Uncertain",
]


class Uncertain(Exception):
    """A name depends on something that has been reported as faulty already: nothing more to say."""


@dataclass(frozen=True, slots=True)
class TakenForConstant(Fault):
    """A name that stands for a constant of formulas (``e``, ``pi``), as the file has no column of that name.

    It is a fault if other files of the stream have one: what was meant is then a column that is missing here.

    :ivar name: of the constant. :ivar column: what the column would be called.
    """

    name: str = ""
    column: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """The events between two stages.

    :ivar defined: names that stages have defined so far; none stands for a definition that failed.
    :ivar mask: one bool per event, the events still in; none while all are.
    :ivar uncertain: a stage before has unreported names because it could not be read.
    :ivar branches: the branches and aliases of the file that can still be used; none: all.
    """

    defined: Mapping[str, Named | None] = field(default_factory=dict)
    mask: Value | None = None
    uncertain: bool = False
    branches: frozenset[str] | None = None

    def defining(self, name: str, value: Named | None) -> Stream:
        """Return the stream with ``name`` standing for ``value`` from here on."""
        return replace(self, defined={**self.defined, name: value})


@dataclass(frozen=True, kw_only=True, slots=True)
class Factor:
    """A formula that a variation multiplies weights with, and where it stands in the document."""

    text: str
    path: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """What a variation changes in the formulas of all stages.

    :ivar replace: for names, the name whose value is meant in their place, from where on there is one. Replacements are
        not replaced again, so that two names can be swapped.
    :ivar factors: what every weight is multiplied with, from left to right.
    :ivar noted: takes what a variation could have changed: names that were looked up, and :data:`WEIGHT`.
    """

    replace: Mapping[str, str] = field(default_factory=dict)
    factors: tuple[Factor, ...] = ()
    noted: set[str] | None = None

    @classmethod
    def noting(cls) -> Shift:
        """Return one that changes nothing, and notes what another one could change."""
        noted: set[str] = set()
        return cls(replace=_Noting(noted), noted=noted)

    def changes(self, noted: frozenset[str]) -> bool:
        """Say whether it can change what was noted."""
        return (WEIGHT in noted and bool(self.factors)) or not noted.isdisjoint(self.replace)


NOMINAL = Shift()
"""Changes nothing."""
WEIGHT = "a weight"
"""Stands for a weight among what is noted; no name, because it has a space."""


class _Noting(Mapping[str, str]):
    """Replaces nothing, and notes what it is asked for."""

    def __init__(self, noted: set[str]):
        self._noted = noted

    def __getitem__(self, name: str) -> str:
        self._noted.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Scope(Mapping[str, Named]):
    """The names that a formula can use, looked up in this order: definitions, constants, branches of the file.

    In a variation a name can stand for what another name stands for (:class:`Shift`).
    """

    def __init__(
        self,
        stream: Stream,
        constants: Mapping[str, Named],
        column: Callable[[str], Named],
        columns: Mapping[str, object],
        replace: Mapping[str, str] = NOMINAL.replace,
    ):
        self._stream = stream
        self._constants = constants
        self._column = column
        self._columns = columns
        self._replace = replace

    def meant(self, name: str) -> str:
        """Return the name whose value is meant by ``name``: its replacement if there already is one, or itself."""
        replacement = self._replace.get(name)
        return replacement if replacement is not None and self.knows(replacement) else name

    def knows(self, name: str) -> bool:
        """Say whether there is anything called ``name``, which may be a member of a group."""
        if self._has(name):
            return True
        group, _, member = name.rpartition(".")
        found = self._stream.defined.get(group) or self._constants.get(group)
        return isinstance(found, Mapping) and member in found

    def __getitem__(self, name: str) -> Named:
        """Return what ``name`` stands for; a branch becomes an input of the program by being named."""
        meant = self.meant(name)
        if meant != name and not self._has(meant):
            group, _, member = meant.rpartition(".")
            return cast("Mapping[str, Named]", self._plain(group))[member]
        return self._plain(meant)

    def _plain(self, name: str) -> Named:
        """Return what ``name`` stands for where nothing is replaced."""
        if name in self._stream.defined:
            value = self._stream.defined[name]
            if value is None:
                raise Uncertain(name)
            return value
        if name in self._constants:
            return self._constants[name]
        if name in self._columns:
            return self._column(name)
        if self._stream.uncertain:
            raise Uncertain(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        """Say whether ``name`` can be used, without making it an input."""
        known = self._has(name) or (isinstance(name, str) and self.meant(name) != name)
        return known or self._stream.uncertain

    def _has(self, name: object) -> bool:
        return name in self._stream.defined or name in self._constants or name in self._columns

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names, for hints."""
        yield from dict.fromkeys([*self._stream.defined, *self._constants, *self._columns])

    def __len__(self) -> int:
        """Return the number of names."""
        return sum(1 for _ in self)


_parsed = lru_cache(maxsize=4096)(parse)
"""Formulas are lowered once for each dataset and variation, and parsed once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBranch:
    """A branch with one text per event."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lowering:
    """Everything but the stream that a stage needs to lower itself, for one kind of partition.

    :ivar builder: the program that all stages of the stream share.
    :ivar constants: globals and what is known of the dataset.
    :ivar columns: the branches and aliases that the file offers.
    :ivar column: makes a branch or an alias an input of the program.
    :ivar where: place of a character of a value in the document, by the value's path.
    :ivar report: takes the faults that are found.
    :ivar text_column: name of the branch behind a name, if it holds texts; else none.
    :ivar root: the stream that the columns are of, as documents name it; empty for none.
    :ivar shift: what the variation that is lowered changes.
    :ivar used: returns the branches that anything is computed from, once all stages have been lowered.
    :ivar dataset: what functions that are not ours may know of the dataset.
    :ivar products: by the stage that a stage needs, the nodes whose products such a function can see.
    """

    builder: Builder
    constants: Mapping[str, Named]
    columns: Mapping[str, object]
    column: Callable[[str], Named]
    where: Callable[[tuple[str | int, ...], int], Location]
    report: Callable[[Fault], None]
    text_column: Callable[[str], str | None]
    root: str = ""
    shift: Shift = NOMINAL
    used: Callable[[], Iterable[str]] = tuple
    dataset: Mapping[str, JSON] = field(default_factory=dict)
    products: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def formula(self, text: str, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
        """Return the value of the formula ``text`` at ``path``, or none after its fault has been reported."""
        try:
            node, scope = _parsed(text, tuple(self.builder.functions)), self.scope(stream)
            value = self.builder.formula(node, scope)
        except Uncertain:
            return None
        except FormulaError as error:
            hint = advice(text, error.column, self.offered(stream), self.root) or error.hint
            self.report(Fault(error.message, self.where(path, error.column), hint))
            return None
        self.note_constants(node, scope, path)
        return value

    def note_constants(
        self, node: Node, names: Mapping[str, Named], path: tuple[str | int, ...], column: str | None = "{}"
    ) -> None:
        """Report which of the names in the formula ``node`` at ``path`` were taken for constants.

        :param names: that it can use. :param column: what the column of a name would be called; none: there is none.
        """
        for name, place in places(node).items():
            if name in CONSTANTS and name not in names:
                missing = "" if column is None else column.format(name)
                message = f"unknown name {name!r}: other files have a column {missing}, so it is not the constant"
                where = self.where(path, place)
                self.report(TakenForConstant(message, where, name=name, column=missing))

    def check(self, text: str, path: tuple[str | int, ...]) -> None:
        """Report what is wrong with the formula ``text`` at ``path`` whatever its names stand for."""
        try:
            _parsed(text, tuple(self.builder.functions))
        except FormulaError as error:
            hint = advice(text, error.column, self.columns, self.root) or error.hint
            self.report(Fault(error.message, self.where(path, error.column), hint))

    def weight(self, text: str | None, stream: Stream, path: tuple[str | int, ...]) -> Value | None:
        """Return the weight ``text`` at ``path`` times what the variation multiplies weights with.

        Every operation reads its ``weight_expr`` with this. Returns none where there is no weight, since what is not
        weighted stays so in every variation, and after a fault has been reported.
        """
        value = None if text is None else self.formula(text, stream, path)
        if self.shift.noted is not None and text is not None:
            self.shift.noted.add(WEIGHT)
        for factor in self.shift.factors if value is not None else ():
            by = self.formula(factor.text, stream, factor.path)
            if value is None or by is None:
                return None
            try:
                value = self.builder.apply("multiply", value, by)
            except FormulaError as error:
                self.fault(error.message, factor.path, hint=error.hint)
                return None
        return value

    def scope(self, stream: Stream) -> Scope:
        """Return the names that formulas can use after the stages so far."""
        return Scope(stream, self.constants, self.column, self.offered(stream), self.shift.replace)

    def offered(self, stream: Stream) -> Mapping[str, object]:
        """Return the names of the branches and aliases that the stages so far have left."""
        return self.columns if stream.branches is None else dict.fromkeys(sorted(stream.branches))

    def reduced(self, reducer: str, value: Value | None, path: tuple[str | int, ...]) -> Value | None:
        """Return ``reducer`` of the list of values that each event has; report what has no list."""
        try:
            return None if value is None else self.builder.apply(reducer, value)
        except FormulaError as error:
            self.fault(error.message, path, hint=error.hint)
            return None

    def texts(self, source: str, stream: Stream, path: tuple[str | int, ...], what: str) -> str | TextBranch | None:
        """Return the text, or the branch of texts, that ``source`` names; none after reporting that it names neither.

        :param what: what needs it, for messages.
        """
        found = self._named_texts(source, stream)
        if found is None and self.formula(source, stream, path) is not None:
            hint = "texts are branches of texts, dataset_name and the like; for whole numbers write type: int"
            self.fault(f"{what} needs texts, but its source gives numbers", path, hint=hint)
        return found

    def _named_texts(self, source: str, stream: Stream) -> str | TextBranch | None:
        """Return the text or branch of texts called ``source``; none if it is called otherwise or isn't text."""
        try:
            node = parse(source)
        except FormulaError:
            return None
        if not isinstance(node, (Name, Member)):
            return None
        first, *members = parts = self.scope(stream).meant(".".join(dotted(node))).split(".")
        if first in stream.defined:
            return None
        if first in self.constants:
            found: Named | None = self.constants[first]
            for member in members:
                found = found.get(member) if isinstance(found, Mapping) else None
            return found if isinstance(found, str) else None
        if stream.branches is not None and ".".join(parts) not in stream.branches:
            return None
        branch = self.text_column(".".join(parts))
        return None if branch is None else TextBranch(name=branch)

    def fault(self, message: str, path: tuple[str | int, ...], *, hint: str | None = None) -> None:
        """Report a fault of the value at ``path``."""
        self.report(Fault(message, self.where(path, 0), hint))

    def per_event(self, value: Value | None, path: tuple[str | int, ...], what: str) -> Value | None:
        """Return ``value`` if it has exactly one, never missing, value per event; report it otherwise."""
        if value is None:
            return None
        if value.structure is not None:
            self.fault(
                f"{what} needs one value per event, but this formula has a list of values per event",
                path,
                hint="reduce the list, for example any(...), all(...), count_nonzero(...) or leading(...)",
            )
            return None
        if value.optional:
            self.fault(
                f"{what} needs a value for every event, but this formula's value can be missing",
                path,
                hint="say what a missing value stands for: fill_none(..., value)",
            )
            return None
        return value

    def selection(self, value: Value | None, path: tuple[str | int, ...]) -> Value | None:
        """Return ``value`` if it can be a cut: one bool per event; report it otherwise."""
        value = self.per_event(value, path, "a cut")
        if value is not None and value.dtype != "bool":
            self.fault(
                f"a cut needs a condition, but this formula is a number ({value.dtype})",
                path,
                hint="compare it, for example with > 0 or == 1",
            )
            return None
        return value
