"""``celltrain export-job``: a folder to take to a cluster, and how to bring the result back."""

from __future__ import annotations

import math
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain import __version__
from napari_celltrain.cli.arguments import add_json, positive, positive_int
from napari_celltrain.cli.output import Progress, print_json
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_text

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.training.settings import TrainingSettings

SUMMARY = "Write data, settings and a job script to train on a cluster."
EXAMPLES = """\
examples:
  celltrain export-job dataset.toml --out job --kind slurm --minutes 60
  celltrain export-job run --out job --kind shell      go on with a run elsewhere
  celltrain export-job dataset.toml --out job --gpus 4 --nodes 2

Copy the folder, install napari-celltrain there, submit job.sh, copy job/run back, open it.
"""
_NOT_CARRIED = ("prepared", "run.lock", "run.pid", "dataset.toml", "*.damaged", ".celltrain-*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "source", type=Path, metavar="RUN|DATASET", help="a run to go on with, or a data set"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="new or empty")
    parser.add_argument("--kind", choices=["slurm", "shell"], default="slurm")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="train for M minutes; sets the job's limit"
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
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder."""
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.dataset.packing import frames_to_pack, pack_dataset
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

    if arguments.kind == "shell" and arguments.nodes > 1:
        raise CellTrainError("Several machines need a scheduler: --kind slurm.")
    out: Path = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CellTrainError(f"{out} exists and is not an empty folder; choose another place.")
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
    dataset = load_dataset(run_folder.dataset_file if is_run else arguments.source)
    window = settings.design.time_window
    n_frames = sum(len(frames_to_pack(one, window)) for one in dataset.experiments)
    with Progress("Copying", n_frames) as progress:
        pack_dataset(dataset, out, window, progress=progress.advance)
    write_text(out / "settings.toml", settings.to_toml())
    if is_run:
        shutil.copytree(run_folder.path, out / "run", ignore=shutil.ignore_patterns(*_NOT_CARRIED))
    write_text(out / "job.sh", _script(arguments, settings))
    write_text(out / "README.txt", _how_to(arguments))
    if arguments.json:
        print_json({"out": str(out), "frames": n_frames, "experiments": len(dataset)})
    else:
        print(_how_to(arguments), end="")
    return 0


def _script(arguments: argparse.Namespace, settings: TrainingSettings) -> str:
    options = "train dataset.toml --out run --settings settings.toml --resume"
    workers = f"--nproc-per-node={max(1, arguments.gpus)}"
    command = f"celltrain {options}"
    if arguments.gpus > 1:
        command = f"torchrun --standalone {workers} -m napari_celltrain {options}"
    lines = ["#!/bin/bash"]
    if arguments.kind == "slurm":
        lines += [
            f"#SBATCH --job-name={shlex.quote('celltrain-' + arguments.out.resolve().name)}",
            f"#SBATCH --nodes={arguments.nodes}",
            "#SBATCH --ntasks-per-node=1",
            f"#SBATCH --cpus-per-task={arguments.cpus}",
            f"#SBATCH --mem={arguments.memory}G",
            *([f"#SBATCH --gres=gpu:{arguments.gpus}"] if arguments.gpus else []),
            f"#SBATCH --time={_limit(settings.budget.minutes)}",
            "#SBATCH --output=job-%j.log",
            "# Two minutes before the limit, and when the job is pre-empted: save and go on later.",
            "#SBATCH --signal=B:TERM@120",
            "#SBATCH --requeue",
            'cd "$SLURM_SUBMIT_DIR" || exit 1',
        ]
        if arguments.nodes > 1:
            lines.append('head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)')
            command = (
                f"srun torchrun --nnodes={arguments.nodes} {workers} --rdzv-backend=c10d "
                '--rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:29400" '
                f"-m napari_celltrain {options}"
            )
    else:
        lines += ['cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1']
    lines += [
        "# source /path/to/environment/bin/activate",
        f"exec {command}",
    ]
    return "\n".join(lines) + "\n"


def _limit(minutes: float | None) -> str:
    """Return the time limit: a fifth and ten minutes more than the training, else a day."""
    whole = 24 * 60 if minutes is None else math.ceil(1.2 * minutes + 10)
    return f"{whole // 60:02}:{whole % 60:02}:00"


def _how_to(arguments: argparse.Namespace) -> str:
    name = arguments.out.resolve().name
    start = "sbatch job.sh" if arguments.kind == "slurm" else "bash job.sh"
    return (
        f"{arguments.out} holds the annotated frames, the settings and the job script.\n"
        f"1. Copy it to the cluster:       rsync -a {shlex.quote(str(arguments.out))} CLUSTER:\n"
        f"2. Install the same version:     pip install napari-celltrain=={__version__}\n"
        f"3. Start it there:               cd {shlex.quote(name)} && {start}\n"
        "   The same command goes on with a job that was stopped or pre-empted.\n"
        "4. Bring the result back:        rsync -a --exclude prepared "
        f"CLUSTER:{shlex.quote(name)}/run .\n"
        "   and open the folder in the runs list, or: celltrain predict run IMAGES --out FILE\n"
    )
