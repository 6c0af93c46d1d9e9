"""How programs are cut into loops, and the source that loops become."""

import ast

import pytest

from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import ColumnType, Structure
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels import emit as emit_module
from fasthep_archive.kernels import guards as guards_module
from fasthep_archive.kernels.emit import emit
from fasthep_archive.kernels.guards import Block, guarded
from fasthep_archive.kernels.program import Builder, Program
from fasthep_archive.kernels.schedule import LONGEST, Schedule, schedule

MUON, JET = Structure("nMuon", counted=True), Structure("nJet", counted=True)
TYPES = {
    "pt": ColumnType("float64", MUON),
    "eta": ColumnType("float64", MUON),
    "jet": ColumnType("float64", JET),
    "va": ColumnType("float64", Structure("va", counted=False)),
    "vb": ColumnType("float64", Structure("vb", counted=False)),
    "met": ColumnType("float64"),
    "run": ColumnType("int64"),
    "hlt": ColumnType("bool"),
}


def program_of(*texts: str) -> Program:
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    return builder.program([builder.formula(parse(text), scope) for text in texts])


def schedule_of(*texts: str) -> Schedule:
    return schedule(program_of(*texts))


def shape(*texts: str) -> list[str]:
    """Return for each loop what it runs over: events, values in one go, or the values of each event."""
    return [
        "events" if loop.group is None else "nested" if loop.nested else "values" for loop in schedule_of(*texts).loops
    ]


def source_of(*texts: str, loop: int = 0) -> str:
    plan = schedule_of(*texts)
    return emit(plan, plan.loops[loop]).text


@pytest.mark.parametrize(
    ("texts", "loops"),
    [
        (["met * 2", "sqrt(met) + run"], ["events"]),
        (["pt * 2", "sqrt(pt)"], ["values"]),
        (["pt * 2", "jet * 2"], ["values", "values"]),
        (["pt * met"], ["nested"]),
        (["sum(pt)"], ["nested"]),
        (["sum(pt) > 5"], ["nested", "events"]),
        (["pt[eta > 0]"], ["values"]),
        (["count_nonzero(pt > 5) >= 2"], ["values", "events"]),
        (["any(pt > 5) && all(eta < 2) && sum(pt > 5) == count(pt[eta > 0])"], ["values", "events"]),
        (["leading(pt) + nth(jet, 2)"], ["events"]),
        (["leading(pt[eta > 0]) * subleading(eta[eta > 0])"], ["values", "events"]),
        (["sum(pt[eta > 0])", "prod(pt)", "sum(jet)"], ["nested", "nested"]),
        (["max(pt)"], ["events", "nested"]),
        (["pt[eta > 0] * met"], ["values", "nested"]),
        (["pt / sum(pt)"], ["nested", "nested"]),
        (["met * 2", "met * sum(pt)", "run + 1"], ["nested", "events"]),
        (["pad_none(pt, 2)"], ["nested"]),
        (["va + vb"], ["values"]),
    ],
)
def test_program_is_cut_into_few_loops(texts: list[str], loops: list[str]):
    assert shape(*texts) == loops


def test_instructions_wait_for_the_loop_that_needs_them():
    plan = schedule_of("met * 2 + sum(pt)", "run * 3")
    assert [loop.group is None for loop in plan.loops] == [False, True]


def test_only_what_crosses_loops_is_stored():
    plan = schedule_of("sqrt(met * 2 + 1)")
    assert len(plan.stored) == 1


def test_lists_that_count_themselves_are_checked_once():
    plan = schedule_of("va + vb", "vb * va", "va[vb > 0]")
    assert len(plan.checks) == 1
    assert not schedule_of("pt * eta").checks


def test_long_loops_are_split():
    plan = schedule_of(" + ".join(f"met * {number}.5" for number in range(300)))
    assert len(plan.loops) == -(-599 // LONGEST)
    assert max(len(loop.body) for loop in plan.loops) == LONGEST


def test_loops_do_not_depend_on_the_order_of_definitions():
    texts = ("sum(pt[eta > met]) / run", "leading(pt) + met", "pt[eta > met]")
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    values = {text: builder.formula(parse(text), scope) for text in reversed(texts)}
    other = schedule(builder.program([values[text] for text in texts]))
    plan = schedule_of(*texts)
    assert [emit(plan, loop).text for loop in plan.loops] == [emit(other, loop).text for loop in other.loops]


# Source


def test_loop_over_events():
    assert source_of("met * 2 > run") == (
        "def loop(n0, c0, c1, out_0):\n"
        "    for i in range(n0):\n"
        "        v1 = float64(c0[i])\n"
        "        v0 = (v1 * 2.0)\n"
        "        v3 = int64(c1[i])\n"
        "        v2 = float64(v3)\n"
        "        v4 = (v0 > v2)\n"
        "        out_0[i] = v4\n"
    )


def test_loop_over_the_values_of_each_event():
    assert source_of("sum(pt * met)") == (
        "def loop(n0, c0, c1, o0, out_0):\n"
        "    for i in range(n0):\n"
        "        v2 = float64(c1[i])\n"
        "        r3 = 0.0\n"
        "        for j in range(o0[i], o0[i + 1]):\n"
        "            v1 = float64(c0[j])\n"
        "            v0 = (v1 * v2)\n"
        "            r3 = r3 + v0\n"
        "        out_0[i] = r3\n"
    )


def test_selection_is_a_running_count():
    assert source_of("pt[eta > 0]") == (
        "def loop(n0, c0, out_0, c1, out_1):\n"
        "    k2 = 0\n"
        "    for i in range(n0):\n"
        "        v1 = float64(c0[i])\n"
        "        v0 = (v1 > 0.0)\n"
        "        v3 = float64(c1[i])\n"
        "        out_0[i] = k2\n"
        "        out_1[uint64(k2)] = v3\n"
        "        k2 += int64(v0)\n"
        "    out_0[n0] = k2\n"
    )


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "-0.0", "-5", "1e-300", "-9223372036854775808", "9007199254740993"]
)
def test_constants_are_spelled_exactly(text: str):
    source = source_of(f"met if hlt else {text}" if "." in text or "n" in text else f"run if hlt else {text}")
    expression = ast.parse(source).body[0]
    assert ast.unparse(ast.parse(f"({text})")) in ast.unparse(expression)


def test_source_has_no_names_but_its_own():
    source = source_of("met * 2 + run", "sqrt(met)")
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert all(
        name.rstrip("0123456789_") in {"v", "c", "n", "out", "i", "float", "int", "math", "range"} for name in names
    )


def test_missing_spelling_is_a_refusal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emit_module, "NUMBA", {"add": {"float64": "({0} + {1})"}})
    with pytest.raises(DataError, match="the target has no multiply of float64"):
        source_of("met * 2")


# Guards


def blocks_of(*texts: str) -> list[Block]:
    plan = schedule_of(*texts)
    return [item for loop in plan.loops for item in guarded(plan, loop) if isinstance(item, Block)]


def test_calls_that_matter_on_one_side_only_move_into_a_block():
    (block,) = blocks_of("where(hlt, sin(met), 0.0)")
    assert block.side is True
    assert len(list(block.numbers())) == 1


def test_other_side_has_its_own_block():
    sides = {block.side for block in blocks_of("where(hlt, sin(met), cos(met))")}
    assert sides == {True, False}


def test_conditions_nest():
    (block,) = blocks_of("where(hlt, where(run > 1, sin(met), 0.0) + 1, 0.0)")
    assert any(isinstance(item, Block) for item in block.items)


def test_masked_reductions_and_selections_guard_what_they_read():
    assert len(blocks_of("sum(sin(pt)[eta > 0])")) == 1
    assert len(blocks_of("sin(pt)[eta > 0]")) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["where(hlt, met * 2 + sqrt(met), 0.0)"],  # costs less than a branch
        ["where(hlt, sin(met), 0.0)", "sin(met)"],  # needed anyway
        ["where(sin(met) > 0, met, 0.0)"],  # the condition itself
        ["sum(where(hlt, 1.0, sin(met)) * pt)", "sin(met)"],
    ],
)
def test_what_is_cheap_or_needed_anyway_stays(texts: list[str]):
    assert blocks_of(*texts) == []


def test_casts_stay_outside_of_blocks():
    builder = Builder(TYPES)
    scope = {name: builder.column(name) for name in TYPES}
    scope["cast"] = builder.cast(builder.formula(parse("sin(met) * 1e30"), scope), "int8")
    plan = schedule(builder.program([builder.formula(parse("where(hlt, cast, 0)"), scope)]))
    assert not any(isinstance(item, Block) for item in guarded(plan, plan.loops[0]))


def test_block_is_zero_elsewhere():
    assert source_of("where(hlt, sin(met), 1.5)") == (
        "def loop(n0, c0, c1, out_0):\n"
        "    for i in range(n0):\n"
        "        v0 = (c0[i] != 0)\n"
        "        v2 = float64(c1[i])\n"
        "        v1 = 0.0\n"
        "        if v0:\n"
        "            v1 = sin_rounded(v2)\n"
        "        v3 = (v1 if v0 else 1.5)\n"
        "        out_0[i] = v3\n"
    )


def test_every_call_of_the_table_is_worth_a_block():
    assert ("sin", "float64") in guards_module.CALLS
