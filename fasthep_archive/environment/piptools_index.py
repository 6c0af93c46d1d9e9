"""Files of exact versions, found by pip-tools in a process of its own, where pip's global state does no harm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from fasthep_archive.environment.artifacts import Answer, Outcome, Pin, artifact
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError

_WORKER = "fasthep_archive.environment.piptools_worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class PipTools:
    """Asks wherever pip is configured to ask.

    :ivar python: minor version of this interpreter (``3.11``).
    :ivar environ: the environment variables of this process.
    """

    python: str
    environ: Mapping[str, str]

    def find(self, pins: Sequence[Pin]) -> Mapping[Pin, Answer]:
        """Return an answer for every pin.

        :raises DataError: if pip-tools is not installed, or fails.
        """
        task = {"python": self.python, "pins": [[pin.name, pin.version] for pin in pins]}
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", _WORKER],
            input=json.dumps(task),
            env=dict(self.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            lines = ran.stderr.strip().splitlines() or ["no reason given"]
            raise DataError(
                f"pip-tools can't ask the package index: {lines[-1]}",
                hint="python -m pip install --upgrade pip-tools, or pack with --no-index",
            )
        answers = Reader.of(json.loads(ran.stdout), "pip-tools").readers("answers")
        return dict(zip(pins, map(_answer, answers), strict=True))


def _answer(reader: Reader) -> Answer:
    return Answer(
        outcome=reader.choice("outcome", get_args(Outcome)),
        artifacts=tuple(artifact(item) for item in reader.readers("artifacts")),
        yanked=reader.optional_text("yanked"),
        lasting=reader.value.get("lasting") is True,
    )
