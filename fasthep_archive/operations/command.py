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
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError, TaskError, nearest, of_known
from fasthep_archive.files import Bytes, opened, pieces, private_directory
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
KEYS = 10
"""Keys of a JSON file that a message has."""
_SHELLS: Mapping[str, tuple[str, ...]] = {
    "sh": ("/bin/sh", "-e", "-u"),
    "bash": ("/bin/bash", "-e", "-u", "-o", "pipefail"),
}
_FOLDER = "commands"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A number in a JSON file that a script leaves: the keys and positions that lead to it.

    :ivar place: where the document says so, for messages.
    """

    name: str
    file: str
    keys: tuple[str, ...]
    place: str = field(default="", compare=False)

    @classmethod
    def read(cls, name: str, item: Mapping[str, JSON]) -> Wanted:
        """Return what checked parameters say: ``key: fit.mu``, ``key: limits.0``, or a list where keys have dots."""
        key = item["key"]
        keys = key.split(".") if isinstance(key, str) else map(str, cast("Sequence[JSON]", key))
        return cls(name=name, file=str(item["file"]), keys=tuple(keys))

    @property
    def key(self) -> str:
        """Return the keys as messages have them."""
        return ".".join(self.keys)

    def taken(self, content: bytes) -> float:
        """Return the number.

        :raises DataError: if there is no number there.
        """
        value = read_json(content, self.file)
        for number, step in enumerate(self.keys):
            there = _members(value)
            if step not in there:
                above = f"{'.'.join(self.keys[:number])!r} in {self.file}" if number else self.file
                close = nearest(step, there)
                hint = f"{close}; {above} has {_listed(there)}" if close else f"{above} has {_listed(there)}"
                raise DataError(f"{self.file} has no {self.key!r}", hint=hint)
            value = there[step]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{self.key!r} in {self.file} is {json.dumps(value)[:80]}, not a finite number")
        return float(value)


def _members(value: JSON) -> Mapping[str, JSON]:
    """Return what a JSON value consists of, by key or position; a text or a number consists of nothing."""
    if isinstance(value, Mapping):
        return value
    return {str(number): item for number, item in enumerate(value)} if isinstance(value, list) else {}


def _listed(there: Mapping[str, JSON]) -> str:
    more = f" and {len(there) - KEYS} more" if len(there) > KEYS else ""
    return f"{', '.join(map(repr, list(there)[:KEYS]))}{more}" if there else "no keys"


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
        values = cast("Mapping[str, Mapping[str, JSON]]", params["values"])
        return cls(
            script=tuple(cast("Sequence[str]", params["script"])),
            shell=str(params["shell"]),
            inputs=cast("Mapping[str, str]", params["inputs"]),
            taken=tuple(cast("Sequence[str]", params["code"])),
            leaves=tuple(cast("Sequence[str]", params["outputs"])),
            values=tuple(Wanted.read(name, item) for name, item in values.items()),
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
        command = CommandDerivation(
            stage=deriving.stage,
            script=self.script,
            shell=self.shell,
            sources=sources,
            leaves=self.leaves,
            variables=self.variables,
            timeout=self.timeout,
            code=None if self.code is None else self.code.digest,
            shipped=Digest("") if self.code is None else self.code.shipped,
        )
        places = (str(deriving.where((*deriving.path, "values", value.name, "key")) or "") for value in self.values)
        values = tuple(replace(value, place=place) for value, place in zip(self.values, places, strict=True))
        return NumbersDerivation(stage=deriving.stage, values=values, first=command) if values else command


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
    :ivar code: digest of the files of the code; none: there are none. :ivar shipped: by which they are found.
    :ivar files: these by name, where the script is run.
    """

    stage: str
    script: tuple[str, ...]
    shell: str
    sources: Mapping[str, tuple[str, str]]
    leaves: tuple[str, ...]
    variables: Mapping[str, str]
    timeout: float | None
    code: Digest | None
    shipped: Digest = field(default=Digest(""))
    files: Mapping[str, bytes] = field(repr=False, default_factory=dict)

    def bringing(self, files: Mapping[str, bytes]) -> CommandDerivation:
        """Return the same script with the files of the code."""
        return replace(self, files=files)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files; what was printed comes last."""
        return (
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
            "environment": dict(self.variables),
            "code": self.code,
        }

    def remarks(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Return what whoever reads the files should know: what the script has read that nobody else may have."""
        return _remarks(self.stage, outputs)

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
        return (
            *(Output(name=f"{FILES}{self.stage}/{name}", held=content) for name, content in left.items()),
            Output(name=f"{LOGS}{self.stage}.log", held=log.encode()),
            Output(name=f"{LOGS}{self.stage}{SUFFIX}", held=found.text(others)),
        )

    def _brought(self, products: Mapping[str, tuple[Output, ...]]) -> Mapping[str, Bytes]:
        """Return the files that the script finds."""
        contents = {(name, output.name): output.held for name, files in products.items() for output in files}
        brought = {name: contents[source] for name, source in self.sources.items()}
        return {**brought, **self.files}

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
            found = [(name, _instead(work / name)) for name in missing]
            told = [f"left {what} in place of the file {name}" for name, (what, _) in found if what]
            absent = [name for name, (what, _) in found if not what]
            told = [f"left no {', '.join(absent)}", *told] if absent else told
            there = ", ".join(sorted(_files(work))[:10]) or "nothing"
            hints = [hint for _, (what, hint) in found if what]
            hint = "; ".join(dict.fromkeys(hints)) or f"in its directory there is {there}; names are relative to it"
            raise TaskError(self._told(f"the script {' and '.join(told)}", log), hint=hint)
        return {name: (work / name).read_bytes() for name in self.leaves}

    def _told(self, message: str, log: str) -> str:
        """Return a message with the last lines of what was printed."""
        lines = log.splitlines()[-SHOWN:]
        printed = ["it printed, last:", *(f"  {line}" for line in lines)] if lines else ["it printed nothing"]
        return "\n".join([message, *printed])


@dataclass(frozen=True, kw_only=True, slots=True)
class NumbersDerivation:
    """What a script leaves, and the numbers that are read from it.

    It is a result of its own: a number that is looked for in the wrong place does not run the script again.

    :ivar first: how the files are made that it takes.
    """

    stage: str
    values: tuple[Wanted, ...]
    first: CommandDerivation

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files: values first, where formulas look for them."""
        return (f"values/{self.stage}.json", *self.first.outputs)

    def canonical(self) -> JSON:
        """Return everything that the numbers depend on beside the files."""
        values: list[JSON] = [[value.name, value.file, list(value.keys)] for value in self.values]
        return {"kind": "numbers", "stage": self.stage, "values": values}

    def remarks(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """Return what whoever reads the files should know."""
        return _remarks(self.stage, outputs)

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the numbers and the files.

        :raises TaskError: if there is no number where one is looked for.
        """
        (files,) = products.values()
        found = {file.name: file for file in files}
        numbers: dict[str, float] = {}
        for value in self.values:
            try:
                numbers[value.name] = value.taken(found[f"{FILES}{self.stage}/{value.file}"].content)
            except DataError as error:
                at = f"{value.place}: " if value.place else ""
                message = f"{at}value {value.name!r}: {error.message}"
                raise TaskError(message, hint=error.hint) from error
        return (Output(name=f"values/{self.stage}.json", held=Values(numbers).to_json()), *files)


def _remarks(stage: str, outputs: Sequence[Output]) -> tuple[str, ...]:
    """Return what the log of a stage's access says that readers of its files should know."""
    found = next((Access.of_text(item.content) for item in outputs if item.name.endswith(SUFFIX)), Access())
    told = []
    for verb, names in (("read", found.read), ("wrote to", found.wrote)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            listed = f"{', '.join(names[:3])}{more}"
            told.append(f"stage {stage} {verb} files that it does not declare: {listed}")
    if found.note:
        told.append(f"stage {stage}: {found.note}")
    return tuple(told)


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Make a directory below ``cache`` that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=private_directory(cache / _FOLDER), prefix="run-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, name: str, content: Bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(pieces(content))
    if opened(content).read(2) == b"#!":
        path.chmod(0o755)


def _inside(path: Path, folder: Path) -> bool:
    """Say whether there is a file that is no link to somewhere else."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _instead(path: Path) -> tuple[str, str]:
    """Return what is there where a file should be, and what to do about it; nothing where nothing is."""
    if path.is_symlink():
        if not path.exists():
            return "a link to what is not there", "let it lead to a file in the directory of the script"
        if path.is_file():
            return "a link to a file outside of its directory", "copy the file: cp -L"
    if path.is_dir():
        names = [f"{path.name}/{name}" for name in sorted(_files(path))[:3]]
        return "a directory", f"declare the files in it: {', '.join(names) or 'there are none'}"
    return ("no regular file", "write a file") if path.exists() else ("", "")


def _files(folder: Path) -> set[str]:
    """Return the names of all files below a directory."""
    return {
        PurePosixPath(path.relative_to(folder)).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }
