"""Fetches the wheels that a lock names, for this platform and others, each checked against the lock's sha256.

pip fetches, so that the user's configuration of indexes, proxies and certificates holds, and what pip has cached is not
fetched again. Which wheel is chosen here, by the order that pip goes by: the best tag, then the highest build number.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.context import Progress
from fasthep_archive.digest import Digest
from fasthep_archive.environment.building import UNREACHABLE
from fasthep_archive.environment.lock import Artifact, Locked
from fasthep_archive.environment.platforms import Target, abi, here, there
from fasthep_archive.errors import DataError, UsageError, writing

_AT_ONCE = 4  # processes of pip, when it must be asked for one wheel at a time
_FETCHING = re.compile(r"(?:Downloading|Using cached|Processing) (?:.*[/\\])?(?P<name>[^/\\\s]+\.whl)(?: \(.*\))?")

_LEAVE_OUT = "leave out the platform, or use a version that has a wheel for it"
_FOLDER = "name a folder that has them with --wheels DIR"
_NETWORK = "try again with a network, or name a folder that has all of them with --wheels DIR"

# What pip says, and what that means. The first that is found counts.
_REASONS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"DO NOT MATCH THE HASHES"),
        "{file} was found, but its bytes are not those that are locked (sha256 {sha256})",
        _FOLDER,
    ),
    (UNREACHABLE, "no package index could be reached for {file}", _NETWORK),
    (re.compile(r"No matching distribution found|HTTP error 4"), "no package index has {file} any more", _FOLDER),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """A wheel that is wanted, and the first target that it is wanted for."""

    package: Locked
    artifact: Artifact
    target: Target


@dataclass(frozen=True, kw_only=True, slots=True)
class _Missing:
    """What can't be had: for which platform, why, and what to do."""

    package: Locked
    platform: str
    why: str
    hint: str

    def __str__(self) -> str:
        return f"{self.package.name} {self.package.version} for {self.platform}: {self.why}"


class _Meter:
    """Tells the progress of files, each once: in bytes if all sizes are known."""

    def __init__(self, progress: Progress, choices: Iterable[_Choice]) -> None:
        sizes = {choice.artifact.name: choice.artifact.size for choice in choices}
        known = {name: size for name, size in sizes.items() if size is not None}
        self.progress = progress
        self.left = known if len(known) == len(sizes) else dict.fromkeys(sizes, 1)
        progress.start("fetching wheels", sum(self.left.values()), "bytes" if self.left is known else "files")

    def has(self, name: str) -> None:
        self.progress.advance(self.left.pop(name, 0))


def download(
    wanted: Sequence[Locked],
    directory: Path,
    *,
    python: str,
    platforms: Sequence[str] = (),
    environ: Mapping[str, str],
    progress: Progress,
    wheels_from: Path | None = None,
    index: bool = True,
) -> tuple[Path, ...]:
    """Return the paths in ``directory`` of the wheels of ``wanted``, sorted: one of each package for each platform.

    What ``directory`` has already is not fetched again. If anything can't be had, nothing is added to it. An index is
    asked only for packages that are locked from one.

    :param python: minor version of the interpreter that the wheels are for, ``3.11``.
    :param platforms: further platforms, by the names that pip has for them; this machine's is always one.
    :param environ: variables for pip.
    :param wheels_from: a folder that is looked into before an index is asked.
    :param index: whether an index may be asked.
    :raises UsageError: if there is no such platform, or no such folder.
    :raises DataError: naming all that can't be had, with the platform, why, and what to do.
    """
    if wheels_from is not None and not wheels_from.is_dir():
        raise UsageError(f"there is no folder {wheels_from}", hint="name one that has wheels with --wheels")
    choices, missing = _chosen(wanted, (here(python), *(there(name, python) for name in platforms)))
    meter = _Meter(progress, choices)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as name:
        staged = Path(name)
        unlike = {}
        for choice in choices:
            taken, unlike[choice.artifact.name] = _at_hand(choice, (directory, wheels_from), staged)
            if taken:
                meter.has(choice.artifact.name)
        if index:
            missing += _fetched(
                [choice for choice in choices if choice.package.status == "index"], staged, environ, meter
            )
        missing = _wrong(choices, staged, unlike, known=missing)
        if missing:
            raise _failure(missing)
        with writing(directory):
            return tuple(sorted((staged / file).replace(directory / file) for file in _names(choices)))


def chosen(package: Locked, target: Target) -> Artifact | None:
    """Return the wheel of ``package`` that pip takes for ``target``, or none if none fits."""
    ranked = ((rank, artifact) for artifact in package.artifacts if (rank := target.rank(artifact.name)) is not None)
    return max(ranked, default=(None, None), key=lambda item: item[0])[1]


def _chosen(wanted: Sequence[Locked], targets: Sequence[Target]) -> tuple[list[_Choice], list[_Missing]]:
    """Return the wheels that are to be had, each once, and what has none that fits."""
    choices: dict[str, _Choice] = {}
    missing = []
    for target in targets:
        for package in wanted:
            if not target.needs(package.marker):
                continue
            artifact = chosen(package, target)
            if artifact is None:
                missing.append(_unfit(package, target))
            else:
                choices.setdefault(artifact.name, _Choice(package=package, artifact=artifact, target=target))
    return list(choices.values()), missing


def _unfit(package: Locked, target: Target) -> _Missing:
    if package.status == "unresolved":
        why = "its files are not known, as no package index could be asked when it was locked"
        return _Missing(package=package, platform=target.name, why=why, hint="pack again with a network")
    offered = "only its sources" if package.artifacts else "no file at all"
    wheels = [artifact.name for artifact in package.artifacts if artifact.name.endswith(".whl")]
    why = f"none of its {len(wheels)} wheels is for that" if wheels else f"there is {offered}, no wheel"
    return _Missing(package=package, platform=target.name, why=why, hint=_LEAVE_OUT)


def _at_hand(choice: _Choice, folders: Iterable[Path | None], staged: Path) -> tuple[bool, Digest | None]:
    """Return whether one of ``folders`` has the wheel, which is copied to ``staged`` then.

    If not, the digest of another file that has its name is returned too, if there is one.
    """
    unlike = None
    for folder in folders:
        wheel = folder / choice.artifact.name if folder else None
        if wheel is None or not wheel.is_file():
            continue
        copy = staged / wheel.name
        with writing(staged):
            shutil.copyfile(wheel, copy)
            found = digest.of_file(copy)
            if found == choice.artifact.sha256:
                return True, None
            copy.unlink()
        unlike = found
    return False, unlike


def _fetched(choices: Sequence[_Choice], staged: Path, environ: Mapping[str, str], meter: _Meter) -> list[_Missing]:
    """Fetch what ``staged`` has not yet, and return what can't be had."""
    wanted = [choice for choice in choices if not (staged / choice.artifact.name).is_file()]
    missing: list[_Missing] = []
    for _, group in groupby(wanted, key=lambda choice: choice.target.name):
        together = list(group)
        output = _pip(together, staged, environ, meter)
        left = [choice for choice in together if not (staged / choice.artifact.name).is_file()]
        if UNREACHABLE.search(output):
            missing += [_unfetched(choice, output) for choice in left]  # asking one by one only takes longer
            continue
        # pip stops at the first that it can't have, and leaves none.
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            outputs = pool.map(partial(_alone, staged=staged, environ=environ, meter=meter), left)
            missing += [
                _unfetched(choice, output)
                for choice, output in zip(left, outputs, strict=True)
                if not (staged / choice.artifact.name).is_file()
            ]
    return missing


def _alone(choice: _Choice, *, staged: Path, environ: Mapping[str, str], meter: _Meter) -> str:
    return _pip([choice], staged, environ, meter, "-vv")  # without that, pip may not say that it reached no index


def _pip(choices: Sequence[_Choice], staged: Path, environ: Mapping[str, str], meter: _Meter, *options: str) -> str:
    """Run ``pip download`` for wheels of one target, and return what it printed."""
    with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as name:
        requirements = Path(name) / "requirements.txt"
        lines = (f"{c.package.name}=={c.package.version} --hash=sha256:{c.artifact.sha256}\n" for c in choices)
        requirements.write_text("".join(lines), encoding="utf-8")
        output = []
        with subprocess.Popen(  # noqa: S603 - no shell
            [*_command(choices[0].target, requirements, staged), *options],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                output.append(line)
                if found := _FETCHING.fullmatch(line.strip()):
                    meter.has(found["name"])
        return "".join(output)


def _command(target: Target, requirements: Path, staged: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    # What says which Python a wheel works with has been asked when the lock was made, and the installed one has it.
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--ignore-requires-python"]
    command += ["--progress-bar", "off", "--dest", str(staged), "--requirement", str(requirements)]
    if target.platforms:
        command += ["--python-version", target.python, "--implementation", "cp", "--abi", abi(target.python)]
        command += [word for platform in target.platforms for word in ("--platform", platform)]
    return command


def _unfetched(choice: _Choice, output: str) -> _Missing:
    """Return why a wheel could not be fetched, from what pip printed."""
    file, sha256 = choice.artifact.name, choice.artifact.sha256
    last = next((line for line in reversed(output.splitlines()) if line.startswith("ERROR")), "pip did not say why")
    why, hint = next(
        ((why.format(file=file, sha256=sha256), hint) for said, why, hint in _REASONS if said.search(output)),
        (f"{file} could not be fetched: {last}", _FOLDER),
    )
    return _Missing(package=choice.package, platform=choice.target.name, why=why, hint=hint)


def _wrong(
    choices: Sequence[_Choice], staged: Path, unlike: Mapping[str, Digest | None], *, known: Sequence[_Missing]
) -> list[_Missing]:
    """Return what can't be had: what is ``known`` to be missing, is not there, or has not the bytes that are locked.

    :param unlike: digests of files at hand that were not taken, by name.
    """
    told = {(missing.package, missing.platform): missing for missing in known}
    for choice in choices:
        file, key = staged / choice.artifact.name, (choice.package, choice.target.name)
        sha256 = digest.of_file(file) if file.is_file() else unlike[file.name]
        if sha256 == choice.artifact.sha256:
            continue
        why = [f"{file.name} is not at hand, and no package index was to be asked for it"]
        if sha256 is not None:
            locked = choice.artifact.sha256
            why = [f"the bytes of {file.name} are not those that are locked: sha256 {sha256}, not {locked}"]
        if key in told:
            why = [told[key].why, *(why if sha256 is not None else ())]
        hint = told[key].hint if key in told else _FOLDER
        told[key] = _Missing(package=choice.package, platform=choice.target.name, why="; ".join(why), hint=hint)
    return list(told.values())


def _failure(missing: Sequence[_Missing]) -> DataError:
    hints = dict.fromkeys(item.hint for item in missing)
    count = "a wheel" if len(missing) == 1 else f"{len(missing)} wheels"
    return DataError(f"{count} can't be had:\n" + "\n".join(f"  {item}" for item in missing), hint="; ".join(hints))


def _names(choices: Iterable[_Choice]) -> list[str]:
    return sorted(choice.artifact.name for choice in choices)
