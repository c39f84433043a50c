"""Threads that compute alone, and computing in the thread that asks."""

from __future__ import annotations

import threading

import pytest

from napari_celltrain.detector.threads import CallingThread, tile_threads


def test_the_calling_thread_computes_at_once_and_keeps_errors():
    pool = CallingThread()
    assert pool.submit(threading.get_ident).result() == threading.get_ident()
    failed = pool.submit(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        failed.result()
    assert tile_threads(1).submit(threading.get_ident).result() != threading.get_ident()
