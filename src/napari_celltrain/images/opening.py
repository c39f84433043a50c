"""From a path to a movie: which container it is, and who reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import check_readable
from napari_celltrain.images.pattern import TIFF_SUFFIXES, Pattern, guess_pattern, names_in

if TYPE_CHECKING:
    from napari_celltrain.images.movie import Movie

ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
TIFF_MOVIE_SUFFIXES = (*TIFF_SUFFIXES, ".lsm", ".stk", ".btf", ".tf8", ".tf2")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
"""Of files that other programs take as the frames of a movie."""
SUFFIXES = (*TIFF_MOVIE_SUFFIXES, ".h5", ".xml", ".ims", ".zarr", ".nd2", ".lif", ".czi")
"""Of all images that can be opened; some need the libraries of the extra ``images``."""


def open_images(
    location: str | Path,
    *,
    pattern: str | None = None,
    series: str | int | None = None,
    axes: str | None = None,
) -> Movie:
    """Open a movie; only headers are read.

    Parameters
    ----------
    location
        A file (TIFF, OME-TIFF, LSM, BigDataViewer, Imaris; with the extra ``images`` also ND2,
        LIF and CZI), a zarr folder, a folder of TIFF files, or a path that ends in a pattern:
        ``movie/img_t{time:03}_c{channel}.tif``.
    pattern
        The file names within a folder. Without it the folder is looked at, and the number that
        changes in the names is the time. For a file that holds several images it may be the
        number of the image, as OrganoidTracker writes it.
    series
        Which image of a file that holds several, counted from 1.
    axes
        What the axes of a TIFF or zarr image are ("tzyx"), when the file does not say it or says
        it wrongly.

    Raises
    ------
    CellTrainError
        When nothing is there, nobody can read it, or the header is damaged.
    """
    text = str(location)
    if not pattern and "{" in text and not Path(text).exists():
        folder, name = _split_pattern(text)
        return _open_folder(folder, Pattern(name))
    path = Path(location)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        why = getattr(error, "strerror", None) or error  # the whole of it has the name once more
        raise CellTrainError(f"There are no images at '{text[:200]}': {why}.") from None
    if is_folder:
        check_readable(path)
    if is_folder and is_zarr(path):
        from napari_celltrain.images.ome_zarr import ZarrMovie

        return ZarrMovie(path, series=series, axes=axes)
    if is_folder:
        return _open_folder(path, Pattern(pattern) if pattern else None)
    if not is_file:
        raise CellTrainError(f"There are no images at {path}: no such file or folder.")
    return _open_file(path, series if series is not None else pattern or None, axes)


def _open_file(path: Path, series: str | int | None, axes: str | None) -> Movie:
    name, suffix = path.name.lower(), path.suffix.lower()
    if name.endswith(TIFF_MOVIE_SUFFIXES):
        from napari_celltrain.images.tiff import TiffMovie

        return TiffMovie(path, series=series, axes=axes)
    if suffix in (".h5", ".hdf5", ".xml"):
        from napari_celltrain.images.bigdataviewer import BigDataViewerMovie

        return BigDataViewerMovie(path)
    if suffix == ".ims":
        from napari_celltrain.images.imaris import ImarisMovie

        return ImarisMovie(path)
    if suffix == ".nd2":
        from napari_celltrain.images.nikon import NikonMovie

        return NikonMovie(path, series=series)
    if suffix == ".lif":
        from napari_celltrain.images.leica import LeicaMovie

        return LeicaMovie(path, series=series)
    if suffix == ".czi":
        from napari_celltrain.images.zeiss import ZeissMovie

        return ZeissMovie(path, series=series)
    raise CellTrainError(
        f"{path} is no image file that can be opened: '{path.suffix}' is not one of "
        f"{', '.join(SUFFIXES)}. Save the movie as OME-TIFF."
    )


def is_zarr(folder: Path) -> bool:
    """Tell whether a folder is a zarr array or group."""
    return any((folder / marker).is_file() for marker in ZARR_MARKERS)


def _split_pattern(text: str) -> tuple[Path, str]:
    """Cut a path with a pattern where the pattern begins."""
    parts = text.replace("\\", "/").split("/")
    first = next(i for i, part in enumerate(parts) if "{" in part)
    folder = "/".join(parts[:first])
    if not folder:
        folder = "/" if first else "."
    return Path(folder), "/".join(parts[first:])


def _open_folder(folder: Path, pattern: Pattern | None) -> Movie:
    from napari_celltrain.images.tiff import TiffMovie, names_time
    from napari_celltrain.images.tiff_series import TiffSeries

    is_stated = pattern is not None
    if not folder.is_dir():
        raise CellTrainError(f"There is no image folder {folder}.")
    if pattern is not None and pattern.text.lower().endswith(PICTURE_SUFFIXES):
        raise CellTrainError(
            f"The images '{pattern.text}' in {folder} can't be opened: of a folder's files only "
            "TIFFs can. Save them as TIFF, with the same numbers in their names."
        )
    if pattern is None:
        pattern = guess_pattern(folder)
    if pattern is None:
        names = ", ".join(names_in(folder)[:3]) or "nothing"
        raise CellTrainError(f"There are no TIFF images in the folder {folder}; it holds {names}.")
    if not pattern.has("time"):
        # A movie in one file, or one file for each channel. A person's (or OrganoidTracker's)
        # pattern without a time means one time point, unless the files themselves name a time.
        files = pattern.files(folder)
        if is_stated and not all(map(names_time, files.values())):
            return TiffSeries(folder, pattern)
        movies = [TiffMovie(files[place]) for place in sorted(files)]
        if movies and not pattern.has("z") and all(len(movie.time_points) > 1 for movie in movies):
            from napari_celltrain.images.combine import AppendedChannels

            return AppendedChannels(movies) if len(movies) > 1 else movies[0]
    return TiffSeries(folder, pattern)
