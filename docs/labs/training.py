"""What the experiments have in common: drawing examples, training a network from a seed, measuring it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import nbdl
from nbdl import data, models, nn, ops, optim, train
from nbdl.data.order import random_order

CLASSES = 10
TEST_SHARE, VALIDATION_SHARE = 400 / 1797, 197 / 1797  # of the examples, leaving 1,200 of all digits to learn from
BATCH = 32


@dataclass(frozen=True)
class Split:
    """Examples to learn from, to choose by and to test on: images [N, 1, 8, 8], labels [N]."""

    train: data.ArrayDataset
    validation: data.ArrayDataset
    test: data.ArrayDataset


def draw_split(seed: int, examples: int, wrong: float = 0.0, classes: Sequence[int] = range(CLASSES)) -> Split:
    """Draws examples of handwritten digits, all of them anew for each seed: to learn from, to choose by and to test on.

    So an error bar over seeds holds the chance in all three. The classes have equal shares among the examples to
    learn from, and a larger draw contains the smaller ones of the same seed.

    Args:
        seed: Chooses the examples.
        examples: How many to learn from.
        wrong: Share of them whose label is replaced by another one, drawn at random.
        classes: Which digits; labels are their positions in this list.
    """
    images, labels = _all_digits(tuple(classes))
    order = random_order(len(labels), seed)
    first, second = (round(len(labels) * share) for share in (TEST_SHARE, TEST_SHARE + VALIDATION_SHARE))
    test, validation, order = order[:first], order[first:second], order[second:]
    rank = np.empty(len(order), np.int64)  # how many of its class come before
    for label in range(len(classes)):
        of_class = np.flatnonzero(labels[order] == label)
        rank[of_class] = np.arange(len(of_class))
    chosen = order[np.argsort(rank, kind="stable")][:examples]
    if len(chosen) < examples:
        raise ValueError(f"examples: expected up to {len(chosen)}, got {examples}")
    return Split(
        data.ArrayDataset(images[chosen], with_wrong_labels(labels[chosen], wrong, len(classes), seed)),
        data.ArrayDataset(images[validation], labels[validation]),
        data.ArrayDataset(images[test], labels[test]),
    )


@functools.cache
def _all_digits(classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All images of some classes [N, 1, 8, 8], and the positions of their labels among these."""
    images, labels = (np.concatenate(arrays) for arrays in zip(*(p.arrays for p in data.digits(False)), strict=True))
    rows = np.flatnonzero(np.isin(labels, classes))
    return images[rows], np.searchsorted(classes, labels[rows])


def with_wrong_labels(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """A copy of the labels with a share of them, at random places, replaced by another label."""
    labels = labels.copy()
    places = random_order(len(labels), seed, stream=1)[: round(share * len(labels))]
    labels[places] += data.RandomStream(seed, epoch=2).integers(1, classes - 1, len(places))
    return labels % classes


# ---------------------------------------------------------------- networks


def linear(classes: int = CLASSES) -> nn.Module:
    """One linear layer on the pixels: no features but these."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def mlp(hidden: Sequence[int] = (256, 256), dropout: float = 0.0, classes: int = CLASSES) -> nn.Module:
    """A multi-layer perceptron on the pixels."""
    return nn.Sequential(nn.Flatten(), models.MLP(64, hidden, classes, dropout=dropout))


def cnn(classes: int = CLASSES) -> nn.Sequential:
    """A small convolutional network; all but its last layer are the features."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU()),
        nn.Linear(64, classes),
    )


# ---------------------------------------------------------------- training and measuring


def learn(
    make: Callable[[], nn.Module],
    dataset: data.ArrayDataset,
    *,
    seed: int,
    steps: int,
    rate: float = 1e-3,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    augment: data.Augmentation | None = None,
    falling: bool = False,
    callbacks: Sequence[train.Callback] = (),
    **options: Any,
) -> train.Trainer:
    """Trains a new network with AdamW on batches of 32, and returns its trainer.

    Args:
        make: Makes the network, after the seed is set.
        dataset: Examples to learn from.
        seed: Chooses weights, order, dropout and augmentation.
        steps: How many steps at most, whatever the number of examples; whole epochs.
        rate: Learning rate.
        weight_decay: As for `optim.AdamW`.
        label_smoothing: As for `nn.CrossEntropyLoss`.
        augment: Changes the images of each batch.
        falling: Lets the learning rate fall to 0 along a cosine; otherwise it stays.
        callbacks: As for `train.Trainer`, as all other options are.
    """
    nbdl.manual_seed(seed)
    model = make()
    optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay)
    loader = data.DataLoader(dataset, BATCH, shuffle=True, seed=seed, augment=augment)
    epochs = max(1, steps // len(loader))
    if falling:
        options["schedule"] = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
        options["schedule_each"] = "batch"
    loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    trainer = train.Trainer(model, loader, optimizer, loss, callbacks=callbacks, **options)
    trainer.run(epochs)
    return trainer


def outputs(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """What a network makes of images, without dropout."""
    model.eval()
    with nbdl.no_grad():
        return np.asarray(model(nbdl.tensor(images)))


def measure(model: nn.Module, dataset: data.ArrayDataset) -> tuple[float, float]:
    """The share of examples that a network gets wrong, and the mean cross-entropy in nats."""
    images, labels = dataset.arrays
    scores = outputs(model, images)
    loss = ops.cross_entropy(nbdl.tensor(scores), nbdl.tensor(labels)).item()
    return float(np.mean(scores.argmax(axis=1) != labels)), loss


class Watch(train.Callback):
    """Measures a network on several sets every few epochs: `errors[name]` and `losses[name]`, one entry a time."""

    def __init__(self, every: int = 1, **sets: data.ArrayDataset) -> None:
        self.every, self.sets = every, sets
        self.errors: dict[str, list[float]] = {name: [] for name in sets}
        self.losses: dict[str, list[float]] = {name: [] for name in sets}

    def on_epoch_end(self, trainer: train.Trainer, record: dict[str, Any]) -> None:
        if record["epoch"] % self.every:
            return
        for name, dataset in self.sets.items():
            error, loss = measure(trainer.model, dataset)
            self.errors[name].append(error)
            self.losses[name].append(loss)
        trainer.model.train()
