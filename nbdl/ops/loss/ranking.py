r"""Losses that order pairs and triplets by a margin m, made of elementwise operations and distances.

$$
\text{margin ranking: } \max(0, -t (x_1 - x_2) + m), \qquad
\text{hinge embedding: } \begin{cases} x & t = 1 \\ \max(0, m - x) & t = -1 \end{cases}
$$

$$
\text{cosine embedding: } \begin{cases} 1 - \cos(x_1, x_2) & t = 1 \\ \max(0, \cos(x_1, x_2) - m) & t = -1
\end{cases}, \qquad
\text{triplet: } \max\big(0, \|a - p\| - \|a - n\| + m\big)
$$

Their gradients are those of the operations they are made of; at the corners they are those of `clamp`.

Source: Hadsell, Chopra and LeCun (2006), "Dimensionality Reduction by Learning an Invariant Mapping"; Schroff,
Kalenichenko and Philbin (2015), "FaceNet", equation 3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.distance import pairwise_distance
from nbdl.ops.elementwise import clamp, minimum, sqrt, where
from nbdl.ops.loss.arguments import chosen_reduction, reduced, reduced_reference
from nbdl.ops.reduction.sums import sum
from nbdl.runtime import arrays, placement
from nbdl.runtime.checks import check_float, check_number, check_rank, check_same_dtype
from nbdl.runtime.errors import ArgumentTypeError, ShapeError

LEAST_SQUARE = 1e-12
"""Added to the squared lengths of the vectors of `cosine_embedding_loss`."""

# ---------------------------------------------------------------- reference


def margin_ranking_loss_reference(input1, input2, target, margin=0.0, reduction="mean"):
    """The definition, in float64."""
    return reduced_reference(np.maximum(-target * (input1 - input2) + margin, 0), reduction)


def hinge_embedding_loss_reference(input, target, margin=1.0, reduction="mean"):
    """The definition, in float64."""
    apart = np.where(target != 1, np.maximum(margin - input, 0), 0.0)
    return reduced_reference(apart + np.where(target != -1, input, 0.0), reduction)


def cosine_embedding_loss_reference(input1, input2, target, margin=0.0, reduction="mean"):
    """The definition, in float64."""
    squares = ((input1**2).sum(-1) + LEAST_SQUARE) * ((input2**2).sum(-1) + LEAST_SQUARE)
    cosine = (input1 * input2).sum(-1) / np.sqrt(squares)
    alike, apart = 1 - cosine, np.maximum(cosine - margin, 0)
    return reduced_reference(np.where(target == 1, alike, np.where(target == -1, apart, 0.0)), reduction)


def triplet_margin_loss_reference(
    anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean"
):
    """The definition, in float64."""

    def distance(a, b):
        return (np.abs(a - b + eps) ** p).sum(-1) ** (1 / p)

    apart = distance(anchor, negative)
    if swap:
        apart = np.minimum(apart, distance(positive, negative))
    return reduced_reference(np.maximum(margin + distance(anchor, positive) - apart, 0), reduction)


# ---------------------------------------------------------------- public


def _zeros_like(tensor: Tensor) -> Tensor:
    with placement.beside(tensor._array):
        return Tensor(arrays.full(tensor.shape, 0, tensor.dtype))


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""How far the first input falls short of ranking above the second: $\max(0, -t (x_1 - x_2) + m)$.

    Args:
        input1: [*], float32 or float64.
        input2: The rank of input1.
        target: 1 where input1 should be greater, -1 where input2 should; the same rank.
        margin: The margin m.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; a tensor of the broadcast shape for 'none'.

    Raises:
        ShapeError: The tensors differ in rank or do not broadcast to each other.
        ArgumentError: An unknown reduction, or a margin that is no finite number.

    Gradient:
        For both inputs and the target.

    Example:
        >>> nbdl.ops.margin_ranking_loss(nbdl.tensor([1.0]), nbdl.tensor([3.0]), nbdl.tensor([1.0]), margin=0.5)
        tensor(2.5000)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_float("input1", input1)
    check_number("margin", margin)
    check_rank("input2", input2, input1.ndim)
    check_rank("target", target, input1.ndim)
    return reduced(clamp(-target * (input1 - input2) + margin, min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""A distance x is the loss of like pairs (t = 1), what it lacks to the margin that of unlike ones (t = -1).

    Args:
        input: [*] distances, float32 or float64.
        target: 1 or -1; broadcast with the input.
        margin: The margin m.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; a tensor of the broadcast shape for 'none'.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        ArgumentError: An unknown reduction, or a margin that is no finite number.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.hinge_embedding_loss(nbdl.tensor([2.0, 0.5]), nbdl.tensor([1.0, -1.0]), reduction="none")
        tensor([2.0000, 0.5000])
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_float("input", input)
    check_number("margin", margin)
    zeros = _zeros_like(input)
    apart = where(target != 1, clamp(margin - input, min=0), zeros)
    return reduced(apart + where(target != -1, input, zeros), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The cosine of the angle between vectors, as a loss of like (t = 1) and unlike (t = -1) pairs.

    Args:
        input1: [N, D] or [D], float32 or float64.
        input2: The shape and dtype of input1.
        target: [N] or [], 1 or -1.
        margin: The margin m, in [-1, 1].
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; a tensor of the target's shape for 'none'.

    Raises:
        ShapeError: The shapes do not fit each other.
        DTypeError: The inputs are not floating point or differ in dtype.
        ArgumentError: An unknown reduction, or a margin that is no finite number.

    Gradient:
        For both inputs.

    Example:
        >>> x = nbdl.tensor([[1.0, 0.0]])
        >>> nbdl.ops.cosine_embedding_loss(x, nbdl.tensor([[0.0, 1.0]]), nbdl.tensor([1.0]))
        tensor(1.)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_float("input1", input1)
    check_same_dtype("input2", input2, "input1", input1)
    check_number("margin", margin)
    check_rank("target", target, 0, 1)
    if input1.ndim != target.ndim + 1 or input1.shape != input2.shape or input1.shape[:-1] != target.shape:
        raise ShapeError(
            f"target: expected inputs [N, D] and target [N], or [D] and [], got {list(input1.shape)}, "
            f"{list(input2.shape)} and {list(target.shape)}"
        )
    squares = (sum(input1 * input1, -1) + LEAST_SQUARE) * (sum(input2 * input2, -1) + LEAST_SQUARE)
    cosine = sum(input1 * input2, -1) / sqrt(squares)
    zeros = _zeros_like(cosine)
    alike = where(target == 1, 1 - cosine, zeros)
    return reduced(alike + where(target == -1, clamp(cosine - margin, min=0), zeros), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""How far the negative falls short of being farther from the anchor than the positive, by a margin.

    Args:
        anchor: [N, D] or [D], float32 or float64.
        positive: The rank and dtype of the anchor.
        negative: The rank and dtype of the anchor.
        margin: The margin m, over 0.
        p: The order of the norm.
        eps: Added to the differences, so that a distance of 0 has a gradient.
        swap: Use the distance of positive and negative where it is the smaller one.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; [N] or [] for 'none'.

    Raises:
        ShapeError: The tensors differ in rank or do not broadcast to each other.
        DTypeError: The anchor is not floating point, or the tensors differ in dtype.
        ArgumentError: An unknown reduction, or a margin of 0 or less.

    Gradient:
        For anchor, positive and negative.

    Example:
        >>> anchor, near, far = (nbdl.tensor([[value]]) for value in (0.0, 1.0, 1.5))
        >>> nbdl.ops.triplet_margin_loss(anchor, near, far)
        tensor(0.5000)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    distance = functools.partial(pairwise_distance, p=p, eps=eps)
    return _triplet_loss(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    r"""`triplet_margin_loss` with any distance: $\max(0, m + d(a, p) - d(a, n))$.

    Args:
        anchor: [N, *], float32 or float64.
        positive: The rank and dtype of the anchor.
        negative: The rank and dtype of the anchor.
        distance_function: d, of two tensors; `pairwise_distance` when None.
        margin: The margin m, over 0.
        swap: Use the distance of positive and negative where it is the smaller one.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss; the shape of the distances for 'none'.

    Raises:
        ShapeError: The tensors differ in rank or do not broadcast to each other.
        DTypeError: The anchor is not floating point, or the tensors differ in dtype.
        ArgumentError: An unknown reduction, or a margin of 0 or less.
        ArgumentTypeError: distance_function cannot be called.

    Gradient:
        For anchor, positive and negative.

    Example:
        >>> anchor, near, far = (nbdl.tensor([[value]]) for value in (0.0, 1.0, 1.5))
        >>> nbdl.ops.triplet_margin_with_distance_loss(anchor, near, far)
        tensor(0.5000)
    """
    distance = pairwise_distance if distance_function is None else distance_function
    if not callable(distance):
        raise ArgumentTypeError(f"distance_function: expected a function, got {type(distance).__name__}")
    return _triplet_loss(anchor, positive, negative, distance, margin, swap, chosen_reduction(reduction, None, None))


def _triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    check_float("anchor", anchor)
    check_number("margin", margin, 0.0, open_low=True)
    for name, tensor in (("positive", positive), ("negative", negative)):
        check_same_dtype(name, tensor, "anchor", anchor)
        check_rank(name, tensor, anchor.ndim)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(clamp(margin + near - far, min=0), reduction)
