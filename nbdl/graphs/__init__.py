"""Graphs: training steps recorded once, and run again without Python between their kernels."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from nbdl.autograd import Tensor, is_grad_enabled
from nbdl.graphs.captured import Captured, now
from nbdl.graphs.host import HostRecording
from nbdl.runtime import jit, placement
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DeviceError, RecordingError
from nbdl.runtime.threads import get_num_threads

__all__ = ["graph"]

MOST_TRIALS = 4
"""Runs on the CPU of which no two neighbours did the same, after which a function is refused."""

_one_at_a_time = threading.Lock()
"""Held while a function is recorded; other threads may run what they have recorded, or anything else."""


class graph:
    """A function whose launches are recorded once and then repeated, without Python between the kernels.

    For steps of small networks, which spend more time in Python than in kernels. On the CPU the first two calls run
    the function and write its launches down; when both did the same, later calls repeat them. On a GPU the first call
    records and the launches become one CUDA graph.

    Called with tensors of other shapes, dtypes or strides, other numbers, in another grad mode, with another number of
    threads, after a tensor that it uses was replaced, or a module switched between training and evaluation, it records
    again. Each run draws new random numbers, as the function itself would. Gradients arrive in `.grad` as they do
    without a graph.

    On the CPU `zero_grad()`, clipping and an optimizer's `step()` may be part of the function: each run calls `step()`
    with the learning rate and the step count of then. On a GPU they come before and after it.

    Args:
        function: Takes tensors of one device and hashable values, works on tensors of that device alone, and returns a
            tensor, None, or a tuple of them. It runs forward and backward passes on copies of its arguments. What else
            it does besides kernels, printing say, is not repeated; numbers from elsewhere than its arguments stay what
            they were.

    What a call returns are the function's results, detached: copies, which the next call does not overwrite. The
    memory of all that the function computes stays with the graph until `reset()`.

    Raises:
        RecordingError: The function reads values (`item()`, `if loss > 1:`), copies between devices, steps a
            schedule, averages weights, uses gradients from before the call, returns something other than tensors, or
            passes other numbers to its kernels from run to run.
        ArgumentTypeError: An argument is neither a tensor nor hashable.
        ArgumentError: An argument has a graph of its own; detach() it.
        DeviceError: The arguments lie on several devices.

    Example:
        >>> double = nbdl.graph(lambda x: x + x)
        >>> [double(nbdl.tensor(float(number))).item() for number in range(4)]
        [0.0, 2.0, 4.0, 6.0]
    """

    _kind: str | None = None  # the device, where it does not follow from the arguments

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"function: expected a function, got {type(function).__name__}")
        self._function = function
        self._captured: dict[Any, Captured] = {}
        self._trials: dict[Any, tuple[int, Captured]] = {}
        self.recordings = 0
        """How often the function was recorded."""

    def __get__(self, owner: Any, _: Any = None) -> Any:
        """As a method of a class: the owner is the first argument."""
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if now.is_recording:
            return self._function(*arguments, **options)
        function, names = self._function, tuple(options)
        if names:
            function = functools.partial(_with_names, function, names)
            arguments = (*arguments, *options.values())
        kind = self._kind or _kind_of(arguments)
        key = (
            *(kind, is_grad_enabled(), get_num_threads(), names),
            *[_describe(number, argument, kind) for number, argument in enumerate(arguments)],
        )
        captured = self._captured.get(key)
        if captured is not None:
            with captured.lock:
                if self._captured.get(key) is captured:  # no other thread has given it up meanwhile
                    if captured.holds():
                        return captured.run(arguments, False)
                    self._captured.pop(key).recording.free()
        record = self._on_gpu if kind == "cuda" else self._on_cpu
        with _one_at_a_time:
            return record(key, function, arguments)

    def reset(self) -> None:
        """Forgets all recordings and gives their memory back."""
        for captured in self._captured.values():
            captured.recording.free()
        self._captured.clear()
        self._trials.clear()

    def _on_gpu(self, key: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        from nbdl.runtime.cuda.recording import Recording

        captured = Captured(function, arguments, lambda _: Recording())
        with captured.lock:
            self._captured[key] = captured
            self.recordings += 1
            return captured.run(arguments, True)

    def _on_cpu(self, key: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A run that is written down. It is repeated from the next call on if the one before did the same."""
        if jit.launch_override is not None:  # a profiler, say, wants to see the function's own launches
            return function(*arguments)
        trial = Captured(function, arguments, HostRecording)
        trials, before = self._trials.pop(key, (0, None))
        difference = "it has run once" if before is None else before.recording.difference(trial.recording)
        if difference is not None:
            if trials + 1 == MOST_TRIALS:
                raise RecordingError(
                    f"the function does something else in each of {MOST_TRIALS} runs: {difference}. Python worked it "
                    "out anew; pass it as an argument, or as a tensor"
                )
            self._trials[key] = trials + 1, trial
        with trial.lock:
            if difference is None:
                self._captured[key] = trial
                self.recordings += 1
            return trial.run(arguments, True)


def _with_names(function: Callable[..., Any], names: tuple[str, ...], *values: Any) -> Any:
    """Calls with the last of the values by their names."""
    positional = len(values) - len(names)
    return function(*values[:positional], **dict(zip(names, values[positional:], strict=True)))


def _kind_of(arguments: tuple[Any, ...]) -> str:
    """The device of the tensors among the arguments."""
    kinds = {placement.kind_of(argument._array) for argument in arguments if isinstance(argument, Tensor)}
    if len(kinds) > 1:
        raise DeviceError("arguments: expected tensors of one device, got some on the CPU and some on the GPU")
    return kinds.pop() if kinds else "cpu"


def _describe(number: int, argument: Any, kind: str) -> Any:
    """What of an argument a recording holds for."""
    if not isinstance(argument, Tensor):
        try:
            hash(argument)
        except TypeError:
            raise ArgumentTypeError(
                f"argument {number}: expected a tensor or a hashable value, got {type(argument).__name__}, which may "
                "hold something else in each call; pass tensors on their own, arrays as nbdl.tensor(array)"
            ) from None
        return type(argument), argument.hex() if type(argument) is float else argument  # -0.0 is not 0.0, NaN is NaN
    array = argument._array
    if placement.kind_of(array) != kind:
        raise DeviceError(f'argument {number}: a graph takes tensors on the GPU, this one is on the CPU; .to("cuda")')
    if argument._node is not None and is_grad_enabled():
        raise ArgumentError(
            f"argument {number}: expected a tensor without a graph of its own, got a result of recorded operations; "
            "detach() it, or compute it inside of the function"
        )
    return array.shape, array.dtype, array.strides, argument.requires_grad
