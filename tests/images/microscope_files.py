"""Small files in microscopes' own formats, written after what is known of the formats.

Nothing free writes ND2 and LIF, so they are put together here, byte by byte: an ND2 of version 3,
as Nikon's software writes it today, and a LIF of version 2, as Leica's does.
"""

from __future__ import annotations

import struct

import numpy as np

# ------------------------------------------------------------------------------------------ Nikon
MAGIC = 0x0ABECEDA
SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
MAP_SIGNATURE = b"ND2 FILEMAP SIGNATURE NAME 0001!"
END_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
PROBE = {"m_sName": "none"}
TIME_LOOP, POSITION_LOOP, PLANE_LOOP = 1, 2, 4


def variant(name: str, value) -> bytes:
    """Return an entry of Nikon's binary dictionaries: type, name, value."""
    text = (name + "\0").encode("utf-16-le")
    head = bytes([len(text) // 2]) + text
    if isinstance(value, bool):
        return b"\1" + head + struct.pack("B", value)
    if isinstance(value, int):
        return b"\3" + head + struct.pack("<I", value)
    if isinstance(value, float):
        return b"\6" + head + struct.pack("<d", value)
    if isinstance(value, str):
        return b"\x08" + head + (value + "\0").encode("utf-16-le")
    items = b"".join(variant(key, one) for key, one in value.items())
    length = 1 + len(head) + 12 + len(items)
    offsets = b"\0" * 8 * len(value)
    return b"\x0b" + head + struct.pack("<IQ", len(value), length) + items + offsets


def chunk(name: bytes, data: bytes, name_length: int) -> bytes:
    return (
        struct.pack("<IIQ", MAGIC, name_length, len(data)) + name.ljust(name_length, b"\0") + data
    )


def loop(kind: int, parameters: dict, inner: dict | None) -> dict:
    made = {"eType": kind, "uLoopPars": parameters}
    return made | ({"ppNextLevelEx": {"i0000000000": inner}} if inner else {})


def write_nd2(path, movie, *, voxel_um=(2.0, 0.4), period_ms=300_000.0) -> None:
    """Write a movie of shape (t, position, z, channel, y, x)."""
    n_t, n_p, n_z, n_c, height, width = movie.shape
    bits = movie.dtype.itemsize * 8
    n = n_t * n_p * n_z
    planes = loop(PLANE_LOOP, {"uiCount": n_z, "dZStep": voxel_um[0]}, None)
    points = {f"i{i:010}": {"dPosX": float(i), "dPosY": 0.0, "dPosZ": 0.0} for i in range(n_p)}
    positions = loop(POSITION_LOOP, {"uiCount": n_p, "Points": points}, planes)
    times = {"uiCount": n_t, "dStart": 0.0, "dPeriod": period_ms, "dDuration": period_ms * n_t}
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * n_c * movie.dtype.itemsize,
        "uiHeight": height,
        "uiComp": n_c,
        "uiBpcInMemory": bits,
        "uiBpcSignificant": bits,
        "uiSequenceCount": n,
        "eCompression": 2,
    }
    channels = {
        f"a{c}": {"sDescription": f"channel {c}", "uiCompCount": 1, "pFluorescentProbe": PROBE}
        for c in range(n_c)
    }
    metadata = {
        "dCalibration": voxel_um[1],
        "bCalibrated": True,
        "sPicturePlanes": {"uiCount": n_c, "sPlaneNew": channels},
    }
    with open(path, "wb") as file:
        places: list[tuple[bytes, int, int]] = []

        def add(name: bytes, data: bytes, name_length: int) -> None:
            places.append((name, file.tell(), len(data)))
            file.write(chunk(name, data, name_length))

        file.write(chunk(SIGNATURE, b"Ver3.0".ljust(64, b"\0"), 32))
        frames = movie.reshape(n, n_c, height, width).transpose(0, 2, 3, 1)
        for number, frame in enumerate(frames):
            pixels = struct.pack("<d", number * 1.0) + np.ascontiguousarray(frame).tobytes()
            add(b"ImageDataSeq|%d!" % number, pixels, 4072)
        add(b"ImageAttributesLV!", variant("SLxImageAttributes", attributes), 20)
        add(b"ImageMetadataSeqLV|0!", variant("SLxPictureMetadata", metadata), 24)
        experiment = loop(TIME_LOOP, times, positions)
        add(b"ImageMetadataLV!", variant("SLxExperiment", experiment), 20)
        start = file.tell()
        index = b"".join(name + struct.pack("<QQ", at, size) for name, at, size in places)
        index += END_SIGNATURE + struct.pack("<Q", start)
        file.write(chunk(MAP_SIGNATURE, index, 32))


# ------------------------------------------------------------------------------------------ Leica
DIMENSIONS = {"x": (1, "m"), "y": (2, "m"), "z": (3, "m"), "t": (4, "s")}


def image_xml(name: str, memory: str, movie, steps: dict[str, float]) -> str:
    """Describe a movie of shape (t, z, channel, y, x), stored in that order."""
    n_t, n_z, n_c, height, width = movie.shape
    size = movie.dtype.itemsize
    strides = {"x": size, "y": size * width, "z": size * width * height * n_c}
    strides["t"] = strides["z"] * n_z
    numbers = {"x": width, "y": height, "z": n_z, "t": n_t}
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{size * 8}" '
        'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="Gray" IsLUTInverted="0" '
        f'BytesInc="{c * size * width * height}" BitInc="0"/>'
        for c in range(n_c)
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis][0]}" NumberOfElements="{numbers[axis]}" '
        f'Origin="0" Length="{steps[axis] * (numbers[axis] - 1)!r}" Unit="{DIMENSIONS[axis][1]}" '
        f'BytesInc="{strides[axis]}" BitInc="0"/>'
        for axis in "xyzt"
        if numbers[axis] > 1
    )
    return (
        f'<Element Name="{name}" Visibility="1"><Data><Image><ImageDescription><Channels>{channels}'
        f"</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{movie.nbytes}" MemoryBlockID="{memory}"/></Element>'
    )


def write_lif(path, images: dict[str, np.ndarray], steps: dict[str, float]) -> None:
    """Write images of shape (t, z, channel, y, x), by name; steps in metres and seconds."""
    elements = "".join(
        image_xml(name, f"MemBlock_{number}", movie, steps)
        for number, (name, movie) in enumerate(images.items())
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="made.lif"><Children>'
        f"{elements}</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    with open(path, "wb") as file:
        file.write(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text)
        for number, movie in enumerate(images.values()):
            name = f"MemBlock_{number}"
            head = struct.pack("<BQBI", 0x2A, movie.nbytes, 0x2A, len(name))
            head += name.encode("utf-16-le")
            file.write(struct.pack("<II", 0x70, len(head)) + head + movie.tobytes())
