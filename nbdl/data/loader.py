"""The loader: samples of a data set in batches, in an order that depends on the seed and the epoch alone.

One argument chooses the form of gradient descent: `batch_size=1` is stochastic, `batch_size=64` mini-batch and
`batch_size="full"` full-batch descent.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from nbdl.data.augmentation import Augmentation
from nbdl.data.collate import default_collate
from nbdl.data.dataset import Dataset
from nbdl.data.errors import DataArgumentError, EmptyDataError
from nbdl.data.order import RandomStream, check_seed, random_order


class DataLoader:
    """Iterates over a data set in batches. Every `for` loop over it is one epoch.

    The order of epoch e is a pure function of (seed, e): two loaders with one seed agree, on any machine, with any
    number of prefetch threads. So are the random numbers of the augmentation: of (seed, e, batch). `state_dict` names a
    place in the order, between two batches; a loader that loads it goes on with the very next batch.

    Args:
        dataset: Anything with `__len__` and `__getitem__`. A `Dataset` is asked for whole batches by its `take`;
            `ArrayDataset` answers with one copy an array instead of one call a sample.
        batch_size: Samples a batch: 1 (stochastic), n (mini-batch), or "full" or None (the whole set in one batch;
            unlike PyTorch, where None means samples that are not batched).
        shuffle: Draw a new order every epoch; otherwise go from first to last.
        drop_last: Leave out the last batch when it is smaller than the others.
        collate_fn: Makes a batch from a list of samples; None: the data set's own `take`, or `default_collate`.
        seed: Chooses the orders. (PyTorch takes a `generator` instead.)
        prefetch: Batches made ahead of time, each in a background thread of its own; 0 makes each when it is asked
            for. Worth it when samples are read, decoded or augmented on the way; plain arrays are faster without.
        pin_memory: Called with each array of a batch: `nbdl.cuda.pin_memory`, whose copies a GPU fetches by itself.
            (PyTorch takes True; this module knows nothing of GPUs.)
        augment: Changes the images of each batch at random; see `nbdl.data.augmentation`. It is called with the batch's
            first field, [N, C, H, W], and a `RandomStream`.

    Raises:
        DataArgumentError: An argument is outside its range.
        EmptyDataError: There is nothing to load: no sample, or fewer than one batch with `drop_last`.

    Example:
        >>> from nbdl.data import ArrayDataset
        >>> loader = DataLoader(ArrayDataset(np.arange(5)), batch_size=2)
        >>> [batch.tolist() for (batch,) in loader]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | str | None = 1,
        shuffle: bool | None = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int = 0,
        prefetch: int = 0,
        augment: Augmentation | None = None,
        pin_memory: Callable[[Any], Any] | bool | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise EmptyDataError("dataset", "at least one sample", "none")
        if batch_size is None or batch_size == "full":
            batch_size = len(dataset)
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not (flag is None or isinstance(flag, bool | int | np.bool_)):
                raise DataArgumentError(name, "True or False", repr(flag))
        for name, function in (("collate_fn", collate_fn), ("augment", augment)):
            if not (function is None or callable(function)):
                raise DataArgumentError(name, "a function or None", repr(function))
        self.dataset = dataset
        self.batch_size = check_count("batch_size", batch_size, 1, 'a whole number from 1 up, or "full"')
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.collate_fn = collate_fn
        self.seed = check_seed(seed)
        self.prefetch = check_count("prefetch", prefetch, 0, "a whole number from 0 up")
        self.augment = augment
        if pin_memory is True or not (pin_memory in (None, False) or callable(pin_memory)):
            raise DataArgumentError("pin_memory", "nbdl.cuda.pin_memory or None", repr(pin_memory))
        self.pin_memory = pin_memory or None
        if len(self) == 0:
            raise EmptyDataError("dataset", f"a full batch of {batch_size} with drop_last", f"{len(dataset)} samples")
        self._epoch = 0  # of the batch that comes next
        self._batch = 0  # batches of that epoch already handed out
        self._continue = True  # the next loop starts at this place; otherwise a loop that was left began this epoch

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        if not self._continue:
            self._epoch, self._batch = self._epoch + 1, 0
        self._continue = False
        batches = list(enumerate(self._indices(self._epoch)))[self._batch :]
        for batch in self._fetch_ahead(batches) if self.prefetch else map(self._fetch, batches):
            self._batch += 1
            yield batch
        self._epoch, self._batch, self._continue = self._epoch + 1, 0, True

    def _indices(self, epoch: int) -> list[np.ndarray]:
        """The sample numbers of each batch of an epoch."""
        count = len(self.dataset)
        order = random_order(count, self.seed, epoch) if self.shuffle else np.arange(count)
        return [order[start : start + self.batch_size] for start in range(0, count, self.batch_size)][: len(self)]

    def _fetch(self, numbered: tuple[int, np.ndarray]) -> Any:
        """One batch, where the GPU can fetch it if that is asked for."""
        batch = self._make(numbered)
        return batch if self.pin_memory is None else self.pin_memory(batch)

    def _make(self, numbered: tuple[int, np.ndarray]) -> Any:
        """Makes one batch from its number in the epoch and its sample numbers."""
        number, indices = numbered
        if self.collate_fn is None and isinstance(self.dataset, Dataset):
            batch = self.dataset.take(indices)
        else:
            batch = (self.collate_fn or default_collate)([self.dataset[int(index)] for index in indices])
        if self.augment is None:
            return batch
        stream = RandomStream(self.seed, self._epoch, number)
        if isinstance(batch, tuple | list):
            return (self.augment(batch[0], stream), *batch[1:])
        return self.augment(batch, stream)

    def _fetch_ahead(self, batches: list[tuple[int, np.ndarray]]) -> Iterator[Any]:
        """Makes batches in background threads and hands them out in order; an error comes with its own batch."""
        waiting: deque[Future[Any]] = deque()
        threads = ThreadPoolExecutor(self.prefetch, thread_name_prefix="nbdl-prefetch")
        try:
            for numbered in batches:
                waiting.append(threads.submit(self._fetch, numbered))
                if len(waiting) > self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, int | bool]:
        """The place in the order: the epoch, the batches of it already handed out, and what the order depends on."""
        at_end = self._batch == len(self)
        return {
            "epoch": self._epoch + at_end,
            "batch": 0 if at_end else self._batch,
            "seed": self.seed,
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
        }

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Goes to a place that `state_dict` named: the next loop yields the batches of that epoch that are left.

        Raises:
            DataArgumentError: The state is none of a loader, or of one with another seed, batch size, shuffling or
                number of samples.
        """
        own = self.state_dict()
        if not isinstance(state, Mapping) or not own.keys() <= state.keys():
            raise DataArgumentError("state", f"a dictionary with {', '.join(own)}", repr(state)[:80])
        for name in ("seed", "samples", "batch_size", "shuffle"):
            if state[name] != own[name]:
                raise DataArgumentError(name, f"{state[name]} as in the saved order", str(own[name]))
        epoch = check_count("epoch", state["epoch"], 0, "a whole number from 0 up")
        batch = check_count("batch", state["batch"], 0, "a whole number from 0 up")
        if batch >= len(self):
            raise DataArgumentError("batch", f"at most {len(self) - 1}, the number of the last batch", str(batch))
        self._epoch, self._batch = epoch, batch
        self._continue = True

    def __repr__(self) -> str:
        order = f"shuffled, seed {self.seed}" if self.shuffle else "in order"
        return f"DataLoader({self.dataset!r}, {len(self)} batches of {self.batch_size}, {order})"


def check_count(argument: str, value: Any, minimum: int, expected: str) -> int:
    """Returns the value as a Python int when it is a whole number and not under the minimum."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise DataArgumentError(argument, expected, repr(value))
    return int(value)
