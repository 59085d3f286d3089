"""Recipes of time series: the sunspots of the years to come."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from nbdl import data, models, nn, optim
from nbdl.train.forecast_picture import draw_forecasts
from nbdl.train.loop import Trainer
from nbdl.train.recipes.registry import (
    Option,
    Task,
    choice,
    descent_options,
    describe_descent,
    make_optimizer,
    number,
    recipe,
    whole,
)

HELD_OUT_YEARS = 55  # five solar cycles
ORDER = 9  # of the autoregression, as is usual for the yearly sunspots
EVALUATION_BATCH = 64
SHOWN = (0.0, 1 / 3, 2 / 3, 1.0)  # where in the test years the drawn forecasts begin


def _root_mean_square(errors: np.ndarray) -> float:
    return math.sqrt(float(np.mean(errors**2)))


def _scaled(past: np.ndarray, *others: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The past and what belongs to it, less the mean of the past and in units of its deviation; and these two.

    What the network then learns is true for weak and for strong cycles, even stronger ones than it has seen.
    """
    mean, deviation = past.mean(axis=1, keepdims=True), past.std(axis=1, keepdims=True)
    return [((values - mean) / deviation).astype(np.float32) for values in (past, *others)], mean, deviation


@recipe(
    "lstm-forecast",
    "an LSTM forecasts the sunspots of the next eleven years, against seasonal and autoregressive forecasts",
    "test_rmse",
    (
        Option(
            "held_out",
            choice("test", "validation"),
            "test",
            "test: the last 55 years; validation: those before",
            "PART",
        ),
        Option("past", whole(data.SOLAR_CYCLE), 22, "years to look at", "N"),
        Option("future", whole(1), 11, "years to forecast", "N"),
        Option("cells", choice("lstm", "gru", "rnn"), "lstm", "lstm, gru or rnn", "NAME"),
        Option("hidden", whole(1), 32, "size of the memory", "N"),
        Option("dropout", number(0, 1), 0.3, "share of the memory zeroed in training", "P"),
        *descent_options(epochs=20, rate=0.01),
    ),
)
def lstm_forecast(options: dict[str, Any]) -> Task:
    """Trains on all years before those held out. The network learns to correct an autoregression that knows the same
    years. The settings were chosen on 1899 to 1953, with `held_out` "validation"; the last years are for the test.
    """
    years, numbers = data.sunspots()
    past, future, held_out = options["past"], options["future"], options["held_out"]
    if held_out == "validation":
        years, numbers = years[:-HELD_OUT_YEARS], numbers[:-HELD_OUT_YEARS]
    split = len(numbers) - HELD_OUT_YEARS
    linear = data.Autoregression(numbers[:split], ORDER)

    before, after = data.windows(numbers[:split], past, future)
    train = data.ArrayDataset(*_scaled(before, linear.forecast(before, future), after)[0])
    before, truth = data.windows(numbers, past, future, split)
    baselines = {
        "autoregression": linear.forecast(before, future),
        "seasonal naive": data.seasonal_naive(before, future),
    }
    fields, mean, deviation = _scaled(before, baselines["autoregression"], truth)
    held = data.ArrayDataset(*fields)
    model = models.RecurrentForecaster(
        future, options["hidden"], kind=options["cells"], dropout=options["dropout"], corrects=True
    )
    optimizer = make_optimizer(model, options)
    loader = data.DataLoader(train, options["batch_size"], shuffle=True, seed=options["seed"])

    def forecasts(trainer: Trainer) -> np.ndarray:
        """What the network expects of the years held out: [N, future], never under 0."""
        expected = trainer.predict(data.DataLoader(held, EVALUATION_BATCH)).astype(np.float64)
        return np.maximum(expected * deviation + mean, 0)

    def evaluate(trainer: Trainer) -> dict[str, float]:
        errors = {f"{name.replace(' ', '_')}_rmse": _root_mean_square(b - truth) for name, b in baselines.items()}
        return {f"{held_out}_rmse": _root_mean_square(forecasts(trainer) - truth), **errors}

    def draw(trainer: Trainer) -> dict[str, str]:
        said = {options["cells"].upper(): forecasts(trainer), **baselines}
        starts = sorted({round(share * (len(truth) - 1)) for share in SHOWN})
        shown = [
            (int(years[split + start]), {name: values[start] for name, values in said.items()}) for start in starts
        ]
        title = f"sunspots: forecasts of {future} years"
        first = split - past - future
        return {"forecast.svg": draw_forecasts(years[first:], numbers[first:], shown, title)}

    return Task(
        model=model,
        loss=nn.MSELoss(),
        optimizer=optimizer,
        schedule=optim.lr_scheduler.OneCycleLR(
            optimizer,
            optimizer.param_groups[0]["lr"],
            total_steps=options["epochs"] * len(loader),
            cycle_momentum=False,
        ),
        schedule_each="batch",
        loader=loader,
        test=evaluate,
        pictures=draw,
        clip_norm=1.0,
        fingerprint=hashlib.sha256(numbers.tobytes()).hexdigest(),
        summary={
            "data": f"sunspots; {years[0]} to {years[split - 1]} to train, {years[split]} to {years[-1]} held out",
            "task": f"{past} years to look at, {future} to forecast, from each year on",
            "model": repr(model),
            "descent": describe_descent(options, ", rising and falling to 0"),
        },
    )
