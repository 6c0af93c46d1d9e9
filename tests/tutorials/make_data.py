"""Make the files that two tutorials read: jets in two trees of one file, and rows of stars with lists of planets.

Run as a script, ``python make_data.py FOLDER [EXAMPLES]``, by whatever has NumPy, awkward-array, uproot and pyarrow; it
puts the reference's examples there too.
"""

import shutil
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

EVENTS, STARS = 300, 200
ABSENT = "nevents: 1000, files: [Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root]"
PRESENT = "files: [nanoAOD_2015_CMS_Open_Data_ttbar.root]"
"""The file of the reference's third example, and the one that stands in for it."""


def jets(random: np.random.Generator, counts: np.ndarray, names: tuple[str, str, str]) -> dict[str, ak.Array]:
    """Return transverse energies, pseudorapidities and azimuths under these names."""
    size = int(counts.sum())
    values = (random.exponential(80, size), random.uniform(-2.4, 2.4, size), random.uniform(-3.1, 3.1, size))
    return {name: ak.unflatten(each.astype("f4"), counts) for name, each in zip(names, values, strict=True)}


def main(folder: Path) -> None:
    """Write ``trigger.root`` and ``planets.parquet`` into ``folder``."""
    random = np.random.default_rng(20151)
    counts = random.integers(1, 4, EVENTS)
    reconstructed = jets(random, counts, ("etCorr", "eta", "phi"))
    found = jets(random, counts, ("jetEt", "jetEta", "jetPhi"))
    near = ak.unflatten(random.random(int(counts.sum())) < 0.6, counts)  # jets that the trigger saw at the same place
    found["jetEta"] = ak.where(near, reconstructed["eta"] + np.float32(0.05), found["jetEta"])
    found["jetPhi"] = ak.where(near, reconstructed["phi"], found["jetPhi"])
    with uproot.recreate(folder / "trigger.root") as file:
        file["l1UpgradeTree/L1UpgradeTree"] = found
        file["l1JetRecoTree/JetRecoTree"] = reconstructed
    planets = random.integers(0, 4, STARS).tolist()
    table = {
        "distance": random.uniform(0, 1000, STARS).tolist(),
        "planet_radius": [random.uniform(0.5, 1.5, number).tolist() for number in planets],
        "planet_period": [random.uniform(1, 400, number).tolist() for number in planets],
    }
    pq.write_table(pa.table(table), folder / "planets.parquet")


def examples(source: Path, folder: Path) -> None:
    """Copy the reference's examples as they are, but for the file of the third, which not everybody has."""
    for name in ("ex1_datasets", "ex1_zmumu_like", "ex2_needs_systematics"):
        shutil.copy(source / f"{name}.yaml", folder)
    written = (source / "ex3_nano_objects.yaml").read_text()
    if ABSENT not in written:
        raise SystemExit("the third example has another file than the one that is replaced")
    (folder / "ex3_nano_objects.yaml").write_text(written.replace(ABSENT, PRESENT))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        examples(Path(sys.argv[2]), Path(sys.argv[1]))
