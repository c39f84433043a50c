"""The house in docs/design.md: arrows run downwards, and what is cheap stays cheap."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_celltrain"
NAME = "napari_celltrain"

FLOORS = {
    "experiment": 1,
    "errors": 1,
    "files": 1,
    "formats": 2,
    "images": 2,
    "statistics": 2,
    "evaluation": 2,
    "simulation": 2,
    "known": 2,
    "dataset": 3,
    "detector": 3,
    "training": 4,
    "prediction": 4,
    "sharing": 4,
    "cli": 5,
    "gui": 5,
    "__main__": 6,
    "__init__": 6,
}
WITHOUT_TORCH = {
    "training": {"settings", "events", "run"},
}
WITH_TORCH = {"detector", "training", "prediction", "sharing"}
QT_AND_NAPARI = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "superqt", "magicgui"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def part_of(name: str) -> str:
    """The house's part that a dotted module name belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path, *, also_for_types: bool = True) -> set[str]:
    """Dotted names of everything a file imports, at the top and inside functions."""
    tree = ast.parse(path.read_text("utf-8"))
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    if not also_for_types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1] + ([base] if base else []))
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return found


def test_every_module_has_a_floor():
    unknown = {part_of(dotted(path)) for path in modules()} - set(FLOORS)
    assert not unknown, f"give these a floor, here and in docs/design.md: {sorted(unknown)}"


def test_the_picture_of_the_house_has_every_room_on_its_floor():
    picture = ElementTree.parse(ROOT / "docs" / "images" / "layers.svg")
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    shown, floor = {}, 0
    for text in texts:
        if text in ("1", "2", "3", "4", "5"):
            floor = int(text)
        elif text in FLOORS:
            shown[text] = floor
    assert shown == {room: floor for room, floor in FLOORS.items() if not room.startswith("_")}


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_run_downwards(path):
    own = part_of(dotted(path))
    for name in imports(path, also_for_types=False):
        if name.split(".")[0] != NAME or name in (NAME, f"{NAME}.__version__"):
            continue
        other = part_of(name)
        if other == own or other not in FLOORS:
            continue
        assert FLOORS[other] <= FLOORS[own], f"{dotted(path)} imports {name}, from a floor above"
        if FLOORS[own] == 5:
            assert FLOORS[other] < 5, f"{dotted(path)} imports {name}: cli and gui are apart"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_only_the_window_knows_qt_and_napari(path):
    if part_of(dotted(path)) == "gui":
        return
    outside = {name.split(".")[0] for name in imports(path)} & QT_AND_NAPARI
    assert not outside


def names_torch(path: Path) -> bool:
    return any(name.split(".")[0] == "torch" for name in imports(path))


def test_only_the_engine_knows_torch():
    knows = {dotted(path): path for path in modules() if names_torch(path)}
    parts = {part_of(name) for name in knows}
    assert parts <= WITH_TORCH, f"torch is imported in {sorted(knows)}"
    for part, without in WITHOUT_TORCH.items():
        for name in without:
            assert f"{NAME}.{part}.{name}" not in knows


CHECK = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
banned = {"torch", "napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui"}
print(json.dumps(sorted(banned & set(sys.modules))))
"""


def test_opening_and_counting_import_neither_torch_nor_napari():
    cheap = {"formats", "images", "statistics", "evaluation", "dataset", "simulation", "cli",
             "experiment", "errors", "files", "known", "__init__", "__main__"}  # fmt: skip
    names = [dotted(path) for path in modules() if part_of(dotted(path)) in cheap]
    names += [f"{NAME}.training.{name}" for name in sorted(WITHOUT_TORCH["training"])]
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-c", CHECK, json.dumps(names)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout) == []


COUNT = """
import sys
from napari_celltrain.cli import main
status = main(["count", sys.argv[1], "--json"])
assert status == 0, status
for name in ("torch", "napari", "qtpy"):
    assert name not in sys.modules, name
"""


def test_counting_does_not_import_torch(tmp_path):
    from napari_celltrain.cli import main

    assert main(["sample", str(tmp_path / "sample"), "--kind", "plane"]) == 0
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(tmp_path / "sample" / "dataset.toml")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["total"]["positions"] > 0


def test_the_manifest_at_the_top_is_the_packaged_one():
    assert (ROOT / "napari.yaml").read_bytes() == (PACKAGE / "napari.yaml").read_bytes()


def test_import_of_the_package_is_cheap():
    code = f"import sys, {NAME}; print(len([m for m in sys.modules if m.startswith('numpy')]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) == 0
