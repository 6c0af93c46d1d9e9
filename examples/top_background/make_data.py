"""Write the four ROOT files of this example: top-quark pairs, W bosons with jets, a signal, and pseudo-data.

    python make_data.py [DIRECTORY]        (default: the folder data/ beside this script)

The events are invented: one lepton, some jets, missing transverse momentum. The pseudo-data are drawn from the recipes
of top-quark pairs and W bosons with other random numbers, with 15 % more top-quark pairs than the simulation expects:
the scale factor that the control region of this example has to find. There is no signal in them.

Run it again and the files hold the same numbers: the seeds are fixed, the random streams are NumPy's frozen ones
(``RandomState``; NEP 19), and each value keeps 11 significant bits, so that the last bit of a library's logarithm does
not matter. The files' bytes still differ, in the date and the UUID that ROOT's format asks for.

Units: GeV. One tree, ``Events``:

    nJet, Jet_pt, Jet_eta, Jet_btag                            jets above 20 GeV, highest pT first
    Lepton_pt, Lepton_phi, MET_pt, MET_phi                     one value per event
    EventWeight, BTagSF_up, BTagSF_down                        simulation only
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import awkward as ak
import numpy as np
import uproot
from numpy.random import RandomState
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

LUMINOSITY = 100.0
"""Of the pseudo-data, in an imagined unit; cross sections are events per unit."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A recipe for events."""

    jets: float
    """Mean number of jets beyond the first two."""
    b_jets: float
    """Probability that a jet comes from a b quark."""
    jet_pt: float
    """Mean of the jets' transverse momenta above 20 GeV, in GeV."""
    missing: float
    """Mean missing transverse momentum, in GeV."""
    cross_section: float
    """Events per unit of luminosity."""


TTBAR = Process(jets=1.6, b_jets=0.45, jet_pt=45.0, missing=48.0, cross_section=9.0)
WJETS = Process(jets=0.5, b_jets=0.05, jet_pt=26.0, missing=38.0, cross_section=24.0)
SIGNAL = Process(jets=1.8, b_jets=0.25, jet_pt=70.0, missing=190.0, cross_section=0.3)


def short(values: Floats) -> NDArray[np.float32]:
    """Return floats as float32 with 11 significant bits: compresses well, hides the last bit."""
    mantissa, exponent = np.frexp(values)
    shortened: NDArray[np.float32] = np.ldexp(np.round(mantissa * 2.0**11), exponent - 11).astype(np.float32)
    return shortened


def events(process: Process, random: RandomState, size: int) -> dict[str, ak.Array]:
    """Return ``size`` events without weights."""
    counts = 2 + random.poisson(process.jets, size)
    total = int(counts.sum())
    pt = 20.0 + random.exponential(process.jet_pt, total)
    bottom = random.uniform(size=total) < process.b_jets
    tag = np.where(bottom, 1 - random.exponential(0.2, total), random.exponential(0.15, total))
    order = np.lexsort((-pt, np.repeat(np.arange(size), counts)))
    jets = ak.Array(
        {
            "pt": short(pt[order]),
            "eta": short(np.clip(random.normal(0.0, 1.2, total), -2.5, 2.5)),
            "btag": short(np.clip(tag, 0.0, 1.0)[order]),
        }
    )
    return {
        "Jet": ak.unflatten(jets, counts),
        "Lepton_pt": ak.Array(short(25.0 + random.exponential(30.0, size))),
        "Lepton_phi": ak.Array(short(random.uniform(-np.pi, np.pi, size))),
        "MET_pt": ak.Array(short(random.exponential(process.missing, size))),
        "MET_phi": ak.Array(short(random.uniform(-np.pi, np.pi, size))),
    }


def simulation(process: Process, seed: int, size: int) -> dict[str, ak.Array]:
    """Return simulated events with weights that bring them to the luminosity of the data."""
    random = RandomState(seed)
    sample = events(process, random, size)
    weight = LUMINOSITY * process.cross_section / size * (1 + 0.1 * random.uniform(-1, 1, size))
    tagged = ak.to_numpy(ak.sum(sample["Jet"].btag > 0.7, axis=1))
    return sample | {
        "EventWeight": ak.Array(short(weight)),
        "BTagSF_up": ak.Array(short(1.03**tagged)),
        "BTagSF_down": ak.Array(short(0.97**tagged)),
    }


def pseudo_data(seed: int) -> dict[str, ak.Array]:
    """Return as many events of each background as nature would give, in random order."""
    random = RandomState(seed)
    expected = {TTBAR: 1.15 * TTBAR.cross_section, WJETS: WJETS.cross_section}
    samples = [events(process, random, random.poisson(LUMINOSITY * rate)) for process, rate in expected.items()]
    order = random.permutation(sum(len(sample["MET_pt"]) for sample in samples))
    return {name: ak.concatenate([sample[name] for sample in samples])[order] for name in samples[0]}


def write(path: Path, branches: Mapping[str, ak.Array]) -> None:
    """Write one TTree; the jagged branches of the jets share the counter ``nJet``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path, compression=uproot.ZLIB(9)) as file:
        tree = file.mktree(
            "Events",
            {name: array.type for name, array in branches.items()},
            counter_name=lambda collection: f"n{collection}",
            field_name=lambda collection, field: f"{collection}_{field}" if collection else field,
        )
        tree.extend(dict(branches))


def main(directory: Path) -> None:
    """Write ``data.root``, ``ttbar.root``, ``wjets.root`` and ``signal.root`` into ``directory``."""
    write(directory / "data.root", pseudo_data(seed=7))
    write(directory / "ttbar.root", simulation(TTBAR, seed=11, size=3000))
    write(directory / "wjets.root", simulation(WJETS, seed=12, size=2500))
    write(directory / "signal.root", simulation(SIGNAL, seed=13, size=800))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
