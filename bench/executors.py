"""What the scheduler costs a task, over the executor's own cost: processes and a local Dask cluster.

    python bench/executors.py [--tasks 10000] [--workers 2] [--json FILE]

The tasks do nothing, so that all that is measured is the way there and back. *Plain* is the executor alone: every task
is submitted at once, and all results are waited for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fasthep_archive.context import NoProgress
from fasthep_archive.environment.packages import closure
from fasthep_archive.environment.snapshot import TOOL
from fasthep_archive.execution.admission import terms_of, tokens
from fasthep_archive.execution.away import Away, Refused
from fasthep_archive.execution.scheduler import Task, execute, process_pool
from fasthep_archive.execution.store import Store
from fasthep_archive.execution.worker import Done


def nothing(number: int = 0) -> Done:
    return Done(seconds=0.0, cpu_seconds=0.0, peak_memory=number)


def plain(
    submit: Callable[[Callable[[int], Done], int], object], results: Callable[[list], object], tasks: int
) -> float:
    begun = time.perf_counter()
    results([submit(nothing, number) for number in range(tasks)])
    return time.perf_counter() - begun


def ours(pool: Callable[[], Executor], in_flight: int, tasks: int) -> float:
    graph = [Task(name=f"task {number}", call=nothing) for number in range(tasks)]
    begun = time.perf_counter()
    failed = execute(graph, pool, in_flight=lambda: in_flight, finished=lambda _name, _done: None)
    assert not failed
    return time.perf_counter() - begun


@contextmanager
def kept(executor: Executor) -> Iterator[Callable[[], Executor]]:
    """Yield what returns one executor that has begun; the start of processes is not what is measured."""
    executor.submit(nothing).result()
    yield lambda: executor
    executor.shutdown()


def processes(tasks: int, workers: int) -> dict[str, float]:
    with ProcessPoolExecutor(workers) as executor:
        executor.submit(nothing).result()
        alone = plain(executor.submit, lambda futures: [future.result() for future in futures], tasks)
    with kept(process_pool(max(2, workers))) as pool:
        return {"plain": alone, "scheduler": ours(pool, 2 * workers, tasks)}


def dask(tasks: int, workers: int, directory: Path) -> dict[str, float]:
    from distributed import Client, LocalCluster

    from fasthep_archive.execution.executors_dask import Cluster, DaskLink

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        tokens(directory) as left,
    ):
        client.submit(nothing, -1).result()
        alone = plain(lambda call, number: client.submit(call, number, pure=False), client.gather, tasks)
        mapped = plain_map(client, tasks)
        store, refused = Store(directory / "store"), Refused(progress=NoProgress())
        link = DaskLink(client, refused, None)
        terms = terms_of(closure([TOOL]), left, directory)
        crew = Cluster(link=link, terms=terms, store=store, refused=refused)
        with kept(Away(link, terms, store, refused)) as pool:
            found = ours(pool, crew.in_flight, tasks)
        link.close()
    return {"plain": alone, "plain, mapped": mapped, "scheduler": found}


def plain_map(client: object, tasks: int) -> float:
    begun = time.perf_counter()
    client.gather(client.map(nothing, range(tasks), pure=False))  # type: ignore[attr-defined]
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o700)
        found = {
            "processes": processes(options.tasks, options.workers),
            "dask": dask(options.tasks, options.workers, Path(directory)),
        }
    each = {name: {how: 1e3 * took / options.tasks for how, took in times.items()} for name, times in found.items()}
    print(f"| executor | how | ms a task ({options.tasks} tasks, {options.workers} workers) |\n|---|---|---|")
    for name, times in each.items():
        for how, took in times.items():
            print(f"| {name} | {how} | {took:.3f} |")
    if options.json:
        options.json.write_text(json.dumps({"tasks": options.tasks, "workers": options.workers, "ms": each}, indent=1))


if __name__ == "__main__":
    main()
