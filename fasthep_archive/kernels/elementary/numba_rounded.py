# mypy: ignore-errors
# ruff: noqa: ARG001 - numba says which arguments there are
"""The functions of :mod:`fasthep_archive.kernels.elementary.rounded` for numba, as LLVM code. Imported to compile.

Beside ``NAME_rounded`` there are ``NAME_quick``, which gives a pair of a number and a bool, and ``NAME_exact``.
"""

from numba import types
from numba.extending import intrinsic

from fasthep_archive.kernels.elementary import rounded
from fasthep_archive.kernels.elementary.lowering import Library
from fasthep_archive.kernels.linking import processor

_QUICK = types.Tuple((types.float64, types.boolean))


def _intrinsic(source):
    """Return a function of one or two numbers for numba."""
    number = types.float64
    result = _QUICK if source.__name__.endswith("_quick") else number

    def generate(context, builder, signature, arguments):
        library = Library(builder.module, processor().fused)
        found = builder.call(library.function(source), arguments)
        if result == number:
            return found
        return context.make_tuple(builder, result, [builder.extract_value(found, i) for i in range(2)])

    def of_one(typing, x):
        return result(number), generate

    def of_two(typing, x, y):
        return result(number, number), generate

    return intrinsic(of_one if source.__code__.co_argcount == 1 else of_two)


for _name in rounded.NAMES:
    for _phase in ("rounded", "quick", "exact"):
        _function = f"{_name}_{_phase}"
        globals()[_function] = _intrinsic(getattr(rounded, _function))
