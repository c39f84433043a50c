"""A trained detector: finding the cells of frames."""

from __future__ import annotations

import itertools
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
from napari_celltrain.detector.design import WIDEST_CELL
from napari_celltrain.detector.detections import Detections, Job
from napari_celltrain.detector.folder import DetectorInfo, read_detector, write_detector
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.sight import cells_of, detections_of, input_of, shape_of
from napari_celltrain.detector.threads import CallingThread, tile_threads
from napari_celltrain.detector.tile_sizes import TileSizes
from napari_celltrain.detector.under_way import FrameUnderWay, GivenUp
from napari_celltrain.errors import CellTrainError, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.sight import Found
    from napari_celltrain.detector.tiling import Tile
    from napari_celltrain.experiment import ZYX

FLOOR = 0.05
"""Candidates are kept down to this score, so that the threshold can be moved later."""
ASK_EVERY_S = 0.2
"""How often it is asked whether to stop while tiles are computed."""
HELD_BYTES = 2**29
"""Frames that wait for a thread may take this much memory; one is always held."""


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
        self.sizes = TileSizes(info.design, self.device, self.arithmetic.precision, self.threads)
        """How much is computed in one go."""

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
        design = self.design
        widths = [design.diameter / size for size in voxel_size_um[1:]]
        # image voxels per working voxel; along z it may be many: flat images may say anything
        z, y, x = (w / v for w, v in zip(design.working_voxel_size, voxel_size_um, strict=True))
        possible = 1 <= max(widths) <= WIDEST_CELL and min(z, y, x) >= 1 / WIDEST_CELL
        if not possible or z > WIDEST_CELL**2:
            pixels = " x ".join(f"{width:.3g}" for width in dict.fromkeys(widths))
            raise CellTrainError(
                f"The voxel size {voxel_size_um} (z, y, x; um) can't be right for this detector: "
                f"its cells are {design.diameter:.3g} um wide, which would be {pixels} pixels."
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
        waiting: list[FrameUnderWay] = []
        """The next frames, made ready while the threads compute; several only if they are small."""
        under_way: deque[FrameUnderWay] = deque()
        done = 0
        try:
            while more or under_way or waiting:
                unfinished = {
                    future for frame in under_way for future in frame.futures if not future.done()
                }
                at_once = self._at_once(under_way)
                busy = bool(under_way) and len(unfinished) >= at_once
                # where memory allows, one frame is in line: a thread that is done takes it up
                # without waiting for this one to notice
                in_line = len(unfinished) > at_once
                full = busy and (in_line or at_once < self.threads)
                held = sum(frame.n_bytes for frame in (*under_way, *waiting))
                # the first are waited for, so as many as are done already may wait for each other
                enough = bool(waiting) and (
                    not more
                    or held >= HELD_BYTES
                    or len(waiting) >= min(max(1, done), self.sizes.together(waiting[0]))
                )
                if enough and not full:
                    self._start(waiting)
                    under_way.extend(waiting)
                    waiting = []
                elif under_way and not under_way[0].unfinished():
                    frame = under_way[0]
                    found = self._collect(frame, under_way)
                    if found is not None:
                        under_way.popleft()
                        done += 1
                        del frame
                        yield found
                elif more and not in_line and not enough and held < HELD_BYTES:
                    try:
                        job = next(coming)
                    except StopIteration:
                        more = False
                        continue
                    waiting.append(self._begin(job, floor, tile, ahead=busy))
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
        shape = shape_of(frames, self.design)
        steps = self.design.steps(voxel_size, shape[0])
        frame = FrameUnderWay(frames, voxel_size, steps, job.gamma, floor, job.levels)
        self.sizes.cut(frame, tile)
        if ahead and self.device.type == "cpu" and len(frame.tiles) == 1:
            frame.ready = input_of(frame, frame.tiles[0], self.device)
        return frame

    def _start(self, frames: Sequence[FrameUnderWay]) -> None:
        """Hand the tiles to the threads; small frames of one size go to one of them together."""
        for _, alike in itertools.groupby(frames, lambda one: [tile.outer for tile in one.tiles]):
            of_one_size = list(alike)
            at_once = self.sizes.together(of_one_size[0])
            for first in range(0, len(of_one_size), at_once):
                self._start_together(of_one_size[first : first + at_once])

    def _start_together(self, frames: list[FrameUnderWay]) -> None:
        if len(frames) > 1:
            future = self._pool.submit(self._detect_together, frames)
            for place, frame in enumerate(frames):
                frame.futures, frame.place = [future], place
            return
        (frame,) = frames
        frame.stopped, frame.place = False, None
        turns = itertools.cycle(range(frame.at_once))
        shares: list[list[Tile]] = [[] for _ in range(min(frame.at_once, len(frame.tiles)))]
        for one, turn in zip(frame.tiles, turns, strict=False):
            shares[turn].append(one)
        frame.futures = [self._pool.submit(self._detect_tiles, frame, share) for share in shares]

    def _collect(
        self, frame: FrameUnderWay, under_way: Iterable[FrameUnderWay]
    ) -> Detections | None:
        """Put the tiles of a frame together; None when it is computed again in smaller tiles."""
        try:
            found = frame.found()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if not self.sizes.ran_out(frame):
                raise CellTrainError(
                    "There is not enough memory to find the cells of an image of "
                    f"{' x '.join(map(str, frame.images[0].shape))} pixels. Close other programs, "
                    f"or use {'the CPU' if self.device.type != 'cpu' else 'a larger computer'}."
                ) from error
            # what is computed beside it gives its memory back first
            wait([future for one in under_way for future in one.futures])
            self._start([frame])
            return None
        return detections_of(frame, found, self.design)

    def _detect_tiles(self, frame: FrameUnderWay, tiles: Sequence[Tile]) -> list[Found]:
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

    def _detect_tile(self, frame: FrameUnderWay, tile: Tile) -> Found:
        output = self._forward(self._image(frame, tile), frame.go_on)[0]
        return cells_of(frame, tile, output, self.design)

    def _detect_together(self, frames: Sequence[FrameUnderWay]) -> list[list[Found]]:
        """Compute frames of one tile each in one go: the steps of Python are those of one.

        The numbers are those of each by itself, to the last bit.
        """
        if frames[0].stopped:  # and so are the others
            return [[] for _ in frames]
        begin = time.perf_counter()
        images = torch.cat([self._image(one, one.tiles[0]) for one in frames])
        try:
            outputs = self._forward(images, frames[0].go_on)
        except GivenUp:
            return [[] for _ in frames]
        found = [
            [cells_of(frame, frame.tiles[0], output, self.design)]
            for frame, output in zip(frames, outputs, strict=True)
        ]
        for frame in frames:
            frame.took((time.perf_counter() - begin) / len(frames))
        return found

    def _image(self, frame: FrameUnderWay, tile: Tile) -> torch.Tensor:
        """Return what the network sees of a tile; what was made ready is let go of."""
        image, frame.ready = frame.ready, None
        return input_of(frame, tile, self.device) if image is None else image

    def _forward(
        self, image: torch.Tensor, between: Callable[[], object] = lambda: None
    ) -> torch.Tensor:
        image = image.to(self._dtype, memory_format=self.arithmetic.memory_format)
        with torch.inference_mode():
            output: torch.Tensor = self._network(image, between)
        return output
