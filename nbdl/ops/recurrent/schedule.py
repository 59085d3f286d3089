"""Which rows a recurrent layer works on in each step: batches of sequences of one length or of many.

The elements of all sequences lie in rows, step by step: step t has `batch_sizes[t]` rows, row b of each step belongs to
sequence b, and the sequences are sorted from long to short, so that the active ones are always the first. A batch of
sequences of one length is the special case of equal batch sizes. A layer that reads backwards works through the same
steps from the last to the first: a sequence joins in at its true end.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from nbdl.runtime import threads
from nbdl.runtime.gemm.plan import PARALLEL_WORK

FIRST, ACTIVE, BEFORE, NEXT, REMAIN = range(5)
"""Columns of `Schedule.steps`: the step's first row, its sequences, those of the step worked on before; the first row
of the step to come, and its sequences: a smaller number goes on into it."""


class Schedule(NamedTuple):
    """The steps of a layer in the order of its work.

    Attributes:
        steps: [T, 5], int64.
        rows: Rows of all steps.
        batch: Number of sequences.
        lengths: Length of each sequence, or the one length of all.
    """

    steps: np.ndarray
    rows: int
    batch: int
    lengths: tuple[int, ...] | int

    def shares(self, work: int) -> np.ndarray:
        """Bounds of the sequences that each thread works on, [threads + 1], for `work` multiply-adds a row."""
        workers = max(1, min(threads.get_num_threads(), self.rows * work // PARALLEL_WORK, self.batch))
        return _shares(self.lengths, self.batch, workers)


@functools.lru_cache(maxsize=256)
def schedule(batch_sizes: tuple[int, ...], reverse: bool) -> Schedule:
    """The schedule for the number of sequences in each step, which never grows."""
    sizes = np.array(batch_sizes, np.int64)
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    steps = np.zeros((sizes.size, 5), np.int64)
    order = slice(None, None, -1) if reverse else slice(None)
    steps[:, FIRST], steps[:, ACTIVE] = firsts[order], sizes[order]
    steps[1:, BEFORE] = steps[:-1, ACTIVE]
    steps[:-1, NEXT] = steps[1:, FIRST]
    steps[:-1, REMAIN] = steps[1:, ACTIVE]
    batch = batch_sizes[0]
    uniform = batch_sizes[-1] == batch
    lengths = sizes.size if uniform else tuple(int(np.sum(sizes > b)) for b in range(batch))
    return Schedule(steps, int(sizes.sum()), batch, lengths)


@functools.lru_cache(maxsize=256)
def uniform_schedule(steps: int, batch: int, reverse: bool) -> Schedule:
    """The schedule of sequences of one length."""
    return schedule((batch,) * steps, reverse)


@functools.lru_cache(maxsize=256)
def _shares(lengths: tuple[int, ...] | int, batch: int, workers: int) -> np.ndarray:
    """Neighbouring sequences with about the same number of rows for each worker."""
    ends = np.cumsum(np.full(batch, lengths) if isinstance(lengths, int) else np.array(lengths))
    wanted = ends[-1] * np.arange(1, workers) // workers
    return np.array([0, *(np.searchsorted(ends, wanted) + 1), batch], np.int64)
