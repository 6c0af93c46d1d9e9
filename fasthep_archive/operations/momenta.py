"""Four-momenta from pt, eta, phi and mass: their components, sums, and angles between them.

The order of the operations below is part of the numeric profile. The coordinates are those of the LHC experiments
(Particle Data Group, *Review of Particle Physics*, Kinematics): with the pseudorapidity eta, the momentum is
pt cosh(eta), and pt sinh(eta) along the beam. Signs follow scikit-hep's vector and ROOT's ``TLorentzVector::M``: a
negative mass stands for a negative square of the mass, on the way in and out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fasthep_archive.formula.parse import parse
from fasthep_archive.kernels.program import Builder, Value

COORDINATES = ("pt", "eta", "phi", "mass")

_COMPONENTS = MappingProxyType(
    {
        "px": "pt * cos(phi)",
        "py": "pt * sin(phi)",
        "pz": "pt * sinh(eta)",
        "e_squared": "px * px + py * py + pz * pz + mass * abs(mass)",
        "e": "sqrt(where(e_squared < 0, 0.0, e_squared))",
    }
)

_SUMMED = ("px", "py", "pz", "e")

_OF_SUM = MappingProxyType(
    {
        "pt": "hypot(px, py)",
        "eta": "where(pz == 0, 0.0, arcsinh(pz / pt))",
        "phi": "arctan2(py, px)",
        "mass_squared": "e * e - (px * px + py * py + pz * pz)",
        "mass": "where(mass_squared < 0, -sqrt(-mass_squared), sqrt(mass_squared))",
    }
)

_TRANSVERSE_MASS = "sqrt(2 * met_pt * pt * (1 - cos(phi - met_phi)))"

_TURN = 6.283185307179586
"""The double nearest to 2 pi."""

_DELTA_R = MappingProxyType(
    {
        "d_eta": "eta_1 - eta_2",
        "turned": "phi_1 - phi_2",
        "d_phi": f"turned - round(turned / {_TURN}) * {_TURN}",
        "delta_r": "sqrt(d_eta * d_eta + d_phi * d_phi)",
    }
)
"""A difference of azimuths within (-pi, pi) is taken as it is; others are turned by whole turns."""


def components(build: Builder, coordinates: Mapping[str, Value]) -> dict[str, Value]:
    """Return px, py, pz and the energy, in the unit of pt and mass."""
    found = _computed(build, _COMPONENTS, {name: coordinates[name] for name in COORDINATES})
    return {name: found[name] for name in _SUMMED}


def summed(build: Builder, one: Mapping[str, Value], other: Mapping[str, Value]) -> dict[str, Value]:
    """Return pt, eta, phi and mass of the sum of two four-momenta, from their components.

    Without momentum along the beam eta is 0; without any across it eta is infinite.
    """
    total = {name: build.apply("add", one[name], other[name]) for name in _SUMMED}
    found = _computed(build, _OF_SUM, total)
    return {name: found[name] for name in COORDINATES}


def transverse(build: Builder, pt: Value, phi: Value) -> dict[str, Value]:
    """Return px and py."""
    found = _computed(build, {name: _COMPONENTS[name] for name in ("px", "py")}, {"pt": pt, "phi": phi})
    return {name: found[name] for name in ("px", "py")}


def polar(build: Builder, px: Value, py: Value) -> dict[str, Value]:
    """Return pt and phi of a transverse momentum."""
    found = _computed(build, {name: _OF_SUM[name] for name in ("pt", "phi")}, {"px": px, "py": py})
    return {name: found[name] for name in ("pt", "phi")}


def transverse_mass(build: Builder, lepton: Mapping[str, Value], met: Mapping[str, Value]) -> Value:
    """Return the transverse mass of a lepton and missing transverse momentum, both massless."""
    names = {"pt": lepton["pt"], "phi": lepton["phi"], "met_pt": met["pt"], "met_phi": met["phi"]}
    return build.formula(parse(_TRANSVERSE_MASS), names)


def delta_r(build: Builder, one: Mapping[str, Value], other: Mapping[str, Value]) -> Value:
    """Return the distance of two directions in eta and phi."""
    given = {f"{name}_{n}": side[name] for n, side in ((1, one), (2, other)) for name in ("eta", "phi")}
    return _computed(build, _DELTA_R, given)["delta_r"]


def _computed(build: Builder, formulas: Mapping[str, str], given: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of formulas, which see what is given and the formulas before."""
    known = dict(given)
    for name, text in formulas.items():
        known[name] = build.formula(parse(text), known)
    return known
