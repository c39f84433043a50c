"""Tracking formats: one module each, behind one protocol, in one list."""

from napari_celltrain.formats.registry import (
    TrackingFormat,
    WritableFormat,
    format_named,
    format_of,
    formats,
    is_writable,
    read_experiments,
    write_experiment,
)

__all__ = [
    "TrackingFormat",
    "WritableFormat",
    "format_named",
    "format_of",
    "formats",
    "is_writable",
    "read_experiments",
    "write_experiment",
]
