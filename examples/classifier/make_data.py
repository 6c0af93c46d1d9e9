"""Write the three Parquet files of this example: a signal, its background, and pseudo-data.

    python make_data.py [DIRECTORY]        (default: the folder data/ beside this script)

The events are invented: a Higgs boson made by vector-boson fusion (two jets far apart, of a large common mass), and
W bosons with jets. The pseudo-data are drawn from both recipes with other random numbers.

Run it again and the files hold the same numbers: the seeds are fixed, the random streams are NumPy's frozen ones
(``RandomState``; NEP 19), and each value keeps 11 significant bits, so that the last bit of a library's logarithm does
not matter.

Units: GeV. One row is one event:

    event                            number of the event
    Mjj, DEta                        common mass of the two leading jets, and how far apart they are in pseudorapidity
    MET                              missing transverse momentum
    Lepton_pt                        transverse momentum of the lepton
    EventWeight                      simulation only
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.random import RandomState
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Table: TypeAlias = dict[str, NDArray[np.float32] | NDArray[np.int64]]

LUMINOSITY = 100.0
"""Of the pseudo-data, in an imagined unit; cross sections are events per unit."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A recipe for events: means of exponential and widths of normal distributions, in GeV where it has a unit."""

    mass: float
    distance: float
    missing: float
    lepton: float
    cross_section: float
    """Events per unit of luminosity."""


SIGNAL = Process(mass=650.0, distance=4.2, missing=75.0, lepton=45.0, cross_section=2.0)
BACKGROUND = Process(mass=220.0, distance=1.6, missing=40.0, lepton=35.0, cross_section=26.0)


def short(values: Floats) -> NDArray[np.float32]:
    """Return floats as float32 with 11 significant bits: compresses well, hides the last bit."""
    mantissa, exponent = np.frexp(values)
    shortened: NDArray[np.float32] = np.ldexp(np.round(mantissa * 2.0**11), exponent - 11).astype(np.float32)
    return shortened


def events(process: Process, random: RandomState, size: int, *, first: int = 0) -> Table:
    """Return ``size`` events without weights, numbered from ``first``."""
    return {
        "event": np.arange(first, first + size, dtype=np.int64),
        "Mjj": short(60.0 + random.exponential(process.mass, size)),
        "DEta": short(np.abs(random.normal(process.distance, 1.3, size))),
        "MET": short(random.exponential(process.missing, size)),
        "Lepton_pt": short(25.0 + random.exponential(process.lepton, size)),
    }


def simulation(process: Process, seed: int, size: int) -> Table:
    """Return simulated events with weights that bring them to the luminosity of the data."""
    random = RandomState(seed)
    sample = events(process, random, size)
    weight = LUMINOSITY * process.cross_section / size * (1 + 0.1 * random.uniform(-1, 1, size))
    return sample | {"EventWeight": short(weight)}


def pseudo_data(seed: int) -> Table:
    """Return as many events of each process as nature would give, in random order."""
    random = RandomState(seed)
    samples: list[Table] = []
    total = 0
    for process in (SIGNAL, BACKGROUND):
        samples.append(events(process, random, int(random.poisson(LUMINOSITY * process.cross_section)), first=total))
        total += len(samples[-1]["event"])
    order = random.permutation(total)
    return {name: np.concatenate([sample[name] for sample in samples])[order] for name in samples[0]}


def write(path: Path, columns: Table) -> None:
    """Write one Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table(columns), path, compression="zstd", row_group_size=2000)


def main(directory: Path) -> None:
    """Write ``data.parquet``, ``signal.parquet`` and ``background.parquet`` into ``directory``."""
    write(directory / "data.parquet", pseudo_data(seed=7))
    write(directory / "signal.parquet", simulation(SIGNAL, seed=21, size=6000))
    write(directory / "background.parquet", simulation(BACKGROUND, seed=22, size=8000))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
