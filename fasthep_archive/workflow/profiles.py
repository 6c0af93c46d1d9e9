"""Profiles (``use.profiles``): which names of operations there are, and files of the document's own with more.

A bare name is a file in ``.hepflow/profiles/`` beside the document, else one of FAST-HEP's; ``PACKAGE:NAME`` one of a
package; anything with a slash or ``.yaml`` at its end the path of a file. FAST-HEP's own profiles say what this package
has anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import WorkflowError, nearest
from fasthep_archive.workflow import schema
from fasthep_archive.workflow.document import Document
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.hints import read_execution, read_hooks
from fasthep_archive.workflow.reading import read
from fasthep_archive.workflow.registered import read_registry
from fasthep_archive.workflow.values import DocumentPath, flatten

FOLDER = Path(".hepflow", "profiles")
BUILT_IN = ("basic", "hep", "hep_debug", "registry")
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "fasthep_carpenter": ("registry",),
    "fasthep_curator": ("default_context", "registry", "resource_usage", "runtime_diagnostics"),
    "fasthep_distributed": ("registry",),
    "fasthep_flow": BUILT_IN,
    "fasthep_render": ("registry",),
    "fasthep_toolbench": ("registry",),
    "fasthep_workshop": ("registry",),
    "hepflow": BUILT_IN,
}
"""Profiles of FAST-HEP's packages."""


@dataclass(kw_only=True, slots=True)
class Profiles:
    """What the profiles of a document say.

    :ivar root: directory of the document; none if it is no file.
    :ivar constants: that they register, by name.
    :ivar texts: what each file holds that was read, by its path.
    """

    root: Path | None
    constants: dict[str, JSON] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)


def read_profiles(draft: Draft) -> Profiles:
    """Return what the profiles of the document say; report those that are not there."""
    files = draft.document.files
    profiles = Profiles(root=files[0].parent if files else None)
    for path, name in draft.entries("use", "profiles"):
        _read(str(name), path, draft, profiles, ())
    return profiles


def _read(name: str, at: DocumentPath, draft: Draft, profiles: Profiles, above: tuple[Path, ...]) -> None:
    """Read the profile that the value at ``at`` of ``draft`` names."""
    if ":" in name:
        _check_package(name, at, draft)
        return
    root = profiles.root
    is_path = "/" in name or "\\" in name or name.startswith(".") or name.endswith((".yaml", ".yml"))
    file = None if root is None else root / name if is_path else root / FOLDER / f"{name}.yaml"
    if file is not None and file.is_file():
        _read_file(file, at, draft, profiles, above)
    elif is_path:
        draft.fault(at, f"there is no profile {name!r}", f"it was looked for at {file or name}")
    elif name not in BUILT_IN:
        looked = f"it was looked for in {FOLDER.as_posix()}/ beside the document, and among {', '.join(BUILT_IN)}"
        draft.fault(at, f"unknown profile {name!r}", nearest(name, BUILT_IN) or looked)


def _check_package(name: str, at: DocumentPath, draft: Draft) -> None:
    package, _, profile = name.partition(":")
    if profile in _PACKAGES.get(package, ()):
        return
    if package in _PACKAGES:
        hint = nearest(profile, _PACKAGES[package]) or f"{package} has {', '.join(_PACKAGES[package])}"
        draft.fault(at, f"package {package} has no profile {profile!r}", hint)
        return
    known = f"it was looked for in {', '.join(_PACKAGES)}; copy it to {FOLDER.as_posix()}/NAME.yaml beside the document"
    draft.fault(at, f"profile {name!r} is of no package that is known here", nearest(package, _PACKAGES) or known)


def _read_file(file: Path, at: DocumentPath, draft: Draft, profiles: Profiles, above: tuple[Path, ...]) -> None:
    resolved = file.resolve()
    if resolved in above:
        circle = " -> ".join(path.name for path in (*above[above.index(resolved) :], resolved))
        draft.fault(at, f"profiles include each other in a circle: {circle}", "remove one of the includes")
        return
    if file in profiles.texts:
        return
    own = _draft(file, draft)
    if own is None:
        return
    profiles.texts[file] = own.document.texts[str(file)]
    for path, include in own.entries("includes"):
        entry = mapping(include) if isinstance(include, Mapping) else {"profile": include}
        name = entry.get("profile", entry.get("name"))
        before = len(own.faults)
        _read(str(name), path, own, profiles, (*above, resolved))
        if entry.get("optional") is True:
            del own.faults[before:]
    # As in FAST-HEP, a profile that includes others is only a list of these.
    if not sequence(own.get("includes")):
        profiles.constants |= read_registry(own)
        read_execution(own)
        read_hooks(own)
    draft.faults += own.faults
    draft.warnings += own.warnings


def _draft(file: Path, draft: Draft) -> Draft | None:
    """Return the profile in ``file`` as a document of its own; none after a fault."""
    try:
        value, text = read(file, str(file))
    except WorkflowError as error:
        draft.faults += error.faults
        return None
    flat = flatten(value)
    document = Document(
        name=file.stem,
        data=cast("Mapping[str, JSON]", flat.data),
        language=draft.document.language,
        files=(file,),
        places=flat.places,
        keys=flat.keys,
        texts={str(file): text},
    )
    return Draft(document, schema.problems(document.data, document.language, "profile_file"))
