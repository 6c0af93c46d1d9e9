"""Whole passes on a device, with translated PTX in place of a GPU: the states of the CPU, byte for byte."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import uproot
from translated_device import TranslatedDevice, device

from fasthep_archive.archive.checking import checked
from fasthep_archive.context import Context, NoProgress
from fasthep_archive.data.source import open_events
from fasthep_archive.errors import DataError, TaskError
from fasthep_archive.execution import device_pass
from fasthep_archive.execution.device_pass import DevicePasses
from fasthep_archive.execution.devices import Devices
from fasthep_archive.execution.plan import Pass, Plan, Work
from fasthep_archive.execution.run import Results, run_plan
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.target import Target
from fasthep_archive.execution.worker import PassTask, states
from fasthep_archive.kernels.cuda.listing import Listing
from fasthep_archive.kernels.cuda.nvrtc import compiler
from fasthep_archive.operations.protocol import State
from fasthep_archive.workflow.document import load

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")

ROOT = Path(__file__).parents[1]
DEVICE = TranslatedDevice().description


@pytest.fixture(scope="session")
def passes(kernel_cache: Path) -> DevicePasses:
    return DevicePasses(device(), kernel_cache)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch):
    """Let the small files of tests have several pieces and blocks."""
    monkeypatch.setattr(device_pass, "PIECE", 1000)


def context(cache: Path) -> Context:
    return Context(cache=cache, now=datetime(2026, 1, 1, tzinfo=UTC), measured=True, workers=1, progress=NoProgress())


def planned(document: Path, cache: Path, chunk: int = 2000) -> Plan:
    return checked(load(document), context(cache), "read", chunk).plan


def works(plan: Plan) -> Iterator[tuple[Pass, Work]]:
    for step in plan.passes:
        if not any(name in step.variant.values for name, _ in step.variant.work(tuple(step.parts)).program.scalars):
            yield step, step.variant.work(tuple(step.parts))


def on_device(passes: DevicePasses, step: Pass, work: Work) -> Mapping[str, State]:
    with open_events(step.partition.file.path, step.partition.reads) as source:
        return passes.states(source, work, step.partition.start, step.partition.stop)


def equal(found: Mapping[str, State], expected: Mapping[str, State]) -> bool:
    assert list(found) == list(expected)
    for node, state in expected.items():
        assert found[node].header == state.header, node
        assert list(found[node].arrays) == list(state.arrays)
        for name, array in state.arrays.items():
            assert found[node].arrays[name].dtype == array.dtype
            assert found[node].arrays[name].tobytes() == array.tobytes(), (node, name)
    return True


def test_the_example_has_the_states_of_the_cpu(passes: DevicePasses, example: Path, kernel_cache: Path):
    done = [
        equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
        for step, work in works(planned(example / "workflow.yaml", kernel_cache))
    ]
    assert len(done) >= 3


@pytest.mark.slow
def test_variations_have_the_states_of_the_cpu(passes: DevicePasses, kernel_cache: Path):
    done = [
        equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
        for step, work in works(planned(ROOT / "examples" / "top_background" / "workflow.yaml", kernel_cache, 100_000))
    ]
    assert len(done) >= 3


REAL = {
    "tutorial": """
version: "1.0"
data: {datasets: [{name: ww, eventtype: mc, files: [CMS_HEP_tutorial_ww.root]}]}
sources: {events: {kind: root_tree, tree: events, stream_type: event_stream}}
analysis:
  stages:
    - id: Muons
      op: hep.define
      params:
        variables:
          - {name: Muon_Pt, expr: "sqrt(Muon_Px ** 2 + Muon_Py ** 2)"}
          - {name: Good, expr: "Muon_Iso / Muon_Pt < 0.10"}
          - {name: NGood, reduce: {op: count_nonzero, over: Good}, dtype: int8}
    - {id: Mass, op: hep.di_object_mass, params: {collection: Muon, mask: Good}}
    - id: Cuts
      op: hep.selection.cutflow
      params:
        weight_expr: EventWeight
        filter: none
        selection: {muons: ["NGood >= 2", "triggerIsoMu24 == 1", {reduce: {op: any, over: "Muon_Pt > 25"}}]}
    - id: Masses
      op: hep.hist
      params:
        weight_expr: EventWeight
        axes: [{name: m, source: DiMuon_Mass, type: regular, bins: {low: 60, high: 120, nbins: 60}}]
    - id: Selected
      op: hep.hist
      params:
        axes:
          - {name: pt, source: "Muon_Pt", type: variable, bins: {edges: [0, 20, 25, 40, 400]}}
          - {name: n, source: NGood, type: int}
""",
    "objects": """
version: "1.0"
data: {datasets: [{name: tt, eventtype: mc, files: [nanoAOD_2015_CMS_Open_Data_ttbar.root]}]}
sources: {events: {kind: root_tree, tree: Events, stream_type: event_stream}}
analysis:
  stages:
    - id: Muons
      op: hep.select_objects
      params:
        collection: Muon
        output: Good
        selection: ["pt > 5", "abs(eta) < 2.4"]
        keep: [pt, eta, phi, mass, charge]
        sort: {by: pt, order: descending}
    - id: Pairs
      op: hep.build_pairs
      params:
        collections: [Good]
        output: MM
        selection: {pair: ["lepton_1_charge * lepton_2_charge < 0"]}
        sort: {by: "abs(mass - 91.1876)", order: ascending}
        keep: {candidate: [pt, mass], constituents: [pt, charge]}
    - {id: Cuts, op: hep.selection.cutflow, params: {selection: {all: ["nGood >= 1"]}}}
    - id: Masses
      op: hep.hist
      params: {axes: [{name: m, source: MM_Z_mass, type: regular, bins: {low: 0, high: 200, nbins: 50}}]}
    - id: Momenta
      op: hep.hist
      params:
        axes:
          - {name: pt, source: Good_pt, type: regular, bins: {low: 0, high: 200, nbins: 50}}
          - {name: q, source: Good_charge, type: int}
""",
    "zmumu": """
version: "1.0"
data: {datasets: [{name: z, eventtype: data, files: [uproot-Zmumu.root]}]}
sources: {events: {kind: root_tree, tree: events, stream_type: event_stream}}
analysis:
  stages:
    - id: Mass
      op: hep.define
      params:
        variables:
          - {name: M2, expr: "2 * pt1 * pt2 * (cosh(eta1 - eta2) - cos(phi1 - phi2))", dtype: float32}
    - id: Masses
      op: hep.hist
      params:
        weight_expr: "exp(-pt1 / 50)"
        axes:
          - {name: m, source: "sqrt(M2)", type: regular, bins: {low: 60, high: 120, nbins: 60}}
          - {name: kind, source: Type, type: category}
          - {name: charge, source: Q1, type: int}
""",
}


def real(name: str, directory: Path, shared_data: Path) -> Path:
    for file in shared_data.glob("*.root"):
        (directory / file.name).symlink_to(file)
    path = directory / "workflow.yaml"
    path.write_text(REAL[name])
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_files_have_the_states_of_the_cpu(
    name: str, passes: DevicePasses, shared_data: Path, kernel_cache: Path, tmp_path: Path
):
    found = [
        equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
        for step, work in works(planned(real(name, tmp_path, shared_data), kernel_cache))
    ]
    assert len(found) >= 1


@pytest.mark.slow
def test_the_number_of_blocks_does_not_matter(example: Path, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_pass, "BLOCK", 97)
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    found = on_device(DevicePasses(TranslatedDevice(), kernel_cache), step, work)
    assert equal(found, states(step.partition, work, kernel_cache))


def test_an_empty_partition_has_empty_states(passes: DevicePasses, example: Path, kernel_cache: Path):
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    empty = replace(step, partition=replace(step.partition, stop=step.partition.start))
    assert equal(on_device(passes, empty, work), states(empty.partition, work, kernel_cache))


# Memory


def needed(step: Pass, work: Work, cache: Path, block: int) -> int:
    ample = TranslatedDevice()
    passes = DevicePasses(ample, cache)
    passes._block = block
    on_device(passes, step, work)
    return ample.most


@pytest.mark.slow
def test_blocks_are_halved_until_they_fit(example: Path, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_pass, "SMALLEST", 16)
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    most, least = (needed(step, work, kernel_cache, block) for block in (2000, 100))
    small = TranslatedDevice(memory=(most + 2 * least) // 3)
    passes = DevicePasses(small, kernel_cache)
    assert equal(on_device(passes, step, work), states(step.partition, work, kernel_cache))
    assert 100 <= passes._block < 1000
    assert small.most <= small.description.memory
    again = passes._block
    on_device(passes, step, work)
    assert passes._block == again


def test_a_device_that_is_too_small_is_told(example: Path, kernel_cache: Path):
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    small = TranslatedDevice(memory=200_000)
    with pytest.raises(TaskError, match=r"GPU 0: translated .* has no room for blocks of 1024 events: \d MiB are free"):
        on_device(DevicePasses(small, kernel_cache), step, work)


# Whole runs


def gpus(*ordinals: int) -> Devices:
    devices = tuple(replace(DEVICE, ordinal=ordinal) for ordinal in ordinals)
    return Devices(wanted="gpu", listing=Listing(devices=devices), opener=TranslatedDevice)


def outputs(results: Results) -> Mapping[str, bytes]:
    assert results.failures == ()
    return {output.name: output.content for found in results.outputs.values() for output in found}


SMALL = """
version: "1.0"
data: {datasets: [{name: dy, files: [data/dy.root]}, {name: top, files: [data/ttbar.root]}]}
sources: {events: {kind: root_tree, tree: events, stream_type: event_stream}}
analysis:
  stages:
    - {id: Muons, op: hep.define, params: {variables: [{name: Pt, expr: "sqrt(Muon_Px ** 2 + Muon_Py ** 2)"}]}}
    - {id: Cuts, op: hep.selection.cutflow, params: {selection: {all: ["triggerIsoMu24 == 1"]}, filter: none}}
    - id: Momenta
      op: hep.hist
      params: {weight_expr: EventWeight, axes: [{name: pt, source: Pt, type: regular, bins: {low: 0, high: 90, nbins: 9}}]}
"""


def small(directory: Path, example: Path) -> Path:
    """Return a document of whose passes nothing is read back before they end."""
    (directory / "data").symlink_to(example / "data")
    (directory / "workflow.yaml").write_text(SMALL)
    return directory / "workflow.yaml"


def test_a_run_on_gpus_leaves_the_bytes_of_the_cpu(example: Path, kernel_cache: Path, tmp_path: Path):
    """With two devices, each in a worker of its own, which is started as it is for real ones."""
    plan = planned(small(tmp_path, example), kernel_cache, chunk=500)
    on_cpu = run_plan(plan, Store(tmp_path / "cpu"), context(kernel_cache))
    on_gpu = run_plan(plan, Store(tmp_path / "gpu"), context(kernel_cache), gpus(0, 1))
    assert outputs(on_gpu) == outputs(on_cpu)
    used = {task.done.device for task in on_gpu.tasks if task.name.startswith("pass") and task.done}
    assert used <= {str(replace(DEVICE, ordinal=ordinal)) for ordinal in (0, 1)}
    assert used
    assert {task.done.device for task in on_cpu.tasks if task.done} == {"cpu"}


# Faults


def task(step: Pass, work: Work, cache: Path, store: Path, target: Target | None) -> PassTask:
    keys = {fill.node: step.parts[fill.node] for fill in work.fills}
    return PassTask(partition=step.partition, work=work, keys=keys, store=Store(store), cache=cache, target=target)


def misfits(directory: Path, shared_data: Path, cache: Path) -> tuple[Pass, Work]:
    text = (
        REAL["zmumu"]
        .replace('phi2))", dtype: float32', 'phi2))", dtype: int8')
        .replace("          - {name: M2", '          - {name: E, expr: "E1", dtype: uint8}\n          - {name: M2')
        .replace("{name: charge, source: Q1, type: int}", "{name: charge, source: E, type: int}")
    )
    for file in shared_data.glob("*.root"):
        (directory / file.name).symlink_to(file)
    (directory / "workflow.yaml").write_text(text)
    return next(works(planned(directory / "workflow.yaml", cache)))


def test_a_value_that_does_not_fit_is_told_as_on_the_cpu(shared_data: Path, kernel_cache: Path, tmp_path: Path):
    step, work = misfits(tmp_path, shared_data, kernel_cache)
    target = Target(opener=TranslatedDevice, ordinals=(0,))
    errors = [task(step, work, kernel_cache, tmp_path / "s", place)().failures for place in (None, target)]
    assert [str(error) for error in errors[1].values()] == [str(error) for error in errors[0].values()]
    assert "does not fit" in str(errors[1]["Masses"])


def test_a_file_that_cannot_be_read_is_told_as_on_the_cpu(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is found by the thread that reads."""
    (tmp_path / "data").mkdir()
    for path in (example / "data").glob("*.root"):
        content = bytearray(path.read_bytes())
        with uproot.open(path) as file:
            place = int(file["events"]["Muon_Py"].basket_key(0).fSeekKey) + 100
        content[place : place + 1000] = bytes(1000)
        (tmp_path / "data" / path.name).write_bytes(content)
    (tmp_path / "workflow.yaml").write_text(SMALL)
    plan = planned(tmp_path / "workflow.yaml", kernel_cache)
    target = Target(opener=TranslatedDevice, ordinals=(0,))
    step, work = next(works(plan))
    errors = [task(step, work, kernel_cache, tmp_path / "s", place)().failures for place in (None, target)]
    assert errors[0]
    assert {node: str(error) for node, error in errors[1].items()} == {n: str(error) for n, error in errors[0].items()}
    assert all(step.partition.file.name in str(error) for error in errors[1].values())


def test_a_device_that_finds_what_is_not_there_is_not_believed(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def misled(*_: object) -> None:
        raise DataError("a value of event 3 does not fit")

    monkeypatch.setattr(DevicePasses, "_attempt", misled)
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    alone = work.alone(work.fills[0])
    done = task(step, alone, kernel_cache, tmp_path / "s", Target(opener=TranslatedDevice, ordinals=(0,)))()
    (error,) = done.failures.values()
    assert "finds a fault that the CPU does not" in str(error)


def test_what_cuda_has_not_is_computed_by_the_cpu_and_told(
    example: Path, kernel_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object) -> None:
        raise DataError("the target has no somersault of float64")

    monkeypatch.setattr("fasthep_archive.kernels.cuda.run.cuda_source", refused)
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    fresh = Target(opener=Another, ordinals=(0,))
    done = task(step, work, kernel_cache, tmp_path / "s", fresh)()
    assert (done.device, done.notes) == ("cpu", ("computed by the CPU: the target has no somersault of float64",))
    assert done.failures == {}


class Another(TranslatedDevice):
    """A device that no other test has opened."""


class Wrong(TranslatedDevice):
    """A device that computes something else."""

    def download(self, source, target) -> None:
        super().download(source, target)
        if target.dtype == np.float64 and target.size > 200:
            target[0] += 1.0


def test_a_device_that_computes_wrongly_is_refused(example: Path, kernel_cache: Path):
    step, work = next(works(planned(example / "workflow.yaml", kernel_cache)))
    with pytest.raises(TaskError, match="does not compute as the profile says: the GPU: "):
        on_device(DevicePasses(Wrong(), kernel_cache), step, work)
