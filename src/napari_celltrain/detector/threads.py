"""Threads that each compute on their own, side by side.

A convolution that is shared out over threads sums in an order that depends on their number, waits
for the slowest at every layer, and on a busy machine spends most of its time waiting. So a tile is
computed by one thread, and several tiles, of one frame or of several, are under way at once: the
result does not depend on the number of threads, to the last bit.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from napari_celltrain.detector.compute import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


class CallingThread(Executor):
    """Computes at once whatever is submitted, in the thread that submits it.

    For a process that is one of many and has one core to itself: threads would only wait for each
    other, for Python's lock.
    """

    def __init__(self) -> None:
        compute_alone()

    def submit(self, work: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        """Compute; an error is kept for whoever asks for the result."""
        done: Future[T] = Future()
        try:
            done.set_result(work(*arguments, **options))
        except BaseException as error:
            done.set_exception(error)
        return done


def tile_threads(threads: int | None = None) -> ThreadPoolExecutor:
    """Return so many threads that compute tiles; None: as many as cores.

    All detectors of a process that ask for as many share them.
    """
    threads = max(1, usable_cores() if threads is None else threads)
    with _lock:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(
                threads, thread_name_prefix="celltrain-tile", initializer=compute_alone
            )
        return _pools[threads]


def compute_alone() -> None:
    """Make this thread compute without help, and leave all others as they are.

    The number of threads is kept by PyTorch in two places: for the calling thread, and as what
    threads start with that have not computed yet. A thread that lives only for it puts the second
    back.
    """
    with _lock:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        putting_back = threading.Thread(target=torch.set_num_threads, args=(before,))
        putting_back.start()
        putting_back.join()
