"""A detector as a package of the bioimage.io model zoo, format 0.5.

The zoo knows images that become images. So the package holds the network, from an image at the
detector's working voxel size to the heat map of cell centres; what makes points of it is written
down in ``config["celltrain"]``, and the detector itself is attached as a ``.celltrain`` file.
"""

from __future__ import annotations

import gc
import hashlib
import re
import warnings
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.intensity import CLIP, HIGH, LOW
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing, temporary_folder
from napari_celltrain.sharing.card import About, model_card
from napari_celltrain.sharing.example import (
    EPSILON,
    axes_of,
    example_image,
    halo,
    normalised,
    run_network,
    smallest,
    spatial,
)
from napari_celltrain.sharing.heat_map import (
    OPSET,
    HeatMapNet,
    make_network,
    network_arguments,
    network_source,
    save_onnx,
    save_torchscript,
    traced,
)
from napari_celltrain.sharing.instructions import in_numbers, in_words
from napari_celltrain.sharing.packing import pack_detector
from napari_celltrain.sharing.pictures import cover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.folder import DetectorInfo

_NAME_LENGTH = (5, 64)
_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.[0-9]{4,9}/\S+)")


def write_bioimageio(folder: str | Path, file: str | Path, about: About) -> Path:
    """Write a bioimage.io package: weights, test images, card, and the detector itself.

    Parameters
    ----------
    folder
        A detector or run folder, or a ``.celltrain`` file.
    file
        Its name ends in ``.zip``. A file there is replaced.
    about
        The zoo wants authors and a licence.

    Raises
    ------
    CellTrainError
        When there is no sound detector, something the zoo asks for is not given, the extra
        ``bioimageio`` is not installed, or the file can't be written.
    """
    spec, v0_5 = _library()
    file = Path(file)
    if file.suffix.lower() != ".zip":
        raise CellTrainError(f"{file.name}: the name of a bioimage.io package ends in .zip.")
    _check_about(about, v0_5)
    detector = Detector.from_folder(folder, device="cpu", precision="float32")
    with temporary_folder() as root, _forgotten_files_closed():
        pack_detector(folder, root / "detector.celltrain", about)
        _write_parts(root, detector, about)
        with replacing(file) as temporary:
            spec.save_bioimageio_package(
                _describe(root, detector, about, v0_5), output_path=temporary
            )
    return file


@contextmanager
def _forgotten_files_closed() -> Iterator[None]:
    """Close what the library leaves open: on Windows an open file can't be removed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


def _library() -> tuple[ModuleType, ModuleType]:
    try:
        import bioimageio.spec
        import onnx  # noqa: F401 (so that it is missed now and not after half of the work)
        import onnxscript  # noqa: F401
        from bioimageio.spec.model import v0_5
    except ImportError as error:
        raise CellTrainError(
            "Writing bioimage.io packages needs an extra: "
            "pip install 'napari-celltrain[bioimageio]'."
        ) from error
    return bioimageio.spec, v0_5


def _check_about(about: About, v0_5: ModuleType) -> None:
    if not about.authors or not about.licence:
        raise CellTrainError(
            "The bioimage.io model zoo asks for an author and a licence: --author NAME and "
            "--licence, e.g. CC-BY-4.0."
        )
    try:
        v0_5.LicenseId(about.licence)
    except ValueError:
        raise CellTrainError(
            f"'{about.licence}' is no licence that bioimage.io knows. Give its short name from "
            "https://spdx.org/licenses, e.g. CC-BY-4.0 or CC0-1.0."
        ) from None
    for name in about.authors:
        try:
            v0_5.Author(name=name)
        except ValueError:
            raise CellTrainError(
                f"'{name}' can't be one of the authors: bioimage.io takes names without slashes."
            ) from None
    for reference in about.cite:
        doi_of(reference)


def _write_parts(root: Path, detector: Detector, about: About) -> None:
    """Write the files that the description names."""
    design = detector.design
    image = example_image(design, detector.info)
    network = make_network(design, detector.weights)
    scores, offsets = run_network(network, image)
    for name, array in {"input": image, "heatmap": scores, "offsets": offsets}.items():
        _save(root / f"test_{name}.npy", partial(np.save, arr=array))
    weights = {key: value.cpu().contiguous() for key, value in detector.weights.items()}
    _save(root / "weights.pt", partial(torch.save, weights))
    (root / "cover.png").write_bytes(cover(image[0, 0], scores[0, 0]))
    # a batch of two: lengths of 1 would be taken to be fixed
    example = torch.from_numpy(normalised(np.concatenate([image, image])))
    save_torchscript(traced(network, example), root / "weights_torchscript.pt")
    save_onnx(network, example, root / "weights.onnx")
    (root / "network.py").write_text(network_source(), "utf-8")
    card = model_card(detector.info, about) + "\n" + in_words(detector.info)
    (root / "README.md").write_text(card, "utf-8")


def _save(path: Path, write: Callable[[BytesIO], object]) -> None:
    """Write a file whose library, on a full disk, would not say what is the matter."""
    buffer = BytesIO()
    write(buffer)
    path.write_bytes(buffer.getvalue())


def _describe(root: Path, detector: Detector, about: About, v0_5: ModuleType) -> Any:
    """Return the description that becomes ``rdf.yaml``."""
    from pydantic import ValidationError

    info = detector.info
    version = torch.__version__.split("+")[0]
    kind = "2D" if info.design.flat else "3D"
    try:
        return v0_5.ModelDescr(
            name=zoo_name(about.title or info.name),
            description=f"Finds the centres of cells or nuclei in {kind} microscope images: a heat "
                        "map, and offsets to the centres.",
            authors=[v0_5.Author(name=name) for name in about.authors],
            license=v0_5.LicenseId(about.licence),
            cite=[v0_5.CiteEntry(text=f"https://doi.org/{one}", doi=one)
                  for one in map(doi_of, about.cite)],
            covers=[v0_5.FileDescr(source=root / "cover.png")],
            documentation=v0_5.FileDescr(source=root / "README.md"),
            tags=["cell-detection", "nuclei", "heatmap", "pytorch", kind.lower(),
                  "napari-celltrain"],
            inputs=[_input(root, info, v0_5)],
            outputs=_outputs(root, info.design, v0_5),
            weights=v0_5.WeightsDescr(
                pytorch_state_dict=v0_5.PytorchStateDictWeightsDescr(
                    source=root / "weights.pt",
                    pytorch_version=v0_5.Version(version),
                    architecture=v0_5.ArchitectureFromFileDescr(
                        source=root / "network.py",
                        sha256=hashlib.sha256((root / "network.py").read_bytes()).hexdigest(),
                        callable=v0_5.Identifier(HeatMapNet.__name__),
                        kwargs=network_arguments(info.design),
                    ),
                ),
                torchscript=v0_5.TorchscriptWeightsDescr(
                    source=root / "weights_torchscript.pt",
                    pytorch_version=v0_5.Version(version),
                    parent="pytorch_state_dict",
                ),
                onnx=v0_5.OnnxWeightsDescr(
                    source=root / "weights.onnx",
                    opset_version=OPSET,
                    parent="pytorch_state_dict",
                ),
            ),
            attachments=[v0_5.FileDescr(source=root / "detector.celltrain")],
            config=v0_5.Config(
                bioimageio=v0_5.BioimageioConfig(
                    reproducibility_tolerance=_tolerances(root, v0_5)
                ),
                celltrain=in_numbers(info),
            ),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise CellTrainError(
            f"bioimage.io does not take this as its '{place}': {' '.join(first['msg'].split())}."
        ) from None


# --- tensors and axes ----------------------------------------------------------------------------


def _input(root: Path, info: DetectorInfo, v0_5: ModuleType) -> Any:
    design = info.design
    axes = [v0_5.AxisId(axis) for axis in axes_of(design)]
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId("image"),
        description="Raw image at the working voxel size",
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=[v0_5.Identifier(one) for one in _inputs(design)]),
            *(
                v0_5.SpaceInputAxis(
                    id=axis, scale=scale, size=v0_5.ParameterizedSize(min=least, step=step),
                    **_unit(design),
                )
                for axis, scale, least, step in zip(
                    axes, spatial(design, _scale(design)), smallest(design),
                    spatial(design, design.total_stride), strict=True,
                )
            ),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=v0_5.FileDescr(source=root / "test_input.npy"),
        preprocessing=[
            v0_5.ScaleRangeDescr(
                kwargs=v0_5.ScaleRangeKwargs(
                    axes=axes, min_percentile=LOW, max_percentile=HIGH, eps=EPSILON
                )
            ),
            v0_5.ClipDescr(kwargs=v0_5.ClipKwargs(min=CLIP[0], max=CLIP[1])),
        ],
    )  # fmt: skip


def _outputs(root: Path, design: Design, v0_5: ModuleType) -> list[Any]:
    space = []
    for axis, scale, stride, around in zip(
        axes_of(design), spatial(design, _scale(design)), spatial(design, design.strides[0]),
        halo(design), strict=True,
    ):  # fmt: skip
        values: dict[str, Any] = {
            "id": v0_5.AxisId(axis),
            "scale": scale * stride,
            "size": v0_5.SizeReference(tensor_id=v0_5.TensorId("image"), axis_id=v0_5.AxisId(axis)),
            **_unit(design),
        }
        space.append(
            v0_5.SpaceOutputAxisWithHalo(halo=around // stride, **values)
            if around
            else v0_5.SpaceOutputAxis(**values)
        )
    described = (
        ("heatmap", "Score: is the centre of a cell in this grid voxel?", ["score"], (0.0, 1.0)),
        ("offsets", "From the grid voxel's centre to the cell's centre, in grid voxels",
         [f"offset_{axis}" for axis in axes_of(design)], (-2.0, 2.0)),
    )  # fmt: skip
    return [
        v0_5.OutputTensorDescr(
            id=v0_5.TensorId(name),
            description=text,
            axes=[
                v0_5.BatchAxis(),
                v0_5.ChannelAxis(channel_names=[v0_5.Identifier(one) for one in channels]),
                *space,
            ],
            data=v0_5.IntervalOrRatioDataDescr(type="float32", range=limits),
            test_tensor=v0_5.FileDescr(source=root / f"test_{name}.npy"),
        )
        for name, text, channels, limits in described
    ]


def _tolerances(root: Path, v0_5: ModuleType) -> list[Any]:
    """How far another program may be off: at most 1 % of the largest value, as the format asks."""
    found = []
    for name in ("heatmap", "offsets"):
        largest = float(np.load(root / f"test_{name}.npy").max())
        if largest > 0:  # of others the format takes no tolerance
            found.append(
                v0_5.ReproducibilityTolerance(
                    output_ids=(v0_5.TensorId(name),), absolute_tolerance=min(1e-3, 0.009 * largest)
                )
            )
    return found


def _scale(design: Design) -> tuple[float, float, float]:
    """Return the working voxel size, with so few digits that sizes computed from it are exact."""
    z, y, x = (float(np.float32(one)) for one in design.working_voxel_size)
    return z, y, x


def _unit(design: Design) -> dict[str, str]:
    return {"unit": "micrometer"} if design.unit == "um" else {}


def _inputs(design: Design) -> list[str]:
    """Name the network's inputs: the channels of each time point of the window."""
    first, last = design.time_window
    return [
        f"channel{channel + 1}" + (f"_t_plus_{t}" if t > 0 else f"_t_minus_{-t}" if t else "")
        for t in range(first, last + 1)
        for channel in range(design.n_channels)
    ]


def zoo_name(title: str) -> str:
    """Return a title made of what the zoo takes: 5 to 64 plain letters, digits and ``_+- ()``."""
    name = " ".join(re.sub(r"[^a-zA-Z0-9_+\- ()]", " ", title).split())[: _NAME_LENGTH[1]].strip()
    return name if len(name) >= _NAME_LENGTH[0] else f"{name} cell detector".strip()


def doi_of(reference: str) -> str:
    """Return the DOI in a reference.

    Other addresses are not taken: the library would call each, to see whether it is there.

    Raises
    ------
    CellTrainError
        When it is none.
    """
    doi = _DOI.fullmatch(reference.strip())
    if doi is None:
        raise CellTrainError(f"'{reference}' is no DOI: bioimage.io takes one like 10.1000/182.")
    return doi[1]
