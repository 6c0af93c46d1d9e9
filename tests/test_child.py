"""The process of code that is not ours: its end, whoever ends, and what it is asked over pipes."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fasthep_archive.digest import Digest, of_json
from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Column
from fasthep_archive.operations import called
from fasthep_archive.operations import child as children
from fasthep_archive.operations.child import KEPT, Child, Guest, child, end_children, seed_of
from fasthep_archive.operations.messages import START, Columns, Message, columns, received

CODE = """\
import os, re, subprocess, sys, time
def noisy(params):
    os.write(1, b"x" * 300000)
    print("y" * 100000, file=sys.stderr)
    return {"a": 1}
def pid():
    return {"a": os.getpid()}
def forks(params):
    with open(params["into"], "w") as stream:
        stream.write(f"{os.getpid()} {subprocess.Popen(['sleep', '1000']).pid}")
    time.sleep(1000)
def holds(params):
    with open(params["into"], "w") as stream:
        stream.write(f"{os.getpid()} {os.getpid()}")
    re.match("(a*)*b", "a" * 60)  # which is never done, and lets no other thread run
def crashes():
    import ctypes
    ctypes.string_at(0)
def hangs():
    while True: pass
def copies(params):
    os.fork()
    return {"a": params["n"]}
def interrupts():
    raise KeyboardInterrupt
def speechless():
    class Odd(Exception):
        def __str__(self): raise ValueError
    raise Odd
def leaves(params):
    if os.fork():
        os._exit(3)
    time.sleep(1000)
"""


def guest(target: str, code: str = CODE) -> Guest:
    name = target.partition(":")[0]
    files = {f"{name}.py": code.encode()}
    return Guest(
        kind="python", target=target, digest=Digest("0" * 64), shipped=of_json([name, code]), files=lambda: files
    )


def request(target: str, **params: object) -> Message:
    returns = {"values": ["a"], "histograms": [], "table": False, "files": []}
    header = {"do": "products", "target": target, "stage": "S", "params": params, "seed": 1, "returns": returns}
    return Message({**header, "needs": {}})


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not holds():
        time.sleep(0.02)
    return holds()


def test_messages_are_what_they_were() -> None:
    arrays = (np.arange(5.0), np.zeros(0, np.int64), np.array([True, False]), np.arange(3, dtype=">i4")[::2])
    content = memoryview(b"".join(Message({"a": [1, {"b": None}]}, arrays).encoded()))
    place = 0

    def read(size: int) -> memoryview:
        nonlocal place
        place += size
        return content[place - size : place]

    found = received(read)
    assert found.header == {"a": [1, {"b": None}]}
    assert [array.tolist() for array in found.arrays] == [array.tolist() for array in arrays]
    assert place == len(content)


def test_columns_that_share_lists_share_them_again() -> None:
    offsets = np.array([0, 2, 3])
    given = {"a": Column(np.arange(3.0), offsets), "b": Column(np.ones(3, bool), offsets, np.ones(3, bool))}
    sent = Columns.of(given)
    found = columns(sent.described, sent.arrays)
    assert len(sent.arrays) == 4
    assert found["a"].offsets is found["b"].offsets


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TaskError, match="no message"):
        received(lambda size: memoryview(START.pack(b"ABCD", size)))


def line(text: str) -> int:
    """Return the number of the first line of the code with a text."""
    return CODE[: CODE.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("crashes", f'm.py:{line("ctypes.string_at")}: its process ended by signal SIGSEGV\n  File "m.py"'),
        ("hangs", f"m.py:{line('while True')}: it took more than 1 s and was ended"),
        ("interrupts", f"m.py:{line('raise Keyb')}: KeyboardInterrupt\n"),
        ("speechless", f"m.py:{line('raise Odd')}: Odd: its text can't be had"),
    ],
)
def test_what_goes_wrong_is_told_with_the_line_of_the_code(name: str, told: str, kernel_cache: Path) -> None:
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    process = Child(guest(f"m:{name}"), kernel_cache)
    with pytest.raises(TaskError) as failed:
        process.ask(request(f"m:{name}"), 1 if name == "hangs" else None)
    process.close()
    assert failed.value.message.startswith(f"m:{name}: {told}")


def test_a_module_that_is_not_carried_has_a_hint() -> None:
    assert "name it in code.files" in str(called._told(ModuleNotFoundError("No module named 'lmx'"))[1])


def test_a_copy_of_the_process_that_the_code_makes_answers_nothing(kernel_cache: Path) -> None:
    """Its answer would be taken for that to the next request."""
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    process = Child(guest("m:copies"), kernel_cache)
    try:
        answers = [process.ask(request("m:copies", n=n)).header["values"] for n in range(10)]
    finally:
        process.close()
    assert answers == [{"a": float(n)} for n in range(10)]


def test_what_is_printed_neither_blocks_nor_breaks_anything(kernel_cache: Path) -> None:
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    process = Child(guest("m:noisy"), kernel_cache)
    try:
        assert process.ask(request("m:noisy")).header["values"] == {"a": 1.0}
    finally:
        process.close()


def test_a_process_is_kept_for_the_same_code_and_a_few_others(kernel_cache: Path) -> None:
    kernel_cache.mkdir(mode=0o700, exist_ok=True)

    def pid(code: str) -> object:
        return child(guest("m:pid", CODE + code), kernel_cache).ask(request("m:pid")).header["values"]

    def guest(target: str, code: str) -> Guest:
        files = {"m.py": code.encode()}
        return Guest(
            kind="python", target=target, digest=Digest(f"{hash(code)}"), shipped=Digest(""), files=lambda: files
        )

    try:
        first = pid("")
        assert pid("") == first
        for number in range(KEPT):
            pid(f"x = {number}")
        assert len(children._children) == KEPT
        assert pid("") != first
    finally:
        end_children()
    assert not children._children


def test_seeds_have_32_bits_and_are_frozen() -> None:
    assert seed_of("a", 1) == int(hashlib.sha256(b'["a",1]').hexdigest()[:8], 16)
    assert seed_of("a", 2) != seed_of("a", 1)


SCRIPT = """\
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_child import guest, request
from fasthep_archive.operations.child import Child
from fasthep_archive.execution.scheduler import prepare_worker
import os, signal
if {worker}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
process = Child(guest("m:{function}"), Path({cache!r}))
process.ask(request("m:{function}", into={into!r}))
"""


@pytest.mark.parametrize(
    ("number", "worker", "function"),
    [
        (signal.SIGKILL, False, "forks"),
        (signal.SIGKILL, False, "holds"),
        (signal.SIGINT, False, "forks"),
        (signal.SIGINT, True, "forks"),
        (signal.SIGTERM, False, "forks"),
    ],
)
def test_nothing_outlives_the_process_that_started_it(number: int, worker: bool, function: str, tmp_path: Path) -> None:
    into, cache = tmp_path / "pids", tmp_path / "cache"
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    script = SCRIPT.format(path=path, cache=str(cache), into=str(into), worker=worker, function=function)
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL)
    try:
        assert within(30, lambda: into.exists() and len(into.read_text().split()) == 2)
        pids = list(map(int, into.read_text().split()))
        parent.send_signal(number)
        parent.wait(20)
        assert within(10, lambda: all(map(gone, pids)))
        assert within(10, lambda: not list((cache / "children").iterdir()))
    finally:
        parent.kill()
        parent.wait()


def test_a_process_is_missed_though_what_it_started_lives(kernel_cache: Path) -> None:
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    process = Child(guest("m:leaves"), kernel_cache)
    with pytest.raises(TaskError, match="its process ended with exit status 3"):
        process.ask(request("m:leaves"))


def test_a_process_that_takes_too_long_is_ended_with_all_that_it_started(kernel_cache: Path, tmp_path: Path) -> None:
    kernel_cache.mkdir(mode=0o700, exist_ok=True)
    into = tmp_path / "pids"
    process = Child(guest("m:forks"), kernel_cache)
    with pytest.raises(TaskError, match="it took more than 3 s"):
        process.ask(request("m:forks", into=str(into)), timeout=3)
    assert within(10, lambda: all(gone(int(pid)) for pid in into.read_text().split()))
