"""Rows of softmax and its relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import gumbel_softmax, log_softmax, softmax, softmax2d, softmin
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal, reseeded

# The module, not the function of the same name that the package shows.
from nbdl.ops.softmax import log_softmax_reference, softmax_reference, softmin_reference  # isort: skip


def along_dim(draw: Draw) -> dict[str, Any]:
    """Any shape, one dimension of it."""
    shape = draw.shape(0, 3, 5)
    return {"input": draw.array(shape, -4.0, 4.0), "dim": draw.dim(len(shape))}


def long_rows(draw: Draw) -> dict[str, Any]:
    """Rows of several vectors and a rest."""
    return {"input": draw.array((draw.integer(1, 3), draw.integer(120, 260)), -4.0, 4.0), "dim": 1}


def many_columns(draw: Draw) -> dict[str, Any]:
    """More columns than a block has."""
    return {"input": draw.array((2, 3, draw.integer(257, 300)), -4.0, 4.0), "dim": 1}


def with_infinities(draw: Draw) -> dict[str, Any]:
    """Some scores are minus infinity, at times a whole row."""
    x = draw.array((3, draw.integer(1, 5))).copy()
    x[draw.rng.random(x.shape) < 0.5] = -np.inf
    return {"input": x, "dim": 1}


def large_scores(draw: Draw) -> dict[str, Any]:
    """Scores whose exponentials would overflow."""
    return {"input": draw.array((3, 4), -2000.0, 2000.0), "dim": draw.dim(2)}


REFUSALS = (
    Refusal(lambda: {"input": np.ones((2, 3)), "dim": 2}, IndexRangeError, "dim"),
    Refusal(lambda: {"input": np.ones((2, 3)), "dim": 0.5}, ArgumentTypeError, "dim"),
    Refusal(lambda: {"input": np.ones((2, 3), np.int64), "dim": 0}, DTypeError, "input"),
)


def rows(function: Callable[..., Any], reference: Callable[..., Any]) -> list[OpSpec]:
    """The rows of one function."""
    wanted = ("input",)
    return [
        OpSpec(
            function,
            reference,
            along_dim,
            wanted,
            refusals=REFUSALS,
            benchmark=lambda rng: {"input": rng.standard_normal((2048, 768)), "dim": 1},
        ),
        OpSpec(function, reference, long_rows, wanted, variant="long rows"),
        OpSpec(function, reference, many_columns, wanted, variant="many columns"),
        OpSpec(function, reference, with_infinities, variant="infinities"),
        OpSpec(function, reference, large_scores, variant="large scores"),
    ]


def gumbel_softmax_reference(logits, tau=1.0, hard=False, dim=-1):
    """The shape of a draw and what it adds up to: a draw has no other reference."""
    return np.ones(np.sum(logits, axis=dim).shape)


@reseeded
def gumbel_softmax_total(logits: Tensor, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Tensor:
    """What the probabilities of a draw add up to."""
    return gumbel_softmax(logits, tau, hard, dim=dim).sum(dim)


gumbel_softmax_total.__name__ = "gumbel_softmax"
gumbel_softmax_total.__wrapped__ = gumbel_softmax  # the function that the row stands for

SPECS = [
    *rows(softmax, softmax_reference),
    *rows(log_softmax, log_softmax_reference),
    OpSpec(softmin, softmin_reference, along_dim, ("input",), refusals=REFUSALS),
    OpSpec(
        softmax2d,
        lambda input: softmax_reference(input, -3),
        lambda draw: {"input": draw.array(draw.shape(3, 4, 3, min_size=1))},
        ("input",),
        refusals=(Refusal(lambda: {"input": np.ones((2, 3))}, ShapeError, "input"),),
    ),
    OpSpec(
        gumbel_softmax_total,
        gumbel_softmax_reference,
        lambda draw: {
            "logits": draw.array((*draw.shape(0, 2, 3, min_size=1), 4)),
            "tau": draw.choice((1.0, 0.5)),
            "hard": draw.boolean(),
        },
        refusals=(
            Refusal(lambda: {"logits": np.ones(3), "tau": 0.0}, ArgumentError, "tau"),
            Refusal(lambda: {"logits": np.ones(3, np.int64)}, DTypeError, "logits"),
        ),
    ),
]
