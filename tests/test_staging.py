"""Staging: the copies of documents run from the bundle, say what their authors wrote, and not where files were."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fasthep_archive.bundle import gate, layout
from fasthep_archive.bundle.gate import Origin
from fasthep_archive.bundle.staging import Staged, stage
from fasthep_archive.errors import DataError
from fasthep_archive.execution.globs import expanded
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import Workflow, build, resolved

Author = Callable[..., Staged]

HEAD = 'version: "1.1"\nsources: {events: {kind: root_tree, tree: events, stream_type: event_stream}}\n'
STAGES = 'analysis: {stages: [{id: A, op: hep.define, params: {variables: [{name: X, expr: "a / 2"}]}}]}\n'


def read(path: Path) -> Workflow:
    workflow, faults = build(load(path))
    assert faults == ()
    return workflow


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory of an author, with files to name."""
    directory = tmp_path / "carberry"
    for name in ("thesis/data/ww.root", "thesis/zz.root", "shared/ww.root", "shared/it's a file.root"):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return directory


@pytest.fixture
def staged(place: Path, tmp_path: Path) -> Author:
    """Return a function that stages the document with that text, and others beside it."""

    def author(text: str, located: Mapping[str, Path], **others: str) -> Staged:
        main = place / "thesis" / "workflow.yaml"
        main.write_bytes(text.encode())
        return stage(read(main), located, tmp_path / "staged")

    return author


def copy(staged: Staged) -> str:
    return staged.path(staged.main).read_bytes().decode()


def document(*files: str) -> str:
    entries = "".join(f"      - {file}\n" for file in files)
    return f"{HEAD}data:  # where they are\n  datasets:\n  - name: ww\n    files:\n{entries}{STAGES}# the end\n"


def test_a_relative_location_becomes_that_in_the_bundle(staged: Author, place: Path) -> None:
    text = document("data/ww.root   # the first")
    done = staged(text, {"data/ww.root": place / "thesis/data/ww.root"})
    assert copy(done) == text.replace("data/ww.root", "../inputs/ww.root")


@pytest.mark.parametrize(
    "written",
    ["{}", "'{}'", '"{}"', "&first {}", "!!str {}", ">-\n          {}", "'{}'   # here", "file://{}", '"file://{}"'],
)
def test_an_absolute_location_is_replaced_and_nothing_else(staged: Author, place: Path, written: str) -> None:
    file = place / "shared/ww.root"
    name = ("file://" if "file:" in written else "") + str(file)
    done = staged(document(written.format(file)), {name: file})
    assert copy(done) == document(written.replace("file://", "").format("../inputs/ww.root"))


def test_escapes_in_quotes_are_part_of_the_name(staged: Author, place: Path) -> None:
    file = place / "shared/it's a file.root"
    text = document("'../shared/it''s a file.root'", '"../shared/it\\x27s\\u0020a file.root"')
    done = staged(text, {"../shared/it's a file.root": file})
    assert copy(done) == document("'../inputs/it_s_a_file.root'", '"../inputs/it_s_a_file.root"')


def test_a_location_folded_over_lines_is_replaced(staged: Author, place: Path) -> None:
    done = staged(document("../shared/it's a\n         file.root"), {"../shared/it's a file.root": place / "shared/it's a file.root"})  # fmt: skip
    assert copy(done) == document("../inputs/it_s_a_file.root")


def test_what_an_alias_repeats_is_replaced_once(staged: Author, place: Path) -> None:
    text = HEAD + "data: {datasets: [{name: a, files: &f [zz.root]}, {name: b, files: *f}]}\n" + STAGES
    done = staged(text, {"zz.root": place / "thesis/zz.root"})
    assert copy(done) == text.replace("zz.root", "../inputs/zz.root")


def test_several_locations_on_a_line_are_replaced(staged: Author, place: Path) -> None:
    files = [place / "shared/ww.root", place / "thesis/zz.root"]
    text = HEAD + f"data: {{datasets: [{{name: a, files: [{files[0]}, {files[1]}]}}]}}\n" + STAGES
    done = staged(text, {str(file): file for file in files})
    assert "files: [../inputs/ww.root, ../inputs/zz.root]" in copy(done)


@pytest.mark.parametrize("quote", ["", '"', "'"])
@pytest.mark.parametrize("form", ["    files:\n    - {}\n", "    files: [{}]\n"])
def test_a_pattern_becomes_the_files_that_it_stands_for(place: Path, tmp_path: Path, form: str, quote: str) -> None:
    (place / "thesis" / "data" / "zz.root").write_text("zz")
    main = place / "thesis" / "workflow.yaml"
    files = form.format(f"{quote}data/*.root{quote}")
    main.write_text(f"{HEAD}data:\n  datasets:\n  - name: ww\n{files}{STAGES}")
    workflow = expanded(read(main), place, lambda fault: pytest.fail(fault.message))
    located = {name: place / "thesis" / name for name in workflow.datasets[0].files}
    staged = stage(workflow, located, tmp_path / "staged")
    assert read(staged.path(staged.main)).datasets[0].files == ("../inputs/ww.root", "../inputs/zz.root")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("form", ["    files:\n    - {}\n", "    files: [{}]\n", "    files: [zz.root, {}]\n"])
def test_an_alias_of_a_pattern_becomes_the_files_that_it_stands_for(
    place: Path, tmp_path: Path, form: str, quote: str
) -> None:
    (place / "thesis" / "data" / "zz.root").write_text("zz")
    main = place / "thesis" / "workflow.yaml"
    first, again = form.format(f"&all {quote}data/*.root{quote}"), form.format("*all")
    main.write_text(f"{HEAD}data:\n  datasets:\n  - name: ww\n{first}  - name: again  # *all\n{again}{STAGES}")
    workflow = expanded(read(main), place, lambda fault: pytest.fail(fault.message))
    located = {name: place / "thesis" / name for item in workflow.datasets for name in item.files}
    staged = stage(workflow, located, tmp_path / "staged")
    names = [[staged.inputs[name].replace("data/", "../") for name in item.files] for item in workflow.datasets]
    assert [list(item.files) for item in read(staged.path(staged.main)).datasets] == names
    assert len(names[1]) == 3 if "zz" in form else 2


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_marks_and_line_ends_stay(staged: Author, place: Path, start: str, end: str) -> None:
    text = start + document("zz.root", "µ.root").replace("\n", end)
    done = staged(text, dict.fromkeys(("zz.root", "µ.root"), place / "thesis/zz.root"))
    assert copy(done) == text.replace("zz.root", "../inputs/zz.root").replace("µ.root", "../inputs/zz.root")


def test_addresses_stay(staged: Author, place: Path) -> None:
    text = document("https://example.org/ww.root", "root://example.org//eos/zz.root")
    located = {"https://example.org/ww.root": place / "shared/ww.root"}
    done = staged(text, {**located, "root://example.org//eos/zz.root": place / "thesis/zz.root"})
    assert copy(done) == text


def test_the_key_inputs_follows(staged: Author, place: Path) -> None:
    key = "archive: {inputs: [{file: zz.root, urls: [https://example.org/zz.root]}]}\n"
    done = staged(document("zz.root") + key, {"zz.root": place / "thesis/zz.root"})
    assert copy(done).endswith(key.replace("file: zz.root", "file: ../inputs/zz.root"))


def test_the_copy_means_what_runs(staged: Author, place: Path) -> None:
    """The resolved document is made from the author's; the copy, read from where it is, resolves to the same."""
    files = {"../shared/ww.root": place / "shared/ww.root", str(place / "thesis/zz.root"): place / "thesis/zz.root"}
    done = staged(document(*files), files)
    assert resolved(read(done.path(done.main))) == json.loads(done.resolved.read_text())


def test_the_copy_of_the_example_finds_its_files(tmp_path: Path) -> None:
    main = Path(__file__).parent.parent / "examples" / "dimuon" / "workflow.yaml"
    files = [f"data/{name}.root" for name in ("data", "dy", "ttbar")]
    done = stage(read(main), {name: main.parent / name for name in files}, tmp_path)
    [dataset, *_] = read(done.path(done.main)).datasets
    assert (done.path(done.main).parent / dataset.files[0]).samefile(main.parent / "data/data.root")


def test_includes_from_elsewhere_are_found_in_the_bundle(place: Path, tmp_path: Path) -> None:
    thesis = place / "thesis"
    (thesis / "parts").mkdir()
    (place / "shared" / "data sets.yaml").write_text(document("zz.root").removeprefix(HEAD))
    (thesis / "parts" / "head.yaml").write_text(f"include: {place}/shared/data sets.yaml   # of the group\n" + HEAD)
    (thesis / "workflow.yaml").write_text("include: [parts/head.yaml]\n")
    done = stage(read(thesis / "workflow.yaml"), {"zz.root": thesis / "zz.root"}, tmp_path / "staged")
    assert done.documents == tuple(layout.WORKFLOW + name for name in ("workflow.yaml", "data_sets.yaml", "parts/head.yaml"))  # fmt: skip
    assert copy(done) == "include: [parts/head.yaml]\n"
    assert done.path(done.documents[2]).read_text() == "include: ../data_sets.yaml   # of the group\n" + HEAD
    assert resolved(read(done.path(done.main))) == json.loads(done.resolved.read_text())


def test_no_byte_tells_where_the_author_works(staged: Author, place: Path, tmp_path: Path) -> None:
    files = {str(place / name): place / name for name in ("thesis/zz.root", "shared/ww.root")}
    staged(document(*files), files)
    carried = [path.read_bytes() for path in (tmp_path / "staged").rglob("*") if path.is_file() and path.suffix != ".root"]  # fmt: skip
    assert len(carried) == 2
    assert not any(b"carberry" in content for content in carried)


def test_the_gate_lets_locations_pass(staged: Author, place: Path) -> None:
    done = staged(document(str(place / "shared/ww.root")), {str(place / "shared/ww.root"): place / "shared/ww.root"})
    assert gate.examine(gate.of_staged(done), Origin(directories=(place,), user="carberry")) == ()


def test_a_finding_stands_where_the_author_wrote_it(staged: Author, place: Path) -> None:
    file = place / "shared/ww.root"
    text = HEAD + f"data: {{datasets: [{{name: a, files: [{file}], note: /home/josiah/x}}]}}\n" + STAGES
    findings = gate.examine(gate.of_staged(staged(text, {str(file): file})), Origin())
    column = text.splitlines()[2].index("/home/josiah") + 1
    assert str(findings[0].where) == f"{place / 'thesis/workflow.yaml'}:3:{column}"


def test_what_the_resolved_document_repeats_is_told_once(staged: Author, place: Path) -> None:
    text = document("zz.root") + "archive: {metadata: {description: see /home/josiah/x}}\n"
    findings = gate.examine(gate.of_staged(staged(text, {"zz.root": place / "thesis/zz.root"})), Origin())
    assert {finding.where.file for finding in findings} == {str(place / "thesis/workflow.yaml"), layout.RESOLVED}
    with pytest.raises(gate.WorkflowError) as caught:
        gate.refuse(findings)
    assert len(caught.value.faults) == 1


def test_declared_addresses_are_those_of_the_metadata(place: Path) -> None:
    file = place / "thesis/workflow.yaml"
    file.write_text(
        document("zz.root") + "archive: {metadata: {authors: [{name: J, email: j@brown.edu}, {name: K}]}}\n"
    )
    assert gate.declared(read(file)) == ("j@brown.edu",)


def test_a_document_that_changed_since_it_was_read_is_refused(place: Path, tmp_path: Path) -> None:
    file = place / "thesis/workflow.yaml"
    file.write_text(document("zz.root"))
    workflow = read(file)
    file.write_text(document("data/ww.root"))
    with pytest.raises(DataError, match="changed while it was packed"):
        stage(workflow, {"zz.root": place / "thesis/zz.root"}, tmp_path / "staged")
