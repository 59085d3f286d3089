"""The loader: samples of a data set in batches, in an order that depends on the seed and the epoch alone.

One argument chooses the form of gradient descent: `batch_size=1` is stochastic, `batch_size=64` mini-batch and
`batch_size="full"` full-batch descent.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from nbdl.data.augmentation import Augmentation
from nbdl.data.collate import default_collate
from nbdl.data.dataset import Dataset, check_indices, whole_numbers
from nbdl.data.errors import DataArgumentError, EmptyDataError
from nbdl.data.order import RandomStream, check_count, check_seed
from nbdl.data.sampler import RandomSampler, SequentialSampler, batch_count, cut, described, drawn_by


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
        sampler: Chooses the samples of an epoch and their order, in the place of `shuffle`: one of `nbdl.data.sampler`,
            or anything with a length that gives sample numbers. The latter is gone through once at the beginning of an
            epoch, and resuming an epoch goes through it again.
        batch_sampler: Chooses the batches of an epoch, in the place of batch_size, shuffle, sampler and drop_last:
            anything with a length that gives lists of sample numbers.
        num_workers: PyTorch's name for `prefetch`; the workers are threads.
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
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int = 0,
        prefetch: int = 0,
        augment: Augmentation | None = None,
        pin_memory: Callable[[Any], Any] | bool | None = None,
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DataArgumentError("dataset", "something with a length and samples by index", repr(dataset)[:80])
        if len(dataset) == 0:
            raise EmptyDataError("dataset", "at least one sample", "none")
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not (flag is None or isinstance(flag, bool | int | np.bool_)):
                raise DataArgumentError(name, "True or False", repr(flag))
        for name, function in (("collate_fn", collate_fn), ("augment", augment)):
            if not (function is None or callable(function)):
                raise DataArgumentError(name, "a function or None", repr(function))
        if sampler is not None:
            _check_chooser("sampler", sampler, {"shuffle": bool(shuffle)})
        if batch_sampler is not None:
            replaced = {"shuffle": bool(shuffle), "sampler": sampler, "drop_last": bool(drop_last)}
            _check_chooser("batch_sampler", batch_sampler, replaced)
            if batch_size != 1:
                raise DataArgumentError("batch_size", "its default beside batch_sampler", repr(batch_size))
        self.dataset = dataset
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.collate_fn = collate_fn
        self.seed = check_seed(seed)
        chooser: Any = sampler if batch_sampler is None else batch_sampler
        self._chooser = chooser  # None: the order follows from shuffle
        self.sampler: Any = sampler
        if sampler is None:
            self.sampler = RandomSampler(dataset, generator=self.seed) if shuffle else SequentialSampler(dataset)
        self.batch_sampler: Any = batch_sampler
        self.batch_size: Any = None  # the batches' sizes are the batch sampler's
        if batch_sampler is None:
            size = len(self.sampler) if batch_size is None or batch_size == "full" else batch_size
            self.batch_size = check_count("batch_size", size, 1, 'a whole number from 1 up, or "full"')
        workers = check_count("num_workers", num_workers, 0, "a whole number from 0 up")
        self.prefetch = check_count("prefetch", prefetch, 0, "a whole number from 0 up") or workers
        if workers not in (0, self.prefetch):
            raise DataArgumentError("num_workers", f"0 or {prefetch}, as prefetch, its other name", str(workers))
        self.num_workers = self.prefetch
        self.augment = augment
        if pin_memory is True or not (pin_memory in (None, False) or callable(pin_memory)):
            raise DataArgumentError("pin_memory", "nbdl.cuda.pin_memory or None", repr(pin_memory))
        self.pin_memory = pin_memory or None
        if self._chooser is not None and len(self._chooser) == 0:
            raise EmptyDataError("sampler" if batch_sampler is None else "batch_sampler", "at least one entry", "none")
        if len(self) == 0:
            expected = f"a full batch of {self.batch_size} with drop_last"
            raise EmptyDataError("dataset", expected, f"{len(self.sampler)} samples")
        self._epoch = 0  # of the batch that comes next
        self._batch = 0  # batches of that epoch already handed out
        self._continue = True  # the next loop starts at this place; otherwise a loop that was left began this epoch

    def __len__(self) -> int:
        """Batches an epoch."""
        if self.batch_size is None:
            return len(self.batch_sampler)
        return batch_count(len(self.sampler), self.batch_size, self.drop_last)

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
        if self.batch_size is None:
            batches = [whole_numbers("batch_sampler", batch) for batch in drawn_by(self.batch_sampler, epoch)]
            return [check_indices(batch, count, "batch_sampler") for batch in batches]
        order = check_indices(whole_numbers("sampler", drawn_by(self.sampler, epoch)), count, "sampler")
        return cut(order, self.batch_size, self.drop_last)

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

    def state_dict(self) -> dict[str, Any]:
        """The place in the order: the epoch, the batches of it already handed out, and what the order depends on."""
        at_end = self._batch == len(self)
        state = {
            "epoch": self._epoch + at_end,
            "batch": 0 if at_end else self._batch,
            "seed": self.seed,
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
        }
        return state if self._chooser is None else state | {"sampler": described(self._chooser)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a place that `state_dict` named: the next loop yields the batches of that epoch that are left.

        Raises:
            DataArgumentError: The state is none of a loader, or of one with another seed, batch size, shuffling,
                sampler or number of samples.
        """
        own = self.state_dict()
        if not isinstance(state, Mapping) or not own.keys() <= state.keys():
            raise DataArgumentError("state", f"a dictionary with {', '.join(own)}", repr(state)[:80])
        for name in ("seed", "samples", "batch_size", "shuffle", "sampler"):
            if state.get(name) != own.get(name):
                raise DataArgumentError(name, f"{state.get(name)} as in the saved order", str(own.get(name)))
        epoch = check_count("epoch", state["epoch"], 0, "a whole number from 0 up")
        batch = check_count("batch", state["batch"], 0, "a whole number from 0 up")
        if batch >= len(self):
            raise DataArgumentError("batch", f"at most {len(self) - 1}, the number of the last batch", str(batch))
        self._epoch, self._batch = epoch, batch
        self._continue = True

    def __repr__(self) -> str:
        order = f"shuffled, seed {self.seed}" if self.shuffle else "in order"
        order = order if self._chooser is None else described(self._chooser)
        size = "" if self.batch_size is None else f" of {self.batch_size}"
        return f"DataLoader({self.dataset!r}, {len(self)} batches{size}, {order})"


def _check_chooser(name: str, chooser: Any, replaced: Mapping[str, Any]) -> None:
    """Raises unless a sampler can be gone through, and the arguments in whose place it is are not given."""
    if not (hasattr(chooser, "__iter__") and hasattr(chooser, "__len__")):
        raise DataArgumentError(name, "an iterable with a length, or None", repr(chooser)[:80])
    for other, value in replaced.items():
        if value is not None and value is not False:
            raise DataArgumentError(other, f"its default beside {name}", repr(value)[:80])
