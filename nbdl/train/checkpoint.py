"""Checkpoints: the whole state of a run in one file that is either complete or not there.

A checkpoint is a safetensors file. Its tensors are the arrays of the state, named by their place in it
(`model.0.weight`, `optimizer.state.3.exp_avg`), so any reader of the format gets at the weights. Numbers, texts and
the nesting are JSON in the header's metadata. Nothing in it is ever executed: there is no pickle.

The SHA-256 in the metadata covers every byte of the file, taken with its own 64 digits as zeros. A file is written
beside its final name, brought to the disk and only then renamed, so a crash at any instant leaves the old file or the
new one. `CheckpointFolder` keeps the newest and the one before it.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from nbdl.autograd import Tensor
from nbdl.nn import Module
from nbdl.train.errors import CheckpointError, OutputFolderError

FORMAT = "nbdl checkpoint 1"
NO_DIGEST = "0" * 64
LENGTH_BYTES = 8  # safetensors: the header's length, then the header in JSON, then the tensors


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Writes a state to a file, completely or not at all.

    Args:
        path: The file; an existing one is replaced at the very end.
        state: Dicts, lists and tuples, nested, of tensors, NumPy arrays, numbers, texts, booleans and None.

    Raises:
        CheckpointError: The state holds something else.
        OSError: The disk is full or the folder cannot be written to; an existing file is still there.
    """
    arrays: dict[str, np.ndarray] = {}
    skeleton = _pack(state, (), arrays)
    metadata = {"format": FORMAT, "sha256": NO_DIGEST, "state": json.dumps(skeleton)}
    contents = safetensors.numpy.save(arrays, metadata)
    digest = hashlib.sha256(contents).hexdigest()
    write_durably(Path(path), contents.replace(_digest_entry(NO_DIGEST), _digest_entry(digest), 1))


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a state, after checking every byte of the file. Tensors come back as NumPy arrays.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it is no checkpoint.
    """
    path = Path(path)
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected a checkpoint, got {(error.strerror or str(error)).lower()}") from None
    metadata = _metadata(path, contents)
    digest = metadata.get("sha256", "")
    zeroed = contents.replace(_digest_entry(digest), _digest_entry(NO_DIGEST), 1)
    if hashlib.sha256(zeroed).hexdigest() != digest:
        raise CheckpointError(f"{path}: expected contents with SHA-256 {digest[:12]}..., got a damaged file")
    state = _unpack(json.loads(metadata["state"]), safetensors.numpy.load(contents))
    assert isinstance(state, dict)
    return state


def _metadata(path: Path, contents: bytes) -> dict[str, str]:
    """The header's metadata of a file that says it is a checkpoint."""
    length = int.from_bytes(contents[:LENGTH_BYTES], "little")
    try:
        header = json.loads(contents[LENGTH_BYTES : LENGTH_BYTES + length])
        metadata: dict[str, str] = header["__metadata__"]
        written_as = metadata["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        got = "an empty file" if not contents else "a damaged or another file"
        raise CheckpointError(f"{path}: expected a checkpoint, got {got}") from None
    if written_as != FORMAT:
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {written_as!r}")
    return metadata


def _digest_entry(digest: str) -> bytes:
    """The metadata entry as it stands in the file. In a text of the header its quotes would be escaped."""
    return f'"sha256":"{digest}"'.encode()


def save_weights(path: str | Path, model: Module) -> None:
    """Writes the model's state dict as a plain safetensors file, for use rather than for going on with training."""
    arrays = {name: np.array(value.detach(), order="C") for name, value in model.state_dict().items()}
    write_durably(Path(path), safetensors.numpy.save(arrays))


def write_durably(path: Path, contents: bytes) -> None:
    """Replaces a file by one that is already on the disk when it gets the name."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the system can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- nested states


def _pack(value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON, its arrays put aside under the names of their places.

    A JSON list is always [kind, contents]; everything else stands for itself.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise CheckpointError(f"state: expected keys that are texts or whole numbers, got {key!r}")
        return ["dict", [[key, _pack(item, (*place, str(key)), arrays)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_pack(item, (*place, str(index)), arrays) for index, item in enumerate(value)]]
    if isinstance(value, Tensor | np.ndarray | np.generic):
        name = ".".join(place)
        while name in arrays:  # {"a.b": x, "a": {"b": y}}
            name += "'"
        array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        arrays[name] = array if array.flags.c_contiguous else array.copy(order="C")
        return ["array", name]
    where = ".".join(place) or "state"
    raise CheckpointError(
        f"{where}: expected tensors, arrays, numbers, texts and containers, got {type(value).__name__}"
    )


def _unpack(packed: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The way back from `_pack`."""
    if not isinstance(packed, list):
        return packed
    kind, contents = packed
    if kind == "array":
        return arrays[contents]
    if kind == "dict":
        return {key: _unpack(item, arrays) for key, item in contents}
    items = [_unpack(item, arrays) for item in contents]
    return tuple(items) if kind == "tuple" else items


# ---------------------------------------------------------------- a run's folder


def writable_folder(path: str | Path) -> Path:
    """Makes a folder where there is none, and makes sure that files can be written in it.

    Raises:
        OutputFolderError: The folder cannot be made, or not be written to, or is a file.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputFolderError(f"{folder}: expected a folder to write to, got {reason}") from None
    return folder


class CheckpointFolder:
    """The checkpoints of one run: the newest, and the one before in case the newest is damaged.

    Attributes:
        newest: checkpoint.safetensors
        previous: checkpoint-previous.safetensors
    """

    def __init__(self, folder: str | Path) -> None:
        self.newest = Path(folder, "checkpoint.safetensors")
        self.previous = Path(folder, "checkpoint-previous.safetensors")

    def exists(self) -> bool:
        """Whether there is anything to resume from."""
        return self.newest.exists() or self.previous.exists()

    def save(self, state: dict[str, Any]) -> Path:
        """Makes the state the newest checkpoint and the newest the previous one. Returns where it is."""
        written = self.newest.with_name("checkpoint-next.safetensors")
        save_checkpoint(written, state)
        if self.newest.exists():
            os.replace(self.newest, self.previous)
        os.replace(written, self.newest)
        _sync_folder(self.newest.parent)
        return self.newest

    def load(self) -> tuple[dict[str, Any], Path]:
        """The newest checkpoint that is whole, and which file it was.

        Raises:
            CheckpointError: There is none; the message says what is wrong with each file.
        """
        faults = []
        for path in (self.newest, self.previous):
            try:
                return load_checkpoint(path), path
            except CheckpointError as error:
                faults.append(str(error))
        raise CheckpointError("; ".join(faults))

    def clear(self) -> None:
        """Removes the checkpoints of an earlier run."""
        for path in (self.newest, self.previous):
            path.unlink(missing_ok=True)
