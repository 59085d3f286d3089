"""What all losses ask of their arguments: a known reduction, targets without NaN, weights of the right shape."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.reduction.sums import mean, sum
from nbdl.ops.shape.views import broadcast_tensors
from nbdl.runtime import arrays, looking
from nbdl.runtime.checks import check_float, check_same_dtype, check_shape
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError

REDUCTIONS = ("mean", "sum", "none")

NO_WEIGHT = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64, np.float16)}
"""An empty array stands for absent weights, so that a kernel has one signature."""

NO_SMOOTHING = {np.dtype(kind): np.zeros(1, kind) for kind in (np.float32, np.float64, np.float16)}


def chosen_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction; PyTorch's two old flags, where given, take its place."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction: expected one of 'mean', 'sum', 'none', got {reduction!r}")
    return reduction


def check_pair(input: Tensor, target: Tensor) -> None:
    """Checks that input and target are floating point, of one dtype and of one shape."""
    check_float("input", input)
    check_same_dtype("target", target, "input", input)
    if target.shape != input.shape:
        raise ShapeError(f"target: expected shape {list(input.shape)}, the input's, got {list(target.shape)}")


def broadcast_pair(input: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Input and target in one shape; as PyTorch does, it warns when they have two."""
    if target.shape != input.shape:
        warnings.warn(
            f"target: shape {list(target.shape)} differs from the input's {list(input.shape)}; both are broadcast, "
            "which is rarely what a loss is meant to do",
            stacklevel=3,
        )
    return broadcast_quietly(input, target)


def broadcast_quietly(input: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Input and target in one shape."""
    check_float("input", input)
    check_same_dtype("target", target, "input", input)
    return (input, target) if target.shape == input.shape else broadcast_tensors(input, target)


def reduced_reference(losses: Any, reduction: str) -> Any:
    """The float64 losses of single elements, summed, averaged or left."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if reduction == "mean":
            return losses.sum() / np.float64(losses.size)
        return losses.sum() if reduction == "sum" else losses


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses of single elements, summed, averaged or left."""
    return losses if reduction == "none" else sum(losses) if reduction == "sum" else mean(losses)


def class_weight(input: Tensor, weight: Tensor | None, classes: int) -> Any:
    """The array of one weight per class, contiguous; empty when there are none."""
    if weight is None:
        return NO_WEIGHT[input.dtype]
    check_same_dtype("weight", weight, "input", input)
    return arrays.contiguous(check_shape("weight", weight, (classes,))._array)


def check_class_ids(target: Tensor, shape: tuple[int, ...]) -> None:
    """Checks shape and dtype of the class ids for scores of the given shape; their values are checked by a kernel."""
    if target.dtype.kind not in "iu":
        raise DTypeError(f"target: expected class ids of an integer dtype, got {target.dtype}")
    wanted = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if target.shape != wanted:
        raise ShapeError(
            f"target: expected class ids of shape {list(wanted)} for scores {list(shape)}, got {list(target.shape)}"
        )


def refuse_nan_of(total: Any, target: Any) -> None:
    """Raises ArgumentError if the loss, one number, is NaN because a target is."""
    if looking.waits(total):
        looking.look(total, lambda value: refuse_nan_of(value, target))
    elif total != total:
        _refuse_nan_targets(arrays.on_host(target))


def _refuse_nan_targets(target: np.ndarray) -> None:
    found = np.argwhere(target != target)
    if len(found):
        raise ArgumentError(f"target: expected numbers, got NaN at index {tuple(int(i) for i in found[0])}")
