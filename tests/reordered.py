"""The command, with what the plan leaves open done in another order: what is ready to start, and what is added up.

    python tests/reordered.py reversed python -m fasthep_archive run ...
    python tests/reordered.py 7 python -m fasthep_archive run ...           shuffled, with the seed 7

Partitions are computed in that order, and the partial sums of histograms and cutflows are merged in it. An axis that
grows has its categories in the order of the events, which is that of the plan: such a histogram is merged as it is.
"""

import random
import runpy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import TypeVar

from fasthep_archive.execution import scheduler, worker
from fasthep_archive.execution.plan import Merge
from fasthep_archive.execution.worker import Done, MergeTask
from fasthep_archive.operations.cutflow import CutflowProduct
from fasthep_archive.operations.histogram import HistogramProduct

T = TypeVar("T")
Order = Callable[[Iterable[T]], list[T]]


def order_called(name: str) -> Order:
    """Return what puts things in order: the other way round, or shuffled by the seed that is the name."""
    if name == "reversed":
        return lambda items: list(items)[::-1]
    generator = random.Random(int(name))

    def shuffled(items: Iterable[T]) -> list[T]:
        found = list(items)
        generator.shuffle(found)
        return found

    return shuffled


def sorter(order: Order) -> type[TopologicalSorter[str]]:
    """Return a sorter that hands out what is ready in this order."""

    class Reordered(TopologicalSorter[str]):
        def get_ready(self) -> tuple[str, ...]:
            return tuple(order(super().get_ready()))

    return Reordered


def merging(order: Order) -> Callable[[MergeTask], Done]:
    """Return how parts are merged in this order."""
    usual = MergeTask.__call__

    def merged(task: MergeTask) -> Done:
        return usual(replace(task, merge=reordered(task.merge, order)))

    return merged


def reordered(merge: Merge, order: Order) -> Merge:
    """Return the merge with its parts in this order, if it only adds up."""
    product = merge.product
    adds = isinstance(product, CutflowProduct)
    if isinstance(product, HistogramProduct):
        adds = all(axis.type not in ("int", "category") or axis.categories is not None for axis in product.hist.axes)
    return replace(merge, parts=tuple(order(merge.parts))) if adds else merge


def main(words: Sequence[str]) -> None:
    """Run the command that follows the name of an order."""
    order = order_called(words[0])
    scheduler.TopologicalSorter = sorter(order)  # type: ignore[misc]
    worker.MergeTask.__call__ = merging(order)  # type: ignore[method-assign]
    at = words.index("-m")
    sys.argv = list(words[at + 1 :])
    runpy.run_module(words[at + 1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
