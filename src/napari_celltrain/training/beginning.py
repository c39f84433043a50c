"""All that comes before the first step of a sitting: where it goes on, the plan, the frames."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_celltrain.dataset import split as split_frames
from napari_celltrain.dataset import write_dataset
from napari_celltrain.detector.design import Design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import find_detector, read_info
from napari_celltrain.detector.learnt import Recognition, trained_on
from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.files import write_text
from napari_celltrain.training.checkpoint import Checkpoint, load_newest
from napari_celltrain.training.crop_groups import as_before
from napari_celltrain.training.evaluations import Evaluations
from napari_celltrain.training.events import FindingEvent, StateChanged
from napari_celltrain.training.fingerprint import fingerprint
from napari_celltrain.training.held_out import HeldOut
from napari_celltrain.training.kept_settings import (
    check_start,
    of_a_run_that_goes_on,
    other_crops,
    stored,
)
from napari_celltrain.training.plan import Plan, make_plan
from napari_celltrain.training.prepare import PreparedFrame, prepare, typical_levels
from napari_celltrain.training.run import time_stamp
from napari_celltrain.training.saved_state import SavedPlan, SavedState, check_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.dataset import Split
    from napari_celltrain.detector.learnt import TrainedOn
    from napari_celltrain.training.settings import TrainingSettings
    from napari_celltrain.training.sitting import Sitting


@dataclass(frozen=True)
class Beginning:
    """What a sitting starts with.

    Parameters
    ----------
    plan
        What was decided.
    frames
        Annotated frames at the working scale, on the disk.
    evaluations
        Judge the detector on held-out frames.
    checkpoint
        Where the sitting before this one ended; None for a new run.
    start
        The detector whose weights a new run starts from; None: from scratch.
    was_finished
        The run had come to its own end before this sitting.
    """

    plan: Plan
    frames: list[PreparedFrame]
    evaluations: Evaluations
    checkpoint: Checkpoint | None
    start: Detector | None
    was_finished: bool = False


def begin(sitting: Sitting) -> Beginning:
    """Look at data and run folder, decide, and bring the frames to the working scale.

    Raises
    ------
    CellTrainError
        When data, settings or folder don't allow the run.
    """
    sitting.tell(StateChanged("preparing", "Looking at the data."))
    if not sitting.is_first:
        sitting.together.wait()  # until the first has looked at checkpoints and prepared frames
    experiments = sitting.dataset.experiments
    checkpoint = _find_checkpoint(sitting)
    start = _start_detector(sitting) if checkpoint is None else None
    design, stated = None, None
    if start is not None:
        design = start.design
        check_start(sitting.settings, design)
    if checkpoint is not None:
        check_checkpoint(checkpoint, sitting.run.checkpoints)
        design = Design.model_validate(checkpoint.state["design"])
        stated = stored(checkpoint.state)
        if stated is not None:
            sitting.settings = of_a_run_that_goes_on(sitting.settings, stated, design)
    settings = sitting.settings
    window = settings.design.time_window if design is None else design.time_window
    before = _learnt_before(sitting, checkpoint, start)
    known = Recognition(before)
    if checkpoint is not None:
        _check_same_movies(sitting, before, known)
    share, learnt = settings.data.held_out_share, known.frames(experiments)
    split = split_frames(sitting.dataset, share, window, learnt=learnt)
    plan = _plan(sitting, split, checkpoint, design, stated)
    was_finished = sitting.run.is_finished()
    if sitting.is_first:
        _write_what_was_asked(sitting)
    sitting.find("info" if split.trustworthy else "warning", "held-out", split.reason)
    frames = _prepare(sitting, split, plan)
    if sitting.is_first:
        sitting.together.wait()
    held_out = HeldOut(
        experiments,
        split.held_out,
        plan.voxel_sizes,
        plan.cell_diameters,
        exclude_dying=settings.data.exclude_dying,
        tell=lambda finding: sitting.tell(FindingEvent(finding)),
    )
    shown = [(frame.member, frame.t) for frame in frames] or split.train  # none: it was stopped
    levels = typical_levels(
        experiments,
        shown,
        plan.design,
        plan.relative_sizes,
        stopping=lambda: sitting.control.stopping,
    )
    evaluations = Evaluations(
        sitting.dataset,
        settings,
        sitting.run,
        plan,
        split,
        held_out,
        levels,
        learnt_from=trained_on(experiments, split.train, before),
    )
    return Beginning(plan, frames, evaluations, checkpoint, start, was_finished)


def _find_checkpoint(sitting: Sitting) -> Checkpoint | None:
    checkpoint, damaged = load_newest(sitting.run.checkpoints)
    if not sitting.is_first:
        return checkpoint
    if checkpoint is None:
        # killed before its first checkpoint: it begins again, and so does its history
        sitting.run.history_file.unlink(missing_ok=True)
    for path in damaged:
        sitting.find(
            "warning",
            "damaged-checkpoint",
            f"The checkpoint {path.name} is damaged and was put aside; the run goes on from "
            + (f"step {checkpoint.step}." if checkpoint else "the beginning."),
        )
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".damaged"))
    return checkpoint


def _start_detector(sitting: Sitting) -> Detector | None:
    if sitting.start_from is None:
        return None
    return Detector.from_folder(sitting.start_from, device="cpu", precision="float32")


def _learnt_before(
    sitting: Sitting, checkpoint: Checkpoint | None, start: Detector | None
) -> tuple[TrainedOn, ...]:
    """Return what the network has learnt from until now, in this run or in that of its start."""
    if start is not None:
        return start.info.trained_on
    if checkpoint is None:
        return ()
    saved = SavedState.model_validate(dict(checkpoint.state)).learnt_from
    if saved:
        return saved
    try:  # in the first checkpoints it was not kept
        return read_info(find_detector(sitting.run.path)).trained_on
    except CellTrainError:
        return ()


def _check_same_movies(sitting: Sitting, before: Sequence[TrainedOn], known: Recognition) -> None:
    """Refuse to go on with movies none of which the run has seen.

    Raises
    ------
    CellTrainError
        Its figures, the best detector's included, would be about something else.
    """
    experiments = sitting.dataset.experiments
    named = {one.name for one in experiments}
    if not before or any(
        part.experiment in named or known.is_of(part, one) for part in before for one in experiments
    ):
        return
    names = ", ".join(f"'{part.experiment}'" for part in before[:3])
    more = f" and {len(before) - 3} more" if len(before) > 3 else ""
    raise CellTrainError(
        f"The run in {sitting.run.path} has learnt from {names}{more}, and none of these is in the "
        "data that it is to go on with. Give it the data it was begun with, or begin a new run "
        "that starts from this one (--from, or Train further in the window)."
    )


def _plan(
    sitting: Sitting,
    split: Split,
    checkpoint: Checkpoint | None,
    design: Design | None,
    before: TrainingSettings | None,
) -> Plan:
    settings = sitting.settings
    plan = make_plan(sitting.dataset.experiments, split, settings, start_design=design)
    if checkpoint is None:
        for choice in plan.choices:
            sitting.tell(choice)
    else:
        kept = SavedPlan.model_validate(checkpoint.state["plan"])
        plan = replace(
            plan,
            groups=plan.groups
            if other_crops(settings, before)
            else as_before(plan.groups, kept.crop_groups()),
            learning_rate=settings.optimiser.learning_rate or kept.learning_rate,
            # sums in another order would not be the uninterrupted run's
            arithmetic=replace(plan.arithmetic, layout=kept.layout),
        )
        known = sitting.run.read_state().get("fingerprint")
        if known not in (None, fingerprint(sitting.dataset)):
            sitting.find(
                "warning",
                "data-changed",
                "Images or annotations have changed since the run was started; it goes on "
                "with what is there now.",
            )
    for finding in plan.findings:
        sitting.tell(FindingEvent(finding))
    return plan


def _write_what_was_asked(sitting: Sitting) -> None:
    run = sitting.run
    write_text(run.settings_file, sitting.settings.to_toml())
    with contextlib.suppress(CellTrainError):  # experiments made of arrays have no place
        write_dataset(run.dataset_file, sitting.dataset)
    run.write_state(
        finished=False,
        fingerprint=fingerprint(sitting.dataset),
        started=run.read_state().get("started") or time_stamp(),
        experiments=[experiment.name for experiment in sitting.dataset.experiments],
    )


def _prepare(sitting: Sitting, split: Split, plan: Plan) -> list[PreparedFrame]:
    sitting.tell(
        StateChanged("preparing", f"Reading {counted(len(split.train), 'annotated frame')}.")
    )
    return prepare(
        sitting.dataset.experiments,
        split.train,
        plan.design,
        plan.relative_sizes,
        sitting.run.prepared,
        exclude_dying=sitting.settings.data.exclude_dying,
        tell=sitting.tell,
        stopping=lambda: sitting.control.stopping,
    )
