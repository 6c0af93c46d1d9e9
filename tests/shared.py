"""Real files beside the project, which are not part of it."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def needed(path: Path) -> Path:
    """Return ``path`` if it is there; CI must have it, others may not."""
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing, and CI must have it")
        pytest.skip(f"needs {path}, which is not part of the repository")
    return path
