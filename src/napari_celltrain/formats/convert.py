"""From any tracking format to any that can be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.losses import losses
from napari_celltrain.formats.registry import ListFormat, format_written_to, read_experiments

if TYPE_CHECKING:
    from napari_celltrain.experiment import Experiment, Finding


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
        When the source can't be read, the destination can't be written or is the source itself,
        or several experiments can't go into one file.
    """
    source, destination = Path(source), Path(destination)
    chosen = format_written_to(destination, to_format)
    places = [destination]
    if isinstance(chosen, ListFormat):  # a list's annotations lie beside it
        places.append(destination.with_suffix(".aut"))
    if any(place.exists() and source.exists() and place.samefile(source) for place in places):
        raise CellTrainError(
            f"{source} would be overwritten by what is written; choose another name."
        )
    # a missing movie does not matter unless it was named
    experiments = read_experiments(source, format_name=from_format, **options)
    if not experiments:
        raise CellTrainError(f"{source} holds no experiment.")
    if entry is not None:
        if not 1 <= entry <= len(experiments):
            raise CellTrainError(
                f"{source} holds {len(experiments)} experiments; there is no entry {entry}."
            )
        experiments = [experiments[entry - 1]]
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
