"""What is installed with this package: names, versions and licences, as the packages tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "napari-celltrain"
LONGEST = 60
"""Characters of a licence; some packages have the whole text in its place."""
_REQUIREMENT = re.compile(r"^([\w.-]+)\s*(?:\[([^\]]*)\])?")
_GPL = re.compile(r"\bA?GPL|(?<!Lesser )General Public")
_LGPL = re.compile(r"LGPL|Lesser General Public")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Package:
    """One installed package.

    Parameters
    ----------
    name, version
        As it tells them.
    licence
        An SPDX expression where it has one, else its own words; empty when it says nothing.
    """

    name: str
    version: str
    licence: str

    @property
    def is_under_gpl(self) -> bool:
        """Tell whether all of it, or a part, is under the GPL or AGPL, with no other choice."""
        return " OR " not in self.licence and _GPL.search(self.licence) is not None

    @property
    def is_under_lgpl(self) -> bool:
        """Tell whether all of it, or a part, is under the LGPL, with no other choice."""
        return " OR " not in self.licence and _LGPL.search(self.licence) is not None


def direct_requirements(extras: Iterable[str] = ()) -> list[str]:
    """Return the names of what this package asks for, installed or not, in its own order."""
    return [name for name, _ in _requirements(NAME, frozenset(extras))]


def installed_packages(*, optional: bool = True) -> list[Package]:
    """Return what is installed of all that this package needs, and what that needs in turn.

    Parameters
    ----------
    optional
        Count what belongs to an extra of this package too, where it is installed.
    """
    extras = metadata.metadata(NAME).get_all("Provides-Extra") or [] if optional else []
    waiting = [(NAME, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, Package] = {}
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            about = metadata.metadata(one[0])
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed, or for another system
        found[_normalised(one[0])] = Package(about["Name"], about["Version"], _licence(about))
        waiting += _requirements(*one)
    return sorted(found.values(), key=lambda package: package.name.lower())


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for requirement in metadata.requires(name) or []:
        wanted, _, marker = requirement.partition(";")
        if (of_extra := _EXTRA.search(marker)) and of_extra[1] not in extras:
            continue
        match = _REQUIREMENT.match(wanted.strip())
        if match is not None:
            parts = (match[2] or "").split(",")
            yield match[1], frozenset(part.strip() for part in parts if part.strip())


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(about: metadata.PackageMetadata) -> str:
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = about.get_all("Classifier") or []
    told = [one.split(" :: ")[-1] for one in classifiers if one.startswith("License ::")]
    told = [one for one in told if one != "OSI Approved"]
    words = about["License"].strip() if "License" in about else ""
    words = "" if words.upper() == "UNKNOWN" else words.partition("\n")[0][:LONGEST]
    # mostly both say the same; what is stricter must not be passed over
    if words and (not told or _GPL.search(words) or _LGPL.search(words)):
        told.append(words)
    return "; ".join(dict.fromkeys(told))
