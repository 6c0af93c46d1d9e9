"""The plug-ins that a bundle needs, as ``inspect`` tells them: names from the document, packages from the wheels."""

from types import SimpleNamespace

import pytest
from locked import zipped

from fasthep_archive.bundle import layout
from fasthep_archive.report.foreign import needed, provided

DOCUMENT = {
    "sources": {"events": {"kind": "beam.lines"}, "more": {"kind": "csv"}},
    "fields": {"P": {"stream": "events", "accessor": "beam.momentum"}, "x": {"stream": "events", "branch": "y"}},
    "analysis": {"stages": [{"id": "A", "op": "hep.define", "write": [{"kind": "lost.sink"}, {"kind": "csv"}]}]},
    "workflows": {"w": {"stages": [{"id": "B", "op": "beam.Scale"}]}},
}
POINTS = """[console_scripts]
beam = beam:main

[fasthep_archive.sources]
beam.lines = beam:Lines

[fasthep_archive.accessors]
beam.momentum = beam:Momentum

[fasthep_archive.operations]
beam.Scale = beam:Scale [extra]
"""


def bundle(document: dict, wheels: dict[str, bytes]) -> SimpleNamespace:
    """Return what is asked of a bundle: its document and its wheels."""
    return SimpleNamespace(
        json={layout.RESOLVED: document}.__getitem__,
        names=lambda folder: tuple(f"{folder}{name}" for name in wheels),
        stretch=lambda name: wheels[name.removeprefix(layout.WHEELS)],
    )


def test_names_of_plugins_come_with_their_packages() -> None:
    wheels = {
        "beam-1.5-py3-none-any.whl": zipped({"beam-1.5.dist-info/entry_points.txt": POINTS}),
        "other-2.0-py3-none-any.whl": zipped({"other.py": ""}),
    }
    assert needed(bundle(DOCUMENT, wheels)).rows == (
        ("accessor", "beam.momentum", "beam 1.5"),
        ("operation", "beam.Scale", "beam 1.5"),
        ("source", "beam.lines", "beam 1.5"),
        ("sink", "lost.sink", ""),
    )


def test_a_bundle_without_plugins_needs_none_and_its_wheels_are_left_alone() -> None:
    assert needed(bundle({"analysis": {"stages": [{"op": "hep.define"}]}}, {"damaged.whl": b"x"})).rows == ()


@pytest.mark.parametrize("wheel", [b"", b"no zip", zipped({"a.dist-info/entry_points.txt": "no section"})])
def test_what_is_no_wheel_provides_nothing(wheel: bytes) -> None:
    assert list(provided(wheel)) == []
