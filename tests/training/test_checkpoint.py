"""A checkpoint is whole or it is not taken; nothing in it is ever executed."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch

from napari_celltrain.training.checkpoint import KEPT, Checkpoint, load_newest, save_checkpoint


def _checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "model.a": torch.randn(3, 4, generator=generator),
        "ema.a": torch.randn(3, 4, generator=generator, dtype=torch.float64),
        "optimiser.step.a": torch.tensor(float(step)),
    }
    return Checkpoint(step, tensors, {"seconds": 1.5, "worse": [0.5, 0.25], "nan": float("nan")})


def test_what_is_saved_comes_back(tmp_path):
    saved = _checkpoint(7)
    save_checkpoint(tmp_path, saved)
    loaded, damaged = load_newest(tmp_path)
    assert damaged == []
    assert loaded is not None
    assert loaded.step == 7
    assert loaded.state["worse"] == [0.5, 0.25]
    assert set(loaded.tensors) == set(saved.tensors)
    for key, value in saved.tensors.items():
        assert torch.equal(loaded.tensors[key], value)
        assert loaded.tensors[key].dtype == value.dtype


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 1_000_000, 15):
        save_checkpoint(tmp_path, _checkpoint(step))
    assert len(list(tmp_path.iterdir())) == KEPT
    loaded, _ = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.step == 1_000_000


def test_an_empty_folder_and_none_at_all_have_no_checkpoint(tmp_path):
    assert load_newest(tmp_path) == (None, [])
    assert load_newest(tmp_path / "missing") == (None, [])


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def _other_step(content: bytes) -> bytes:
    return content.replace(b'\\"step\\": 10', b'\\"step\\": 99')


def _huge(content: bytes) -> bytes:
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}
    ).encode()
    return struct.pack("<Q", len(header)) + header


def _huge_header(content: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + content[8:]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": _truncated,
    "one bit flipped": _flipped,
    "another step": _other_step,
    "zeros": lambda content: bytes(len(content)),
    "a pickle": lambda content: pickle.dumps(_Bomb()),
    "a claim of exabytes": _huge,
    "a huge header": _huge_header,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path, damage):
    save_checkpoint(tmp_path, _checkpoint(5))
    path = save_checkpoint(tmp_path, _checkpoint(10))
    content = path.read_bytes()
    bad = DAMAGE[damage](content)
    assert bad != content
    path.write_bytes(bad)
    loaded, damaged = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.step == 5
    assert damaged == [path]


def test_a_torch_file_under_an_accepted_name_is_refused_unread(tmp_path):
    torch.save({"state": _Bomb()}, tmp_path / "step-000000010.safetensors")
    loaded, damaged = load_newest(tmp_path)
    assert loaded is None
    assert len(damaged) == 1


def test_a_folder_in_place_of_a_checkpoint_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, _checkpoint(5))
    (tmp_path / "step-000000010.safetensors").mkdir()
    loaded, _ = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.step == 5
