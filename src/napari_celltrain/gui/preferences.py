"""What the person prefers, from napari's preferences (napari 0.9 and later) or the defaults."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

PLUGIN = "napari-celltrain"


def device() -> str:
    """Return ``auto``, ``cpu``, ``cuda`` or ``mps``."""
    return str(_preference("device", "auto"))


def threads() -> int | None:
    """Return how many CPU threads to use; None: choose."""
    return int(_preference("threads", 0)) or None


def runs_folder() -> Path:
    """Return the folder in which runs are kept."""
    chosen = str(_preference("runs_folder", "")).strip()
    return Path(chosen).expanduser() if chosen else Path.home() / "celltrain-runs"


def new_run_name(experiments: list[str], folder: Path) -> str:
    """Return a name for a run folder that does not exist yet: the date, and the data."""
    what = experiments[0] if experiments else "run"
    what = "".join(c if c.isalnum() or c in "-_ " else "_" for c in what).strip()[:40] or "run"
    if len(experiments) > 1:
        what += f" and {len(experiments) - 1} more"
    base = f"{datetime.now():%Y-%m-%d} {what}"
    name, number = base, 2
    while (folder / name).exists():
        name, number = f"{base} ({number})", number + 1
    return name


def _preference(name: str, default: Any) -> Any:
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari before 0.9 has no preferences for plugins
        return default
    try:
        return getattr(get_plugin_settings(PLUGIN).training, name)
    except (AttributeError, KeyError, ValueError):
        return default
