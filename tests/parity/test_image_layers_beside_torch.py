"""Padding, fold, unfold and transposed convolution beside PyTorch, over random arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from tests.parity.beside_torch import check_module  # noqa: E402

pytestmark = pytest.mark.parity

CASES = 240
"""Configurations of a family, those that both refuse not counted."""


def integers(rng: np.random.Generator, low: int, high: int, count: int) -> Any:
    """An integer of the closed interval, or one for each axis."""
    values = tuple(int(v) for v in rng.integers(low, high + 1, count))
    return values[0] if rng.random() < 0.5 else values


def images(rng: np.random.Generator, channels: int, sizes: Any, batch: int | None) -> np.ndarray:
    """Images in channels-first, channels-last or strided memory."""
    lead = () if batch is None else (batch,)
    x = rng.standard_normal((*lead, channels, *sizes))
    layout = rng.integers(3)
    if layout == 1:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, len(lead), -1)), -1, len(lead))
    elif layout == 2:
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    return x


def batch_size(rng: np.random.Generator) -> int | None:
    return [None, 0, 1, 2, 3][rng.integers(5)]


@pytest.mark.parametrize("mode", ["ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
def test_padding(mode: str) -> None:
    rng, done = np.random.default_rng(len(mode)), 0
    while done < CASES // 4:
        rank = int(rng.integers(1, 4))
        sizes = [int(n) for n in rng.integers(1, 6 if rank < 3 else 4, rank)]
        amounts = integers(rng, -1, 4, 2 * rank)
        if _undefined(mode, sizes, amounts):
            continue
        value = (1.5,) if mode == "ConstantPad" else ()
        x = images(rng, int(rng.integers(1, 4)), sizes, batch_size(rng))
        done += check_module(f"{mode}{rank}d", x, rng, amounts, *value)


def _undefined(mode: str, sizes: list[int], amounts: Any) -> bool:
    """Whether PyTorch hands out memory that it never wrote to: gradients of empty results, wrapped elements cut off."""
    pairs = np.broadcast_to(amounts, 2 * len(sizes)).reshape(-1, 2)[::-1]
    if mode == "CircularPad":
        return any(max(pair) > size - np.maximum(-pair, 0).sum() for size, pair in zip(sizes, pairs, strict=True))
    return mode == "ReflectionPad" and any(size + sum(pair) == 0 for size, pair in zip(sizes, pairs, strict=True))


def test_circular_padding_wraps_once() -> None:
    with pytest.raises(NbdlError):
        nn.CircularPad1d((3, -1))(nbdl.ones(1, 3))


def test_unfold() -> None:
    rng, done = np.random.default_rng(1), 0
    while done < CASES:
        options = window(rng)
        x = images(rng, int(rng.integers(1, 4)), rng.integers(1, 8, 2), batch_size(rng))
        done += check_module("Unfold", x, rng, **options)


def test_fold() -> None:
    rng, done = np.random.default_rng(2), 0
    while done < CASES:
        options = window(rng)
        size = tuple(int(n) for n in rng.integers(1, 8, 2))
        taps, spread, margin, step = (np.broadcast_to(value, 2) for value in options.values())
        places = np.maximum((np.array(size) + 2 * margin - spread * (taps - 1) - 1) // step + 1, 0)
        rows = int(rng.integers(1, 4) * taps.prod())
        x = images(rng, rows, [int(places.prod())], batch_size(rng))
        done += check_module("Fold", x, rng, size, **options)


def window(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "kernel_size": integers(rng, 1, 3, 2),
        "dilation": integers(rng, 1, 2, 2),
        "padding": integers(rng, 0, 2, 2),
        "stride": integers(rng, 1, 3, 2),
    }


@pytest.mark.parametrize("rank", [1, 2])
def test_transposed_convolution(rank: int) -> None:
    rng, done = np.random.default_rng(rank), 0
    while done < CASES:
        groups = int(rng.integers(1, 4))
        channels = groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 6))
        if rng.random() < 0.1:
            channels = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        options = {
            "kernel_size": integers(rng, 1, 4, rank),
            "stride": integers(rng, 1, 3, rank),
            "padding": integers(rng, 0, 2, rank),
            "output_padding": integers(rng, 0, 2, rank) if rng.random() < 0.5 else 0,
            "groups": groups,
            "bias": bool(rng.integers(2)),
            "dilation": integers(rng, 1, 2, rank),
        }
        batch = [None, 1, 2, 3][rng.integers(4)]  # PyTorch does not check the other arguments of an empty batch
        x = images(rng, channels[0], rng.integers(1, 7, rank), batch)
        done += check_module(f"ConvTranspose{rank}d", x, rng, *channels, **options)


@pytest.mark.parametrize("rank", [1, 2])
def test_sizes_that_transposed_convolution_can_be_asked_for(rank: int) -> None:
    rng = np.random.default_rng(rank)
    for _ in range(60):
        options = {"stride": integers(rng, 1, 3, rank), "padding": integers(rng, 0, 1, rank)}
        theirs = getattr(torch.nn, f"ConvTranspose{rank}d")(2, 3, 3, **options)
        ours = getattr(nn, f"ConvTranspose{rank}d")(2, 3, 3, **options)
        ours.load_state_dict(theirs.state_dict())
        x = rng.standard_normal((2, *rng.integers(2, 6, rank))).astype(np.float32)
        least = theirs(torch.from_numpy(x)).shape[1:]
        size = [int(n + more) for n, more in zip(least, rng.integers(-1, 3, rank), strict=True)]
        if rng.random() < 0.3:
            size = [3, *size]
        try:
            wanted = theirs(torch.from_numpy(x), output_size=size)
        except ValueError:
            with pytest.raises(NbdlError):
                ours(nbdl.from_numpy(x), output_size=size)
            continue
        got = ours(nbdl.from_numpy(x), output_size=size).detach().numpy()
        np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
