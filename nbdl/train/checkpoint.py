"""Checkpoints: the whole state of a run in one file that is either complete or not there.

A checkpoint is a file of `nbdl.save` (nbdl/serialization.py): a safetensors file whose tensors are named by their place
in the state (`model.0.weight`, `optimizer.state.3.exp_avg`), checked by a SHA-256 of all its bytes, written durably.
`CheckpointFolder` keeps the newest and the one before it.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from nbdl import serialization
from nbdl.nn import Module
from nbdl.runtime.errors import ArgumentTypeError, FileFormatError
from nbdl.train.errors import CheckpointError, OutputFolderError

FORMAT = "nbdl checkpoint 1"


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Writes a state to a file, completely or not at all.

    Args:
        path: The file; an existing one is replaced at the very end.
        state: Dicts, lists and tuples, nested, of tensors, NumPy arrays, numbers, texts, booleans and None.

    Raises:
        CheckpointError: The state holds something else.
        OSError: The disk is full or the folder cannot be written to; an existing file is still there.
    """
    try:
        serialization.save(state, path, {"format": FORMAT})
    except ArgumentTypeError as error:
        raise CheckpointError(str(error)) from None


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a state, after checking every byte of the file.

    Args:
        path: A file of `save_checkpoint`.

    Returns:
        The state as it was given: tensors are tensors on the CPU again, NumPy arrays are arrays.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it is no checkpoint.
    """
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected a checkpoint, got {(error.strerror or str(error)).lower()}") from None
    try:
        if serialization.metadata_of(contents, str(path)).get("format") != FORMAT:
            raise CheckpointError(f"{path}: expected a checkpoint, got a damaged or another file")
        state: dict[str, Any] = serialization.from_bytes(contents, str(path))
    except FileFormatError as error:
        raise CheckpointError(str(error)) from None
    return state


def save_weights(path: str | Path, model: Module) -> None:
    """Writes the model's state dict, for use rather than for going on with training.

    Args:
        path: The file, which `nbdl.load` reads; an existing one is replaced at the very end.
        model: Any module.

    Raises:
        OSError: The disk is full or the folder cannot be written to; an existing file is still there.
    """
    serialization.save(model.state_dict(), path)


# ---------------------------------------------------------------- a run's folder


def writable_folder(path: str | Path) -> Path:
    """Makes a folder where there is none, and makes sure that files can be written in it.

    Args:
        path: The folder; those above it are made too.

    Returns:
        The folder.

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

    Args:
        folder: Where they lie.

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
        """Makes the state the newest checkpoint and the newest the previous one.

        Args:
            state: As for `save_checkpoint`.

        Returns:
            The file of the newest.

        Raises:
            CheckpointError: The state holds what cannot be saved.
            OSError: The disk is full or the folder cannot be written to; both checkpoints are still there.
        """
        written = self.newest.with_name("checkpoint-next.safetensors")
        save_checkpoint(written, state)
        if self.newest.exists():
            os.replace(self.newest, self.previous)
        os.replace(written, self.newest)
        serialization.sync_folder(self.newest.parent)
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

    def sweep(self) -> None:
        """Removes what processes that were killed while saving left behind."""
        for path in self.newest.parent.glob("*.partial"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes the checkpoints of an earlier run."""
        for path in (self.newest, self.previous):
            path.unlink(missing_ok=True)
