"""Recipes of convolutional networks: handwritten digits, MNIST and Fashion-MNIST."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl import data, models, nn, ops, optim
from nbdl.autograd import Tensor
from nbdl.train.loop import Trainer, accuracy
from nbdl.train.pictures import confusion_matrix, draw_confusion, draw_predictions
from nbdl.train.recipes.registry import (
    Option,
    Task,
    choice,
    descent_options,
    describe_descent,
    make_optimizer,
    number,
    recipe,
    text,
    whole,
    widths,
)

EVALUATION_BATCH = 256
DIGITS = tuple("0123456789")


def _network_options(channels: str, convolutions: int, dropout: float) -> tuple[Option, ...]:
    return (
        Option("channels", widths, widths(channels), "channels of each block of the VGG-style network", "N,N"),
        Option("convolutions", whole(1), convolutions, "convolutions in each block, before its pooling", "N"),
        Option("dropout", number(0, 1), dropout, "share of the last layer's inputs zeroed in training", "P"),
        Option("label_smoothing", number(0, 1), 0.1, "share of the target spread over all classes", "P"),
    )


def _augmentation_options(shift: int, rotate: float, cutout: int) -> tuple[Option, ...]:
    return (
        Option("shift", whole(0), shift, "move training images by up to so many pixels", "PIXELS"),
        Option("rotate", number(0, 180, open_high=False), rotate, "turn them by up to so many degrees", "DEGREES"),
        Option("cutout", whole(0), cutout, "cover a square of this side", "PIXELS"),
    )


ROOT = Option("root", text, None, "folder that holds the data; default: NBDL_DATA, else a download", "FOLDER")


def _vgg(options: dict[str, Any]) -> nn.Module:
    """The VGG-style network that the options describe."""
    steps: list[int | str] = []
    for width in options["channels"]:
        steps += [*[width] * options["convolutions"], "M"]
    return models.VGG(steps, len(DIGITS), batch_norm=True, dropout=options["dropout"], in_channels=1, small_input=True)


NETWORKS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "vgg": _vgg,
    "lenet5": lambda options: models.LeNet5(activation="relu"),
    "resnet18": lambda options: models.resnet18(num_classes=10, in_channels=1, small_input=True),
}
"""Networks for images of 28 x 28 pixels with one channel, in ten classes."""


def _augmentation(options: dict[str, Any], flip: bool) -> data.Compose | None:
    """What the loader does to the training images."""
    changes: list[data.Augmentation] = []
    if options["rotate"]:
        changes.append(data.RandomRotation(options["rotate"]))
    if options["shift"]:
        changes.append(data.RandomShift(options["shift"]))
    if flip:
        changes.append(data.RandomHorizontalFlip())
    if options["cutout"]:
        changes.append(data.Cutout(options["cutout"]))
    return data.Compose(changes) if changes else None


def _image_task(
    name: str,
    model: nn.Module,
    options: dict[str, Any],
    parts: tuple[data.ArrayDataset, data.ArrayDataset],
    validation_share: float,
    classes: Sequence[str],
    flip: bool = False,
    ink: bool = True,
) -> Task:
    """Trains on a part of the training images, watches the rest, and tests once on the test images."""
    whole_train, test = parts
    rows = data.stratified_split(whole_train.arrays[1], validation_share, seed=0)
    train, validation = (data.Subset(whole_train, part) for part in rows)
    augment = _augmentation(options, flip)
    optimizer = make_optimizer(model, options)
    loader = data.DataLoader(train, options["batch_size"], shuffle=True, seed=options["seed"], augment=augment)
    images, labels = test.arrays

    def evaluate(trainer: Trainer) -> dict[str, float]:
        result = trainer.evaluate(data.DataLoader(test, EVALUATION_BATCH))
        return {"test_accuracy": result["accuracy"], "test_loss": result["loss"]}

    def draw(trainer: Trainer) -> dict[str, str]:
        scores = Tensor(trainer.predict(data.DataLoader(test, EVALUATION_BATCH)))
        thought = np.asarray(ops.softmax(scores, 1))
        matrix = confusion_matrix(labels, thought.argmax(axis=1), len(classes))
        title = f"{name}: test images"
        return {
            "confusion.svg": draw_confusion(matrix, classes, title),
            "predictions.svg": draw_predictions(images, labels, thought, classes, title, ink),
        }

    sizes = f"{len(train):,} images to train, {len(validation):,} to validate, {len(test):,} to test"
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(label_smoothing=options["label_smoothing"]),
        optimizer=optimizer,
        schedule=optim.lr_scheduler.OneCycleLR(
            optimizer,
            optimizer.param_groups[0]["lr"],
            total_steps=options["epochs"] * len(loader),
            cycle_momentum=False,
        ),
        schedule_each="batch",
        loader=loader,
        validation=data.DataLoader(validation, EVALUATION_BATCH),
        metrics={"accuracy": accuracy},
        test=evaluate,
        pictures=draw,
        fingerprint=hashlib.sha256(whole_train.arrays[1].tobytes()).hexdigest(),
        summary={
            "data": f"{sizes}; {images.shape[2]} x {images.shape[3]} pixels",
            "augment": "none" if augment is None else ", ".join(map(repr, augment.transforms)),
            "model": repr(model),
            "descent": describe_descent(options, ", rising and falling to 0"),
        },
    )


@recipe(
    "cnn-digits",
    "a convolutional network reads handwritten digits: 1,797 images of 8 x 8 pixels that come with scikit-learn",
    "test_accuracy",
    (
        *descent_options(epochs=20),
        *_network_options(channels="32,64", convolutions=2, dropout=0.3),
        *_augmentation_options(shift=0, rotate=10, cutout=0),
    ),
)
def cnn_digits(options: dict[str, Any]) -> Task:
    """Trains on nine tenths of the fixed training part of the digits."""
    return _image_task("cnn-digits", _vgg(options), options, data.digits(flatten=False), 0.1, DIGITS)


def _mnist_options(epochs: int, convolutions: int, shift: int) -> tuple[Option, ...]:
    return (
        ROOT,
        Option("network", choice(*NETWORKS), "vgg", f"one of {', '.join(NETWORKS)}", "NAME"),
        *descent_options(epochs, batch=64),
        *_network_options(channels="32,64", convolutions=convolutions, dropout=0.3),
        *_augmentation_options(shift=shift, rotate=0, cutout=0),
    )


@recipe(
    "cnn-mnist",
    "a convolutional network reads the 70,000 digits of MNIST (a download of 11 MB, or --root)",
    "test_accuracy",
    _mnist_options(epochs=5, convolutions=1, shift=2),
)
def cnn_mnist(options: dict[str, Any]) -> Task:
    """Trains on eleven twelfths of MNIST's training images."""
    parts = data.mnist(root=options["root"])
    return _image_task("cnn-mnist", NETWORKS[options["network"]](options), options, parts, 1 / 12, DIGITS)


@recipe(
    "cnn-fashion",
    "a convolutional network tells the 70,000 clothes of Fashion-MNIST apart (a download of 31 MB, or --root)",
    "test_accuracy",
    _mnist_options(epochs=10, convolutions=2, shift=1),
)
def cnn_fashion(options: dict[str, Any]) -> Task:
    """Trains on eleven twelfths of Fashion-MNIST's training images, half of them mirrored."""
    parts = data.fashion_mnist(root=options["root"])
    network, classes = NETWORKS[options["network"]](options), data.FASHION_CLASSES
    return _image_task("cnn-fashion", network, options, parts, 1 / 12, classes, flip=True, ink=False)
