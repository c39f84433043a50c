"""Every command and code block in the documentation does what it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from napari_celltrain.cli import main, parser
from napari_celltrain.dataset.dataset_file import _File

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
OWN = re.compile(
    r"https://(github\.com/napari-celltrain/napari-celltrain/blob|"
    r"raw\.githubusercontent\.com/napari-celltrain/napari-celltrain)/main/"
)
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)


def blocks(language, *, sketches=True):
    """The code blocks in a language; the interfaces in the design are sketches, not programs."""
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (kind, block) in enumerate(BLOCK.findall(page.read_text("utf-8")))
        if kind == language and (sketches or page.name != "design.md")
    ]


def commands(text):
    """The celltrain commands of a block, without their comments."""
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("celltrain ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder where the documentation's commands have been run before: a sample and a run."""
    folder = tmp_path_factory.mktemp("docs")
    from napari_celltrain.simulation import write_sample

    write_sample(folder / "demo", kind="plane", time_points=8, size=(1, 96, 96), n_cells=14)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_command(["train", "demo/dataset.toml", "--out", "run", "--minutes", "1"])
    return folder


def run_command(arguments):
    """Run a command, a training as a short one."""
    if arguments[0] == "train" and "--minutes" in arguments:
        at = arguments.index("--minutes")
        arguments = [*arguments[:at], "--steps", "20", *arguments[at + 2 :]]
        arguments += [
            "--threads",
            "1",
            "--set",
            "design.width=8",
            "--set",
            "optimiser.batch_size=2",
        ]
    assert main(arguments) == 0


@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_run(block, place, tmp_path, monkeypatch):
    import shutil

    for name in ("demo", "run"):
        shutil.copytree(place / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for arguments in commands(block):
        if arguments[0] == "sample":  # a smaller one is there
            parser.make_parser().parse_args(arguments)
            continue
        if arguments[0] == "train" and "--out" in arguments:
            shutil.rmtree(tmp_path / arguments[arguments.index("--out") + 1], ignore_errors=True)
            if "--from" in arguments and not (tmp_path / "run").exists():
                shutil.copytree(place / "run", tmp_path / "run")
        run_command(arguments)


@pytest.mark.parametrize("block", blocks("sh"))
def test_scripts_exist(block):
    for name in re.findall(r"bash (\S+)", block):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("block", blocks("text"))
def test_commands_that_need_other_data_are_spelt_right(block):
    for arguments in commands(block):
        assert parser.make_parser().parse_args(arguments).run


@pytest.mark.parametrize("block", blocks("toml"))
def test_data_set_files_are_valid(block):
    values = tomllib.loads(block)
    if "experiment" in values:
        assert _File.model_validate(values).experiment


@pytest.mark.parametrize("block", blocks("python", sketches=False))
def test_python_runs(block, place, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(place / "demo", tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    quick = 'changed(["budget.steps=5", "design.width=8", "optimiser.batch_size=2"])'
    assert "budget.minutes=1" in block or "train(" not in block
    exec(
        compile(block.replace('changed(["budget.minutes=1"])', quick), "documentation", "exec"), {}
    )


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"version: {project['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    design = (ROOT / "docs" / "design.md").read_text("utf-8").partition("## Dependencies")[2]
    for requirement in project["dependencies"]:
        name = re.split(r"[\[<>=!~; ]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", design), requirement
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in design, extra
