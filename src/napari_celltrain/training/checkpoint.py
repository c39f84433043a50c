"""Saving everything that a run needs to go on as if nothing had happened.

A checkpoint is one safetensors file: weights, their running average and the optimiser's moments as
tensors, the rest as JSON in its header, with a checksum over all of it. It is written beside its
place, flushed and moved; the one before it stays until the next, so a damaged one costs at most
the time between two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save as save_tensors

from napari_celltrain.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT_VERSION = 1
KEPT = 2


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a run after a step.

    Parameters
    ----------
    step
        Steps done.
    tensors
        Weights (``model.*``), average (``ema.*``) and optimiser moments (``optimiser.*``).
    state
        Anything else, as JSON allows.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]


def _digest(tensors: Mapping[str, torch.Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove the ones that are no longer needed.

    Raises
    ------
    CellTrainError
        When it can't be written; the older ones are untouched then.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in checkpoint.tensors.items()}
    state = json.dumps({"step": checkpoint.step, **checkpoint.state})
    metadata = {
        "format": f"celltrain checkpoint {FORMAT_VERSION}",
        "state": state,
        "sha256": _digest(tensors, state),
    }
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    write_bytes(path, save_tensors(tensors, metadata))
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[Path]]:
    """Return the newest undamaged checkpoint, and the damaged ones that are newer than it."""
    damaged: list[Path] = []
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        checkpoint = _load(path)
        if checkpoint is not None:
            return checkpoint, damaged
        damaged.append(path)
    return None, damaged


def _load(path: Path) -> Checkpoint | None:
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != f"celltrain checkpoint {FORMAT_VERSION}":
                return None
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if _digest(tensors, metadata["state"]) != metadata["sha256"]:
            return None
        state = json.loads(metadata["state"])
        return Checkpoint(int(state["step"]), tensors, state)
    except Exception:  # the library raises its own type for each kind of damage
        return None
