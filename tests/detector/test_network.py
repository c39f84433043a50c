"""Shapes, and how far the network really looks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.network import CentreNet, Convolution, reach

KINDS = {
    "2D": {"planes": 1},
    "3D": {"planes": 40},
    "thin": {"planes": 5},
    "anisotropic": {"planes": 20, "voxel_size": (4.0, 1.0, 1.0)},
    "8 to 1": {"planes": 20, "voxel_size": (8.0, 1.0, 1.0)},
}


def _design(kind: str, **changes):
    values = {
        "diameter": 10.0,
        "spacing": 12.0,
        "voxel_size": (1.0, 1.0, 1.0),
        "planes": 20,
        "unit": "um",
        "width": 4,
        **KINDS[kind],
    }
    return choose_design(**{**values, **changes})


@pytest.fixture(params=KINDS)
def network(request):
    torch.manual_seed(3)
    return CentreNet(_design(request.param)).eval().requires_grad_(False)


def test_output_lies_on_the_grid_of_the_first_stride(network):
    strides = network.design.total_stride
    shape = tuple(3 * s for s in strides)
    out = network(torch.zeros(2, 1, *shape))
    stride = network.design.strides[0]
    assert out.shape == (2, 4, *(n // s for n, s in zip(shape, stride, strict=True)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nothing_outside_its_reach_changes_an_output(network, axis):
    """The halo of a tile is made from `reach`: were it too small, tiles would change results."""
    design = network.design
    far = reach(design)
    if axis == 0 and design.flat:
        assert far[0] == 0
        return
    strides = design.total_stride
    # long along one axis only, so that it stays cheap
    shape = [strides[a] * (2 if a != axis else 0) for a in range(3)]
    shape[axis] = -(-(2 * far[axis] + 3 * strides[axis]) // strides[axis]) * strides[axis]
    image = torch.rand(1, 1, *shape)
    plain = network(image)
    stride = design.strides[0][axis]
    widest = 0
    for place in range(shape[axis] // 2, shape[axis] // 2 + strides[axis]):
        changed = image.clone()
        changed.select(2 + axis, place).add_(5.0)
        differs = (network(changed) != plain).any(dim=1).any(dim=0)
        line = differs.movedim(axis, 0).reshape(differs.shape[axis], -1).any(dim=1)
        where = torch.nonzero(line).flatten()
        assert len(where)
        # the first and the last voxel under the outputs that changed
        low, high = int(where[0]) * stride, int(where[-1]) * stride + stride - 1
        widest = max(widest, place - low - stride + 1, high - place - stride + 1)
        assert low >= place - far[axis] - stride + 1
        assert high <= place + far[axis] + stride - 1
    # and it is no wild overestimate, which would make tiles expensive
    assert widest >= 0.4 * far[axis]


def test_a_fresh_network_finds_nothing(network):
    shape = tuple(2 * s for s in network.design.total_stride)
    out = network(torch.rand(1, 1, *shape))
    assert torch.isfinite(out).all()
    assert float(torch.sigmoid(out[:, 0]).max()) < 0.3


def test_gradients_reach_every_weight():
    network = CentreNet(_design("3D"))
    out = network(torch.rand(1, 1, *(2 * s for s in network.design.total_stride)))
    (out**2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_a_time_window_and_channels_are_inputs():
    design = _design("2D", time_window=(-1, 1), n_channels=2)
    assert design.n_inputs == 6
    assert CentreNet(design)(torch.zeros(1, 6, 1, 8, 8)).shape == (1, 4, 1, 4, 4)


def test_one_plane_is_answered_as_the_middle_of_nothing_around_it():
    """A single plane costs no planes of zeros, and the answer is that of the plain convolution."""
    design = choose_design(
        diameter=10.0, spacing=12.0, voxel_size=(2.0, 1.0, 1.0), planes=20, unit="um", width=4
    )
    network = CentreNet(design).eval()
    image = torch.rand(2, 1, 1, 32, 32)
    assert design.multiples(1) == (1, 8, 8)
    deep = [m for m in network.modules() if isinstance(m, Convolution) and m.kernel_size[0] > 1]
    assert deep
    assert all(3 * layer.taps(1) == layer.taps(2) for layer in deep)
    with torch.inference_mode():
        quick = network(image)
        layers = [m for m in network.modules() if isinstance(m, Convolution)]
        for layer in layers:  # back to the plain one
            layer.__class__ = nn.Conv3d
        slow = network(image)
    assert quick.shape == (2, 4, 1, 16, 16)
    assert torch.allclose(quick, slow, atol=1e-4)


@pytest.mark.parametrize(
    ("planes", "shape"),
    [(20, (8, 64, 64)), (20, (4, 8, 8)), (5, (2, 64, 64)), (5, (5, 32, 32)), (1, (1, 16, 16))],
)
def test_gradients_in_bfloat16_are_those_of_float32_but_for_rounding(planes, shape):
    """A kernel of three planes on two made them whatever lay in memory before."""
    torch.manual_seed(0)
    network = CentreNet(_design("3D", planes=planes, voxel_size=(2.5, 1.0, 1.0), width=16))
    network.to(memory_format=torch.channels_last_3d)
    image = torch.rand(2, 1, *shape).contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for narrow in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            output = network(image).float()
        wanted = torch.linspace(0, 1, output.numel()).reshape(output.shape)
        loss = ((output - wanted) ** 2).sum()
        # what is freed here is what comes next
        del output
        for size in range(4, 22):
            torch.full((2**size,), torch.nan)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for exact, rounded in zip(*gradients, strict=True):
        assert float((rounded - exact).norm()) < 0.15 * float(exact.norm())


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 2)])
@pytest.mark.parametrize("kernel", [(3, 5, 3), (1, 3, 3), (3, 5, 5)])
def test_small_images_are_answered_the_same_in_bfloat16(kernel, stride):
    torch.manual_seed(0)
    layer = Convolution(2, 3, kernel, stride, tuple(k // 2 for k in kernel))
    for shape in [(2, 2, 2), (2, 7, 1), (1, 33, 2), (3, 1, 8), (4, 6, 3), (4, 6, 8)]:
        image = torch.rand(2, 2, *shape)
        for size in range(4, 18):
            torch.full((2**size,), -1e31)  # what is freed here is what comes next
        results = []
        for narrow in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                output = layer(image).float()
            results.append((output, *torch.autograd.grad(output.sum(), list(layer.parameters()))))
        for exact, rounded in zip(*results, strict=True):
            assert rounded.shape == exact.shape
            assert torch.allclose(rounded, exact, atol=0.06, rtol=0.06)
