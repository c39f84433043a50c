"""Whole movies into files: resumed, killed, refused, complete."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_celltrain.cli import main
from napari_celltrain.detector.detector import Detector
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment
from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.images.array import ArraySource
from napari_celltrain.prediction import movie as movie_module
from napari_celltrain.prediction.movie import predict_list, predict_to_file
from napari_celltrain.prediction.options import Options
from napari_celltrain.prediction.output import counts_table
from napari_celltrain.prediction.predict import predict_request
from napari_celltrain.prediction.reserved import Reserved


def stop_after(n):
    """Stop once so many are told; the reading thread asks as well, and when it likes."""
    told = []

    def progress(*of):
        told.append(of)

    return {"progress": progress, "stopping": lambda: len(told) >= n}


def test_csv_has_the_agreed_columns_in_time_order(detector, movie, tmp_path):
    out = tmp_path / "cells.csv"
    summary = predict_to_file(detector, movie, out, Options(threshold=0.4))
    lines = out.read_text().splitlines()
    assert lines[0] == "t,z,y,x,score"
    table = np.array([line.split(",") for line in lines[1:]], float)
    assert len(table) == summary.detections > 0
    assert summary.time_points == 4
    assert (table[:, 4] >= 0.4 - 1e-5).all()
    assert (np.diff(table[:, 0]) >= 0).all()
    alone = detector.detect([movie.read_frame(4)], (2.0, 1.0, 1.0), floor=0.4)
    np.testing.assert_allclose(table[table[:, 0] == 4, 1:4], alone.positions, atol=1e-4)
    assert [n for _, _, n in summary.counts] == [(table[:, 0] == t).sum() for t in range(3, 7)]
    assert list(tmp_path.iterdir()) == [out]


def test_floor_keeps_candidates_for_a_later_threshold(detector, movie, tmp_path):
    predict_to_file(detector, movie, tmp_path / "a.csv", Options(threshold=0.5501234))
    predict_to_file(detector, movie, tmp_path / "b.csv", Options(threshold=0.5501234, floor=0.1))
    all_, kept = ((tmp_path / name).read_text().splitlines()[1:] for name in ("b.csv", "a.csv"))
    assert len(all_) > len(kept) > 0
    assert [line for line in all_ if float(line.rsplit(",", 1)[1]) >= 0.5501234] == kept


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_extreme_thresholds(detector, movie, tmp_path, threshold):
    summary = predict_to_file(detector, movie, tmp_path / "c.csv", Options(threshold=threshold))
    assert (summary.detections == 0) == (threshold == 1.0)


@pytest.mark.parametrize("suffix", [".csv", ".aut", ".xml", ".geff"])
def test_every_suffix_reads_back(detector, movie, tmp_path, suffix):
    out = tmp_path / f"cells{suffix}"
    summary = predict_to_file(detector, movie, out, Options(threshold=0.6))
    (read,) = read_experiments(out)
    assert len(read.annotations) == summary.detections > 0
    assert set(read.annotations.t.tolist()) <= set(movie.time_points)


def test_stopped_and_resumed_is_the_same_file(detector, movie, tmp_path):
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    predict_to_file(detector, movie, whole)
    summary = predict_to_file(detector, movie, parts, **stop_after(2))
    assert not summary.finished
    assert not parts.exists()
    computed = []

    def watched(detector, source, request, **more):
        computed.extend(request.time_points)
        return predict_request(detector, source, request, **more)

    predict_to_file(detector, movie, parts, Options(resume=True), runner=watched)
    assert parts.read_bytes() == whole.read_bytes()
    assert computed == list(movie.time_points)[2:]


def test_resume_with_another_detector_is_refused(detector, make_detector, movie, tmp_path):
    predict_to_file(detector, movie, tmp_path / "c.csv", **stop_after(2))
    with pytest.raises(CellTrainError, match="another detector"):
        predict_to_file(make_detector(seed=5), movie, tmp_path / "c.csv", Options(resume=True))


def test_without_resume_nothing_that_was_found_is_lost(detector, movie, tmp_path, monkeypatch):
    out, folder = tmp_path / "c.csv", tmp_path / "list"
    predict_to_file(detector, movie, out, **stop_after(2))
    predict_list(detector, [Experiment("a", images=movie)], folder, **stop_after(2))
    kept = [out.with_name("c.csv.partial"), folder / "1.partial"]
    before = [one.read_bytes() for one in kept]
    # it is said before a frame is looked at
    monkeypatch.setattr(movie_module, "with_first_look", None)
    with pytest.raises(CellTrainError, match="2 time points"):
        predict_to_file(detector, movie, out, Options(cell_diameter=9.0))
    with pytest.raises(CellTrainError, match="2 time points"):
        predict_list(detector, [Experiment("a", images=movie)], folder, Options(cell_diameter=9.0))
    assert [one.read_bytes() for one in kept] == before
    monkeypatch.undo()
    told = []
    predict_to_file(detector, movie, out, tell=told.append)  # the same comes to the same
    assert "had got to 2 time points" in next(one.message for one in told if one.code == "going-on")
    predict_to_file(detector, movie, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_changed_image_file_is_computed_again(detector, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for t in range(4):
        pixels = noise.integers(0, 4000, (8, 40, 40)).astype(np.uint16)
        tifffile.imwrite(folder / f"t{t}.tif", pixels)
    options = Options(voxel_size_um=(2.0, 1.0, 1.0))
    out = tmp_path / "c.csv"
    source = open_images(folder)
    assert not predict_to_file(detector, source, out, options, **stop_after(3)).finished
    tifffile.imwrite(folder / "t0.tif", np.zeros((8, 40, 40), np.uint16) + 7)
    os.utime(folder / "t0.tif", (1, 1))
    resumed = Options(voxel_size_um=(2.0, 1.0, 1.0), resume=True)
    predict_to_file(detector, open_images(folder), out, resumed)
    predict_to_file(detector, open_images(folder), tmp_path / "anew.csv", options)
    assert out.read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_truncated_file_in_the_middle(detector, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for t in range(4):
        pixels = np.random.default_rng(t).integers(0, 4000, (8, 40, 40)).astype(np.uint16)
        tifffile.imwrite(folder / f"t{t}.tif", pixels, compression="zlib")
    broken = folder / "t2.tif"
    broken.write_bytes(broken.read_bytes()[:9000])
    options = Options(voxel_size_um=(2.0, 1.0, 1.0), on_damaged="skip")
    with pytest.raises(CellTrainError, match=r"t2\.tif"):
        predict_to_file(
            detector, open_images(folder), tmp_path / "c.csv", replace(options, on_damaged="stop")
        )
    summary = predict_to_file(detector, open_images(folder), tmp_path / "c.csv", options)
    assert [(t, "t2.tif" in why) for _, t, why in summary.damaged] == [(2, True)]
    assert [n is None for _, _, n in summary.counts] == [False, False, True, False]
    assert counts_table(summary.counts).splitlines()[3].endswith(",2,")
    assert "2," not in {line[:2] for line in (tmp_path / "c.csv").read_text().splitlines()}


@pytest.mark.skipif(os.name == "nt", reason="there a link needs permission")
def test_a_link_is_replaced_and_what_it_leads_to_is_kept_and_that_is_said(
    detector, movie, tmp_path
):
    other, out = tmp_path / "other.csv", tmp_path / "c.csv"
    other.write_text("my cells")
    out.symlink_to("other.csv")
    told = []
    predict_to_file(detector, movie, out, tell=told.append)
    assert [str(other) in one.message for one in told if one.code == "link"] == [True]
    assert other.read_text() == "my cells"
    assert not out.is_symlink()
    predict_to_file(detector, movie, out, tell=told.append)
    assert len([one for one in told if one.code == "link"]) == 1


@pytest.fixture
def of_any_bytes(tmp_path):
    """A folder of images whose name, like that of its files, is not UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/lat\xe4"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    pixels = np.random.default_rng(0).integers(0, 4000, (8, 40, 40)).astype(np.uint16)
    for t in range(3):
        tifffile.imwrite(Path(os.fsdecode(os.fsencode(folder) + b"/\xe4%d.tif" % t)), pixels)
    planes = Path(os.fsdecode(os.fsencode(folder) + b"/planes"))
    planes.mkdir()
    for t in range(3):
        for z, plane in enumerate(pixels):
            tifffile.imwrite(planes / f"t{t}_z{z}.tif", plane)
    zarr.save_array(str(folder / "m.zarr"), np.stack([pixels] * 3))
    return folder


@pytest.mark.parametrize("what", [".", "planes", "m.zarr"])
def test_names_that_are_no_text_are_predicted_in_two_sittings(
    detector, of_any_bytes, tmp_path, what
):
    out, options = tmp_path / "c.csv", Options(voxel_size_um=(2.0, 1.0, 1.0))

    def images():
        return open_images(of_any_bytes / what)

    assert not predict_to_file(detector, images(), out, options, **stop_after(1)).finished
    predict_to_file(detector, images(), out, replace(options, resume=True))
    predict_to_file(detector, images(), tmp_path / "anew.csv", options)
    assert out.read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_a_name_that_is_no_text_is_refused_at_once_where_it_would_be_written(
    detector, of_any_bytes, tmp_path
):
    def never(*_, **__):
        raise AssertionError("too late")

    images = open_images(of_any_bytes)
    for out in (tmp_path / "c.aut", tmp_path / "c.autlist"):
        with pytest.raises(CellTrainError, match=r"no text in any language\. Rename"):
            predict_to_file(detector, images, out, runner=never)
    with pytest.raises(CellTrainError, match=r"no text in any language\. Rename"):
        predict_list(detector, [Experiment("a", images=images)], tmp_path / "list", runner=never)


def test_list_becomes_an_aut_each_and_a_list(detector, make_movie, tmp_path):
    experiments = [
        Experiment(name, images=make_movie(seed=seed), image_offsets={4: (0.0, 10.0, 20.0)})
        for seed, name in enumerate(("left", "right/2"))
    ]
    folder = tmp_path / "found"
    summary = predict_list(detector, experiments, folder, Options(threshold=0.5))
    assert summary.time_points == 8
    read = read_experiments(folder / "found.autlist")
    assert [one.name for one in read] == ["left", "right/2"]
    assert sum(len(one.annotations) for one in read) == summary.detections
    assert not list(folder.glob("*.partial*"))
    for one, experiment in zip(read, experiments, strict=True):
        t4 = one.annotations.positions[one.annotations.t == 4]
        alone = detector.detect([experiment.images.read_frame(4)], (2.0, 1.0, 1.0), floor=0.5)
        np.testing.assert_allclose(t4, alone.positions, atol=1e-6)


def test_list_is_resumed_where_it_stopped(detector, make_movie, tmp_path):
    experiments = [Experiment(str(i), images=make_movie(seed=i)) for i in range(3)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    predict_list(detector, experiments, whole)
    seen = []
    done = predict_list(
        detector,
        experiments,
        parts,
        progress=lambda *a: seen.append(a[1].t),
        stopping=lambda: len(seen) > 5,
    )
    assert not done.finished
    again = []

    def watched(detector, source, request, **more):
        again.extend(request.time_points)
        return predict_request(detector, source, request, **more)

    predict_list(detector, experiments, parts, Options(resume=True), runner=watched)
    assert len(again) <= 12 - 5
    for i in (1, 2, 3):
        name = f"{i}. {i - 1}.aut"
        assert (parts / "parts files" / name).read_bytes() == (
            whole / "whole files" / name
        ).read_bytes()


@pytest.mark.parametrize("place", ["x.foo", "file/x.csv", "."])
def test_places_that_can_not_be_written_are_refused_at_once(detector, movie, tmp_path, place):
    (tmp_path / "file").write_text("in the way")

    def never(*_, **__):
        raise AssertionError("it began")

    with pytest.raises(CellTrainError):
        predict_to_file(detector, movie, tmp_path / place, runner=never)


def test_missing_time_points_are_a_sentence(detector, movie, tmp_path):
    with pytest.raises(CellTrainError, match="it has 3 to 6"):
        predict_to_file(detector, movie, tmp_path / "c.csv", Options(time_range=(50, 60)))
    assert list(tmp_path.iterdir()) == []


def kill_and_resume(detector, folder, times):
    """Kill the command at random moments; return how often it died, and how far it was."""
    detector.save(folder / "detector")
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 4, 24, 24)).astype(np.uint16)
    tifffile.imwrite(
        folder / "movie.tif",
        pixels,
        compression="zlib",
        photometric="minisblack",
        metadata={"axes": "TZYX"},
    )
    command = ["predict", str(folder / "detector"), str(folder / "movie.tif"), "--out"]
    more = ["--voxel-size", "2,1,1", "--threads", "1", "--floor", "0.1"]
    assert main([*command, str(folder / "whole.csv"), *more]) == 0
    out = folder / "parts.csv"
    context = multiprocessing.get_context("forkserver")  # starts in milliseconds, torch loaded
    context.set_forkserver_preload(["napari_celltrain.prediction.movie"])
    chance = random.Random(1)
    kills, lengths, done = 0, [0], 0
    for _ in range(40 * times):
        if kills == times:
            break
        child = context.Process(target=main, args=([*command, str(out), "--resume", *more],))
        child.start()
        partial = folder / "parts.csv.partial"
        limit = time.monotonic() + 60
        while child.is_alive() and time.monotonic() < limit:
            if partial.exists() and partial.stat().st_size > lengths[-1]:
                break
            time.sleep(0.001)
        time.sleep(chance.random() * 0.03)
        if child.is_alive():
            child.kill()
            kills += 1
        child.join(60)
        with contextlib.suppress(FileNotFoundError):
            lengths.append(partial.stat().st_size)
            before, done = done, partial.read_bytes().count(b"\n")
            assert done >= before, "time points that were done are gone"
        if out.exists():  # it came to its end: from the start again
            done = 0
            assert out.read_bytes() == (folder / "whole.csv").read_bytes()
            out.unlink()
            lengths = [0]
    assert main([*command, str(out), "--resume", *more]) == 0
    assert out.read_bytes() == (folder / "whole.csv").read_bytes()
    assert not list(folder.glob("*.partial*"))
    return kills


@pytest.mark.skipif(os.name == "nt", reason="needs fork and kill")
@pytest.mark.parametrize("times", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_it_ends_with_the_same_file(make_detector, tmp_path, times):
    assert kill_and_resume(make_detector(planes=4), tmp_path, times) == times


def test_a_movie_is_told_apart_by_its_name_or_by_what_it_is_like(
    make_detector, make_blobs, tmp_path
):
    detector = make_detector()
    movie = make_blobs(times=1, shape=(8, 40, 40), voxel_size_um=(2.0, 1.0, 1.0), name="bright")
    found = detector.detect([movie.images.read_frame(0)], (2.0, 1.0, 1.0))
    low, usual, high = map(float, np.quantile(found.scores, [0.2, 0.5, 0.8]))
    detector.info = detector.info.model_copy(
        update={"threshold": usual, "thresholds": {"bright": low, "dark": high}}
    )

    def written(name, **how):
        one = movie.with_(name=name)
        return predict_to_file(detector, one, tmp_path / "out.csv", Options(**how)).detections

    kinds = {name: written(name) for name in ("bright", "dark", "other")}
    assert kinds["bright"] > kinds["other"] > kinds["dark"]
    assert written("other", like="dark") == kinds["dark"]
    assert written("bright", threshold=usual) == kinds["other"]
    with pytest.raises(CellTrainError, match=r"no threshold of its own for 'x'.*'bright', 'dark'"):
        written("other", like="x")


def test_how_wide_cells_look_is_told_once(make_detector, make_blobs, tmp_path):
    detector = make_detector()
    design = detector.design.model_copy(update={"sizes": (8.0, 16.0)})
    detector.info = detector.info.model_copy(update={"design": design})
    movie = make_blobs(times=3, shape=(8, 40, 40), voxel_size_um=(2.0, 1.0, 1.0))
    told = []
    predict_to_file(detector, movie, tmp_path / "out.csv", tell=told.append)
    assert [finding.code for finding in told].count("cell-diameter") == 1
    told.clear()
    options = Options(cell_diameter=12.0)
    predict_to_file(detector, movie, tmp_path / "out.csv", options, tell=told.append)
    assert "cell-diameter" not in [finding.code for finding in told]


def test_experiments_of_one_name_are_told_apart_in_the_counts(detector, make_movie, tmp_path):
    movies = [Experiment("same", images=make_movie(seed=seed)) for seed in range(2)]
    summary = predict_list(detector, movies, tmp_path / "found", Options(threshold=0.5))
    assert {name for name, _, _ in summary.counts} == {"same (1)", "same (2)"}
    assert len(summary.counts) == len({(name, t) for name, t, _ in summary.counts})
    assert [one.experiment for one in summary.applied] == ["same (1)", "same (2)"]


def test_where_a_list_states_no_channel_it_is_that_of_the_training(detector, tmp_path):
    info = detector.info.model_copy(update={"channels": (1,)})
    of_second = Detector(info, detector.weights, device="cpu", threads=1, precision="float32")
    pixels = np.random.default_rng(0).uniform(0, 1000, (2, 2, 8, 40, 40)).astype(np.uint16)
    movie = ArraySource(pixels, "tczyx", voxel_size_um=(2.0, 1.0, 1.0))
    unstated = Experiment("unstated", images=movie)
    stated = Experiment("stated", images=movie, channels=(0,), channels_stated=True)
    predict_list(of_second, [unstated, stated], tmp_path / "found", Options(threshold=0.5))
    second, first = (one.annotations for one in read_experiments(tmp_path / "found/found.autlist"))
    for found, channel in ((second, 1), (first, 0)):
        alone = detector.detect([pixels[0, channel]], (2.0, 1.0, 1.0), floor=0.5)
        np.testing.assert_allclose(found.positions[found.t == 0], alone.positions, atol=1e-6)


def test_what_was_looked_at_without_a_neighbour_is_done_again_when_that_is_mended(
    make_detector, tmp_path
):
    detector, folder = make_detector(time_window=(-1, 1)), tmp_path / "images"
    folder.mkdir()
    for t in range(6):
        pixels = np.random.default_rng(t).integers(0, 4000, (8, 40, 40)).astype(np.uint16)
        tifffile.imwrite(folder / f"t{t}.tif", pixels)
    options = Options(voxel_size_um=(2.0, 1.0, 1.0), gamma=1.0, on_damaged="skip")
    out, done = tmp_path / "c.csv", []
    whole = (folder / "t2.tif").read_bytes()
    date = (folder / "t2.tif").stat().st_mtime_ns
    # as when a disk of the network is not there for a while: the same file, its date too
    (folder / "t2.tif").write_bytes(bytes(len(whole)))
    os.utime(folder / "t2.tif", ns=(date, date))
    stopped = predict_to_file(
        detector,
        open_images(folder),
        out,
        options,
        progress=lambda *told: done.append(told),
        stopping=lambda: len(done) > 3,
    )
    assert not stopped.finished
    (folder / "t2.tif").write_bytes(whole)
    os.utime(folder / "t2.tif", ns=(date, date))
    predict_to_file(detector, open_images(folder), out, replace(options, resume=True))
    predict_to_file(detector, open_images(folder), tmp_path / "anew.csv", options)
    assert out.read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_a_place_that_cannot_be_had_is_told_before_anything_is_looked_at(
    detector, movie, tmp_path, monkeypatch
):
    """A first look at a large movie takes a minute."""
    looked = []
    monkeypatch.setattr(movie_module, "with_first_look", lambda *all: looked.append(all))
    place = tmp_path / "c.csv"
    with Reserved(place.with_name("c.csv.partial")):
        with pytest.raises(CellTrainError, match="Another process"):
            predict_to_file(detector, movie, place)
        assert looked == []
    (tmp_path / "list").mkdir()
    with Reserved(tmp_path / "list" / "2.partial"):
        with pytest.raises(CellTrainError, match="Another process"):
            predict_list(detector, [movie, movie], tmp_path / "list")
        assert looked == []
    with pytest.raises(CellTrainError, match="can't be written"):
        predict_to_file(detector, movie, Path("/proc/c.csv"))
    assert looked == []
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["list"]


def test_going_on_with_fewer_time_points_keeps_the_others(detector, movie, tmp_path):
    whole, out, told = tmp_path / "whole.csv", tmp_path / "c.csv", []
    predict_to_file(detector, movie, whole)
    assert not predict_to_file(detector, movie, out, **stop_after(2)).finished
    few = Options(time_range=(3, 3), resume=True)
    predict_to_file(detector, movie, out, few, tell=told.append)
    assert {line[0] for line in out.read_text().splitlines()[1:]} == {"3"}
    assert [one.code for one in told if one.code == "kept"] == ["kept"]
    again = []

    def watched(detector, source, request, **more):
        again.extend(request.time_points)
        return predict_request(detector, source, request, **more)

    predict_to_file(detector, movie, out, Options(resume=True), runner=watched)
    assert out.read_bytes() == whole.read_bytes()
    assert again == [5, 6]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c.csv", "whole.csv"]


def test_pieces_of_a_zarr_movie_that_are_not_there_are_told_and_done_again(detector, tmp_path):
    """As of a copy that was not finished; the library takes them for zeros."""
    folder, out, told = tmp_path / "movie.zarr", tmp_path / "c.csv", []
    pixels = np.random.default_rng(0).integers(1, 4000, (4, 8, 40, 40)).astype(np.uint16)
    array = zarr.create_array(folder, shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 4, 4, 4))
    array[:] = pixels
    pieces = [one for one in sorted((folder / "c" / "1").rglob("*")) if one.is_file()][::3]
    kept = {one: one.read_bytes() for one in pieces}
    for one in pieces:
        one.unlink()
    options = Options(voxel_size_um=(2.0, 1.0, 1.0))
    source = open_images(folder)
    stopped = predict_to_file(detector, source, out, options, tell=told.append, **stop_after(3))
    assert not stopped.finished
    (finding,) = (one for one in told if one.code == "not-stored")
    assert "34% of the pieces that time point 1" in finding.message
    for one, content in kept.items():
        one.write_bytes(content)
    predict_to_file(detector, open_images(folder), out, replace(options, resume=True))
    predict_to_file(detector, open_images(folder), tmp_path / "anew.csv", options)
    assert out.read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_stopped_while_files_are_looked_at_it_ends(detector, movie, tmp_path, monkeypatch):
    asked = []

    def stopping():
        asked.append(1)
        return len(asked) > 2

    def slow(self, t, channel):
        assert len(asked) < 5, "it goes on looking"
        return str(t)

    monkeypatch.setattr(type(movie), "stamp", slow)
    monkeypatch.setattr("napari_celltrain.prediction.partial.SECONDS_BETWEEN_QUESTIONS", 0)
    gamma = Options(gamma=1.0)
    assert not predict_to_file(
        detector, movie, tmp_path / "c.csv", gamma, stopping=stopping
    ).finished
