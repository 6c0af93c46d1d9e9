"""What several test modules share."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the directory of real ROOT files beside the project; CI must have it, others may not."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is missing, and CI must have it")
        pytest.skip(f"needs the ROOT files of {SHARED}, which are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache directory for the whole session, so that each kernel compiles once."""
    configured = os.environ.get("FASTHEP_ARCHIVE_TEST_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")
