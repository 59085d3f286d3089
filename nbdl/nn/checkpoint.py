r"""Activation checkpointing: forget what the way back needs, and compute it again when it is needed.

A forward pass keeps an array or two of every operation until the backward pass has used them. A checkpointed function
keeps its arguments only. When the backward pass reaches it, the function runs once more, and what its operations save
is put where the first run's was. So the gradients, hooks and sums are those of the graph that was there all along: the
same bits, for one more forward pass.

With L layers of one size in segments of k, the arguments of L / k segments and the inside of one are alive at the same
time: least, about $2\sqrt{L}$ layers instead of L, for $k = \sqrt{L}$.

Source: Chen, Xu, Zhang and Guestrin (2016), "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from nbdl.autograd import Context, Op, Tensor, enable_grad, is_grad_enabled
from nbdl.nn.containers import Sequential
from nbdl.nn.module import Module
from nbdl.profiling.seams import watching
from nbdl.runtime.checks import check_choice, check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError
from nbdl.runtime.philox import default_generator

PLACE = frozenset(
    {"op", "edges", "outputs", "needs_input_grad", "hooks", "_non_differentiable", "_versions", "_segment"}
)
"""What a node keeps: its place in the graph. All else is what its backward needs, and can be computed again."""

Contexts = Callable[[], tuple[Any, Any]]


def _no_contexts() -> tuple[Any, Any]:
    return contextlib.nullcontext(), contextlib.nullcontext()


class _Segment:
    """A function that ran without keeping anything, and the nodes that it left in the graph."""

    def __init__(self, run: Callable[[], Any], state: Any, around: Any, checked: bool) -> None:
        self.run, self.state, self.around, self.checked = run, state, around, checked
        self.nodes: list[Context] = []

    def forget(self) -> None:
        """Empties the nodes. The first one that is asked for its gradients fills all of them again."""
        for node in self.nodes:
            if (inner := node.__dict__.get("_segment")) is not None:  # of a checkpoint in this one: it comes back too
                del node._segment
                inner.nodes = []
            for name in node.__dict__.keys() - PLACE:
                del node.__dict__[name]
            node.op, node._segment = _recomputing(_plain(node.op)), self  # type: ignore[arg-type]

    def restore(self) -> None:
        """Runs the function again, and gives each node what the same node of the new graph has."""
        for node in self.nodes:
            _check_versions(node)
        current = default_generator.get_state()
        found: list[Context] = []
        try:
            if self.state is not None:
                default_generator.set_state(self.state)
            with self.around, _collecting(found), enable_grad():
                self.run()
        finally:
            default_generator.set_state(current)
        if self.checked or len(found) != len(self.nodes):
            self._compare(found)
        nodes, self.nodes = self.nodes, []  # a node that is gone has nothing to wait for
        for node, new in zip(nodes, found, strict=True):
            del node._segment
            node.op = new.op
            for name in new.__dict__.keys() - PLACE:
                node.__dict__[name] = new.__dict__[name]
            node._versions = new._versions
            if (inner := new.__dict__.get("_segment")) is not None:
                node._segment = inner
                inner.nodes[inner.nodes.index(new)] = node

    def _compare(self, found: list[Context]) -> None:
        for place, node in enumerate(self.nodes):
            new = found[place] if place < len(found) else None
            if new is None or _plain(new.op) is not _plain(node.op) or list(new.outputs) != list(node.outputs):
                break
        else:
            if len(found) == len(self.nodes):
                return
            place, new = len(self.nodes), found[len(self.nodes)]
            node = new
        raise GradientError(
            f"checkpoint: the function did something else when it ran again. Operation {place} of "
            f"{len(self.nodes)} was {node.name() if place < len(self.nodes) else 'none'}, "
            f"and is now {'none' if new is None else new.name()}, or its results have another shape"
        )


@functools.cache
def _recomputing(op: type[Op]) -> type[Op]:
    """The operation, whose backward first computes again what it needs."""

    def backward(node: Context, *gradients: Any) -> Any:
        while (segment := node.__dict__.get("_segment")) is not None:
            segment.restore()
        return node.op.backward(node, *gradients)

    return type(op.__name__, (op,), {"backward": staticmethod(backward), "recomputed": op})


def _plain(op: type[Op]) -> type[Op]:
    return getattr(op, "recomputed", op)


def _check_versions(node: Context) -> None:
    for version, value in node._versions:
        if version[0] != value:
            raise GradientError(
                f"checkpoint: a tensor that {node.name()} used was changed in place before the function could run "
                f"again (version {version[0]}, expected {value}). Use the out-of-place form, or clone() it first"
            )


def _collecting(nodes: list[Context]) -> Any:
    """Notes the nodes that this thread records, in their order."""
    own = threading.get_ident()

    def noted(record: Callable[..., None]) -> Callable[..., None]:
        def recorded(node: Context, inputs: Any, outputs: Any) -> None:
            record(node, inputs, outputs)
            if threading.get_ident() == own:
                nodes.append(node)

        return recorded

    return watching(record=noted)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = _no_contexts,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Runs a function without keeping what its operations save; the backward pass runs it once more.

    Gradients are the same bits as without. Random numbers of the default stream are drawn again as they were, so
    dropout drops the same. What else the function changes, such as the running statistics of batch normalization,
    changes twice.

    Args:
        function: Any function or module. It must do the same when it is called again.
        args: What it is called with.
        use_reentrant: For PyTorch's sake; True, False and None do the same, what PyTorch does for False.
        context_fn: Returns two context managers, for the first run and for the second.
        determinism_check: 'default' compares operations and shapes of both runs, 'none' only their number.
        debug: For PyTorch's sake: an error names the operations in any case.
        early_stop: For PyTorch's sake: the function always runs to its end.
        preserve_rng_state: Draw the same random numbers again.
        kwargs: What the function is called with by name.

    Returns:
        What the function returns.

    Raises:
        ArgumentError: An unknown determinism_check.
        GradientError: In the backward pass: the function did something else, or what it used was changed in place.

    Example:
        >>> layer = nbdl.nn.Sequential(nbdl.nn.Linear(4, 4), nbdl.nn.Tanh(), nbdl.nn.Linear(4, 2))
        >>> x = nbdl.randn(3, 4, requires_grad=True)
        >>> nbdl.checkpoint(layer, x).sum().backward()
        >>> x.grad.shape
        (3, 4)

    Source: Chen, Xu, Zhang and Guestrin (2016).
    """
    del use_reentrant, debug, early_stop
    if not callable(function):
        raise ArgumentTypeError(f"function: expected a function or a module, got {type(function).__name__}")
    check_choice("determinism_check", determinism_check, ("default", "none"))
    if not is_grad_enabled():
        return function(*args, **kwargs)
    first, second = context_fn()
    state = default_generator.get_state() if preserve_rng_state else None
    segment = _Segment(lambda: function(*args, **kwargs), state, second, determinism_check == "default")
    with first, _collecting(segment.nodes):
        result = function(*args, **kwargs)
    segment.forget()
    return result


def checkpoint_sequential(
    functions: Sequential | Sequence[Callable[[Any], Any]],
    segments: int,
    input: Tensor,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Runs functions one after the other, in segments that are checkpointed, all but the last.

    Args:
        functions: A Sequential, or a list of functions or modules.
        segments: How many pieces of about the same length.
        input: What the first one is called with.
        use_reentrant: As in `checkpoint`.
        kwargs: preserve_rng_state, as in `checkpoint`.

    Returns:
        What the last one returns.

    Raises:
        ArgumentError: More segments than functions, or an unknown argument.

    Example:
        >>> model = nbdl.nn.Sequential(*[nbdl.nn.Linear(4, 4) for _ in range(6)])
        >>> nbdl.checkpoint_sequential(model, 3, nbdl.randn(2, 4)).shape
        (2, 4)
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ArgumentError(f"kwargs: expected preserve_rng_state only, got {', '.join(map(repr, kwargs))}")
    listed: list[Any] = list(functions)
    check_int("segments", segments, 1, max(len(listed), 1))
    length = len(listed) // segments
    for number in range(segments):
        part = listed[number * length : (number + 1) * length if number < segments - 1 else None]
        run = _chain(part)
        if number == segments - 1:
            return run(input)
        input = checkpoint(run, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return input


def _chain(functions: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """The functions one after the other; as a Sequential, if they are modules, which may do two at once."""
    if all(isinstance(function, Module) for function in functions):
        return Sequential(*functions)  # type: ignore[arg-type]

    def run(value: Any) -> Any:
        for function in functions:
            value = function(value)
        return value

    return run
