"""What the next training is asked for: how it is called, and what it starts from. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (dataclass fields are looked at)

from napari_celltrain.training.run import RunFolder


@dataclass(frozen=True)
class Asked:
    """What a person has chosen for a training, kept until it has really begun.

    Parameters
    ----------
    name
        As typed; empty: the date and the data.
    start_from
        A detector; None: from nothing.
    """

    name: str = ""
    start_from: Path | None = None


def has_begun(folder: Path) -> bool:
    """Tell whether there is anything of a run to go on from."""
    return any(RunFolder(folder).checkpoints.glob("*"))


def start_text(start_from: Path | None) -> str:
    """Return what the button says that starts a training."""
    if start_from is None:
        return "Start training"
    name = start_from.name
    return f"Train further from '{name if len(name) <= 16 else f'{name[:8]}…{name[-7:]}'}'"
