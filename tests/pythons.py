"""The Python interpreters of this machine, for tests of what has to run on others than the one that runs the tests."""

import functools
import shutil
import subprocess
from pathlib import Path


@functools.cache
def pythons(first: int = 8) -> dict[str, Path]:
    """Return interpreters by version, ``3.8`` and later unless ``first`` is another minor version."""
    found = {}
    for minor in range(first, 16):
        on_path = shutil.which(f"python3.{minor}")
        candidates = [Path(on_path)] if on_path else []
        candidates += (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3")
        for python in candidates:
            if subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0:
                found[f"3.{minor}"] = python
    return found
