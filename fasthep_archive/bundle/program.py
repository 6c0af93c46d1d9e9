"""The program in every bundle: :mod:`~fasthep_archive.bundle.command` and what it imports, in one file.

Verbatim but for the imports, which stand together at the top, those of our own modules left out: in one file there is
one namespace. The modules keep their names apart for that (a test says so).

Python reads a whole file before it runs its first line, so one that is too old would say SyntaxError and no more. The
program is therefore a text in a file that every Python since 2.7 reads, and that runs it where it can.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fasthep_archive.digest import of_bytes

_VERIFY = ("form", "strictjson", "manifest", "claims", "source", "verifier")
_REPLAY = ("interpreters", "installation", "rebuild", "consent", "command")
MODULES = (*_VERIFY, *_REPLAY)
"""In the order of their imports."""

_HEAD = '''#!/usr/bin/env python3
"""Verifies and replays the bundle that it is in, with Python 3.8 or newer: ``python3 NAME.crate.zip --help``."""

import os
import sys

if sys.version_info < (3, 8):
    sys.exit("this needs Python 3.8 or newer, and here runs Python %d.%d: name another" % sys.version_info[:2])

_HERE = os.path.abspath(__file__)
_OWN = os.path.dirname(_HERE) if os.path.basename(_HERE) == "__main__.py" else os.path.splitext(_HERE)[0]
if __name__ == "__main__":
    # Judge the bundle without importing anything from it, or from beside it.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) not in (_OWN, os.path.dirname(_HERE))]
    # Python runs a damaged program too, so it looks at itself first. It can't see damage to these lines; what follows
    # can, and is sound then.
    import hashlib

    _SOUND = "DIGEST"
    if hashlib.sha256(__loader__.get_data(__file__).split(b"\\n# body\\n")[-1]).hexdigest() != _SOUND:
        sys.exit("__main__.py is damaged")
# body
_PROGRAM = r\'\'\'
'''
_MARK = "\n# body\n"
_FOOT = """\'\'\'
exec(compile("\\n" * LINES + _PROGRAM, __file__, "exec"))
"""
_TAIL = """

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main(own=_OWN if os.path.exists(_OWN) else None)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
"""


@cache
def program() -> bytes:
    """Return ``__main__.py``: the same bytes for the same version of this package."""
    head, text = _HEAD.split(_MARK), source()
    if "'''" in text or not text.isascii():
        raise ValueError("this program can't be a text between three quotes that every Python reads alike")
    lines = head[0].count("\n") + _MARK.count("\n")  # so that a traceback shows the right ones
    body = f"{head[1]}{text}{_FOOT.replace('LINES', str(lines))}".encode()
    return (head[0] + _MARK).replace("DIGEST", of_bytes(body)).encode() + body


def source() -> str:
    """Return the program itself, for Python 3.8 and newer."""
    sources = {name: Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    bodies = (f"\n\n# {f' {name}.py ':=^116}\n\n{_body(source)}\n" for name, source in sources.items())
    imports = "from __future__ import annotations\n\nimport os\nimport sys\n" + _imports(sources.values())
    return f"{imports}\n{''.join(bodies)}{_TAIL}"


def _statements(source: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]


def _imports(sources: Iterable[str]) -> str:
    """Return the statements that import everything from the standard library, in our usual order."""
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for node in itertools.chain.from_iterable(map(_statements, sources)):
        if isinstance(node, ast.Import):
            plain.update(alias.name for alias in node.names)
        elif node.module and node.module.split(".")[0] not in ("fasthep_archive", "__future__"):
            names.setdefault(node.module, set()).update(alias.name for alias in node.names)
    lines = [f"import {module}" for module in sorted(plain - {"os", "sys"})]
    lines += [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]
    return "\n".join(lines)


def _body(source: str) -> str:
    """Return a module without its imports."""
    lines = source.splitlines()
    for node in reversed(_statements(source)):
        del lines[node.lineno - 1 : node.end_lineno]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines).strip("\n"))
