"""Programs as CUDA C: one text with a kernel for each loop, and the functions that they call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from fasthep_archive.kernels.cuda.loops import Launch, printed
from fasthep_archive.kernels.cuda.printer import Library
from fasthep_archive.kernels.emit import Argument, emit
from fasthep_archive.kernels.program import Program
from fasthep_archive.kernels.schedule import schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class CudaSource:
    """A program for the GPU.

    :ivar text: CUDA C; equal programs on columns of equal types give equal text.
    :ivar launches: one for each loop of the schedule, in the order in which they run.
    """

    text: str
    launches: tuple[Launch, ...]


def cuda_source(program: Program, columns: Mapping[str, np.dtype]) -> CudaSource:
    """Return ``program`` for columns whose contents have the types ``columns``, as they are in the file.

    :raises DataError: if an instruction has no spelling, or what it is spelled as no meaning in CUDA; it is named.
    """
    plan = schedule(program)
    inputs = {Argument("column", name): np.dtype(dtype) for name, dtype in columns.items()}
    inputs |= {Argument("scalar", name): np.dtype(dtype) for name, dtype in program.scalars}
    stored = {number: plan.instructions[number].dtype for number in plan.stored}
    library = Library()
    texts: list[str] = []
    launches: list[Launch] = []
    for number, loop in enumerate(plan.loops):
        text, launch = printed(library, f"loop{number}", emit(plan, loop), stored=stored, inputs=inputs)
        texts.append(text)
        launches.append(launch)
    return CudaSource(text="\n\n".join([library.text(), *texts, ""]), launches=tuple(launches))


def functions_source(module: ModuleType, names: Sequence[str]) -> str:
    """Return CUDA C with a kernel for each function of a module of restricted Python.

    ``NAME(i: int, ...)`` without a result becomes a kernel ``NAME(Int turns, ...)``, whose thread ``i`` calls it with
    ``i`` below ``turns``. ``NAME(x: float) -> float`` becomes ``NAME(Int turns, double *out, const double *x)``.

    :raises DataError: if a function is not in the language.
    """
    library = Library()
    kernels = [library.kernel(getattr(module, name)) for name in names]
    return "\n\n".join([library.text(), *kernels, ""])
