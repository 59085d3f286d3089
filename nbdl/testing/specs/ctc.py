"""Rows of connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import log_softmax
from nbdl.ops.loss.ctc import ctc_loss, ctc_loss_reference
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal


def ctc_loss_of_scores(log_probs: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """The loss of scores: its gradient is that of the log-softmax of scores, not of any numbers."""
    return ctc_loss(log_softmax(log_probs, -1), *arguments, **options)


ctc_loss_of_scores.__name__ = "ctc_loss"
ctc_loss_of_scores.__wrapped__ = ctc_loss  # the function that the row stands for


def normalized(scores: np.ndarray) -> np.ndarray:
    """The log-softmax of scores."""
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def reference_of_scores(log_probs, *arguments, **options):
    """The same in float64."""
    return ctc_loss_reference(normalized(log_probs), *arguments, **options)


def labels(draw: Draw, classes: int, steps: int, batch: int, blank: int) -> dict[str, Any]:
    """Targets that fit in the steps, repetitions among them, padded or one after the other."""
    lengths = draw.rng.integers(1, steps + 1, batch)
    sizes = np.zeros(batch, np.int64)
    rows = np.full((batch, steps), blank)
    for n in range(batch):
        ids = np.array([c for c in range(classes) if c != blank])[draw.rng.integers(0, classes - 1, steps)]
        needed = np.arange(1, steps + 1) + np.concatenate([[0], np.cumsum(ids[1:] == ids[:-1])])
        most = int((needed <= lengths[n]).sum())
        sizes[n] = draw.rng.integers(0, most + 1)
        rows[n, : sizes[n]] = ids[: sizes[n]]
    case: dict[str, Any] = {"blank": blank, "reduction": draw.choice(("mean", "sum", "none"))}
    if draw.boolean():
        case["targets"] = draw.lay_out(rows, False)
    else:
        case["targets"] = np.concatenate([row[:size] for row, size in zip(rows, sizes, strict=True)])
    if draw.boolean():
        return case | {"input_lengths": lengths, "target_lengths": sizes}
    return case | {"input_lengths": tuple(lengths.tolist()), "target_lengths": tuple(sizes.tolist())}


def batches(draw: Draw) -> dict[str, Any]:
    """A few short sequences."""
    steps, batch, classes = draw.integer(1, 5), draw.integer(1, 3), draw.integer(2, 4)
    blank = draw.integer(0, classes - 1)
    return {"log_probs": draw.array((steps, batch, classes))} | labels(draw, classes, steps, batch, blank)


def single(draw: Draw) -> dict[str, Any]:
    """One sequence without a batch."""
    case = labels(draw, 3, steps := draw.integer(1, 6), 1, 0)
    size = int(np.asarray(case["target_lengths"])[0])
    return case | {
        "log_probs": draw.array((steps, 3)),
        "targets": np.asarray(case["targets"]).reshape(-1)[:size],
        "input_lengths": draw.choice((int(np.asarray(case["input_lengths"])[0]), case["input_lengths"])),
        "target_lengths": draw.choice((size, np.array([size]))),
    }


def long_targets(draw: Draw) -> dict[str, Any]:
    """More places than a CUDA block has threads."""
    return {
        "log_probs": normalized(draw.array((75, 1, 3))),
        "targets": np.tile([1, 2], 33)[None, :66],
        "input_lengths": np.array([75]),
        "target_lengths": np.array([66]),
    }


def impossible(draw: Draw) -> dict[str, Any]:
    """Targets too long for their sequences among others, and sequences of no steps; infinite losses made 0."""
    steps, batch = draw.integer(1, 4), draw.integer(1, 3)
    return {
        "log_probs": draw.array((steps, batch, 3)),
        "targets": draw.integers((batch, 4), 1, 2),
        "input_lengths": draw.integers((batch,), 0, steps),
        "target_lengths": draw.integers((batch,), 0, 4),
        "zero_infinity": True,
        "reduction": draw.choice(("mean", "sum", "none")),
    }


def _refused(**changes: Any) -> Any:
    base = {
        "log_probs": np.zeros((3, 2, 4)),
        "targets": np.array([[1, 2], [3, 1]]),
        "input_lengths": np.array([3, 2]),
        "target_lengths": np.array([2, 1]),
    }
    return lambda: base | changes


REFUSALS = (
    Refusal(_refused(log_probs=np.zeros(3)), ShapeError, "log_probs"),
    Refusal(_refused(log_probs=np.zeros((3, 2, 4), np.int64)), DTypeError, "log_probs"),
    Refusal(_refused(targets=np.array([[1, 4], [3, 1]])), IndexRangeError, "targets"),
    Refusal(_refused(targets=np.array([[-1, 2], [3, 1]])), IndexRangeError, "targets"),
    Refusal(_refused(targets=np.ones((2, 2))), DTypeError, "targets"),
    Refusal(_refused(targets=np.ones((3, 2), np.int64)), ShapeError, "targets"),
    Refusal(_refused(targets=np.array([1, 2])), ShapeError, "target_lengths"),
    Refusal(_refused(input_lengths=np.array([4, 2])), ArgumentError, "input_lengths"),
    Refusal(_refused(input_lengths=np.array([-1, 2])), ArgumentError, "input_lengths"),
    Refusal(_refused(input_lengths=np.array([3])), ShapeError, "input_lengths"),
    Refusal(_refused(target_lengths=(3, 1)), ArgumentError, "target_lengths"),
    Refusal(_refused(target_lengths=(0.5, 1)), DTypeError, "target_lengths"),
    Refusal(_refused(blank=4), ArgumentError, "blank"),
    Refusal(_refused(reduction="median"), ArgumentError, "reduction"),
)

SPECS = (
    OpSpec(
        ctc_loss_of_scores,
        reference_of_scores,
        batches,
        ("log_probs",),
        benchmark=lambda rng: {
            "log_probs": rng.standard_normal((150, 32, 40)),
            "targets": rng.integers(1, 40, (32, 30)),
            "input_lengths": np.full(32, 150),
            "target_lengths": np.full(32, 30),
        },
    ),
    OpSpec(ctc_loss_of_scores, reference_of_scores, single, ("log_probs",), variant="single"),
    OpSpec(ctc_loss, ctc_loss_reference, long_targets, refusals=REFUSALS, variant="long"),
    OpSpec(ctc_loss_of_scores, reference_of_scores, impossible, ("log_probs",), variant="impossible"),
)
