"""``celltrain preview``: what the network gets to see, as pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.cli.arguments import positive_int
from napari_celltrain.cli.output import say
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_bytes, write_text

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_celltrain.training.preview import PreviewCrop

SUMMARY = "Write training crops before and after augmentation, with their points."
EXAMPLES = """\
examples:
  celltrain preview dataset.toml --out preview
  celltrain preview dataset.toml --out preview --set augmentation.strength=0.5 --count 20

Each crop is written as before.tif and after.tif (z, y, x) and points.csv; overview.png shows all:
before, after, and the answer that the network should give.
"""
ZOOM = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "dataset",
        nargs="+",
        type=Path,
        metavar="DATASET",
        help="a dataset.toml, an .autlist or a CTC folder",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="where to write; must be empty"
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="assignments",
        help="change one setting; may be given several times",
    )
    parser.add_argument(
        "--count",
        type=positive_int,
        default=12,
        metavar="N",
        help="how many crops (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the crops."""
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.training.settings import TrainingSettings

    folder = arguments.out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CellTrainError(f"{folder} is not an empty folder. Choose another with --out.")
    settings = (
        TrainingSettings.from_toml(arguments.settings) if arguments.settings else TrainingSettings()
    ).changed(arguments.assignments)
    dataset = load_dataset(arguments.dataset)

    from napari_celltrain.training.preview import preview_crops

    crops = preview_crops(dataset, settings, arguments.count)
    write_preview(folder, crops)
    say(f"{len(crops)} crops are in {folder}; look at {folder / 'overview.png'} first.")
    return 0


def write_preview(folder: Path, crops: list[PreviewCrop]) -> None:
    """Write TIFFs, points and an overview of some crops into a folder."""
    import imagecodecs
    import tifffile

    for number, crop in enumerate(crops):
        place = folder / f"crop-{number:03d}"
        for name, image in (("before", crop.before), ("after", crop.after)):
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, image, imagej=True, metadata={"axes": "ZYX"})
            write_bytes(place / f"{name}.tif", buffer.getvalue())
        lines = ["z,y,x,status"] + [
            f"{z:.3f},{y:.3f},{x:.3f},{status}"
            for (z, y, x), status in zip(crop.points, crop.status, strict=True)
        ]
        write_text(place / "points.csv", "\n".join(lines) + "\n")
    rows = [np.concatenate([_panel(c, c.before), _panel(c, c.after), _answer(c)], 1) for c in crops]
    columns = 2
    while len(rows) % columns:
        rows.append(np.zeros_like(rows[0]))
    sheet = np.concatenate(
        [np.concatenate(rows[i : i + columns], 1) for i in range(0, len(rows), columns)], 0
    )
    write_bytes(folder / "overview.png", bytes(imagecodecs.png_encode(sheet)))


def _panel(crop: PreviewCrop, image: NDArray[Any]) -> NDArray[np.uint8]:
    """Brightest value along z, with a cross on each point and a dark frame."""
    flat = np.clip(image.max(axis=0), 0, 1.5) / 1.5
    grey = np.kron((255 * flat).astype(np.uint8), np.ones((ZOOM, ZOOM), np.uint8))
    picture = np.stack([grey] * 3, -1)
    for (_, y, x), status in zip(crop.points, crop.status, strict=True):
        row, column = round((y + 0.5) * ZOOM), round((x + 0.5) * ZOOM)
        colour = (255, 200, 0) if status > 0 else (0, 160, 255)
        picture[max(0, row - 3) : row + 4, min(column, picture.shape[1] - 1)] = colour
        picture[min(row, picture.shape[0] - 1), max(0, column - 3) : column + 4] = colour
    return _framed(picture)


def _answer(crop: PreviewCrop) -> NDArray[np.uint8]:
    """The wanted heat map; blue where the answer is not judged."""
    heat = (255 * crop.target.max(axis=0)).astype(np.uint8)
    picture = np.stack([heat, heat, heat], -1)
    picture[~crop.known.any(axis=0)] = (0, 0, 90)
    height, width = (n * ZOOM for n in crop.after.shape[1:])
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    return _framed(picture[rows][:, columns])


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(picture, ((2, 2), (2, 2), (0, 0)), constant_values=60)
