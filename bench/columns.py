"""The benchmark's workflow as it is mostly written: uproot, awkward arrays and boost-histogram.

``columns.py FILE`` prints the events that pass and a sum of weights, for comparison with the workflow's.
"""

from __future__ import annotations

import sys

import awkward as ak
import hist
import numpy as np
import uproot

BRANCHES = ["Muon_Px", "Muon_Py", "Muon_Pz", "Muon_E", "Muon_Iso", "EventWeight", "triggerIsoMu24"]


def mass(muons: ak.Array) -> np.ndarray:
    """Return the mass of the first two muons; NaN with fewer."""
    pair = muons[ak.num(muons) >= 2][:, :2]
    total = {
        name: ak.to_numpy(ak.sum(ak.values_astype(pair[name], "float64"), axis=1)) for name in ("Px", "Py", "Pz", "E")
    }
    squared = total["E"] ** 2 - (total["Px"] ** 2 + total["Py"] ** 2 + total["Pz"] ** 2)
    found = np.full(len(muons), np.nan)
    found[ak.to_numpy(ak.num(muons) >= 2)] = np.sqrt(np.maximum(squared, 0.0))
    return found


def main(path: str) -> None:
    """Run over ``path`` in steps of 500 000 events."""
    before, after = (hist.Hist.new.Reg(60, 60, 120).Weight() for _ in range(2))
    passed = np.zeros(3, np.int64)
    with uproot.open(path) as file:
        for events in file["events"].iterate(BRANCHES, step_size=500_000, library="ak"):
            muons = ak.zip({name: events[f"Muon_{name}"] for name in ("Px", "Py", "Pz", "E", "Iso")})
            pt = np.sqrt(muons.Px**2 + muons.Py**2)
            isolated = muons[muons.Iso / pt < 0.10]
            weight = ak.to_numpy(events.EventWeight)
            masses = mass(isolated)
            before.fill(masses, weight=weight)
            chosen = ak.to_numpy(ak.num(isolated) >= 2)
            for number, cut in enumerate((chosen, events.triggerIsoMu24 == 1, ak.any(pt > 25, axis=1))):
                chosen = chosen & ak.to_numpy(cut)
                passed[number] += chosen.sum()
            after.fill(masses[chosen], weight=weight[chosen])
    print(*passed, before[hist.underflow].value, after.sum().value)


if __name__ == "__main__":
    main(sys.argv[1])
