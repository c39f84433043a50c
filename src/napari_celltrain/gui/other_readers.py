"""Files that are no tracking data are left to napari's other readers.

napari asks by the name of a file which reader is to open it, and remembers the answer by name too.
So a reader that was asked for a file of somebody else hands it on: remembering CellTrain for all
folders breaks no folder of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "napari-celltrain"
NAPARI = "napari"


@dataclass(frozen=True)
class OtherReader:
    """Reads with another plugin.

    Parameters
    ----------
    plugins
        Their names, in the order in which they are tried.
    """

    plugins: tuple[str, ...]

    def __call__(self, path: str | list[str]) -> list[Any]:
        """Return the layers that the other plugin makes.

        Raises
        ------
        CellTrainError
            When none of them can read it either; it says why it is no tracking data.
        """
        import npe2

        paths = _as_list(path)
        for plugin in self.plugins:
            try:
                layers: list[Any] = npe2.read(
                    paths, stack=not isinstance(path, str), plugin_name=plugin
                )
            except Exception as error:  # whatever a reader of somebody else raises
                problem = error
            else:
                return layers
        if isinstance(path, str):
            _say_why_not(path)
        names = " and ".join(self.plugins)
        raise CellTrainError(f"{paths[0]} can't be read by {names}: {problem}") from problem


def other_reader(path: str | list[str]) -> OtherReader | None:
    """Return the reader for a file or folder of somebody else; None when there is no other.

    It is that of the one other plugin that offers to, else napari's own.
    """
    from npe2 import PluginManager

    try:
        found = list(PluginManager.instance().iter_compatible_readers(_as_list(path)))
    except ValueError:  # a stack of unlike files
        return None
    names = {reader.plugin_name for reader in found} - {OURS}
    others = sorted(names - {NAPARI})
    plugins = (others if len(others) == 1 else []) + [NAPARI] * (NAPARI in names)
    return OtherReader(tuple(plugins)) if plugins else None


def _say_why_not(path: str) -> None:
    from napari_celltrain.formats.registry import read_experiments

    read_experiments(path)


def _as_list(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
