"""The process in which code that is not ours runs: started, asked, and ended with all that it has started.

It has the packages of this interpreter and the code of the analysis, a directory of its own, and an environment in
which nothing of the user's is left. It can't touch the floating-point environment of a worker, nor its memory. The last
of what it prints is kept for messages. When this process ends, however it ends, or is interrupted, it ends too.
"""

from __future__ import annotations

import fcntl
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from fasthep_archive.digest import JSON, Digest, of_json
from fasthep_archive.errors import TaskError
from fasthep_archive.files import Bytes, pieces, private_directory
from fasthep_archive.operations.messages import Message, received
from fasthep_archive.operations.process import interruptible
from fasthep_archive.operations.protocol import Output
from fasthep_archive.operations.scrubbed import environment

T = TypeVar("T")

KEPT = 4
"""Processes that a worker keeps for its next block, those of the functions that it called last."""
LOGGED = 1 << 16
"""Bytes of what is printed that are kept."""
SHOWN = 20
"""Lines of these that a message has."""
FAULT = "fault"
"""Where a process writes what it was doing when it crashed, or when it is asked."""
_FRAME = re.compile(r'^ *File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
_PATIENCE = 0.5
"""Seconds that it may take to do so."""
_BEAT = 1.0
"""Seconds after which it is looked whether the process lives: others that it has started can hold its pipes open."""
_PIECE = 1 << 16
_WIDTH = 1 << 20
"""Bytes that pipes hold: columns travel in few pieces."""
_FOLDER = "children"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """Code that is not ours, and what it finds in its directory.

    :ivar kind: ``python``. :ivar target: ``module:function``. :ivar digest: of what its results depend on.
    :ivar shipped: digest of the files of the code. :ivar files: returns these by name.
    :ivar products: by the name of a need, the key of its files. :ivar read: returns these.
    """

    kind: str
    target: str
    digest: Digest
    shipped: Digest
    files: Callable[[], Mapping[str, bytes]]
    products: Mapping[str, Digest] = field(default_factory=dict)
    read: Callable[[str], tuple[Output, ...]] = field(default=lambda _node: ())

    @property
    def identity(self) -> Digest:
        """Return the digest of all that a process is started with."""
        return of_json([self.kind, self.target, self.digest, self.shipped, dict(self.products)])


def seed_of(*parts: JSON) -> int:
    """Return a seed made of ``parts``: 32 bits, which every generator takes."""
    return int(of_json(list(parts))[:8], 16)


class Child:
    """A process that runs code that is not ours, one request after the other."""

    def __init__(self, guest: Guest, cache: Path) -> None:
        """Start it in a new directory below ``cache``."""
        self.guest = guest
        self._scratch = Path(tempfile.mkdtemp(dir=private_directory(cache / _FOLDER), prefix="child-")).resolve()
        self._requests = self._answers = self._printed = self._lifeline = -1
        self._log: deque[bytes] = deque()
        self._logged = 0
        try:
            self._fill()
            self._process = self._started()
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise

    @property
    def out(self) -> Path:
        """The directory below which the code leaves files."""
        return self._scratch / "out"

    @property
    def table(self) -> Path:
        """The file in which it leaves a table."""
        return self._scratch / "table.parquet"

    def ask(self, request: Message, timeout: float | None = None) -> Message:
        """Return what it answers.

        The process is ended when anything goes wrong, the error of this process being interrupted included.

        :param timeout: most seconds that it may take.
        :raises TaskError: with what the code raised, when the process ends or when it takes too long.
        """
        self._log.clear()
        self._logged = 0
        try:
            with interruptible():
                answer = self._exchange(request, None if timeout is None else time.monotonic() + timeout, timeout)
        except BaseException:
            self.close()
            raise
        if "bug" in answer.header:
            raise RuntimeError(answer.header["bug"])
        failure = cast("Mapping[str, str] | None", answer.header.get("error"))
        if failure is not None:
            raise TaskError(self._told(failure["message"], failure["traceback"]), hint=failure["hint"] or None)
        return answer

    def close(self) -> None:
        """End the process and all that it has started, and remove its directory."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for number in (self._requests, self._answers, self._printed, self._lifeline):
            with suppress(OSError):
                os.close(number)
        self._requests = self._answers = self._printed = self._lifeline = -1
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._requests >= 0 and self._process.poll() is None

    def _fill(self) -> None:
        """Write what the code finds."""
        folders = {name: self._scratch / name for name in ("code", "data", "home", "out", "work")}
        for folder in folders.values():
            folder.mkdir()
        for name, content in self.guest.files().items():
            _write(folders["code"], name, content)
        for need in self.guest.products:
            for output in self.guest.read(need):
                _write(folders["data"] / need, output.name, output.held)

    def _started(self) -> subprocess.Popen[bytes]:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._printed, printed = os.pipe()
        lifeline, self._lifeline = os.pipe()
        package = Path(__file__).resolve().parents[1]
        given = (str(package), str(requests), str(answers), str(lifeline), str(self._scratch))
        try:
            # -P -s and not -I: that would ignore PYTHONHASHSEED. No other variable of Python's is there to be obeyed
            process = subprocess.Popen(  # noqa: S603 - no shell; what it runs has been agreed to
                [sys.executable, "-P", "-s", "-B", str(package / "operations" / "child_start.py"), *given],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=(requests, answers, lifeline),
                cwd=self._scratch / "work",
                env=environment(self._scratch / "home"),
                start_new_session=True,
            )
        finally:
            for number in (requests, answers, printed, lifeline):
                os.close(number)
        for number in (self._requests, self._answers, self._printed):
            os.set_blocking(number, False)
        for number in (self._requests, self._answers):
            with suppress(OSError, AttributeError):  # not all systems can, and not all users may
                fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _WIDTH)
        return process

    def _exchange(self, request: Message, until: float | None, timeout: float | None) -> Message:
        """Send a request, and receive the answer, while what is printed is kept."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._printed, selectors.EVENT_READ, self._keep)
            _write_all(selector, self._requests, request.encoded())
            reader = _Reader(self._answers)
            selector.register(self._answers, selectors.EVENT_READ, reader.take)

            def read(size: int) -> memoryview:
                reader.want(size)
                while reader.wanting:
                    left = None if until is None else until - time.monotonic()
                    if left is not None and left <= 0:
                        hint = "give the stage a longer timeout, or find out what takes so long"
                        os.kill(self._process.pid, signal.SIGUSR1)
                        raise TaskError(self._stopped(f"it took more than {timeout:g} s and was ended"), hint=hint)
                    ready = selector.select(_BEAT if left is None else min(left, _BEAT))
                    for key, _ in ready:
                        cast("Callable[[selectors.BaseSelector], None]", key.data)(selector)
                    if reader.ended or (not ready and self._process.poll() is not None):
                        raise self._died(selector)
                return reader.found

            answer = received(read)
            self._drain(selector)
        return answer

    def _keep(self, selector: selectors.BaseSelector) -> None:
        """Keep the last of what is printed."""
        piece = os.read(self._printed, _PIECE)
        if not piece:
            selector.unregister(self._printed)
        self._log.append(piece)
        self._logged += len(piece)
        while self._log and self._logged - len(self._log[0]) >= LOGGED:
            self._logged -= len(self._log.popleft())

    def _drain(self, selector: selectors.BaseSelector) -> None:
        with suppress(BlockingIOError, KeyError):
            while self._printed in selector.get_map():
                self._keep(selector)

    def _died(self, selector: selectors.BaseSelector) -> TaskError:
        """Return the error of a process that has ended before it answered."""
        self._drain(selector)
        status = self._process.wait()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        hint = "the code ended its own process, or crashed in compiled code, or memory was short"
        return TaskError(self._stopped(f"its process ended {how}"), hint=hint)

    def _stopped(self, message: str) -> str:
        """Return a message of code that can't say itself where it was: what Python has written down of that, if it has.

        See :mod:`faulthandler`: it writes the innermost frame first, also from within compiled code.
        """
        until = time.monotonic() + _PATIENCE
        while not (found := _frames(self._scratch)) and self._process.poll() is None and time.monotonic() < until:
            time.sleep(_PATIENCE / 20)
        where = f"{found[-1][0]}:{found[-1][1]}: " if found else ""
        trace = "".join(f'  File "{file}", line {line}, in {name}\n' for file, line, name in found)
        return self._told(f"{where}{message}", trace)

    def _told(self, message: str, trace: str) -> str:
        """Return a message with the traceback, and with the last lines of what was printed."""
        lines = b"".join(self._log).decode(errors="replace").replace(str(self._scratch), "...").splitlines()[-SHOWN:]
        printed = ["it printed, last:", *(f"  {line}" for line in lines)] if lines else []
        return "\n".join([f"{self.guest.target}: {message}", *([trace.rstrip()] if trace else []), *printed])


def _frames(scratch: Path) -> list[tuple[str, str, str]]:
    """Return file, line and function of the frames of the code, outermost first, that a process has written down."""
    try:
        text = (scratch / FAULT).read_text(errors="replace")
    except OSError:
        return []
    code = f"{scratch / 'code'}{os.sep}"
    every = [match.groups() for match in _FRAME.finditer(text)]
    return [(file.removeprefix(code), line, name) for file, line, name in reversed(every) if file.startswith(code)]


class _Reader:
    """Reads so many bytes from a descriptor as they come."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.found = memoryview(b"")
        self._filled = 0
        self.ended = False

    def want(self, size: int) -> None:
        self.found, self._filled = memoryview(bytearray(size)), 0

    @property
    def wanting(self) -> bool:
        return self._filled < len(self.found)

    def take(self, _selector: selectors.BaseSelector) -> None:
        count = os.readv(self._number, [self.found[self._filled :]])
        self._filled += count
        self.ended = not count


def _write_all(selector: selectors.BaseSelector, number: int, pieces: Sequence[memoryview]) -> None:
    """Let ``selector`` write ``pieces`` to a descriptor, as fast as they are taken."""
    waiting = deque(pieces)

    def write(active: selectors.BaseSelector) -> None:
        with suppress(BlockingIOError):
            waiting[0] = waiting[0][os.write(number, waiting[0]) :]
        while waiting and not waiting[0]:
            waiting.popleft()
        if not waiting:
            active.unregister(number)

    def broken(active: selectors.BaseSelector) -> None:
        try:
            write(active)
        except BrokenPipeError:  # it has ended, which is told when its answer is read
            active.unregister(number)

    selector.register(number, selectors.EVENT_WRITE, broken)


def _write(folder: Path, name: str, content: Bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(pieces(content))


_children: OrderedDict[tuple[int, int, Path, Digest], Child] = OrderedDict()


def child(guest: Guest, cache: Path) -> Child:
    """Return a process for ``guest`` that is kept from call to call: importing NumPy and awkward takes 0.4 s.

    This process and thread are part of what it is found by: a forked worker would share it with all others.
    """
    mine = os.getpid(), threading.get_ident()
    key = *mine, cache, guest.identity
    if key in _children and not _children[key].alive:
        _children.pop(key).close()
    if key not in _children:
        kept = [other for other in _children if other[:2] == mine]
        for other in kept[: max(0, len(kept) - KEPT + 1)]:
            _children.pop(other).close()
        _children[key] = Child(guest, cache)
    _children.move_to_end(key)
    return _children[key]


def end_children() -> None:
    """End the processes that are kept."""
    for key in [key for key in _children if key[0] == os.getpid()]:
        _children.pop(key).close()
