"""What several test modules share."""

import os
from pathlib import Path

import pytest
from command import EPOCH, Command, with_kernels
from shared import SHARED, needed

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
    """Return one cache directory for the whole session, so that each kernel compiles once."""
    configured = os.environ.get("FASTHEP_ARCHIVE_TEST_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")


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
