"""The toy events of FAST-HEP's workshop (``toy://dy|ttbar|qcd|data``), generated into a file once.

For one seed the numbers are those of ``workshop.toy_source`` where both are drawn by the same NumPy on the same
machine. They are not defined beyond that: NumPy may change how its distributions draw from one version to the next
(NEP 19), and gamma, beta and normal draws use the C library's elementary functions, sine and cosine those that NumPy
has for the processor, so that the last bit can differ between machines. That is why the events are a file: it is read
like any other, its digest is in all keys, and a bundle that embeds it can be replayed anywhere. The bytes of the file
depend on nothing but the numbers and the version of uproot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args
from urllib.parse import parse_qsl, quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from fasthep_archive import digest
from fasthep_archive.data.forms import Branch
from fasthep_archive.data.root import open_tree
from fasthep_archive.data.source import Read
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.digest import Digest
from fasthep_archive.errors import DataError, nearest, writing
from fasthep_archive.files import replacing
from fasthep_archive.formula.columns import Array, Column, starts
from fasthep_archive.workflow.addresses import base_name

if TYPE_CHECKING:
    from fasthep_archive.data.rntuple import NtupleSource
    from fasthep_archive.data.ttree import TreeSource

Process: TypeAlias = Literal["dy", "ttbar", "qcd", "data"]
Ints: TypeAlias = NDArray[np.int64]

SCHEME = "toy://"
TREE = "events"
"""The tree in the files that are made."""
_MADE = 1
"""Version of the generation; part of a file's place in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """How a process looks: probabilities of 0 to 3 muons and of 3 to 6 jets, scales of the momenta in GeV."""

    muons: tuple[float, ...]
    muon_scale: float
    jets: tuple[float, ...]
    jet_scale: float


_SHAPES: Mapping[Process, _Shape] = {
    "dy": _Shape(muons=(0.05, 0.80, 0.10, 0.05), muon_scale=8.0, jets=(0.10, 0.60, 0.20, 0.10), jet_scale=35.0),
    "ttbar": _Shape(muons=(0.10, 0.35, 0.45, 0.10), muon_scale=10.0, jets=(0.03, 0.17, 0.45, 0.35), jet_scale=42.0),
    "qcd": _Shape(muons=(0.70, 0.25, 0.04, 0.01), muon_scale=5.5, jets=(0.15, 0.45, 0.25, 0.15), jet_scale=28.0),
    "data": _Shape(muons=(0.06, 0.78, 0.11, 0.05), muon_scale=8.0, jets=(0.10, 0.59, 0.21, 0.10), jet_scale=35.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Toy:
    """Toy events.

    :ivar dataset: what the column ``Dataset`` says. :ivar eventtype: ``mc`` has the column ``MCLepton_*``.
    :ivar weight: of all events; those of data weigh 1.
    """

    process: Process
    dataset: str
    eventtype: str
    events: int
    seed: int
    weight: float

    @property
    def key(self) -> Digest:
        """Return the digest of everything that the numbers depend on, the machine excepted."""
        return digest.of_json({**asdict(self), "made": _MADE, "numpy": np.__version__})

    def write(self, path: Path) -> None:
        """Write the events to the ROOT file ``path`` (an RNTuple called :data:`TREE`), whole or not at all."""
        columns = _generated(self)
        branches = [Branch(name=name, text=bool(column.words)) for name, column in columns.items()]
        with writing(path), replacing(path) as target:
            TreeForm(tree=TREE).write(target, branches, [columns])


def is_generated(name: str) -> bool:
    """Return whether a dataset's file is not read but generated.

    >>> is_generated("toy://dy"), is_generated("dy.root")
    (True, False)
    """
    return name.lower().startswith(SCHEME)


def toy_of(name: str) -> Toy:
    """Return the toy events that an address stands for.

    >>> toy_of("toy://dy/DY.root?dataset=DY&eventtype=mc&nevents=100&seed=7&weight=0.5")
    Toy(process='dy', dataset='DY', eventtype='mc', events=100, seed=7, weight=0.5)

    :raises DataError: if it is no such address.
    """
    parts = urlsplit(name)
    process, said = cast("Process", parts.netloc.lower()), dict(parse_qsl(parts.query, keep_blank_values=True))
    if process not in _SHAPES:
        hint = nearest(process, _SHAPES) or f"known: {', '.join(get_args(Process))}"
        raise DataError(f"no toy events are called {name!r}", hint=hint)
    try:
        return Toy(
            process=process,
            dataset=said["dataset"],
            eventtype=said["eventtype"],
            events=int(said["nevents"]),
            seed=int(said["seed"]),
            weight=float(said["weight"]),
        )
    except (KeyError, ValueError) as error:
        hint = "write toy://dy in the document: the rest of the address is made of what it says"
        raise DataError(f"{name!r} doesn't say which toy events are meant", hint=hint) from error


def generated(toy: Toy, directory: Path) -> Path:
    """Return the file with these events in ``directory``, made if it isn't there.

    :raises DataError: if it can't be written.
    """
    path = directory / toy.key[:32] / base_name(f"{SCHEME}{toy.process}/{quote(toy.dataset, safe='')}.root")
    if not path.is_file():
        toy.write(path)
    return path


def open_generated(path: Path, read: Read) -> TreeSource | NtupleSource:
    """Return the events of a file that :meth:`Toy.write` made; the name of the tree is always :data:`TREE`.

    :raises DataError: if the file can't be read.
    """
    return open_tree(path, replace(read, tree=TREE))


def _generated(toy: Toy) -> dict[str, Column]:
    """Return the columns. Each draw advances one generator, so their order is part of what a seed means."""
    draw, shape = np.random.default_rng(toy.seed), _SHAPES[toy.process]
    muons = _objects(draw, toy.events, range(4), shape.muons, 4.0, shape.muon_scale, 32.0)
    muons["Iso"] = draw.beta(1.4, 28.0, size=muons["Px"].size)
    muons["Charge"] = draw.choice([-1, 1], size=muons["Px"].size)
    muon_lists = cast("Ints", muons.pop("lists"))
    jets = _objects(draw, toy.events, range(3, 7), shape.jets, 8.0, shape.jet_scale, 100.0)
    jet_lists = cast("Ints", jets.pop("lists"))
    met = [-(_sums(muons[axis], muon_lists) + _sums(jets[axis], jet_lists)) for axis in ("Px", "Py")]
    plain: dict[str, Array] = {
        "EventNumber": np.arange(toy.events),
        "RunNumber": draw.integers(300_000, 310_000, size=toy.events, dtype=np.int32),
        "LumiBlock": draw.integers(1, 2_001, size=toy.events, dtype=np.int32),
    }
    weight = 1.0 if "data" in (toy.eventtype, toy.process) else toy.weight
    truth = {f"MCLepton_{axis}": muons[axis] for axis in ("Px", "Py")} if toy.eventtype == "mc" else {}
    return {
        **{name: Column(values) for name, values in plain.items()},
        "Dataset": Column(np.zeros(toy.events, np.int64), words=(toy.dataset,)),
        "EventWeight": Column(np.full(toy.events, weight)),
        "Trigger": Column(draw.random(toy.events) < 0.98),
        **{f"Muon_{name}": Column(values, muon_lists) for name, values in muons.items()},
        **{f"Jet_{name}": Column(values, jet_lists) for name, values in jets.items()},
        "MET_Px": Column(met[0]),
        "MET_Py": Column(met[1]),
        "MET": Column(np.sqrt(met[0] ** 2 + met[1] ** 2)),
        **{name: Column(values, muon_lists) for name, values in truth.items()},
    }


def _objects(
    draw: np.random.Generator,
    events: int,
    numbers: range,
    probabilities: tuple[float, ...],
    shape: float,
    scale: float,
    width: float,
) -> dict[str, Array]:
    """Return momenta in GeV of all objects of a kind, and the offsets of each event's (``lists``)."""
    counts = draw.choice(np.array(numbers), size=events, p=probabilities)
    size = int(counts.sum())
    pt = draw.gamma(shape=shape, scale=scale, size=size)
    phi = draw.uniform(-np.pi, np.pi, size=size)
    return {
        "Px": pt * np.cos(phi),
        "Py": pt * np.sin(phi),
        "Pz": draw.normal(0.0, width, size=size),
        "lists": starts(counts),
    }


def _sums(values: Array, lists: Ints) -> Array:
    """Return the sum of each list, from left to right; 0 of an empty one."""
    sums, counts = np.zeros(len(lists) - 1), np.diff(lists)
    for number in range(int(counts.max(initial=0))):
        there = counts > number
        sums[there] += values[lists[:-1][there] + number]
    return sums
