"""The verbs. Each is a straight line of calls into the rooms below.

    Document -> Workflow -> Plan -> Run -> Bundle               pack   = stage + run + seal
    Bundle   -> Workflow -> Plan -> Run -> Verdicts -> Report   replay = open + run + compare

This is the only module that reads the clock, the environment variables and the defaults; everything below gets them as
values. It prints nothing. The rooms are imported where they are used: only the verb that needs numba pays for it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache as cached
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fasthep_archive import __version__
from fasthep_archive.context import Context, NoProgress, Progress
from fasthep_archive.digest import Digest, of_bytes
from fasthep_archive.errors import BundleError, UsageError, WorkflowError, nearest, writing

if TYPE_CHECKING:
    from fasthep_archive.bundle.container import Member
    from fasthep_archive.bundle.description import Description
    from fasthep_archive.bundle.identity import Output as BundledOutput
    from fasthep_archive.bundle.reader import Bundle
    from fasthep_archive.bundle.staging import Staged
    from fasthep_archive.bundle.verifier import Verification
    from fasthep_archive.data.view import Results as View
    from fasthep_archive.execution.plan import Plan
    from fasthep_archive.execution.record import Record, RecordedOutput
    from fasthep_archive.execution.store import Store
    from fasthep_archive.report.markup import Markup
    from fasthep_archive.verification.outputs import Output
    from fasthep_archive.verification.verdict import Report
    from fasthep_archive.workflow.document import Document
    from fasthep_archive.workflow.model import Workflow

AnyPath: TypeAlias = "str | os.PathLike[str]"
Digests: TypeAlias = Literal["none", "remembered", "read"]
"""Whether a plan has the digests of its inputs: not at all (``check``), remembered ones of files that look
unchanged (``run``), or of every byte (``pack``, ``replay``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A workflow without faults, and its plan."""

    workflow: Workflow
    plan: Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A finished run: its record and the directory of its outputs."""

    record: Record
    directory: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A bundle that was written. ``sidecar`` is the verifier beside it where the bundle is too large to run itself."""

    path: Path
    size: int
    identity: Digest
    record: Record
    sidecar: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A replay: the verdicts, what differs in the environment, and the new run."""

    report: Report
    record: Record
    directory: Path


def init(directory: AnyPath, *, example: str = "dimuon") -> Path:
    """Copy a runnable example with its data to ``directory``, which must be new or empty, and return its path.

    :raises UsageError: if the directory has files in it, or there is no such example.
    """
    from fasthep_archive.workflow.resource import resource

    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already", hint="name a new directory")
    source = resource("examples", example)
    if not (source / "workflow.yaml").is_file():
        raise UsageError(f"there is no example {example!r}", hint=f"there are: {', '.join(_examples(source.parent))}")
    with writing(target):
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "out"))
    return target


def check(workflow: AnyPath, *, language: str | None = None, cache: AnyPath | None = None) -> Checked:
    """Return the workflow and its plan if nothing is wrong with it.

    :raises WorkflowError: with every fault of the document and of the files that it names.
    """
    context = _context(cache, None, NoProgress())
    return _checked(_document(workflow, language), context, "none", None)


def run(
    workflow: AnyPath,
    directory: AnyPath,
    *,
    only: Sequence[str] = (),
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    reuse: bool = True,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Ran:
    """Run the workflow and leave its products in ``directory``; whatever the store has is not computed again.

    :param only: stages whose products are wanted; all by default.
    :param workers: processes; the number of usable CPUs by default.
    :param chunk: events per partition.
    :raises TaskError: after everything that does not depend on the failed task was written.
    """
    context = _context(cache, workers, progress)
    checked = _checked(_document(workflow, language), context, "remembered", chunk)
    with _store(context, reuse=reuse) as store:
        return _carry_out(checked, only, store, _claimed(Path(directory)), context)


def pack(
    workflow: AnyPath,
    bundle: AnyPath | None = None,
    *,
    workers: int | None = None,
    chunk: int | None = None,
    language: str | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Stage the workflow, run it from the staged tree on an empty store, and seal everything into one file.

    :param bundle: where the file goes; by default it is named after the workflow, in the working directory.
    """
    from fasthep_archive.bundle.staging import stage

    context = _context(cache, workers, progress)
    checked = _checked(_document(workflow, language), context, "none", chunk)
    target = _bundle_path(bundle, checked.workflow)
    with _workspace(target.parent) as space:
        staged = stage(checked.workflow, {file.name: file.path for file in checked.plan.inputs}, space / "staged")
        again = _checked(_resolved(staged.resolved), context, "read", chunk)
        ran = _carry_out(again, (), _empty_store(space), space / "run", context)
        return _seal(staged, ran, target, context)


def verify(bundle: AnyPath, *, progress: Progress | None = None) -> Verification:
    """Return what is wrong with ``bundle``, if anything: every byte is read, and nothing from it runs."""
    from fasthep_archive.bundle.verifier import verify as verify_file

    path = _existing(bundle)
    shown = progress or NoProgress()
    shown.start(f"verifying {path.name}", path.stat().st_size, "bytes")
    return verify_file(path, progress=shown.advance, workers=_usable_cpus())


def open_bundle(bundle: AnyPath, *, payload: bool = False, progress: Progress | None = None) -> Bundle:
    """Return the bundle, a context manager; ``.data["stage"]`` hands out its products.

    What the bundle says of itself is verified now, each file when it is read, or all of them now with ``payload``.

    :raises BundleError: if it is damaged; names everything that is wrong.
    """
    from fasthep_archive.bundle.reader import open_bundle as open_file

    return open_file(_existing(bundle), payload=payload, progress=progress)


def open_run(directory: AnyPath) -> View:
    """Return the products of a finished run: ``open_run("out")["DiMuonMass"]`` is a ``hist.Hist``."""
    from fasthep_archive.data.view import of_directory

    return of_directory(Path(directory))


def replay(
    bundle: AnyPath,
    directory: AnyPath,
    *,
    consent: Callable[[Bundle], bool],
    workers: int | None = None,
    chunk: int | None = None,
    cache: AnyPath | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Run ``bundle`` again on an empty store and compare every output with the recorded one.

    :param consent: asked once the bundle has been verified and before anything of it runs.
    :raises BundleError: if it is damaged, or consent is refused.
    :raises TaskError: if a stage fails.
    """
    context = _context(cache, workers, progress)
    with open_bundle(bundle, payload=True, progress=context.progress) as opened:
        context.progress.close()
        if not consent(opened):
            raise BundleError("nothing was run: you did not agree to run this bundle", hint="say --yes if you trust it")
        target = _claimed(Path(directory))
        with _workspace(target) as space:
            checked = _checked(_extracted(opened, space, context), context, "read", chunk)
            ran = _carry_out(checked, (), _empty_store(space), target, context)
        return _compared(opened, ran)


def _context(cache: AnyPath | None, workers: int | None, progress: Progress | None) -> Context:
    """Read clock, environment and defaults, once."""
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers can't run anything", hint="-j takes a number from 1")
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return Context(
        cache=Path(cache) if cache is not None else _cache_directory(),
        now=_fixed_time(epoch) if epoch else datetime.now(UTC).replace(microsecond=0),
        measured=not epoch,
        workers=workers or _usable_cpus(),
        progress=progress or NoProgress(),
    )


def _fixed_time(epoch: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        hint = "it is a whole number of seconds since 1970, see reproducible-builds.org/specs/source-date-epoch"
        raise UsageError(f"SOURCE_DATE_EPOCH={epoch} is no time", hint=hint) from error


def _cache_directory() -> Path:
    """Return this user's cache: ``FASTHEP_ARCHIVE_CACHE``, or as the XDG base directory specification says."""
    if named := os.environ.get("FASTHEP_ARCHIVE_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fasthep-archive"


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cached
def _code_version() -> str:
    """Return the version that keys have: this tool's, and a digest of the code that decides results.

    An installed release never changes under its version; a checkout does.
    """
    package = Path(__file__).parent
    rooms = ("data", "execution", "formula", "kernels", "operations")
    sources = sorted(path for room in rooms for path in (package / room).glob("*.py"))
    code = of_bytes(b"".join(path.name.encode() + path.read_bytes() for path in sources))
    return f"{__version__}+{code[:16]}"


def _document(path: AnyPath, language: str | None) -> Document:
    from fasthep_archive.workflow.document import load

    return load(Path(path), language=language)


def _checked(document: Document, context: Context, digests: Digests, chunk: int | None) -> Checked:
    """Return workflow and plan; raise all faults of both."""
    from fasthep_archive.execution.planner import CHUNK, Settings, make_plan
    from fasthep_archive.operations.reading import operations
    from fasthep_archive.workflow.model import build

    if chunk is not None and chunk < 1:
        raise UsageError(f"a partition can't have {chunk} events", hint="--chunk takes a number from 1")
    workflow, faults = build(document)
    settings = Settings(
        chunk=chunk or CHUNK,
        version=_code_version(),
        cache=context.cache,
        working_directory=Path.cwd(),
        digests="none" if faults else digests,
        workers=context.workers,
    )
    plan, more = make_plan(workflow, operations(workflow, version=__version__), settings)
    if faults or more:
        raise WorkflowError([*faults, *more])
    return Checked(workflow=workflow, plan=plan)


def _carry_out(checked: Checked, only: Sequence[str], store: Store, directory: Path, context: Context) -> Ran:
    """Run the plan, write its products and the record below ``directory``, and raise what failed."""
    from fasthep_archive.environment.snapshot import take
    from fasthep_archive.execution.record import make_record, write_run
    from fasthep_archive.execution.run import run_plan

    begun = time.perf_counter()
    environment = take(os.environ)
    plan = _only(checked.plan, only)
    kinds = {source.id: source.kind for source in checked.workflow.sources}
    results = run_plan(plan, kinds, store, context)
    record = make_record(
        checked.workflow,
        plan,
        results,
        environment,
        context,
        version=__version__,
        ended=datetime.now(UTC).replace(microsecond=0) if context.measured else context.now,
        seconds=time.perf_counter() - begun,
    )
    write_run(directory, record, results, replacing=not only)
    results.raise_failures()
    return Ran(record=record, directory=directory)


def _bundle_path(named: AnyPath | None, workflow: Workflow) -> Path:
    """Return where the bundle goes; its directory must be there."""
    from fasthep_archive.bundle.layout import SUFFIX

    path = Path(named if named is not None else f"{workflow.name}{SUFFIX}")
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="name a file, such as analysis.crate.zip")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}", hint="make it first")
    return path


def _resolved(document: Path) -> Document:
    """Return the resolved document that a bundle has, staged or extracted."""
    import json

    from fasthep_archive.workflow.document import from_json

    return replace(from_json(json.loads(document.read_bytes()), name=document.name), files=(document,))


def _extracted(opened: Bundle, space: Path, context: Context) -> Document:
    """Unpack what a run needs, and return the resolved document of it."""
    from fasthep_archive.bundle import layout

    absent = [name for name in opened.referenced if name.startswith(layout.INPUTS)]
    if absent:
        raise BundleError(f"the bundle refers to {', '.join(absent)} without holding it")
    opened.extract([layout.RESOLVED, *opened.names(layout.INPUTS)], space, progress=context.progress)
    context.progress.close()
    return _resolved(space / layout.RESOLVED)


def _compared(opened: Bundle, ran: Ran) -> Replayed:
    """Judge the outputs of a replay, and leave the report beside them."""
    from fasthep_archive.bundle import layout
    from fasthep_archive.environment.differences import differences
    from fasthep_archive.environment.snapshot import Snapshot
    from fasthep_archive.execution.record import REPORT, write_text
    from fasthep_archive.verification.explain import explained
    from fasthep_archive.verification.policy import verdicts

    then = Snapshot.from_json(opened.json(layout.SNAPSHOT))
    recorded = [
        _comparable(item, partial(opened.read, layout.output(item.name)) if item.included else None)
        for item in opened.summary.outputs
    ]
    replayed = [_comparable(item, (ran.directory / item.name).read_bytes) for item in ran.record.outputs]
    judged = verdicts(recorded, replayed, ran.record.workflow.archive.verify)
    report = explained(judged, differences(then, ran.record.environment))
    write_text(ran.directory / REPORT, report.to_json())
    return Replayed(report=report, record=ran.record, directory=ran.directory)


def _seal(staged: Staged, ran: Ran, target: Path, context: Context) -> Packed:
    """Write the bundle of a finished run from a staged tree."""
    from fasthep_archive.bundle import container, crate, identity, layout, seal
    from fasthep_archive.bundle.describe import describe
    from fasthep_archive.report import graph
    from fasthep_archive.verification.policy import policy_of

    record, created = ran.record, context.now
    drawn = graph.svg(graph.of_workflow(record.workflow, products=record.products))
    asked = record.workflow.archive.verify
    policies = {item.name: policy_of(_comparable(item, None), asked) for item in record.outputs}
    summary = seal.summary(staged, record, policies, created)
    members = [
        *seal.payload(staged, record, ran.directory, drawn),
        seal.text_member(layout.SUMMARY, identity.bundle_json(summary)),
        seal.program_member(),
    ]
    about = describe(record, staged, seal.files(members, staged), created=created, identity=summary.identity)
    members += _texts(about, ran, drawn)
    about = replace(about, files=seal.files(members, staged))
    members.append(seal.text_member(layout.CRATE, crate.graph(about)))
    members += seal.bag(members, summary.identity, record.version, created)
    sidecar = seal.write_sidecar(target, container.write(members, target, progress=context.progress))
    return Packed(path=target, size=target.stat().st_size, identity=summary.identity, record=record, sidecar=sidecar)


def _texts(about: Description, ran: Ran, drawn: Markup) -> list[Member]:
    """Return what people read in a bundle: README, licence, citation and the preview with its pictures."""
    from fasthep_archive.bundle import layout, seal
    from fasthep_archive.publish import citation, license, readme  # noqa: A004 - it renders LICENSE
    from fasthep_archive.report import plots, preview

    datasets = {dataset.name: dataset.eventtype for dataset in ran.record.workflow.datasets}
    outputs = {item.name: (ran.directory / item.name).read_bytes() for item in ran.record.outputs}
    pictures = {layout.output(name): found for name, found in plots.pictures(outputs, datasets=datasets).items()}
    about = replace(about, files=(*about.files, *map(seal.unwritten, seal.TEXTS)))
    return [
        seal.text_member(layout.README, readme.render(about)),
        seal.text_member(layout.LICENSE, license.render(about)),
        seal.text_member(layout.CITATION, citation.render(about)),
        seal.text_member(layout.PREVIEW, preview.preview(about, plots=pictures, graph_svg=drawn)),
    ]


def _comparable(item: RecordedOutput | BundledOutput, read: Callable[[], bytes] | None) -> Output:
    """Return an output of a record or of a bundle as what verification compares."""
    from fasthep_archive.verification.outputs import Output, kind_named

    return Output(
        name=item.name,
        kind=kind_named(item.kind),
        stage=item.stage,
        sha256=item.sha256,
        content=item.content,
        read=read,
    )


def _only(plan: Plan, only: Sequence[str]) -> Plan:
    if not only:
        return plan
    known = [merge.stage for merge in plan.merges]
    for stage in only:
        if stage not in known:
            hint = nearest(stage, known) or f"stages with products: {', '.join(known)}"
            raise UsageError(f"--only {stage}: no stage of that name leaves a product", hint=hint)
    return plan.only(only)


@contextmanager
def _store(context: Context, *, reuse: bool) -> Iterator[Store]:
    """Yield the user's store, or an empty one for this run alone."""
    from fasthep_archive.execution.store import Store

    if reuse:
        yield Store(context.cache / "store")
    else:
        with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as directory:
            yield Store(Path(directory))


def _empty_store(space: Path) -> Store:
    from fasthep_archive.execution.store import Store

    return Store(space / "store")


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """Yield a new directory in ``parent``, on the file system of what is made; gone afterwards."""
    with writing(parent):
        space = tempfile.TemporaryDirectory(dir=parent, prefix=".fasthep-archive-")
    with space as directory:
        yield Path(directory)


def _claimed(directory: Path) -> Path:
    """Return ``directory``, made if need be, if it is new, empty, or an earlier run's.

    :raises UsageError: if anything else is in it.
    """
    from fasthep_archive.execution.record import RECORD

    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a directory with -o")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / RECORD).is_file():
        raise UsageError(f"{directory} has files that no run left there", hint="name a new one, or an earlier run's")
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _existing(bundle: AnyPath) -> Path:
    path = Path(bundle)
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    return path


def _examples(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if (path / "workflow.yaml").is_file())
