# mypy: ignore-errors
# ruff: noqa: ARG001 - numba calls with arguments of its choice
"""What object code needs and numba has not: arrays on the stack, and a way in from outside.

Neither allocates nor counts references, so that the machine code stands alone: numba and Python needn't be there when
it runs. Imported only to compile.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fasthep_archive.kernels.passing import DATA

LARGEST = 1 << 16
"""Most bytes of an array on the stack."""

_WORD = ir.IntType(64)


@intrinsic(prefer_literal=True)
def stack_array(typing, size, dtype):
    """Return an array of ``size`` values, a constant, which lives until the function returns. Stands for np.empty."""
    number = getattr(size, "literal_value", None)
    if not isinstance(number, int) or not 0 < number * 8 <= LARGEST:
        return None
    array = types.Array(dtype.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        count = ir.Constant(_WORD, number)
        data = cgutils.alloca_once(builder, context.get_data_type(array.dtype), size=count)
        return _array(context, builder, array, data, count)

    return array(size, dtype), generate


def entry(compiled, name):
    """Return LLVM's text of ``int32 name(word *returned, word *arguments)``, which calls a compiled function.

    Arguments come as :mod:`fasthep_archive.kernels.passing` says. Returns 0, or another number after an exception.
    """
    context = cpu_target.target_context
    module = ir.Module(name)
    module.triple, module.data_layout = compiled.library.codegen.magic_tuple()[0], str(context.target_data)
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [_WORD.as_pointer()] * 2), name)
    returned, words = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    place = iter(range(1 << 16))

    def word():
        return builder.load(builder.gep(words, [ir.Constant(_WORD, next(place))]))

    def at(address, kind):
        return builder.load(builder.inttoptr(address, kind.as_pointer()))

    def array(kind, address):
        data = at(builder.add(address, ir.Constant(_WORD, DATA)), context.get_data_type(kind.dtype).as_pointer())
        sizes = at(builder.add(address, ir.Constant(_WORD, DATA + 16)), _WORD)
        return _array(context, builder, kind, data, at(sizes, _WORD))

    def argument(kind):
        if isinstance(kind, types.BaseTuple):
            return context.make_tuple(builder, kind, [argument(member) for member in kind])
        if isinstance(kind, types.Array):
            return array(kind, word())
        if kind == types.float64:
            return builder.bitcast(word(), ir.DoubleType())
        return word() if kind == types.int64 else builder.icmp_unsigned("!=", word(), ir.Constant(_WORD, 0))

    result_type, kinds = compiled.signature.return_type, compiled.signature.args
    callee = context.declare_function(module, compiled.fndesc)
    arguments = [argument(kind) for kind in kinds]
    status, result = context.call_conv.call_function(builder, callee, result_type, kinds, arguments)
    if result_type != types.none:
        as_word = builder.zext if types.unliteral(result_type) == types.boolean else builder.bitcast
        builder.store(as_word(result, _WORD), returned)
    builder.ret(builder.zext(status.is_error, ir.IntType(32)))
    return str(module)


def _array(context, builder, array, data, size):
    """Return the array structure for ``data``, which nobody owns."""
    made = context.make_array(array)(context, builder)
    step = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
    made.data, made.nitems, made.itemsize = data, size, step
    made.shape = cgutils.pack_array(builder, [size])
    made.strides = cgutils.pack_array(builder, [step])
    made.meminfo = cgutils.get_null_value(made.meminfo.type)
    made.parent = cgutils.get_null_value(made.parent.type)
    return made._getvalue()
