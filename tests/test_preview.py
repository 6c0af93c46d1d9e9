"""The page that shows a bundle: what it says, and that nothing in a bundle can make it do anything else."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from string import Template
from xml.etree import ElementTree as ET

import pytest

from fasthep_archive.bundle.description import Description, Engine, Fact, File, Input, Output, Package, Step, Usage
from fasthep_archive.digest import of_bytes
from fasthep_archive.report.graph import Graph, Node, svg
from fasthep_archive.report.markup import Markup, element, escaped, shortened, text_width
from fasthep_archive.report.preview import link, preview
from fasthep_archive.workflow.model import Author, Related
from fasthep_archive.workflow.resource import resource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRAPH = svg(Graph(nodes=(Node(name="events", kind="source", label="root_tree · tree"),), edges=()))
PICTURE = Markup('<svg xmlns="http://www.w3.org/2000/svg" width="560" height="9"><path d="M0 0h9"/></svg>')
HOSTILE = """</script><script>alert("1")</script><img src=x onerror='alert(2)'>]]>--> $title &amp;\u202e\x00"""


def description() -> Description:
    outputs = tuple(
        Output(
            path=f"data/outputs/{name}",
            stage=name.partition("/")[2].partition(".")[0],
            kind=kind,
            size=12345,
            sha256=of_bytes(name.encode()),
            content_digest=of_bytes(kind.encode()) if kind != "log" else None,
            media_type="application/json",
        )
        for name, kind in {
            "histograms/Mass.json": "histogram",
            "cutflows/Cuts.csv": "cutflow",
            "logs/x.log": "log",
        }.items()
    )
    return Description(
        title="Two muons",
        description="First paragraph,\nstill the first.\n\nSecond paragraph.",
        authors=(
            Author(
                name="Carberry, Josiah S.",
                orcid="https://orcid.org/0000-0002-1825-0097",
                affiliation="Brown University",
            ),
            Author(name="CMS Collaboration", affiliation="CERN", ror="https://ror.org/01ggx4157"),
        ),
        license="CC-BY-4.0",
        keywords=("dimuon", "Z boson"),
        related=(Related(identifier="doi:10.17182/hepdata.1", relation="isSupplementTo"),),
        workflow_name="dimuon",
        workflow_version="1.2",
        language_version="1.1",
        main_document="data/workflow/workflow.yaml",
        documents=("data/workflow/include.yaml",),
        steps=(
            Step(id="Vars", op="hep.define", needs=("events",), parameters={"variables": '[{"name":"pt"}]'}),
            Step(
                id="Mass", op="hep.hist", needs=("Vars",), parameters={}, outputs=("data/outputs/histograms/Mass.json",)
            ),
        ),
        inputs=(
            Input(
                name="mc.root",
                path="data/inputs/mc.root",
                datasets=("dy", "ttbar"),
                size=1_200_000,
                sha256=of_bytes(b"mc"),
                media_type="application/x-root",
                events=98765,
            ),
            Input(
                name="big.root",
                path="data/inputs/big.root",
                size=7_000_000_000,
                sha256=of_bytes(b"big"),
                media_type="application/x-root",
                urls=("https://example.org/big.root", "root://eospublic.cern.ch//big.root"),
                embedded=False,
            ),
        ),
        outputs=outputs,
        files=(File(path="CITATION.cff", role="citation", description="How to cite", media_type="text/yaml"),),
        engine=Engine(name="fasthep-archive", version="0.1.0", url="https://github.com/FAST-HEP/fasthep-archive"),
        python="3.11.9",
        packages=(Package(name="numba", version="0.61.2"), Package(name="awkward", version="2.8.1")),
        machine=(Fact(name="cpuModel", value="EPYC 9654"), Fact(name="memoryTotal", value="137438953472", unit="BYTE")),
        variables={"OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
        started=NOON,
        ended=NOON,
        created=NOON,
        usage=Usage(wall_seconds=75.0, cpu_seconds=120.0, peak_memory=512_000_000),
        identity=of_bytes(b"identity"),
    )


def hostile() -> Description:
    plain = description()
    return replace(
        plain,
        title=HOSTILE,
        description=HOSTILE,
        authors=(Author(name=HOSTILE, orcid="javascript:alert(1)", affiliation=HOSTILE, ror=HOSTILE),),
        license=HOSTILE,
        keywords=(HOSTILE,),
        related=tuple(
            Related(identifier=i, relation="cites") for i in ("javascript:alert(1)", "data:text/html,x", HOSTILE)
        ),
        workflow_name=HOSTILE,
        workflow_version=HOSTILE,
        main_document=HOSTILE,
        documents=("javascript:alert(1)", "//evil.example/x"),
        steps=(Step(id=HOSTILE, op=HOSTILE, description=HOSTILE, needs=(HOSTILE,), parameters={HOSTILE: HOSTILE}),),
        inputs=(
            replace(plain.inputs[0], name=HOSTILE, path=HOSTILE, datasets=(HOSTILE,), urls=("javascript:alert(1)",)),
        ),
        outputs=(replace(plain.outputs[0], path=HOSTILE, stage=HOSTILE, kind=HOSTILE),),
        files=(File(path=HOSTILE, role="other", description=HOSTILE, media_type=HOSTILE),),
        engine=Engine(name=HOSTILE, version=HOSTILE, url="javascript:alert(1)"),
        python=HOSTILE,
        packages=(Package(name=HOSTILE, version=HOSTILE),),
        machine=(Fact(name=HOSTILE, value=HOSTILE, unit=HOSTILE),),
        variables={HOSTILE: HOSTILE},
    )


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]


def page_of(what: Description) -> Page:
    return Page(preview(what, plots={what.outputs[0].path: PICTURE} if what.outputs else {}, graph_svg=GRAPH))


@pytest.fixture(scope="module")
def page() -> Page:
    return page_of(description())


@pytest.mark.parametrize("what", [description(), hostile()], ids=["plain", "hostile"])
def test_is_well_formed_even_as_xml(what: Description) -> None:
    ET.fromstring(preview(what, plots={what.outputs[0].path: PICTURE}, graph_svg=GRAPH))


def test_begins_with_the_doctype_of_html5() -> None:
    assert preview(description(), plots={}, graph_svg=GRAPH).startswith(b'<!DOCTYPE html>\n<html lang="en">')


@pytest.mark.parametrize("what", [description(), hostile()], ids=["plain", "hostile"])
def test_has_no_script_and_loads_nothing(what: Description) -> None:
    shown = page_of(what)
    assert not {tag for tag, _ in shown.tags} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "image",
        "use",
    }
    names = {name for _, attributes in shown.tags for name in attributes}
    assert not [
        name for name in names if name.startswith("on") or name in {"src", "srcset", "action", "data", "xlink:href"}
    ]
    styles = " ".join(re.findall(r"<style>.*?</style>", preview(what, plots={}, graph_svg=GRAPH).decode(), re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_forbids_what_it_does_not_need(page: Page) -> None:
    (policy,) = [
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_tags_do_not_depend_on_what_people_wrote() -> None:
    plain = replace(hostile(), **dict.fromkeys(("title", "workflow_name", "workflow_version", "python"), "x"))
    assert sorted(tag for tag, _ in page_of(hostile()).tags) == sorted(tag for tag, _ in page_of(plain).tags)


def test_links_lead_to_the_web_the_bundle_or_the_page_itself() -> None:
    for address in page_of(hostile()).links() + page_of(description()).links():
        assert re.match(r"https://|\./|#[a-z]+$", address), address


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        " https://x.org",
        "//x.org",
        "file:///etc/passwd",
        "https:",
        "HTTPS:x",
        "",
        None,
    ],
)
def test_other_addresses_are_text(address: str | None) -> None:
    assert link("a & b", address) == "a &amp; b"


def test_people_have_their_orcid_and_institutes_their_ror(page: Page) -> None:
    assert {
        "https://orcid.org/0000-0002-1825-0097",
        "https://ror.org/01ggx4157",
        "https://doi.org/10.17182/hepdata.1",
    } <= set(page.links())
    assert "Josiah S. Carberry, Brown University; CMS Collaboration, CERN" in page.text


def test_shows_every_output_with_its_digests(page: Page) -> None:
    for output in description().outputs:
        assert output.path in page.text
        assert output.sha256 in page.text
        assert (output.content_digest or "") in page.text
        assert f"{output.kind} of {output.stage}" in page.text


def test_shows_every_input_with_size_events_and_digest(page: Page) -> None:
    for file in description().inputs:
        assert file.name in page.text
        assert file.sha256 in page.text
    assert "1.20 MB" in page.text
    assert "98 765" in page.text
    assert "dy, ttbar" in page.text


def test_links_members_and_where_else_inputs_are(page: Page) -> None:
    links = page.links()
    assert "./data/inputs/mc.root" in links
    assert "./data/inputs/big.root" not in links
    assert "https://example.org/big.root" in links
    assert "root://eospublic.cern.ch//big.root" in page.text


def test_names_of_members_are_encoded_in_links() -> None:
    output = replace(description().outputs[0], path="data/outputs/a b#c?d:%.json")
    assert "./data/outputs/a%20b%23c%3Fd%3A%25.json" in page_of(replace(description(), outputs=(output,))).links()


def test_says_how_to_verify_and_replay(page: Page) -> None:
    for command in (
        "python3 BUNDLE.crate.zip",
        "sha256sum --ignore-missing -c manifest-sha256.txt",
        "sha256sum -c tagmanifest-sha256.txt",
        "python3 BUNDLE.crate.zip replay",
        "on Python 3.11",
        "fasthep-archive 0.1.0",
        "fasthep-archive replay BUNDLE.crate.zip",
    ):
        assert command in page.text
    assert "references 1 of its inputs" in page.text


def test_a_bundle_with_all_inputs_is_checked_in_full() -> None:
    text = page_of(replace(description(), inputs=description().inputs[:1])).text
    assert "sha256sum -c manifest-sha256.txt" in text
    assert "references" not in text


def test_commands_can_be_taken_with_one_click(page: Page) -> None:
    assert [attributes["class"] for tag, attributes in page.tags if tag == "pre"].count("copy") == 4


def test_shows_stages_with_what_they_are_told(page: Page) -> None:
    for text in ("Vars", "hep.define", "after: events", 'variables: [{"name":"pt"}]', "Mass", "hep.hist"):
        assert text in page.text


def test_shows_environment_and_identity(page: Page) -> None:
    for text in ("3.11.9", "numba 0.61.2", "EPYC 9654", "137 GB", "OMP_NUM_THREADS=1", "1 min 15 s", "512 MB"):
        assert text in page.text
    assert description().identity in page.text
    assert "2026-03-01 12:00 UTC" in page.text


def test_shows_pictures_of_outputs_only() -> None:
    what = description()
    plots = {"data/outputs/histograms/Mass.json": PICTURE, "data/outputs/gone.json": PICTURE}
    assert preview(what, plots=plots, graph_svg=GRAPH).count(PICTURE.encode()) == 1


def test_wide_pictures_have_the_page_to_themselves() -> None:
    plots = {"data/outputs/histograms/Mass.json": Markup(PICTURE.replace("560", "900"))}
    assert b'<figure class="wide">' in preview(description(), plots=plots, graph_svg=GRAPH)
    assert b'<figure class="wide">' not in preview(description(), plots=dict.fromkeys(plots, PICTURE), graph_svg=GRAPH)


def test_what_is_absent_leaves_no_trace() -> None:
    bare = replace(
        description(), description="", authors=(), keywords=(), related=(), inputs=(), outputs=(), steps=(), files=(),
        packages=(), machine=(), variables={}, usage=None, workflow_version=None,
    )  # fmt: skip
    text = page_of(bare).text
    assert "No author is named." in text
    assert "None" not in text.replace("None.", "")
    assert "Results" not in text


def test_long_tables_end_with_how_many_more_there_are() -> None:
    outputs = tuple(replace(description().outputs[0], path=f"data/outputs/{number}") for number in range(1234))
    text = page_of(replace(description(), outputs=outputs)).text
    assert "data/outputs/999" in text
    assert "data/outputs/1000" not in text
    assert "and 234 more" in text


def test_bytes_do_not_depend_on_the_order_of_hashes() -> None:
    code = "from tests.test_preview import *; print(preview(description(), plots={}, graph_svg=GRAPH))"
    pages = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LANG": "C"},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(pages) == 1


def test_every_place_of_the_template_is_filled() -> None:
    template = Template(resource("templates", "ro-crate-preview.html").read_text(encoding="utf-8"))
    assert template.is_valid()
    text = preview(description(), plots={}, graph_svg=GRAPH).decode()
    assert not [name for name in template.get_identifiers() if f"${name}" in text]


def test_markup_replaces_what_xml_cannot_hold_and_what_turns_text_around() -> None:
    assert escaped("a\x00b\u202ec\ud800d\te") == "a\ufffdb\ufffdc\ufffdd\te"


def test_markup_escapes_attributes() -> None:
    assert element("a", href='"><b>') == '<a href="&quot;&gt;&lt;b&gt;"/>'


@pytest.mark.parametrize("text", ["short", "SelectEventsWithTwoTightMuons", "Ä" * 60, "漢字" * 30, ""])
def test_shortened_text_fits(text: str) -> None:
    assert text_width(shortened(text, 12, 90), 12) <= 90
