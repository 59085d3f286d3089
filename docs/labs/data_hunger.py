"""Data lab: how the test error falls with the number of examples, and what moves the curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl import data, nn

from .experiment import Outcome, Run, experiment, watched
from .training import cnn, draw_split, learn, linear, measure, mlp, outputs

SIZES = (10, 20, 40, 80, 160, 400, 1200)
STEPS = 400
LEARNING = {"steps": STEPS, "weight_decay": 0.01, "falling": True}

Way = tuple[Callable[..., nn.Module], dict[str, Any]]

WAYS: dict[str, Way] = {
    "linear": (linear, {"rate": 1e-2}),
    "MLP": (mlp, {"rate": 2e-3}),
    "CNN": (cnn, {"rate": 2e-3}),
    "CNN, augmented": (cnn, {"rate": 2e-3, "augment": data.RandomShift(1)}),
}
"""Networks and how they learn; augmentation moves an image by up to a pixel in each direction."""


@experiment("data-sizes", seeds=10)
def sizes(run: Run) -> Outcome:
    """Test error against the number of examples: a linear model, an MLP and a CNN, without and with augmentation."""
    values: dict[str, Any] = {name: {} for name in WAYS}
    for examples in run.cases(SIZES):
        for name, (make, settings) in WAYS.items():
            errors = []
            for seed in watched(run.seeds, f"{name}, {examples} examples"):
                split = draw_split(seed, examples)
                options = {**LEARNING, **settings, "steps": run.steps(STEPS)}
                errors.append(measure(learn(make, split.train, seed=seed, **options).model, split.test)[0])
            values[name][f"{examples}"] = errors
    return {"sizes": SIZES, **LEARNING, "test": 400}, values


# ---------------------------------------------------------------- transfer

KNOWN, NEW = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
TRANSFER_SIZES = (5, 10, 20, 40, 80, 160, 320)
TUNING_STEPS = 200


@experiment("data-transfer", seeds=8)
def transfer(run: Run) -> Outcome:
    """Digits 5 to 9 from few examples: from nothing, and with what a network learned on 0 to 4 before."""
    names = ("linear", "CNN from nothing", "CNN, features kept", "CNN, all tuned on")
    values: dict[str, Any] = {name: {f"{size}": [] for size in run.cases(TRANSFER_SIZES)} for name in names}
    options = {"falling": True, "weight_decay": 0.01}
    for seed in watched(run.seeds, "transfer"):
        known = draw_split(seed, 500, classes=KNOWN)
        before = learn(
            lambda: cnn(len(KNOWN)), known.train, seed=seed, steps=run.steps(STEPS), rate=2e-3, **options
        ).model
        weights = {name: np.array(value.detach()) for name, value in before.state_dict().items()}

        def pretrained(weights: dict[str, np.ndarray] = weights) -> nn.Sequential:
            """The network that knows 0 to 4, with a last layer that knows nothing."""
            model = cnn(len(NEW))
            last = len(model) - 1
            fresh = {name: value for name, value in model.state_dict().items() if name.startswith(f"{last}.")}
            model.load_state_dict({**weights, **fresh})
            return model

        for size in run.cases(TRANSFER_SIZES):
            split = draw_split(seed, size, classes=NEW)
            frozen = [_features(pretrained(), part) for part in (split.train, split.test)]
            runs: dict[str, tuple[Callable[[], nn.Module], float, data.ArrayDataset, data.ArrayDataset]] = {
                "linear": (lambda: linear(len(NEW)), 1e-2, split.train, split.test),
                "CNN from nothing": (lambda: cnn(len(NEW)), 2e-3, split.train, split.test),
                "CNN, features kept": (lambda: nn.Linear(64, len(NEW)), 1e-2, *frozen),
                "CNN, all tuned on": (pretrained, 5e-4, split.train, split.test),
            }
            for name, (make, rate, dataset, test) in runs.items():
                trainer = learn(make, dataset, seed=seed, steps=run.steps(TUNING_STEPS), rate=rate, **options)
                values[name][f"{size}"].append(measure(trainer.model, test)[0])
    settings = {"sizes": TRANSFER_SIZES, "known": KNOWN, "new": NEW, "known_examples": 500, "steps": TUNING_STEPS, "test": 199}
    return settings, values


def _features(model: nn.Sequential, dataset: data.ArrayDataset) -> data.ArrayDataset:
    """The same examples, each image replaced by what the layer before the last makes of it."""
    images, labels = dataset.arrays
    return data.ArrayDataset(outputs(model[:-1], images), labels)
