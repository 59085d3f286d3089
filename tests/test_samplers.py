"""Samplers: the orders they give, what a loader makes of them, and that a loader with one resumes."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import nbdl
import nbdl.data.sampler
from nbdl import data
from nbdl.data import DataArgumentError, DataLoader, EmptyDataError

TEN = data.ArrayDataset(np.arange(10))


def flat(loader):
    return [batch[0].tolist() for batch in loader]


class Foreign:
    """A sampler as PyTorch's users write them: it knows nothing of epochs."""

    def __init__(self, samples):
        self.samples, self.rounds = samples, 0

    def __len__(self):
        return len(self.samples)

    def __iter__(self):
        self.rounds += 1
        yield from self.samples


class Derived(data.Sampler):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter([2, 1, 0])


OWN = {
    "sequential": lambda seed: data.SequentialSampler(TEN),
    "random": lambda seed: data.RandomSampler(TEN, generator=seed),
    "random, more than there are": lambda seed: data.RandomSampler(TEN, num_samples=25, generator=seed),
    "random with replacement": lambda seed: data.RandomSampler(TEN, True, 17, seed),
    "subset": lambda seed: data.SubsetRandomSampler([1, 3, 5, 7, 9], seed),
    "weighted": lambda seed: data.WeightedRandomSampler(np.arange(10), 17, generator=seed),
    "weighted without replacement": lambda seed: data.WeightedRandomSampler(np.arange(10), 8, False, seed),
}


@pytest.mark.parametrize("name", OWN)
def test_orders_depend_on_seed_and_epoch_alone(name):
    sampler, again = OWN[name](3), OWN[name](3)
    epochs = [list(sampler) for _ in range(3)]
    assert all(type(number) is int for number in epochs[0])
    assert epochs == [again.order(epoch).tolist() for epoch in range(3)]
    assert all(len(epoch) == len(sampler) for epoch in epochs)
    if name != "sequential":
        assert epochs[0] != epochs[1]
        assert OWN[name](4).order(0).tolist() != epochs[0]
    by_generator = OWN[name](nbdl.Generator(3))
    assert by_generator.order(2).tolist() == epochs[2]
    assert repr(by_generator) == repr(sampler)


def test_each_sample_comes_once_before_any_comes_again():
    order = data.RandomSampler(TEN, num_samples=25).order(0).tolist()
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]
    assert len(set(order[20:])) == 5
    assert sorted(data.SubsetRandomSampler([1, 3, 5, 7]).order(0)) == [1, 3, 5, 7]


def test_shuffling_is_the_random_sampler():
    sampler = data.RandomSampler(TEN, generator=7)
    shuffled, sampled = DataLoader(TEN, 3, shuffle=True, seed=7), DataLoader(TEN, 3, sampler=sampler)
    for _ in range(2):
        assert flat(shuffled) == flat(sampled)
    assert isinstance(shuffled.sampler, data.RandomSampler)
    assert isinstance(DataLoader(TEN).sampler, data.SequentialSampler)


def test_draws_with_replacement_are_even():
    counts = np.bincount(data.RandomSampler(TEN, True, 100_000).order(0), minlength=10)
    assert len(counts) == 10
    assert np.abs(counts / 10_000 - 1).max() < 0.05  # five standard deviations


def test_weights_are_probabilities():
    weights = np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    counts = np.bincount(data.WeightedRandomSampler(weights, 80_000).order(0), minlength=6)
    assert (counts[[0, 3, 5]] == 0).all()
    assert np.abs(counts[[1, 2, 4]] / [10_000, 20_000, 50_000] - 1).max() < 0.05


def test_edges_between_weights_never_draw_a_sample_of_weight_zero():
    class Edges:
        def uniform(self, low, high, count):
            return np.array([low, 1.0, high])  # the last one is reached by rounding alone

    assert nbdl.data.sampler._draw(np.array([0.0, 1.0, 0.0, 2.0, 0.0]), 3, Edges()).tolist() == [1, 3, 3]


def test_weights_without_replacement_are_those_of_draws_one_by_one():
    """P(first a, then b) = w_a w_b / (1 - w_a), in 4000 epochs of two draws."""
    weights = np.array([0.5, 0.3, 0.2])
    sampler = data.WeightedRandomSampler(weights, 2, replacement=False)
    counts = np.zeros((3, 3))
    for epoch in range(4000):
        first, second = sampler.order(epoch)
        counts[first, second] += 1
    expected = 4000 * weights[:, None] * weights / (1 - weights[:, None])
    np.fill_diagonal(expected, 0)
    assert np.abs(counts - expected).max() < 150  # five standard deviations


def test_rare_samples_are_found_without_replacement():
    weights = 10.0 ** -np.arange(0, 200, 10)
    order = data.WeightedRandomSampler(weights, 20, replacement=False).order(0)
    assert sorted(order) == list(range(20))
    assert order[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", OWN)
def test_a_loader_with_a_sampler_resumes(name, batched, prefetch):
    def make(seed=3):
        sampler = OWN[name](seed)
        if batched:
            return DataLoader(TEN, batch_sampler=data.BatchSampler(sampler, 3, False), prefetch=prefetch)
        return DataLoader(TEN, 3, sampler=sampler, prefetch=prefetch)

    whole = make()
    expected = [flat(whole), flat(whole)]
    assert [len(batch) for batch in expected[0][:-1]] == [3] * (len(whole) - 1)
    assert len(expected[0]) == len(whole)
    interrupted, resumed = make(), make()
    flat(interrupted)
    iterator = iter(interrupted)
    next(iterator)
    list(resumed.sampler or resumed.batch_sampler)  # somebody's own loop over the sampler changes nothing
    resumed.load_state_dict(interrupted.state_dict())
    assert flat(resumed) == expected[1][1:]
    if name != "sequential":
        with pytest.raises(DataArgumentError, match="sampler"):
            make(4).load_state_dict(interrupted.state_dict())
    with pytest.raises(DataArgumentError):
        DataLoader(TEN, 3).load_state_dict(interrupted.state_dict())


def test_any_iterable_with_a_length_is_a_sampler():
    sampler = Foreign([4, -1, 4, 0])
    loader = DataLoader(TEN, 3, sampler=sampler)
    assert len(loader) == 2
    assert flat(loader) == flat(loader) == [[4, 9, 4], [0]]
    assert sampler.rounds == 2
    assert flat(DataLoader(TEN, 3, sampler=[1, 2, 3, 4], drop_last=True)) == [[1, 2, 3]]
    assert flat(DataLoader(TEN, 2, sampler=Derived())) == [[2, 1], [0]]
    assert flat(DataLoader(TEN, "full", sampler=np.array([5, 6, 7]))) == [[5, 6, 7]]
    assert loader.load_state_dict(loader.state_dict()) is None


def test_batches_are_the_batch_samplers():
    loader = DataLoader(TEN, batch_sampler=Foreign([[1, 2, 3], (9,), np.array([0, -2])]))
    assert len(loader) == 3
    assert flat(loader) == [[1, 2, 3], [9], [0, 8]]
    assert (loader.batch_size, loader.drop_last) == (None, False)
    assert flat(DataLoader(TEN, batch_sampler=data.BatchSampler(range(7), 3, True))) == [[0, 1, 2], [3, 4, 5]]


def test_workers_are_threads_ahead():
    loader = DataLoader(TEN, 3, num_workers=2)
    assert (loader.prefetch, loader.num_workers) == (2, 2)
    assert flat(loader) == flat(DataLoader(TEN, 3))
    assert DataLoader(TEN, prefetch=3).num_workers == 3
    with pytest.raises(DataArgumentError, match="num_workers"):
        DataLoader(TEN, prefetch=3, num_workers=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataLoader(TEN, sampler=[1], shuffle=True), "shuffle: expected its default beside sampler"),
        (lambda: DataLoader(TEN, 2, batch_sampler=[[1]]), "batch_size: expected its default beside batch_sampler"),
        (lambda: DataLoader(TEN, None, batch_sampler=[[1]]), "batch_size: expected its default"),
        (lambda: DataLoader(TEN, sampler=[1], batch_sampler=[[1]]), "sampler: expected its default"),
        (lambda: DataLoader(TEN, drop_last=True, batch_sampler=[[1]]), "drop_last"),
        (lambda: DataLoader(TEN, sampler=3), "sampler: expected an iterable with a length"),
        (lambda: DataLoader(TEN, sampler=iter([1])), "sampler: expected an iterable with a length"),
        (lambda: DataLoader(TEN, batch_sampler=3), "batch_sampler: expected an iterable"),
        (lambda: flat(DataLoader(TEN, sampler=[0, 10])), "sampler: expected whole numbers from -10 to 9, got 10"),
        (lambda: flat(DataLoader(TEN, sampler=[0.5])), "sampler: expected a list of whole numbers"),
        (lambda: flat(DataLoader(TEN, batch_sampler=[[0, -11]])), "batch_sampler: expected whole numbers from -10"),
        (lambda: flat(DataLoader(TEN, batch_sampler=[0])), "batch_sampler: expected a list of whole numbers"),
        (lambda: DataLoader(TEN, num_workers=-1), "num_workers"),
        (lambda: DataLoader({1, 2}), "dataset: expected something with a length and samples by index"),
        (lambda: DataLoader(3), "dataset: expected something with a length and samples by index"),
        (lambda: flat(DataLoader(TEN, batch_sampler=[[1, [2, 3]]])), "batch_sampler: expected a list of whole numbers"),
        (lambda: data.Subset(TEN, [1, [2, 3]]), "indices: expected a list of whole numbers"),
        (lambda: data.RandomSampler(TEN, num_samples=10**30), "num_samples: expected a whole number from 1 to"),
        (lambda: data.SequentialSampler(3), "data_source"),
        (lambda: data.RandomSampler([]), "data_source"),
        (lambda: data.RandomSampler(TEN, 1), "replacement"),
        (lambda: data.RandomSampler(TEN, num_samples=0), "num_samples"),
        (lambda: data.RandomSampler(TEN, generator="a"), "generator"),
        (lambda: data.SubsetRandomSampler([[1]]), "indices"),
        (lambda: data.WeightedRandomSampler([1, -1], 1), "weights: expected finite numbers"),
        (lambda: data.WeightedRandomSampler([1, np.nan], 1), "weights: expected finite numbers"),
        (lambda: data.WeightedRandomSampler([0.0], 1), "weights: expected finite numbers"),
        (lambda: data.WeightedRandomSampler([], 1), "weights: expected finite numbers"),
        (lambda: data.WeightedRandomSampler([[1]], 1), "weights: expected numbers"),
        (lambda: data.WeightedRandomSampler("ab", 1), "weights: expected numbers"),
        (lambda: data.WeightedRandomSampler([1], 1.5), "num_samples"),
        (lambda: data.WeightedRandomSampler([1, 0, 1], 3, False), "num_samples: expected at most 2"),
        (lambda: data.WeightedRandomSampler([1], 1, "yes"), "replacement"),
        (lambda: data.BatchSampler(3, 1, False), "sampler"),
        (lambda: data.BatchSampler([1], 0, False), "batch_size"),
        (lambda: data.BatchSampler([1], 1, None), "drop_last"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(DataArgumentError, match=message):
        make()


def test_nothing_to_load_is_refused():
    for options in ({"sampler": []}, {"batch_sampler": []}):
        with pytest.raises(EmptyDataError, match=next(iter(options))):
            DataLoader(TEN, **options)


def test_docstring_examples():
    names = {"np": np, **{name: getattr(data, name) for name in data.__all__}}
    assert doctest.testmod(nbdl.data.sampler, extraglobs=names).failed == 0


@pytest.mark.parity
class TestBesidePyTorch:
    """PyTorch's samplers and nbdl's in either loader; orders drawn at random have to be of one kind only."""

    torch_data = None

    @pytest.fixture(autouse=True)
    def _torch(self):
        reason = "PyTorch is not installed: make parity installs it"
        TestBesidePyTorch.torch_data = pytest.importorskip("torch.utils.data", reason=reason)

    @pytest.mark.parametrize("drop_last", [False, True])
    @pytest.mark.parametrize("size", [1, 3, 10, 11])
    def test_batches(self, size, drop_last):
        for module in (data, self.torch_data):
            sampler = module.SequentialSampler(range(10))
            assert list(sampler) == list(range(10))
        ours, theirs = (module.BatchSampler(Foreign(range(10)), size, drop_last) for module in (data, self.torch_data))
        assert list(ours) == list(theirs)
        assert len(ours) == len(theirs)

    @pytest.mark.parametrize(
        "make",
        [
            lambda module: module.SequentialSampler(range(10)),
            lambda module: module.RandomSampler(range(10)),
            lambda module: module.RandomSampler(range(10), num_samples=4),
            lambda module: module.RandomSampler(range(10), False, 25),
            lambda module: module.RandomSampler(range(10), True),
            lambda module: module.SubsetRandomSampler([4, 2, 9]),
            lambda module: module.WeightedRandomSampler([0.0, 1.0, 0.0, 2.0], 12),
            lambda module: module.WeightedRandomSampler([0.0, 1.0, 0.0, 2.0], 2, False),
            lambda module: module.BatchSampler(module.RandomSampler(range(10)), 4, False),
        ],
    )
    def test_lengths_and_members(self, make):
        ours, theirs = make(data), make(self.torch_data)
        assert len(ours) == len(theirs)
        drawn = [list(ours), list(theirs)]
        assert len(drawn[0]) == len(drawn[1])
        if len(ours) < 12 and not getattr(ours, "replacement", False) and getattr(ours, "num_samples", 10) != 4:
            flattened = [np.sort(np.concatenate([np.ravel(entry) for entry in order])) for order in drawn]
            assert (flattened[0] == flattened[1]).all()
        sampled = DataLoader(
            TEN, **({"batch_sampler": theirs} if isinstance(drawn[1][0], list) else {"sampler": theirs})
        )
        assert len(flat(sampled)) == len(self.torch_data.DataLoader(range(10), sampler=ours))

    @pytest.mark.parametrize(
        "options",
        [
            {"sampler": [1, 2], "shuffle": True},
            *(
                {"batch_sampler": [[1]], **more}
                for more in ({"batch_size": 2}, {"batch_size": None}, {"shuffle": True})
            ),
            *({"batch_sampler": [[1]], **more} for more in ({"drop_last": True}, {"sampler": [1]})),
        ],
    )
    def test_refusals(self, options):
        with pytest.raises(ValueError):
            self.torch_data.DataLoader(range(10), **options)
        with pytest.raises(DataArgumentError):
            DataLoader(TEN, **options)
