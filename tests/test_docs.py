"""The documentation does what it says: its commands are run, its Python, YAML and links are checked."""

import argparse
import contextlib
import doctest
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from command import Command

import fasthep_archive
from fasthep_archive.cli.parser import parser
from fasthep_archive.formula.functions import BINARY, CALLS, CONSTANTS, UNARY
from fasthep_archive.operations.protocol import Output

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")])
EXECUTED = [*sorted(DOCS.glob("tutorial/*.md")), *sorted(DOCS.glob("how-to/*.md")), DOCS / "reference" / "products.md"]

NO_INDEX = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_FIND_LINKS": "",
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "PIP_RETRIES": "0",
    "UV_HTTP_RETRIES": "0",
}
"""Variables for a package index that does not answer: the pages need no network, and ``pack`` asks as readers' does."""

STATUS = "exit status of the command above:"
BLOCK = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text))


# Commands and Python


@dataclass(kw_only=True)
class Session:
    """One reader of one page: a directory, which commands can leave for another, variables, and a Python prompt."""

    home: Path
    command: Command
    variables: dict[str, str] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=dict)
    cwd: Path = field(init=False)

    def __post_init__(self) -> None:
        self.cwd = self.home / "work"
        programs = self.home / "programs"
        self.cwd.mkdir()
        programs.mkdir()
        for name, words in {"fasthep-archive": "-m fasthep_archive", "python3": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / name).chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.variables = self.command.environment({"PATH": path, "LC_ALL": "C.UTF-8", **NO_INDEX})

    def follow(self, page: Path) -> None:
        """Do what the page says, from top to bottom."""
        text = page.read_text()
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start("text"))
            if block["file"]:
                (self.cwd / block["file"]).write_text(block["text"])
            elif block["language"] == "console":
                self.type(block["text"], f"{named(page)}:{line}")
            elif block["language"] == "python" and ">>>" in block["text"]:
                self.prompt(block["text"], named(page), line)

    def type(self, text: str, where: str) -> None:
        """Run the commands of a console block; each must print what is shown below it."""
        steps = list(console(text))
        state = self.home / "state"
        lines = [f"{command}\n__status=$?; echo; echo '{STATUS}' $__status; (exit $__status)" for command, _ in steps]
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", "\n".join([*lines, f"pwd > '{state}'; env -0 > '{state}.env'"])],
            cwd=self.cwd,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        printed = re.split(rf"\n?^{STATUS} (\d+)\n", done.stdout, flags=re.M)
        assert len(printed) == 2 * len(steps) + 1, f"{where}: the shell ended early\n{done.stdout}"
        asked = [*(command == "echo $?" for command, _ in steps[1:]), False]
        for (command, shown), output, status, shows in zip(steps, printed[::2], printed[1::2], asked, strict=False):
            assert matches(shown, output), f"{where}: $ {command}\n--- shown\n{shown}\n--- printed\n{output}"
            assert status == "0" or shows, (
                f"{where}: $ {command} ended with status {status}, and the page does not say so"
            )
        self.cwd = Path(state.read_text().rstrip("\n"))
        self.variables = dict(item.split("=", 1) for item in Path(f"{state}.env").read_text().split("\0") if item)

    def prompt(self, text: str, name: str, line: int) -> None:
        """Type a block at the Python prompt; each expression must print what is shown below it."""
        test = doctest.DocTestParser().get_doctest(text, self.names, name, name, line)
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        report: list[str] = []
        with contextlib.chdir(self.cwd):
            runner.run(test, out=report.append, clear_globs=False)
        self.names.update(test.globs)
        assert not runner.failures, "".join(report)


def console(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block and what is shown below it."""
    for step in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


def matches(shown: str, printed: str) -> bool:
    """Say whether ``printed`` is what is shown; ``...`` stands for anything, blanks at ends of lines for nothing."""
    pattern = ".*".join(map(re.escape, tidy(shown).split("...")))
    return re.fullmatch(pattern, tidy(printed), re.S) is not None


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("done", "done\n", True),
        ("done", "done\nTraceback", False),
        ("", "unshown", False),
        ("a ... c", "a b c", True),
        ("a ... c", "a b d", False),
        ("...", "anything\nat all", True),
        ("a.c", "abc", False),
    ],
)
def test_shown_output_is_matched(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


Prepare = Callable[[Session, pytest.FixtureRequest], None]


def a_bundle(reader: Session, request: pytest.FixtureRequest) -> None:
    """Somebody has sent the example's bundle."""
    shutil.copy(request.getfixturevalue("example_bundle"), reader.cwd / "dimuon.crate.zip")


def an_analysis(reader: Session, request: pytest.FixtureRequest) -> None:
    """The example, as an author has it who is still to say who that is."""
    example = request.getfixturevalue("example")
    shutil.copytree(example / "data", reader.cwd / "data")
    (reader.cwd / "workflow.yaml").write_text("include: [publication.yaml]\n" + unpublished(example))


def a_copy_of_the_example(reader: Session, request: pytest.FixtureRequest) -> None:
    """The example, as ``init`` leaves it."""
    shutil.copytree(request.getfixturevalue("example"), reader.cwd, dirs_exist_ok=True)


def a_finished_run(reader: Session, request: pytest.FixtureRequest) -> None:
    """The example, its outputs, and its bundle."""
    a_bundle(reader, request)
    fasthep_archive.run(
        request.getfixturevalue("example") / "workflow.yaml",
        reader.cwd / "out",
        cache=request.getfixturevalue("kernel_cache"),
        workers=1,
    )


def an_environment_of_its_own(reader: Session, request: pytest.FixtureRequest) -> None:
    """An environment with this package, into which packages can be installed; no index answers."""
    root = reader.home / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    site = next(root.glob("lib/python*/site-packages"))
    (site / "all.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name, words in {"fasthep-archive": "-m fasthep_archive", "python3": ""}.items():
        (reader.home / "programs" / name).write_text(f'#!/bin/sh\nexec "{root}/bin/python" {words} "$@"\n')
    reader.variables |= {"PIP_NO_BUILD_ISOLATION": "0", "PIP_ROOT_USER_ACTION": "ignore"}


def a_bundle_of_another_machine(reader: Session, request: pytest.FixtureRequest) -> None:
    """A bundle made where an event lay on the other side of the edge of a bin, with another numba."""
    from fasthep_archive.environment import snapshot
    from fasthep_archive.execution import run

    take, run_plan = snapshot.take, run.run_plan

    def took(_environ: Mapping[str, str], **others: Any) -> snapshot.Snapshot:
        taken = take(reader.variables, **others)
        packages = (replace(item, version="0.60.0") if item.name == "numba" else item for item in taken.packages)
        return replace(taken, packages=tuple(packages))

    def ran(*arguments: Any, **others: Any) -> run.Results:
        results = run_plan(*arguments, **others)
        (output,) = results.outputs["DiMuonMass"]
        other = Output(name=output.name, held=with_an_event_moved(output.content))
        return replace(results, outputs={**results.outputs, "DiMuonMass": (other,)})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshot, "take", took)
        patched.setattr(run, "run_plan", ran)
        fasthep_archive.pack(
            request.getfixturevalue("example") / "workflow.yaml",
            reader.cwd / "theirs.crate.zip",
            index=False,
            cache=request.getfixturevalue("kernel_cache"),
            workers=1,
        )


def with_an_event_moved(histogram: bytes) -> bytes:
    """Return the mass histogram with an event of weight 0.8 moved from 91 GeV, just above, to just below."""
    from fasthep_archive.data.products import Histogram

    found = Histogram.from_json(histogram)
    assert found.variances is not None
    for array, weight in ((found.values, 0.8), (found.variances, 0.64)):
        array[1, 31] += weight
        array[1, 32] -= weight
    return found.to_json()


PREPARED: Mapping[str, Prepare] = {
    "docs/how-to/attach-to-a-paper.md": an_analysis,
    "docs/how-to/check-a-bundle.md": a_bundle,
    "docs/how-to/compare-two-bundles.md": a_copy_of_the_example,
    "docs/how-to/find-out-what-differs.md": a_bundle_of_another_machine,
    "docs/how-to/draw-plots.md": a_copy_of_the_example,
    "docs/how-to/migrate.md": a_copy_of_the_example,
    "docs/how-to/pack-large-data.md": a_copy_of_the_example,
    "docs/how-to/replay-without-installing.md": a_bundle,
    "docs/how-to/run-on-a-cluster.md": a_copy_of_the_example,
    "docs/how-to/see-what-would-run.md": a_copy_of_the_example,
    "docs/how-to/what-packing-refuses.md": a_copy_of_the_example,
    "docs/how-to/write-a-plugin.md": an_environment_of_its_own,
    "docs/reference/products.md": a_finished_run,
}
"""What the reader of a page has before the first line."""


def test_every_preparation_is_for_a_page() -> None:
    assert PREPARED.keys() <= {named(page) for page in EXECUTED}


@pytest.mark.parametrize("page", EXECUTED, ids=named)
def test_page_does_what_it_says(page: Path, tmp_path: Path, fresh: Command, request: pytest.FixtureRequest) -> None:
    reader = Session(home=tmp_path, command=fresh)
    if prepare := PREPARED.get(named(page)):
        prepare(reader, request)
    reader.follow(page)


# YAML


def unpublished(example: Path) -> str:
    """Return the example's workflow without what it says of its bundle."""
    text, found, _ = (example / "workflow.yaml").read_text().partition("\narchive:\n")
    assert found
    return text


def yaml_blocks(page: Path) -> list[str]:
    return [block["text"] for block in BLOCK.finditer(page.read_text()) if block["language"] == "yaml"]


@pytest.mark.parametrize("page", [page for page in PAGES if yaml_blocks(page)], ids=named)
def test_yaml_is_valid(page: Path, tmp_path: Path, example: Path) -> None:
    """The blocks of a page, all together, are a workflow; with the example's datasets where they have none."""
    blocks = yaml_blocks(page)
    for number, block in enumerate(blocks):
        (tmp_path / f"block{number}.yaml").write_text(block)
    names = [f"block{number}.yaml" for number in range(len(blocks))]
    if not any(re.search("^analysis:", block, re.M) for block in blocks):
        (tmp_path / "example.yaml").write_text(unpublished(example))
        names.insert(0, "example.yaml")
    shutil.copytree(example / "data", tmp_path / "data")
    (tmp_path / "workflow.yaml").write_text(f"include: [{', '.join(names)}]\n")
    fasthep_archive.check(tmp_path / "workflow.yaml")


# Links


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{named(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{named(page)} links to {link}; there are {anchors(target)}"


def test_every_page_is_linked() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    unlinked = [named(page) for page in DOCS.rglob("*.md") if page not in linked]
    assert unlinked == ["docs/README.md"]


# Reference pages


def test_generated_pages_are_up_to_date() -> None:
    pages = runpy.run_path(str(DOCS / "make_reference.py"))["pages"]()
    for path, text in pages.items():
        assert path.read_text() == text, f"{named(path)}: run python docs/make_reference.py"


def verbs(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return subparsers.choices


def test_every_command_and_option_is_documented() -> None:
    text = (DOCS / "reference" / "command-line.md").read_text()
    for verb, command in verbs(parser()).items():
        _, _, section = text.partition(f"\n## {verb}\n")
        section = section.partition("\n## ")[0]
        assert section, verb
        for action in command._actions:
            for spelled in action.option_strings or [str(action.metavar)]:
                assert spelled in ("-h", "--help") or f"`{spelled}" in section, f"{verb} {spelled}"


def schema_words(schema: object) -> Iterator[str]:
    """Yield every key of the language, and every value of keys that have few, ours or not yet."""
    if isinstance(schema, list):
        for item in schema:
            yield from schema_words(item)
    if not isinstance(schema, dict):
        return
    yield from schema.get("properties", {})
    for values in (schema.get("enum", []), schema.get("x-later", [])):
        if isinstance(values, list) and not any(noun in schema.get("x-noun", "") for noun in ("licence", "relation")):
            yield from (value for value in values if isinstance(value, str))
    for key, item in schema.items():
        if key not in ("enum", "const"):
            yield from schema_words(item)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_every_key_of_the_language_is_documented(version: str) -> None:
    page = DOCS / "reference" / "language.md"
    text = page.read_text()
    codes = re.findall(r"`([^`\n]+)`", text)
    written = re.findall(r"[\w.:*/]+", " ".join([*codes, *yaml_blocks(page)]))
    known = {*codes, *(part for name in written for part in (name, name.removesuffix(":"), *name.split(".")))}
    words = set(schema_words(json.loads((ROOT / "schemas" / f"workflow-{version}.json").read_text())))
    assert len(words) > 100
    assert words - known == set()


def test_every_function_is_documented() -> None:
    text = (DOCS / "reference" / "formulas.md").read_text()
    codes = " ".join(re.findall(r"`[^`\n]+`", text)).replace("\\|", "|")
    for call in CALLS:
        assert f"{call}(" in codes, call
    for symbol in {*UNARY, *BINARY} - {"[]"}:
        assert f" {symbol} " in codes or f"`{symbol}" in codes, symbol
    for constant in CONSTANTS:
        assert f"`{constant}`" in text, constant


# Every page


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_page_names_no_machine_and_no_registry(page: Path) -> None:
    text = page.read_text()
    for pattern in (
        r"pypi\.|pythonhosted|anaconda\.org|conda-forge\.org|npmjs",
        r"/(work|root|Users|home/\w+|mnt|srv)/",
    ):
        assert not re.search(pattern, text), f"{named(page)}: {re.search(pattern, text)}"
