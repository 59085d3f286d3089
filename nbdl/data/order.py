"""Randomness that depends on a seed and nothing else: not on NumPy's version, the machine or what ran before.

Words of the counter-based generator Philox, whose stream NumPy promises never to change, are turned into orders and
numbers here; the methods of `numpy.random.Generator` make no such promise.
"""

from typing import Any

import numpy as np

from nbdl.data.errors import DataArgumentError


def check_seed(seed: int, argument: str = "seed") -> int:
    """Returns the seed as a Python int; seeds are whole numbers from 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise DataArgumentError(argument, "a whole number from 0 to 2**63 - 1", repr(seed))
    return int(seed)


MOST = 2**48
"""No count is larger: more of anything no memory holds."""


def check_count(argument: str, value: Any, minimum: int, expected: str) -> int:
    """Returns the value as a Python int when it is a whole number, not under the minimum and not over MOST."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise DataArgumentError(argument, expected, repr(value))
    if value > MOST:
        raise DataArgumentError(argument, f"a whole number from {minimum} to {MOST}", repr(value))
    return int(value)


def random_order(count: int, seed: int, stream: int = 0) -> np.ndarray:
    """A permutation of 0 .. count - 1, int64 [count]: the ranks of `count` random 64-bit words.

    Args:
        count: Length of the permutation.
        seed: Chooses the family of orders.
        stream: Chooses one order of the family: the epoch, or the class in a stratified split.
    """
    words = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)
    return np.argsort(words, kind="stable")


class RandomStream:
    """Random numbers for one batch: a pure function of (seed, epoch, batch).

    Args:
        seed: Chooses the family of streams.
        epoch: Epoch of the batch.
        batch: Its number in the epoch.

    Example:
        >>> RandomStream(seed=0, epoch=3).integers(0, 9, 5)
        array([7, 7, 5, 3, 6])
    """

    def __init__(self, seed: int = 0, epoch: int = 0, batch: int = 0) -> None:
        # Orders count from 0 in the first word of the counter; a 1 in the last one keeps out of their way.
        key = np.array([check_seed(seed), epoch], dtype=np.uint64)
        self._words = np.random.Philox(key=key, counter=np.array([0, batch, 0, 1], dtype=np.uint64))

    def uniform(self, low: float, high: float, count: int) -> np.ndarray:
        """Numbers of [low, high), float64 [count]."""
        share: np.ndarray = (self._words.random_raw(count) >> np.uint64(11)) * 2.0**-53
        return low + (high - low) * share

    def integers(self, low: int, high: int, count: int) -> np.ndarray:
        """Whole numbers from low to high, both included, int64 [count]."""
        return low + np.floor(self.uniform(0.0, 1.0, count) * (high - low + 1)).astype(np.int64)
