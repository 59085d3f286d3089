"""Overfitting lab: networks that learn anything by heart, what helps against it, and what happens beyond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nbdl
from nbdl import data, nn, ops, optim, train

from .experiment import Outcome, Run, experiment, watched
from .training import Split, Watch, draw_split, learn, measure, mlp, with_wrong_labels

EXAMPLES = 200
STEPS = 1050
WRONG = 0.2  # share of wrong labels in the noisy version of an experiment

# ---------------------------------------------------------------- learning by heart


def _true(split: Split, seed: int) -> data.ArrayDataset:
    return split.train


def _random_labels(split: Split, seed: int) -> data.ArrayDataset:
    images, labels = split.train.arrays
    return data.ArrayDataset(images, data.RandomStream(seed, epoch=3).integers(0, 9, len(labels)))


def _random_pixels(split: Split, seed: int) -> data.ArrayDataset:
    images, labels = split.train.arrays
    noise = data.RandomStream(seed, epoch=4).uniform(0, 1, images.size).reshape(images.shape)
    return data.ArrayDataset(noise.astype(np.float32), labels)


BY_HEART: dict[str, Callable[[Split, int], data.ArrayDataset]] = {
    "true labels": _true,
    "random labels": _random_labels,
    "random pixels": _random_pixels,
}


@experiment("overfitting-by-heart", seeds=10)
def by_heart(run: Run) -> Outcome:
    """Can a network learn random labels, or labels of noise? (Zhang et al., 2017)"""
    examples, steps = 500, 1600
    values: dict[str, Any] = {kind: {"train_error": [], "test_error": []} for kind in BY_HEART}
    for seed in watched(run.seeds, "by heart"):
        split = draw_split(seed, examples)
        for kind, change in BY_HEART.items():
            dataset = change(split, seed)
            watch = Watch(train=dataset)
            trainer = learn(mlp, dataset, seed=seed, steps=run.steps(steps), callbacks=[watch])
            values[kind]["train_error"].append(watch.errors["train"])
            values[kind]["test_error"].append(measure(trainer.model, split.test)[0])
    return {"examples": examples, "steps": steps, "hidden": [256, 256], "parameters": 84_234}, values


@experiment("overfitting-corruption", seeds=10)
def corruption(run: Run) -> Outcome:
    """How long a network takes to learn labels of which a share is random, and how it then does on the test."""
    examples, shares, most_steps = 500, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 4800
    values: dict[str, Any] = {}
    for share in run.cases(shares):
        steps_needed, test_errors = [], []
        for seed in watched(run.seeds, f"{share:.0%} random"):
            split = draw_split(seed, examples)
            images, labels = split.train.arrays
            # A label drawn at random is the right one in a tenth of the cases.
            dataset = data.ArrayDataset(images, with_wrong_labels(labels, 0.9 * share, 10, seed))
            watch = Watch(train=dataset)
            stop = _StopAtZero(watch)
            trainer = learn(mlp, dataset, seed=seed, steps=run.steps(most_steps), callbacks=[watch, stop])
            steps_needed.append(trainer.step if watch.errors["train"][-1] == 0 else None)
            test_errors.append(measure(trainer.model, split.test)[0])
        values[f"{share:g}"] = {"steps": steps_needed, "test_error": test_errors}
    return {"examples": examples, "hidden": [256, 256], "shares": shares}, values


class _StopAtZero(train.Callback):
    """Ends training once every training example is answered as its label says."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_epoch_end(self, trainer: train.Trainer, record: dict[str, Any]) -> None:
        trainer.stop = self.watch.errors["train"][-1] == 0


# ---------------------------------------------------------------- learning curves


@experiment("overfitting-curves", seeds=10)
def curves(run: Run) -> Outcome:
    """Loss and error, epoch by epoch, on the examples learned and on the test; labels right, or a fifth wrong."""
    values: dict[str, Any] = {}
    for wrong in (0.0, WRONG):
        kept: dict[str, list[Any]] = {"train_loss": [], "test_loss": [], "train_error": [], "test_error": []}
        for seed in watched(run.seeds, f"curves, {wrong:.0%} wrong"):
            split = draw_split(seed, EXAMPLES, wrong)
            watch = Watch(every=3, train=split.train, test=split.test)
            learn(mlp, split.train, seed=seed, steps=run.steps(STEPS), callbacks=[watch])
            for part in ("train", "test"):
                kept[f"{part}_loss"].append(watch.losses[part])
                kept[f"{part}_error"].append(watch.errors[part])
        values[f"{wrong:g}"] = kept
    settings = {"examples": EXAMPLES, "steps": STEPS, "steps_an_epoch": 7, "every": 3, "wrong_labels": [0.0, WRONG]}
    return settings, values


# ---------------------------------------------------------------- remedies

Settings = dict[str, Any]

REMEDIES: dict[str, list[tuple[str, Settings]]] = {
    "nothing": [("", {})],
    "more data": [("400", {"examples": 400}), ("800", {"examples": 800})],
    "augmentation": [
        ("turned up to 15°", {"augment": data.RandomRotation(15)}),
        ("moved sideways up to 1 pixel", {"augment": data.RandomShift((0, 1))}),
        ("moved up to 1 pixel", {"augment": data.RandomShift(1)}),
    ],
    "dropout": [(f"{p:g}", {"dropout": p}) for p in (0.2, 0.5, 0.7)],
    "weight decay": [(f"{decay:g}", {"weight_decay": decay}) for decay in (0.3, 1.0, 3.0)],
    "early stopping": [("patience 5", {"patience": 5})],
    "label smoothing": [(f"{share:g}", {"label_smoothing": share}) for share in (0.1, 0.2, 0.4)],
    "smaller model": [(f"{width} wide", {"hidden": (width,)}) for width in (64, 32, 16)],
}
"""Each remedy with the strengths tried."""


def treat(
    seed: int,
    steps: int,
    wrong: float,
    examples: int = EXAMPLES,
    hidden: tuple[int, ...] = (256, 256),
    dropout: float = 0.0,
    patience: int | None = None,
    **options: Any,
) -> dict[str, float]:
    """Trains one network with a remedy and measures it."""
    split = draw_split(seed, examples, wrong)
    if patience is not None:
        options |= {
            "validation": data.DataLoader(split.validation, "full"),
            "callbacks": [train.EarlyStopping(patience=patience)],
        }
    trainer = learn(lambda: mlp(hidden, dropout), split.train, seed=seed, steps=steps, **options)
    test_error, test_loss = measure(trainer.model, split.test)
    return {
        "validation_error": measure(trainer.model, split.validation)[0],
        "train_error": measure(trainer.model, split.train)[0],
        "test_error": test_error,
        "test_loss": test_loss,
    }


@experiment("overfitting-remedies", seeds=10)
def remedies(run: Run) -> Outcome:
    """Each remedy at several strengths, on the same splits, with right labels and with a fifth of them wrong."""
    values: dict[str, Any] = {}
    for wrong in (0.0, WRONG):
        table: dict[str, Any] = {}
        for remedy, strengths in REMEDIES.items():
            table[remedy] = {}
            for strength, settings in watched(run.cases(strengths), f"{remedy}, {wrong:.0%} wrong"):
                rows = [treat(seed, run.steps(STEPS), wrong, **settings) for seed in run.seeds]
                table[remedy][strength] = {name: [row[name] for row in rows] for name in rows[0]}
        values[f"{wrong:g}"] = table
    settings = {"examples": EXAMPLES, "validation": 197, "steps": STEPS, "hidden": [256, 256], "rate": 1e-3}
    return settings, values


def chosen(strengths: dict[str, dict[str, list[float]]]) -> str:
    """The strength with the smallest mean error on the validation examples: the test has no say in it."""
    return min(strengths, key=lambda strength: float(np.mean(strengths[strength]["validation_error"])))


# ---------------------------------------------------------------- double descent


@experiment("overfitting-random-features", seeds=10)
def random_features(run: Run) -> Outcome:
    """Least squares on more and more random features: the error rises to a peak and falls again."""
    examples = EXAMPLES
    counts = run.cases((10, 20, 50, 100, 150, 180, 190, 200, 210, 220, 250, 300, 400, 800, 1600, 3200))
    values: dict[str, Any] = {f"{count}": {"train_error": [], "test_error": [], "norm": []} for count in counts}
    for seed in watched(run.seeds, "random features"):
        split = draw_split(seed, examples, WRONG)
        nbdl.manual_seed(seed)
        directions = nbdl.randn(max(counts), 64)
        images, labels = split.train.arrays
        targets = np.eye(10)[labels]
        features = _positive_part(images, directions)
        test_features = _positive_part(split.test.arrays[0], directions)
        for count in counts:
            # Of all weights that fit equally well, the least squares of NumPy takes those of the smallest norm. What
            # lies below the rounding errors of the features counts as zero.
            weights = np.linalg.lstsq(features[:, :count], targets, rcond=1e-6)[0]
            rows = values[f"{count}"]
            rows["train_error"].append(np.mean((features[:, :count] @ weights).argmax(axis=1) != labels))
            guesses = (test_features[:, :count] @ weights).argmax(axis=1)
            rows["test_error"].append(np.mean(guesses != split.test.arrays[1]))
            rows["norm"].append(np.sqrt(np.sum(weights**2)))
    return {"examples": examples, "wrong_labels": WRONG, "features": counts}, values


def _positive_part(images: np.ndarray, directions: nbdl.Tensor) -> np.ndarray:
    """Random features: the positive part of the projections on random directions, float64 [N, count]."""
    with nbdl.no_grad():
        features = ops.relu(ops.linear(nbdl.tensor(images.reshape(-1, 64)), directions))
    return np.asarray(features, dtype=np.float64) / 8


@experiment("overfitting-width", seeds=5)
def width(run: Run) -> Outcome:
    """Networks of growing width, trained until nothing moves: the error falls, rises to a peak and falls again."""
    examples, steps, rate = 500, 3000, 2e-3
    widths = (8, 12, 16, 24, 32, 64, 96, 128, 256, 512)
    values: dict[str, Any] = {f"{w}": {"train_error": [], "test_error": [], "train_loss": []} for w in widths}
    for hidden in run.cases(widths):
        for seed in watched(run.seeds, f"{hidden} wide"):
            split = draw_split(seed, examples, WRONG)
            model, loss = _fit_squares(split.train, hidden, seed, run.steps(steps), rate)
            rows = values[f"{hidden}"]
            rows["train_error"].append(measure(model, split.train)[0])
            rows["test_error"].append(measure(model, split.test)[0])
            rows["train_loss"].append(loss)
    return {"examples": examples, "wrong_labels": WRONG, "steps": steps, "rate": rate, "widths": widths}, values


def _fit_squares(
    dataset: data.ArrayDataset, hidden: int, seed: int, steps: int, rate: float
) -> tuple[nn.Module, float]:
    """A network with one hidden layer, fitted to one-hot labels by the mean square; all examples at each step."""
    images, labels = dataset.arrays
    nbdl.manual_seed(seed)
    model = mlp((hidden,))
    optimizer = optim.Adam(model.parameters(), lr=rate)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, target = nbdl.tensor(images), nbdl.tensor(np.eye(10, dtype=np.float32)[labels])
    for _ in range(steps):
        loss = ops.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model, loss.item()
