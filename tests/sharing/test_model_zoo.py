"""The package for the model zoo is valid, and does what the detector does."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.peaks import find_peaks
from napari_celltrain.errors import CellTrainError
from napari_celltrain.sharing import About
from napari_celltrain.sharing.example import (
    example_image,
    halo,
    normalised,
    run_network,
    smallest,
)
from napari_celltrain.sharing.heat_map import make_network, save_torchscript, traced
from napari_celltrain.sharing.model_zoo import write_bioimageio, zoo_name

ABOUT = About(
    "Nuclei: of a fish!", "CC-BY-4.0", ("A. Biologist",), "H2B-GFP, light sheet.",
    ("https://doi.org/10.1000/182", "10.5281/zenodo.1234"),
)  # fmt: skip
KINDS = {
    "flat": {"planes": 1},
    "deep": {"planes": 20, "voxel_size": (2.0, 0.37, 0.37), "diameter": 6.0, "spacing": 7.0},
    "window": {"planes": 1, "time_window": (-1, 1), "n_channels": 2, "unit": "px"},
}


LONG = pytest.mark.slow
"""Each kind takes ten seconds to be exported."""


def random_detector(kind) -> Detector:
    """A network that was never trained, made to answer here and there."""
    values = {
        "diameter": 10.0, "spacing": 12.0, "voxel_size": (1.0, 1.0, 1.0), "unit": "um", "width": 4,
    }  # fmt: skip
    design = choose_design(**{**values, **KINDS[kind]})
    torch.manual_seed(1)
    network = CentreNet(design)
    with torch.no_grad():
        network.head.weight.mul_(30)
        network.head.bias[0] = 0.0
    info = DetectorInfo(design=design, name="fish", f1=0.9, precision=0.9, recall=0.9)
    return Detector(info, network.state_dict(), device="cpu", precision="float32")


@pytest.fixture(params=sorted(KINDS))
def detector(request):
    return random_detector(request.param)


def shape_of(design, extra=0):
    steps = design.total_stride[1:] if design.flat else design.total_stride
    return tuple(least + extra * step for least, step in zip(smallest(design), steps, strict=True))


def test_peaks_of_the_heat_map_are_what_the_detector_finds(detector):
    design = detector.design
    image = example_image(design, detector.info)
    scores, offsets = run_network(make_network(design, detector.weights), image)
    if design.flat:
        scores, image = scores[:, :, None], image[:, :, None]
        offsets = np.concatenate([np.zeros_like(offsets[:, :1]), offsets], axis=1)[:, :, None]
    _, positions, found = find_peaks(
        torch.logit(torch.from_numpy(scores[0, 0]).double()), torch.from_numpy(offsets[0]), 0.3
    )
    strides = np.array(design.strides[0])
    positions = (positions + 0.5) * strides - 0.5  # as the package's card tells
    voxel_size = (1.0, 1.0, 1.0) if design.unit == "px" else design.working_voxel_size
    expected = detector.detect(list(image[0]), voxel_size, floor=0.3)
    assert len(expected) > 5
    # the detector also drops close pairs; each of its cells is a peak
    distance = np.linalg.norm(
        (expected.positions[:, None] - positions[None])[..., int(design.flat) :], axis=2
    )
    assert np.quantile(distance.min(axis=1), 0.95) < 0.05
    nearest = distance.argmin(axis=1)
    assert np.quantile(np.abs(found[nearest] - expected.scores), 0.95) < 0.02


def test_what_is_beyond_the_halo_does_not_matter(detector):
    design = detector.design
    network = make_network(design, detector.weights)
    shape = shape_of(design, 2)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, design.n_inputs, *shape), generator=generator)
    whole = network(image)[0]
    step, around = design.total_stride[2], halo(design)[-1]
    stride = design.strides[0][2]
    part = network(image[..., 2 * step :])[0]
    torch.testing.assert_close(
        part[..., around // stride :], whole[..., (2 * step + around) // stride :],
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_takes_images_of_other_sizes(detector, tmp_path):
    design = detector.design
    network = make_network(design, detector.weights)
    generator = torch.Generator().manual_seed(0)
    small = torch.rand((1, design.n_inputs, *shape_of(design)), generator=generator)
    large = torch.rand((2, design.n_inputs, *shape_of(design, 1)), generator=generator)
    save_torchscript(traced(network, small), tmp_path / "script.pt")
    script = torch.jit.load(tmp_path / "script.pt")
    for mine, its in zip(network(large), script(large), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def test_each_input_is_normalised_by_itself():
    image = np.random.default_rng(0).normal(size=(2, 2, 5, 40, 40)).astype(np.float32)
    image[1, 0] *= 1000
    image[:, 1] += 7
    done = normalised(image)
    for low, high in np.percentile(done, [1, 99.8], axis=(2, 3, 4)).reshape(2, -1).T:
        assert low == pytest.approx(0, abs=1e-3)
        assert high == pytest.approx(1, abs=1e-3)


def test_titles_become_names_that_the_zoo_takes():
    assert zoo_name("Nuclei: of a fish!") == "Nuclei of a fish"
    assert zoo_name("ü") == "cell detector"
    assert zoo_name("fish") == "fish cell detector"
    assert len(zoo_name("x" * 100)) == 64


# --- with the library of the zoo -----------------------------------------------------------------


@pytest.fixture(scope="module", params=["deep", "flat", pytest.param("window", marks=LONG)])
def written(request, tmp_path_factory):
    pytest.importorskip("bioimageio.spec", reason="the extra bioimageio is not installed")
    place = tmp_path_factory.mktemp(request.param)
    detector = random_detector(request.param)
    detector.save(place / "detector")
    with nobody_is_asked():
        return detector, write_bioimageio(place / "detector", place / "out.zip", ABOUT)


@contextlib.contextmanager
def nobody_is_asked():
    """See to it that no other computer is."""
    import socket

    import httpx

    asked = []

    def refuse(*given, **_):
        asked.append(given)
        raise OSError("somebody is asked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(httpx, "request", refuse)
        yield
    assert not asked


@pytest.fixture(autouse=True)
def _files_left_open():
    """The library leaves files open, and says so whenever they are collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def described(file):
    from bioimageio.spec import load_description

    return load_description(file)


def test_the_package_is_valid(written):
    from bioimageio.spec import load_description_and_validate_format_only

    summary = load_description_and_validate_format_only(written[1])
    assert summary.status in ("valid-format", "passed"), summary.display()
    assert not [error for detail in summary.details for error in detail.errors]


def test_the_description_says_all_that_prediction_needs(written):
    detector, file = written
    description = described(file)
    design = detector.design
    assert description.name == "Nuclei of a fish"
    assert description.authors[0].name == "A. Biologist"
    assert str(description.license) == "CC-BY-4.0"
    said = description.config.celltrain
    assert DetectorInfo.model_validate(said["detector"]).design == design
    assert said["suppression_radius"] == pytest.approx(design.suppression_radius)
    axes = {str(axis.id): axis for axis in description.inputs[0].axes}
    assert axes["x"].scale == pytest.approx(design.working_voxel_size[2])
    assert axes["x"].unit == ("micrometer" if design.unit == "um" else None)
    assert ("z" in axes) == (not design.flat)
    with zipfile.ZipFile(file) as archive:
        assert "Validation" in archive.read("README.md").decode("utf-8")


def test_onnx_weights_give_the_same_for_images_and_batches_of_other_sizes(written, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    detector, file = written
    design = detector.design
    network = make_network(design, detector.weights)
    with zipfile.ZipFile(file) as archive:
        session = onnxruntime.InferenceSession(
            archive.read("weights.onnx"), providers=["CPUExecutionProvider"]
        )
    assert [one.name for one in session.get_outputs()] == ["heatmap", "offsets"]
    generator = torch.Generator().manual_seed(0)
    for batch, extra in ((1, 0), (1, 1), (2, 2)):
        shape = (batch, design.n_inputs, *shape_of(design, extra))
        image = torch.rand(shape, generator=generator)
        for mine, its in zip(network(image), session.run(None, {"image": image.numpy()}),
                             strict=True):  # fmt: skip
            np.testing.assert_allclose(its, mine.numpy(), rtol=1e-4, atol=1e-4)


def test_the_package_has_a_cover_and_says_what_to_cite(written):
    imagecodecs = pytest.importorskip("imagecodecs")
    description = described(written[1])
    assert [str(one.doi) for one in description.cite] == ["10.1000/182", "10.5281/zenodo.1234"]
    with zipfile.ZipFile(written[1]) as archive:
        content = archive.read("cover.png")
    assert len(content) < 500_000
    picture = imagecodecs.png_decode(content)
    assert picture.shape[1] == 2 * picture.shape[0]
    left, right = np.split(picture.astype(int), 2, axis=1)
    assert (left[..., 0] == left[..., 2]).all()  # the image is grey
    assert (right[..., 0] - right[..., 2]).max() > 50  # the heat map over it is not


def test_nothing_in_the_package_tells_where_it_was_made(written):
    import getpass
    from pathlib import Path

    import napari_celltrain

    places = {str(Path(napari_celltrain.__file__).parents[1]), str(Path(torch.__file__).parents[1]),
              str(Path.home()) if len(Path.home().parts) > 2 else None,
              getpass.getuser() if len(getpass.getuser()) > 7 else None}  # fmt: skip
    with zipfile.ZipFile(written[1]) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            parts = {name: content}
            if zipfile.is_zipfile(io.BytesIO(content)):
                inside = zipfile.ZipFile(io.BytesIO(content))
                parts = {f"{name}: {one}": inside.read(one) for one in inside.namelist()}
            for part, text in parts.items():
                for place in places - {None}:
                    assert place.encode() not in text, f"{part} has {place} in it"


def test_the_attached_detector_is_the_detector(written, tmp_path):
    detector, file = written
    with zipfile.ZipFile(file) as archive:
        archive.extract("detector.celltrain", tmp_path)
    loaded = Detector.from_folder(tmp_path / "detector.celltrain", device="cpu")
    for key, value in detector.weights.items():
        assert torch.equal(loaded.weights[key], value)


RUN = """
import importlib.util, json, sys
import numpy as np, torch
folder, arguments = sys.argv[1], json.loads(sys.argv[2])
spec = importlib.util.spec_from_file_location("network", folder + "/network.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = module.HeatMapNet(**arguments)
network.load_state_dict(torch.load(folder + "/weights.pt", weights_only=True))
image = torch.from_numpy(np.load(folder + "/normalised.npy"))
with torch.inference_mode():
    for run in (network.eval(), torch.jit.load(folder + "/weights_torchscript.pt")):
        for name, value in zip(("heatmap", "offsets"), run(image), strict=True):
            expected = np.load(folder + f"/test_{name}.npy")
            np.testing.assert_allclose(value.numpy(), expected, rtol=1e-3, atol=1e-3)
assert not [name for name in sys.modules if name.startswith("napari")]
"""


def test_weights_and_code_of_the_package_work_without_this_program(written, tmp_path):
    file = written[1]
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    arguments = described(file).weights.pytorch_state_dict.architecture.kwargs
    np.save(tmp_path / "normalised.npy", normalised(np.load(tmp_path / "test_input.npy")))
    heat_map = np.load(tmp_path / "test_heatmap.npy")
    assert heat_map.std() > 0.01  # a constant would be easy to reproduce
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), json.dumps(dict(arguments))],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_zoo_s_own_program_gets_the_same_results(written):
    core = pytest.importorskip("bioimageio.core", reason="bioimageio.core is not installed")
    summary = core.test_model(written[1])
    assert summary.status == "passed", summary.display()


@pytest.mark.parametrize(
    ("about", "words"),
    [(About(licence="CC0-1.0"), "author"), (About(authors=("A",)), "licence"),
     (About(authors=("A",), licence="do what you want"), "spdx.org"),
     (About(authors=("A/B",), licence="CC0-1.0"), "authors"),
     (About(authors=("A",), licence="CC0-1.0", cite=("my paper",)), "no DOI")],
)  # fmt: skip
def test_what_the_zoo_does_not_take_is_said(tmp_path, about, words):
    pytest.importorskip("bioimageio.spec", reason="the extra bioimageio is not installed")
    random_detector("flat").save(tmp_path / "detector")
    with pytest.raises(CellTrainError, match=words):
        write_bioimageio(tmp_path / "detector", tmp_path / "x.zip", about)
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize("missing", ["bioimageio.spec", "onnx", "onnxscript"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(CellTrainError, match=r"napari-celltrain\[bioimageio\]"):
        write_bioimageio(tmp_path, tmp_path / "x.zip", ABOUT)
