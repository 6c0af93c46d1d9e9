"""A graph of JSON-LD entities under construction, and its one serialised form.

ro-crate-py turns the entities into RO-Crate metadata. Only its graph is used, never its writer or reader:
reference/rocrate.md, section 3, says why. Ids and times are ours, so the same graph gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

SPECIFICATION = "1.1"
"""Version of RO-Crate: the newest that the profiles for workflow runs are defined on."""
TERMS = "https://w3id.org/ro/terms/fasthep#"
"""Namespace of the terms that no vocabulary has; each is described in the crate that uses it."""
NAMESPACE = uuid.UUID("d293ffc5-523c-5c8c-b1cf-d24588b43afa")
"""Namespace of the version 5 UUIDs in bundles: that of https://github.com/FAST-HEP/fasthep-archive."""

_RUN_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
_BORROWED = {"buildInstructions": "https://codemeta.github.io/terms/buildInstructions"}
"""Terms of other vocabularies that the contexts lack."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to the entity with this ``@id``."""

    id: str


Value: TypeAlias = "str | Ref | Iterable[str | Ref] | None"

DESCRIPTOR = Ref("ro-crate-metadata.json")
ROOT = Ref("./")


class Graph:
    """Entities by ``@id``. The first description of an id stands; :meth:`link` adds to it."""

    def __init__(self) -> None:
        self._types: dict[Ref, str | list[str]] = {}
        # values are the keys of a dict: an ordered set, because thousands of files may share one parameter
        self._properties: dict[Ref, dict[str, dict[str | Ref, None]]] = {}
        self._parts: set[Ref] = set()
        self._terms: dict[str, str] = {}
        self._known: dict[str, Ref] = {}

    def add(self, identifier: str, types: str | list[str], /, **properties: Value) -> Ref:
        """Describe an entity, unless it is there already, and return the reference to it.

        Properties that are none or without a value are left out. Ids that differ in a final slash only are one to
        ro-crate-py, so they are one here.
        """
        known = self._known.setdefault(identifier.rstrip("/"), Ref(identifier))
        if known not in self._types:
            self._types[known] = types
            self._properties[known] = {}
            self.link(known, **properties)
        return known

    def part(self, identifier: str, types: str | list[str], /, **properties: Value) -> Ref:
        """Describe a data entity: a file, which the root lists among its parts."""
        reference = self.add(identifier, types, **properties)
        self._parts.add(reference)
        return reference

    def link(self, subject: Ref, /, **properties: Value) -> None:
        """Add values to properties of an entity; a value that is there already is not repeated."""
        for name, value in properties.items():
            values = [value] if isinstance(value, (str, Ref)) else value if value is not None else ()
            if given := dict.fromkeys(values):
                self._properties[subject].setdefault(name, {}).update(given)

    def term(self, name: str, meaning: str) -> None:
        """Declare a property of our own in the context and describe it, as RO-Crate 1.1 asks."""
        self._terms[name] = f"{TERMS}{name}"
        labels = {"rdfs:label": name, "rdfs:comment": meaning}
        self.add(f"{TERMS}{name}", "rdf:Property", name=name, description=meaning, **labels)

    def serialised(self) -> bytes:
        """Return the metadata file: descriptor and root first, then entities by ``@id``; keys sorted; UTF-8."""
        document = self._assembled()
        rank = {DESCRIPTOR.id: 0, ROOT.id: 1}
        document["@graph"] = sorted(document["@graph"], key=lambda node: (rank.get(node["@id"], 2), node["@id"]))
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def _assembled(self) -> dict[str, Any]:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.model.data_entity import DataEntity
        from rocrate.rocrate import ROCrate

        crate = ROCrate(version=SPECIFICATION)
        crate.metadata.extra_contexts.append(_RUN_CONTEXT)
        crate.metadata.extra_terms.update(_BORROWED | self._terms)
        present = {DESCRIPTOR: crate.metadata, ROOT: crate.root_dataset}
        for reference, types in self._types.items():
            if reference not in present:
                kind = DataEntity if reference in self._parts else ContextEntity
                crate.add(kind(crate, reference.id, properties={"@type": types, **self._json(reference)}))
        for reference, entity in present.items():
            for name, value in self._json(reference).items():
                entity[name] = value
        document: dict[str, Any] = crate.metadata.generate()
        return document

    def _json(self, reference: Ref) -> dict[str, Any]:
        """Return the properties of an entity; a single value is not wrapped in an array (RO-Crate 1.1, JSON-LD)."""
        properties = {}
        for name, values in self._properties[reference].items():
            items = [{"@id": item.id} if isinstance(item, Ref) else item for item in values]
            properties[name] = items[0] if len(items) == 1 else items
        return properties
