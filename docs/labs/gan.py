"""GAN lab: whether a generator finds all modes of a ring, what makes it collapse, and what its digits are worth."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from nbdl import data, train

from .experiment import Outcome, Run, experiment, watched

SAMPLES = 5_000
POINTS, IMAGES = 150, 50  # kept to be drawn
BRIGHTEST = 16
BALANCED: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "hidden": (64, 64),
    "average": 0.99,
    "generator_rate": 0.002,
    "discriminator_rate": 0.004,
}
"""Quicker than the recipe, on a tenth of its arithmetic."""

CASES: dict[str, dict[str, Any]] = {
    "balanced": {},
    "generator ahead": {"generator_steps": 10, "epochs": 5},
    "slow discriminator": {"discriminator_rate": 0.0001},
}


def _spread(points: np.ndarray) -> float:
    """Standard deviation of the points around their mean, in units of that of the ring."""
    return float(np.linalg.norm(points.std(axis=0)) / np.linalg.norm(data.ring_means().std(axis=0)))


def _recipe(name: str, run: Run, seed: int, **options: Any) -> Any:
    """A recipe's result, its files thrown away."""
    quick = (
        {"epochs": 1, "batch_size": 6400} | ({"synthetic": 200} if name == "gan-digits" else {}) if run.quick else {}
    )
    with tempfile.TemporaryDirectory() as folder:
        return train.run_recipe(name, out=folder, seed=seed, **options | quick)


@experiment("gan-ring", seeds=5)
def ring(run: Run) -> Outcome:
    """Does the recipe's generator find all eight modes, and nothing between them?"""
    values: dict[str, list[float]] = {"modes": [], "near_share": []}
    for seed in watched(run.seeds, "ring"):
        result = _recipe("gan-ring", run, seed)
        for name, measured in values.items():
            measured.append(result.metrics[name])
    return {"recipe": "gan-ring"}, values


@experiment("gan-collapse", seeds=5)
def collapse(run: Run) -> Outcome:
    """What becomes of the generator when the discriminator does not keep up with it?"""
    values: dict[str, Any] = {case: {"modes": [], "near_share": [], "spread": [], "points": []} for case in CASES}
    for seed in watched(run.seeds, "collapse"):
        for case, changes in CASES.items():
            gan: Any = _recipe("gan-ring", run, seed, **BALANCED | changes).task.model
            points = gan.make(SAMPLES).detach().numpy()  # of the generator itself: an average of places is no place
            coverage = data.mode_coverage(points, data.ring_means())
            values[case]["modes"].append(coverage.modes)
            values[case]["near_share"].append(coverage.near)
            values[case]["spread"].append(_spread(points))
            values[case]["points"].append(np.round(points[:POINTS].ravel().astype(float), 2).tolist())
    return {**BALANCED, "hidden": list(BALANCED["hidden"]), "cases": CASES}, values


@experiment("gan-digits", seeds=3)
def digits(run: Run) -> Outcome:
    """What are synthetic digits worth to a classifier of real ones?"""
    names = ("test_accuracy", "accuracy_of_real", "synthetic_read", "classes")
    values: dict[str, Any] = {name: [] for name in (*names, "images")}
    for seed in watched(run.seeds, "digits"):
        result = _recipe("gan-digits", run, seed)
        for name in names:
            values[name].append(result.metrics[name])
        made = result.task.model.sample(IMAGES).numpy()
        values["images"].append(np.rint((made + 1) * BRIGHTEST / 2).astype(int).ravel().tolist())
    return {"recipe": "gan-digits"}, values
