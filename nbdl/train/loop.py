"""The training loop: epochs of batches, each a forward pass, a backward pass and a step of the optimizer.

A run can be stopped after any batch and resumed: the resumed run equals the uninterrupted one bit for bit, because a
checkpoint holds everything the rest of the run depends on (model, optimizer, schedule, random state, the place in the
data order, the sums of the epoch so far) and the kernels give the same bits every time.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nbdl import optim
from nbdl.autograd import Tensor, no_grad
from nbdl.cuda import pin_memory
from nbdl.nn import Module
from nbdl.runtime.checks import check_shape
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.philox import default_generator
from nbdl.train.callbacks import Callback, CurveFile, MetricsFile
from nbdl.train.checkpoint import CheckpointFolder, writable_folder
from nbdl.train.errors import CheckpointError, DivergedError, TrainingInterrupted

Metric = Callable[[Tensor, Tensor], float]
"""A number a batch from (outputs, targets): the mean over its samples."""


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest output is that of their class.

    Args:
        outputs: [N, C], scores or probabilities of each class.
        targets: [N], class ids; N is at least 1.

    Returns:
        A number in [0, 1].

    Raises:
        ShapeError: The shapes are others, or there is no sample.

    Example:
        >>> scores = nbdl.tensor([[0.1, 0.9], [0.8, 0.2]])
        >>> nbdl.train.accuracy(scores, nbdl.tensor([1, 1]))
        0.5
    """
    check_shape("outputs", outputs, ("N", "C"))
    check_shape("targets", targets, outputs.shape[:1])
    if not len(outputs):
        raise ShapeError("outputs: expected at least one sample, got none")
    predicted = np.asarray(outputs.detach().argmax(1).to("cpu"))
    return int(np.count_nonzero(predicted == np.asarray(targets.to("cpu")))) / len(predicted)


class Trainer:
    """One training run: its parts, where it is, and the loop.

    A subclass that redefines `batch_loss` or `train_batch` trains anything else with the same loop.

    Args:
        model: What to train.
        loader: Batches (inputs..., target) of NumPy arrays or tensors: a `nbdl.data.DataLoader`, or anything with a
            length, `state_dict` and `load_state_dict` that yields one epoch a `for` loop.
        optimizer: Holds the model's parameters.
        loss: (outputs, target) -> the mean loss of the batch.
        validation: Batches to evaluate after each epoch, in a fixed order.
        metrics: Further numbers to evaluate, by name.
        schedule: Changes the learning rate, after each epoch or batch as `schedule_each` says.
        clip_norm: Largest norm of the gradient of all parameters together; None leaves it alone.
        callbacks: What happens beside; see `nbdl.train.Callback`.
        checkpoints: Where to keep checkpoints; None keeps none.
        checkpoint_seconds: Save in the middle of an epoch when the last checkpoint is older than this.
        device: Where the batches go: the model's device.
        settings: Numbers and texts kept in the checkpoint and in `resume` compared by whoever needs them.

    Attributes:
        epoch: Epochs completed.
        epochs: Epochs to complete.
        step: Batches trained on.
        batch: Batches of the running epoch trained on.
        history: One record an epoch: epoch, step, loss, validation_loss, ..., learning_rate, seconds.
        seconds: Training time so far, resumed parts included.
        stop: Set by a callback to end training after this epoch.
    """

    def __init__(
        self,
        model: Module,
        loader: Any,
        optimizer: Any,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        validation: Any = None,
        metrics: Mapping[str, Metric] | None = None,
        schedule: Any = None,
        schedule_each: str = "epoch",
        clip_norm: float | None = None,
        callbacks: Sequence[Callback] = (),
        checkpoints: CheckpointFolder | None = None,
        checkpoint_seconds: float = 300.0,
        device: str = "cpu",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.loader, self.optimizer, self.loss = model, loader, optimizer, loss
        self.validation, self.metrics = validation, dict(metrics or {})
        self.schedule, self.schedule_each, self.clip_norm = schedule, schedule_each, clip_norm
        self.callbacks, self.checkpoints = list(callbacks), checkpoints
        self.checkpoint_seconds, self.device, self.settings = checkpoint_seconds, device, dict(settings or {})
        self.epoch = self.step = 0
        self.epochs = 0
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.stop = False
        self.batch, self._loss_sum, self._samples, self._epoch_seconds = 0, 0.0, 0, 0.0

    # -- the loop

    def run(self, epochs: int) -> list[dict[str, Any]]:
        """Trains until that many epochs are complete, those before a resume included.

        Args:
            epochs: How many in all.

        Returns:
            The history: one record an epoch, with its number, steps, loss, learning rate, seconds, and what the
            validation measured.

        Raises:
            DivergedError: The loss or a weight is no longer finite. The last checkpoint is from before.
            TrainingInterrupted: Ctrl-C or SIGTERM came while checkpoints are kept; the batch was finished and the
                state saved.
        """
        self.epochs = epochs
        with self._signals() as asked:
            try:
                self._tell("on_start")
                while self.epoch < epochs and not self.stop:
                    self._run_epoch(asked)
                self._tell("on_end")
            finally:
                self._tell("on_exit")
        return self.history

    def _run_epoch(self, asked: list[int]) -> None:
        self.model.train()
        self._tell("on_epoch_start")
        clock = saved_at = time.perf_counter()
        for batch in self.loader:
            value, samples = self.train_batch(batch)
            self._loss_sum += value * samples
            self._samples += samples
            self.batch += 1
            self.step += 1
            if self.schedule is not None and self.schedule_each == "batch":
                self.schedule.step()
            now = time.perf_counter()
            self._epoch_seconds += now - clock
            self.seconds += now - clock
            clock = now
            self._tell("on_batch_end", value)
            if self.batch == len(self.loader):
                continue  # the end of the epoch comes at once, and with it the next checkpoint
            if asked:
                raise TrainingInterrupted(self.save(), asked[0])
            if self.checkpoints is not None and now - saved_at > self.checkpoint_seconds:
                self.save()
                saved_at = time.perf_counter()
        self._end_epoch(clock)
        self.save()
        if asked:
            raise TrainingInterrupted(self.checkpoints.newest if self.checkpoints else None, asked[0])

    def _end_epoch(self, clock: float) -> None:
        """Validates, and writes the epoch's record."""
        record: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "loss": self._loss_sum / self._samples,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **self.details(),
        }
        if self.validation is not None:
            evaluated = self.evaluate(self.validation)
            record |= {f"validation_{name}": value for name, value in evaluated.items()}
        if self.schedule is not None and self.schedule_each == "epoch":
            if isinstance(self.schedule, optim.lr_scheduler.ReduceLROnPlateau):
                self.schedule.step(record.get("validation_loss", record["loss"]))
            else:
                self.schedule.step()
        elapsed = time.perf_counter() - clock
        self.seconds += elapsed
        record["seconds"] = round(self._epoch_seconds + elapsed, 4)
        self.epoch += 1
        self.batch, self._loss_sum, self._samples, self._epoch_seconds = 0, 0.0, 0, 0.0
        self.history.append(record)
        self._tell("on_epoch_end", record)

    def details(self) -> dict[str, float]:
        """Further numbers for the record of the epoch that ends; a subclass has some."""
        return {}

    def train_batch(self, batch: Any) -> tuple[float, int]:
        """One step of gradient descent.

        Args:
            batch: What the loader gives: inputs, then the target.

        Returns:
            The mean loss of the batch, and the number of its samples.

        Raises:
            DivergedError: The loss is NaN or infinite.
        """
        loss, samples = self.batch_loss(batch)
        value = float(loss.item())
        if not math.isfinite(value):
            raise self._diverged(f"loss: expected a finite number, got {value}")
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            optim.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return value, samples

    def batch_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The forward pass. A subclass whose batches are others redefines it.

        Args:
            batch: What the loader gives: inputs, then the target.

        Returns:
            The mean loss, a tensor with a graph, and the number of samples.
        """
        *inputs, target = self.tensors(batch)
        return self.loss(self.model(*inputs), target), len(target)

    def tensors(self, batch: Any) -> list[Tensor]:
        """The fields of a batch as tensors on the run's device.

        Args:
            batch: NumPy arrays or tensors.

        Returns:
            As many tensors, of the same shapes and dtypes.
        """
        fields = [field if isinstance(field, Tensor) else Tensor(np.asarray(field)) for field in batch]
        if self.device == "cpu":
            return fields
        sent = [pin_memory(field) if field.is_cpu else field for field in fields]
        return [field.to(self.device, non_blocking=True) for field in sent]

    def evaluate(self, loader: Any) -> dict[str, float]:
        """The mean loss and metrics over all samples of a loader, with the model in evaluation mode.

        Args:
            loader: Batches of inputs, then the target.

        Returns:
            The means by name: "loss", and those of `metrics`.
        """
        was_training = self.model.training
        self.model.eval()
        sums = dict.fromkeys(["loss", *self.metrics], 0.0)
        count = 0
        with no_grad():
            for batch in loader:
                *inputs, target = self.tensors(batch)
                outputs = self.model(*inputs)
                count += len(target)
                sums["loss"] += float(self.loss(outputs, target).item()) * len(target)
                for name, metric in self.metrics.items():
                    sums[name] += metric(outputs, target) * len(target)
        self.model.train(was_training)
        return {name: total / count for name, total in sums.items()}

    def predict(self, loader: Any) -> np.ndarray:
        """The model's outputs for all samples of a loader, in evaluation mode.

        Args:
            loader: Batches of inputs, then the target, which is not looked at.

        Returns:
            The outputs of all batches, one after the other, [N, *].
        """
        was_training = self.model.training
        self.model.eval()
        with no_grad():
            outputs = [self.model(*self.tensors(batch)[:-1]) for batch in loader]
        self.model.train(was_training)
        return np.concatenate([np.asarray(output.detach().to("cpu")) for output in outputs])

    def note(self, text: str) -> None:
        """Tells people a line beside the epochs, through the callbacks."""
        self._tell("on_note", text)

    # -- stopping

    @contextmanager
    def _signals(self) -> Iterator[list[int]]:
        """While training, Ctrl-C and SIGTERM ask to stop after the batch; a second one stops at once.

        Only where checkpoints are kept, and in the main thread, the only one that may catch signals.
        """
        asked: list[int] = []

        def ask(number: int, _frame: Any) -> None:
            if asked:
                raise KeyboardInterrupt
            asked.append(number)
            self._tell("on_interrupt")

        if self.checkpoints is None or threading.current_thread() is not threading.main_thread():
            yield asked
            return
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield asked
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _diverged(self, what: str) -> DivergedError:
        """The error of a run that went astray, with what to do."""
        rate = self.optimizer.param_groups[0]["lr"]
        kept = ""
        if self.checkpoints is not None and self.checkpoints.exists():
            kept = f"; the last good checkpoint is {self.checkpoints.newest}"
        return DivergedError(
            f"{what} in epoch {self.epoch + 1}, after {self.step} steps{kept}; "
            f"try a smaller learning rate (it was {rate:g}) or look for extreme values in the data"
        )

    def _tell(self, event: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *details)

    # -- the state

    def keep_in(self, folder: str | Path, title: str = "learning curve", resume: bool = False) -> None:
        """Writes metrics.jsonl, curve.svg and checkpoints to a folder, replacing or continuing the run in it.

        Args:
            folder: Where to; made if there is none.
            title: Heading of the curve.
            resume: Continue the run in the folder.

        Raises:
            OutputFolderError: The folder cannot be written to.
            CheckpointError: `resume`, and there is no checkpoint that fits this run.
        """
        self.checkpoints = CheckpointFolder(writable_folder(folder))
        self.checkpoints.sweep()
        self.callbacks += [MetricsFile(folder), CurveFile(folder, title)]
        if resume:
            self.load_state_dict(self.checkpoints.load()[0])
        else:
            self.checkpoints.clear()

    def save(self) -> Path | None:
        """Saves a checkpoint where checkpoints are kept. Never saves weights that are not finite.

        Returns:
            The file; None where no checkpoints are kept.

        Raises:
            DivergedError: A weight is NaN or infinite.
        """
        if self.checkpoints is None:
            return None
        for name, value in self.model.state_dict().items():
            array = np.asarray(value.detach().to("cpu"))
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise self._diverged(f"{name}: expected finite weights, got NaN or infinity")
        return self.checkpoints.save(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the run depends on."""
        return {
            "settings": self.settings,
            "epoch": self.epoch,
            "step": self.step,
            "stop": self.stop,
            "seconds": self.seconds,
            "history": self.history,
            "running": [self.batch, self._loss_sum, self._samples, self._epoch_seconds],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "random": default_generator.get_state(),
            "loader": self.loader.state_dict(),
            "callbacks": [[type(callback).__name__, callback.state_dict()] for callback in self.callbacks],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to the state that `state_dict` returned; `run` then continues from there.

        Args:
            state: That of a run of the same model, optimizer, schedule and loader.

        Raises:
            CheckpointError: The state is not of a run like this one.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.loader.load_state_dict(state["loader"])
            self.epoch, self.step, self.stop = state["epoch"], state["step"], state["stop"]
            self.seconds, self.history = state["seconds"], state["history"]
            self.batch, self._loss_sum, self._samples, self._epoch_seconds = state["running"]
            saved = dict(state["callbacks"])
            for callback in self.callbacks:
                if type(callback).__name__ in saved:
                    callback.load_state_dict(saved[type(callback).__name__])
            default_generator.set_state(state["random"])
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"state: expected the state of a run like this one, got {error}") from error


def fit(
    model: Module,
    loader: Any,
    optimizer: Any,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    folder: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> list[dict[str, Any]]:
    """Trains a model.

    Args:
        model: As for `Trainer`; so are the next three.
        loader: Batches of the training data.
        optimizer: Updates the model's parameters.
        loss: Maps predictions and targets to a number.
        epochs: How many passes over the data.
        folder: Where metrics.jsonl, curve.svg and the checkpoints go; None writes nothing.
        resume: Continue from the checkpoint in the folder.
        callbacks: Callbacks besides those that write the files.
        options: Further arguments of `Trainer`: validation, metrics, schedule, clip_norm, ...

    Returns:
        One record an epoch.

    Raises:
        DivergedError: The loss or a weight is no longer finite.
        OutputFolderError: The folder cannot be written to.
        CheckpointError: `resume` without a checkpoint that fits.
        TrainingInterrupted: Ctrl-C, when there is a folder.

    Example:
        >>> from nbdl import data, nn, optim, train
        >>> digits, _ = data.digits()
        >>> model = nn.Linear(64, 10)
        >>> history = train.fit(
        ...     model,
        ...     data.DataLoader(digits, batch_size=64, shuffle=True),
        ...     optim.SGD(model.parameters(), lr=0.1),
        ...     nn.CrossEntropyLoss(),
        ...     epochs=2,
        ... )
        >>> history[1]["loss"] < history[0]["loss"]
        True
    """
    trainer = Trainer(model, loader, optimizer, loss, callbacks=callbacks, **options)
    if folder is not None:
        trainer.keep_in(folder, resume=resume)
    elif resume:
        raise CheckpointError("folder: expected the folder of the run to resume, got None")
    return trainer.run(epochs)
