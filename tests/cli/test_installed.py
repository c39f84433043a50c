"""What is installed, and on what conditions."""

from __future__ import annotations

import pytest

from napari_celltrain.cli.installed import Package, direct_requirements, installed_packages

ABOUT = {
    "napari_celltrain": [
        "License-Expression: BSD-3-Clause",
        "Provides-Extra: window",
        "Provides-Extra: other",
        "Requires-Dist: zz-array>=1.2",
        "Requires-Dist: zz.screen[qt] ; extra == 'window'",
        "Requires-Dist: zz-not-there ; extra == 'other'",
    ],
    "zz_array": ["License: MIT", "Requires-Dist: zz-array ; extra == 'self'"],
    "zz_screen": [
        "Classifier: License :: OSI Approved",
        "Classifier: License :: OSI Approved :: ISC License (ISCL)",
        "Provides-Extra: qt",
        'Requires-Dist: ZZ_Qt<7,>=6; python_version > "3" and extra == "qt"',
        'Requires-Dist: zz-never ; extra == "tests"',
    ],
    "zz_qt": ["License: UNKNOWN", "License-Expression: GPL-3.0-only"],
    "zz_never": ["License: MIT"],
}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Some packages before all others, among them another one of this name."""
    for name, lines in ABOUT.items():
        folder = tmp_path / f"{name}-1.5.dist-info"
        folder.mkdir()
        head = ["Metadata-Version: 2.4", f"Name: {name.replace('_', '-')}", "Version: 1.5"]
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("environment")
def test_what_is_needed_is_followed_as_far_as_it_is_installed():
    assert installed_packages() == [
        Package("napari-celltrain", "1.5", "BSD-3-Clause"),
        Package("zz-array", "1.5", "MIT"),
        Package("zz-qt", "1.5", "GPL-3.0-only"),
        Package("zz-screen", "1.5", "ISC License (ISCL)"),
    ]
    plain = [one.name for one in installed_packages(optional=False)]
    assert plain == ["napari-celltrain", "zz-array"]


@pytest.mark.usefixtures("environment")
def test_what_is_asked_for_is_told_whether_it_is_there_or_not():
    assert direct_requirements() == ["zz-array"]
    assert direct_requirements(["other"]) == ["zz-array", "zz-not-there"]


@pytest.mark.parametrize(
    ("licence", "strict"),
    [
        ("GPL-3.0-only", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("AGPL-3.0", True),
        ("GNU General Public License (GPL); BSD License", True),
        ("MIT OR GPL-2.0-only", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("BSD-3-Clause", False),
        ("", False),
    ],
)
def test_licences_that_ask_something_of_others_are_told_apart(licence, strict):
    assert Package("x", "1", licence).passes_on_conditions == strict
