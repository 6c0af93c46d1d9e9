"""Runs tests with the lowest versions that pyproject.toml allows: ``install DIRECTORY``, then ``test DIRECTORY``."""

from __future__ import annotations

import re
import subprocess
import sys
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


def required() -> list[str]:
    """Return what the package and its tests need, without the package itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for name in ("test", "dask", "mpi", "sql") for text in extras[name])]
    return [text for text in texts if not text.startswith(project["name"])]


def install(environment: Path) -> None:
    """Make an environment with the lowest versions: all but the package, whose sources others may just be reading."""
    venv.create(environment, with_pip=True)
    pins = environment / "constraints.txt"
    pins.write_text(constraints())
    print(pins.read_text(), flush=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", pins, *required()], check=True)


def test(environment: Path) -> int:
    """Return the exit status of the tests in that environment."""
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", ROOT], check=True)
    tests = [f"tests/test_{name}.py" for name in TESTS]
    return subprocess.run([python, "-m", "pytest", "-q", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    what, place = sys.argv[1:]
    if what == "install":
        install(Path(place))
    else:
        sys.exit(test(Path(place)))
