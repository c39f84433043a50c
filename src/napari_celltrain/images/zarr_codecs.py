"""What a zarr array of a stranger may be packed with: only what can't run anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HARMLESS = frozenset(
    [
        "adler32",
        "astype",
        "base64",
        "bitround",
        "blosc",
        "bytes",
        "bz2",
        "crc32",
        "crc32c",
        "delta",
        "endian",
        "fixedscaleoffset",
        "fletcher32",
        "gzip",
        "jenkins_lookup3",
        "lz4",
        "lzma",
        "packbits",
        "pcodec",
        "quantize",
        "sharding_indexed",
        "shuffle",
        "transpose",
        "vlen-array",
        "vlen-bytes",
        "vlen-utf8",
        "zfpy",
        "zlib",
        "zstd",
    ]
)
"""Codecs of zarr 2 and 3 and of numcodecs. One of those unpacks pickles, which run what they like;
whoever adds more to the machine may add another such, so the list is of what is allowed."""
_TYPES = frozenset(["dtype", "astype", "encode_dtype", "decode_dtype"])
OF_IMAGES = "imagecodecs_"
"""What codecs that pack pictures begin with."""


def check_codecs(array: Any, path: Path) -> None:
    """Refuse an array that is packed with anything that is not known to be harmless.

    Parameters
    ----------
    array
        A zarr array of which nothing was read yet.
    path
        Where it is, for the message.

    Raises
    ------
    CellTrainError
        Naming what it is packed with.
    """
    about = array.metadata.to_dict()
    codecs = [about.get(key) for key in ("codecs", "filters", "compressor")]
    names = [plain_name(name) for name in _names(codecs)]
    if names.count("sharding_indexed") > 1 or not all(map(_is_number, _types(codecs))):
        raise CellTrainError(
            f"{path} is packed in a way that no program does by itself, and that could fill the "
            "memory; it is not unpacked. Write it again with an ordinary compression."
        )
    for name, plain in zip(_names(codecs), names, strict=True):
        if plain not in HARMLESS and not plain.startswith(OF_IMAGES):
            raise CellTrainError(
                f"{path} is packed with '{name[:40]}', which is not among what is known to be "
                "harmless; it is not unpacked. Write it again with an ordinary compression, such "
                "as blosc, zstd or gzip."
            )


def plain_name(name: str) -> str:
    """Return the name of a codec as in `HARMLESS`."""
    return name.removeprefix("numcodecs.").lower()


def _names(values: Any) -> Iterator[str]:
    """Yield the names of codecs, and of those within others."""
    if isinstance(values, dict):
        name = values.get("name", values.get("id"))
        yield str(name)
        configuration = values.get("configuration")
        if isinstance(configuration, dict):
            yield from _names([configuration.get(key) for key in ("codecs", "index_codecs")])
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _names(value)
    elif values is not None:  # a codec of numcodecs, as zarr 2 had them
        yield str(getattr(values, "codec_id", type(values).__name__))


def _types(values: Any) -> Iterator[str]:
    """Yield the types of numbers that filters turn pixels into."""
    if hasattr(values, "get_config"):
        values = values.get_config()
    if isinstance(values, dict):
        for key, value in values.items():
            if key in _TYPES and value is not None:
                yield str(value)
            yield from _types(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _types(value)


def _is_number(name: str) -> bool:
    try:
        return np.dtype(name).kind in "biufc"
    except TypeError:
        return False
