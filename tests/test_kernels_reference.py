# ruff: noqa: PLR0124 - only a NaN differs from itself
"""Random formulas against an independent evaluator: Python's own syntax tree, one event at a time.

The evaluator knows nothing of instructions, loops, broadcasting or missing-value masks: an event's value is a number, none,
or a list. Most examples run the emitted loops as plain Python, which is quick; some are compiled by numba.
"""

import ast
import inspect
import math
import re
import struct
from pathlib import Path
from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.formula.parse import canonical, parse
from fasthep_archive.kernels import arithmetic, guards
from fasthep_archive.kernels import schedule as schedule_module
from fasthep_archive.kernels.compile import Kernel, compile_program
from fasthep_archive.kernels.emit import emit
from fasthep_archive.kernels.program import Builder
from fasthep_archive.kernels.schedule import schedule

MUON, JET = Structure("nMuon", counted=True), Structure("nJet", counted=True)
TYPES = {
    "f": ColumnType("float64"),
    "n": ColumnType("int64"),
    "b": ColumnType("bool"),
    "of": ColumnType("float64", optional=True),
    "mf": ColumnType("float64", MUON),
    "mn": ColumnType("int64", MUON),
    "mb": ColumnType("bool", MUON),
    "mo": ColumnType("int64", MUON, optional=True),
    "jf": ColumnType("float64", JET),
    "jn": ColumnType("int64", JET),
}

# The evaluator. A value is (type, content) with type "b", "i" or "f"; content is a number, None or a list of these.


def wrapped(x):
    return (int(x) + 2**63) % 2**64 - 2**63


def quotient(x, y):
    if y == 0:
        return math.nan if x == 0 or x != x else math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def floor_divided(x, y):
    with np.errstate(all="ignore"):
        return float(np.floor_divide(np.float64(x), np.float64(y)))


def rest(x, y):
    with np.errstate(all="ignore"):
        return float(np.remainder(np.float64(x), np.float64(y)))


def smaller(x, y):
    return x if x != x or x <= y else y


def larger(x, y):
    return x if x != x or x >= y else y


def sign(x):
    return x if x != x else type(x)((x > 0) - (x < 0))


ARITHMETIC = {
    ast.Add: (lambda x, y: x + y,) * 2,
    ast.Sub: (lambda x, y: x - y,) * 2,
    ast.Mult: (lambda x, y: x * y,) * 2,
    ast.FloorDiv: (lambda x, y: x // y if y else 0, floor_divided),
    ast.Mod: (lambda x, y: x % y if y else 0, rest),
}
BITS = {ast.BitAnd: lambda x, y: x & y, ast.BitOr: lambda x, y: x | y, ast.BitXor: lambda x, y: x ^ y}
SHIFTS = {
    ast.LShift: lambda x, n: wrapped(x << n) if 0 <= n < 64 else 0,
    ast.RShift: lambda x, n: x >> (n if 0 <= n < 64 else 63),
}
COMPARED = {
    ast.Eq: lambda x, y: x == y,
    ast.NotEq: lambda x, y: x != y,
    ast.Lt: lambda x, y: x < y,
    ast.LtE: lambda x, y: x <= y,
    ast.Gt: lambda x, y: x > y,
    ast.GtE: lambda x, y: x >= y,
}
PROMOTED = {"b": bool, "i": wrapped, "f": float}


def as_type(kind, content):
    if isinstance(content, list):
        return [as_type(kind, x) for x in content]
    return None if content is None else PROMOTED[kind](content) if kind != "b" else content != 0


def elementwise(function, *contents):
    """Apply to numbers; None gives None; lists go value by value, numbers with each value of the lists."""
    sizes = {len(content) for content in contents if isinstance(content, list)}
    if not sizes:
        return None if None in contents else function(*contents)
    (size,) = sizes
    return [elementwise(function, *(c[k] if isinstance(c, list) else c for c in contents)) for k in range(size)]


def common(kinds, booleans=False):
    if booleans and set(kinds) == {"b"}:
        return "b"
    return "f" if "f" in kinds else "i"


def promoted(values, kind):
    return [as_type(kind, content) for _, content in values]


def numeric(function, values, gives=None):
    kind = common([kind for kind, _ in values])
    contents = elementwise(function, *promoted(values, kind))
    return gives or kind, as_type(gives or kind, contents)


def present(content):
    return [x for x in content if x is not None]


def extreme(better):
    def found(values):
        kind = values[0][0]
        best = None
        for x in present(values[0][1]):
            if best is None or (best == best and (x != x or better(x, best))):
                best = x
        return kind, best

    return found


def place(better):
    def found(values):
        best = None
        for k, x in enumerate(values[0][1]):
            if x is not None and (best is None or (best[1] == best[1] and (x != x or better(x, best[1])))):
                best = (k, x)
        return "i", None if best is None else best[0]

    return found


def added(values):
    kind, total = common([values[0][0]]), 0
    total = as_type(kind, total)
    for x in present(as_type(kind, values[0][1])):
        total = as_type(kind, total + x)
    return kind, total


def multiplied(values):
    kind, total = common([values[0][0]]), 1
    total = as_type(kind, total)
    for x in present(as_type(kind, values[0][1])):
        total = as_type(kind, total * x)
    return kind, total


def mean(values):
    return "f", quotient(float(added(values)[1]), float(len(present(values[0][1]))))


def where(values):
    kind = common([kind for kind, _ in values[1:]], booleans=True)
    test, first, second = as_type("b", values[0][1]), as_type(kind, values[1][1]), as_type(kind, values[2][1])
    sizes = {len(c) for c in (test, first, second) if isinstance(c, list)}
    if not sizes:
        return kind, None if test is None else first if test else second
    (size,) = sizes
    lists = [c if isinstance(c, list) else [c] * size for c in (test, first, second)]
    return kind, [None if t is None else a if t else b for t, a, b in zip(*lists, strict=True)]


def filled(values):
    kind = common([kind for kind, _ in values], booleans=True)
    content, value = (as_type(kind, c) for _, c in values)
    if isinstance(content, list):
        return kind, [value if x is None else x for x in content]
    return kind, value if content is None else content


def nth(values):
    (kind, content), (_, index), *default = values
    gives = common([kind, default[0][0]], booleans=True) if default else kind
    other = as_type(gives, default[0][1]) if default else as_type(gives, 0)
    if index is None:
        return gives, None
    index = as_type("i", index)
    at = index + (len(content) if index < 0 else 0)
    found = content[at] if 0 <= at < len(content) else None
    return gives, other if found is None else as_type(gives, found)


def padded(values):
    (kind, content), (_, target), *clip = values
    longer = content + [None] * (target - len(content))
    return kind, longer[:target] if clip and clip[0][1] else longer


def logical(function):
    return lambda values: ("b", elementwise(function, *promoted(values, "b")))


def single(function):
    return lambda values: numeric(function, values)


def floating(function, gives="f"):
    return lambda values: (gives, elementwise(function, *promoted(values, "f")))


FUNCTIONS = {
    "where": where,
    "fill_none": filled,
    "nth": nth,
    "leading": lambda values: nth([values[0], ("i", 0), *values[1:]]),
    "subleading": lambda values: nth([values[0], ("i", 1), *values[1:]]),
    "pad_none": padded,
    "sqrt": floating(lambda x: math.nan if x < 0 else math.sqrt(x)),
    "isnan": floating(math.isnan, "b"),
    "isfinite": floating(math.isfinite, "b"),
    "abs": single(abs),
    "sign": single(sign),
    "floor": single(lambda x: x if isinstance(x, int) or not math.isfinite(x) else math.copysign(math.floor(x), x)),
    "round": single(lambda x: x if isinstance(x, int) or not math.isfinite(x) else math.copysign(round(x), x)),
    "minimum": single(smaller),
    "maximum": single(larger),
    "clip": single(lambda x, low, high: smaller(larger(x, low), high)),
    "count": lambda values: ("i", len(present(values[0][1]))),
    "count_nonzero": lambda values: ("i", sum(as_type("b", present(values[0][1])))),
    "any": lambda values: ("b", any(as_type("b", present(values[0][1])))),
    "all": lambda values: ("b", all(as_type("b", present(values[0][1])))),
    "sum": added,
    "prod": multiplied,
    "min": extreme(lambda x, best: x < best),
    "max": extreme(lambda x, best: x > best),
    "argmin": place(lambda x, best: x < best),
    "argmax": place(lambda x, best: x > best),
    "mean": mean,
}


def evaluated(node, event):  # noqa: PLR0911 - one per kind of node
    """Return (type, content) of a formula's node in one event."""
    match node:
        case ast.Constant(value=value):
            return {bool: "b", int: "i", float: "f"}[type(value)], value
        case ast.Name(id=name):
            return event[name]
        case ast.UnaryOp(op=op, operand=operand):
            value = evaluated(operand, event)
            if isinstance(op, ast.Not):
                return "b", elementwise(lambda x: not x, as_type("b", value[1]))
            if isinstance(op, ast.Invert):
                return value[0], elementwise((lambda x: not x) if value[0] == "b" else (lambda x: ~x), value[1])
            return numeric(lambda x: -x, [value])
        case ast.BoolOp(op=op, values=nodes):
            contents = [as_type("b", evaluated(n, event)[1]) for n in nodes]
            result = contents[0]
            for content in contents[1:]:
                result = elementwise(
                    (lambda x, y: x and y) if isinstance(op, ast.And) else (lambda x, y: x or y), result, content
                )
            return "b", result
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            values = [evaluated(n, event) for n in (left, *comparators)]
            parts = [
                numeric(COMPARED[type(op)], pair, "b")[1]
                for op, *pair in zip(ops, values[:-1], values[1:], strict=True)
            ]
            result = parts[0]
            for part in parts[1:]:
                result = elementwise(lambda x, y: x and y, result, part)
            return "b", result
        case ast.BinOp(left=left, op=op, right=right):
            return combined(op, left, right, event)
        case ast.Subscript(value=value, slice=mask):
            (kind, content), (_, chosen) = evaluated(value, event), evaluated(mask, event)
            return kind, [x for x, keep in zip(content, chosen, strict=True) if keep]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return FUNCTIONS[name]([evaluated(a, event) for a in (*args, *(k.value for k in keywords))])
    raise AssertionError(ast.dump(node))


def combined(op, left, right, event):
    values = [evaluated(left, event), evaluated(right, event)]
    if isinstance(op, ast.Div):
        return "f", elementwise(quotient, *promoted(values, "f"))
    if isinstance(op, ast.Pow):
        exponent = right.value if isinstance(right, ast.Constant) else None
        if exponent == 2:
            square = values[0] if type(exponent) is int else ("f", as_type("f", values[0][1]))
            return numeric(lambda x: x * x, [square])
        return numeric(lambda x: x**exponent, [values[0]])
    if type(op) in BITS:
        kind = common([kind for kind, _ in values], booleans=True)
        return kind, elementwise(BITS[type(op)], *promoted(values, kind))
    if type(op) in SHIFTS:
        return "i", elementwise(SHIFTS[type(op)], *promoted(values, "i"))
    kind = common([kind for kind, _ in values])
    function = ARITHMETIC[type(op)][kind == "f"]
    return kind, as_type(kind, elementwise(function, *promoted(values, kind)))


# Random formulas, as text that is Python too. <x> <i> <b>: number, integer, truth value per event; the same in capitals
# with a counter in front: lists (<mX> of muons, <jX> of jets).

ELEMENT = {
    "x": ["where(<b>, <x>, <x>)", "(<x> + <o>)", "(<x> - <o>)", "(<x> * <o>)", "(<x> / <o>)", "(<x> // <o>)", "(<x> % <o>)",
          "(<x> ** 2)", "(<i> ** 3)", "(<x> ** <c>)", "abs(<x>)", "sign(<x>)", "minimum(<x>, <o>)", "maximum(<o>, <x>)",
          "clip(<x>, -2, <o>)", "(-<x>)", "sqrt(<x>)", "floor(<x>)", "round(<x>)", "<i>"],
    "i": ["where(<b>, <i>, <i>)", "(<i> + <k>)", "(<i> - <k>)", "(<i> * <k>)", "(<i> // <k>)", "(<i> % <k>)", "(<i> & <k>)",
          "(<i> | <k>)", "(<i> ^ <k>)", "(<i> << <k>)", "(<i> >> <k>)", "(~<i>)", "(<i> ** 2)", "abs(<i>)", "sign(<i>)", "(-<b>)"],
    "b": ["(<x> < <o>)", "(<x> <= <o>)", "(<x> > <o>)", "(<x> >= <o>)", "(<x> == <o>)", "(<x> != <o>)", "(<x> < <o> <= <x>)",
          "(<b> and <b>)", "(<b> or <b> or <b>)", "(not <b>)", "(<b> & <b>)", "(<b> | <b>)", "(<b> ^ <b>)", "(~<b>)", "isnan(<x>)",
          "isfinite(<x>)", "(<i> and <b>)"],
}  # fmt: skip
PER_EVENT = {
    "x": ["sum(<L>)", "prod(<L>)", "mean(<L>)", "fill_none(min(<L>), <x>)", "fill_none(max(<L>), -1)", "leading(<L>)",
          "nth(<L>, <a>)", "nth(<L>, <a>, <x>)", "subleading(<L>, 0.5)", "fill_none(of + <x>, 1.5)"],
    "i": ["count(<L>)", "count_nonzero(<L>)", "sum(<I>)", "fill_none(argmin(<L>), -1)", "fill_none(argmax(<L>), <i>)",
          "count(pad_none(<L>, 2))", "nth(<I>, <a>, -1)", "fill_none(sum(mo) * <i>, 1)", "sum(<B>)", "count(mo)",
          "nth(pad_none(<I>, 1, clip=True), <a>, 7)", "fill_none(max(mo[<mB>]), 3)"],
    "b": ["any(<B>)", "all(<L>)", "any(<L>)", "fill_none(of > <x>, False)", "fill_none(max(<B>), <b>)", "all(<B>)"],
}  # fmt: skip
PLAIN = {
    "x": ["f", "n"],
    "i": ["n"],
    "b": ["b"],
    "mX": ["mf", "mn"],
    "mI": ["mn"],
    "mB": ["mb"],
    "jX": ["jf", "jn"],
    "jI": ["jn"],
    "jB": ["(jf > 0)"],
}
LITERAL = {
    "o": ["2", "-3", "0.5", "7", "f", "n"],
    "k": ["2", "-3", "7", "n", "64", "0"],
    "c": ["2.0", "2"],
    "a": ["0", "1", "-1", "n % 3"],
}


def formula(random, symbol, depth):
    """Return a random formula for ``symbol`` of the grammar."""
    if symbol in {"L", "I", "B"}:
        symbol = random.choice("mj") + symbol.replace("L", "X")
        text = formula(random, symbol, depth)
        return f"({text})[{formula(random, symbol[0] + 'B', depth - 1)}]" if random.random() < 0.3 else text
    if symbol in {"o", "k"} and random.random() < 0.4:
        symbol = {"o": "x", "k": "i"}[symbol]
    if symbol in LITERAL:
        return random.choice(LITERAL[symbol])
    if depth <= 0 or random.random() < 0.1:
        return random.choice(PLAIN[symbol])
    counter, kind = symbol[:-1], symbol[-1].lower()
    choices = ELEMENT[kind] + (PER_EVENT[kind] if not counter else [])

    def expanded(match):
        name = match.group(1)
        inner = counter + name.upper() if counter and name in {"x", "i", "b"} else name
        return formula(random, inner, depth - 1)

    return re.sub(r"<(\w+)>", expanded, random.choice(choices))


SPECIAL = [0.0, -0.0, 1.0, -1.5, 2.5, 1e300, -1e-300, math.inf, -math.inf, math.nan, 3.0]
INTEGERS = [0, 1, -1, 2, 7, -5, 2**62, -(2**63), 2**63 - 1, 64]


def columns(seed, events):
    rng = np.random.default_rng(seed)
    sizes = {MUON: rng.integers(0, 4, events), JET: rng.integers(0, 3, events)}
    made = {}
    for name, kind in TYPES.items():
        offsets = (
            None if kind.structure is None else np.concatenate([[0], np.cumsum(sizes[kind.structure])]).astype(np.int64)
        )
        size = events if offsets is None else int(offsets[-1])
        choices = {"float64": np.array(SPECIAL), "int64": np.array(INTEGERS), "bool": np.array([True, False])}[
            kind.dtype
        ]
        valid = rng.random(size) < 0.6 if kind.optional else None
        made[name] = Column(rng.choice(choices, size), offsets, valid)
    return made


def events_of(made, events):
    letter = {"float64": "f", "int64": "i", "bool": "b"}
    lists = {name: listed(column, events) for name, column in made.items()}
    return [{name: (letter[TYPES[name].dtype], lists[name][i]) for name in made} for i in range(events)]


def listed(column, events):
    content = column.content.tolist()
    if column.valid is not None:
        content = [x if ok else None for x, ok in zip(content, column.valid.tolist(), strict=True)]
    if column.offsets is None:
        return content
    return [content[column.offsets[i] : column.offsets[i + 1]] for i in range(events)]


def bits(content):
    if isinstance(content, list):
        return [bits(x) for x in content]
    if isinstance(content, float):
        return "nan" if math.isnan(content) else struct.pack("<d", content).hex()
    return content


class Shim:
    """NumPy's functions under the names of ``math``, which give IEEE results instead of exceptions."""

    sqrt = staticmethod(np.sqrt)
    pow = staticmethod(np.power)
    copysign = staticmethod(np.copysign)


class Typed(ast.NodeTransformer):
    """Makes literals float64 and int64 as numba does, so that 1.0 / 0.0 is infinite."""

    def visit_Constant(self, node):
        name = {float: "float64", int: "int64"}.get(type(node.value))
        return ast.Call(ast.Name(name, ast.Load()), [node], []) if name else node


def executed(text, names):
    """Return the functions of restricted Python source, run by Python itself."""
    space = dict(names)
    exec(compile(ast.fix_missing_locations(Typed().visit(ast.parse(text))), "<restricted>", "exec"), space)
    return space


def interpreted(program):
    """Return the kernel of ``program`` with loops run as plain Python on NumPy scalars."""
    plan = schedule(program)
    sources = [emit(plan, loop) for loop in plan.loops]
    functions = [executed(source.text, names())["loop"] for source in sources]
    return Kernel(program, plan, sources, functions)


def names():
    """Return what names in loops stand for that are run as plain Python."""
    known = {
        "float64": np.float64,
        "int64": np.int64,
        "uint64": int,
        "np": np,
        "math": Shim,
        "inf": math.inf,
        "nan": math.nan,
    }
    text = inspect.getsource(arithmetic).replace("import math\n", "")
    return known | {name: member for name, member in executed(text, known).items() if name in vars(arithmetic)}


def check(texts, kernel_of, seed, events=7):
    made = columns(seed, events)
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    outputs = [builder.formula(parse(text), scope) for text in texts]
    with np.errstate(all="ignore"):
        results = kernel_of(builder.program(outputs))(made, {}, events)
    for text, output, result in zip(texts, outputs, results, strict=True):
        tree = ast.parse(text, mode="eval").body
        expected = [evaluated(tree, event) for event in events_of(made, events)]
        kind = {"f": "float64", "i": "int64", "b": "bool"}[expected[0][0]]
        assert (output.dtype, result.content.dtype) == (kind, np.dtype(kind)), text
        assert bits(listed(result, events)) == bits([content for _, content in expected]), text


def formulas(seed, count):
    random = Random(seed)
    return [
        formula(random, random.choice(["x", "i", "b", "mX", "mI", "mB"]), random.randint(1, 4)) for _ in range(count)
    ]


@settings(max_examples=300, print_blob=False)
@given(st.integers(0, 2**32))
def test_random_formulas_give_what_the_evaluator_gives(seed):
    check(formulas(seed, 2), interpreted, seed)


@pytest.mark.parametrize("seed", range(6))
def test_compiled_random_formulas_give_what_the_evaluator_gives(seed, kernel_cache: Path):
    check(formulas(1000 + seed, 8), lambda program: compile_program(program, cache=kernel_cache), seed, events=40)


@pytest.mark.parametrize("longest", [pytest.param(2, marks=pytest.mark.slow), 5, 150])
def test_cutting_loops_and_guarding_calls_changes_nothing(longest: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule_module, "LONGEST", longest)
    monkeypatch.setattr(
        guards, "CALLS", frozenset((name, "float64") for name in ("sqrt", "floor", "multiply", "divide"))
    )
    for seed in range(60):
        check(formulas(5000 + seed, 6), interpreted, seed)


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_canonical_text_of_random_formulas_is_a_fixed_point(seed):
    for text in formulas(seed, 2):
        once = canonical(parse(text))
        assert canonical(parse(once)) == once


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_canonical_text_gives_the_same_program(seed):
    text = formulas(seed, 1)[0]
    programs = []
    for written in (text, canonical(parse(text))):
        builder = Builder(TYPES)
        scope = {name: builder.column(name) for name in TYPES}
        programs.append(builder.program([builder.formula(parse(written), scope)]).canonical())
    assert programs[0] == programs[1]
