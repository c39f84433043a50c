"""What is published installs and works where nothing else of the project is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from napari_celltrain.cli.installed import installed_packages

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the source distribution."""
    pytest.importorskip("build", reason="'build' is not installed")
    pytest.importorskip("hatchling", reason="'hatchling' is not installed")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_wheel_holds_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "napari_celltrain/napari.yaml" in names
    assert "napari_celltrain/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"napari_celltrain"}
    assert not [name for name in names if "test" in name.lower().split("/")[0]]
    metadata = next(name for name in names if name.endswith("METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Classifier: Framework :: napari" in text
    assert "License-Expression: BSD-3-Clause" in text


def test_source_distribution_can_be_built_from(built):
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        size = sum(member.size for member in archive.getmembers())
    assert {"pyproject.toml", "README.md", "LICENSE", "src/napari_celltrain/napari.yaml"} <= names
    assert size < 20_000_000
    assert not [name for name in names if name.startswith((".venv", "runs", "quickstart"))]


def test_installed_wheel_works(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    # The libraries are this environment's; the plugin is the wheel's alone.
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=False)
    folder = tmp_path / "env"
    site = next(folder.rglob("site-packages"), None) or folder / "Lib" / "site-packages"
    zipfile.ZipFile(wheel).extractall(site)
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n", "utf-8")
    python = next(
        path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe")
        if path.exists()
    )  # fmt: skip
    code = (
        "import napari_celltrain, sys; print(napari_celltrain.__file__); "
        "from importlib.metadata import entry_points as e; "
        "print([p.value for p in e(group='napari.manifest') if p.name == 'napari-celltrain'][0]); "
        "from napari_celltrain.cli import main; sys.exit(main(['sample', sys.argv[1], '--kind', "
        "'plane', '--json']) or main(['count', sys.argv[1], '--json']))"
    )
    done = subprocess.run(
        [str(python), "-c", code, str(tmp_path / "sample")],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert Path(lines[0]).is_relative_to(site)
    assert lines[1] == "napari_celltrain:napari.yaml"


def test_manifest_is_valid(built):
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(ROOT / "src" / "napari_celltrain" / "napari.yaml")
    assert manifest.contributions.widgets
    assert manifest.contributions.readers
    manifest.validate_imports()


def test_the_tools_of_the_package_index_have_no_complaint(built):
    for module in ("twine", "check_wheel_contents"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    files = [str(file) for file in built.iterdir() if file.suffix in (".whl", ".gz")]
    wheels = [file for file in files if file.endswith(".whl")]
    for command in (["twine", "check", "--strict", *files], ["check_wheel_contents", *wheels]):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr


START = """
import sys, time
from npe2 import PluginManager, PluginManifest
begin = time.process_time()
manager = PluginManager()
manager.register(PluginManifest.from_distribution("napari-celltrain"))
print(time.process_time() - begin)
loaded = [name for name in sys.modules if name.startswith("napari_celltrain.") or name == "torch"]
assert not loaded, loaded
"""


def test_napari_starts_as_fast_as_without():
    pytest.importorskip("npe2")
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", START], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout))
    assert min(seconds) < 0.1


def test_no_dependency_forces_its_licence_on_others():
    """Of all that a plain install brings; the Qt binding is the user's choice."""
    packages = installed_packages(optional=False)
    assert len(packages) > 20
    strict = [one for one in packages if one.is_under_gpl]
    assert not strict
