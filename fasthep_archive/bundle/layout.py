"""What the members of a bundle are called, and where they lie (DESIGN, section 8)."""

from __future__ import annotations

import posixpath
from pathlib import Path

from fasthep_archive.bundle import claims, form, manifest, rebuild, verifier
from fasthep_archive.errors import UsageError

SUFFIX = ".crate.zip"

CRATE = form.CRATE
PREVIEW = "ro-crate-preview.html"
README = "README.md"
LICENSE = "LICENSE"
CITATION = "CITATION.cff"
SUMMARY = claims.SUMMARY
PROGRAM = verifier.PROGRAM
DECLARATION = manifest.DECLARATION
BAG_INFO = manifest.BAG_INFO
MANIFEST = manifest.MANIFEST
TAG_MANIFEST = manifest.TAG_MANIFEST
FETCH = manifest.FETCH

PAYLOAD = manifest.PAYLOAD
"""Everything below it is BagIt's payload; everything else lies at the root."""
WORKFLOW = "data/workflow/"
RESOLVED = claims.RESOLVED
GRAPH = "data/workflow/graph.svg"
CODE = claims.CODE
ENVIRONMENT = "data/environment/"
SNAPSHOT = rebuild.SNAPSHOT
HARDWARE = "data/environment/hardware.json"
ENGINE = "data/environment/engine.json"
LOCK = rebuild.LOCK
REQUIREMENTS = rebuild.REQUIREMENTS
WHEELS = rebuild.WHEELS
INPUTS = claims.INPUTS
OUTPUTS = claims.OUTPUTS
RECORD = "data/record/"
RUN = "data/record/run.json"
LOG = "data/record/log.txt"


def member(name: str) -> str:
    """Return ``name`` if a member of a bundle may be called so.

    :raises UsageError: says what is wrong with it.
    """
    fault = form.name_fault(name)
    if fault:
        raise UsageError(f"{form.printable(name)} can't be in a bundle: it {fault}", hint="rename it")
    return name


def output(name: str) -> str:
    """Return the member that holds an output, which a run calls ``name``.

    >>> output("histograms/mass.json")
    'data/outputs/histograms/mass.json'
    """
    return member(OUTPUTS + name)


def input_member(written: str) -> str:
    """Return the member that holds an input, from the path that the resolved document gives for it.

    >>> input_member("../inputs/muons.root")
    'data/inputs/muons.root'
    """
    name = posixpath.normpath(posixpath.join(WORKFLOW, written))
    if not name.startswith(INPUTS):
        raise UsageError(f"{written} is not below {INPUTS}, as seen from {RESOLVED}")
    return member(name)


def sidecar(bundle: Path) -> Path:
    """Return where the verifier lies beside a bundle that is too large for Python to run.

    >>> sidecar(Path("run2.crate.zip")).name
    'run2.crate.zip.py'
    """
    return bundle.with_name(f"{bundle.name}.py")
