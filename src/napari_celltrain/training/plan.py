"""Everything a run decides by itself before it starts, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import psutil
from scipy.spatial import cKDTree

from napari_celltrain.detector.compute import (
    BATCH,
    choose_arithmetic,
    choose_device,
    usable_cores,
)
from napari_celltrain.detector.design import Design, choose_design
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.statistics import estimate_diameter
from napari_celltrain.training.events import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_celltrain.dataset import Split
    from napari_celltrain.detector.compute import Arithmetic
    from napari_celltrain.training.settings import TrainingSettings

STEP_VOXELS = {"cpu": 130_000, "cuda": 4_000_000, "mps": 1_000_000}
"""Working voxels of one optimiser step: many small steps teach more in a minute than few large."""
CROP_WIDTH = {"flat": 128, "deep": 64}
CROP_CELLS = 2.5
"""Depth of a crop in cell diameters."""
MOST_PAIRS = 8
"""Larger batches than that are not made only because there are threads for them."""
WIDTHS = {"cpu": 16, "cuda": 32, "mps": 32}
BYTES_PER_VOXEL = 900
"""Peak memory of a training step for each working voxel, at width 16 (measured)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What was decided.

    Parameters
    ----------
    design
        Of the detector.
    voxel_sizes
        Of each experiment's images, in the design's unit.
    crop_shape
        (z, y, x) working voxels.
    batch_size
        Crops a step.
    device, arithmetic, threads
        Where and how it runs.
    learning_rate
        At its peak.
    choices
        The same in words.
    findings
        What was noticed on the way.
    """

    design: Design
    voxel_sizes: tuple[ZYX, ...]
    crop_shape: tuple[int, int, int]
    batch_size: int
    device: torch.device
    arithmetic: Arithmetic
    threads: int
    learning_rate: float
    choices: tuple[Choice, ...] = ()
    findings: tuple[Finding, ...] = field(default=())


def make_plan(
    experiments: Sequence[Experiment],
    split: Split,
    settings: TrainingSettings,
    *,
    start_design: Design | None = None,
) -> Plan:
    """Decide everything that the settings leave open.

    Parameters
    ----------
    experiments
        Of the data set, with images.
    split
        Which frames are trained on.
    settings
        What the user asked for.
    start_design
        Of the detector that is trained on, if there is one: the design is its own then.

    Raises
    ------
    CellTrainError
        When settings and data don't fit together.
    """
    choices: list[Choice] = []
    findings: list[Finding] = []
    device, why = choose_device(settings.compute.device)
    choices.append(Choice("device", str(device), why))
    arithmetic, why = choose_arithmetic(device, settings.compute.precision)
    choices.append(Choice("arithmetic", str(arithmetic), why))

    members = sorted({member for member, _ in split.train})
    if start_design is not None:
        design = start_design
        sizes, notes = _voxel_sizes(experiments, {}, design.unit, design.diameter)
        findings += notes
        choices.append(Choice("design", _describe(design), "that of the detector trained on"))
    else:
        design, sizes, more, notes = _new_design(experiments, split, members, settings, device.type)
        choices += more
        findings += notes
    _check_channels(experiments, design)

    crop_shape, why = _crop_shape(experiments, members, design, sizes, settings)
    choices.append(
        Choice("crop", " x ".join(map(str, crop_shape)) + " working voxels (z, y, x)", why)
    )
    threads = settings.compute.threads or usable_cores()
    batch_size, why = _batch_size(crop_shape, design, device.type, threads, settings)
    choices.append(Choice("batch size", str(batch_size), why))
    if device.type == "cpu":
        useful = max(1, batch_size // BATCH)
        why = "as asked" if settings.compute.threads else "all cores"
        if useful < threads:
            why = f"each computes {BATCH} crops of a step"
        threads = min(threads, useful)
        choices.append(Choice("CPU threads", str(threads), why))
    rate = settings.optimiser.learning_rate
    if rate is None:
        rate = 5e-4 if start_design is not None else 2e-3
        choices.append(
            Choice(
                "learning rate",
                f"{rate:g}",
                "low, so that what it knows is kept" if start_design else "from scratch",
            )
        )
    return Plan(
        design,
        tuple(sizes),
        crop_shape,
        batch_size,
        device,
        arithmetic,
        threads,
        rate,
        tuple(choices),
        tuple(findings),
    )


def _new_design(
    experiments: Sequence[Experiment],
    split: Split,
    members: Sequence[int],
    settings: TrainingSettings,
    device: str,
) -> tuple[Design, list[ZYX], list[Choice], list[Finding]]:
    choices: list[Choice] = []
    findings: list[Finding] = []
    known = [experiments[m].known_voxel_size_um for m in members]
    unit: Literal["um", "px"] = "um" if any(size is not None for size in known) else "px"
    if unit == "px":
        findings.append(
            Finding(
                "warning",
                "voxel-size-unknown",
                "The voxel size is not known, so everything is in pixels: the detector will only "
                "fit images of the same magnification. Give voxel_size_um to change that.",
            )
        )
    diameters: dict[int, float] = {}
    for member in members:
        if settings.design.diameter_um is None or len(members) > 1:
            estimate = estimate_diameter(_only(experiments[member], split, member))
            if estimate is not None:
                diameters[member] = estimate.diameter
                choices.append(
                    Choice(
                        f"cell diameter in '{experiments[member].name}'",
                        f"{estimate.diameter:.3g} {estimate.unit}",
                        estimate.reason,
                    )
                )
    reference = settings.design.diameter_um
    if reference is None:
        own = [
            d
            for m, d in diameters.items()
            if (experiments[m].known_voxel_size_um is None) == (unit == "px")
        ]
        if not own:
            raise CellTrainError(
                "The cell diameter can't be measured from these images and annotations: give it "
                "(--set design.diameter_um=...)."
            )
        reference = float(np.exp(np.mean(np.log(own))))
    sizes, notes = _voxel_sizes(experiments, diameters, unit, reference)
    findings += notes
    diameter = reference
    choices.append(
        Choice(
            "cell diameter",
            f"{diameter:.3g} {unit}",
            "as asked" if settings.design.diameter_um else "measured at the annotated cells",
        )
    )
    spacing = close_spacing(experiments, split, sizes)
    if spacing is None:
        spacing = 2 * diameter
    spacing = float(np.clip(spacing, 0.25 * diameter, 4 * diameter))
    finest = min((sizes[m] for m in members), key=lambda size: size[1])
    planes = max(_images(experiments[m]).frame_shape[0] for m in members)
    width = settings.design.width or WIDTHS[device]
    channels = len(experiments[members[0]].channels)
    design = choose_design(
        diameter=diameter,
        spacing=spacing,
        voxel_size=finest,
        planes=planes,
        unit=unit,
        width=width,
        time_window=settings.design.time_window,
        n_channels=channels,
        working_scale=settings.design.working_scale,
    )
    scale = finest[1] / design.working_voxel_size[1]
    choices.append(
        Choice(
            "working scale",
            f"{scale:.3g} (voxels of "
            + " x ".join(f"{v:.3g}" for v in design.working_voxel_size)
            + f" {unit})",
            "as asked"
            if settings.design.working_scale
            else f"a cell is {diameter / design.working_voxel_size[1]:.0f} working pixels wide, "
            f"close neighbours are {spacing / design.working_voxel_size[1]:.0f} apart",
        )
    )
    choices.append(
        Choice(
            "network",
            _describe(design),
            "as asked" if settings.design.width else f"width {width} suits a {device} device",
        )
    )
    return design, sizes, choices, findings


def _describe(design: Design) -> str:
    strides = ", ".join("x".join(map(str, stride)) for stride in design.strides)
    kind = "2D" if design.flat else "3D"
    return f"{kind} residual U-Net, width {design.width}, strides {strides}"


def _images(experiment: Experiment):  # type: ignore[no-untyped-def]
    if experiment.images is None:
        raise CellTrainError(f"The experiment '{experiment.name}' has no images to train on.")
    return experiment.images


def _only(experiment: Experiment, split: Split, member: int) -> Experiment:
    """Leave only the annotations that are trained on: held-out frames decide nothing."""
    times = [t for m, t in split.train if m == member]
    annotations = experiment.annotations
    return replace(experiment, annotations=annotations.select(np.isin(annotations.t, times)))


def _voxel_sizes(
    experiments: Sequence[Experiment],
    diameters: dict[int, float],
    unit: Literal["um", "px"],
    reference: float,
) -> tuple[list[ZYX], list[Finding]]:
    """Bring all experiments to one unit; a missing voxel size follows from the cells' width."""
    sizes: list[ZYX] = []
    findings: list[Finding] = []
    for member, experiment in enumerate(experiments):
        size = experiment.known_voxel_size_um
        if unit == "px":
            sizes.append((1.0, 1.0, 1.0))
        elif size is not None:
            sizes.append(size)
        else:
            in_px = diameters.get(member)
            if in_px is None:
                estimate = estimate_diameter(experiment)
                in_px = estimate.diameter if estimate is not None else reference
            scale = reference / in_px
            sizes.append((scale, scale, scale))
            findings.append(
                Finding(
                    "warning",
                    "voxel-size-guessed",
                    f"The voxel size of '{experiment.name}' is not known; {scale:.3g} um is "
                    "assumed, so that its cells are as wide as the others. Give voxel_size_um.",
                    experiment.name,
                )
            )
    return sizes, findings


def close_spacing(
    experiments: Sequence[Experiment], split: Split, sizes: Sequence[ZYX]
) -> float | None:
    """Distance to the nearest neighbour that 10 % of the cells fall below; None without pairs."""
    distances = []
    for member, t in split.train:
        annotations = experiments[member].annotations
        here = annotations.at(t)
        here = here[annotations.is_cell[here]]
        if len(here) > 1:
            points = annotations.positions[here] * np.array(sizes[member])
            distances.append(cKDTree(points).query(points, k=2)[0][:, 1])
    if not distances:
        return None
    together = np.concatenate(distances)
    together = together[np.isfinite(together) & (together > 0)]
    return float(np.percentile(together, 10)) if len(together) else None


def _check_channels(experiments: Sequence[Experiment], design: Design) -> None:
    for experiment in experiments:
        source = _images(experiment)
        for channel in experiment.channels:
            if not 0 <= channel < source.n_channels:
                raise CellTrainError(
                    f"'{experiment.name}' has {source.n_channels} channel(s); there is no channel "
                    f"{channel + 1}."
                )
        if len(experiment.channels) != design.n_channels:
            raise CellTrainError(
                f"'{experiment.name}' is used with {len(experiment.channels)} channel(s), the "
                f"others with {design.n_channels}: choose as many for each."
            )


def _crop_shape(
    experiments: Sequence[Experiment],
    members: Sequence[int],
    design: Design,
    sizes: Sequence[ZYX],
    settings: TrainingSettings,
) -> tuple[tuple[int, int, int], str]:
    strides = design.total_stride
    shapes = []
    for member in members:
        shape = _images(experiments[member]).frame_shape
        shapes.append(np.ceil(shape / np.array(design.steps(sizes[member], shape[0]))))
    largest = np.max(shapes, axis=0).astype(int)
    wanted = settings.optimiser.crop_size or CROP_WIDTH["flat" if largest[0] == 1 else "deep"]
    deep = max(8, round(CROP_CELLS * design.diameter / design.working_voxel_size[0]))
    deep = int(min(largest[0], deep))
    plane = [
        min(wanted, -(-int(n) // s) * s) for n, s in zip(largest[1:], strides[1:], strict=True)
    ]
    shape = [-(-n // s) * s for n, s in zip((deep, *plane), strides, strict=True)]
    why = "as asked" if settings.optimiser.crop_size else "several cells wide and deep"
    if min(largest[1:]) < wanted:
        why = "no larger than the images"
    return (shape[0], shape[1], shape[2]), why


def _batch_size(
    crop: tuple[int, int, int],
    design: Design,
    device: str,
    threads: int,
    settings: TrainingSettings,
) -> tuple[int, str]:
    if settings.optimiser.batch_size is not None:
        return settings.optimiser.batch_size, "as asked"
    voxels = crop[0] * crop[1] * crop[2]
    wanted = max(2, round(STEP_VOXELS[device] / voxels))
    if device == "cpu":
        # in pairs, and some for each thread: what they compute side by side takes no longer
        wanted = BATCH * max(-(-wanted // BATCH), min(threads, MOST_PAIRS))
        free = psutil.virtual_memory().available
        fits = max(1, int(0.3 * free / (voxels * BYTES_PER_VOXEL * design.width / 16)))
        if fits < wanted:
            return fits, f"{free / 2**30:.1f} GiB of memory are free"
    return wanted, "steps short enough to learn from many of them"
