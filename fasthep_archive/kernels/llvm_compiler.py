"""LLVM's text to object code, with llvmlite alone: what is generated in our own language, and numba's results.

LLVM never gets leave to compute something else than what is written, and what it made is searched for such leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fasthep_archive.errors import DataError
from fasthep_archive.kernels.linking import RESOLVED, Processor, processor
from fasthep_archive.kernels.objects import ObjectCode
from fasthep_archive.kernels.strip_code import is_symbol

Written: TypeAlias = Callable[[str, bool], str]
"""Makes LLVM's text, for a triple, and for a processor that has a fused multiplication and addition or has not."""

RELAXED = re.compile(
    r"\b(?:fadd|fsub|fmul|fdiv|frem|fneg|fcmp|select|phi|call)\s+"
    r"(?:fast|reassoc|contract|nnan|ninf|nsz|arcp|afn)\b|@llvm\.fmuladd\b"
)
"""What permits LLVM to compute something else than what is written (LLVM language reference, fast-math flags)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lowered:
    """A function in LLVM's intermediate representation, optimised.

    :ivar text: the module. :ivar symbol: the function's. :ivar returns: type of what it returns.
    :ivar needs: the functions for strips that it calls.
    """

    text: str
    symbol: str
    returns: str
    processor: Processor
    needs: tuple[str, ...] = ()


def optimised(written: Written, symbol: str, *, returns: str = "none") -> Lowered:
    """Return the function ``symbol`` after LLVM's optimisation.

    :raises DataError: if LLVM is permitted inexact arithmetic anywhere in it, or it needs what nobody has.
    """
    from llvmlite import binding

    target = processor()
    made = Lowered(text=written(target.triple, target.fused), symbol=symbol, returns=returns, processor=target)
    options = binding.create_pipeline_tuning_options(speed_level=target.level)
    options.loop_vectorization, options.slp_vectorization = target.level > 1, False
    module = binding.parse_assembly(made.text)
    builder = binding.create_pass_builder(machine(made), options)
    builder.getModulePassManager().run(module, builder)
    text, needs = str(module), undefined(module)
    faults = [*(name for name in needs if not is_symbol(name)), *RELAXED.findall(text)]
    if faults:
        raise DataError(f"{symbol} has what it must not have: {', '.join(faults)}")
    return replace(made, text=text, needs=tuple(sorted(needs)))


def object_code(made: Lowered) -> ObjectCode:
    """Return the object code of a function."""
    from llvmlite import binding

    code: bytes = machine(made).emit_object(binding.parse_assembly(made.text))
    return ObjectCode(code=code, symbol=made.symbol, returns=made.returns, needs=made.needs)


def machine(made: Lowered):  # type: ignore[no-untyped-def] # llvmlite has no types
    """Return LLVM's description of the processor that ``made`` is for."""
    from llvmlite import binding

    target = made.processor
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.name, features=target.features, opt=target.level, reloc="pic", codemodel="small"
    )


def undefined(module) -> list[str]:  # type: ignore[no-untyped-def] # llvmlite has no types
    """Return what a module uses that is neither in it nor can be found by name when it is loaded."""
    declared = [value.name for value in (*module.functions, *module.global_variables) if value.is_declaration]
    return [name for name in declared if not name.startswith("llvm.") and name not in RESOLVED]
