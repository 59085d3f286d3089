"""Convolution beside PyTorch, over random arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from tests.parity.beside_torch import check_module  # noqa: E402

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")]

CASES = 240
"""Configurations of each module, those that both refuse not counted."""

MODES = ("zeros", "zeros", "zeros", "reflect", "replicate", "circular")


def choose(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def one_or_each(rng: np.random.Generator, low: int, high: int, rank: int) -> Any:
    """An integer of the closed interval, or one for each axis."""
    values = tuple(int(v) for v in rng.integers(low, high + 1, rank))
    return values[0] if rng.random() < 0.5 else values


def images(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """In channels-first, channels-last or strided memory."""
    x = rng.standard_normal(shape)
    layout = rng.integers(3)
    if layout == 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return np.repeat(x, 2, axis=-1)[..., ::2] if layout == 2 else x


def arguments(rng: np.random.Generator, rank: int) -> tuple[int, tuple[Any, ...]]:
    """The input channels of a layer, and its arguments."""
    groups = choose(rng, (1, 1, 1, 2, 3))
    inputs, outputs = choose(rng, (1, 2, 3, 5, 17)), choose(rng, (1, 2, 3, 8, 16, 20, 33))
    if rng.random() < 0.25:  # depthwise, with or without a multiplier
        groups, inputs, outputs = choose(rng, (2, 3, 17, 40)), 1, choose(rng, (1, 1, 2))
    padding = choose(rng, ("same", "valid", one_or_each(rng, 0, 3, rank), one_or_each(rng, 0, 3, rank)))
    stride = 1 if padding == "same" and rng.random() < 0.9 else one_or_each(rng, 1, 3, rank)
    kernel, dilation = one_or_each(rng, 1, 4, rank), one_or_each(rng, 1, 3, rank)
    channels = groups * inputs, groups * outputs
    return channels[0], (*channels, kernel, stride, padding, dilation, groups, rng.random() < 0.5, choose(rng, MODES))


@pytest.mark.parametrize("rank", [1, 2])
def test_modules(rank: int) -> None:
    rng, done = np.random.default_rng(rank), 0
    while done < CASES:
        inputs, numbers = arguments(rng, rank)
        sizes = [int(size) for size in rng.integers(1, 13, rank)]
        batch = choose(rng, (None, 0, 1, 2, 3, 12))
        if batch == 0 and numbers[-1] != "zeros":
            continue  # PyTorch pads no empty batch in some of the modes
        x = images(rng, (1 if batch is None else batch, inputs, *sizes))
        done += check_module(f"Conv{rank}d", x[0] if batch is None else x, rng, *numbers)


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ((2, 16, 32, 32), (16, 48, 3, 1, 1)),
        ((2, 64, 9, 33), (64, 40, 3, 2, 1)),
        ((3, 1, 28, 28), (1, 32, 3, 1, 1)),
        ((2, 3, 40, 40), (3, 20, 7, 2, 3)),
        ((40, 24, 4, 4), (24, 33, 3, 1, 1)),
        ((40, 24, 1, 1), (24, 33, 3, 1, 1)),
        ((2, 70, 17, 17), (70, 70, 5, 1, 2, 1, 70)),
        ((1, 8, 300, 70), (8, 16, 3, 1, 1)),
        ((2, 64, 14, 14), (64, 96, 1)),
    ],
)
def test_sizes_of_real_layers(shape: tuple[int, ...], numbers: tuple[int, ...]) -> None:
    """More than one block, panel or tile, in each of the paths that a convolution may take."""
    rng = np.random.default_rng(0)
    assert check_module("Conv2d", rng.standard_normal(shape), rng, *numbers)
