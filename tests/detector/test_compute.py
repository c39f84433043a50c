"""Decisions about device, threads and arithmetic come from looking."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from napari_celltrain.detector import compute
from napari_celltrain.detector.compute import Arithmetic, choose_arithmetic, usable_cores

CPU = torch.device("cpu")


@pytest.fixture
def timings(tmp_path, monkeypatch):
    """Steps that take as long as the test says; counts how often they were measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    taken = {
        Arithmetic("float32", "channels last"): 0.02,
        Arithmetic("float32", "channels first"): 0.03,
        Arithmetic("bfloat16", "channels last"): 0.018,
        Arithmetic("bfloat16", "channels first"): 0.05,
    }
    calls = []

    def measure(device, choices):
        calls.append(device)
        return {choice: taken[choice] for choice in choices}

    monkeypatch.setattr(compute, "_time_steps", measure)
    return taken, calls


def test_bfloat16_must_be_much_faster_to_be_worth_its_rounding(timings):
    chosen, why = choose_arithmetic(CPU)
    assert chosen == Arithmetic("float32", "channels last")
    assert "20 ms" in why
    assert "18 ms" in why


def test_what_is_fastest_by_far_is_taken(timings):
    taken, _ = timings
    taken[Arithmetic("bfloat16", "channels first")] = 0.01
    assert choose_arithmetic(CPU)[0] == Arithmetic("bfloat16", "channels first")


def test_a_precision_that_is_asked_for_leaves_only_the_layout_to_measure(timings):
    chosen, why = choose_arithmetic(CPU, "bfloat16")
    assert chosen == Arithmetic("bfloat16", "channels last")
    assert "as asked" in why


def test_it_is_measured_once_a_machine(timings):
    _, calls = timings
    first = choose_arithmetic(CPU)
    assert choose_arithmetic(CPU) == first
    assert len(calls) == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}', "null", '{"x": {"float32": "?"}}'])
def test_a_damaged_record_is_measured_again(timings, content):
    path = compute.cache_folder() / "arithmetic.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert choose_arithmetic(CPU)[0].precision == "float32"
    assert json.loads(path.read_text())


def test_what_others_have_measured_is_kept(timings):
    path = compute.cache_folder() / "arithmetic.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"another machine": {"float32, channels last": 0.5}}')
    choose_arithmetic(CPU)
    assert json.loads(path.read_text())["another machine"] == {"float32, channels last": 0.5}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_where_nothing_can_be_kept_it_is_measured_each_time(timings, tmp_path, monkeypatch):
    _, calls = timings
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose_arithmetic(CPU) == choose_arithmetic(CPU)
    assert len(calls) == 2


def test_the_real_measurement_ends_in_one_of_the_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    chosen, why = choose_arithmetic(CPU)
    assert chosen.precision in ("float32", "bfloat16")
    assert " ms (" in why


def test_a_way_that_computes_wrong_gradients_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    right = compute._gradients

    def wrong_in_bfloat16(network, image, arithmetic):
        gradients = right(network, image, Arithmetic())
        if arithmetic.precision == "bfloat16":
            gradients = (torch.full_like(gradients[0], torch.nan), *gradients[1:])
        return gradients

    monkeypatch.setattr(compute, "_gradients", wrong_in_bfloat16)
    monkeypatch.setattr(compute, "WORTH", 0.0)  # else it may be too slow anyway
    chosen, why = choose_arithmetic(CPU)
    assert chosen.precision == "float32"
    assert "ms (float32" in why
    assert "ms (bfloat16" not in why
    chosen, why = choose_arithmetic(CPU, "bfloat16")
    assert chosen.precision == "float32"
    assert "wrong gradients" in why


def test_the_usual_variable_limits_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert usable_cores() >= 1


GRADIENTS = """
import hashlib, torch
from napari_celltrain.detector.compute import choose_arithmetic
from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.threads import compute_alone

compute_alone()
arithmetic, _ = choose_arithmetic(torch.device("cpu"), "bfloat16")
design = choose_design(
    diameter=10, spacing=8, voxel_size=(2, 1, 1), planes=12, unit="px", width=16
)
torch.manual_seed(0)
network = CentreNet(design).to(memory_format=arithmetic.memory_format)
total = hashlib.sha256()
for planes in (1, 4, 12):
    images = torch.rand(2, 1, planes, 64, 64).contiguous(memory_format=arithmetic.memory_format)
    with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic.precision == "bfloat16"):
        output = network(images)
    for gradient in torch.autograd.grad((output.float() ** 2).mean(), list(network.parameters())):
        total.update(gradient.float().contiguous().numpy().tobytes())
print(total.hexdigest())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fills memory by a glibc variable")
def test_gradients_do_not_depend_on_what_the_memory_held_before(tmp_path):
    found = {
        subprocess.run(
            [sys.executable, "-c", GRADIENTS],
            env=os.environ | {"MALLOC_PERTURB_": fill, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for fill in ("0", "170")
    }
    assert len(found) == 1
