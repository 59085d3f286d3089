"""What a loader, its batches and its saved place refuse, and which kinds of samples keep their form."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from nbdl.data import ArrayDataset, DataArgumentError, DataLoader, default_collate

TEN = ArrayDataset(np.arange(10))


@pytest.mark.parametrize(
    "options",
    [
        *({"shuffle": "yes"}, {"drop_last": "no"}, {"collate_fn": 3}, {"augment": 3}),
        *({"pin_memory": True}, {"pin_memory": 3}),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_batch(options):
    with pytest.raises(DataArgumentError, match=next(iter(options))):
        DataLoader(TEN, 3, **options)


def test_defaults_of_pytorch_are_taken():
    loader = DataLoader(TEN, 3, None, pin_memory=False, drop_last=0)
    assert [batch.tolist() for (batch,) in loader] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([1, "a"], "one kind, got int and str"),
        (["a", 1], "one kind, got str and int"),
        ([{"a": 1}, {"b": 1}], "the key 'a' in every sample"),
        ([{"a": 1}, (1,)], "one kind, got dict and tuple"),
        ([(1, 2), (1,)], "2 fields in every sample"),
        ([(1, "a"), (2, 3)], "one kind, got str and int"),
    ],
)
def test_samples_of_different_kinds_do_not_mix(samples, message):
    with pytest.raises(DataArgumentError, match=message):
        default_collate(samples)


def test_numbers_of_different_kinds_do():
    assert default_collate([1, 2.5, np.float32(3), np.array(4)]).tolist() == [1.0, 2.5, 3.0, 4.0]


def test_named_fields_keep_their_names():
    pair = namedtuple("pair", "image label")
    batch = default_collate([pair(np.zeros(2), 3), pair(np.ones(2), 4)])
    assert type(batch) is pair
    assert batch.image.shape == (2, 2)
    assert batch.label.tolist() == [3, 4]


@pytest.mark.parametrize("change", [None, {}, {"batch": 4}, {"batch": -1}, {"epoch": 1.5}, {"seed": 3}])
def test_a_refused_place_leaves_the_loader_where_it_was(change):
    loader = DataLoader(TEN, 3, shuffle=True)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    with pytest.raises(DataArgumentError):
        loader.load_state_dict(3 if change is None else {**state, **change} if change else {})
    assert loader.state_dict() == state
