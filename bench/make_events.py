"""Writes the seeded ROOT file that the benchmarks read: ``make_events.py FILE [EVENTS]``.

Ten million simulated dimuon-like events by default: jagged muons (``Muon_Px Py Pz E Iso``, float32, counter ``nMuon``),
``EventWeight`` (float32) and ``triggerIsoMu24`` (bool), as TTree ``events`` with zstd level 5 and clusters of 100 000
events. Chunk i draws from ``SeedSequence([SEED, i])``, so a smaller file is the beginning of a larger one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

SEED = 20261122
CLUSTER = 100_000


def chunk(number: int, events: int) -> dict[str, object]:
    """Return one cluster of events."""
    random = np.random.default_rng(np.random.SeedSequence([SEED, number]))
    counts = np.where(random.random(events) < 0.2, 2, random.poisson(1.1, events))
    muons = int(counts.sum())
    pt = random.exponential(25.0, muons) + 3.0
    eta, phi = random.normal(0.0, 1.3, muons), random.uniform(-np.pi, np.pi, muons)
    pz = pt * np.sinh(eta)
    fields = {
        "Px": pt * np.cos(phi),
        "Py": pt * np.sin(phi),
        "Pz": pz,
        "E": np.sqrt(pt**2 + pz**2 + 0.10566**2),
        "Iso": random.exponential(1.5, muons),
    }
    rounded = {name: _rounded(values) for name, values in fields.items()}
    return {
        "Muon": ak.zip({name: ak.unflatten(values, counts) for name, values in rounded.items()}),
        "EventWeight": random.normal(0.05, 0.005, events).astype(np.float32),
        "triggerIsoMu24": random.random(events) < 0.8,
    }


def _rounded(values: np.ndarray) -> np.ndarray:
    """Keep 12 bits of mantissa, as NanoAOD does; the file compresses like a real one."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x400) & np.uint32(0xFFFFF800)).view(np.float32)


def main(path: str, events: int = 10_000_000) -> None:
    """Write ``events`` events to ``path``."""
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        for number, start in enumerate(range(0, events, CLUSTER)):
            columns = chunk(number, min(CLUSTER, events - start))
            if number == 0:
                file.mktree("events", _types(columns))
            file["events"].extend(columns)
    print(f"{path}: {events} events, {Path(path).stat().st_size / 1e6:.0f} MB")


def _types(columns: dict[str, object]) -> dict[str, object]:
    return {
        name: values.type.content if isinstance(values, ak.Array) else values.dtype for name, values in columns.items()
    }


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
