"""Where the files are that come with this package but are no Python: schemas, templates, examples."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal


def resource(kind: Literal["schemas", "templates", "examples"], name: str) -> Path:
    """Return the file or directory ``name`` of ``kind``.

    It lies inside the package in a wheel, and beside it in a checkout and in an editable install.
    """
    package = Path(str(files("fasthep_archive")))
    inside = package / kind / name
    return inside if inside.exists() else package.parent / kind / name
