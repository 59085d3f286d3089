"""Errors of training runs."""

from pathlib import Path

from nbdl.runtime.errors import NbdlError, NumericalError


class TrainError(NbdlError):
    """Base of the errors of training runs."""


class CheckpointError(TrainError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class OutputFolderError(TrainError, OSError):
    """The output folder cannot be made or written to."""

    __str__ = Exception.__str__


class DivergedError(TrainError, NumericalError):
    """The loss or a weight became NaN or infinite. The last checkpoint is from before it happened."""


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, finished its batch and saved a checkpoint.

    A `KeyboardInterrupt`, so that code which handles errors does not take it for one.

    Attributes:
        checkpoint: Where the state is; None when the run keeps no checkpoints.
        signal: Number of the signal that asked.
    """

    def __init__(self, checkpoint: Path | None, signal: int) -> None:
        super().__init__(f"training was interrupted; checkpoint: {checkpoint}")
        self.checkpoint, self.signal = checkpoint, signal
