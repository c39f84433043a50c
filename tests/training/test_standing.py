"""Which detector is kept, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace

from napari_celltrain.training.standing import Standing


def verdict(f1, steadiness, cells=1000):
    return SimpleNamespace(f1=f1, steadiness=steadiness, threshold=0.4, cells=cells)


def test_the_figure_told_is_that_of_the_detector_kept():
    standing = Standing()
    assert standing.add(verdict(0.969, 0.90), 10, 0.2)
    assert standing.add(verdict(0.968, 0.95), 20, 0.2)  # as good, and steadier
    assert standing.best_step == 20
    assert standing.kept_f1 == 0.968
    assert "0.968" in standing.in_words(20)


def test_the_state_is_told_in_words_with_the_time():
    standing = Standing()
    standing.add(verdict(0.94, 0.9), 10, 0.2, seconds=120)
    assert standing.in_words(10) == "Still improving; best F1 0.940 at 2 min."
    standing.add(verdict(0.80, 0.9), 20, 0.2, seconds=150)
    assert standing.in_words(20) == "Not better lately; best F1 0.940 at 2 min."


def test_small_losses_do_not_add_up():
    """Each as good as the one before, and steadier; but the first is what they are held to."""
    standing = Standing()
    for number in range(10):
        standing.add(verdict(0.96 - 0.001 * number, 0.80 + 0.01 * number), number, 0.2)
    assert standing.kept_f1 > 0.957


def test_a_checkpoint_without_the_figure_is_read():
    old = Standing()
    old.add(verdict(0.9, 0.8), 5, 0.2)
    state = old.state()
    del state["kept_f1"]
    again = Standing()
    again.load(state)
    assert again.kept_f1 == 0.9
