"""The table of functions: complete, consistent, and the same as the rest of the code believes."""

import re
from typing import get_args

import pytest

from fasthep_archive.formula import functions
from fasthep_archive.formula.functions import BINARY, CALLS, FUNCTIONS, UNARY, Function, Gives, Kind, Takes, function
from fasthep_archive.formula.parse import canonical, parse

CALLED = """
sqrt abs log log10 log2 log1p exp exp2 expm1 sin cos tan sinh cosh tanh arcsin arccos arctan arctan2 arcsinh arccosh arctanh
asin acos atan atan2 asinh acosh atanh pow fabs hypot cbrt power where clip sign floor ceil round trunc minimum maximum
isnan isinf isfinite fill_none pad_none leading subleading nth
count_nonzero any all sum prod min max argmin argmax count num len mean
"""
WANTED = CALLED.split()


@pytest.mark.parametrize("name", WANTED)
def test_function_can_be_called(name: str):
    assert name in CALLS


def test_nothing_else_can_be_called():
    assert set(CALLS) == set(WANTED)


@pytest.mark.parametrize(
    "symbol",
    ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&", "|", "^", "<<", ">>", "and", "or"],
)
def test_operator_between_two_operands_is_known(symbol: str):
    assert symbol in BINARY


@pytest.mark.parametrize("symbol", ["+", "-", "~", "not"])
def test_operator_before_one_operand_is_known(symbol: str):
    assert symbol in UNARY


@pytest.mark.parametrize("row", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_row_uses_the_words_of_the_table(row: Function):
    assert row.kind in get_args(Kind)
    assert row.takes in get_args(Takes)
    assert row.gives in get_args(Gives)


@pytest.mark.parametrize("row", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_row_is_documented_in_one_sentence(row: Function):
    assert re.fullmatch(r"[-\w].*\.", row.document)
    assert "\n" not in row.document


@pytest.mark.parametrize("row", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_row_can_be_written_in_a_formula(row: Function):
    assert row.calls or row.symbol


def test_names_that_can_be_called_are_unique():
    calls = [call for row in FUNCTIONS.values() for call in row.calls]
    assert len(calls) == len(set(calls))


@pytest.mark.parametrize("call", CALLS)
def test_every_name_parses_to_its_function(call: str):
    row = CALLS[call]
    arguments = ["1" if parameter.name in {"target", "i"} else "x" for parameter in row.parameters[: row.least]]
    text = canonical(parse(f"{call}({', '.join(arguments)})"))
    assert text.startswith(f"{row.calls[0]}(") or row.symbol in text


def test_minus_is_found_by_its_number_of_arguments():
    assert function("-", 1) is FUNCTIONS["negative"]
    assert function("-", 2) is FUNCTIONS["subtract"]


def test_unknown_name_is_not_found():
    assert function("erf", 1) is None


def test_constants_are_the_usual_ones():
    assert set(functions.CONSTANTS) == {"pi", "e", "inf", "nan"}


def test_variadic_functions_take_any_number():
    assert (FUNCTIONS["and"].least, FUNCTIONS["and"].most) == (2, None)
    assert (FUNCTIONS["nth"].least, FUNCTIONS["nth"].most) == (2, 3)
    assert (FUNCTIONS["pad_none"].least, FUNCTIONS["pad_none"].most) == (2, 3)
