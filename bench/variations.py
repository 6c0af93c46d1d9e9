"""What systematic variations cost: the workflow of the benchmark with 1, 3 and 11 of them, the nominal one included.

Half of the variations are other weights, half another scale of the muons' momenta, which reaches cuts, the mass and
both histograms.
"""

from __future__ import annotations

from pathlib import Path

BENCH = Path(__file__).parent
COUNTS = (1, 3, 11)


def workflow(events: int, variations: int) -> str:
    """Return the workflow with ``variations`` in all, one of which is the nominal one."""
    text = (BENCH / "workflow.yaml").read_text().replace("EVENTS", str(events))
    shifts = range(1, variations // 2 + 1)
    entries = [f"    - {{name: weight_{n}, weight: {{multiply: '1 + 0.01 * {n} * (NIsoMuon > 1)'}}}}" for n in shifts]
    components = ("Px", "Py", "Pz", "E")
    for n in shifts:
        replaced = ", ".join(f"Muon_{name}: Muon_{name}_{n}" for name in components)
        entries.append(f"    - {{name: scale_{n}, replace: {{{replaced}}}}}")
    if not entries:
        return text
    scaled = [
        f'          - {{name: Muon_{name}_{n}, expr: "{1 + 0.01 * n} * Muon_{name}"}}'
        for n in shifts
        for name in components
    ]
    stage = "\n".join(["    - id: Scales", "      op: hep.define", "      params:", "        variables:", *scaled])
    systematics = "\n".join(["systematics:", "  variations:", *entries])
    return text.replace("analysis:\n  stages:\n", f"{systematics}\nanalysis:\n  stages:\n{stage}\n")
