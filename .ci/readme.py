"""Runs the commands of the README as a reader pastes them: ``readme.py tests`` or ``readme.py example``.

A command is the code block after the marker ``<!-- run: NAME -->``. It runs in the checkout, where the virtual
environment that it makes stays for later steps.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command(name: str) -> str:
    """Return the shell command of the README's block ``name``."""
    found = re.search(
        rf"<!-- run: {name} -->\s*```(?:sh|bash|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    if found is None:
        raise SystemExit(f"README.md has no block marked <!-- run: {name} -->")
    return found.group(1)


if __name__ == "__main__":
    script = command(sys.argv[1])
    print(script, flush=True)
    sys.exit(subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, check=False).returncode)
