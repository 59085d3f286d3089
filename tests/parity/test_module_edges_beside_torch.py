"""What modules and optimizers answer besides their values: names, order, representations and refusals, as PyTorch."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest

import nbdl

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

pytestmark = pytest.mark.parity

BOTH = (torch, nbdl)


@pytest.mark.parametrize(
    "entries",
    [
        lambda make: {"q": make(2), "a": make(1)},
        lambda make: OrderedDict(q=make(2), a=make(1)),
        lambda make: [("q", make(2)), ("a", make(1))],
    ],
)
def test_parameters_of_a_dictionary_come_in_one_order(entries):
    names = []
    for library in BOTH:
        made = library.nn.ParameterDict(entries(library.ones))
        made.update({"z": library.ones(1), "c": library.ones(1)})
        names.append([name for name, _ in made.named_parameters()])
    assert names[0] == names[1]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("target", ["0", "new", "0.new", "missing.new", "0.weight", "", "training"])
def test_submodules_are_set(target, strict):
    answers = []
    for library in BOTH:
        model = library.nn.Sequential(library.nn.Linear(2, 2))
        try:
            model.set_submodule(target, library.nn.Tanh(), strict)
            answers.append(repr(model))
        except (AttributeError, ValueError) as error:
            answers.append(next(kind for kind in (AttributeError, ValueError) if isinstance(error, kind)))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["weight", "mean", "inner"])
@pytest.mark.parametrize("kind", ["parameter", "module", "buffer", "tensor", "None", "number"])
def test_names_are_assigned_anew(name, kind):
    answers = []
    for library in BOTH:
        model = library.nn.Linear(2, 2)
        model.register_buffer("mean", library.ones(2))
        model.inner = library.nn.ReLU()
        value = {
            "parameter": lambda nn, make: nn.Parameter(make(2)),
            "module": lambda nn, make: nn.Tanh(),
            "buffer": lambda nn, make: nn.Buffer(make(2)),
            "tensor": lambda nn, make: make(2),
            "None": lambda nn, make: None,
            "number": lambda nn, make: 3,
        }[kind](library.nn, library.ones)
        try:
            setattr(model, name, value)
        except TypeError:
            answers.append("refused")
            continue
        names = (model.named_parameters(), model.named_buffers(), model.named_modules())
        answers.append([sorted(key for key, _ in members) for members in names])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam"])
def test_optimizers_print_alike(name):
    texts = []
    for library in BOTH:
        weights = [library.nn.Parameter(library.ones(2)) for _ in range(2)]
        groups = [{"params": weights[:1], "lr": 0.5}, {"params": weights[1:], "weight_decay": 0.25}]
        texts.append(repr(getattr(library.optim, name)(groups, lr=0.125)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("largest", [math.inf, 2.0, 0.0])
@pytest.mark.parametrize("order", [2.0, 1.0, math.inf, "inf"])
def test_norms_are_clipped(largest, order):
    answers = []
    for library in BOTH:
        weights = [library.nn.Parameter(library.ones(2)), library.nn.Parameter(library.ones(3))]
        for weight in weights:
            weight.grad = 3 * library.ones(*weight.shape)
        norm = library.nn.utils.clip_grad_norm_(weights, largest, order)
        answers.append([value.numpy() for value in (norm, *(weight.grad for weight in weights))])
    for theirs, ours in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0)


def test_a_loss_with_its_own_distance_shows_it():
    texts = [repr(library.nn.TripletMarginWithDistanceLoss()) for library in BOTH]
    assert texts[0] == texts[1]
