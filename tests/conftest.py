"""What several test modules share."""

import os
from pathlib import Path

import pytest
from command import EPOCH, Command, with_kernels
from hypothesis import settings
from shared import SHARED, needed

settings.register_profile("unhurried", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("unhurried")

collect_ignore = ["golden/make.py"]
"""A script, which has no tests."""
collect_ignore_glob = ["gate/*"]
"""Files with planted faults, which are read and never run."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the directory of real ROOT files beside the project."""
    return needed(SHARED / "data")


@pytest.fixture(scope="session")
def crate_validator() -> Path:
    """Return the script that validates an unpacked crate, beside the project."""
    return needed(SHARED / "rocrate" / "validate_crate.py")


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache directory for the whole session, so that each kernel compiles once for all its workers."""
    configured = os.environ.get("FASTHEP_ARCHIVE_TEST_CACHE")
    if configured:
        return Path(configured)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return tmp_path_factory.mktemp("cache")
    shared = tmp_path_factory.getbasetemp().parent / "cache"  # the session's, above those of its workers
    shared.mkdir(mode=0o700, exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def command(kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command, with the kernels of the session."""
    return Command(cache=with_kernels(tmp_path_factory.mktemp("store"), kernel_cache))


@pytest.fixture
def fresh(kernel_cache: Path, tmp_path: Path) -> Command:
    """Return the command with an empty store, and the kernels of the session."""
    return Command(cache=with_kernels(tmp_path / "cache", kernel_cache))


@pytest.fixture(scope="session")
def example(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example as ``init`` leaves it. Not to be changed."""
    directory = tmp_path_factory.mktemp("example") / "dimuon"
    command("init", directory)
    return directory


@pytest.fixture(scope="session")
def example_bundle(command: Command, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of the example, packed by one worker at a fixed time; no package index was asked."""
    path = tmp_path_factory.mktemp("bundle") / "dimuon.crate.zip"
    command("pack", "workflow.yaml", "-o", path, "-j", "1", "-q", "--no-index", cwd=example, SOURCE_DATE_EPOCH=EPOCH)
    return path
