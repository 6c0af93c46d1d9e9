"""Object code on disk: what was compiled, for whom, and the digest that shows damage.

An entry is one file: a line with the form and the SHA-256 of all that follows, a line of JSON, and the object code.
The file's name is the digest of the entry's key, and the key is in the JSON too. What is damaged, belongs to another
key or to another user is as good as absent: it is compiled again and replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import JSON
from fasthep_archive.files import locked, private_directory, read_private, write_atomically

_FORM = b"fasthep-archive object 2 "
_LOCKS = "locks"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectCode:
    """What a compiler made of a function.

    :ivar code: relocatable object code; nothing if there can be none.
    :ivar symbol: of the function.
    :ivar returns: type of what it returns: ``int64``, ``float64``, ``bool``, ``none``.
    :ivar reason: why there is no code.
    :ivar needs: the functions that it calls and that are objects of their own.
    """

    code: bytes
    symbol: str
    returns: str
    reason: str = ""
    needs: tuple[str, ...] = ()


def obtain(directory: Path, key: Mapping[str, JSON], compiled: Callable[[], ObjectCode]) -> ObjectCode:
    """Return the object code for ``key``: from ``directory``, or ``compiled`` now, by one process only.

    :raises DataError: if the directory isn't private, or can't be written to.
    """
    directory = private_directory(directory)
    name = digest.of_json(key)
    path = directory / f"{name}.object"
    found = _read(path, key)
    if found is not None:
        return found
    with locked(directory / _LOCKS, name):
        found = _read(path, key)  # another process may have been faster
        if found is None:
            found = compiled()
            write_atomically(path, _encoded(key, found))
    return found


def is_kept(directory: Path, key: Mapping[str, JSON]) -> bool:
    """Return whether there is whole object code for ``key`` in ``directory``."""
    return _read(directory / f"{digest.of_json(key)}.object", key) is not None


def _encoded(key: Mapping[str, JSON], made: ObjectCode) -> bytes:
    header = {
        "key": key,
        "symbol": made.symbol,
        "returns": made.returns,
        "reason": made.reason,
        "needs": list(made.needs),
    }
    content = json.dumps(header).encode() + b"\n" + made.code
    return _FORM + digest.of_bytes(content).encode() + b"\n" + content


def _read(path: Path, key: Mapping[str, JSON]) -> ObjectCode | None:
    """Return the entry at ``path``; none if there is none that is whole and for ``key``."""
    first, _, content = (read_private(path) or b"").partition(b"\n")
    if first != _FORM + digest.of_bytes(content).encode():
        return None
    line, _, code = content.partition(b"\n")
    header = json.loads(line)
    if header["key"] != key:
        return None
    return ObjectCode(
        code=code,
        symbol=header["symbol"],
        returns=header["returns"],
        reason=header["reason"],
        needs=tuple(header["needs"]),
    )
