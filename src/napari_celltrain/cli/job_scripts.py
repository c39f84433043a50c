"""The scripts and texts that ``celltrain export-job`` writes."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from napari_celltrain import __version__

if TYPE_CHECKING:
    import argparse

ACTIVATE = "# source /path/to/environment/bin/activate"


def training_script(arguments: argparse.Namespace, minutes: float | None) -> str:
    """Return the script of a training job, to be submitted again for as long as it is stopped."""
    options = "train dataset.toml --out run --settings settings.toml --resume"
    workers = f"--nproc-per-node={max(1, arguments.gpus)}"
    command = f"celltrain {options}"
    if arguments.gpus > 1:
        command = f"torchrun --standalone {workers} -m napari_celltrain {options}"
    lines = _begin(arguments, minutes, array=0)
    if arguments.kind == "slurm" and arguments.nodes > 1:
        lines.append('head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)')
        command = (
            f"srun torchrun --nnodes={arguments.nodes} {workers} --rdzv-backend=c10d "
            '--rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:29400" '
            f"-m napari_celltrain {options}"
        )
    return "\n".join([*lines, ACTIVATE, f"exec {command}"]) + "\n"


def prediction_script(arguments: argparse.Namespace, movies: int) -> str:
    """Return the script that predicts each line of ``movies.txt``: an array job, or a loop."""
    lines = _begin(arguments, arguments.minutes, array=movies)
    one = 'celltrain predict detector "$movie" --out "$out" --resume'
    if arguments.voxel_size is not None:
        one += " --voxel-size " + ",".join(f"{size:g}" for size in arguments.voxel_size)
    lines += [ACTIVATE, "mkdir -p cells"]
    # --resume goes on with what is unfinished, and would begin anew with what is finished
    finished = '[ -e "$result" ] && [ ! -e "$out.partial" ]'
    places = [
        "out=cells/$number.aut result=cells/$number.aut",
        # a list gets a folder
        """case "$(printf %s "$movie" | tr '[:upper:]' '[:lower:]')" in""",
        "*.autlist|*.toml) out=cells/$number result=cells/$number/$number.autlist ;;",
        "esac",
    ]
    if arguments.kind == "slurm":
        lines += [
            "number=$SLURM_ARRAY_TASK_ID",
            'movie=$(sed -n "${number}p" movies.txt)',
            *places,
            f"if {finished}; then exit 0; fi",
            f"exec {one}",
        ]
    else:
        lines += [
            "number=0 failed=0",
            "while IFS= read -r movie; do",
            "    number=$((number + 1))",
            *(f"    {line}" for line in places),
            f"    if {finished}; then continue; fi",
            f"    {one} < /dev/null || failed=1",
            "done < movies.txt",
            "exit $failed",
        ]
    return "\n".join(lines) + "\n"


def _begin(arguments: argparse.Namespace, minutes: float | None, array: int) -> list[str]:
    if arguments.kind == "shell":
        return ["#!/bin/bash", 'cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1']
    return [
        "#!/bin/bash",
        f"#SBATCH --job-name={shlex.quote('celltrain-' + arguments.out.resolve().name)}",
        *([f"#SBATCH --array=1-{array}"] if array else [f"#SBATCH --nodes={arguments.nodes}"]),
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --cpus-per-task={arguments.cpus}",
        f"#SBATCH --mem={arguments.memory}G",
        *([f"#SBATCH --gres=gpu:{arguments.gpus}"] if arguments.gpus else []),
        f"#SBATCH --time={_limit(minutes)}",
        f"#SBATCH --output=job-{'%A-%a' if array else '%j'}.log",
        "# Two minutes before the limit, and when the job is pre-empted: save and go on later.",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --requeue",
        'cd "$SLURM_SUBMIT_DIR" || exit 1',
    ]


def _limit(minutes: float | None) -> str:
    """Return the time limit: a fifth and ten minutes more than the training, else a day."""
    whole = 24 * 60 if minutes is None else math.ceil(1.2 * minutes + 10)
    return f"{whole // 60:02}:{whole % 60:02}:00"


def training_steps(arguments: argparse.Namespace) -> str:
    """Return what to do with a training job."""
    return (
        f"{arguments.out} holds the annotated frames, the settings and the job script.\n"
        + _carry(arguments)
        + "   The same command goes on with a job that was stopped or pre-empted.\n"
        "4. Bring the result back:        rsync -a --exclude prepared "
        f"CLUSTER:{shlex.quote(arguments.out.resolve().name)}/run .\n"
        "   and open the folder in the runs list, or: celltrain predict run IMAGES --out FILE\n"
    )


def prediction_steps(arguments: argparse.Namespace) -> str:
    """Return what to do with a prediction job."""
    return (
        f"{arguments.out} holds the detector, the list of movies and the job script.\n"
        "Look at movies.txt first: one movie a line, as it is called on the cluster.\n"
        + _carry(arguments)
        + "   The same command goes on with movies that were not finished.\n"
        "4. Bring the result back:        rsync -a "
        f"CLUSTER:{shlex.quote(arguments.out.resolve().name)}/cells .\n"
        "   cells/1.aut has the cells of the first line of movies.txt, and so on; of a line that\n"
        "   is an .autlist or a dataset.toml, the folder cells/1 has them, and a list of them.\n"
    )


def _carry(arguments: argparse.Namespace) -> str:
    name = shlex.quote(arguments.out.resolve().name)
    start = "sbatch job.sh" if arguments.kind == "slurm" else "bash job.sh"
    return (
        f"1. Copy it to the cluster:       rsync -a {shlex.quote(str(arguments.out))} CLUSTER:\n"
        f"2. Install the same version:     pip install napari-celltrain=={__version__}\n"
        f"3. Start it there:               cd {name} && {start}\n"
    )
