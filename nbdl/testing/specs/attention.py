"""Rows of attention."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops import scaled_dot_product_attention
from nbdl.ops.attention.scaled_dot_product import scaled_dot_product_attention_reference
from nbdl.runtime import philox
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal, reseeded

WANTED = ("query", "key", "value")
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def _operands(draw: Draw, lead: tuple[int, ...], queries: int, keys: int, most: int = 4) -> dict[str, Any]:
    features, columns = draw.integer(1, most), draw.integer(1, most)
    return {
        "query": draw.array((*lead, queries, features)),
        "key": draw.array((*lead, keys, features)),
        "value": draw.array((*lead, keys, columns)),
    }


def _lead(draw: Draw) -> tuple[int, ...]:
    return draw.choice(((), (2,), (1, 2), (2, 1), (0, 2), (1, 2, 1)))


def plain(draw: Draw) -> dict[str, Any]:
    """Any leading dimensions, causal or not, any factor."""
    case = _operands(draw, _lead(draw), draw.choice((3, 1, 2, 4)), draw.integer(1, 4))
    return case | {"is_causal": draw.boolean(), "scale": draw.choice((None, 1.5, -0.5, 0.0))}


def nothing(draw: Draw) -> dict[str, Any]:
    """No queries, no keys, or neither features nor columns."""
    queries, keys, features, columns = draw.choice(((0, 2, 3, 2), (2, 0, 3, 2), (2, 3, 0, 2), (2, 3, 2, 0)))
    return {"query": draw.array((2, queries, features)), "key": draw.array((2, keys, features)),
            "value": draw.array((2, keys, columns))}  # fmt: skip


def broadcast(draw: Draw) -> dict[str, Any]:
    """Leading dimensions that broadcast."""
    shape = (2, draw.integer(1, 2))
    queries, keys, features, columns = (draw.integer(1, 3) for _ in range(4))
    return {
        "query": draw.array((*draw.broadcastable(shape), queries, features)),
        "key": draw.array((*draw.broadcastable(shape), keys, features)),
        "value": draw.array((*draw.broadcastable(shape), keys, columns)),
        "is_causal": draw.boolean(),
    }


def grouped(draw: Draw) -> dict[str, Any]:
    """Fewer heads of keys and values than of queries."""
    heads, of_keys, of_values = draw.choice(((2, 1, 1), (4, 2, 2), (2, 1, 2), (2, 2, 1)))
    batch = draw.choice(((), (1,), (2,)))
    queries, keys, features, columns = (draw.integer(1, 2) for _ in range(4))
    return {
        "query": draw.array((*batch, heads, queries, features)),
        "key": draw.array((*batch, of_keys, keys, features)),
        "value": draw.array((*batch, of_values, keys, columns)),
        "is_causal": draw.boolean(),
        "enable_gqa": True,
    }


def _masked(draw: Draw, make: Callable[[Draw, tuple[int, ...]], np.ndarray]) -> dict[str, Any]:
    lead = draw.choice(((), (2,), (2, 2), (1, 2)))
    case = _operands(draw, lead, draw.choice((3, 1, 2)), draw.integer(1, 4), 3)
    shape = (*lead, case["query"].shape[-2], case["key"].shape[-2])
    return case | {"attn_mask": make(draw, draw.broadcastable(shape))}


def allowed(draw: Draw) -> dict[str, Any]:
    """A mask of truth values; some queries may look at nothing."""
    return _masked(draw, lambda draw, shape: draw.booleans(shape))


def additive(draw: Draw) -> dict[str, Any]:
    """A mask of numbers."""
    return _masked(draw, lambda draw, shape: draw.array(shape))


def _forbidding(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    mask = draw.array(shape).copy()
    mask[draw.rng.random(shape) < 0.4] = -np.inf
    return mask


def forbidding(draw: Draw) -> dict[str, Any]:
    """A mask of numbers, some of them minus infinity."""
    return _masked(draw, _forbidding)


def dropped(draw: Draw) -> dict[str, Any]:
    """With dropout."""
    case = _operands(draw, draw.choice(((), (2,), (1, 2))), draw.choice((3, 1, 2)), draw.integer(1, 6), 3)
    return case | {"dropout_p": draw.choice((0.5, 0.25, 1.0)), "is_causal": draw.boolean()}


def long(draw: Draw) -> dict[str, Any]:
    """More queries than a block has, more keys than a warp, features beyond a vector."""
    queries, keys, features = draw.choice(((57, 33, 1), (5, 67, 3), (1, 70, 2), (3, 34, 17)))
    case = {
        "query": draw.array((queries, features)),
        "key": draw.array((keys, features)),
        "value": draw.array((keys, draw.choice((1, 33)))),
    }
    return case | {"is_causal": draw.boolean()}


def _ones(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return np.ones(shape, dtype)


def _refusal(error: Any, mentions: str, **changed: Any) -> Refusal:
    def arguments() -> dict[str, Any]:
        return {"query": _ones(2, 3, 4), "key": _ones(2, 5, 4), "value": _ones(2, 5, 6)} | changed

    return Refusal(arguments, error, mentions)


REFUSALS = (
    _refusal(ArgumentTypeError, "query", query=None),
    _refusal(DTypeError, "query", query=_ones(2, 3, 4, dtype=np.int64)),
    _refusal(DTypeError, "value", value=_ones(2, 5, 6, dtype=np.float32)),
    _refusal(ShapeError, "query", query=_ones(4)),
    _refusal(ShapeError, "key", key=_ones(2, 5, 3)),
    _refusal(ShapeError, "value", value=_ones(2, 4, 6)),
    _refusal(ShapeError, "key", key=_ones(3, 5, 4)),
    _refusal(ArgumentTypeError, "attn_mask", attn_mask=[[True] * 5] * 3),
    _refusal(DTypeError, "attn_mask", attn_mask=_ones(3, 5, dtype=np.int64)),
    _refusal(ShapeError, "attn_mask", attn_mask=_ones(5, 3)),
    _refusal(ShapeError, "attn_mask", attn_mask=_ones(1, 2, 3, 5)),
    _refusal(ArgumentError, "is_causal", attn_mask=_ones(3, 5), is_causal=True),
    _refusal(ArgumentError, "dropout_p", dropout_p=1.5),
    _refusal(ArgumentError, "dropout_p", dropout_p=-0.5),
    _refusal(ArgumentError, "scale", scale=float("nan")),
    _refusal(ArgumentTypeError, "scale", scale="1"),
    _refusal(ShapeError, "enable_gqa", query=_ones(3, 4), enable_gqa=True),
    _refusal(ShapeError, "key", query=_ones(3, 3, 4), enable_gqa=True),
)


@reseeded
def attention_with_dropout(*arguments: Any, **options: Any) -> Any:
    """The same weights are dropped in each call."""
    return scaled_dot_product_attention(*arguments, **options)


attention_with_dropout.__name__ = "scaled_dot_product_attention"
attention_with_dropout.__wrapped__ = scaled_dot_product_attention  # the function that the row stands for


@functools.wraps(scaled_dot_product_attention_reference)
def dropout_reference(*arguments, **options):
    """The reference, with the random numbers begun anew."""
    philox.manual_seed(0)
    return scaled_dot_product_attention_reference(*arguments, **options)


def _row(inputs: Callable[[Draw], dict[str, Any]], variant: str, wanted: tuple[str, ...] = WANTED) -> OpSpec:
    return OpSpec(
        scaled_dot_product_attention,
        scaled_dot_product_attention_reference,
        inputs,
        wanted,
        TOLERANCE,
        variant=variant,
    )


SPECS = [
    OpSpec(
        scaled_dot_product_attention,
        scaled_dot_product_attention_reference,
        plain,
        WANTED,
        TOLERANCE,
        REFUSALS,
        benchmark=lambda rng: {
            name: rng.standard_normal((8, 6, 256, 64)) for name in WANTED
        } | {"is_causal": True},
    ),
    _row(nothing, "nothing"),
    _row(broadcast, "broadcast"),
    _row(grouped, "grouped queries"),
    _row(allowed, "mask"),
    _row(additive, "additive mask", (*WANTED, "attn_mask")),
    _row(forbidding, "minus infinity"),
    OpSpec(attention_with_dropout, dropout_reference, dropped, WANTED, TOLERANCE, variant="dropout"),
    _row(long, "long"),
]  # fmt: skip
