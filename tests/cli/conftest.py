"""A small movie and a detector trained on it for a moment, for the commands that need one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from napari_celltrain.cli import main
from napari_celltrain.simulation import write_sample

if TYPE_CHECKING:
    import os
    from pathlib import Path


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The ``dataset.toml`` of a small 2D movie."""
    folder = tmp_path_factory.mktemp("sample")
    return write_sample(folder, kind="plane", time_points=8, size=(1, 96, 96), n_cells=14)


@pytest.fixture(scope="session")
def trained(sample, tmp_path_factory) -> Path:
    """A run folder; the training was short, but its detector finds most cells."""
    run = tmp_path_factory.mktemp("trained") / "run"
    status = main(
        ["train", str(sample), "--out", str(run), "--steps", "150", "--threads", "1", "--set",
         "design.width=8", "--set", "optimiser.batch_size=4"]
    )  # fmt: skip
    assert status == 0
    return run


@pytest.fixture
def result(capsys):
    """Run a command with --json and return its object."""

    def run(*arguments: str | os.PathLike[str], status: int = 0) -> dict:
        assert main([*map(str, arguments), "--json"]) == status
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


@pytest.fixture
def refused(capsys):
    """Run a command that has to fail on bad input, and return its sentence."""

    def run(*arguments: str | os.PathLike[str]) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 2
        told = capsys.readouterr()
        lines = [line for line in told.err.splitlines() if line.startswith("celltrain")]
        assert len(lines) == 1, told.err
        assert "Traceback" not in told.err
        return lines[0]

    return run
