"""The workflow's graph: its layout, and the texts that are drawn from it."""

import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive.report.graph import Edge, Graph, Node, dot, mermaid, of_workflow, svg
from fasthep_archive.report.layout import Box, layout
from fasthep_archive.workflow.document import load
from fasthep_archive.workflow.model import build

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = """<script>alert("1")</script>&'\u202e\x00\\N"""

DOCUMENT = """
version: "1.1"
data: {datasets: [{name: mc, files: [mc.root]}, {name: data, eventtype: data, files: [data.root]}]}
sources: {events: {kind: root_tree, tree: tree}}
analysis:
  stages:
    - {id: Vars, op: hep.define, params: {variables: [{name: pt, expr: Muon_Pt}, {name: eta, expr: Muon_Eta}]}}
    - {id: Pt, op: hep.hist, params: {axes: [{name: x, source: pt, type: regular, bins: {low: 0, high: 1, nbins: 2}},
                                             {name: y, source: eta, type: regular, bins: {low: 0, high: 1, nbins: 2}}]}}
    - {id: Cuts, op: hep.selection.cutflow, params: {selection: {base: ["pt > 1"], tight: ["pt > 2"]}}}
    - {id: Mass, op: hep.di_object_mass, from: Pt, needs: [Cuts], params: {collection: Jet}, applies_to: {eventtype: mc}}
"""


def example() -> Graph:
    return Graph(
        nodes=(
            Node(name="events", kind="source", label="root_tree · tree", detail="data, mc"),
            Node(name="Vars", kind="stage", label="hep.define", detail="pt, eta"),
            Node(name="Pt", kind="stage", label="hep.hist", detail="pt", products=("histograms/Pt.json",)),
            Node(name="Later", kind="stage", label="hep.define"),
        ),
        edges=(Edge(tail=0, head=1), Edge(tail=1, head=2), Edge(tail=1, head=3), Edge(tail=2, head=3, kind="order")),
    )


def hostile() -> Graph:
    node = Node(name=HOSTILE, kind="stage", label=HOSTILE, detail=HOSTILE, products=(HOSTILE,))
    return Graph(nodes=(node, node), edges=(Edge(tail=0, head=1),))


@pytest.fixture
def workflow_graph(tmp_path: Path) -> Graph:
    (tmp_path / "workflow.yaml").write_text(DOCUMENT)
    workflow, faults = build(load(tmp_path / "workflow.yaml"))
    assert not faults
    return of_workflow(workflow, products={"Pt": ["histograms/Pt.json"]})


def arrows(graph: Graph) -> set[tuple[str, str, str]]:
    return {(graph.nodes[edge.tail].name, graph.nodes[edge.head].name, edge.kind) for edge in graph.edges}


def test_stages_come_after_the_sources_in_the_order_of_the_document(workflow_graph: Graph) -> None:
    assert [node.name for node in workflow_graph.nodes] == ["events", "Vars", "Pt", "Cuts", "Mass"]


def test_a_histogram_hands_its_events_on(workflow_graph: Graph) -> None:
    assert arrows(workflow_graph) == {
        ("events", "Vars", "data"),
        ("Vars", "Pt", "data"),
        ("Vars", "Cuts", "data"),
        ("Vars", "Mass", "data"),  # written as: from Pt
        ("Cuts", "Mass", "order"),
    }


def test_nodes_say_what_the_stages_deal_with(workflow_graph: Graph) -> None:
    assert [node.words for node in workflow_graph.nodes] == [
        ("root_tree · tree", "mc, data"),
        ("hep.define", "pt, eta"),
        ("hep.hist", "x × y"),
        ("hep.selection.cutflow", "base, tight"),
        ("hep.di_object_mass", "mc only", "DiJet_Mass"),
    ]


def test_products_stand_with_their_stage(workflow_graph: Graph) -> None:
    assert {node.name: node.products for node in workflow_graph.nodes if node.products} == {
        "Pt": ("histograms/Pt.json",)
    }


@pytest.mark.parametrize(
    "graph", [example(), hostile(), Graph(nodes=(), edges=())], ids=["example", "hostile", "empty"]
)
def test_svg_is_well_formed_and_has_no_script(graph: Graph) -> None:
    root = ET.fromstring(svg(graph))
    assert root.tag == f"{SVG}svg"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "style", "g", "rect", "path", "text", "tspan", "title"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in names if name.startswith("on") or "href" in name]


def test_svg_shows_names_operations_and_products() -> None:
    shown = [element.text for element in ET.fromstring(svg(example())).iter(f"{SVG}text")]
    assert {"events", "Vars", "hep.define", "pt, eta", "Pt.json", "Later"} <= set(shown)


def test_svg_shortens_long_names_and_has_them_in_full_as_a_tooltip() -> None:
    name = "Select" * 20
    root = ET.fromstring(svg(Graph(nodes=(Node(name=name, kind="stage", label="hep.define"),), edges=())))
    assert [title.text for title in root.iter(f"{SVG}title")] == [f"{name}\nhep.define"]
    assert name not in [text.text for text in root.iter(f"{SVG}text")]


def test_svg_draws_what_only_waits_with_dashes() -> None:
    dashed = [p for p in ET.fromstring(svg(example())).iter(f"{SVG}path") if "stroke-dasharray" in p.attrib]
    assert len(dashed) == 1


def test_texts_do_not_depend_on_the_order_of_hashes() -> None:
    code = "from tests.test_graph import *; print(svg(example()), mermaid(example()), dot(example()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_mermaid_names_nodes_by_number_and_escapes_what_is_written() -> None:
    lines = mermaid(hostile()).splitlines()
    assert lines[0] == "flowchart TD"
    assert all(
        re.fullmatch(r'  n\d(p\d)?(\(?\[?"[^"<>`\\]*"\]?\)?)?( --> n\d(p\d)?)?', line.replace("<br/>", ""))
        for line in lines[1:]
    )
    assert "#60;script#62;" in lines[1]


def test_mermaid_has_every_arrow() -> None:
    assert [line.strip() for line in mermaid(example()).splitlines() if ">" in line and '"' not in line] == [
        "n2 --> n2p0",
        "n0 --> n1",
        "n1 --> n2",
        "n1 --> n3",
        "n2 -.-> n3",
    ]


def test_dot_quotes_what_is_written() -> None:
    labels = re.findall(r'label="((?:[^"\\]|\\.)*)"', dot(hostile()))
    assert len(labels) == 4
    assert labels[1] == '<script>alert(\\"1\\")</script>&\'\ufffd\ufffd\\\\N'


def test_dot_has_every_arrow() -> None:
    assert re.findall(r"  (n\d -> n\d)(?: \[style=(\w+)\])?;", dot(example())) == [
        ("n0 -> n1", ""),
        ("n1 -> n2", ""),
        ("n1 -> n3", ""),
        ("n2 -> n3", "dashed"),
    ]


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[Box], list[tuple[int, int]]]:
    size = draw(st.integers(1, 24))
    boxes = [Box(width=draw(st.integers(20, 240)), height=draw(st.integers(10, 90))) for _ in range(size)]
    pairs = [(tail, head) for head in range(size) for tail in range(head)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []
    return boxes, edges


@given(dags())
@settings(max_examples=100)
def test_every_edge_points_downwards(dag: tuple[list[Box], list[tuple[int, int]]]) -> None:
    boxes, edges = dag
    places = layout(boxes, edges, width=600).places
    assert all(places[head].top >= places[tail].top + boxes[tail].height for tail, head in edges)


@given(dags())
@settings(max_examples=100)
def test_boxes_do_not_overlap_and_stay_inside(dag: tuple[list[Box], list[tuple[int, int]]]) -> None:
    boxes, edges = dag
    plan = layout(boxes, edges, width=600)
    rectangles = [
        (place.x - box.width / 2, place.top, place.x + box.width / 2, place.top + box.height)
        for place, box in zip(plan.places, boxes, strict=True)
    ]
    assert min(r[0] for r in rectangles) > -1e-6
    assert max(r[2] for r in rectangles) <= plan.width + 1e-6
    assert max(r[3] for r in rectangles) <= plan.height + 1e-6
    for a, b in combinations(rectangles, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@given(dags())
@settings(max_examples=100)
def test_links_lead_from_each_tail_to_each_of_its_heads(dag: tuple[list[Box], list[tuple[int, int]]]) -> None:
    boxes, edges = dag
    plan = layout(boxes, edges, width=600)
    for tail, head in set(edges):
        arriving = [link for link in plan.links if (link.tail, link.head) == (tail, head)]
        assert len(arriving) == 1
        place, link = plan.places[head], arriving[0]
        assert link.end == (place.x, place.top)
        while link.start[1] != plan.places[tail].top + boxes[tail].height or link.start[0] != plan.places[tail].x:
            (link,) = [
                other for other in plan.links if other.tail == tail and (other.end[0], other.through) == link.start
            ]


def test_many_boxes_after_one_make_several_rows_on_the_page() -> None:
    plan = layout([Box(width=150, height=60)] * 41, [(0, head) for head in range(1, 41)], width=1000)
    assert plan.width <= 1000
    assert len({place.top for place in plan.places}) == 1 + 40 / 5
