"""Files of columns are written, digested and compared a few pieces at a time."""

import weakref

import numpy as np
import pytest
from test_writing import in_memory

from fasthep_archive.data import forms, tables
from fasthep_archive.data.arrow_files import ArrowForm, ParquetForm
from fasthep_archive.data.content import of_output
from fasthep_archive.data.csv_files import CsvForm
from fasthep_archive.data.forms import Branch
from fasthep_archive.data.npz_files import NpzForm
from fasthep_archive.data.trees import TreeForm
from fasthep_archive.digest import of_bytes
from fasthep_archive.files import Stretch
from fasthep_archive.formula.columns import Column
from fasthep_archive.verification.columns import compare_columns
from fasthep_archive.verification.root_files import compare_root

COUNT = 150
FORMS = {
    "rntuple": TreeForm(tree="t"),
    "ttree": TreeForm(tree="t", format="ttree"),
    "parquet": ParquetForm(),
    "arrow": ArrowForm(),
    "npz": NpzForm(),
    "csv": CsvForm(),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(forms, "CLUSTER", 100)


def parts(kind, number):
    """Yield columns of every sort that a form can hold."""
    for start in range(0, COUNT * number, COUNT):
        random = np.random.default_rng(start)
        lengths = np.concatenate([[0], np.cumsum(random.poisson(2, COUNT))]).astype(np.int64)
        inside = int(lengths[-1])
        found = {
            "n": Column(np.arange(start, start + COUNT)),
            "x": Column(np.where(random.random(COUNT) < 0.1, np.nan, random.random(COUNT))),
            "word": Column(random.integers(0, 2, COUNT), words=("b", "ccc" if start else "µ")),
        }
        if kind != "csv":
            found["pt"] = Column(random.random(inside).astype("f4"), lengths)
        if kind not in ("npz", "ttree"):
            found["o"] = Column(random.random(COUNT), valid=random.random(COUNT) < 0.5 if start else None)
        if kind not in ("csv", "npz", "ttree"):
            found["inner"] = Column(random.random(inside), lengths, random.random(inside) < 0.5)
        yield found


def branches(kind):
    return [
        Branch(
            name=name,
            text=name == "word",
            optional=name in ("o", "inner"),
            lists=name in ("pt", "inner"),
            counter=f"n{name}",
        )
        for name in next(parts(kind, 1))
    ]


@pytest.mark.parametrize("kind", FORMS)
def test_few_parts_are_in_memory_while_a_file_is_written(kind, tmp_path):
    alive = []

    def watched():
        for part in parts(kind, 12):
            alive.append(weakref.ref(part["x"].content))
            yield part
            del part
            assert sum(reference() is not None for reference in alive) <= 3

    with (tmp_path / "file").open("w+b") as target:
        FORMS[kind].write(target, branches(kind), watched())
    assert len(alive) == 12


@pytest.mark.parametrize("kind", FORMS)
def test_the_content_of_a_file_that_is_read_in_pieces_is_the_same(kind, tmp_path, monkeypatch):
    name = f"x{FORMS[kind].suffix}"
    content = in_memory(FORMS[kind], branches(kind), parts(kind, 4))
    (tmp_path / name).write_bytes(content)
    whole = of_output(content, name)
    monkeypatch.setattr(tables, "STEP", 70)
    assert of_output(content, name) == of_output(Stretch.whole(tmp_path / name), name) == whole != of_bytes(content)


@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind != "csv"])
def test_a_difference_is_told_with_its_entry_in_the_file(kind, monkeypatch):
    monkeypatch.setattr(tables, "STEP", 70)
    found = list(parts(kind, 4))
    changed = found[3]["x"].content.copy()
    changed[17] = 7.0
    sides = [found, [*found[:3], {**found[3], "x": Column(changed)}]]
    compared = compare_root if FORMS[kind].suffix == ".root" else compare_columns
    contrast = compared(*(in_memory(FORMS[kind], branches(kind), side) for side in sides))
    (finding,) = contrast.findings
    assert (finding.where.partition("column ")[2], finding.replayed) == ("'x', entry 467", "7.0")
    assert len(contrast.numbers) == 1
    assert contrast.structure == ()


def test_files_that_are_cut_into_other_pieces_are_compared(monkeypatch):
    one = in_memory(ParquetForm(), branches("parquet"), parts("parquet", 4))
    monkeypatch.setattr(forms, "CLUSTER", 1000)
    other = in_memory(ParquetForm(), branches("parquet"), parts("parquet", 4))
    monkeypatch.setattr(tables, "STEP", 70)
    assert one != other
    contrast = compare_columns(one, other)
    assert contrast.same
    assert contrast.numbers.compared >= 4 * COUNT
