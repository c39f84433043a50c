"""``celltrain train``: a data set in, a detector out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.cli.arguments import add_device, add_json, positive, positive_int
from napari_celltrain.cli.output import duration, print_json, say, tell
from napari_celltrain.errors import CellTrainError, counted

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.dataset import Dataset
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import Budget, TrainingSettings

SUMMARY = "Train a detector on annotated movies."
EXAMPLES = """\
examples:
  celltrain train dataset.toml --out run                     until F1 stops improving
  celltrain train list.autlist ctc_folder --out run --minutes 10
  celltrain train --out run --resume                         go on with a run
  celltrain train dataset.toml --out new --from old_run      start from another detector
  celltrain train dataset.toml --out run --set augmentation.strength=0.5

Ctrl+C saves a checkpoint and ends; --resume goes on from it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "dataset",
        nargs="*",
        type=Path,
        metavar="DATASET",
        help="a dataset.toml, an .autlist, a CTC folder or another tracking file; several are "
        "learnt from together. With --resume: what the run was started with, if left out",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="assignments",
        help="change one setting; may be given several times",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive, metavar="M", help="train for M minutes")
    budget.add_argument("--steps", type=positive_int, metavar="N", help="train for N steps")
    add_device(parser, default=None)
    parser.add_argument("--seed", type=int, metavar="N", help="of all random choices")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in RUN; starts it when it has no checkpoint yet",
    )
    parser.add_argument(
        "--from",
        type=Path,
        metavar="DETECTOR",
        dest="start_from",
        help="start from the weights of this detector or run; a run that goes on (--resume) does "
        "so from its own",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, or go on training."""
    from napari_celltrain.cli.console import Console
    from napari_celltrain.cli.interruption import GracefulStop
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.training.run import RunFolder

    speaks = _is_first_process()
    folder = RunFolder(arguments.out)
    if speaks:
        check_place(arguments.out)
        folder.check_free(resume=arguments.resume)
    places = arguments.dataset
    if not places:
        if not (arguments.resume and folder.dataset_file.is_file()):
            raise CellTrainError(
                "Name at least one DATASET: a dataset.toml, an .autlist, a CTC folder or another "
                "tracking file."
            )
        places = [folder.dataset_file]
    going_on = arguments.resume and folder.is_run()
    settings = _settings(arguments, folder if going_on else None)
    if going_on and is_done(folder, settings):
        return _already_finished(folder, settings, as_json=arguments.json) if speaks else 0
    dataset = load_dataset(places)
    if speaks:
        if going_on and arguments.start_from is not None and _has_checkpoint(folder):
            say(
                f"The run in {folder.path} goes on from its own checkpoint; --from counts only "
                "when a run begins."
            )
        _tell_findings(dataset)

    from napari_celltrain.training.control import Control
    from napari_celltrain.training.loop import train  # torch is imported here, not before

    control = Control()
    stop = GracefulStop(
        lambda: control.stop("interrupted"), "Stopping: the checkpoint is being saved."
    )
    console = Console()
    callbacks = [console] if speaks else []
    try:
        with stop.watching():
            finished = train(
                dataset,
                folder.path,
                settings,
                callbacks,
                control=control,
                resume=arguments.resume,
                start_from=arguments.start_from,
            )
    finally:
        console.close()
    if not speaks:
        return stop.status or 0
    result = {
        "run": str(folder.path),
        "steps": finished.step,
        "best_f1": finished.best_f1,
        "threshold": finished.threshold,
        "seconds": finished.seconds,
        "stopped_because": finished.reason,
        **finished.performance,
    }
    kept = _kept(folder)
    if kept is not None:
        result |= {"trustworthy": kept.trustworthy, "held_out": kept.held_out}
    stopped = finished.reason == "interrupted"  # not so when a signal came after the last step
    if stopped:
        say(f"Go on with: {_resume_command(arguments)}")
    elif not arguments.json:
        frames = judged_on(folder, finished.best_f1, settings.data.max_held_out_frames)
        tell(
            f"{folder.path}: F1 {finished.best_f1:.3f} on {frames}, after "
            f"{counted(finished.step, 'step')} in {duration(finished.seconds)} ({finished.reason})."
            + ("" if kept is None or kept.trustworthy else " The F1 is not to be trusted.")
        )
    if arguments.json:
        print_json(result)
    return stop.status or 0 if stopped else 0


def _kept(folder: RunFolder) -> DetectorInfo | None:
    """Return what the detector of a run says of itself; None where there is none."""
    from napari_celltrain.detector.folder import read_info

    try:
        return read_info(folder.best)
    except CellTrainError:
        return None


def judged_on(folder: RunFolder, f1: float, at_most: int) -> str:
    """Say what the last F1 is of, where it is not the one that the run told of this detector."""
    from napari_celltrain.training.events import Evaluation

    told = [one.f1 for one in folder.read_history() if isinstance(one, Evaluation) and one.best]
    if not told or f"{told[-1]:.3f}" == f"{f1:.3f}":
        return "held-out frames"
    return f"all held-out frames ({told[-1]:.3f} on those used while training, {at_most} at most)"


def check_place(folder: Path) -> None:
    """Refuse a place where there can be no folder, in other words than the system's.

    Raises
    ------
    CellTrainError
        When a part of the path is a file, or a link that leads nowhere.
    """
    for place in (folder, *folder.parents):
        if os.path.isfile(place):  # also where nobody may look
            raise CellTrainError(f"{place} is a file, not a folder; name another place (--out).")
        if os.path.islink(place) and not os.path.exists(place):
            raise CellTrainError(f"{place} is a link that leads nowhere; name another place.")


def _is_first_process() -> bool:
    """Tell whether this process speaks for those that ``torchrun`` started together."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _tell_findings(dataset: Dataset) -> None:
    """Say what looks wrong before any time is spent on it."""
    from napari_celltrain.statistics import findings

    for experiment in dataset.experiments:
        for finding in dict.fromkeys([*experiment.findings, *findings(experiment)]):
            say(f": {experiment.name}: {finding.message}", head=finding.severity)


def _has_checkpoint(folder: RunFolder) -> bool:
    return any(folder.checkpoints.glob("step-*.safetensors"))


def _stored_settings(folder: RunFolder) -> TrainingSettings:
    from napari_celltrain.training.settings import TrainingSettings

    return TrainingSettings.from_toml(folder.settings_file)


def _settings(arguments: argparse.Namespace, run: RunFolder | None) -> TrainingSettings:
    """Return the settings: those of the run that goes on or of the file, changed by the options."""
    from napari_celltrain.training.settings import TrainingSettings

    if arguments.settings is not None:
        settings = TrainingSettings.from_toml(arguments.settings)
    elif run is not None:
        settings = _stored_settings(run)
    else:
        settings = TrainingSettings()
    settings = settings.changed(arguments.assignments)
    values: dict[str, Any] = settings.model_dump()
    if arguments.minutes is not None:
        values["budget"].update(minutes=arguments.minutes, steps=None)
    if arguments.steps is not None:
        values["budget"].update(steps=arguments.steps, minutes=None)
    for name in ("device", "threads", "seed"):
        if getattr(arguments, name) is not None:
            values["compute"][name] = getattr(arguments, name)
    return TrainingSettings.from_dict(values, "The options")


def is_done(folder: RunFolder, settings: TrainingSettings) -> bool:
    """Tell whether a run is finished, and would be so with these settings as well."""
    from napari_celltrain.training.schedule import Schedule

    if not folder.is_finished():
        return False
    if settings == _stored_settings(folder):
        return True
    state = folder.read_state()
    return Schedule(settings.budget).finished(state.get("step", 0), state.get("seconds", 0.0))


def _already_finished(folder: RunFolder, settings: TrainingSettings, *, as_json: bool) -> int:
    state = folder.read_state()
    spent = ""
    if settings.budget != _stored_settings(folder).budget:
        spent = (
            f" A budget of {_in_words(settings.budget)} is used up already: it has trained "
            f"{counted(state.get('step', 0), 'step')} in {duration(state.get('seconds', 0))}."
        )
    say(
        f"The run in {folder.path} is finished ({state.get('stopped_because')}); nothing is left "
        f"to do.{spent} To train it further, give it a larger --minutes or --steps."
    )
    if as_json:
        print_json(
            {
                "run": str(folder.path),
                "steps": state.get("step"),
                "best_f1": state.get("best_f1"),
                "threshold": state.get("threshold"),
                "seconds": state.get("seconds"),
                "stopped_because": state.get("stopped_because"),
                **state.get("measured", {}),
            }
        )
    return 0


def _in_words(budget: Budget) -> str:
    minutes = "" if budget.minutes is None else f"{budget.minutes:g} min"
    steps = "" if budget.steps is None else counted(budget.steps, "step")
    return " or ".join(part for part in (minutes, steps) if part)


def _resume_command(arguments: argparse.Namespace) -> str:
    import shlex

    program = "celltrain" if "celltrain" in Path(sys.argv[0]).name else "python -m napari_celltrain"
    places = " ".join(shlex.quote(str(place)) for place in arguments.dataset)
    out = shlex.quote(str(arguments.out))
    return " ".join(part for part in (program, "train", places, "--out", out, "--resume") if part)
