"""How the crops of a step are shared out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.training.batches import BatchLoader, parts_of


@given(st.integers(1, 200))
def test_a_processor_gets_parts_of_two_or_three_crops_in_order(n):
    parts = parts_of(range(n), "cpu")
    assert list(itertools.chain(*parts)) == list(range(n))
    assert {len(part) for part in parts} <= ({1} if n == 1 else {2, 3})


@given(st.integers(1, 200))
def test_a_graphics_card_gets_all_at_once(n):
    assert parts_of(range(n), "cuda") == [range(n)]


def test_what_goes_wrong_while_making_a_batch_reaches_the_loop():
    def make(step):
        raise ValueError(f"step {step}")

    loader = BatchLoader(make, 3)
    with pytest.raises(ValueError, match="step 3"):
        loader.next()
    loader.close()


def test_batches_come_in_order_and_closing_does_not_wait_for_more():
    loader = BatchLoader(lambda step: [step], 5)
    assert [loader.next() for _ in range(3)] == [[5], [6], [7]]
    loader.close()
