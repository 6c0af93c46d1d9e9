"""Locks this environment once, as ``pack`` does: ``environment.py CACHE DIRECTORY [--fat] [--no-index]``.

A process of its own for ``run.py``, which measures it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fasthep_archive.context import NoProgress
from fasthep_archive.environment.prepare import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--fat", action="store_true")
    parser.add_argument("--no-index", action="store_true")
    options = parser.parse_args()
    prepared = prepare(
        ["fasthep-archive"],
        options.directory,
        fat=options.fat,
        index=not options.no_index,
        cache=options.cache,
        environ=os.environ,
        progress=NoProgress(),
    )
    print(f"{len(prepared.lock.packages)} packages, {sum(path.stat().st_size for path in prepared.wheels)} bytes")


if __name__ == "__main__":
    main()
