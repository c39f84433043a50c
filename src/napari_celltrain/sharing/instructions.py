"""How the centres of cells are made of the heat map, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.detector import FLOOR
from napari_celltrain.detector.intensity import CLIP, HIGH, LOW
from napari_celltrain.sharing.example import axes_of, spatial

if TYPE_CHECKING:
    from napari_celltrain.detector.folder import DetectorInfo

_OUTPUT = """\
## What goes in and what comes out

- The image has to be at the voxel size named above. Each input's brightness is scaled so that its
  {low:g} and {high:g} percentiles become 0 and 1; the package says so to programs that read it.
- `heatmap`: a score from 0 to 1 for "the centre of a cell is in this grid voxel". The grid is
  coarser than the image by {strides}.
- `offsets`: from the centre of the grid voxel to the centre of the cell, in grid voxels ({axes}).

A cell is where the heat map is at least {threshold:.2f} and no neighbour (diagonal ones as well)
is higher; its centre is at (index + offset + 0.5) * stride - 0.5 pixels of the input. Of two cells
closer than {radius:.3g} {unit} the one with the lower score is dropped. `config.celltrain` in
`rdf.yaml` has these numbers, and the attached `.celltrain` file is the detector as napari-celltrain
uses it: that one takes images of any voxel size and returns points.
"""


def in_words(info: DetectorInfo) -> str:
    """Return a part of the model card."""
    design = info.design
    return _OUTPUT.format(
        low=LOW, high=HIGH, threshold=info.threshold, radius=design.suppression_radius,
        unit=design.unit, axes=", ".join(axes_of(design)),
        strides=" x ".join(str(one) for one in spatial(design, design.strides[0])),
    )  # fmt: skip


def in_numbers(info: DetectorInfo) -> dict[str, Any]:
    """Return what makes points of the heat map, and all that is known of the detector."""
    design = info.design
    return {
        "detector": json.loads(info.model_dump_json()),
        "attachment": "detector.celltrain",
        "unit": design.unit,
        "input_voxel_size_zyx": list(design.working_voxel_size),
        "grid_stride_zyx": list(design.strides[0]),
        "score_threshold": info.threshold,
        "score_floor": FLOOR,
        "suppression_radius": design.suppression_radius,
        "percentiles": [LOW, HIGH],
        "clip": list(CLIP),
        "position_in_input_pixels": "(index + offset + 0.5) * stride - 0.5",
    }
