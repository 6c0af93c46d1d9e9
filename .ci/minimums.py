"""Installs the lowest versions that pyproject.toml allows into a new environment and runs the tests with them."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "document",
    "environment",
    "example",
    "kernels_cache",
    "lock",
    "plots",
    "render",
    "remote",
    "root",
    "schema",
    "terminal",
    "view",
    "writing",
)
"""What meets the dependencies; the rest of the suite tests our own code, which is the same with any version."""


def constraints() -> str:
    """Return each direct dependency of the package pinned to its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = (re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)", text) for text in project["dependencies"])
    return "".join(
        f"{bound[1]}=={bound[2]}.*\n" if bound[2].count(".") < 2 else f"{bound[1]}=={bound[2]}\n"
        for bound in bounds
        if bound
    )


def main() -> int:
    """Return the exit status of the tests."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / "venv"
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        pins = Path(scratch) / "constraints.txt"
        pins.write_text(constraints())
        print(pins.read_text(), flush=True)
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", pins, f"{ROOT}[test]"]
        subprocess.run(install, check=True)
        tests = [f"tests/test_{name}.py" for name in TESTS]
        return subprocess.run([python, "-m", "pytest", "-q", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
