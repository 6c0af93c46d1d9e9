"""Joins whose sources are in different files, of different kinds: friends."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from command import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from shifted import Desk, files, variation
from test_match_joins import values, whole
from webserver import web_server

from fasthep_archive.bundle.staging import stage
from fasthep_archive.context import NoProgress
from fasthep_archive.data import chained
from fasthep_archive.data.source import Partners, Read, open_events, partners, settled
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution import planner
from fasthep_archive.execution.errands import _sights, agree
from fasthep_archive.execution.explain import explain
from fasthep_archive.execution.globs import expanded
from fasthep_archive.execution.inputs import hashed
from fasthep_archive.execution.ledger import ledger_of
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.record import recorded_inputs
from fasthep_archive.execution.remembered import Memory
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import PassTask
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import build, resolved

ON = ("run", "event")
Row = Mapping[str, object]


def table(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows as a Parquet file."""
    types = {
        "run": pa.int32(),
        "event": pa.int64(),
        "x": pa.float64(),
        "word": pa.string(),
        "jets": pa.list_(pa.int64()),
    }
    pq.write_table(pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}), path)
    return path


def row(number: int, seed: int) -> Row:
    """Return an event: two numbers, a text and a list that follow from its own number."""
    value = number * 7 + seed
    word = "abc"[value % 3]
    return {"run": number // 5, "event": number, "x": value / 3, "word": word, "jets": list(range(value % 4))}


def joined(paired: int, spread: int, rule: str) -> list[Read]:
    """Return the reads of a match of place 0, of ``paired`` files one by one, and of one source that ``spread`` have."""
    first, match = Read(kind="parquet", tree="", prefix="a"), Read(kind="parquet", tree="", on=ON, on_mismatch=rule)
    alone = [replace(match, prefix=f"p{place}", place=place) for place in range(1, paired + 1)]
    rest = range(paired + 1, paired + 1 + spread)
    return [first, *alone, *(replace(match, prefix="s", place=place, spread=True) for place in rest)]


# --- which events belong together ------------------------------------------------------------------------------------


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[int], list[int], list[list[int]]]:
    """Return the events of a file, of one beside it, and of files that all may have its events, in any order."""
    numbers = st.lists(st.integers(0, 30), unique=True, max_size=20)
    others = draw(numbers)
    cuts = sorted(draw(st.lists(st.integers(0, len(others)), max_size=2)))
    return draw(numbers), draw(numbers), [others[a:b] for a, b in pairwise([0, *cuts, len(others)])]


@settings(max_examples=12, database=None)
@given(worlds(), st.sampled_from(["inner", "left"]), st.integers(0, 20))
def test_events_are_those_of_a_dictionary(tmp_path_factory, world, rule, cut):
    place = tmp_path_factory.mktemp("world")
    first, paired, spread = world
    paths = [table(place / "a", [row(number, 0) for number in first])]
    paths.append(table(place / "p", [row(number, 1) for number in paired]))
    paths += [table(place / f"s{n}", [row(number, 2) for number in part]) for n, part in enumerate(spread)]
    known = [set(first), set(paired), {number for part in spread for number in part}]
    kept = [number for number in first if rule == "left" or all(number in part for part in known)]
    with open_events(paths[0], joined(1, len(spread), rule), paths[1:]) as events:
        assert events.entries == len(kept)
        names = [f"{prefix}.{name}" for prefix in ("a", "p1", "s") for name in ("x", "jets")]
        names += [f"{prefix}.word" for prefix in ("a", "p1", "s") if rule == "inner" or prefix == "a"]
        found = whole(events, names, min(cut, len(kept)))
        counted = partners(events)
    for name in names:
        prefix, column = name.split(".")
        seed = ("a", "p1", "s").index(prefix)
        nothing = [] if column == "jets" else None
        assert found[name] == [row(n, seed)[column] if n in known[seed] else nothing for n in kept], name
    assert counted == {"s": Partners(len([n for n in kept if n in known[2]]), len(known[2]))}


def test_ids_of_other_widths_are_the_same(tmp_path):
    table(tmp_path / "a", [row(number, 0) for number in (3, 1, 2)])
    rows = pa.table({"run": pa.array([0, 0, 0], pa.uint8()), "event": pa.array([1, 2, 3], pa.uint64()), "y": [1, 2, 3]})
    pq.write_table(rows.slice(0, 2), tmp_path / "b")
    pq.write_table(
        rows.slice(2).cast(pa.schema({"run": pa.int64(), "event": pa.int16(), "y": pa.int8()})), tmp_path / "c"
    )
    with open_events(tmp_path / "a", joined(0, 2, "error"), [tmp_path / "b", tmp_path / "c"]) as events:
        found = events.read(["s.y", "s.event"], 0, 3)
    assert values(found["s.y"]) == values(found["s.event"]) == [3, 1, 2]
    assert found["s.event"].content.dtype == np.int64  # NumPy makes float64 of uint64 and int16


def test_files_are_opened_again_when_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(chained, "_KEPT", 2)
    paths = []
    for number in range(6):
        (tmp_path / f"{number}.csv").write_text(f"run,event,x\n0,{number},{number}.5\n")
        paths.append(tmp_path / f"{number}.csv")
    first = tmp_path / "a.csv"
    first.write_text("run,event\n0,4\n0,0\n0,5\n0,1\n")
    reads = [replace(read, kind="csv") for read in joined(0, 6, "inner")]
    with open_events(first, reads, paths) as events:
        assert values(events.read(["s.x"], 0, 4)["s.x"]) == [4.5, 0.5, 5.5, 1.5]
        known = settled(events, reads)
    assert [read.options["schema"]["x"] for read in known[1:]] == ["float64"] * 6
    with open_events(first, known, paths) as events:
        assert values(events.read(["s.x"], 1, 3)["s.x"]) == [0.5, 5.5]


def test_files_of_a_source_have_columns_of_one_type(tmp_path):
    table(tmp_path / "a", [row(1, 0)])
    pq.write_table(pa.table({"run": [0], "event": [1], "x": [1.5]}), tmp_path / "b")
    pq.write_table(pa.table({"run": [0], "event": [2], "x": [1]}), tmp_path / "c")
    with open_events(tmp_path / "a", joined(0, 2, "inner"), [tmp_path / "b", tmp_path / "c"]) as events:
        assert values(events.read(["s.event"], 0, 1)["s.event"]) == [1]
        with pytest.raises(DataError, match=r"column 'x' holds int64 in .*/c, and float64 in .*/b"):
            events.types()["s.x"]


def test_what_is_known_of_files_is_kept_and_another_friend_is_looked_at(tmp_path):
    paths = [
        table(tmp_path / name, [row(number, 0) for number in range(count)]) for name, count in (("a", 4), ("b", 5))
    ]
    reads = tuple(joined(0, 1, "left"))
    memory = Memory(cache=tmp_path, version="1", trusted=True)
    for _ in range(2):
        with memory.look(paths[0], reads, paths[1:]) as events:
            assert events.partners() == {"s": Partners(4, 5)}
            opened = events._events is not None
        memory.keep(hashed(paths, cache=tmp_path, remembered=True, workers=1))
    assert not opened
    table(tmp_path / "b", [row(number, 0) for number in range(3)])
    memory.keep(hashed(paths, cache=tmp_path, remembered=True, workers=1))
    with memory.look(paths[0], reads, paths[1:]) as events:
        assert events.partners() == {"s": Partners(3, 3)}


# --- documents and runs ----------------------------------------------------------------------------------------------

WORKFLOW = """\
version: "1.1"
data:
  datasets:
    - {name: dy, files: [a1.root, a2.root]}
    - {name: ww, files: [b.root]}
sources:
  reco: {kind: root_tree, tree: reco}
  scores:
    kind: parquet
    files:
      dy: [f1.parquet, f2.parquet]
      ww: [g.parquet]
joins:
  both: {kind: match, on: [run, event], inputs: [reco, {source: scores, prefix: mva}]}
primary_stream: both
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: both, expr: reco.pt * mva.y}]}}
    - {id: H, op: hep.hist, params: {dataset_axis: true, axes: [{name: b, source: both, type: regular, bins: {low: 0, high: 9, nbins: 9}}]}}
    - id: W
      op: hep.selection.cutflow
      params: {selection: {all: [mva.y > 0.2]}}
      write: {kind: csv, when: final, path: w.csv, keep: [both, mva.y, mva.event, reco.event]}
"""
ALL = ("prefix: mva}", "prefix: mva, files: all}")
EVENTS = {"a1": range(1, 61), "a2": range(100, 140), "b": range(200, 230)}


def write_reco(path: Path, events: Sequence[int], **trees: Mapping[str, object]) -> None:
    """Write a tree ``reco``, in baskets of 25, and others whole."""
    random = np.random.default_rng(len(events))
    columns = {"run": np.array(events) // 50, "event": np.array(events), "pt": random.random(len(events)) * 9}
    types = {"run": "uint32", "event": "uint64", "pt": "float32"}
    with uproot.recreate(path) as file:
        file.mktree("reco", types)
        for start in range(0, len(events), 25):
            file["reco"].extend(
                {name: column[start : start + 25].astype(types[name]) for name, column in columns.items()}
            )
        for name, content in trees.items():
            file.mktree(name, {key: np.asarray(column).dtype for key, column in content.items()})
            file[name].extend(content)


def friend(events: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Return the columns of a friend with these events, in another order."""
    order = np.random.default_rng(seed).permutation(np.array(events, np.int64))
    return {"run": (order // 50).astype(np.int32), "event": order, "y": (order * 37 % 101) / 101}


def write(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a friend as its file's name says."""
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table(dict(columns)), path)
        case ".root":
            with uproot.recreate(path) as file:
                file.mktree("friend", {name: column.dtype for name, column in columns.items()})
                file["friend"].extend(columns)
        case ".csv":
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(
                    [columns, *zip(*(column.tolist() for column in columns.values()), strict=True)]
                )


@pytest.fixture
def desk(tmp_path, kernel_cache):
    for name, events in EVENTS.items():
        write_reco(tmp_path / f"{name}.root", events)
    for name, of in (("f1", "a1"), ("f2", "a2"), ("g", "b")):
        write(tmp_path / f"{name}.parquet", friend(EVENTS[of]))
    return Desk(tmp_path, kernel_cache)


def faults_of(desk: Desk, *changes: tuple[str, str]) -> tuple[str, ...]:
    """Return the faults of a changed document, with the files if it has none itself."""
    text = WORKFLOW
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = desk.directory / "w.yaml"
    path.write_text(text)
    workflow, faults = build(load(path))
    found = faults or desk.planned(workflow)[1]
    return tuple(told(fault, text) for fault in found)


def told(fault: Fault, text: str) -> str:
    """Return a fault with what stands in its place."""
    assert fault.where is not None
    return f"{text.splitlines()[fault.where.line - 1][fault.where.column - 1 :][:12]} | {fault.message}"


def products(desk: Desk, text: str, chunk: int = 80) -> Mapping[str, bytes]:
    plan, faults = desk.planned(desk.workflow(text), chunk=chunk)
    assert (faults, plan.warnings) == ((), ())
    return {name: bytes(content) for name, content in files(desk.run(plan)).items()}


def test_products_are_the_same_whatever_files_the_friends_are(desk):
    expected = products(desk, WORKFLOW)
    rows = list(csv.DictReader(expected["files/w.csv"].decode().splitlines()))
    known = [(event, event * 37 % 101 / 101) for events in EVENTS.values() for event in events]
    assert [(int(found["reco.event"]), float(found["mva.y"])) for found in rows] == [
        each for each in known if each[1] > 0.2
    ]
    assert all(found["reco.event"] == found["mva.event"] for found in rows)
    for suffix, kind in (("csv", "csv"), ("root", "root_tree\n    tree: friend")):
        for name in ("f1", "f2", "g"):
            found = pq.read_table(desk.directory / f"{name}.parquet")
            write(desk.directory / f"{name}.{suffix}", {key: found[key].to_numpy() for key in found.column_names})
        changed = WORKFLOW.replace("kind: parquet", f"kind: {kind}").replace(".parquet", f".{suffix}")
        assert products(desk, changed, chunk=30) == expected
    spread = friend([*EVENTS["a1"], *EVENTS["a2"]], seed=5)
    for number, part in enumerate((slice(0, 10), slice(10, 95), slice(95, 100))):
        write(desk.directory / f"s{number}.parquet", {name: column[part] for name, column in spread.items()})
    changed = WORKFLOW.replace("[f1.parquet, f2.parquet]", "[s0.parquet, s1.parquet, s2.parquet]").replace(*ALL)
    assert products(desk, changed, chunk=30) == expected
    for name, events in EVENTS.items():  # the same, as trees of one file
        write_reco(desk.directory / f"{name}.root", events, friend=friend(events))
    start, stop = WORKFLOW.index("  scores:"), WORKFLOW.index("joins:")
    one = f"{WORKFLOW[:start]}  scores: {{kind: root_tree, tree: friend}}\n{WORKFLOW[stop:]}"
    assert products(desk, one) == expected


def test_entries_of_files_can_stand_side_by_side_by_their_numbers(desk):
    for name in ("a1", "a2", "b"):
        found = friend(EVENTS[name])
        order = np.argsort(found["event"])
        ordered = {key: column[order] for key, column in found.items()}
        write(desk.directory / f"{'g' if name == 'b' else name.replace('a', 'f')}.parquet", ordered)
    assert products(desk, WORKFLOW.replace("match, on: [run, event]", "zip")) == products(desk, WORKFLOW)


def test_other_numbers_of_entries_are_told_with_both_files(desk):
    write(desk.directory / "f2.parquet", friend(range(100, 103)))
    (fault,) = faults_of(desk, ("match, on: [run, event]", "zip"))
    assert fault == (
        "a2.root]} | input 'reco' of a2.root has 40 entries and input 'mva' of f2.parquet has 3, "
        "so they can't be joined entry by entry"
    )


def fetching(desk: Desk) -> planner.Settings:
    """Return settings with which files are fetched and databases asked."""
    return planner.Settings(
        chunk=80,
        version="1",
        cache=desk.cache,
        working_directory=desk.directory,
        digests="read",
        workers=1,
        fetching=NoProgress(),
    )


def part_keys(plan: Plan) -> dict[str, object]:
    return {step.name: step.parts for step in plan.passes}


def test_another_friend_computes_the_events_beside_it_again_and_says_why(desk):
    workflow = desk.workflow(WORKFLOW)
    before, _ = desk.planned(workflow)
    store = desk.directory / "store"
    desk.run(before, store)
    write(desk.directory / "f2.parquet", friend(EVENTS["a2"], seed=1))
    after, _ = desk.planned(workflow)
    changed = [name for name, keys in part_keys(after).items() if part_keys(before)[name] != keys]
    assert changed == ["pass over events 0 to 40 of a2.root (dy) as both"]
    told = explain(after, workflow, Store(store), ledger_of(before, workflow, "1"), "1")
    (computed,) = [task for task in told if task.status == "computed" and task.task.startswith("pass")]
    assert computed.because == ("input f2.parquet, which stands beside a2.root, changed",)


def test_a_friend_in_another_place_is_the_same(desk):
    before, _ = desk.planned(desk.workflow(WORKFLOW))
    (desk.directory / "f1.parquet").rename(desk.directory / "moved.parquet")
    after, _ = desk.planned(desk.workflow(WORKFLOW.replace("f1.parquet", "moved.parquet")))
    assert [step.parts for step in after.passes] == [step.parts for step in before.passes]


def test_records_know_the_friends(desk):
    workflow = desk.workflow(WORKFLOW)
    plan, _ = desk.planned(workflow)
    found = {item.name: (item.datasets, item.events, item.beside) for item in recorded_inputs(workflow, plan)}
    assert found["a1.root"] == (("dy",), 60, False)
    assert found["f1.parquet"] == (("dy",), 0, True)
    assert found["g.parquet"] == (("ww",), 0, True)


def test_workers_refuse_a_friend_that_is_another_file_there(desk):
    plan, _ = desk.planned(desk.workflow(WORKFLOW))
    store, step = Store(desk.directory / "store"), plan.passes[0]
    task = PassTask(partition=step.partition, work=step.variant.work(("H",)), keys={}, store=store, cache=desk.cache)
    seen = list(_sights(task))
    assert [sight.path.name for sight in seen] == ["a1.root", "f1.parquet"]
    write(desk.directory / "f1.parquet", friend(range(7)))
    agree(seen[0])
    with pytest.raises(DataError, match=r"f1.parquet is another file on"):
        agree(seen[1])


def test_events_that_no_file_has_are_counted_over_all_files(desk):
    write(desk.directory / "f1.parquet", friend([*EVENTS["a1"], 7000, 8000, 9000]))
    (fault,) = faults_of(desk, ALL)
    assert fault == "[f1.parquet, | dataset dy: 3 events of input 'mva' belong to none of its files"
    for rule in ("inner", "left"):
        changed = WORKFLOW.replace(*ALL).replace("both: {", f"both: {{on_mismatch: {rule}, ")
        plan, faults = desk.planned(desk.workflow(changed.replace("mva.y > 0.2", "reco.pt > 0.2")))
        assert faults == ()
        assert plan.warnings == (
            "dataset dy: 3 events of input 'mva' belong to none of its files; stream both is without them",
        )


def test_events_without_a_friend_are_counted_file_by_file(desk):
    write(desk.directory / "f1.parquet", friend(range(3, 61)))
    (fault,) = faults_of(desk, ALL)
    assert fault == (
        "a1.root, a2. | a1.root and f1.parquet: input 'mva' lacks events of input 'reco': "
        "2 only in input 'reco' (run=0 event=1; run=0 event=2)"
    )
    plan, _ = desk.planned(desk.workflow(WORKFLOW.replace("both: {", "both: {on_mismatch: inner, ")))
    (warning,) = plan.warnings
    assert warning == (
        "a1.root beside f1.parquet, stream both: input 'reco' and input 'mva' don't have the same events: 2 only in "
        "input 'reco' (run=0 event=1; run=0 event=2), 0 only in input 'mva'; only events with a partner are in the stream"
    )


def test_a_friend_that_is_missing_is_told_where_it_is_named(desk):
    assert faults_of(desk, ("f2.parquet", "gone.parquet")) == ("gone.parquet | no such file: gone.parquet",)


def test_a_friend_that_lacks_a_column_of_ids_is_named(desk):
    found = friend(EVENTS["a2"])
    write(desk.directory / "f2.parquet", {"event": found["event"], "y": found["y"]})
    (fault,) = faults_of(desk)
    assert fault.startswith("run, event], | no branch 'run' in ")
    assert "f2.parquet" in fault
    assert str(desk.directory) not in fault


def test_ids_that_are_no_integers_are_refused_with_their_file(desk):
    found = friend(EVENTS["a2"])
    write(desk.directory / "f2.parquet", {**found, "event": found["event"].astype(float)})
    (fault,) = faults_of(desk)
    assert fault == (
        "event], inpu | branch 'event' in input 'mva' of f2.parquet has floating-point numbers, "
        "and events are found by integers"
    )


def test_an_event_that_two_friends_have_is_refused(desk):
    write(desk.directory / "f2.parquet", friend([*EVENTS["a2"], 5]))
    found = faults_of(desk, ALL)
    assert found[0] == (
        "f1.parquet,  | input 'mva' of f1.parquet and 1 more files has event run=0 event=5 2 times, "
        "so events can't be matched"
    )


def test_columns_of_two_inputs_can_not_be_called_the_same(desk):
    found = friend(EVENTS["a1"])
    write(desk.directory / "f1.parquet", {**found, "two.pt": found["y"]})
    faults = faults_of(desk, ("inputs: [reco,", "inputs: [{source: reco, prefix: mva.two},"), ("reco.", "mva.two."))
    assert faults == ("a1.root, a2. | input 'mva.two' and input 'mva' both have a column 'mva.two.pt'",)


def test_a_friend_of_another_kind_is_told_where_it_is_named(desk):
    (desk.directory / "f2.parquet").write_text("run,event,y\n1,1,1\n")
    (fault,) = faults_of(desk)
    assert fault == "f2.parquet] | f2.parquet is not a Parquet file: it does not begin with 'PAR1'"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("[f1.parquet, f2.parquet]", "[f1.parquet]")], "[f1.parquet] | join 'both' reads files of dataset 'dy' side by side, of which 'reco' has 2 and 'scores' has 1"),
        ([("ww: [g.parquet]", "tt: [g.parquet]")], "tt: [g.parqu | source 'scores' has files for the unknown dataset 'tt'"),
        ([("      ww: [g.parquet]\n", "")], "files: | source 'scores' has files of its own, but none for dataset 'ww'"),
        ([("match, on: [run, event]", "zip"), ALL], "files: all}] | join 'both' of kind zip puts entries of the same number side by side, file by file"),
        ([("inputs: [reco,", "inputs: [{source: reco, files: all},")], "files: all}, | the events of join 'both' are those of its first input"),
        ([("g.parquet", "toy://dy")], "toy://dy] | files can't be read over toy://"),
    ],
)  # fmt: skip
def test_faults_of_documents(desk, changes, expected):
    found = faults_of(desk, *changes)
    assert expected in found


def test_the_resolved_document_is_the_same(desk):
    workflow = desk.workflow(WORKFLOW.replace(*ALL))
    again, faults = build(from_json(resolved(workflow), name="again"))
    assert faults == ()
    assert [replace(each, path=()) for each in again.sources] == [replace(each, path=()) for each in workflow.sources]
    assert again.joins[0].inputs == workflow.joins[0].inputs


def test_patterns_stand_for_friends_and_bundles_carry_them(desk):
    written = desk.workflow(WORKFLOW.replace("[f1.parquet, f2.parquet]", '["f*.parquet"]  # those of dy'))
    faults: list[Fault] = []
    workflow = expanded(written, desk.directory, faults.append)
    assert faults == []
    assert workflow.sources[1].files == {"dy": ("f1.parquet", "f2.parquet"), "ww": ("g.parquet",)}
    plan, _ = desk.planned(workflow)
    assert [file.name for file in plan.inputs] == [
        "a1.root",
        "a2.root",
        "b.root",
        "f1.parquet",
        "f2.parquet",
        "g.parquet",
    ]
    staged = stage(workflow, {file.name: file.path for file in plan.inputs}, desk.directory / "staged")
    copy = (staged.root / staged.main).read_text()
    assert 'dy: ["../inputs/f1.parquet", "../inputs/f2.parquet"]  # those of dy' in copy
    assert "ww: [../inputs/g.parquet]" in copy
    here, _ = build(load(staged.resolved))
    again, faults_there = replace_directory(desk, staged.resolved.parent).planned(here)
    assert faults_there == ()
    assert [step.parts for step in again.passes] == [step.parts for step in plan.passes]


def replace_directory(desk: Desk, directory: Path) -> Desk:
    return replace(desk, directory=directory)


def test_what_a_query_has_found_can_stand_beside_files(desk):
    with sqlite3.connect(desk.directory / "scores.db") as database:
        database.execute("CREATE TABLE s (sample TEXT, run INTEGER, event INTEGER, y REAL)")
        for name, events in EVENTS.items():
            rows = zip(*(column.tolist() for column in friend(events).values()), strict=True)
            sample = "ww" if name == "b" else "dy"
            database.executemany("INSERT INTO s VALUES (?, ?, ?, ?)", [(sample, *found) for found in rows])
    database.close()
    query = "SELECT run, event, y FROM s WHERE sample = :name ORDER BY y, event"
    described = f"kind: sql\n    connect: {{driver: sqlite, database: scores.db}}\n    query: {query}\n"
    described += "    parameters: {name: {dataset: name}}"
    changed = WORKFLOW.replace("kind: parquet", described).replace("[f1.parquet, f2.parquet]", "[sql://scores]")
    workflow = desk.workflow(changed.replace("[g.parquet]", "[sql://scores]").replace(*ALL))
    plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), fetching(desk))
    assert faults == ()
    assert {name: bytes(content) for name, content in files(desk.run(plan)).items()} == products(desk, WORKFLOW)
    assert [file.origin.dataset for file in plan.inputs if file.origin] == ["dy", "ww"]


def test_a_dataset_that_stands_in_for_another_brings_its_friends(desk):
    write_reco(desk.directory / "b.root", EVENTS["a2"])
    write(desk.directory / "g.parquet", friend(EVENTS["a2"], seed=2))
    swap = variation("swap", dataset_replace={"dy": "ww"})
    plan = desk.plan(WORKFLOW, [swap])
    swapped = [step.partition for step in plan.passes if step.varied == "swap"]
    assert [[file.name for file in partition.files] for partition in swapped] == [["b.root", "g.parquet"]]
    assert [(partition.dataset, partition.stop) for partition in swapped] == [("dy", 40)]


def test_friends_are_fetched(desk):
    text = WORKFLOW
    with web_server() as server:
        for name in ("f1.parquet", "f2.parquet", "g.parquet"):
            text = text.replace(name, server.add(f"/{name}", (desk.directory / name).read_bytes()))
            (desk.directory / name).unlink()
        workflow = desk.workflow(text)
        plan, faults = planner.make_plan(workflow, operations(workflow, version="1"), fetching(desk))
    assert faults == ()
    assert [file.urls != () for file in plan.inputs] == [False, False, False, True, True, True]
    assert all(file.path.is_relative_to(desk.cache) for step in plan.passes for file in step.partition.beside)


@pytest.mark.slow
def test_a_bundle_with_friends_replays(desk, command: Command):
    (desk.directory / "w.yaml").write_text(WORKFLOW.replace("[f1.parquet, f2.parquet]", '["f*.parquet"]'))
    command("pack", "w.yaml", "-o", "b.crate.zip", "-j", "2", "-q", cwd=desk.directory)
    for name in ("f1", "f2", "g"):
        (desk.directory / f"{name}.parquet").unlink()
    told = command("replay", "b.crate.zip", "-j", "2", "--yes", cwd=desk.directory)
    assert "4 of 4 outputs identical" in told.stdout
