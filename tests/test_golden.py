"""Bundles of every format that ever was: this version must verify, read and replay them."""

import hashlib
import subprocess
import sys
from pathlib import Path

import hist
import pytest

import fasthep_archive
from fasthep_archive.archive import Replayed
from fasthep_archive.bundle.claims import FORMAT
from fasthep_archive.data.products import Cutflow
from fasthep_archive.verification.verdict import Level

GOLDEN = Path(__file__).parent / "golden"
BUNDLES = sorted(GOLDEN.glob("*.crate.zip"))


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def replayed(golden: Path, kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    out = tmp_path_factory.mktemp("golden") / "again"
    return fasthep_archive.replay(golden, out, consent=lambda _: True, env="current", workers=1, cache=kernel_cache)


def test_there_is_a_bundle_of_each_format() -> None:
    assert [path.name for path in BUNDLES] == [f"dimuon-{number}.crate.zip" for number in range(1, FORMAT + 1)]


def test_it_is_the_one_that_was_released(golden: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (GOLDEN / "SHA256SUMS").read_text().splitlines())
    assert hashlib.sha256(golden.read_bytes()).hexdigest() == sums[golden.name]


def test_it_is_small(golden: Path) -> None:
    assert golden.stat().st_size < 1_200_000


def test_it_verifies(golden: Path) -> None:
    assert fasthep_archive.verify(golden).problems == ()


def test_it_verifies_itself(golden: Path) -> None:
    done = subprocess.run([sys.executable, golden], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout


def test_its_products_can_be_read(golden: Path) -> None:
    with fasthep_archive.open_bundle(golden) as bundle:
        products = dict(bundle.data)
    assert {type(product) for product in products.values()} == {hist.Hist, Cutflow}
    assert len(products) == 10
    assert products["DiMuonMass"].axes.name == ("dataset", "mass")


def test_every_output_has_the_same_content_when_it_is_replayed(golden: Path, replayed: Replayed) -> None:
    levels = {verdict.output: verdict.level for verdict in replayed.report.verdicts}
    with fasthep_archive.open_bundle(golden) as bundle:
        assert levels.keys() == {output.name for output in bundle.summary.outputs}
    assert max(levels.values()) <= Level.CONTENT, replayed.report.to_json()
    assert replayed.report.exit_status == 0
