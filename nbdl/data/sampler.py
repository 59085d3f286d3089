"""Samplers: which samples an epoch has, and in what order, where all of them shuffled are not what is wanted.

Every sampler here gives the order of an epoch as a pure function of (seed, epoch), so a loader can resume in the middle
of one. Samplers written for PyTorch work too: anything that can be iterated over and has a length.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from nbdl.data.dataset import whole_numbers
from nbdl.data.errors import DataArgumentError
from nbdl.data.order import RandomStream, check_count, check_seed, random_order

APART = 2**32
"""Streams from this number on are those of further permutations and draws: no epoch and no batch reaches them."""


class Sampler:
    """Base of samplers. A subclass defines `__len__` and either `order`, or `__iter__` as for PyTorch.

    From `order` follows iteration: the first `for` loop goes through epoch 0, the next through epoch 1. A `DataLoader`
    asks `order` for its own epochs, and so resumes where it was; a sampler without it is iterated over once an epoch.

    Example:
        >>> class Backwards(Sampler):
        ...     def __len__(self):
        ...         return 5
        ...     def order(self, epoch):
        ...         return np.arange(5)[::-1]
        >>> list(Backwards())
        [4, 3, 2, 1, 0]
    """

    _epoch = 0  # of the loop that comes next

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def order(self, epoch: int) -> Any:
        """The sample numbers of an epoch, int64 [N], or the lists of them that are its batches."""
        raise NotImplementedError(f"{type(self).__name__} must define order or __iter__")

    def __iter__(self) -> Iterator[Any]:
        order = self.order(self._epoch)
        self._epoch += 1
        return iter([entry.tolist() if isinstance(entry, np.ndarray | np.integer) else entry for entry in order])


class SequentialSampler(Sampler):
    """All samples from first to last: what a loader does by itself.

    Args:
        data_source: Anything with a length.

    Example:
        >>> list(SequentialSampler(range(10, 14)))
        [0, 1, 2, 3]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = _sized("data_source", data_source)

    def __len__(self) -> int:
        return len(self.data_source)

    def order(self, epoch: int) -> np.ndarray:
        return np.arange(len(self))

    def __repr__(self) -> str:
        return f"SequentialSampler({len(self)} samples)"


class RandomSampler(Sampler):
    """Samples in a random order: what a loader with `shuffle` does by itself, and in the same order for the same seed.

    Args:
        data_source: Anything with a length.
        replacement: Draw each sample from all of them, so that some come twice; otherwise each comes once before
            any comes again.
        num_samples: Samples an epoch; as many as there are when None.
        generator: A seed, or an object with one, such as `nbdl.Generator`: it chooses the orders, as a function of the
            epoch, and is not advanced. None is seed 0.

    Raises:
        DataArgumentError: An argument is of another kind, num_samples is under 1, or there is no sample.

    Example:
        >>> list(RandomSampler(range(5), generator=1))
        [3, 2, 0, 1, 4]
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        self.data_source = _sized("data_source", data_source)
        self.replacement = _flag("replacement", replacement)
        self._num_samples = None if num_samples is None else check_count("num_samples", num_samples, 1, _COUNT)
        self.seed = _seed_of(generator)
        if len(data_source) == 0:
            raise DataArgumentError("data_source", "at least one sample", "none")

    @property
    def num_samples(self) -> int:
        """Samples an epoch."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def order(self, epoch: int) -> np.ndarray:
        count, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            return RandomStream(self.seed, epoch, APART).integers(0, count - 1, wanted)
        order = np.empty(wanted, np.int64)  # first of all: where there is no memory for it, before the work
        for start in range(0, wanted, count):
            whole = random_order(count, self.seed, epoch + APART * (start // count))
            order[start : start + count] = whole[: wanted - start]
        return order

    def __repr__(self) -> str:
        drawn = "with" if self.replacement else "without"
        return f"RandomSampler({self.num_samples} of {len(self.data_source)} {drawn} replacement, seed {self.seed})"


class SubsetRandomSampler(Sampler):
    """Some of the samples, each once, in a random order.

    Args:
        indices: Which samples, whole numbers [N].
        generator: As for `RandomSampler`.

    Raises:
        DataArgumentError: indices are not whole numbers [N], or generator is no seed and has none.

    Example:
        >>> sorted(SubsetRandomSampler([3, 5, 8]))
        [3, 5, 8]
    """

    def __init__(self, indices: Sequence[int] | np.ndarray, generator: Any = None) -> None:
        self.indices = whole_numbers("indices", indices)
        self.seed = _seed_of(generator)

    def __len__(self) -> int:
        return len(self.indices)

    def order(self, epoch: int) -> np.ndarray:
        return self.indices[random_order(len(self), self.seed, epoch)]

    def __repr__(self) -> str:
        return f"SubsetRandomSampler({len(self)} samples, seed {self.seed})"


class WeightedRandomSampler(Sampler):
    r"""Samples drawn with given probabilities: rare classes can come as often as common ones.

    $P(i) = w_i / \sum_j w_j$ at each draw; without replacement the sum is over the samples not drawn before.

    Args:
        weights: The weight of each sample [N], finite and not negative; they need not add up to 1.
        num_samples: Samples an epoch.
        replacement: Whether a sample may come more than once.
        generator: As for `RandomSampler`.

    Raises:
        DataArgumentError: The weights are not of that kind or are all 0, num_samples is under 1, or without replacement
            more than there are samples of positive weight.

    Example:
        >>> WeightedRandomSampler([0, 1, 3], 8, generator=0).order(epoch=0)
        array([2, 1, 2, 2, 1, 2, 1, 2])
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Any = None) -> None:
        try:
            self.weights = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataArgumentError("weights", "numbers [N]", repr(weights)[:80]) from None
        if self.weights.ndim != 1:
            raise DataArgumentError("weights", "numbers [N]", f"shape {list(self.weights.shape)}")
        total = self.weights.sum()
        if not np.isfinite(total) or (self.weights < 0).any() or total == 0:
            raise DataArgumentError("weights", "finite numbers from 0 up, not all 0", repr(weights)[:80])
        self.num_samples = check_count("num_samples", num_samples, 1, _COUNT)
        self.replacement = _flag("replacement", replacement)
        positive = np.count_nonzero(self.weights)
        if not self.replacement and self.num_samples > positive:
            expected = f"at most {positive} without replacement, the samples of positive weight"
            raise DataArgumentError("num_samples", expected, str(num_samples))
        self.seed = _seed_of(generator)

    def __len__(self) -> int:
        return self.num_samples

    def order(self, epoch: int) -> np.ndarray:
        if self.replacement:
            return _draw(self.weights, self.num_samples, RandomStream(self.seed, epoch, APART))
        # What was drawn before is skipped, which leaves the others their proportions. So that few are skipped, the
        # weights of what was drawn become 0 from time to time.
        left, chosen, draws = self.weights.copy(), np.zeros(0, np.int64), 0
        while len(chosen) < self.num_samples:
            drawn = _draw(left, self.num_samples, RandomStream(self.seed, epoch, APART + draws))
            fresh = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            chosen, draws = np.concatenate([chosen, fresh]), draws + 1
            left[fresh] = 0
        return chosen[: self.num_samples]

    def __repr__(self) -> str:
        drawn = "with" if self.replacement else "without"
        return f"WeightedRandomSampler({self.num_samples} of {len(self.weights)} {drawn} replacement, seed {self.seed})"


class BatchSampler(Sampler):
    """The samples of another sampler in batches, for `DataLoader(..., batch_sampler=...)`.

    Args:
        sampler: A sampler, or anything that can be iterated over.
        batch_size: Samples a batch.
        drop_last: Leave out the last batch when it is smaller than the others.

    Raises:
        DataArgumentError: An argument is of another kind, or batch_size is under 1.

    Example:
        >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not hasattr(sampler, "__iter__"):
            raise DataArgumentError("sampler", "a sampler or an iterable", repr(sampler))
        self.sampler = sampler
        self.batch_size = check_count("batch_size", batch_size, 1, _COUNT)
        self.drop_last = _flag("drop_last", drop_last)

    def __len__(self) -> int:
        return batch_count(len(self.sampler), self.batch_size, self.drop_last)  # type: ignore[arg-type]

    def order(self, epoch: int) -> list[np.ndarray]:
        drawn = whole_numbers("sampler", drawn_by(self.sampler, epoch))
        return cut(drawn, self.batch_size, self.drop_last)

    def __repr__(self) -> str:
        return f"BatchSampler({described(self.sampler)}, {self.batch_size} a batch, drop_last={self.drop_last})"


_COUNT = "a whole number from 1 up"


def _sized(argument: str, value: Any) -> Any:
    """The value, if it has a length."""
    try:
        len(value)
    except TypeError:  # an array of no dimension has the method and no length
        raise DataArgumentError(argument, "something with a length", repr(value)[:80]) from None
    return value


def _flag(argument: str, value: Any) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DataArgumentError(argument, "True or False", repr(value))
    return bool(value)


def _seed_of(generator: Any) -> int:
    """The seed that a `generator` argument means."""
    seed = generator
    for name in ("initial_seed", "seed"):  # PyTorch's generators have the first, nbdl's the second
        if hasattr(generator, name):
            seed = getattr(generator, name)
            seed = seed() if callable(seed) else seed
            break
    return 0 if seed is None else check_seed(seed, "generator")


def _draw(weights: np.ndarray, count: int, stream: RandomStream) -> np.ndarray:
    """Sample numbers int64 [count], drawn with replacement in proportion to the weights."""
    reach = np.cumsum(weights)
    places = np.searchsorted(reach, stream.uniform(0.0, reach[-1], count), side="right")
    return np.minimum(places, np.flatnonzero(weights)[-1])  # where rounding reached the sum itself


def cut(order: np.ndarray, size: int, drop_last: bool) -> list[np.ndarray]:
    """An order in batches."""
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return batches[: batch_count(len(order), size, drop_last)]


def batch_count(samples: int, size: int, drop_last: bool) -> int:
    """How many batches that many samples are."""
    whole, rest = divmod(samples, size)
    return whole + bool(rest and not drop_last)


def drawn_by(sampler: Any, epoch: int) -> Any:
    """What a sampler gives in an epoch: by its `order`, or by going through it once."""
    if isinstance(sampler, Sampler) and type(sampler).order is not Sampler.order:
        return sampler.order(epoch)
    return sampler if isinstance(sampler, np.ndarray) else list(sampler)


def described(sampler: Any) -> str:
    """A sampler in words that are the same in every process."""
    describes_itself = isinstance(sampler, Sampler) and "__repr__" in vars(type(sampler))
    return repr(sampler) if describes_itself else type(sampler).__name__
