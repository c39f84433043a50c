"""The model card: what a stranger must know before trusting a detector with his cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_celltrain.detector.folder import DetectorInfo

NOT_CHOSEN = "Not given. Ask whom you have it from before you use or pass on this detector."
REPOSITORY = "https://github.com/napari-celltrain/napari-celltrain"
SOFTWARE = f"The program that it was trained with: napari-celltrain, {REPOSITORY}"
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class About:
    """What only a person can say of a detector.

    Parameters
    ----------
    title
        Empty: the detector's own name.
    licence
        Under which it may be used, e.g. ``CC-BY-4.0``.
    authors
        Names.
    description
        Cells, microscope, staining: a sentence or more.
    cite
        DOIs or addresses of what to cite.
    """

    title: str = ""
    licence: str = ""
    authors: tuple[str, ...] = ()
    description: str = ""
    cite: tuple[str, ...] = ()


def model_card(info: DetectorInfo, about: About, *, screenshot: str = "", caption: str = "") -> str:
    """Write the model card.

    Parameters
    ----------
    info
        Of the detector.
    about
        What was said of it.
    screenshot
        Name of the picture beside the card; empty: none.
    caption
        What is to be seen in it.

    Returns
    -------
    Markdown.
    """
    lines = [f"# {plain(about.title or info.name)}", "", what_it_is(info), ""]
    if about.description:
        lines += [about.description.strip(), ""]
    if screenshot:
        lines += [f"![Cells that it found]({screenshot})", ""]
        lines += [plain(caption), ""] if caption else []
    lines += ["## Images that it is for", "", *images_it_is_for(info), ""]
    lines += ["## Validation", "", *validation(info), ""]
    lines += ["## Data that it learnt from", "", *learnt_from(info), ""]
    lines += ["## Licence", "", plain(about.licence) if about.licence else NOT_CHOSEN, ""]
    if about.authors:
        lines += [f"By {plain(', '.join(about.authors))}.", ""]
    lines += ["## How to cite", "", *(f"- {plain(one)}" for one in (*about.cite, SOFTWARE)), ""]
    lines += [
        "## Use", "",
        "Drag the file into napari with the plugin napari-celltrain, or in a terminal:", "",
        "    pip install napari-celltrain",
        "    celltrain predict FILE.celltrain IMAGES --out cells.csv", "",
        ", ".join(plain(one) for one in (f"Made with {info.software}", info.created) if one) + ".",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def what_it_is(info: DetectorInfo) -> str:
    """Return one sentence."""
    kind = "2D" if info.design.flat else "3D"
    return (
        f"It finds the centres of cells or nuclei in {kind} microscope images, and gives each a "
        "score."
    )


def images_it_is_for(info: DetectorInfo) -> list[str]:
    """Return what images should be like, as list items."""
    design = info.design
    unit = "um" if design.unit == "um" else "pixels"
    size = " x ".join(f"{one:.3g}" for one in design.working_voxel_size[int(design.flat) :])
    axes = "y, x" if design.flat else "z, y, x"
    lines = [f"- Cell diameter: {design.diameter:.3g} {unit}"]
    if design.sizes is not None:
        first, last = design.sizes
        lines = [f"- Cell diameter: {first:.3g} to {last:.3g} {unit}; images are scaled so that "
                 f"cells are {design.diameter:.3g} {unit} wide, and how wide they are is measured "
                 "first"]  # fmt: skip
    if design.unit == "um":
        lines.append(f"- It works at a voxel size of {size} um ({axes}); images are brought to it")
    else:
        lines.append(f"- It works at {size} pixels ({axes}), whatever their size in um: the voxel "
                     "size of its training images was not known")  # fmt: skip
    lines.append(f"- Channels looked at: {design.n_channels}, trained on number "
                 f"{', '.join(str(one + 1) for one in info.channels)} of the images")  # fmt: skip
    if design.time_window != (0, 0):
        before, after = -design.time_window[0], design.time_window[1]
        lines.append(f"- Time points looked at: {before} before and {after} after each")
    if info.intensity is not None:
        low, high = info.intensity
        lines.append(f"- Pixel values of its training images: dark {low:.4g}, bright {high:.4g}; "
                     "each image's own levels are measured, so others do as well")  # fmt: skip
    return lines


def validation(info: DetectorInfo) -> list[str]:
    """Return how good it is, on what, and how far that can be trusted."""
    unit = "um" if info.design.unit == "um" else "pixels"
    if info.f1 is None:
        return ["Nothing was measured. Annotate some of your own frames and compare."]
    figures = [("F1", info.f1), ("precision", info.precision), ("recall", info.recall)]
    lines = ["| measure | value |", "| --- | --- |"]
    lines += [f"| {name} | {value:.3f} |" for name, value in figures if value is not None]
    if info.localisation_error is not None:
        lines.append(f"| mean distance of found cells from their annotation, {unit} "
                     f"| {info.localisation_error:.3g} |")  # fmt: skip
    if info.thresholds:
        single = ", ".join(f"{name} {value:.2f}" for name, value in info.thresholds.items())
        lines += ["", f"Kinds of images differ; the best score threshold for each: {single}."]
    lines += ["", f"At a score of {info.threshold:.2f} or more; a detection is right within "
              f"{info.design.tolerance:.3g} {unit} of an annotated centre."]  # fmt: skip
    if info.held_out:
        lines += ["", f"Measured on: {plain(info.held_out)}"]
    lines += ["", (
        "These frames were kept out of training, so the figures can be trusted for images of the "
        "same kind. For others, annotate some frames of yours and compare."
        if info.trustworthy else
        "**Not to be trusted:** too little was kept out of training to measure it well. "
        "Annotate some frames of yours and compare."
    )]  # fmt: skip
    return lines


def learnt_from(info: DetectorInfo) -> list[str]:
    """Return the experiments it was trained on, as a table."""
    if not info.trained_on:
        return ["It is not written down."]
    lines = ["| experiment | time points | voxel size (z, y, x), um |", "| --- | --- | --- |"]
    for one in info.trained_on:
        size = one.voxel_size_um
        known = "unknown" if size is None else " x ".join(f"{length:.4g}" for length in size)
        lines.append(f"| {plain(one.experiment)} | {len(one.time_points)} | {known} |")
    return lines


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
