"""Run the tutorials with FAST-HEP itself and keep its numbers, a JSON file for each, which the tests compare with ours.

    python run_fasthep.py FASTHEP FOLDER [NAME...]

``FASTHEP`` is the command of an installation with fasthep-distributed, of whose Python this runs; ``FOLDER`` holds the
documents, their data (``make_data.py``, and ``CMS_HEP_tutorial_ww.root``) and takes what is written. All runs use the
Dask backend: the local one adds cutflows of several datasets up (rule A). Variations are run one by one, as FAST-HEP
wants. Histograms are unpickled, from files that this very run wrote. The reference's own examples are among the
documents if they lie in ``FOLDER`` (``make_data.py`` says how ex3 gets a file).
"""

import csv
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

OPTIONS = {"partitioned_skim": ["--chunk-size", "40"]}
LOCAL = ("runtime_smoke",)
"""Documents without datasets: the Dask backend has no partition for these and leaves nothing."""
SEVERAL = ("ex2_needs_systematics", "variations")


def histogram(path: Path) -> dict[str, object]:
    """Return the axes and the bins that are not empty, flow bins included: [indices, value, variance?]."""
    found = pickle.loads(path.read_bytes())
    weighted = found.variances() is not None and "Weight" in str(found.storage_type)
    values, variances = found.values(flow=True), found.variances(flow=True)
    cells = [
        [place.tolist(), float(values[tuple(place)]), *([float(variances[tuple(place)])] if weighted else [])]
        for place in np.argwhere(values != 0)
    ]
    axes = [[axis.name, axis.size if isinstance(axis[0], tuple) else list(axis)] for axis in found.axes]
    return {"axes": axes, "bins": cells}


def cutflow(path: Path) -> list[list[object]]:
    """Return [dataset, cut, events and sums of weights before and after]."""
    keys = ("n_unweighted_in", "n_unweighted_out", "sumw_in", "sumw_out", "sumw2_in", "sumw2_out")
    return [
        [dataset, node["id"], *(stats[key] for key in keys)]
        for node in json.loads(path.read_text())["nodes"]
        for dataset, stats in node["stats"].items()
    ]


def table(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file."""
    return list(csv.reader(path.read_text().splitlines()))


def tree(path: Path) -> dict[str, object]:
    """Return the entries and, of each column, the number of values and their exact sum without NaN, rounded once."""
    with uproot.open(path) as file:
        (name,) = {key.split(";")[0] for key in file.keys(recursive=False)}
        entries, arrays = file[name].num_entries, file[name].arrays()
    flat = {field: np.asarray(ak.flatten(arrays[field], axis=None), float) for field in arrays.fields}
    columns = {name: [len(each), math.fsum(each[~np.isnan(each)])] for name, each in flat.items()}
    return {"entries": entries, "columns": columns}


def schema(path: Path) -> dict[str, object]:
    """Return the number of entries and the type of each field."""
    found = json.loads(path.read_text())
    return {"entries": found["entry_count"], "fields": found["awkward_type"]}


KINDS = {
    "histograms": ("artifacts{0}/histograms", "*.pkl", histogram),
    "cutflows": ("artifacts{0}/cutflows", "[!m]*.json", cutflow),
    "tables": ("artifacts{0}/tables", "*.csv", table),
    "files": ("artifacts{0}/files", "**/*.root", tree),
    "schemas": ("reports{0}/schema", "**/*.json", schema),
    "plots": ("artifacts{0}/plots", "**/*.png", lambda _: None),
}
"""What is kept: where it lies in one part of a run, which files, and how each is read."""


def kept(run: Path, part: str) -> dict[str, dict[str, object]]:
    """Return the products of a run, or of one variation, by kind and name."""
    found = {}
    for kind, (folder, pattern, read) in KINDS.items():
        base = run / folder.format(part)
        products = {path.relative_to(base).with_suffix("").as_posix(): read(path) for path in base.glob(pattern)}
        if products:
            found[kind] = dict(sorted(products.items()))
    return found


def main(fasthep: str, folder: Path, names: list[str]) -> None:
    """Run the documents and write ``NAME.json`` for each."""
    documents = [
        path for path in sorted(folder.glob("*.yaml")) if "stages:" in path.read_text() and path.stem != "muons"
    ]
    for document in documents:
        name = document.stem
        if names and name not in names:
            continue
        run, backend = folder / "fasthep" / name, [] if name in LOCAL else ["--backend", "dask", "--workers", "1"]
        subprocess.run(
            [fasthep, "run", document.name, "--outdir", run, *backend, *OPTIONS.get(name, [])], cwd=folder, check=True
        )
        if name in SEVERAL:
            plans = sorted(path for path in run.glob("compile/*/plan.yaml") if path.parent.name != "nominal")
            for plan in plans:
                subprocess.run([fasthep, "run-plan", plan, *backend], cwd=folder, check=True)
            varied = {plan.parent.name: kept(run, f"/{plan.parent.name}") for plan in plans}
            result = {**kept(run, "/nominal"), "systematics": varied}
        else:
            result = kept(run, "")
        text = json.dumps(result, indent=0, sort_keys=True).replace("\n", " ").replace("  ", " ")
        (folder / f"{name}.json").write_text(text.replace('"histograms"', '\n"histograms"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3:])
