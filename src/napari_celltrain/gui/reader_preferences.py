"""Which files napari gives to this plugin without asking.

napari remembers a reader by a pattern of names, and complains at every file that fits the pattern
but not the names that the plugin claims. This plugin claims tables called like tracking data, not
every table; so what is remembered has to be as narrow.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from napari_celltrain.gui.other_readers import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDERS = f"*{os.sep}"
NAPARIS_OWN = (".csv", ".h5", ".hdf5", ".hdf")
"""Suffixes of which napari's own reader claims every file."""

SET = (
    "From now on folders, and tables with a name like those of tracking data (spots, tracks, "
    "cells …), are opened by CellTrain without a question. What turns out to be no tracking data "
    "is opened by napari's own reader, as before. Choose this again to undo it; the list is in "
    "Preferences > Plugins."
)
UNSET = "napari asks again which reader is to open a folder, or a table with such a name."


def patterns(suffixes: tuple[str, ...] = NAPARIS_OWN) -> list[str]:
    """Return the patterns to remember, which fit no other names than those that are claimed.

    napari compares them with the whole path: a star between the word and the suffix would fit
    every table in a folder called tracks. At most one more letter (a plural, a number) may follow.
    """
    import npe2

    manifest = npe2.PluginManager.instance().get_manifest(OURS)
    claimed = [
        pattern for reader in manifest.contributions.readers or ()
        for pattern in reader.filename_patterns
    ]  # fmt: skip
    found = []
    for pattern in claimed:
        stem, suffix = pattern.removesuffix(PurePath(pattern).suffix), PurePath(pattern).suffix
        if suffix in suffixes:
            word = stem.removesuffix("*")
            found += [f"{word}{suffix}", f"{word}[!/]{suffix}"]
    return found


def toggle() -> str:
    """Set napari's preferences, or unset them when they are set; return what was done."""
    settings = _settings()
    before: dict[str, str] = dict(settings.extension2reader)
    wanted = [*patterns(), FOLDERS]
    others = {one: before[one] for one in wanted if before.get(one, OURS) != OURS}
    if all(before.get(one) == OURS for one in wanted if one not in others):
        settings.extension2reader = {
            one: reader for one, reader in before.items() if one not in wanted or one in others
        }
        return UNSET
    # of patterns as precise as each other, napari takes the first
    tables = {one: OURS for one in wanted if one not in others and one != FOLDERS}
    folders = {} if FOLDERS in others else {FOLDERS: OURS}
    rest = {one: reader for one, reader in before.items() if one not in tables and one != FOLDERS}
    settings.extension2reader = {**tables, **rest, **folders, **others}
    if not others:
        return SET
    kept = ", ".join(f"{pattern} with {reader}" for pattern, reader in others.items())
    return f"{SET} What you had chosen yourself stays: {kept}."


def keep_narrow() -> None:
    """Make narrow what napari remembers of this plugin, now and whenever it is changed."""
    emitter = _settings().events.extension2reader
    if _narrow not in emitter.callbacks:
        emitter.connect(_narrow)
    _narrow()


def _narrow(event: Any = None) -> None:
    """Put the names that are claimed in the place of "all tables"."""
    settings = _settings()
    before: Mapping[str, str] = settings.extension2reader
    broad = tuple(suffix for suffix in NAPARIS_OWN if before.get(f"*{suffix}") == OURS)
    if broad:
        rest = {
            one: reader for one, reader in before.items() if one not in {f"*{s}" for s in broad}
        }
        settings.extension2reader = {**dict.fromkeys(patterns(broad), OURS), **rest}


def _settings() -> Any:
    from napari.settings import get_settings

    return get_settings().plugins
