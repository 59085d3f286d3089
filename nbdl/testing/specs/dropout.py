"""Dropout of elements and of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops.dropout import (
    alpha_dropout,
    alpha_dropout_reference,
    dropout,
    dropout1d,
    dropout1d_reference,
    dropout2d,
    dropout2d_reference,
    dropout3d,
    dropout3d_reference,
    dropout_reference,
    feature_alpha_dropout,
    feature_alpha_dropout_reference,
)
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal, reseeded

Shape = Callable[[Draw], tuple[int, ...]]


def _row(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    shape: Shape,
    wrong: tuple[Refusal, ...] = (),
    rank: int = 2,
    variant: str = "",
    channels_last: bool = False,
) -> OpSpec:
    def inputs(draw: Draw) -> dict[str, Any]:
        p = draw.choice((0.5, 0.0, 1.0, draw.number(0, 1)))
        x = draw.array(shape(draw))
        if channels_last:  # a way of its own for what is dropped in part
            x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
            return {"input": x, "p": draw.number(0.2, 0.8), "training": True}
        return {"input": x, "p": p, "training": draw.integer(0, 3) > 0}

    example = np.ones((2, 2, 1, 1, 1)[:rank])
    return OpSpec(
        function=reseeded(function),
        reference=reseeded(reference),
        inputs=inputs,
        differentiable=("input",),
        refusals=(
            Refusal(lambda: {"input": example.astype(np.int64)}, DTypeError, "input"),
            Refusal(lambda: {"input": example, "p": 1.5}, ArgumentError, "p"),
            Refusal(lambda: {"input": example, "p": -0.1}, ArgumentError, "p"),
            *wrong,
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((32,) * rank), "training": True},
        variant=variant,
    )


def _of_rank(*ranks: int) -> Shape:
    return lambda draw: tuple(draw.integer(1, 3) - draw.integer(0, 9) // 9 for _ in range(draw.choice(ranks)))


def _wrong_rank(*shape: int) -> tuple[Refusal, ...]:
    return (Refusal(lambda: {"input": np.ones(shape)}, ShapeError, "input"),)


SPECS = [
    _row(dropout, dropout_reference, lambda draw: draw.shape(max_size=4)),
    _row(dropout, dropout_reference, lambda draw: (draw.integer(120, 1200),), variant="many elements"),
    _row(alpha_dropout, alpha_dropout_reference, lambda draw: draw.shape(max_size=4)),
    _row(dropout1d, dropout1d_reference, _of_rank(2, 3), _wrong_rank(4), rank=3),
    _row(dropout2d, dropout2d_reference, _of_rank(3, 4), _wrong_rank(4), rank=4),
    _row(
        dropout2d,
        dropout2d_reference,
        lambda draw: (3, draw.integer(2, 3), draw.integer(120, 140)),
        rank=4,
        variant="large channels",
    ),
    _row(
        dropout2d,
        dropout2d_reference,
        lambda draw: (draw.integer(2, 3), draw.integer(2, 9), draw.integer(1, 3), draw.integer(2, 3)),
        rank=4,
        variant="channels last",
        channels_last=True,
    ),
    _row(
        feature_alpha_dropout,
        feature_alpha_dropout_reference,
        lambda draw: (2, draw.integer(2, 9), draw.integer(11, 13)),
        variant="channels last",
        channels_last=True,
    ),
    _row(dropout3d, dropout3d_reference, _of_rank(4, 5), _wrong_rank(2, 2, 2), rank=5),
    _row(feature_alpha_dropout, feature_alpha_dropout_reference, _of_rank(2, 3, 4), _wrong_rank(4)),
]
