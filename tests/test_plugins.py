"""Plug-ins that are really built and installed: a source and an operation, and one that provides a name twice."""

import json
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest

from fasthep_archive.archive import open_bundle
from fasthep_archive.archive.surroundings import roots
from fasthep_archive.report.foreign import needed
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

OPERATION = """
from dataclasses import dataclass

@dataclass
class Scale:
    by: float = 2.0
    columns = ("x",)
    returns = {"y": "float64"}

    def run(self, events):
        return {"y": events.x * self.by}
"""
ACCESSOR = """
class Square:
    columns = ("x",)
    returns = {"squared": "float64"}

    def run(self, events):
        return {"squared": events.x ** 2}
"""
SOURCE = """
import awkward as ak

class Lines:
    def read(self, path, options):
        return ak.Array({"x": [float(line) for line in path.read_text().split()]})
"""
SINK = """
from dataclasses import dataclass

@dataclass
class Numbers:
    separator: str = " "
    suffix = ".txt"

    def write(self, path, events):
        path.write_text(self.separator.join(map(str, events.y.tolist())))
"""
FASTHEP = """
import awkward as ak

class Above:
    spec = {
        "kind": "transform",
        "result": {"kind": "event_stream"},
        "requires": {"symbols": [{"kind": "field", "from": "params.field"}]},
        "provides": {"symbols": ["twice"]},
    }
    selects = True

    @staticmethod
    def impl(*, stream, ctx, field, least):
        stream = stream[stream[field] > least]
        return {"stream": ak.with_field(stream, stream[field] * 2, "twice")}


class End(Above):
    spec = {"kind": "sink"}
"""
DOCUMENT = """
version: "1.1"
data: {datasets: [{name: a, files: [a.txt], eventtype: data}]}
sources: {events: {kind: lines}}
analysis:
  stages:
    - {id: Scaled, op: demo.scale, params: {by: 3}}
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {large: ["y > 5"]}}, write: [{kind: csv, path: y.csv, keep: [x, y]}]}
"""


def built(folder, name, module, points):
    """Return the wheel of a distribution with one module."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(module)
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n{points}\n[tool.setuptools]\npy-modules = ["{name}"]\n'
    )
    options = ["--no-deps", "--no-index", "--no-build-isolation", "-q", "-w", str(folder / "out")]
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(folder), *options], check=True)
    return next((folder / "out").glob("*.whl"))


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of an environment with this package, the source, and the operation."""
    root = tmp_path_factory.mktemp("plugged")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    site = next((root / "venv").glob("lib/python*/site-packages"))
    (site / "all.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    group = '[project.entry-points."fasthep_archive.{}"]\n{}'
    sides = group.format("sources", 'lines = "demosides:Lines"') + "\n"
    sides += group.format("sinks", 'numbers = "demosides:Numbers"')
    operations = '"demo.scale" = "demoscale:Scale"\n"demo.above" = "demoscale:Above"\n"demo.end" = "demoscale:End"'
    scales = group.format("operations", operations) + "\n"
    scales += group.format("accessors", '"demo.square" = "demoscale:Square"')
    wheels = [
        built(root / "s", "demosides", SOURCE + SINK, sides),
        built(root / "o", "demoscale", OPERATION + FASTHEP + ACCESSOR, scales),
    ]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, *map(str, wheels)], check=True)
    return root / "venv" / "bin" / "python"


def called(python, folder, *arguments):
    """Return what a command said, in a folder with the document and its data."""
    (folder / "a.txt").write_text("1\n2\n3\n")
    if not (folder / "w.yaml").exists():
        (folder / "w.yaml").write_text(DOCUMENT)
    command = [str(python), "-m", "fasthep_archive", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_source_and_an_operation_of_two_packages(python, tmp_path):
    done = called(python, tmp_path, "run", "w.yaml", "-o", "out", "-j", "1", "-q", "--no-cache")
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "out" / "files").rglob("*.csv")
    assert written.read_text().split() == ['"x","y"', "2.0,6.0", "3.0,9.0"]


FIELDS = """
version: "1.1"
data: {datasets: [{name: a, files: [a.txt], eventtype: data}]}
sources: {events: {kind: lines}}
fields: {X2: {stream: events, accessor: demo.square}}
analysis:
  stages:
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {large: ["X2 > 3"]}}, write: [{kind: csv, path: y.csv, keep: [X2]}]}
"""


def test_an_accessor_computes_a_field(python, tmp_path):
    (tmp_path / "w.yaml").write_text(FIELDS)
    done = called(python, tmp_path, "run", "w.yaml", "-o", "out", "-j", "1", "-q", "--no-cache")
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "out" / "files").rglob("*.csv")
    assert written.read_text().split() == ['"X2"', "4.0", "9.0"]


def test_an_accessor_that_nobody_provides_is_a_located_fault_with_the_nearest(python, tmp_path):
    (tmp_path / "w.yaml").write_text(FIELDS.replace("demo.square", "demo.sqare"))
    done = called(python, tmp_path, "check", "w.yaml")
    assert done.returncode == 2
    assert "w.yaml:5:41: there is no accessor 'demo.sqare'\n  hint: did you mean 'demo.square'?" in done.stderr


@pytest.mark.slow
def test_a_bundle_carries_the_wheels_of_its_plugins(python, tmp_path):
    done = called(python, tmp_path, "pack", "w.yaml", "-o", "w.crate.zip", "-j", "1", "-q", "--no-index")
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(tmp_path / "w.crate.zip").namelist()
    carried = [name.rpartition("/")[2] for name in names if name.endswith(".whl")]
    assert {name.partition("-")[0] for name in carried} >= {"demosides", "demoscale", "fasthep_archive"}
    with open_bundle(tmp_path / "w.crate.zip") as bundle:  # here, where they are not installed
        told = needed(bundle).rows
    assert ("source", "lines", "demosides 1.0") in told
    assert ("operation", "demo.scale", "demoscale 1.0") in told


def test_an_unknown_parameter_is_a_located_fault(python, tmp_path):
    (tmp_path / "w.yaml").write_text(DOCUMENT.replace("by: 3", "bye: 3"))
    done = called(python, tmp_path, "check", "w.yaml")
    assert done.returncode == 2
    assert "w.yaml:7:45: unknown parameter 'bye' of demo.scale" in done.stderr


@pytest.fixture
def rival(python, tmp_path):
    """Return what installs, for one test, a distribution that provides a name which another provides too."""
    site = next(python.parents[1].glob("lib/python*/site-packages"))

    def install(module, points):
        wheel = built(tmp_path / "r", "demorival", module, points)
        options = ["-q", "--no-index", "--no-deps", "--target", str(tmp_path / "rival")]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
        (site / "rival.pth").write_text(f"{tmp_path / 'rival'}\n")

    yield install
    (site / "rival.pth").unlink(missing_ok=True)


GROUP = '[project.entry-points."fasthep_archive.{}"]\n{}'


def test_a_name_that_two_provide_is_refused_naming_both_and_listed_twice(python, rival, tmp_path):
    rival(OPERATION, GROUP.format("operations", '"demo.scale" = "demorival:Scale"'))
    done = called(python, tmp_path, "check", "w.yaml")
    assert done.returncode == 2
    assert "'demo.scale' is provided more than once: demorival 1.0, demoscale 1.0" in done.stderr
    done = called(python, tmp_path, "plugins")
    assert done.returncode == 0
    lines = [line.split()[1:4] for line in done.stdout.splitlines() if "demo.scale" in line]
    assert lines == [["demo.scale", "demorival", "1.0"], ["demo.scale", "demoscale", "1.0"]]


def test_a_source_that_two_provide_is_refused_naming_both(python, rival, tmp_path):
    rival(SOURCE, GROUP.format("sources", 'lines = "demorival:Lines"'))
    done = called(python, tmp_path, "check", "w.yaml")
    assert done.returncode == 2
    assert "source 'lines' is provided more than once: demorival 1.0, demosides 1.0" in done.stderr


def test_plugins_are_listed_with_who_provides_them(python, tmp_path):
    done = called(python, tmp_path, "plugins", "--json")
    found = [(item["kind"], item["name"], item["provider"], item["version"]) for item in json.loads(done.stdout)]
    assert found == [
        ("accessor", "demo.square", "demoscale", "1.0"),
        ("operation", "demo.above", "demoscale", "1.0"),
        ("operation", "demo.end", "demoscale", "1.0"),
        ("operation", "demo.scale", "demoscale", "1.0"),
        ("source", "lines", "demosides", "1.0"),
        ("sink", "numbers", "demosides", "1.0"),
    ]


def written(folder):
    """Return the texts of the files that a run has written, by name."""
    return {path.name: path.read_text() for path in (folder / "out" / "files").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "when",
    ["final", pytest.param("dataset", marks=pytest.mark.slow), pytest.param("partition", marks=pytest.mark.slow)],
)
def test_a_sink_writes_the_kept_columns(python, tmp_path, when):
    sink = f"{{kind: numbers, path: all, separator: ';', keep: [y], when: {when}}}"
    (tmp_path / "w.yaml").write_text(DOCUMENT.replace("{kind: csv, path: y.csv, keep: [x, y]}", sink))
    done = called(python, tmp_path, "run", "w.yaml", "-o", "out", "-j", "1", "-q", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert list(written(tmp_path).values()) == ["6.0;9.0"]
    assert all(name.endswith(".txt") for name in written(tmp_path))


def test_an_operation_of_fasthep_selects_events_and_adds_a_field(python, tmp_path):
    operation = "{id: Scaled, op: demo.above, params: {field: x, least: 1.5}}"
    text = DOCUMENT.replace("{id: Scaled, op: demo.scale, params: {by: 3}}", operation)
    (tmp_path / "w.yaml").write_text(text.replace("y > 5", "twice > 0").replace("[x, y]", "[x, twice]"))
    done = called(python, tmp_path, "run", "w.yaml", "-o", "out", "-j", "1", "-q", "--no-cache")
    assert done.returncode == 0, done.stderr
    (text,) = written(tmp_path).values()
    assert text.split() == ['"x","twice"', "2.0,4.0", "3.0,6.0"]


def test_an_operation_of_fasthep_that_is_no_transform_is_refused(python, tmp_path):
    (tmp_path / "w.yaml").write_text(DOCUMENT.replace("op: demo.scale, params: {by: 3}", "op: demo.end"))
    done = called(python, tmp_path, "check", "w.yaml")
    assert done.returncode == 2
    assert "is a sink of FAST-HEP, and only transforms can be stages here" in done.stderr


def test_what_the_code_of_an_analysis_imports_is_recorded_with_what_it_needs(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "used.py").write_text("import bagit\n\ndef one():\n    return {'one': 1.0}\n")
    (tmp_path / "w.yaml").write_text(
        'version: "1.1"\ncode: {path: code}\ndata: {datasets: [{name: a, files: [a.npz], eventtype: data}]}\n'
        "sources: {events: {kind: npz}}\nanalysis:\n  stages:\n"
        '    - {id: All, op: hep.selection.cutflow, params: {selection: {All: ["x > 0"]}}}\n'
        '    - {id: One, op: run.python, from: [{node: All}], params: {callable: "used:one", returns: {values: [one]}}}\n'
    )
    np.savez(tmp_path / "a.npz", x=np.arange(3.0))
    workflow, faults = build(load(tmp_path / "w.yaml"))
    assert not faults
    assert roots(workflow, tmp_path / "cache") == ("fasthep-archive", "bagit")


@pytest.fixture(scope="module")
def bundle(python, tmp_path_factory):
    """Return a bundle that needs two plug-ins."""
    folder = tmp_path_factory.mktemp("packed")
    done = called(python, folder, "pack", "w.yaml", "-o", "w.crate.zip", "-j", "1", "-q", "--no-index")
    assert done.returncode == 0, done.stderr
    return folder / "w.crate.zip"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["inspect {0}", "verify {0}", "diff {0} {0}", "hydrate {0} -o b.crate.zip --no-index"])
def test_a_bundle_is_read_without_its_plugins(bundle, tmp_path, verb):
    done = called(sys.executable, tmp_path, *verb.format(bundle).split())
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or verb.startswith("hydrate"), done.stderr  # what other wheels are at hand is not ours
    assert "demo.scale" not in done.stderr


@pytest.mark.slow
def test_a_replay_here_says_which_plugins_are_missing(bundle, tmp_path):
    done = called(sys.executable, tmp_path, "replay", str(bundle), "-o", "again", "--yes", "--env", "current", "-q")
    assert done.returncode == 2
    assert "it needs packages that are not installed here: demoscale 1.0, demosides 1.0" in done.stderr
    assert "--env auto" in done.stderr


@pytest.mark.slow
def test_a_replay_rebuilds_the_environment_with_the_plugins(python, tmp_path):
    """Everything but the plug-ins comes from the package index: a lock without its hashes can't be rebuilt."""
    bundle = tmp_path / "w.crate.zip"
    done = called(python, tmp_path, "pack", "w.yaml", "-o", str(bundle), "-j", "1", "-q")
    assert done.returncode == 0, done.stderr
    done = called(
        sys.executable, tmp_path, "replay", str(bundle), "-o", "again", "--yes", "--env", "auto", "--json", "-q"
    )
    assert done.returncode == 0, done.stderr
