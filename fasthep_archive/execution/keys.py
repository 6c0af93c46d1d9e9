"""Keys: the digest of everything that a result depends on, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fasthep_archive import digest
from fasthep_archive.data.source import Read
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.execution.plan import PROFILE, Partition, PartOf, StageFill
from fasthep_archive.operations.protocol import Derivation, Product


def part_key(fill: StageFill, partition: Partition, known: Mapping[str, Digest], version: str) -> Digest:
    """Return the key of a part: the digest of everything that its numbers depend on, and nothing else.

    Formulas enter as the canonical program with definitions substituted, so names of intermediate variables,
    the YAML's layout and the file's place do not matter; the tool's version does.

    :param known: keys of the nodes whose values parts can depend on.
    """
    described: dict[str, JSON] = {
        "what": "part",
        "version": version,
        "profile": PROFILE,
        "adds": fill.adds,
        "input": partition.file.sha256,
        "reads": [read_text(read) for read in partition.reads],
        "range": [partition.start, partition.stop],
    }
    if partition.beside:
        described["beside"] = [file.sha256 for file in partition.beside]
    if fill.values:
        described["values"] = [known[node] for node in fill.values]
    return digest.of_json(described)


def merge_key(product: Product, parts: Sequence[PartOf], version: str) -> Digest:
    """Return the key of a product."""
    described: JSON = [[part.dataset, part.key, part.position, part.number] for part in parts]
    return digest.of_json({"what": "product", "version": version, "product": product.canonical(), "parts": described})


def derived_key(derivation: Derivation, takes: Sequence[tuple[str, Digest]], version: str) -> Digest:
    """Return the key of files that are made of the products ``takes``: names of inputs and their keys, in order."""
    described: JSON = [list(pair) for pair in takes]
    return digest.of_json(
        {"what": "derived", "version": version, "derivation": derivation.canonical(), "takes": described}
    )


def read_text(read: Read) -> JSON:
    """Return what is read of a file, as JSON."""
    matched: list[JSON] = [list(read.on), read.on_mismatch] if read.on else []
    elsewhere: list[JSON] = [{"place": read.place, "spread": read.spread}] if read.place or read.spread else []
    return [read.kind, read.tree, read.prefix, read.options, *matched, *elsewhere]
