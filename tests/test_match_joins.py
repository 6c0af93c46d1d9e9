"""Trees of one file joined by what their events are called: run, lumi, event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from shifted import Desk, files

from fasthep_archive.data.matched import Entries, UnusableKey, _codes, taken
from fasthep_archive.data.source import EventSource, Read, open_events, remarks
from fasthep_archive.errors import DataError
from fasthep_archive.execution.inputs import hashed
from fasthep_archive.execution.keys import read_text
from fasthep_archive.execution.remembered import Memory
from fasthep_archive.formula.columns import Column, ColumnType, Structure
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import build, resolved

ON = ("run", "lumi", "event")
TYPES = {"run": "uint32", "lumi": "uint32", "event": "uint64", "x": "float64", "n": "int32", "word": "string"}


def tree(ids: np.ndarray, seed: int) -> dict[str, object]:
    """Return the columns of a tree with these ids: numbers, texts, lists and arrays of a fixed size."""
    random = np.random.default_rng(seed)
    counts = random.poisson(1.5, len(ids))
    return {
        "run": ids[:, 0].astype("u4"),
        "lumi": ids[:, 1].astype("u4"),
        "event": ids[:, 2].astype("u8"),
        "x": random.random(len(ids)),
        "n": random.integers(-5, 5, len(ids)).astype("i4"),
        "word": random.choice(["ee", "mm", "em"], len(ids)).tolist(),
        "cov": random.random((len(ids), 3)),
        "Mu": ak.zip(
            {
                "pt": ak.unflatten(random.random(counts.sum()), counts),
                "q": ak.unflatten(counts.cumsum()[np.repeat(np.arange(len(ids)), counts)], counts),
            }
        ),
    }


def write(path: Path, **trees: np.ndarray) -> None:
    """Write trees with these ids, in baskets of 100 entries."""
    with uproot.recreate(path) as file:
        for seed, (name, ids) in enumerate(trees.items()):
            columns = tree(ids, seed)
            types: dict[str, object] = {**TYPES, "cov": "3 * float64", "Mu": columns["Mu"].type.content}
            file.mktree(name, types)
            for start in range(0, len(ids), 100):
                file[name].extend({key: column[start : start + 100] for key, column in columns.items()})


def some_ids(count: int = 700) -> np.ndarray:
    """Return ids that differ in one of the three columns or in several; some numbers are large."""
    random = np.random.default_rng(5)
    ids = np.unique(random.integers(1, [4, 8, 400], (count, 3)), axis=0)
    ids[:, 2] += 2**62
    random.shuffle(ids)
    return ids


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the same events in other orders, and with fewer and other events."""
    ids = some_ids()
    shuffled = np.random.default_rng(1).permutation(ids)
    path = tmp_path_factory.mktemp("match") / "a.root"
    other = np.concatenate([shuffled[:-90], [[9, 9, 9], [9, 9, 10]]])
    write(path, reco=ids, gen=shuffled, same=ids, less=ids[::3], other=other)
    return path


def reads(*names: str, on_mismatch: str = "error", on: tuple[str, ...] = ON) -> list[Read]:
    first, *others = (Read(kind="root_tree", tree=name, prefix=name) for name in names)
    return [first, *(replace(read, on=on, on_mismatch=on_mismatch) for read in others)]


def values(column: Column) -> list[object]:
    """Return the values of a column event by event, ``None`` where one is missing."""
    content: list[object] = column.content.tolist()
    if column.words:
        content = [column.words[code] for code in column.content.tolist()]
    if column.valid is not None:
        content = [value if there else None for value, there in zip(content, column.valid, strict=True)]
    if column.offsets is None:
        return content
    return [content[start:stop] for start, stop in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


BRANCHES = ("x", "n", "word", "Mu_pt", "Mu_q", "event")


def oracle(path: Path, *names: str, keep: str) -> dict[str, list[object]]:
    """Return the columns of a match, event by event by dictionaries of ids."""
    trees = [uproot.open(path)[name].arrays(library="ak").to_list() for name in names]
    by_id = [{(row["run"], row["lumi"], row["event"]): row for row in rows} for rows in trees]
    found: dict[str, list[object]] = {f"{name}.{branch}": [] for name in names for branch in BRANCHES}
    for key in by_id[0]:
        rows = [known.get(key) for known in by_id]
        if keep == "inner" and None in rows:
            continue
        for name, row in zip(names, rows, strict=True):
            for branch in BRANCHES:
                nothing = [] if branch.startswith("Mu") else None
                found[f"{name}.{branch}"].append(nothing if row is None else row[branch])
    return found


def whole(events: EventSource, names: list[str], *bounds: int) -> dict[str, list[object]]:
    """Return columns read in pieces between ``bounds``."""
    pieces = [0, *bounds, events.entries]
    read = [events.read(names, *pair) for pair in pairwise(pieces)]
    return {name: [value for piece in read for value in values(piece[name])] for name in names}


# --- what belongs together -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(), (1, 2, 300), (100, 100, 650)])
def test_events_in_another_order_are_found_by_their_ids(path, bounds):
    expected = oracle(path, "reco", "gen", keep="error")
    with open_events(path, reads("reco", "gen")) as events:
        assert whole(events, list(expected), *bounds) == expected


def test_columns_of_one_list_share_their_offsets(path):
    with open_events(path, reads("reco", "gen")) as events:
        found = events.read(["gen.Mu_pt", "gen.Mu_q"], 10, 50)
        assert found["gen.Mu_pt"].offsets is found["gen.Mu_q"].offsets
        assert events.types()["gen.Mu_pt"] == ColumnType("float64", Structure("gen.nMu", counted=True))


def test_a_match_of_trees_in_the_same_order_is_a_zip(path):
    zipped = [Read(kind="root_tree", tree=name, prefix=name) for name in ("reco", "same")]
    with open_events(path, zipped) as side_by_side, open_events(path, reads("reco", "same")) as matched:
        assert list(side_by_side.types()) == list(matched.types())
        assert side_by_side.clusters() == matched.clusters()
        names = [name for name in matched.types() if "cov" not in name]
        for start, stop in ((0, 0), (0, 150), (120, 431)):
            first, second = side_by_side.read(names, start, stop), matched.read(names, start, stop)
            assert {name: values(first[name]) for name in names} == {name: values(second[name]) for name in names}
            assert all(first[name].content.dtype == second[name].content.dtype for name in names)


@pytest.mark.parametrize("names", [("reco", "other"), ("reco", "less"), ("other", "reco"), ("reco", "other", "less")])
def test_inner_leaves_out_events_that_one_lacks(path, names):
    expected = oracle(path, *names, keep="inner")
    with open_events(path, reads(*names, on_mismatch="inner")) as events:
        assert events.entries == len(expected["reco.x"])
        assert whole(events, list(expected), 7, 20) == expected
        assert not any(events.types()[name].optional for name in expected)


def test_clusters_of_inner_are_those_of_the_first(path):
    ids = uproot.open(path)["reco"].arrays(list(ON), library="np")
    less = {tuple(row) for row in zip(*uproot.open(path)["other"].arrays(list(ON), library="np").values(), strict=True)}
    before = np.cumsum([0, *(row in less for row in zip(*ids.values(), strict=True))])
    with open_events(path, reads("reco", "other", on_mismatch="inner")) as events:
        baskets = [*range(0, len(before) - 1, 100), len(before) - 1]
        assert events.clusters() == tuple(before[baskets].tolist())


@pytest.mark.parametrize("names", [("reco", "other"), ("reco", "less", "other")])
def test_left_keeps_all_events_of_the_first(path, names):
    expected = oracle(path, *names, keep="left")
    expected = {name: column for name, column in expected.items() if name == "reco.word" or "word" not in name}
    with open_events(path, reads(*names, on_mismatch="left")) as events:
        assert whole(events, list(expected), 7, 20) == expected
        types = events.types()
        assert types["other.x"].optional
        assert not types["other.Mu_pt"].optional
        assert not types["reco.x"].optional
        assert types["other.cov"].structure == Structure("other.cov", counted=False)  # some are empty now
        with pytest.raises(DataError, match=r"column 'other.word' of .* lacks some of its texts"):
            types["other.word"]


def test_other_numbers_of_entries_are_read_whole_only_once(path):
    asked = []

    class Counting:
        entries = 100_000

        def types(self) -> Mapping[str, ColumnType]:
            return {"x": ColumnType("int64")}

        def read(self, columns, start, stop):
            asked.append((start, stop))
            return dict.fromkeys(columns, Column(np.arange(start, stop)))

    rows = np.random.default_rng(0).permutation(100_000)
    entries = Entries(Counting(), rows, missing=False)
    for start in range(0, 100_000, 1000):
        assert entries.read(["x"], start, start + 1000)["x"].content.tolist() == rows[start : start + 1000].tolist()
    assert asked == [(0, 100_000)]
    ascending = Entries(Counting(), np.arange(0, 100_000, 50), missing=False)
    assert ascending.read(["x"], 10, 1000)["x"].content.tolist() == list(range(500, 50_000, 50))
    assert asked[1:] == [(500, 49_951)]


@pytest.mark.parametrize("bits", [8, 40, 63])
def test_ids_of_any_size_are_told_apart(bits):
    random = np.random.default_rng(bits)
    columns = [random.integers(-(2**bits), 2**bits - 1, 500) for _ in range(3)]
    columns = [np.concatenate([column, column[:100], column[::-1]]) for column in columns]
    columns[1][900:] += columns[1][900:] % 2
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    parts = _codes([[column[:400] for column in columns], [column[400:] for column in columns]])
    codes = np.concatenate(parts).tolist()
    assert len(set(codes)) == len(set(rows)) == len(set(zip(codes, rows, strict=True)))


def test_texts_stay_in_order_of_appearance():
    column = Column(np.array([0, 1, 2, 0]), words=("a", "b", "c"))
    found = taken(column, np.array([2, 3, 2]))
    assert (found.words, found.content.tolist()) == (("c", "a"), [0, 1, 0])


# --- what is refused -------------------------------------------------------------------------------------------------


def refusal(path: Path, found: list[Read]) -> DataError:
    with pytest.raises(DataError) as caught:
        open_events(path, found)
    return caught.value


def test_other_events_are_told_with_numbers_and_the_first_three(path):
    error = refusal(path, reads("reco", "other"))
    ids = some_ids()
    missing = [row for row in ids.tolist() if row in np.random.default_rng(1).permutation(ids)[-90:].tolist()]
    named = "; ".join(f"run={run} lumi={lumi} event={event}" for run, lumi, event in missing[:3])
    assert error.message == (
        f"{path}: tree 'reco' and tree 'other' don't have the same events: 90 only in tree 'reco' ({named}; ...), "
        "2 only in tree 'other' (run=9 lumi=9 event=9; run=9 lumi=9 event=10)"
    )
    assert error.hint == "on_mismatch: inner leaves such events out, left keeps those of the first"


@pytest.mark.parametrize(
    ("rule", "done"), [("inner", "only events with a partner"), ("left", "all events of the first")]
)
def test_what_inner_and_left_do_is_remarked(path, rule, done):
    with open_events(path, reads("reco", "other", on_mismatch=rule)) as events:
        (remark,) = remarks(events)
    assert remark.startswith("tree 'reco' and tree 'other' don't have the same events: 90 only in tree 'reco' (run=")
    assert done in remark


def test_an_event_that_is_there_twice_is_refused(tmp_path):
    ids = np.array([[1, 1, 1], [1, 1, 2], [1, 1, 3]])
    write(tmp_path / "a.root", reco=ids, gen=ids[[0, 2, 1, 2, 2, 0]])
    for rule in ("error", "inner", "left"):
        error = refusal(tmp_path / "a.root", reads("reco", "gen", on_mismatch=rule))
        assert error.message == (
            f"tree 'gen' of {tmp_path / 'a.root'} has event run=1 lumi=1 event=1 2 times, and 1 more like it, "
            "so events can't be matched"
        )
    error = refusal(tmp_path / "a.root", reads("gen", "reco"))
    assert error.message.startswith("tree 'gen' of ")


def test_trees_without_events_match(tmp_path):
    write(tmp_path / "a.root", reco=np.zeros((0, 3), int), gen=np.zeros((0, 3), int), one=np.ones((1, 3), int))
    with open_events(tmp_path / "a.root", reads("reco", "gen")) as events:
        assert (events.entries, events.read(["gen.Mu_pt"], 0, 0)["gen.Mu_pt"].offsets.tolist()) == (0, [0])
    with open_events(tmp_path / "a.root", reads("one", "gen", on_mismatch="left")) as events:
        assert values(events.read(["gen.x"], 0, 1)["gen.x"]) == [None]
    assert "1 only in tree 'one' (run=1 lumi=1 event=1), 0 only in tree 'gen'" in str(
        refusal(tmp_path / "a.root", reads("one", "gen"))
    )


def test_ids_are_integers_that_are_always_there(path, tmp_path):
    error = refusal(path, reads("reco", "gen", on=("run", "x")))
    assert isinstance(error, UnusableKey)
    assert (
        error.message
        == f"branch 'x' in tree 'reco' of {path} has floating-point numbers, and events are found by integers"
    )
    assert "has lists" in refusal(path, reads("reco", "gen", on=("Mu_q",))).message
    assert refusal(path, reads("reco", "gen", on=("evnt",))).hint == "did you mean 'event'?"
    table = tmp_path / "a.parquet"
    ak.to_parquet(ak.Array({"id": [1, None, 3]}), table)
    both = [Read(kind="parquet", tree="", prefix="a"), Read(kind="parquet", tree="", prefix="b", on=("id",))]
    assert "has no value in 1 of its events" in refusal(table, both).message


# --- documents and runs ----------------------------------------------------------------------------------------------

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: a, files: [a.root]}]}
sources:
  reco: {kind: root_tree, tree: reco}
  truth: {kind: root_tree, tree: other}
joins:
  both: {kind: match, on: [run, lumi, event], inputs: [reco, {source: truth, prefix: gen}], on_mismatch: inner}
primary_stream: both
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: diff, expr: reco.x - gen.x}, {name: many, expr: count(gen.Mu_pt)}]}}
    - {id: H, op: hep.hist, params: {axes: [{name: d, source: diff, type: regular, bins: {low: -1, high: 1, nbins: 9}}]}}
    - id: W
      op: hep.selection.cutflow
      params: {selection: {all: [reco.x > 0.2]}}
      write: {kind: root_tree, when: final, path: w.root, keep: [diff, many, gen.Mu_pt, gen.word]}
"""


@pytest.fixture
def desk(path, tmp_path, kernel_cache):
    (tmp_path / "a.root").symlink_to(path)
    return Desk(tmp_path, kernel_cache)


def test_a_run_of_a_match_is_that_of_its_dictionary_however_it_is_cut(desk, path):
    workflow = desk.workflow(WORKFLOW)
    outputs = []
    for chunk in (90, 250, 10_000):
        plan, faults = desk.planned(workflow, chunk=chunk)
        assert faults == ()
        assert len(plan.warnings) == 1
        assert plan.warnings[0].startswith("a.root, stream both: tree 'reco' and tree 'other' don't have the same")
        outputs.append(files(desk.run(plan)))
    assert outputs[0] == outputs[1] == outputs[2]
    expected = oracle(path, "reco", "other", keep="inner")
    chosen = np.array(expected["reco.x"]) > 0.2
    (written,) = (content for name, content in outputs[0].items() if name.endswith(".root"))
    (desk.directory / "w.root").write_bytes(written)
    rows = uproot.open(desk.directory / "w.root")["events"].arrays()
    assert rows["diff"].tolist() == (np.array(expected["reco.x"]) - np.array(expected["other.x"]))[chosen].tolist()
    lists = [found for found, kept in zip(expected["other.Mu_pt"], chosen, strict=True) if kept]
    assert rows["gen", "Mu_pt"].tolist() == lists
    assert rows["many"].tolist() == [len(found) for found in lists]
    assert rows["gen", "word"].tolist() == [
        word for word, kept in zip(expected["other.word"], chosen, strict=True) if kept
    ]


def test_a_run_of_left_has_numbers_in_place_of_what_is_missing(desk, path):
    changed = (
        WORKFLOW.replace("inner", "left")
        .replace("reco.x - gen.x", "'fill_none(gen.x, -1)'")
        .replace("gen.word", "gen.n")
    )
    plan, faults = desk.planned(desk.workflow(changed), chunk=150)
    assert faults == ()
    (desk.directory / "w.root").write_bytes(files(desk.run(plan))["files/w.root"])
    rows = uproot.open(desk.directory / "w.root")["events"].arrays()
    expected = oracle(path, "reco", "other", keep="left")
    kept = [number for number, x in enumerate(expected["reco.x"]) if x > 0.2]
    assert None in expected["other.n"]
    assert rows["diff"].tolist() == [-1.0 if expected["other.x"][n] is None else expected["other.x"][n] for n in kept]
    assert rows["gen", "n"].tolist() == [expected["other.n"][n] for n in kept]
    assert rows["many"].tolist() == [len(expected["other.Mu_pt"][n]) for n in kept]


def test_what_was_remarked_is_known_without_the_file(path, tmp_path):
    found = reads("reco", "other", on_mismatch="left")
    memory = Memory(cache=tmp_path, version="1", trusted=True)
    with memory.look(path, tuple(found)) as events:
        said = events.remarks()
    memory.keep(hashed([path], cache=tmp_path, remembered=True, workers=1))
    with memory.look(path, tuple(found)) as events:
        assert (events.remarks(), events.settled()) == (said, tuple(found))
        assert events._events is None  # it was not opened


def test_a_key_that_a_file_lacks_is_told_where_it_stands(desk):
    (fault,) = desk.planned(desk.workflow(WORKFLOW.replace("lumi, event", "lumi, evnt")))[1]
    assert fault.message == "no branch 'evnt' in tree 'reco'"
    line = next(number for number, text in enumerate(WORKFLOW.splitlines(), 1) if "kind: match" in text)
    assert (fault.where.line, fault.where.column) == (line, WORKFLOW.splitlines()[line - 1].index("event") + 1)


def test_other_events_are_told_where_the_file_stands(desk):
    (fault,) = desk.planned(desk.workflow(WORKFLOW.replace("inner", "error")))[1]
    assert fault.message.startswith("a.root: tree 'reco' and tree 'other' don't have the same events: 90 only in")
    assert fault.where.line == 2


def test_only_the_first_source_can_be_cut(desk):
    _, faults = desk.planned(desk.workflow(WORKFLOW.replace("tree: other", "tree: other, stop: 5")))
    assert faults[0].message.startswith("join 'both' matches all entries, but one of its further sources has")
    plan, faults = desk.planned(desk.workflow(WORKFLOW.replace("tree: reco", "tree: reco, stop: 5")))
    assert faults == ()
    assert [(step.partition.start, step.partition.stop) for step in plan.passes] == [(0, 5)]


def test_the_resolved_document_is_the_same_join(desk):
    workflow = desk.workflow(WORKFLOW)
    again, faults = build(from_json(resolved(workflow), name="again"))
    assert faults == ()
    assert [replace(join, path=()) for join in again.joins] == [replace(join, path=()) for join in workflow.joins]
    assert again.joins[0].on == ON


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("kind: match", "kind: zip"), "a join of kind zip can't do 'inner'"),
        (("on_mismatch: inner", "on_mismatch: warn"), "a join of kind match can't do 'warn'"),
        (("on: [run, lumi, event], ", ""), "join 'both' does not say by which columns events are matched"),
        ((", {source: truth, prefix: gen}", ""), "join 'both' has nothing to match its only source with"),
        (('version: "1.1"', 'version: "1.0"'), "unknown kind of join 'match'"),
    ],
)
def test_faults_of_documents(tmp_path, changed, message):
    place = tmp_path / "w.yaml"
    place.write_text(WORKFLOW.replace(*changed))
    assert message in [fault.message for fault in build(load(place))[1]]


def test_how_events_are_found_is_part_of_keys():
    zipped, *others = (
        Read(kind="root_tree", tree="t", on=on, on_mismatch=rule)
        for on, rule in (((), ""), (("a",), "left"), (("a",), "inner"), (("a", "b"), "left"))
    )
    assert read_text(zipped) == ["root_tree", "t", "", {}]
    assert len({str(read_text(read)) for read in (zipped, *others)}) == len({zipped, *others}) == 4
