"""Rows of pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
    max_unpool1d,
    max_unpool2d,
)
from nbdl.ops.pooling.adaptive import (
    adaptive_avg_pool1d_reference,
    adaptive_avg_pool2d_reference,
    adaptive_max_pool1d_reference,
    adaptive_max_pool2d_reference,
)
from nbdl.ops.pooling.average import avg_pool1d_reference, avg_pool2d_reference
from nbdl.ops.pooling.max import max_pool1d_reference, max_pool2d_reference
from nbdl.ops.pooling.power import lp_pool1d_reference, lp_pool2d_reference
from nbdl.ops.pooling.unpooling import max_unpool1d_reference, max_unpool2d_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

# ---------------------------------------------------------------- inputs


def image(draw: Draw, dims: int, least: int = 1, **options: Any) -> np.ndarray:
    """A few lines, or a few small images, at times without a batch or with an empty one; at most 64 elements."""
    sizes = [draw.integer(least, 7 if dims == 1 else 5) for _ in range(dims)]
    lead = draw.choice(((2, 1), (2,), (1, 2), (1, 1), (0, 2)))
    return draw.array((*lead, *sizes), **options)


def channels_last(draw: Draw, shape: tuple[int, int, int, int], **options: Any) -> np.ndarray:
    """Images in channels-last memory."""
    return np.ascontiguousarray(draw.array(shape, **options).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def many_channels(draw: Draw, **options: Any) -> np.ndarray:
    """Channels of several vectors and a rest, more elements than a block has threads."""
    return channels_last(draw, (2, 17 + draw.integer(0, 20), 5, draw.integer(4, 5)), **options)


def per_dimension(draw: Draw, dims: int, low: int, high: int) -> Any:
    """One number for all dimensions, or one for each."""
    if draw.boolean():
        return draw.integer(low, high)
    return tuple(draw.integer(low, high) for _ in range(dims))


def sliding(draw: Draw, sizes: tuple[int, ...], dilated: bool = False) -> dict[str, Any]:
    """Kernels, strides, paddings and dilations that fit; every window has an element."""
    kernels = [draw.integer(1, min(size, 3)) for size in sizes]
    if len(set(kernels)) == 1 and draw.boolean():
        arguments: dict[str, Any] = {"kernel_size": kernels[0]}
    else:
        arguments = {"kernel_size": tuple(kernels)}
    if draw.boolean():
        arguments["stride"] = per_dimension(draw, len(sizes), 1, 3)
    paddings = tuple(draw.integer(0, kernel // 2) for kernel in kernels)
    if draw.boolean():
        arguments["padding"] = paddings
    if dilated and draw.boolean():
        pads = arguments.get("padding", (0,) * len(sizes))
        arguments["dilation"] = tuple(
            1 if kernel == 1 else draw.integer(1, max(min((size + 2 * pad - 1) // (kernel - 1), size), 1))
            for size, kernel, pad in zip(sizes, kernels, pads, strict=True)
        )
    arguments["ceil_mode"] = draw.boolean()
    return arguments


def max_windows(dims: int, draw: Draw) -> dict[str, Any]:
    """Any windows over values without near rivals."""
    x = image(draw, dims, distinct=True)
    arguments = sliding(draw, x.shape[-dims:], dilated=True)
    return {"input": x, **arguments, "return_indices": draw.boolean()}


def with_ties(dims: int, draw: Draw) -> dict[str, Any]:
    """Equal elements, minus infinity and NaN: which of them is taken shows in the indices."""
    x = image(draw, dims, least=3, ties=True).copy()
    x[draw.rng.random(x.shape) < 0.2] = -np.inf
    x[draw.rng.random(x.shape) < 0.2] = np.nan
    return {
        "input": x,
        "kernel_size": 3,
        "stride": draw.integer(1, 3),
        "padding": draw.integer(0, 1),
        "ceil_mode": draw.boolean(),
        "return_indices": True,
    }


def max_of_many_channels(draw: Draw) -> dict[str, Any]:
    """Overlapping windows, wide loops over channels."""
    x = many_channels(draw, distinct=True)
    return {"input": x, "kernel_size": 3, "stride": 2, "padding": 1, "return_indices": draw.boolean()}


def pairs(draw: Draw) -> dict[str, Any]:
    """Windows of 2 x 2 that do not overlap, whole or with a last row or column left over."""
    shape = (draw.integer(1, 2), draw.choice((1, 2, 3, 20)), draw.integer(2, 5), draw.integer(2, 5))
    x = draw.array(shape, distinct=True) if draw.boolean() else channels_last(draw, shape, distinct=True)
    return {"input": x, "kernel_size": draw.choice((2, (2, 2)))}


def pairs_with_ties(draw: Draw) -> dict[str, Any]:
    """The same, with equal elements and NaN."""
    x = draw.array((2, 3, 4, 4), ties=True).copy()
    x[draw.rng.random(x.shape) < 0.2] = np.nan
    return {"input": x, "kernel_size": 2}


def avg_windows(dims: int, draw: Draw) -> dict[str, Any]:
    """Any windows, with and without the padding in the count."""
    x = image(draw, dims)
    arguments = {"input": x, **sliding(draw, x.shape[-dims:]), "count_include_pad": draw.boolean()}
    if dims == 2 and draw.integer(0, 3) == 3:
        arguments["divisor_override"] = draw.choice((1, 7, -3))
    return arguments


def avg_of_many_channels(draw: Draw) -> dict[str, Any]:
    """Overlapping windows, wide loops over channels."""
    return {"input": many_channels(draw), "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": draw.boolean()}


def adaptive(dims: int, draw: Draw, **options: Any) -> dict[str, Any]:
    """Fewer, as many or more outputs than inputs; in a pair None for as many."""
    x = image(draw, dims, **options)
    if draw.boolean():
        return {"input": x, "output_size": draw.choice((1, 2, 3, 5, 7))}
    return {"input": x, "output_size": tuple(draw.choice((1, 2, 3, 5, 7, None)[: 4 + dims]) for _ in range(dims))}


def adaptive_max(dims: int, draw: Draw) -> dict[str, Any]:
    """The same, over values without near rivals."""
    return {**adaptive(dims, draw, distinct=True), "return_indices": draw.boolean()}


def powers(dims: int, draw: Draw) -> dict[str, Any]:
    """Positive elements, without near rivals for the power infinity."""
    x = image(draw, dims, low=0.2, high=2.0, distinct=True)
    arguments = sliding(draw, x.shape[-dims:])
    arguments.pop("padding", None)
    if dims == 1 and isinstance(arguments["kernel_size"], tuple):
        (arguments["kernel_size"],) = arguments["kernel_size"]
    return {"input": x, "norm_type": draw.choice((2, 1, 3.0, 1.5, np.inf, -np.inf)), **arguments}


def unpooled(dims: int, draw: Draw) -> dict[str, Any]:
    """Each element to a place of its own."""
    x = image(draw, dims)
    kernel, stride = draw.integer(2, 3), draw.integer(2, 3)
    arguments: dict[str, Any] = {"input": x, "kernel_size": draw.choice((kernel, (kernel,) * dims))}
    if draw.boolean():
        arguments["stride"] = stride
    else:
        stride = kernel
    padding = draw.integer(0, 1) if min(x.shape[-dims:]) > 1 else 0
    arguments["padding"] = padding
    sizes = [(size - 1) * stride + kernel - 2 * padding for size in x.shape[-dims:]]
    if draw.boolean():
        sizes = [max(size + draw.integer(-1, 1), least) for size, least in zip(sizes, x.shape[-dims:], strict=True)]
        arguments["output_size"] = tuple(sizes) if draw.boolean() else (*(x.shape[:-dims])[-2:], *sizes)
        if len(arguments["output_size"]) not in (dims, dims + 2):
            arguments["output_size"] = tuple(sizes)
    plane, wanted = int(np.prod(sizes)), int(np.prod(x.shape[-dims:]))
    places = [draw.rng.permutation(plane)[:wanted] for _ in range(int(np.prod(x.shape[:-dims])))]
    arguments["indices"] = np.array(places, np.int64).reshape(x.shape)
    return arguments


# ---------------------------------------------------------------- refusals


def ones(dims: int) -> np.ndarray:
    """A line or an image of ones."""
    return np.ones((1, 2, 4, 4)[: dims + 2])


def sliding_refusals(dims: int) -> tuple[Refusal, ...]:
    """What every kind of sliding window refuses."""

    def refusal(error: type, mentions: str, **arguments: Any) -> Refusal:
        return Refusal(lambda: {"input": ones(dims), "kernel_size": 2, **arguments}, error, mentions)

    return (
        refusal(ArgumentTypeError, "input", input=[1.0]),
        refusal(DTypeError, "input", input=ones(dims).astype(np.int64)),
        refusal(ShapeError, "input", input=np.ones(dims * (3,))),
        refusal(ShapeError, "input", input=np.ones((dims + 3) * (3,))),
        refusal(ShapeError, "input", input=ones(dims)[..., :0]),
        refusal(ShapeError, "input", input=ones(dims)[:, :0]),
        refusal(ArgumentError, "kernel_size", kernel_size=0),
        refusal(ArgumentTypeError, "kernel_size", kernel_size=2.0),
        refusal(ArgumentError, "kernel_size", kernel_size=(2, 2, 2)),
        refusal(ShapeError, "kernel_size", kernel_size=7),
        refusal(ArgumentError, "stride", stride=0),
        refusal(ArgumentError, "padding", padding=2),
        refusal(ArgumentError, "padding", padding=-1),
    )


def adaptive_refusals(dims: int) -> tuple[Refusal, ...]:
    """What adaptive windows refuse."""
    return (
        Refusal(lambda: {"input": ones(dims), "output_size": -1}, ArgumentError, "output_size"),
        Refusal(lambda: {"input": ones(dims), "output_size": 2**63 - 1}, ArgumentError, "output_size"),
        Refusal(lambda: {"input": ones(dims), "output_size": 1.0}, ArgumentTypeError, "output_size"),
        Refusal(lambda: {"input": ones(dims), "output_size": (1, 1, 1)}, ArgumentError, "output_size"),
        Refusal(lambda: {"input": np.ones(dims * (3,)), "output_size": 1}, ShapeError, "input"),
    )


def unpool_refusals(dims: int) -> tuple[Refusal, ...]:
    """Indices and sizes that do not fit."""

    def refusal(error: type, mentions: str, **arguments: Any) -> Refusal:
        indices = np.zeros(ones(dims).shape, np.int64)
        return Refusal(
            lambda: {"input": ones(dims), "indices": indices, "kernel_size": 2, **arguments}, error, mentions
        )

    return (
        refusal(ShapeError, "indices", indices=np.zeros((1, 2, 3), np.int64)),
        refusal(DTypeError, "indices", indices=np.zeros(ones(dims).shape, np.int32)),
        refusal(IndexRangeError, "indices", indices=np.full(ones(dims).shape, 8**dims)),
        refusal(IndexRangeError, "indices", indices=np.full(ones(dims).shape, -1)),
        refusal(ArgumentTypeError, "indices", indices=[0]),
        refusal(ArgumentError, "output_size", output_size=(10,) * dims),
        refusal(ArgumentError, "output_size", output_size=(8,) * (dims + 1)),
    )


# ---------------------------------------------------------------- rows


def row(function: Callable[..., Any], reference: Callable[..., Any], inputs: Any, **options: Any) -> OpSpec:
    """A row with gradients for the input."""
    return OpSpec(function, reference, inputs, ("input",), **options)


def benchmark(**arguments: Any) -> Callable[[np.random.Generator], dict[str, Any]]:
    """A layer's images and some arguments."""
    return lambda rng: {"input": rng.standard_normal((32, 64, 32, 32)), **arguments}


DILATED = (
    Refusal(lambda: {"input": ones(2), "kernel_size": 2, "dilation": 0}, ArgumentError, "dilation"),
    Refusal(lambda: {"input": ones(2), "kernel_size": 2, "dilation": 4}, ShapeError, "kernel_size"),
)

SPECS = [
    row(
        max_pool2d,
        max_pool2d_reference,
        functools.partial(max_windows, 2),
        refusals=(*sliding_refusals(2), *DILATED),
        benchmark=benchmark(kernel_size=2),
    ),
    OpSpec(max_pool2d, max_pool2d_reference, functools.partial(with_ties, 2), variant="ties"),
    row(max_pool2d, max_pool2d_reference, max_of_many_channels, variant="many channels"),
    row(max_pool2d, max_pool2d_reference, pairs, variant="pairs"),
    OpSpec(max_pool2d, max_pool2d_reference, pairs_with_ties, variant="pairs with ties"),
    row(max_pool1d, max_pool1d_reference, functools.partial(max_windows, 1), refusals=sliding_refusals(1)),
    OpSpec(max_pool1d, max_pool1d_reference, functools.partial(with_ties, 1), variant="ties"),
    row(
        avg_pool2d,
        avg_pool2d_reference,
        functools.partial(avg_windows, 2),
        refusals=(
            *sliding_refusals(2),
            Refusal(
                lambda: {"input": ones(2), "kernel_size": 2, "divisor_override": 0}, ArgumentError, "divisor_override"
            ),
        ),
        benchmark=benchmark(kernel_size=2),
    ),
    row(avg_pool2d, avg_pool2d_reference, avg_of_many_channels, variant="many channels"),
    row(avg_pool1d, avg_pool1d_reference, functools.partial(avg_windows, 1), refusals=sliding_refusals(1)),
    row(
        adaptive_avg_pool2d,
        adaptive_avg_pool2d_reference,
        functools.partial(adaptive, 2),
        refusals=adaptive_refusals(2),
        benchmark=benchmark(output_size=1),
    ),
    row(
        adaptive_avg_pool1d,
        adaptive_avg_pool1d_reference,
        functools.partial(adaptive, 1),
        refusals=adaptive_refusals(1),
    ),
    row(
        adaptive_max_pool2d,
        adaptive_max_pool2d_reference,
        functools.partial(adaptive_max, 2),
        refusals=adaptive_refusals(2),
        benchmark=benchmark(output_size=7),
    ),
    row(
        adaptive_max_pool1d,
        adaptive_max_pool1d_reference,
        functools.partial(adaptive_max, 1),
        refusals=adaptive_refusals(1),
    ),
    row(
        lp_pool2d,
        lp_pool2d_reference,
        functools.partial(powers, 2),
        refusals=(
            Refusal(lambda: {"input": [1.0], "norm_type": 2, "kernel_size": 2}, ArgumentTypeError, "input"),
            Refusal(lambda: {"input": ones(2), "norm_type": 0, "kernel_size": 2}, ArgumentError, "norm_type"),
            Refusal(lambda: {"input": ones(2), "norm_type": "2", "kernel_size": 2}, ArgumentTypeError, "norm_type"),
        ),
    ),
    row(
        lp_pool1d,
        lp_pool1d_reference,
        functools.partial(powers, 1),
        refusals=(
            Refusal(lambda: {"input": ones(1), "norm_type": np.nan, "kernel_size": 2}, ArgumentError, "norm_type"),
        ),
    ),
    row(max_unpool2d, max_unpool2d_reference, functools.partial(unpooled, 2), refusals=unpool_refusals(2)),
    row(max_unpool1d, max_unpool1d_reference, functools.partial(unpooled, 1), refusals=unpool_refusals(1)),
]
