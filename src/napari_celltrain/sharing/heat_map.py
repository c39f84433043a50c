"""The network as programs that know no detectors can run it: a heat map goes out."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
import zipfile
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from napari_celltrain.detector import network
from napari_celltrain.detector.network import CentreNet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_celltrain.detector.design import Design

OPSET = 18
"""Of ONNX: the oldest that PyTorch still writes."""


class HeatMapNet(CentreNet):
    """Scores and offsets on the grid of the first stride, from a normalised image.

    Input (n, inputs, z, y, x); output scores (n, 1, z', y', x') from 0 to 1, and the (z, y, x)
    offsets to the nearest centre (n, 3, z', y', x') in grid voxels. A flat network has no z axis,
    and two offsets.
    """

    def __init__(self, width: int, strides: Any, kernels: Any, n_inputs: int, flat: bool) -> None:
        design = SimpleNamespace(
            width=width,
            strides=[tuple(stride) for stride in strides],
            kernels=[tuple(kernel) for kernel in kernels],
            n_inputs=n_inputs,
            flat=flat,
        )
        super().__init__(design)  # type: ignore[arg-type]
        self.flat = flat

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Return scores and offsets."""
        grid = super().forward(x.unsqueeze(2) if self.flat else x)
        scores, offsets = torch.sigmoid(grid[:, :1]), grid[:, 1:].clamp(-2, 2)
        if self.flat:
            return scores.squeeze(2), offsets[:, 1:].squeeze(2)
        return scores, offsets


def network_arguments(design: Design) -> dict[str, Any]:
    """Return the arguments of `HeatMapNet`, made of what YAML knows."""
    return {
        "width": design.width,
        "strides": [list(stride) for stride in design.strides],
        "kernels": [list(kernel) for kernel in design.kernels],
        "n_inputs": design.n_inputs,
        "flat": design.flat,
    }


def make_network(design: Design, weights: Mapping[str, torch.Tensor]) -> HeatMapNet:
    """Return the network with its weights, ready to compute."""
    made = HeatMapNet(**network_arguments(design))
    made.load_state_dict(weights)
    return made.eval().requires_grad_(False)


def network_source() -> str:
    """Return Python source that defines `HeatMapNet` and needs nothing but torch."""
    return (
        f"{inspect.getsource(network)}\n\nfrom types import SimpleNamespace  # noqa: E402\n"
        f"from typing import Any  # noqa: E402\n\n\n{inspect.getsource(HeatMapNet)}"
    )


def traced(made: HeatMapNet, example: torch.Tensor) -> torch.jit.ScriptModule:
    """Return the network as TorchScript, for images of any size."""
    with warnings.catch_warnings():
        # deprecated, but what programs outside of Python can read
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)  # in PyTorch 2.15
        script: torch.jit.ScriptModule = torch.jit.trace(made, example)  # type: ignore[no-untyped-call]
    return script


def save_torchscript(script: torch.jit.ScriptModule, path: Path) -> None:
    """Write TorchScript without the paths of this machine's files, which PyTorch notes in it."""
    buffer = io.BytesIO(script.save_to_buffer())
    with zipfile.ZipFile(buffer) as noted, zipfile.ZipFile(path, "w") as plain:
        for member in noted.infolist():
            if not member.filename.endswith(".debug_pkl"):
                plain.writestr(member, noted.read(member))


def save_onnx(made: HeatMapNet, example: torch.Tensor, path: Path) -> None:
    """Write the network as ONNX, for batches and images of any size.

    Parameters
    ----------
    made
        The network.
    example
        An input without an axis of length 1 where other lengths are to be allowed.
    path
        A new file.

    Raises
    ------
    ImportError
        When ``onnx`` or ``onnxscript`` is not installed.
    """
    import onnx

    any_size = dict.fromkeys((0, *range(2, example.ndim)), torch.export.Dim.DYNAMIC)
    with _exporter_in_silence():
        program = torch.onnx.export(
            made, (example,), input_names=["image"], output_names=["heatmap", "offsets"],
            dynamic_shapes=(any_size,), opset_version=OPSET, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    # where each node came from: paths of this machine's files, which are nobody's business
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


@contextmanager
def _exporter_in_silence() -> Iterator[None]:
    """Hold back remarks of the exporter about packages that are not used here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # deprecations within PyTorch itself
            warnings.simplefilter("ignore", category=DeprecationWarning)
            warnings.simplefilter("ignore", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
