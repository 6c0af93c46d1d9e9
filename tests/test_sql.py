"""Results of queries as events: SQLite, PostgreSQL (a real server) and DuckDB give what a Parquet file gives."""

import hashlib
import json
import math
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import duckdb
import numpy as np
import postgres
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import uproot
import yaml
from command import EPOCH

import fasthep_archive
from fasthep_archive.context import NoProgress
from fasthep_archive.data import sql_drivers
from fasthep_archive.data.sql import SqlError, access, write_snapshot
from fasthep_archive.data.sql_drivers import connected
from fasthep_archive.errors import WorkflowError
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import build, resolved
from fasthep_archive.workflow.queries import Connect, names

QUERY = "SELECT event, pt, njet, w FROM events WHERE sample = :sample ORDER BY event"
BY_NAME = {"sample": {"dataset": "name"}}
NAN = pytest.approx(math.nan, nan_ok=True)
HIST = {"name": "pt", "source": "pt", "type": "regular", "bins": {"low": 0, "high": 100, "nbins": 20}}
STAGES = [
    {"id": "Twice", "op": "hep.define", "params": {"variables": [{"name": "twice", "expr": "pt * 2"}]}},
    {
        "id": "Pt",
        "op": "hep.hist",
        "params": {"axes": [HIST], "weight_expr": "w"},
        "write": [
            {"kind": "root_tree", "when": "final", "path": "kept.root", "keep": ["event", "pt", "njet", "twice"]}
        ],
    },
]


def events(count: int = 400) -> pa.Table:
    """Return events of two samples; most of the first have no number of jets, which SQLite takes for integers."""
    draw = np.random.default_rng(7)
    number = np.arange(count)
    return pa.table(
        {
            "event": number,
            "sample": np.where(number % 2 == 0, "DY", "Größe"),
            "pt": draw.exponential(30, count),
            "njet": pa.array(draw.integers(0, 6, count), mask=number % 7 == 0),
            "w": draw.normal(1, 0.1, count),
        }
    )


def sqlite_file(path: Path, table: pa.Table, name: str = "events") -> None:
    types = {"int64": "INTEGER", "double": "REAL", "string": "TEXT"}
    columns = ", ".join(f"{entry.name} {types[str(entry.type)]}" for entry in table.schema)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {name} ({columns})")
        marks = ", ".join("?" * table.num_columns)
        connection.executemany(
            f"INSERT INTO {name} VALUES ({marks})", [tuple(row.values()) for row in table.to_pylist()]
        )


def duckdb_file(path: Path, table: pa.Table) -> None:
    with closing(duckdb.connect(str(path))) as connection:
        connection.register("given", table)
        connection.execute("CREATE TABLE events AS SELECT * FROM given")


def document(**changes: object) -> dict[str, object]:
    return {
        "version": "1.1",
        "data": {"datasets": [{"name": name, "files": ["sql://events"]} for name in ("DY", "Größe")]},
        "sources": {
            "events": {
                "kind": "sql",
                "connect": {"driver": "sqlite", "database": "events.db"},
                "query": QUERY,
                "parameters": BY_NAME,
            }
        },
        "analysis": {"stages": STAGES},
    } | changes


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A directory with a document, and the caches."""

    directory: Path
    cache: Path

    @property
    def workflow(self) -> Path:
        return self.directory / "workflow.yaml"

    def write(self, described: dict[str, object]) -> None:
        self.workflow.write_text(yaml.safe_dump(described, allow_unicode=True, sort_keys=False))

    def run(self, described: dict[str, object] | None = None, out: str = "out", **options: object):
        if described is not None:
            self.write(described)
        return fasthep_archive.run(self.workflow, self.directory / out, workers=1, cache=self.cache, **options)

    def fault(self, described: dict[str, object]) -> str:
        """Return the one fault of a run."""
        with pytest.raises(WorkflowError) as caught:
            self.run(described)
        (fault,) = caught.value.faults
        return str(fault)


@pytest.fixture
def desk(tmp_path: Path, kernel_cache: Path) -> Desk:
    sqlite_file(tmp_path / "events.db", events())
    return Desk(directory=tmp_path, cache=kernel_cache)


@pytest.fixture(scope="module")
def server():
    with postgres.server() as found:
        found.ingest("events", events())
        yield found


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEST_DB_PASSWORD", postgres.PASSWORD)
    return postgres.PASSWORD


def changed(described, **source):
    """Return the document with another source ``events``."""
    return described | {"sources": {"events": described["sources"]["events"] | source}}


def asked(connect, query, target, environ=None, **parameters):
    """Return the snapshot of a query, from the Parquet file that it is."""
    entry = Connect(**connect)
    reached = access(entry, environ or {})
    with connected(reached) as database, database.batches(query, tuple(parameters.values())) as result:
        write_snapshot(result, target, NoProgress().advance)
    return pq.read_table(target)


def of_sqlite(desk, query, **parameters):
    return asked(
        {"driver": "sqlite", "database": str(desk.directory / "events.db")}, query, desk.directory / "s", **parameters
    )


def of_duckdb(tmp_path, query, **parameters):
    path = tmp_path / "made.duckdb"
    if not path.exists():
        duckdb_file(path, events())
    return asked({"driver": "duckdb", "database": str(path)}, query, tmp_path / "s", **parameters)


def of_postgres(server, tmp_path, query, **parameters):
    environ = {"DB": server.full_uri}
    return asked({"driver": "postgresql", "uri": "env:DB"}, query, tmp_path / "s", environ, **parameters)


# The same events


def from_parquet(desk):
    table = events()
    for name in ("DY", "Größe"):
        rows = table.filter(pc.equal(table["sample"], name)).drop_columns(["sample"])
        pq.write_table(rows, desk.directory / f"{name}.parquet")
    datasets = [{"name": name, "files": [f"{name}.parquet"]} for name in ("DY", "Größe")]
    return document(data={"datasets": datasets}, sources={"events": {"kind": "workshop.parquet"}})


def from_duckdb(desk):
    duckdb_file(desk.directory / "events.duckdb", events())
    return changed(document(), connect={"driver": "duckdb", "database": "events.duckdb"})


def outputs(ran):
    return {item.name: (item.sha256, item.content) for item in ran.record.outputs}


def products(ran):
    """Return the products; a ROOT file has the time of its making in it."""
    return {
        item.name: item.content if item.name.endswith(".root") else (item.sha256, item.content)
        for item in ran.record.outputs
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory, kernel_cache):
    desk = Desk(directory=tmp_path_factory.mktemp("parquet"), cache=kernel_cache)
    return desk.run(from_parquet(desk))


def test_sqlite_gives_what_a_parquet_file_gives(desk, expected):
    assert products(desk.run(document())) == products(expected)


def test_duckdb_gives_what_a_parquet_file_gives(desk, expected):
    assert products(desk.run(from_duckdb(desk))) == products(expected)


def test_postgresql_gives_what_a_parquet_file_gives(desk, server, password, expected):
    connect = {"driver": "postgresql", "uri": server.uri, "user": postgres.USER, "password": "env:TEST_DB_PASSWORD"}
    assert products(desk.run(changed(document(), connect=connect))) == products(expected)


def test_the_products_are_those_of_numpy(expected):
    table = events()
    found = json.loads((expected.directory / "histograms" / "Pt.json").read_text())
    counts, _ = np.histogram(table["pt"].to_numpy(), bins=20, range=(0, 100), weights=table["w"].to_numpy())
    with uproot.open(expected.directory / "files" / "kept.root") as file:
        assert file["events"]["pt"].array().tolist() == [
            pt for name in ("DY", "Größe") for pt in table.filter(pc.equal(table["sample"], name))["pt"].to_pylist()
        ]
    assert sum(np.ravel(found["storage"]["values"])) == pytest.approx(table["w"].to_numpy().sum())
    assert counts.sum() <= sum(np.ravel(found["storage"]["values"]))


def test_equal_results_are_equal_files_whatever_the_database(desk, server, tmp_path):
    query = "SELECT event, sample, pt, njet, w FROM events ORDER BY event"
    made = []
    for number, find in enumerate((of_sqlite, of_duckdb)):
        find(desk if number == 0 else tmp_path, query)
        made.append((tmp_path / "s").read_bytes())
    of_postgres(server, tmp_path, query)
    made.append((tmp_path / "s").read_bytes())
    assert made[0] == made[1] == made[2]


def test_the_same_query_twice_gives_the_same_digest(desk):
    first, second = desk.run(document()), desk.run(out="again")
    assert [item.sha256 for item in first.record.inputs] == [item.sha256 for item in second.record.inputs]


def test_one_document_reads_queries_parquet_and_root_files(desk, expected):
    described = from_parquet(desk)
    rows = pq.read_table(desk.directory / "Größe.parquet").drop_columns(["njet"])
    with uproot.recreate(desk.directory / "more.root") as file:
        file["tree"] = {name: rows[name].to_numpy() for name in rows.column_names}
    stages = [STAGES[0], {key: value for key, value in STAGES[1].items() if key != "write"}]
    mixed = document(analysis={"stages": stages}) | {
        "data": {
            "datasets": [
                {"name": "DY", "files": ["sql://events"]},
                {"name": "Größe", "files": ["Größe.parquet"]},
                {"name": "Größe2", "files": ["more.root"]},
            ]
        }
    }
    ran = desk.run(changed(mixed, tree="tree"), out="mixed")
    assert [item.events for item in ran.record.inputs] == [200, 200, 200]
    assert described["sources"]["events"]["kind"] == "workshop.parquet"


def test_a_root_file_beside_queries_needs_its_tree_named(desk):
    with uproot.recreate(desk.directory / "more.root") as file:
        file["tree"] = {"pt": np.arange(3.0)}
    datasets = [{"name": "DY", "files": ["sql://events"]}, {"name": "more", "files": ["more.root"]}]
    message = desk.fault(document(data={"datasets": datasets}))
    assert "more.root is a ROOT file\n  hint: name its tree" in message


# What a result becomes


def test_numbers_texts_and_missing_values_of_postgresql(server, tmp_path):
    found = of_postgres(
        server,
        tmp_path,
        """SELECT i::smallint a, i b, i::bigint * 4611686018427387904 c, (i * 0.1)::real d, i * 0.1::float8 e, i > 1 f,
        'x' || i g, CASE WHEN i = 1 THEN i END h, 'NaN'::float8 k, ARRAY[i, i + 1] l, 'a'::char(2) m
        FROM generate_series(0, 1) i ORDER BY i;""",
    )
    assert found.to_pylist() == [
        {"a": 0, "b": 0, "c": 0, "d": 0.0, "e": 0.0, "f": False, "g": "x0", "h": None, "k": NAN, "l": [0, 1], "m": "a "},
        {"a": 1, "b": 1, "c": 2**62, "d": float(np.float32(0.1)), "e": 0.1, "f": False, "g": "x1", "h": 1, "k": NAN,
         "l": [1, 2], "m": "a "},
    ]  # fmt: skip
    kinds = ["int64"] * 3 + ["double"] * 2 + ["bool", "string", "int64", "double", "list<element: int64>", "string"]
    assert [str(kind) for kind in found.schema.types] == kinds


def test_numbers_texts_and_missing_values_of_duckdb(tmp_path):
    found = of_duckdb(
        tmp_path,
        """SELECT i::tinyint a, i::uinteger b, i c, (i * 0.1)::float d, i > 1 e, 'a'::enum('a', 'b') f,
        CASE WHEN i = 1 THEN 'x' END g, [i / 2] h FROM range(2) t(i) ORDER BY i""",
    )
    assert found.to_pylist()[1] == {
        "a": 1,
        "b": 1,
        "c": 1,
        "d": float(np.float32(0.1)),
        "e": False,
        "f": "a",
        "g": "x",
        "h": [0.5],
    }
    kinds = ["int64", "int64", "int64", "double", "bool", "string", "string", "list<element: double>"]
    assert [str(kind) for kind in found.schema.types] == kinds


def test_values_of_sqlite_that_are_missing_in_the_first_rows(desk):
    """Its driver takes such columns for integers, whatever comes later."""
    table = pa.table({name: [None] * 40_000 + [value] for name, value in [("i", 3), ("x", 1.5), ("t", "é")]})
    kinds = table.cast(pa.schema([("i", pa.int64()), ("x", pa.float64()), ("t", pa.string())]))
    sqlite_file(desk.directory / "events.db", kinds, "late")
    found = of_sqlite(desk, "SELECT x, t, i, x * 2 AS y FROM late")
    assert found.slice(40_000).to_pylist() == [{"x": 1.5, "t": "é", "i": 3, "y": 3.0}]
    assert [column.null_count for column in found.columns] == [40_000] * 4


def test_whole_numbers_and_others_in_one_column_of_sqlite_are_numbers(desk):
    found = of_sqlite(desk, "SELECT 1 AS x UNION ALL SELECT 2.5 UNION ALL SELECT NULL")
    assert found["x"].to_pylist() == [1.0, 2.5, None]


def test_lists_of_a_database_are_lists_in_formulas(desk):
    duckdb_file(desk.directory / "events.duckdb", events(10))
    query = "SELECT event, [x * 1.5::DOUBLE FOR x IN range(event)] AS pt FROM events ORDER BY event"
    axis = {"name": "n", "source": "n", "type": "regular", "bins": {"low": 0, "high": 60, "nbins": 6}}
    stages = [
        {"id": "Count", "op": "hep.define", "params": {"variables": [{"name": "n", "expr": "sum(pt)"}]}},
        {"id": "N", "op": "hep.hist", "params": {"axes": [axis]}},
    ]
    described = document(data={"datasets": [{"name": "all", "files": ["sql://events"]}]}, analysis={"stages": stages})
    connect = {"driver": "duckdb", "database": "events.duckdb"}
    ran = desk.run(changed(described, connect=connect, query=query, parameters=None))
    found = json.loads((ran.directory / "histograms" / "N.json").read_text())
    assert found["storage"]["values"] == [0, 5, 1, 1, 1, 1, 1, 0]


def test_row_groups_have_a_fixed_number_of_rows(tmp_path):
    of_duckdb(tmp_path, "SELECT i, i + 1 AS j FROM range(300000) t(i) ORDER BY i")
    groups = pq.ParquetFile(tmp_path / "s").metadata
    assert [groups.row_group(number).num_rows for number in range(3)] == [131_072, 131_072, 37_856]


def test_many_columns_make_small_row_groups(tmp_path):
    columns = ", ".join(f"i AS c{number}" for number in range(1024))
    of_duckdb(tmp_path, f"SELECT {columns} FROM range(5000) t(i)")
    assert pq.ParquetFile(tmp_path / "s").metadata.row_group(0).num_rows == 4096


def test_a_result_of_postgresql_with_parameters_is_read_in_pieces(server, tmp_path):
    found = of_postgres(server, tmp_path, "SELECT i FROM generate_series(1, 70000) i WHERE i > :low ORDER BY i", low=5)
    assert found["i"].to_pylist() == list(range(6, 70_001))


def test_parameters_are_values_and_never_text_of_the_query(desk):
    found = of_sqlite(desk, "SELECT :a AS a, :b AS b, :a AS c", a="x' OR '1'='1", b=2)
    assert found.to_pylist() == [{"a": "x' OR '1'='1", "b": 2, "c": "x' OR '1'='1"}]


def test_parameters_are_facts_of_the_dataset_or_values(desk):
    datasets = [{"name": "one", "files": ["sql://events"], "meta": {"low": 3}, "nevents": 2}]
    query = "SELECT event, pt, njet, w FROM events WHERE event >= :low AND event < :high AND :kind = 'mc' ORDER BY event LIMIT :n"
    parameters = {"low": {"dataset": "low"}, "high": 100, "kind": {"dataset": "eventtype"}, "n": {"dataset": "nevents"}}
    ran = desk.run(changed(document(data={"datasets": datasets}), query=query, parameters=parameters))
    (item,) = ran.record.inputs
    assert item.origin.parameters == {"low": 3, "high": 100, "kind": "mc", "n": 2}
    assert item.events == 2


def test_all_datasets_are_results_from_one_state_of_the_database(server, tmp_path):
    reached = access(Connect(driver="postgresql", uri="env:DB"), {"DB": server.full_uri})
    server.execute("CREATE TABLE moving AS SELECT 1 AS n")
    with connected(reached) as database:
        for _ in range(2):
            with database.batches("SELECT n FROM moving ORDER BY n", ()) as result:
                write_snapshot(result, tmp_path / "s", NoProgress().advance)
            server.execute("INSERT INTO moving VALUES (2)")
            assert pq.read_table(tmp_path / "s")["n"].to_pylist() == [1]


# Runs


def test_check_does_not_ask_the_database(desk):
    desk.write(document())
    (desk.directory / "events.db").unlink()
    found = fasthep_archive.check(desk.workflow, cache=desk.cache)
    warned = "sql://events/DY.parquet was not looked at: databases are asked when it is run or packed"
    assert warned in found.plan.warnings


def test_explain_says_that_a_result_changed(desk):
    desk.run(document())
    with closing(sqlite3.connect(desk.directory / "events.db")) as connection, connection:
        connection.execute("UPDATE events SET pt = 1 WHERE sample = 'DY'")
    told = fasthep_archive.explain(desk.workflow, cache=desk.cache)
    because = {line for task in told for line in task.because}
    assert "input sql://events/DY.parquet changed" in because
    assert not any("Gr" in line for line in because)


def test_a_result_without_an_order_is_worth_a_warning(desk):
    described = changed(document(), query=QUERY.replace(" ORDER BY event", ""))
    assert any("has no ORDER BY" in warning for warning in desk.run(described).record.warnings)


def test_another_state_of_the_database_leaves_the_file_that_a_run_may_read(desk):
    (first, _) = desk.run(document()).record.inputs
    with closing(sqlite3.connect(desk.directory / "events.db")) as connection, connection:
        connection.execute("DELETE FROM events WHERE event = 0")
    (second, _) = desk.run(out="again").record.inputs
    kept = [pq.read_table(desk.cache / "snapshots" / item.sha256[:32] / "DY.parquet") for item in (first, second)]
    assert [table.num_rows for table in kept] == [200, 199]


# Bundles


@pytest.fixture(scope="module")
def bundle(server, command, tmp_path_factory):
    """A bundle of events that a server with a password had."""
    directory = tmp_path_factory.mktemp("packed")
    connect = {"driver": "postgresql", "uri": "env:TEST_DB"}
    Desk(directory=directory, cache=command.cache).write(changed(document(), connect=connect))
    said = command(
        "pack", "workflow.yaml", "-o", "sql.crate.zip", "-j", "1", "--no-index", "--thin", "--data", "reference",
        cwd=directory, SOURCE_DATE_EPOCH=EPOCH, TEST_DB=server.full_uri,
    )  # fmt: skip
    return directory / "sql.crate.zip", said.stdout + said.stderr


def test_a_replay_needs_no_database_no_variable_and_no_driver(bundle, tmp_path, command):
    for name in ("adbc_driver_manager", "adbc_driver_postgresql", "adbc_driver_sqlite", "duckdb", "adbc_driver_duckdb"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')")
    words = ("replay", bundle[0], "-o", tmp_path / "again", "--yes", "--env", "current", "-j", "1")
    said = command(*words, PYTHONPATH=str(tmp_path))
    assert "2 of 2 outputs" in said.stdout


def test_the_password_is_nowhere(bundle):
    path, said = bundle
    with zipfile.ZipFile(path) as file:
        contents = [file.read(name) for name in file.namelist()]
    spellings = {postgres.PASSWORD, quote(postgres.PASSWORD), quote(postgres.PASSWORD, safe="")}
    texts = [*contents, path.read_bytes(), said.encode()]
    assert not [spelled for spelled in spellings for text in texts if spelled.encode() in text]


def test_a_bundle_has_the_snapshots_even_if_it_refers_to_other_inputs(bundle):
    with zipfile.ZipFile(bundle[0]) as file:
        assert [name for name in file.namelist() if name.startswith("data/inputs/")] == [
            "data/inputs/DY.parquet",
            "data/inputs/Gr__e.parquet",
        ]


def test_a_bundle_says_where_its_snapshots_came_from(bundle):
    with zipfile.ZipFile(bundle[0]) as file:
        resolved = json.loads(file.read("data/workflow/workflow.resolved.json"))
        record = json.loads(file.read("data/record/run.json"))
        graph = json.loads(file.read("ro-crate-metadata.json"))["@graph"]
        digest = hashlib.sha256(file.read("data/inputs/DY.parquet")).hexdigest()
    origin = resolved["sources"]["events"]["snapshots"][0]
    assert (origin["query"], origin["parameters"], origin["sha256"]) == (QUERY, {"sample": "DY"}, digest)
    assert origin["server"].startswith("PostgreSQL 1")
    assert origin["driver"] == f"adbc-driver-postgresql {metadata.version('adbc-driver-postgresql')}"
    assert record["inputs"][0]["origin"] == origin
    (described,) = [entity["description"] for entity in graph if entity["@id"] == "data/inputs/DY.parquet"]
    assert QUERY in described


def test_the_copied_document_names_the_snapshots(bundle):
    with zipfile.ZipFile(bundle[0]) as file:
        copied = yaml.safe_load(file.read("data/workflow/workflow.yaml"))
    assert copied["data"]["datasets"][0]["files"] == ["../inputs/DY.parquet"]
    assert copied["sources"]["events"]["query"] == QUERY


# Errors


def test_a_file_of_a_database_that_is_not_there(desk):
    message = desk.fault(changed(document(), connect={"driver": "sqlite", "database": "event.db"}))
    assert "no such file: event.db\n  hint: did you mean 'events.db'?" in message


def test_a_file_that_is_no_database(desk):
    (desk.directory / "text.db").write_text("text " * 1000)
    message = desk.fault(changed(document(), connect={"driver": "sqlite", "database": "text.db"}))
    assert "can't connect to text.db: " in message
    assert "not a database" in message


def test_a_server_that_does_not_answer(desk):
    message = desk.fault(changed(document(), connect={"driver": "postgresql", "uri": "postgresql://127.0.0.1:1/x"}))
    assert "can't connect to postgresql://127.0.0.1:1/x: " in message
    assert "Connection refused" in message


@pytest.mark.parametrize("whole", [False, True])
def test_a_wrong_password_is_told_and_not_shown(desk, server, monkeypatch, whole):
    monkeypatch.setenv("TEST_DB", f"{server.uri}?user=ana&password=wrong-one" if whole else "wrong-one")
    parts = {"uri": server.uri, "user": "ana", "password": "env:TEST_DB"}
    connect = {"driver": "postgresql"} | ({"uri": "env:TEST_DB"} if whole else parts)
    message = desk.fault(changed(document(), connect=connect))
    assert "password authentication failed" in message
    assert "wrong-one" not in message


@pytest.mark.parametrize(
    "uri", ["host=x password=se cret", "postgresql://ana:se@cr/et@h/db", "postgresql://a:se%cret@h/db"]
)
def test_pieces_of_an_address_that_can_not_be_read_are_not_shown(desk, monkeypatch, uri):
    monkeypatch.setenv("TEST_DB", uri)
    message = desk.fault(changed(document(), connect={"driver": "postgresql", "uri": "env:TEST_DB"}))
    assert not [
        piece
        for piece in ("se cret", "cret", "cr", "se%", '"se')
        if piece in message.partition("hint")[0].partition("yaml:")[2]
    ]


def test_a_variable_that_is_not_set(desk, monkeypatch):
    monkeypatch.delenv("TEST_DB", raising=False)
    message = desk.fault(changed(document(), connect={"driver": "postgresql", "uri": "env:TEST_DB"}))
    assert "the environment variable TEST_DB is not set\n  hint: set it where you run and pack" in message


def test_an_error_of_the_query_is_told_in_the_words_of_sqlite(desk):
    message = desk.fault(changed(document(), query="SELECT event, :sample, ORDER BY event"))
    assert "dataset 'DY': the query fails: Failed to prepare query: near \"ORDER\": syntax error" in message


def test_an_error_of_the_query_is_told_in_the_words_of_postgresql(server, tmp_path):
    with pytest.raises(SqlError) as caught:
        of_postgres(server, tmp_path, "SELECT event,\n  nope FROM events")
    assert caught.value.message == 'the query fails: column "nope" does not exist; LINE 2: nope FROM events'


def test_an_error_of_the_query_is_told_in_the_words_of_duckdb(tmp_path):
    with pytest.raises(SqlError, match=r'the query fails: Binder Error: Referenced column "nope" not found'):
        of_duckdb(tmp_path, "SELECT nope FROM events")


def test_an_error_within_a_result_is_told(server, tmp_path):
    with pytest.raises(SqlError) as caught:
        of_postgres(server, tmp_path, "SELECT 1 / (i - 100000) AS x FROM generate_series(1, 200000) i")
    assert caught.value.message == "the query fails: division by zero"


@pytest.mark.parametrize("statement", ["DELETE FROM events", "INSERT INTO events(event) VALUES (1) RETURNING event"])
def test_nothing_can_be_written(desk, server, tmp_path, statement):
    of_duckdb(tmp_path, "SELECT 1 AS x")
    for find in (
        lambda: of_sqlite(desk, statement),
        lambda: of_duckdb(tmp_path, statement),
        lambda: of_postgres(server, tmp_path, statement),
        lambda: of_postgres(server, tmp_path, f"WITH x AS ({statement}) SELECT * FROM x"),
    ):
        with pytest.raises(SqlError):
            find()


SEVERAL = ["ATTACH 'new.db' AS n", "COPY (SELECT 42 AS x) TO 'new.db'", "SELECT 1 AS x; SELECT 2 AS x", "-- none"]


@pytest.mark.parametrize("statement", SEVERAL)
def test_a_source_asks_one_query(desk, server, tmp_path, monkeypatch, statement):
    monkeypatch.chdir(tmp_path)
    of_duckdb(tmp_path, "SELECT 1 AS x")
    for find in (
        lambda: of_sqlite(desk, statement),
        lambda: of_duckdb(tmp_path, statement),
        lambda: of_postgres(server, tmp_path, statement),
    ):
        with pytest.raises(SqlError):
            find()
    assert not (tmp_path / "new.db").exists()


def test_what_is_no_query_is_named(desk, tmp_path):
    with pytest.raises(SqlError, match="this is no query, but ATTACH"):
        of_sqlite(desk, "/* a; b */ ATTACH 'new.db' AS n")
    with pytest.raises(SqlError, match="this is no query, but COPY") as caught:
        of_duckdb(tmp_path, "COPY events TO 'new.csv'")
    assert caught.value.hint == "a source asks one query, which reads: SELECT ..., WITH ... SELECT or VALUES ..."


@pytest.mark.parametrize(
    "query",
    ["SELECT ';' AS x; -- all; of it", "WITH a AS (SELECT ';' AS x) SELECT x FROM a;;", "\n-- a;\nSELECT ';' x"],
)
def test_semicolons_within_and_behind_a_query(desk, server, tmp_path, query):
    for found in (of_sqlite(desk, query), of_duckdb(tmp_path, query), of_postgres(server, tmp_path, query)):
        assert found.to_pylist() == [{"x": ";"}]


def test_queries_of_duckdb_read_the_database_alone(tmp_path):
    pq.write_table(events(), tmp_path / "other.parquet")
    with pytest.raises(SqlError, match="Permission Error: Cannot access file") as caught:
        of_duckdb(tmp_path, f"SELECT * FROM '{tmp_path}/other.parquet'")
    assert caught.value.hint.startswith("queries read the database alone: name the file among a dataset's files")


def test_a_query_without_rows_is_a_dataset_without_events(desk):
    datasets = [{"name": name, "files": ["sql://events"]} for name in ("DY", "none")]
    stages = [{**STAGES[1], "write": []}]
    ran = desk.run(document(data={"datasets": datasets}, analysis={"stages": stages}))
    assert "sql://events/none.parquet has no events: the query of 'events' gives no rows" in ran.record.warnings
    assert [item.name for item in ran.record.outputs if item.name.startswith("histograms")] == ["histograms/Pt.json"]


def test_a_result_without_rows_has_the_types_of_the_database(desk, server, tmp_path):
    query = "SELECT event, sample, pt, :low AS low FROM events WHERE event < :low"
    answers = (
        of_sqlite(desk, query, low=0),
        of_duckdb(tmp_path, query, low=0),
        of_postgres(server, tmp_path, query.replace(":low AS", "CAST(:low AS FLOAT8) AS"), low=0.0),
    )
    for found in answers:
        assert found.num_rows == 0
        assert [str(kind) for kind in found.schema.types[:3]] == ["int64", "string", "double"]


def test_a_column_of_texts_that_are_all_missing_is_told_without_a_path_of_the_cache(desk):
    connection = sqlite3.connect(desk.directory / "events.db")
    with closing(connection), connection:
        connection.execute("ALTER TABLE events ADD COLUMN lab TEXT")
    define = {"id": "L", "op": "hep.define", "params": {"variables": [{"name": "l", "expr": "lab == 'x'"}]}}
    described = changed(document(analysis={"stages": [define, *STAGES]}), query=QUERY.replace("w FROM", "w, lab FROM"))
    message = desk.fault(described)
    assert "column 'lab' lacks some of its texts\n" in message
    assert "in a query, coalesce(lab, 'none')" in message


@pytest.mark.parametrize("number", [2**62 + 1, 2**63 - 1, -(2**53) - 1])
def test_whole_numbers_that_others_in_one_column_of_sqlite_would_round_are_told(desk, number):
    query = f"SELECT 1.5 AS x UNION ALL SELECT 2 UNION ALL SELECT NULL UNION ALL SELECT {number}"
    with pytest.raises(SqlError) as caught:
        of_sqlite(desk, query)
    assert caught.value.message == f"row 4 of the query's result: column 'x' has {number}, which is no float64"
    found = of_sqlite(desk, f"SELECT CAST(x AS REAL) AS x FROM ({query})")
    assert found["x"].to_pylist() == [1.5, 2.0, None, float(number)]


@pytest.mark.parametrize(
    ("expression", "kind", "hint"),
    [
        (
            "1.5::numeric",
            "numeric",
            "write CAST(x AS DOUBLE PRECISION) AS x; of whole numbers, CAST(x AS BIGINT) AS x",
        ),
        ("now()", "timestamptz", "CAST(EXTRACT(EPOCH FROM x) AS BIGINT)"),
        ("1::money", "money", "CAST(CAST(x AS NUMERIC) AS DOUBLE PRECISION)"),
        ("'{}'::jsonb", "jsonb", "CAST(x AS TEXT)"),
        ("'a'::bytea", "bytea", "CAST(x AS TEXT)"),
    ],
)
def test_columns_of_postgresql_that_events_do_not_have(server, tmp_path, expression, kind, hint):
    with pytest.raises(SqlError) as caught:
        of_postgres(server, tmp_path, f"SELECT {expression} AS x")
    assert caught.value.message.startswith(f"column 'x' of the query's result has type {kind}: ")
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("expression", ["1.5::decimal(4, 1)", "now()", "1::ubigint", "'a'::blob", "{'a': 1}"])
def test_columns_of_duckdb_that_events_do_not_have(tmp_path, expression):
    with pytest.raises(SqlError, match="column 'x' of the query's result has type "):
        of_duckdb(tmp_path, f"SELECT {expression} AS x")


@pytest.mark.parametrize("query", ["SELECT x'00' AS x", "SELECT 1 AS x UNION ALL SELECT 'a'"])
def test_columns_of_sqlite_that_events_do_not_have(desk, query):
    with pytest.raises(SqlError, match="column 'x' of the query's result has values of type "):
        of_sqlite(desk, query)


def test_two_columns_of_one_name(desk):
    with pytest.raises(SqlError, match="the query gives 2 columns called 'pt'"):
        of_sqlite(desk, "SELECT pt, pt FROM events")


def test_a_driver_that_is_not_installed(monkeypatch):
    absent = replace(sql_drivers._DRIVERS["sqlite"], distributions=("adbc-driver-of-nobody",))
    monkeypatch.setattr(sql_drivers, "_DRIVERS", {"sqlite": absent})
    with pytest.raises(SqlError) as caught, connected(access(Connect(driver="sqlite", database="x"), {})):
        pass
    assert caught.value.message == "the driver adbc-driver-of-nobody is not installed"
    assert caught.value.hint == "pip install 'fasthep-archive[sql]'"


# Documents


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"connect": {"driver": "mysql", "database": "x"}}, "unknown driver of databases 'mysql'"),
        ({"connect": {"driver": "sqlite", "uri": "x"}}, "unknown key 'uri' in sources.events.connect"),
        ({"query": QUERY + " LIMIT :most"}, "the query has :most, and there is no such parameter"),
        ({"parameters": {**BY_NAME, "run": 1}}, "the query has no :run"),
        ({"parameters": {"sample": 2**63}}, "9223372036854775808 is no 64-bit integer"),
        ({"parameters": {"sample": {"dataset": "year"}}}, "parameter 'sample' of the query is 'year' of the dataset"),
        ({"connect": {"driver": "postgresql", "uri": "postgresql://ana@h/d"}}, "comes with a user's name"),
        ({"connect": {"driver": "sqlite", "database": "env:"}}, "'env:' is followed by the name of an environment"),
    ],
)
def test_faults_of_documents(desk, source, message):
    desk.write(changed(document(), **source))
    with pytest.raises(WorkflowError) as caught:
        fasthep_archive.check(desk.workflow, cache=desk.cache)
    assert message in str(caught.value.faults[0])


@pytest.mark.parametrize(
    "connect",
    [
        {"uri": "postgresql://ana:hunter2@host/db"},
        {"uri": "postgresql://host/db?password=hunter2"},
        {"uri": "host=db password=hunter2"},
        {"uri": "postgresql://host/db", "password": "hunter2"},
        {"uri": "postgresql://host/db", "password": 12345},
        {"uri": "postgresql://host/db", "password": "env:hunter2-is-no-name"},
        {"uri": "postgresql://host/db", "passwd": "hunter2"},
        "postgresql://ana:hunter2@host/db",
    ],
)
def test_a_password_in_a_document_is_a_fault_that_does_not_repeat_it(desk, connect):
    desk.write(
        changed(document(), connect=connect if isinstance(connect, str) else {"driver": "postgresql", **connect})
    )
    with pytest.raises(WorkflowError) as caught:
        fasthep_archive.check(desk.workflow, cache=desk.cache)
    told = str(caught.value)
    assert "hunter2" not in told
    assert "12345" not in told


def test_a_query_needs_its_source(desk):
    desk.write(document(data={"datasets": [{"name": "DY", "files": ["sql://event"]}]}))
    with pytest.raises(WorkflowError) as caught:
        fasthep_archive.check(desk.workflow, cache=desk.cache)
    assert "no source of kind sql has that id\n  hint: did you mean 'events'?" in str(caught.value)


def test_the_resolved_document_means_the_same(desk):
    desk.write(document())
    workflow, faults = build(load(desk.workflow))
    again, more = build(from_json(resolved(workflow), name="workflow"))
    assert not faults
    assert not more
    assert again == workflow


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT ':a', \":b\", `:c` -- :d\n, /* :e */ x::int, $$ :f $$, $q$ :g $q$, E'it\\'s :h', :i", ("i",)),
        ("SELECT a[1:2], b FROM e WHERE c=:x AND d<:x AND e>:y_1", ("x", "y_1")),
    ],
)
def test_parameters_are_found_where_sql_has_them(query, found):
    assert names(query) == found
