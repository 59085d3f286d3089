"""The register of recipes: whole training runs that need no code, each with a name and options.

A recipe is a function from options to a `Task`: the parts of a run, and how to test what came out of it. The options
are declared once; the command line, the library call and the checkpoint all read that declaration.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbdl import optim
from nbdl.autograd import Tensor
from nbdl.nn import Module
from nbdl.runtime.errors import ArgumentError
from nbdl.train.loop import Metric, Trainer


@dataclass(frozen=True)
class Option:
    """One setting of a recipe.

    Attributes:
        name: As in Python; the command line writes --with-hyphens.
        parse: Makes the value from a text or a value, or raises ValueError with what was expected.
        default: The value where none is given; None where the recipe chooses or none is needed.
        help: One line.
        metavar: What the help shows for the value.
        required: There is no default.
        repeatable: May be given several times; the value is the tuple of all.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    metavar: str = "VALUE"
    required: bool = False
    repeatable: bool = False

    def __call__(self, value: Any) -> Any:
        """The parsed value.

        Raises:
            ArgumentError: The value is not one of this option's.
        """
        try:
            if self.repeatable:
                return tuple(self.parse(item) for item in ([value] if isinstance(value, str) else value))
            return self.parse(value)
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"{self.name}: expected {error}, got {value!r}") from None


@dataclass
class Task:
    """The parts of a run, ready to train.

    Attributes:
        model, loss, optimizer, loader, validation, metrics: As for `Trainer`.
        test: Evaluates the trained model; the first number is the recipe's metric, the one of the closing line.
        summary: What the run is about, by topic, for people.
        fingerprint: Digest of data that might change between a run and its continuation.
        pictures: Draws or writes what the trained model does: the text of a file by its name.
        early_stopping: Patience in epochs; None trains all epochs and keeps the last weights.
        clip_norm: Largest norm of the gradient; None leaves it alone.
        trainer: Makes the trainer, with the arguments of `Trainer`.
    """

    model: Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Any
    loader: Any
    test: Callable[[Trainer], dict[str, float]]
    summary: dict[str, str]
    validation: Any = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    schedule: Any = None
    schedule_each: str = "epoch"
    early_stopping: int | None = None
    fingerprint: str = ""
    pictures: Callable[[Trainer], dict[str, str]] | None = None
    clip_norm: float | None = None
    trainer: Callable[..., Trainer] = Trainer


@dataclass(frozen=True)
class Recipe:
    """A training run by name.

    Attributes:
        name: As on the command line.
        summary: One line.
        metric: Name of the number in the closing line.
        options: What can be set.
        build: Makes the task from all options.
    """

    name: str
    summary: str
    metric: str
    options: tuple[Option, ...]
    build: Callable[[dict[str, Any]], Task]

    def option(self, name: str) -> Option:
        """The option of that name.

        Raises:
            ArgumentError: There is none.
        """
        for option in self.options:
            if option.name == name:
                return option
        raise ArgumentError(f"option: expected one of {', '.join(o.name for o in self.options)}, got {name!r}")


RECIPES: dict[str, Recipe] = {}
"""Every recipe by its name; `nbdl list` prints them."""


def recipe(name: str, summary: str, metric: str, options: Sequence[Option]) -> Callable[..., Any]:
    """Registers the decorated build function as a recipe."""

    def register(build: Callable[[dict[str, Any]], Task]) -> Callable[[dict[str, Any]], Task]:
        RECIPES[name] = Recipe(name, summary, metric, tuple(options), build)
        return build

    return register


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Args:
        name: One of `RECIPES`.

    Returns:
        The recipe.

    Raises:
        ArgumentError: There is none; the message lists those that exist.
    """
    if name not in RECIPES:
        raise ArgumentError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


# ---------------------------------------------------------------- values of options
# Each takes a text from the command line or a value from Python; a ValueError says what was expected.


def whole(low: int) -> Callable[[Any], int]:
    """Parses whole numbers from `low` up."""
    expected = f"a whole number from {low} up"

    def parse(value: Any) -> int:
        try:
            parsed = int(value) if isinstance(value, str) else operator.index(value)
        except (ValueError, TypeError):
            raise ValueError(expected) from None
        if parsed < low or isinstance(value, bool):
            raise ValueError(expected)
        return parsed

    return parse


def number(
    low: float, high: float = math.inf, open_low: bool = False, open_high: bool = True
) -> Callable[[Any], float]:
    """Parses finite numbers of an interval."""
    expected = f"a number {'above' if open_low else 'from'} {low:g}"
    if high < math.inf:
        expected += f" and {'under' if open_high else 'up to'} {high:g}"

    def parse(value: Any) -> float:
        try:
            parsed = math.nan if isinstance(value, bool) else float(value)
        except (ValueError, TypeError):
            raise ValueError(expected) from None
        above = low < parsed if open_low else low <= parsed
        below = parsed < high if open_high else parsed <= high
        if not (above and below):
            raise ValueError(expected)
        return parsed

    return parse


def text(value: Any) -> str:
    """Takes any text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def choice(*choices: str) -> Callable[[Any], str]:
    """Takes one of the given texts."""

    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return parse


def batch_size(value: Any) -> int | str:
    """Parses the size of a batch: a whole number from 1 up, or "full"."""
    if value == "full":
        return "full"
    try:
        return whole(1)(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "full"') from None


def widths(value: Any) -> tuple[int, ...]:
    """Parses the widths of hidden layers: "128,64", or "none"."""
    parts = [] if value == "none" else value.split(",") if isinstance(value, str) else value
    try:
        return tuple(whole(1)(part) for part in parts)
    except (ValueError, TypeError):
        raise ValueError('whole numbers from 1 up, such as 128,64, or "none"') from None


# ---------------------------------------------------------------- optimizers

OPTIMIZERS: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd": (optim.SGD, 0.1),
    "momentum": (functools.partial(optim.SGD, momentum=0.9), 0.05),
    "adagrad": (optim.Adagrad, 0.03),
    "adadelta": (optim.Adadelta, 1.0),
    "rmsprop": (optim.RMSprop, 0.001),
    "adam": (optim.Adam, 0.003),
    "adamw": (optim.AdamW, 0.003),
    "nadam": (optim.NAdam, 0.003),
}
"""Optimizers by name, each with the learning rate it starts from when none is given."""


def make_optimizer(model: Module, options: Mapping[str, Any]) -> Any:
    """The optimizer that the options name, over all parameters of the model."""
    make, usual_rate = OPTIMIZERS[options["optimizer"]]
    return make(model.parameters(), lr=options["learning_rate"] or usual_rate)


def describe_descent(options: Mapping[str, Any], schedule: str = "") -> str:
    """How the run descends, in one line."""
    rate = options["learning_rate"] or OPTIMIZERS[options["optimizer"]][1]
    size = options["batch_size"]
    batches = {"full": "all samples at once", 1: "one sample at a time"}.get(size, f"batches of {size}")
    return f"{options['optimizer']}, learning rate {rate:g}{schedule}, {batches}, seed {options['seed']}"


def descent_options(
    epochs: int, batch: int | str = 32, optimizer: str | None = "adamw", rate: float | None = None
) -> tuple[Option, ...]:
    """The options that every recipe of gradient descent has; the usual learning rate where no `rate` is given.

    `optimizer` None leaves no choice of it.
    """
    rates = ", ".join(f"{name} {rate:g}" for name, (_, rate) in OPTIMIZERS.items())
    names = Option("optimizer", choice(*OPTIMIZERS), optimizer, f"one of {', '.join(OPTIMIZERS)}", "NAME")
    of_step = "size of a step" if optimizer is None else f"size of a step; usual: {rates}"
    return (
        Option("epochs", whole(1), epochs, "passes over the training data", "N"),
        Option(
            "batch_size", batch_size, batch, "samples a step: 1 is stochastic, full is full-batch descent", "1|N|full"
        ),
        *(() if optimizer is None else (names,)),
        Option("learning_rate", number(0, open_low=True), rate, of_step, "RATE"),
        Option("seed", whole(0), 0, "chooses weights, order and dropout", "N"),
    )
