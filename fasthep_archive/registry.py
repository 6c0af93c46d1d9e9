"""Names of the workflow language that code stands behind: ours, and those of installed plug-ins.

A plug-in is any distribution with an entry point in one of :data:`GROUPS`. Nothing is imported before its name is
used. A name that two distributions provide is refused, naming both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata

from fasthep_archive.errors import UsageError

GROUPS = {
    "operations": "fasthep_archive.operations",
    "observers": "fasthep_archive.observers",
    "writers": "fasthep_archive.sinks",
}

_OURS: Mapping[str, Mapping[str, str]] = {
    "operations": {
        "archive.values": "fasthep_archive.operations.values:ArchiveValues",
        "cms.match_l1t_jets": "fasthep_archive.operations.match_jets:MatchL1TJets",
        "hep.align_schema": "fasthep_archive.operations.projection:AlignSchema",
        "hep.build_lepton_met_candidate": "fasthep_archive.operations.lepton_met:BuildLeptonMetCandidate",
        "hep.build_pairs": "fasthep_archive.operations.pairs:BuildPairs",
        "hep.build_recoil": "fasthep_archive.operations.recoil:BuildRecoil",
        "hep.choose": "fasthep_archive.operations.choose:Choose",
        "hep.clean": "fasthep_archive.operations.clean:Clean",
        "hep.define": "fasthep_archive.operations.define:Define",
        "hep.di_object_mass": "fasthep_archive.operations.mass:DiObjectMass",
        "hep.hist": "fasthep_archive.operations.histogram:Hist",
        "hep.merge_fields": "fasthep_archive.operations.joining:MergeFields",
        "hep.project_fields": "fasthep_archive.operations.projection:ProjectFields",
        "hep.render.comparison": "fasthep_archive.operations.render.comparison:ComparisonPlot",
        "hep.render.cutflow_csv": "fasthep_archive.operations.render.cutflow_csv:CutflowCSV",
        "hep.render.data_mc": "fasthep_archive.operations.render.data_mc:DataMC",
        "hep.render.heatmap2d": "fasthep_archive.operations.render.heatmap2d:Heatmap2D",
        "hep.render.hist1d": "fasthep_archive.operations.render.hist1d:Hist1D",
        "hep.render.project": "fasthep_archive.operations.render.project:Project",
        "hep.select_objects": "fasthep_archive.operations.select_objects:SelectObjects",
        "hep.selection.cutflow": "fasthep_archive.operations.cutflow:CutflowSelection",
        "hep.selection.flag": "fasthep_archive.operations.flag:SelectionFlag",
        "hep.weights.lookup_csv": "fasthep_archive.operations.weights:LookupTable",
        "hep.weights.pdf_envelope": "fasthep_archive.operations.weights:PdfEnvelope",
        "hep.zip_join": "fasthep_archive.operations.joining:ZipJoin",
        "workshop.tabular.explode": "fasthep_archive.operations.tabular:Explode",
        "workshop.tabular.filter": "fasthep_archive.operations.tabular:Filter",
        "workshop.tabular.project": "fasthep_archive.operations.tabular:Project",
    },
    "observers": {
        "hep.branches": "fasthep_archive.operations.snapshot:Branches",
        "hep.schema_snapshot": "fasthep_archive.operations.snapshot:SchemaSnapshot",
    },
    "writers": {
        "root_tree": "fasthep_archive.operations.writing:WriteTree",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provided:
    """A name, the object behind it (``module:object``), and who provides it."""

    name: str
    target: str
    provider: str
    version: str

    def load(self) -> object:
        """Import and return the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


def is_ours(kind: str, name: str) -> bool:
    """Return whether ``name`` is one of this package's, whatever plug-ins are installed."""
    return name in _OURS[kind]


def ours(kind: str) -> tuple[str, ...]:
    """Return this package's own names of ``kind``."""
    return tuple(_OURS[kind])


def provided(kind: str, *, version: str) -> Mapping[str, Provided]:
    """Return everything of ``kind`` that can be named, ours (of ``version``) first.

    :raises UsageError: if two distributions provide the same name.
    """
    found = {
        name: Provided(name=name, target=target, provider="fasthep-archive", version=version)
        for name, target in _OURS[kind].items()
    }
    for entry in metadata.entry_points(group=GROUPS[kind]):
        distribution = entry.dist
        provider = distribution.name if distribution else "an unknown distribution"
        if entry.name in found:
            raise UsageError(
                f"{kind[:-1]} {entry.name!r} is provided more than once: {found[entry.name].provider}, {provider}",
                hint=f"uninstall one of them, or rename the entry point of {provider}",
            )
        found[entry.name] = Provided(
            name=entry.name,
            target=entry.value,
            provider=provider,
            version=distribution.version if distribution else "?",
        )
    return found
