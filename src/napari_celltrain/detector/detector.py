"""A trained detector: finding the cells of frames."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_celltrain.detector.compute import (
    Arithmetic,
    choose_arithmetic,
    choose_device,
    usable_cores,
)
from napari_celltrain.detector.detections import Detections, Job
from napari_celltrain.detector.folder import DetectorInfo, read_detector, write_detector
from napari_celltrain.detector.memory import tile_voxels_for
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.peaks import find_peaks, suppress
from napari_celltrain.detector.resample import (
    resample,
    resample_in_depth,
    resample_in_plane,
    to_input,
)
from napari_celltrain.detector.threads import CallingThread, tile_threads
from napari_celltrain.detector.tiling import Tile, share_memory, tiles_of
from napari_celltrain.detector.under_way import FrameUnderWay, GivenUp, is_out_of_memory
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import ZYX

FLOOR = 0.05
"""Candidates are kept down to this score, so that the threshold can be moved later."""
SMALLEST_TILE = 50_000
"""Where even this does not fit into memory, nothing will."""
ASK_EVERY_S = 0.2
"""How often it is asked whether to stop while tiles are computed."""
HELD_BYTES = 2**29
"""Frames that wait for a thread may take this much memory; one is always held."""
WIDEST_CELL = 2000
"""Pixels: wider ones are a voxel size in the wrong unit."""


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
        Tiles computed at once on a CPU; None: as many as cores. The result is the same.
    precision
        ``auto``, ``float32`` or ``bfloat16``; or the whole arithmetic as another process chose it.
    in_line
        Compute in the thread that asks, one tile after the other, and in no other.
    """

    def __init__(
        self,
        info: DetectorInfo,
        weights: Mapping[str, torch.Tensor],
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: str | Arithmetic = "auto",
        in_line: bool = False,
    ) -> None:
        self.info = info
        self.weights = {key: value.detach().clone() for key, value in weights.items()}
        self.device, self.device_reason = choose_device(device)
        # only a processor has threads to share the work; a graphics card is asked by one
        self.threads = (
            1
            if in_line or self.device.type != "cpu"
            else min(threads or usable_cores(), usable_cores())
        )
        self._pool: Executor = CallingThread() if in_line else tile_threads(self.threads)
        self.arithmetic = (
            precision
            if isinstance(precision, Arithmetic)
            else choose_arithmetic(self.device, precision)[0]
        )
        network = CentreNet(info.design)
        network.load_state_dict(self.weights)
        network = network.eval().requires_grad_(False)
        self._dtype = getattr(torch, self.arithmetic.precision)
        # weights are rounded here and once: autocast would do it again for every tile
        self._network = network.to(  # type: ignore[call-overload]
            self.device, self._dtype, memory_format=self.arithmetic.memory_format
        )
        self.memory_shared_by = self.threads
        """Tiles that memory is shared out to; tiles are chosen by it, whoever computes them."""
        self.tile_voxels = tile_voxels_for(
            info.design, self.device, self.arithmetic.precision, self.threads
        )
        self._too_large = math.inf
        """Voxels of the smallest tile for which memory did not do."""

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
        """Load a detector folder, the best detector of a run folder, or a ``.celltrain`` file.

        Nothing in the folder is executed: the weights are plain numbers (safetensors) and the
        rest is validated JSON.

        Raises
        ------
        CellTrainError
            When it is no such folder, or something in it is damaged.
        """
        info, weights = read_detector(Path(folder))
        return cls(info, weights, device=device, threads=threads, precision=precision)

    def save(self, folder: str | Path) -> None:
        """Write weights and description; a detector there is replaced at once or not at all."""
        write_detector(Path(folder), self.info, self.weights)

    # --- detection -----------------------------------------------------------------------------

    def voxel_size_for(self, voxel_size_um: ZYX | None, name: str = "the image") -> ZYX:
        """Return the voxel size of an image of this name in the detector's unit.

        Raises
        ------
        CellTrainError
            When the detector knows its voxel size and nobody knows the image's.
        """
        if self.design.unit == "px":
            return (1.0, 1.0, 1.0)
        if voxel_size_um is None:
            raise CellTrainError(
                f"The voxel size of {name} is not known, and this detector needs it: give it "
                "as z,y,x in um (--voxel-size on the command line)."
            )
        if not all(np.isfinite(voxel_size_um)) or min(voxel_size_um) <= 0:
            raise CellTrainError(f"The voxel size {voxel_size_um} is not possible: all > 0, in um.")
        width = self.design.diameter / min(voxel_size_um[1:])
        thickness = self.design.working_voxel_size[0] / voxel_size_um[0]
        if not 1 <= width <= WIDEST_CELL or thickness < 1 / WIDEST_CELL:
            raise CellTrainError(
                f"The voxel size {voxel_size_um} (z, y, x; um) can't be right for this detector: "
                f"its cells are {self.design.diameter:.3g} um wide, which would be {width:.3g} "
                "pixels."
            )
        return voxel_size_um

    def detect(
        self,
        frames: Sequence[NDArray[Any]],
        voxel_size_um: ZYX | None = None,
        *,
        cell_diameter: float | None = None,
        gamma: float = 1.0,
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
        cell_diameter
            How wide its cells are, in the detector's unit; None: as those it was trained on.
        gamma
            Power to which the brightness, from 0 (dark) to 1 (bright), is raised first.
        floor
            Lowest score of a candidate; use `Detections.above` with the threshold afterwards.
        tile
            Image voxels (z, y, x) to compute at once; None: by memory. Changes nothing but
            memory and time.

        Returns
        -------
        Detections, ordered by (z, y, x).
        """
        job = Job(frames, voxel_size_um, cell_diameter, gamma)
        return next(self.detect_each([job], floor=floor, tile=tile))

    def detect_each(
        self,
        jobs: Iterable[Job],
        *,
        floor: float = FLOOR,
        tile: tuple[int, int, int] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Generator[Detections]:
        """Find the cells of several time points; as many tiles as threads are under way at once.

        Parameters
        ----------
        jobs
            One for each time point. The next ones are asked for while earlier ones are computed;
            few are held at once.
        floor, tile
            As in `detect`.
        stopping
            Asked now and then; when it says so, time points that are not done are given up: one
            may take long, where the voxel size makes it large.

        Yields
        ------
        Detections of each time point, in the order of the jobs.
        """
        coming = iter(jobs)
        more = True
        waiting: FrameUnderWay | None = None
        """The next frame, made ready while the threads compute."""
        under_way: deque[FrameUnderWay] = deque()
        try:
            while more or under_way or waiting is not None:
                unfinished = {
                    future for frame in under_way for future in frame.futures if not future.done()
                }
                at_once = self._at_once(under_way)
                busy = bool(under_way) and len(unfinished) >= at_once
                # where memory allows, one frame is in line: a thread that is done takes it up
                # without waiting for this one to notice
                in_line = len(unfinished) > at_once
                full = busy and (in_line or at_once < self.threads)
                held = sum(frame.n_bytes for frame in under_way)
                if waiting is not None and not full:
                    self._start(waiting)
                    under_way.append(waiting)
                    waiting = None
                elif under_way and not under_way[0].unfinished():
                    frame = under_way[0]
                    found = self._collect(frame)
                    if found is not None:
                        under_way.popleft()
                        del frame
                        yield found
                elif more and not in_line and waiting is None and held < HELD_BYTES:
                    try:
                        job = next(coming)
                    except StopIteration:
                        more = False
                        continue
                    waiting = self._begin(job, floor, tile, ahead=busy)
                    del job
                elif stopping():
                    return
                else:
                    wait(unfinished, ASK_EVERY_S, return_when=FIRST_COMPLETED)
        finally:
            for frame in under_way:
                frame.cancel()

    def _at_once(self, under_way: Iterable[FrameUnderWay]) -> int:
        """How many tiles may be computed at once, by threads and by memory."""
        return min([self.threads, *(one.at_once for one in under_way)])

    def _begin(
        self,
        job: Job,
        floor: float,
        tile: tuple[int, int, int] | None,
        *,
        ahead: bool,
    ) -> FrameUnderWay:
        """Check the input of a time point and cut it into tiles.

        When all threads have work (`ahead`), a frame of one tile is resampled here and now, so
        that the next free thread finds it ready.
        """
        frames = job.frames
        voxel_size = self.design.relative(self.voxel_size_for(job.voxel_size_um), job.cell_diameter)
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
        steps = self.design.steps(voxel_size, shape[0])
        frame = FrameUnderWay(frames, voxel_size, steps, job.gamma, floor, job.levels)
        self._cut(frame, tile)
        if ahead and self.device.type == "cpu" and len(frame.tiles) == 1:
            frame.ready = self._input(frame, frame.tiles[0])
        return frame

    def _cut(self, frame: FrameUnderWay, tile: tuple[int, int, int] | None) -> None:
        shape = frame.images[0].shape
        frame.at_once = self.threads
        tiles: Sequence[Tile] = ()
        if 0 not in shape and tile is not None:
            tiles = tiles_of(shape, frame.steps, self.design, self.tile_voxels, tile)
            if max(one.voxels for one in tiles) >= self._too_large:
                tiles = ()  # what was asked for did not fit before
        if 0 not in shape and not tiles:
            tiles, frame.at_once = share_memory(
                shape, frame.steps, self.design, self.tile_voxels, self.memory_shared_by
            )
        frame.tiles = tiles
        # no more at once than threads: a queue would only keep the next frame waiting
        frame.at_once = min(frame.at_once, self.threads)

    def _start(self, frame: FrameUnderWay) -> None:
        """Hand the tiles to the threads."""
        frame.stopped = False
        turns = itertools.cycle(range(frame.at_once))
        shares: list[list[Tile]] = [[] for _ in range(min(frame.at_once, len(frame.tiles)))]
        for one, turn in zip(frame.tiles, turns, strict=False):
            shares[turn].append(one)
        frame.futures = [self._pool.submit(self._detect_tiles, frame, share) for share in shares]

    def _collect(self, frame: FrameUnderWay) -> Detections | None:
        """Put the tiles of a frame together; None when it is computed again in smaller tiles."""
        try:
            found = [part for future in frame.futures for part in future.result()]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            largest = max((one.voxels for one in frame.tiles), default=0)
            if not is_out_of_memory(error) or largest < SMALLEST_TILE:
                raise
            # halve the tile and go on: tiles change nothing but memory
            self._too_large = min(self._too_large, largest)
            self.tile_voxels = min(self.tile_voxels, largest // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._cut(frame, None)
            self._start(frame)
            return None
        positions = np.concatenate([np.empty((0, 3)), *(part[0] for part in found)])
        scores = np.concatenate([np.empty(0), *(part[1] for part in found)])
        kept = suppress(
            positions * np.asarray(frame.voxel_size), scores, self.design.suppression_radius
        )
        positions, scores = positions[kept], scores[kept]
        order = np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0]))
        levels = tuple(frame.levels()) if found else ()
        return Detections(positions[order], scores[order], levels, frame.seconds)

    def _detect_tiles(
        self, frame: FrameUnderWay, tiles: Sequence[Tile]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        found = []
        for tile in tiles:
            if frame.stopped:
                break
            begin = time.perf_counter()
            try:
                found.append(self._detect_tile(frame, tile))
            except GivenUp:
                break
            except BaseException:
                frame.stopped = True  # the other tiles would be for nothing
                raise
            frame.took(time.perf_counter() - begin)
        return found

    def _detect_tile(
        self, frame: FrameUnderWay, tile: Tile
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        design = self.design
        image = self._input(frame, tile) if frame.ready is None else frame.ready
        frame.ready = None
        output = self._forward(image, frame.go_on)[0]
        grid_stride = np.array(design.strides[0])
        first = np.array([a for a, _ in tile.outer]) // grid_stride
        grid, position, scores = find_peaks(output[0], output[1:], frame.floor)
        working = np.array([b for _, b in tile.part])  # padding holds no cells
        low = np.array([a for a, _ in tile.core]) // grid_stride - first
        high = -(-np.minimum([b for _, b in tile.core], working) // grid_stride) - first
        own = ((grid >= low) & (grid < high)).all(axis=1)
        in_working = (position[own] + first + 0.5) * grid_stride - 0.5
        in_image = to_input(in_working, frame.steps)
        return np.clip(in_image, -0.5, np.array(frame.images[0].shape) - 0.5), scores[own]

    def _input(self, frame: FrameUnderWay, tile: Tile) -> torch.Tensor:
        """Bring a tile to the working scale and to normalised brightness."""
        shape = [b - a for a, b in tile.outer]
        image = torch.zeros((1, len(frame.images), *shape), device=self.device)
        inside = tuple(slice(0, b - a) for a, b in tile.part)
        if len(frame.tiles) == 1 and self.device.type == "cpu":
            # the whole frame: what its levels are measured on is what is looked at
            thinned = [resample_in_plane(one, frame.steps, tile.part[1:]) for one in frame.images]
            for k, (planes, level) in enumerate(zip(thinned, frame.levels(thinned), strict=True)):
                deep = resample_in_depth(planes, len(planes), frame.steps[0], tile.part[0])
                image[0, k][inside] = level.normalise(deep, frame.gamma)
            return image
        for k, (one, level) in enumerate(zip(frame.images, frame.levels(), strict=True)):
            image[0, k][inside] = level.normalise(
                resample(one, frame.steps, tile.part, self.device), frame.gamma
            )
        return image

    def _forward(
        self, image: torch.Tensor, between: Callable[[], object] = lambda: None
    ) -> torch.Tensor:
        image = image.to(self._dtype, memory_format=self.arithmetic.memory_format)
        with torch.inference_mode():
            output: torch.Tensor = self._network(image, between)
        return output
