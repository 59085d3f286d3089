"""Drawing cases: Hypothesis decides the structure (shapes, layouts, options), a drawn seed the values.

Shrinking then works on what a person wants small, and a thousand cases cost seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

LAYOUTS = ("contiguous", "contiguous", "fortran", "strided", "reversed", "broadcast")


class Draw:
    """Makes the arguments of one case.

    Args:
        integers: `integers(low, high)` gives an integer of the closed interval (Hypothesis's, or a generator's).
        layouts: Whether arrays come in every memory layout, or contiguous only.

    Attributes:
        drawn: The integers drawn so far; `replayed` makes the same case from them.
    """

    def __init__(self, integers: Callable[[int, int], int], layouts: bool = True) -> None:
        self._source = integers
        self._layouts = layouts
        self.begin()

    def begin(self) -> None:
        """Begins a case: its first integer chooses the values of all its arrays."""
        self.drawn: list[int] = []
        self.rng = np.random.default_rng(self._integers(0, 2**32 - 1))

    def _integers(self, low: int, high: int) -> int:
        value = self._source(low, high)
        self.drawn.append(value)
        return value

    def integer(self, low: int, high: int) -> int:
        """An integer of the closed interval."""
        return self._integers(low, high)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options; the first is the simplest."""
        return options[self._integers(0, len(options) - 1)]

    def boolean(self) -> bool:
        return bool(self._integers(0, 1))

    def number(self, low: float, high: float) -> float:
        """A real number of the interval."""
        return float(self.rng.uniform(low, high))

    def shape(self, min_rank: int = 0, max_rank: int = 3, max_size: int = 5, min_size: int = 0) -> tuple[int, ...]:
        """A shape; size 0 is rare."""
        sizes = []
        for _ in range(self._integers(min_rank, max_rank)):
            size = self._integers(1, max_size)
            sizes.append(0 if min_size == 0 and size == max_size and self._integers(0, 5) == 5 else size)
        return tuple(sizes)

    def broadcastable(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts to the given one: some sizes 1, some leading dimensions left out."""
        kept = [1 if self._integers(0, 3) == 3 else size for size in shape]
        return tuple(kept[self._integers(0, len(kept)) if self._integers(0, 2) == 2 else 0 :])

    def dim(self, rank: int) -> int:
        """A dimension of a tensor of that rank, counted from the front or the back."""
        return self._integers(-rank, rank - 1) if rank else self._integers(-1, 0)

    def array(
        self,
        shape: tuple[int, ...],
        low: float = -2.0,
        high: float = 2.0,
        avoid: Sequence[float] = (),
        ties: bool = False,
        distinct: bool = False,
    ) -> np.ndarray:
        """A float64 array of the shape in some memory layout.

        Args:
            shape: The shape.
            low: Smallest value.
            high: Largest value.
            avoid: Kinks: values are moved at least 0.05 away from them.
            ties: Round to halves, so that equal values occur.
            distinct: All values differ by at least (high - low) / (2 * size): maxima have no near rivals.
        """
        size = int(np.prod(shape, dtype=np.int64))
        if distinct:
            values = low + (high - low) * (self.rng.permutation(size) + self.rng.uniform(0.25, 0.75, size)) / max(
                size, 1
            )
        else:
            values = self.rng.uniform(low, high, size)
        if ties:
            values = np.round(values * 2) / 2
        for kink in avoid:
            near = np.abs(values - kink) < 0.05
            values = np.where(
                near, kink + np.where(values < kink, -0.05, 0.05) * (1 + self.rng.uniform(0, 1, size)), values
            )
        return self.lay_out(values.reshape(shape), allow_broadcast=not distinct)

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """An int64 array of the shape, values in the closed interval."""
        return self.lay_out(self.rng.integers(low, high + 1, shape, dtype=np.int64), allow_broadcast=False)

    def booleans(self, shape: tuple[int, ...]) -> np.ndarray:
        """A bool array of the shape."""
        return self.lay_out(self.rng.integers(0, 2, shape).astype(np.bool_), allow_broadcast=False)

    def lay_out(self, values: np.ndarray, allow_broadcast: bool = True) -> np.ndarray:
        """The values in a drawn memory layout."""
        if values.ndim == 0:  # NumPy's functions below would give it a dimension
            return np.array(values)
        layout = self.choice(LAYOUTS) if self._layouts else "contiguous"
        if layout == "fortran":
            return np.asfortranarray(values)
        if layout == "strided" and values.ndim:
            wide = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
            wide[..., ::2] = values
            return wide[..., ::2]
        if layout == "reversed" and values.ndim:
            return np.ascontiguousarray(values[::-1])[::-1]
        if layout == "broadcast" and allow_broadcast and values.ndim and values.shape[0]:
            first = np.ascontiguousarray(values[:1])
            return np.lib.stride_tricks.as_strided(first, values.shape, (0, *first.strides[1:]))
        return np.ascontiguousarray(values)


def seeded(seed: int, layouts: bool = True, stream: int = 0) -> Draw:
    """A Draw from a seed alone, without Hypothesis: fifty times as fast. `stream` tells several with one seed apart."""
    words = _words(np.random.Philox(key=np.array([seed, stream], np.uint64)))
    return Draw(lambda low, high: low + next(words) % (high - low + 1), layouts)


def _words(source: np.random.Philox) -> Iterator[int]:
    while True:
        yield from source.random_raw(64).tolist()


def replayed(drawn: Sequence[int]) -> Draw:
    """The Draw that gives the same case again, from the integers that a failure message lists.

    Any list makes a case: a number outside its interval is folded into it, a missing one is the lowest allowed. So
    Hypothesis can draw such lists and shrink them.
    """
    remaining = iter(drawn)

    def integers(low: int, high: int) -> int:
        value = next(remaining, low)
        return value if low <= value <= high else low + value % (high - low + 1)

    return Draw(integers)


def shrunk(drawn: Sequence[int], fails: Callable[[list[int]], bool], attempts: int = 400) -> list[int]:
    """A list of smaller numbers whose case still fails: each is lowered as far as that stays true."""
    best = list(drawn)
    improved = True
    while improved:
        improved = False
        for place in range(len(best)):
            for value in (0, 1, best[place] // 2, best[place] - 1):
                if not 0 <= value < best[place] or attempts <= 0:
                    continue
                attempts -= 1
                candidate = [*best[:place], value, *best[place + 1 :]]
                if fails(candidate):
                    best, improved = candidate, True
                    break
    while best and best[-1] == 0 and fails(best[:-1]):
        best.pop()
    return best
