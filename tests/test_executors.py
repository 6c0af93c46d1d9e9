"""Beyond one machine: whatever gives the tasks to workers, and whatever becomes of these, the bytes are those of -j 1."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from command import EPOCH, Command, with_kernels, words
from interrupted import CHUNK, Toy, made, product

import fasthep_archive
from fasthep_archive.context import Context, NoProgress
from fasthep_archive.digest import of_file
from fasthep_archive.environment.packages import closure
from fasthep_archive.environment.snapshot import TOOL
from fasthep_archive.errors import DataError, UsageError
from fasthep_archive.execution import executors
from fasthep_archive.execution.admission import Terms, examine, terms_of, tokens
from fasthep_archive.execution.away import Refused
from fasthep_archive.execution.devices import Devices
from fasthep_archive.execution.errands import Refusal, Sight, agree
from fasthep_archive.execution.executors import EXECUTORS, Kind, Request, chosen
from fasthep_archive.execution.store import Store

PATIENCE = 60.0
EVENTS = 200_000
PASSES = EVENTS // CHUNK

NOTHING_ASKED = Request(
    argument="",
    workers=1,
    context=Context(cache=Path(), now=datetime.fromtimestamp(0, UTC), measured=False, workers=1, progress=NoProgress()),
    store=Store(Path()),
    packages=(),
    ordinals=(),
)

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="needs distributed: pip install distributed")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Toy:
    return made(tmp_path_factory.mktemp("toy"), EVENTS, kernel_cache)


def asked(toy: Toy, out: Path, executor: str) -> tuple[str | Path, ...]:
    return ("run", toy.workflow, "-o", out, "--chunk", str(CHUNK), "-j", "2", "--executor", executor)


def until(condition: object, what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, f"{what} within {PATIENCE} s"
        time.sleep(0.005)


def results(command: Command) -> int:
    return sum(1 for path in (command.cache / "store").glob("[0-9a-f][0-9a-f]/*") if not path.name.startswith("."))


def under_way(command: Command, process: subprocess.Popen[str]) -> None:
    until(lambda: results(command) >= 10 or process.poll() is not None, "the run gets going")
    assert process.poll() is None, process.communicate()


# --- a cluster of separate processes ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Dask scheduler on loopback, started like its workers as people start them, in processes of their own."""

    directory: Path
    scheduler: subprocess.Popen[bytes]
    stack: ExitStack

    @property
    def file(self) -> Path:
        return self.directory / "scheduler.json"

    @property
    def address(self) -> str:
        return json.loads(self.file.read_text())["address"]

    def worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until it has registered."""
        log = self.directory / f"worker-{len(list(self.directory.glob('worker-*')))}"
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", self.directory / "scratch")
        process = self.stack.enter_context(
            started("worker", "--scheduler-file", self.file, *options, log=log, cwd=self.directory, **variables)
        )
        until(lambda: "Registered to" in log.read_text() or process.poll() is not None, "the worker registers")
        assert process.poll() is None, log.read_text()
        return process


@contextmanager
def started(what: str, *arguments: str | Path, log: Path, cwd: Path, **variables: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, arguments)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **variables}
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster_in(directory: Path, workers: int) -> Iterator[Cluster]:
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", directory / "scheduler.json")
    with ExitStack() as stack:
        process = stack.enter_context(started("scheduler", *options, log=directory / "scheduler.log", cwd=directory))
        cluster = Cluster(directory=directory, scheduler=process, stack=stack)
        until(lambda: cluster.file.exists() or process.poll() is not None, "the scheduler starts")
        for _ in range(workers):
            cluster.worker()
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="needs distributed: pip install distributed")
    with cluster_in(tmp_path_factory.mktemp("cluster"), workers=2) as made:
        yield made


@dataclass(frozen=True, kw_only=True)
class RanThere:
    record: dict
    out: Path


@pytest.fixture(scope="module")
def ran_there(cluster: Cluster, toy: Toy, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RanThere:
    """Return a run on the cluster."""
    directory = tmp_path_factory.mktemp("there")
    command = Command(cache=with_kernels(directory / "cache", kernel_cache))
    done = command(*asked(toy, directory / "out", f"dask={cluster.address}"), "--json", "-q")
    assert done.stderr == ""
    assert not list(command.cache.rglob(".token-*"))
    return RanThere(record=json.loads(done.stdout), out=directory / "out")


def test_dask_leaves_the_bytes_of_one_worker(ran_there: RanThere, toy: Toy) -> None:
    assert product(ran_there.out) == toy.expected


def test_the_record_names_the_executor_and_not_where_it_is(ran_there: RanThere, cluster: Cluster) -> None:
    assert ran_there.record["measured"]["executor"] == "dask"
    assert cluster.address not in json.dumps(ran_there.record)


def test_the_record_says_what_each_task_took(ran_there: RanThere) -> None:
    tasks = ran_there.record["tasks"]
    assert len(tasks) == PASSES + 1
    assert {(task["status"], task["device"]) for task in tasks} == {("computed", "cpu")}


@pytest.mark.slow
def test_at_a_fixed_time_nothing_of_the_executor_is_recorded(
    cluster: Cluster, toy: Toy, fresh: Command, tmp_path: Path
) -> None:
    chunk = str(EVENTS // 4)
    words = ("run", toy.workflow, "-o", tmp_path / "out", "--chunk", chunk, "-q", "--json")
    here = fresh(*words, "--no-cache", SOURCE_DATE_EPOCH=EPOCH).stdout
    there = fresh(*words, "--no-cache", "--executor", f"dask={cluster.file}", SOURCE_DATE_EPOCH=EPOCH).stdout
    assert there == here


@pytest.mark.slow
def test_a_bundle_that_was_packed_on_dask_is_the_same_file(
    cluster: Cluster, fresh: Command, example: Path, example_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / example_bundle.name
    options = ("-q", "--no-index", "--executor", f"dask={cluster.address}")
    fresh("pack", "workflow.yaml", "-o", path, *options, cwd=example, SOURCE_DATE_EPOCH=EPOCH)
    assert path.read_bytes() == example_bundle.read_bytes()
    fresh("replay", path, "-o", tmp_path / "out", "--yes", "-q", "--env", "current", "--executor", options[-1])


def test_a_worker_that_is_killed_costs_nothing_but_time(
    cluster: Cluster, toy: Toy, fresh: Command, tmp_path: Path
) -> None:
    worker = cluster.worker()
    process = fresh.start(*asked(toy, tmp_path / "out", f"dask={cluster.address}"), "-q")
    under_way(fresh, process)
    worker.kill()
    _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (0, "")
    assert product(tmp_path / "out") == toy.expected


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_goes_on_here(
    cluster: Cluster, toy: Toy, fresh: Command, tmp_path: Path
) -> None:
    process = fresh.start(*asked(toy, tmp_path / "out", f"dask={cluster.address}"), "-q")
    under_way(fresh, process)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert told == "interrupted; what was finished is kept, and the same command goes on from there\n"
    ran = fasthep_archive.run(toy.workflow, tmp_path / "out", workers=1, chunk=CHUNK, cache=fresh.cache)
    assert [task.done for task in ran.record.tasks].count(None) >= 10
    assert product(tmp_path / "out") == toy.expected


def test_results_travel_where_workers_do_not_see_the_store(
    cluster: Cluster, toy: Toy, kernel_cache: Path, tmp_path: Path
) -> None:
    """The same path leads each process to a directory of its own."""
    with_kernels(tmp_path / "cache", kernel_cache)
    command = Command(cache=Path("/proc/self/cwd/cache"))
    words = list(asked(toy, tmp_path / "out", f"dask={cluster.address}"))
    words[words.index(str(CHUNK))] = str(EVENTS // 20)
    done = command(*words, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert "results travel to this machine" in done.stderr
    assert product(tmp_path / "out") == toy.expected
    assert results(Command(cache=tmp_path / "cache")) == 20 + 1


@contextmanager
def another_numpy(cluster: Cluster, directory: Path) -> Iterator[str]:
    """Start a worker in an environment that looks as if NumPy were another; yield why it gets no work.

    Metadata that shadow NumPy's are what an environment with another version looks like.
    """
    shadow = directory / "shadow" / "numpy-0.9.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.9\n")
    worker = cluster.worker(PYTHONPATH=os.pathsep.join([str(shadow.parent), os.environ.get("PYTHONPATH", "")]))
    yield f"gets no work: numpy is 0.9 there, {version('numpy')} here"
    worker.kill()
    worker.wait()


def test_a_worker_with_another_package_gets_no_work(cluster: Cluster, toy: Toy, fresh: Command, tmp_path: Path) -> None:
    with another_numpy(cluster, tmp_path) as why:
        done = fresh(*asked(toy, tmp_path / "out", f"dask={cluster.address}"))
    assert why in done.stderr
    assert product(tmp_path / "out") == toy.expected


@pytest.mark.slow
@needs_dask
def test_a_run_without_a_worker_that_can_have_work_says_why(toy: Toy, fresh: Command, tmp_path: Path) -> None:
    with cluster_in(tmp_path, workers=0) as cluster, another_numpy(cluster, tmp_path) as why:
        told = fresh(*asked(toy, tmp_path / "out", f"dask={cluster.address}"), "-q", status=3).stderr
    assert told.startswith("error: no worker can be given work\na worker on tcp://127.0.0.1:")
    assert why in told


@needs_dask
def test_a_lost_scheduler_is_told_and_what_was_finished_is_kept(toy: Toy, fresh: Command, tmp_path: Path) -> None:
    with cluster_in(tmp_path, workers=1) as cluster:
        process = fresh.start(*asked(toy, tmp_path / "out", f"dask={cluster.file}"), "-q")
        under_way(fresh, process)
        cluster.scheduler.kill()
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 3, told
        assert told.startswith(f"error: the Dask scheduler at {cluster.address} is gone\n\nhint: what was finished is")
    ran = fasthep_archive.run(toy.workflow, tmp_path / "out", workers=1, chunk=CHUNK, cache=fresh.cache)
    assert [task.done for task in ran.record.tasks].count(None) >= 10
    assert product(tmp_path / "out") == toy.expected


JOBQUEUE = """
jobqueue:
  local: {{name: dask-worker, cores: 1, processes: 1, memory: 1GB, interface: lo, death-timeout: 60,
    local-directory: {scratch}, shared-temp-directory: {scratch}, extra: [], worker-command: distributed.cli.dask_worker,
    worker-extra-args: [--no-dashboard], job-script-prologue: [], job-extra-directives: [], job-extra-directives-skip: [],
    job-directives-skip: [], log-directory: null, nanny: false, python: null, walltime: null, queue: null, account: null,
    scheduler-options: {{}}}}
"""


@pytest.mark.slow
def test_jobs_as_the_configuration_of_dask_jobqueue_says_do_the_work(toy: Toy, fresh: Command, tmp_path: Path) -> None:
    """With its jobs on this machine: HTCondor's and Slurm's differ in how a job is handed in."""
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: pip install dask-jobqueue")
    (tmp_path / "queue.yaml").write_text(JOBQUEUE.format(scratch=tmp_path))
    fresh(*asked(toy, tmp_path / "out", f"dask={tmp_path / 'queue.yaml'}"), "-q")
    assert product(tmp_path / "out") == toy.expected


# --- MPI --------------------------------------------------------------------------------------------------------------


def test_mpi_leaves_the_bytes_of_one_worker(toy: Toy, fresh: Command, tmp_path: Path) -> None:
    if shutil.which("mpiexec") is None or find_spec("mpi4py") is None:
        pytest.skip("needs mpiexec and mpi4py: apt-get install openmpi-bin libopenmpi3, pip install mpi4py")
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_btl": "self,vader,tcp"}
    line = words(*asked(toy, tmp_path / "out", "mpi"), "-q")
    line[1:1] = ["-m", "mpi4py.futures"]
    done = subprocess.run(
        ["mpiexec", "--oversubscribe", "-n", "3", *line],
        env=fresh.environment(allowed),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert product(tmp_path / "out") == toy.expected


def test_mpi_without_mpiexec_is_an_error_that_shows_the_command() -> None:
    with pytest.raises(UsageError, match="hint: mpiexec -n"), EXECUTORS["mpi"].opens(NOTHING_ASKED):
        pass


# --- what a worker must have ------------------------------------------------------------------------------------------


@pytest.fixture
def terms(kernel_cache: Path, tmp_path: Path) -> Iterator[Terms]:
    with tokens(tmp_path / "store", kernel_cache) as left:
        yield replace(terms_of(closure([TOOL]), left, kernel_cache), shared=True)


def test_this_process_meets_its_own_terms(terms: Terms) -> None:
    found = examine(terms)
    assert (found.faults, found.shares) == ((), True)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"python": "cpython 2.7"}, "cpython 2.7 here"),
        ({"code": "0123"}, "the code of fasthep-archive is "),
        ({"packages": (("numpy", "0.9"),)}, f"numpy is {version('numpy')} there, 0.9 here"),
        ({"packages": (("no-such-package", "1"),)}, "no-such-package is not installed there"),
        ({"tokens": (Path("/nowhere/token"),)}, "does not see"),
    ],
)
def test_each_way_in_which_a_worker_differs_is_told(terms: Terms, changed: dict, fault: str) -> None:
    (found,) = examine(replace(terms, **changed)).faults
    assert fault in found


def test_tokens_are_removed(tmp_path: Path) -> None:
    with tokens(tmp_path) as (left,):
        assert left.exists()
    assert not list(tmp_path.iterdir())


def test_a_refused_worker_is_told_once() -> None:
    told: list[str] = []

    class Telling(NoProgress):
        def message(self, text: str) -> None:
            told.append(text)

    refused = Refused(progress=Telling())
    for _ in range(2):
        refused.add(Refusal(faults=("one", "other"), host="there", worker="w"))
    assert told == ["a worker on there gets no work: one; other"]
    assert refused.names == {"w"}


def sight(path: Path) -> Sight:
    state = path.stat()
    return Sight(path=path, size=state.st_size, changed=state.st_mtime_ns, sha256=of_file(path))


def test_a_copy_of_an_input_will_do(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"events")
    seen = sight(tmp_path / "input")
    os.utime(tmp_path / "input", (1, 1))
    agree(seen)


@pytest.mark.parametrize("content", [b"other!", b"longer than that"])
def test_another_file_at_the_place_of_an_input_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "input").write_bytes(b"events")
    seen = sight(tmp_path / "input")
    (tmp_path / "input").write_bytes(content)
    os.utime(tmp_path / "input", (1, 1))
    with pytest.raises(DataError, match="input is another file on"):
        agree(seen)


def test_an_input_that_a_worker_does_not_see_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"events")
    seen = sight(tmp_path / "input")
    (tmp_path / "input").unlink()
    with pytest.raises(DataError, match=r"can't be read on .*: No such file"):
        agree(seen)


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dsak", "there is no executor 'dsak'\n\nhint: did you mean 'dask'"),
        ("processes=4", "processes takes nothing after '='"),
        ("dask=", "dask takes a scheduler's address"),
    ],
)
def test_what_is_no_executor_is_an_error_of_the_user(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(text)
    assert message in str(caught.value)


def test_an_executor_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Kind(opens=executors._processes, imports=("no_such_module",), extra="dask")
    monkeypatch.setitem(EXECUTORS, "dask", missing)
    with pytest.raises(UsageError, match=r"pip install 'fasthep-archive\[dask\]'"):
        chosen("dask")


def test_gpus_of_other_machines_are_not_used() -> None:
    with pytest.raises(UsageError, match="--device gpu: with --executor dask, CPUs compute"):
        Devices(wanted="gpu").elsewhere("dask")


def test_a_stage_that_asks_for_a_gpu_is_told_that_cpus_compute() -> None:
    devices = Devices(wanted="auto", preferred={"Fit": "gpu"}).elsewhere("dask")
    assert devices.choose(["Fit"]).note == "Fit asks for a GPU; the CPU computes it: with --executor dask, CPUs compute"


@pytest.mark.slow
@needs_dask
def test_an_address_where_no_scheduler_answers_is_told(toy: Toy, fresh: Command, tmp_path: Path) -> None:
    told = fresh(*asked(toy, tmp_path / "out", "dask=tcp://127.0.0.1:9"), "-q", status=3).stderr
    assert told.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:9\n\nhint: start one")
