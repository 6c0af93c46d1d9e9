"""Observers: the fields of a stream and the number of its events, without reading columns."""

import json
from pathlib import Path

import numpy as np
import pytest
from lowered import Chain, column, product

from fasthep_archive.operations.protocol import Part
from fasthep_archive.operations.snapshot import Branches, SchemaSnapshot

EVENTS = {
    "MET": column([1.0, 20.0, 30.0]),
    "n": column([1, 2, 3], "int"),
    "q": column([None, 1.0, 2.0]),
    "pt": column([[1.0], [], [2.0, 3.0]]),
    "channel": column(["ee", "mm", "ee"], "text"),
}
SNAPSHOT = SchemaSnapshot.read({})


def observed(cache: Path, cut: str | None = None, observer: object = SNAPSHOT, **more: object) -> tuple[Chain, Part]:
    made = Chain(EVENTS, cache, **more)
    if cut is not None:
        made.of("hep.selection.cutflow", {"selection": {"good": [cut]}}, "Select")
    made.stage(observer, "stage.Select")
    return made, made.part("stage.Select")


def snapshot(parts: list[Part], cache: Path, observer: object = SNAPSHOT, datasets: tuple = ("mc",)) -> dict:
    return {
        name: json.loads(content) for name, content in product(observer, parts, datasets, cache, "stage.Select").items()
    }


def test_a_snapshot_has_fields_types_and_numbers_of_events(kernel_cache: Path) -> None:
    parts = [observed(kernel_cache)[1], observed(kernel_cache)[1]]
    fields = {"MET": "float64", "n": "int64", "q": "?float64", "pt": "var * float64", "channel": "string"}
    assert snapshot(parts, kernel_cache) == {
        "schema/stage.Select.json": {
            "schema_snapshot": 1,
            "node": "stage.Select",
            "datasets": [{"dataset": "mc", "entries": 6, "fields": fields}],
        }
    }


def test_definitions_and_flags_are_fields_and_cut_events_do_not_count(kernel_cache: Path) -> None:
    _, part = observed(kernel_cache, "MET > 10")
    (found,) = snapshot([part], kernel_cache)["schema/stage.Select.json"]["datasets"]
    assert found["entries"] == 2
    assert found["fields"]["Select.good"] == "bool"


def test_no_column_is_read_to_count_all_events(kernel_cache: Path) -> None:
    made, _ = observed(kernel_cache)
    program = made.builder.program(made.left["stage.Select"][1].values)
    assert program.columns == ()


def test_only_the_columns_of_the_cuts_are_read_to_count_what_is_left(kernel_cache: Path) -> None:
    made, _ = observed(kernel_cache, "MET > 10")
    assert made.builder.program(made.left["stage.Select"][1].values).columns == ("MET",)


def test_fields_that_differ_between_files_have_all_their_types(kernel_cache: Path) -> None:
    other = Chain({"MET": column([1, 2], "int")}, kernel_cache)
    other.stage(SNAPSHOT, "stage.Select")
    parts = [observed(kernel_cache)[1], other.part("stage.Select")]
    (found,) = snapshot(parts, kernel_cache)["schema/stage.Select.json"]["datasets"]
    assert (found["entries"], found["fields"]["MET"], found["fields"]["n"]) == (
        5,
        "float64 or int64",
        "int64 or absent",
    )


def test_a_dataset_without_events_has_none(kernel_cache: Path) -> None:
    found = snapshot([], kernel_cache, datasets=("none",))["schema/stage.Select.json"]["datasets"]
    assert found == [{"dataset": "none", "entries": 0, "fields": {}}]


def test_dropped_fields_are_not_told(kernel_cache: Path) -> None:
    made = Chain(EVENTS, kernel_cache)
    made.of("hep.project_fields", {"aliases": {"met": "MET"}, "include_existing": False})
    made.stage(SNAPSHOT, "stage.Select")
    (found,) = snapshot([made.part("stage.Select")], kernel_cache)["schema/stage.Select.json"]["datasets"]
    assert found["fields"] == {"met": "float64"}


def test_fields_behind_prefixes_have_dotted_names(kernel_cache: Path) -> None:
    made = Chain(EVENTS, kernel_cache)
    inputs = [{"name": "a", "prefix": "l1"}]
    made.of("hep.zip_join", {"inputs": inputs}, a=made.stream)
    made.stage(SNAPSHOT, "stage.Select")
    (found,) = snapshot([made.part("stage.Select")], kernel_cache)["schema/stage.Select.json"]["datasets"]
    assert found["fields"]["l1.pt"] == "var * float64"
    assert found["fields"]["l1.channel"] == "string"


def test_branches_are_the_names_of_the_fields(kernel_cache: Path) -> None:
    observer = Branches.read({})
    _, part = observed(kernel_cache, observer=observer)
    (found,) = snapshot([part], kernel_cache, observer)["schema/stage.Select.branches.json"]["datasets"]
    assert found == {"dataset": "mc", "n_fields": 5, "fields": ["MET", "n", "q", "pt", "channel"]}


@pytest.mark.parametrize(
    ("out", "name"), [(None, "schema/S.json"), ("schema", "schema/S.json"), ("x", "schema/x/S.json")]
)
def test_a_snapshot_lies_below_its_directory(out: str | None, name: str) -> None:
    assert SchemaSnapshot.read({} if out is None else {"out": out}).product("S", ("mc",)).outputs == (name,)


def test_the_number_of_events_is_what_is_stored(kernel_cache: Path) -> None:
    _, part = observed(kernel_cache)
    np.testing.assert_array_equal(part.state.arrays["events"], [3])


def test_a_snapshot_stays_below_its_directory(kernel_cache: Path) -> None:
    made = Chain(EVENTS, kernel_cache)
    made.stage(SchemaSnapshot.read({"out": "../elsewhere"}), "stage.Select")
    assert made.faults == ["params/out: '../elsewhere' is no name of a file"]
