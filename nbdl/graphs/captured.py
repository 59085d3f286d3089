"""One recording of a function, with all of the program that it holds for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from nbdl.autograd import Tensor, wrap
from nbdl.graphs.gradients import Gradients
from nbdl.profiling.seams import Wrapper, watching
from nbdl.runtime import arrays
from nbdl.runtime.errors import RecordingError


class _Now(threading.local):
    is_recording = False


now = _Now()
"""Whether this thread records: a graph in a graph is a function like any other."""


class Captured:
    """A recording of one call, and its later runs.

    Args:
        function: The function, which runs once, now.
        arguments: What it gets: tensors, in memory of the recording's own, and other values.
        new_recording: Makes the recording, given the arrays of the tensors.

    Attributes:
        recording: The recording.
        lock: To be held during a run: there is one memory for all threads.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], new_recording: Callable[[list[Any]], Any]
    ) -> None:
        self.lock = threading.Lock()
        self._tensors: dict[int, tuple[Tensor, Any, bool]] = {}
        self._modules: dict[int, tuple[Any, bool]] = {}
        self._inputs = [_own(argument) if isinstance(argument, Tensor) else argument for argument in arguments]
        own = [value._array for value in self._inputs if isinstance(value, Tensor)]
        self.recording = new_recording(own)
        self._gradients = Gradients(self.recording, self._repeat)
        try:
            with (
                self.recording.running(),
                watching(
                    operation=_while_recording(self._noting_tensors({id(array) for array in own})),
                    layer=_while_recording(self._noting_modules),
                    update=_while_recording(self._gradients.noting_updates),
                    leaf=_while_recording(self._gradients.noting_leaves),
                    reset=_while_recording(self._gradients.noting_resets),
                    held=self._watching_property,
                ),
            ):
                now.is_recording = True
                result = function(*self._inputs)
        finally:
            now.is_recording = False
            self._gradients.finish()
        self._is_tuple = isinstance(result, (tuple, list))
        self._results = [self._shown(_array_of(value)) for value in (result if self._is_tuple else (result,))]
        self._gradients.show(self._inputs, self._results)

    def _repeat(self, what: str, owner: Any, function: Callable[[], None]) -> None:
        """Calls a function of Python, now and at this place of every run."""
        now.is_recording = False
        try:
            self.recording.repeat(what, owner, function)
        finally:
            now.is_recording = True

    def _shown(self, array: Any) -> Any:
        """An array on the same memory, which only this object knows."""
        return array if self.recording.keeper(array) is None else self.recording.shower(array)()

    def _noting_tensors(self, own: set[int]) -> Any:
        """Notes the tensors from outside that operations work on."""

        def wrapper(apply: Any) -> Any:
            def noting(op: Any, *inputs: Any) -> Any:
                for value in inputs:
                    if isinstance(value, Tensor) and value._node is None:
                        array = value._array
                        if id(array) not in own and self.recording.keeper(array) is None:
                            self._tensors[id(value)] = (value, array, value.requires_grad)
                return apply(op, *inputs)

            return noting

        return wrapper

    def _noting_modules(self, call: Any) -> Any:
        def noting(module: Any, *arguments: Any, **options: Any) -> Any:
            self._modules[id(module)] = (module, module.training)
            return call(module, *arguments, **options)

        return noting

    def _watching_property(self, grad: Any) -> property:
        """Notes who reads and sets `.grad`."""
        reading = _while_recording(self._gradients.noting_reads)(grad.fget)
        return property(reading, _while_recording(self._gradients.noting_writes)(grad.fset))

    def holds(self) -> bool:
        """Whether all that was recorded from is still as it was, and nobody keeps a gradient of an earlier run."""
        for tensor, array, wanted in self._tensors.values():
            if tensor._array is not array or tensor.requires_grad != wanted:
                return False
        for module, training in self._modules.values():
            if module.training != training:
                return False
        return self._gradients.hold()

    def run(self, arguments: tuple[Any, ...], first: bool) -> Any:
        """One run with these arguments; the first is the one that was recorded."""
        for own, argument in zip(self._inputs, arguments, strict=True):
            if isinstance(own, Tensor) and not (first and self.recording.has_run):
                arrays.copy_into(own._array, argument._array)
        with self._gradients.running(arguments):
            self.recording.run(first)
        results = tuple([None if array is None else wrap(arrays.copied(array)) for array in self._results])
        return results if self._is_tuple else results[0]


def _while_recording(wrapper: Wrapper) -> Wrapper:
    """The wrapper for what this thread calls while it records; what others call meanwhile goes the usual way."""

    def both(usual: Any) -> Any:
        noting = wrapper(usual)

        def chosen(*arguments: Any, **options: Any) -> Any:
            return (noting if now.is_recording else usual)(*arguments, **options)

        return chosen

    return both


def _own(argument: Tensor) -> Tensor:
    """Memory of the recording's own for an argument: each run copies the argument there."""
    tensor = wrap(arrays.copied(argument._array))
    tensor.requires_grad = argument.requires_grad
    return tensor


def _array_of(result: Any) -> Any:
    if result is None:
        return None
    if not isinstance(result, Tensor):
        raise RecordingError(
            f"a graph returns tensors, or a tuple of them, got {type(result).__name__}: what Python works out is not "
            "repeated"
        )
    return result._array
