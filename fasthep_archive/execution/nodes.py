"""Makes the nodes of a plan, with their keys: first as the document is written, then variation by variation.

A variation's node whose key is that of the document's own node is *unaffected*: it computes the same, so it is left
out, and what takes it takes the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution.keys import derived_key, merge_key, part_key
from fasthep_archive.execution.outline import EventNode, Outline
from fasthep_archive.execution.plan import Derived, Merge, Node, Partition, PartOf, Pass, Variant
from fasthep_archive.execution.swaps import datasets
from fasthep_archive.operations.naming import written_input
from fasthep_archive.operations.protocol import (
    DatasetFacts,
    Derivation,
    Deriving,
    Following,
    Made,
    Output,
    PerPartition,
    Product,
    ProductOperation,
)
from fasthep_archive.operations.reading import render_id, write_id
from fasthep_archive.workflow.model import Dataset, Render, Stage, Variation, Write


@dataclass(kw_only=True, slots=True)
class Draft:
    """A pass while its parts are found."""

    partition: Partition
    variant: Variant
    varied: str | None
    parts: dict[str, Digest] = field(default_factory=dict)

    def finished(self) -> Pass:
        """Return the pass."""
        return Pass(partition=self.partition, variant=self.variant, parts=self.parts, varied=self.varied)


@dataclass(frozen=True, kw_only=True, slots=True)
class _View:
    """The workflow as it is written, or in one variation: its datasets, and the passes over each by root."""

    variation: Variation | None
    datasets: tuple[Dataset, ...]
    passes: Mapping[tuple[str, str], Sequence[Draft]]

    @property
    def name(self) -> str | None:
        return None if self.variation is None else self.variation.name


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """Something to make of products.

    :ivar inputs: ids of the nodes that it takes, as the document is written, by the name of the input.
    :ivar path: of its params in the document.
    :ivar place: the dataset or partition that the products are of, if not of all. :ivar dataset: that this belongs to.
    """

    node: Node
    op: str
    operation: ProductOperation
    inputs: Mapping[str, str]
    path: tuple[str | int, ...]
    place: str | None = None
    dataset: str | None = None


class Nodes:
    """Makes the nodes.

    :ivar made: all of them, each after those that it depends on.
    :ivar unaffected: by variation, ids of the nodes that it leaves as they are.
    """

    def __init__(
        self, outline: Outline, drafts: Sequence[Draft], version: str, report: Callable[[Fault], None]
    ) -> None:
        self.made: list[Merge | Derived] = []
        self.unaffected: dict[str, list[str]] = {}
        self._outline = outline
        self._drafts = drafts
        self._version = version
        self._report = report
        self._keys: dict[str, Digest] = {}
        self._by_id: dict[str, Merge | Derived] = {}
        variants = {id(draft.variant): draft.variant for draft in drafts}
        self._filled = {node for variant in variants.values() for node in variant.by_node}

    def make(self) -> None:
        """Make all nodes."""
        for variation in (None, *self._outline.plan_variations):
            view = self._view(variation)
            for root in self._outline.roots:
                for node in self._outline.hanging.get(root.id, ()):
                    self._event_node(node, root.id, view)
            for stage in self._outline.workflow.stages:
                self._stage(stage, view)
        self._check_names()

    def _view(self, variation: Variation | None) -> _View:
        """Return what there is in a variation: its own passes where it reads other files, else the document's."""
        workflow = self._outline.workflow
        own: dict[tuple[str, str], list[Draft]] = {}
        written: dict[tuple[str, str], list[Draft]] = {}
        for draft in self._drafts:
            place = (draft.partition.stream, draft.partition.dataset)
            if draft.varied is None:
                written.setdefault(place, []).append(draft)
            elif variation is not None and draft.varied == variation.name:
                own.setdefault(place, []).append(draft)
        return _View(variation=variation, datasets=datasets(variation, workflow), passes={**written, **own})

    def _stage(self, stage: Stage, view: _View) -> None:
        itself, root = self._outline.itself(stage), self._outline.root_of.get(stage.id)
        if itself is not None and root is not None:
            self._event_node(itself, root, view)
        operation = self._outline.product_operation(stage.id)
        if operation is not None:
            asked = _Asked(
                node=Node(id=stage.id, stage=stage.id),
                op=stage.op,
                operation=operation,
                inputs=self._inputs(stage, operation),
                path=(*stage.path, "params"),
            )
            self._derive(asked, view)
        for hanging in self._outline.hanging.get(stage.id, ()):
            if root is not None:
                self._event_node(hanging, root, view)
        self._drawn(stage, root, view)

    def _inputs(self, stage: Stage, operation: ProductOperation) -> Mapping[str, str]:
        """Return the nodes that a stage takes, by the name of the input; what is written only where that is wanted."""
        wanted = getattr(operation, "takes_written", False)
        found: dict[str, str] = {}
        for edge in stage.products_from:
            name, left = edge.name or edge.node, self._outline.leaving(edge.node) if wanted else ()
            written = [node for node in left if node != edge.node]
            found |= {} if written and edge.node not in left else {name: edge.node}
            found |= {written_input(name, number): node for number, node in enumerate(written)}
        return found

    # Products that passes fill

    def _event_node(self, node: EventNode, root: str, view: _View) -> None:
        if view.variation is not None and (not node.varies or self._untouched(node.node, view.variation)):
            return
        chosen = [dataset for dataset in view.datasets if node.applies(dataset)]
        drafts = [draft for dataset in chosen for draft in view.passes.get((root, dataset.name), ())]
        product = node.operation.product(node.called, tuple(item.name for item in chosen))
        if not isinstance(product, PerPartition):  # only files of columns tell something of no events: their types
            drafts = [draft for draft in drafts if draft.partition.start < draft.partition.stop]
        parts = tuple(self._parts(node, drafts, view))
        product = self._placed(node, product, root, parts)
        if product is not None:
            self._merge(node.node, node.op, product, parts, drafts, view, kept=True)

    def _untouched(self, node: Node, variation: Variation) -> bool:
        """Say whether a variation has nothing of its own to add up for a node, and note that it leaves it as it is."""
        own, varied = self._by_id.get(node.id), node.varied(variation.name)
        if own is None or variation.dataset_replace or varied.id in self._filled:
            return False
        self._leave(own, varied)
        return True

    def _placed(self, node: EventNode, product: Product | None, root: str, parts: Sequence[PartOf]) -> Product | None:
        """Return the product with what it wants to know of the partitions, as names of files can depend on them."""
        wanting: object = product
        if not isinstance(wanting, PerPartition):
            return product
        try:
            return wanting.placed(root, [(part.dataset, part.position, part.number) for part in parts])
        except DataError as error:
            self._report(Fault(error.message, self._outline.workflow.document.where(node.path), error.hint))
            return None

    def _parts(self, node: EventNode, drafts: Sequence[Draft], view: _View) -> Iterator[PartOf]:
        for draft in drafts:
            key = self._part(node.node, draft, view)
            if key is not None:
                partition = draft.partition
                yield PartOf(dataset=partition.dataset, key=key, position=partition.position, number=partition.number)

    def _part(self, node: Node, draft: Draft, view: _View) -> Digest | None:
        """Return the key of a part, and note it in the pass unless the document's own part is the same."""
        varied = node.varied(view.name).id
        fill, same = draft.variant.by_node.get(varied), draft.parts.get(node.id)
        if fill is None:
            return same
        if any(value not in self._keys for value in fill.values):
            return None  # what it takes has a fault
        key = part_key(fill, draft.partition, self._keys, self._made_by(node))
        if key != same or varied == node.id:
            draft.parts[varied] = key
        return key

    def _merge(
        self,
        node: Node,
        op: str,
        product: Product,
        parts: Sequence[PartOf],
        drafts: Sequence[Draft],
        view: _View,
        *,
        kept: bool,
    ) -> None:
        varied = node.varied(view.name)
        fills = (draft.variant.by_node.get(varied.id) or draft.variant.by_node.get(node.id) for draft in drafts)
        values = dict.fromkeys(self._real(value) for fill in fills if fill is not None for value in fill.values)
        key = merge_key(product, parts, self._made_by(node))
        self._add(
            Merge(node=varied, op=op, product=product, parts=tuple(parts), key=key, values=tuple(values), kept=kept),
            node,
        )

    # Files that are made of products

    def _drawn(self, stage: Stage, root: str | None, view: _View) -> None:
        """Make the nodes of what is drawn and written of what a stage leaves."""
        for number, render in enumerate(stage.renders):
            self._attached(render_id(stage.id, number), (render.op, render.source), render, stage, root, view)
        for number, write in enumerate(stage.writes):
            self._attached(write_id(stage.id, number), (write.kind, stage.id), write, stage, root, view)

    def _attached(
        self, name: str, called: tuple[str, str], hung: Render | Write, stage: Stage, root: str | None, view: _View
    ) -> None:
        """Make the nodes of one thing that is made of what a stage leaves, unless it is made of events.

        :param called: its operation, and its input.
        """
        operation = self._outline.product_operation(name)
        if operation is None:
            return
        op, source = called
        node = Node(id=name, stage=stage.id)
        asked = _Asked(node=node, op=op, operation=operation, inputs={source: stage.id}, path=hung.path)
        if hung.when == "final" or root is None:
            self._derive(asked, view)
        else:
            self._split(asked, stage, root, view, partitions=hung.when == "partition")

    def _split(self, asked: _Asked, stage: Stage, root: str, view: _View, *, partitions: bool) -> None:
        """Make the nodes of what is drawn for each dataset or partition: of a product of its parts alone."""
        itself, whole = self._outline.itself(stage), self._by_id.get(self._real(_varied(stage.id, view)))
        if itself is None or not isinstance(whole, Merge):
            return
        for place, dataset, drafts in _pieces(itself, root, view, partitions=partitions):
            piece = Node(id=f"{stage.id}[{place}]", stage=stage.id)
            product = itself.operation.product(itself.called, (dataset.name,))
            if product is not None and _varied(piece.id, view) not in self._keys:
                parts = tuple(self._parts(itself, drafts, view))
                self._merge(piece, stage.op, product, parts, drafts, view, kept=False)
            node = replace(asked.node, id=f"{asked.node.id}[{place}]")
            inputs = dict.fromkeys(asked.inputs, piece.id)
            self._derive(replace(asked, node=node, inputs=inputs, place=place, dataset=dataset.name), view)

    def _derive(self, asked: _Asked, view: _View) -> None:
        """Make a node of what is made of products."""
        taken = {name: self._real(_varied(other, view)) for name, other in asked.inputs.items()}
        sources = {name: self._by_id[other] for name, other in taken.items() if other in self._by_id}
        if len(sources) < len(taken):
            self._empty_handed(asked, [other for name, other in asked.inputs.items() if name not in sources], view)
            return
        where = self._outline.workflow.document.where
        facts = (item for item in view.datasets if asked.dataset in (None, item.name))
        derivation = asked.operation.derivation(
            Deriving(
                stage=asked.node.stage,
                inputs={name: self._made(source) for name, source in sources.items()},
                datasets=tuple(DatasetFacts(name=i.name, eventtype=i.eventtype, group=i.group) for i in facts),
                path=asked.path,
                fault=lambda message, at, hint: self._report(Fault(message, where(at), hint)),
                where=where,
            )
        )
        if derivation is None:
            return
        if asked.place is not None:
            derivation = Placed(derivation=derivation, place=asked.place)
        if isinstance(derivation, Following):
            files = Node(id=f"{asked.node.id}[files]", stage=asked.node.stage)
            self._derived(asked, files, derivation.first, taken, view, kept=False)
            taken = {"files": self._real(_varied(files.id, view))}
        self._derived(asked, asked.node, derivation, taken, view, kept=True)

    def _derived(
        self, asked: _Asked, node: Node, derivation: Derivation, taken: Mapping[str, str], view: _View, *, kept: bool
    ) -> None:
        """Add a node that is made of the nodes ``taken``, by the name of the input."""
        sources = [(name, self._by_id[other].key) for name, other in taken.items()]
        key = derived_key(derivation, sources, self._made_by(node))
        varied = node.varied(view.name)
        self._add(Derived(node=varied, op=asked.op, derivation=derivation, inputs=taken, key=key, kept=kept), node)

    def _made(self, source: Merge | Derived) -> Made:
        product = source.product if isinstance(source, Merge) else source.derivation
        operation = self._outline.operations[source.stage]
        return Made(stage=source.stage, op=source.op, operation=operation, outputs=product.outputs)

    def _empty_handed(self, asked: _Asked, missing: Sequence[str], view: _View) -> None:
        """Report inputs that leave nothing, unless they, or the streams that they read, have faults of their own."""
        leaving = {node.stage for node in self.made}
        opened = {draft.partition.stream for draft in self._drafts}
        for other in missing:
            broken = self._outline.root_of.get(other) not in opened and self._outline.leaving(other)
            if broken or view.variation is not None or other not in self._outline.operations:
                continue
            if other not in leaving:
                message = f"{asked.op} takes what stage {other!r} leaves, and that leaves nothing"
                where = self._outline.workflow.document.where(asked.path)
                self._report(Fault(message, where, f"stages that do: {', '.join(sorted(leaving)) or 'none'}"))

    def _made_by(self, node: Node) -> str:
        """Return the version of the code that a node is computed with: this tool's, and that of a plug-in."""
        provider = self._outline.foreign.get(node.id.partition("[")[0])
        return self._version if provider is None else f"{self._version} {provider}"

    # Ids

    def _real(self, node: str) -> str:
        """Return the id of the node that stands for ``node``: the document's own where a variation changes nothing."""
        if node in self._by_id:
            return node
        own = node.rpartition("@")[0]
        return own if own in self._by_id else node

    def _add(self, made: Merge | Derived, node: Node) -> None:
        """Add a node, or note that the variation leaves the node ``node`` of the document as it is."""
        self._keys[made.node.id] = made.key
        own = self._by_id.get(node.id)
        if made.node.variation is not None and own is not None and own.key == made.key:
            self._leave(own, made.node)
            return
        self.made.append(made)
        self._by_id[made.node.id] = made

    def _leave(self, own: Merge | Derived, varied: Node) -> None:
        """Note that a variation leaves a node of the document as it is."""
        self._keys[varied.id] = own.key
        if own.kept and varied.variation is not None:
            self.unaffected.setdefault(varied.variation, []).append(own.node.id)

    def _check_names(self) -> None:
        """Report files that two nodes leave: they would be written over each other."""
        left: dict[str, Merge | Derived] = {}
        places = {stage.id: stage.path for stage in self._outline.workflow.stages}
        for made in self.made:
            for name in made.outputs:
                other = left.setdefault(name.lower(), made)
                if other is not made and made.node.variation is None:
                    where = self._outline.workflow.document.where(places.get(made.stage, ()))
                    message = f"{made.node.id} and {other.node.id} both leave a file {name}"
                    self._report(Fault(message, where, "give them different names"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A derivation for one dataset or partition, whose files lie in a directory called like what they would be."""

    derivation: Derivation
    place: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files: ``plots/Pt.png`` of dataset ``ww`` is ``plots/Pt/ww.png``."""
        return tuple(self._name(name) for name in self.derivation.outputs)

    def canonical(self) -> JSON:
        """Return everything that the files depend on beside the products that are taken."""
        return {"of": self.place, "derivation": self.derivation.canonical()}

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        """Return the files."""
        made = self.derivation.derive(products, cache)
        return tuple(replace(output, name=self._name(output.name)) for output in made)

    def _name(self, name: str) -> str:
        directory, slash, file = name.rpartition("/")
        stem, dot, suffix = file.rpartition(".")
        return f"{directory}{slash}{stem or suffix}/{self.place}{dot if stem else ''}{suffix if stem else ''}"


def _varied(node: str, view: _View) -> str:
    return node if view.name is None else f"{node}@{view.name}"


def _pieces(
    node: EventNode, root: str, view: _View, *, partitions: bool
) -> Iterator[tuple[str, Dataset, Sequence[Draft]]]:
    """Yield what a stage's product is split into: a name, the dataset, and the passes."""
    for dataset in view.datasets:
        drafts = view.passes.get((root, dataset.name), ())
        if not node.applies(dataset):
            continue
        if not partitions:
            yield dataset.name, dataset, drafts
            continue
        for draft in drafts:
            yield f"{dataset.name}/{draft.partition.position}_{draft.partition.number}", dataset, (draft,)
