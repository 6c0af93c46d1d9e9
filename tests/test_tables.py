"""Files of columns as outputs: content digests of ROOT and Parquet files, and the comparison of two of them."""

import io
import math
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from test_writing import in_memory

from fasthep_archive.data.content import of_array, of_output, of_value
from fasthep_archive.data.forms import Branch
from fasthep_archive.data.products import kind_of
from fasthep_archive.data.tables import Columns, tables
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.data.view import of_directory
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column
from fasthep_archive.verification.columns import compare_columns
from fasthep_archive.verification.compare import compare
from fasthep_archive.verification.numbers import UNRELATED, Tolerance, single_distances
from fasthep_archive.verification.outputs import Output
from fasthep_archive.verification.policy import verdicts
from fasthep_archive.verification.verdict import Level
from fasthep_archive.workflow.settings import Policy

COUNT = 300
FORMS = ("rntuple", "ttree")


def part():
    random = np.random.default_rng(4)
    offsets = np.concatenate([[0], np.cumsum(random.poisson(2, COUNT))]).astype(np.int64)
    size = int(offsets[-1])
    return {
        "x": Column(random.random(COUNT)),
        "n": Column(np.arange(COUNT)),
        "flag": Column(random.random(COUNT) < 0.5),
        "pt": Column(random.random(size).astype("f4"), offsets),
        "tight": Column(random.random(size) < 0.5, offsets),
        "word": Column(random.integers(0, 3, COUNT), words=("a", "", "µτ")),
    }


BRANCHES = [Branch(name=name, text=name == "word", counter="npt" if name in ("pt", "tight") else "") for name in part()]


def file(form="rntuple", columns=None, branches=BRANCHES, **options):
    return in_memory(TreeForm(tree="skim", format=form, **options), branches, [columns or part()])


def changed(name, *changes):
    """The columns, with other values at some places of one."""
    columns = part()
    content = columns[name].content.copy()
    for place, value in changes:
        content[place] = value
    return columns | {name: replace(columns[name], content=content)}


# --- content ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def array():
    return uproot.open(io.BytesIO(file()))["skim"].arrays()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", ["zlib", "lz4", "zstd", "none"])
def test_content_is_that_of_the_array_whatever_the_format_and_compression(array, form, compression):
    assert of_output(file(form, compression=compression), "x.root") == of_value({"skim": of_array(array)})


def test_content_is_not_the_date_the_identity_or_the_clusters(array):
    """Files by uproot itself, with dates and a random identity."""
    contents = []
    for step in (COUNT, 7):
        target = io.BytesIO()
        target.close = lambda: None
        with uproot.recreate(target) as root:
            tree = root.mktree("skim", {name: array[name].type.content for name in array.fields})
            for start in range(0, COUNT, step):
                tree.extend({name: array[name][start : start + step] for name in array.fields})
        contents.append(target.getvalue())
    assert of_bytes(contents[0]) != of_bytes(contents[1])
    assert {of_output(content, "x.root") for content in contents} == {of_value({"skim": of_array(array)})}


def test_content_of_parquet_is_that_of_the_array(array, tmp_path):
    for number, options in enumerate([{}, {"row_group_size": 50, "extensionarray": False, "compression": "snappy"}]):
        path = tmp_path / f"{number}.parquet"
        ak.to_parquet(array, path, **options)
        assert of_output(path.read_bytes(), path.name) == of_array(array)


@pytest.mark.parametrize("form", FORMS)
def test_each_change_changes_the_content(form):
    others = [
        changed("x", (5, 0.25)),
        changed("pt", (5, 0.25)),
        changed("flag", (5, not part()["flag"].content[5])),
        changed("word", (5, (part()["word"].content[5] + 1) % 3)),
        {name: column.events(0, COUNT - 1) for name, column in part().items()},
        part() | {"x": Column(part()["x"].content.astype("f4"))},
    ]
    digests = [of_output(file(form, columns), "x.root") for columns in (part(), *others)]
    digests.append(of_output(file(form, branches=BRANCHES[1:]), "x.root"))
    digests.append(of_output(in_memory(TreeForm(tree="other", format=form), BRANCHES, [part()]), "x.root"))
    assert len(set(digests)) == len(digests)


def test_the_order_of_columns_is_no_content():
    assert of_output(file(branches=BRANCHES[::-1]), "x.root") == of_output(file(), "x.root")


def test_a_root_file_with_anything_but_trees_has_no_content_but_its_bytes():
    target = io.BytesIO()
    target.close = lambda: None
    with uproot.recreate(target) as root:
        root["h"] = np.histogram([1.0], bins=2)
        root["t"] = {"x": np.arange(3)}
    content = target.getvalue()
    assert of_output(content, "x.root") == of_bytes(content)
    with pytest.raises(DataError, match="'h' is a TH1D, not a tree"):
        tables(content)


@pytest.mark.parametrize(
    "broken", [b"", b"root", b"PAR1", b"text", b"root" + bytes(200), b"PAR1" + bytes(20) + b"PAR1"]
)
def test_a_broken_file_has_no_content_but_its_bytes(broken):
    for name in ("x.root", "x.parquet"):
        assert of_output(broken, name) == of_bytes(broken)
    with pytest.raises(DataError):
        tables(broken)


def test_kinds():
    assert [kind_of(name) for name in ("files/skim.root", "files/a/0_0.parquet")] == ["columns", "columns"]


def test_columns_of_a_run_are_awkward_arrays(tmp_path, array):
    (tmp_path / "files" / "skim").mkdir(parents=True)
    (tmp_path / "files" / "skim.root").write_bytes(file())
    (tmp_path / "files" / "skim" / "ww.parquet").write_bytes(b"")
    data = of_directory(tmp_path)
    assert list(data) == ["skim", "skim/ww"]
    assert list(data["skim"]) == array.fields
    assert Columns(file("ttree"))["npt"].tolist() == ak.num(array.pt).tolist()
    assert data["skim"].entries == COUNT
    assert ak.array_equal(data["skim"]["pt"], array.pt, dtype_exact=True)
    with pytest.raises(DataError, match="no column 'pT'"):
        data["skim"]["pT"]
    with pytest.raises(DataError, match="no ROOT, Parquet, Arrow or npz file"):
        data["skim/ww"]


# --- comparison ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_files_with_the_same_content_do_not_differ(form):
    contrast = compare_columns(file(form), file(form, compression="none"))
    assert contrast.same
    assert contrast.numbers.compared == 2 * COUNT + len(part()["pt"].content)


@pytest.mark.parametrize("form", FORMS)
def test_a_number_that_differs_is_told_with_its_entry_and_distance(form):
    value = part()["x"].content[17]
    contrast = compare_columns(file(form), file(form, changed("x", (17, math.nextafter(value, 2)))))
    (finding,) = contrast.findings
    expected = f"tree 'skim', column 'x', entry 17: {value} recorded, {math.nextafter(value, 2)} replayed"
    assert str(finding) == expected
    extent = contrast.numbers.extent
    assert (extent.different, extent.ulps) == (1, 1)
    assert extent.relative == math.ulp(value) / value


@pytest.mark.parametrize("form", FORMS)
def test_units_in_the_last_place_are_those_of_the_column(form):
    column = part()["pt"]
    at = 100
    entry = int(np.searchsorted(column.offsets, at, side="right")) - 1
    near = np.nextafter(np.nextafter(column.content[at], np.float32(2)), np.float32(2))
    contrast = compare_columns(file(form), file(form, changed("pt", (at, near))))
    assert contrast.numbers.extent.ulps == 2
    assert contrast.findings[0].where == f"tree 'skim', column 'pt', entry {entry}[{at - column.offsets[entry]}]"
    assert contrast.numbers.within(Tolerance(ulp=2))
    assert not contrast.numbers.within(Tolerance(ulp=1))


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_several_columns_are_counted_together(form):
    columns = changed("x", (0, 9.0), (1, 9.0)) | {"n": changed("n", (4, -1))["n"]}
    contrast = compare_columns(file(form), file(form, columns))
    assert contrast.numbers.extent.different == 3
    assert contrast.remark == "in 2 columns: 'x', 'n'"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "places", "where", "values"),
    [
        ("flag", [3], "column 'flag', entry 3", None),
        ("flag", [3, 9], "column 'flag', entry 3 (the first of 2)", None),
        ("word", [8], "column 'word', entry 8", None),
    ],
)
def test_what_no_tolerance_covers_is_structure(form, name, places, where, values):
    column = part()[name]
    other = changed(name, *((place, (column.content[place] + 1) % (3 if column.words else 2)) for place in places))
    (finding,) = compare_columns(file(form), file(form, other)).structure
    assert finding.where == f"tree 'skim', {where}"
    shown = [
        repr(columns[name].words[columns[name].content[places[0]]])
        if column.words
        else str(columns[name].content[places[0]])
        for columns in (part(), other)
    ]
    assert [finding.recorded, finding.replayed] == shown


@pytest.mark.parametrize("form", FORMS)
def test_lists_of_another_length_are_told_and_their_values_not_compared(form):
    columns = part()
    offsets = columns["pt"].offsets.copy()
    entry = int(np.flatnonzero(np.diff(offsets) > 1)[2])
    offsets[entry + 1] -= 1
    moved = columns | {name: replace(columns[name], offsets=offsets) for name in ("pt", "tight")}
    structure = compare_columns(file(form), file(form, moved)).structure
    counts = [int(np.diff(some)[entry]) for some in (columns["pt"].offsets, offsets)]
    assert [str(finding) for finding in structure] == [
        f"tree 'skim', column '{name}', entry {entry} (the first of 2): "
        f"{counts[0]} values recorded, {counts[1]} value{'' if counts[1] == 1 else 's'} replayed"
        for name in ("pt", "tight")
    ]


@pytest.mark.parametrize("form", FORMS)
def test_trees_columns_types_and_entries_are_structure(form):
    before = file(form)
    shorter = {name: column.events(0, COUNT - 1) for name, column in part().items()}
    narrow = part() | {"x": Column(part()["x"].content.astype("f4"))}
    other = in_memory(TreeForm(tree="other", format=form), BRANCHES, [part()])
    told = [
        compare_columns(before, after).structure
        for after in (other, file(form, branches=BRANCHES[1:]), file(form, shorter), file(form, narrow))
    ]
    assert [[str(finding) for finding in structure] for structure in told] == [
        ["the trees: ['skim'] recorded, ['other'] replayed"],
        ["tree 'skim', columns: ['x'] recorded, nothing else replayed"],
        ["tree 'skim', number of entries: 300 recorded, 299 replayed"],
        ["tree 'skim', type of column 'x': float64 recorded, float32 replayed"],
    ]


def test_nan_is_itself_and_signs_of_zero_differ():
    one = file(columns=changed("x", (0, math.nan), (1, 0.0)))
    other = file(columns=changed("x", (0, -math.nan), (1, -0.0)))
    (finding,) = compare_columns(one, other).findings
    assert (finding.recorded, finding.replayed) == ("0.0", "-0.0")


def test_values_that_are_missing_on_one_side_are_told():
    branches = [Branch(name="o", optional=True), Branch(name="x")]
    found = []
    for missing in ([2], [2, 4]):
        valid = np.ones(6, bool)
        valid[missing] = False
        columns = {"o": Column(np.arange(6.0), None, valid), "x": Column(np.zeros(6))}
        found.append(file(branches=branches, columns=columns))
    (finding,) = compare_columns(*found).structure
    assert str(finding) == "tree 'skim', column 'o', entry 4: present recorded, missing replayed"
    whole = file(branches=branches, columns={"o": Column(np.arange(6.0)), "x": Column(np.zeros(6))})
    (finding,) = compare_columns(found[0], whole).structure
    assert "type of column 'o': ?float64, some missing" in str(finding) or "some missing recorded" in str(finding)


def test_fields_of_records_are_columns_of_their_own():
    branches = [Branch(name="s.a"), Branch(name="s.b")]
    one, other = ({"s.a": Column(np.zeros(3)), "s.b": Column(np.array([0.0, 0.0, b]))} for b in (1.0, 2.0))
    (finding,) = compare_columns(*(file(branches=branches, columns=columns) for columns in (one, other))).findings
    assert str(finding) == "tree 'skim', column 's.b', entry 2: 1.0 recorded, 2.0 replayed"


def test_parquet_files_are_compared_likewise(tmp_path):
    contents = []
    for value in (1.0, 2.0):
        ak.to_parquet(ak.Array({"x": [[1.0], [], [5.0, value]]}), tmp_path / "x.parquet")
        contents.append((tmp_path / "x.parquet").read_bytes())
    (finding,) = compare_columns(*contents).findings
    assert str(finding) == "column 'x', entry 2[1]: 1.0 recorded, 2.0 replayed"


def output(content, name="files/skim.root"):
    return Output(
        name=name, kind=kind_of(name), sha256=of_bytes(content), content=of_output(content, name), read=lambda: content
    )


def test_verdicts_of_files_of_columns():
    value = part()["x"].content[0]
    same, near = file(compression="lz4"), file(columns=changed("x", (0, math.nextafter(value, 2))))
    demand = Policy(outputs="*", level="tolerance", rtol=1e-12)

    def level(content, *policies):
        (verdict,) = verdicts([output(file())], [output(content)], policies).verdicts
        return verdict.level, verdict.agrees

    assert level(file()) == (Level.IDENTICAL, True)
    assert level(same) == (Level.CONTENT, True)
    assert level(near) == (Level.DIFFERENT, False)
    assert level(near, demand) == (Level.TOLERANCE, True)
    assert level(file(columns=changed("flag", (0, not part()["flag"].content[0]))), demand) == (Level.DIFFERENT, False)


def test_a_broken_file_is_told():
    found = compare(output(file()), output(file()[:500]))
    assert "not comparable as columns (the file is damaged or cut off" in found.because


# --- units in the last place of floats -------------------------------------------------------------------------------

singles = st.floats(width=32)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 40))
def test_distances_of_floats_count_the_steps_of_nextafter(start, steps):
    value = np.float32(start)
    with np.errstate(over="ignore"):
        for _ in range(steps):
            value = np.nextafter(value, np.float32(np.inf))
    if np.isfinite(value):
        assert single_distances(np.array([start], "f4"), np.array([value]))[0] == steps


@given(singles, singles)
def test_distances_of_floats_are_symmetric_and_unrelated_beside_what_is_not_finite(a, b):
    one, other = np.array([a], "f4"), np.array([b], "f4")
    apart = single_distances(one, other)
    assert apart == single_distances(other, one)
    if math.isfinite(a) != math.isfinite(b):
        assert apart[0] == UNRELATED
