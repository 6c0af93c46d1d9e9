"""The analysis's own code: which modules a function needs, what its digest depends on, what is wrong with it."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fasthep_archive.errors import Fault
from fasthep_archive.workflow.code import Code, functions
from fasthep_archive.workflow.document import Document, from_json, load
from fasthep_archive.workflow.model import Workflow, build, resolved

DOCUMENT = """\
version: "1.1"
code: {{path: code{extra}}}
data: {{datasets: [{{name: data, eventtype: data, files: [data.root]}}]}}
sources: {{events: {{kind: root_tree, tree: events, stream_type: event_stream}}}}
analysis:
  stages:
    - id: Pt
      op: hep.hist
      params: {{axes: [{{name: pt, source: pt, type: regular, bins: {{nbins: 2, low: 0, high: 1}}}}]}}
    - id: Fit
      op: run.python
      needs: [Pt]
      params: {{callable: "{target}", returns: {{values: [mu]}}}}
"""

Author = Callable[..., tuple[Workflow, tuple[Fault, ...]]]


@pytest.fixture
def author(tmp_path: Path) -> Author:
    """Return a function that writes code, and reads a workflow that calls ``model:fit`` of it."""

    def written(
        files: Mapping[str, str | bytes], target: str = "model:fit", extra: str = ""
    ) -> tuple[Workflow, tuple[Fault, ...]]:
        (tmp_path / "code").mkdir(exist_ok=True)
        for name, content in files.items():
            path = tmp_path / "code" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        document = tmp_path / "workflow.yaml"
        document.write_text(DOCUMENT.format(target=target, extra=extra))
        return build(load(document))

    return written


@pytest.fixture
def code(author: Author) -> Callable[..., Code]:
    """Return a function that returns the code of a stage that has no faults."""

    def found(files: Mapping[str, str | bytes], target: str = "model:fit", extra: str = "") -> Code:
        workflow, faults = author(files, target, extra)
        assert faults == ()
        own = workflow.stage("Fit").code
        assert own is not None
        return own

    return found


def fault(found: tuple[Fault, ...]) -> Fault:
    (single,) = found
    return single


# --- what is carried --------------------------------------------------------------------------------------------------

TREE = {
    "model.py": "from fit.minimum import least\nimport numpy\ndef fit(data):\n    return least(data)\n",
    "fit/__init__.py": "",
    "fit/minimum.py": "from . import steps\nfrom ..tables import known\ndef least(x):\n    return steps.down(x)\n",
    "fit/steps.py": "import importlib\ndef down(x):\n    return importlib.import_module('late').x\n",
    "late.py": "x = 1\n",
    "unrelated.py": "import os\n",
    "notes.txt": "nothing",
}


def test_modules_are_found_by_their_imports(code: Callable[..., Code]) -> None:
    tree = {**TREE, "fit/minimum.py": TREE["fit/minimum.py"].replace("from ..tables import known\n", "")}
    assert [*code(tree).files] == ["fit/__init__.py", "fit/minimum.py", "fit/steps.py", "late.py", "model.py"]


def test_a_relative_import_beyond_the_top_is_a_fault(author: Author) -> None:
    _, faults = author(TREE)
    found = fault(faults)
    assert (found.message, found.where.line if found.where else 0) == ("there is no module '..tables'", 2)


def test_import_star_takes_its_module_along(code: Callable[..., Code]) -> None:
    own = code({"model.py": "from tables import *\ndef fit(): return known\n", "tables.py": "known = 1\n"})
    assert [*own.files] == ["model.py", "tables.py"]


def test_imports_for_type_checkers_and_of_scripts_are_not_followed(code: Callable[..., Code]) -> None:
    guarded = "import typing\nif typing.TYPE_CHECKING:\n    import a\nif __name__ == '__main__':\n    import b\n"
    own = code({"model.py": f"{guarded}def fit(): ...\n", "a.py": "", "b.py": ""})
    assert [*own.files] == ["model.py"]


def test_a_directory_of_modules_is_a_package_without_a_file_that_says_so(code: Callable[..., Code]) -> None:
    own = code(
        {"model.py": "import shapes_.one\ndef fit(): return shapes_.one.f()\n", "shapes_/one.py": "def f(): ...\n"}
    )
    assert [*own.files] == ["model.py", "shapes_/one.py"]


def test_files_that_the_document_names_are_carried(code: Callable[..., Code]) -> None:
    own = code(
        {"model.py": "def fit(): ...\n", "w.json": b"{}", "a.cpp": b"", "b.cpp": b""},
        extra=', files: [w.json, "*.cpp"]',
    )
    assert [*own.files] == ["a.cpp", "b.cpp", "model.py", "w.json"]


def test_a_pattern_takes_no_hidden_and_no_compiled_files(code: Callable[..., Code]) -> None:
    files = {"model.py": "def fit(): ...\n", "a/b.txt": "", ".git/c": "", "__pycache__/d.pyc": b"", ".e": ""}
    assert [*code(files, extra=', files: ["**/*"]').files] == ["a/b.txt", "model.py"]


def test_imported_distributions_are_told(author: Author) -> None:
    workflow, _ = author({"model.py": "import numpy.linalg\nimport os, yaml\ndef fit(): ...\n"})
    assert workflow.distributions == {"numpy": ("numpy",), "yaml": ("PyYAML",)}


def test_nothing_of_it_is_run(code: Callable[..., Code], tmp_path: Path) -> None:
    code({"model.py": f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\ndef fit(): ...\n"})
    assert not (tmp_path / "ran").exists()
    assert "model" not in sys.modules


# --- what the digest depends on ---------------------------------------------------------------------------------------

MODEL = '''\
"""A model."""
import tools
from tables import EDGES

SCALE = 2.0
OTHER = 3.0


def helper(x):
    return x * SCALE


def fit(data):
    """Fit."""
    return tools.shift(helper(data), EDGES)


def plot(data):
    return OTHER
'''
TOOLS = "OFFSET = 1\ndef shift(x, edges):\n    return x + OFFSET\ndef other(x):\n    return x\n"
TABLES = "EDGES = [1, 2]\nNAMES = ['a']\n"


def base() -> dict[str, str]:
    return {"model.py": MODEL, "tools.py": TOOLS, "tables.py": TABLES}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", '"""Fit."""', '"""Fit it."""'),
        ("model.py", "    return x * SCALE", "    # twice\n    return (x  *\n            SCALE)"),
        ("model.py", "    return OTHER", "    return OTHER + 1"),
        ("model.py", "OTHER = 3.0", "OTHER = 4.0"),
        ("model.py", "import tools\n", "import tools\nimport json\n"),
        ("tools.py", "def other(x):\n    return x\n", ""),
        ("tables.py", "['a']", "['b']"),
    ],
)
def test_what_the_function_does_not_reach_changes_no_digest(
    code: Callable[..., Code], file: str, old: str, new: str
) -> None:
    before = code(base()).digest
    assert old in base()[file]
    assert code({**base(), file: base()[file].replace(old, new)}).digest == before


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("model.py", "tools.shift(helper(data), EDGES)", "tools.shift(helper(data), [])", "function fit in model.py"),
        ("model.py", "x * SCALE", "x / SCALE", "function helper in model.py"),
        ("model.py", "SCALE = 2.0", "SCALE = 2", "SCALE in model.py"),
        ("tools.py", "OFFSET = 1", "OFFSET = 2", "OFFSET in tools.py"),
        ("tools.py", "x + OFFSET", "x - OFFSET", "function shift in tools.py"),
        ("tables.py", "[1, 2]", "[1, 3]", "EDGES in tables.py"),
    ],
)
def test_what_it_reaches_changes_the_digest_and_is_named(
    code: Callable[..., Code], file: str, old: str, new: str, part: str
) -> None:
    before = code(base()).parts
    after = code({**base(), file: base()[file].replace(old, new)}).parts
    assert [name for name in after if before.get(name) != after[name]] == [part]


def changes(code: Callable[..., Code], before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    return code(before).digest != code({**before, **after}).digest


UNRELATED = "\ndef unrelated():\n    return {}\n"


@pytest.mark.parametrize(
    "line",
    [
        "def fit(): return globals()['unrelated']()",
        "def fit(): return eval('unrelated()')",
        "def fit(): exec('unrelated()')",
        "def fit():\n    import model\n    return getattr(model, 'unrelated')()",
        "def fit():\n    import sys\n    return sys.modules[__name__].unrelated()",
        "import importlib\ndef fit(name): return importlib.import_module(name)",
        "from tables import *\ndef fit(): return 1",
    ],
    ids=["globals", "eval", "exec", "getattr", "modules", "import_module", "star"],
)
def test_where_it_cannot_be_told_the_whole_module_counts(code: Callable[..., Code], line: str) -> None:
    one, other = (f"{line}{UNRELATED.format(number)}" for number in (1, 2))
    assert changes(code, {"model.py": one, "tables.py": TABLES}, {"model.py": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import numpy\nnumpy.seterr(all='raise')\n", "import numpy\nnumpy.seterr(all='ignore')\n"),
        ("def set_up(): return 1\nset_up()\n", "def set_up(): return 2\nset_up()\n"),
        (
            "R = {}\ndef add(f): R[f.__name__] = f\n@add\ndef a(): return 1\n",
            "R = {}\ndef add(f): R[f.__name__] = f\n@add\ndef a(): return 2\n",
        ),
        ("class B: ...\nclass C(B):\n    x = 1\n", "class B: ...\nclass C(B):\n    x = 2\n"),
        ("try:\n    X = 1\nexcept ValueError:\n    X = 2\n", "try:\n    X = 1\nexcept ValueError:\n    X = 3\n"),
    ],
    ids=["call", "called", "decorator", "subclass", "try"],
)
def test_what_a_module_does_when_it_is_imported_counts(code: Callable[..., Code], one: str, other: str) -> None:
    model = {"model.py": "import tools\ndef fit(): return 1\n", "tools.py": one}
    assert changes(code, model, {"tools.py": other})


def test_a_name_that_another_module_passes_on_is_followed(code: Callable[..., Code]) -> None:
    files = {
        "model.py": "from a import f\ndef fit(): return f()\n",
        "a.py": "from b import g as f\n",
        "b.py": "def g(): return 1\n",
    }
    assert changes(code, files, {"b.py": "def g(): return 2\n"})


def test_what_makes_the_names_that_a_module_does_not_bind_counts(code: Callable[..., Code]) -> None:
    model = {"model.py": "import tools\ndef fit(): return tools.answer\n"}
    text = "def made(): return {}\ndef __getattr__(name): return made()\n"
    assert changes(code, {**model, "tools.py": text.format(1)}, {"tools.py": text.format(2)})


def test_what_a_module_binds_needs_nothing_that_makes_names(code: Callable[..., Code]) -> None:
    model = {"model.py": "import tools\ndef fit(): return tools.answer()\n"}
    text = "def answer(): return 1\ndef __getattr__(name): return {}\n"
    assert not changes(code, {**model, "tools.py": text.format(1)}, {"tools.py": text.format(2)})


SEARCHES = [
    "import pkgutil, pkg\ndef fit(): return [m.name for m in pkgutil.iter_modules(pkg.__path__)]\n",
    "import pkg\nfrom pkgutil import walk_packages as walked\ndef fit(): return list(walked(getattr(pkg, 'here')))\n",
]


@pytest.mark.parametrize("text", SEARCHES)
def test_what_looks_for_its_modules_has_its_whole_package(code: Callable[..., Code], text: str) -> None:
    files = {"model.py": text, "pkg/__init__.py": "", "pkg/a.py": "A = 1\n", "pkg/sub/b.py": "", "beside.py": ""}
    assert sorted(code(files).files) == ["model.py", "pkg/__init__.py", "pkg/a.py", "pkg/sub/b.py"]


def test_a_package_that_lists_its_own_directory_is_carried_whole(code: Callable[..., Code]) -> None:
    text = "from pathlib import Path\nHERE = Path(__file__).parent\ndef names(): return list(HERE.glob('*.py'))\n"
    files = {"model.py": "from pkg import names\ndef fit(): return names()\n", "pkg/__init__.py": text}
    assert changes(code, {**files, "pkg/a.py": "A = 1\n"}, {"pkg/a.py": "A = 2\n"})


def test_a_module_that_is_named_in_a_call_of_import_is_carried(code: Callable[..., Code]) -> None:
    files = {"model.py": "def fit(): return __import__('tools').x\n", "tools.py": "x = 1\n"}
    assert sorted(code(files).files) == ["model.py", "tools.py"]


def test_modules_that_import_each_other_are_followed_once(code: Callable[..., Code]) -> None:
    files = {"model.py": "import a\ndef fit(): return a.f()\n", "a.py": "import model\ndef f(): return model.fit\n"}
    assert sorted(code(files).parts) == [
        "function f in a.py",
        "function fit in model.py",
        "import of a in model.py",
        "import of model in a.py",
    ]


def test_a_global_that_a_function_sets_is_part_of_what_reads_it(code: Callable[..., Code]) -> None:
    files = {"model.py": "X = 0\ndef put():\n    global X\n    X = 1\ndef fit():\n    return X\n"}
    assert "function put in model.py" in code(files).parts


def test_a_renamed_package_of_packages_is_followed(code: Callable[..., Code]) -> None:
    files = {
        "model.py": "import a.b as a\ndef fit(): return a.f()\n",
        "a/__init__.py": "",
        "a/b.py": "def f(): return 1\n",
    }
    assert changes(code, files, {"a/b.py": "def f(): return 2\n"})


def test_a_carried_file_is_part_of_the_digest(code: Callable[..., Code]) -> None:
    files = {"model.py": "def fit(): ...\n", "w.json": "1"}
    before = code(files, extra=", files: [w.json]")
    after = code({**files, "w.json": "2"}, extra=", files: [w.json]")
    assert before.parts["w.json"] != after.parts["w.json"]
    assert before.digest != after.digest


def test_the_version_of_an_imported_distribution_is_part_of_it(code: Callable[..., Code]) -> None:
    own = code({"model.py": "import numpy\ndef fit(): ...\n"})
    assert [part.split()[0] for part in own.parts] == ["function", "numpy"]


def test_docstrings_count_where_a_module_looks_at_them(code: Callable[..., Code]) -> None:
    files = {"model.py": '"""One."""\ndef fit(): return __doc__\n'}
    assert changes(code, files, {"model.py": '"""Two."""\ndef fit(): return __doc__\n'})


def test_a_function_of_an_installed_distribution_has_no_files(code: Callable[..., Code]) -> None:
    own = code({}, target="numpy.linalg:norm")
    assert (dict(own.files), own.imports) == ({}, ("numpy",))


def test_functions_lists_what_modules_consist_of() -> None:
    found = functions({"model.py": MODEL.encode(), "broken.py": b"def (", "w.json": b"{}"})
    assert [name for name in found if name.startswith("function")] == [
        "function helper in model.py",
        "function fit in model.py",
        "function plot in model.py",
    ]


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_resolved_document_means_the_same(author: Author, tmp_path: Path) -> None:
    workflow, _ = author({**base(), "w.json": "1"}, extra=', files: ["*.json"]')
    plain = resolved(workflow)
    assert isinstance(plain, Mapping)
    assert plain["code"] == {"path": "code", "files": ["w.json"]}
    again, faults = build(load_as(plain, tmp_path))
    assert (again, faults) == (workflow, ())


def load_as(plain: object, place: Path) -> Document:
    path = place / "resolved.yaml"
    path.write_text(json.dumps(plain))
    return load(path)


def test_code_beside_the_document_needs_no_key(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def fit(): ...\n")
    text = "".join(
        line for line in DOCUMENT.format(target="model:fit", extra="").splitlines(True) if "code:" not in line
    )
    (tmp_path / "workflow.yaml").write_text(text)
    workflow, faults = build(load(tmp_path / "workflow.yaml"))
    assert faults == ()
    assert workflow.code is not None
    assert (workflow.code.path, [*workflow.code.files]) == (".", ["model.py"])


def test_a_document_that_is_no_file_has_no_code(author: Author) -> None:
    workflow, _ = author(base())
    again, faults = build(from_json(resolved(workflow), name="resolved"))
    assert (again.code, faults) == (None, ())


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("modle:fit", "there is no module 'modle'", "did you mean 'model'?"),
        ("model:fitt", "has no function 'fitt'", "did you mean 'fit'?"),
        ("fits:fit", "there is no module 'fits'", "modules are looked for"),
    ],
)
def test_what_is_not_there_is_told_at_the_callable(author: Author, target: str, message: str, hint: str) -> None:
    found = fault(author(base(), target)[1])
    assert found.message.endswith(message)
    assert hint in str(found.hint)
    assert found.where is not None
    assert found.where.line == 13


def test_a_syntax_error_is_told_where_it_is(author: Author, tmp_path: Path) -> None:
    found = fault(author({**base(), "tools.py": "x = 1\ndef shift(:\n"})[1])
    assert (str(found.where), "no Python" in found.message) == (f"{tmp_path / 'code/tools.py'}:2:11", True)


@pytest.mark.parametrize("content", [b"\0", b"\xff\xfe = 1\n"], ids=["null", "encoding"])
def test_what_is_no_text_is_no_python(author: Author, content: bytes) -> None:
    assert "no Python" in fault(author({"model.py": content})[1]).message


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (", files: [weights.json]", "there is no file weights.json"),
        (', files: ["*.cpp"]', "there is no file *.cpp"),
        (", files: [../workflow.yaml]", "../workflow.yaml is not below the directory of the code"),
        (", files: [/etc/passwd]", "/etc/passwd is not below the directory of the code"),
    ],
)
def test_files_that_are_not_there_are_told(author: Author, extra: str, message: str) -> None:
    assert fault(author(base(), extra=extra)[1]).message == message


def test_a_link_that_leads_out_is_refused(author: Author, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "link").symlink_to(tmp_path / "secret")
    assert "a link to a file that is not below" in fault(author(base(), extra=", files: [link]")[1]).message


def test_a_directory_that_is_not_there_is_told(author: Author, tmp_path: Path) -> None:
    author(base())
    (tmp_path / "code").rename(tmp_path / "elsewhere")
    _, faults = build(load(tmp_path / "workflow.yaml"))
    assert "there is no directory code" in [found.message for found in faults]


def test_a_module_that_is_nowhere_is_a_warning_at_its_import(author: Author, tmp_path: Path) -> None:
    workflow, faults = author({**base(), "tools.py": "x = 1\nimport nowhere_at_all\ndef shift(): ...\n"})
    (warning,) = workflow.warnings
    assert faults == ()
    assert str(warning).startswith(f"{tmp_path / 'code/tools.py'}:2:1: there is no module 'nowhere_at_all' here")


def test_what_an_import_can_do_without_is_no_warning(author: Author) -> None:
    optional = "try:\n    import nowhere_at_all\nexcept ImportError:\n    pass\ndef shift(): ...\n"
    workflow, faults = author({**base(), "tools.py": optional})
    assert (workflow.warnings, faults) == ((), ())
