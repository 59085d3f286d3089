"""Callbacks: what happens beside training, at its start, after each batch and each epoch, and at its end."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from nbdl.runtime.errors import ArgumentError
from nbdl.train.curve import draw_curve

if TYPE_CHECKING:
    from nbdl.train.loop import Trainer


class Callback:
    """Base of callbacks: redefine what you need.

    What a callback must remember across a resume it returns from `state_dict`.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch, or the first of a resumed run."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch, or the first that is left of it."""

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """After each optimizer step."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After each epoch and its validation; the record is also the last of `trainer.history`."""

    def on_note(self, trainer: Trainer, text: str) -> None:
        """When a recipe has a line to tell people beside the epochs."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """When a signal asks to stop; the batch still runs. Called from the signal handler: be brief."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when it came early; not when training fails or is interrupted."""

    def on_exit(self, trainer: Trainer) -> None:
        """When training is over for whatever reason; the place to close what `on_start` opened."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class EarlyStopping(Callback):
    """Ends training when a metric has not improved for a while, and brings back the weights that were best.

    Args:
        monitor: Name in the epoch's record; a loss should fall, anything else should rise. Default: "validation_loss".
        patience: Epochs without improvement after which to stop. Default: 10.
        min_delta: What a value must be better by to count as an improvement. Default: 0.
        restore_best: Load the weights of the best epoch when training ends, early or not. Default: True.

    Raises:
        ArgumentError: patience is under 1 or min_delta under 0; or, after the first epoch, there is no such metric.
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 10, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        if patience < 1:
            raise ArgumentError(f"patience: expected a whole number from 1 up, got {patience!r}")
        if not min_delta >= 0:
            raise ArgumentError(f"min_delta: expected a number from 0 up, got {min_delta!r}")
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best
        self.sign = 1.0 if monitor.endswith("loss") else -1.0
        self.best = math.inf
        self.best_epoch = 0
        self.best_weights: dict[str, np.ndarray] | None = None

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if self.monitor not in record:
            raise ArgumentError(f"monitor: expected one of {', '.join(record)}, got {self.monitor!r}")
        value = self.sign * record[self.monitor]
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, record["epoch"]
            if self.restore_best:
                weights = trainer.model.state_dict()
                self.best_weights = {name: np.array(value.detach().to("cpu")) for name, value in weights.items()}
        elif record["epoch"] - self.best_epoch >= self.patience:
            trainer.stop = True

    def on_end(self, trainer: Trainer) -> None:
        if self.restore_best and self.best_weights is not None:
            trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.best_weights = state["best"], state["best_epoch"], state["best_weights"]


class MetricsFile(Callback):
    """Writes metrics.jsonl: one line of JSON an epoch, there as soon as the epoch is over.

    Args:
        folder: Where to, an existing folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder, "metrics.jsonl")
        self._file: TextIO | None = None

    def on_start(self, trainer: Trainer) -> None:
        self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 (open until on_exit)
        for record in trainer.history:  # of the run that is resumed: lines after its checkpoint come again
            self.on_epoch_end(trainer, record)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def on_exit(self, trainer: Trainer) -> None:
        if self._file is not None:
            self._file.close()


class CurveFile(Callback):
    """Keeps curve.svg, the drawing of losses and metrics over epochs, up to date (once a second at most).

    Args:
        folder: Where to, an existing folder.
        title: Heading of the drawing.
    """

    def __init__(self, folder: str | Path, title: str) -> None:
        self.path, self.title = Path(folder, "curve.svg"), title
        self._drawn_at = -math.inf

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if trainer.seconds - self._drawn_at >= 1:
            self._drawn_at = trainer.seconds
            self._draw(trainer)

    def on_end(self, trainer: Trainer) -> None:
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if trainer.history:
            partial = self.path.with_name("curve.svg.partial")
            partial.write_text(draw_curve(trainer.history, self.title), encoding="utf-8")
            os.replace(partial, self.path)
