"""One recording of a function, with all of the program that it holds for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from nbdl.autograd import Tensor, wrap
from nbdl.profiling.seams import of_this_thread, watching
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
    """

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], new_recording: Callable[[list[Any]], Any]
    ) -> None:
        self._tensors: dict[int, tuple[Tensor, Any, bool]] = {}
        self._modules: dict[int, tuple[Any, bool]] = {}
        self._before: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._inputs = [_own(argument) if isinstance(argument, Tensor) else argument for argument in arguments]
        own = [value._array for value in self._inputs if isinstance(value, Tensor)]
        self.recording = new_recording(own)
        try:
            with (
                self.recording.running(),
                watching(
                    operation=of_this_thread(self._noting_tensors({id(array) for array in own})),
                    layer=of_this_thread(self._noting_modules),
                    update=of_this_thread(_refuse_update),
                    leaf=of_this_thread(self._noting_leaves),
                ),
            ):
                now.is_recording = True
                result = function(*self._inputs)
        finally:
            now.is_recording = False
            gradients = [(leaf, leaf._grad) for leaf, _ in self._before.values()]
            for leaf, gradient in self._before.values():
                leaf._grad = gradient
            self._before.clear()  # what it holds, nobody could free
        self._is_tuple = isinstance(result, (tuple, list))
        self._results = [self._shown(_array_of(value)) for value in (result if self._is_tuple else (result,))]
        places = {id(value): number for number, value in enumerate(self._inputs) if isinstance(value, Tensor)}
        self._gradients = [
            _Gradient(places.get(id(leaf), leaf), self._shown(gradient._array), self.recording.keeper(gradient._array))
            for leaf, gradient in gradients
            if gradient is not None
        ]
        for ours in self._gradients:
            ours.references += self._arrays_on(ours.keeper)

    def _shown(self, array: Any) -> Any:
        """An array on the same memory, which only this object knows."""
        return array if self.recording.keeper(array) is None else self.recording.shown(array)

    def _arrays_on(self, keeper: Any) -> int:
        """How many arrays this object has on a piece of memory."""
        known = [*self._results, *[gradient.array for gradient in self._gradients]]
        return sum([self.recording.keeper(array) is keeper for array in known])

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

    def _noting_leaves(self, store: Any) -> Any:
        """Lets gradients start anew, and notes whose they are."""

        def noting(leaf: Tensor, array: Any, foreign: set[int]) -> None:
            if id(leaf) not in self._before:
                self._before[id(leaf)] = (leaf, leaf._grad)
                leaf._grad = None
            store(leaf, array, foreign)

        return noting

    def holds(self) -> bool:
        """Whether all that was recorded from is still as it was, and nobody keeps a gradient of an earlier run."""
        for tensor, array, wanted in self._tensors.values():
            if tensor._array is not array or tensor.requires_grad != wanted:
                return False
        for module, training in self._modules.values():
            if module.training != training:
                return False
        return not any([gradient.is_kept(self.recording) for gradient in self._gradients])

    def run(self, arguments: tuple[Any, ...], first: bool) -> Any:
        """One run with these arguments; the first is the one that was recorded."""
        for own, argument in zip(self._inputs, arguments, strict=True):
            if isinstance(own, Tensor) and not (first and self.recording.has_run):
                arrays.copy_into(own._array, argument._array)
        earlier = [gradient.before(arguments, self.recording) for gradient in self._gradients]
        self.recording.run(first)
        for gradient, (leaf, kept) in zip(self._gradients, earlier, strict=True):
            gradient.give(leaf, kept, self.recording)
        results = tuple([None if array is None else wrap(arrays.copied(array)) for array in self._results])
        return results if self._is_tuple else results[0]


class _Gradient:
    """The gradient of a leaf, in memory of a recording.

    Args:
        leaf: The leaf; the number of an argument for one that is the function's own.
        array: The gradient, which every run writes anew.
        keeper: The object that lives as long as an array shows that memory.

    Attributes:
        references: How many references to the keeper are the recording's.
    """

    def __init__(self, leaf: Any, array: Any, keeper: Any) -> None:
        self._leaf, self.array, self.keeper = leaf, array, keeper
        self.references = sys.getrefcount(object()) + 1

    def is_kept(self, recording: Any) -> bool:
        """Whether somebody besides its leaf has the gradient of an earlier run."""
        if type(self._leaf) is int:
            return False  # an argument gets a copy
        gradient = self._leaf._grad
        of_leaf = gradient is not None and recording.keeper(gradient._array) is self.keeper
        return sys.getrefcount(self.keeper) > self.references + of_leaf

    def before(self, arguments: tuple[Any, ...], recording: Any) -> tuple[Tensor, Any]:
        """The leaf, and a copy of its gradient if that lies where the next one will."""
        leaf = arguments[self._leaf] if type(self._leaf) is int else self._leaf
        is_ours = leaf._grad is not None and recording.keeper(leaf._grad._array) is self.keeper
        return leaf, arrays.copied(leaf._grad._array) if is_ours else None

    def give(self, leaf: Tensor, kept: Any, recording: Any) -> None:
        """Adds the gradient of a run to the leaf's `.grad`, as backward does."""
        if leaf._grad is None:
            of_argument = type(self._leaf) is int  # which is another tensor in each call
            leaf._grad = wrap(arrays.copied(self.array) if of_argument else recording.shown(self.array))
            return
        leaf._grad._version[0] += 1
        if kept is not None:
            arrays.add_to(self.array, kept)
        else:
            arrays.add_to(leaf._grad._array, self.array)


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


def _refuse_update(_: Any) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise RecordingError(
            "an optimizer's step cannot be part of a graph: its numbers change from step to step. Call it after "
            "the graph; it is one launch"
        )

    return refuse
