"""Which module reads which file: the list of tracking formats, and the three functions over it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import check_readable
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.placement import placement_findings
from napari_celltrain.formats.strangers import nothing_known, refuse_strangers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.formats.losses import Keeps


@runtime_checkable
class TrackingFormat(Protocol):
    """A kind of tracking file that can be opened.

    `read` takes the fields of `ReadOptions` as keywords and raises `CellTrainError` only.
    """

    name: str
    suffixes: tuple[str, ...]

    def recognises(self, path: Path) -> bool:
        """Tell within milliseconds whether a file or folder is of this kind; never raises."""

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """Return the experiments in a file or folder."""


@runtime_checkable
class WritableFormat(TrackingFormat, Protocol):
    """A kind of tracking file that can be written too.

    Attributes
    ----------
    keeps
        What of an experiment it has room for.
    """

    keeps: Keeps

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write one experiment, atomically."""


@runtime_checkable
class ListFormat(WritableFormat, Protocol):
    """A kind of tracking file that holds several experiments."""

    def write_all(self, path: Path, experiments: Sequence[Experiment]) -> None:
        """Write all of them, each file atomically."""

    def annotation_places(self, path: Path, experiments: Sequence[Experiment]) -> list[Path]:
        """Return where the annotations of each go when a list is written to `path`."""


# (module, class), in the order in which they are asked; the pickier ones first
_FORMATS = (
    ("aut", "AutFormat"),
    ("autlist", "AutlistFormat"),
    ("trackmate", "TrackMateFormat"),
    ("trackmate_tracks", "TrackMateTracksFormat"),
    ("geff_store", "GeffFormat"),
    ("mastodon", "MastodonFormat"),
    ("ctc", "CtcFormat"),
    ("csv_table", "CsvFormat"),
    ("acetree", "AceTreeFormat"),
    ("imaris", "ImarisFormat"),
    ("btrack", "BtrackFormat"),
    ("cellfinder", "CellfinderFormat"),
    ("deepcell", "DeepCellFormat"),
    ("label_images", "LabelImagesFormat"),
    ("pickles", "PickledTracks"),
    # for writing only: what they write is recognised by the formats above
    ("geff_writing", "GeffForMastodonFormat"),
    ("csv_writing", "NapariCsvFormat"),
    ("csv_writing", "MastodonCsvFormat"),
)
_made: list[TrackingFormat] = []


def formats() -> list[TrackingFormat]:
    """Return every tracking format, in the order in which they are asked."""
    if not _made:
        for module, class_name in _FORMATS:
            found = import_module(f"napari_celltrain.formats.{module}")
            _made.append(getattr(found, class_name)())
    return list(_made)


def is_writable(tracking_format: TrackingFormat) -> TypeGuard[WritableFormat]:
    """Tell whether a format can be written."""
    return isinstance(tracking_format, WritableFormat)


def format_named(name: str) -> TrackingFormat:
    """Return the format of a name, in any case.

    Raises
    ------
    CellTrainError
        When no format has that name; the sentence lists the names.
    """
    for candidate in formats():
        if candidate.name.lower() == name.lower():
            return candidate
    known = ", ".join(candidate.name for candidate in formats())
    raise CellTrainError(f"There is no tracking format called {name!r}; known are: {known}.")


def format_of(path: str | Path) -> TrackingFormat | None:
    """Return the format of an existing file or folder; None when it is of none of them."""
    path = Path(path)
    return next((candidate for candidate in formats() if candidate.recognises(path)), None)


def format_to_read(path: Path) -> TrackingFormat:
    """Return the format of an existing place; else the one that can say best why it is not its own.

    Raises
    ------
    CellTrainError
        Saying what is there instead, and what to do.
    """
    found = format_of(path)
    if found is not None:
        return found
    suffixes = {suffix for one in formats() for suffix in one.suffixes}
    refuse_strangers(path, suffixes, lambda place: format_of(place) is not None)
    for candidate in formats():
        if path.is_file() and path.suffix.lower() in candidate.suffixes:
            return candidate
    raise CellTrainError(nothing_known(path, formats()))


def read_experiments(
    path: str | Path, *, format_name: str | None = None, **options: Any
) -> list[Experiment]:
    """Read the experiments in a tracking file or folder of any kind.

    Parameters
    ----------
    path
        The file or folder.
    format_name
        Read it as this format, whatever it looks like.
    options
        The fields of `ReadOptions`, such as ``images`` and ``voxel_size_um``.

    Returns
    -------
    list of Experiment
        With a finding where the positions do not fit the image.

    Raises
    ------
    CellTrainError
        When nothing is there, nobody can read it, or it is damaged.
    """
    path = Path(path)
    ReadOptions(**options)  # a misspelled option is a mistake in the calling program: TypeError
    check_readable(path)
    if not path.exists():
        raise CellTrainError(f"There is no file or folder {path}.")
    chosen = format_to_read(path) if format_name is None else format_named(format_name)
    experiments = chosen.read(path, **options)
    return [
        experiment.with_(findings=(*experiment.findings, *placement_findings(experiment)))
        for experiment in experiments
    ]


def write_experiment(
    path: str | Path, experiment: Experiment, format_name: str | None = None
) -> None:
    """Write an experiment, in the format that the suffix says or a name picks.

    Raises
    ------
    CellTrainError
        When no format can be written under that suffix, or the place can't be written.
    """
    path = Path(path)
    format_written_to(path, format_name).write(path, experiment)


def format_written_to(path: Path, format_name: str | None = None) -> WritableFormat:
    """Return the format of a name, else the one that a file name picks.

    Folders called 01_RES are the challenge's.

    Raises
    ------
    CellTrainError
        When no format is written under that suffix, or the named one can't be written.
    """
    writable = [candidate for candidate in formats() if is_writable(candidate)]
    if format_name is not None:
        named = format_named(format_name)
        if not is_writable(named):
            known = ", ".join(candidate.name for candidate in writable)
            raise CellTrainError(
                f"{named.name} can be read, but not written; what can be written: {known}."
            )
        return named
    suffix = path.suffix.lower()
    for candidate in writable:
        if suffix in candidate.suffixes or (path.name.endswith("_RES") and not candidate.suffixes):
            return candidate
    known = ", ".join(sorted({suffix for one in writable for suffix in one.suffixes if suffix}))
    what = f"no tracking format is written with the suffix {suffix!r}; use one of"
    if not suffix:
        what = "the end of the name says how it is written; use one of"
    raise CellTrainError(f"{path.name}: {what} {known}.")
