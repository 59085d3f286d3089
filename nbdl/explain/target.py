"""What is explained: the score of a class, one number an example, and its gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor, enable_grad, grad, no_grad, wrap
from nbdl.nn import Module
from nbdl.ops.creation import ones_like
from nbdl.runtime.checks import check_float, check_ids
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError

Model: TypeAlias = Callable[[Tensor], Tensor]
"""A module, or any function of a batch of inputs. The examples of a batch must not influence each other."""

TargetLike: TypeAlias = "int | Sequence[int] | np.ndarray | Tensor | Callable[[Tensor], Tensor] | None"
"""A class for all examples, one for each, or a function of the output [N, ...] that returns one score an example [N].

None stands for the class with the highest score; where the model gives one number an example, for that number.
"""


class Target:
    """The score that an explanation is about, settled once: later inputs are asked about the same classes.

    Args:
        model: What is explained.
        input: [N, ...] the examples.
        target: As `TargetLike` says.
    """

    def __init__(self, model: Model, input: Tensor, target: TargetLike) -> None:
        self._function: Callable[[Tensor], Tensor] | None = target if callable(target) else None
        self.ids: np.ndarray | None = None
        if self._function is not None:
            return
        with no_grad():
            output = output_of(model, input)
        count = len(input)
        if output.shape in ((count,), (count, 1)):
            if target is not None:
                raise ArgumentError(f"target: expected None, the model gives one number an example, got {target!r}")
        elif output.ndim != 2 or output.shape[0] != count:
            raise ShapeError(
                f"model: expected an output [{count}, classes] or [{count}], got {list(output.shape)}; "
                "pass a function of the output as target that gives one number an example"
            )
        elif target is None:
            self.ids = output.argmax(1).numpy()
        else:
            self.ids = _class_ids(target, count, output.shape[1])

    def scores(self, output: Tensor, count: int) -> Tensor:
        """The score of each row of an output; with several rows an example, the examples follow each other in turn."""
        if self._function is not None:
            scores = self._function(output)
            if not isinstance(scores, Tensor) or scores.shape != (count,):
                got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ShapeError(f"target: expected a function that returns a Tensor of shape [{count}], got {got}")
            return scores
        if self.ids is None:
            return output.reshape(count)
        rows = np.resize(self.ids, count).reshape(count, 1)
        return ops.gather(output, 1, wrap(rows)).reshape(count)


def _class_ids(target: Any, count: int, classes: int) -> np.ndarray:
    ids = target.numpy() if isinstance(target, Tensor) else np.asarray(target)
    if ids.dtype.kind not in "iu":
        raise ArgumentTypeError(f"target: expected class ids or a function, got {target!r}")
    if ids.shape not in ((), (count,)):
        raise ShapeError(f"target: expected one class id, or {count}, one for each example, got {list(ids.shape)}")
    check_ids("target", ids.reshape(-1), classes)
    return np.broadcast_to(ids, (count,)).astype(np.int64)


def check_input(input: Any) -> Tensor:
    """The input outside the graph, if it is a batch of floating-point numbers."""
    check_float("input", input)
    if input.ndim < 2:
        raise ShapeError(f"input: expected a batch [N, ...], got shape {list(input.shape)}")
    return input.detach()


def output_of(model: Model, input: Tensor) -> Tensor:
    """The model's output, if it is a tensor."""
    output = model(input)
    if not isinstance(output, Tensor):
        raise ArgumentTypeError(
            f"model: expected one that returns a Tensor, got {type(output).__name__}; pass a function that picks one"
        )
    return output


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode, and no gradients for the parameters, as long as a model is being explained."""
    if not isinstance(model, Module):
        yield
        return
    trained = [module for module in model.modules() if module.training]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learned:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True
        for parameter in learned:
            parameter.requires_grad = True


def gradient(model: Model, input: Tensor, target: Target) -> Tensor:
    """The gradient of each row's score for the row itself, in the shape of the input."""
    with enable_grad():
        leaf = input.detach().requires_grad_()
        scores = target.scores(output_of(model, leaf), len(leaf))
        if not scores.requires_grad:
            raise GradientError("model: its output has no gradient for the input; is it cut off by detach or no_grad?")
        (result,) = grad(scores, leaf, ones_like(scores.detach()))
    assert result is not None
    return result


def scores_of(model: Model, input: Tensor, target: Target, batch_size: int) -> Tensor:
    """The score of each row, in passes of at most `batch_size` rows."""
    with no_grad():
        parts = []
        for first in range(0, max(len(input), 1), batch_size):
            rows = input[first : first + batch_size]
            parts.append(target.scores(output_of(model, rows), len(rows)))
        return ops.cat(parts) if len(parts) > 1 else parts[0]
