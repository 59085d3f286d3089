"""Sequences of different lengths: padded into one array, and put into batches with others of about their length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.data.dataset import Dataset
from nbdl.data.errors import DataArgumentError
from nbdl.data.loader import DataLoader
from nbdl.data.order import check_count, random_order


def pad(sequences: Sequence[np.ndarray], value: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Sequences [T_n, ...] side by side, filled up to the longest.

    Args:
        sequences: At least one; they agree in everything but the first dimension.
        value: What comes after the end of a sequence.

    Returns:
        [N, T, ...], and the lengths, int64 [N].

    Raises:
        DataArgumentError: There is no sequence, or they do not agree.

    Example:
        >>> pad([np.array([1, 2, 3]), np.array([4])])
        (array([[1, 2, 3],
               [4, 0, 0]]), array([3, 1]))
    """
    if not sequences:
        raise DataArgumentError("sequences", "at least one sequence", "none")
    first = sequences[0]
    for place, sequence in enumerate(sequences):
        if sequence.ndim == 0 or sequence.shape[1:] != first.shape[1:] or sequence.dtype != first.dtype:
            expected = f"{first.dtype}[T, {', '.join(map(str, first.shape[1:]))}]".replace(", ]", "]")
            raise DataArgumentError(f"sequences[{place}]", expected, f"{sequence.dtype}{list(sequence.shape)}")
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    padded = np.full((len(sequences), int(lengths.max()), *first.shape[1:]), value, first.dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


class SequenceDataset(Dataset):
    """Sequences with labels. A batch of it is (padded [N, T, ...], lengths [N], labels [N]).

    Args:
        sequences: Arrays [T_n, ...], T_n at least 1.
        labels: One a sequence.

    Raises:
        DataArgumentError: The numbers differ, or a sequence is empty.
    """

    def __init__(self, sequences: Sequence[np.ndarray], labels: Any) -> None:
        self.sequences = list(sequences)
        self.labels = np.asarray(labels)
        if self.labels.shape[:1] != (len(self.sequences),):
            raise DataArgumentError("labels", f"one a sequence, {len(self.sequences)}", str(list(self.labels.shape)))
        self.lengths = np.array([len(sequence) for sequence in self.sequences], np.int64)
        if (self.lengths == 0).any():
            raise DataArgumentError(f"sequences[{int(self.lengths.argmin())}]", "at least one step", "none")

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        return self.sequences[index], self.labels[index]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """The batch of the given samples."""
        padded, lengths = pad([self.sequences[int(index)] for index in indices])
        return padded, lengths, self.labels[indices]

    def select(self, indices: Any) -> "SequenceDataset":
        """The sequences at the given places with their labels, in that order.

        Args:
            indices: Whole numbers [M].

        Returns:
            A data set of M sequences.
        """
        chosen = [int(index) for index in indices]
        return SequenceDataset([self.sequences[index] for index in chosen], self.labels[chosen])

    def span(self) -> str:
        """How long the sequences are, in words."""
        return f"{self.lengths.min()} to {self.lengths.max()} steps" if len(self) else "none"

    def __repr__(self) -> str:
        return f"SequenceDataset({len(self)} sequences, {self.span()})"


class BucketLoader(DataLoader):
    """A loader whose batches hold sequences of about one length, so that little of them is padding.

    The samples are shuffled; each run of `pool` batches is then sorted by length and cut into batches; and the batches
    come in a random order. What a batch holds still changes from epoch to epoch.

    Args:
        dataset: A `SequenceDataset`.
        batch_size: Samples a batch.
        pool: Batches that are sorted together; more of them mean less padding and less chance.
        seed: Chooses the orders.
        augment: As for `DataLoader`: changes the padded sequences of each batch.

    Example:
        >>> data = SequenceDataset([np.ones(length) for length in (5, 1, 5, 1)], np.arange(4))
        >>> sorted(padded.shape for padded, lengths, labels in BucketLoader(data, batch_size=2))
        [(2, 1), (2, 5)]
    """

    def __init__(
        self, dataset: SequenceDataset, batch_size: int, pool: int = 16, *, seed: int = 0, augment: Any = None
    ) -> None:
        super().__init__(dataset, batch_size, shuffle=True, seed=seed, augment=augment)
        self.pool = check_count("pool", pool, 1, "a whole number from 1 up")

    def _indices(self, epoch: int) -> list[np.ndarray]:
        order = random_order(len(self.dataset), self.seed, epoch)
        pooled = self.pool * self.batch_size
        batches = []
        for start in range(0, len(order), pooled):
            part = order[start : start + pooled]
            part = part[np.argsort(self.dataset.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        # The stream of 2^32 on keeps this order apart from those of the epochs.
        return [batches[i] for i in random_order(len(batches), self.seed, 2**32 + epoch)]
