"""Links in a circle, folders for files, names of every kind: a sentence, never a traceback."""

from __future__ import annotations

import os
import runpy
import shutil
import socket
import sys
import traceback
from pathlib import Path

import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import write_experiment

READERS = runpy.run_path(str(Path(__file__).with_name("every_reader.py")))
SUFFIXES = READERS["SUFFIXES"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files have other rules there")


def circle(folder, suffix):
    place = folder / f"circle{suffix}"
    place.symlink_to(place)
    return place


def to_nowhere(folder, suffix):
    place = folder / f"nowhere{suffix}"
    place.symlink_to(folder / "missing")
    return place


def a_folder(folder, suffix):
    place = folder / f"folder{suffix}"
    place.mkdir()
    return place


def a_folder_in_a_circle(folder, suffix):
    place = folder / f"deep{suffix}"
    place.mkdir()
    (place / "again").symlink_to(place)
    for name in READERS["NAMES"]:
        (place / name).symlink_to(place / name)
    return place


def below_a_file(folder, suffix):
    (folder / "file").write_text("x")
    return folder / "file" / f"below{suffix}"


def of_255_bytes(folder, suffix):
    place = folder / ("x" * (255 - len(suffix)) + suffix)
    place.write_bytes(b"\x00")
    return place


def too_long(folder, suffix):
    return folder / ("x" * 300 + suffix)


def far_too_long(folder, suffix):
    return folder / "/".join(["x" * 200] * 30 + [suffix or "x"])


def with_a_zero(folder, suffix):
    return folder / f"a\0b{suffix}"


def that_is_no_text(folder, suffix):
    place = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9" + suffix.encode()))
    place.write_bytes(b"1,2,3\n")
    return place


def with_braces(folder, suffix):
    return folder / f"{{}}{{time:x}}{{0.a}}{suffix}"


def a_socket(folder, suffix):
    place = folder / f"s{suffix}"
    with socket.socket(socket.AF_UNIX) as one:
        before = os.getcwd()
        os.chdir(folder)  # its path may have 107 letters at most
        one.bind(place.name)
        os.chdir(before)
    return place


def empty(folder, suffix):
    place = folder / f"empty{suffix}"
    place.touch()
    return place


def unreadable(folder, suffix):
    place = folder / f"secret{suffix}"
    place.write_text("x")
    place.chmod(0)
    return place


def an_unreadable_folder(folder, suffix):
    place = folder / f"secrets{suffix}"
    place.mkdir()
    place.chmod(0)
    return place


def in_an_unreadable_folder(folder, suffix):
    place = folder / "closed"
    place.mkdir()
    (place / f"x{suffix}").write_text("x")
    place.chmod(0)
    return place / f"x{suffix}"


PLACES = [
    circle, to_nowhere, a_folder, a_folder_in_a_circle, below_a_file, of_255_bytes, too_long,
    far_too_long, with_a_zero, that_is_no_text, with_braces, a_socket, empty, unreadable,
    an_unreadable_folder, in_an_unreadable_folder,
]  # fmt: skip


NOW_AND_THEN = [
    to_nowhere, a_folder, a_folder_in_a_circle, far_too_long, with_braces, a_socket, empty,
]  # fmt: skip
"""For commands, which take their time."""


def by_name(make):
    return make.__name__


@pytest.fixture
def place(request, tmp_path):
    """Return a function that makes such a place anew, with a suffix."""
    make = request.param
    if "unreadable" in make.__name__:
        request.getfixturevalue("bound_by_permissions")
    if make is that_is_no_text and sys.platform != "linux":
        pytest.skip("names of files are text there")
    made = tmp_path / "made"

    def anew(suffix):
        for one in [made, *made.glob("*")]:
            if one.is_dir() and not one.is_symlink():
                one.chmod(0o700)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        return make(made, suffix)

    yield anew
    for one in made.glob("*"):
        if one.is_dir() and not one.is_symlink():
            one.chmod(0o700)


def where_from(error):
    """Return an error with the line of this program from which it came."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "napari_celltrain" in frame.filename]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
    return f"{error!r:.120} at {place}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", PLACES, ids=by_name, indirect=True)
def test_every_reader_reads_it_or_says_why_not(place):
    odd = []
    for suffix in SUFFIXES:
        where = place(suffix)
        for name, read in READERS["readers"]().items():
            try:
                read(where)
            except CellTrainError as error:
                if "\n" in str(error) or len(str(error)) > 7500:
                    odd.append((suffix, name, str(error)))
            except BaseException as error:
                odd.append((suffix, name, where_from(error)))
    assert not odd, "\n".join(map(str, odd))


@pytest.fixture(scope="module")
def good(make_blobs, small_run, tmp_path_factory):
    """Return a folder with a movie, its data set, and a run."""
    folder = tmp_path_factory.mktemp("good")
    experiment = make_blobs(times=2, shape=(1, 48, 48), cells=6)
    for t in range(2):
        tifffile.imwrite(folder / f"t{t}.tif", experiment.images.read_frame(t)[0])
    write_experiment(folder / "points.csv", experiment)
    (folder / "dataset.toml").write_text(
        '[[experiment]]\nname = "e"\nimages = "t{time}.tif"\nannotations = "points.csv"\n'
        "voxel_size_um = [1.0, 1.0, 1.0]\n"
    )
    shutil.copytree(small_run, folder / "run", ignore=shutil.ignore_patterns("prepared"))
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(make, marks=[pytest.mark.slow] if make in NOW_AND_THEN else [])
        for make in PLACES
    ],
    ids=by_name,
    indirect=True,
)
def test_every_command_takes_it_or_says_why_not(place, good, tmp_path):
    if "\0" in str(place("")):
        pytest.skip("no command line can hold it")
    odd = []
    for command in READERS["COMMANDS"]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for word in command.split():
            if word.startswith("PLACE"):
                where = place(word.removeprefix("PLACE"))
        words = [
            str(where) if word.startswith("PLACE")
            else word.replace("OUT", str(out)).replace("GOOD", str(good))
            for word in command.split()
        ]  # fmt: skip
        try:
            status, told = READERS["printed"](*words)
        except BaseException as error:
            odd.append((command, where_from(error)))
            continue
        if "Traceback" in told or (status and "celltrain" not in told):
            odd.append((command, status, told[-500:]))
    assert not odd, "\n".join(map(str, odd))
