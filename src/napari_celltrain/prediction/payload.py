"""A detector and a request as plain data, for another process or another machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.prediction.partial import weights_digest
from napari_celltrain.prediction.predict import predict_request

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_celltrain.detector.compute import Arithmetic
    from napari_celltrain.experiment import Finding, FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request

_loaded: dict[tuple[str, str, int, bool], Detector] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class PackedDetector:
    """A detector as bytes.

    Precision and tiles travel with it: whoever computes, the numbers are the same.
    """

    info: str
    weights: bytes
    arithmetic: Arithmetic
    tile_voxels: int
    memory_shared_by: int
    digest: str

    @classmethod
    def of(cls, detector: Detector) -> PackedDetector:
        """Pack a detector."""
        weights = {key: value.cpu().contiguous() for key, value in detector.weights.items()}
        return cls(
            detector.info.model_dump_json(),
            save_tensors(weights),
            detector.arithmetic,
            detector.sizes.tile_voxels,
            detector.sizes.memory_shared_by,
            weights_digest(detector),
        )

    def unpack(self, device: str, threads: int, *, in_line: bool = False) -> Detector:
        """Return the detector; made once in a process, however often it is asked for."""
        key = (self.digest + self.info, device, threads, in_line)
        with _lock:
            if key not in _loaded:
                _loaded.clear()  # one at a time is needed
                _loaded[key] = Detector(
                    DetectorInfo.model_validate_json(self.info),
                    load_tensors(self.weights),
                    device=device,
                    threads=threads,
                    precision=self.arithmetic,
                    in_line=in_line,
                )
                _loaded[key].sizes.tile_voxels = self.tile_voxels
                _loaded[key].sizes.memory_shared_by = self.memory_shared_by
            return _loaded[key]


@dataclass(frozen=True)
class Assignment:
    """What one process needs to know to compute any time point of a movie."""

    detector: PackedDetector
    source: FrameSource
    request: Request
    device: str
    threads: int
    in_line: bool = False
    """The process has one core, and does nothing else: all in one thread."""

    def results(
        self, time_points: Sequence[int], tell: Callable[[Finding], None]
    ) -> Generator[FrameResult]:
        """Compute some of the request's time points; what is known of the movie is told already."""
        return predict_request(
            self.detector.unpack(self.device, self.threads, in_line=self.in_line),
            self.source,
            replace(self.request, time_points=tuple(sorted(time_points)), findings=()),
            tell=tell,
            in_line=self.in_line,
        )
