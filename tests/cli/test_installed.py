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


@pytest.mark.usefixtures("environment")
def test_a_licence_field_that_is_stricter_than_the_classifiers_is_not_passed_over(tmp_path):
    about = tmp_path / "zz_array-1.5.dist-info" / "METADATA"
    about.write_text(
        "Metadata-Version: 2.1\nName: zz-array\nVersion: 1.5\nLicense: GPLv3\n"
        "Classifier: License :: OSI Approved :: BSD License\n"
    )
    (array,) = (one for one in installed_packages() if one.name == "zz-array")
    assert array.licence == "BSD License; GPLv3"
    assert array.is_under_gpl


@pytest.mark.parametrize(
    ("licence", "gpl", "lgpl"),
    [
        ("GPL-3.0-only", True, False),
        ("AGPL-3.0", True, False),
        ("GPLv2+", True, False),
        ("GNU General Public License (GPL); BSD License", True, False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False, True),
        ("LGPL v3", False, True),
        ("GPL-3.0-only AND LGPL-2.1-only", True, True),
        ("GNU Lesser General Public License; GNU General Public License (GPL)", True, True),
        ("MIT OR GPL-2.0-only", False, False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False, False),
        ("BSD-3-Clause", False, False),
        ("", False, False),
    ],
)
def test_licences_that_ask_something_of_others_are_told_apart(licence, gpl, lgpl):
    package = Package("x", "1", licence)
    assert (package.is_under_gpl, package.is_under_lgpl) == (gpl, lgpl)
