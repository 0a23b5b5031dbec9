"""Pictures: how large one is, and some of our own drawing to send when none is at hand."""

import math
import random
import struct
import zlib
from functools import cache

Colour = tuple[float, float, float]

SAMPLES = ("good", "rotten")  # tomatoes
WIDTH, HEIGHT = 360, 270
_PNG = b"\x89PNG\r\n\x1a\n"
_WOOD: Colour = (176, 128, 78)
_RED: Colour = (214, 44, 28)
_SPOILT: Colour = (122, 50, 26)
_MOULD: Colour = (150, 158, 138)
_GREEN: Colour = (62, 120, 46)
_WITHERED: Colour = (96, 84, 48)
# Middle and radius of each tomato in the crate, those at the back first.
_CRATE = (
    (66, 69, 46), (159, 63, 50), (254, 68, 46), (322, 84, 41),
    (32, 142, 45), (112, 140, 53), (207, 137, 54), (297, 153, 49),
    (63, 219, 53), (162, 222, 55), (260, 224, 54), (339, 229, 44),
)  # fmt: skip


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG; None where it is neither."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"\xff\xd8\xff"):
        return _size_of_jpeg(data)
    return None


def blank(width: int, height: int) -> bytes:
    """A grey PNG of that size."""
    return _png(width, height, bytes([0x80]) * (width * height * 3))


@cache
def sample(name: str) -> bytes:
    """A crate of tomatoes as a PNG: "good" or "rotten"."""
    assert name in SAMPLES, name
    is_good = name == "good"
    dice = random.Random(name)  # noqa: S311 (the same picture each time)
    canvas = [_wood(x, y) for y in range(HEIGHT) for x in range(WIDTH)]
    for x, y, radius in _CRATE:
        _tomato(canvas, x, y, radius, is_good, dice)
    levels = (max(0, min(255, round(level))) for pixel in canvas for level in pixel)
    return _png(WIDTH, HEIGHT, bytes(levels))


def of_bytes(count: int) -> bytes:
    """A PNG that takes exactly so many bytes. Raises ValueError: too few for a picture."""
    small = blank(1280, 960)
    padding = count - len(small) - len(_chunk(b"paDd", b""))
    if padding < 0:
        raise ValueError(f"at least {count - padding} bytes")
    end = small.rindex(b"IEND") - 4
    return small[:end] + _chunk(b"paDd", bytes(padding)) + small[end:]


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """From the frame header, which follows other segments."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _wood(x: int, y: int) -> Colour:
    """The crate's boards, and the shade between the tomatoes."""
    board = y // 34
    grain = 12 * math.sin(x / 28 + board * 2.1) + 6 * math.sin(x / 7 + y / 4 + board)
    gap = 0.45 if y % 34 < 2 else 0.72
    red, green, blue = _WOOD
    return _mixed((0, 0, 0), (red + grain, green + grain, blue + grain), gap)


def _tomato(
    canvas: list[Colour], middle_x: int, middle_y: int, radius: int, is_good: bool,
    dice: random.Random,
) -> None:  # fmt: skip
    turn = dice.random() * math.tau
    spots = [
        (dice.uniform(-0.6, 0.6), dice.uniform(-0.5, 0.7), dice.uniform(0.24, 0.5), colour)
        for colour in ((_SPOILT, _SPOILT, _MOULD) if not is_good else ())
    ]
    skin = _mixed(_RED, (236, 96, 30), dice.random() * 0.35)
    if not is_good:
        skin = _mixed(skin, _SPOILT, 0.45)
    for y in range(max(0, middle_y - radius - 4), min(HEIGHT, middle_y + radius + 10)):
        for x in range(max(0, middle_x - radius - 4), min(WIDTH, middle_x + radius + 4)):
            across, down = (x - middle_x) / radius, (y - middle_y) / (radius * 0.92)
            far = math.hypot(across, down)
            place = y * WIDTH + x
            if far >= 1:  # its shadow on what lies behind
                dark = max(0.0, 1 - (math.hypot(across, down - 0.12) - 0.92) / 0.16)
                canvas[place] = _mixed(canvas[place], (24, 12, 6), 0.6 * min(1.0, dark))
                continue
            colour = skin
            for spot_x, spot_y, wide, of in spots:
                away = math.hypot(across - spot_x, down - spot_y) / wide
                around = math.atan2(down - spot_y, across - spot_x) + 9 * wide
                ragged = away + 0.10 * math.sin(3 * around) + 0.06 * math.sin(7 * around)
                colour = _mixed(colour, of, max(0.0, min(0.92, 3 * (1 - ragged))))
            leaf = math.hypot(across * 1.05, down + 0.28)
            points = 0.30 + 0.20 * math.cos(5 * (math.atan2(down + 0.28, across) + turn))
            if leaf < points:
                colour = _GREEN if is_good else _WITHERED
            height = math.sqrt(1 - far * far)
            light = max(0.0, -0.42 * across - 0.55 * down + 0.72 * height)
            shine = max(0.0, -0.38 * across - 0.52 * down + 0.77 * height) ** 38
            shaded = _mixed((0, 0, 0), colour, 0.30 + 0.80 * light)
            shaded = _mixed(shaded, (255, 246, 236), (0.75 if is_good else 0.2) * shine)
            edge = min(1.0, (1 - far) * radius)  # a soft rim
            canvas[place] = _mixed(canvas[place], shaded, edge)


def _mixed(under: Colour, over: Colour, share: float) -> Colour:
    (a, b, c), (d, e, f) = under, over
    return a + (d - a) * share, b + (e - b) * share, c + (f - c) * share


def _png(width: int, height: int, pixels: bytes) -> bytes:
    """pixels: red, green, blue, row by row."""
    row = width * 3
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        _PNG
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(lines, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
