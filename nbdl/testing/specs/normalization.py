"""Rows of the normalizations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, rms_norm
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

# The modules, not the functions of the same names that the package shows.
from nbdl.ops.normalization.batch_norm import batch_norm_reference  # isort: skip
from nbdl.ops.normalization.group_norm import group_norm_reference, instance_norm_reference  # isort: skip
from nbdl.ops.normalization.layer_norm import layer_norm_reference  # isort: skip
from nbdl.ops.normalization.local_response_norm import local_response_norm_reference  # isort: skip
from nbdl.ops.normalization.rms_norm import rms_norm_reference  # isort: skip

TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
"""A division by the spread of a few numbers that lie near each other makes their rounding larger."""


# ---------------------------------------------------------------- inputs


def spread(draw: Draw, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Numbers whose variance over the axes is not near 0, around a mean that is, at times; channels-last, at times."""
    size = math.prod(shape[axis] for axis in axes)
    order = [axis for axis in range(len(shape)) if axis not in axes] + list(axes)
    steps = np.linspace(-2.0, 2.0, max(size, 1)) + draw.rng.uniform(-0.1, 0.1, max(size, 1))
    lines = np.stack([draw.rng.permutation(steps[:size]) for _ in range(max(math.prod(shape) // max(size, 1), 1))])
    values = lines.ravel()[: math.prod(shape)].reshape([shape[axis] for axis in order])
    values = values.transpose(np.argsort(order)) + draw.choice((0.0, 1.0, -3.0))
    if len(shape) > 2 and draw.boolean():
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    return draw.lay_out(np.ascontiguousarray(values), allow_broadcast=False)


def parameters(draw: Draw, shape: tuple[int, ...]) -> dict[str, Any]:
    """Weight and bias, or one of them, or none."""
    given = draw.choice((("weight", "bias"), ("weight", "bias"), ("weight",), ("bias",), ()))
    return {name: draw.array(shape) for name in given}


def images(draw: Draw, least: int = 0) -> tuple[int, ...]:
    """[N, C, ...] with no, one or two dimensions of places; now and then an empty batch."""
    n, c = draw.integer(2, 4), draw.integer(1, 4)
    if draw.integer(0, 9) == 9:
        n = 0
    return (n, c, *(draw.integer(1, 3) for _ in range(draw.integer(least, 2))))


def batch_in_training(draw: Draw) -> dict[str, Any]:
    """Moments of the input."""
    shape = images(draw)
    axes = (0, *range(2, len(shape)))
    return {
        "input": spread(draw, shape, axes),
        "running_mean": None,
        "running_var": None,
        **parameters(draw, shape[1:2]),
        "training": True,
        "eps": draw.choice((1e-5, 0.1)),
    }


def batch_in_evaluation(draw: Draw) -> dict[str, Any]:
    """Running moments."""
    shape = images(draw)
    return {
        "input": draw.array(shape),
        "running_mean": draw.array(shape[1:2]),
        "running_var": draw.array(shape[1:2], 0.5, 2.0),
        **parameters(draw, shape[1:2]),
        "eps": draw.choice((1e-5, 0.1)),
    }


def many_rows(draw: Draw) -> dict[str, Any]:
    """More rows than a chunk has, more channels than a block; or few channels and rows side by side."""
    shape = draw.choice(((3, 130), (131, 33), (2, 3, 8 * draw.integer(9, 20)), (3, 5, 60)))
    values = spread(draw, shape, (0, *range(2, len(shape))))
    if len(shape) > 2:
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    return {"input": values, "running_mean": None, "running_var": None, "training": True, **both(draw, shape[1])}


def large_planes(draw: Draw) -> dict[str, Any]:
    """Planes of more places than a block has threads."""
    shape = (2, 2, draw.integer(130, 150))
    x = np.ascontiguousarray(spread(draw, shape, (0, 2)))
    return {"input": x, "running_mean": None, "running_var": None, "training": True, **both(draw, 2)}


def both(draw: Draw, size: int) -> dict[str, Any]:
    """Weight and bias."""
    return {"weight": draw.array((size,)), "bias": draw.array((size,))}


def far_from_zero(draw: Draw) -> dict[str, Any]:
    """A mean a thousand times the spread, in which E[x^2] - E[x]^2 would drown."""
    x = np.round(draw.rng.standard_normal((64, 2, 2, 1)), 1) + 1024.0
    return {"input": x, "running_mean": None, "running_var": None, "training": True}


def grouped(draw: Draw) -> dict[str, Any]:
    """Groups of one channel or several."""
    groups, size = draw.integer(1, 3), draw.integer(1, 3)
    shape = (draw.integer(1, 3), groups * size, *(draw.integer(1, 3) for _ in range(draw.integer(0, 2))))
    if size * math.prod(shape[2:]) == 1:
        shape = (*shape, 2)
    x = spread(draw, (shape[0] * groups, size, *shape[2:]), tuple(range(1, len(shape)))).reshape(shape)
    if draw.boolean() and len(shape) > 2:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if draw.integer(0, 9) == 9:
        x = x[:0]
    return {"input": x, "num_groups": groups, **parameters(draw, shape[1:2]), "eps": draw.choice((1e-5, 0.1))}


def large_groups(draw: Draw) -> dict[str, Any]:
    """Groups of more elements than a block has threads."""
    shape = (2, 4, draw.integer(70, 80))
    x = spread(draw, (4, 2, shape[2]), (1, 2)).reshape(shape)
    if draw.boolean():
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return {"input": x, "num_groups": 2, **both(draw, 4)}


def many_channels(draw: Draw) -> dict[str, Any]:
    """Groups of more channels than a block has threads, in rows without places."""
    return {"input": spread(draw, (4, 140), (1,)).reshape(2, 280), "num_groups": 2, **both(draw, 280)}


def instances(draw: Draw) -> dict[str, Any]:
    """Moments of the input's instances."""
    shape = images(draw, least=1)
    if math.prod(shape[2:]) == 1:
        shape = (*shape[:2], 4)
    x = spread(draw, shape, tuple(range(2, len(shape))))
    return {"input": x, **parameters(draw, shape[1:2]), "eps": draw.choice((1e-5, 0.1))}


def instances_in_evaluation(draw: Draw) -> dict[str, Any]:
    """Running moments."""
    return {**batch_in_evaluation(draw), "use_input_stats": False}


def rows(draw: Draw) -> dict[str, Any]:
    """Any leading dimensions, a row of one or two."""
    lead = draw.shape(0, 2, 4)
    row = tuple(draw.integer(1, 4) + (i == 0) for i in range(draw.integer(1, 2)))
    axes = tuple(range(len(lead), len(lead) + len(row)))
    x = spread(draw, lead + row, axes)
    return {"input": x, "normalized_shape": row, **parameters(draw, row), "eps": draw.choice((1e-5, 0.1))}


def rows_without_bias(draw: Draw) -> dict[str, Any]:
    """As `rows`, for functions that do not shift; eps may be left to the dtype."""
    case = {name: value for name, value in rows(draw).items() if name != "bias"}
    return case


def long_rows(draw: Draw) -> dict[str, Any]:
    """Rows of several vectors and a rest, more of them than a chunk has."""
    shape = draw.choice(((2, draw.integer(129, 260)), (67, 18)))
    weight = draw.array((shape[1],))
    return {"input": spread(draw, shape, (1,)), "normalized_shape": shape[1:], "weight": weight}


def neighbours(draw: Draw) -> dict[str, Any]:
    """Windows smaller and larger than the number of channels."""
    shape = images(draw, least=1)
    return {
        "input": draw.array(shape),
        "size": draw.integer(1, 7),
        "alpha": draw.choice((1e-4, 0.5, 2.0)),
        "beta": draw.choice((0.75, 0.5, 1.0)),
        "k": draw.choice((1.0, 2.0)),
    }


def many_neighbours(draw: Draw) -> dict[str, Any]:
    """More channels than a block has threads."""
    return {"input": draw.array((1, draw.integer(130, 140), 2)), "size": 5, "alpha": 1.0}


# ---------------------------------------------------------------- running moments as results


def following(function: Callable[..., Any], reference: Callable[..., Any]) -> OpSpec:
    """A row whose result holds the moved running moments behind the output."""

    def moved(running_mean: Tensor, running_var: Tensor, **arguments: Any) -> tuple[Tensor, ...]:
        mean, variance = running_mean.clone(), running_var.clone()
        return function(running_mean=mean, running_var=variance, **arguments), mean, variance

    def moved_reference(running_mean, running_var, **arguments):
        mean, variance = np.array(running_mean), np.array(running_var)
        y = reference(running_mean=mean, running_var=variance, **arguments)
        return y, mean, variance

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = draw.choice(((3, 2, 2), (2, 3, 2, 2), (2, 40, 2), (80, 2, 2)))
        axes = (0, *range(2, len(shape))) if function is batch_norm else tuple(range(2, len(shape)))
        case = {
            "input": spread(draw, shape, axes),
            "running_mean": draw.array(shape[1:2]),
            "running_var": draw.array(shape[1:2], 0.5, 2.0),
            "momentum": draw.choice((0.1, 0.0, 1.0)),
        }
        return {**case, "training": True} if function is batch_norm else case

    moved.__name__ = function.__name__
    return OpSpec(moved, moved_reference, inputs, tolerance=TOLERANCE, variant="running moments")


# ---------------------------------------------------------------- refusals


def _image(*shape: int) -> np.ndarray:
    return np.ones(shape)


def _batch(**changed: Any) -> dict[str, Any]:
    return {"input": _image(2, 3, 4), "running_mean": _image(3), "running_var": _image(3), **changed}


def channel_refusals(arguments: Callable[..., dict[str, Any]]) -> tuple[Refusal, ...]:
    """What every function of channels refuses."""
    return (
        Refusal(lambda: arguments(input=np.ones((2, 3, 4), np.int64)), DTypeError, "input"),
        Refusal(lambda: arguments(input=_image(3)), ShapeError, "input"),
        Refusal(lambda: arguments(weight=_image(4)), ShapeError, "weight"),
        Refusal(lambda: arguments(weight=np.ones(3, np.float32)), DTypeError, "weight"),
        Refusal(lambda: arguments(bias=_image(1, 3)), ShapeError, "bias"),
        Refusal(lambda: arguments(eps="small"), ArgumentTypeError, "eps"),
    )


BATCH_REFUSALS = (
    *channel_refusals(_batch),
    Refusal(lambda: _batch(running_mean=_image(2)), ShapeError, "running_mean"),
    Refusal(lambda: _batch(running_var=None), ArgumentError, "running_var"),
    Refusal(lambda: _batch(running_mean=None), ArgumentError, "running_mean"),
    Refusal(lambda: _batch(running_var=None, training=True), ArgumentError, "running_var"),
    Refusal(lambda: _batch(input=_image(1, 3, 1), training=True), ShapeError, "input"),
    Refusal(lambda: _batch(training=True, eps=0.0), ArgumentError, "eps"),
    Refusal(lambda: _batch(momentum=float("nan")), ArgumentError, "momentum"),
)


def _group(**changed: Any) -> dict[str, Any]:
    return {"input": _image(2, 3, 4), "num_groups": 3, **changed}


GROUP_REFUSALS = (
    *channel_refusals(_group),
    Refusal(lambda: _group(num_groups=2), ArgumentError, "num_groups"),
    Refusal(lambda: _group(num_groups=0), ArgumentError, "num_groups"),
    Refusal(lambda: _group(num_groups=1.5), ArgumentTypeError, "num_groups"),
    Refusal(lambda: _group(input=_image(1, 3)), ShapeError, "input"),
)


def _instance(**changed: Any) -> dict[str, Any]:
    return {"input": _image(2, 3, 4), **changed}


INSTANCE_REFUSALS = (
    *channel_refusals(_instance),
    Refusal(lambda: _instance(input=_image(2, 3, 1)), ShapeError, "input"),
    Refusal(lambda: _instance(running_mean=_image(3)), ArgumentError, "running_var"),
    Refusal(lambda: _instance(use_input_stats=False), ArgumentError, "running_mean"),
)


def _row(**changed: Any) -> dict[str, Any]:
    return {"input": _image(2, 3), "normalized_shape": (3,), **changed}


ROW_REFUSALS = (
    Refusal(lambda: _row(input=np.ones((2, 3), np.int64)), DTypeError, "input"),
    Refusal(lambda: _row(normalized_shape=(2,)), ShapeError, "input"),
    Refusal(lambda: _row(normalized_shape=(1, 2, 3)), ShapeError, "input"),
    Refusal(lambda: _row(normalized_shape=()), ArgumentError, "normalized_shape"),
    Refusal(lambda: _row(normalized_shape=(3.0,)), ArgumentTypeError, "normalized_shape"),
    Refusal(lambda: _row(weight=_image(2)), ShapeError, "weight"),
    Refusal(lambda: _row(weight=np.ones(3, np.float32)), DTypeError, "weight"),
    Refusal(lambda: _row(eps="small"), ArgumentTypeError, "eps"),
)

NEIGHBOUR_REFUSALS = (
    Refusal(lambda: {"input": _image(2, 3), "size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((2, 3, 4), np.int64), "size": 2}, DTypeError, "input"),
    Refusal(lambda: {"input": _image(2, 3, 4), "size": 0}, ArgumentError, "size"),
    Refusal(lambda: {"input": _image(2, 3, 4), "size": 2.0}, ArgumentTypeError, "size"),
    Refusal(lambda: {"input": _image(2, 3, 4), "size": 2, "k": -1.0}, ArgumentError, "k"),
)

# ---------------------------------------------------------------- rows

AFFINE = ("input", "weight", "bias")


def _rows_of_768(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "input": rng.standard_normal((4096, 768)),
        "normalized_shape": (768,),
        "weight": rng.standard_normal(768),
    }


def spec(function: Any, reference: Any, inputs: Any, wanted: tuple[str, ...] = AFFINE, **options: Any) -> OpSpec:
    """A row with the family's tolerance."""
    return OpSpec(function, reference, inputs, wanted, tolerance=TOLERANCE, **options)


SPECS = [
    spec(
        batch_norm,
        batch_norm_reference,
        batch_in_training,
        refusals=BATCH_REFUSALS,
        benchmark=lambda rng: {
            "input": rng.standard_normal((32, 128, 16, 16)),
            "running_mean": np.zeros(128),
            "running_var": np.ones(128),
            "weight": np.ones(128),
            "bias": np.zeros(128),
            "training": True,
        },
    ),
    spec(batch_norm, batch_norm_reference, batch_in_evaluation, variant="evaluation"),
    spec(batch_norm, batch_norm_reference, many_rows, variant="many rows"),
    spec(batch_norm, batch_norm_reference, large_planes, variant="large planes"),
    OpSpec(
        batch_norm,
        batch_norm_reference,
        far_from_zero,
        tolerance={"float64": 1e-9, "float32": 1e-3},
        variant="far from zero",
    ),
    following(batch_norm, batch_norm_reference),
    spec(group_norm, group_norm_reference, grouped, refusals=GROUP_REFUSALS),
    spec(group_norm, group_norm_reference, large_groups, variant="large groups"),
    spec(group_norm, group_norm_reference, many_channels, variant="many channels"),
    spec(instance_norm, instance_norm_reference, instances, refusals=INSTANCE_REFUSALS),
    spec(instance_norm, instance_norm_reference, instances_in_evaluation, variant="evaluation"),
    following(instance_norm, instance_norm_reference),
    spec(layer_norm, layer_norm_reference, rows, refusals=ROW_REFUSALS, benchmark=_rows_of_768),
    spec(layer_norm, layer_norm_reference, long_rows, variant="long rows"),
    spec(
        rms_norm,
        rms_norm_reference,
        rows_without_bias,
        ("input", "weight"),
        refusals=ROW_REFUSALS,
        benchmark=_rows_of_768,
    ),
    spec(rms_norm, rms_norm_reference, long_rows, ("input", "weight"), variant="long rows"),
    spec(local_response_norm, local_response_norm_reference, neighbours, ("input",), refusals=NEIGHBOUR_REFUSALS),
    spec(local_response_norm, local_response_norm_reference, many_neighbours, ("input",), variant="many channels"),
]
