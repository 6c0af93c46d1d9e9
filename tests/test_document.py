"""Documents: YAML with places, includes, versions."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive.errors import Location, UsageError, WorkflowError
from fasthep_archive.workflow import reading
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import build
from fasthep_archive.workflow.values import Value, flatten, within

WORKFLOWS = Path(__file__).parent / "workflows"


def read(text: str, tmp_path: Path) -> Value:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return reading.read(path, "a.yaml")[0]


def data(text: str, tmp_path: Path) -> object:
    return flatten(read(text, tmp_path)).data


# --- scalars -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("n", "n"),
        ("~", None),
        ("", None),
        ("null", None),
        ("1", 1),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("1_000_000", 1_000_000),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b101", 5),
        ("1e5", 1e5),
        ("1E-3", 1e-3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e+3", -1500.0),
        ("1_000.5", 1000.5),
        ("1.10", 1.1),
        ("1:30", "1:30"),
        ("2016-01-02", "2016-01-02"),
        ("1__0", "1__0"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("<<", "<<"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ('!!int "7"', 7),
        ("!!float 1", 1.0),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_a_scalar_has_the_type_of_yaml_1_2(written: str, value: object, tmp_path: Path) -> None:
    found = data(f"key: {written}\n", tmp_path)
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("010", "010 is one number to some YAML readers"),
        ("-09", "-09 is one number to some YAML readers"),
        (".inf", ".inf is not a finite number"),
        ("-.INF", "-.INF is not a finite number"),
        (".NaN", ".NaN is not a finite number"),
        ("1e400", "1e400 is not a finite number"),
        ("18446744073709551616", "does not fit into 64 bits"),
        ("9" * 5000, "does not fit into 64 bits"),
        ("!!int abc", "invalid literal"),
        ("!!bool 1", "1 is neither true nor false"),
        ("!!binary aGk=", "the YAML tag !!binary is not allowed"),
        ("!!timestamp 2016-01-02", "the YAML tag !!timestamp is not allowed"),
        ("!!set {a, b}", "the YAML tag !!set is not allowed"),
        ("!!omap [a: 1]", "the YAML tag !!omap is not allowed"),
        ("!mine 1", "the YAML tag !mine is not allowed"),
        ("!!python/name:os.system ''", "the YAML tag !!python/name:os.system is not allowed"),
    ],
)
def test_a_scalar_without_a_json_value_is_refused(written: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"^a\.yaml:1:\d+: ") as caught:
        read(f"key: {written}\n", tmp_path)
    assert message in str(caught.value)


def test_all_faults_of_a_file_are_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError) as caught:
        read("a: 010\nb: !x 1\nc: 1\nc: 2\n3: d\n", tmp_path)
    assert [fault.where.line for fault in caught.value.faults if fault.where] == [1, 2, 4, 5]


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    value = read("\ufeffkey: 1\n", tmp_path)
    assert flatten(value).keys == {("key",): Location("a.yaml", 1, 1)}


def test_a_file_of_more_than_four_megabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="more than 4 MiB"):
        read("#" * (4 * 2**20 + 1), tmp_path)


@pytest.mark.slow
def test_a_file_of_too_many_values_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="more than 100000 values in one file"):
        read("a: [" + "x," * 100_001 + "]", tmp_path)


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"can't read .*: is a directory"):
        load(tmp_path)


# --- anchors and merge keys ----------------------------------------------------------------------------------------


def test_an_alias_repeats_its_value(tmp_path: Path) -> None:
    assert data("a: &x [1, {b: 2}]\nc: *x\n", tmp_path) == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_own_keys_win_over_merged_ones_and_the_first_merged_mapping_over_later_ones(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {z: 3, <<: [*a, *b]}\n"
    assert data(text, tmp_path)["c"] == yaml.safe_load(text)["c"] == {"x": 1, "y": 1, "z": 3}


def test_a_merged_value_is_found_where_it_was_written(tmp_path: Path) -> None:
    flat = flatten(read("a: &a {x: 1}\nb:\n  <<: *a\n", tmp_path))
    assert flat.places["b", "x"].where == Location("a.yaml", 1, 11)
    assert flat.keys["b", "x"] == Location("a.yaml", 1, 8)


def test_only_mappings_can_be_merged(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"a\.yaml:1:9: a merge key"):
        read("a: {<<: [1]}\n".replace("[1]", "1"), tmp_path)


# --- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("key: word\n", 1, 6),
        ("key: 'word'\n", 1, 7),
        ('key: "word"\n', 1, 7),
        ("key: |\n  word\n", 2, 3),
        ("key: >-  # folded\n\n    word\n", 3, 5),
        ("key:\n  word\n", 2, 3),
        ("{key: word}\n", 1, 7),
        ('key: &anchor "word"\n', 1, 15),
        ("key: !!str word\n", 1, 12),
    ],
)
def test_a_text_is_where_its_content_starts(text: str, line: int, column: int, tmp_path: Path) -> None:
    assert flatten(read(text, tmp_path)).places["key",].where == Location("a.yaml", line, column)


def test_the_place_of_something_absent_is_the_innermost_value_around_it() -> None:
    document = load(WORKFLOWS / "good_minimal.yaml")
    stage = ("analysis", "stages", 0)
    assert document.where((*stage, "params", "weight_expr")) == document.where((*stage, "params"))
    assert document.where(()) == document.where(("nothing", 1, "here"))
    assert document.where_key((*stage, "params")).column == document.where((*stage, "params")).column - len("params: ")


def test_a_document_without_a_file_is_its_own_place() -> None:
    document = from_json({"analysis": {}}, name="workflow.resolved.json")
    assert str(document.where(("analysis", "stages"), 3)) == "workflow.resolved.json:1:1"


@pytest.mark.parametrize(
    ("number", "word"), [(0, "+"), (0, "Muon_Py"), (1, "20"), (2, "run"), (2, ">"), (3, ">"), (3, "20")]
)
def test_a_position_in_a_formula_is_found_across_lines_and_escapes(number: int, word: str) -> None:
    document = load(WORKFLOWS / "good_yaml.yaml")
    path = ("analysis", "stages", 0, "params", "variables", number, "expr")
    formula = document.data["analysis"]["stages"][0]["params"]["variables"][number]["expr"]
    where = document.where(path, formula.index(word))
    line = (WORKFLOWS / "good_yaml.yaml").read_text().splitlines()[where.line - 1]
    assert line[where.column - 1 :].startswith(word)


def test_the_end_of_a_formula_is_behind_its_last_character(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text('a: {expr: "x +"}\n')
    document = load(path)
    assert document.where(("a", "expr"), 3) == document.where(("a", "expr")).shifted(3)


def alike(text: str) -> bool:
    """Say whether no reader of YAML takes the plain text for a number; PyYAML writes 08 and 1e5 without quotes."""
    return not re.fullmatch(r"[-+]?\.?[0-9][-+.0-9A-Za-z_]*", text)


words = st.text(st.sampled_from("abc ()+*/<>=&|~.,:#-[]{}!'\"0123456789_"), max_size=30).filter(alike)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20).filter(alike),
    words,
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)
documents = st.dictionaries(words, trees, max_size=5)
styles = st.sampled_from([None, '"', "'", "|", ">"])


@settings(max_examples=100)
@given(documents, styles, st.sampled_from([True, False, None]), st.sampled_from([20, 80, 100_000]))
def test_what_yaml_writes_is_read_back_and_found_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, document: dict, style: str | None, flow: bool | None, width: int
) -> None:
    text = yaml.dump(document, default_style=style, default_flow_style=flow, width=width)
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_bytes(text.encode())
    value, text = reading.read(path, "a.yaml")
    flat = flatten(value)
    assert flat.data == document
    for where, place in flat.places.items():
        found = document
        for step in where:
            found = found[step]
        if isinstance(found, str) and found.isascii() and found.isprintable() and found.strip():
            first = found.lstrip()[0]
            at = within(place, found, found.index(first), text)
            line = text.split("\n")[at.line - 1]
            written = line[at.column - 1 :]
            assert written.startswith((first, "\\")), (where, found)
            single = place.where.line == at.line and found in line and "'" not in found and '"' not in found
            assert not single or line[place.where.column - 1 :].lstrip().startswith(found.lstrip())


@settings(max_examples=100)
@given(
    st.text(st.sampled_from("ab +*()'\"\\<"), min_size=1, max_size=60).filter(str.strip),
    styles,
    st.sampled_from([12, 100_000]),
)
def test_every_visible_character_of_a_text_is_found(
    tmp_path_factory: pytest.TempPathFactory, formula: str, style: str | None, width: int
) -> None:
    text = yaml.dump({"expr": formula}, default_style=style, width=width)
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(text)
    document = load(path)
    for offset, character in enumerate(formula):
        if not character.isspace():
            where = document.where(("expr",), offset)
            assert text.split("\n")[where.line - 1][where.column - 1] in (character, "\\"), (text, offset)


# --- includes ------------------------------------------------------------------------------------------------------


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory / "main.yaml"


def test_an_included_document_lies_below_the_including_one(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main="include: [one, two]\na: {x: 1}\nl: [3]\ns: main\n".replace("one, two", "one.yaml, two.yaml"),
        one="a: {x: 0, y: 0}\nl: [1]\ns: one\n",
        two="a: {y: 2, z: 2}\nl: [2]\ns: two\nt: two\n",
    )
    document = load(main)
    expected = {"a": {"x": 1, "y": 2, "z": 2}, "l": [1, 2, 3], "s": "main", "t": "two", "version": "1.0"}
    assert document.data == expected
    assert document.files == (main, tmp_path / "one.yaml", tmp_path / "two.yaml")


def test_merged_values_keep_their_places(tmp_path: Path) -> None:
    main = write(tmp_path, main="include: one.yaml\nl:\n  - main\n", one="l: [one]\nk: {v: 1}\n")
    document = load(main)
    assert document.where(("l", 0)) == Location(str(tmp_path / "one.yaml"), 1, 5)
    assert document.where(("l", 1)) == Location(str(main), 3, 5)
    assert document.where_key(("k", "v")) == Location(str(tmp_path / "one.yaml"), 2, 5)


def test_includes_are_relative_to_the_file_that_includes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    main = write(tmp_path, main="include: sub/one.yaml\n", two="b: outer\n")
    write(tmp_path / "sub", one="include: [two.yaml, ../two.yaml]\n", two="a: inner\n")
    document = load(main)
    assert document.data == {"a": "inner", "b": "outer", "version": "1.0"}


def test_a_file_that_is_included_twice_counts_twice_and_is_listed_once(tmp_path: Path) -> None:
    main = write(tmp_path, main="include: [one.yaml, one.yaml]\n", one="l: [1]\n")
    document = load(main)
    assert document.data["l"] == [1, 1]
    assert document.files == (main, tmp_path / "one.yaml")


def test_the_version_of_an_included_file_counts_if_there_is_no_other(tmp_path: Path) -> None:
    assert load(write(tmp_path, main="include: one.yaml\n", one="version: 1.1\n")).language == "1.1"


def test_includes_nest_fifty_deep(tmp_path: Path) -> None:
    files = {f"f{n}": f"include: f{n + 1}.yaml\n" for n in range(1, 50)} | {"f50": "deep: true\n"}
    assert load(write(tmp_path, main="include: f1.yaml\n", **files)).data["deep"] is True
    write(tmp_path, f50="include: f51.yaml\n", f51="deep: true\n")
    with pytest.raises(WorkflowError, match=r"f50\.yaml:1:10: includes are nested more than 50 deep"):
        load(tmp_path / "main.yaml")


def test_includes_that_double_at_every_step_are_refused(tmp_path: Path) -> None:
    files = {f"f{n}": f"include: [f{n + 1}.yaml, f{n + 1}.yaml]\n" for n in range(1, 20)} | {"f20": "a: 1\n"}
    with pytest.raises(WorkflowError, match="more than 1000 files are included"):
        load(write(tmp_path, main="include: f1.yaml\n", **files))


def test_faults_of_all_included_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError) as caught:
        load(write(tmp_path, main="include: [one.yaml, two.yaml, none.yaml]\n", one="a: [\n", two="b: 010\n"))
    assert len(caught.value.faults) == 3


# --- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "language"),
    [("", "1.0"), ("version:\n", "1.0"), ("version: 1.0\n", "1.0"), ("version: '1.1'\n", "1.1")],
)
def test_a_document_says_its_version(written: str, language: str, tmp_path: Path) -> None:
    document = load(write(tmp_path, main=written + "analysis: {}\n"))
    assert (document.language, document.data["version"]) == (language, language)


@pytest.mark.parametrize("version", ["2.1", "4.0", "1.10", "1", "0.9", "next"])
def test_an_unknown_version_is_refused_with_the_range_that_is_known(version: str, tmp_path: Path) -> None:
    main = write(tmp_path, main=f"version: {version}\n")
    with pytest.raises(
        WorkflowError, match=rf"main\.yaml:1:10: language version {version} is unknown: .* knows 1\.0 to 1\.1"
    ):
        load(main)


@pytest.mark.parametrize("extra", ["", "styles: {}\n"])
def test_an_unknown_version_on_a_document_of_1_0_can_be_overridden(extra: str, tmp_path: Path) -> None:
    text = (WORKFLOWS / "good_minimal.yaml").read_text() + extra
    main = write(tmp_path, main=f"version: 4.0\n{text}")
    with pytest.raises(WorkflowError, match=r"--language 1\.0"):
        load(main)
    assert load(main, language="1.0").data == load(write(tmp_path, main=text)).data


def test_the_language_to_read_with_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown language version '3'"):
        load(write(tmp_path, main=""), language="3")


def test_the_analysis_version_stays_as_it_is_written() -> None:
    assert load(WORKFLOWS / "good_yaml.yaml").data["workflow"] == {"name": "forms", "version": "1.10"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must be a mapping"),
        ({"version": "9.9"}, "version 9.9 is unknown"),
        ({"version": 1.0}, "version 1.0 is unknown"),
    ],
)
def test_json_that_is_no_document_is_refused(value: object, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        from_json(value, name="workflow.resolved.json")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "nan is not a finite number"),
        (10**400, "does not fit into 64 bits"),
        (json.loads("[" * 90 + "]" * 90), "more than 64"),
    ],
)
def test_json_beyond_the_bounds_of_yaml_is_refused(value: object, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        from_json({"version": "1.1", "analysis": {"globals": {"x": value}}}, name="workflow.resolved.json")


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a:\r\n  - expr: >\r\n      b +\r\n      c\r\n  - d\r\n")
    document = load(path)
    assert document.data["a"] == [{"expr": "b + c\n"}, "d"]
    assert [document.where(("a", 0, "expr"), 4), document.where(("a", 1))] == [
        Location(str(path), 4, 7),
        Location(str(path), 5, 5),
    ]


def test_the_places_of_a_document_do_not_depend_on_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WORKFLOWS)
    assert str(load(Path("good_tutorial.yaml")).where(("data", "datasets", 0))) == "included_datasets.yaml:3:7"


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_file_gives_faults_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = (WORKFLOWS / "good_yaml.yaml").read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        inserted = data.draw(
            st.text(st.sampled_from("\t\n\r &*!|>'\"%@`{}[],:?#-<~\\\0\x7f\ufeff\u2028\ud7ff1e_"), max_size=3)
        )
        text = text[:start] + inserted + text[stop:]
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_bytes(text.encode())
    try:
        _, faults = build(load(path))
    except WorkflowError as error:
        faults = error.faults
    lines = len(re.findall(r"\r\n|\n|\r", text)) + 1
    assert all(fault.where is not None and fault.where.line <= lines for fault in faults)
