"""Data sets: anything with a length and samples by index, and the ways to join and to split them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nbdl.data.collate import default_collate
from nbdl.data.errors import DataArgumentError, EmptyDataError
from nbdl.data.order import check_seed, random_order


class Dataset:
    """Base of data sets. A subclass defines `__len__` and `__getitem__`; every index gives one sample.

    The loader asks for batches by `take`; a data set that can fetch many samples faster than one by one redefines it.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 4
        ...     def __getitem__(self, index):
        ...         return index, index**2
        >>> Squares()[3]
        (3, 9)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def take(self, indices: np.ndarray) -> Any:
        """The batch of the samples at the given indices, in that order. A subclass that can be faster redefines it.

        Args:
            indices: int64 [N].

        Returns:
            What `default_collate` makes of the samples.
        """
        return default_collate([self[int(index)] for index in indices])

    def __add__(self, other: "Dataset") -> "ConcatDataset":
        return ConcatDataset([self, other])


class ArrayDataset(Dataset):
    """Arrays of equal length side by side: sample i is the tuple of their i-th rows.

    PyTorch's `TensorDataset`, by which name it is also known here. It holds what it is given: NumPy arrays stay
    NumPy arrays and tensors stay tensors; lists become arrays.

    Args:
        arrays: One or more arrays or tensors [N, ...].

    Raises:
        DataArgumentError: There is no array, one has no first dimension, or their lengths differ.

    Example:
        >>> data = ArrayDataset(np.arange(6.0).reshape(3, 2), np.array([0, 1, 0]))
        >>> data[1]
        (array([2., 3.]), np.int64(1))
        >>> data.take(np.array([2, 0]))
        (array([[4., 5.],
               [0., 1.]]), array([0, 0]))
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise DataArgumentError("arrays", "at least one array", "none")
        self.arrays = tuple(array if hasattr(array, "shape") else np.asarray(array) for array in arrays)
        for position, array in enumerate(self.arrays):
            if len(array.shape) == 0:
                raise DataArgumentError(f"arrays[{position}]", "at least one dimension, [N, ...]", "a single number")
            if array.shape[0] != self.arrays[0].shape[0]:
                raise DataArgumentError(
                    f"arrays[{position}]",
                    f"length {self.arrays[0].shape[0]} as in arrays[0]",
                    f"length {array.shape[0]}",
                )

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)

    def take(self, indices: np.ndarray) -> tuple[Any, ...]:
        """The batch of the given samples: one copy an array, in the order of the indices.

        Args:
            indices: int64 [N].

        Returns:
            As many arrays as the data set has, [N, *] each.
        """
        return tuple(
            np.take(array, indices, axis=0) if isinstance(array, np.ndarray) else array[indices]
            for array in self.arrays
        )

    def __repr__(self) -> str:
        return f"ArrayDataset({', '.join(f'{array.dtype}{list(array.shape)}' for array in self.arrays)})"


TensorDataset = ArrayDataset


class Subset(Dataset):
    """The samples of a data set at the given indices, in that order.

    Args:
        dataset: The whole.
        indices: Which samples; negative ones count from the end.

    Raises:
        DataArgumentError: An index lies outside the data set.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = check_indices(whole_numbers("indices", indices), len(dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def take(self, indices: np.ndarray) -> Any:
        chosen = self.indices[indices]
        return self.dataset.take(chosen) if isinstance(self.dataset, Dataset) else super().take(indices)

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.dataset!r})"


class ConcatDataset(Dataset):
    """Data sets one after the other.

    Args:
        datasets: At least one; their samples should be alike.

    Raises:
        EmptyDataError: There is no data set.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise EmptyDataError("datasets", "at least one data set", "none")
        self.cumulative_sizes = np.cumsum([len(dataset) for dataset in self.datasets])

    def __len__(self) -> int:
        return int(self.cumulative_sizes[-1])

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected -{len(self)} to {len(self) - 1}, got {index}")
        index = index % len(self)
        part = int(np.searchsorted(self.cumulative_sizes, index, side="right"))
        before = int(self.cumulative_sizes[part - 1]) if part else 0
        return self.datasets[part][index - before]

    def __repr__(self) -> str:
        return f"ConcatDataset({', '.join(map(repr, self.datasets))})"


def whole_numbers(argument: str, values: Any) -> np.ndarray:
    """Returns the values as int64 [N], if they are a list of whole numbers."""
    try:
        numbers = np.asarray(values)
    except ValueError:  # lists of several lengths
        raise DataArgumentError(argument, "a list of whole numbers", repr(values)[:80]) from None
    if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
        raise DataArgumentError(argument, "a list of whole numbers", f"{numbers.dtype}{list(numbers.shape)}")
    return numbers.astype(np.int64)


def check_indices(indices: np.ndarray, length: int, argument: str = "indices") -> np.ndarray:
    """Returns int64 indices with the negative ones counted from the end; every one must lie in a set of that length."""
    outside = (indices < -length) | (indices >= length)
    if outside.any():
        raise DataArgumentError(argument, f"whole numbers from {-length} to {length - 1}", str(indices[outside][0]))
    return np.where(indices < 0, indices + length, indices)


def random_split(dataset: Any, lengths: Sequence[int | float], seed: int = 0) -> list[Subset]:
    """Splits a data set into parts that do not overlap, at random.

    Args:
        dataset: What to split.
        lengths: Sizes that add up to the size of the data set, or fractions that add up to 1. The rows that rounding
            leaves over go one each to the first parts.
        seed: Chooses the split; the same seed gives the same split everywhere.

    Returns:
        One `Subset` a length.

    Raises:
        DataArgumentError: The lengths are negative or do not add up.

    Example:
        >>> [len(part) for part in random_split(ArrayDataset(np.arange(10)), [0.75, 0.25])]
        [8, 2]
    """
    count = len(dataset)
    if not lengths or any(not np.isfinite(length) or length < 0 for length in lengths):
        raise DataArgumentError("lengths", "sizes or fractions from 0 up", str(list(lengths)))
    if abs(sum(lengths) - 1) < 1e-9 and all(0 <= length <= 1 for length in lengths) and count != sum(lengths):
        sizes = [int(np.floor(count * length)) for length in lengths]
        for part in range(count - sum(sizes)):
            sizes[part % len(sizes)] += 1
    elif all(length == int(length) for length in lengths) and sum(lengths) == count:
        sizes = [int(length) for length in lengths]
    else:
        expected = f"sizes that add up to {count} or fractions that add up to 1"
        raise DataArgumentError("lengths", expected, str(list(lengths)))
    order = random_order(count, check_seed(seed))
    stops = np.cumsum(sizes)
    return [Subset(dataset, order[stop - size : stop]) for stop, size in zip(stops, sizes, strict=True)]


def stratified_split(labels: Any, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Splits row numbers in two so that every class has its share in both parts.

    Each class is shuffled on its own and gives `fraction` of its rows, rounded down, to the second part; the rows
    still missing come, one each, from the classes with the largest remainders. Every class keeps a row in the first
    part: what is never seen in training cannot be learned.

    Args:
        labels: [N], the class of each row.
        fraction: Share of the second part, between 0 and 1.
        seed: Chooses the split.

    Returns:
        Row numbers of the first and of the second part, int64, ascending.

    Raises:
        DataArgumentError: The fraction is not between 0 and 1.
        EmptyDataError: One of the parts would be empty.

    Example:
        >>> stratified_split(["a", "a", "b", "b"], 0.5)
        (array([1, 2]), array([0, 3]))
    """
    if not 0 < fraction < 1:
        raise DataArgumentError("fraction", "a number between 0 and 1", repr(fraction))
    _, class_of_row, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    quota = counts * fraction
    taken = np.floor(quota + 1e-9).astype(np.int64)
    missing = split_size(len(class_of_row), fraction) - int(taken.sum())
    can_give = np.flatnonzero(taken + 1 < counts)
    by_remainder = can_give[np.argsort((taken - quota)[can_give], kind="stable")]
    taken[by_remainder[:missing]] += 1
    if not taken.any():
        raise EmptyDataError("rows", "a class with at least two rows", f"{len(counts)} classes of one row each")
    in_second = np.zeros(len(class_of_row), dtype=bool)
    for class_id, size in enumerate(taken):
        rows = np.flatnonzero(class_of_row == class_id)
        in_second[rows[random_order(len(rows), check_seed(seed), class_id)[:size]]] = True
    return np.flatnonzero(~in_second), np.flatnonzero(in_second)


def split_size(count: int, fraction: float) -> int:
    """Rows that a part of the given fraction gets, rounded up; both parts must have at least one."""
    size = int(np.ceil(count * fraction - 1e-9))
    if not 0 < size < count:
        raise EmptyDataError("rows", "at least one row on each side of the split", f"{count} at fraction {fraction}")
    return size
