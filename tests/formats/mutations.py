"""Changes that damage does to files: to their bytes, their texts, and what is packed in them."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import zipfile

import numpy as np

ODD = [
    "0",
    "-1",
    "1e308",
    "-1e308",
    "1e999",
    "NaN",
    "Infinity",
    "9" * 40,
    "2147483648",
    "-9223372036854775809",
    "0.5",
    "",
    "null",
    "true",
    '"x"',
    "[]",
    "{}",
    "1,5",
    "\u0664",
    "0x10",
]
ODD_VALUES = [
    None,
    True,
    [],
    {},
    "",
    "x",
    -1,
    0.5,
    1e308,
    10**40,
    float("nan"),
    [[]],
    [None],
    {"x": None},
    "9" * 400,
    [1, 2],
    "../../../outside",
    "\0",
]


# ----------------------------------------------------------------------------- mutations of bytes
def flip(raw, rng):
    out = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(raw, rng):
    return raw[: rng.randrange(len(raw) + 1)]


def drop(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at + rng.choice([1, 4, 32, 500]) :]


def repeat(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at : at + rng.choice([1, 8, 100])] * rng.choice([2, 3, 100]) + raw[at:]


def overwrite(raw, rng):
    at, length = rng.randrange(len(raw) + 1), rng.choice([1, 2, 4, 8, 64])
    new = rng.choice(
        [
            b"\xff" * length,
            b"\0" * length,
            b"\x7f" + b"\xff" * (length - 1),
            rng.randbytes(length),
            struct.pack("<q", 2**40)[:length],
        ]
    )
    return raw[:at] + new + raw[at + length :]


def number(raw, rng):
    found = list(re.finditer(rb"-?\d+(\.\d+)?", raw))
    if not found:
        return flip(raw, rng)
    hit = rng.choice(found)
    return raw[: hit.start()] + rng.choice(ODD).encode() + raw[hit.end() :]


def word(raw, rng):
    found = list(re.finditer(rb"[A-Za-z_]{2,}", raw))
    if len(found) < 2:
        return flip(raw, rng)
    hit, other = rng.choice(found), rng.choice(found)
    return raw[: hit.start()] + rng.choice([b"", b"x", other[0]]) + raw[hit.end() :]


def nest(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice([b"[", b"{", b'{"a":', b"<a>", b"((", b'"']) * 50_000 + raw[at:]


def entities(raw, rng):
    bomb = (
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaaaaaaaa'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 16) for i in range(12))
        + b"<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"
    )
    head = raw.find(b"?>") + 2 if raw.startswith(b"<?xml") else 0
    body = raw[head:].replace(b">", b">" + rng.choice([b"&m;", b"&f;", b""]), 1)
    return raw[:head] + bomb + body


ANY = [flip, cut, drop, repeat, overwrite]
TEXT = [*ANY, number, number, number, word, nest]


# ------------------------------------------------------------------------ mutations of structures
def retype(raw, rng):
    """Replace, delete or rename one value somewhere in a JSON document."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return flip(raw, rng)
    places = []

    def walk(node, depth=0):
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], (dict, list)) and depth < 20:
                walk(node[key], depth + 1)

    if isinstance(document, (dict, list)):
        walk(document)
    for _ in range(rng.choice([1, 1, 3])):
        if not places:
            break
        node, key = rng.choice(places)
        action = rng.randrange(4)
        try:
            if action == 0:
                del node[key]
            elif action == 1 and isinstance(node, dict):
                node[rng.choice(["x", "version", "t", "-1"])] = node.pop(key)
            elif action == 2:
                node[key] = [node[key]] * rng.choice([0, 1, 2, 50])
            else:
                node[key] = rng.choice(ODD_VALUES)
        except (KeyError, IndexError):
            pass
    return json.dumps(document).encode()


def in_zip(raw, rng, mutations=ANY):
    """Change the content or the name of a member, and pack the archive again properly."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as archive,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        chosen = rng.choice(archive.namelist())
        for name in archive.namelist():
            content = archive.read(name)
            if name == chosen:
                action = rng.randrange(8)
                if action == 0:
                    continue
                if action == 1:
                    name = rng.choice(["../../outside", "/outside", "C:\\outside", "a/" * 500])
                elif action == 2:
                    content = content + b"\0" * (2**26)
                else:
                    content = rng.choice(mutations)(content, rng)
            new.writestr(name, content)
    return out.getvalue()


def in_zip_of_text(raw, rng):
    return in_zip(raw, rng, TEXT)


def in_tar(raw, rng):
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(raw)) as archive,
        tarfile.open(fileobj=out, mode="w:gz") as new,
    ):
        members = archive.getmembers()
        chosen = rng.choice(members).name
        for info in members:
            content = archive.extractfile(info).read()
            if info.name == chosen:
                action = rng.randrange(6)
                if action == 0:
                    continue
                if action == 1:
                    info.name = "../../outside"
                elif action == 2:
                    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                else:
                    change = retype if info.name.endswith("json") and action > 3 else flip
                    content = change(content, rng)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return out.getvalue()


def in_hdf5(raw, rng):
    """Delete a data set, or put one of another shape or type in its place."""
    import h5py

    buffer = io.BytesIO(raw)
    with h5py.File(buffer, "r+") as file:
        places = []
        file.visit(places.append)
        place = rng.choice(places)
        old = file[place]
        if isinstance(old, h5py.Dataset) and rng.random() < 0.7:
            values = old[...]
            del file[place]
            action = rng.randrange(4)
            if action == 0:
                file[place] = rng.choice([np.zeros(0), np.zeros((3, 3, 3)), np.array(b"x"), 7.0])
            elif action == 1:
                file[place] = values[: len(values) // 2]
            elif action == 2:
                file.create_dataset(place, (10**9, 10**3), "f8", chunks=(1000, 1000))
            elif values.dtype.names is None:
                file[place] = (values.astype(float) * rng.choice([-1, 1e9, 0])).astype("i8")
            else:
                names = list(values.dtype.names)
                values[rng.choice(names)] = rng.choice([-1, 0, 2**30])
                file[place] = values
        else:
            del file[place]
    return buffer.getvalue()
