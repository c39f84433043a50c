"""A trained detector: load it, save it, and find the cells of one frame."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from napari_celltrain import __version__
from napari_celltrain.detector.compute import (
    Precision,
    choose_device,
    choose_precision,
    set_threads,
)
from napari_celltrain.detector.design import Design  # noqa: TC001 (pydantic looks at it)
from napari_celltrain.detector.intensity import IntensityRange, intensity_range
from napari_celltrain.detector.network import CentreNet, reach
from napari_celltrain.detector.peaks import find_peaks, suppress
from napari_celltrain.detector.resample import output_length, resample, to_input
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX

INFO_FILE = "detector.json"
WEIGHTS_PATTERN = r"weights-[0-9a-f]{12}\.safetensors"
"""The description names the weights file, and the file is named after its content: replacing the
description is then the one moment at which a better detector takes the place of the old."""
FLOOR = 0.05
"""Candidates are kept down to this score, so that the threshold can be moved later."""
TILE_VOXELS = {"cpu": 2_000_000, "cuda": 32_000_000, "mps": 8_000_000}
"""Working voxels computed at once, by device, unless memory says less."""
MAX_FILE_BYTES = 2**31


class TrainedOn(BaseModel):
    """One experiment a detector was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    time_points: tuple[int, ...]
    voxel_size_um: tuple[float, float, float] | None = None


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
    weights_file: str = Field("weights-000000000000.safetensors", pattern=f"^{WEIGHTS_PATTERN}$")
    weights_sha256: str = ""


@dataclass(frozen=True, eq=False)
class Detections:
    """Cell centres found in one frame.

    Parameters
    ----------
    positions
        (z, y, x) pixels of the image as stored, shape (n, 3), 0 = centre of the first pixel.
    scores
        0 to 1, shape (n,).
    levels
        What became dark and bright in each network input.
    """

    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    levels: tuple[IntensityRange, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Return those with at least this score."""
        keep = self.scores >= threshold
        return Detections(self.positions[keep], self.scores[keep], self.levels)


class Detector:
    """A network with everything needed to use it on an image.

    Parameters
    ----------
    info
        What is known of it.
    weights
        State dictionary of `CentreNet`.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    threads
        CPU threads; None: leave as they are.
    precision
        ``auto``, ``float32`` or ``bfloat16``.
    """

    def __init__(
        self,
        info: DetectorInfo,
        weights: Mapping[str, torch.Tensor],
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
    ) -> None:
        self.info = info
        self.weights = {key: value.detach().clone() for key, value in weights.items()}
        self.device, self.device_reason = choose_device(device)
        if threads is not None:
            set_threads(threads)
        self.precision: Precision = choose_precision(self.device, precision)[0]
        network = CentreNet(info.design)
        network.load_state_dict(self.weights)
        network = network.eval().requires_grad_(False)
        self._network = network.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._tile_voxels = TILE_VOXELS[self.device.type]

    @property
    def design(self) -> Design:
        """What it looks like."""
        return self.info.design

    @property
    def threshold(self) -> float:
        """The calibrated score threshold."""
        return self.info.threshold

    # --- on the disk ---------------------------------------------------------------------------

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
    ) -> Detector:
        """Load a detector folder, or the best detector of a run folder.

        Nothing in the folder is executed: the weights are plain numbers (safetensors) and the
        rest is validated JSON.

        Raises
        ------
        CellTrainError
            When it is no such folder, or something in it is damaged.
        """
        folder = find_detector(Path(folder))
        for _ in range(20):
            info = read_info(folder)
            path = folder / info.weights_file
            if path.exists():
                break
            time.sleep(0.05)  # training is putting a better one in its place right now
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise CellTrainError(f"{path} is larger than any detector; it is not loaded.")
            content = path.read_bytes()
        except OSError as error:
            raise CellTrainError(f"{path} can't be read: {error.strerror}.") from None
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
        return cls(info, weights, device=device, threads=threads, precision=precision)

    def save(self, folder: str | Path) -> None:
        """Write weights and description; a detector there is replaced at once or not at all."""
        folder = Path(folder)
        content = save_tensors(
            {key: value.cpu().contiguous() for key, value in self.weights.items()}
        )
        digest = hashlib.sha256(content).hexdigest()
        name = f"weights-{digest[:12]}.safetensors"
        info = self.info.model_copy(update={"weights_file": name, "weights_sha256": digest})
        write_bytes(folder / name, content)
        write_text(folder / INFO_FILE, info.model_dump_json(indent=1))
        for other in folder.glob("weights-*.safetensors"):
            if other.name != name:
                other.unlink(missing_ok=True)

    # --- detection -----------------------------------------------------------------------------

    def voxel_size_for(self, voxel_size_um: ZYX | None) -> ZYX:
        """Return the image's voxel size in the detector's unit.

        Raises
        ------
        CellTrainError
            When the detector knows its voxel size and nobody knows the image's.
        """
        if self.design.unit == "px":
            return (1.0, 1.0, 1.0)
        if voxel_size_um is None:
            raise CellTrainError(
                "The voxel size of the image is not known, and this detector needs it: give it "
                "as z,y,x in um (--voxel-size on the command line)."
            )
        if not all(np.isfinite(voxel_size_um)) or min(voxel_size_um) <= 0:
            raise CellTrainError(f"The voxel size {voxel_size_um} is not possible: all > 0, in um.")
        return voxel_size_um

    def detect(
        self,
        frames: Sequence[NDArray[Any]],
        voxel_size_um: ZYX | None = None,
        *,
        floor: float = FLOOR,
        tile: tuple[int, int, int] | None = None,
    ) -> Detections:
        """Find the cells of one time point.

        Parameters
        ----------
        frames
            One (z, y, x) array as stored for each network input: time points of the window,
            and within each its channels. All of one shape.
        voxel_size_um
            (z, y, x) of the image.
        floor
            Lowest score of a candidate; use `Detections.above` with the threshold afterwards.
        tile
            Image voxels (z, y, x) to compute at once; None: by memory. Changes nothing but
            memory and time.

        Returns
        -------
        Detections, ordered by (z, y, x).
        """
        voxel_size = self.voxel_size_for(voxel_size_um)
        if len(frames) != self.design.n_inputs:
            raise CellTrainError(
                f"This detector looks at {self.design.n_inputs} images at once (time window "
                f"{self.design.time_window}, {self.design.n_channels} channels), "
                f"not at {len(frames)}."
            )
        shape = frames[0].shape
        if len(shape) != 3 or any(frame.shape != shape for frame in frames):
            raise CellTrainError(
                f"A frame must be (z, y, x) and all of one shape, not "
                f"{[frame.shape for frame in frames]}."
            )
        if 0 in shape:
            return Detections(np.empty((0, 3)), np.empty(0))
        steps = self.design.steps(voxel_size)
        levels = [intensity_range(frame, steps) for frame in frames]
        working = tuple(output_length(n, s) for n, s in zip(shape, steps, strict=True))
        found = []
        while True:
            try:
                found = [
                    self._detect_tile(frames, steps, levels, core, floor)
                    for core in self._cores(working, steps, tile)
                ]
                break
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error) or self._tile_voxels < 50_000:
                    raise
                # halve the tile and go on: tiles change nothing but memory
                self._tile_voxels //= 2
                tile = None
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
        positions = np.concatenate([part[0] for part in found])
        scores = np.concatenate([part[1] for part in found])
        size = np.asarray(voxel_size)
        kept = suppress(positions * size, scores, self.design.suppression_radius)
        positions, scores = positions[kept], scores[kept]
        order = np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0]))
        return Detections(positions[order], scores[order], tuple(levels))

    def _cores(
        self, working: tuple[int, ...], steps: ZYX, tile: tuple[int, int, int] | None
    ) -> Iterator[tuple[tuple[int, int], ...]]:
        """Cut the working volume into parts that own their peaks, in total strides."""
        strides = self.design.total_stride
        padded = [-(-n // s) * s for n, s in zip(working, strides, strict=True)]
        if tile is not None:
            core = [
                max(s, round(t / step) // s * s)
                for t, step, s in zip(tile, steps, strides, strict=True)
            ]
        else:
            core = tile_shape(padded, strides, reach(self.design), self._tile_voxels)
        spans = [
            [(a, min(a + c, n)) for a in range(0, n, c)]
            for n, c in zip(padded, core, strict=True)
        ]
        yield from itertools.product(*spans)

    def _detect_tile(
        self,
        frames: Sequence[NDArray[Any]],
        steps: ZYX,
        levels: Sequence[IntensityRange],
        core: tuple[tuple[int, int], ...],
        floor: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        design = self.design
        strides = design.total_stride
        working = [output_length(n, s) for n, s in zip(frames[0].shape, steps, strict=True)]
        padded = [-(-n // s) * s for n, s in zip(working, strides, strict=True)]
        halo = [-(-(r + 1) // s) * s for r, s in zip(reach(design), strides, strict=True)]
        outer = [
            (max(0, a - h), min(n, b + h)) for (a, b), h, n in zip(core, halo, padded, strict=True)
        ]
        part = [(a, min(b, n)) for (a, b), n in zip(outer, working, strict=True)]
        image = torch.zeros(
            (1, len(frames), *(b - a for a, b in outer)), device=self.device
        )
        inside = tuple(slice(0, b - a) for a, b in part)
        for k, (frame, level) in enumerate(zip(frames, levels, strict=True)):
            image[(0, k, *inside)] = level.normalise(resample(frame, steps, part, self.device))
        output = self._forward(image)[0]
        grid_stride = np.array(design.strides[0])
        first = np.array([a for a, _ in outer]) // grid_stride
        grid, position, scores = find_peaks(output[0], output[1:], floor)
        low = np.array([a for a, _ in core]) // grid_stride - first
        high = np.array([-(-min(b, n) // s) for (_, b), n, s in
                         zip(core, working, grid_stride, strict=True)]) - first
        own = ((grid >= low) & (grid < high)).all(axis=1)
        in_working = (position[own] + first + 0.5) * grid_stride - 0.5
        in_image = to_input(in_working, steps)
        return np.clip(in_image, -0.5, np.array(frames[0].shape) - 0.5), scores[own]

    def _forward(self, image: torch.Tensor) -> torch.Tensor:
        image = image.contiguous(memory_format=torch.channels_last_3d)
        with (
            torch.inference_mode(),
            torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
            ),
        ):
            output: torch.Tensor = self._network(image)
        return output.float()


def tile_shape(
    padded: Sequence[int], strides: Sequence[int], halo: Sequence[int], voxels: int
) -> list[int]:
    """Choose the largest core whose tile, halo included, has at most so many voxels.

    The longest side is halved until it fits, so cores stay as cubic as the image allows.
    """
    core = list(padded)

    def size() -> int:
        total = 1
        for c, h, n in zip(core, halo, padded, strict=True):
            total *= min(n, c + 2 * h)
        return total

    while size() > voxels:
        axis = max(
            (axis for axis in range(3) if core[axis] > strides[axis]),
            key=lambda axis: core[axis] / max(1, halo[axis]) if halo[axis] else core[axis],
            default=None,
        )
        if axis is None:
            break
        half = -(-core[axis] // 2)
        core[axis] = max(strides[axis], -(-half // strides[axis]) * strides[axis])
        if core[axis] >= padded[axis] and padded[axis] > strides[axis]:
            core[axis] = padded[axis] - strides[axis]
    return core


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        text in str(error).lower()
        for text in ("out of memory", "not enough memory", "can't allocate")
    )


def find_detector(folder: Path) -> Path:
    """Return the detector folder meant by a detector folder or a run folder.

    Raises
    ------
    CellTrainError
        When it is neither.
    """
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
    raise CellTrainError(
        f"{folder} is neither a detector nor a run folder: it has no {INFO_FILE}."
    )


def read_info(folder: Path) -> DetectorInfo:
    """Read and validate ``detector.json``."""
    path = folder / INFO_FILE
    try:
        if path.stat().st_size > 2**24:
            raise CellTrainError(f"{path} is too large to be a detector's description.")
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CellTrainError(f"{path} can't be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise CellTrainError(f"{path} is damaged: it is not valid JSON.") from None
    if isinstance(values, dict) and values.get("format_version", 1) != 1:
        raise CellTrainError(
            f"{path} has format version {values['format_version']!r}; this program reads "
            "version 1. Update napari-celltrain."
        )
    try:
        return DetectorInfo.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CellTrainError(f"{path} is damaged: '{place}': {first['msg']}.") from None


def check_weights(design: Design, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights that do not fit the design, before anything is allocated for them."""
    with torch.device("meta"):
        expected = CentreNet(design).state_dict()
    for key, tensor in expected.items():
        if key not in weights or weights[key].shape != tensor.shape:
            raise CellTrainError(f"{path} does not fit its description: '{key}' is missing or "
                                 "has another size.")
        if not torch.isfinite(weights[key]).all():
            raise CellTrainError(f"{path} is damaged: '{key}' has values that are not finite.")
    if len(weights) != len(expected):
        raise CellTrainError(f"{path} holds weights that its description does not know.")
