"""File name patterns such as ``img_t{time:03}_c{channel}.tif``: parsing, listing, guessing."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FIELDS = ("time", "channel", "z")
TIFF_SUFFIXES = (".tif", ".tiff")

_LABELS = {  # the word before a number, in any case -> what the number means
    "time": ("t", "tp", "time", "timepoint", "frame", "f", "img_t", "tl"),
    "channel": ("c", "ch", "chan", "channel", "w", "wavelength"),
    "z": ("z", "slice", "plane", "sl"),
    "other": ("s", "xy", "pos", "position", "p", "field", "fov", "well", "series", "tile", "v"),
}
_MEANING = {word: meaning for meaning, words in _LABELS.items() for word in words}


@dataclass(frozen=True, order=True)
class Place:
    """The numbers in a file's name; None for a field that the pattern has not."""

    time: int | None = None
    channel: int | None = None
    z: int | None = None


@dataclass(frozen=True)
class Pattern:
    """A file name pattern, as Python formats: literal text and numbers.

    ``{time}``, ``{channel}`` and ``{z}`` are known, with a width as in ``{time:03}``. It may
    contain folders. Write ``{{`` for a brace.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse what can't be filled in."""
        object.__setattr__(self, "text", self.text.replace("\\", "/"))
        try:
            parts = list(Formatter().parse(self.text))
            names = [name for _, name, _, _ in parts if name is not None]
            unknown = next((name for name in names if name not in FIELDS), None)
            if unknown is not None:
                raise CellTrainError(
                    f"The pattern '{self.text}' has '{{{unknown}}}', but only {{time}}, "
                    "{channel} and {z} are known, with a width like {time:03}."
                )
            for index, (text, name, spec, conversion) in enumerate(parts):
                if index and name is not None and not text:
                    raise ValueError("two numbers touch, so nobody can tell where one ends")
                if conversion or not re.fullmatch(r"(0?[1-9])?d?", spec or ""):
                    raise ValueError("a width is written like {time:03}")
            self.name_of(Place(0, 0, 0))
        except (ValueError, IndexError, KeyError) as error:
            raise CellTrainError(f"The pattern '{self.text}' is not valid: {error}.") from None

    def has(self, field: str) -> bool:
        """Tell whether a field occurs."""
        return any(name == field for _, name, _, _ in Formatter().parse(self.text))

    def name_of(self, place: Place) -> str:
        """Return the file's path, relative to the folder of the pattern."""
        return self.text.format(time=place.time, channel=place.channel, z=place.z)

    def files(self, folder: Path) -> dict[Place, Path]:
        """List the files that fit, by the numbers in their names.

        Raises
        ------
        CellTrainError
            When the folder can't be listed.
        """
        found: dict[Place, Path] = {}
        segments = self.text.split("/")
        for path, numbers in _walk(folder, segments, {}):
            place = Place(**numbers)
            # The expression is lenient about zeros; writing the name again is exact.
            if self.name_of(place) == path.relative_to(folder).as_posix():
                found[place] = path
        return found


def _walk(
    folder: Path, segments: list[str], numbers: dict[str, int]
) -> Iterator[tuple[Path, dict[str, int]]]:
    literal = _literal(segments[0])
    if literal is not None:
        candidates: Iterable[tuple[Path, dict[str, int]]] = [(folder / literal, {})]
    else:
        expression = _expression(segments[0])
        candidates = [
            (folder / name, {key: int(number) for key, number in match.groupdict().items()})
            for name in names_in(folder)
            if (match := expression.fullmatch(name))
        ]
    for path, new in candidates:
        if any(numbers.get(key, number) != number for key, number in new.items()):
            continue
        if len(segments) > 1:
            if path.is_dir():
                yield from _walk(path, segments[1:], numbers | new)
        elif literal is None or path.is_file():
            yield path, numbers | new


def names_in(folder: Path) -> list[str]:
    """List a folder.

    Raises
    ------
    CellTrainError
        When it can't be listed.
    """
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise CellTrainError(f"The folder {folder} can't be read: {error.strerror}.") from None


def _literal(segment: str) -> str | None:
    parts = list(Formatter().parse(segment))
    if any(name is not None for _, name, _, _ in parts):
        return None
    return "".join(text for text, _, _, _ in parts)


def _expression(segment: str) -> re.Pattern[str]:
    written: set[str] = set()
    expression = ""
    for text, name, _, _ in Formatter().parse(segment):
        expression += re.escape(text)
        if name is not None:
            expression += f"(?P={name})" if name in written else rf"(?P<{name}>[0-9]{{1,15}})"
            written.add(name)
    return re.compile(expression)


def guess_pattern(folder: Path) -> Pattern | None:
    """Find the pattern of a folder of TIFF files; None when it has none.

    Names that differ only in their numbers belong together, and the largest such group is taken.
    A number that changes is told by the word before it (t, time, frame; c, ch, w; z, slice);
    a single one without such a word is the time.

    Raises
    ------
    CellTrainError
        When it is not clear which number is the time.
    """
    groups: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for name in names_in(folder):
        if name.lower().endswith(TIFF_SUFFIXES) and not name.startswith((".", "_")):
            stem, dot, suffix = name.rpartition(".")
            parts = re.split(r"([0-9]+)", stem)
            groups[(*parts[::2], dot + suffix)].append(parts[1::2])
    if not groups:
        return None
    size = max(len(rows) for rows in groups.values())
    largest = [key for key, rows in groups.items() if len(rows) == size]
    if len(largest) > 1:
        patterns = " and ".join(
            f"'{_write(key, groups[key], folder).text}'" for key in sorted(largest)[:2]
        )
        raise CellTrainError(
            f"The folder {folder} holds more than one series of images, such as {patterns}; "
            "say which one with a pattern."
        )
    return _write(largest[0], groups[largest[0]], folder)


def _write(texts: tuple[str, ...], rows: list[list[str]], folder: Path) -> Pattern:
    columns = list(zip(*rows, strict=True))
    before = texts[: len(columns)]
    meanings = [_meaning(text) for text in before]
    varies = [len(set(column)) > 1 for column in columns]
    fields: list[str | None] = [None] * len(columns)
    for field in FIELDS:
        candidates = [i for i, meaning in enumerate(meanings) if meaning == field]
        candidates = [i for i in candidates if varies[i]] or candidates
        if len(candidates) == 1 and (varies[candidates[0]] or field == "time"):
            fields[candidates[0]] = field
    open_questions = [i for i, v in enumerate(varies) if v and fields[i] is None]
    if "time" not in fields and len(open_questions) == 1 and meanings[open_questions[0]] is None:
        fields[open_questions.pop()] = "time"
    if open_questions:
        example = texts[0] + "".join(
            f"{column[0]}{text}" for column, text in zip(columns, texts[1:-1], strict=True)
        )
        raise CellTrainError(
            f"Several numbers change in the names of the images in {folder} "
            f"({example}{texts[-1]}, ...), and it is not clear what they mean; give a pattern "
            "such as 'img_t{time:03}_c{channel}.tif'."
        )
    text = ""
    for i, column in enumerate(columns):
        text += _escaped(before[i])
        field_name = fields[i]
        text += column[0] if field_name is None else "{" + field_name + _width(column) + "}"
    return Pattern(text + _escaped(texts[len(columns)]) + _escaped(texts[-1]))


def _meaning(text_before: str) -> str | None:
    word = re.search(r"([A-Za-z]+)[-_=. ]?$", text_before)
    if not word:
        return None
    # "embryoT" ends in a label written in another case than the letters before it
    camel = re.search(r"[a-z]([A-Z])$", word.group(1))
    return _MEANING.get((camel.group(1) if camel else word.group(1)).lower())


def _width(column: tuple[str, ...]) -> str:
    shortest = min(map(len, column))
    padded = shortest > 1 and any(number[0] == "0" for number in column)
    return f":0{shortest}" if padded else ""


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
