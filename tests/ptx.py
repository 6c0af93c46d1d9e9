"""PTX on the CPU: what NVRTC has made of a kernel, translated to LLVM's language and run, one thread after the other.

Only what is written here is understood, and anything else is an error. Every register is a variable of bits; floating
operations are LLVM's, without any fast-math flag, and ``fma`` is LLVM's exact one.
"""

import ctypes
import re
import struct
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fasthep_archive.kernels.cuda.ptx import Function, Instruction, Module

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
BYTES = I8.as_pointer()
FLOATS = {"f32": F32, "f64": F64}
SPECIAL = ("tid", "ntid", "ctaid")
COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
ROUNDED = {"rmi": "llvm.floor", "rpi": "llvm.ceil", "rzi": "llvm.trunc", "rni": "llvm.roundeven"}
ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
INTEGER = {"add": "add", "sub": "sub", "and": "and_", "or": "or_", "xor": "xor"}
PARAMETER = 128
"""Bytes that an argument or a result of a called function may have."""


def word(value: object) -> int:
    """Return an argument as the 8 bytes in which a kernel finds it."""
    match value:
        case np.ndarray():
            return value.ctypes.data
        case float():
            return int.from_bytes(struct.pack("<d", value), "little")
        case _:
            return int(value)


def bits_of(kind: str) -> int:
    return 1 if kind == "pred" else int(kind[1:])


class Translated:
    """A module of PTX as machine code of this processor."""

    def __init__(self, module: Module) -> None:
        self.ir = ir.Module("ptx")
        self.special = {name: ir.GlobalVariable(self.ir, I32, f"special.{name}") for name in SPECIAL}
        for variable in self.special.values():
            variable.initializer = ir.Constant(I32, 0)
            variable.linkage = "internal"
        self.misaligned = ir.GlobalVariable(self.ir, I64, "misaligned")
        self.misaligned.initializer = ir.Constant(I64, 0)
        self.truncated = ir.Function(self.ir, ir.FunctionType(I64, [F64]), "llvm.fptosi.sat.i64.f64")
        self.tables = {name: self._table(name, content) for name, content in module.tables.items()}
        self.functions = {function.name: self._declared(function) for function in module.functions}
        self.sources = {function.name: function for function in module.functions}
        for function in module.functions:
            Body(self, function)
        for function in module.functions:
            if function.entry:
                self._runner(function)
        self._engine = engine(str(self.ir))

    def run(self, name: str, threads: int, arguments: Sequence[object]) -> None:
        """Run kernel ``name`` with at least ``threads`` threads, on arrays and numbers.

        The last thread runs first: what leans on the order of threads goes wrong.
        """
        address = self._engine.get_function_address(f"run.{name}")
        words = np.array([word(argument) % 2**64 for argument in arguments], np.uint64)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)(words.ctypes.data, threads)
        misaligned = ctypes.c_int64.from_address(self._engine.get_global_value_address("misaligned"))
        assert not misaligned.value, f"{name}: an address is not a multiple of the size, which a device refuses"

    def _table(self, name: str, content: bytes) -> ir.GlobalVariable:
        kind = ir.ArrayType(I8, len(content))
        made = ir.GlobalVariable(self.ir, kind, name)
        made.initializer = ir.Constant(kind, bytearray(content))
        made.global_constant, made.linkage, made.align = True, "internal", 16
        return made

    def _declared(self, function: Function) -> ir.Function:
        """Return the function: it takes the addresses of its parameters, and of its result if it has one."""
        count = len(function.parameters) + (function.result is not None)
        made = ir.Function(self.ir, ir.FunctionType(ir.VoidType(), [BYTES] * count), function.name.replace("$", "."))
        made.linkage = "internal"
        return made

    def _runner(self, function: Function) -> None:
        """Write the loop over the threads, in groups of 128."""
        kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64])
        made = ir.Function(self.ir, kind, f"run.{function.name}")
        words, threads = made.args
        entry, test, body, done = (made.append_basic_block() for _ in range(4))
        builder = ir.IRBuilder(entry)
        place = builder.alloca(I64)
        builder.store(ir.Constant(I64, 0), place)
        builder.store(ir.Constant(I32, 128), self.special["ntid"])
        builder.branch(test)
        builder.position_at_end(test)
        turn = builder.load(place)
        # whole groups run, as on a device
        last = builder.and_(builder.add(threads, ir.Constant(I64, 127)), ir.Constant(I64, ~127))
        thread = builder.sub(builder.sub(last, turn), ir.Constant(I64, 1))
        builder.cbranch(builder.icmp_signed("<", turn, last), body, done)
        builder.position_at_end(body)
        within, group = builder.and_(thread, ir.Constant(I64, 127)), builder.lshr(thread, ir.Constant(I64, 7))
        builder.store(builder.trunc(within, I32), self.special["tid"])
        builder.store(builder.trunc(group, I32), self.special["ctaid"])
        slots = [builder.gep(words, [ir.Constant(I64, i)]) for i in range(len(function.parameters))]
        builder.call(self.functions[function.name], [builder.bitcast(slot, BYTES) for slot in slots])
        builder.store(builder.add(turn, ir.Constant(I64, 1)), place)
        builder.branch(test)
        builder.position_at_end(done)
        builder.ret_void()


def engine(text: str) -> llvm.ExecutionEngine:
    """Return the compiled module, optimised enough to run quickly."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1, jit=True
    )
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    builder.getModulePassManager().run(module, builder)
    made = llvm.create_mcjit_compiler(module, machine)
    made.finalize_object()
    return made


class Body:
    """Translates one function."""

    def __init__(self, module: Translated, source: Function) -> None:
        self.module = module
        self.source = source
        self.function = module.functions[source.name]
        self.entry = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.builder = ir.IRBuilder(self.function.append_basic_block("body"))
        self.registers: dict[str, ir.Value] = {}
        self.arguments: dict[str, ir.Value] = {}
        names = [name for name, _ in source.parameters] + ([source.result[0]] if source.result else [])
        self.parameters = dict(zip(names, self.function.args, strict=True))
        self.arrays = {name: self.room(size) for name, size in source.arrays.items()}
        self.blocks: dict[str, ir.Block] = {}
        for instruction in source.body:
            if self.builder.block.is_terminated and instruction.opcode != ":":
                continue  # nothing gets here
            self.translate(instruction)
        if not self.builder.block.is_terminated:
            self.builder.ret_void()
        self.entry.branch(self.function.basic_blocks[1])

    def room(self, size: int) -> ir.Value:
        made = self.entry.alloca(ir.ArrayType(I8, size))
        made.align = 16
        return self.entry.bitcast(made, BYTES)

    def block(self, label: str) -> ir.Block:
        if label not in self.blocks:
            self.blocks[label] = self.function.append_basic_block(label.replace("$", "."))
        return self.blocks[label]

    def translate(self, instruction: Instruction) -> None:
        base, *rest = instruction.opcode.split(".")
        if instruction.opcode == ":":
            block = self.block(instruction.operands[0])
            if not self.builder.block.is_terminated:
                self.builder.branch(block)
            self.builder.position_at_end(block)
            return
        after = None
        if instruction.guard:
            condition = self.read(instruction.guard.lstrip("!"), 1)
            if instruction.guard.startswith("!"):
                condition = self.builder.not_(condition)
            after, inside = self.function.append_basic_block(), self.function.append_basic_block()
            self.builder.cbranch(condition, inside, after)
            self.builder.position_at_end(inside)
        if base in INTEGER:
            self.arithmetic(base, rest, *instruction.operands)
        elif base in {"min", "max"}:
            self.extreme(base, rest, *instruction.operands)
        else:
            getattr(self, f"do_{base}")(rest, *instruction.operands)
        if after is not None:
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
            self.builder.position_at_end(after)

    # Registers and constants

    def register(self, name: str) -> ir.Value:
        if name not in self.registers:
            family = re.fullmatch(r"%([A-Za-z]+)\d*", name)
            assert family, name
            size = self.source.registers[family[1]]
            kind = ir.IntType(size * 8) if size else I1
            self.registers[name] = self.entry.alloca(kind, name=name.replace("%", ""))
        return self.registers[name]

    def read(self, operand: str, bits: int) -> ir.Value:
        """Return an operand as ``bits`` bits."""
        kind = ir.IntType(bits)
        if re.fullmatch(r"-?\d+U?", operand):
            return ir.Constant(kind, int(operand.rstrip("U")) % 2**bits)
        if operand.startswith(("0d", "0f", "0D", "0F")):
            assert bits == (len(operand) - 2) * 4, operand
            return ir.Constant(kind, int(operand[2:], 16))
        if operand.startswith("%") and operand[1:].removesuffix(".x") in self.module.special:
            return self.fitted(self.builder.load(self.module.special[operand[1:].removesuffix(".x")]), bits)
        if operand.startswith("%"):
            return self.fitted(self.builder.load(self.register(operand)), bits)
        return self.builder.ptrtoint(self.symbol(operand), I64)

    def symbol(self, name: str) -> ir.Value:
        return self.arrays[name] if name in self.arrays else self.module.tables[name]

    def fitted(self, value: ir.Value, bits: int, *, signed: bool = False) -> ir.Value:
        width = value.type.width
        if width == bits:
            return value
        if width > bits:
            return self.builder.trunc(value, ir.IntType(bits))
        return (self.builder.sext if signed else self.builder.zext)(value, ir.IntType(bits))

    def write(self, name: str, value: ir.Value, *, signed: bool = False) -> None:
        if name == "_":
            return
        if value.type in (F32, F64):
            value = self.builder.bitcast(value, I32 if value.type == F32 else I64)
        place = self.register(name)
        self.builder.store(self.fitted(value, place.type.pointee.width, signed=signed), place)

    def number(self, operand: str, kind: str) -> ir.Value:
        """Return an operand as a floating number."""
        return self.builder.bitcast(self.read(operand, bits_of(kind)), FLOATS[kind])

    def intrinsic(self, name: str, *values: ir.Value) -> ir.Value:
        kind = ir.FunctionType(values[0].type, [value.type for value in values])
        return self.builder.call(self.module.ir.declare_intrinsic(name, [values[0].type], kind), values)

    # Arithmetic

    def arithmetic(self, base, kinds, target, first, second):
        if kinds[-1] in FLOATS:
            assert kinds == ["rn", "f64"], kinds
            values = [self.number(operand, "f64") for operand in (first, second)]
            self.write(target, getattr(self.builder, ARITHMETIC[base])(*values))
        else:
            assert len(kinds) == 1, kinds
            values = [self.read(operand, bits_of(kinds[0])) for operand in (first, second)]
            self.write(target, getattr(self.builder, INTEGER[base])(*values))

    def do_mul(self, kinds, target, first, second):
        if kinds[-1] in FLOATS:
            self.arithmetic("mul", kinds, target, first, second)
        else:
            self.write(target, self.product(kinds, first, second))

    def product(self, kinds, first, second):
        part, kind = kinds
        bits, signed = bits_of(kind), kind[0] == "s"
        values = [self.read(operand, bits) for operand in (first, second)]
        if part == "lo":
            return self.builder.mul(*values)
        whole = self.builder.mul(*(self.fitted(value, 2 * bits, signed=signed) for value in values))
        if part == "wide":
            return whole
        assert part == "hi", kinds
        return self.builder.trunc(self.builder.lshr(whole, ir.Constant(whole.type, bits)), ir.IntType(bits))

    def do_mad(self, kinds, target, first, second, third):
        product = self.product(kinds, first, second)
        self.write(target, self.builder.add(product, self.read(third, product.type.width)))

    def do_div(self, kinds, target, first, second):
        if kinds[-1] in FLOATS:
            self.arithmetic("div", kinds, target, first, second)
        else:
            self.write(target, self.divided(kinds[0], first, second)[0])

    def do_rem(self, kinds, target, first, second):
        self.write(target, self.divided(kinds[0], first, second)[1])

    def divided(self, kind, first, second):
        """Return quotient and rest; for 0 and -1, with which processors may stop, the quotient is a product."""
        bits, signed = bits_of(kind), kind[0] == "s"
        one, other = (self.read(operand, bits) for operand in (first, second))
        trouble = self.builder.icmp_unsigned("==", other, ir.Constant(other.type, 0))
        if signed:
            trouble = self.builder.or_(
                trouble, self.builder.icmp_unsigned("==", other, ir.Constant(other.type, 2**bits - 1))
            )
        safe = self.builder.select(trouble, ir.Constant(other.type, 1), other)
        quotient = (self.builder.sdiv if signed else self.builder.udiv)(one, safe)
        quotient = self.builder.select(trouble, self.builder.mul(one, other), quotient)
        return quotient, self.builder.sub(one, self.builder.mul(quotient, other))

    def do_fma(self, kinds, target, *operands):
        assert kinds == ["rn", "f64"], kinds
        self.write(target, self.intrinsic("llvm.fma", *(self.number(operand, "f64") for operand in operands)))

    def do_rcp(self, kinds, target, operand):
        assert kinds == ["rn", "f64"], kinds
        self.write(target, self.builder.fdiv(ir.Constant(F64, 1.0), self.number(operand, "f64")))

    def do_sqrt(self, kinds, target, operand):
        assert kinds == ["rn", "f64"], kinds
        self.write(target, self.intrinsic("llvm.sqrt", self.number(operand, "f64")))

    def do_neg(self, kinds, target, operand):
        value = self.read(operand, bits_of(kinds[0]))
        if kinds[0] in FLOATS:
            self.write(target, self.builder.xor(value, ir.Constant(value.type, 1 << (value.type.width - 1))))
        else:
            self.write(target, self.builder.neg(value))

    def do_abs(self, kinds, target, operand):
        value = self.read(operand, bits_of(kinds[0]))
        if kinds[0] in FLOATS:
            self.write(target, self.builder.and_(value, ir.Constant(value.type, 2 ** (value.type.width - 1) - 1)))
        else:
            negative = self.builder.icmp_signed("<", value, ir.Constant(value.type, 0))
            self.write(target, self.builder.select(negative, self.builder.neg(value), value))

    def extreme(self, base, kinds, target, first, second):
        (kind,) = kinds
        assert kind not in FLOATS, kinds
        one, other = (self.read(operand, bits_of(kind)) for operand in (first, second))
        compare = self.builder.icmp_signed if kind[0] == "s" else self.builder.icmp_unsigned
        self.write(target, self.builder.select(compare("<" if base == "min" else ">", one, other), one, other))

    def do_copysign(self, kinds, target, sign, size):
        top, rest = ir.Constant(I64, 1 << 63), ir.Constant(I64, 2**63 - 1)
        sign, size = self.builder.and_(self.read(sign, 64), top), self.builder.and_(self.read(size, 64), rest)
        self.write(target, self.builder.or_(sign, size))

    # Bits

    def do_not(self, kinds, target, operand):
        self.write(target, self.builder.not_(self.read(operand, bits_of(kinds[0]))))

    def do_shl(self, kinds, target, value, count):
        self.shifted("shl", kinds, target, value, count)

    def do_shr(self, kinds, target, value, count):
        self.shifted("ashr" if kinds[0][0] == "s" else "lshr", kinds, target, value, count)

    def shifted(self, name, kinds, target, value, count):
        """Shift by at most the number of bits, as PTX does: 0 or the sign is left then."""
        bits = bits_of(kinds[0])
        count = self.read(count, 32)
        far = self.builder.icmp_unsigned(">=", count, ir.Constant(I32, bits))
        near = self.fitted(self.builder.select(far, ir.Constant(I32, bits - 1), count), bits)
        result = getattr(self.builder, name)(self.read(value, bits), near)
        gone = result if name == "ashr" else ir.Constant(result.type, 0)
        self.write(target, self.builder.select(far, gone, result))

    def do_bfi(self, kinds, target, source, into, start, length):
        bits = bits_of(kinds[0])
        assert start.isdecimal(), start
        assert length.isdecimal(), length
        mask = ((1 << int(length)) - 1) << int(start)
        moved = self.builder.shl(self.read(source, bits), ir.Constant(ir.IntType(bits), int(start)))
        moved = self.builder.and_(moved, ir.Constant(moved.type, mask))
        kept = self.builder.and_(self.read(into, bits), ir.Constant(moved.type, 2**bits - 1 - mask))
        self.write(target, self.builder.or_(moved, kept))

    # Choices

    def do_setp(self, kinds, target, first, second, *joined):
        comparison, *joint, kind = kinds
        if kind in FLOATS:
            result = self.compared(comparison, self.number(first, kind), self.number(second, kind))
        else:
            values = [self.read(operand, bits_of(kind)) for operand in (first, second)]
            unsigned = {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
            compare = self.builder.icmp_signed if kind[0] == "s" else self.builder.icmp_unsigned
            result = compare(COMPARED.get(comparison) or unsigned[comparison], *values)
        if joint:
            other = self.read(joined[0].lstrip("!"), 1)
            other = self.builder.not_(other) if joined[0].startswith("!") else other
            result = getattr(self.builder, INTEGER[joint[0]])(result, other)
        self.write(target, result)

    def compared(self, comparison, first, second):
        if comparison in {"num", "nan"}:
            compare = self.builder.fcmp_ordered if comparison == "num" else self.builder.fcmp_unordered
            return compare("ord" if comparison == "num" else "uno", first, second)
        if comparison in COMPARED:
            return self.builder.fcmp_ordered(COMPARED[comparison], first, second)
        return self.builder.fcmp_unordered(COMPARED[comparison.removesuffix("u")], first, second)

    def do_selp(self, kinds, target, first, second, condition):
        bits = bits_of(kinds[0])
        choice = self.builder.select(self.read(condition, 1), self.read(first, bits), self.read(second, bits))
        self.write(target, choice)

    # Conversions and moves

    def do_mov(self, kinds, target, operand):
        bits = bits_of(kinds[0])
        if operand.startswith("{") or target.startswith("{"):
            raise NotImplementedError(f"mov {target}, {operand}")
        self.write(target, self.read(operand, bits))

    def do_cvta(self, kinds, target, operand):
        self.write(target, self.read(operand, 64))

    def do_cvt(self, kinds, target, operand):
        *rounding, to, source = kinds
        signed = source[0] == "s"
        if source not in FLOATS and to not in FLOATS:
            assert not rounding, kinds
            value = self.fitted(self.read(operand, bits_of(source)), bits_of(to), signed=signed)
            self.write(target, value, signed=to[0] == "s")
        elif source not in FLOATS:
            assert rounding == ["rn"], kinds
            value = self.read(operand, bits_of(source))
            self.write(target, (self.builder.sitofp if signed else self.builder.uitofp)(value, FLOATS[to]))
        elif to not in FLOATS:
            assert (rounding, to, source) == (["rzi"], "s64", "f64"), kinds
            self.write(target, self.builder.call(self.module.truncated, [self.number(operand, "f64")]))
        elif (to, source) == ("f32", "f64"):
            assert rounding == ["rn"], kinds
            self.write(target, self.builder.fptrunc(self.number(operand, "f64"), F32))
        elif (to, source) == ("f64", "f32"):
            assert not rounding, kinds
            self.write(target, self.builder.fpext(self.number(operand, "f32"), F64))
        else:
            assert (to, source) == ("f64", "f64"), kinds
            self.write(target, self.intrinsic(ROUNDED[rounding[0]], self.number(operand, "f64")))

    # Memory

    def address(self, operand: str, space: str, offset: int = 0) -> ir.Value:
        match = re.fullmatch(r"\[([%$\w]+)(?:\+(-?\d+))?\]", operand)
        assert match, operand
        offset += int(match[2] or 0)
        if space == "param":
            start = self.parameters.get(match[1])
            if start is None:
                assert re.fullmatch(r"(param|retval)\d+", match[1]), operand
                if match[1] not in self.arguments:
                    self.arguments[match[1]] = self.room(PARAMETER)
                start = self.arguments[match[1]]
            return self.builder.gep(start, [ir.Constant(I64, offset)])
        word = self.builder.add(self.read(match[1], 64), ir.Constant(I64, offset))
        return self.builder.inttoptr(word, BYTES)

    def aligned(self, operand: str, space: str, size: int) -> None:
        """Note an address of global memory that a device refuses: it has to be a multiple of the size."""
        if space == "global" and size > 1:
            word = self.builder.ptrtoint(self.address(operand, space), I64)
            rest = self.builder.and_(word, ir.Constant(I64, size - 1))
            known = self.builder.load(self.module.misaligned)
            self.builder.store(self.builder.or_(known, rest), self.module.misaligned)

    def do_ld(self, kinds, target, operand):
        space, *vector, kind = kinds
        assert set(vector) <= {"nc", "v2"}, kinds
        bits = bits_of(kind)
        names = [name.strip() for name in target.strip("{}").split(",")]
        self.aligned(operand, space, bits // 8 * len(names))
        for i, name in enumerate(names):
            place = self.builder.bitcast(self.address(operand, space, i * bits // 8), ir.IntType(bits).as_pointer())
            self.write(name, self.builder.load(place, align=1), signed=kind[0] == "s")

    def do_st(self, kinds, operand, source):
        space, *vector, kind = kinds
        assert set(vector) <= {"v2"}, kinds
        bits = bits_of(kind)
        self.aligned(operand, space, bits // 8 * (1 + len(vector)))
        for i, name in enumerate(source.strip("{}").split(",")):
            place = self.builder.bitcast(self.address(operand, space, i * bits // 8), ir.IntType(bits).as_pointer())
            self.builder.store(self.read(name.strip(), bits), place, align=1)

    def do_atom(self, kinds, target, operand, source):
        space, name, kind = kinds
        self.write(target, self.atomic(space, name, kind, operand, source))

    def atomic(self, space, name, kind, operand, source):
        operation = {"add": "add", "min": "umin" if kind[0] == "u" else "min", "or": "or"}[name]
        self.aligned(operand, space, bits_of(kind) // 8)
        place = self.builder.bitcast(self.address(operand, space), ir.IntType(bits_of(kind)).as_pointer())
        return self.builder.atomic_rmw(operation, place, self.read(source, bits_of(kind)), "monotonic")

    # Control

    def do_bra(self, kinds, label):
        self.builder.branch(self.block(label))

    def do_ret(self, kinds):
        self.builder.ret_void()

    def do_exit(self, kinds):
        self.builder.ret_void()

    def do_call(self, kinds, *operands):
        result = operands[0] if operands[0].startswith("(") else ""
        name, *given = operands[bool(result) :]
        listed = [
            part.strip()
            for part in f"{given[0] if given else '()'},{result}".replace("(", "").replace(")", "").split(",")
        ]
        places = [self.address(f"[{part}]", "param") for part in listed if part]
        self.builder.call(self.module.functions[name], places)
