"""Makes the golden bundle of the present format: ``python tests/golden/make.py`` writes ``dimuon-FORMAT.crate.zip``.

A golden bundle that has been released is never made again: it stands for the bundles that people have. While the format
still changes, ``--replace`` makes it anew.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import fasthep_archive
from fasthep_archive.archive.hydrating import restored
from fasthep_archive.archive.sealing import sealed
from fasthep_archive.bundle.claims import FORMAT
from fasthep_archive.context import NoProgress

HERE = Path(__file__).parent
EPOCH = "1767225600"
"""2026-01-01, so that a golden bundle tells nothing of when, and how fast, it was made."""
PLAIN = ("TZ", "LANG", "LC_ALL", "LC_NUMERIC", "PYTHONHASHSEED")
"""Variables that a bundle records, and that are nobody's business here."""


def main(*options: str) -> int:
    """Pack the example as ``init`` leaves it, without wheels, and note its SHA-256."""
    path = HERE / f"dimuon-{FORMAT}.crate.zip"
    if path.exists() and options != ("--replace",):
        print(f"{path} is there; --replace makes it anew, which nobody does once it was released", file=sys.stderr)
        return 2
    environment = {name: value for name, value in os.environ.items() if name not in PLAIN}
    with tempfile.TemporaryDirectory() as directory:
        workflow = fasthep_archive.init(Path(directory) / "dimuon") / "workflow.yaml"
        packed = Path(directory) / "packed.crate.zip"
        words = ["pack", workflow, "-o", packed, "-j", "1", "-q", "--no-index"]
        command = [sys.executable, "-m", "fasthep_archive", *words]
        subprocess.run(command, env={**environment, "SOURCE_DATE_EPOCH": EPOCH}, check=True)
        _without_wheels(packed, path)
    bundles = sorted(HERE.glob("*.crate.zip"))
    sums = (f"{hashlib.sha256(bundle.read_bytes()).hexdigest()}  {bundle.name}\n" for bundle in bundles)
    (HERE / "SHA256SUMS").write_text("".join(sums))
    return 0


def _without_wheels(bundle: Path, target: Path) -> None:
    """Seal ``bundle`` again without its wheels, megabytes that no test of the format needs."""
    with fasthep_archive.open_bundle(bundle) as opened, tempfile.TemporaryDirectory() as directory:
        contents = replace(restored(opened, Path(directory)), wheels=())
        sealed(contents, target, examine=lambda _: None, progress=NoProgress())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
