"""The folder of a detector: what its description says, and reading it without trusting it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
import time
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from napari_celltrain import __version__
from napari_celltrain.detector.design import Design  # noqa: TC001 (pydantic looks at it)
from napari_celltrain.detector.learnt import TrainedOn  # noqa: TC001 (pydantic again)
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.package import DESCRIPTION, description_of, is_package, read_member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import check_readable, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INFO_FILE = DESCRIPTION
WEIGHTS_PATTERN = r"weights-[0-9a-f]{12}\.safetensors"
"""The description names the weights file, and the file is named after its content: replacing the
description is then the one moment at which a better detector takes the place of the old."""
MAX_FILE_BYTES = 2**31


class DetectorInfo(BaseModel):
    """All that is known of a detector besides its weights: the content of ``detector.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    software: str = f"napari-celltrain {__version__}"
    name: str = "detector"
    created: str = ""
    design: Design
    threshold: float = Field(0.5, gt=0, lt=1)
    """Calibrated on held-out frames."""
    thresholds: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}
    """The same for single experiments, where there were several: kinds of images differ."""
    step: int = Field(0, ge=0)
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    localisation_error: float | None = None
    """Mean distance of matched pairs on held-out frames, in the design's unit."""
    trustworthy: bool = False
    """False when nothing could be held out properly."""
    held_out: str = ""
    """What F1 was measured on, in words."""
    trained_on: tuple[TrainedOn, ...] = ()
    channels: tuple[int, ...] = (0,)
    intensity: tuple[float, float] | None = None
    """Typical dark and bright levels of the training frames, as stored in their files."""
    contrast: float | None = None
    undecided: float | None = None
    """On held-out frames: candidates near the threshold, for each that is clearly a cell."""
    brightness: float | None = None
    """There too: of the clear ones, 0 (the image's dark level) to about 1 (its bright level)."""
    weights_file: str = Field("weights-000000000000.safetensors", pattern=f"^{WEIGHTS_PATTERN}$")
    weights_sha256: str = ""

    def threshold_for(self, experiment: str) -> float:
        """Return the threshold for an experiment; of an unknown one that for all."""
        return self.thresholds.get(experiment, self.threshold)


def read_detector(folder: Path) -> tuple[DetectorInfo, dict[str, torch.Tensor]]:
    """Read the description and the weights of a detector or run folder, or a package of one.

    Raises
    ------
    CellTrainError
        When it is no such folder, or something in it is damaged.
    """
    info, path, content = _read_files(find_detector(folder))
    if hashlib.sha256(content).hexdigest() != info.weights_sha256:
        raise CellTrainError(
            f"{path} is damaged or was changed: its checksum is not the one in {INFO_FILE}. "
            "Copy the detector again."
        )
    try:
        weights = load_tensors(content)
    except Exception as error:  # the library's own type, which is a plain Exception
        raise CellTrainError(f"{path} is no safetensors file: {error}.") from None
    check_weights(info.design, weights, path)
    return info, weights


def write_detector(folder: Path, info: DetectorInfo, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights and description; a detector there is replaced at once or not at all."""
    content = save_tensors({key: value.cpu().contiguous() for key, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights-{digest[:12]}.safetensors"
    info = info.model_copy(update={"weights_file": name, "weights_sha256": digest})
    write_bytes(folder / name, content)
    write_text(folder / INFO_FILE, info.model_dump_json(indent=1))
    for other in folder.glob("weights-*.safetensors"):
        if other.name != name:
            with contextlib.suppress(OSError):  # it is in use, and removed by the next writing
                other.unlink()


def find_detector(folder: Path) -> Path:
    """Return the detector folder meant by a detector folder or a run folder.

    A ``.celltrain`` file is a detector as it is.

    Raises
    ------
    CellTrainError
        When it is neither.
    """
    check_readable(folder)
    if is_package(folder):
        return folder
    for candidate in (folder, folder / "best"):
        if (candidate / INFO_FILE).is_file():
            return candidate
    if not folder.exists():
        raise CellTrainError(f"There is no detector at {folder}: no such folder.")
    if (folder / "settings.toml").is_file():
        raise CellTrainError(
            f"The run in {folder} has no detector yet: it was stopped before its first "
            "evaluation. Resume it."
        )
    raise CellTrainError(f"{folder} is neither a detector nor a run folder: it has no {INFO_FILE}.")


def _read_files(folder: Path) -> tuple[DetectorInfo, Path, bytes]:
    """Read description and weights; training may be putting better ones in their place."""
    for _ in range(20):
        info = read_info(folder)
        if is_package(folder):
            return info, folder, read_member(folder, info.weights_file)
        path = folder / info.weights_file
        try:
            found = path.stat()  # asked once: it may be replaced between two questions
            if not stat.S_ISREG(found.st_mode):  # a pipe would never end
                raise CellTrainError(f"{path} can't be read: it is no file.")
            if found.st_size > MAX_FILE_BYTES:
                raise CellTrainError(f"{path} is larger than any detector; it is not loaded.")
            return info, path, path.read_bytes()
        except FileNotFoundError:
            time.sleep(0.05)
        except OSError as error:
            raise CellTrainError(f"{path} can't be read: {error.strerror}.") from None
    raise CellTrainError(f"{path} is missing: {INFO_FILE} names it. Copy the detector again.")


def read_info(folder: Path) -> DetectorInfo:
    """Read and validate ``detector.json``, of a folder or in a ``.celltrain`` file."""
    path = folder if is_package(folder) else folder / INFO_FILE
    try:
        values = json.loads(description_of(folder).decode("utf-8"))
    except OSError as error:
        raise CellTrainError(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise CellTrainError(f"{path} is damaged: it is not valid JSON.") from None
    if isinstance(values, dict) and values.get("format_version", 1) != 1:
        raise CellTrainError(
            f"{path} has format version {values['format_version']!r:.40}; this program reads "
            "version 1. Update napari-celltrain."
        )
    try:
        return DetectorInfo.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise CellTrainError(f"{path} is damaged: '{place}': {first['msg']}.") from None


def check_weights(design: Design, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights that do not fit the design, before anything is allocated for them."""
    with torch.device("meta"):
        expected = CentreNet(design).state_dict()
    for key, tensor in expected.items():
        if key not in weights or weights[key].shape != tensor.shape:
            raise CellTrainError(
                f"{path} does not fit its description: '{key}' is missing or has another size."
            )
        if not weights[key].dtype.is_floating_point:
            raise CellTrainError(f"{path} is damaged: '{key}' is not made of real numbers.")
        if not torch.isfinite(weights[key]).all():
            raise CellTrainError(f"{path} is damaged: '{key}' has values that are not finite.")
    if len(weights) != len(expected):
        raise CellTrainError(f"{path} holds weights that its description does not know.")
