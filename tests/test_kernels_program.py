"""Programs: types, names, canonical text, and faults that only the types show."""

import pickle
from collections.abc import Iterator, Mapping

import pytest

from fasthep_archive.errors import FormulaError
from fasthep_archive.formula.columns import ColumnType, Structure
from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Builder, Named, Program, Value

MUON, JET = Structure("nMuon", counted=True), Structure("nJet", counted=True)
TYPES = {
    "Muon_Pt": ColumnType("float64", MUON),
    "Muon_Eta": ColumnType("float64", MUON),
    "Muon_Charge": ColumnType("int64", MUON),
    "Jet_Pt": ColumnType("float64", JET),
    "vec_a": ColumnType("float64", Structure("vec_a", counted=False)),
    "vec_b": ColumnType("float64", Structure("vec_b", counted=False)),
    "MET": ColumnType("float64"),
    "run": ColumnType("int64"),
    "HLT": ColumnType("bool"),
    "maybe": ColumnType("float64", optional=True),
    "Jet.mass": ColumnType("float64", JET),
    "label": ColumnType("text"),
}


def scope_of(builder: Builder, **names: Named) -> dict[str, Named]:
    return {name: builder.column(name) for name, kind in TYPES.items() if kind.dtype != "text"} | names


def value_of(text: str, **names: Named) -> Value:
    builder = Builder(TYPES)
    return builder.formula(parse(text), scope_of(builder, **names))


def program_of(*texts: str, **names: Named) -> Program:
    builder = Builder(TYPES)
    scope = scope_of(builder, **names)
    return builder.program([builder.formula(parse(text), scope) for text in texts])


def text_of(*texts: str, **names: Named) -> str:
    return program_of(*texts, **names).canonical()


# Types


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("run + 1", "int64"),
        ("run + 1.0", "float64"),
        ("run / 2", "float64"),
        ("run // 2", "int64"),
        ("HLT + HLT", "int64"),
        ("-HLT", "int64"),
        ("+HLT", "int64"),
        ("~HLT", "bool"),
        ("~run", "int64"),
        ("HLT & run", "int64"),
        ("HLT & HLT", "bool"),
        ("run and MET", "bool"),
        ("!MET", "bool"),
        ("run ** 2", "int64"),
        ("run ** 2.0", "float64"),
        ("run ** 3", "int64"),
        ("run ** -1", "float64"),
        ("run ** run", "float64"),
        ("HLT ** 2", "int64"),
        ("MET ** 2", "float64"),
        ("run << 2", "int64"),
        ("floor(run)", "int64"),
        ("floor(MET)", "float64"),
        ("isnan(run)", "bool"),
        ("sqrt(run)", "float64"),
        ("where(HLT, 1, 2)", "int64"),
        ("where(HLT, 1, 2.0)", "float64"),
        ("where(HLT, HLT, True)", "bool"),
        ("where(HLT, HLT, 1)", "int64"),
        ("sum(Muon_Charge)", "int64"),
        ("sum(Muon_Pt > 5)", "int64"),
        ("min(Muon_Pt > 5)", "bool"),
        ("mean(Muon_Charge)", "float64"),
        ("argmax(Muon_Pt)", "int64"),
        ("leading(Muon_Charge)", "int64"),
        ("leading(Muon_Charge, 0.0)", "float64"),
        ("leading(Muon_Pt, 0)", "float64"),
        ("leading(Muon_Pt > 5)", "bool"),
        ("leading(Muon_Pt > 5, False)", "bool"),
        ("leading(Muon_Pt > 5, 0)", "int64"),
        ("run in (1, 2.5)", "bool"),
        ("True", "bool"),
        ("pi", "float64"),
    ],
)
def test_result_has_the_type_of_the_rules(text: str, dtype: str):
    assert value_of(text).dtype == dtype


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ("MET + 1", None),
        ("1", None),
        ("Muon_Pt + MET", MUON),
        ("MET * Muon_Pt", MUON),
        ("vec_a + vec_b", Structure("vec_a", counted=False)),
        ("sum(Muon_Pt)", None),
        ("nth(Jet_Pt, 0)", None),
        ("where(HLT, Muon_Pt, 0)", MUON),
    ],
)
def test_result_has_the_structure_of_its_lists(text: str, structure: Structure | None):
    assert value_of(text).structure == structure


@pytest.mark.parametrize(
    ("text", "optional"),
    [
        ("maybe", True),
        ("maybe + MET", True),
        ("maybe > 5", True),
        ("maybe > 5 or HLT", True),
        ("fill_none(maybe, 0)", False),
        ("fill_none(maybe, maybe)", True),
        ("fill_none(MET, 0)", False),
        ("max(Muon_Pt)", True),
        ("argmin(Muon_Pt)", True),
        ("sum(Muon_Pt)", False),
        ("mean(Muon_Pt)", False),
        ("pad_none(Muon_Pt, 2)", True),
        ("sum(pad_none(Muon_Pt, 2))", False),
        ("leading(pad_none(Muon_Pt, 2))", False),
        ("leading(Muon_Pt, maybe)", True),
        ("where(HLT, maybe, 0)", True),
        ("where(maybe > 0, 1, 0)", True),
        ("isnan(maybe)", True),
        ("Muon_Pt[Muon_Pt == max(Muon_Pt)]", False),
    ],
)
def test_result_says_whether_it_can_be_missing(text: str, optional: bool):
    assert value_of(text).optional is optional


def test_selections_by_the_same_mask_can_be_combined():
    assert value_of("Muon_Pt[Muon_Pt > 5] * Muon_Eta[Muon_Pt > 5]").dtype == "float64"


def test_fixed_lengths_can_be_combined_whatever_they_come_from():
    assert value_of("pad_none(Muon_Pt, 1, clip=True) + pad_none(Jet_Pt, 1, clip=True)").optional


def test_padded_lists_that_count_themselves_can_be_combined():
    assert value_of("pad_none(vec_a, 2) + pad_none(vec_b, 2)").optional


# Faults: the formula, the column, a part of the message, a part of the hint

BROKEN = [
    ("Muon_Ptt > 5", 0, "unknown name 'Muon_Ptt'", "did you mean 'Muon_Pt'?"),
    ("MET + muon_pt", 6, "unknown name 'muon_pt'", "did you mean 'Muon_Pt'?"),
    ("sqrt", 0, "unknown name 'sqrt'", "sqrt is a function"),
    ("MET.x", 0, "unknown name 'MET.x'", "did you mean 'MET'?"),
    ("run.first.event", 0, "unknown name 'run.first.event'", "'run' has no members"),
    ("1 + groups", 4, "'groups' is a group of names", "groups.a"),
    ("groups.aa", 0, "unknown name 'groups.aa'", "did you mean 'groups.a'?"),
    ("Muon_Pt + Jet_Pt", 10, "'Muon_Pt' has one value per nMuon and 'Jet_Pt' one per nJet", "leading(x)"),
    ("Muon_Pt > 5 && Muon_Eta < 2 && Jet_Pt > 20", 31, "'Muon_Pt'", "first"),
    ("MET in (1, 2, Muon_Pt, Jet_Pt)", 23, "'Jet_Pt' one per nJet", ""),
    ("where(Muon_Pt > 5, Muon_Pt, Jet_Pt)", 28, "'Jet_Pt' one per nJet", ""),
    ("Muon_Pt[Muon_Pt > 5] + Muon_Pt", 23, "selected or padded differently", ""),
    ("Muon_Pt[Muon_Pt > 5] + Muon_Eta[Muon_Eta > 0]", 23, "selected or padded differently", ""),
    ("pad_none(Muon_Pt, 2) + pad_none(Muon_Pt, 3)", 23, "selected or padded differently", ""),
    ("MET > 5 & run", 8, "", ""),
    ("MET & run", 0, "& works on truth values and integers", "(a > 5) & (b < 3)"),
    ("run | MET", 6, "| works on truth values and integers", "a > 5 || b < 3"),
    ("MET ^ 2", 0, "^ works on truth values and integers", "x ** y"),
    ("~MET", 1, "~ works on truth values and integers", "!x"),
    ("run << 1.5", 7, "<< works on truth values and integers", ""),
    ("sum(MET)", 4, "sum needs a list of values per event", "x + y"),
    ("count_nonzero(HLT)", 14, "count_nonzero needs a list", "one value of the list"),
    ("max(run)", 4, "max needs a list", "maximum(x, y)"),
    ("leading(MET)", 8, "no list to take a value from", ""),
    ("nth(Muon_Pt, 1.5)", 13, "a position is an integer", ""),
    ("nth(Muon_Pt, Muon_Charge)", 13, "one value per event is needed", ""),
    ("leading(Muon_Pt, Muon_Eta)", 17, "one value per event is needed", ""),
    ("MET[HLT]", 0, "this is one value per event", "cutflow"),
    ("Muon_Pt[HLT]", 8, "for each value of the list", "cutflow"),
    ("Muon_Pt[Muon_Charge]", 8, "this is a number", "nth(x, i)"),
    ("Muon_Pt[argmax(Muon_Pt)]", 8, "this is a number", "nth(x, i)"),
    ("Muon_Pt[Jet_Pt > 5]", 8, "'Jet_Pt' one per nJet", ""),
    ("pad_none(MET, 2)", 9, "this is one value per event", ""),
    ("pad_none(Muon_Pt, run)", 18, "literal number of values", ""),
    ("pad_none(Muon_Pt, -1)", 18, "between 0 and", ""),
    ("pad_none(Muon_Pt, 10 ** 9)", 18, "literal number of values", ""),
    ("pad_none(Muon_Pt, 2, clip=run)", 26, "clip is True or False", ""),
    ("fill_none(maybe, Muon_Pt)", 17, "can't be replaced by a list", ""),
    ("name == 1", 0, "a text can only be compared with a text", "dataset_name"),
    ("1 + name", 4, "a text can't be used here", "dataset_name"),
    ("name < 'b'", 0, "equal or different", ""),
    ("'data'", 0, "this is a text", "dataset_name"),
    ("name", 0, "this is a text", ""),
    ("run in ('a', 2)", 8, "a text can't be used here", ""),
    ("name.x", 0, "unknown name 'name.x'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "message", "hint"), BROKEN, ids=[text for text, *_ in BROKEN])
def test_fault_is_named_and_pointed_at(text: str, column: int, message: str, hint: str):
    if text == "MET > 5 & run":  # Python's reading, and legal: (MET > (5 & run))
        assert value_of(text).dtype == "bool"
        return
    with pytest.raises(FormulaError) as caught:
        value_of(text, name="data", groups={"a": 1, "b": 2})
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.column == column


def test_unknown_column_is_refused_with_the_nearest_name():
    with pytest.raises(FormulaError, match="did you mean 'Muon_Pt'") as caught:
        Builder(TYPES).column("Muon_Ptt")
    assert caught.value.message == "unknown column 'Muon_Ptt'"


def test_column_of_texts_is_refused():
    with pytest.raises(FormulaError, match="'label' holds texts"):
        Builder(TYPES).column("label")


def test_apply_refuses_unknown_functions():
    builder = Builder(TYPES)
    with pytest.raises(FormulaError, match="did you mean 'sqrt'"):
        builder.apply("sqrtt", builder.column("MET"))


@pytest.mark.parametrize(("name", "arguments"), [("sqrt", 2), ("nth", 1), ("and", 1), ("pad_none", 4)])
def test_apply_refuses_a_wrong_number_of_arguments(name: str, arguments: int):
    builder = Builder(TYPES)
    with pytest.raises(FormulaError, match="arguments, not"):
        builder.apply(name, *[builder.column("MET")] * arguments)


def test_apply_knows_symbols_and_other_names():
    builder = Builder(TYPES)
    met, run = builder.column("MET"), builder.column("run")
    assert builder.apply("+", met, run) == builder.apply("add", met, run)
    assert builder.apply("-", met) == builder.apply("negative", met)
    assert builder.apply("atan2", met, run) == builder.apply("arctan2", met, run)


def test_cast_to_an_unknown_type_is_refused():
    builder = Builder(TYPES)
    with pytest.raises(FormulaError, match="unknown type 'float23'"):
        builder.cast(builder.column("MET"), "float23")


# Names


class Recording(Mapping[str, Named]):
    """A scope that makes columns when they are asked for."""

    def __init__(self, builder: Builder):
        self.builder, self.asked = builder, []

    def __getitem__(self, name: str) -> Named:
        self.asked.append(name)
        if name not in TYPES:
            raise KeyError(name)
        return self.builder.column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(TYPES)

    def __len__(self) -> int:
        return len(TYPES)


def test_scope_is_asked_for_what_is_used_only():
    builder = Builder(TYPES)
    scope = Recording(builder)
    value = builder.formula(parse("sqrt(MET) + pi"), scope)
    assert scope.asked == ["MET", "pi"]
    assert builder.program([value]).columns == ("MET",)


def test_name_with_a_dot_is_a_column_or_a_member():
    assert program_of("Jet.mass").columns == ("Jet.mass",)
    assert text_of("g.x + 1", g={"x": 2}) == text_of("2 + 1")
    assert text_of("d['meta']['xs']", d={"meta": {"xs": 2.5}}) == text_of("2.5")


def test_member_of_a_group_is_preferred_to_a_name_with_a_dot():
    assert program_of("Jet.mass", Jet={"mass": 1}).columns == ()
    assert program_of("Jet.mass", Jet={"pt": 1}).columns == ("Jet.mass",)


def test_scope_wins_over_constants():
    assert program_of("pi", pi=3).canonical() == text_of("3")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name == 'data'", True),
        ("name != 'data'", False),
        ("'data' == name", True),
        ("name in ('mc', 'data')", True),
        ("name not in ('mc', 'data')", False),
        ("name == 'data' and True", True),
        ("not name == 'data'", False),
        ("1 < 2 < 3", True),
        ("kind.era == '2016'", True),
    ],
)
def test_what_is_known_of_texts_and_literals_is_known_at_once(text: str, value: bool):
    assert text_of(text, name="data", kind={"era": "2016"}) == text_of(str(value))


def test_known_condition_leaves_the_other_side_out():
    assert program_of("MET if name == 'data' else run * 1.0", name="data").columns == ("MET",)


def test_known_condition_allows_unknown_names_on_the_other_side():
    assert program_of("EventWeight if name == 'mc' else MET", name="data").columns == ("MET",)
    assert program_of("where(name == 'data', MET, EventWeight * 2)", name="data").columns == ("MET",)
    with pytest.raises(FormulaError, match="EventWeight"):
        program_of("EventWeight if name == 'mc' else MET", name="mc")


def test_known_condition_keeps_type_and_structure_of_both_sides():
    value = value_of("1 if name == 'data' else Muon_Pt", name="data")
    assert (value.dtype, value.structure) == ("float64", MUON)


def test_chosen_text_can_be_compared():
    assert text_of("('a' if name == 'data' else 'b') == 'a'", name="data") == text_of("True")


# Canonical text


def test_equal_computations_are_one():
    program = program_of("sqrt(MET) + sqrt(MET) * run", "sqrt(MET)")
    assert sum(i.operation == "sqrt" for i in program.instructions) == 1


def test_order_of_definitions_and_dead_code_leave_no_trace():
    one, other = Builder(TYPES), Builder(TYPES)
    a, b = (one.formula(parse(text), scope_of(one)) for text in ("sqrt(MET) * 2", "sum(Muon_Pt[Muon_Eta > 0])"))
    scope = scope_of(other)
    other.formula(parse("exp(run) + Jet.mass"), scope)
    d, c = (other.formula(parse(text), scope) for text in ("sum(Muon_Pt[Muon_Eta > 0])", "sqrt(MET) * 2"))
    assert one.program([a, b]).canonical() == other.program([c, d]).canonical()


def test_names_of_variables_leave_no_trace():
    texts = []
    for first, second in (("a", "b"), ("Pt", "zzz")):
        builder = Builder(TYPES)
        scope = scope_of(builder)
        scope[first] = builder.formula(parse("MET * 2"), scope)
        scope[second] = builder.cast(builder.formula(parse(f"{first} + run"), scope), "int32", label=second)
        texts.append(builder.program([builder.formula(parse(f"{second} ** 2 - {first}"), scope)]).canonical())
    assert texts[0] == texts[1]


def test_counting_names_no_column_that_was_used_elsewhere():
    one, other = Builder(TYPES), Builder(TYPES)
    scope_of(one)
    other.formula(parse("Muon_Eta + Muon_Charge"), scope_of(other))
    programs = [b.program([b.apply("count", b.column("Muon_Pt"))]) for b in (one, other)]
    assert programs[0].canonical() == programs[1].canonical()
    assert programs[0].columns == ("Muon_Pt",)


CHANGES = [
    ("MET * 2", "MET * 3"),
    ("MET * 2", "MET * 2.5"),
    ("MET + run", "run + MET"),
    ("MET * 0.0", "MET * -0.0"),
    ("run * 1", "run * True"),
    ("MET > 5", "MET >= 5"),
    ("Muon_Pt[Muon_Pt > 5]", "Muon_Pt[Muon_Pt > 6]"),
    ("pad_none(Muon_Pt, 2)", "pad_none(Muon_Pt, 3)"),
    ("pad_none(Muon_Pt, 2)", "pad_none(Muon_Pt, 2, clip=True)"),
    ("MET ** 2", "MET ** 3"),
    ("nth(Muon_Pt, 0)", "nth(Muon_Pt, 1)"),
    ("nan", "inf"),
]


@pytest.mark.parametrize(("text", "other"), CHANGES, ids=[f"{text} / {other}" for text, other in CHANGES])
def test_what_changes_the_result_changes_the_text(text: str, other: str):
    if text == "run * 1":  # a bool counts as 1, exactly
        assert text_of(text) != text_of("run * 2")
    else:
        assert text_of(text) != text_of(other)


EQUAL = [
    ("a && b", "(a) and (b)"),
    ("MET*2+1", "((MET * 2) + 1)"),
    ("atan2(MET, 1)", "arctan2(MET, 1.0)"),
    ("MET if HLT else 0", "where(HLT, MET, 0.0)"),
    ("MET ** 2", "MET * MET"),
    ("leading(Muon_Pt)", "nth(Muon_Pt, 0)"),
    ("clip(MET, 0, 1)", "minimum(maximum(MET, 0), 1)"),
    ("num(Muon_Pt)", "len(Muon_Pt)"),
    ("run in (1, 2)", "run == 1 || run == 2"),
    ("0 < MET < 5", "0 < MET and MET < 5"),
    ("sum(Muon_Pt[Muon_Eta > 0])", "sum(Muon_Pt [ (Muon_Eta > 0.0) ])"),
    ("MET > 0 && True", "MET > 0"),
]


@pytest.mark.parametrize(("text", "other"), EQUAL, ids=[f"{text} / {other}" for text, other in EQUAL])
def test_other_ways_to_say_the_same_have_the_same_text(text: str, other: str):
    names = {"a": True, "b": False} if text == "a && b" else {}
    assert text_of(text, **names) == text_of(other, **names)


def test_text_has_the_types_of_columns():
    other = TYPES | {"MET": ColumnType("int64")}
    programs = [(b := Builder(types)).program([b.column("MET")]) for types in (TYPES, other)]
    assert programs[0].canonical() != programs[1].canonical()


def test_text_has_whether_columns_can_be_missing():
    other = TYPES | {"MET": ColumnType("float64", optional=True)}
    programs = [(b := Builder(types)).program([b.column("MET")]) for types in (TYPES, other)]
    assert programs[0].canonical() != programs[1].canonical()


def test_text_is_stable():
    assert text_of("sum(Muon_Pt[Muon_Eta > 1.5]) / run", "fill_none(maybe, 0)") == (
        "program 1\n"
        '0 offsets "counter nMuon" int64\n'
        '1 column "Muon_Pt" float64 @0\n'
        '2 column "Muon_Eta" float64 @0\n'
        '3 constant "0x1.8000000000000p+0" float64\n'
        "4 greater 2 3 bool @0\n"
        "5 sum 1 4 float64\n"
        '6 column "run" int64\n'
        "7 to_float64 6 float64\n"
        "8 divide 5 7 float64\n"
        '9 valid "maybe" bool\n'
        '10 column "maybe" float64\n'
        '11 constant "0x0.0p+0" float64\n'
        "12 where 9 10 11 float64\n"
        "output 8\n"
        "output 12\n"
    )


def test_names_of_branches_are_quoted_in_the_text():
    types = {'odd"name\n7 sum': ColumnType("float64")}
    builder = Builder(types)
    text = builder.program([builder.column('odd"name\n7 sum')]).canonical()
    assert text.splitlines()[1] == r'0 column "odd\"name\n7 sum" float64'


def test_program_says_what_it_needs():
    builder = Builder(TYPES)
    luminosity = builder.scalar("lumi", "float64")
    value = builder.formula(parse("MET * lumi + run"), scope_of(builder, lumi=luminosity))
    program = builder.program([value])
    assert program.columns == ("MET", "run")
    assert program.types == (TYPES["MET"], TYPES["run"])
    assert program.scalars == (("lumi", "float64"),)


def test_program_says_the_types_of_its_outputs():
    program = program_of("Muon_Pt > 5", "max(Muon_Pt)")
    assert program.outputs[0].type == ColumnType("bool", MUON)
    assert program.outputs[1].type == ColumnType("float64", None, optional=True)


def test_program_travels_between_processes():
    program = program_of("sum(Muon_Pt[Muon_Eta > 0]) + MET", "Muon_Pt[Muon_Eta > 1]")
    assert pickle.loads(pickle.dumps(program)) == program


def test_huge_powers_are_not_computed():
    assert "power" in text_of("9 ** 9 ** 9 ** 9")


def test_long_sums_become_programs():
    assert text_of("+".join(["MET"] * 900)).count("add") == 899


def test_long_unions_become_programs():
    text = text_of(" || ".join(f"run == {number}" for number in range(3000)))
    assert text.count("equal") == 3000
