"""From any tracking format to any that can be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.csv_branches import branches_beside, tracks_beside
from napari_celltrain.formats.csv_edges import edges_beside, spots_beside
from napari_celltrain.formats.losses import losses
from napari_celltrain.formats.registry import ListFormat, format_written_to, read_experiments
from napari_celltrain.formats.written import location_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_celltrain.experiment import Experiment, Finding, FrameSource


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Parameters
    ----------
    experiments
        What was read and written, with what reading noticed among their findings.
    format_name
        What was written.
    lost
        What the written format can't hold.
    """

    experiments: list[Experiment]
    format_name: str
    lost: list[Finding]


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    entry: int | None = None,
    **options: Any,
) -> Conversion:
    """Read tracking data and write it in another format.

    Parameters
    ----------
    source
        A file or folder of any known kind.
    destination
        Where to write; its suffix picks the format, unless `to_format` does.
    from_format, to_format
        The names of the formats, where content and suffix don't say them.
    entry
        Which of several experiments, from 1; default: all, for which there is only room in a list.
    options
        The fields of `ReadOptions`, such as ``images`` and ``voxel_size_um``.

    Raises
    ------
    CellTrainError
        When the source can't be read, the destination can't be written, what is written would
        replace what is read or what nobody named, or several experiments can't go into one file.
    """
    source, destination = Path(source), Path(destination)
    chosen = format_written_to(destination, to_format)
    # a missing movie does not matter unless it was named
    experiments = read_experiments(source, format_name=from_format, **options)
    if not experiments:
        raise CellTrainError(f"{source} holds no experiment.")
    read_from = _read_from(source, experiments)
    if entry is not None:
        if not 1 <= entry <= len(experiments):
            raise CellTrainError(
                f"{source} holds {len(experiments)} experiments; there is no entry {entry}."
            )
        experiments = [experiments[entry - 1]]
    places = [destination]
    if isinstance(chosen, ListFormat):  # a list's annotations lie beside it
        places += chosen.annotation_places(destination, experiments)
    _keep_the_source(places, read_from)
    _keep_what_lies_beside(destination, places[1:])
    if isinstance(chosen, ListFormat):
        chosen.write_all(destination, experiments)
    elif len(experiments) == 1:
        chosen.write(destination, experiments[0])
    else:
        raise CellTrainError(
            f"{source} holds {len(experiments)} experiments; say which one with --entry, or write "
            "an .autlist."
        )
    lost = [finding for one in experiments for finding in losses(one, chosen.keeps)]
    return Conversion(experiments, chosen.name, lost)


def _read_from(source: Path, experiments: Iterable[Experiment]) -> list[Path]:
    """Return what a source is read from: itself, what it lists, their tables and movies."""
    files = [source]
    for experiment in experiments:
        files += [] if experiment.source is None else [experiment.source]
        files += _files_of(experiment.images)
    for file in list(files):  # a table may be read together with those beside it
        beside = (spots_beside(file), edges_beside(file), tracks_beside(file))
        files += [*(one for one in beside if one is not None), *branches_beside(file)]
    return list(dict.fromkeys(files))


def _files_of(images: FrameSource | None) -> Iterator[Path]:
    """Yield the files and folders of a movie, which may be made of others."""
    location = location_of(images)
    if location is not None:
        yield location
    for part in (*getattr(images, "sources", ()), getattr(images, "source", None)):
        if part is not None:
            yield from _files_of(part)


def _keep_the_source(places: Iterable[Path], read_from: Iterable[Path]) -> None:
    """Refuse places where something is that is read, or a folder that holds it."""
    for place in places:
        if not place.exists():
            continue
        for file in read_from:
            whole = file.resolve()
            if any(one.exists() and one.samefile(place) for one in (whole, *whole.parents)):
                raise CellTrainError(
                    f"{file} would be overwritten by what is written; choose another name."
                )


def _keep_what_lies_beside(destination: Path, beside: Iterable[Path]) -> None:
    """Refuse files that nobody named; those beside a list that is there already are its own."""
    taken = next((place for place in beside if place.exists()), None)
    if taken is not None and not destination.exists():
        raise CellTrainError(
            f"{taken} is there already and would be replaced: the list {destination.name} refers "
            "to a file of that name. Choose another name."
        )
