"""A workflow as a picture: its sources, its stages and what they leave behind, as SVG, Mermaid or DOT.

The SVG stands by itself: no script, no font, no link; light or dark as the reader's screen. All three texts are pure
functions of the graph, and no name that a user chose reaches their syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from fasthep_archive.data.view import VARIED
from fasthep_archive.digest import JSON
from fasthep_archive.report import svg as picture
from fasthep_archive.report.layout import Box, Link, Place, layout
from fasthep_archive.report.markup import Markup, element, escaped, joined, number, shortened, text_width
from fasthep_archive.workflow.model import Join, Stage, Workflow
from fasthep_archive.workflow.natures import nature

_PAGE = 1040.0
"""Width in pixels that a picture does not exceed, unless one stage is waited for by very many."""
_LEAST, _MOST, _PADDING = 120.0, 244.0, 14.0
_TITLE, _TEXT, _LINE = 13.0, 11.0, 16.0
_BOLD = 1.1
"""How much wider a title is than the same text in plain letters."""

EdgeKind: TypeAlias = Literal["data", "product", "order"]
"""``data``: events flow along it. ``product``: one stage takes what the other leaves behind. ``order``: one stage only
waits for the other (``needs`` beside ``from``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A source or a stage.

    :ivar name: what the document calls it.
    :ivar label: what it is: the operation, or the kind of source.
    :ivar note: for which events it is, in which workflow, whether it is cached.
    :ivar detail: what it deals with: variables, axes, groups of cuts, datasets.
    :ivar products: names of the files that it leaves behind. :ivar varied: how many more there are in variations.
    """

    name: str
    kind: Literal["source", "stage"]
    label: str
    note: str = ""
    detail: str = ""
    products: tuple[str, ...] = ()
    varied: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """Return the lines that say what it is, below its name."""
        return tuple(filter(None, (self.label, self.note, self.detail)))

    @property
    def files(self) -> tuple[str, ...]:
        """Return what is written of the files."""
        return (*self.products, f"and {self.varied} in variations") if self.varied else self.products


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """An arrow between two nodes, by their numbers."""

    tail: int
    head: int
    kind: EdgeKind = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """Nodes in the order of the document, and the edges between them; no cycles."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def of_workflow(workflow: Workflow, *, products: Mapping[str, Sequence[str]], cached: Collection[str] = ()) -> Graph:
    """Return the graph of ``workflow``.

    A stage that hands its events on as they came (a histogram) has no arrows from it: what stands after it in the
    document reads the same events, and is drawn so.

    :param products: names of the files that each stage leaves behind, by the stage's id.
    :param cached: stages whose products a run would take from the store.
    """
    datasets = ", ".join(dataset.name for dataset in workflow.datasets)
    nodes = [
        Node(name=source.id, kind="source", label=f"{source.kind} · {source.tree}", detail=datasets)
        for source in workflow.sources
    ]
    nodes += [
        Node(name=join.id, kind="source", label=f"join · {join.kind}", detail=_joined(join)) for join in workflow.joins
    ]
    number_of = {node.name: position for position, node in enumerate(nodes)}
    stream_of = dict(number_of)
    member_of = {stage: part.name for part in workflow.workflows for stage in part.stages}
    numbers = {stage.id for stage in workflow.stages if nature(stage.op).reads == "products"}
    edges: dict[Edge, None] = {}
    for join in workflow.joins:
        edges |= {Edge(tail=number_of[item.source], head=number_of[join.id]): None for item in join.inputs}
    for head, stage in enumerate(workflow.stages, len(nodes)):
        notes = [f"{stage.applies_to} only"] if stage.applies_to else []
        notes += [f"in {member_of[stage.id]}"] if stage.id in member_of else []
        notes += [*(["manual"] if stage.when == "manual" else []), *(["cached"] if stage.id in cached else [])]
        nodes.append(_stage_node(stage, products.get(stage.id, ()), notes))
        number_of[stage.id] = stream_of[stage.id] = head
        reads = [edge.node for edge in stage.streams_from if edge.node in stream_of]
        takes = [edge.node for edge in stage.products_from if edge.node in number_of]
        needs = [need for need in stage.needs if need in number_of and need not in (*reads, *takes)]
        takes += [need for need in needs if need in numbers]  # for its formulas
        waits = [need for need in needs if need not in numbers]
        edges |= {Edge(tail=stream_of[name], head=head): None for name in reads}
        edges |= {Edge(tail=number_of[name], head=head, kind="product"): None for name in takes}
        edges |= {Edge(tail=number_of[name], head=head, kind="order"): None for name in waits}
        if stage.op in _HANDS_ON and reads:
            stream_of[stage.id] = stream_of[reads[0]]
    return Graph(nodes=tuple(nodes), edges=tuple(edges))


def svg(graph: Graph) -> Markup:
    """Return the graph as a self-contained SVG document, at most about 1100 pixels wide."""
    boxes = [Box(width=_width(node), height=_height(node)) for node in graph.nodes]
    kinds = {(edge.tail, edge.head): edge.kind for edge in reversed(graph.edges)}
    plan = layout(boxes, list(kinds), width=_PAGE)
    margin = 12.0
    links = [_link(link, _kind(link, kinds)) for link in plan.links]
    cards = [_card(*each) for each in zip(graph.nodes, boxes, plan.places, strict=True)]
    body = picture.moved(margin, margin, joined(*dict.fromkeys(links)), joined(*cards))
    label = f"Graph of the workflow: {len(graph.nodes)} sources and stages, {len(graph.edges)} arrows"
    roles = ("card", "source", "line", "tip", "ink", "dim")
    return picture.document(plan.width + 2 * margin, plan.height + 2 * margin, label, body, roles=roles)


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
    lines = ["flowchart TD"]
    for number_of, node in enumerate(graph.nodes):
        text = "<br/>".join(map(_mermaid_text, (node.name, *node.words)))
        lines.append(f'  n{number_of}[("{text}")]' if node.kind == "source" else f'  n{number_of}["{text}"]')
        for position, product in enumerate(node.files):
            name = f"n{number_of}p{position}"
            lines += [f'  {name}(["{_mermaid_text(product)}"])', f"  n{number_of} --> {name}"]
    arrows: Mapping[EdgeKind, str] = {"data": "-->", "product": "==>", "order": "-.->"}
    lines += [f"  n{edge.tail} {arrows[edge.kind]} n{edge.head}" for edge in graph.edges]
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return the graph in the DOT language of Graphviz (https://graphviz.org/doc/info/lang.html)."""
    lines = ["digraph workflow {", '  node [shape=box, style=rounded, fontname="Helvetica"];']
    for number_of, node in enumerate(graph.nodes):
        text = r"\n".join(map(_dot_text, (node.name, *node.words)))
        shape = ", shape=cylinder" if node.kind == "source" else ""
        lines.append(f'  n{number_of} [label="{text}"{shape}];')
        for position, product in enumerate(node.files):
            name = f"n{number_of}p{position}"
            lines += [f'  {name} [label="{_dot_text(product)}", shape=note];', f"  n{number_of} -> {name};"]
    styles: Mapping[EdgeKind, str] = {"data": "", "product": " [style=bold]", "order": " [style=dashed]"}
    lines += [f"  n{edge.tail} -> n{edge.head}{styles[edge.kind]};" for edge in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


_HANDS_ON = frozenset({"hep.hist"})
"""Operations that pass their events on unchanged."""


def _names_of(key: str) -> Callable[[Mapping[str, JSON]], str]:
    """Return a function that lists the names in the parameter ``key``: a map's keys, or a list's items' ``name``."""

    def names(params: Mapping[str, JSON]) -> str:
        value = params.get(key)
        if isinstance(value, Mapping):
            return ", ".join(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return ", ".join(str(item["name"]) for item in value if isinstance(item, Mapping) and "name" in item)
        return ""

    return names


_DETAILS: Mapping[str, Callable[[Mapping[str, JSON]], str]] = {
    "hep.define": _names_of("variables"),
    "hep.hist": lambda params: _names_of("axes")(params).replace(", ", " × "),
    "hep.selection.cutflow": _names_of("selection"),
    "hep.di_object_mass": lambda params: str(params.get("out_var") or f"Di{params.get('collection') or 'Muon'}_Mass"),
    "run.command": lambda params: str(next(iter(cast("Sequence[str]", params["script"])), "")),
    "run.events": lambda params: str(params["callable"]),
    "run.python": lambda params: str(params["callable"]),
}
"""What to say about a stage's parameters, by operation; nothing for the others."""

_ACCENTS: Mapping[str, str] = {
    "hep.hist": picture.PALETTE[0],
    "hep.selection.cutflow": picture.PALETTE[1],
}
"""Colour of the stripe beside a stage; grey for the others."""


def _joined(join: Join) -> str:
    return ", ".join(f"{item.prefix}.*" for item in join.inputs)


def _stage_node(stage: Stage, products: Sequence[str], notes: Sequence[str]) -> Node:
    detail = _DETAILS[stage.op](stage.params) if stage.op in _DETAILS else ""
    nominal = tuple(name for name in products if not name.startswith(VARIED))
    return Node(
        name=stage.id,
        kind="stage",
        label=stage.op,
        note=" · ".join(notes),
        detail=detail,
        products=nominal,
        varied=len(products) - len(nominal),
    )


def _width(node: Node) -> float:
    """Return the width of a node's card in pixels."""
    texts = [text_width(node.name, _TITLE) * _BOLD, *(text_width(line, _TEXT) for line in node.words)]
    texts += [text_width(_file(product), _TEXT) + 12 for product in node.files]
    return min(_MOST, max(_LEAST, max(texts) + 2 * _PADDING + 1))


def _height(node: Node) -> float:
    """Return the height of a node's card in pixels."""
    products = 8 + _LINE * len(node.files) if node.files else 0.0
    return 30 + _LINE * len(node.words) + products


def _card(node: Node, box: Box, place: Place) -> Markup:
    """Return a node's card, with everything that it was too small for as its tooltip."""
    tooltip = escaped("\n".join((node.name, *node.words, *node.files)))
    if node.kind == "source":
        back = element("rect", width=box.width, height=box.height, rx=14, class_="fa-source")
    else:
        accent = _ACCENTS.get(node.label, picture.PALETTE[8])
        back = joined(
            element("rect", width=box.width, height=box.height, rx=5, class_="fa-card"),
            element("rect", x=0.5, y=6, width=4, height=box.height - 12, fill=accent),
        )
    card = joined(element("title", tooltip), back, *_lines(node, box))
    return picture.moved(place.x - box.width / 2, place.top, card)


def _lines(node: Node, box: Box) -> Iterator[Markup]:
    """Yield what is written on a node's card."""
    room = box.width - 2 * _PADDING
    name = escaped(shortened(node.name, _TITLE * _BOLD, room))
    yield element("text", name, x=_PADDING, y=21, class_="fa-ink", font_size=_TITLE, font_weight="600")
    for position, line in enumerate(node.words):
        detail = line is node.detail
        text = shortened(line, _TEXT, room, end=0) if detail else shortened(line, _TEXT, room)
        yield _line(text, _PADDING, 37 + _LINE * position, "fa-ink" if detail else "fa-dim")
    first = box.height - _LINE * len(node.files)
    if node.files:
        rule = f"M{number(_PADDING)} {number(first - 5)}h{number(room)}"
        yield element("path", d=rule, class_="fa-line", stroke_opacity="0.4")
    for position, product in enumerate(node.files):
        y = first + _LINE * position + 8
        yield _sheet(_PADDING, y)
        yield _line(shortened(_file(product), _TEXT, room - 12), _PADDING + 12, y, "fa-ink")


def _line(text: str, x: float, y: float, role: str) -> Markup:
    return element("text", escaped(text), x=x, y=y, class_=role, font_size=_TEXT)


def _sheet(x: float, y: float) -> Markup:
    """Return a small sheet of paper with a folded corner, standing on the line of text at ``y``."""
    d = f"M{number(x)} {number(y)}v-9h4.5l2.5 2.5v6.5zm4.5 -9v2.5h2.5"
    return element("path", d=d, class_="fa-line")


def _file(product: str) -> str:
    return product.rpartition("/")[2]


def _kind(link: Link, kinds: Mapping[tuple[int, int], EdgeKind]) -> EdgeKind:
    """Return the kind of a piece of an edge; where edges of several kinds share it, events flow along it."""
    if link.head is not None:
        return kinds[link.tail, link.head]
    shared = {kind for (tail, _), kind in kinds.items() if tail == link.tail}
    return shared.pop() if len(shared) == 1 else "data"


def _link(link: Link, kind: EdgeKind) -> Markup:
    """Return one piece of an edge: a curve, and an arrow's tip where it arrives."""
    (x1, y1), (x2, y2) = link.start, link.end
    middle = number((y1 + y2) / 2)
    arrives = link.head is not None
    last = number(y2 - 5 if arrives else y2)
    curve = f"M{number(x1)} {number(y1)}C{number(x1)} {middle} {number(x2)} {middle} {number(x2)} {last}"
    trunk = f"V{number(link.through)}" if link.through > y2 else ""
    path = element(
        "path",
        d=curve + trunk,
        class_="fa-line",
        stroke_width=2.2 if kind == "product" else 1.4,
        stroke_dasharray="4 3" if kind == "order" else None,
    )
    tip = element("path", d=f"M{number(x2 - 4)} {number(y2 - 7)}L{number(x2)} {number(y2)}l4 -7z", class_="fa-tip")
    return joined(path, tip) if arrives else path


def _mermaid_text(text: str) -> str:
    """Return ``text`` for a quoted label: Mermaid reads ``#34;`` as the character of that code."""
    return "".join(c if c.isalnum() or c in " _-.,:/()=+×·" else f"#{ord(c)};" for c in text)


def _dot_text(text: str) -> str:
    """Return ``text`` for a quoted label: a backslash would start one of DOT's escapes."""
    printable = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
