"""PNG files of small pictures, without an image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from nbdl.runtime.errors import ShapeError

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}


def encode_png(image: np.ndarray) -> bytes:
    """An image as the bytes of a PNG file.

    Args:
        image: [C, H, W], values from 0 to 1; C is 1 (grey), 3 (red, green, blue) or 4 (with opacity).

    Raises:
        ShapeError: Another shape.

    Example:
        >>> nbdl.explain.encode_png(np.zeros((1, 8, 8)))[1:4]
        b'PNG'
    """
    if image.ndim != 3 or image.shape[0] not in _COLOR_TYPES:
        raise ShapeError(f"image: expected [C, H, W] with C of 1, 3 or 4, got {list(image.shape)}")
    channels, height, width = image.shape
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row begins with its filter: none

    def chunk(kind: bytes, contents: bytes) -> bytes:
        body = kind + contents
        return struct.pack(">I", len(contents)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def png_address(image: np.ndarray) -> str:
    """An image as in `encode_png`, as a data address that an SVG drawing can show."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()
