"""The other side of :mod:`fasthep_archive.operations.child`: runs in the process of code that is not ours.

It serves requests: a function is imported once, when it is first needed, and called as often as it is asked for. What
it raises goes back as a message, with the frames of the code and no others.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import ArchiveError, TaskError
from fasthep_archive.operations.messages import Message, received

CODE = Path("..", "code")
"""Where the code lies, beside the directory that it runs in."""
OUT = Path("..", "out")
"""Where it leaves files."""
DATA = Path("..", "data")
"""Where the products lie that it can see."""
_NOT_CARRIED = "if it lies beside the document: name it in code.files, or import it by its name"


def serve(requests: int, answers: int) -> None:
    """Answer requests until there are no more."""
    sys.path.insert(0, str(CODE.resolve()))
    mine = os.getpid()
    fault = Path("..", "fault").open("w")  # noqa: SIM115 - as long as the process lives
    faulthandler.enable(fault, all_threads=False)
    faulthandler.register(signal.SIGUSR1, fault, all_threads=False)
    with os.fdopen(requests, "rb") as stream, os.fdopen(answers, "wb") as replies:

        def read(size: int) -> memoryview:
            found = memoryview(bytearray(size))
            if stream.readinto(found) != size:
                while True:
                    signal.pause()  # until this process is ended, which removes what it leaves
            return found

        while True:
            answer = _answered(received(read))
            if os.getpid() != mine:  # a copy of the process, which the code has made: the original answers
                os._exit(0)
            for piece in answer.encoded():
                replies.write(piece)
            replies.flush()


def _answered(request: Message) -> Message:
    """Return the answer to a request, or what has gone wrong."""
    try:
        return handlers()[str(request.header["do"])](request)
    except Raised as raised:
        return _failed(*_told(raised.error), raised.error.__traceback__)
    except ArchiveError as error:
        return _failed(f"{_defined(str(request.header['target']))}{error.message}", error.hint, None)
    except Exception:  # noqa: BLE001 - a bug is told as one
        return Message({"bug": traceback.format_exc()})
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


class Raised(Exception):
    """The code has raised ``error``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def foreign() -> Iterator[None]:
    """Turn whatever is raised inside into :class:`Raised`."""
    try:
        yield
    except BaseException as error:
        raise Raised(error) from error


@cache
def handlers() -> Mapping[str, Callable[[Message], Message]]:
    """Return what can be asked for, by name."""
    from fasthep_archive.operations import called_events, called_products

    return {"events": called_events.answered, "products": called_products.answered}


@cache
def function(target: str) -> Callable[..., Any]:
    """Return what ``module:name`` names.

    :raises TaskError: if the module has nothing of that name, or nothing that can be called.
    """
    name, _, attribute = target.partition(":")
    with foreign():
        found: Any = importlib.import_module(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TaskError(f"module {name!r} has no {attribute!r}", hint="callable: is module:function")
        found = getattr(found, part)
    if not callable(found):
        raise TaskError(f"{target!r} is {type(found).__name__}, which can't be called")
    return cast("Callable[..., Any]", found)


def _defined(target: str) -> str:
    """Return where a function of the code begins, for messages about what it asks for and returns; empty: elsewhere."""
    try:
        code = getattr(inspect.unwrap(function(target)), "__code__", None)
        place = Path(code.co_filename).relative_to(CODE.resolve()) if code is not None else None
    except Exception:  # noqa: BLE001 - the module can't be imported, or it is another's: there is something else to tell
        return ""
    return "" if place is None or code is None else f"{place}:{code.co_firstlineno}: "


def called(target: Callable[..., Any], offered: Mapping[str, object]) -> Any:
    """Return what ``target`` returns when it is called with those of ``offered`` that it names.

    :raises TaskError: if it asks for anything else.
    """
    parameters = inspect.signature(target).parameters.values()
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters):
        with foreign():
            return target(**offered)
    named = [item for item in parameters if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
    for item in named:
        if item.name not in offered and item.default is item.empty:
            hint = f"it is called with those of these that it names: {', '.join(offered)}"
            raise TaskError(f"it asks for {item.name!r}, and there is none", hint=hint)
    with foreign():
        return target(**{item.name: offered[item.name] for item in named if item.name in offered})


def _told(error: BaseException) -> tuple[str, str | None]:
    """Return what an error says, and its hint."""
    if isinstance(error, ArchiveError):
        return error.message, error.hint
    if isinstance(error, SystemExit):
        said = "" if error.code is None else repr(error.code)
        return f"it called sys.exit({said})", "return from the function instead, or raise an error"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the code's own error, whose text is code too
        text = "its text can't be had"
    hint = _NOT_CARRIED if isinstance(error, ModuleNotFoundError) else None
    return f"{type(error).__name__}: {_plain(text)}".removesuffix(": "), hint


def _failed(message: str, hint: str | None, trace: TracebackType | None) -> Message:
    """Return the answer that says what went wrong, and where in the code."""
    frames = _frames(trace)
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    text = _plain("".join(traceback.format_list(frames)))
    described: JSON = {"message": f"{where}{message}", "traceback": text, "hint": hint or ""}
    return Message({"error": described})


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the frames of the code; if the error is of no file of the code, all below what called it."""
    code = f"{CODE.resolve()}{os.sep}"
    package = f"{Path(__file__).parents[1]}{os.sep}"
    every = traceback.extract_tb(trace)
    outside = [frame for frame in every if not frame.filename.startswith((package, "<frozen importlib"))]
    mine = [frame for frame in outside if frame.filename.startswith(code)]
    return [
        traceback.FrameSummary(frame.filename.removeprefix(code), frame.lineno, frame.name, line=frame.line or "")
        for frame in mine or outside
    ]


def _plain(text: str) -> str:
    """Return a text without the place where the code lies."""
    return text.replace(f"{CODE.resolve()}{os.sep}", "").replace(str(CODE.resolve().parent), "...")
