"""Every command and code block in the documentation does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_celltrain.cli import main, parser
from napari_celltrain.dataset import load_dataset
from napari_celltrain.formats.registry import write_experiment
from napari_celltrain.simulation import write_sample

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
OWN = re.compile(
    r"https://(github\.com/napari-celltrain/napari-celltrain/blob|"
    r"raw\.githubusercontent\.com/napari-celltrain/napari-celltrain)/main/"
)
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages speak of: a sample, a run, and files of other programs."""
    folder = tmp_path_factory.mktemp("docs")
    demo = write_sample(folder / "demo", kind="plane", time_points=8, size=(1, 96, 96), n_cells=14)
    (experiment,) = load_dataset(demo).experiments
    movie = np.stack([experiment.images.read_frame(t, 0) for t in range(8)])
    for name in ("movie.tif", "movie_1.tif", "movie_2.tif"):
        tifffile.imwrite(
            folder / name,
            movie[:, 0],
            imagej=True,
            resolution=(1.0, 1.0),
            metadata={"axes": "TYX", "unit": "um"},
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_command(["train", "demo/dataset.toml", "--out", "run", "--minutes", "1"], set())
    for name in ("Dataset.autlist", "tracks.xml"):
        write_experiment(folder / name, experiment)
    shutil.copytree(folder / "run" / "best", folder / "colleagues_detector")
    for name in ("mine.toml", "dataset.toml"):
        text = demo.read_text("utf-8").replace('"images/', '"demo/images/')
        (folder / name).write_text(re.sub(r'"(\w+\.aut)"', r'"demo/\1"', text), "utf-8")
    return folder


def run_command(arguments, made):
    """Run a command, a training as a short one on a processor; `made` are this page's runs."""
    if arguments[0] == "train":
        out = arguments[arguments.index("--out") + 1]
        if not ("--resume" in arguments and out in made):
            shutil.rmtree(out, ignore_errors=True)
        made.add(out)
        arguments = shortened(arguments)
    if arguments[0] == "sample":  # a smaller one is there
        assert parser.make_parser().parse_args(arguments).run
        return
    if "--bioimageio" in arguments:
        pytest.importorskip("bioimageio.spec", reason="the extra bioimageio is not installed")
    if arguments[0] == "plot":
        pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    assert main(arguments) == 0, arguments


def shortened(arguments):
    """The same training in a moment, on a processor."""
    for option in ("--minutes", "--device"):
        if option in arguments:
            at = arguments.index(option)
            arguments = [*arguments[:at], *arguments[at + 2 :]]
    return [
        *arguments, "--steps", "20", "--threads", "1", "--device", "cpu",
        "--set", "design.width=8", "--set", "optimiser.batch_size=2",
    ]  # fmt: skip


def run_line(line, made):
    """Run one line of a shell; what no test can run is no line for the documentation."""
    program, *arguments = shlex.split(os.path.expandvars(line), comments=True)
    if program == "celltrain":
        run_command(arguments, made)
    elif program == "pip":
        assert arguments[0] == "install"
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments[1:])):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    elif program == "bash":
        assert (ROOT / arguments[0]).is_file()  # see test_scripts.py
    else:
        assert program == "torchrun"
        at = arguments.index("train")
        options = [re.sub("nproc-per-node=.*", "nproc-per-node=2", one) for one in arguments[:at]]
        shutil.rmtree("run")
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", *options, *shortened(arguments[at:])],
            check=False, timeout=200, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def run_python(block):
    """Run a program of a page, its training as a short one."""
    quick = 'changed(["budget.steps=5", "design.width=8", "optimiser.batch_size=2"])'
    assert "budget.minutes=1" in block or "train(" not in block
    shutil.rmtree("run", ignore_errors=True)
    block = block.replace('changed(["budget.minutes=1"])', quick)
    exec(compile(block, "documentation", "exec"), {})


def open_dataset_file(block, place):
    """Make the files that a ``dataset.toml`` names, and open it."""
    if "[[experiment]]" not in block:
        tomllib.loads(block)
        return
    (demo,) = load_dataset(place / "demo" / "dataset.toml").experiments
    frames = [demo.images.read_frame(t, 0)[0] for t in range(8)]
    for one in tomllib.loads(block)["experiment"]:
        named = [one[key] for key in ("images", "annotations") if key in one]
        for name in named:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
        if "{time" in one["images"]:
            for t, frame in enumerate(frames):
                tifffile.imwrite(one["images"].format(time=t), frame)
        else:
            movie = np.stack([frames] * one.get("channel", 1), axis=1)
            tifffile.imwrite(one["images"], movie, imagej=True, metadata={"axes": "TCYX"})
        if "annotations" in one:
            write_experiment(Path(one["annotations"]), demo)
    Path("page.toml").write_text(block, "utf-8")
    dataset = load_dataset(Path("page.toml"), require_annotations=False)
    for member in dataset.members:
        assert (member.annotations is None) == (len(member.experiment.annotations.t) == 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_works_as_it_is_read(page, place, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(place, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    made: set[str] = set()
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        match language:
            case "sh":
                for line in block.splitlines():
                    if line.strip():
                        run_line(line, made)
            case "python":
                run_python(block)
            case "toml":
                open_dataset_file(block, place)
            case "":
                assert "celltrain " not in block, "a command without a language is not run"
            case other:
                assert other == "mermaid", f"{other} is not run"


def test_inline_commands_exist():
    for page in PAGES:
        for name in re.findall(r"`celltrain (\w[\w-]*)", page.read_text("utf-8")):
            assert name in parser.COMMANDS, f"{page.name} speaks of 'celltrain {name}'"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        own = OWN.match(target)
        if own:
            assert (ROOT / target[own.end() :]).exists(), f"{page.name} links to {target}"
        elif not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_links_into_a_page_name_one_of_its_headings():
    for page in PAGES:
        links = re.findall(r"\]\(([\w./-]*\.md)?#([^)]+)\)", page.read_text("utf-8"))
        for target, place in links:
            text = (page.parent / target if target else page).read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", text, re.M)
            words = [re.sub(r"[^\w -]", "", heading).strip().lower() for heading in headings]
            known = {one.replace(" ", "-") for one in words}
            assert place in known, f"{page.name} links to #{place} of {target or 'itself'}"


COMPLAINTS = (
    "3D", "memory", "finds nothing", "NaN", "graphics card", "progress", "stop", "exported file",
    "columns", "micrometres", "freezes", "another threshold", "annotate", "points is slow",
    "beside the image", "cluster", "close napari",
)  # fmt: skip


def test_what_people_complain_of_with_other_programs_has_an_answer():
    text = (ROOT / "docs" / "questions.md").read_text("utf-8")
    asked = " ".join(re.findall(r"^\*\*(.+?)\*\*", text, re.M))
    missing = [one for one in COMPLAINTS if one not in asked]
    assert not missing


def test_the_readme_works_where_nothing_is_beside_it():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith(("https://", "#")), f"on the hub, {target} leads nowhere"


def test_every_page_is_on_the_site():
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:", lambda *_: None)
    nav = str(yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)["nav"])
    for page in (ROOT / "docs").glob("*.md"):
        assert f"'{page.name}'" in nav


def test_the_version_is_the_same_everywhere():
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_dependency_has_its_reason():
    design = (ROOT / "docs" / "design.md").read_text("utf-8").partition("## Dependencies")[2]
    for requirement in PROJECT["dependencies"]:
        name = re.split(r"[\[<>=!~; ]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", design), requirement
    for extra in PROJECT["optional-dependencies"]:
        assert f"`{extra}`" in design, extra


def test_an_array_job_writes_each_movie_into_a_file_of_its_own():
    """Where a command depends on the number of the task, its results have to as well."""
    number = "${SLURM_ARRAY_TASK_ID}"
    commands = [
        line.strip()
        for page in PAGES
        for language, block in BLOCK.findall(page.read_text("utf-8"))
        for line in block.splitlines()
        if language == "sh" and number in line
    ]
    assert commands
    for command in commands:
        words = shlex.split(command)
        assert number in words[words.index("--out") + 1], command


def test_no_page_replaces_what_it_has_exported():
    """The licence and the author of the file would be lost."""
    for page in PAGES:
        lines = [line for _, block in BLOCK.findall(page.read_text("utf-8")) for line in
                 block.splitlines() if line.strip().startswith("celltrain export ")]  # fmt: skip
        words = [shlex.split(line) for line in lines]
        written = [one[one.index("--out") + 1] for one in words if "--out" in one]
        assert len(written) == len(set(written)), page.name
