"""Builds bundles that are sound, damaged or hostile, on the fly and always the same bytes.

``python tests/hostile/make.py DIR`` writes all of them to ``DIR``, to try other readers on.

Zips are rendered here from a description of each entry in which everything can be a lie. It shares no code with the
package's own container, so it is also a second opinion on what the canonical form is.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fasthep_archive.bundle import identity, layout, manifest
from fasthep_archive.bundle.program import program
from fasthep_archive.digest import of_bytes, of_json

CREATED = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WORKFLOW = {"version": "1.0", "analysis": {"stages": []}}


# --- sound bundles --------------------------------------------------------------------------------------------------


def noise(size: int, seed: str = "noise") -> bytes:
    """Return ``size`` bytes that look random and never change."""
    return hashlib.shake_128(seed.encode()).digest(size)


def payload() -> dict[str, bytes]:
    """Return the files below ``data/`` of a small bundle, by name."""
    return {
        layout.WORKFLOW + "workflow.yaml": b"version: '1.0'\n",
        layout.RESOLVED: json.dumps(WORKFLOW, indent=1).encode(),
        layout.CODE + "selection.py": b"CUT = 20.0\n",
        layout.ENGINE: b"{}\n",
        layout.INPUTS + "events.root": noise(5000, "events"),
        layout.INPUTS + "two muons µ.root": noise(300, "muons"),
        layout.OUTPUTS + "histograms/mass.json": b'{"values": [1.0, 2.0]}\n',
        layout.OUTPUTS + "cutflow.json": b"[]\n",
        layout.OUTPUTS + "log.txt": b"",
        layout.RUN: b"{}\n",
    }


def summary(files: Mapping[str, bytes], **changes: object) -> identity.Summary:
    """Return what ``bundle.json`` says of these files."""
    inputs = {name.removeprefix(layout.INPUTS): raw for name, raw in files.items() if name.startswith(layout.INPUTS)}
    outputs = {name.removeprefix(layout.OUTPUTS): raw for name, raw in files.items() if name.startswith(layout.OUTPUTS)}
    code = {name.removeprefix(layout.CODE): raw for name, raw in files.items() if name.startswith(layout.CODE)}
    content = {name: of_json({"content of": name}) for name in outputs}
    level = {name: "ignore" if name == "log.txt" else "content" for name in outputs}
    parts = identity.Parts(
        workflow=of_json(WORKFLOW),
        code={name: of_bytes(raw) for name, raw in code.items()},
        inputs={name: of_bytes(raw) for name, raw in inputs.items()},
        outputs={name: content[name] for name in outputs if level[name] != "ignore"},
        environment=(identity.Package(name="numpy", version="2.4.6", hashes=("sha256:00ff",)),),
        schemas={"workflow": "1.0"},
        profile="exact-1",
    )
    made = identity.Summary(
        tool="fasthep-archive",
        version="0.1.0",
        language="1.0",
        title="Two muons, µ⁺µ⁻",
        created=CREATED,
        inputs=tuple(
            identity.Input(name=name, datasets=("data",), size=len(raw), sha256=of_bytes(raw))
            for name, raw in inputs.items()
        ),
        outputs=tuple(
            identity.Output(
                name=name,
                kind="histogram",
                stage="Mass",
                size=len(raw),
                sha256=of_bytes(raw),
                content=content[name],
                policy=identity.Judgement(level=level[name]),
            )
            for name, raw in outputs.items()
        ),
        parts=parts,
    )
    return replace(made, **changes)


def crate(files: Mapping[str, bytes]) -> dict[str, object]:
    """Return RO-Crate metadata for these files."""
    described = [
        {"@id": name.replace(" ", "%20"), "@type": "File", "contentSize": str(len(raw)), "sha256": of_bytes(raw)}
        for name, raw in files.items()
    ]
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", {"executedOn": "https://w3id.org/ro/terms/x#executedOn"}],
        "@graph": [
            {"@id": layout.CRATE, "@type": "CreativeWork", "about": {"@id": "./"}},
            {"@id": "./", "@type": "Dataset", "hasPart": [{"@id": item["@id"]} for item in described]},
            {"@id": "https://orcid.org/0000-0002-1825-0097", "@type": "Person"},
            {"@id": "#run", "@type": "CreateAction", "agent": {"@id": "https://orcid.org/0000-0002-1825-0097"}},
            {"@id": layout.OUTPUTS, "@type": "Dataset"},
            *described,
        ],
    }


def sealed(
    files: Mapping[str, bytes],
    *,
    about: identity.Summary | bytes | None = None,
    metadata: object = None,
    fetch: Mapping[str, tuple[str, bytes]] | None = None,
    tags: Mapping[str, bytes] | None = None,
    without: Iterable[str] = (),
) -> dict[str, bytes]:
    """Return all members of a bundle of ``files``, with whatever is given in place of what would be right.

    :param fetch: URL and content of files that the bundle refers to.
    :param tags: other files at the root. :param without: names to leave out before the tag manifest is made.
    """
    away = {name: raw for name, (_, raw) in (fetch or {}).items()}
    about = summary({**files, **away}) if about is None else about
    described = about if isinstance(about, bytes) else identity.bundle_json(about)
    metadata = crate(files) if metadata is None else metadata
    listed = {name: of_bytes(raw) for name, raw in {**files, **away}.items()}
    name = about.identity if isinstance(about, identity.Summary) else "0" * 64
    sizes = [len(raw) for raw in [*files.values(), *away.values()]]
    roots = {
        layout.CRATE: metadata if isinstance(metadata, bytes) else json.dumps(metadata, ensure_ascii=False).encode(),
        layout.README: b"# Two muons\n",
        layout.PROGRAM: program(),
        layout.SUMMARY: described,
        layout.DECLARATION: manifest.DECLARATION_TEXT,
        layout.BAG_INFO: manifest.info_text(sizes, identity=name, agent="fasthep-archive 0.1.0", date="2026-11-22"),
        layout.MANIFEST: manifest.manifest_text(listed),
        **(tags or {}),
    }
    if fetch:
        items = {name: manifest.Reference(url, len(raw)) for name, (url, raw) in fetch.items()}
        roots[layout.FETCH] = manifest.fetch_text(items)
    roots = {name: raw for name, raw in roots.items() if name not in set(without)}
    roots[layout.TAG_MANIFEST] = manifest.manifest_text({name: of_bytes(raw) for name, raw in roots.items()})
    return {**files, **roots}


def sound() -> dict[str, bytes]:
    """Return the members of a sound bundle, by name."""
    return sealed(payload())


# --- zips in which everything can be a lie --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A member of a zip; what is none is what it should be."""

    name: bytes
    data: bytes
    flags: int | None = None
    method: int = 0
    mode: int = stat.S_IFREG | 0o644
    crc: int | None = None
    size: int | None = None
    """Claimed size of the content, here and in ``stored``, the claimed size in the zip."""
    stored: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    at: int | None = None
    """Claimed offset of the local header."""
    local: Mapping[str, int | bytes] = field(default_factory=dict)
    """What the local header says otherwise: ``crc``, ``size``, ``name``."""
    before: bytes = b""
    """Bytes between the member before and this one."""
    hollow: bool = False
    """Whether only the central directory has it."""

    def fields(self) -> tuple[int, int, int, int, int]:
        plain = 0 if self.name.isascii() else 0x800
        flags = plain if self.flags is None else self.flags
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        return flags, self.method, crc, (len(self.data) if self.stored is None else self.stored), size


def entries(members: Mapping[str, bytes]) -> list[Entry]:
    """Return the entries of the canonical zip of these members."""
    names = sorted(members, key=lambda name: (name != layout.CRATE, name))
    return [Entry(name=name.encode(), data=members[name]) for name in names]


def render(items: Iterable[Entry], *, shift: int = 0, comment: bytes = b"", count: int | None = None) -> bytes:
    """Return a zip without ZIP64. ``shift`` is added to all offsets; ``count`` is the claimed number of members."""
    out, central, number = io.BytesIO(), b"", 0
    for item in items:
        number += 1
        flags, method, crc, stored, size = item.fields()
        out.write(item.before)
        at = out.tell() + shift if item.at is None else item.at
        if not item.hollow:
            name = item.local.get("name", item.name)
            facts = (item.local.get("crc", crc), stored, item.local.get("size", size))
            head = (b"PK\3\4", 20, flags, method, 0, 0x21, *facts, len(name), len(item.extra))
            out.write(struct.pack("<4s5H3I2H", *head) + name + item.extra + item.data)
        tail = (len(item.name), len(item.extra), len(item.comment), 0, 0, item.mode << 16, at)
        central += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0x314, 20, flags, method, 0, 0x21, crc, stored, size, *tail)
        central += item.name + item.extra + item.comment
    number = number if count is None else count
    end = (b"PK\5\6", 0, 0, number, number, len(central), out.tell() + shift, len(comment))
    return out.getvalue() + central + struct.pack("<4s4H2IH", *end) + comment


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return the canonical zip of these members."""
    return render(entries(members))


def changed(name: str, **facts: object) -> bytes:
    """Return the sound bundle with lies about one member."""
    items = entries(sound())
    return render(replace(item, **facts) if item.name == name.encode() else item for item in items)


def added(name: bytes | str, data: bytes = b"evil\n", **facts: object) -> bytes:
    """Return the sound bundle with one more entry, at its canonical place; no manifest lists it."""
    raw = name if isinstance(name, bytes) else name.encode()
    items = [*entries(sound()), Entry(name=raw, data=data, **facts)]
    return render(sorted(items, key=lambda item: (item.name != layout.CRATE.encode(), item.name)))


# --- the hostile and the damaged ------------------------------------------------------------------------------------

MASS = layout.OUTPUTS + "histograms/mass.json"
EVENTS = layout.INPUTS + "events.root"
MUONS = layout.INPUTS + "two muons µ.root"


def _compressed(size: int, method: int) -> bytes:
    """Return the sound bundle with a member that another compression of ``size`` zeros makes small."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("zeros", bytes(size))
    info = zipfile.ZipFile(packed).getinfo("zeros")
    data = packed.getvalue()[30 + len("zeros") :][: info.compress_size]
    return added("data/zeros", data, method=method, crc=info.CRC, size=size)


def _many(count: int) -> bytes:
    """Return a zip of ``count`` entries that all claim the same content: a bomb by overlapping and by count."""
    first = Entry(name=b"ro-crate-metadata.json", data=b"0" * 1000)
    return render([first, *(replace(first, name=b"data/%06d" % n, at=0, hollow=True) for n in range(count - 1))])


def _swapped() -> bytes:
    members = sound()
    return zipped({**members, EVENTS: members[MUONS], MUONS: members[EVENTS]})


def _renamed() -> bytes:
    members = sound()
    members["data/inputs/renamed.root"] = members.pop(EVENTS)
    return zipped(members)


def _removed(name: str) -> bytes:
    return zipped({key: raw for key, raw in sound().items() if key != name})


def _zip64(count: int) -> bytes:
    """Return an end of central directory that claims ``count`` members, and nothing else."""
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x32D, 45, 0, 0, count, count, 46 * count, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    return wide + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def _wide() -> bytes:
    """Return the sound bundle with ZIP64 records that it does not need."""
    raw, count = zipped(sound()), len(sound())
    size, offset = struct.unpack_from("<2I", raw, len(raw) - 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x32D, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    return raw[:-22] + wide + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, size, offset, 0)


def _crate(**changes: object) -> bytes:
    """Return a sealed bundle whose metadata has one more entity, or another context."""
    metadata = crate(payload())
    if "entity" in changes:
        metadata["@graph"].append(changes["entity"])
    return zipped(sealed(payload(), metadata={**metadata, **changes.get("top", {})}))


def _summary(text: bytes) -> bytes:
    return zipped(sealed(payload(), about=text))


def _edited(**changes: object) -> bytes:
    """Return a sealed bundle whose ``bundle.json`` was edited."""
    value = json.loads(identity.bundle_json(summary(payload())))
    return _summary(json.dumps({**value, **changes}).encode())


def _crate_text(text: bytes) -> bytes:
    return zipped(sealed(payload(), metadata=text))


def _fetched(url: str) -> bytes:
    files = payload()
    return zipped(sealed({k: v for k, v in files.items() if k != EVENTS}, fetch={EVENTS: (url, files[EVENTS])}))


def _thinned() -> bytes:
    """Return a sealed bundle that claims to include an output that no manifest lists."""
    files = payload()
    about = summary(files)
    del files[MASS]
    return zipped(sealed(files, about=about))


def _outputs(**facts: object) -> list[dict[str, object]]:
    value = json.loads(identity.bundle_json(summary(payload())))
    return [{**value["outputs"][0], **facts}, *value["outputs"][1:]]


def _climbing() -> bytes:
    """Return a sealed bundle with an output, not included, that a careless replay would write elsewhere."""
    about = summary(payload())
    evil = replace(about.outputs[0], name="../../evil", included=False)
    parts = replace(about.parts, outputs={**about.parts.outputs, evil.name: evil.content})
    return zipped(sealed(payload(), about=replace(about, outputs=(*about.outputs, evil), parts=parts)))


_COMPOSED, _DECOMPOSED = "data/\u00e9.txt", "data/e\u0301.txt"


HOSTILE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    # names
    "absolute-name": (lambda: added("/etc/cron.d/evil"), "/etc/cron.d/evil: has an absolute name"),
    "dot-dot": (lambda: added("data/../../evil"), r"data/../../evil: climbs out of the bundle with '..' in its name"),
    "drive-letter": (lambda: added("C:/evil"), "C:/evil: has a drive letter in its name"),
    "backslash": (lambda: added("data\\..\\evil"), "data\\..\\evil: has a backslash in its name"),
    "nul-in-name": (lambda: added("data/a.txt\0.jpg"), r"data/a.txt\x00.jpg: has a control character in its name"),
    "escape-in-name": (lambda: added("data/\x1b[2Jx"), r"data/\x1b[2Jx: has a control character in its name"),
    "hidden-direction": (lambda: added("data/a\u202etxt.exe"), r"data/a\u202etxt.exe: has an invisible character"),
    "not-utf-8-name": (lambda: added(b"data/\xff", flags=0x800), r"data/\xff: has an extra field, or a name that is n"),
    "empty-part": (lambda: added("data//evil"), "data//evil: has an empty part or '.' in its name"),
    "dot-part": (lambda: added("data/./evil"), "data/./evil: has an empty part or '.' in its name"),
    "empty-name": (lambda: added(""), "has no name"),
    "directory": (lambda: added("data/dir/", b""), "data/dir/: is a directory, and a bundle holds files only"),
    "colon": (lambda: added("data/a:stream"), """data/a:stream: has one of < > : " | ? * % in its name"""),
    "trailing-dot": (lambda: added("data/evil."), "data/evil.: has a space before, or a space or dot behind, a part"),
    "long-name": (lambda: added("data/" + "x" * 300), "has a name of more than 1024 bytes, or with a part of more"),
    "shadows-a-module": (lambda: added("json.py"), "json.py: could be imported instead of a module of Python"),
    "outside-data": (lambda: added("json/__init__.py"), "json/__init__.py: lies in a directory outside data/"),
    "duplicate": (lambda: added(EVENTS), f"{EVENTS}: is there twice"),
    "case": (
        lambda: added("data/inputs/EVENTS.root"),
        "events.root: differs from data/inputs/EVENTS.root only in case",
    ),
    "unicode-form": (
        lambda: zipped(sealed({**payload(), _COMPOSED: b"1", _DECOMPOSED: b"2"})),
        f"{_COMPOSED}: differs from {_DECOMPOSED} only in case or in Unicode form",
    ),
    "not-composed": (lambda: added(_DECOMPOSED), "has a name that is not in Unicode's composed form (NFC)"),
    "file-and-directory": (lambda: added("data/inputs"), "events.root: lies in data/inputs, which is a file"),
    # what is no plain file
    "symlink": (lambda: added("data/link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "data/link: is a symbolic link"),
    "device": (lambda: added("data/sda", b"", mode=stat.S_IFBLK | 0o644), "data/sda: is a device"),
    "pipe": (lambda: added("data/fifo", b"", mode=stat.S_IFIFO | 0o644), "data/fifo: is a named pipe"),
    "set-user-id": (
        lambda: added("data/sh", mode=stat.S_IFREG | 0o4755),
        "the field 'external attributes' is 0x89ed0000 and",
    ),
    "encrypted": (lambda: added("data/secret", flags=1), "data/secret: is encrypted"),
    # bombs
    "bomb-by-ratio": (
        lambda: _compressed(64 << 20, zipfile.ZIP_DEFLATED),
        "bytes that claim to become 67108864",
    ),
    "bzip2": (lambda: _compressed(1 << 20, zipfile.ZIP_BZIP2), "data/zeros: is compressed (bzip2)"),
    "unknown-method": (lambda: added("data/x", method=77), "data/x: is compressed (77)"),
    "bomb-by-size": (
        lambda: added("data/zeros", size=0xFFFFFFF0, stored=0xFFFFFFF0),
        "data/zeros: claims 4294967280 bytes at",
    ),
    "inflating-store": (lambda: added("data/x", size=1 << 30), "is stored in 5 bytes, and claims to hold 1073741824"),
    "bomb-by-count": (lambda: _zip64(1 << 40), "file: claims 1099511627776 members, and the limit is 200000"),
    "bomb-by-directory": (lambda: _zip64(150_000), "claims 6900000 bytes at 0, which end behind its end record at 0"),
    "bomb-by-overlap": (lambda: _many(5000), "data/000000: overlaps ro-crate-metadata.json: it is at 0"),
    # structure
    "overlap": (lambda: changed(MUONS, at=0), f"{MUONS}: overlaps {EVENTS}: it is at 0"),
    "gap": (lambda: changed(EVENTS, before=b"hidden"), f"{EVENTS}: 6 bytes between it and {layout.ENGINE}"),
    "data-descriptor": (lambda: changed(EVENTS, flags=8), f"{EVENTS}: has its sizes in a data descriptor"),
    "extra-field": (lambda: changed(EVENTS, extra=b"UT\4\0abcd"), f"{EVENTS}: has an extra field"),
    "member-comment": (lambda: changed(EVENTS, comment=b"hello"), f"{EVENTS}: has a comment"),
    "comment": (lambda: render(entries(sound()), comment=b"hello"), "end of central directory: followed by 5 bytes"),
    "appended": (lambda: zipped(sound()) + b"#!/bin/sh", "end of central directory: followed by 9 bytes"),
    "prepended": (lambda: b"#!/bin/sh\n" + zipped(sound()), "file: 10 bytes prepended to the zip"),
    "prepended-and-shifted": (
        lambda: b"#!/bin/sh\n" + render(entries(sound()), shift=10),
        "ro-crate-metadata.json: 10 bytes prepended to the zip",
    ),
    "other-order": (lambda: render(reversed(entries(sound()))), "the members are not in canonical order"),
    "truncated": (lambda: zipped(sound())[:3000], "end of central directory: is not there: the file is truncated"),
    "truncated-by-one": (
        lambda: zipped(sound())[:-1],
        "end of central directory: ends 1 byte early: the file is truncated",
    ),
    "empty": (lambda: b"", "file: 0 bytes is too little for a zip"),
    "text": (lambda: b"version: '1.0'\n" * 10, "is not there: the file is truncated or damaged, or not a zip"),
    "zip64-announced": (
        lambda: zipped(sound())[:-12] + b"\xff\xff" + zipped(sound())[-10:],
        "end of central directory: announces ZIP64 records that are not there",
    ),
    "zip64-without-need": (_wide, "end of central directory: has ZIP64 records without need"),
    "wrong-size": (lambda: changed(EVENTS, size=4999, stored=4999), f"{MUONS}: 1 byte between it and {EVENTS}"),
    "wrong-count": (lambda: render(entries(sound()), count=3), "bytes behind the last of its 3 entries"),
    "wrong-crc": (
        lambda: changed(EVENTS, crc=0),
        f"{EVENTS}: has the CRC-32 {zlib.crc32(noise(5000, 'events')):08x}, and",
    ),
    "two-names": (
        lambda: changed(EVENTS, local={"name": b"data/inputs/evilxx.root"}),
        f"local header of {EVENTS}: its name",
    ),
    "two-sizes": (
        lambda: changed(EVENTS, local={"size": 1}),
        f"local header of {EVENTS}: the field 'size' is 0x1 and must be",
    ),
    # members and manifests
    "unlisted": (lambda: added("data/evil"), "data/evil: is not listed in manifest-sha256.txt"),
    "unlisted-tag": (lambda: added("evil.txt"), "evil.txt: is not listed in tagmanifest-sha256.txt"),
    "missing": (lambda: _removed(MASS), f"{MASS}: is missing, and manifest-sha256.txt lists it"),
    "missing-tag": (lambda: _removed(layout.README), "README.md: is missing, and tagmanifest-sha256.txt lists it"),
    "without-program": (
        lambda: zipped(sealed(payload(), without=["__main__.py"])),
        "__main__.py: is missing, and every",
    ),
    "renamed": (_renamed, f"renamed.root: is not listed in manifest-sha256.txt; it has the content of {EVENTS}"),
    "swapped": (_swapped, f"it has the content of {MUONS}"),
    "changed": (lambda: zipped({**sound(), MASS: b"{}"}), f"{MASS}: has the SHA-256 {of_bytes(b'{}')}, and manifest"),
    "other-declaration": (
        lambda: zipped({**sound(), "bagit.txt": b"BagIt-Version: 0.97\n"}),
        "it does not declare BagIt 1",
    ),
    "wrong-oxum": (
        lambda: zipped(sealed(payload(), tags={layout.BAG_INFO: b"Payload-Oxum: 1.1\n"})),
        "states the Payload-Oxum 1.1, and the payload has 5",
    ),
    "manifest-of-uppercase": (
        lambda: zipped(sealed(payload(), tags={layout.MANIFEST: b"A" * 64 + b"  data/x\n"})),
        "line 1 is not a SHA-256, two spaces and the name of a member",
    ),
    "manifest-that-climbs": (
        lambda: zipped(sealed(payload(), tags={layout.MANIFEST: b"0" * 64 + b"  ../../etc/passwd\n"})),
        "line 1 is not a SHA-256, two spaces and the name of a member",
    ),
    "fetch-from-here": (
        lambda: _fetched("file:///etc/passwd"),
        "fetch.txt: is not as BagIt has it: line 1 is not a URL",
    ),
    "fetch-of-the-unlisted": (
        lambda: zipped(sealed(payload(), tags={layout.FETCH: b"https://cern.ch/x 1 data/x\n"})),
        "fetch.txt: names data/x, which manifest-sha256.txt does not list",
    ),
    "bag-info-of-prose": (
        lambda: zipped(sealed(payload(), tags={layout.BAG_INFO: b"Hello\n"})),
        "bag-info.txt: is not as BagIt has it: line 1 is not 'Label: value'",
    ),
    # JSON
    "duplicate-key": (lambda: _summary(b'{"format": 1, "format": 2}'), "it has the key 'format' twice in one object"),
    "deep-json": (lambda: _crate_text(b"[" * 100_000 + b"]" * 100_000), "it is nested more than 64 deep"),
    "wide-json": (lambda: _crate_text(b"[" + b"0," * 1_000_001 + b"0]"), "it has more than 1000000 values"),
    "long-number": (lambda: _crate_text(b"9" * 100_000), "it has a number of 100000 digits"),
    "nan": (lambda: _crate_text(b'{"@graph": NaN}'), "NaN is not a finite number"),
    "infinity": (lambda: _crate_text(b"[1e999]"), "1e999 is not a finite number"),
    "lone-surrogate": (lambda: _crate_text(b'["\\ud800"]'), "is not strict JSON: 'utf-8' codec can't encode"),
    "byte-order-mark": (lambda: _crate_text(b"\xef\xbb\xbf{}"), "ro-crate-metadata.json: is not strict JSON"),
    "latin-1": (lambda: _crate_text('{"é": 1}'.encode("latin-1")), "ro-crate-metadata.json: is not strict JSON"),
    # RO-Crate
    "file-id": (
        lambda: _crate(entity={"@id": "file:///etc/passwd", "@type": "File"}),
        "has the id file:///etc/passwd, and ids with 'file:' are refused",
    ),
    "absolute-id": (
        lambda: _crate(entity={"@id": "/etc/passwd", "@type": "File"}),
        "has the id /etc/passwd, which has an absolute name",
    ),
    "climbing-id": (
        lambda: _crate(entity={"@id": "data/../../../etc/passwd", "@type": "File"}),
        "has the id data/../../../etc/passwd, which climbs out of the bundle",
    ),
    "encoded-id": (
        lambda: _crate(entity={"@id": "data/%2e%2e/%2e%2e/etc/passwd", "@type": "File"}),
        "has the id data/%2e%2e/%2e%2e/etc/passwd, which climbs out of the bundle",
    ),
    "twice-encoded-id": (
        lambda: _crate(entity={"@id": "data/%252e%252e/x", "@type": "File"}),
        """has the id data/%252e%252e/x, which has one of < > : " | ? * % in its name""",
    ),
    "id-of-no-member": (
        lambda: _crate(entity={"@id": "data/absent.txt", "@type": "File"}),
        "describes data/absent.txt, and the bundle has no such file",
    ),
    "climbing-reference": (
        lambda: _crate(entity={"@id": "#x", "@type": "Thing", "image": {"@id": "../../secret.png"}}),
        "has the id ../../secret.png, which climbs out of the bundle",
    ),
    "dangling-reference": (
        lambda: _crate(entity={"@id": "#x", "@type": "Thing", "agent": [{"@id": "#nobody"}]}),
        "refers to #nobody, and does not describe it",
    ),
    "duplicate-id": (lambda: _crate(entity={"@id": "./", "@type": "Dataset"}), "describes ./ twice"),
    "number-as-id": (lambda: _crate(entity={"@id": 7, "@type": "File"}), "has an entity without an @id"),
    "foreign-context": (
        lambda: _crate(top={"@context": "http://169.254.169.254/latest/meta-data"}),
        'has the @context "http://169.254.169.254/latest/meta-data", which is not one of',
    ),
    "other-base": (
        lambda: _crate(top={"@context": [{"@base": "https://evil.example/"}]}),
        'has "@base": "https://evil.example/" in its @context, which is not a term and its address',
    ),
    "wrong-sha256-in-crate": (
        lambda: _crate(entity={"@id": "README.md", "@type": "File", "sha256": "0" * 64}),
        f"says that the sha256 of README.md is {'0' * 64}, and it is",
    ),
    "wrong-size-in-crate": (
        lambda: _crate(entity={"@id": "README.md", "@type": "File", "contentSize": "1"}),
        "says that the contentSize of README.md is 1, and it is 12",
    ),
    "no-graph": (lambda: _crate_text(b"[]"), "is not an object of a @context and a @graph that is a list"),
    "no-root": (
        lambda: _crate(top={"@graph": [{"@id": layout.CRATE, "@type": "CreativeWork"}]}),
        "ro-crate-metadata.json: does not describe ./",
    ),
    "id-of-other-bytes": (
        lambda: _crate(entity={"@id": "data/%ff", "@type": "File"}),
        "which is not percent-encoded UTF-8",
    ),
    # bundle.json
    "newer-format": (
        lambda: _edited(format=2),
        "has format 2, and formats up to 1 are known here: use a newer fasthep",
    ),
    "no-such-format": (lambda: _edited(format=0), "has format 0, which never was one"),
    "other-identity": (lambda: _edited(identity="0" * 64), f"states the identity {'0' * 64}, and its parts have"),
    "unknown-key": (lambda: _edited(extra=1), "bundle.json: has the unknown key extra"),
    "other-type": (lambda: _edited(title=7), "bundle.json: has 7 for title, which is not of type str"),
    "other-profile": (lambda: _edited(profile="fast-1"), "states the profile fast-1, and its parts exact-1"),
    "output-twice": (
        lambda: _edited(outputs=[*_outputs(), _outputs()[0]]),
        "bundle.json: lists one of its outputs twice",
    ),
    "no-time": (lambda: _edited(created="2026-13-01T00:00:00+00:00"), "states a time of creation that is none"),
    "other-output-digest": (
        lambda: _edited(outputs=_outputs(content="0" * 64)),
        f"for histograms/mass.json in parts.outputs, and {'0' * 64} in outputs",
    ),
    "other-output-bytes": (
        lambda: _edited(outputs=_outputs(sha256="0" * 64)),
        f"says that {MASS} has the SHA-256 {'0' * 64}, and manifest-sha256.txt says",
    ),
    "other-output-size": (lambda: _edited(outputs=_outputs(size=1)), f"says that {MASS} has 1 byte, and it has 23"),
    "climbing-output": (_climbing, "lists data/outputs/../../evil among its outputs, which climbs out of the bundle"),
    "claims-to-include": (_thinned, f"says that {MASS} is included, and manifest-sha256.txt does not list it"),
    "other-workflow": (
        lambda: zipped(sealed({**payload(), layout.RESOLVED: b"{}"})),
        f"{layout.RESOLVED}: has the digest {of_json({})}, and bundle.json has another one",
    ),
    "unknown-code": (
        lambda: zipped(sealed({**payload(), layout.CODE + "evil.py": b""}, about=summary(payload()))),
        "has the digest None for evil.py in parts.code",
    ),
}
"""By name: how it is made, and what the message says, among other things."""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sound.crate.zip").write_bytes(zipped(sound()))
    for title, (make, _) in HOSTILE.items():
        (directory / f"{title}.crate.zip").write_bytes(make())
