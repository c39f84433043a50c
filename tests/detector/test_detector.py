"""A detector folder is checked before it is believed, and tiles change nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors

from napari_celltrain.detector import detector as detector_module
from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import INFO_FILE, DetectorInfo
from napari_celltrain.detector.network import Block, CentreNet
from napari_celltrain.errors import CellTrainError

CPU = {"device": "cpu", "precision": "float32"}


def _fresh(seed: int = 0, **changes) -> Detector:
    """A network that was never trained, made to answer everywhere."""
    values = {
        "diameter": 10.0,
        "spacing": 12.0,
        "voxel_size": (1.0, 1.0, 1.0),
        "planes": 1,
        "unit": "um",
        "width": 4,
    }
    design = choose_design(**{**values, **changes})
    torch.manual_seed(seed)
    network = CentreNet(design)
    with torch.no_grad():
        network.head.weight.mul_(30)
        network.head.bias[0] = 0.0
    return Detector(DetectorInfo(design=design), network.state_dict(), **CPU)


def _rewrite(folder, content: bytes | None = None, **changes) -> None:
    """Change the description (and the weights) as somebody who knows the format would."""
    path = folder / INFO_FILE
    values = json.loads(path.read_text())
    if content is not None:
        digest = hashlib.sha256(content).hexdigest()
        values["weights_file"] = f"weights-{digest[:12]}.safetensors"
        values["weights_sha256"] = digest
        (folder / values["weights_file"]).write_bytes(content)
    values.update(changes)
    path.write_text(json.dumps(values))


@pytest.fixture
def folder(tmp_path):
    _fresh().save(tmp_path / "detector")
    return tmp_path / "detector"


def _refused(folder) -> str:
    with pytest.raises(CellTrainError) as error:
        Detector.from_folder(folder, **CPU)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_what_is_saved_is_loaded(folder):
    saved, loaded = _fresh(), Detector.from_folder(folder, **CPU)
    assert loaded.design == saved.design
    for key, value in saved.weights.items():
        assert torch.equal(loaded.weights[key], value)


def test_saving_again_leaves_one_weights_file(folder):
    _fresh(seed=1).save(folder)
    assert len(list(folder.iterdir())) == 2
    assert torch.equal(
        Detector.from_folder(folder, **CPU).weights["head.weight"], _fresh(1).weights["head.weight"]
    )


def test_the_best_of_a_run_folder_is_found(tmp_path):
    _fresh().save(tmp_path / "best")
    assert Detector.from_folder(tmp_path, **CPU).design == _fresh().design


def test_places_that_hold_no_detector_are_told_apart(tmp_path):
    assert "no such folder" in _refused(tmp_path / "missing")
    assert "neither a detector nor a run" in _refused(tmp_path)
    (tmp_path / "settings.toml").write_text("")
    assert "no detector yet" in _refused(tmp_path)
    (tmp_path / "file").write_text("x")
    _refused(tmp_path / "file")


# --- hostile folders ---


def _weights(folder):
    return next(folder.glob("*.safetensors"))


def test_one_changed_bit_of_the_weights_is_noticed(folder):
    path = _weights(folder)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert "checksum" in _refused(folder)


def test_cut_off_weights_are_noticed(folder):
    path = _weights(folder)
    path.write_bytes(path.read_bytes()[:-100])
    assert "checksum" in _refused(folder)


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


def test_a_pickle_with_the_right_name_and_checksum_is_refused_unread(folder):
    _rewrite(folder, pickle.dumps(_Bomb()))
    assert "no safetensors" in _refused(folder)


def test_a_torch_file_with_the_right_name_and_checksum_is_refused_unread(folder, tmp_path):
    torch.save({"weights": _Bomb()}, tmp_path / "x.pt")
    _rewrite(folder, (tmp_path / "x.pt").read_bytes())
    assert "no safetensors" in _refused(folder)


def test_a_pickle_instead_of_the_description_is_refused_unread(folder):
    (folder / INFO_FILE).write_bytes(pickle.dumps(_Bomb()))
    assert "JSON" in _refused(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../weights-000000000000.safetensors",
        "/etc/passwd",
        "weights-0.safetensors",
        "weights.pt",
        "weights-000000000000.safetensors\n",
        "..\\weights-000000000000.safetensors",
        "",
        "a/b",
        None,
        3,
    ],
)
def test_a_weights_file_elsewhere_is_refused(folder, name):
    _rewrite(folder, weights_file=name)
    assert "weights_file" in _refused(folder)


def test_claims_of_exabytes_are_refused_before_anything_is_allocated(folder):
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}}
    ).encode()
    for length in (len(header), 2**62, 2**64 - 1):
        _rewrite(folder, struct.pack("<Q", length) + header)
        assert "no safetensors" in _refused(folder)


def test_an_enormous_weights_file_is_not_read(folder):
    with open(_weights(folder), "r+b") as file:
        file.truncate(2**36)  # sparse: it takes no room
    assert "larger than any detector" in _refused(folder)


def test_an_enormous_description_is_not_read(folder):
    with open(folder / INFO_FILE, "r+b") as file:
        file.truncate(2**36)
    assert "larger than 16 MiB" in _refused(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders there")
def test_a_pipe_in_place_of_the_weights_does_not_hang(folder):
    path = _weights(folder)
    path.unlink()
    os.mkfifo(path)
    assert "can't be read" in _refused(folder)


def test_weights_of_another_design_are_refused(folder):
    _rewrite(folder, save_tensors(_fresh(width=8).weights))
    assert "does not fit" in _refused(folder)


def test_missing_and_surplus_weights_are_refused(folder):
    weights = dict(_fresh().weights)
    taken = weights.pop("head.bias")
    _rewrite(folder, save_tensors(weights))
    assert "head.bias" in _refused(folder)
    _rewrite(folder, save_tensors({**weights, "head.bias": taken, "more": taken.clone()}))
    assert "does not know" in _refused(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, bad):
    weights = {key: value.clone() for key, value in _fresh().weights.items()}
    weights["stem.weight"][0, 0, 0, 0, 0] = bad
    _rewrite(folder, save_tensors(weights))
    assert "not finite" in _refused(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_weights_of_another_type_are_refused(folder, dtype):
    weights = {key: value.clone() for key, value in _fresh().weights.items()}
    weights["head.bias"] = weights["head.bias"].abs().to(dtype)
    _rewrite(folder, save_tensors(weights))
    assert "head.bias" in _refused(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"design": None},
        {"design": {}},
        {"threshold": 2},
        {"threshold": float("nan")},
        {"step": -1},
        {"surprise": 1},
        {"format_version": 2},
        {"format_version": []},
        {"channels": "all"},
        {"name": "x" * 100_000, "threshold": 0},
    ],
    ids=lambda c: "-".join(c),
)
def test_a_description_that_makes_no_sense_is_refused(folder, changes):
    _rewrite(folder, **changes)
    message = _refused(folder)
    assert str(folder) in message
    assert len(message) < 1000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"[" * 200_000, b"\xff\xfe"])
def test_a_damaged_description_is_refused(folder, content):
    (folder / INFO_FILE).write_bytes(content)
    assert "damaged" in _refused(folder)


def test_huge_weights_in_a_valid_file_give_no_nonsense_places(folder):
    weights = {key: torch.full_like(value, 1e38) for key, value in _fresh().weights.items()}
    _rewrite(folder, save_tensors(weights))
    detector = Detector.from_folder(folder, **CPU)
    found = detector.detect([np.random.default_rng(0).random((1, 32, 32))], (1.0, 1.0, 1.0))
    assert np.isfinite(found.positions).all()
    assert np.isfinite(found.scores).all()


def test_a_detector_can_be_loaded_while_a_better_one_takes_its_place(folder):
    detectors = [_fresh(seed) for seed in range(4)]
    known = {float(d.weights["head.weight"].sum()) for d in detectors}
    done = threading.Event()
    errors: list[BaseException] = []

    def load():
        while not done.is_set():
            try:
                detector = Detector.from_folder(folder, **CPU)
                assert float(detector.weights["head.weight"].sum()) in known
            except BaseException as error:
                errors.append(error)
                return

    readers = [threading.Thread(target=load) for _ in range(3)]
    for reader in readers:
        reader.start()
    for round_ in range(40):
        detectors[round_ % 4].save(folder)
    done.set()
    for reader in readers:
        reader.join()
    assert errors == []


# --- detection ---


def test_a_frame_is_given_up_between_tiles_when_asked_to_stop(monkeypatch):
    """A voxel size wrong by ten makes one time point take an hour: Ctrl+C must not wait for it."""
    detector, stop, begun = _fresh(), threading.Event(), []
    compute = Detector._detect_tile

    def counted(self, frame, tile):
        begun.append(tile)
        if len(begun) == 3:
            stop.set()
        return compute(self, frame, tile)

    monkeypatch.setattr(Detector, "_detect_tile", counted)
    monkeypatch.setattr(detector_module, "ASK_EVERY_S", 0.001)
    image = np.random.default_rng(0).random((1, 640, 640))
    jobs = [Job([image], (1.0, 1.0, 1.0))] * 2
    found = detector.detect_each(jobs, tile=(1, 16, 16), stopping=stop.is_set)
    assert list(found) == []
    assert 3 <= len(begun) < 1000
    begun.clear()
    assert len(list(detector.detect_each(jobs, tile=(1, 320, 320)))) == 2  # and goes on as before


def test_a_large_tile_is_given_up_within_the_network(monkeypatch):
    """A tile of a few hundred megabytes takes many seconds on one core without bfloat16."""
    detector, stop, blocks, ended = _fresh(), threading.Event(), [], threading.Event()
    compute, whole = Block.forward, Detector._detect_tiles

    def noted(self, image):
        blocks.append(self)
        stop.set()
        time.sleep(0.05)  # so that it is asked, and given up, while this block is computed
        return compute(self, image)

    def watched(self, frame, tiles):
        found = whole(self, frame, tiles)
        ended.set()
        return found

    monkeypatch.setattr(Block, "forward", noted)
    monkeypatch.setattr(Detector, "_detect_tiles", watched)
    monkeypatch.setattr(detector_module, "ASK_EVERY_S", 0.001)
    jobs = [Job([np.zeros((1, 64, 64))], (1.0, 1.0, 1.0))]
    assert list(detector.detect_each(jobs, stopping=stop.is_set)) == []
    assert ended.wait(10)
    assert 1 <= len(blocks) < sum(isinstance(m, Block) for m in detector._network.modules())


def _same(a, b):
    assert len(a) == len(b)
    np.testing.assert_allclose(a.positions, b.positions, atol=2e-3)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "shape", "tiles"),
    [
        ({}, (1, 150, 170), [(1, 16, 16), (1, 40, 24), (1, 200, 64)]),
        ({"planes": 30}, (20, 40, 44), [(8, 16, 16), (20, 16, 40), (4, 44, 8)]),
        ({"planes": 9, "voxel_size": (4.0, 1.0, 1.0)}, (9, 60, 44), [(2, 16, 16), (9, 8, 24)]),
        ({"diameter": 27.0, "spacing": 30.0}, (1, 301, 260), [(1, 64, 64), (1, 100, 31)]),
    ],
    ids=["2D", "3D", "anisotropic", "resampled"],
)
def test_tiles_change_nothing(changes, shape, tiles):
    detector = _fresh(**changes)
    size = changes.get("voxel_size", (1.0, 1.0, 1.0))
    rng = np.random.default_rng(5)
    frame = rng.integers(0, 4000, shape).astype(np.uint16)
    whole = detector.detect([frame], size)
    assert len(whole) > 5
    for tile in tiles:
        _same(detector.detect([frame], size, tile=tile), whole)


def test_positions_are_pixels_of_the_image_as_stored(small_detector, make_blobs):
    experiment = make_blobs(times=1, seed=77)
    frame = experiment.images.read_frame(0)
    found = small_detector.detect([frame], (1.0, 1.0, 1.0)).above(small_detector.threshold)
    truth = experiment.annotations.positions
    distance = np.linalg.norm(found.positions[:, None] - truth[None], axis=-1).min(axis=0)
    assert np.mean(distance < 3) > 0.9
    # the mean error has no direction: half a pixel would show
    nearest = np.linalg.norm(found.positions[:, None] - truth[None], axis=-1).argmin(axis=0)
    error = (found.positions[nearest] - truth)[distance < 3]
    assert np.abs(error.mean(axis=0)).max() < 0.75


def test_the_same_cells_at_another_magnification_are_found(small_detector, make_blobs):
    frame = make_blobs(times=1, seed=78).images.read_frame(0)
    plain = small_detector.detect([frame], (1.0, 1.0, 1.0)).above(small_detector.threshold)
    large = frame.repeat(2, axis=1).repeat(2, axis=2)
    found = small_detector.detect([large], (1.0, 0.5, 0.5)).above(small_detector.threshold)
    assert len(found) == len(plain)
    np.testing.assert_allclose((found.positions + 0.5) / [1, 2, 2] - 0.5, plain.positions, atol=0.6)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((1, 64, 64), np.uint16),
        np.full((1, 64, 64), 65535, np.uint16),
        np.full((1, 64, 64), np.nan),
        np.full((1, 64, 64), np.inf, np.float32),
        np.full((1, 64, 64), -3, np.int16),
        np.zeros((1, 64, 64), bool),
    ],
    ids=["black", "saturated", "NaN", "infinite", "negative", "bool"],
)
def test_a_frame_without_contrast_has_no_cells(small_detector, frame):
    found = small_detector.detect([frame], (1.0, 1.0, 1.0)).above(small_detector.threshold)
    assert len(found) == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 200), (1, 200, 1), (3, 5, 2), (40, 1, 1)])
def test_images_of_any_shape_are_taken(shape):
    for detector in (_fresh(), _fresh(planes=30)):
        found = detector.detect([np.random.default_rng(0).random(shape)], (1.0, 1.0, 1.0))
        assert (found.positions >= -0.5).all()
        assert (found.positions <= np.array(shape) - 0.5).all()


def test_an_empty_image_has_no_cells():
    assert len(_fresh().detect([np.zeros((0, 5, 5))], (1.0, 1.0, 1.0))) == 0


@pytest.mark.parametrize(
    ("voxel_size", "says"),
    [
        (None, "voxel size"),
        ((1.0, 0.0, 1.0), "voxel size"),
        ((1.0, -1.0, 1.0), "voxel size"),
        ((1.0, float("nan"), 1.0), "voxel size"),
        ((1.0, 1e-9, 1e-9), "voxel size"),
        ((1.0, 1e9, 1e9), "voxel size"),
        ((1.0, 100.0, 100.0), "voxel size"),
    ],
)
def test_a_voxel_size_that_cannot_be_is_a_sentence(voxel_size, says):
    with pytest.raises(CellTrainError, match=says):
        _fresh().detect([np.random.default_rng(0).random((1, 64, 64))], voxel_size)


def test_the_wrong_number_of_images_is_a_sentence():
    with pytest.raises(CellTrainError, match="1 images at once"):
        _fresh().detect([np.zeros((1, 8, 8))] * 2, (1.0, 1.0, 1.0))
    with pytest.raises(CellTrainError, match="one shape"):
        _fresh(time_window=(-1, 0)).detect(
            [np.zeros((1, 8, 8)), np.zeros((1, 8, 9))], (1.0, 1.0, 1.0)
        )


def test_a_device_that_does_not_exist_is_a_sentence(folder):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(CellTrainError, match="cuda"):
        Detector.from_folder(folder, device="cuda")


@pytest.mark.parametrize(
    "size",
    [(0.002, 0.002, 0.002), (2.0, 2e3, 2e3), (2e-9, 1e9, 1.0), (2.0, 1e9, 1.0), (1e9, 1.0, 1.0),
     (2e-9, 1.0, 1.0)],
)  # fmt: skip
def test_a_voxel_size_that_can_not_be_right_is_refused(size):
    with pytest.raises(CellTrainError, match="can't be right for this detector"):
        _fresh().voxel_size_for(size)
