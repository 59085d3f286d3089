"""Rows of embedding bags."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.embedding_bag import embedding_bag, embedding_bag_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TABLE = np.ones((3, 2))
BAGS = np.array([[0, 2], [1, 1]])
IDS = np.array([0, 2, 1])


def bags(draw: Draw) -> dict[str, Any]:
    """Bags of one size as rows, or of any size by offsets, some of them empty."""
    rows = draw.integer(1, 6)
    case: dict[str, Any] = {"weight": draw.array((rows, draw.integer(1, 5)), distinct=True)}
    if draw.boolean():
        case["input"] = draw.integers(draw.shape(2, 2, 4), 0, rows - 1)
    else:
        count = draw.integer(0, 6)
        begins = np.sort(draw.rng.integers(0, count + 1, draw.integer(0, 3)))
        offsets = np.concatenate([[0], begins])
        case["include_last_offset"] = draw.boolean()
        if case["include_last_offset"]:
            offsets = np.append(offsets, count)
        case |= {"input": draw.integers((count,), 0, rows - 1), "offsets": draw.lay_out(offsets, False)}
    case["mode"] = draw.choice(("mean", "sum", "max"))
    if case["mode"] == "sum" and draw.boolean():
        case["per_sample_weights"] = draw.array(case["input"].shape)
    return case


def padded(draw: Draw) -> dict[str, Any]:
    """Bags in which one id does not count; its row gets no gradient, which differences would not find."""
    ids = draw.integers((draw.integer(1, 3), draw.integer(2, 4)), 0, 2)
    padding = int(ids.flat[draw.integer(0, ids.size - 1)])
    return {
        "input": ids,
        "weight": draw.array((3, draw.integer(1, 5)), distinct=True),
        "mode": draw.choice(("mean", "mean", "sum", "max")),
        "padding_idx": draw.choice((padding, padding - 3)),
    }


def wide(draw: Draw) -> dict[str, Any]:
    """Vectors of more elements than a CUDA block has threads."""
    return {
        "input": draw.integers((2, 3), 0, 2),
        "weight": draw.array((3, 150), distinct=True),
        "mode": draw.choice(("mean", "max")),
    }


def weighted(draw: Draw) -> dict[str, Any]:
    """Sums with weights."""
    shape = (draw.integer(1, 3), draw.integer(1, 3))
    return {
        "input": draw.integers(shape, 0, 2),
        "weight": draw.array((3, draw.integer(1, 40))),
        "per_sample_weights": draw.array(shape),
        "mode": "sum",
    }


REFUSALS = (
    Refusal(lambda: {"input": np.array([[3]]), "weight": TABLE}, IndexRangeError, "input"),
    Refusal(lambda: {"input": np.array([[-1]]), "weight": TABLE}, IndexRangeError, "input"),
    Refusal(lambda: {"input": BAGS.astype(float), "weight": TABLE}, DTypeError, "input"),
    Refusal(lambda: {"input": BAGS[None], "weight": TABLE}, ShapeError, "input"),
    Refusal(lambda: {"input": BAGS, "weight": TABLE[0]}, ShapeError, "weight"),
    Refusal(lambda: {"input": IDS, "weight": TABLE}, ArgumentTypeError, "offsets"),
    Refusal(lambda: {"input": BAGS, "weight": TABLE, "offsets": np.array([0])}, ShapeError, "offsets"),
    Refusal(lambda: {"input": IDS, "weight": TABLE, "offsets": np.array([1])}, ArgumentError, "offsets"),
    Refusal(lambda: {"input": IDS, "weight": TABLE, "offsets": np.array([0, 2, 1])}, ArgumentError, "offsets"),
    Refusal(lambda: {"input": IDS, "weight": TABLE, "offsets": np.array([0, 4])}, ArgumentError, "offsets"),
    Refusal(lambda: {"input": IDS, "weight": TABLE, "offsets": np.array([0.0])}, DTypeError, "offsets"),
    Refusal(lambda: {"input": BAGS, "weight": TABLE, "mode": "median"}, ArgumentError, "mode"),
    Refusal(lambda: {"input": BAGS, "weight": TABLE, "sparse": True}, ArgumentError, "sparse"),
    Refusal(
        lambda: {"input": BAGS, "weight": TABLE, "mode": "max", "scale_grad_by_freq": True},
        ArgumentError,
        "scale_grad_by_freq",
    ),
    Refusal(
        lambda: {"input": BAGS, "weight": TABLE, "per_sample_weights": np.ones((2, 2))},
        ArgumentError,
        "per_sample_weights",
    ),
    Refusal(
        lambda: {"input": BAGS, "weight": TABLE, "mode": "sum", "per_sample_weights": np.ones(2)},
        ShapeError,
        "per_sample_weights",
    ),
    Refusal(lambda: {"input": BAGS, "weight": TABLE, "padding_idx": 3}, ArgumentError, "padding_idx"),
    Refusal(lambda: {"input": BAGS, "weight": TABLE, "max_norm": np.inf}, ArgumentError, "max_norm"),
)

SPECS = (
    OpSpec(
        embedding_bag,
        embedding_bag_reference,
        bags,
        ("weight",),
        refusals=REFUSALS,
        benchmark=lambda rng: {
            "input": rng.integers(0, 10_000, (1024, 32)),
            "weight": rng.standard_normal((10_000, 128)),
        },
    ),
    OpSpec(embedding_bag, embedding_bag_reference, padded, variant="padding"),
    OpSpec(embedding_bag, embedding_bag_reference, wide, ("weight",), variant="wide"),
    OpSpec(embedding_bag, embedding_bag_reference, weighted, ("weight", "per_sample_weights"), variant="weighted"),
)
