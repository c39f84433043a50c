"""Everything a person can set about a training run.

One object is the TOML file, the ``--set`` options of the command line, the rows of the widget with
their tooltips, and what the run folder keeps. ``None`` (automatic in the widget, left out in TOML)
means: chosen automatically, and shown with the reason.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import check_readable
from napari_celltrain.formats.documents import parsed_toml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


LARGEST_FILE = 2**20
"""Bytes; a settings file has a few hundred."""


def _setting(
    default: Any,
    title: str,
    description: str,
    *,
    unit: str = "",
    basic: bool = False,
    **limits: Any,
) -> Any:
    return Field(
        default,
        title=title,
        description=description,
        json_schema_extra={"unit": unit, "basic": basic},
        **limits,
    )


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Budget(_Section):
    """When training ends."""

    minutes: float | None = _setting(
        None,
        "Train for",
        "Wall time; the learning rate ends with it. Automatic: until F1 stops improving.",
        unit="min",
        basic=True,
        gt=0,
        le=100_000,
    )
    steps: int | None = _setting(
        None,
        "Steps",
        "Stop after so many steps, whatever the time. Automatic: as the time says.",
        gt=0,
        le=100_000_000,
    )
    patience: int = _setting(
        10,
        "Patience",
        "Without a fixed time or number of steps: end after so many evaluations without a better "
        "held-out F1.",
        ge=2,
        le=1000,
    )


class Design(_Section):
    """What the detector looks like."""

    diameter_um: float | None = _setting(
        None,
        "Cell diameter",
        "How wide a cell is, in um (in pixels where the voxel size is unknown). Automatic: "
        "measured from the images at the annotated places.",
        unit="um",
        basic=True,
        gt=0,
    )
    working_scale: float | None = _setting(
        None,
        "Working scale",
        "Pixels of the network for one pixel of the finest image, in plane. Automatic: so that a "
        "cell is about ten pixels wide.",
        gt=0.01,
        le=4,
    )
    width: int | None = _setting(
        None,
        "Network width",
        "Feature maps of the first layer. Automatic: 16 on a CPU, 32 on a GPU, half as many "
        "again for cells of unlike size.",
        ge=4,
        le=256,
    )
    time_window: tuple[Annotated[int, Field(ge=-5, le=0)], Annotated[int, Field(ge=0, le=5)]] = (
        _setting(
            (0, 0),
            "Time window",
            "Neighbouring time points that the network sees too: (-1, 1) is one before, one after.",
        )
    )


class Data(_Section):
    """How annotations are used."""

    exclude_dying: bool = _setting(
        False,
        "Leave dying cells out",
        "Positions marked as dead or shed give neither reward nor punishment.",
    )
    held_out_share: float = _setting(
        0.2,
        "Held-out share",
        "Share of the annotated time points kept for the honest test when no experiment has the "
        "role 'held-out'.",
        gt=0,
        lt=0.9,
    )
    max_held_out_frames: int = _setting(
        8,
        "Frames per evaluation",
        "At most so many held-out frames are used while training; the final result uses them all.",
        ge=1,
        le=10_000,
    )


class Augmentation(_Section):
    """Random changes to what the network sees, so that it learns cells and not this movie."""

    flip: bool = _setting(True, "Flip", "Mirror in x, y and z.")
    rotate: bool = _setting(True, "Rotate", "Turn in plane by any angle.")
    scale: float = _setting(0.25, "Scale", "Zoom by up to this share, in and out.", ge=0, le=0.9)
    shear: float = _setting(0.1, "Shear and stretch", "Small distortions.", ge=0, le=0.5)
    brightness: float = _setting(0.15, "Brightness", "Added or taken off.", ge=0, le=1)
    contrast: float = _setting(0.35, "Contrast", "Range multiplied by up to 1 + this.", ge=0, le=2)
    gamma: float = _setting(0.4, "Gamma", "Exponent between 1/(1 + this) and 1 + this.", ge=0, le=3)
    noise: float = _setting(0.08, "Noise", "Gaussian and Poisson-like, at most this.", ge=0, le=1)
    blur: float = _setting(0.8, "Blur", "Gaussian, at most so many working pixels.", ge=0, le=5)
    z_decay: float = _setting(
        0.5, "Brightness decay in z", "Deep planes dimmed by up to this share.", ge=0, le=1
    )
    plane_flicker: float = _setting(
        0.1, "Plane flicker", "Brightness of single planes changed by up to this share.", ge=0, le=1
    )
    strength: float = _setting(
        1.0,
        "Augmentation strength",
        "All of the above multiplied by this; 0 turns augmentation off.",
        basic=True,
        ge=0,
        le=2,
    )


class Optimiser(_Section):
    """How the weights are changed."""

    learning_rate: float | None = _setting(
        None,
        "Learning rate",
        "Peak learning rate of AdamW. Automatic: 0.002 from scratch, 0.0005 when training goes on "
        "from a detector.",
        gt=0,
        le=0.1,
    )
    weight_decay: float = _setting(1e-4, "Weight decay", "Of AdamW.", ge=0, le=1)
    batch_size: int | None = _setting(
        None, "Batch size", "Crops per step. Automatic: by device and crop size.", ge=1, le=4096
    )
    crop_size: int | None = _setting(
        None,
        "Crop size",
        "Width of a training crop in working pixels. Automatic: by cell size and memory.",
        ge=16,
        le=1024,
    )
    ema: float = _setting(
        0.995, "Averaging", "Decay of the running average of the weights.", ge=0, lt=1
    )
    cells_share: float = _setting(
        0.8, "Crops on cells", "Share of the crops drawn around annotated cells.", ge=0, le=1
    )


class Compute(_Section):
    """Where and how it runs."""

    device: Literal["auto", "cpu", "cuda", "mps"] = _setting(
        "auto", "Device", "auto takes a graphics card where there is one.", basic=True
    )
    threads: int | None = _setting(
        None,
        "CPU threads",
        "Automatic: all cores, or all but one where a window is open. For one batch size the "
        "result is the same; a batch size that is not set follows the threads.",
        ge=1,
        le=1024,
    )
    precision: Literal["auto", "float32", "bfloat16"] = _setting(
        "auto", "Precision", "auto measures which is faster here."
    )
    seed: int = _setting(0, "Seed", "Same seed, same machine, same weights.", ge=0, le=2**31 - 1)
    checkpoint_every_s: float = _setting(
        20.0, "Checkpoint every", "A kill loses at most this.", unit="s", gt=0, le=36_000
    )


class TrainingSettings(_Section):
    """All settings of a training run, in sections."""

    budget: Budget = Budget()
    design: Design = Design()
    data: Data = Data()
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    compute: Compute = Compute()

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "The settings") -> TrainingSettings:
        """Validate nested dictionaries.

        Raises
        ------
        CellTrainError
            Naming the setting that is unknown or out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise CellTrainError(_sentence(error, where)) from None

    @classmethod
    def from_toml(cls, path: Path) -> TrainingSettings:
        """Read a settings file.

        Raises
        ------
        CellTrainError
            When it can't be read, or naming the setting that is unknown or out of range.
        """
        check_readable(path)
        try:
            with open(path, "rb") as file:
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise CellTrainError(
                f"The settings file {path} can't be read: {error.strerror}."
            ) from None
        if len(content) > LARGEST_FILE:
            raise CellTrainError(f"The settings file {path} is too large to be one.")
        try:
            values = parsed_toml(content)
        except ValueError as error:  # also digits without end
            raise CellTrainError(
                f"The settings file {path} is not valid TOML: {_brief(str(error))}."
            ) from None
        return cls.from_dict(values, f"The settings file {path}")

    def to_toml(self) -> str:
        """Write as TOML; what is chosen automatically is left out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True, mode="json"))

    def changed(self, assignments: Iterable[str]) -> TrainingSettings:
        """Return a copy changed by ``section.key=value`` texts, values in TOML spelling.

        Raises
        ------
        CellTrainError
            Naming the assignment that does not fit.
        """
        values = self.model_dump()
        for assignment in assignments:
            name, separator, text = assignment.partition("=")
            section, dot, key = name.strip().partition(".")
            if not (separator and dot and section and key):
                raise CellTrainError(
                    f"'{assignment}' is not of the form section.key=value, "
                    "for example budget.minutes=5."
                )
            if section not in values or key not in values[section]:
                raise CellTrainError(f"There is no setting {_named(f'{section}.{key}')}")
            values[section][key] = _value(text.strip())
        return self.from_dict(values)


def _value(text: str) -> Any:
    if text.lower() in ("", "none"):
        return None
    try:
        return parsed_toml(f"value = {text}".encode())["value"]
    except (ValueError, RecursionError):
        return text


def _brief(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _named(name: str) -> str:
    """Return a name that is no setting's, with the setting that may be meant."""
    known = [
        f"{section}.{key}"
        for section, values in TrainingSettings().model_dump().items()
        for key in (*values, "")
    ]
    near = difflib.get_close_matches(name, known, n=1)
    return f"'{_brief(name)}'" + (f"; is '{near[0].rstrip('.')}' meant?" if near else ".")


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {_named(name)}"
    message = first["msg"].replace("Input should be", "it should be")
    return f"{where}: '{name}' is {_brief(repr(first['input']))}, but {message}."
