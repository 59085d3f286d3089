"""Recipes of the multilayer perceptron: handwritten digits, and any table of your own."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from nbdl import data, nn, optim
from nbdl.models import MLP
from nbdl.train.loop import Trainer, accuracy
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

EVALUATION_BATCH = 512
FEWEST_ROWS_TO_VALIDATE = 40


def _mlp_options(hidden: str, dropout: float) -> tuple[Option, ...]:
    return (
        Option("hidden", widths, widths(hidden), "widths of the hidden layers, or none", "N,N"),
        Option("dropout", number(0, 1), dropout, "share of hidden units zeroed in training", "P"),
    )


def _validation_split(dataset: data.ArrayDataset, fraction: float, classes: bool, seed: int) -> list[data.Subset]:
    """Splits the training rows again: a part to learn from and a part to watch, stratified where there are classes."""
    if not classes:
        return data.random_split(dataset, [1 - fraction, fraction], seed)
    return [data.Subset(dataset, rows) for rows in data.stratified_split(dataset.arrays[1], fraction, seed)]


@recipe(
    "mlp-digits",
    "an MLP reads handwritten digits: 1,797 images of 8 x 8 pixels that come with scikit-learn",
    "test_accuracy",
    (
        *descent_options(epochs=30),
        *_mlp_options(hidden="256,128", dropout=0.3),
        Option("label_smoothing", number(0, 1), 0.1, "share of the target spread over all classes", "P"),
    ),
)
def mlp_digits(options: dict[str, Any]) -> Task:
    """Trains on nine tenths of the fixed training part, watches the rest, and tests once on the fixed test part."""
    whole_train, test = data.digits()
    train, validation = _validation_split(whole_train, 0.1, classes=True, seed=0)
    model = MLP(64, options["hidden"], 10, dropout=options["dropout"])
    optimizer = make_optimizer(model, options)

    def evaluate(trainer: Trainer) -> dict[str, float]:
        result = trainer.evaluate(data.DataLoader(test, EVALUATION_BATCH))
        return {"test_accuracy": result["accuracy"], "test_loss": result["loss"]}

    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(label_smoothing=options["label_smoothing"]),
        optimizer=optimizer,
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, options["epochs"]),
        loader=data.DataLoader(train, options["batch_size"], shuffle=True, seed=options["seed"]),
        validation=data.DataLoader(validation, EVALUATION_BATCH),
        metrics={"accuracy": accuracy},
        test=evaluate,
        summary={
            "data": f"{len(train):,} digits to train, {len(validation)} to validate, {len(test)} to test; 8 x 8 pixels",
            "model": repr(model),
            "descent": describe_descent(options, " falling to 0"),
        },
    )


@recipe(
    "mlp-csv",
    "an MLP predicts one column of your CSV file from the others: classes or numbers",
    "test_accuracy or test_r2",
    (
        Option("data", text, None, "the CSV file", "FILE", required=True),
        Option("target", text, None, "the column to predict, by name or position from 0", "COLUMN", required=True),
        Option("task", choice("auto", "classification", "regression"), "auto", "what to predict", "TASK"),
        Option(
            "categorical", text, (), "a column of names, not amounts; may be given again", "COLUMN", repeatable=True
        ),
        Option("test_fraction", number(0, 1, open_low=True), 0.2, "share of the rows to test on", "P"),
        *descent_options(epochs=200),
        *_mlp_options(hidden="64,32", dropout=0.0),
        Option("patience", whole(1), 20, "epochs without progress on the validation rows after which to stop", "N"),
    ),
)
def mlp_csv(options: dict[str, Any]) -> Task:
    """Trains on a table. The best weights on the validation rows are kept; the test rows are looked at once."""
    table = data.load_csv(options["data"], options["target"], options["task"], categorical=options["categorical"])
    split = table.split(options["test_fraction"], options["seed"])
    classes = table.task == "classification"
    validates = len(split.train) >= FEWEST_ROWS_TO_VALIDATE
    parts = _validation_split(split.train, 0.15, classes, options["seed"]) if validates else [split.train]
    model = MLP(table.inputs.shape[1], options["hidden"], len(table.classes) or 1, dropout=options["dropout"])

    def evaluate(trainer: Trainer) -> dict[str, float]:
        result = trainer.evaluate(data.DataLoader(split.test, EVALUATION_BATCH))
        targets = split.test.arrays[1]
        if classes:
            usual = int(np.bincount(split.train.arrays[1]).argmax())
            return {
                "test_accuracy": result["accuracy"],
                "test_loss": result["loss"],
                "baseline_accuracy": np.count_nonzero(targets == usual) / len(targets),
            }
        variance = float(np.var(targets, dtype=np.float64))
        assert split.target_scale is not None
        return {
            "test_r2": 1 - result["loss"] / variance if variance else math.nan,
            "test_rmse": math.sqrt(result["loss"]) * float(split.target_scale.std[0]),
        }

    counts = f"{len(parts[0]):,} rows to train, " + (f"{len(parts[1])} to validate, " if validates else "")
    what = f"{len(table.classes)} classes" if classes else "a number"
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss() if classes else nn.MSELoss(),
        optimizer=make_optimizer(model, options),
        loader=data.DataLoader(parts[0], options["batch_size"], shuffle=True, seed=options["seed"]),
        validation=data.DataLoader(parts[1], EVALUATION_BATCH) if validates else None,
        metrics={"accuracy": accuracy} if classes else {},
        test=evaluate,
        early_stopping=options["patience"] if validates else None,
        fingerprint=hashlib.sha256(Path(options["data"]).read_bytes()).hexdigest(),
        summary={
            "data": f"{options['data']}: {counts}{len(split.test)} to test",
            "target": f"{table.target_name!r}, {what}, from {len(table.feature_names)} columns",
            "model": repr(model),
            "descent": describe_descent(options),
        },
    )
