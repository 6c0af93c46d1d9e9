"""Seeded events, the files that hold them, and workflows on them; oracles in plain Python, one event at a time.

A *probe* is a weighted histogram with one bin for each event (or each muon): the sum in a bin is the value of one
formula for one event, so that every value of a column can be compared.
"""

import bisect
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from command import with_kernels

from fasthep_archive import archive

Event = Mapping[str, object]
EVENTS = 240
FIRST = 160  # events in the first file; the second one has other types
CLUSTER = 40

DTYPES = {
    "event": "int64",
    "MET": "float32",
    "odd": "float64",
    "NPV": "int32",
    "trigger": "bool",
    "EventWeight": "float64",
}
MUON = {"Px": "float32", "Py": "float32", "Pz": "float32", "E": "float32", "Charge": "int32", "Tight": "bool"}


def _events(seed: int) -> list[dict[str, object]]:
    """Return events as dictionaries of what the files will hold; numbers are those that the types can hold."""
    random = np.random.default_rng(seed)
    events = []
    muons = jets = 0
    for number in range(EVENTS):
        count, jet_count = int(random.poisson(1.8)), int(random.poisson(1.5))
        momenta = random.normal(0, 20, (count, 3)).astype(np.float32).astype(float)
        lengths = np.sqrt((momenta**2).sum(axis=1))
        energies = (lengths * random.choice([1.0, 1.1, 0.8], count)).astype(np.float32).astype(float)
        event = {
            "event": number,
            "MET": float(np.float32(random.choice([10.0, 20.0, 50.0, random.exponential(40), -1.5]))),
            "odd": float(random.choice([0.0, 100.0, math.nan, math.inf, -math.inf, random.normal(50, 50)])),
            "NPV": int(random.integers(0, 6)),
            "trigger": bool(random.random() < 0.7),
            "EventWeight": float(random.normal() * 10.0 ** random.integers(-3, 17)),
            "channel": str(random.choice(["mm", "ee", "em"] if number < FIRST else ["mm", "late"])),
            "Muon_Px": momenta[:, 0].tolist(),
            "Muon_Py": momenta[:, 1].tolist(),
            "Muon_Pz": momenta[:, 2].tolist(),
            "Muon_E": energies.tolist(),
            "Muon_Charge": random.choice([-1, 1], count).tolist(),
            "Muon_Tight": (random.random(count) < 0.6).tolist(),
            "Muon_Id": list(range(muons, muons + count)),
            "Jet_Pt": random.exponential(30, jet_count).astype(np.float32).astype(float).tolist(),
            "quality": None if random.random() < 0.2 else float(random.integers(0, 5)),
        }
        muons, jets = muons + count, jets + jet_count
        events.append(event)
    return events


MC, DATA = _events(1), _events(2)


def write_files(directory: Path) -> None:
    """Write the events to several files."""
    _write_tree(directory / "mc1.root", MC[:FIRST], DTYPES)
    _write_tree(directory / "mc2.root", MC[FIRST:], {**DTYPES, "MET": "float64", "NPV": "int64", "trigger": "int32"})
    _write_tree(directory / "data.root", DATA, {name: kind for name, kind in DTYPES.items() if name != "EventWeight"})
    _write_tree(directory / "none.root", [], DTYPES)
    _write_ntuple(directory / "tuple.root", MC)


def _write_tree(path: Path, events: Sequence[Event], dtypes: Mapping[str, str]) -> None:
    """Write a TTree of several clusters, with counted collections, beside another tree."""
    datashape = partial(ak.types.from_datashape, highlevel=False)
    muons = ", ".join(f"{name}: {kind}" for name, kind in {**MUON, "Id": "int64"}.items())
    types = {
        **dtypes,
        "channel": "string",
        "Muon": datashape(f"var * {{{muons}}}"),
        "Jet": datashape("var * {Pt: float32}"),
    }
    with uproot.recreate(path) as file:
        file.mktree("events", types)
        for start in range(0, len(events), CLUSTER):
            part = events[start : start + CLUSTER]
            columns = {name: np.array([event[name] for event in part], kind) for name, kind in dtypes.items()}
            collections = {
                "Muon": {name: _lists(part, f"Muon_{name}", kind) for name, kind in {**MUON, "Id": "int64"}.items()},
                "Jet": {"Pt": _lists(part, "Jet_Pt", "float32")},
            }
            zipped = {name: ak.zip(fields) for name, fields in collections.items()}
            file["events"].extend({**columns, "channel": [event["channel"] for event in part], **zipped})
        file.mktree("runs", {"lumi": "float64", "event": "int64"})
        file["runs"].extend({"lumi": np.array([1.5, 2.5, 4.0]), "event": np.array([7, 8, 9])})


def _lists(events: Sequence[Event], name: str, dtype: str) -> ak.Array:
    return ak.values_astype(ak.Array([event[name] for event in events]), dtype)


def _write_ntuple(path: Path, events: Sequence[Event]) -> None:
    """Write an RNTuple, whose lists have no counters and whose values can be missing."""
    columns = {name: np.array([event[name] for event in events], kind) for name, kind in DTYPES.items()}
    lists = {f"Muon_{name}": _lists(events, f"Muon_{name}", kind) for name, kind in {**MUON, "Id": "int64"}.items()}
    records = ak.Array([{"x": event["MET"], "y": event["NPV"]} for event in events])
    optional = ak.Array([event["quality"] for event in events])
    texts = [event["channel"] for event in events]
    with uproot.recreate(path) as file:
        file.mkrntuple("events", {**columns, **lists, "vertex": records, "quality": optional, "channel": texts})


# --- running ---------------------------------------------------------------------------------------------------------

SIMULATION = {"name": "mc", "files": ["mc1.root", "mc2.root"], "xs": 2.5, "tags": {"year": 2016, "era": "B"}}
MEASURED = {"name": "data", "files": ["data.root"], "eventtype": "data", "xs": 1}
TUPLE = {"name": "tuple", "files": ["tuple.root"]}
CONSTANTS = {"CUT": 20, "GROUP": {"pt": 15.5, "on": True, "who": "mc"}}


@dataclass
class Bench:
    """Runs workflows on the files."""

    files: Path
    kernels: Path
    directory: Path

    def __call__(
        self,
        *stages: Mapping[str, object],
        datasets: Sequence[Mapping[str, object]] = (SIMULATION,),
        chunk: int | None = None,
        workers: int = 1,
        **document: object,
    ) -> "Outputs":
        """Return the outputs of a workflow of these stages."""
        number = len(list(self.directory.iterdir()))
        path = self.directory / f"{number}.yaml"
        written = {
            "version": "1.1",
            "data": {"datasets": [{**dataset, "files": self._paths(dataset)} for dataset in datasets]},
            "sources": {"events": {"kind": "root_tree", "tree": "events"}},
            "analysis": {"globals": CONSTANTS, "stages": list(stages)},
            **document,
        }
        path.write_text(json.dumps(written))
        cache = with_kernels(self.directory / f"{number}.cache", self.kernels)
        archive.run(path, self.directory / f"{number}.out", cache=cache, chunk=chunk, workers=workers)
        return Outputs(self.directory / f"{number}.out")

    def _paths(self, dataset: Mapping[str, object]) -> list[str]:
        return [str(self.files / name) for name in dataset["files"]]


@dataclass
class Outputs:
    """The outputs of a run, as plain JSON."""

    directory: Path

    def histogram(self, stage: str) -> dict:
        return json.loads((self.directory / "histograms" / f"{stage}.json").read_bytes())

    def values(self, stage: str) -> np.ndarray:
        return np.array(self.histogram(stage)["storage"]["values"], float)

    def variances(self, stage: str) -> np.ndarray:
        return np.array(self.histogram(stage)["storage"]["variances"], float)

    def categories(self, stage: str, axis: int = 0) -> list:
        return self.histogram(stage)["axes"][axis]["categories"]

    def rows(self, stage: str) -> list[dict]:
        return json.loads((self.directory / "cutflows" / f"{stage}.json").read_bytes())["rows"]

    def bytes(self) -> dict[str, bytes]:
        found = (path for folder in ("histograms", "cutflows") for path in (self.directory / folder).glob("*"))
        return {path.name: path.read_bytes() for path in found}


def stage(name: str, op: str, *, params: Mapping[str, object], **keys: object) -> dict[str, object]:
    return {"id": name, "op": op, "params": params, **keys}


def define(name: str, *variables: Mapping[str, object], **keys: object) -> dict[str, object]:
    return stage(name, "hep.define", params={"variables": list(variables)}, **keys)


def hist(name: str, *axes: Mapping[str, object], keys: Mapping[str, object] = {}, **params: object) -> dict:
    return stage(name, "hep.hist", params={"axes": list(axes), **params}, **keys)


def cutflow(name: str, selection: object, keys: Mapping[str, object] = {}, **params: object) -> dict:
    return stage(name, "hep.selection.cutflow", params={"selection": selection, **params}, **keys)


def axis(source: str, kind: str, bins: object = None, **keys: object) -> dict[str, object]:
    return {"name": keys.pop("name", source.replace(".", "_")), "source": source, "type": kind} | (
        {"bins": bins, **keys} if bins is not None else keys
    )


REGULAR = {"low": 0, "high": 100, "nbins": 10}
EDGES = [float(10 * n) for n in range(11)]


def probe(name: str, formula: str, per: str = "event", **keys: object) -> dict[str, object]:
    """Return a histogram that has the value of ``formula`` for each event, or for each muon."""
    count = sum(len(event["Muon_Id"]) for event in MC) if per == "Muon_Id" else EVENTS
    return hist(name, axis(per, "int", list(range(count))), weight_expr=formula, keys=keys)


# --- oracles ---------------------------------------------------------------------------------------------------------

Row = tuple[list[object], float]
"""The values of one entry on all axes, and its weight."""


def bin_of(value: object, description: Mapping[str, object]) -> int | None:
    """Return the bin of a value, flow bins included, by what the stored form says of its axis."""
    match description["type"]:
        case "regular" | "variable":
            edges = EDGES if description["type"] == "regular" else description["edges"]
            return len(edges) if math.isnan(value) else bisect.bisect_right(edges, value)
        case "boolean":
            return int(value)
        case _:
            known = description["categories"]
            return known.index(value) if value in known else len(known)


def filled(rows: Iterable[Row], histogram: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Return exact sums of weights and of squared weights per bin, rounded once."""
    axes = histogram["axes"]
    entries = defaultdict(list)
    for values, weight in rows:
        if None not in values:
            entries[tuple(bin_of(*pair) for pair in zip(values, axes, strict=True))].append(weight)
    shape = np.array(histogram["storage"]["values"]).shape
    sums, squares = np.zeros(shape), np.zeros(shape)
    for place, weights in entries.items():
        sums[place] = math.fsum(weights)
        squares[place] = math.fsum(weight * weight for weight in weights)
    return sums, squares


def flat(*names: str, weight: Callable[[Event], float] = lambda _: 1.0) -> Callable[[Event], list[Row]]:
    return lambda event: [([event[name] for name in names], weight(event))]


def muons(*names: str, weight: Callable[[Event, int], float] = lambda *_: 1.0) -> Callable[[Event], list[Row]]:
    """Return one row per muon; values of the event are the same for all."""

    def rows(event: Event) -> list[Row]:
        return [
            ([event[name][n] if name.startswith("Muon_") else event[name] for name in names], weight(event, n))
            for n in range(len(event["Muon_E"]))
        ]

    return rows


def counted(events: Iterable[Event], cuts: Sequence[Callable[[Event], bool]], weight: object = None) -> list[tuple]:
    """Return (events in, out, sums of weights in, out, sums of squared weights in, out) of each cut of a group."""
    remaining = list(events)
    rows = []
    for cut in cuts:
        passing = [event for event in remaining if cut(event)]
        sums: list[float] = []
        for power in (1, 2):
            for chosen in (remaining, passing):
                weights = [weight(event) if weight else 1.0 for event in chosen]
                sums.append(math.fsum(value if power == 1 else value * value for value in weights))
        rows.append((len(remaining), len(passing), *sums))
        remaining = passing
    return rows


def told(outputs: Outputs, name: str, group: str, dataset: str = "mc") -> list[tuple]:
    columns = ("events_in", "events_out", "sumw_in", "sumw_out", "sumw2_in", "sumw2_out")
    rows = [row for row in outputs.rows(name) if (row["group"], row["dataset"]) == (group, dataset)]
    return [tuple(row[column] for column in columns) for row in rows]
