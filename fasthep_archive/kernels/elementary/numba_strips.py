# mypy: ignore-errors
# ruff: noqa: ARG001 - numba says which arguments there are
"""The functions of :mod:`fasthep_archive.kernels.elementary.strips` for numba: calls of code that is made elsewhere.

The code is one object for each function, compiled once for all kernels (:mod:`fasthep_archive.kernels.strip_code`).
Imported to compile.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fasthep_archive.kernels.elementary.lowering import DOUBLE, WORD
from fasthep_archive.kernels.elementary.rounded import NAMES
from fasthep_archive.kernels.elementary.strip_lowering import FORGOTTEN
from fasthep_archive.kernels.elementary.strips import SUFFIX
from fasthep_archive.kernels.strip_code import symbol


def _intrinsic(name, count):
    """Return a function of arrays and a number for numba."""
    array = types.Array(types.float64, 1, "C")
    kind = ir.FunctionType(ir.VoidType(), [DOUBLE.as_pointer()] * (count + 1) + [WORD])

    def generate(context, builder, signature, arguments):
        function = cgutils.get_or_insert_function(builder.module, kind, symbol(name))
        function.attributes.add("nounwind")
        for argument in function.args[:-1]:
            set.add(argument.attributes, FORGOTTEN)
        data = [context.make_array(array)(context, builder, argument).data for argument in arguments[:-1]]
        builder.call(function, [*data, arguments[-1]])
        return context.get_dummy_value()

    def of_one(typing, x, results, size):
        return types.none(array, array, types.int64), generate

    def of_two(typing, x, y, results, size):
        return types.none(array, array, array, types.int64), generate

    return intrinsic(of_one if count == 1 else of_two)


@intrinsic
def copy_out(typing, values, count, out, begin):
    """Copy the first ``count`` of ``values`` to where ``out`` has its value ``begin``."""
    if not isinstance(out, types.Array) or values.dtype != out.dtype:
        return None

    def generate(context, builder, signature, arguments):
        source, size, target, start = arguments
        data = [
            context.make_array(kind)(context, builder, array).data
            for kind, array in ((signature.args[0], source), (signature.args[2], target))
        ]
        width = ir.Constant(WORD, context.get_abi_sizeof(context.get_data_type(out.dtype)))
        cgutils.raw_memcpy(builder, builder.gep(data[1], [start]), data[0], size, width)
        return context.get_dummy_value()

    return types.none(values, types.int64, out, types.int64), generate


def _arguments(name):
    from fasthep_archive.kernels.elementary import rounded

    return getattr(rounded, f"{name}_rounded").__code__.co_argcount


for _name in NAMES:
    globals()[f"{_name}{SUFFIX}"] = _intrinsic(_name, _arguments(_name))
