"""The verifier: what it finds, what it says, and that it runs from inside a bundle with Python alone."""

import ast
import json
import os
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import make
from hypothesis import given
from hypothesis import strategies as st
from pythons import pythons

from fasthep_archive import digest
from fasthep_archive.bundle import command, form, layout, program, source, verifier
from fasthep_archive.bundle.strictjson import canonical_json, strict_json
from fasthep_archive.bundle.verifier import verify

EVENTS, MASS = make.EVENTS, make.MASS


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a sound bundle."""
    path = tmp_path / "muons.crate.zip"
    path.write_bytes(make.zipped(make.sound()))
    return path


def messages(path: Path) -> str:
    return "\n".join(map(str, verify(path).problems))


def test_a_sound_bundle_has_no_problems(bundle: Path) -> None:
    found = verify(bundle)
    assert found.problems == ()
    assert found.sound
    assert found.summary["title"] == "Two muons, µ⁺µ⁻"
    assert found.size == sum(map(len, make.sound().values()))


def test_an_unpacked_bundle_is_sound_too(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert messages(tmp_path / "unpacked") == ""


# --- every byte counts ----------------------------------------------------------------------------------------------


def small() -> dict[str, bytes]:
    """Return the members of as small a sound bundle as there is."""
    files = {name: raw for name, raw in make.payload().items() if name in (layout.RESOLVED, make.MUONS, MASS)}
    members = make.sealed(files, tags={layout.PROGRAM: b"", layout.README: b"#\n"})
    assert layout.FETCH not in members
    return members


def regions(raw: bytes) -> Iterator[tuple[int, set[str], bool]]:
    """Yield each byte's offset, the places that a message may name for it, and whether it is a member's content."""
    with zipfile.ZipFile(__import__("io").BytesIO(raw)) as archive:
        at = 0
        for info in archive.infolist():
            content = info.header_offset + 30 + len(info.filename.encode())
            for offset in range(info.header_offset, content + info.file_size):
                yield offset, {info.filename}, offset >= content
            at = content + info.file_size
        for offset in range(at, archive.start_dir + sum(46 + len(i.filename.encode()) for i in archive.infolist())):
            yield offset, {"central directory", *archive.namelist()}, False
        for offset in range(len(raw) - 22, len(raw)):
            yield offset, {"end of central directory", "central directory", "file"}, False


def test_one_changed_bit_anywhere_is_found_and_its_place_named(tmp_path: Path) -> None:
    path = tmp_path / "small.crate.zip"
    path.write_bytes(make.zipped(small()))
    assert messages(path) == ""
    raw = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for offset, places, is_content in regions(raw):
            if is_content and offset % 23:  # contents are alike: SHA-256 and CRC see all of them
                continue
            os.pwrite(file.fileno(), bytes([raw[offset] ^ 1 << offset % 8]), offset)
            problems = messages(path)
            assert any(place in problems for place in places), (offset, places, problems)
            os.pwrite(file.fileno(), raw[offset : offset + 1], offset)
    assert messages(path) == ""


def test_a_changed_bit_in_a_large_file_is_found(tmp_path: Path) -> None:
    files = {**make.payload(), layout.INPUTS + "large.root": bytes(3 * source.BLOCK + 1)}
    raw = bytearray(make.zipped(make.sealed(files)))
    path = tmp_path / "large.crate.zip"
    start = raw.rindex(b"PK\3\4", 0, raw.rindex(bytes(1000))) + 30 + len("data/inputs/large.root")
    for offset in (start, start + source.BLOCK, start + 3 * source.BLOCK):
        raw[offset] ^= 0x10
        path.write_bytes(raw)
        raw[offset] ^= 0x10
        assert "data/inputs/large.root: has the CRC-32" in messages(path)


def test_a_platform_without_preadv_finds_the_same(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    assert messages(bundle) == ""
    bundle.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    assert f"{MASS}: has the SHA-256" in messages(bundle)


def test_a_file_that_shrinks_while_it_is_verified_is_a_problem(tmp_path: Path) -> None:
    files = {**make.payload(), layout.INPUTS + "large.root": bytes(3 * source.BLOCK)}
    for name, raw in make.sealed(files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    package = source.opened(tmp_path)
    os.truncate(tmp_path / layout.INPUTS / "large.root", source.BLOCK)
    found = verifier.examine(package, payload=True, progress=lambda _: None, limits=form.LIMITS, workers=1)
    assert "large.root: can't be read: the file ended while it was read" in "\n".join(map(str, found.problems))


def test_directories_that_are_nested_too_deep_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 70)).mkdir(parents=True)
    assert "is nested too deep" in messages(tmp_path)


def test_too_many_files_in_a_directory_are_a_problem(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    problems = verify(tmp_path / "unpacked", limits=form.Limits(members=5)).problems
    assert str(problems[0]) == "directory: holds more than 5 files, the limit"


def test_an_interruption_does_not_wait_for_large_files(tmp_path: Path) -> None:
    files = {**make.payload(), **{f"{layout.INPUTS}{n}.root": bytes(4 * source.BLOCK) for n in range(4)}}
    path = tmp_path / "large.crate.zip"
    path.write_bytes(make.zipped(make.sealed(files)))
    package = source.opened(path)
    count = 0

    def progress(size: int) -> None:
        nonlocal count
        count += size

    found = source.measure_all(package, package.members.values(), 1, progress)
    next(found)
    found.close()
    package.close()
    assert count < 8 * source.BLOCK


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.crate.zip"
    members = make.sound()
    path.write_bytes(make.zipped({**members, MASS: b"{}", EVENTS: b"", "data/new": b"", layout.README: b"."}))
    found = messages(path)
    assert all(f"{name}: " in found for name in (MASS, EVENTS, "data/new", layout.README))


def test_many_problems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.crate.zip"
    path.write_bytes(make.zipped({**make.sound(), **{f"data/{n}": b"" for n in range(150)}}))
    problems = verify(path).problems
    assert len(problems) == verifier.MANY + 1
    assert str(problems[-1]) == "file: 51 more problems"


def test_a_directory_with_a_symbolic_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked" / EVENTS).unlink()
    (tmp_path / "unpacked" / EVENTS).symlink_to(bundle)
    assert f"{EVENTS}: is a symbolic link" in messages(tmp_path / "unpacked")


def test_a_link_to_a_directory_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked" / "data" / "more").symlink_to("/")
    assert "data/more: is a symbolic link" in messages(tmp_path / "unpacked")


def test_a_pipe_in_a_directory_does_not_block(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    os.mkfifo(tmp_path / "unpacked" / "data" / "pipe")
    assert "data/pipe: is a named pipe" in messages(tmp_path / "unpacked")


def test_a_directory_of_any_files_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "bundle.json: is missing, and every bundle has it" in messages(tmp_path)


def test_an_empty_directory_is_no_bundle(tmp_path: Path) -> None:
    assert "bundle.json: is missing, and every bundle has it" in messages(tmp_path)


def test_a_limit_on_members_is_the_callers(bundle: Path) -> None:
    problems = verify(bundle, limits=form.Limits(members=5)).problems
    assert [str(problem) for problem in problems] == ["file: claims 18 members, and the limit is 5"]


def test_a_limit_on_metadata_holds_for_each_parsed_file(bundle: Path) -> None:
    problems = verify(bundle, limits=form.Limits(metadata=1500)).problems
    assert "ro-crate-metadata.json: has 2" in "\n".join(map(str, problems))


# --- thin bundles ---------------------------------------------------------------------------------------------------


def test_what_can_be_fetched_may_be_absent(tmp_path: Path) -> None:
    files = make.payload()
    fetch = {EVENTS: ("root://eospublic.cern.ch//eos/events.root", files.pop(EVENTS))}
    path = tmp_path / "thin.crate.zip"
    path.write_bytes(make.zipped(make.sealed(files, fetch=fetch)))
    found = verify(path)
    assert found.problems == ()
    assert found.referenced == (EVENTS,)


def test_what_was_fetched_is_verified(tmp_path: Path) -> None:
    files = make.payload()
    fetch = {EVENTS: ("https://opendata.cern.ch/events.root", files.pop(EVENTS))}
    members = make.sealed(files, fetch=fetch)
    for name, raw in {**members, EVENTS: b"something else"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    assert f"{EVENTS}: has 14 bytes, and fetch.txt says 5000" in messages(tmp_path)
    (tmp_path / EVENTS).write_bytes(make.payload()[EVENTS])
    assert messages(tmp_path) == ""


def test_an_output_may_be_known_by_its_digest_alone(tmp_path: Path) -> None:
    files = make.payload()
    about = make.summary(files)
    del files[MASS]
    outputs = tuple(make.replace(item, included=layout.output(item.name) in files) for item in about.outputs)
    path = tmp_path / "thin.crate.zip"
    path.write_bytes(make.zipped(make.sealed(files, about=make.replace(about, outputs=outputs))))
    assert messages(path) == ""


# --- JSON -----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_canonical_text_is_that_of_the_package(value: digest.JSON) -> None:
    assert canonical_json(value) == digest.canonical(value).encode()


@given(VALUES)
def test_strict_json_reads_what_json_writes(value: digest.JSON) -> None:
    assert strict_json(json.dumps(value).encode()) == value
    assert canonical_json(strict_json(json.dumps(value, indent=1).encode())) == canonical_json(value)


def test_pairs_of_surrogates_are_characters() -> None:
    assert strict_json(rb'"\ud83d\ude00"') == "\U0001f600"


def test_brackets_in_strings_do_not_count_as_nesting() -> None:
    assert strict_json(json.dumps(["[" * 1000 + '"\\' + "{" * 1000]).encode())


# --- the program in the bundle --------------------------------------------------------------------------------------


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8")


def test_a_bundle_verifies_itself_from_anywhere(bundle: Path) -> None:
    result = run(bundle, cwd=Path("/"))
    assert (result.returncode, result.stderr) == (0, "")
    identity = make.summary(make.payload()).identity
    assert result.stdout == f"{bundle}: sound, 18 files of {verify(bundle).size} bytes; identity {identity}\n"


def test_an_unpacked_bundle_verifies_itself(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert run("unpacked", cwd=tmp_path).returncode == 0
    assert run("unpacked/__main__.py", cwd=tmp_path).returncode == 0
    assert messages(tmp_path / "unpacked") == ""  # and leaves nothing behind


def test_the_program_beside_a_bundle_verifies_it(bundle: Path) -> None:
    beside = layout.sidecar(bundle)
    beside.write_bytes(program.program())
    result = run(beside.name, cwd=bundle.parent)
    assert (result.returncode, result.stdout.split(":")[0]) == (0, str(bundle))


def test_the_program_verifies_another_bundle(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.crate.zip"
    other.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    result = run(bundle, "verify", other, cwd=tmp_path)
    assert result.returncode == 4
    assert result.stdout.startswith(f"{other}: damaged, ")
    assert f"{MASS}: has the SHA-256" in result.stderr
    assert "hint: get the bundle again" in result.stderr


def test_damage_is_found_by_the_bundle_itself(tmp_path: Path) -> None:
    path = tmp_path / "bad.crate.zip"
    path.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    result = run(path, cwd=tmp_path)
    assert result.returncode == 4
    assert f"{MASS}: has the SHA-256" in result.stderr


def test_a_damaged_program_does_not_say_that_all_is_well(bundle: Path) -> None:
    raw = bundle.read_bytes()
    assert raw.count(b"\nDAMAGED = 4\n") == 1
    bundle.write_bytes(raw.replace(b"\nDAMAGED = 4\n", b"\nDAMAGED = 0\n"))
    result = run(bundle, cwd=bundle.parent)
    assert (result.returncode, result.stderr) == (1, "__main__.py is damaged\n")


@pytest.mark.parametrize("part", range(12))
def test_a_bundle_with_a_changed_bit_never_says_that_all_is_well(bundle: Path, part: int) -> None:
    raw = bytearray(bundle.read_bytes())
    raw[len(raw) * part // 12 + part] ^= 1 << part % 8
    bundle.write_bytes(raw)
    assert run(bundle, cwd=bundle.parent).returncode != 0


def test_nothing_else_of_the_bundle_is_imported(tmp_path: Path) -> None:
    members = make.sealed(make.payload(), tags={"json.py": b"raise SystemExit(0)", "zlib.py": b"raise SystemExit(0)"})
    path = tmp_path / "bad.crate.zip"
    path.write_bytes(make.zipped(members))
    result = run(path, cwd=tmp_path)
    assert result.returncode == 4
    assert "json.py: could be imported instead of a module of Python" in result.stderr


def test_info_shows_what_the_bundle_says_of_itself(bundle: Path) -> None:
    result = run(bundle, "info", cwd=bundle.parent)
    assert result.returncode == 0
    for text in ("Two muons, µ⁺µ⁻", "fasthep-archive 0.1.0", "exact-1", "events.root", "histograms/mass.json"):
        assert text in result.stdout


def test_a_reader_that_stops_reading_causes_no_traceback(bundle: Path) -> None:
    command = f"{sys.executable} -I {bundle} info --json | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_json_is_one_value_on_standard_output(bundle: Path) -> None:
    result = json.loads(run(bundle, "--json", cwd=bundle.parent).stdout)
    assert (result["sound"], result["problems"], result["members"]) == (True, [], 18)
    assert result["summary"]["identity"] == make.summary(make.payload()).identity


def test_json_names_the_problems(tmp_path: Path) -> None:
    path = tmp_path / "bad.crate.zip"
    path.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    result = json.loads(run(path, "--json", cwd=tmp_path).stdout)
    assert result["problems"][0]["where"] == MASS


def test_quiet_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.crate.zip"
    path.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    result = run(path, "--quiet", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (4, "", "")


@pytest.mark.parametrize("arguments", [["--wrong"], ["repair"], ["verify", "absent.crate.zip"]])
def test_wrong_arguments_exit_with_2(bundle: Path, arguments: list[str]) -> None:
    result = run(bundle, *arguments, cwd=bundle.parent)
    assert result.returncode == 2
    assert "usage:" in result.stderr


def test_the_library_has_the_same_command_line(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["verify", str(bundle)]) == 0
    assert "sound" in capsys.readouterr().out
    assert command.main(["info", str(bundle)]) == 0
    assert "Two muons" in capsys.readouterr().out
    bundle.write_bytes(make.zipped({**make.sound(), MASS: b"{}"}))
    assert command.main(["verify", "--json", str(bundle)]) == 4
    assert json.loads(capsys.readouterr().out)["sound"] is False


def test_the_library_asks_for_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main([])
    assert caught.value.code == 2
    assert "name a bundle" in capsys.readouterr().err


def test_a_terminal_is_shown_how_much_was_read(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    files = {**make.payload(), layout.INPUTS + "large.root": bytes(65 << 20)}
    bundle.write_bytes(make.zipped(make.sealed(files)))
    assert command.main(["verify", str(bundle)]) == 0
    assert "\r0.1 GB read" in capsys.readouterr().err


# --- Python 3.8 -----------------------------------------------------------------------------------------------------

ALLOWED = {
    *(
        "__future__",
        "argparse",
        "collections",
        "collections.abc",
        "concurrent.futures",
        "contextlib",
        "csv",
        "datetime",
        "errno",
        "fcntl",
        "hashlib",
        "json",
        "msvcrt",
    ),
    *("math", "os", "pathlib", "re", "shutil", "stat", "struct", "subprocess", "sys", "tempfile", "threading", "time"),
    *("typing", "unicodedata", "urllib.parse", "uuid", "zlib"),
}
LATER = {
    *("removeprefix", "removesuffix", "file_digest", "bit_count", "is_relative_to", "with_stem", "pairwise"),
    *("TypeAlias", "ParamSpec", "Self", "BooleanOptionalAction", "UTC", "walk", "full_match", "randbytes", "readlink"),
}
"""Names of the standard library that came after 3.8, as far as this code could be tempted."""


def test_the_program_has_the_grammar_of_python_3_8() -> None:
    ast.parse(program.source(), feature_version=(3, 8))


def test_an_older_python_is_told_what_it_needs(bundle: Path) -> None:
    ast.parse(program.program(), feature_version=(3, 4))
    head = program.program().split(b"\n# body\n")[0]
    assert head.isascii()
    for python in (python for version, python in pythons(first=6).items() if version in ("3.6", "3.7")):
        done = subprocess.run([python, bundle], capture_output=True, check=False, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("this needs Python 3.8 or newer, and here runs Python 3.")


def test_a_traceback_of_the_program_shows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "__main__.py"
    path.write_bytes(program.program())
    names = runpy.run_path(str(path), run_name="program")
    lines = path.read_text().splitlines()
    assert lines[names["main"].__code__.co_firstlineno - 1].startswith("def main(")


def test_the_program_imports_the_standard_library_alone() -> None:
    tree = ast.parse(program.source())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= ALLOWED


def test_the_program_uses_nothing_that_came_after_python_3_8() -> None:
    tree = ast.parse(program.source())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    assert not used & LATER
    assert not keywords & {"strict", "slots", "kw_only", "cancel_futures", "dir_fd", "missing_ok", "usedforsecurity"}


def test_the_modules_of_the_program_share_no_names() -> None:
    defined: list[str] = []
    for module in program.MODULES:
        for node in ast.parse((Path(program.__file__).parent / f"{module}.py").read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined.append(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined += [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    assert sorted(defined) == sorted(set(defined))


@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(8, 15)])
def test_the_program_runs_with_every_python_that_is_here(tmp_path: Path, version: str) -> None:
    python = pythons().get(version)
    if python is None:
        pytest.skip(f"needs Python {version}")
    files = {**make.payload(), layout.INPUTS + "large.root": make.noise(3 * source.BLOCK)}
    path = tmp_path / "large.crate.zip"
    path.write_bytes(make.zipped(make.sealed(files)))
    info = subprocess.run([python, "-I", path, "info"], capture_output=True, check=False, env={"LC_ALL": "C"})
    assert (info.returncode, info.stderr) == (0, b"")
    path.write_bytes(make.zipped({**make.sealed(files), MASS: b"{}"}))
    verified = subprocess.run([python, path], capture_output=True, check=False, env={})
    assert verified.returncode == 4
    assert f"{MASS}: has the SHA-256".encode() in verified.stderr


def test_the_program_stands_any_encoding(bundle: Path) -> None:
    command = [sys.executable, "-I", "-X", "utf8=0", bundle, "info"]
    result = subprocess.run(command, capture_output=True, check=False, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert result.returncode == 0
