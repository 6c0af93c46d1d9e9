"""The page on arithmetic: each row of its tables is executed, by the compiled kernels and by NumPy."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, DType, Structure
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.compile import compile_program
from fasthep_archive.kernels.program import Builder

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "arithmetic.md"
NARROW = {name: getattr(np, name) for name in ("float32", "int32", "uint8")}
NAMES = {"nan": math.nan, "inf": math.inf, **NARROW}
ERROR = "an error"
UNKNOWN = "depends on the machine"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row of a table; ``there`` is what the expression ``numpy`` gives, or words."""

    formula: str
    given: str
    here: str
    numpy: str = ""
    there: str = UNKNOWN

    def values(self) -> dict[str, object]:
        return eval(f"dict({self.given})", NAMES)


def cells(line: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables() -> list[tuple[list[str], list[list[str]]]]:
    """Return the tables of the page: header and rows."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(), re.M):
        lines = [cells(line) for line in block.splitlines()]
        found.append((lines[0], lines[2:]))
    return found


def code(cell: str) -> str:
    found = re.fullmatch("`(.*)`", cell)
    assert found, f"{cell!r} is not between backticks"
    return found[1]


CLAIMS = [
    Claim(
        formula=code(row[0]),
        given=code(row[1]),
        here=code(row[2]),
        **({"numpy": code(row[3]), "there": row[4]} if len(row) > 3 else {}),
    )
    for header, rows in tables()
    if header[0] == "formula"
    for row in rows
]
CASTS = [row for header, rows in tables() if header[0] == "value" for row in rows]


def dtype_of(value: object) -> DType:
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    return "int64" if isinstance(value, (int, np.integer)) else "float64"


def column_of(value: object) -> tuple[ColumnType, Column]:
    """Return a value of one event, or its list, as a column."""
    values = value if isinstance(value, list) else [value]
    known = [item for item in values if item is not None]
    structure = Structure(f"list of {len(values)}", counted=True) if isinstance(value, list) else None
    expected = ColumnType(dtype_of(known[0] if known else 0.0), structure, optional=len(known) < len(values))
    content = np.array([item if item is not None else 77 for item in values], type(known[0]) if known else float)
    valid = np.array([item is not None for item in values]) if expected.optional else None
    offsets = None if structure is None else np.array([0, len(values)])
    return expected, Column(content, offsets, valid)


@pytest.fixture(scope="module")
def results(kernel_cache: Path) -> dict[Claim, object]:
    """Return what the formula of each claim gives, all of them compiled in one program."""
    columns = {
        f"{number}.{name}": column_of(value)
        for number, claim in enumerate(CLAIMS)
        for name, value in claim.values().items()
    }
    builder = Builder({name: expected for name, (expected, _) in columns.items()})
    outputs = [
        builder.formula(parse(claim.formula), {name: builder.column(f"{number}.{name}") for name in claim.values()})
        for number, claim in enumerate(CLAIMS)
    ]
    kernel = compile_program(builder.program(outputs), cache=kernel_cache)
    found = kernel({name: column for name, (_, column) in columns.items()}, {}, 1)
    return {claim: plain(column) for claim, column in zip(CLAIMS, found, strict=True)}


def plain(column: Column) -> object:
    values = column.content.tolist()
    if column.valid is not None:
        values = [value if there else None for value, there in zip(values, column.valid.tolist(), strict=True)]
    return values[0] if column.offsets is None else values


def shown(value: object) -> str:
    """Return a result as the page writes it; ``repr`` of a float tells all of its bits but a NaN's."""
    return repr(value)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.formula} with {claim.given}")
def test_formula_gives_what_the_page_says(claim: Claim, results: dict[Claim, object]):
    assert shown(results[claim]) == claim.here


@pytest.mark.parametrize(
    "claim",
    [claim for claim in CLAIMS if claim.there not in {UNKNOWN}],
    ids=lambda claim: f"{claim.numpy} with {claim.given}",
)
def test_numpy_gives_what_the_page_says(claim: Claim):
    arrays = {
        name: np.array(
            value if isinstance(value, list) else [value], float if isinstance(value, list) and not value else None
        )
        for name, value in claim.values().items()
    }
    if claim.there == ERROR:
        with pytest.raises((TypeError, ValueError, RuntimeWarning)):  # warnings are errors in tests
            eval(claim.numpy, {"np": np, **arrays})
        return
    with np.errstate(all="ignore"):
        found = np.ravel(eval(claim.numpy, {"np": np, **arrays})).tolist()
    expected = claim.here if claim.there == "same" else code(claim.there)
    assert [shown(value) for value in found] == [expected]


def row_name(row: list[str]) -> str:
    return f"{row[0]} as {row[1]}"


@pytest.mark.parametrize("row", CASTS, ids=row_name)
def test_cast_gives_what_the_page_says(row: list[str], kernel_cache: Path):
    value, dtype, becomes, _ = row
    expected, column = column_of(eval(code(value), dict(NAMES)))
    builder = Builder({"x": expected})
    kernel = compile_program(builder.program([builder.cast(builder.column("x"), code(dtype))]), cache=kernel_cache)
    if becomes == ERROR:
        with pytest.raises(DataError, match="a value of event 0 does not fit"):
            kernel({"x": column}, {}, 1)
    else:
        assert shown(plain(kernel({"x": column}, {}, 1)[0])) == code(becomes)


@pytest.mark.parametrize("row", [row for row in CASTS if row[3] != UNKNOWN], ids=row_name)
def test_cast_of_numpy_gives_what_the_page_says(row: list[str]):
    value, dtype, becomes, there = row
    _, column = column_of(eval(code(value), dict(NAMES)))
    with np.errstate(all="ignore"):
        (found,) = column.content.astype(code(dtype)).tolist()
    assert shown(found) == code(becomes if there == "same" else there)


def test_page_has_all_kinds_of_rows():
    assert len(CLAIMS) > 100
    assert len(CASTS) > 10
