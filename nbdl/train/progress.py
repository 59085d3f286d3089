"""What a run looks like in a terminal: a line an epoch, and under it a bar while the epoch runs."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, TextIO

from tqdm import tqdm

from nbdl.runtime.compilation import on_compile
from nbdl.train.callbacks import Callback
from nbdl.train.loop import Trainer

INTERRUPTED = "\nfinishing the batch, then saving; Ctrl-C again stops at once\n"
BAR = "  {percentage:3.0f}% {bar:24} {n_fmt}/{total_fmt}  {desc}"
COUNTER, COLUMN = 9, 16  # widths


class ProgressTable(Callback):
    """Prints a table with one line an epoch.

    Where `bar` is a terminal it also shows the running epoch as a bar with the latest loss, and names the kernels
    that are compiled on the way: the first run on a machine compiles, later ones load from the cache.

    Args:
        lines: Stream of the table.
        bar: Stream of the bar; None or no terminal: no bar.
    """

    def __init__(self, lines: TextIO, bar: TextIO | None = None) -> None:
        self.lines = lines
        self.bar = bar if bar is not None and bar.isatty() else None
        self._columns: list[str] = []
        self._epoch_bar: Any = None
        self._compiling = ExitStack()
        self._compiled = 0

    def on_start(self, trainer: Trainer) -> None:
        self._compiling.enter_context(on_compile(self._on_compile))

    def on_epoch_start(self, trainer: Trainer) -> None:
        if self.bar is not None:
            self._epoch_bar = tqdm(
                total=len(trainer.loader),
                initial=trainer.batch,
                bar_format=_counter(trainer.epoch + 1, trainer.epochs) + BAR,
                file=self.bar,
                leave=False,
                mininterval=0.05,
            )

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if self._epoch_bar is not None:
            self._epoch_bar.set_description_str(f"loss {loss:.4f}", refresh=False)
            self._epoch_bar.update()

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._close_bar()
        if not self._columns:
            self._columns = [name for name in record if name not in ("epoch", "step", "learning_rate", "seconds")]
            names = [name.replace("validation_", "val. ").replace("_", " ") for name in self._columns]
            self._print(f"{'epoch':>{COUNTER}}" + "".join(f"{name:>{COLUMN}}" for name in [*names, "seconds"]))
        values = "".join(f"{_number(record[name]):>{COLUMN}}" for name in self._columns)
        self._print(f"{_counter(record['epoch'], trainer.epochs)}{values}{record['seconds']:>{COLUMN}.2f}")

    def on_note(self, trainer: Trainer, text: str) -> None:
        self._close_bar()
        self._print(f"{'':>{COUNTER}}  {text}")

    def on_interrupt(self, trainer: Trainer) -> None:
        # Straight to the file descriptor: the signal may have come in the middle of a write to the stream.
        os.write((self.bar or self.lines).fileno(), INTERRUPTED.encode())

    def on_exit(self, trainer: Trainer) -> None:
        self._close_bar()
        self._compiling.close()

    def _on_compile(self, name: str) -> None:
        self._compiled += 1
        if self._epoch_bar is not None:
            self._epoch_bar.set_description_str(f"compiling, once: kernel {self._compiled}, {name}")
        elif self._compiled == 1 and self.bar is None:
            self._print("compiling kernels; the next run finds them in the cache")

    def _close_bar(self) -> None:
        if self._epoch_bar is not None:
            self._epoch_bar.close()
            self._epoch_bar = None

    def _print(self, line: str) -> None:
        print(line, file=self.lines, flush=True)


def _counter(epoch: int, epochs: int) -> str:
    """The epoch out of all, "3/20", at the right of its column."""
    return f"{f'{epoch}/{epochs}':>{COUNTER}}"


def _number(value: float) -> str:
    """Four decimals; in scientific form where these would show nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"
