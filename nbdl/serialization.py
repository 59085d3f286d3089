"""Saving and loading: tensors in a safetensors file that is complete, checked and never executed.

A file holds the tensors under their names, so that any reader of the format gets at them; in a nested object a tensor
is named by its place (`optimizer.state.3.exp_avg`). Numbers, texts and the nesting are JSON in the header's metadata.
There is no pickle.

The SHA-256 in the metadata covers every byte of the file, taken with its own 64 digits as zeros. A file is written
beside its final name, brought to the disk and only then renamed, so that a crash at any instant leaves the old file or
the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime.arrays import on_host
from nbdl.runtime.devices import require
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, FileFormatError

NO_DIGEST = "0" * 64
LENGTH_BYTES = 8  # a file begins with the header's length, then comes the header in JSON, then the tensors
RESERVED = {"sha256", "structure"}

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO, metadata: Mapping[str, str] | None = None) -> None:
    """Writes an object with its tensors to a file, completely or not at all.

    Args:
        obj: Tensors, NumPy arrays, numbers, texts, booleans and None in dicts, lists and tuples. A state dict becomes
            a file in which any reader of the safetensors format finds its tensors.
        f: The file's path, or a binary file that is open for writing.
        metadata: Texts to store with it.

    Raises:
        ArgumentTypeError: The object holds something else.
        ArgumentError: A name in the metadata is reserved.
        OSError: The disk is full or the folder cannot be written to; an existing file is still there.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
        >>> model = nbdl.nn.Linear(2, 1)
        >>> nbdl.save(model.state_dict(), path)
        >>> model.load_state_dict(nbdl.load(path))
        <All keys matched successfully>
    """
    contents = to_bytes(obj, metadata)
    if isinstance(f, (str, os.PathLike)):
        write_durably(Path(f), contents)
    else:
        f.write(contents)


def load(f: str | os.PathLike[str] | BinaryIO, map_location: str | None = None) -> Any:
    """Reads what `save` wrote, or any safetensors file, after checking every byte against its SHA-256.

    Half-precision tensors become float32.

    Args:
        f: The file's path, or a binary file that is open for reading.
        map_location: Where its tensors go, "cpu" or "cuda"; the CPU when None.

    Returns:
        The object; a dictionary of tensors for a file of another program.

    Raises:
        FileFormatError: The file is damaged or no safetensors file.
        OSError: There is no such file, or it cannot be read.
        DeviceError: map_location names a device that is not there.
    """
    kind = "cpu" if map_location is None else require(map_location)
    if isinstance(f, (str, os.PathLike)):
        loaded = from_bytes(Path(f).read_bytes(), str(f))
    else:
        loaded = from_bytes(f.read(), getattr(f, "name", "file"))
    return loaded if kind == "cpu" else _moved(loaded, kind)


def _moved(value: Any, kind: str) -> Any:
    """A nested object with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(kind)
    if isinstance(value, dict):
        return {key: _moved(item, kind) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, kind) for item in value)
    return value


def load_metadata(f: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that were stored with a file's tensors."""
    return metadata_of(Path(f).read_bytes(), str(f))


# ---------------------------------------------------------------- bytes


def to_bytes(obj: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """The contents of the file that `save` writes."""
    import safetensors.numpy  # here, not above: most programs that import nbdl neither save nor load

    for name in metadata or ():
        if name in RESERVED:
            raise ArgumentError(f"metadata: the name {name!r} is reserved")
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_pack(obj, (), arrays))
    texts = {**(metadata or {}), "sha256": NO_DIGEST, "structure": structure}
    contents = _in_order(safetensors.numpy.save(arrays, texts))
    digest = hashlib.sha256(contents).hexdigest()
    return contents.replace(_digest_entry(NO_DIGEST), _digest_entry(digest), 1)


def from_bytes(contents: bytes, name: str = "contents") -> Any:
    """The object in the contents of a file; `name` is for messages."""
    import safetensors

    metadata = _metadata(contents, name)
    if metadata.keys() & RESERVED:  # a file of another program has neither
        digest = metadata.get("sha256", "")
        zeroed = contents.replace(_digest_entry(digest), _digest_entry(NO_DIGEST), 1)
        if hashlib.sha256(zeroed).hexdigest() != digest:
            raise FileFormatError(f"{name}: expected contents with SHA-256 {digest[:12]}..., got a damaged file")
    try:
        arrays = {key: _array(key, entry) for key, entry in safetensors.deserialize(contents)}  # type: ignore[no-untyped-call]
        if "structure" not in metadata:
            return {key: Tensor(array) for key, array in arrays.items()}
        return _unpack(json.loads(metadata["structure"]), arrays)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{name}: expected a safetensors file, got a damaged one: {error}") from None


def metadata_of(contents: bytes, name: str = "contents") -> dict[str, str]:
    """The texts that were stored with the tensors in the contents of a file; `name` is for messages."""
    return {key: text for key, text in _metadata(contents, name).items() if key not in RESERVED}


def _metadata(contents: bytes, name: str) -> dict[str, str]:
    """The texts in the header."""
    length = int.from_bytes(contents[:LENGTH_BYTES], "little")
    try:
        header = json.loads(contents[LENGTH_BYTES : LENGTH_BYTES + length])
        metadata: dict[str, str] = header.get("__metadata__", {})
        return dict(metadata)
    except (ValueError, AttributeError, TypeError, RecursionError):
        got = "a damaged or another file" if contents else "an empty file"
        raise FileFormatError(f"{name}: expected a safetensors file, got {got}") from None


def _in_order(contents: bytes) -> bytes:
    """The same file with the texts of its header sorted: safetensors writes them in an order that changes each time."""
    start = LENGTH_BYTES + int.from_bytes(contents[:LENGTH_BYTES], "little")
    header = json.loads(contents[LENGTH_BYTES:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # the tensors start at a multiple of eight bytes
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + contents[start:]


def _digest_entry(digest: str) -> bytes:
    """The metadata entry as it stands in the file. In another text of the header its quotes would be escaped."""
    return f'"sha256":"{digest}"'.encode()


def _array(key: str, entry: Mapping[str, Any]) -> np.ndarray:
    """A tensor of the file in memory of its own."""
    data, shape, kind = entry["data"], tuple(entry["shape"]), entry["dtype"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise ValueError(f"the tensor {key!r} has the dtype {kind}, which nbdl does not know")
    array = np.frombuffer(data, np.dtype(_DTYPES[kind]).newbyteorder("<")).reshape(shape)
    return array.astype(np.float32 if kind == "F16" else _DTYPES[kind])


def write_durably(path: Path, contents: bytes | Iterable[Any]) -> None:
    """Replaces a file by one that is already on the disk when it gets the name.

    The contents may come in parts, made one after the other, where the whole would be too much for the memory.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            parts: Iterable[Any] = [contents] if isinstance(contents, bytes) else contents
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the system can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- nested objects


def _pack(value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON, its arrays put aside under the names of their places.

    A JSON list is always [kind, contents]; everything else stands for itself.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise ArgumentTypeError(f"obj: expected keys that are texts or whole numbers, got {key!r}")
        return ["dict", [[key, _pack(item, (*place, str(key)), arrays)] for key, item in value.items()]]
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_pack(item, (*place, str(index)), arrays) for index, item in enumerate(value)]]
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        name = ".".join(place) or "tensor"
        while name in arrays:  # {"a.b": x, "a": {"b": y}}
            name += "'"
        array = np.asarray(on_host(value._array) if isinstance(value, Tensor) else value)
        # safetensors reads shape and memory apart: whatever is not in row-major order needs a copy that is
        arrays[name] = array if array.flags.c_contiguous else array.copy(order="C")
        return ["tensor" if isinstance(value, Tensor) else "array", name]
    where = ".".join(place) or "obj"
    raise ArgumentTypeError(
        f"{where}: expected tensors, arrays, numbers, texts and containers, got {type(value).__name__}"
    )


def _unpack(packed: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The way back from `_pack`."""
    if not isinstance(packed, list):
        return packed
    kind, contents = packed
    if kind == "array":
        return arrays[contents]
    if kind == "tensor":
        return Tensor(arrays[contents])
    if kind == "dict":
        return {key: _unpack(item, arrays) for key, item in contents}
    items = [_unpack(item, arrays) for item in contents]
    return tuple(items) if kind == "tuple" else items
