"""Formulas: what they can say, and where the answer points when they can't."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.errors import FormulaError
from fasthep_archive.formula.parse import canonical, names, parse
from fasthep_archive.formula.scan import LENGTH
from fasthep_archive.formula.tree import DEPTH, Apply, Compare, Constant, Name, walk
from fasthep_archive.formula.unspeakable import advice

CANONICAL = {
    "a+b*c": "(a + (b * c))",
    "a - b - c": "((a - b) - c)",
    "-x**2": "(-(x ** 2))",
    "2**-x": "(2 ** (-x))",
    "a ** b ** c": "(a ** (b ** c))",
    "-5": "(-5)",
    "- 0.0": "(-0.0)",
    "+5": "5",
    "1e3": "1000.0",
    "0x1F": "31",
    "1_000": "1000",
    "True": "True",
    "-9223372036854775808": "(-9223372036854775808)",
    "a && b || c": "((a and b) or c)",
    "a and b and c": "(a and b and c)",
    "!a && !b": "((not a) and (not b))",
    "not a == b": "(not (a == b))",
    "(!a) == b": "((not a) == b)",
    "b == !a": "(b == (not a))",
    "!(a == b)": "(not (a == b))",
    "!x + y": "((not x) + y)",
    "(!x) ** 2": "((not x) ** 2)",
    "!(x ** 2)": "(not (x ** 2))",
    "!!x": "(not (not x))",
    "~a & b": "((~a) & b)",
    "a!=b": "(a != b)",
    "0 < x <= 3": "(0 < x <= 3)",
    "x in (1, 2, 3)": "(x in (1, 2, 3,))",
    "x in [1]": "(x in (1,))",
    "x not in (1, 2)": "(not (x in (1, 2,)))",
    "a if c else b": "where(c, a, b)",
    "where(c, a, b)": "where(c, a, b)",
    "where(y=b, condition=c, x=a)": "where(c, a, b)",
    "atan2(y, x)": "arctan2(y, x)",
    "fabs(x)": "abs(x)",
    "pow(x, 2)": "(x ** 2)",
    "num(x)": "count(x)",
    "nth(x, -1, default=2.0)": "nth(x, (-1), 2.0)",
    "pad_none(x, 2, axis=1)": "pad_none(x, 2)",
    "pad_none(x, 2, axis=-1, clip=True)": "pad_none(x, 2, clip=True)",
    "fill_none(x, 0, axis=-1)": "fill_none(x, 0)",
    "Muon_Pt[Muon_Pt > 5]": "Muon_Pt[(Muon_Pt > 5)]",
    "(a + b)[m]": "(a + b)[m]",
    "x[m][n]": "x[m][n]",
    "Jet.pt": "Jet.pt",
    "dataset['meta']['xs']": "dataset.meta.xs",
    "d['x y']": "d['x y']",
    "d['and']": "d['and']",
    "a == 'data'": "(a == 'data')",
    'a == "it\'s"': 'a == "it\'s"',
    "sqrt(Muon_Px ** 2 +\n     Muon_Py ** 2)": "sqrt(((Muon_Px ** 2) + (Muon_Py ** 2)))",
    "  a\n+\tb  # sum": "(a + b)",
    "'µ' == name": "('µ' == name)",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text(text: str):
    expected = CANONICAL[text]
    assert canonical(parse(text)) in {expected, f"({expected})"}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text_is_a_fixed_point(text: str):
    once = canonical(parse(text))
    assert canonical(parse(once)) == once


# The formula, the column of the fault, a part of the message, a part of the hint
BROKEN = [
    ("", 0, "empty", ""),
    ("   # nothing", 0, "empty", ""),
    ("a +", 3, "ends too early", "missing at the end"),
    ("(a", 0, "never closed", ""),
    ("a) + b", 1, "unmatched", ""),
    ("a b", 2, "can't read", "names have no spaces"),
    ("class + 1", 0, "can't read", "a word of Python's"),
    ("2 * ö", 4, "unexpected 'ö'", "fields: {NAME: {stream"),
    ("a = b", 2, "can't read", "a == b"),
    ("a ? b : c", 2, "unexpected '?'", "a if condition else b"),
    ("TMath::Abs(x)", 5, "can't read", "bare name"),
    ("Sum$(x)", 3, "unexpected '$'", "sum(x)"),
    ("2x", 1, "runs into a name", ""),
    ("1j * x", 1, "runs into a name", ""),
    ("a − b", 2, "unexpected '−'", "write -"),
    ("a ≥ b", 2, "unexpected '≥'", "write >="),
    ("µ + 1", 0, "unexpected 'µ'", "ASCII letters"),
    ("a == 'x\n'", 5, 'unexpected "\'"', "quotation mark"),
    ("a == 'x' 'y'", 9, "unexpected text", ""),
    ("a == f'x'", 6, "unexpected text", "prefix"),
    (r"a == 'x\n'", 5, "unexpected", ""),
    ("a \\\n + b", 2, "unexpected", "backslashes"),
    ("!a == b", 0, "not clear", "(!a) == b"),
    ("x && !a < b", 5, "not clear", ""),
    ("!a in (1, 2)", 0, "not clear", ""),
    ("!x ** 2", 0, "not clear", "(!x) ** y"),
    ("a > 5 & b < 3", 4, "bind more tightly", "(a > 5) & (b < 3)"),
    ("sqrtt(x)", 0, "unknown function 'sqrtt'", "did you mean 'sqrt'?"),
    ("1 + np.sqrt(x)", 4, "only functions can be called", "sqrt(x)"),
    ("sqrt()", 0, "'x' is missing", ""),
    ("a + sqrt(x, y)", 12, "sqrt takes 1 argument, not 2", ""),
    ("min(a, b)", 7, "min takes 1 argument, not 2", "minimum(x, y)"),
    ("sum(a, b)", 7, "sum takes 1 argument, not 2", "x + y"),
    ("nth(x)", 0, "'i' is missing", ""),
    ("nth(x, 0, defalt=1)", 10, "no parameter 'defalt'", "did you mean 'default'?"),
    ("nth(x, 0, i=1)", 10, "is given 'i' twice", ""),
    ("sqrt(*x)", 5, "formulas have no *", ""),
    ("sqrt(**x)", 5, "no parameter '**'", ""),
    ("pad_none(x, 2, axis=0)", 0, "axis can only be 1", ""),
    ("x[:, 0]", 2, "no positions or slices", "nth(x, 0)"),
    ("x[0]", 2, "no positions or slices", "nth(x, 0)"),
    ("x[-1]", 2, "no positions or slices", "nth(x, 0)"),
    ("x[a, b]", 2, "no positions or slices", "nth(x, 0)"),
    ("a + [1, 2]", 4, "only stand after 'in'", "x in (1, 2, 3)"),
    ("x in 5", 5, "possible values", "x == 1"),
    ("x in ()", 5, "possible values", ""),
    ("a < x in (1, 2)", 9, "'in' stands alone", ""),
    ("x is True", 5, "compare with ==", ""),
    ("x == None", 5, "no None", "fill_none"),
    ("x == ...", 5, "no ellipsis", ""),
    ("9223372036854775808", 0, "too large for an int64", "decimal point"),
    ("a * 1e999", 4, "too large for a float64", "inf"),
    ("x @ y", 0, "no @", ""),
    ("lambda x: x", 0, "no functions of their own", ""),
    ("a + (lambda: 1)", 5, "no functions of their own", ""),
    ("[x for x in y]", 0, "no comprehensions", ""),
    ("sum(x for x in y)", 3, "no comprehensions", ""),
    ("(x := 1)", 1, "can't assign", ""),
    ("{1: 2}", 0, "no dictionaries", ""),
    ("{1, 2}", 0, "no sets", ""),
    ("a; b", 1, "can't read", "one expression"),
    ("import os", 0, "can't read", ""),
    ("a if b", 0, "expected 'else'", ""),
    ("(a + b).c", 0, "only names have members", ""),
    ("f(x)(y)", 0, "only functions can be called", ""),
]


@pytest.mark.parametrize(("text", "column", "message", "hint"), BROKEN, ids=[text for text, *_ in BROKEN])
def test_fault_is_named_and_pointed_at(text: str, column: int, message: str, hint: str):
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.column == column
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


HOSTILE = [
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "x.__class__.__init__.__globals__['os']()",
    "leading.__globals__['__builtins__']['__import__']('os').system('true')",
    "(lambda f: f(f))(lambda f: f(f))",
    "[].append(1)",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "globals()",
    "getattr(x, 'y')",
    "f'{x}'",
    "'{0.__class__}'.format(x)",
    "x.y()",
    "yield x",
    "await x",
    "print(x)",
    "a\x00b",
    "sqrt(x)\x0c\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused(text: str):
    with pytest.raises(FormulaError):
        parse(text)


def test_dunder_members_are_names_and_nothing_more():
    assert names(parse("x.__class__.__mro__")) == {"x.__class__.__mro__"}


def test_huge_power_is_parsed_and_not_computed():
    assert canonical(parse("9**9**9**9")) == "(9 ** (9 ** (9 ** 9)))"


def test_five_thousand_terms_are_refused_clearly():
    with pytest.raises(FormulaError, match="nested too deeply"):
        parse("+".join(["x"] * 5000))


def test_sum_of_as_many_terms_as_the_limit_works():
    text = "+".join(["x"] * (DEPTH - 1))
    assert canonical(parse(text)).count("+") == DEPTH - 2


def test_five_thousand_conditions_work():
    assert canonical(parse("&&".join(["x"] * 5000))).count("and") == 4999


@pytest.mark.parametrize(
    "text",
    ["(" * 500 + "x" + ")" * 500, "-" * 5000 + "x", "!" * 5000 + "x", "-" * 60000 + "x", "x[" * 400 + "x" + "]" * 400],
)
def test_deep_nesting_is_refused_clearly(text: str):
    with pytest.raises(FormulaError, match="nested too deeply"):
        parse(text)


def test_too_long_text_is_refused():
    with pytest.raises(FormulaError, match=f"the limit is {LENGTH}"):
        parse("x" * (LENGTH + 1))


def test_columns_point_into_the_text_as_written():
    tree = parse("a && b\n  || sqrt(c)")
    assert isinstance(tree, Apply)
    both, root = tree.arguments
    assert isinstance(both, Apply)
    assert isinstance(root, Apply)
    assert [node.column for node in both.arguments] == [0, 5]
    assert (root.column, root.arguments[0].column) == (12, 17)


def test_columns_count_characters_after_a_wide_one():
    tree = parse("name == 'µµ' && x")
    assert isinstance(tree, Apply)
    assert tree.arguments[1].column == 16


def test_number_keeps_its_type():
    for text, kind in {"1": int, "1.0": float, "True": bool, "'1'": str}.items():
        tree = parse(text)
        assert isinstance(tree, Constant)
        assert type(tree.value) is kind


def test_comparison_is_one_node_for_a_chain():
    tree = parse("a < b < c")
    assert isinstance(tree, Compare)
    assert tree.operators == ("<", "<")


def test_names_are_found_with_their_paths():
    assert names(parse("sqrt(a) + g.x * d['meta']['xs'] + a[b > pi]")) == {"a", "g.x", "d.meta.xs", "b", "pi"}


def test_walk_lets_a_step_catch_what_the_step_below_raises():
    def step(number: int):
        if number == 0:
            raise ValueError(number)
        try:
            return (yield number - 1)
        except ValueError:
            return number

    assert walk(3, step) == 1


def test_walk_raises_what_nobody_catches():
    def step(number: int):
        if number == 0:
            raise ValueError("bottom")
        return (yield number - 1)

    with pytest.raises(ValueError, match="bottom"):
        walk(3, step)


def test_nodes_say_their_name():
    assert isinstance(parse("x"), Name)


@given(st.text(alphabet=string.ascii_letters + "()[]'\"!&|<>=+-*/%^~,. \n0123456789_:#{}@$?é", max_size=40))
def test_any_text_is_parsed_or_refused_inside_itself(text: str):
    try:
        tree = parse(text)
    except FormulaError as error:
        column = error.column
    else:
        column = 0
        once = canonical(tree)
        assert canonical(parse(once)) == once
    assert 0 <= column <= len(text)


@pytest.mark.parametrize(
    ("text", "column", "field"),
    [
        ("2 * größe", 6, '{grosse: {stream: events, branch: "größe"}}'),
        ("my var > 2", 3, '{my_var: {stream: events, branch: "my var"}}'),
        ("class", 0, '{class_: {stream: events, branch: "class"}}'),
        ("x + пт", 4, '{name: {stream: events, branch: "пт"}}'),
        ("3 * a-b", 4, '{a_b: {stream: events, branch: "a-b"}}'),
        ("2e @ 3", 0, None),
        ("größer", 2, None),
        ("x + y + class", 4, None),
    ],
)
def test_a_branch_that_formulas_can_not_spell_is_told_with_the_field_to_write(
    text: str, column: int, field: str | None
) -> None:
    found = advice(text, column, ["größe", "my var", "class", "пт", "a-b", "x", "Muon.pt"], "events")
    assert found is None if field is None else (found or "").endswith(f"fields: {field}")
