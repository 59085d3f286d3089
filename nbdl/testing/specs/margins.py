"""Rows of the losses with a margin between classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.loss import margins, ranking
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

REDUCTIONS = ("mean", "sum", "none")
X = np.full((2, 3), 0.5)


def _scores(draw: Draw, most: int = 4) -> np.ndarray:
    """Scores whose differences keep away from the margins, which are halves: multiples of 1/7, a little moved."""
    shape = (*draw.shape(0, 1, 4, min_size=1), draw.integer(1, most))
    sevenths = draw.rng.integers(-10, 11, shape) / 7
    return draw.lay_out(sevenths + draw.rng.uniform(0, 0.01, shape))


def _one_class(draw: Draw) -> dict[str, Any]:
    x = _scores(draw)
    case = {
        "input": x,
        "target": np.asarray(draw.rng.integers(0, x.shape[-1], x.shape[:-1])),
        "p": draw.choice((1, 2)),
        "margin": draw.choice((1.0, 0.5)),
        "reduction": draw.choice(REDUCTIONS),
    }
    return {**case, "weight": draw.array((x.shape[-1],), 0.2, 2.0)} if draw.boolean() else case


def _many_samples(draw: Draw) -> dict[str, Any]:
    """More samples than a CUDA block has threads."""
    count = draw.integer(129, 140)
    return {"input": np.asarray(draw.rng.uniform(-1, 1, (count, 3))), "target": draw.integers((count,), 0, 2)}


def _label_sets(draw: Draw) -> dict[str, Any]:
    x = _scores(draw)
    classes = x.shape[-1]
    target = np.full(x.shape, -1, np.int64)
    for row in target.reshape(-1, classes):
        count = draw.rng.integers(0, classes + 1)
        row[:count] = draw.rng.permutation(classes)[:count]
        if count + 1 < classes:
            row[count + 1 :] = draw.rng.integers(-1, classes, classes - count - 1)
    return {"input": x, "target": target, "reduction": draw.choice(REDUCTIONS)}


def _yes_or_no(draw: Draw) -> dict[str, Any]:
    shape = (*draw.shape(0, 2, 3, min_size=1), draw.integer(1, 4))
    case = {
        "input": draw.array(shape),
        "target": draw.array(shape, 0.0, 1.0),
        "reduction": draw.choice(REDUCTIONS),
    }
    return {**case, "weight": draw.array(shape[-1:], 0.2, 2.0)} if draw.boolean() else case


def _triplets(draw: Draw) -> dict[str, Any]:
    shape = (*draw.shape(0, 1, 4), draw.integer(2, 4))
    return {
        "anchor": draw.array(shape, -1.0, 0.0),
        "positive": draw.array(shape, 0.2, 1.0),
        "negative": draw.array(shape, 1.2, 2.0),
        "swap": draw.boolean(),
        "margin": draw.choice((1.0, 3.0)),
        "reduction": draw.choice(REDUCTIONS),
    }


SPECS = (
    OpSpec(
        margins.multi_margin_loss,
        margins.multi_margin_loss_reference,
        _one_class,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": X, "target": np.array([0, 3])}, IndexRangeError, "target"),
            Refusal(lambda: {"input": X, "target": np.array([0, -1])}, IndexRangeError, "target"),
            Refusal(lambda: {"input": X, "target": np.array([0])}, ShapeError, "target"),
            Refusal(lambda: {"input": X, "target": np.array([0.0, 1.0])}, DTypeError, "target"),
            Refusal(lambda: {"input": X, "target": np.array([0, 1]), "p": 3}, ArgumentError, "p"),
            Refusal(lambda: {"input": X, "target": np.array([0, 1]), "weight": np.ones(2)}, ShapeError, "weight"),
        ),
    ),
    OpSpec(
        margins.multi_margin_loss,
        margins.multi_margin_loss_reference,
        _many_samples,
        ("input",),
        variant="many samples",
    ),
    OpSpec(
        margins.multilabel_margin_loss,
        margins.multilabel_margin_loss_reference,
        _label_sets,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": X, "target": np.array([0, 1])}, ShapeError, "target"),
            Refusal(lambda: {"input": X[0], "target": np.array([0, 3, -1])}, IndexRangeError, "target"),
            Refusal(lambda: {"input": X[0], "target": np.array([0, -2, -1])}, IndexRangeError, "target"),
        ),
    ),
    OpSpec(
        margins.multilabel_soft_margin_loss,
        margins.multilabel_soft_margin_loss_reference,
        _yes_or_no,
        ("input", "target", "weight"),
        refusals=(
            Refusal(lambda: {"input": X, "target": X[0]}, ShapeError, "target"),
            Refusal(lambda: {"input": X.astype(np.int64), "target": X}, DTypeError, "input"),
        ),
    ),
    OpSpec(
        ranking.triplet_margin_with_distance_loss,
        ranking.triplet_margin_loss_reference,
        _triplets,
        ("anchor", "positive", "negative"),
        {"float64": 1e-11, "float32": 1e-4},
        refusals=(
            Refusal(lambda: {"anchor": X, "positive": X, "negative": X, "margin": 0.0}, ArgumentError, "margin"),
            Refusal(lambda: {"anchor": X, "positive": X[0], "negative": X}, ShapeError, "positive"),
            Refusal(
                lambda: {"anchor": X, "positive": X, "negative": X, "distance_function": 2},
                ArgumentTypeError,
                "distance_function",
            ),
        ),
    ),
)
