r"""Losses that ask the scores of the right classes to stand above the others by a margin m.

Multi-class, one class y a sample, and multi-label, a set Y of classes a sample, of C classes:

$$
\text{multi margin: } \frac1C \sum_{c \ne y} w_y \max(0, m - x_y + x_c)^p, \qquad
\text{multilabel margin: } \frac1C \sum_{y \in Y} \sum_{c \notin Y} \max(0, 1 - x_y + x_c)
$$

$$
\text{multilabel soft margin: } -\frac1C \sum_c w_c \big( t_c \ln \sigma(x_c) + (1 - t_c) \ln \sigma(-x_c) \big)
$$

They are made of elementwise operations, gathers and sums, and their gradients are those of these; at the corners of
the margin the gradient is 0.

Source: Crammer and Singer (2001), "On the algorithmic implementation of multiclass kernel-based vector machines".
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.activation.rectifiers import relu
from nbdl.ops.activation.smooth import logsigmoid
from nbdl.ops.elementwise.selection import masked_fill
from nbdl.ops.indexing.elements import gather
from nbdl.ops.loss.arguments import chosen_reduction, reduced, reduced_reference
from nbdl.ops.reduction.sums import sum
from nbdl.ops.shape.views import reshape
from nbdl.runtime.checks import (
    check_choice,
    check_float,
    check_ids,
    check_integer,
    check_number,
    check_rank,
    check_same_dtype,
    check_shape,
)
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ShapeError

# ---------------------------------------------------------------- reference


def multi_margin_loss_reference(input, target, p=1, margin=1.0, weight=None, reduction="mean"):
    """The definition, in float64, sample by sample."""
    rows, ids = np.atleast_2d(input), np.atleast_1d(target)
    weight = np.ones(rows.shape[1]) if weight is None else weight
    losses = np.array(
        [
            weight[y] * sum_of(max(0.0, margin - x[y] + x[c]) ** p for c in range(len(x)) if c != y) / len(x)
            for x, y in zip(rows, ids, strict=True)
        ]
    )
    return reduced_reference(losses if input.ndim == 2 else losses[0], reduction)


def multilabel_margin_loss_reference(input, target, reduction="mean"):
    """The definition, in float64, sample by sample."""
    losses = []
    for x, ids in zip(np.atleast_2d(input), np.atleast_2d(target), strict=True):
        right = [int(y) for y in ids[: list(ids).index(-1)]] if -1 in ids else [int(y) for y in ids]
        wrong = [c for c in range(len(x)) if c not in right]
        losses.append(sum_of(max(0.0, 1 - x[y] + x[c]) for y in right for c in wrong) / len(x))
    losses = np.array(losses)
    return reduced_reference(losses if input.ndim == 2 else losses[0], reduction)


def multilabel_soft_margin_loss_reference(input, target, weight=None, reduction="mean"):
    """The definition, in float64."""
    losses = target * np.logaddexp(0, -input) + (1 - target) * np.logaddexp(0, input)
    return reduced_reference((losses if weight is None else losses * weight).mean(-1), reduction)


def sum_of(values):
    """The sum of any number of values, 0.0 of none."""
    return np.sum(np.fromiter(values, np.float64))


# ---------------------------------------------------------------- public


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""How far the right class falls short of standing above every other by a margin.

    Args:
        input: [N, C] or [C] scores, float32 or float64.
        target: [N] or [] class ids, integers in [0, C).
        p: The exponent, 1 or 2.
        margin: The margin m.
        weight: [C], a factor for the samples of each class.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; [N] or [] for 'none'.

    Raises:
        ShapeError: The shapes do not fit each other, or there is no class.
        IndexRangeError: A class id is negative or too large.
        ArgumentError: An unknown reduction, another p, or a margin that is no finite number.
        DTypeError: The input is not floating point, the target no integer, or the weight has another dtype.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.multi_margin_loss(nbdl.tensor([[0.5, 0.2, 0.1]]), nbdl.tensor([0]))
        tensor(0.4333)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_choice("p", p, (1, 2))
    check_number("margin", margin)
    check_rank("input", check_float("input", input), 1, 2)
    check_shape("target", check_integer("target", target), input.shape[:-1])
    classes = input.shape[-1]
    if classes == 0:
        raise ShapeError(f"input: expected at least one class, got shape {list(input.shape)}")
    check_ids("target", target._array, classes)
    places = target.unsqueeze(-1)
    excess = relu(margin - gather(input, -1, places) + input)
    excess = masked_fill(excess * excess if p == 2 else excess, _chosen(places, classes), 0.0)
    losses = sum(excess, -1) / classes
    if weight is not None:
        check_shape("weight", check_same_dtype("weight", weight, "input", input), (classes,))
        losses = losses * reshape(weight.detach()[reshape(target, (-1,))], target.shape)
    return reduced(losses, reduction)


def _chosen(places: Tensor, classes: int) -> Tensor:
    """[*, K] class ids -> [*, C], whether a class is among them."""
    marks = places.new_zeros((*places.shape[:-1], classes), dtype=INT64)
    return marks.scatter(-1, places, 1) != 0


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""How far each right class falls short of standing above each wrong one by a margin of 1.

    Args:
        input: [N, C] or [C] scores, float32 or float64.
        target: The shape of the input: for each sample its class ids, integers in [0, C), then -1; what stands behind
            the first -1 does not count.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; [N] or [] for 'none'.

    Raises:
        ShapeError: The shapes differ, or there is no class.
        IndexRangeError: A class id is less than -1 or too large.
        ArgumentError: An unknown reduction.
        DTypeError: The input is not floating point, or the target no integer.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.multilabel_margin_loss(nbdl.tensor([0.1, 0.2, 0.4, 0.8]), nbdl.tensor([3, 0, -1, 1]))
        tensor(0.8500)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_rank("input", check_float("input", input), 1, 2)
    check_shape("target", check_integer("target", target), input.shape)
    classes = input.shape[-1]
    if classes == 0:
        raise ShapeError(f"input: expected at least one class, got shape {list(input.shape)}")
    check_ids("target", target._array, classes, allowed=-1)
    counted = (target < 0).cumsum(-1) == 0
    places = masked_fill(target, counted.logical_not(), 0)
    marks = places.new_zeros(tuple(input.shape), dtype=INT64).scatter_add(-1, places, counted.long())
    # [*, Y, C]: each right class against each wrong one
    excess = relu(1 - gather(input, -1, places).unsqueeze(-1) + input.unsqueeze(-2))
    pairs = counted.unsqueeze(-1).logical_and((marks == 0).unsqueeze(-2))
    return reduced(sum(masked_fill(excess, pairs.logical_not(), 0.0), (-2, -1)) / classes, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Binary cross-entropy of scores, averaged over the classes of each sample; in nats.

    Args:
        input: [*, C] scores, float32 or float64.
        target: [*, C], 1 for the classes of a sample and 0 for the others.
        weight: [C] or what broadcasts with the input, a factor for each class.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; [*] for 'none'.

    Raises:
        ShapeError: The shapes differ, or the input has no dimension.
        ArgumentError: An unknown reduction.
        DTypeError: The input is not floating point.

    Gradient:
        For input, target and weight.

    Example:
        >>> nbdl.ops.multilabel_soft_margin_loss(nbdl.tensor([[0.0, 0.0]]), nbdl.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    if check_float("input", input).ndim == 0:
        raise ShapeError("input: expected at least 1 dimension, got shape []")
    check_shape("target", target, input.shape)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduced(sum(losses, -1) / input.shape[-1], reduction)
