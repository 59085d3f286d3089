"""IDX files, the format of MNIST: a header with the type and the shape, then the numbers, most often under gzip."""

import gzip
import math
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np

from nbdl.data.errors import DataFileError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST = 2**30  # bytes of an array; the training images of MNIST take 47 million
PIECE = 2**20
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | Path, largest: int = LARGEST) -> np.ndarray:
    """Reads an array from an IDX file, compressed by gzip or not.

    Nothing is allocated on the word of the header alone: bytes are read piece by piece, and no more of them than the
    shape needs.

    Args:
        path: The file.
        largest: Most bytes that the array may take.

    Returns:
        The array, in the byte order of the machine.

    Raises:
        DataFileError: The file is missing, is no IDX file, is truncated, damaged or too long, or the array too large.
    """
    try:
        with Path(path).open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not compressed:
                return _read(raw, str(path), largest)
            with gzip.open(raw) as file:
                return _read(file, str(path), largest)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(str(path), "a whole gzip file", f"a damaged one ({error})") from None
    except OSError as error:
        reason = (error.strerror or "a file that cannot be read").lower()
        raise DataFileError(str(path), "an IDX file", reason) from None


def _read(file: BufferedReader | gzip.GzipFile, name: str, largest: int) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
        raise DataFileError(name, "an IDX file, which begins with 0, 0, type, dimensions", repr(head))
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise DataFileError(name, f"{head[3]} lengths in the header", f"a file cut off after {4 + len(lengths)} bytes")
    shape = [int(length) for length in np.frombuffer(lengths, ">u4")]
    dtype = np.dtype(TYPES[head[2]])
    size = math.prod(shape) * dtype.itemsize
    if size > largest:
        raise DataFileError(name, f"an array of at most {largest:,} bytes", f"shape {shape}, {size:,} bytes")
    contents = bytearray()
    while piece := file.read(min(PIECE, size + 1 - len(contents))):  # 1 more than there should be
        contents += piece
    if len(contents) != size:
        got = "more" if len(contents) > size else f"{len(contents):,}: the file is truncated"
        raise DataFileError(name, f"{size:,} bytes for shape {shape}", got)
    return np.frombuffer(contents, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
