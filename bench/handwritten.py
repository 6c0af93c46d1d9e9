"""The benchmark's workflow as a physicist would write it by hand for speed: uproot and one numba loop.

``handwritten.py FILE`` prints the events that pass and the sums of weights, for comparison with the workflow's.
Plain floating-point sums, plain bin arithmetic, no checks, no record: what the engine has to come close to.
"""

from __future__ import annotations

import math
import sys

import numba
import numpy as np
import uproot

BRANCHES = ["Muon_Px", "Muon_Py", "Muon_Pz", "Muon_E", "Muon_Iso", "EventWeight", "triggerIsoMu24"]
BINS, LOW, HIGH = 60, 60.0, 120.0


@numba.njit(cache=True)
def loop(offsets, px, py, pz, e, iso, weight, trigger, all_mass, selected_mass, passed):
    """Fill two histograms (sum of weights and of squares) and the cutflow."""
    for event in range(len(offsets) - 1):
        first = second = -1
        isolated, hard = 0, False
        for muon in range(offsets[event], offsets[event + 1]):
            pt = math.sqrt(px[muon] ** 2 + py[muon] ** 2)
            hard = hard or pt > 25.0
            if iso[muon] / pt < 0.10:
                isolated += 1
                if first < 0:
                    first = muon
                elif second < 0:
                    second = muon
        w = weight[event]
        index = BINS
        if second >= 0:
            energy = np.float64(e[first]) + e[second]
            x, y, z = (
                np.float64(px[first]) + px[second],
                np.float64(py[first]) + py[second],
                np.float64(pz[first]) + pz[second],
            )
            mass = math.sqrt(max(energy * energy - (x * x + y * y + z * z), 0.0))
            position = (mass - LOW) * (BINS / (HIGH - LOW))
            index = int(position) if 0.0 <= position < BINS else BINS
        all_mass[index, 0] += w
        all_mass[index, 1] += w * w
        if isolated >= 2:
            passed[0] += 1
            if trigger[event]:
                passed[1] += 1
                if hard:
                    passed[2] += 1
                    selected_mass[index, 0] += w
                    selected_mass[index, 1] += w * w


def main(path: str) -> None:
    """Run over ``path`` in steps of 500 000 events."""
    all_mass, selected_mass, passed = np.zeros((BINS + 1, 2)), np.zeros((BINS + 1, 2)), np.zeros(3, np.int64)
    with uproot.open(path) as file:
        tree = file["events"]
        for arrays in tree.iterate(BRANCHES, step_size=500_000, library="ak"):
            jagged = [arrays[name].layout for name in BRANCHES[:5]]
            contents = [np.asarray(layout.content.data) for layout in jagged]
            flat = [np.asarray(arrays[name].layout.data) for name in BRANCHES[5:]]
            loop(np.asarray(jagged[0].offsets.data), *contents, *flat, all_mass, selected_mass, passed)
    print(*passed, *all_mass[:, 0].tolist()[:1], selected_mass[:BINS, 0].sum())


if __name__ == "__main__":
    main(sys.argv[1])
