"""Everything a run decides by itself before it starts, each with its reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_celltrain.detector.compute import (
    BATCH,
    choose_arithmetic,
    choose_device,
    usable_cores,
)
from napari_celltrain.detector.design import Design, choose_design, relative_voxel_size
from napari_celltrain.detector.resample import output_length
from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.statistics import estimate_diameter
from napari_celltrain.training.cell_sizes import (
    cell_sizes,
    how_measured,
    measured_diameters,
    usual_spacing,
)
from napari_celltrain.training.crop_groups import choose_crops
from napari_celltrain.training.events import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from napari_celltrain.dataset import Split
    from napari_celltrain.detector.compute import Arithmetic
    from napari_celltrain.statistics.diameter import Diameter
    from napari_celltrain.training.crop_groups import CropGroup
    from napari_celltrain.training.settings import TrainingSettings

CELL_PLANES = 5
"""Planes of a cell that are enough, where stacks of unlike depth have to share one scale."""
WIDTHS = {"cpu": 16, "cuda": 32, "mps": 32}
WIDER = 1.5
"""So much wider is a network that has cells of unlike size, and so of unlike looks, to learn."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What was decided.

    Parameters
    ----------
    design
        Of the detector.
    voxel_sizes
        Of each experiment's images, in the design's unit.
    groups
        Crop and batch sizes; every experiment that is trained on is in one of them.
    cell_diameters
        Of each experiment, in the design's unit: how wide its cells are.
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
    groups: tuple[CropGroup, ...]
    cell_diameters: tuple[float, ...]
    device: torch.device
    arithmetic: Arithmetic
    threads: int
    learning_rate: float
    choices: tuple[Choice, ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    @property
    def relative_sizes(self) -> tuple[ZYX, ...]:
        """Voxel sizes as if the cells of all images were as wide as the design has them."""
        return tuple(
            self.design.relative(size, width)
            for size, width in zip(self.voxel_sizes, self.cell_diameters, strict=True)
        )


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
    diameters: dict[int, Diameter] = {}
    if settings.design.diameter_um is None or len(experiments) > 1:
        diameters = measured_diameters(experiments, split)
    if start_design is not None:
        design = start_design
        sizes, notes = _voxel_sizes(experiments, diameters, design.unit, design.diameter)
        findings += notes
        choices.append(Choice("design", _describe(design), "that of the detector trained on"))
        widths = _widths(experiments, diameters, settings, design.unit, design.diameter)
        if max(widths) > min(widths):
            ends = (*widths, *design.size_range)
            design = design.model_copy(update={"sizes": (min(ends), max(ends))})
    else:
        design, widths, sizes, more, notes = _new_design(
            experiments, split, members, diameters, settings, device.type
        )
        choices += more
        findings += notes
    _check_channels(experiments, design)
    threads = settings.compute.threads or usable_cores()
    groups, more = choose_crops(
        {
            member: _working_shape(
                experiments[member], design, design.relative(sizes[member], widths[member])
            )
            for member in members
        },
        design,
        device.type,
        threads,
        settings,
    )
    choices += more
    if device.type == "cpu":
        useful = max(1, max(group.batch_size for group in groups) // BATCH)
        why = "all cores"
        if settings.compute.threads:
            why = "as asked"
        elif os.environ.get("OMP_NUM_THREADS", "").strip():
            why = "as OMP_NUM_THREADS says"
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
        groups,
        widths,
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
    diameters: Mapping[int, Diameter],
    settings: TrainingSettings,
    device: str,
) -> tuple[Design, tuple[float, ...], list[ZYX], list[Choice], list[Finding]]:
    choices: list[Choice] = []
    findings: list[Finding] = []
    known = [experiments[m].known_voxel_size_um for m in members]
    unit: Literal["um", "px"] = "um" if any(size is not None for size in known) else "px"
    if unit == "px":
        findings.append(
            Finding(
                "warning",
                "voxel-size-unknown",
                "The voxel size is not known, so everything is in pixels: how wide the cells of "
                "other movies are has to be measured first. Give voxel_size_um to change that.",
            )
        )
    for member, estimate in diameters.items():
        about, width = f"cell diameter in '{experiments[member].name}'", estimate.diameter
        choices.append(Choice(about, f"{width:.3g} {estimate.unit}", estimate.reason))
    diameter = settings.design.diameter_um
    if diameter is None:
        widths_known = [
            estimate.diameter
            for m, estimate in diameters.items()
            if m in members and (experiments[m].known_voxel_size_um is None) == (unit == "px")
        ]
        if not widths_known:
            raise CellTrainError(
                "The cell diameter can't be measured from these images and annotations: give it "
                "(--set design.diameter_um=...)."
            )
        diameter = float(np.exp(np.mean(np.log(widths_known))))
    sizes, notes = _voxel_sizes(experiments, diameters, unit, diameter)
    findings += notes
    choices.append(
        Choice(
            "cell diameter",
            f"{diameter:.3g} {unit}",
            "as asked" if settings.design.diameter_um else how_measured(diameters),
        )
    )
    widths = _widths(experiments, diameters, settings, unit, diameter)
    # what a design says holds for images that are scaled so that all cells are as wide
    scaled = [
        relative_voxel_size(size, unit, diameter, width)
        for size, width in zip(sizes, widths, strict=True)
    ]
    spacing = usual_spacing(experiments, split, scaled, diameter)
    finest, planes = _finest(experiments, members, scaled, diameter)
    unlike = max(widths) > min(widths)
    width, why = WIDTHS[device], f"suits a {device} device"
    if unlike:
        width, why = round(WIDER * width), f"{why}, and there is more to learn of unlike cells"
    width = settings.design.width or width
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
        sizes=(min(widths), max(widths)) if unlike else None,
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
            else f"a cell is {design.diameter / design.working_voxel_size[1]:.0f} working pixels "
            "wide, "
            f"close neighbours are {spacing / design.working_voxel_size[1]:.0f} apart",
        )
    )
    choices.append(
        Choice(
            "network",
            _describe(design),
            "as asked" if settings.design.width else f"width {width} {why}",
        )
    )
    if design.sizes is not None:
        choices.append(
            Choice(
                "cells of unlike size",
                f"{design.sizes[0]:.3g} to {design.sizes[1]:.3g} {unit}",
                "images are scaled so that all cells are as wide; in other movies their width is "
                "measured first",
            )
        )
    return design, widths, sizes, choices, findings


def _widths(
    experiments: Sequence[Experiment],
    diameters: Mapping[int, Diameter],
    settings: TrainingSettings,
    unit: str,
    usual: float,
) -> tuple[float, ...]:
    """Return how wide the cells of each experiment are; whoever states it states it for all."""
    if settings.design.diameter_um is not None:
        return (usual,) * len(experiments)
    return cell_sizes(len(experiments), diameters, unit, usual)


def _finest(
    experiments: Sequence[Experiment], members: Sequence[int], sizes: Sequence[ZYX], diameter: float
) -> tuple[ZYX, int]:
    """Return the finest voxel size of all images, and of how many such planes the deepest is.

    What a single plane has for a depth says nothing. Of stacks that differ, the coarser one counts
    as far as its planes are close enough to see a cell in several.
    """
    in_plane = min((sizes[m] for m in members), key=lambda size: size[1])
    deep = {m: planes for m in members if (planes := _images(experiments[m]).frame_shape[0]) > 1}
    if not deep:
        return in_plane, 1
    apart = [sizes[m][0] for m in deep]
    z = min(apart)
    if max(apart) > 1.15 * z:
        z = max(z, min(max(apart), diameter / CELL_PLANES))
    planes = max(round(planes * sizes[m][0] / z) for m, planes in deep.items())
    return (z, *in_plane[1:]), max(2, planes)


def _describe(design: Design) -> str:
    strides = ", ".join("x".join(map(str, stride)) for stride in design.strides)
    kind = "2D" if design.flat else "3D"
    return f"{kind} residual U-Net, width {design.width}, strides {strides}"


def _images(experiment: Experiment):  # type: ignore[no-untyped-def]
    if experiment.images is None:
        raise CellTrainError(f"The experiment '{experiment.name}' has no images to train on.")
    return experiment.images


def _working_shape(experiment: Experiment, design: Design, voxel_size: ZYX) -> tuple[int, ...]:
    """Return (z, y, x) of a frame at the working scale."""
    shape = _images(experiment).frame_shape
    steps = design.steps(voxel_size, shape[0])
    return tuple(output_length(n, step) for n, step in zip(shape, steps, strict=True))


def _voxel_sizes(
    experiments: Sequence[Experiment],
    diameters: Mapping[int, Diameter],
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
            estimate = diameters.get(member) or estimate_diameter(experiment)
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


def _check_channels(experiments: Sequence[Experiment], design: Design) -> None:
    for experiment in experiments:
        source = _images(experiment)
        for channel in experiment.channels:
            if not 0 <= channel < source.n_channels:
                raise CellTrainError(
                    f"'{experiment.name}' has {counted(source.n_channels, 'channel')}; there is "
                    f"no channel {channel + 1}."
                )
        if len(experiment.channels) != design.n_channels:
            raise CellTrainError(
                f"'{experiment.name}' is used with {counted(len(experiment.channels), 'channel')}, "
                f"the others with {design.n_channels}: choose as many for each."
            )
