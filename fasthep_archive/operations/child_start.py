"""What Python runs in the process of code that is not ours: finds this package, and nothing else that is not installed.

Arguments: the directory of the package; descriptors to read requests from, to write answers to, and one at whose end
the process ends; the directory that is removed then. The process leads a group of its own, which ends with it.
"""

import importlib.util
import os
import sys


def package(directory: str) -> None:
    """Make the package in ``directory`` importable, and nothing beside it."""
    entry = f"{directory}/__init__.py"
    spec = importlib.util.spec_from_file_location("fasthep_archive", entry, submodule_search_locations=[directory])
    assert spec is not None, "there is a package here: this file is of it"
    assert spec.loader is not None, "it has a file"
    module = importlib.util.module_from_spec(spec)
    sys.modules["fasthep_archive"] = module
    spec.loader.exec_module(module)


def watched(requests: int, answers: int, lifeline: int, scratch: str) -> None:
    """Let a shell end this group of processes when nobody holds the other end of ``lifeline`` any more.

    A thread could not: compiled code need not let it run.
    """
    null = os.open(os.devnull, os.O_RDWR)
    script = 'read -r line; rm -rf -- "$1"; kill -9 "-$2"'
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", script, "sh", scratch, str(os.getpgid(0))],
        {"PATH": os.environ["PATH"]},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lifeline, 0),
            (os.POSIX_SPAWN_DUP2, null, 1),
            (os.POSIX_SPAWN_DUP2, null, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in (requests, answers, lifeline)),
        ],
    )
    os.close(null)
    os.close(lifeline)


if __name__ == "__main__":
    directory, first, second, third, scratch = sys.argv[1:]
    watched(int(first), int(second), int(third), scratch)
    package(directory)
    from fasthep_archive.operations.called import serve

    sys.argv = [""]
    serve(int(first), int(second))
