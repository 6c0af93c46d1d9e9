"""Arguments on their way into machine code: what types they have, and the 8-byte words that stand for them.

A number goes as it is, an array as the address of the NumPy object, from which machine code takes data and size as any
C extension does (:data:`DATA`), and a tuple as its members one after the other. Machine code checks nothing, so all
that it relies on is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Kind: TypeAlias = "str | tuple[Kind, ...]"
"""Type of an argument: ``int64``, ``float64``, ``bool``, ``float32[]``, ``const float32[]``, or a tuple of kinds."""

Array: TypeAlias = NDArray[np.generic]

CONSTANT, ARRAY = "const ", "[]"

DATA = object.__basicsize__
"""Where an array object has the address of its data, in bytes: after what all objects have. The address of its sizes
follows 16 bytes later (``PyArrayObject_fields`` in ``ndarraytypes.h``, part of NumPy's binary interface)."""


Passed: TypeAlias = "tuple[Kind, tuple[int | float, ...], object]"
"""An argument: its kind, its words, and itself, because it has to live as long as its address is in use.

A plain tuple, as kernels make dozens for each block of events.
"""


def passed(value: object) -> Passed:
    """Return ``value`` as it is passed.

    :raises TypeError: if it is no number, no array of numbers in one piece and one dimension, and no tuple of those.
    """
    convert = _PASSED.get(type(value))
    if convert is None:
        raise TypeError(f"a compiled function can't take a {type(value).__name__}")
    return convert(value)


def packing(kind: Kind) -> str:
    """Return the format, for :mod:`struct`, of the words of an argument."""
    if isinstance(kind, tuple):
        return "".join(map(packing, kind))
    return _FORMATS.get(kind, "q")


def written(kind: Kind) -> str:
    """Return the one text that stands for ``kind``."""
    return f"({', '.join(map(written, kind))})" if isinstance(kind, tuple) else kind


def _array(array: Array) -> Passed:
    dtype, flags = array.dtype, array.flags
    if array.ndim != 1 or not (flags.c_contiguous and flags.aligned):
        raise TypeError(f"a compiled function takes arrays of one dimension in one piece, not of shape {array.shape}")
    kinds = _KINDS.get(dtype)
    if kinds is None:
        raise TypeError(f"a compiled function can't take an array of {dtype}")
    return kinds[flags.writeable], (id(array),), array


def _tuple(members: tuple[object, ...]) -> Passed:
    all_passed = [passed(member) for member in members]
    words = tuple([word for _, own, _ in all_passed for word in own])
    return tuple([kind for kind, _, _ in all_passed]), words, members


def _number(kind: str, convert: Callable[..., int | float]) -> Callable[[object], Passed]:
    return lambda value: (kind, (convert(value),), value)


_FORMATS = {"float64": "d"}

_PASSED: dict[type, Callable[..., Passed]] = {
    np.ndarray: _array,
    tuple: _tuple,
    **{kind: _number("int64", int) for kind in (int, np.int64)},
    **{kind: _number("float64", float) for kind in (float, np.float64)},
    **{kind: _number("bool", int) for kind in (bool, np.bool_)},
}

_NAMES = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float32", "float64", "bool"),
)

_KINDS = {np.dtype(name): (f"{CONSTANT}{name}{ARRAY}", f"{name}{ARRAY}") for name in _NAMES}
"""What arrays of a type are when they must not be written to, and when they may."""
