"""``run.python``: products made by a function of the analysis: numbers, histograms, a table, files.

The function runs in a process of its own (:mod:`fasthep_archive.operations.child`), and sees the products of the stages
that its stage needs. What it leaves is outside the numeric profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fasthep_archive.data.products import Histogram, Values
from fasthep_archive.data.view import FILES
from fasthep_archive.digest import JSON, Digest, of_json
from fasthep_archive.errors import DataError
from fasthep_archive.operations.child import Child, Guest, seed_of
from fasthep_archive.operations.looks import looked_at
from fasthep_archive.operations.messages import Message
from fasthep_archive.operations.naming import by_need
from fasthep_archive.operations.protocol import Derivation, Deriving, Output
from fasthep_archive.workflow.code import Code

OFFERED = ("data", "params", "seed", "out")
"""What a function can ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaves:
    """What a function leaves: names of numbers, of histograms, of files, and whether it returns a table."""

    values: tuple[str, ...] = ()
    histograms: tuple[str, ...] = ()
    table: bool = False
    files: tuple[str, ...] = ()

    @classmethod
    def read(cls, returns: Mapping[str, JSON]) -> Leaves:
        """Return what checked parameters say."""
        values, histograms, files = (
            tuple(cast("Sequence[str]", returns.get(key, ()))) for key in ("values", "histograms", "files")
        )
        return cls(values=values, histograms=histograms, table=bool(returns.get("table")), files=files)

    def described(self) -> Mapping[str, JSON]:
        """Return it as JSON."""
        return {
            "values": list(self.values),
            "histograms": list(self.histograms),
            "table": self.table,
            "files": list(self.files),
        }

    def outputs(self, stage: str) -> tuple[str, ...]:
        """Return the names of the files below the outputs directory: values first, where formulas look for them."""
        return (
            *([f"values/{stage}.json"] if self.values else []),
            *(f"histograms/{stage}.{name}.json" for name in self.histograms),
            *([f"{FILES}{stage}.parquet"] if self.table else []),
            *(f"{FILES}{stage}/{name}" for name in self.files),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPython:
    """Calls a function once, with the products that its stage needs.

    :ivar timeout: most seconds that it may take; none: no limit.
    """

    callable: str
    params: Mapping[str, JSON]
    leaves: Leaves
    seed: int
    timeout: float | None
    code: Code | None = None

    takes_written = True
    """It sees what stages write, too."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> RunPython:
        """Return the operation of checked parameters."""
        return cls(
            callable=str(params["callable"]),
            params=cast("Mapping[str, JSON]", params["params"]),
            leaves=Leaves.read(cast("Mapping[str, JSON]", params["returns"])),
            seed=int(cast("int", params["seed"])),
            timeout=cast("float | None", params.get("timeout")),
        )

    def carrying(self, code: Code) -> RunPython:
        """Return the operation with the code of its function."""
        return replace(self, code=code)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the numbers, for the formulas of later stages."""
        return self.leaves.values

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return how the function is called; none after reporting that it isn't there or asks for too much."""
        place = (*deriving.path, "callable")
        if self.code is None:
            deriving.fault(f"there is no code with {self.callable}", place, "write it into a module beside this")
            return None
        try:
            asks = looked_at(self.code.files, self.callable)
        except DataError as error:
            deriving.fault(error.message, place, error.hint)
            return None
        for name in asks.needed:
            if name not in OFFERED:
                hint = f"it is called with those of these that it names: {', '.join(OFFERED)}"
                deriving.fault(f"{self.callable} asks for {name!r}, and there is none", place, hint)
                return None
        return PythonDerivation(
            stage=deriving.stage,
            callable=self.callable,
            params=self.params,
            leaves=self.leaves,
            seed=of_json([self.seed, deriving.stage]),
            timeout=self.timeout,
            code=self.code.digest,
            shipped=self.code.shipped,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonDerivation:
    """A call of a function, and what it leaves.

    :ivar seed: what the function's seed is made of. :ivar code: digest of what its results depend on.
    :ivar shipped: digest of the files of its code. :ivar files: these by name, where it is called.
    """

    stage: str
    callable: str
    params: Mapping[str, JSON]
    leaves: Leaves
    seed: str
    timeout: float | None
    code: Digest
    shipped: Digest
    files: Mapping[str, bytes] = field(repr=False, default_factory=dict)

    def bringing(self, files: Mapping[str, bytes]) -> PythonDerivation:
        """Return the same call with the files of its code."""
        return replace(self, files=files)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files."""
        return self.leaves.outputs(self.stage)

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the products."""
        return {
            "kind": "python",
            "stage": self.stage,
            "callable": self.callable,
            "params": self.params,
            "leaves": self.leaves.described(),
            "seed": self.seed,
            "code": self.code,
        }

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the files.

        :raises TaskError: if the function fails, takes too long, or leaves anything but what is declared.
        """
        guest = Guest(
            kind="python",
            target=self.callable,
            digest=self.code,
            shipped=self.shipped,
            files=lambda: self.files,
            products=dict.fromkeys(products, Digest("")),
            read=products.__getitem__,
        )
        request: dict[str, JSON] = {
            "do": "products",
            "target": self.callable,
            "stage": self.stage,
            "params": self.params,
            "seed": seed_of(self.seed),
            "returns": self.leaves.described(),
            "needs": by_need(products),
        }
        child = Child(guest, cache)
        try:
            header = child.ask(Message(request), self.timeout).header
            return tuple(self._outputs(header, child))
        finally:
            child.close()

    def _outputs(self, header: Mapping[str, JSON], child: Child) -> list[Output]:
        contents: list[bytes] = []
        numbers, histograms = (cast("Mapping[str, JSON]", header[key]) for key in ("values", "histograms"))
        if self.leaves.values:
            found = {name: float(cast("float", numbers[name])) for name in self.leaves.values}
            contents.append(Values(found).to_json())
        texts = (str(histograms[name]).encode() for name in self.leaves.histograms)
        contents += [Histogram.from_json(text).to_json() for text in texts]
        if self.leaves.table:
            contents.append(child.table.read_bytes())
        contents += [(child.out / name).read_bytes() for name in self.leaves.files]
        return [Output(name=name, held=content) for name, content in zip(self.outputs, contents, strict=True)]
