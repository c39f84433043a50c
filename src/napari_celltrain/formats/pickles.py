"""Why pickles are not opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.experiment import Experiment


class PickledTracks:
    """Refuses `.p` and `.pkl` files, and folders of them, with the reason."""

    name = "Pickled tracks"
    suffixes = (".p", ".pkl", ".pickle")

    def recognises(self, path: Path) -> bool:
        """Recognise folders of Guizela's tracks; single pickles may be anybody's."""
        try:
            return path.is_dir() and (path / "lineages.p").is_file()
        except OSError:
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """Refuse.

        Raises
        ------
        CellTrainError
            Always: opening a pickle runs whatever program its writer put in.
        """
        raise CellTrainError(
            f"{path} holds pickled Python objects. Opening these can run any program hidden in "
            "them, so they are not read: open them in the program they came from, and save as "
            ".aut, GEFF or CSV."
        )
