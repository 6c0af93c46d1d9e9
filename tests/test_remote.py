"""Files from elsewhere: against a server on 127.0.0.1 that cuts, changes, refuses and dawdles."""

import base64
import gzip
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from webserver import WebServer, web_server

from fasthep_archive.context import NoProgress
from fasthep_archive.data import transfer
from fasthep_archive.data.remote import Expected, Fetched, Version, fetch, versions
from fasthep_archive.errors import DataError

CONTENT = random.Random(3).randbytes(3_000_000)
OTHER = random.Random(4).randbytes(3_000_000)
CUT = 1_234_567


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "here" / "ww.root"


@dataclass
class Shown(NoProgress):
    """What was shown: each bar with what it reached, and the messages."""

    bars: list[list] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def start(self, what: str, total: int, unit: str) -> None:
        self.bars.append([what, total, unit, 0])

    def advance(self, amount: int) -> None:
        self.bars[-1][3] += amount

    def message(self, text: str) -> None:
        self.messages.append(text)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def known(content: bytes) -> Expected:
    return Expected(size=len(content), sha256=sha256(content), adler32=f"{zlib.adler32(content):08x}")


def get(
    *urls: str, target: Path, expected: Expected | None = None, shown: Shown | None = None, tries: int = 2
) -> Fetched:
    pauses = (0.0,) * tries
    return fetch(urls, target, expected=expected or Expected(), progress=shown or Shown(), pauses=pauses)


def refused(*urls: str, target: Path, expected: Expected | None = None, shown: Shown | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        get(*urls, target=target, expected=expected, shown=shown)
    assert not target.exists()
    return caught.value


def taken_up_at(headers: dict[str, str]) -> int:
    """Return from which byte a request asks."""
    unit, _, start = headers["Range"].partition("=")
    assert unit == "bytes"
    assert start.endswith("-")
    return int(start[:-1])


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


# --- whole files ---------------------------------------------------------------------------------------------------


def test_a_file_arrives_with_its_digests(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT)
    found = get(url, target=target)
    assert target.read_bytes() == CONTENT
    assert found == Fetched(
        path=target, size=len(CONTENT), sha256=sha256(CONTENT), adler32=f"{zlib.adler32(CONTENT):08x}", url=url
    )


def test_nothing_but_the_file_is_left(server: WebServer, target: Path) -> None:
    get(server.add("/ww.root", CONTENT, cuts=[CUT]), target=target)
    assert leftovers(target) == []


def test_an_empty_file_arrives(server: WebServer, target: Path) -> None:
    assert get(server.add("/empty", b""), target=target).size == 0
    assert target.read_bytes() == b""


def test_what_was_there_is_replaced(server: WebServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"old")
    get(server.add("/ww.root", CONTENT), target=target)
    assert target.read_bytes() == CONTENT


def test_progress_is_in_bytes(server: WebServer, target: Path) -> None:
    shown = Shown()
    get(server.add("/ww.root", CONTENT), target=target, shown=shown)
    assert shown.bars == [["fetching ww.root", len(CONTENT), "bytes", len(CONTENT)]]


def test_progress_moves_while_a_slow_server_sends(server: WebServer, target: Path) -> None:
    times = []

    class Watched(Shown):
        def advance(self, amount: int) -> None:
            times.append(time.monotonic())

    url = server.add("/ww.root", CONTENT[:500_000], pause=0.1, piece=100_000)
    get(url, target=target, shown=Watched())
    assert len(times) > 3
    assert times[-1] - times[1] > 0.25


def test_a_file_of_unknown_size_arrives(server: WebServer, target: Path) -> None:
    assert get(server.add("/ww.root", CONTENT, sized=False), target=target).sha256 == sha256(CONTENT)


def test_a_redirect_is_followed(server: WebServer, target: Path) -> None:
    server.add("/there", CONTENT)
    url = server.add("/here", b"", location="/there")
    assert get(url, target=target).url == url
    assert target.read_bytes() == CONTENT


def test_a_cut_redirected_file_is_taken_up(server: WebServer, target: Path) -> None:
    server.add("/there", CONTENT, cuts=[CUT])
    get(server.add("/here", b"", location="/there"), target=target)
    assert target.read_bytes() == CONTENT
    assert 0 < taken_up_at(server.got()[-1]) <= CUT


def test_no_content_coding_is_asked_for_and_none_is_undone(server: WebServer, target: Path) -> None:
    packed = gzip.compress(b"text " * 1000, mtime=0)
    get(server.add("/a.json.gz", packed, headers={"Content-Encoding": "gzip"}), target=target)
    assert target.read_bytes() == packed
    assert server.got()[0]["Accept-Encoding"] == "identity"


def test_no_thread_is_left_that_a_forked_worker_would_miss(server: WebServer, target: Path) -> None:
    import threading

    before = {thread for thread in threading.enumerate() if "Thread" not in thread.name}
    get(server.add("/ww.root", CONTENT), target=target)
    assert {thread for thread in threading.enumerate() if "Thread" not in thread.name} == before


def test_it_works_inside_of_a_running_event_loop(server: WebServer, target: Path) -> None:
    import asyncio

    async def notebook() -> Fetched:
        return get(server.add("/ww.root", CONTENT), target=target)

    assert asyncio.run(notebook()).size == len(CONTENT)


# --- cut and taken up ----------------------------------------------------------------------------------------------


def test_a_cut_file_is_taken_up_where_it_was_cut(server: WebServer, target: Path) -> None:
    shown = Shown()
    get(server.add("/ww.root", CONTENT, cuts=[CUT]), target=target, shown=shown)
    assert target.read_bytes() == CONTENT
    first, second = server.got()
    assert "Range" not in first
    assert second["If-Range"] == '"1"'
    assert 0 < taken_up_at(second) <= CUT
    assert [bar[3] for bar in shown.bars] == [taken_up_at(second), len(CONTENT)]


def test_a_file_that_is_cut_again_and_again_arrives_as_long_as_it_gets_further(server: WebServer, target: Path) -> None:
    content = random.Random(5).randbytes(6 << 20)
    url = server.add("/ww.root", content, cuts=[1 << 20] * 5)
    assert get(url, target=target, tries=1).sha256 == sha256(content)


def test_tries_are_bounded_and_the_bytes_are_kept(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, cuts=[1000, 500, 200])
    error = refused(url, target=target)
    assert url in error.message
    assert len(server.got()) == 3
    assert 0 < (target.parent / ".ww.root.part").stat().st_size <= 1700


def test_a_later_call_takes_up_what_was_kept(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, cuts=[1000, 500, 200])
    refused(url, target=target)
    kept = (target.parent / ".ww.root.part").stat().st_size
    get(url, target=target)
    assert target.read_bytes() == CONTENT
    assert taken_up_at(server.got()[-1]) == kept


def test_a_file_that_changed_in_between_starts_anew(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, cuts=[1000, 500, 200])
    refused(url, target=target)
    server.add("/ww.root", OTHER, etag='"2"')
    get(url, target=target)
    assert target.read_bytes() == OTHER


def test_a_file_with_a_weak_tag_that_changed_in_between_starts_anew(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, etag='W/"1"', cuts=[1000, 500, 200])
    refused(url, target=target)
    server.add("/ww.root", OTHER, etag='W/"2"')
    get(url, target=target)
    assert target.read_bytes() == OTHER
    assert "If-Range" not in server.got()[-2]
    assert "Range" not in server.got()[-1]


def test_a_time_of_change_is_as_good_as_a_tag(server: WebServer, target: Path) -> None:
    modified = "Sun, 01 Nov 2026 10:00:00 GMT"
    get(server.add("/ww.root", CONTENT, etag=None, modified=modified, cuts=[CUT]), target=target)
    assert target.read_bytes() == CONTENT
    assert server.got()[1]["If-Range"] == modified


def test_without_tag_and_time_a_cut_file_starts_anew(server: WebServer, target: Path) -> None:
    get(server.add("/ww.root", CONTENT, etag=None, cuts=[CUT]), target=target)
    assert target.read_bytes() == CONTENT
    assert "Range" not in server.got()[1]


def test_without_tag_and_time_a_recorded_digest_allows_to_go_on(server: WebServer, target: Path) -> None:
    get(server.add("/ww.root", CONTENT, etag=None, cuts=[CUT]), target=target, expected=known(CONTENT))
    assert target.read_bytes() == CONTENT
    assert 0 < taken_up_at(server.got()[1]) <= CUT


def test_kept_bytes_that_prove_wrong_are_fetched_again(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, cuts=[1000, 500, 200])
    refused(url, target=target)
    (target.parent / ".ww.root.part").write_bytes(b"x" * 1700)
    get(url, target=target, expected=known(CONTENT))
    assert target.read_bytes() == CONTENT


def test_a_server_without_parts_is_asked_for_everything(server: WebServer, target: Path) -> None:
    get(server.add("/ww.root", CONTENT, ranges=False, cuts=[CUT]), target=target)
    assert target.read_bytes() == CONTENT


def test_kept_bytes_that_are_all_there_cost_one_more(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, cuts=[1000, 500, 200])
    refused(url, target=target)
    (target.parent / ".ww.root.part").write_bytes(CONTENT)
    get(url, target=target)
    assert target.read_bytes() == CONTENT
    assert server.got()[-1]["Range"] == f"bytes={len(CONTENT) - 1}-"


SCRIPT = """
import sys
from pathlib import Path
from fasthep_archive.context import NoProgress
from fasthep_archive.data.remote import Expected, fetch

fetch([sys.argv[1]], Path(sys.argv[2]), expected=Expected(), progress=NoProgress())
"""


def test_a_killed_process_is_taken_up_by_the_next(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, pause=0.05)
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT, url, str(target)])
    part = target.parent / ".ww.root.part"
    deadline = time.monotonic() + 30
    while (not part.exists() or part.stat().st_size < 500_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    arrived = part.stat().st_size
    assert 500_000 <= arrived < len(CONTENT)
    server.pages["/ww.root"].pause = 0.0
    subprocess.run([sys.executable, "-c", SCRIPT, url, str(target)], check=True)
    assert target.read_bytes() == CONTENT
    assert server.got()[-1]["Range"] == f"bytes={arrived}-"
    assert leftovers(target) == []


def test_two_processes_fetch_a_file_once(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", CONTENT, pause=0.01)
    both = [subprocess.Popen([sys.executable, "-c", SCRIPT, url, str(target)]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []


# --- another file than the recorded one ----------------------------------------------------------------------------


def test_a_changed_file_is_an_error_that_shows_both_digests(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", OTHER)
    error = refused(url, target=target, expected=Expected(sha256=sha256(CONTENT)))
    assert url in error.message
    assert sha256(CONTENT) in error.message
    assert sha256(OTHER) in error.message
    assert leftovers(target) == []


def test_a_changed_file_of_another_size_shows_both_digests_and_sizes(server: WebServer, target: Path) -> None:
    error = refused(server.add("/ww.root", OTHER[:10]), target=target, expected=known(CONTENT))
    for text in (sha256(CONTENT), sha256(OTHER[:10]), "size 10,", f"size {len(CONTENT)}"):
        assert text in error.message


def test_a_large_file_of_another_size_is_not_fetched(
    server: WebServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SMALL", 1000)
    shown = Shown()
    error = refused(server.add("/ww.root", OTHER[:-1]), target=target, expected=known(CONTENT), shown=shown)
    assert sha256(CONTENT) in error.message
    assert shown.bars == []


def test_a_file_that_never_ends_is_given_up(server: WebServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SMALL", 1000)
    url = server.add("/ww.root", CONTENT, sized=False)
    shown = Shown()
    refused(url, target=target, expected=known(CONTENT[:1000]), shown=shown)
    assert shown.bars[0][3] < len(CONTENT)


def test_a_wrong_adler32_is_an_error_that_shows_both(server: WebServer, target: Path) -> None:
    error = refused(server.add("/ww.root", CONTENT), target=target, expected=Expected(adler32="01234567"))
    assert "01234567" in error.message
    assert f"{zlib.adler32(CONTENT):08x}" in error.message


@pytest.mark.parametrize(
    ("header", "of"),
    [
        ("Repr-Digest", lambda content: f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"),
        ("Repr-Digest", lambda content: f"adler=:{base64.b64encode(zlib.adler32(content).to_bytes(4, 'big')).decode()}:"),
        ("Digest", lambda content: f"SHA-256={base64.b64encode(hashlib.sha256(content).digest()).decode()}"),
        ("Digest", lambda content: f"md5=HUXZLQLMuI/KZ5KDcJPcOA==,adler32={zlib.adler32(content):x}"),
    ],
    ids=["9530 sha-256", "9530 adler", "3230 sha-256", "3230 adler32"],
)  # fmt: skip
def test_a_digest_that_the_server_states_is_verified(server: WebServer, target: Path, header: str, of: object) -> None:
    right, wrong = of(CONTENT), of(OTHER)
    get(server.add("/ww.root", CONTENT, headers={header: right}), target=target)
    target.unlink()
    error = refused(server.add("/ww.root", CONTENT, headers={header: wrong}), target=target)
    assert "arrives damaged" in error.message


def test_a_file_that_arrived_damaged_is_fetched_again(server: WebServer, target: Path) -> None:
    stated = f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"
    url = server.add("/ww.root", OTHER, headers={"Repr-Digest": stated})

    class Mending(Shown):
        def start(self, what: str, total: int, unit: str) -> None:
            if self.bars:
                server.pages["/ww.root"].content = CONTENT
            super().start(what, total, unit)

    get(url, target=target, shown=Mending(), tries=3)
    assert target.read_bytes() == CONTENT


def test_a_stated_digest_of_another_file_saves_the_transfer(server: WebServer, target: Path) -> None:
    stated = f"sha-256=:{base64.b64encode(hashlib.sha256(OTHER).digest()).decode()}:"
    shown = Shown()
    url = server.add("/ww.root", OTHER, headers={"Repr-Digest": stated})
    error = refused(url, target=target, expected=known(CONTENT), shown=shown)
    assert sha256(OTHER) in error.message
    assert shown.bars == []


def test_a_stated_digest_of_odd_form_is_passed_over(server: WebServer, target: Path) -> None:
    get(server.add("/ww.root", CONTENT, headers={"Digest": "sha-256=!!, adler32=xyz, , ="}), target=target)
    assert target.read_bytes() == CONTENT


# --- mirrors -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_comes_from_the_second_mirror(server: WebServer, target: Path) -> None:
    shown = Shown()
    second = server.add("/second", CONTENT)
    found = get(f"{server.url}/gone", second, target=target, expected=known(CONTENT), shown=shown)
    assert found.url == second
    assert shown.messages == [f"{server.url}/gone: the server says 404 Not Found; trying {second}"]


def test_a_changed_file_comes_from_a_mirror_that_has_the_recorded_one(server: WebServer, target: Path) -> None:
    mirrors = server.add("/changed", OTHER), server.add("/second", CONTENT)
    assert get(*mirrors, target=target, expected=known(CONTENT)).url == mirrors[1]


def test_a_file_that_disappears_in_the_middle_is_taken_up_from_the_second_mirror(
    server: WebServer, target: Path
) -> None:
    mirrors = server.add("/first", CONTENT, cuts=[CUT]), server.add("/second", CONTENT, etag='"other"')
    server.pages["/first"].statuses = []

    class Vanishing(Shown):
        def advance(self, amount: int) -> None:
            server.pages.pop("/first", None)

    get(*mirrors, target=target, expected=known(CONTENT), shown=Vanishing())
    assert target.read_bytes() == CONTENT
    assert 0 < taken_up_at(server.got()[-1]) <= CUT


def test_bytes_of_two_mirrors_are_not_mixed_without_a_digest(server: WebServer, target: Path) -> None:
    mirrors = server.add("/first", CONTENT, cuts=[1000] * 3), server.add("/second", OTHER)
    get(*mirrors, target=target)
    assert target.read_bytes() == OTHER


def test_all_mirrors_are_named_with_their_reasons(server: WebServer, target: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    changed = server.add("/changed", OTHER)
    urls = f"{server.url}/gone", changed, f"http://127.0.0.1:{port}/ww.root"
    error = refused(*urls, target=target, expected=known(CONTENT))
    lines = error.message.splitlines()
    assert len(lines) == 4
    for url, line, why in zip(urls, lines[1:], ("404", sha256(OTHER), "onnect"), strict=True):
        assert url in line
        assert why in line


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(server: WebServer, target: Path, status: int) -> None:
    get(server.add("/ww.root", CONTENT, statuses=[status]), target=target)
    assert len(server.got()) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_locked_file_says_where_credentials_belong(server: WebServer, target: Path, status: int) -> None:
    error = refused(server.add("/ww.root", CONTENT, statuses=[status]), target=target)
    assert str(status) in error.message
    assert ".netrc" in error.hint
    assert len(server.got()) == 1


def test_a_password_from_netrc_is_sent(
    server: WebServer, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password lovelace\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    get(server.add("/ww.root", CONTENT), target=target)
    assert server.got()[0]["Authorization"] == f"Basic {base64.b64encode(b'ada:lovelace').decode()}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "on this machine"),
        ("ftp://example.org/a.root", "ftp://"),
        ("ww.root", "no scheme"),
        ("https://ada:secret@example.org/a.root", "a password"),
        ("https://ada:secret@example.org:8443/a.root", "the address https://example.org:8443/a.root comes with"),
        ("https://example.org/a.root?access_token=secret", "credentials"),
    ],
)
def test_an_address_that_can_not_be_used_is_refused(target: Path, url: str, why: str) -> None:
    error = refused(url, target=target)
    assert why in error.message
    assert "secret" not in str(error)


def test_a_server_that_leads_in_a_circle_is_refused(server: WebServer, target: Path) -> None:
    url = server.add("/ww.root", b"", location="/ww.root")
    error = refused(url, target=target)
    assert error.message.endswith(f"{url}: the server leads to other addresses 10 times, and to no file")


def test_a_pattern_of_addresses_is_told_to_be_none(server: WebServer, target: Path) -> None:
    error = refused(f"{server.url}/2018/*.parquet", target=target)
    assert "/2018/*.parquet: the server says 404" in error.message
    assert error.hint == "patterns are for files of this machine: name the addresses one by one"


def test_a_place_that_can_not_be_written_is_the_end(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        get(server.add("/ww.root", CONTENT), f"{server.url}/b", target=tmp_path / "file" / "ww.root")


# --- versions ------------------------------------------------------------------------------------------------------


def test_the_versions_of_files_are_told_without_fetching_them(server: WebServer) -> None:
    url = server.add("/ww.root", CONTENT, modified="Sun, 01 Nov 2026 10:00:00 GMT")
    assert versions([url]) == {url: Version(size=len(CONTENT), etag='"1"', modified="Sun, 01 Nov 2026 10:00:00 GMT")}
    assert server.got() == []


def test_a_server_without_head_is_asked_otherwise(server: WebServer) -> None:
    url = server.add("/ww.root", CONTENT, heads=False)
    assert versions([url])[url] == Version(size=len(CONTENT), etag='"1"')


def test_the_version_of_a_file_that_is_gone_is_an_error_beside_the_others(server: WebServer) -> None:
    url, gone = server.add("/ww.root", CONTENT), f"{server.url}/gone"
    found = versions([url, gone, "ftp://example.org/a.root"])
    assert isinstance(found[url], Version)
    assert "404" in found[gone].message
    assert "ftp" in found["ftp://example.org/a.root"].message
