"""What leads to the author, or exists on the author's machine only: absolute paths, home directories, e-mail addresses.

Allowed are paths that are the same everywhere (``/usr``, ``/dev``, ``/cvmfs`` and their like), paths inside of
addresses other than ``file:``, and logical file names such as ``/store/data``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from fasthep_archive.bundle.secrets import Hit, Page, Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a bundle is packed, and by whom.

    :ivar directories: home and working directory, the document's, whatever else is only here.
    :ivar user: the author's account. :ivar host: the machine.
    :ivar emails: addresses that the author has declared, to be published.
    """

    directories: tuple[PurePath, ...] = ()
    user: str = ""
    host: str = ""
    emails: tuple[str, ...] = ()


_ROOTS = """
    afs atlas_data beegfs builds ceph cephfs cluster cms_data data data1 data2 data3 dcache eos export gpfs hdfs hpc
    local lustre media mnt net nfs nfs1 nobackup opt panfs pbs pnfs private project projects rds runner scratch
    scratch1 scratch2 sps srv storage tmp user user_data uscms uscms_data uscmst1b_scratch var vol vols work
    workspace workspaces Volumes
"""
ROOTS = tuple(_ROOTS.split())
"""First parts of paths that are not the same everywhere: file systems of laboratories, mounts, scratch space."""
HOMES = ("home", "Users", "users", "root", "nashome", "exp/home")

_PART = r"""[^\s"'`<>|:;,(){}\[\]$*?\\#/]{1,255}"""
_PATH = rf"{_PART}(?:/{{1,2}}{_PART}){{0,64}}/?"
# A path does not begin after these, it goes on: a/b, ./a, ${x}/a, </a>, (x)/a. Exceptions are the options of compilers
# (-I/home) and escaped line breaks. The slash is repeated, so that patterns can start with it: re skips to it.
_FREE = r"(?:(?<![\w.)\]}~$%@+\-/<#*?&\\]/)|(?<=\s-[IL]/)|(?<=\\[nrt]/))"
_BELOW = rf"(?![\w-])(?:[\\/]{{1,2}}{_PATH})?"
"""What may follow a directory."""
_OUTSIDE = re.compile(r"""[\s"'`<>(\[{,;|]""")
_ACCOUNTS = """
    admin analysis atlas build centos circleci cms code cmsusr conda data debian docker ec2-user fedora guest jovyan
    lhcb local nobody opc public root runner shared student test travis ubuntu user vagrant vscode work
"""
_GENERIC = frozenset(_ACCOUNTS.split())
"""Names of accounts that say nothing about who it is."""
_RESERVED = re.compile(r"(?:.*\.)?(?:example\.(?:com|net|org)|test|example|invalid|localhost)")
"""Domains that are nobody's: RFC 2606."""
_SUFFIXES = """
    gif gz h5 jpeg jpg json log md parquet pdf png root sh svg toml txt webp whl yaml yml zip
"""
_FILES = frozenset(_SUFFIXES.split())
"""What looks like the end of a domain, and is that of a file's name: icon@2x.png."""


def _shortened(path: str) -> str:
    return path if len(path) <= 90 else f"{path[:60]}…{path[-25:]}"


def _in_address(text: str, start: int) -> bool:
    """Say whether what begins at ``start`` is part of an address with a scheme other than ``file``."""
    before = text[max(0, start - 1024) : start]
    cut = max((match.end() for match in _OUTSIDE.finditer(before)), default=0)
    scheme, mark, _ = before[cut:].rpartition("://")
    return bool(mark) and not scheme.lower().endswith("file")


def _paths(pattern: re.Pattern[str]) -> Callable[[Page], Iterator[Hit]]:
    """Return a finder of paths that match ``pattern`` and are not inside of an address."""

    def find(page: Page) -> Iterator[Hit]:
        for match in pattern.finditer(page.text):
            end = match.start() + len(match[0].rstrip(".…!"))
            if not _in_address(page.text, match.start()):
                yield Hit(match.start(), end, _shortened(page.text[match.start() : end]))

    return find


def _rooted(roots: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of absolute paths that begin with one of ``roots`` and name something below it."""
    return re.compile(rf"/{_FREE}(?:{'|'.join(map(re.escape, roots))})/{{1,2}}{_PATH}")


_TILDE = re.compile(rf"~(?<![\w)\]}}~$%@+\-/*.\\]~)(?:[a-z_][a-z0-9._-]{{0,31}})?/(?=[A-Za-z_.]){_PATH}")
_LOCAL = re.compile(rf"file:(?<![A-Za-z]file:)/{{1,3}}(?:localhost/)?(?!path/to)(?=[\w~.]){_PATH}", re.IGNORECASE)
_WINDOWS = re.compile(
    r""":[\\/]{1,2}(?:Users|Documents and Settings|Temp|ProgramData)[\\/]{1,2}[^\s"'`<>|:;,]{1,255}""", re.IGNORECASE
)


def _windows(page: Page) -> Iterator[Hit]:
    for match in _WINDOWS.finditer(page.text):
        drive = page.text[max(0, match.start() - 2) : match.start()]
        if drive[-1:].isascii() and drive[-1:].isalpha() and not drive[:-1].isalnum():
            found = page.text[match.start() - 1 : match.end()]
            yield Hit(match.start() - 1, match.end(), _shortened(found))


_HOME_FINDERS = (_paths(_rooted(HOMES)), _paths(_TILDE), _windows)
_PATH_FINDERS = (_paths(_rooted(ROOTS)), _paths(_LOCAL))


def _homes(page: Page) -> Iterator[Hit]:
    for find in _HOME_FINDERS:
        yield from find(page)


def _absolute(page: Page) -> Iterator[Hit]:
    for find in _PATH_FINDERS:
        yield from find(page)


def _directories(origin: Origin) -> Callable[[Page], Iterator[Hit]]:
    """Return a finder of the directories of ``origin``, and of paths through one that is named after the author."""
    deep = [path for path in origin.directories if len(path.parts) > 2]
    known = sorted({text for path in deep for text in _spelled(path)}, reverse=True)
    patterns = [
        re.compile(f"{re.escape(text[0])}{_FREE if text[0] == '/' else ''}{re.escape(text[1:])}" + _BELOW)
        for text in known
    ]
    if _distinctive(origin.user):
        user = re.escape(origin.user)
        patterns.append(re.compile(rf"/{_FREE}(?:{_PART}/){{1,12}}?{user}(?![\w.-])(?:/{_PATH})?"))

    def find(page: Page) -> Iterator[Hit]:
        for pattern in patterns:
            yield from _paths(pattern)(page)

    return find


def _distinctive(user: str) -> bool:
    """Say whether the name of an account says whose it is."""
    return len(user) > 2 and user.lower() not in _GENERIC


def _spelled(path: PurePath) -> tuple[str, ...]:
    """Return a directory as texts write it; with backslashes doubled, too, as JSON does."""
    return str(path), str(path).replace("\\", "\\\\"), path.as_posix()


_DOMAIN = re.compile(r"@(?<=[\w.+%-]@)((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])(?!\.\w)")
_LOCAL_PART = re.compile(r"[\w.+%-]{1,64}\Z")


def _emails(origin: Origin) -> Callable[[Page], Iterator[Hit]]:
    """Return a finder of e-mail addresses that the author hasn't declared; accounts on machines look the same."""
    declared = frozenset(address.casefold() for address in origin.emails)
    here = {host.lower() for host in (origin.host, origin.host.partition(".")[0]) if host and origin.user}
    account = (
        re.compile(f"{re.escape(origin.user)}@(?:{'|'.join(map(re.escape, sorted(here)))})(?![\\w.-])")
        if here
        else None
    )

    def find(page: Page) -> Iterator[Hit]:
        for match in _DOMAIN.finditer(page.text):
            start = _address_start(page.text, match.start())
            if start is None or not _personal(page.text[start : match.start()], match[1]):
                continue
            address = page.text[start : match.end()]
            if address.casefold() not in declared:
                yield Hit(start, match.end(), _shortened(address))
        for match in account.finditer(page.text) if account else ():
            yield Hit(match.start(), match.end(), match[0])

    return find


def _address_start(text: str, at: int) -> int | None:
    """Return where the address begins whose ``@`` is at ``at``; none in a package URL, where a version follows."""
    name = _LOCAL_PART.search(text, max(0, at - 64), at)
    if name is None:
        return None
    start = at - len(name[0].lstrip(".%+-"))
    return None if start == at or "pkg:" in text[max(0, start - 40) : start].rpartition(" ")[2] else start


def _personal(name: str, domain: str) -> bool:
    """Say whether ``name@domain`` can be somebody's address: ``git@github.com`` is everybody's."""
    lower = domain.lower()
    everybody = name.lower() in ("git", "hg") or name.lower().endswith(".git")
    return not everybody and not _RESERVED.fullmatch(lower) and lower.rpartition(".")[2] not in _FILES


def rules(origin: Origin) -> tuple[Rule, ...]:
    """Return the rules for what leads to ``origin``."""
    directories = {text.lower() for path in origin.directories for text in _spelled(path)}
    account = {f"/{origin.user.lower()}"} if _distinctive(origin.user) else set()
    return (
        Rule(
            name="home",
            what="a path in a home directory",
            source="Filesystem Hierarchy Standard 3.0, 3.8 and 3.14; POSIX.1-2017, 2.6.1; Windows' known folders",
            words=("/", "~", ":\\"),
            find=_homes,
        ),
        Rule(
            name="path",
            what="an absolute path",
            source="Filesystem Hierarchy Standard 3.0, chapter 3; names of laboratories' file systems; RFC 8089",
            words=("/",),
            find=_absolute,
        ),
        Rule(
            name="directory",
            what="a directory of this machine",
            source="the author's directories and account",
            words=tuple(sorted(directories | account)),
            find=_directories(origin),
        ),
        Rule(
            name="email",
            what="an e-mail address that archive.metadata doesn't have",
            source="RFC 5322, section 3.4.1, as far as addresses are used",
            words=("@",),
            find=_emails(origin),
        ),
    )
