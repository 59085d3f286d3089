"""Data lab: how the test error falls with the number of examples, and what moves the curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl import data, nn

from .experiment import Outcome, Run, experiment, watched
from .strengths import ROOM, on_sheets, sheet_network
from .training import cnn, draw_split, learn, linear, measure, mlp

SIZES = (10, 20, 40, 80, 160, 400, 1200)
LEARNING = {"weight_decay": 0.01, "falling": True}

Way = tuple[Callable[..., nn.Module], dict[str, Any]]

WAYS: dict[str, Way] = {
    "linear": (linear, {"rate": 1e-2}),
    "MLP": (mlp, {"rate": 2e-3}),
    "CNN": (cnn, {"rate": 2e-3}),
    "CNN, augmented": (cnn, {"rate": 2e-3, "augment": data.RandomShift(1)}),
}
"""Networks and how they learn; augmentation moves an image by up to a pixel in each direction."""


def steps_for(examples: int) -> int:
    """How many steps to learn from so many examples: more has more to tell."""
    return 300 + examples


@experiment("data-sizes", seeds=10)
def sizes(run: Run) -> Outcome:
    """Test error against the number of examples: a linear model, an MLP and a CNN, without and with augmentation."""
    values: dict[str, Any] = {name: {} for name in WAYS}
    for examples in run.cases(SIZES):
        for name, (make, settings) in WAYS.items():
            errors = []
            for seed in watched(run.seeds, f"{name}, {examples} examples"):
                split = draw_split(seed, examples)
                options = {**LEARNING, **settings, "steps": run.steps(steps_for(examples))}
                errors.append(measure(learn(make, split.train, seed=seed, **options).model, split.test)[0])
            values[name][f"{examples}"] = errors
    settings = {"sizes": SIZES, "steps": [steps_for(n) for n in SIZES], **LEARNING, "test": 400}
    return settings, values


# ---------------------------------------------------------------- transfer

KNOWN, NEW = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
KNOWN_EXAMPLES, KNOWN_STEPS = 500, 800
TRANSFER_SIZES = (5, 10, 20, 40, 80, 160, 320)
TUNING_STEPS = 200
CONVOLUTIONS, ALL_BUT_LAST = 8, 11  # modules of the network of sheets

Weights = dict[str, np.ndarray]


@experiment("data-transfer", seeds=5)
def transfer(run: Run) -> Outcome:
    """Digits 5 to 9, anywhere on a sheet, from few examples: from nothing, or with layers that learned 0 to 4."""
    ways: dict[str, tuple[int, float]] = {  # layers that come along, and the learning rate
        "from nothing": (0, 2e-3),
        "convolutions from 0 to 4": (CONVOLUTIONS, 1e-3),
        "all but the last layer from 0 to 4": (ALL_BUT_LAST, 1e-3),
    }
    values: dict[str, Any] = {name: {f"{size}": [] for size in run.cases(TRANSFER_SIZES)} for name in ways}
    for seed in watched(run.seeds, "transfer"):
        known = _knows_the_first_digits(seed, run.steps(KNOWN_STEPS))
        for size in run.cases(TRANSFER_SIZES):
            split = draw_split(seed, size, classes=NEW)
            train, test = (
                data.ArrayDataset(*on_sheets(part, seed + i)[:2]) for i, part in enumerate((split.train, split.test))
            )
            for name, (modules, rate) in ways.items():
                options = {**LEARNING, "steps": run.steps(TUNING_STEPS), "rate": rate}
                trainer = learn(
                    lambda known=known, modules=modules: _with_layers(known, modules), train, seed=seed, **options
                )
                values[name][f"{size}"].append(measure(trainer.model, test)[0])
    settings = {"sizes": TRANSFER_SIZES, "known": KNOWN, "new": NEW, "known_examples": KNOWN_EXAMPLES}
    return {**settings, "known_steps": KNOWN_STEPS, "steps": TUNING_STEPS}, values


def _knows_the_first_digits(seed: int, steps: int) -> Weights:
    """The weights of a network that reads 0 to 4 anywhere on a sheet."""
    split = draw_split(seed, KNOWN_EXAMPLES, classes=KNOWN)
    dataset = data.ArrayDataset(*on_sheets(split.train, seed, moved=False)[:2])
    options = {**LEARNING, "steps": steps, "rate": 2e-3, "augment": data.RandomShift(ROOM // 2)}
    model = learn(lambda: sheet_network(len(KNOWN)), dataset, seed=seed, **options).model
    return {name: np.array(value.detach()) for name, value in model.state_dict().items()}


def _with_layers(known: Weights, modules: int) -> nn.Sequential:
    """A new network whose first modules know what another has learned."""
    model = sheet_network(len(NEW))
    state = model.state_dict()
    model.load_state_dict(state | {name: known[name] for name in state if int(name.split(".")[0]) < modules})
    return model
