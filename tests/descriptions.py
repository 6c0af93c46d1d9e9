"""Descriptions of runs, from the least to the strangest, for the tests of what is made from them."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from fasthep_archive.bundle import media
from fasthep_archive.bundle.description import (
    Description,
    Engine,
    Fact,
    File,
    Input,
    Output,
    Package,
    Step,
    Usage,
)
from fasthep_archive.digest import of_bytes
from fasthep_archive.workflow.model import Author, Related

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
HOSTILE = "\"><script>alert('µ')</script> & 50 % #1 / ünïcode \\ `code`"


def other(path: str, role: str, description: str = "A file of the bundle") -> File:
    content = path.encode()
    return File(
        path=path,
        role=role,  # type: ignore[arg-type]
        description=description,
        media_type=media.media_type(path),
        size=len(content),
        sha256=of_bytes(content),
    )


def product(path: str, stage: str, kind: str = "histogram") -> Output:
    digest = of_bytes(path.encode())
    return Output(
        path=path,
        stage=stage,
        kind=kind,
        size=len(path),
        sha256=digest,
        content_digest=of_bytes(digest.encode()),
        media_type="application/json",
    )


def data(path: str, **given: Any) -> Input:
    name = path.rpartition("/")[2]
    return Input(name=name, path=path, size=9, sha256=of_bytes(b"data"), media_type="application/vnd.root", **given)


ENGINE = Engine(name="fasthep-archive", version="0.1.0", url="https://github.com/FAST-HEP/fasthep-archive")
MINIMAL = Description(
    title="dimuon",
    license="CC-BY-4.0",
    workflow_name="dimuon",
    language_version="1.0",
    main_document="data/workflow/workflow.yaml",
    steps=(Step(id="Mass", op="hep.hist", parameters={}, outputs=("data/outputs/Mass.json",)),),
    inputs=(data("data/inputs/events.root"),),
    outputs=(product("data/outputs/Mass.json", "Mass"),),
    files=(
        other("data/workflow/workflow.yaml", "document", "The workflow as written"),
        other("README.md", "readme"),
        other("ro-crate-preview.html", "preview"),
    ),
    engine=ENGINE,
    python="3.11.9",
    packages=(),
    machine=(),
    variables={},
    started=NOON,
    ended=NOON,
    created=NOON,
    identity=of_bytes(b"identity"),
)

RICH = dataclasses.replace(
    MINIMAL,
    title="Dimuon mass in 2015 open data",
    description="The mass of the two leading muons.",
    authors=(
        Author(
            name="Josiah Carberry",
            orcid="https://orcid.org/0000-0002-1825-0097",
            affiliation="CERN",
            ror="https://ror.org/01ggx4157",
        ),
        Author(
            name="Carberry, Josephine",
            orcid="https://orcid.org/0000-0001-5109-3700",
            affiliation="CERN",
            ror="https://ror.org/01ggx4157",
            email="jo@example.org",
        ),
        Author(name="Someone Else", affiliation="Institute of Nowhere"),
        Author(name="Unaffiliated Person"),
        Author(name="FAST-HEP collaboration"),
    ),
    license="BSD-3-Clause",
    keywords=("CMS", "dimuon"),
    related=(
        Related(identifier="10.1103/PhysRevLett.33.1404", relation="isSupplementTo"),
        Related(identifier="doi:10.7483/OPENDATA.CMS.ABCD.EFGH", relation="isDerivedFrom"),
        Related(identifier="arXiv:2003.07868", relation="cites"),
        Related(identifier="HEPData ins1234567", relation="isIdenticalTo"),
    ),
    workflow_version="2.0",
    documents=("data/workflow/datasets.yaml",),
    code=("data/code/analysis.py",),
    steps=(
        Step(id="Muons", op="hep.define", parameters={"variables": '[{"Muon_Pt":"sqrt(x)"}]', "dtype": '"float64"'}),
        Step(
            id="Mass",
            op="hep.hist",
            description="Mass of the dimuon system",
            needs=("Cuts", "Muons"),
            parameters={"bins": "50", "low": "60.5", "flow": "true", "label": '""'},
            outputs=("data/outputs/Mass.json",),
            started=NOON,
            ended=NOON + timedelta(seconds=3),
            usage=Usage(wall_seconds=3.0, cpu_seconds=2.5, peak_memory=12345678),
        ),
        Step(
            id="Cuts",
            op="hep.selection.cutflow",
            needs=("events", "Muons"),
            parameters={"selection": '{"All":["n >= 2"]}'},
            outputs=("data/outputs/Cuts.json", "data/outputs/Cuts.csv"),
        ),
        Step(id="Never", op="hep.hist", needs=("Cuts",), parameters={}, status="skipped"),
    ),
    inputs=(
        data("data/inputs/a.root", datasets=("data", "all"), events=2304),
        data("data/inputs/b.root", datasets=("all",), events=10),
    ),
    outputs=(
        product("data/outputs/Mass.json", "Mass"),
        product("data/outputs/Cuts.json", "Cuts", "cutflow"),
        product("data/outputs/Cuts.csv", "Cuts", "cutflow"),
    ),
    files=(
        other("data/workflow/workflow.yaml", "document", "The workflow as written"),
        other("data/workflow/datasets.yaml", "document"),
        other("data/workflow/workflow.resolved.json", "resolved"),
        other("data/workflow/graph.svg", "figure"),
        other("data/environment/pylock.toml", "lock"),
        other("data/environment/packages.json", "packages"),
        other("data/environment/hardware.json", "hardware"),
        other("data/environment/engine.json", "engine"),
        other("data/environment/wheels/fasthep_archive-0.1.0-py3-none-any.whl", "wheel"),
        other("data/record/run.json", "record"),
        other("data/record/log", "log"),
        other("data/code/analysis.py", "code"),
        other("README.md", "readme"),
        other("LICENSE", "licence"),
        other("CITATION.cff", "citation"),
        other("__main__.py", "program"),
        dataclasses.replace(other("tagmanifest-sha256.txt", "manifest"), size=None, sha256=None),
        other("ro-crate-preview.html", "preview"),
    ),
    packages=(
        Package(name="numpy", version="2.3.5"),
        Package(name="fasthep-archive", version="0.1.0"),
        Package(name="Local_Package", version="1.0+cu12"),
    ),
    machine=(
        Fact(name="cpuModel", value="AMD EPYC 9654"),
        Fact(name="memoryTotal", value="137438953472", unit="BYTE"),
    ),
    variables={"OMP_NUM_THREADS": "1", "MKL_CBWR": ""},
    ended=NOON + timedelta(seconds=9),
    usage=Usage(wall_seconds=9.0),
)

STRANGE = dataclasses.replace(
    MINIMAL,
    title=HOSTILE,
    description=HOSTILE,
    authors=(Author(name=HOSTILE, affiliation=HOSTILE), Author(name=HOSTILE)),
    license="LicenseRef-own",
    keywords=(HOSTILE,),
    related=(
        Related(identifier=HOSTILE, relation=HOSTILE),
        Related(identifier="https://a.b/c d?<e>", relation="cites"),
    ),
    workflow_name=HOSTILE,
    workflow_version="1 beta",
    main_document="data/workflow/my workflow µ.yaml",
    steps=(
        Step(id=HOSTILE, op="hep.define", parameters={HOSTILE: json.dumps(HOSTILE)}),
        Step(
            id="../../x",
            op="hep.hist",
            needs=(HOSTILE,),
            parameters={"in": "null"},
            outputs=("data/outputs/ä b#.json",),
        ),
    ),
    inputs=(data("data/inputs/ä b.root", datasets=(HOSTILE,)),),
    outputs=(product("data/outputs/ä b#.json", "../../x"),),
    files=(other("data/workflow/my workflow µ.yaml", "document"), other("README.md", "readme")),
    variables={"A B": HOSTILE},
    machine=(Fact(name=HOSTILE, value=HOSTILE),),
)

EVERY = {"minimal": MINIMAL, "rich": RICH, "strange": STRANGE}

THIN = dataclasses.replace(
    RICH,
    inputs=(
        data("data/inputs/a.root", embedded=False, urls=("https://example.org/a.root", "root://example.org//a.root")),
        data("data/inputs/b.root", embedded=False, urls=("root://example.org//b.root",)),
        data("data/inputs/c.root", embedded=False),
    ),
)
"""Holds none of its inputs: known by their addresses or by their digest alone."""
