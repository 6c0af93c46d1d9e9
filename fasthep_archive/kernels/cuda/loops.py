"""The loops of a program as kernels: one thread for each turn of a loop.

The text is what :mod:`fasthep_archive.kernels.emit` writes for numba, so that a loop means the same for both targets;
here it becomes the work of thread ``i``, and what only makes sense in order is put in another way:

* **Counters**, which number selected values and the values of padded lists, are first counted by a kernel of their own
  (``NAME_count``: how far each turn takes each counter). Whoever launches it adds the counts up, exclusively, and hands
  the sums to the loop: each turn then begins where the one before ended. Counts are integers, so the sums may be made
  in any order.
* **Selected values** are stored if they are selected, and not in any case: the place belongs to another thread.
* **Faults** of casts: the first one is the smallest position, by an atomic minimum of unsigned numbers; none is -1.
* **Around the loop**: what stands before or after it is the work of one thread more.
"""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.cuda.language import BOOL, DOUBLE, INT, VOID
from fasthep_archive.kernels.cuda.printer import Body, Library
from fasthep_archive.kernels.emit import Argument, Source

_MODULES = ("fasthep_archive.kernels.arithmetic", "fasthep_archive.kernels.elementary.rounded")
"""Where the functions that loops call are."""

_TYPES: Mapping[str, str] = MappingProxyType({"float64": DOUBLE, "int64": INT, "bool": BOOL})

_FILES: Mapping[str, str] = MappingProxyType(
    {
        **_TYPES,
        "float32": "float",
        "int32": "signed int",
        "int16": "signed short",
        "int8": "signed char",
        "uint64": "unsigned long long",
        "uint32": "unsigned int",
        "uint16": "unsigned short",
        "uint8": "unsigned char",
    }
)
"""What the values of a column are on the device, by the name of their NumPy type: what they are in the file."""

_FIXED: Mapping[str, str] = MappingProxyType(
    {"events": INT, "size": INT, "offsets": "const Int *", "valid": "const bool *", "faults": "Word *"}
)
"""The types of arguments that have only one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How the kernel of a loop is launched.

    :ivar name: in the text; there is ``NAME_count`` too if there are counters.
    :ivar arguments: what it is called with, in this order, then for each counter an int64 array: for the loop the
        sums, for ``NAME_count`` the counts. Arrays are addresses, other arguments what C makes of their types.
    :ivar counters: how many there are; their arrays have one element for each turn, and one more.
    :ivar turns: the argument that says how many turns there are. A kernel takes one thread more than turns.
    :ivar casts: the instructions behind the places in ``faults``, where the first turn is that doesn't fit, or -1.
    """

    name: str
    arguments: tuple[Argument, ...]
    counters: int
    turns: Argument
    casts: tuple[int, ...] = ()


def printed(
    library: Library, name: str, source: Source, *, stored: Mapping[int, DType], inputs: Mapping[Argument, np.dtype]
) -> tuple[str, Launch]:
    """Return the text of the kernels of a loop, and how they are launched; functions go into ``library``.

    :param stored: the types of the instructions that loops store, by number.
    :param inputs: the types of columns' contents as they come, and of scalars.
    :raises DataError: if the loop has something that CUDA has not.
    """
    kinds = [_kind(argument, stored, inputs) for argument in source.arguments]
    writer = _Writer(library, source.text, kinds)
    texts = [writer.kernel(name)]
    if writer.counters:
        texts.append(writer.counting_kernel(f"{name}_count"))
    launch = Launch(
        name=name,
        arguments=source.arguments,
        counters=len(writer.counters),
        turns=source.arguments[list(writer.parameters).index(writer.turns)],
        casts=source.casts,
    )
    return "\n\n".join(texts), launch


def _kind(argument: Argument, stored: Mapping[int, DType], inputs: Mapping[Argument, np.dtype]) -> str:
    match argument.kind:
        case "column":
            return f"const {_FILES[inputs[argument].name]} *"
        case "scalar":
            return _FILES[inputs[argument].name]
        case "buffer":
            return f"const {_TYPES[stored[argument.number]]} *"
        case "out":
            return f"{_TYPES[stored[argument.number]]} *"
        case kind:
            return _FIXED[kind]


def _names() -> Mapping[str, object]:
    """Return what the names in a loop stand for."""
    names: dict[str, object] = {"inf": math.inf, "nan": math.nan}
    for module in map(importlib.import_module, _MODULES):
        names |= vars(module)
    return names


class _Writer:
    """Writes the kernels of one loop."""

    def __init__(self, library: Library, text: str, kinds: Sequence[str]) -> None:
        (tree,) = ast.parse(text).body
        assert isinstance(tree, ast.FunctionDef), "a loop is a function"
        (loop,) = (statement for statement in tree.body if isinstance(statement, ast.For))
        assert isinstance(loop.iter, ast.Call), "a loop is over a range"
        around = [statement for statement in tree.body if isinstance(statement, ast.Assign)]
        assert len(around) + 1 == len(tree.body), "around a loop there are assignments"
        self._library = library
        self.parameters = dict(zip((argument.arg for argument in tree.args.args), kinds, strict=True))
        self.turns = ast.unparse(loop.iter.args[0])
        self.counters = tuple(s.targets[0].id for s in around if isinstance(s.targets[0], ast.Name))
        self._around = [statement for statement in around if isinstance(statement.targets[0], ast.Subscript)]
        self._work = list(_parallel(loop.body, self.counters))

    def kernel(self, name: str) -> str:
        """Return the loop."""
        begin = [f"Int {counter}_ = sums_{counter}[i_];" for counter in self.counters]
        last = self._body(name, self._around)
        return self._kernel(name, "const Int *sums", begin, last, self._body(name, self._work))

    def counting_kernel(self, name: str) -> str:
        """Return the kernel that only counts."""
        begin = [f"Int {counter}_ = 0;" for counter in self.counters]
        work = self._body(name, list(_without_stores(self._work)))
        work += [f"    sums_{counter}[i_] = {counter}_;" for counter in self.counters]
        last = [f"    sums_{counter}[i_] = 0;" for counter in self.counters]
        return self._kernel(name, "Int *sums", begin, last, work)

    def _kernel(self, name: str, sums: str, begin: Sequence[str], last: Sequence[str], work: Sequence[str]) -> str:
        listed = [f"{kind} {parameter}_" for parameter, kind in self.parameters.items()]
        listed += [f"{sums}_{counter}" for counter in self.counters]
        lines = [
            "Int i_ = (Int)blockIdx.x * blockDim.x + threadIdx.x;",
            f"if (i_ > {self.turns}_) return;",
            *begin,
            f"if (i_ == {self.turns}_) {{",
            *last,
            "    return;",
            "}",
        ]
        text = [f'extern "C" __global__ void {name}({", ".join(listed)})', "{", *(f"    {line}" for line in lines)]
        return "\n".join([*text, *work, "}"])

    def _body(self, name: str, statements: Sequence[ast.stmt]) -> list[str]:
        known = {**self.parameters, "i": INT, **dict.fromkeys(self.counters, INT)}
        body = Body(self._library, _names(), known, where=name, result=VOID)
        body.block(statements)
        return body.lines()


# From one turn after the other to all at once


def _parallel(statements: Sequence[ast.stmt], counters: Sequence[str]) -> Iterator[ast.stmt]:
    """Yield statements that mean the same where turns run in any order."""
    own: dict[str, list[ast.stmt]] = {counter: [] for counter in counters}
    for statement in statements:
        match statement:
            case ast.If(test=test, body=[ast.Assign(targets=[ast.Subscript(value=ast.Name("faults"))])]):
                yield _first_fault(statement, test)
            case ast.If() | ast.For():
                statement.body = list(_parallel(statement.body, counters))
                yield statement
            case ast.Assign(targets=[ast.Subscript(slice=ast.Call(args=[ast.Name(place)]))]) if place in own:
                own[place].append(statement)
            case ast.AugAssign(target=ast.Name(counter), value=ast.Call(args=[condition])) if own.get(counter):
                yield ast.If(condition, own.pop(counter), [])
                yield statement
            case _:
                yield statement
    assert not any(own.values()), "what is selected is counted"


def _first_fault(statement: ast.If, test: ast.expr) -> ast.stmt:
    """Return ``if ... and faults[k] < 0: faults[k] = place`` as a minimum that all threads take together."""
    (store,) = statement.body
    assert isinstance(store, ast.Assign), "a fault is stored"
    assert isinstance(test, ast.BoolOp), "a fault is stored on conditions"
    (place,) = store.targets
    assert isinstance(place, ast.Subscript), "faults are an array"
    call = ast.Call(ast.Name("first_fault"), [place.value, place.slice, store.value], [])
    return ast.If(ast.BoolOp(test.op, test.values[:-1]), [ast.Expr(call)], [])


def _without_stores(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what is left of statements that store nothing."""
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Subscript()]) | ast.Expr():
                pass
            case ast.If(test=test, body=body):
                if kept := list(_without_stores(body)):
                    yield ast.If(test, kept, [])
            case ast.For(target=target, iter=over, body=body):
                if kept := list(_without_stores(body)):
                    yield ast.For(target, over, kept, [])
            case _:
                yield statement
