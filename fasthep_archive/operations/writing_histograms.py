"""The sink ``root_histograms``: histograms that stages leave, as TH1D, TH2D and TH3D in one ROOT file.

Which histograms ROOT sees, and what they are called, says :mod:`fasthep_archive.data.root_histograms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from fasthep_archive.data.products import Histogram, kind_of
from fasthep_archive.data.root_histograms import in_root, write_histograms
from fasthep_archive.data.trees import Compression
from fasthep_archive.digest import JSON
from fasthep_archive.operations.protocol import Derivation, Deriving, Made, Output
from fasthep_archive.operations.writing import FOLDER


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteHistograms:
    """Writes the histograms of its inputs. :ivar path: below :data:`FOLDER`, with the token ``{node_id}``."""

    path: str
    compression: Compression
    level: int

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> WriteHistograms:
        """Return the writer of checked parameters."""
        return cls(
            path=str(params["path"]),
            compression=cast("Compression", params["compression"]),
            level=int(cast("int", params["compression_level"])),
        )

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return the file; none after a fault."""
        sound = True
        for made in deriving.inputs.values():
            fault = _fault(made)
            if fault is not None:
                deriving.fault(fault, deriving.path, "write the histograms of stages with op: hep.hist")
                sound = False
        path = PurePosixPath(self.path.replace("{node_id}", deriving.stage))
        name = str(path if path.suffix else path.with_name(f"{path.name}.root"))
        return RootFile(name=f"{FOLDER}/{name}", compression=self.compression, level=self.level) if sound else None


@dataclass(frozen=True, kw_only=True, slots=True)
class RootFile:
    """A ROOT file of histograms."""

    name: str
    compression: Compression
    level: int

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.name,)

    def canonical(self) -> JSON:
        return {"writer": "root_histograms", "name": self.name, "compression": [self.compression, self.level]}

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the file; histograms are called like their own files."""
        found = [
            converted
            for outputs in products.values()
            for output in _histograms(outputs)
            for converted in in_root(Histogram.from_json(output.content), PurePosixPath(output.name).stem)
        ]
        return (Output(name=self.name, held=write_histograms(found, self.compression, self.level)),)


def _histograms(outputs: tuple[Output, ...]) -> Iterator[Output]:
    return (output for output in outputs if kind_of(output.name) == "histogram")


def _fault(made: Made) -> str | None:
    """Return why nothing can be written of a stage; none if its histograms can."""
    if not any(kind_of(name) == "histogram" for name in made.outputs):
        return f"stage {made.stage!r} ({made.op}) leaves no histogram"
    if getattr(made.operation, "sample", None) is not None:
        return f"stage {made.stage!r} leaves means of samples, which root_histograms does not write"
    axes = getattr(made.operation, "axes", ())
    numbers = [axis for axis in axes if getattr(axis, "type", "") in ("regular", "variable")]
    if len(numbers) > 3:
        return f"stage {made.stage!r} has {len(numbers)} axes of numbers, and ROOT's histograms have up to 3"
    return None
