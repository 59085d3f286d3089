"""Strengths lab: features that nobody designed, layers of growing abstraction, one engine for five kinds of data."""

from __future__ import annotations

import csv
import itertools
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import data, nn
from nbdl.train.recipes import run_recipe

from .experiment import Outcome, Run, experiment, watched
from .training import draw_split, learn, linear, measure, outputs

# ---------------------------------------------------------------- learned features

ROOM = 4  # pixels that a digit of 8 x 8 can move on its sheet of 12 x 12
PLACES = ROOM + 1
STAGES = ("pixels", "convolution 1", "convolution 2", "convolution 3", "hidden layer", "scores")
_ENDS = (0, 2, 5, 8, 11, 12)  # how many modules of the network each stage has behind it

Sheets = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Images [N, 1, 12, 12], the digit of each [N], and the row it begins in, 0 to 4 [N]."""


def sheet_network(classes: int) -> nn.Sequential:
    """A convolutional network for a sheet of 12 x 12 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(288, 64), nn.ReLU()),
        nn.Linear(64, classes),
    )


def on_sheets(dataset: data.ArrayDataset, seed: int, moved: bool = True) -> Sheets:
    """Each digit on an empty sheet: anywhere, or in the middle."""
    images, labels = dataset.arrays
    stream = data.RandomStream(seed, epoch=5)
    places = stream.integers(0, ROOM, 2 * len(labels)).reshape(2, -1)
    rows, columns = places if moved else np.full_like(places, ROOM // 2)
    sheets = np.zeros((len(labels), 1, 8 + ROOM, 8 + ROOM), np.float32)
    for sheet, image, row, column in zip(sheets, images, rows, columns, strict=True):
        sheet[:, row : row + 8, column : column + 8] = image
    return sheets, labels, rows


def _halves(dataset: data.ArrayDataset, first: int) -> tuple[data.ArrayDataset, data.ArrayDataset]:
    """The first examples, for a network, and the others, for the probe."""
    return tuple(data.ArrayDataset(*(array[part] for array in dataset.arrays)) for part in np.s_[:first, first:])


def _network(sheets: Sheets, classes: int, seed: int, steps: int, moved: bool) -> nn.Sequential:
    """A network that has learned to read digits; where they may be anywhere, at a new place every time.

    After 0 steps it is as it was made.
    """
    if not steps:
        nbdl.manual_seed(seed)
        return sheet_network(classes)
    dataset = data.ArrayDataset(*sheets[:2])
    augment = data.RandomShift(ROOM // 2) if moved else None
    options = {"rate": 2e-3, "weight_decay": 0.01, "falling": True, "augment": augment}
    return learn(lambda: sheet_network(classes), dataset, seed=seed, steps=steps, **options).model


def _probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray, seed: int, steps: int) -> float:
    """The test error of a linear classifier on standardized features."""
    flat = [values.reshape(len(values), -1).astype(np.float64) for values in (train, test)]
    scale = data.Scale.of(flat[0])
    classes = int(labels.max()) + 1
    trainer = learn(
        lambda: nn.Linear(flat[0].shape[1], classes),
        data.ArrayDataset(scale.apply(flat[0]), labels),
        **{"seed": seed, "steps": steps, "rate": 1e-2, "weight_decay": 0.1, "falling": True},
    )
    return measure(trainer.model, data.ArrayDataset(scale.apply(flat[1]), truth))[0]


@experiment("strengths-features", seeds=5)
def features(run: Run) -> Outcome:
    """Digits 5 to 9 told apart by a linear probe on pixels and on features, some learned from other digits only."""
    known, new = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
    kinds = ("pixels", "untrained network", "learned from 0 to 4", "learned from 5 to 9")
    values: dict[str, Any] = {place: {kind: [] for kind in kinds} for place in ("centred", "anywhere")}
    for seed in watched(run.seeds, "features"):
        others = draw_split(seed, 400, classes=known).train
        split = draw_split(seed, 500, classes=new)
        same, probed = _halves(split.train, 400)
        for place, moved in (("centred", False), ("anywhere", True)):
            train, labels, _ = on_sheets(probed, seed, moved)
            test, truth, _ = on_sheets(split.test, seed + 1, moved)
            steps = run.steps(400)
            networks = {
                "pixels": nn.Identity(),
                "untrained network": _network(on_sheets(same, seed, False), 5, seed, 0, moved)[:-1],
                "learned from 0 to 4": _network(on_sheets(others, seed, False), 5, seed, steps, moved)[:-1],
                "learned from 5 to 9": _network(on_sheets(same, seed, False), 5, seed, steps, moved)[:-1],
            }
            for kind, network in networks.items():
                seen = (outputs(network, train), labels, outputs(network, test), truth)
                values[place][kind].append(_probe(*seen, seed, run.steps(300)))
    return {"learned_from": 400, "probed_with": 100, "steps": 400, "probe_steps": 300, "features": 64}, values


@experiment("strengths-layers", seeds=5)
def layers(run: Run) -> Outcome:
    """What a linear probe reads from each layer: the digit, and the row it begins in, which the labels never name."""
    values: dict[str, Any] = {
        network: {target: {stage: [] for stage in STAGES} for target in ("digit", "row")}
        for network in ("trained", "untrained")
    }
    for seed in watched(run.seeds, "layers"):
        split = draw_split(seed, 1200)
        learned, probed = _halves(split.train, 700)
        train, *targets = on_sheets(probed, seed)
        test, *truths = on_sheets(split.test, seed + 1)
        for network, steps in (("trained", run.steps(600)), ("untrained", 0)):
            model = _network(on_sheets(learned, seed, False), 10, seed, steps, True)
            for stage, end in zip(STAGES, _ENDS, strict=True):
                seen = outputs(model[:end], train), outputs(model[:end], test)
                for target, labels, truth in zip(("digit", "row"), targets, truths, strict=True):
                    error = _probe(seen[0], labels, seen[1], truth, seed, run.steps(300))
                    values[network][target][stage].append(error)
    sizes = [int(np.prod(outputs(model[:end], test[:1]).shape)) for end in _ENDS]
    settings = {"learned_from": 700, "probed_with": 500, "steps": 600, "probe_steps": 300}
    return {**settings, "features": dict(zip(STAGES, sizes, strict=True))}, values


# ---------------------------------------------------------------- one engine, five kinds of data


def _recipe(name: str, run: Run, epochs: int, **options: Any) -> list[dict[str, float]]:
    """The test metrics of a recipe, one set a seed."""
    rows = []
    for seed in watched(run.seeds, name):
        with tempfile.TemporaryDirectory() as folder:
            result = run_recipe(name, out=folder, seed=seed, epochs=1 if run.quick else epochs, **options)
        rows.append(result.metrics)
    return rows


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """The same metrics as lists, one entry a seed."""
    return {name: [row[name] for row in rows] for name in rows[0]}


@experiment("strengths-image", seeds=3)
def image(run: Run) -> Outcome:
    """The recipe cnn-digits: images, read by a convolutional network, beside a linear model."""
    epochs = 20
    metrics = _columns(_recipe("cnn-digits", run, epochs))
    train, test = data.digits(flatten=False)
    options = {"steps": run.steps(900), "rate": 1e-2, "weight_decay": 0.01, "falling": True}
    metrics["baseline_accuracy"] = [
        1 - measure(learn(linear, train, seed=seed, **options).model, test)[0] for seed in run.seeds
    ]
    return {"recipe": "cnn-digits", "epochs": epochs, "baseline": "linear model on the pixels"}, metrics


@experiment("strengths-text", seeds=3)
def text(run: Run) -> Outcome:
    """The recipe lstm-text, made smaller: the next character of Python's help, beside counts of n-grams."""
    options = {"epochs": 3, "hidden": 128}
    if run.quick:
        return {"recipe": "lstm-text", **options}, {}
    return {"recipe": "lstm-text", **options, "baseline": "trigram"}, _columns(_recipe("lstm-text", run, **options))


@experiment("strengths-speech", seeds=3)
def speech(run: Run) -> Outcome:
    """The recipe gru-speech, made shorter: spoken digits, beside a linear model on mean and spread of each band."""
    options = {"epochs": 6, "left_out": "none"}
    train, test = data.spoken_digits()  # before anything else: raises where there are no recordings
    if run.quick:
        return {"recipe": "gru-speech", **options}, {}
    metrics = _columns(_recipe("gru-speech", run, **options))
    sets = [
        np.stack([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in dataset.sequences])
        for dataset in (train, test)
    ]
    metrics["baseline_accuracy"] = [
        1 - _probe(sets[0], train.labels, sets[1], test.labels, seed, run.steps(3000)) for seed in run.seeds
    ]
    return {"recipe": "gru-speech", **options, "baseline": "linear model on mean and deviation of each band"}, metrics


@experiment("strengths-series", seeds=5)
def series(run: Run) -> Outcome:
    """The recipe lstm-forecast: the sunspots of the next eleven years, beside an autoregression."""
    epochs = 20
    settings = {"recipe": "lstm-forecast", "epochs": epochs, "baseline": "autoregression of order 9"}
    return settings, _columns(_recipe("lstm-forecast", run, epochs))


@experiment("strengths-table", seeds=10)
def table(run: Run) -> Outcome:
    """The recipe mlp-csv on a table: tumours, benign or malignant, beside a linear model on the same columns."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise data.MissingPackageError("table", "scikit-learn (pip install 'nbdl[examples]')", "no such package")
    source = Path(package.submodule_search_locations[0], "datasets", "data", "breast_cancer.csv")
    with tempfile.TemporaryDirectory() as folder, source.open(newline="", encoding="ascii") as file:
        rows = list(csv.reader(file))[1:]
        table = Path(folder, "tumours.csv")
        with table.open("w", newline="", encoding="ascii") as copy:
            names = [*(f"column{i}" for i in range(len(rows[0]) - 1)), "benign"]
            csv.writer(copy).writerows(itertools.chain([names], rows))
        options = {"epochs": 60, "data": str(table), "target": "benign"}
        metrics = _columns(_recipe("mlp-csv", run, **options))
        flat = _recipe("mlp-csv", run, hidden="none", **options)
    metrics["linear_accuracy"] = [row["test_accuracy"] for row in flat]
    return {"recipe": "mlp-csv", "rows": len(rows), "epochs": 60, "baseline": "linear model"}, metrics
