"""The container: one canonical form, written in one pass, read by everybody's tools."""

import hashlib
import io
import os
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import bagit
import pytest
from hostile import make
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive.bundle import form, layout, manifest, source
from fasthep_archive.bundle.container import Member, Written, needs_sidecar, write
from fasthep_archive.bundle.program import program
from fasthep_archive.bundle.verifier import verify
from fasthep_archive.context import NoProgress
from fasthep_archive.digest import Digest, of_bytes
from fasthep_archive.errors import DataError, UsageError

NAMES = st.lists(st.text("abµ.", min_size=1, max_size=6), max_size=8, unique_by=str.casefold).map(
    lambda names: [f"data/{name}x" for name in names]
)


def packed(members: Mapping[str, bytes], path: Path) -> bytes:
    """Return the bytes of a zip of these members."""
    write([Member(name=name, source=raw) for name, raw in members.items()], path, progress=NoProgress())
    return path.read_bytes()


def by_zipfile(members: Mapping[str, bytes]) -> bytes:
    """Return what CPython's own writer makes of the canonical form."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(members, key=lambda name: (name != layout.CRATE, name)):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, members[name])
    return file.getvalue()


# --- the form -------------------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_another_implementation(tmp_path: Path) -> None:
    assert packed(make.sound(), tmp_path / "b.zip") == make.zipped(make.sound())


@settings(max_examples=25)
@given(names=NAMES, data=st.binary(max_size=50))
def test_the_bytes_are_those_of_zipfile(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bytes
) -> None:
    members = {layout.CRATE: data, **{name: data * index for index, name in enumerate(names)}}
    assert packed(members, tmp_path_factory.mktemp("zip") / "b.zip") == by_zipfile(members)


def test_what_was_written_is_sound(tmp_path: Path) -> None:
    packed(make.sound(), tmp_path / "b.zip")
    assert verify(tmp_path / "b.zip").problems == ()


def test_order_and_times_of_files_do_not_matter(tmp_path: Path) -> None:
    members = make.sound()
    (tmp_path / "files").mkdir()
    as_files = []
    for index, (name, raw) in enumerate(reversed(members.items())):
        path = tmp_path / "files" / str(index)
        path.write_bytes(raw)
        path.chmod(0o600 + index)
        os.utime(path, (index, index))
        as_files.append(Member(name=name, source=path, sha256=of_bytes(raw)))
    write(as_files, tmp_path / "files.zip", progress=NoProgress())
    assert (tmp_path / "files.zip").read_bytes() == packed(members, tmp_path / "bytes.zip")


def test_the_crate_is_first_and_the_rest_by_code_point(tmp_path: Path) -> None:
    packed({"b": b"", "ro-crate-metadata.json": b"", "Z": b"", "data/µ": b"", "data/z": b""}, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.namelist() == ["ro-crate-metadata.json", "Z", "b", "data/z", "data/µ"]


def test_contents_can_be_found_by_offset(tmp_path: Path) -> None:
    members = make.sound()
    written = write(
        [Member(name=name, source=raw) for name, raw in members.items()], tmp_path / "b.zip", progress=NoProgress()
    )
    raw = (tmp_path / "b.zip").read_bytes()
    for item in written:
        assert raw[item.offset : item.offset + item.size] == members[item.name]
        assert item.sha256 == of_bytes(members[item.name])


@pytest.mark.parametrize(
    ("size", "header"), [(2**32 - 2, 5), (2**32 - 1, 5), (2**32, 5), (5, 2**32 - 1), (2**33, 2**40)]
)
def test_large_members_have_the_headers_of_zipfile(size: int, header: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2**32 - 2)  # zipfile begins at 2 GiB, for readers with signed sizes
    info = zipfile.ZipInfo("data/large.root", (1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o100644 << 16
    info.file_size = info.compress_size = size
    info.CRC, info.header_offset = 0x12345678, header
    archive = zipfile.ZipFile(file := io.BytesIO(), "w")
    local = info.FileHeader()
    archive.filelist.append(info)
    archive.start_dir, archive._didModify = 0, True
    archive.close()
    member = form.Member("data/large.root", size, 0x12345678, header)
    assert form.local_header(member) == local
    central = form.central_header(member)
    assert file.getvalue().startswith(central)
    fields = form.CENTRAL.unpack(central)
    assert fields is not None
    assert form.parsed_entry(member.name, fields, central[46 + len(member.name) :]) == member


@pytest.mark.parametrize(
    ("count", "size", "offset"), [(65535, 2**22, 2**22), (3, 2**22, 2**32 - 1), (70000, 2**22, 2**33)]
)
def test_zip64_end_records_say_what_they_should(count: int, size: int, offset: int) -> None:
    records = form.end_records(count, size, offset)
    wide = struct.unpack_from("<4sQ2H2L4Q", records)
    assert wide == (b"PK\6\6", 44, 0x32D, 45, 0, 0, count, count, size, offset)
    assert struct.unpack_from("<4sLQL", records, 56) == (b"PK\6\7", 0, offset + size, 1)
    narrow = (min(count, 65535), min(count, 65535), size, min(offset, 2**32 - 1))
    assert struct.unpack_from("<4s4H2LH", records, 76) == (b"PK\5\6", 0, 0, *narrow, 0)


@pytest.mark.slow
def test_a_bundle_of_very_many_members_is_sound_and_readable(tmp_path: Path) -> None:
    count = 66_000
    files = {**make.payload(), **{f"data/record/{n:05}": b"" for n in range(count)}}
    members = make.sealed(files, metadata=make.crate(make.payload()))
    raw = packed(members, tmp_path / "b.crate.zip")
    assert raw[-22 + 8 : -22 + 12] == b"\xff\xff\xff\xff"
    with zipfile.ZipFile(tmp_path / "b.crate.zip") as archive:
        assert len(archive.namelist()) == len(members)
    assert verify(tmp_path / "b.crate.zip").problems == ()


# --- other programs -------------------------------------------------------------------------------------------------


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Return the directory that a sound bundle was unpacked to."""
    packed(make.sound(), tmp_path / "b.crate.zip")
    with zipfile.ZipFile(tmp_path / "b.crate.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_zipfile_reads_it(tmp_path: Path) -> None:
    packed(make.sound(), tmp_path / "b.crate.zip")
    with zipfile.ZipFile(tmp_path / "b.crate.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == make.sound()


@pytest.mark.parametrize("command", [["unzip", "-t"], ["bsdtar", "-tf"], ["7z", "t"], ["zip", "-T"]])
def test_other_programs_read_it(tmp_path: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    packed(make.sound(), tmp_path / "b.crate.zip")
    result = subprocess.run([*command, tmp_path / "b.crate.zip"], capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["manifest-sha256.txt", "tagmanifest-sha256.txt"])
def test_sha256sum_checks_the_manifests(unpacked: Path, name: str) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    result = subprocess.run(["sha256sum", "--strict", "-c", name], cwd=unpacked, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_is_a_valid_bag(unpacked: Path) -> None:
    assert bagit.Bag(str(unpacked)).validate()


def test_the_bag_of_a_thin_bundle_is_valid_once_its_files_are_there(tmp_path: Path) -> None:
    files = make.payload()
    fetch = {make.EVENTS: ("https://opendata.cern.ch/events.root", files.pop(make.EVENTS))}
    for name, raw in {**make.sealed(files, fetch=fetch), make.EVENTS: make.payload()[make.EVENTS]}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    bag = bagit.Bag(str(tmp_path))
    assert bag.validate()
    assert list(bag.fetch_entries()) == [("https://opendata.cern.ch/events.root", "5000", make.EVENTS)]


# --- writing --------------------------------------------------------------------------------------------------------


class Shown(NoProgress):
    """Remembers progress."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def start(self, what: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, amount: int) -> None:
        self.done += amount


def test_large_files_are_copied_and_measured(tmp_path: Path) -> None:
    raw = make.noise(3 * source.BLOCK + 17)
    (tmp_path / "large").write_bytes(raw)
    shown = Shown()
    members = [Member(name="data/large", source=tmp_path / "large", sha256=Digest(hashlib.sha256(raw).hexdigest()))]
    (written,) = write(members, tmp_path / "b.zip", progress=shown)
    assert (written.size, written.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert shown.done == shown.total == len(raw)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read("data/large") == raw


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"muons")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (written,) = write([Member(name="data/x", source=tmp_path / "link")], tmp_path / "b.zip", progress=NoProgress())
    assert written.sha256 == of_bytes(b"muons")


def left(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


def test_a_file_with_another_digest_stops_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"muons")
    members = [Member(name="data/x", source=tmp_path / "file", sha256=of_bytes(b"electrons"))]
    with pytest.raises(DataError, match=r"file changed while it was packed: its SHA-256 is .*, and was ") as caught:
        write(members, tmp_path / "b.zip", progress=NoProgress())
    assert caught.value.hint == "pack again when nothing writes to it"
    assert left(tmp_path) == {"file"}


@pytest.mark.parametrize(("content", "message"), [(b"xy", "is shorter now"), (b"x" * 3_000_000, "is longer now")])
def test_a_file_that_changes_its_size_stops_it(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2_500_000)

    class Meddler(NoProgress):
        def start(self, what: str, total: int, unit: str) -> None:
            (tmp_path / "file").write_bytes(content)

    with pytest.raises(DataError, match=message):
        write([Member(name="data/x", source=tmp_path / "file")], tmp_path / "b.zip", progress=Meddler())
    assert left(tmp_path) == {"file"}


def test_an_interruption_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"before")

    class Impatient(NoProgress):
        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write([Member(name="data/x", source=b"x")], tmp_path / "b.zip", progress=Impatient())
    assert left(tmp_path) == {"b.zip"}
    assert (tmp_path / "b.zip").read_bytes() == b"before"


def test_an_earlier_bundle_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"before")
    assert packed({"data/x": b"x"}, tmp_path / "b.zip").startswith(b"PK")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "climbs out of the bundle"),
        ("data/a:b", "has one of < > :"),
        ("data/e\u0301", "not in Unicode's composed form"),
        ("tools/x", "lies in a directory outside data/"),
        ("", "has no name"),
    ],
)
def test_wrong_names_are_not_written(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        write([Member(name=name, source=b"")], tmp_path / "b.zip", progress=NoProgress())
    assert caught.value.hint == "rename the files"
    assert left(tmp_path) == set()


def test_a_name_is_not_written_twice(tmp_path: Path) -> None:
    twice = [Member(name="data/x", source=b"1"), Member(name="data/X", source=b"2")]
    with pytest.raises(UsageError, match="data/X: differs from data/x only in case"):
        write(twice, tmp_path / "b.zip", progress=NoProgress())


def test_more_files_than_the_verifier_takes_are_not_written(tmp_path: Path) -> None:
    many = [Member(name="data/x", source=b"")] * (form.LIMITS.members + 1)
    with pytest.raises(UsageError, match="200001 files are more than a bundle holds, 200000"):
        write(many, tmp_path / "b.zip", progress=NoProgress())


@pytest.mark.parametrize("make_source", [lambda path: path / "absent", lambda path: path])
def test_what_is_no_file_is_not_written(tmp_path: Path, make_source: object) -> None:
    with pytest.raises(DataError, match="can't be packed: "):
        write([Member(name="data/x", source=make_source(tmp_path))], tmp_path / "b.zip", progress=NoProgress())


def test_a_directory_that_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.zip can't be written: No such file or directory"):
        write([Member(name="data/x", source=b"")], tmp_path / "absent" / "b.zip", progress=NoProgress())


def test_a_full_disk_is_an_error_of_the_user() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(UsageError, match="can't be written"):
        write([Member(name="data/x", source=b"")], Path("/dev/full/b.zip"), progress=NoProgress())


def test_a_disk_that_fills_up_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 * source.BLOCK))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (source.BLOCK, before[1]))
    try:
        with pytest.raises(UsageError, match=r"b\.zip can't be written: File too large"):
            write([Member(name="data/x", source=tmp_path / "large")], tmp_path / "b.zip", progress=NoProgress())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(tmp_path) == {"large"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="/proc/self/mem can't be packed: "):
        write([Member(name="data/x", source=Path("/proc/self/mem"))], tmp_path / "b.zip", progress=NoProgress())
    assert left(tmp_path) == set()


# --- bundles that Python can't run ----------------------------------------------------------------------------------


def test_a_small_bundle_runs_itself() -> None:
    assert not needs_sidecar([Written(name="data/x", size=2**31, sha256=Digest(""), offset=100)])


@pytest.mark.parametrize(
    "written",
    [
        [Written(name="data/x", size=2**32, sha256=Digest(""), offset=100)],
        [Written(name=f"data/{n}", size=0, sha256=Digest(""), offset=0) for n in range(65535)],
    ],
)
def test_a_bundle_with_zip64_records_needs_the_program_beside_it(written: list[Written]) -> None:
    assert needs_sidecar(written)


def test_python_runs_the_most_members_that_need_no_program_beside(tmp_path: Path) -> None:
    files = {f"data/{n:05}": b"" for n in range(65533)}
    raw = packed({**files, layout.PROGRAM: b"print('runs')\n"}, tmp_path / "b.zip")
    assert raw[-22 + 8 : -22 + 12] == struct.pack("<HH", 65534, 65534)
    result = subprocess.run([sys.executable, "-I", tmp_path / "b.zip"], capture_output=True, check=False)
    assert result.stdout == b"runs\n"


# --- manifests ------------------------------------------------------------------------------------------------------

DIGESTS = st.dictionaries(
    st.text("abcµ .-_/", min_size=1).map("data/x{}x".format).filter(lambda name: form.name_fault(name) is None),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(DIGESTS)
def test_manifests_are_read_as_they_were_written(digests: dict[str, str]) -> None:
    assert manifest.parse_manifest(manifest.manifest_text(digests)) == digests


@given(st.dictionaries(st.sampled_from(["data/a", "data/b c", "data/µ"]), st.integers(0, 2**63)))
def test_references_are_read_as_they_were_written(sizes: dict[str, int]) -> None:
    references = {name: manifest.Reference("root://eos//x", size) for name, size in sizes.items()}
    assert manifest.parse_fetch(manifest.fetch_text(references)) == references


@pytest.mark.parametrize(
    "raw",
    [
        b"0" * 64 + b"  data/x",
        b"0" * 64 + b" *data/x\n",
        b"0" * 64 + b"  data/x\r\n",
        b"0" * 63 + b"  data/x\n",
        (b"0" * 64 + b"  data/x\n") * 2,
        b"0" * 64 + b"  data/y\n" + b"0" * 64 + b"  data/x\n",
        b"\n",
        b"\xff\n",
    ],
)
def test_other_manifests_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"line|byte"):
        manifest.parse_manifest(raw)


def test_bag_info_says_who_when_and_how_much() -> None:
    raw = manifest.info_text([3, 4], identity="ab" * 32, agent="fasthep-archive 0.1.0", date="2026-11-22")
    assert manifest.parse_info(raw) == {
        "Bag-Software-Agent": "fasthep-archive 0.1.0",
        "Bagging-Date": "2026-11-22",
        "External-Identifier": manifest.identifier("ab" * 32),
        "Internal-Sender-Identifier": f"sha256:{'ab' * 32}",
        "Payload-Oxum": "7.2",
    }


def test_the_program_is_one_of_the_members_of_the_sound_bundle() -> None:
    assert make.sound()[layout.PROGRAM] == program()
