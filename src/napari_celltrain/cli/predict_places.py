"""Refusing places for the results of ``celltrain predict`` before anything slow begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.charts import SUFFIXES, require_matplotlib
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.prediction.asked import Asked


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse what can't be written before anything slow is loaded."""
    if arguments.further:
        named = [Path(one).name for one in (arguments.images, *arguments.further)]
        raise CellTrainError(
            f"IMAGES is one place, but {len(named)} are named: {', '.join(named[:2])}"
            f"{' and more' if len(named) > 2 else ''}. For the files of one movie name their "
            'folder, or a pattern such as "img_t{time:03}.tif"; list several movies in a '
            "dataset.toml."
        )
    if arguments.plot is not None:
        if arguments.plot.suffix.lower() not in SUFFIXES:
            endings = ", ".join(SUFFIXES)
            raise CellTrainError(f"{arguments.plot.name}: plots are written as {endings}.")
        require_matplotlib()
    if arguments.counts is not None and arguments.counts.suffix.lower() != ".csv":
        raise CellTrainError(f"{arguments.counts.name}: counts are written as .csv.")
    _check_places(arguments)


def _check_places(arguments: argparse.Namespace) -> None:
    """Refuse places where something would be lost, or that turn out useless after hours."""
    from napari_celltrain.prediction.asked import is_list

    taken = {Path(arguments.images).absolute(): "the images"}
    if is_list(arguments.images):
        # a list that was written by this program lies in a folder of its name
        name = arguments.out.resolve().name
        if (arguments.out / f"{name}.autlist").absolute() == Path(arguments.images).absolute():
            raise CellTrainError(
                f"{arguments.images} lies in {arguments.out}, so it and the files that it lists "
                "would be replaced by what is found. Name another folder (--out)."
            )
    for option in ("out", "counts", "plot"):
        path: Path | None = getattr(arguments, option)
        if path is None:
            continue
        if path.absolute() in taken:
            raise CellTrainError(
                f"--{option} {path} is where {taken[path.absolute()]} are. Name another file."
            )
        taken[path.absolute()] = f"the results of --{option}"
        above = next((one for one in path.absolute().parents if one.exists()), None)
        if above is not None and not above.is_dir():
            raise CellTrainError(f"{path} can't be written: {above} is a file, not a folder.")
        _check_can_be_written(path, above)
        if option != "out" and path.is_dir():
            raise CellTrainError(f"--{option} {path} is a folder; name a file.")
    if arguments.out.suffix.lower() == ".autlist" and not arguments.out.exists():
        beside = arguments.out.with_suffix(".aut")
        if not beside.exists():
            return
        raise CellTrainError(
            f"{beside} is there already and would be replaced: the list {arguments.out.name} "
            "refers to a file of that name. Choose another name."
        )


def check_out(asked: Asked, arguments: argparse.Namespace) -> None:
    """Refuse what nothing can be written under, and to replace what a person has made."""
    from napari_celltrain.prediction.output import check_folder, check_suffix
    from napari_celltrain.prediction.places import check_nothing_is_lost

    if asked.into_folder:
        check_folder(arguments.out)
    else:
        check_suffix(arguments.out)
    further = {"--counts": arguments.counts, "--plot": arguments.plot}
    others = {option: path for option, path in further.items() if path is not None}
    experiments = len(asked.movies) if asked.into_folder else None
    check_nothing_is_lost(arguments.out, others, asked.files, experiments)


def _check_can_be_written(path: Path, above: Path | None) -> None:
    """Refuse what can be told without writing; what is found out late costs hours."""
    try:
        path.absolute().lstat()
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a folder that nobody may look into
        raise CellTrainError(f"{path} can't be written: {error.strerror}.") from None
    if above is not None and not os.access(above, os.W_OK | os.X_OK):
        raise CellTrainError(
            f"{path} can't be written: nothing can be made in {above}. Name another place."
        )
