"""What the program makes of errors that are not its own."""

from __future__ import annotations

import pytest
import torch

from napari_celltrain.errors import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        RuntimeError("MPS backend out of memory"),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a bug"), ValueError("out of memory"), OSError("can't allocate")],
    ids=str,
)
def test_another_error_is_not(error):
    assert not is_out_of_memory(error)
