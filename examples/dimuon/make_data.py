"""Write the three ROOT files of this example: simulated Drell-Yan and top-quark pairs, and pseudo-data.

    python make_data.py [DIRECTORY]        (default: the folder data/ beside this script)

The events are invented, not simulated with a generator or a detector: a Breit-Wigner resonance on a falling
continuum, decayed to two muons, smeared and cut as a detector would; and a broad background of top-quark pairs. The
pseudo-data are drawn from the same two recipes with other random numbers, as many as 80 units of luminosity give.

Run it again and the files hold the same numbers: the seeds are fixed, the random streams are NumPy's frozen ones
(``RandomState``; NEP 19), and each value keeps 11 significant bits, so that the last bit of a library's logarithm does
not matter. The files' bytes still differ, in the date and the UUID that ROOT's format asks for.

Units: GeV for momenta, energies and isolation sums. One tree, ``events``:

    NMuon, Muon_Px, Muon_Py, Muon_Pz, Muon_E, Muon_Charge, Muon_Iso    muons, highest pT first
    NJet, Jet_Px, Jet_Py, Jet_Pz, Jet_E, Jet_btag                      jets above 30 GeV, highest pT first
    MET_px, MET_py, triggerIsoMu24, EventWeight                        one value per event
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import awkward as ak
import numpy as np
import uproot
from numpy.random import RandomState
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.generic]

Z_MASS, Z_WIDTH, MUON_MASS = 91.1876, 2.4952, 0.10566  # GeV; Particle Data Group
LUMINOSITY = 80.0
"""Of the pseudo-data, in an imagined unit; cross sections are events per unit."""


@dataclass(frozen=True, kw_only=True)
class Particles:
    """Particles of one mass, those of all events in one list; ``event`` says which event each belongs to."""

    mass: float
    event: Integers
    px: Floats
    py: Floats
    pz: Floats
    extra: Mapping[str, Values]

    @property
    def pt(self) -> Floats:
        """Transverse momentum."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        return np.arcsinh(self.pz / self.pt)

    def where(self, mask: NDArray[np.bool_]) -> Particles:
        """Return the particles at which ``mask`` is true."""
        kept = {name: values[mask] for name, values in self.extra.items()}
        px, py, pz = self.px[mask], self.py[mask], self.pz[mask]
        return Particles(mass=self.mass, event=self.event[mask], px=px, py=py, pz=pz, extra=kept)

    def jagged(self, events: int) -> ak.Array:
        """Return records of one list per event, ordered by falling transverse momentum."""
        order = np.lexsort((-self.pt, self.event))
        momentum = {"Px": short(self.px[order]), "Py": short(self.py[order]), "Pz": short(self.pz[order])}
        # from the shortened momenta, so that E^2 - p^2 stays the mass squared as well as float32 can hold it
        energy = np.sqrt(sum(p.astype(np.float64) ** 2 for p in momentum.values()) + self.mass**2)
        extra = {name: short(values[order]) for name, values in self.extra.items()}
        flat = ak.Array(momentum | {"E": energy.astype(np.float32)} | extra)
        return ak.unflatten(flat, np.bincount(self.event, minlength=events))


@dataclass(frozen=True, kw_only=True)
class Process:
    """A recipe for events."""

    prompt_muons: Callable[[RandomState, int], Particles]
    jets: float
    """Mean number of jets."""
    b_jets: float
    """Probability that a jet comes from a b quark."""
    neutrinos: float
    """Mean missing transverse momentum from neutrinos, in GeV."""
    cross_section: float
    """Events per unit of luminosity."""


def short(values: Values) -> Values:
    """Return floats as float32 with 11 significant bits (compresses well, hides the last bit); integers as int32."""
    if values.dtype.kind != "f":
        return values.astype(np.int32)
    mantissa, exponent = np.frexp(values)
    shortened: Values = np.ldexp(np.round(mantissa * 2.0**11), exponent - 11).astype(np.float32)
    return shortened


def particles(mass: float, event: Integers, pt: Floats, eta: Floats, phi: Floats, **extra: Values) -> Particles:
    """Return particles from their directions."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return Particles(mass=mass, event=event, px=px, py=py, pz=pz, extra=extra)


def resonance(random: RandomState, size: int) -> Floats:
    """Return dimuon masses: a Breit-Wigner peak, cut at 40 and 250 GeV, on a continuum that falls as 1/m^3."""
    low, high = 40.0, 250.0
    first, last = np.arctan((np.array([low, high]) - Z_MASS) / (Z_WIDTH / 2))
    peak = Z_MASS + Z_WIDTH / 2 * np.tan(random.uniform(first, last, size))
    continuum = low / np.sqrt(1 - random.uniform(0, 1 - (low / high) ** 2, size))
    return np.where(random.uniform(size=size) < 0.08, continuum, peak)


def drell_yan(random: RandomState, size: int) -> Particles:
    """Return two muons per event from the decay of one boson, back to back in its rest frame."""
    mass = resonance(random, size)
    # dN/dpT^2 = (1 + pT^2 / 8^2)^-2.2: a maximum near 5 GeV and a tail
    pt = 8.0 * np.sqrt((1 - random.uniform(size=size)) ** (-1 / 1.2) - 1)
    phi, rapidity = random.uniform(-np.pi, np.pi, size), random.normal(0.0, 1.3, size)
    transverse_mass = np.hypot(mass, pt)
    boson = np.array([pt * np.cos(phi), pt * np.sin(phi), transverse_mass * np.sinh(rapidity)])
    energy = transverse_mass * np.cosh(rapidity)
    direction = decay_direction(random, size)
    momentum = np.sqrt(mass**2 / 4 - MUON_MASS**2) * direction
    # Lorentz boost of (m/2, +-momentum) by the boson's velocity
    shift = boson * (np.sum(boson * momentum, axis=0) / (energy + mass) / mass)
    px, py, pz = np.hstack([boson / 2 + shift + momentum, boson / 2 - shift - momentum])
    charge = np.where(random.uniform(size=size) < 0.5, 1, -1)
    extra = {"Charge": np.hstack([charge, -charge]), "Iso": random.exponential(0.9, 2 * size)}
    return Particles(mass=MUON_MASS, event=np.tile(np.arange(size), 2), px=px, py=py, pz=pz, extra=extra)


def decay_direction(random: RandomState, size: int) -> Floats:
    """Return unit vectors, shape (3, size), whose polar angle follows 1 + cos^2."""
    # the cumulative distribution is the cubic (c^3 + 3 c + 4) / 8, solved by Cardano's formula
    half = 4 * random.uniform(size=size) - 2
    root = np.sqrt(half**2 + 1)
    cosine = np.cbrt(half + root) + np.cbrt(half - root)
    sine, azimuth = np.sqrt(np.maximum(0.0, 1 - cosine**2)), random.uniform(-np.pi, np.pi, size)
    return np.array([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])


def top_pairs(random: RandomState, size: int) -> Particles:
    """Return muons from W bosons: of each sign one, in six of ten cases each (this sample is rich in dimuons)."""
    both = np.arange(2 * size)
    found = both[random.uniform(size=2 * size) < 0.6]
    pt, eta = 12.0 + random.exponential(38.0, len(found)), random.normal(0.0, 1.1, len(found))
    phi, iso = random.uniform(-np.pi, np.pi, len(found)), random.exponential(1.4, len(found))
    return particles(MUON_MASS, found % size, pt, eta, phi, Charge=np.where(found < size, 1, -1), Iso=iso)


def muons_in(jets: Particles, random: RandomState) -> Particles:
    """Return soft muons inside one jet of twelve: what an isolation cut is for."""
    inside = jets.where(random.uniform(size=len(jets.event)) < 1 / 12)
    count = len(inside.event)
    share, shift = random.uniform(0.1, 0.5, count), random.normal(0.0, 0.1, (2, count))
    pt, eta, phi = share * inside.pt, inside.eta + shift[0], np.arctan2(inside.py, inside.px) + shift[1]
    charge = np.where(random.uniform(size=count) < 0.5, 1, -1)
    return particles(MUON_MASS, inside.event, pt, eta, phi, Charge=charge, Iso=(1 - share) * inside.pt)


def make_jets(process: Process, random: RandomState, size: int) -> Particles:
    """Return jets above 30 GeV."""
    event = np.repeat(np.arange(size), random.poisson(process.jets, size))
    count = len(event)
    pt, eta = 30.0 + random.exponential(28.0, count), np.clip(random.normal(0.0, 1.5, count), -4.5, 4.5)
    bottom = random.uniform(size=count) < process.b_jets
    tag = np.where(bottom, 1 - random.exponential(0.2, count), random.exponential(0.15, count))
    return particles(8.0, event, pt, eta, random.uniform(-np.pi, np.pi, count), btag=np.clip(tag, 0.0, 1.0))


def seen(muons: Particles, random: RandomState) -> Particles:
    """Return the muons as a detector sees them: momenta smeared by 1.5 %, |eta| < 2.4, pT > 5 GeV, 96 % found."""
    size = len(muons.event)
    scale = 1 + random.normal(0.0, 0.015, size)
    found = random.uniform(size=size) < 0.96
    px, py, pz = scale * muons.px, scale * muons.py, scale * muons.pz
    smeared = Particles(mass=muons.mass, event=muons.event, px=px, py=py, pz=pz, extra=muons.extra)
    return smeared.where(found & (np.abs(smeared.eta) < 2.4) & (smeared.pt > 5.0))


def together(first: Particles, second: Particles) -> Particles:
    """Return the particles of both lists."""
    px, py, pz, event = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("px", "py", "pz", "event")
    )
    extra = {name: np.concatenate([values, second.extra[name]]) for name, values in first.extra.items()}
    return Particles(mass=first.mass, event=event, px=px, py=py, pz=pz, extra=extra)


def events(process: Process, random: RandomState, size: int) -> dict[str, ak.Array]:
    """Return ``size`` events without their weights."""
    jets = make_jets(process, random, size)
    muons = seen(together(process.prompt_muons(random, size), muons_in(jets, random)), random)
    fires = (muons.pt > 24.0) & (np.abs(muons.eta) < 2.1) & (random.uniform(size=len(muons.event)) < 0.92)
    recoil, direction = random.exponential(process.neutrinos, size), random.uniform(-np.pi, np.pi, size)
    noise = random.normal(0.0, 11.0, (2, size))
    return {
        "Muon": muons.jagged(size),
        "Jet": jets.jagged(size),
        "MET_px": ak.Array(short(recoil * np.cos(direction) + noise[0])),
        "MET_py": ak.Array(short(recoil * np.sin(direction) + noise[1])),
        "triggerIsoMu24": ak.Array(np.bincount(muons.event[fires], minlength=size) > 0),
    }


def simulation(process: Process, seed: int, size: int) -> dict[str, ak.Array]:
    """Return simulated events; their weights bring them to the luminosity of the data, with 10 % of scatter."""
    random = RandomState(seed)
    sample = events(process, random, size)
    weight = LUMINOSITY * process.cross_section / size * (1 + 0.1 * random.uniform(-1, 1, size))
    return sample | {"EventWeight": ak.Array(short(weight))}


def pseudo_data(processes: list[Process], seed: int) -> dict[str, ak.Array]:
    """Return as many events of each process as nature would give, in random order, with weights of 1."""
    random = RandomState(seed)
    samples = [events(process, random, random.poisson(LUMINOSITY * process.cross_section)) for process in processes]
    size = sum(len(sample["MET_px"]) for sample in samples)
    order = random.permutation(size)
    mixed = {name: ak.concatenate([sample[name] for sample in samples])[order] for name in samples[0]}
    return mixed | {"EventWeight": ak.Array(np.ones(size, dtype=np.float32))}


def write(path: Path, branches: Mapping[str, ak.Array]) -> None:
    """Write one TTree; the jagged branches of a collection share the counter ``NMuon`` or ``NJet``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path, compression=uproot.ZLIB(9)) as file:
        tree = file.mktree(
            "events",
            {name: array.type for name, array in branches.items()},
            counter_name=lambda collection: f"N{collection}",
            field_name=lambda collection, field: f"{collection}_{field}" if collection else field,
        )
        tree.extend(dict(branches))


def main(directory: Path) -> None:
    """Write ``data.root``, ``dy.root`` and ``ttbar.root`` into ``directory``."""
    dy = Process(prompt_muons=drell_yan, jets=0.7, b_jets=0.03, neutrinos=1.0, cross_section=21.0)
    ttbar = Process(prompt_muons=top_pairs, jets=3.6, b_jets=0.5, neutrinos=55.0, cross_section=3.0)
    write(directory / "data.root", pseudo_data([dy, ttbar], seed=2026))
    write(directory / "dy.root", simulation(dy, seed=1, size=2000))
    write(directory / "ttbar.root", simulation(ttbar, seed=2, size=600))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
