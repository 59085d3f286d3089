"""What a recorded function does with gradients: where they arrive, what is dropped, and which of them updates use.

A function that only calls `backward` adds its gradients to those that leaves have, in every run. One that drops them,
by `zero_grad`, starts anew in every run. An update uses what `.grad` holds when it comes, so these gradients must be
the function's own: it has dropped what was there before, or nothing was.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nbdl.autograd import Tensor, wrap
from nbdl.optim import Optimizer
from nbdl.runtime import arrays
from nbdl.runtime.errors import RecordingError


class Gradients:
    """The gradients of one recording.

    Args:
        recording: The recording.
        repeat: `repeat(what, owner, function)` calls a function of Python now and in every run.
    """

    def __init__(self, recording: Any, repeat: Callable[[str, Any, Callable[[], None]], None]) -> None:
        self._recording, self._repeat = recording, repeat
        self._before: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._dropped: dict[int, Tensor] = {}
        self._empty_before: dict[int, Tensor] = {}  # leaves that had no gradients, on which the function relies
        self._held: list[Any] = []  # arrays that updates use
        self._arrived: list[tuple[Tensor, Tensor]] = []
        self._shown: list[_Gradient] = []

    # -- while the function runs

    def noting_leaves(self, store: Any) -> Any:
        """Lets gradients start anew, and notes whose they are."""

        def noting(leaf: Tensor, array: Any, foreign: set[int]) -> None:
            if id(leaf) not in self._before:
                self._before[id(leaf)] = (leaf, leaf._grad)
                leaf._grad = None
            store(leaf, array, foreign)

        return noting

    def noting_resets(self, zero_grad: Any) -> Any:
        """Repeats `zero_grad()` in every run."""

        def noting(owner: Any, set_to_none: bool = True) -> None:
            if not set_to_none:
                raise RecordingError("zero_grad(set_to_none=False) cannot be part of a graph: call zero_grad()")
            self._repeat("zero_grad()", owner, functools.partial(zero_grad, owner))
            self._drop(_parameters_of(owner))

        return noting

    def noting_writes(self, write: Any) -> Any:
        """The setter of `.grad`: `None` is set in every run."""

        def noting(leaf: Tensor, value: Tensor | None) -> None:
            if value is not None:
                raise RecordingError("grad: a gradient that Python sets cannot be part of a graph")
            self._repeat("grad = None", leaf, functools.partial(write, leaf, None))
            self._drop([leaf])

        return noting

    def noting_reads(self, read: Any) -> Any:
        """The getter of `.grad`."""

        def noting(leaf: Tensor) -> Tensor | None:
            gradient: Tensor | None = read(leaf)
            if gradient is not None and leaf._node is None:
                self._need_own(leaf)
            return gradient

        return noting

    def noting_updates(self, step: Any) -> Any:
        """Repeats `step()` in every run, with the gradients that leaves have at its place."""

        def noting(optimizer: Optimizer, closure: Any = None) -> None:
            if closure is not None:
                raise RecordingError("step(closure) cannot be part of a graph: call the closure, then step()")
            held = [(leaf, gradient) for leaf in _parameters_of(optimizer) if (gradient := self._own(leaf)) is not None]

            def update() -> None:
                for leaf, gradient in held:
                    leaf._grad = gradient
                step(optimizer)

            self._repeat("an optimizer's step()", optimizer, update)

        return noting

    def _drop(self, leaves: Iterable[Tensor]) -> None:
        for leaf in leaves:
            self._before[id(leaf)] = (leaf, None)
            self._dropped[id(leaf)] = leaf

    def _own(self, leaf: Tensor) -> Tensor | None:
        """The gradient that an update finds."""
        gradient = leaf._grad
        if gradient is None:
            return None
        self._need_own(leaf)
        array = self._recording.shower(gradient._array)()
        self._held.append(array)
        return wrap(array)

    def _need_own(self, leaf: Tensor) -> None:
        """Raises unless the function has made all of the gradient that the leaf has now."""
        if id(leaf) in self._dropped:
            return
        if id(leaf) not in self._before or self._before[id(leaf)][1] is not None:
            raise RecordingError(
                "what was in .grad before the call cannot be used in a graph, by a step() or otherwise: let the "
                "function begin with zero_grad()"
            )
        self._empty_before[id(leaf)] = leaf

    # -- afterwards

    def finish(self) -> None:
        """Takes the gradients that arrived, and gives the leaves back what they had before."""
        self._arrived = [(leaf, leaf._grad) for leaf, _ in self._before.values() if leaf._grad is not None]
        for leaf, gradient in self._before.values():
            leaf._grad = gradient
        self._before.clear()  # what it holds, nobody could free

    def show(self, inputs: list[Any], results: list[Any]) -> None:
        """Gets ready to give them in every run.

        Args:
            inputs: The recording's arguments, among which leaves may be.
            results: The arrays that the recording shows anyway.
        """
        keeper = self._recording.keeper
        places = {id(value): number for number, value in enumerate(inputs) if isinstance(value, Tensor)}
        for leaf, gradient in self._arrived:
            array = gradient._array
            starts_anew = id(leaf) in self._dropped or id(leaf) in self._empty_before
            show = functools.partial(_itself, array) if keeper(array) is None else self._recording.shower(array)
            self._shown.append(_Gradient(places.get(id(leaf), leaf), show, keeper(array), starts_anew))
        self._arrived.clear()
        known = [*results, *self._held, *[gradient.array for gradient in self._shown]]
        for ours in self._shown:
            ours.references += sum([keeper(array) is ours.keeper for array in known])

    def hold(self) -> bool:
        """Whether the next run may write over the gradients, and finds none where it found none."""
        if not all([leaf._grad is None for leaf in self._empty_before.values()]):
            return False
        for leaf in self._dropped.values():
            leaf._grad = None  # as the function will; what is still there then, somebody keeps
        return not any([gradient.is_kept(self._recording) for gradient in self._shown])

    @contextlib.contextmanager
    def running(self, arguments: tuple[Any, ...]) -> Iterator[None]:
        """Gives the leaves the gradients of the run that the block is."""
        earlier = [gradient.before(arguments, self._recording) for gradient in self._shown]
        yield
        for gradient, (leaf, kept) in zip(self._shown, earlier, strict=True):
            gradient.give(leaf, kept)


class _Gradient:
    """The gradient of a leaf, in memory of a recording.

    Args:
        leaf: The leaf; the number of an argument for one that is the function's own.
        show: Makes arrays on the memory of the gradient, which every run writes anew; holds the keeper.
        keeper: The object that lives as long as an array shows that memory.
        starts_anew: Whether nothing that the leaf had before counts.

    Attributes:
        array: One such array.
        references: How many references to the keeper are the recording's.
    """

    def __init__(self, leaf: Any, show: Callable[[], Any], keeper: Any, starts_anew: bool) -> None:
        self._leaf, self._show, self.keeper, self._starts_anew = leaf, show, keeper, starts_anew
        self.array = show()
        self.references = sys.getrefcount(object()) + 2

    def is_kept(self, recording: Any) -> bool:
        """Whether somebody besides its leaf has the gradient of an earlier run."""
        if type(self._leaf) is int:
            return False  # an argument gets a copy
        gradient = self._leaf._grad
        of_leaf = gradient is not None and recording.keeper(gradient._array) is self.keeper
        return sys.getrefcount(self.keeper) > self.references + of_leaf

    def before(self, arguments: tuple[Any, ...], recording: Any) -> tuple[Tensor, Any]:
        """The leaf, and a copy of its gradient if that counts and lies where the next one will."""
        leaf = arguments[self._leaf] if type(self._leaf) is int else self._leaf
        if self._starts_anew or leaf._grad is None or recording.keeper(leaf._grad._array) is not self.keeper:
            return leaf, None
        return leaf, arrays.copied(leaf._grad._array)

    def give(self, leaf: Tensor, kept: Any) -> None:
        """Adds the gradient of a run to the leaf's `.grad`, as backward does."""
        if leaf._grad is None or self._starts_anew:
            of_argument = type(self._leaf) is int  # which is another tensor in each call
            leaf._grad = wrap(arrays.copied(self.array) if of_argument else self._show())
            return
        leaf._grad._version[0] += 1
        if kept is not None:
            arrays.add_to(self.array, kept)
        else:
            arrays.add_to(leaf._grad._array, self.array)


def _itself(array: Any) -> Any:
    return array


def _parameters_of(owner: Any) -> list[Tensor]:
    """Of an optimizer, or of a module."""
    if isinstance(owner, Optimizer):
        return [parameter for group in owner.param_groups for parameter in group["params"]]
    return list(owner.parameters())
