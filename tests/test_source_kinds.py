"""Sources by kind: Parquet, Arrow, Feather, CSV, JSON and NumPy archives; oracles are pyarrow, awkward, NumPy, json."""

import gzip
import json
import math
import pickle
import struct
from collections.abc import Callable

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import uproot
from command import with_kernels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasthep_archive import archive
from fasthep_archive.data import blocks
from fasthep_archive.data.content import of_events
from fasthep_archive.data.source import Read, open_source, settled
from fasthep_archive.errors import DataError, WorkflowError
from fasthep_archive.formula.columns import ColumnType, Structure

KINDS = ("arrow", "csv", "feather", "json", "npz", "parquet")


def opened(path, kind=None, **options):
    kind = kind or {"jsonl": "json", "stream": "arrow"}.get(path.suffix[1:], path.suffix[1:])
    return open_source(path, Read(kind=kind, tree="", options=options))


def plain(column):
    """Return a column as Python lists, missing values as None."""
    content = [column.words[code] for code in column.content] if column.words else column.content.tolist()
    if column.valid is not None:
        content = [value if valid else None for value, valid in zip(content, column.valid, strict=True)]
    if column.offsets is None:
        return content
    return [content[start:stop] for start, stop in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


def of_dotted(array, name):
    for part in name.split("."):
        array = array[part]
    return array.tolist()


def told(path, kind=None, columns=None, **options):
    """Return what is said of a broken file, by its first line and hint."""
    with pytest.raises(DataError) as caught, opened(path, kind, **options) as events:
        events.read(columns or list(events.types()), 0, events.entries)
    return caught.value.message.replace(str(path), path.name), caught.value.hint


@pytest.fixture
def small(monkeypatch):
    """Make blocks of texts small, so that a few events are many blocks."""
    monkeypatch.setattr(blocks, "SIZE", 200)
    monkeypatch.setattr(blocks, "_MARK", 1000)


# --- the same events in every kind of file ---------------------------------------------------------------------------

FLAT = {
    "x": [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf, 2.2250738585072014e-308],
    "n": [0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1, 7, 8],
    "flag": [True, False, True, True, False, False, True, False],
    "text": ["µτ", "", "a,b", 'say "x"', "two\nlines", " pad ", "z", "z"],
    "größe": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5],
}
MAYBE = {"maybe": [1.5, None, None, -2.0, 0.0, None, 1e300, 3.25], "some": [1, None, 3, None, 5, 6, 7, 2**63 - 1]}
LISTS = {
    "jets": [[], [1.5], [2.5, math.nan], [], [], [-0.0], [math.inf, 1.0, 2.0], []],
    "Muon": [
        [],
        [{"pt": 1.5, "q": 1}],
        [],
        [{"pt": 2.5, "q": -1}, {"pt": 3.5, "q": 1}],
        [],
        [],
        [{"pt": 5e-324, "q": 0}],
        [],
    ],
    "met": [{"pt": 0.5 * n, "phi": -1.5} for n in range(8)],
}


def rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def table(columns):
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def write_arrow(path, columns, step=3):
    made = table(columns)
    with pa.ipc.new_file(path, made.schema) as writer:
        writer.write_table(made, max_chunksize=step)


def write_stream(path, columns):
    made = table(columns)
    with pa.ipc.new_stream(path, made.schema) as writer:
        writer.write_table(made, max_chunksize=3)


def write_feather(path, columns):
    pyarrow.feather.write_feather(table(columns), path, compression="zstd", chunksize=3)


def write_parquet(path, columns):
    pq.write_table(table(columns), path, row_group_size=3)


def write_csv(path, columns):
    def cell(value):
        if isinstance(value, str):
            return f'"{value.replace(chr(34), 2 * chr(34))}"'
        return "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)

    lines = [",".join(columns), *(",".join(map(cell, row.values())) for row in rows(columns))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def write_jsonl(path, columns):
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows(columns)), encoding="utf-8")


def write_json(path, columns):
    path.write_text(json.dumps(rows(columns), indent=1), encoding="utf-8")


def write_npz(path, columns):
    found = {}
    for name, values in columns.items():
        if isinstance(values[0], list):
            found[f"{name}_offsets"] = np.concatenate([[0], np.cumsum([len(value) for value in values])])
            values = [item for value in values for item in value]  # noqa: PLW2901 - the same column
        found[name] = np.array(values)
    np.savez(path, **found)


WRITERS: dict[str, Callable] = {
    "arrow": write_arrow,
    "csv": write_csv,
    "feather": write_feather,
    "json": write_json,
    "jsonl": write_jsonl,
    "npz": write_npz,
    "parquet": write_parquet,
    "stream": write_stream,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_values_of_all_types_come_back_bit_by_bit(tmp_path, suffix, small):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, FLAT)
    with opened(path) as events:
        found = {name: plain(column) for name, column in events.read(FLAT, 0, 8).items()}
    assert found.pop("x")[:4] == FLAT["x"][:4]
    assert {name: values for name, values in FLAT.items() if name != "x"} == found
    with opened(path) as events:
        bits = events.read(["x"], 0, 8)["x"].content.tobytes()
    assert bits == struct.pack("8d", *FLAT["x"])


@pytest.mark.parametrize("suffix", [suffix for suffix in WRITERS if suffix != "npz"])
def test_missing_values_are_missing(tmp_path, suffix, small):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, MAYBE)
    with opened(path) as events:
        assert dict(events.types()) == {
            "maybe": ColumnType("float64", optional=True),
            "some": ColumnType("int64", optional=True),
        }
        assert {name: plain(column) for name, column in events.read(MAYBE, 1, 8).items()} == {
            name: values[1:] for name, values in MAYBE.items()
        }


@pytest.mark.parametrize("suffix", ["arrow", "feather", "json", "jsonl", "parquet", "stream"])
def test_lists_and_structs_are_columns_with_dots(tmp_path, suffix, small):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, LISTS)
    with opened(path) as events:
        assert dict(events.types()) == {
            "jets": ColumnType("float64", Structure("jets", counted=False)),
            "Muon.pt": ColumnType("float64", Structure("Muon", counted=True)),
            "Muon.q": ColumnType("int64", Structure("Muon", counted=True)),
            "met.pt": ColumnType("float64"),
            "met.phi": ColumnType("float64"),
        }
        found = events.read(list(events.types()), 2, 8)
        array = ak.Array(rows(LISTS))
        for name, column in found.items():
            assert repr(plain(column)) == repr(of_dotted(array, name)[2:]), name
        assert found["Muon.pt"].offsets is found["Muon.q"].offsets


@pytest.mark.parametrize("suffix", WRITERS)
def test_only_what_is_asked_for_comes_and_any_range(tmp_path, suffix, small):
    path = tmp_path / f"events.{suffix}"
    columns = {"i": list(range(100)), "x": [n / 7 for n in range(100)], "t": ["ab"[n % 2] for n in range(100)]}
    WRITERS[suffix](path, columns)
    with opened(path) as events:
        assert (events.entries, events.clusters()[0], events.clusters()[-1]) == (100, 0, 100)
        for start, stop in ((0, 100), (0, 0), (100, 100), (17, 63), (99, 100)):
            found = events.read(["t", "i"], start, stop)
            assert {name: plain(column) for name, column in found.items()} == {
                name: columns[name][start:stop] for name in ("t", "i")
            }
        for start, stop in ((-1, 3), (4, 3), (0, 101)):
            with pytest.raises(ValueError, match="of 100"):
                events.read([], start, stop)


@pytest.mark.parametrize("suffix", ["csv", "arrow", "feather", "json", "jsonl", "parquet", "stream"])
def test_files_without_events_have_none(tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    columns = {"x": pa.array([], "float64")} if suffix not in ("csv", "json", "jsonl") else {"x": []}
    WRITERS[suffix](path, columns)
    if suffix == "jsonl":
        path.write_text("\n")
    with opened(path) as events:
        assert (events.entries, events.clusters()) == (0, (0,))
        assert all(len(column) == 0 for column in events.read(list(events.types()), 0, 0).values())


@pytest.mark.parametrize("suffix", WRITERS)
def test_numbers_beyond_int64_are_refused(tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    columns = {"n": pa.array([1, 2**63], "uint64")} if suffix not in ("csv", "json", "jsonl", "npz") else {"n": []}
    columns = columns if columns["n"] else {"n": [1, 2**63]}
    if suffix == "npz":
        np.savez(path, n=np.array([1, 2**63], np.uint64))
    else:
        WRITERS[suffix](path, columns)
    message, hint = told(path)
    assert "9223372036854775808" in message
    assert "beyond int64" in message
    assert hint


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_column_that_is_not_there_is_told_with_the_nearest(tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, {"energy": [1.0]})
    assert told(path, columns=["enregy"]) == (f"no branch 'enregy' in {path.name}", "did you mean 'energy'?")


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_not_there_or_empty_are_told(tmp_path, kind):
    (tmp_path / "empty").touch()
    assert told(tmp_path / "empty", kind)[0] == "empty is empty"
    assert told(tmp_path / "absent", kind)[0] == "no such file: absent"
    assert "is a directory" in told(tmp_path, kind)[0]


@pytest.mark.parametrize("kind", ["arrow", "feather", "npz", "parquet"])
def test_files_of_another_format_are_told(tmp_path, kind):
    (tmp_path / "events.csv").write_text("x,y\n1,2\n")
    assert "events.csv is not a" in told(tmp_path / "events.csv", kind)[0]


@pytest.mark.parametrize("suffix", ["arrow", "feather", "npz", "parquet", "json", "stream"])
def test_files_that_are_cut_off_are_told(tmp_path, suffix):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, {"x": [float(n) for n in range(1000)]})
    path.write_bytes(path.read_bytes()[:-30])
    assert "cut off" in told(path)[0]


@pytest.mark.parametrize("compressed", ["csv", "jsonl"])
def test_gzip_is_decompressed_from_any_place(tmp_path, compressed, small):
    path = tmp_path / f"events.{compressed}"
    columns = {"i": list(range(3000)), "x": [n / 7 for n in range(3000)]}
    WRITERS[compressed](path, columns)
    text = path.read_bytes()
    path.write_bytes(gzip.compress(text[:999]) + gzip.compress(text[999:]))  # two members, as pigz and cat make them
    with opened(path) as events:
        for start, stop in ((2000, 2100), (10, 20), (1500, 3000), (0, 3000)):
            assert plain(events.read(["x"], start, stop)["x"]) == columns["x"][start:stop]
    path.write_bytes(gzip.compress(text)[:-9])
    assert told(path) == (f"{path.name} is damaged or cut off: its last gzip member has no end", None)


# --- CSV -------------------------------------------------------------------------------------------------------------


def csv(tmp_path, text):
    path = tmp_path / "events.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


CSV = [
    ("a;b\n1;2\n", {"delimiter": ";"}, {"a": [1], "b": [2]}),
    ("a\tb\r\n1\t2\r\n", {"delimiter": "\t"}, {"a": [1], "b": [2]}),
    ("1 2\n3 4\n", {"delimiter": " ", "header": ["x", "y"]}, {"x": [1, 3], "y": [2, 4]}),
    ('# of "2024\n#\na,b\n1,2\n# later\n3,4', {"comment": "#"}, {"a": [1, 3], "b": [2, 4]}),
    ("made by\nsomebody\na\n1\n", {"skip": 2}, {"a": [1]}),
    ("a\n1\n\n\n2\n", {}, {"a": [1, 2]}),
    ("a,b\n1,NA\n-,3\n", {"missing": ["NA", "-"]}, {"a": [1, None], "b": [None, 3]}),
    ("a\n'x,\ny'\n", {"quote": "'"}, {"a": ["x,\ny"]}),
    ('a,b\n5",2\n', {"quote": ""}, {"a": ['5"'], "b": [2]}),
    ("a\n2020-01-01\n", {}, {"a": ["2020-01-01"]}),
    ("a,b\n1,0\n2,true\n", {}, {"a": [1, 2], "b": ["0", "true"]}),
    ("a,b\n1,true\n2,FALSE\n", {}, {"a": [1, 2], "b": [True, False]}),
    ("a\n1\n2.5\n", {}, {"a": [1.0, 2.5]}),
    ("a\n1\n2\n", {"schema": {"a": "float64"}}, {"a": [1.0, 2.0]}),
    ("a\n1\n2\n", {"schema": {"a": "text"}}, {"a": ["1", "2"]}),
    ("a,b\n,1\n,2\n", {}, {"a": [None, None], "b": [1, 2]}),
    (b"\xef\xbb\xbfa\n1\n", {}, {"a": [1]}),
]


@pytest.mark.parametrize(("text", "options", "expected"), CSV)
def test_options_of_csv(tmp_path, text, options, expected):
    with opened(csv(tmp_path, text), **options) as events:
        found = events.read(list(events.types()), 0, events.entries)
    assert {name: plain(column) for name, column in found.items()} == expected


BROKEN_CSV = [
    ("a,b\n1,2\n3\n", {}, "line 3 of events.csv has 1 cells, not 2"),
    ('a,b\n"x\ny",2\n3,4,5\n', {}, "line 4 of events.csv has 3 cells, not 2"),
    ("a\n1\nx\n", {"schema": {"a": "int64"}}, "line 3 of events.csv: column 'a' has 'x', which is no int64"),
    ("a\n1\n1.5\n", {"schema": {"a": "int64"}}, "line 3 of events.csv: column 'a' has '1.5', which is no int64"),
    ("a\n1_0\n", {"schema": {"a": "float64"}}, "line 2 of events.csv: column 'a' has '1_0', which is no float64"),
    ("a,b\n1,2\n,3\n", {"schema": {"a": "int64"}}, "line 3 of events.csv: column 'a' has no value"),
    ("a\n9007199254740993\n0.5\n", {}, "line 2 of events.csv: column 'a' has 9007199254740993, which is no float64"),
    ('a\n5"\n', {}, "a record of events.csv doesn't end"),
    ('a\n5"6"\n', {}, "line 2 of events.csv has a quote inside of a cell"),
    ("a\n5\n\0\n", {}, "line 3 of events.csv has a null byte: it is no text"),
    ('a\n"5\n', {}, "a record of events.csv doesn't end"),
    ("a,a\n1,2\n", {}, "events.csv has two columns called 'a'"),
    ("1,2\n", {"header": ["x"]}, "events.csv has 2 columns, and 'header' names 1"),
    ("a\n1\n", {"schema": {"b": "int64"}}, "events.csv has no column 'b', which 'schema' declares"),
    ("a\r1\r", {}, "events.csv has lines that end with CR alone"),
    (b"a\n\xff\n", {}, "column 'a' of events.csv is not UTF-8"),
    ("a\n1\n", {"skip": 5}, "events.csv ends in line 3, before the names of its columns"),
    ("\n\n", {}, "events.csv has no line with the names of its columns"),
]


@pytest.mark.parametrize(("text", "options", "message"), BROKEN_CSV)
def test_broken_csv_is_told_with_the_line(tmp_path, text, options, message):
    assert told(csv(tmp_path, text), **options)[0] == message


def test_types_of_csv_do_not_depend_on_blocks(tmp_path, monkeypatch):
    columns = {"i": [*range(200), 0.5], "t": [*range(200), "x"], "m": [*range(200), None], "b": [True] * 201}
    write_csv(tmp_path / "events.csv", columns)
    found = []
    for size in (1 << 22, 50):
        monkeypatch.setattr(blocks, "SIZE", size)
        with opened(tmp_path / "events.csv") as events:
            found.append(settled(events, [Read(kind="csv", tree="")])[0].options)
    assert found == [{"schema": {"i": "float64", "t": "text", "m": "int64?", "b": "bool"}}] * 2


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_what_was_found_out_travels_and_nothing_is_looked_for_again(tmp_path, suffix, small, monkeypatch):
    path = tmp_path / f"events.{suffix}"
    columns = {"x": [n / 3 for n in range(500)], "t": [f"t{n % 3}" for n in range(500)]}
    WRITERS[suffix](path, columns)
    with opened(path) as events:
        read = settled(events, [Read(kind=path.suffix[1:].removesuffix("l"), tree="")])[0]
        assert len(events.clusters()) > 10
        clusters = events.clusters()
    monkeypatch.setattr("fasthep_archive.data.blocks.pieces", None)
    monkeypatch.setattr("fasthep_archive.data.json.pieces", None)
    with open_source(path, pickle.loads(pickle.dumps(read))) as events:
        assert events.clusters() == clusters
        assert plain(events.read(["x"], 123, 321)["x"]) == columns["x"][123:321]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8), min_size=1),
    numbers=st.data(),
)
def test_any_texts_and_numbers_come_back_from_csv(tmp_path, small, texts, numbers):
    count = len(texts)
    floats = numbers.draw(st.lists(st.floats(allow_nan=False), min_size=count, max_size=count))
    whole = numbers.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count))
    write_csv(tmp_path / "events.csv", {"t": texts, "x": floats, "n": whole})
    with opened(tmp_path / "events.csv", schema={"t": "text", "x": "float64"}) as events:
        found = events.read(["t", "x", "n"], 0, count)
    assert plain(found["t"]) == texts
    assert found["x"].content.tobytes() == struct.pack(f"{count}d", *floats)
    assert plain(found["n"]) == whole


# --- JSON ------------------------------------------------------------------------------------------------------------

BROKEN_JSON = [
    ('{"a":1}\n{"b":{"a":1,"a":3}}\n', {}, "line 2 of events.json: the key 'a' is there twice"),
    ('[\n{"a":1},\n\n {"a":1,"a":3}]', {}, "line 4 of events.json: the key 'a' is there twice"),
    ('{"a":1}\n{"a":}\n', {}, "line 2 of events.json is no JSON: Expecting value"),
    ('{"a":1}\n[1]\n', {}, "events.json has events from line 1 on that are no objects"),
    ("3", {}, "events.json does not begin with an object or an array"),
    ('[{"a":1},{"a":2}', {}, "events.json is cut off: its array doesn't end"),
    ('[{"a":1} {"a":2}]', {}, "events.json is no JSON: an object of its array is followed by '{'"),
    ('[{"a":1}, 2]', {}, "events.json has something else than objects in its array"),
    ('[{"a":1}] 2', {}, "events.json has something after its array"),
    ('{"a":1},{"a":2}\n', {}, "events.json has lines from 1 on with several objects"),
    ('{"a":1.5}\n{"a":"x"}\n', {"schema": {"a": "float64"}}, "event 1 of events.json: 'a' has 'x'"),
    ('{"a":[1]}\n{"a":[2,null]}\n', {"schema": {"a": "list[int64]"}}, "event 1 of events.json: 'a' has no value"),
    ('{"a":1}\n', {"schema": {"a": "list[int64]"}}, "event 0 of events.json: 'a' is no list"),
    ('{"M":1}\n', {"schema": {"M": {"p": "int64"}}}, "event 0 of events.json: 'M.p' is below 1, which is no object"),
    (
        f'{{"a":{2**64}}}\n',
        {"schema": {"a": "int64"}},
        f"event 0 of events.json: 'a' has {2**64}, which is beyond int64",
    ),
    (
        '{"a":1.5}\n{"a":9007199254740993}\n',
        {},
        "event 0 of events.json: 'a' has 9007199254740993, which is no float64,",
    ),
    ('{"a":1}\n{"a":"x"}\n', {}, "branch 'a' can't be used in formulas: it holds values of several kinds"),
    ('{"a":1}\n{"a":[1]}\n', {}, "branch 'a' can't be used in formulas: it holds values of several kinds"),
    ('{"a":[[1]]}\n', {}, "branch 'a' can't be used in formulas: it holds lists of lists"),
    ('{"a":["x"]}\n', {}, "branch 'a' can't be used in formulas: it holds lists of texts"),
    ('{"a":[1]}\n{}\n', {}, "column 'a' of events.json lacks some of its lists"),
    ('{"a":"x"}\n{}\n', {}, "column 'a' of events.json lacks some of its texts"),
]


@pytest.mark.parametrize(("text", "options", "message"), BROKEN_JSON)
def test_broken_json_is_told(tmp_path, text, options, message):
    path = tmp_path / "events.json"
    path.write_text(text)
    assert told(path, **options)[0].startswith(message)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_declared_types_of_json_are_the_columns(tmp_path, suffix, small):
    path = tmp_path / f"events.{suffix}"
    WRITERS[suffix](path, LISTS)
    with opened(path, schema={"jets": "list[float64]", "Muon": [{"q": "float64"}]}) as events:
        assert list(events.types()) == ["jets", "Muon.q"]
        assert events.types()["Muon.q"] == ColumnType("float64", Structure("Muon", counted=True))
        assert plain(events.read(["Muon.q"], 0, 8)["Muon.q"])[3] == [-1.0, 1.0]


# --- Arrow and NumPy -------------------------------------------------------------------------------------------------


def test_arrow_counts_without_reading_columns(tmp_path):
    path = tmp_path / "events.arrow"
    write_arrow(path, {"x": [float(n) for n in range(100_000)]}, step=30_000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 1000)  # of a column that nobody reads
    with opened(path) as events:
        assert (events.entries, events.clusters()) == (100_000, (0, 30_000, 60_000, 90_000, 100_000))
        assert dict(events.types()) == {"x": ColumnType("float64")}


def test_texts_of_a_dictionary_are_read_from_files_and_streams(tmp_path):
    values = pa.array(["a", "b", "a", "µ"]).dictionary_encode()
    for suffix, new in (("arrow", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        made = pa.table({"t": values, "i": [1, 2, 3, 4]})
        with new(tmp_path / f"d.{suffix}", made.schema) as writer:
            writer.write_table(made, max_chunksize=3)
        with opened(tmp_path / f"d.{suffix}") as events:
            assert plain(events.read(["t"], 1, 4)["t"]) == ["b", "a", "µ"]


def test_arrow_lists_that_are_missing_are_told(tmp_path):
    write_arrow(tmp_path / "events.arrow", {"a": [[1.0], None]})
    assert told(tmp_path / "events.arrow") == (
        "column 'a' of events.arrow lacks some of its lists",
        "write empty lists for events without values",
    )


def test_two_columns_of_one_name_are_told(tmp_path):
    made = pa.table([[1.0], [2.0]], names=["x", "x"])
    with pa.ipc.new_file(tmp_path / "events.arrow", made.schema) as writer:
        writer.write_table(made)
    assert told(tmp_path / "events.arrow")[0] == "events.arrow has two columns called 'x'"


def test_feather_of_version_1_is_told(tmp_path):
    (tmp_path / "old.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")  # writing one is deprecated
    assert told(tmp_path / "old.feather")[0] == "old.feather is a Feather file of version 1, which only pyarrow reads"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("counts", ["Muon_offsets", "Muon_counts"])
def test_arrays_share_the_lists_of_what_their_names_begin_with(tmp_path, save, counts):
    random = np.random.default_rng(1)
    sizes = random.poisson(2, 200_000)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    pt = random.random(offsets[-1])
    save(tmp_path / "e.npz", Muon_pt=pt, Muon_q=pt > 0.5, **{counts: offsets if "off" in counts else sizes})
    with opened(tmp_path / "e.npz") as events:
        for start, stop in ((65_530, 140_000), (131_072, 131_073), (0, 200_000)):
            found = events.read(["Muon_pt", "Muon_q"], start, stop)
            assert np.array_equal(found["Muon_pt"].content, pt[offsets[start] : offsets[stop]])
            assert np.array_equal(found["Muon_pt"].offsets, offsets[start : stop + 1] - offsets[start])
            assert found["Muon_pt"].offsets is found["Muon_q"].offsets


def test_arrays_of_two_dimensions_are_lists_of_a_fixed_length(tmp_path):
    values = np.arange(12, dtype=">f4").reshape(4, 3)
    np.savez(tmp_path / "e.npz", v=values)
    with opened(tmp_path / "e.npz") as events:
        assert events.types()["v"] == ColumnType("float64", Structure("[3]", counted=True))
        assert plain(events.read(["v"], 1, 3)["v"]) == values[1:3].tolist()


BROKEN_NPZ = [
    ({"a": np.arange(3), "b": np.arange(4)}, "'a' of e.npz has 3 events and 'b' has 4"),
    ({"a": np.array([1, "x"], object)}, "branch 'a' can't be used in formulas: it holds an array of object"),
    ({"a": np.float64(3)}, "'a' of e.npz is a single value"),
    ({"a": np.arange(3), "a_counts": np.array([1, 1])}, "'a' of e.npz has 3 values, and by 'a_counts' it has 2"),
    ({"a": np.arange(3), "a_offsets": np.array([0, 2])}, "'a' of e.npz has 3 values, and by 'a_offsets' it has 2"),
    ({"a": np.arange(3), "a_offsets": np.array([0, 2, 1, 3])}, "'a_offsets' of e.npz says that lists have fewer"),
    ({"a": np.zeros((2, 2, 2))}, "branch 'a' can't be used in formulas: it holds an array of float64 with the shape"),
    ({"a": np.zeros(2, complex)}, "branch 'a' can't be used in formulas: it holds an array of complex128"),
    ({}, "e.npz has no arrays"),
]


@pytest.mark.parametrize(("arrays", "message"), BROKEN_NPZ)
def test_broken_archives_of_arrays_are_told(tmp_path, arrays, message):
    np.savez(tmp_path / "e.npz", **arrays)
    assert told(tmp_path / "e.npz")[0].startswith(message)


# --- one workflow, all kinds -----------------------------------------------------------------------------------------


def physics(count=3000):
    """Events that every kind of file can hold: no lists."""
    random = np.random.default_rng(7)
    return {
        "pt": random.exponential(30, count),
        "charge": random.choice([-1, 1], count),
        "tight": random.random(count) < 0.4,
        "channel": np.array(["ee", "mm", "µτ"])[random.integers(0, 3, count)],
    }


def write_physics(directory, columns):
    """Return the file of each kind with the same events."""
    lists = {name: values.tolist() for name, values in columns.items()}
    for suffix, write in WRITERS.items():
        write(directory / f"events.{suffix}", lists)
    arrays = {**columns, "channel": ak.Array(lists["channel"])}
    with uproot.recreate(directory / "tree.root") as file:
        file.mktree("events", {name: ak.Array(values).type.content for name, values in arrays.items()}).extend(arrays)
    with uproot.recreate(directory / "ntuple.root") as file:
        file.mkrntuple("events", arrays)
    sources = {f"events.{suffix}": {"kind": "arrow" if suffix == "stream" else suffix} for suffix in WRITERS}
    sources["events.jsonl"] = {"kind": "json"}
    trees = {name: {"kind": "root_tree", "tree": "events"} for name in ("tree.root", "ntuple.root")}
    return {**sources, **trees}


STAGES = [
    {"id": "Weights", "op": "hep.define", "params": {"variables": [{"name": "w", "expr": "charge * sqrt(pt)"}]}},
    {
        "id": "Cuts",
        "op": "hep.selection.cutflow",
        "params": {"selection": {"All": ["pt > 10", "tight"]}, "weight_expr": "w"},
    },
    {
        "id": "Spectrum",
        "op": "hep.hist",
        "params": {
            "axes": [
                {"name": "pt", "source": "pt", "type": "regular", "bins": {"low": 0, "high": 200, "nbins": 50}},
                {"name": "channel", "source": "channel", "type": "category"},
            ],
            "weight_expr": "w",
        },
    },
]


def test_the_same_events_in_every_kind_of_file_are_the_same_products(tmp_path, kernel_cache, small):
    sources = write_physics(tmp_path, physics())
    products, digests = {}, {}
    for number, (name, source) in enumerate(sources.items()):
        document = {
            "version": "1.1",
            "workflow": {"name": "kinds"},
            "data": {"datasets": [{"name": "mc", "files": [name]}]},
            "sources": {"events": source},
            "analysis": {"stages": STAGES},
        }
        path = tmp_path / f"{number}.yaml"
        path.write_text(json.dumps(document))
        cache = with_kernels(tmp_path / f"{number}.cache", kernel_cache)
        archive.run(path, tmp_path / f"{number}.out", cache=cache, chunk=700, workers=1)
        outputs = tmp_path / f"{number}.out"
        files = [file for folder in ("histograms", "cutflows") for file in sorted((outputs / folder).glob("*"))]
        record = json.loads((outputs / "record" / "run.json").read_text())
        if source["kind"] in ("csv", "json"):
            found = {"pt": "float64", "charge": "int64", "tight": "bool", "channel": "text"}
            assert record["inputs"][0]["schemas"] == {"events": found}
        products[name] = {file.name: file.read_bytes() for file in files}
        with open_source(tmp_path / name, Read(kind=source["kind"], tree=source.get("tree", ""))) as events:
            digests[name] = of_events(events)
    first = products["tree.root"]
    assert first.keys() >= {"Spectrum.json", "Cuts.json"}
    assert all(found == first for found in products.values())
    assert len(set(digests.values())) == 1


# --- documents -------------------------------------------------------------------------------------------------------


def document(directory, files, source, version="1.1", stages=STAGES):
    path = directory / "workflow.yaml"
    written = {
        "version": version,
        "data": {"datasets": [{"name": "mc", "files": files}]},
        "sources": {"events": source},
        "analysis": {"stages": stages},
    }
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False))
    return path


def faults(path):
    with pytest.raises(WorkflowError) as caught:
        archive.check(path)
    return [(fault.where.line, fault.message, fault.hint) for fault in caught.value.faults]


def test_what_takes_of_a_broken_source_has_no_fault_of_its_own(tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(
        'version: "1.1"\n'
        "data: {datasets: [{name: a, files: [missing.csv]}]}\n"
        "sources: {events: {kind: csv, delimeter: x}}\n"
        "analysis:\n  stages:\n"
        "    - {id: N, op: hep.hist, params: {axes: [{name: x, source: x, type: int}]}}\n"
        "    - {id: Shown, op: run.command, params: {inputs: {n: N}, script: [cat n > m], outputs: [m]}}\n"
    )
    with pytest.raises(WorkflowError) as caught:
        archive.check(path)
    assert [fault.message for fault in caught.value.faults] == [
        "no such file: missing.csv",
        "unknown key 'delimeter' in sources.events",
    ]


FAULTS = [
    ({"kind": "csv", "delimeter": ";"}, "unknown key 'delimeter' in sources.events", "did you mean 'delimiter'?"),
    ({"kind": "csv", "sep": ";"}, "unknown key 'sep' in sources.events", "the key is 'delimiter'"),
    ({"kind": "csv", "delimiter": "ab"}, "sources.events.delimiter must be one ASCII sign, not 'ab'", None),
    ({"kind": "csv", "schema": {"pt": "float"}}, "sources.events.schema.pt must be float64, int64, bool or text", None),
    ({"kind": "csv", "header": False}, "sources.events.header must be true or the list of names, not false", None),
    ({"kind": "json", "schema": {"pt": "list[text]"}}, "sources.events.schema.pt must be float64, int64, bool,", None),
    ({"kind": "json", "schema": {"M": [{"p": "x"}]}}, "sources.events.schema.M[0].p must be float64, int64,", None),
    ({"kind": "json", "schema": {"M": []}}, "sources.events.schema.M is empty", None),
    ({"kind": "arrow", "tree": "events"}, "unknown key 'tree' in sources.events", "these files have no trees"),
    ({"kind": "npz", "start": -1}, "sources.events.start must be at least 0, not -1", None),
    ({"kind": "feathr"}, "unknown source kind 'feathr'", "did you mean 'feather'?"),
]


@pytest.mark.parametrize(("source", "message", "hint"), FAULTS)
def test_options_that_are_none_are_faults(tmp_path, source, message, hint):
    write_csv(tmp_path / "events.csv", {"pt": [1.0], "charge": [1], "tight": [True], "channel": ["ee"]})
    _, found, given_hint = faults(document(tmp_path, ["events.csv"], source))[0]
    assert found.startswith(message)
    assert given_hint == hint or (hint is None and given_hint)


def test_kinds_of_files_are_none_of_version_1_0(tmp_path):
    write_csv(tmp_path / "events.csv", {"pt": [1.0]})
    assert "csv" in faults(document(tmp_path, ["events.csv"], {"kind": "csv"}, version="1.0"))[0][1]


def test_a_column_of_a_wrong_type_is_a_fault_where_it_is_used(tmp_path):
    write_csv(tmp_path / "events.csv", {"pt": ["high"], "charge": [1], "tight": [True], "channel": ["ee"]})
    path = document(tmp_path, ["events.csv"], {"kind": "csv"})
    line, message, _ = faults(path)[0]
    assert "sqrt(pt)" in path.read_text().splitlines()[line - 1]
    assert "'pt'" in message


def test_a_promised_column_that_is_not_there_is_a_fault(tmp_path):
    write_csv(tmp_path / "events.csv", {"pt": [1.0], "charge": [1], "tight": [True], "channel": ["ee"]})
    path = document(tmp_path, ["events.csv"], {"kind": "csv", "columns": ["pt", "Pt"]})
    line, message, hint = faults(path)[0]
    assert path.read_text().splitlines()[line - 1].strip() == '"Pt"'
    assert (message, hint) == ("there is no column 'Pt'", "did you mean 'pt'?")


def test_a_broken_file_is_a_fault_where_it_is_listed(tmp_path):
    (tmp_path / "events.csv").write_text("pt,charge\n1.5\n")
    path = document(tmp_path, ["events.csv"], {"kind": "csv"})
    line, message, hint = faults(path)[0]
    assert path.read_text().splitlines()[line - 1].strip() == '"events.csv"'
    assert message == "line 2 of events.csv has 1 cells, not 2"
    assert hint == "a cell with the delimiter in it needs quotes"


def test_how_a_file_is_read_is_part_of_the_keys(tmp_path):
    write_csv(tmp_path / "events.csv", {"pt": [1.0], "charge": [1], "tight": [True], "channel": ["ee"]})

    def keys(**options):
        checked = archive.check(document(tmp_path, ["events.csv"], {"kind": "csv", **options}))
        return [part for step in checked.plan.passes for part in step.parts.values()]

    assert keys() == keys(schema={"pt": "float64"})  # what would have been found anyway
    assert keys() != keys(schema={"charge": "float64"})
    assert keys() != keys(missing=["NA"])


def test_patterns_stand_for_files_in_the_order_of_their_names(tmp_path):
    columns = {"pt": [20.0], "charge": [1], "tight": [True], "channel": ["ee"]}
    (tmp_path / "data").mkdir()
    for name in ("b.csv", "a.csv", "c.txt"):
        write_csv(tmp_path / "data" / name, columns)
    checked = archive.check(document(tmp_path, ["data/*.csv", "data/c.txt"], {"kind": "csv"}))
    assert checked.workflow.datasets[0].files == ("data/a.csv", "data/b.csv", "data/c.txt")


def test_a_pattern_that_matches_nothing_is_a_fault(tmp_path):
    line, message, hint = faults(document(tmp_path, ["no/*.csv"], {"kind": "csv"}))[0]
    assert (line, message) == (8, "no file is called like 'no/*.csv'")
    assert hint.startswith("looked in ")


def test_patterns_are_none_in_version_1_0(tmp_path):
    path = document(tmp_path, ["*.root"], {"kind": "root_tree", "tree": "events"}, version="1.0")
    assert faults(path)[0][1:] == (
        "no such file: *.root",
        "names are taken as they are written: list the files one by one",
    )
