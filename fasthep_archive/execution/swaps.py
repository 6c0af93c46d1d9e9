"""Variations that read other files: a dataset's events come from another dataset, and count under its own name.

Other facts of the dataset (its cross section, its event type) are those of the files; the dataset that stands in is not
there on its own in that variation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fasthep_archive.workflow.model import Dataset, Variation, Workflow


def in_place(variation: Variation, workflow: Workflow) -> Mapping[str, Dataset]:
    """Return the datasets that stand in for others in ``variation``, by the name of the other."""
    known = {dataset.name: dataset for dataset in workflow.datasets}
    return {
        name: known[other]
        for name, other in variation.dataset_replace.items()
        if name in known and other in known and variation.applies(known[name])
    }


def left_out(variation: Variation, workflow: Workflow) -> frozenset[str]:
    """Return the datasets that are not there on their own in ``variation``."""
    swapped = in_place(variation, workflow)
    return frozenset(dataset.name for dataset in swapped.values()) - swapped.keys()


def datasets(variation: Variation | None, workflow: Workflow) -> tuple[Dataset, ...]:
    """Return the datasets of ``variation`` in the order of the document, as formulas know them."""
    if variation is None:
        return workflow.datasets
    swapped, absent = in_place(variation, workflow), left_out(variation, workflow)
    return tuple(
        replace(swapped[dataset.name], name=dataset.name, group=dataset.group) if dataset.name in swapped else dataset
        for dataset in workflow.datasets
        if dataset.name not in absent
    )
