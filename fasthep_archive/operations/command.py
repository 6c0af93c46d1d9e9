"""``run.command``: a script that is run in a directory of its own, with the files that it declares, and what it leaves.

The directory holds the declared inputs and files of the code, and nothing else; nothing of the user's is in the
environment. What the script leaves is outside the numeric profile.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import cast

from fasthep_archive.data.products import Values
from fasthep_archive.data.strictjson import read_json
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, TaskError, of_known
from fasthep_archive.files import private_directory
from fasthep_archive.operations.access import SUFFIX, Access, access, watching
from fasthep_archive.operations.child import seed_of
from fasthep_archive.operations.naming import by_need
from fasthep_archive.operations.process import Ended, carried_out
from fasthep_archive.operations.protocol import Derivation, Deriving, Output
from fasthep_archive.operations.scrubbed import environment
from fasthep_archive.workflow.code import Code

FILES = "files/"
"""Where what scripts leave lies, below the outputs directory."""
LOGS = "logs/"
"""Where what scripts print lies."""
SHOWN = 20
"""Lines of these that a message has."""
_SHELLS: Mapping[str, tuple[str, ...]] = {
    "sh": ("/bin/sh", "-e", "-u"),
    "bash": ("/bin/bash", "-e", "-u", "-o", "pipefail"),
}
_FOLDER = "commands"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A number in a JSON file that a script leaves; ``key`` has dots between the keys: ``fit.mu``, ``limits.0``."""

    name: str
    file: str
    key: str

    def taken(self, content: bytes) -> float:
        """Return the number.

        :raises DataError: if there is no number there.
        """
        value = read_json(content, self.file)
        for step in self.key.split("."):
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif isinstance(value, Sequence) and not isinstance(value, str) and step.isdecimal():
                value = value[int(step)] if int(step) < len(value) else None
            else:
                value = None
            if value is None:
                raise DataError(f"{self.file} has no {self.key!r}", hint=f"value {self.name!r} is to be found there")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{self.key!r} in {self.file} is {json.dumps(value)[:80]}, not a finite number")
        return float(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCommand:
    """Runs a script, and keeps the files that it is declared to leave.

    :ivar inputs: by the name that the script knows a file by, the stage that leaves it, or ``STAGE:FILE``.
    :ivar taken: files of the code that it finds.
    :ivar timeout: most seconds that it may take; none: no limit.
    """

    script: tuple[str, ...]
    shell: str
    inputs: Mapping[str, str]
    taken: tuple[str, ...]
    leaves: tuple[str, ...]
    values: tuple[Wanted, ...]
    variables: Mapping[str, str]
    timeout: float | None
    code: Code | None = None

    takes_written = True
    """It sees what stages write, too."""

    @classmethod
    def read(cls, params: Mapping[str, JSON]) -> RunCommand:
        """Return the operation of checked parameters."""
        values = cast("Mapping[str, Mapping[str, str]]", params["values"])
        return cls(
            script=tuple(cast("Sequence[str]", params["script"])),
            shell=str(params["shell"]),
            inputs=cast("Mapping[str, str]", params["inputs"]),
            taken=tuple(cast("Sequence[str]", params["code"])),
            leaves=tuple(cast("Sequence[str]", params["outputs"])),
            values=tuple(Wanted(name=name, file=item["file"], key=item["key"]) for name, item in values.items()),
            variables=cast("Mapping[str, str]", params["environment"]),
            timeout=cast("float | None", params.get("timeout")),
        )

    def carrying(self, code: Code) -> RunCommand:
        """Return the operation with the files of the code."""
        return replace(self, code=code)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the numbers, for the formulas of later stages."""
        return tuple(value.name for value in self.values)

    def derivation(self, deriving: Deriving) -> Derivation | None:
        """Return how the script is run; none after reporting inputs or files that are not there."""
        needs = by_need(deriving.inputs)
        sources: dict[str, tuple[str, str]] = {}
        sound = True
        for name, asked in self.inputs.items():
            found = _source(asked, needs, deriving, (*deriving.path, "inputs", name))
            sound = sound and found is not None
            if found is not None:
                sources[name] = found
        if self.taken and self.code is None:
            deriving.fault("the files of the code are not there", (*deriving.path, "code"), "pack carries them")
            sound = False
        if not sound:
            return None
        return CommandDerivation(
            stage=deriving.stage,
            script=self.script,
            shell=self.shell,
            sources=sources,
            leaves=self.leaves,
            values=self.values,
            variables=self.variables,
            timeout=self.timeout,
            code=self.code,
            place=".".join(map(str, deriving.path)),
        )


def _source(
    asked: str, needs: Mapping[str, Sequence[str]], deriving: Deriving, place: tuple[str | int, ...]
) -> tuple[str, str] | None:
    """Return the input and the name of its file that ``STAGE`` or ``STAGE:FILE`` means; none after a fault."""
    stage, _, wanted = asked.partition(":")
    left = {name: need for need in needs.get(stage, ()) for name in deriving.inputs[need].outputs}
    if stage not in needs:
        deriving.fault(f"stage {stage!r} is not among those that this one takes", place, of_known(stage, needs))
        return None
    matching = [name for name in left if wanted in ("", name) or name.endswith(f"/{wanted}")]
    if len(matching) == 1:
        return left[matching[0]], matching[0]
    if not matching:
        deriving.fault(f"stage {stage!r} leaves no file {wanted!r}", place, of_known(wanted, left))
        return None
    message = f"stage {stage!r} leaves {len(matching)} files{f' called {wanted}' if wanted else ''}"
    deriving.fault(message, place, f"write one of {', '.join(f'{stage}:{name}' for name in matching)}")
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandDerivation:
    """A script, and what it leaves.

    :ivar sources: by the name that the script knows a file by, the input and the name of its file there.
    :ivar place: where the stage's params are in the document, for messages.
    """

    stage: str
    script: tuple[str, ...]
    shell: str
    sources: Mapping[str, tuple[str, str]]
    leaves: tuple[str, ...]
    values: tuple[Wanted, ...]
    variables: Mapping[str, str]
    timeout: float | None
    code: Code | None
    place: str = field(compare=False, default="")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files: values first, where formulas look for them; what was printed last."""
        return (
            *([f"values/{self.stage}.json"] if self.values else []),
            *(f"{FILES}{self.stage}/{name}" for name in self.leaves),
            f"{LOGS}{self.stage}.log",
            f"{LOGS}{self.stage}{SUFFIX}",
        )

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the products."""
        return {
            "kind": "command",
            "stage": self.stage,
            "script": list(self.script),
            "shell": self.shell,
            "inputs": {name: list(source) for name, source in self.sources.items()},
            "outputs": list(self.leaves),
            "values": [[value.name, value.file, value.key] for value in self.values],
            "environment": dict(self.variables),
            "code": None if self.code is None else self.code.digest,
        }

    def remarks(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Return what whoever reads the files should know: what the script has read that nobody else may have."""
        found = next((Access.of_text(item.content) for item in outputs if item.name.endswith(SUFFIX)), Access())
        told = []
        for verb, names in (("read", found.read), ("wrote to", found.wrote)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                listed = f"{', '.join(names[:3])}{more}"
                told.append(f"stage {self.stage} {verb} files that it does not declare: {listed}")
        if found.note:
            told.append(f"stage {self.stage}: {found.note}")
        return tuple(told)

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the files.

        :raises TaskError: if the script fails, takes too long, or does not leave what it is declared to.
        """
        with _scratch(cache) as scratch:
            work, home = scratch / "work", scratch / "home"
            for folder in (work, home):
                folder.mkdir()
            brought = self._brought(products)
            for name, content in brought.items():
                _write(work, name, content)
            ended, found = self._run(scratch, work, home)
            log = ended.printed.decode(errors="replace").replace(str(scratch), "...")
            self._check(ended, log)
            left = self._collected(work, log)
            others = sorted(_files(work) - brought.keys() - left.keys())
        values = self._values(left)
        return (
            *([Output(name=f"values/{self.stage}.json", content=values)] if self.values else []),
            *(Output(name=f"{FILES}{self.stage}/{name}", content=content) for name, content in left.items()),
            Output(name=f"{LOGS}{self.stage}.log", content=log.encode()),
            Output(name=f"{LOGS}{self.stage}{SUFFIX}", content=found.text(others)),
        )

    def _brought(self, products: Mapping[str, tuple[Output, ...]]) -> Mapping[str, bytes]:
        """Return the files that the script finds."""
        contents = {(name, output.name): output.content for name, files in products.items() for output in files}
        brought = {name: contents[source] for name, source in self.sources.items()}
        return {**brought, **({} if self.code is None else self.code.files)}

    def _run(self, scratch: Path, work: Path, home: Path) -> tuple[Ended, Access]:
        """Run the script, watched where that is possible."""
        path, trace = scratch / "script", scratch / "trace"
        path.write_text("".join(f"{line}\n" for line in self.script))
        tracer, note = watching()
        watched = (*tracer, str(trace), "--") if tracer else ()
        command = (*_SHELLS[self.shell], str(path))
        variables = environment(home, seed=seed_of("command", self.stage), declared=self.variables)
        ended = carried_out(command, work, scratch, variables, timeout=self.timeout, watched=watched)
        return ended, access(trace, [scratch]) if tracer else Access(note=note)

    def _check(self, ended: Ended, log: str) -> None:
        if ended.late:
            hint = "give the stage a longer timeout, or find out what takes so long"
            raise TaskError(self._told(f"it took more than {self.timeout:g} s and was ended", log), hint=hint)
        if ended.status:
            hint = "the script ends at the first line that fails, and finds only what inputs and code name"
            raise TaskError(self._told(f"the script ended {ended.told}", log), hint=hint)

    def _collected(self, work: Path, log: str) -> Mapping[str, bytes]:
        """Return the declared outputs."""
        missing = [name for name in self.leaves if not _inside(work / name, work)]
        if missing:
            there = ", ".join(sorted(_files(work))[:10]) or "nothing"
            hint = f"in its directory there is {there}; names are relative to it"
            raise TaskError(self._told(f"the script left no {', '.join(missing)}", log), hint=hint)
        return {name: (work / name).read_bytes() for name in self.leaves}

    def _values(self, left: Mapping[str, bytes]) -> bytes:
        try:
            return Values({value.name: value.taken(left[value.file]) for value in self.values}).to_json()
        except DataError as error:
            raise TaskError(f"{self.place}: {error.message}", hint=error.hint) from error

    def _told(self, message: str, log: str) -> str:
        """Return a message with the last lines of what was printed."""
        lines = log.splitlines()[-SHOWN:]
        printed = ["it printed, last:", *(f"  {line}" for line in lines)] if lines else ["it printed nothing"]
        return "\n".join([message, *printed])


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Make a directory below ``cache`` that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=private_directory(cache / _FOLDER), prefix="run-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if content.startswith(b"#!"):
        path.chmod(0o755)


def _inside(path: Path, folder: Path) -> bool:
    """Say whether there is a file that is no link to somewhere else."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _files(folder: Path) -> set[str]:
    """Return the names of all files below a directory."""
    return {
        PurePosixPath(path.relative_to(folder)).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }
