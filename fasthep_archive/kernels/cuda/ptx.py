"""What NVRTC makes of CUDA C: PTX, read and checked before any device gets it (*Parallel Thread Execution ISA*).

:func:`checked` holds code to the numeric profile. What may touch a double is listed, instruction by instruction; every
other instruction with a floating type is a fault: one without ``.rn`` (the driver might fuse it), one that is
approximate, flushes subnormals or saturates. A fused multiplication and addition has to be the error of a product: it
takes the two factors and the negative of their rounded product, so that its result is exact, or zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fasthep_archive.errors import DataError

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"\s*\.(version|target|address_size)\s+[\w.]+[^\n]*\n")
_TABLE = re.compile(r"\s*(?:\.visible )?\.(?:global|const)\s+\.align \d+ \.b8 (\w+)\[(\d+)\](?: = \{([^}]*)\})?;")
_HEAD = re.compile(
    r"\s*(?:\.visible\s+|\.weak\s+)?\.(entry|func)\s+(?:\(([^)]*)\)\s*)?([\w$]+)\s*(?:\(([^)]*)\))?([^{;]*)([{;])"
)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?\.align\s+\d+\s+)?([\w$]+)(?:\[(\d+)\])?"
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+%?([\w$]+)(?:<(\d+)>)?$")
_LOCAL = re.compile(r"\.local\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[(\d+)\]$")
_STATEMENT = re.compile(r"\s*(?:([\w$]+):|([{}])(?=\s)|((?:[^;{}:]|\{[^;{}]*\})+);)")
_INSTRUCTION = re.compile(r"(?:@(!?%\w+)\s+)?([\w.]+)(?:\s+(.*))?$", re.DOTALL)
_OPERAND = re.compile(r"\s*(\{[^}]*\}|\([^)]*\)|\[[^\]]*\]|[^,]+)\s*(?:,|$)")
_FLOATING = re.compile(r"\.(?:b?f16|f32|f64|tf32|e4m3|e5m2)(?:x2)?\b")

_EXACT = re.compile(
    r"(?:ld|st)\.(?:global|local|param)(?:\.nc)?(?:\.v2)?\.f(?:32|64)|(?:mov|selp|neg|abs)\.f(?:32|64)"
    r"|setp\.(?:eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan)(?:\.(?:and|or|xor))?\.f(?:32|64)"
    r"|cvt\.f64\.f32|cvt\.r[mpnz]i\.f64\.f64|cvt\.rzi\.s64\.f64|copysign\.f64"
)
"""Instructions with floating types that round nothing."""

_ROUNDED = re.compile(r"(?:add|sub|mul|div|rcp|sqrt)\.rn\.f64|cvt\.rn\.f64\.[su](?:8|16|32|64)|cvt\.rn\.f32\.f64")
"""Instructions that give the double, or float32, nearest to one operation's result."""

_INTEGER = frozenset(
    {
        *("abs", "add", "atom", "bfe", "bfi", "clz", "div", "mad", "max", "min", "mul", "neg", "popc", "rem", "sub"),
        *("and", "not", "or", "setp", "selp", "shl", "shr", "xor"),
        *("bra", "call", "cvt", "cvta", "exit", "ld", "mov", "ret", "st"),
    }
)
"""First words of the instructions that have no floating type."""

_BYTES: Mapping[str, int] = MappingProxyType(
    {"pred": 1, **{f"{letter}{bits}": bits // 8 for letter in "busf" for bits in (8, 16, 32, 64)}}
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: ``@guard opcode operands``; a label is one with the opcode ``:`` and its name."""

    opcode: str
    operands: tuple[str, ...] = ()
    guard: str = ""

    def __str__(self) -> str:
        return f"{self.guard and f'@{self.guard} '}{self.opcode} {', '.join(self.operands)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A kernel (``entry``) or a function that it calls.

    :ivar parameters: names and sizes in bytes; ``result`` is the same of what it gives, or none.
    :ivar registers: size of each family of registers in bytes, by the letters of its names; 0 for truth values.
    :ivar arrays: sizes in bytes of its arrays in local memory.
    """

    name: str
    entry: bool
    parameters: tuple[tuple[str, int], ...]
    result: tuple[str, int] | None
    registers: Mapping[str, int]
    arrays: Mapping[str, int]
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """The functions and the constant tables of a PTX text."""

    functions: tuple[Function, ...]
    tables: Mapping[str, bytes]


def parsed(text: str) -> Module:
    """Return what ``text`` consists of.

    :raises DataError: if there is anything that is not understood.
    """
    text = _COMMENT.sub("", text)
    functions: list[Function] = []
    tables: dict[str, bytes] = {}
    place = 0
    while text[place:].strip():
        if match := _DIRECTIVE.match(text, place):
            pass
        elif match := _TABLE.match(text, place):
            values = bytes(int(value) for value in (match[3] or "").split(",") if value.strip())
            tables[match[1]] = values.ljust(int(match[2]), b"\0")
        elif match := _HEAD.match(text, place):
            if match[6] == "{":
                function, place = _function(text, match)
                functions.append(function)
                continue
        else:
            raise DataError(f"PTX that is not understood: {text[place:].strip()[:80]!r}")
        place = match.end()
    return Module(tuple(functions), tables)


def checked(text: str) -> Module:
    """Return what ``text`` consists of, if its arithmetic is that of the numeric profile.

    :raises DataError: naming the instructions that are not.
    """
    module = parsed(text)
    faults = [f"{function.name}: {fault}" for function in module.functions for fault in _faults(function)]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise DataError(f"the code for the GPU has instructions that could give other bits: {faults[:5]}{more}")
    return module


def _function(text: str, head: re.Match[str]) -> tuple[Function, int]:
    """Return the function that begins at ``head``, and where it ends."""
    registers: dict[str, int] = {}
    arrays: dict[str, int] = {}
    body: list[Instruction] = []
    place, depth = head.end(), 1
    while depth:
        match = _STATEMENT.match(text, place)
        if match is None:
            raise DataError(f"PTX that is not understood: {text[place:].strip()[:80]!r}")
        place = match.end()
        label, brace, statement = match.groups()
        if label:
            body.append(Instruction(":", (label,)))
        elif brace:
            depth += 1 if brace == "{" else -1
        elif found := _REGISTERS.match(statement.strip()):
            registers[found[2]] = 0 if found[1] == "pred" else _BYTES[found[1]]
        elif found := _LOCAL.match(statement.strip()):
            arrays[found[1]] = int(found[2])
        elif not re.match(r"\s*\.(?:param|loc|pragma)\b", statement):
            body.append(_instruction(statement.strip()))
    results = _parameters(head[2] or "")
    function = Function(
        name=head[3],
        entry=head[1] == "entry",
        parameters=_parameters(head[4] or ""),
        result=results[0] if results else None,
        registers=registers,
        arrays=arrays,
        body=tuple(body),
    )
    return function, place


def _parameters(text: str) -> tuple[tuple[str, int], ...]:
    """Return names and sizes of a list of parameters."""
    found = []
    for declaration in filter(None, map(str.strip, text.split(","))):
        match = _PARAMETER.fullmatch(declaration)
        if match is None:
            raise DataError(f"PTX that is not understood: {declaration!r}")
        found.append((match[2], int(match[3] or 1) * _BYTES[match[1]]))
    return tuple(found)


def _instruction(statement: str) -> Instruction:
    match = _INSTRUCTION.match(statement)
    if match is None:
        raise DataError(f"PTX that is not understood: {statement!r}")
    operands = tuple(operand.strip() for operand in _OPERAND.findall(match[3] or ""))
    return Instruction(match[2], operands, match[1] or "")


def _faults(function: Function) -> Iterator[str]:
    """Yield the instructions that the numeric profile does not allow."""
    written: dict[str, list[Instruction]] = {}
    for instruction in function.body:
        if instruction.operands:
            written.setdefault(instruction.operands[0], []).append(instruction)
    for instruction in function.body:
        opcode = instruction.opcode
        if opcode == "fma.rn.f64":
            allowed = _is_error_of_product(instruction, written)
        elif _FLOATING.search(opcode):
            allowed = bool(_EXACT.fullmatch(opcode) or _ROUNDED.fullmatch(opcode))
        else:
            allowed = opcode == ":" or opcode.split(".")[0] in _INTEGER
        if not allowed:
            yield str(instruction)


def _is_error_of_product(fma: Instruction, written: Mapping[str, list[Instruction]]) -> bool:
    """Return whether an fma adds the negative of the rounded product of its own factors.

    The compiler may have moved the sign into a factor that is a constant.
    """
    first, second, addend = (_origin(operand, written) for operand in fma.operands[1:])
    match written.get(addend, ()):
        case [Instruction("neg.f64", (_, negated), "")]:
            product, possible = _origin(negated, written), [{first, second}]
        case _:
            product, possible = addend, [{first, _opposite(second)}, {_opposite(first), second}]
    match written.get(product, ()):
        case [Instruction("mul.rn.f64", (_, *operands), "")]:
            factors = {_origin(operand, written) for operand in operands}
            return factors in possible and all(len(written.get(factor, ())) <= 1 for factor in factors)
        case _:
            return False


def _origin(operand: str, written: Mapping[str, list[Instruction]]) -> str:
    """Return where the value of an operand is from, if it was only moved."""
    match written.get(operand, ()):
        case [Instruction("mov.f64" | "mov.b64", (_, source), "")]:
            return _origin(source, written)
        case _:
            return operand


def _opposite(operand: str) -> str:
    """Return a constant with the other sign, and nothing for a register."""
    return f"0d{int(operand[2:], 16) ^ 1 << 63:016X}" if operand.startswith("0d") else ""
