"""The scheduler runs a graph on any executor; failures and lost workers take down only what they must."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fasthep_archive.execution.scheduler import LOST_WORKERS, InProcess, Task, execute, process_pool
from fasthep_archive.execution.worker import Done

NOTHING = Done(seconds=0.0, cpu_seconds=0.0, peak_memory=0)


@dataclass(frozen=True)
class Write:
    """Appends its name to a file; raises, or kills its process, the first ``deaths`` times."""

    log: Path
    name: str
    error: str = ""
    deaths: int = 0

    def __call__(self) -> Done:
        with self.log.open("a") as stream:
            stream.write(self.name + "\n")
        if self.error:
            raise ValueError(self.error)
        if self.log.read_text().splitlines().count(self.name) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return NOTHING


def run(tasks: list[Task], pool: Callable[[], Executor] = InProcess, in_flight: int = 4) -> tuple[list[str], dict]:
    finished: list[str] = []
    failed = execute(tasks, pool, in_flight=lambda: in_flight, finished=lambda name, _: finished.append(name))
    return finished, dict(failed)


def tasks(log: Path, *names: str, **needs: tuple[str, ...]) -> list[Task]:
    return [Task(name=name, call=Write(log, name), needs=needs.get(name, ())) for name in names]


def test_a_task_starts_after_those_that_it_needs(tmp_path: Path) -> None:
    graph = tasks(tmp_path / "log", "c", "b", "a", c=("a", "b"), b=("a",))
    assert run(graph) == (["a", "b", "c"], {})


@pytest.mark.parametrize("workers", [1, 2])
def test_the_process_pool_runs_everything_once(tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    names = [f"t{number}" for number in range(20)]
    finished, failed = run(tasks(log, *names), lambda: process_pool(workers))
    assert sorted(finished) == sorted(names)
    assert not failed
    assert sorted(log.read_text().split()) == sorted(names)


def test_a_failure_takes_down_only_what_depends_on_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    graph = [
        Task(name="bad", call=Write(log, "bad", error="no")),
        Task(name="after", call=Write(log, "after"), needs=("bad",)),
        Task(name="later", call=Write(log, "later"), needs=("after",)),
        Task(name="other", call=Write(log, "other")),
    ]
    finished, failed = run(graph, lambda: process_pool(2))
    assert finished == ["other"]
    assert str(failed["bad"].error) == "no"
    assert failed["after"].because == ("bad",)
    assert failed["later"].because == ("after",)


def test_a_lost_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    graph = [*tasks(log, *(f"t{number}" for number in range(6))), Task(name="dies", call=Write(log, "dies", deaths=1))]
    finished, failed = run(graph, lambda: process_pool(2), in_flight=2)
    assert not failed
    assert sorted(finished) == ["dies", *(f"t{number}" for number in range(6))]


def test_a_task_that_keeps_killing_its_worker_fails_and_the_rest_completes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    graph = [Task(name="dies", call=Write(log, "dies", deaths=99)), *tasks(log, "a", "b", "c")]
    finished, failed = run(graph, lambda: process_pool(2), in_flight=1)
    assert sorted(finished) == ["a", "b", "c"]
    assert list(failed) == ["dies"]
    assert log.read_text().split().count("dies") == LOST_WORKERS


class Counting(ThreadPoolExecutor):
    """Counts how much is in flight at most."""

    most = 0
    now = 0

    def submit(self, fn, /, *args, **kwargs) -> Future:
        Counting.now += 1
        Counting.most = max(Counting.most, Counting.now)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: setattr(Counting, "now", Counting.now - 1))
        return future


def test_work_in_flight_is_bounded(tmp_path: Path) -> None:
    run(tasks(tmp_path / "log", *(f"t{number}" for number in range(30))), lambda: Counting(1), in_flight=3)
    assert 1 <= Counting.most <= 3


def test_an_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    def interrupt() -> Done:
        raise KeyboardInterrupt

    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        run([Task(name="stop", call=interrupt), *tasks(log, "a", a=("stop",))])
    assert not log.exists()
