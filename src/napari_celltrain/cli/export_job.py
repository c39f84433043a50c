"""``celltrain export-job``: a folder to take to a cluster, and how to bring the result back."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json, positive, positive_int, voxel_size
from napari_celltrain.cli.job_scripts import (
    prediction_script,
    prediction_steps,
    training_script,
    training_steps,
)
from napari_celltrain.cli.output import Progress, print_json, tell
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing, write_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

SUMMARY = "Write a job script, with all that it needs, to train or predict on a cluster."
EXAMPLES = """\
examples:
  celltrain export-job dataset.toml --out job --kind slurm --minutes 60
  celltrain export-job run --out job --kind shell      go on with a run elsewhere
  celltrain export-job dataset.toml --out job --gpus 4 --nodes 2
  celltrain export-job run --predict a.tif b.tif --out job      an array job, a movie each

Copy the folder, install napari-celltrain there, submit job.sh, copy the result back, open it.
"""
_NOT_CARRIED = ("prepared", "run.lock", "run.pid", "dataset.toml", "*.damaged", ".celltrain-*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source", type=Path, metavar="RUN|DATASET", help="a run to go on with, or a data set"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="new or empty")
    parser.add_argument(
        "--kind",
        choices=["slurm", "shell"],
        default="slurm",
        help="for a cluster with Slurm (default), or a plain shell script",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="train for M minutes, those of a run so far included; sets the job's limit",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        choices=range(65),
        default=1,
        metavar="N",
        help="for each node; 0: processors only (default: 1)",
    )
    parser.add_argument(
        "--nodes", type=positive_int, default=1, metavar="N", help="machines (default: 1)"
    )
    parser.add_argument("--cpus", type=positive_int, default=4, metavar="N", help="default: 4")
    parser.add_argument(
        "--memory", type=positive_int, default=16, metavar="GIB", help="default: 16"
    )
    parser.add_argument(
        "--predict",
        nargs="+",
        metavar="IMAGES",
        help="predict these movies with RUN's detector instead; they are named, not copied",
    )
    parser.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="Z,Y,X",
        help="of the movies to predict, in um, where their files don't say",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder."""
    if arguments.predict and arguments.settings is not None:
        raise CellTrainError("--settings is for training; leave it out with --predict.")
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.dataset.packing import frames_to_pack, pack_dataset
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

    if arguments.kind == "shell" and arguments.nodes > 1:
        raise CellTrainError("Several machines need a scheduler: --kind slurm.")
    out: Path = arguments.out
    _check_free(out)
    if arguments.predict:
        return _predict(arguments)
    run_folder = RunFolder(arguments.source)
    is_run = run_folder.is_run()
    if is_run and not run_folder.dataset_file.is_file():
        raise CellTrainError(
            f"The data of {run_folder.path} are in no file; save them, and name a data set."
        )
    if arguments.settings is not None:
        settings = TrainingSettings.from_toml(arguments.settings)
    elif is_run:
        settings = TrainingSettings.from_toml(run_folder.settings_file)
    else:
        settings = TrainingSettings()
    if arguments.minutes is not None:
        values = settings.model_dump()
        values["budget"].update(minutes=arguments.minutes, steps=None)
        settings = TrainingSettings.from_dict(values)
    if is_run:
        _check_something_to_do(run_folder, settings)
    dataset = load_dataset(run_folder.dataset_file if is_run else arguments.source)
    window = settings.design.time_window
    n_frames = sum(len(frames_to_pack(one, window)) for one in dataset.experiments)
    with _packing(out) as folder:
        with Progress("Copying", n_frames) as progress:
            pack_dataset(dataset, folder, window, progress=progress.advance)
        write_text(folder / "settings.toml", settings.to_toml())
        if is_run:
            left_out = shutil.ignore_patterns(*_NOT_CARRIED)
            shutil.copytree(run_folder.path, folder / "run", ignore=left_out)
        write_text(folder / "job.sh", training_script(arguments, settings.budget.minutes))
        write_text(folder / "README.txt", training_steps(arguments))
    if arguments.json:
        print_json({"out": str(out), "frames": n_frames, "experiments": len(dataset)})
    else:
        tell(training_steps(arguments), end="")
    return 0


def _check_something_to_do(run: RunFolder, settings: TrainingSettings) -> None:
    """Refuse a job that would wait for its machine and end at once."""
    from napari_celltrain.cli.train import is_done

    if is_done(run, settings):
        state = run.read_state()
        raise CellTrainError(
            f"The run in {run.path} is finished ({state.get('stopped_because')}), so the job would "
            "have nothing to do. Give it a larger budget: --minutes with more than the "
            f"{state.get('seconds', 0) / 60:.3g} minutes that it has trained already, which are "
            "counted, or --settings with a file that has more minutes or steps."
        )


def _check_free(out: Path) -> None:
    """Refuse a place where something is, or whose folder can't be exchanged for another one."""
    from napari_celltrain.cli.train import check_place

    check_place(out)
    if not out.exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise CellTrainError(f"{out} exists and is not an empty folder; choose another place.")
    if os.path.samefile(out, Path.cwd()) or out.is_mount():
        raise CellTrainError(f"Name a new folder in {out} (--out), not {out} itself.")


@contextlib.contextmanager
def _packing(out: Path) -> Iterator[Path]:
    """Give a folder to pack into, beside its place, where it is once everything is in it.

    What a killed packing left is removed by the next one, as with every file.
    """
    place = temporary = out.resolve()
    try:
        with replacing(place) as temporary:
            temporary.mkdir()
            yield temporary
            if place.exists():
                place.rmdir()  # which refuses if somebody has put something there meanwhile
    except CellTrainError as error:  # about a file in it, by where that would have been
        raise CellTrainError(str(error).replace(str(temporary), str(out))) from None


def _predict(arguments: argparse.Namespace) -> int:
    """Write a job that predicts movies; the images are too large to be copied twice."""
    from napari_celltrain.detector.detector import Detector

    movies = list(arguments.predict)
    if any("\n" in movie or not movie.strip() for movie in movies):
        raise CellTrainError("The name of a movie is empty or has a line break.")
    if arguments.nodes > 1:
        raise CellTrainError("A movie is predicted by one machine: leave --nodes out.")
    detector = Detector.from_folder(arguments.source, device="cpu")
    with _packing(arguments.out) as folder:
        detector.save(folder / "detector")
        write_text(folder / "movies.txt", "".join(f"{movie}\n" for movie in movies))
        write_text(folder / "job.sh", prediction_script(arguments, len(movies)))
        write_text(folder / "README.txt", prediction_steps(arguments))
    if arguments.json:
        print_json({"out": str(arguments.out), "movies": len(movies)})
    else:
        tell(prediction_steps(arguments), end="")
    return 0
