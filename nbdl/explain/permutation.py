"""Permutation importance: shuffle a column of a table, and see how much worse the predictions become.

It asks the model for nothing but predictions, and says what the model uses, not what causes what. Columns that carry
the same information cover for each other: shuffled one at a time, each seems to be worth little.

Sources: Breiman (2001), "Random Forests", section 10; Fisher, Rudin and Dominici (2019), "All Models are Wrong, but
Many are Useful".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.explain.target import Model, evaluating, output_of
from nbdl.runtime.checks import FLOATS, check_int
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError

Metric = Callable[[np.ndarray, np.ndarray], float]
"""`metric(output, labels)`, higher is better."""


@dataclass(frozen=True)
class PermutationImportance:
    """What `permutation_importance` found.

    Attributes:
        mean: [groups], how much the metric falls, the mean over the repeats.
        deviation: [groups], its standard deviation over the repeats.
        score: The metric of the table as it is.
    """

    mean: np.ndarray
    deviation: np.ndarray
    score: float


def permutation_importance(
    model: Model,
    table: Any,
    labels: Any,
    metric: Metric | None = None,
    columns: Sequence[int | Sequence[int]] | None = None,
    repeats: int = 10,
    seed: int = 0,
    batch_size: int = 4096,
) -> PermutationImportance:
    """How much a metric falls when columns are shuffled among the rows.

    Args:
        model: A module or a function of [N, F].
        table: [N, F], float32 or float64, a tensor or an array; examples that the model has not learned from.
        labels: [N], class ids or numbers.
        metric: `metric(output, labels)` on arrays, higher is better. None takes the accuracy for class ids, and the
            coefficient of determination R² for numbers.
        columns: The columns to ask about; a group of them, such as the indicators of one category, is shuffled
            together. None asks about each.
        repeats: Shuffles of each.
        seed: Of the shuffles.
        batch_size: Rows that go through the model at once.

    Returns:
        `PermutationImportance`: mean and standard deviation for each column or group, and the score without shuffling.

    Raises:
        ArgumentError: A number is out of range, a column does not exist, or there are fewer than two rows.
        DTypeError: The table is not float32 or float64.
        ShapeError: The table is no table, or labels do not fit it.

    Example:
        >>> table = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
        >>> found = nbdl.explain.permutation_importance(lambda x: x[:, 0], table, table[:, 0])
        >>> found.mean.round(0), found.score
        (array([2., 0.]), 1.0)
    """
    rows = table.detach().numpy() if isinstance(table, Tensor) else np.asarray(table)
    truth = labels.detach().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if rows.ndim != 2:
        raise ShapeError(f"table: expected [N, F], got {list(rows.shape)}")
    if rows.dtype not in FLOATS:
        raise DTypeError(f"table: expected float32 or float64, got {rows.dtype}")
    if truth.shape != rows.shape[:1]:
        raise ShapeError(f"labels: expected [{len(rows)}], one for each row, got {list(truth.shape)}")
    if len(rows) < 2:
        raise ArgumentError(f"table: expected at least two rows, got {len(rows)}")
    check_int("repeats", repeats, low=1)
    check_int("seed", seed, low=0)
    check_int("batch_size", batch_size, low=1)
    groups = _groups(columns, rows.shape[1])
    measure = metric or (_accuracy if truth.dtype.kind in "biu" else _determination)

    def score(shuffled: np.ndarray) -> float:
        parts = [
            output_of(model, wrap(np.ascontiguousarray(shuffled[first : first + batch_size]))).detach().numpy()
            for first in range(0, len(rows), batch_size)
        ]
        return float(measure(np.concatenate(parts), truth))

    random = np.random.default_rng(seed)
    falls = np.empty((len(groups), repeats))
    with no_grad(), evaluating(model):
        whole = score(rows)
        for group, fall in zip(groups, falls, strict=True):
            for repeat in range(repeats):
                shuffled = rows.copy()
                shuffled[:, group] = rows[random.permutation(len(rows))][:, group]
                fall[repeat] = whole - score(shuffled)
    return PermutationImportance(falls.mean(1), falls.std(1, ddof=min(1, repeats - 1)), whole)


def _groups(columns: Sequence[int | Sequence[int]] | None, count: int) -> list[list[int]]:
    asked: Sequence[int | Sequence[int]] = range(count) if columns is None else columns
    groups = [list(group) if isinstance(group, Sequence) else [group] for group in asked]
    return [[check_int("columns", column, 0, count - 1) for column in group] for group in groups]


def _accuracy(output: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose highest score, or whose sign, is right."""
    if output.ndim == 2 and output.shape[1] > 1:
        return float((output.argmax(1) == labels).mean())
    return float(((output.reshape(-1) > 0) == labels).mean())


def _determination(output: np.ndarray, labels: np.ndarray) -> float:
    """1 minus the squared error relative to that of the mean."""
    missed = ((labels - output.reshape(-1)) ** 2).sum()
    return float(1 - missed / ((labels - labels.mean()) ** 2).sum())
