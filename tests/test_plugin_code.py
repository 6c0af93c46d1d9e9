"""Plug-ins whose code can change where it lies: their digest is that of the code, and a change under way is refused."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from fasthep_archive import registry
from fasthep_archive.data.plugged import opener
from fasthep_archive.data.source import PROVIDER, Read
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError, UsageError
from fasthep_archive.workflow import plugins
from fasthep_archive.workflow.document import from_json
from fasthep_archive.workflow.draft import Draft

CODE = """
class Lines:
    def read(self, path, options):
        return {"x": [float(line) for line in path.read_text().split()]}
"""

Installs = Callable[..., registry.Provided]


@pytest.fixture
def installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installs:
    """Return a function that installs a source as installers leave it, and returns what the registry says of it."""

    def installed(*, editable: bool, record: bool = True, code: str = CODE) -> registry.Provided:
        site = tmp_path / "site"
        info = site / "livingdemo-1.0.dist-info"
        package = (tmp_path / "tree" if editable else site) / "livingdemo"
        for folder in (info, package):
            folder.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("from .reading import Lines\n")
        (package / "reading.py").write_text(code)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: livingdemo\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[fasthep_archive.sources]\nliving = livingdemo:Lines\n")
        names = [] if editable else ["livingdemo/__init__.py", "livingdemo/reading.py"]
        lines = [f"{name},sha256={sha256((site / name).read_bytes()).hexdigest()},1" for name in names]
        (info / "RECORD").write_text("\n".join([*lines, "livingdemo-1.0.dist-info/RECORD,,"]))
        if not record:
            (info / "RECORD").unlink()
        if editable:
            direct = {"dir_info": {"editable": True}, "url": (tmp_path / "tree").as_uri()}
            (info / "direct_url.json").write_text(json.dumps(direct))
        return looked()

    def looked() -> registry.Provided:
        registry._installed.cache_clear()
        return registry.provided("sources", version="")["living"]

    for folder in ("site", "tree"):
        (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    yield installed
    registry._installed.cache_clear()


@pytest.mark.parametrize("how", [{"editable": True}, {"editable": False, "record": False}], ids=["editable", "bare"])
def test_a_change_of_the_code_changes_the_identity(installs: Installs, how: dict[str, bool]) -> None:
    first, again, other = installs(**how), installs(**how), installs(**how, code=CODE.replace("float", "2 * float"))
    assert first.identity == again.identity
    assert other.identity != first.identity
    assert first.living == ("livingdemo",)


def test_what_was_installed_has_the_digest_of_its_record(installs: Installs) -> None:
    found = installs(editable=False)
    assert found.living == ()
    assert len(found.digest) == 64
    assert installs(editable=False, code=CODE + "\n# more").digest != found.digest


def test_byte_code_is_no_code(installs: Installs, tmp_path: Path) -> None:
    first = installs(editable=True)
    (tmp_path / "tree" / "livingdemo" / "__pycache__").mkdir()
    (tmp_path / "tree" / "livingdemo" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert installs(editable=True).identity == first.identity


def test_code_that_changes_after_it_was_looked_at_is_refused(installs: Installs, tmp_path: Path) -> None:
    found = installs(editable=True)
    (tmp_path / "tree" / "livingdemo" / "reading.py").write_text(CODE + "\n# changed")
    with pytest.raises(UsageError, match="livingdemo, which provides 'living', was changed after this process began"):
        found.load()


def test_a_source_does_not_read_for_a_plan_of_another_version_of_it(installs: Installs, tmp_path: Path) -> None:
    found = installs(editable=True)
    (tmp_path / "a.txt").write_text("1 2")

    class Lines:
        def read(self, path: Path, _options: object) -> object:
            return {"x": [float(line) for line in path.read_text().split()]}

    opened = opener(Lines, found)
    with opened(tmp_path / "a.txt", Read(kind="living", tree="", options={PROVIDER: found.identity})) as events:
        assert events.entries == 2
    with pytest.raises(DataError, match="'living' of livingdemo is not what it was when the run was planned"):
        opened(tmp_path / "a.txt", Read(kind="living", tree="", options={PROVIDER: "livingdemo 0.9"}))


def test_our_own_name_has_no_version_in_the_message_about_rivals() -> None:
    rivals = ("audit-pb 2.0",)
    both = registry.Provided(kind="sources", name="csv", target="x:Y", provider="ours", version="", rivals=rivals)
    with pytest.raises(UsageError, match=r"source 'csv' is provided more than once: ours, audit-pb 2\.0"):
        both.load()


@pytest.mark.parametrize("short", [[7.0], [7.0, 8.0], []])
def test_columns_of_different_lengths_are_told_and_not_filled_up(installs: Installs, short: list[float]) -> None:
    class Ragged:
        def read(self, _path: Path, _options: object) -> object:
            return {"n": [1, 2, 3], "m": short}

    with pytest.raises(DataError) as caught:
        opener(Ragged, installs(editable=True))(Path("a.txt"), Read(kind="living", tree=""))
    assert caught.value.message == f"source 'living' gives 'n' of a.txt 3 events and 'm' {len(short)}"
    assert "fasthep-archive plugins says whose" in str(caught.value.hint)


def test_what_is_no_array_among_the_columns_is_told(installs: Installs) -> None:
    class Single:
        def read(self, _path: Path, _options: object) -> object:
            return {"n": [1, 2, 3], "m": 7.0}

    with pytest.raises(DataError, match=r"^source 'living' can't read a.txt: TypeError"):
        opener(Single, installs(editable=True))(Path("a.txt"), Read(kind="living", tree=""))


def test_all_kinds_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registry._installed.cache_clear()
    asked = []
    found = registry.metadata.entry_points
    monkeypatch.setattr(registry.metadata, "entry_points", lambda: asked.append(1) or found())
    for kind in registry.GROUPS:
        registry.provided(kind, version="")
        registry.plugged(kind)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("params", "message", "hint"),
    [
        ({"field": "x", "leest": 1}, "unknown parameter 'leest' of demo.above", "did you mean 'least'?"),
        ({"least": 1}, "missing parameter 'field' of demo.above", None),
    ],
)
def test_parameters_of_an_operation_of_fasthep_are_those_of_its_function(
    params: Mapping[str, JSON], message: str, hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Above:
        spec = {"kind": "transform"}  # noqa: RUF012 - as FAST-HEP writes it

        @staticmethod
        def impl(*, stream: object, ctx: object, field: str, least: float = 0) -> object: ...

    monkeypatch.setattr(plugins, "loaded", lambda *_: Above)
    draft = Draft(from_json({"version": "1.1"}, name="w"), problems=())
    plugins.checked("operations", "demo.above", params, ("params",), draft)
    assert [(fault.message, fault.hint) for fault in draft.faults] == [(message, hint)]
