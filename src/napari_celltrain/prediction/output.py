"""What was found, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.files import replacing
from napari_celltrain.formats.registry import formats, is_writable, write_experiment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_celltrain.prediction.predict import FrameResult


ROWS = 10_000
"""Rows of a table that are made at once."""


TABLES = {".csv": ",", ".tsv": "\t", ".txt": ","}
"""What stands between the columns of a table, by suffix."""
FOLDERS = (".geff", ".zarr")
"""Suffixes of what is a folder itself, and replaced as a whole."""


def check_suffix(path: Path) -> None:
    """Refuse a file name that nothing can be written under, before anything slow begins.

    Raises
    ------
    CellTrainError
        Listing the suffixes that can.
    """
    if path.is_dir() and path.suffix.lower() not in FOLDERS:
        raise CellTrainError(f"{path} is a folder; name a file, such as {path / 'cells.csv'}.")
    if path.is_symlink() and path.suffix.lower() in FOLDERS:
        raise CellTrainError(f"{path} is a link; name the folder that it leads to, or another one.")
    if not can_be_written(path):
        what = f"nothing is written with the suffix '{path.suffix}'; use one of"
        if not path.suffix:
            what = "the end of the name says how it is written; use one of"
        raise CellTrainError(f"{path.name}: {what} {', '.join(sorted(_suffixes()))}.")


def check_folder(path: Path) -> None:
    """Refuse a file in the place of a folder that gets the results of a list.

    Raises
    ------
    CellTrainError
        When it is one.
    """
    if path.exists() and not path.is_dir():
        raise CellTrainError(f"{path} is a file; for a list of experiments name a folder.")


def can_be_written(path: Path) -> bool:
    """Tell whether the suffix of a name says how a file is written."""
    return path.suffix.lower() in _suffixes()


def _suffixes() -> set[str]:
    return {".csv", *(s for one in formats() if is_writable(one) for s in one.suffixes if s)}


def check_text(experiment: Experiment, path: Path) -> None:
    """Refuse a name that can't be written in this kind of file, before anything slow begins.

    File names may be of any bytes; ``.aut`` holds the name of an experiment and ``.autlist`` also
    where its images are, as UTF-8.

    Raises
    ------
    CellTrainError
        Naming what has to be renamed.
    """
    texts = [experiment.name] if path.suffix.lower() in (".aut", ".autlist") else []
    if path.suffix.lower() == ".autlist":
        texts.append(str(getattr(experiment.images, "location", "")))
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CellTrainError(
                f"{path.name} can't hold the name {text!a}: some of its bytes are no text in any "
                "language. Rename that file or folder, or write a .csv."
            ) from None


def annotations_of(results: Iterable[FrameResult], floor: float) -> Annotations:
    """Put the cells of all time points together, in the order of time, with their scores.

    Parameters
    ----------
    results
        Of each time point, in any order.
    floor
        Lowest score that is kept.
    """
    kept = [one.above(floor) for one in sorted(results, key=lambda one: one.t)]
    return Annotations(
        np.repeat([one.t for one in kept], [len(one) for one in kept]).astype(np.int64),
        np.concatenate([np.empty((0, 3)), *(one.positions for one in kept)]),
        features={"score": np.concatenate([np.empty(0), *(one.scores for one in kept)])},
    )


def write_cells(path: Path, experiment: Experiment) -> None:
    """Write detections by the suffix of the path, atomically.

    A table (``.csv``, ``.tsv``, ``.txt``) has the columns t,z,y,x,score: pixels of the image as
    stored, 0 = centre of the first pixel, and t is the image's own number of the time point.

    Raises
    ------
    CellTrainError
        When nothing is written with that suffix, or the place can't be written.
    """
    between = TABLES.get(path.suffix.lower())
    if between is None:
        write_experiment(path, experiment)
        return
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(between.join(("t", "z", "y", "x", "score")) + "\n")
        file.writelines(_rows(experiment.annotations, between))


def _rows(cells: Annotations, between: str) -> Iterator[str]:
    """Yield the rows of a table, some thousands at once: millions would take gigabytes."""
    row = between.join(("%d", "%.4f", "%.4f", "%.4f", "%.5f")) + "\n"
    score = cells.features["score"]
    for begin in range(0, len(cells), ROWS):
        part = slice(begin, begin + ROWS)
        values = np.column_stack([cells.t[part], cells.positions[part], score[part]])
        yield row * len(values) % tuple(values.ravel().tolist())


def counts_table(counts: Sequence[tuple[str, int, int | None]]) -> str:
    """Return the number of cells at each time point as CSV; empty where the image was damaged.

    Parameters
    ----------
    counts
        (experiment, time point, number of cells) of each; None where nobody could look.
    """
    lines = ["experiment,t,cells"]
    for name, t, number in counts:
        quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name
        lines.append(f"{quoted},{t},{'' if number is None else number}")
    return "\n".join(lines) + "\n"
