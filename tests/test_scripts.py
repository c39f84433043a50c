"""The scripts of the README, and that all that checks the project checks the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SCRIPTS = sorted([*(ROOT / "scripts").glob("*.sh"), *(ROOT / ".ci").iterdir()])
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
POSIX = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("bash"), reason="the scripts are for bash"
)


def _commands(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@POSIX
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_can_be_read_by_bash(script):
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "set -euo pipefail" in script.read_text("utf-8") or script.name == "run"


@POSIX
def test_the_quick_start_looks_for_its_folder_before_it_installs_anything(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text("touch installed\n", "utf-8")
    (tmp_path / "quickstart").mkdir()
    command = ["bash", str(tmp_path / "scripts" / "quickstart.sh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "already there" in done.stderr
    assert not (tmp_path / "installed").exists()


@POSIX
def test_the_quick_start_comes_from_nothing_to_cells_and_a_figure(tmp_path):
    """As the README says it, with an environment that is there already."""
    place = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", place / "scripts")
    shutil.copy(ROOT / "pyproject.toml", place)
    (place / ".venv" / "bin").mkdir(parents=True)
    for name, run in (("python", ""), ("celltrain", "-m napari_celltrain ")):
        script = place / ".venv" / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {run}"$@"\n', "utf-8")
        script.chmod(0o755)
    tools = tmp_path / "tools"  # nothing may be installed by a test
    tools.mkdir()
    (tools / "dpkg-query").write_text("#!/bin/sh\nprintf installed\n", "utf-8")
    (tools / "apt-get").write_text("#!/bin/sh\nexit 1\n", "utf-8")
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    version = subprocess.run([sys.executable, "-V"], capture_output=True, text=True, timeout=20)
    sums = subprocess.run(
        ["cksum"], input=(place / "pyproject.toml").read_bytes(), capture_output=True, timeout=20
    )
    needs = f"{version.stdout.strip()} all torch==2.13.0 {sums.stdout.decode().strip()}"
    (place / ".venv" / "needs").write_text(needs + "\n", "utf-8")
    done = subprocess.run(
        ["bash", "scripts/quickstart.sh", "try"], cwd=place, capture_output=True, text=True,
        timeout=250, env={
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "MINUTES": "0.05", "PYTHON": "",
            "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^F1 0\.\d{3}, precision", done.stdout, re.M)
    assert list((place / "try" / "cells").glob("*.aut"))
    again = subprocess.run(
        ["bash", "scripts/quickstart.sh", "try"], cwd=place, capture_output=True, text=True,
        timeout=60, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": ""},
    )  # fmt: skip
    assert again.returncode == 1
    assert "already there" in again.stderr


def test_style_and_types_are_checked_alike_everywhere():
    test = (ROOT / "scripts" / "test.sh").read_text("utf-8")
    tox = (ROOT / "tox.ini").read_text("utf-8")
    for command in ("ruff check .", "ruff format --check ."):
        assert command in test
        assert f"    {command}\n" in tox
    assert "mypy" in test
    assert "commands = mypy\n" in tox
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    names = {hook["id"] for repository in hooks for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format"} <= names
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_hooks_leave_alone_what_they_would_spoil_or_not_understand():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert re.search(config["exclude"], "tests/data/kept/1/run/run.json")
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    (reader,) = [hook for hook in hooks if hook["id"] == "check-yaml"]
    for file in (*ROOT.glob("*.yml"), *ROOT.glob(".*.yaml"), *(ROOT / ".github").rglob("*.yml")):
        if not re.search(reader["exclude"], file.relative_to(ROOT).as_posix()):
            yaml.safe_load(file.read_text("utf-8"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_what_exists(workflow):
    text = workflow.read_text("utf-8")
    for extras in re.findall(r"-e \"?\.\[([\w,-]+)\]", text):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    environments = set(re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(), re.M))
    for command in _commands(workflow):
        assert set(re.findall(r"\btox -e (\w+)", command)) <= environments
        for script in re.findall(r"(?:^|\s)(\.ci/\w+|scripts/[\w.]+)", command):
            assert (ROOT / script).is_file()
    for action in re.findall(r"uses: (\S+)", text):
        assert re.search(r"@(v\d+|release/v\d+)$", action), f"{action} may change any day"
    assert "\npermissions:\n  contents: read\n" in text, "more is allowed than is needed"


def test_every_python_that_is_promised_is_tested():
    promised = {
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)
    }
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["matrix"]["strategy"]["matrix"]
    tested = {*matrix["python"], *(one["python"] for one in matrix["include"])}
    assert promised == tested
    tox = (ROOT / "tox.ini").read_text("utf-8")
    for version in promised:
        assert version.replace(".", "") in tox
