"""Safetensors files of any size: tensors are looked at one by one, in place, and written one by one.

A file is the header's length in eight bytes, a header in JSON that tells each tensor's dtype, shape and bytes, then the
bytes. Everything the header says is checked against the file's size before a byte of a tensor is read. Nothing in such
a file is ever executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from nbdl.runtime.errors import DTypeError, FileFormatError
from nbdl.serialization import LENGTH_BYTES, write_durably

LARGEST_HEADER = 100_000_000  # bytes; the limit of the format's own library
LARGEST_RANK = 16
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
}  # of BF16 the bits: it is the upper half of a float32


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor stands in a file.

    Attributes:
        dtype: As the format calls it: "F32", "BF16", ...
        shape: Its sizes.
        begin: Its first byte, counted from the end of the header.
        end: The byte after its last.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile:
    """A safetensors file, open for looking at single tensors.

    Args:
        path: The file.

    Attributes:
        entries: A `TensorEntry` for each tensor's name.

    Raises:
        FileFormatError: There is no such file, or it is truncated, damaged, or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(LENGTH_BYTES), "little")
                if size < LENGTH_BYTES or length > min(size - LENGTH_BYTES, LARGEST_HEADER):
                    raise self._wrong(f"a file of {size:,} bytes that says its header has {length:,}")
                text = file.read(length)
        except OSError as error:
            raise self._wrong((error.strerror or str(error)).lower()) from None
        self._payload = LENGTH_BYTES + length
        self.entries = self._entries(text, size - self._payload)
        self._bytes: np.ndarray | None = None

    def _wrong(self, got: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: expected a safetensors file, got {got}")

    def _entries(self, text: bytes, available: int) -> dict[str, TensorEntry]:
        """The header's entries, which together must cover the file's bytes once."""
        header = parse_object(text, str(self.path), "a safetensors file with a JSON header")
        header.pop("__metadata__", None)
        entries = {name: self._entry(name, said) for name, said in header.items()}
        reached = 0
        for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
            if entry.begin != reached:
                raise self._wrong(f"tensors that leave a gap or overlap at byte {min(reached, entry.begin):,}")
            reached = entry.end
        if reached != available:
            raise self._wrong(f"{available:,} bytes of tensors where the header says {reached:,}: truncated or damaged")
        return entries

    def _entry(self, name: str, said: Any) -> TensorEntry:
        if not isinstance(said, dict):
            raise self._wrong(f"an entry {name!r} without dtype, shape and data_offsets")
        dtype, shape, offsets = said.get("dtype"), said.get("shape"), said.get("data_offsets")
        if not isinstance(dtype, str) or dtype not in SIZES:
            raise self._wrong(f"the dtype {dtype!r} of {name!r}, which nbdl does not know")
        if not _counts(shape) or len(shape) > LARGEST_RANK:
            raise self._wrong(f"the shape {shape!r} of {name!r}")
        if not _counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != SIZES[dtype] * math.prod(shape):
            raise self._wrong(f"bytes {offsets!r} for {name!r} of shape {shape} and dtype {dtype}")
        return TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])

    def view(self, name: str) -> np.ndarray:
        """A tensor's numbers where they lie in the file, to be read only; of bfloat16 the bits as uint16.

        Raises:
            DTypeError: The tensor's numbers are no floating-point numbers that nbdl can read.
        """
        entry = self.entries[name]
        if entry.dtype not in FLOATS:
            raise DTypeError(
                f"{name}: expected float16, bfloat16, float32 or float64, got {entry.dtype} in {self.path}"
            )
        if self._bytes is None:  # not before: a file without a single byte cannot be mapped
            self._bytes = (
                np.memmap(self.path, np.uint8, "r", self._payload)
                if self.path.stat().st_size > self._payload
                else np.zeros(0, np.uint8)
            )
        return self._bytes[entry.begin : entry.end].view(FLOATS[entry.dtype]).reshape(entry.shape)

    def copy_into(self, name: str, target: np.ndarray, transposed: bool = False) -> None:
        """Writes a tensor's numbers, converted where the dtypes differ, into memory of its shape."""
        source = self.view(name)
        source = source.T if transposed else source
        if self.entries[name].dtype != "BF16":
            target[...] = source
        elif target.dtype == np.float32:
            bits = target.view(np.uint32)
            bits[...] = source
            bits <<= 16
        else:
            target[...] = (source.astype(np.uint32) << 16).view(np.float32)


def _counts(numbers: Any) -> TypeGuard[list[int]]:
    """Whether this is a list of whole numbers from 0 up."""
    return isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)


def parse_object(text: bytes, name: str, expected: str) -> dict[str, Any]:
    """The JSON object of a text in which no key comes twice.

    Raises:
        FileFormatError: The text is something else. `name` and `expected` are for the message.
    """

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key that comes twice")
        return found

    try:
        parsed = json.loads(text.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{name}: expected {expected}, got {error}") from None
    if not isinstance(parsed, dict):
        raise FileFormatError(f"{name}: expected {expected}, got a JSON {type(parsed).__name__}")
    return parsed


# ---------------------------------------------------------------- writing

Source = tuple[np.dtype[Any], tuple[int, ...], Callable[[], np.ndarray]]
"""A tensor to write: its dtype, its shape, and what gives its array when its turn comes."""

WRITTEN = {"float64": "F64", "float32": "F32"}


def write_tensors(path: Path, tensors: Mapping[str, Source]) -> None:
    """Writes a safetensors file, one tensor after the other, completely or not at all.

    Args:
        path: The file.
        tensors: Names and what to write, float32 or float64.

    Raises:
        OSError: The disk is full or the folder cannot be written to; an existing file is still there.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it; the layout is the same
    reached = 0
    for name, (dtype, shape, _) in tensors.items():
        end = reached + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": WRITTEN[dtype.name], "shape": list(shape), "data_offsets": [reached, end]}
        reached = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # the tensors start at a multiple of eight bytes

    def contents() -> Iterator[Any]:
        yield len(text).to_bytes(LENGTH_BYTES, "little") + text
        for dtype, _, make in tensors.values():
            array = np.ascontiguousarray(make(), dtype.newbyteorder("<"))
            yield array.reshape(-1).view(np.uint8).data

    write_durably(path, contents())
