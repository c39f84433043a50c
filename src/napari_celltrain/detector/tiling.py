"""Cutting a frame into parts that are computed one by one, and lose nothing by it.

A tile is a core with a halo as wide as the network looks; a peak belongs to the tile whose core
it lies in. Cores begin at multiples of the network's total stride, so every voxel of every layer
is computed from the same voxels as in the whole.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.detector.network import reach
from napari_celltrain.detector.resample import output_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.detector.design import Design

Span = tuple[int, int]
MOST_PARTS = 64
"""Of an axis, besides the finest cut there is."""


@dataclass(frozen=True)
class Tile:
    """One part of a frame, in working voxels; each span is (first, last + 1).

    Parameters
    ----------
    core
        The peaks in here are its own.
    outer
        What the network sees: core and halo, cut at the frame's padded end.
    part
        The image's share of that; beyond it the frame is padded with zeros.
    """

    core: tuple[Span, Span, Span]
    outer: tuple[Span, Span, Span]
    part: tuple[Span, Span, Span]

    @property
    def voxels(self) -> int:
        """Working voxels that are computed."""
        z, y, x = (b - a for a, b in self.outer)
        return z * y * x


def tiles_of(
    shape: Sequence[int],
    steps: Sequence[float],
    design: Design,
    voxels: int,
    tile: tuple[int, int, int] | None = None,
) -> list[Tile]:
    """Cut a frame into tiles.

    Parameters
    ----------
    shape
        (z, y, x) of the image.
    steps
        Image voxels per working voxel.
    design
        Of the detector.
    voxels
        Working voxels of a tile at most.
    tile
        (z, y, x) image voxels of a core, instead.
    """
    working = [output_length(n, s) for n, s in zip(shape, steps, strict=True)]
    strides = design.multiples(working[0])
    padded = [-(-n // s) * s for n, s in zip(working, strides, strict=True)]
    halo = [-(-(r + 1) // s) * s for r, s in zip(reach(design), strides, strict=True)]
    if tile is not None:
        core = [
            max(s, round(t / step) // s * s)
            for t, step, s in zip(tile, steps, strides, strict=True)
        ]
    else:
        core = tile_shape(padded, strides, halo, voxels)
    cut = [[(a, min(a + c, n)) for a in range(0, n, c)] for n, c in zip(padded, core, strict=True)]
    tiles = []
    for z, y, x in itertools.product(*cut):
        outer = [
            (max(0, a - h), min(n, b + h))
            for (a, b), h, n in zip((z, y, x), halo, padded, strict=True)
        ]
        part = [(a, min(b, n)) for (a, b), n in zip(outer, working, strict=True)]
        tiles.append(Tile((z, y, x), (outer[0], outer[1], outer[2]), (part[0], part[1], part[2])))
    return tiles


@lru_cache(maxsize=16)
def share_memory(
    shape: tuple[int, ...], steps: tuple[float, ...], design: Design, voxels: int, threads: int
) -> tuple[tuple[Tile, ...], int]:
    """Choose between few large tiles and many small ones.

    Large tiles have less halo, small ones can be computed by more threads at once. The frames of a
    movie are alike, so what was chosen is remembered.

    Parameters
    ----------
    shape, steps, design
        As in `tiles_of`.
    voxels
        Working voxels that may be under way at once.
    threads
        That share them at most.

    Returns
    -------
    The tiles, and how many may be computed at once.
    """
    best: tuple[tuple[Tile, ...], int] = ((), 1)
    least = float("inf")
    at_once = threads
    while at_once >= 1:
        tiles = tuple(tiles_of(shape, steps, design, voxels // at_once))
        work = sum(tile.voxels for tile in tiles) / at_once
        fit = at_once == 1 or max(tile.voxels for tile in tiles) * at_once <= voxels
        if fit and work < least:
            best, least = (tiles, at_once), work
        if fit and len(tiles) == 1:
            break  # larger tiles save nothing
        at_once //= 2
    return best


def tile_shape(
    padded: Sequence[int], strides: Sequence[int], halo: Sequence[int], voxels: int
) -> list[int]:
    """Choose the core with the least work in total, in tiles of at most so many voxels.

    Each axis may be cut into equal parts; of all ways to cut that fit, the one with the fewest
    voxels in total, halos included, is taken. Tiles of twice the smallest are always allowed:
    those are mostly halo, and nearer to the smallest the same voxels would be computed hundreds of
    times.

    Parameters
    ----------
    padded
        (z, y, x) of the frame in working voxels, multiples of the strides.
    strides
        Cores are multiples of these.
    halo
        Voxels around a core.
    voxels
        Of a tile with its halo, at most, if that is more than twice the smallest.
    """
    lengths, outers, totals = [], [], []
    for n, s, h in zip(padded, strides, halo, strict=True):
        units = n // s
        parts = {-(-units // k) for k in range(1, min(units, MOST_PARTS) + 1)} | {1}
        core = np.array(sorted(parts, reverse=True), np.int64) * s
        lengths.append(core)
        outers.append(np.minimum(n, core + 2 * h).astype(float))
        totals.append(outers[-1] * -(-n // core))
    size = np.einsum("i,j,k->ijk", *outers)
    allowed = size <= max(voxels, 2 * float(size.min()))
    work = np.where(allowed, np.einsum("i,j,k->ijk", *totals), np.inf)
    best = np.unravel_index(int(work.argmin()), work.shape)
    return [int(core[i]) for core, i in zip(lengths, best, strict=True)]
