"""Workflows whose files are elsewhere: what check, run and pack make of them."""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from webserver import WebServer, web_server

from fasthep_archive.context import Context, NoProgress, Progress
from fasthep_archive.data.remote import Expected, fetch, versions
from fasthep_archive.data.servers import open_server
from fasthep_archive.digest import of_bytes
from fasthep_archive.errors import DataError, Fault
from fasthep_archive.execution import planner
from fasthep_archive.execution.plan import Plan
from fasthep_archive.execution.run import run_plan
from fasthep_archive.execution.store import Store
from fasthep_archive.operations.reading import operations
from fasthep_archive.workflow.document import from_json, load
from fasthep_archive.workflow.model import build, resolved

WORKFLOW = """\
version: "1.1"
data: {datasets: [{name: zmumu, eventtype: data, files: [FILE]}]}
sources: {events: {kind: root_tree, tree: events}}
analysis:
  stages:
    - {id: Cut, op: hep.selection.cutflow, params: {selection: {window: ["M > 60", "M < 120"]}}}
    - id: Mass
      op: hep.hist
      params: {axes: [{name: m, source: M, type: regular, bins: {low: 60, high: 120, nbins: 60}}]}
"""


@dataclass
class Messages(NoProgress):
    texts: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        self.texts.append(text)


@dataclass
class Desk:
    """A directory for documents, and a cache."""

    directory: Path
    cache: Path

    def plan(
        self,
        file: str,
        *,
        digests: planner.Digests = "remembered",
        fetching: Progress | None = None,
        archive: str = "",
        name: str = "workflow.yaml",
    ) -> tuple[Plan, tuple[Fault, ...]]:
        path = self.directory / name
        path.write_text(WORKFLOW.replace("FILE", file) + archive)
        workflow, faults = build(load(path))
        assert faults == ()
        settings = planner.Settings(
            chunk=1000,
            version="1",
            cache=self.cache,
            working_directory=self.directory,
            digests=digests,
            workers=1,
            fetching=fetching,
        )
        return planner.make_plan(workflow, operations(workflow, version="1"), settings)

    def fetched(self, file: str, archive: str = "", progress: Progress | None = None) -> Plan:
        plan, faults = self.plan(file, fetching=progress or NoProgress(), archive=archive)
        assert faults == ()
        return plan

    def copies(self) -> list[Path]:
        return sorted(path for path in (self.cache / "inputs").rglob("*.root"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "desk", tmp_path / "cache")
    desk.directory.mkdir()
    desk.cache.mkdir(mode=0o700)
    return desk


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as running:
        yield running


@pytest.fixture(scope="session")
def content(shared_data: Path) -> bytes:
    return (shared_data / "uproot-Zmumu.root").read_bytes()


@pytest.fixture
def url(server: WebServer, content: bytes) -> str:
    return server.add("/data/uproot-Zmumu.root", content)


def keys(plan: Plan) -> list[str]:
    return [merge.key for merge in plan.merges]


# --- run -----------------------------------------------------------------------------------------------------------


def test_a_run_over_http_leaves_the_same_as_one_of_the_local_file(
    desk: Desk, url: str, shared_data: Path, kernel_cache: Path, tmp_path: Path
) -> None:
    outputs = []
    for number, plan in enumerate([desk.fetched(url), desk.plan(str(shared_data / "uproot-Zmumu.root"))[0]]):
        context = Context(cache=kernel_cache, now=None, measured=False, workers=1, progress=NoProgress())
        store = Store(tmp_path / f"store{number}")
        results = run_plan(plan, store, context)
        results.raise_failures()
        outputs.append({stage: [(o.name, o.content) for o in left] for stage, left in results.outputs.items()})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {"Cut", "Mass"}


def test_keys_know_nothing_of_where_the_file_was(desk: Desk, url: str, shared_data: Path) -> None:
    local, faults = desk.plan(str(shared_data / "uproot-Zmumu.root"))
    assert faults == ()
    assert keys(desk.fetched(url)) == keys(local)


def test_the_copy_has_the_name_of_the_file(desk: Desk, url: str) -> None:
    (file,) = desk.fetched(url).inputs
    assert (file.name, file.path.name, file.urls) == (url, "uproot-Zmumu.root", (url,))


def test_a_file_is_fetched_once(desk: Desk, url: str, server: WebServer) -> None:
    first, second = desk.fetched(url), desk.fetched(url)
    assert first.inputs == second.inputs
    assert len(server.got()) == 1


def test_a_new_version_is_fetched_and_the_old_copy_stays_for_whoever_reads_it(
    desk: Desk, url: str, server: WebServer, content: bytes
) -> None:
    (old,) = desk.fetched(url).inputs
    server.add("/data/uproot-Zmumu.root", content + b"more", etag='"2"')
    (new,) = desk.fetched(url).inputs
    assert new.sha256 == of_bytes(content + b"more")
    assert old.path.read_bytes() == content


def test_a_file_of_which_nothing_tells_the_version_is_fetched_each_time_and_that_is_said(
    desk: Desk, server: WebServer, content: bytes
) -> None:
    url = server.add("/a.root", content, etag=None)
    shown = Messages()
    for _ in range(2):
        desk.fetched(url, progress=shown)
    assert len(server.got()) == 2
    assert of_bytes(content) in shown.texts[0]


def test_a_file_whose_digest_is_stated_is_not_asked_for_again(
    desk: Desk, url: str, server: WebServer, content: bytes
) -> None:
    archive = f"archive: {{inputs: [{{file: '{url}', urls: ['{url}'], sha256: {of_bytes(content)}}}]}}\n"
    desk.fetched(url, archive)
    asked = len(server.requests)
    desk.fetched(url, archive)
    assert len(server.requests) == asked


def test_a_mirror_is_used_where_the_first_address_fails(desk: Desk, url: str, server: WebServer) -> None:
    gone = f"{server.url}/gone/uproot-Zmumu.root"
    (file,) = desk.fetched(gone, f"archive: {{inputs: [{{file: '{gone}', urls: ['{url}']}}]}}\n").inputs
    assert file.urls == (gone, url)


def test_without_the_server_the_copy_is_used_and_that_is_said(desk: Desk, content: bytes) -> None:
    with web_server() as server:
        url = server.add("/a.root", content)
        desk.fetched(url)
    shown = Messages()
    (file,) = desk.fetched(url, progress=shown).inputs
    assert file.sha256 == of_bytes(content)
    assert "using the copy" in shown.texts[0]


def test_a_damaged_copy_is_fetched_again(desk: Desk, url: str, content: bytes) -> None:
    (file,) = desk.fetched(url).inputs
    file.path.write_bytes(b"short")
    assert desk.fetched(url).inputs[0].sha256 == of_bytes(content)


def test_a_changed_file_is_a_fault_where_the_file_is_named(desk: Desk, url: str, content: bytes) -> None:
    recorded = of_bytes(b"what it was")
    archive = f"archive: {{inputs: [{{file: '{url}', urls: ['{url}'], sha256: {recorded}}}]}}\n"
    _, (fault,) = desk.plan(url, fetching=NoProgress(), archive=archive)
    assert fault.where.line == 2
    assert recorded in fault.message
    assert of_bytes(content) in fault.message


def test_a_file_that_is_gone_is_a_fault_where_it_is_named(desk: Desk, server: WebServer) -> None:
    _, (fault,) = desk.plan(f"{server.url}/gone.root", fetching=NoProgress())
    assert fault.where.line == 2
    assert "404" in fault.message


def test_a_plan_with_digests_never_lacks_a_file_silently(desk: Desk, url: str) -> None:
    _, (fault,) = desk.plan(url, fetching=None)
    assert "is not here" in fault.message


# --- check ---------------------------------------------------------------------------------------------------------


def test_check_asks_no_server_and_says_what_it_has_not_seen(desk: Desk, url: str, server: WebServer) -> None:
    plan, faults = desk.plan(url, digests="none")
    assert (faults, server.requests) == ((), [])
    assert plan.warnings == (f"{url} was not looked at: it is checked when a run has fetched it",)


def test_check_looks_at_a_copy_that_is_there(desk: Desk, url: str, server: WebServer) -> None:
    desk.fetched(url)
    asked = len(server.requests)
    plan, faults = desk.plan(url, digests="none")
    assert (faults, plan.warnings) == ((), ())
    assert plan.passes
    assert len(server.requests) == asked


# --- archive.inputs ------------------------------------------------------------------------------------------------


def test_a_local_file_takes_its_addresses_from_the_settings(desk: Desk, content: bytes) -> None:
    (desk.directory / "z.root").write_bytes(content)
    archive = (
        "archive: {inputs: [{file: z.root, urls: ['https://example.org/z.root', 'root://example.org//z.root']}]}\n"
    )
    plan, faults = desk.plan("z.root", archive=archive)
    assert faults == ()
    assert plan.inputs[0].urls == ("https://example.org/z.root", "root://example.org//z.root")


def test_keys_know_nothing_of_addresses(desk: Desk, content: bytes) -> None:
    (desk.directory / "z.root").write_bytes(content)
    archive = "archive: {inputs: [{file: z.root, urls: ['https://example.org/z.root']}]}\n"
    assert keys(desk.plan("z.root", archive=archive)[0]) == keys(desk.plan("z.root")[0])


@pytest.mark.parametrize(
    ("stated", "digests", "says"),
    [
        ("size: 5", "none", "bytes, and this says 5"),
        (f"sha256: {'a' * 64}", "remembered", "a" * 64),
        ("adler32: '00000001'", "read", "00000001"),
    ],
)
def test_a_local_file_that_is_not_the_stated_one_is_a_fault(
    desk: Desk, content: bytes, stated: str, digests: planner.Digests, says: str
) -> None:
    (desk.directory / "z.root").write_bytes(content)
    archive = f"archive:\n  inputs:\n  - {{file: z.root, urls: ['https://example.org/z.root'], {stated}}}\n"
    _, (fault,) = desk.plan("z.root", digests=digests, archive=archive)
    assert says in fault.message
    assert fault.where.line == 12


def test_a_local_file_that_is_the_stated_one_has_no_fault(desk: Desk, content: bytes) -> None:
    (desk.directory / "z.root").write_bytes(content)
    stated = f"size: {len(content)}, sha256: {of_bytes(content)}, adler32: '{zlib.adler32(content):08x}'"
    archive = f"archive: {{inputs: [{{file: z.root, urls: ['https://example.org/z.root'], {stated}}}]}}\n"
    assert desk.plan("z.root", digests="read", archive=archive)[1] == ()


def test_a_file_address_is_a_path(desk: Desk, content: bytes) -> None:
    place = desk.directory / "a b.root"
    place.write_bytes(content)
    plan, faults = desk.plan(f"'{place.as_uri()}'")
    assert faults == ()
    assert (plan.inputs[0].path, plan.inputs[0].urls) == (place, ())


def test_a_staged_workflow_keeps_the_addresses_of_its_files(desk: Desk, url: str, content: bytes) -> None:
    desk.fetched(url)
    (desk.directory / "staged.root").write_bytes(content)
    workflow, _ = build(load(desk.directory / "workflow.yaml"))
    staged, faults = build(from_json(resolved(workflow, {url: "staged.root"}), name="staged"))
    assert faults == ()
    assert staged.datasets[0].files == ("staged.root",)
    assert staged.references["staged.root"].urls == (url,)


# --- root:// -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xrootd(shared_data: Path) -> Iterator[str]:
    """Yield the address of a folder with the file, on an XRootD server of the test's own."""
    pytest.importorskip("fsspec_xrootd")
    if not (shutil.which("xrootd") and shutil.which("xrdadler32")):
        pytest.skip("needs xrootd and xrdadler32 (Debian: xrootd-server, xrootd-client)")
    # a server that root starts becomes nobody, who can't look into pytest's directories
    with tempfile.TemporaryDirectory(prefix="xr", dir="/tmp") as place, socket.socket() as free:
        root = Path(place)
        (root / "data").mkdir()
        (root / "own").mkdir()
        shutil.copyfile(shared_data / "uproot-Zmumu.root", root / "data" / "z.root")
        for path in (root, root / "data", root / "own"):
            path.chmod(0o777)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        (root / "server.cfg").write_text(
            f"xrd.port {port}\nall.export {root}/data\nall.adminpath {root}/own\nall.pidpath {root}/own\n"
            f"xrootd.chksum max 2 adler32 {shutil.which('xrdadler32')}\n"
        )
        user = ["-R", "nobody"] if os.getuid() == 0 else []
        words = ["xrootd", "-c", str(root / "server.cfg"), "-l", str(root / "own" / "log"), *user]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=root)
        try:
            _until_it_listens(port)
            yield f"root://127.0.0.1:{port}/{root}/data"
        finally:
            process.terminate()
            process.wait()


def _until_it_listens(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the XRootD server does not start")


@pytest.mark.parametrize("scheme", ["root", "xroot"])
def test_a_file_arrives_over_xrootd(xrootd: str, scheme: str, tmp_path: Path, content: bytes) -> None:
    url = f"{xrootd}/z.root".replace("root", scheme, 1)
    found = fetch([url], tmp_path / "z.root", expected=Expected(), progress=NoProgress())
    assert (tmp_path / "z.root").read_bytes() == content
    assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_the_checksum_of_an_xrootd_server_is_asked_for(xrootd: str, content: bytes) -> None:
    url = f"{xrootd}/z.root"
    with open_server(url) as server, server.stream(url, 0, None) as stream:
        assert stream.answer.stated == Expected(adler32=f"{zlib.adler32(content):08x}")


def test_a_cut_file_is_taken_up_over_xrootd(xrootd: str, content: bytes) -> None:
    url = f"{xrootd}/z.root"
    version = versions([url])[url]
    with open_server(url) as server, server.stream(url, 1000, version) as stream:
        assert stream.answer.start == 1000
        assert stream.read() == content[1000:]


def test_a_file_that_changed_in_between_starts_anew_over_xrootd(xrootd: str) -> None:
    url = f"{xrootd}/z.root"
    other = replace(versions([url])[url], modified="0")
    with open_server(url) as server, server.stream(url, 1000, other) as stream:
        assert stream.answer.start == 0


def test_a_file_that_an_xrootd_server_has_not_is_named(xrootd: str, tmp_path: Path) -> None:
    url = f"{xrootd}/gone.root"
    with pytest.raises(DataError, match="no such file") as caught:
        fetch([url], tmp_path / "z.root", expected=Expected(), progress=NoProgress())
    assert url in caught.value.message


def test_a_run_over_xrootd_has_the_keys_of_a_local_one(desk: Desk, xrootd: str, shared_data: Path) -> None:
    plan = desk.fetched(f"'{xrootd}/z.root'")
    assert keys(plan) == keys(desk.plan(str(shared_data / "uproot-Zmumu.root"))[0])


def test_without_xrootd_s_packages_it_is_said_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec_xrootd", None)
    with pytest.raises(DataError) as caught:
        fetch(["root://example.org//z.root"], tmp_path / "z.root", expected=Expected(), progress=NoProgress())
    assert caught.value.hint == "pip install fasthep-archive[xrootd]"
