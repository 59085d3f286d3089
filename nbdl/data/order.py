"""Random orders that depend on a seed and nothing else: not on NumPy's version, the machine or what ran before."""

import numpy as np

from nbdl.data.errors import DataArgumentError


def check_seed(seed: int) -> int:
    """Returns the seed as a Python int; seeds are whole numbers from 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise DataArgumentError("seed", "a whole number from 0 to 2**63 - 1", repr(seed))
    return int(seed)


def random_order(count: int, seed: int, stream: int = 0) -> np.ndarray:
    """A permutation of 0 .. count - 1, int64 [count]: the ranks of `count` random 64-bit words.

    Ranking words of the counter-based generator Philox, whose stream NumPy promises never to change, gives the same
    order in every version; `Generator.permutation` makes no such promise.

    Args:
        count: Length of the permutation.
        seed: Chooses the family of orders.
        stream: Chooses one order of the family: the epoch, or the class in a stratified split.
    """
    words = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)
    return np.argsort(words, kind="stable")
