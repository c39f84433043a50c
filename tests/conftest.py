"""Where the real test data lies, if it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("CELLTRAIN_TEST_DATA", Path(__file__).parents[2] / "shared"))


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} (set CELLTRAIN_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real images with cell centres."""
    return _folder("data")


@pytest.fixture(scope="session")
def formats_folder() -> Path:
    """Real files of other programs."""
    return _folder("formats")
