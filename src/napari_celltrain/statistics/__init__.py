"""What is annotated: counts, spacing, cell diameter, and what looks wrong."""

from napari_celltrain.statistics.counts import Counts, Totals, count, total
from napari_celltrain.statistics.diameter import Diameter, estimate_diameter
from napari_celltrain.statistics.findings import findings
from napari_celltrain.statistics.spacing import nearest_distances
from napari_celltrain.statistics.sufficiency import enough

__all__ = [
    "Counts",
    "Diameter",
    "Totals",
    "count",
    "enough",
    "estimate_diameter",
    "findings",
    "nearest_distances",
    "total",
]
