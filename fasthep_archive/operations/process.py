"""Runs a script in a directory of its own: its output is kept, its time is limited, and nothing of it is left running.

The script leads a group of processes, which is ended with it, when it takes too long, and when this process is
interrupted or dies, however that happens.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

HEAD = 1 << 16
"""Bytes of what a script prints that are kept from its beginning."""
TAIL = 3 << 16
"""Bytes that are kept from its end."""
_PIECE = 1 << 16
_SIGNALLED = 128
_PATIENCE = 0.3
"""Seconds that who watches a script gets to end after it."""
_TELL = '"$@" < /dev/null; echo $? >&0'
"""Runs a command, and tells its status to who holds the other end of its standard input."""
_WATCH = 'read -r line || { kill -9 "-$1"; rm -rf -- "$2"; }'
"""Waits for a line; if none comes, whoever started the script is gone. Ends the group and removes its directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a script ended.

    :ivar status: exit status, as shells say it: 128 and the number of the signal, where one ended it.
    :ivar printed: what it printed on both streams, without the middle if that was too much.
    :ivar late: whether it was ended because it took too long.
    """

    status: int
    printed: bytes
    late: bool

    @property
    def told(self) -> str:
        """Return how it ended, for messages."""
        name = next((each.name for each in signal.Signals if each == self.status - _SIGNALLED), None)
        return f"with exit status {self.status}" + (f" ({name})" if name else "")


def carried_out(
    command: Sequence[str],
    folder: Path,
    scratch: Path,
    environment: Mapping[str, str],
    *,
    timeout: float | None = None,
    watched: Sequence[str] = (),
) -> Ended:
    """Run ``command`` in ``folder`` and return how it ended.

    :param scratch: the directory that is removed if this process dies.
    :param timeout: most seconds that it may take; none: no limit.
    :param watched: the command that it is put behind to be watched; waits for all that the command leaves running.
    """
    with ExitStack() as held, interruptible():
        (lifeline, holding), (printed, writing), (told, telling) = (_pipe(held) for _ in range(3))
        process = subprocess.Popen(  # noqa: S603 - no shell of ours; what it runs has been agreed to
            [*watched, "/bin/sh", "-c", _TELL, "tell", *command],
            cwd=folder,
            env=dict(environment),
            stdin=telling,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        try:
            watch = ["/bin/sh", "-c", _WATCH, "watch", str(process.pid), str(scratch)]
            watcher = subprocess.Popen(watch, stdin=lifeline, start_new_session=True, env={})  # noqa: S603 - ours
            held.callback(watcher.wait)
            held.callback(holding.write, b"done\n")
            telling.close()
            return _followed(process, printed.fileno(), told.fileno(), timeout)
        finally:
            _end(process)


def _pipe(held: ExitStack) -> tuple[FileIO, FileIO]:
    """Return the ends of a pipe, to read and to write, which are closed at the end."""
    reading, writing = os.pipe()
    return held.enter_context(FileIO(reading, "r")), held.enter_context(FileIO(writing, "w"))


def _followed(process: subprocess.Popen[bytes], printed: int, told: int, timeout: float | None) -> Ended:
    """Keep what the process prints until it tells its status, or does not live to do so."""
    until = None if timeout is None else time.monotonic() + timeout
    kept = _Kept()
    os.set_blocking(printed, False)
    with selectors.DefaultSelector() as selector:
        for number in (printed, told):
            selector.register(number, selectors.EVENT_READ)
        status = None
        while status is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                _end(process)
                kept.drain(printed)
                return Ended(status=_SIGNALLED + signal.SIGKILL, printed=kept.content, late=True)
            ready = [key.fd for key, _ in selector.select(left)]
            kept.drain(printed)
            if told in ready:
                said = os.read(told, 16)
                status = int(said) if said else _SIGNALLED + signal.SIGKILL
    _settle(process)
    kept.drain(printed)
    return Ended(status=status, printed=kept.content, late=False)


def _settle(process: subprocess.Popen[bytes]) -> None:
    """Let who watches write down what it has seen, though it waits for what the script has left running."""
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Kept:
    """The beginning and the end of what is printed."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._size = 0
        self._lost = 0

    def drain(self, printed: int) -> None:
        """Take all that can be read."""
        with suppress(BlockingIOError):
            while piece := os.read(printed, _PIECE):
                self._add(piece)

    def _add(self, piece: bytes) -> None:
        room = HEAD - len(self._head)
        self._head += piece[:room]
        rest = piece[room:]
        self._tail.append(rest)
        self._size += len(rest)
        while self._size - len(self._tail[0]) >= TAIL:
            dropped = len(self._tail.popleft())
            self._size -= dropped
            self._lost += dropped

    @property
    def content(self) -> bytes:
        """Return what is kept, with a line that says how much is not."""
        left_out = f"\n... {self._lost} bytes are left out ...\n".encode() if self._lost else b""
        return bytes(self._head) + left_out + b"".join(self._tail)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the wait in workers too, which leave it to their parent otherwise: that waits for their tasks."""
    previous = None
    with suppress(ValueError):  # only the main thread can have handlers
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
