"""Occlusion: cover a part of the input and see how much of the score goes with it.

No gradient, no assumption about the model: it is asked again with every part covered in turn. The price is one pass for
each place of the window; what is seen depends on its size, and on what it covers with.

Source: Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks", section 4.2.
"""

from __future__ import annotations

import itertools

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.explain.target import Model, Target, TargetLike, check_input, evaluating, scores_of
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, ShapeError


def occlusion(
    model: Model,
    input: Tensor,
    target: TargetLike = None,
    window: int | tuple[int, ...] = 3,
    stride: int | tuple[int, ...] = 1,
    baseline: float = 0.0,
    batch_size: int = 256,
) -> Tensor:
    """How much the score falls when a window is covered, for each place the mean over the windows that cover it.

    Args:
        model: A module or a function of a batch.
        input: [N, C, H, W], [N, C, L] or, for a table, [N, F]; float32 or float64. All channels are covered together.
        target: As in `saliency`.
        window: Height and width of the window (length, number of columns); an integer for all.
        stride: Steps between two places of the window; the last one always touches the border.
        baseline: What a covered place holds.
        batch_size: Rows that go through the model at once.

    Returns:
        [N, H, W], [N, L] or [N, F]: positive where the score needs what stands there. Places that no window covers,
        because the stride is larger than the window, are 0.

    Raises:
        ArgumentError: The window is larger than the input, or a number is out of range.
        ShapeError: The input has another rank; otherwise as `saliency`.

    Example:
        >>> nbdl.explain.occlusion(lambda x: x[:, 0] + 5 * x[:, 2], nbdl.ones(1, 3), window=1)
        tensor([[1., 0., 5.]])
    """
    input = check_input(input)
    if input.ndim > 4:
        raise ShapeError(f"input: expected [N, C, H, W], [N, C, L] or [N, F], got {list(input.shape)}")
    places = input.shape[1 if input.ndim == 2 else 2 :]
    sides, steps = _sizes("window", window, places), _sizes("stride", stride, None, len(places))
    check_number("baseline", baseline)
    check_int("batch_size", batch_size, low=1)
    masks = _masks(places, sides, steps)  # [windows, *places]
    covered = masks.reshape(len(masks), 1, *([1] if input.ndim > 2 else []), *places)
    with no_grad(), evaluating(model):
        settled = Target(model, input, target)
        whole = scores_of(model, input, settled, batch_size)
        falls, most = [], max(batch_size // max(len(input), 1), 1)
        for first in range(0, len(masks), most):
            part = covered[first : first + most]
            shown = ops.where(wrap(part), baseline, input)  # [windows, N, ...]
            scores = scores_of(model, shown.reshape(-1, *input.shape[1:]), settled, batch_size)
            falls.append(whole - scores.reshape(len(part), len(input)))
        drop = ops.cat(falls).transpose(0, 1).contiguous()  # [N, windows]
        counts = masks.reshape(len(masks), -1).astype(input.dtype)
        shares = wrap(counts / np.maximum(counts.sum(0), 1))
        return (drop @ shares).reshape(len(input), *places)


def _sizes(name: str, value: int | tuple[int, ...], places: tuple[int, ...] | None, rank: int = 0) -> tuple[int, ...]:
    rank = rank if places is None else len(places)
    sizes = (value,) * rank if not isinstance(value, tuple) else value
    if len(sizes) != rank:
        raise ArgumentError(f"{name}: expected an integer or {rank} of them, got {value!r}")
    sizes = tuple(check_int(name, size, low=1) for size in sizes)
    if places is not None and any(size > place for size, place in zip(sizes, places, strict=True)):
        raise ArgumentError(f"{name}: expected at most {places}, the size of the input, got {sizes}")
    return sizes


def _masks(places: tuple[int, ...], sides: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """[windows, *places], True where a window covers."""
    starts = []
    for length, side, step in zip(places, sides, steps, strict=True):
        along = list(range(0, length - side + 1, step))
        if along[-1] != length - side:
            along.append(length - side)
        starts.append(along)
    corners = list(itertools.product(*starts))
    masks = np.zeros((len(corners), *places), np.bool_)
    for mask, corner in zip(masks, corners, strict=True):
        mask[tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))] = True
    return masks
