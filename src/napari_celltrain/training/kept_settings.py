"""Settings that a run keeps from its start, whatever is asked for when it goes on.

What was learnt is of no use to another network, and frames that were learnt from can't become the
honest test. So these are kept where nothing is said, and refused where something else is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_celltrain.detector.design import Design

NETWORK = tuple(
    f"design.{name}" for name in ("diameter_um", "working_scale", "width", "time_window")
)
TEST = ("data.held_out_share",)
CROPS = ("optimiser.crop_size", "optimiser.batch_size")


def stored(state: Mapping[str, Any]) -> TrainingSettings | None:
    """Return the settings in a checkpoint; None in those of a time when they were not kept."""
    try:
        return TrainingSettings.from_dict(dict(state["settings"]))
    except (CellTrainError, KeyError, TypeError, ValueError):
        return None


def of_a_run_that_goes_on(
    now: TrainingSettings, before: TrainingSettings, design: Design
) -> TrainingSettings:
    """Return what is asked for now, with what can't be changed as it was.

    Parameters
    ----------
    now, before
        What is asked for, and what was when the checkpoint was written.
    design
        Of the run's detector.

    Raises
    ------
    CellTrainError
        When something is asked for that can't be changed, naming it.
    """
    values = now.model_dump()
    for name in (*NETWORK, *TEST):
        asked, was = _get(now, name), _get(before, name)
        has = was if was is not None else _of_design(design, name)
        if asked != has and asked != _get(TrainingSettings(), name):
            why = (
                "frames that were learnt from would be taken for the honest test"
                if name in TEST
                else "what was learnt is of no use to another network"
            )
            had = "chosen automatically" if has is None else f"{_plain(has)}"
            raise CellTrainError(
                f"This run was begun with {name} = {had}, and goes on with that: with "
                f"{_plain(asked)}, {why}. Leave it as it was, or begin a new run in another folder."
            )
        section, key = name.split(".")
        values[section][key] = was
    return TrainingSettings.from_dict(values)


def check_start(now: TrainingSettings, design: Design) -> None:
    """Refuse settings that a detector to start from does not have.

    Raises
    ------
    CellTrainError
        Naming the first of them.
    """
    for name in NETWORK:
        asked, has = _get(now, name), _of_design(design, name)
        if has is not None and asked not in (has, _get(TrainingSettings(), name)):
            raise CellTrainError(
                f"The detector to start from has {name} = {_plain(has)}, so {_plain(asked)} can't "
                "be had. Leave it out, or start from no detector."
            )


def other_crops(now: TrainingSettings, before: TrainingSettings | None) -> bool:
    """Tell whether crops and batches of another size are asked for than before."""
    return before is not None and any(_get(now, name) != _get(before, name) for name in CROPS)


def _get(settings: TrainingSettings, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)


def _of_design(design: Design, name: str) -> Any:
    """Return what a design has for a setting; None where it does not say."""
    own = {"diameter_um": "diameter", "width": "width", "time_window": "time_window"}
    attribute = own.get(name.partition(".")[2])
    return None if attribute is None else getattr(design, attribute)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
