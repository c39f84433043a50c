"""Reading HDF5 files that strangers wrote."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.documents import beginning
from napari_celltrain.images.apart import ApartError, read_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
PROGRAM = Path(__file__).with_name("hdf5_apart.py")


@dataclass(frozen=True, eq=False)
class Content:
    """What was in some groups of a file.

    Parameters
    ----------
    arrays
        The data sets, by their whole name.
    attributes
        The attributes of each group and data set, as texts, by its whole name.
    """

    arrays: dict[str, NDArray[Any]]
    attributes: dict[str, dict[str, str]]

    def array(self, name: str) -> NDArray[Any]:
        """Return a data set.

        Raises
        ------
        CellTrainError
            When it is missing.
        """
        if name not in self.arrays:
            raise CellTrainError(f"It has no data set {name}.")
        return self.arrays[name]

    def names_in(self, group: str) -> list[str]:
        """Return the names of what lies directly in a group, sorted."""
        start = f"{group}/"
        return sorted(
            {name[len(start) :].split("/")[0] for name in self.attributes if name.startswith(start)}
        )


def looks_like_hdf5(path: Path) -> bool:
    """Tell by the first bytes."""
    return beginning(path, 8) == _SIGNATURE


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file to look at the names of its groups."""
    import h5py

    if not looks_like_hdf5(path):
        raise CellTrainError(f"{path} is no HDF5 file.")
    with h5py.File(path, "r") as file:
        yield file


def read_groups(path: Path, *groups: str) -> Content:
    """Read some groups, in a process of its own (see `hdf5_apart`, which says why).

    Raises
    ------
    CellTrainError
        When the file is damaged.
    """
    if not looks_like_hdf5(path):
        raise CellTrainError(f"{path} is no HDF5 file.")
    n_bytes = path.stat().st_size
    try:
        attributes, arrays = read_apart(PROGRAM, str(path), groups, n_bytes=n_bytes)
    except ApartError as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CellTrainError(f"{path} is damaged: {reason}.") from None
    return Content(arrays, attributes)
