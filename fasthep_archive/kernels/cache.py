"""Compiled functions by their source text, each compiled once per user, processor and compiler version.

The directory belongs to the user alone: whatever lies there is executed. Nothing from a bundle enters it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from fasthep_archive.kernels.machine import Function
from fasthep_archive.kernels.unit import Unit


def load(
    source: str, functions: Sequence[str], *, cache: Path, name: str = "kernel", lowerable: bool = False
) -> ModuleType:
    """Return a module that has the ``functions`` of ``source``, as machine code.

    They take NumPy arrays, numbers, and tuples of those. ``source`` is ours, never a user's: no name that a user chose
    may reach it. An array that is made with ``np.empty`` has a size that is known when the source is compiled.

    :param lowerable: whether LLVM alone can compile them, as :class:`Unit` says.
    """
    unit = Unit(name=name, text=source, functions=tuple(functions), lowerable=lowerable)
    module = ModuleType(name)
    for function in functions:
        setattr(module, function, Function.of(unit, function, cache))
    return module
