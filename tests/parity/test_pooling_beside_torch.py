"""Pooling, interpolation and pixel shuffles beside PyTorch, over random arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from tests.parity.beside_torch import check_module  # noqa: E402

pytestmark = pytest.mark.parity

CASES = 240
"""Configurations of a family, those that both refuse not counted."""


def per_dimension(rng: np.random.Generator, dims: int, low: int, high: int) -> Any:
    """An integer of the closed interval, or one for each dimension."""
    values = tuple(int(v) for v in rng.integers(low, high + 1, dims))
    return values[0] if rng.random() < 0.5 else values


def images(rng: np.random.Generator, dims: int, batched: bool = False) -> np.ndarray:
    """Lines or images of few or many channels in channels-first or channels-last memory, of round numbers at times."""
    lead: tuple[int, ...] = () if not batched and rng.random() < 0.3 else (int(rng.integers(1, 4)),)
    if lead and not batched and rng.random() < 0.1:
        lead = (0,)
    channels = int(rng.choice((1, 2, 3, 17)))
    x = rng.standard_normal((*lead, channels, *rng.integers(1, 10, dims)))
    if rng.random() < 0.4:
        x = np.round(2 * x) / 2
    if rng.random() < 0.5:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, len(lead), -1)), -1, len(lead))
    return x


def optional(rng: np.random.Generator, **choices: Callable[[], Any]) -> dict[str, Any]:
    """Some of the arguments."""
    return {name: draw() for name, draw in choices.items() if rng.random() < 0.6}


def has_empty_windows(x: np.ndarray, dims: int, arguments: dict[str, Any]) -> bool:
    """Whether a dilated kernel may step over the whole input: there PyTorch's gradients go astray."""
    pads, gaps = arguments.get("padding", 0), arguments.get("dilation", 1)
    return np.max(pads) > 0 and np.max(gaps) > min(x.shape[-dims:])


@pytest.mark.parametrize("dims", [1, 2])
def test_max_pool(dims: int) -> None:
    rng, done = np.random.default_rng(dims), 0
    while done < CASES // 2:
        x = images(rng, dims)
        arguments = optional(
            rng,
            stride=lambda: per_dimension(rng, dims, 1, 3),
            padding=lambda: per_dimension(rng, dims, 0, 2),
            dilation=lambda: per_dimension(rng, dims, 1, 2),
            ceil_mode=lambda: bool(rng.integers(2)),
        )
        if not has_empty_windows(x, dims, arguments):
            done += check_module(f"MaxPool{dims}d", x, rng, per_dimension(rng, dims, 1, 4), **arguments)


@pytest.mark.parametrize("dims", [1, 2])
def test_avg_pool(dims: int) -> None:
    rng, done = np.random.default_rng(dims), 0
    while done < CASES // 2:
        arguments = optional(
            rng,
            stride=lambda: per_dimension(rng, dims, 1, 3),
            padding=lambda: per_dimension(rng, dims, 0, 2),
            ceil_mode=lambda: bool(rng.integers(2)),
            count_include_pad=lambda: bool(rng.integers(2)),
        )
        if dims == 2 and rng.random() < 0.3:
            arguments["divisor_override"] = int(rng.choice((-3, 0, 1, 7)))
        done += check_module(f"AvgPool{dims}d", images(rng, dims), rng, per_dimension(rng, dims, 1, 4), **arguments)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("kind", ["Avg", "Max"])
def test_adaptive_pool(kind: str, dims: int) -> None:
    rng, done = np.random.default_rng(dims), 0
    while done < CASES // 4:
        size = per_dimension(rng, dims, 1, 11)
        if dims == 2 and rng.random() < 0.2:
            size = (None, size if isinstance(size, int) else size[0])
        done += check_module(f"Adaptive{kind}Pool{dims}d", images(rng, dims), rng, size)


@pytest.mark.parametrize("dims", [1, 2])
def test_lp_pool(dims: int) -> None:
    rng, done = np.random.default_rng(dims), 0
    while done < CASES // 2:
        power = [1, 2, 3, 1.5, float("inf"), -float("inf")][rng.integers(6)]
        x = images(rng, dims)
        x = x if power == 2 else np.abs(x) + 0.1
        kernel = per_dimension(rng, dims, 1, 4) if dims == 2 else int(rng.integers(1, 5))
        arguments = optional(
            rng, stride=lambda: per_dimension(rng, dims, 1, 3), ceil_mode=lambda: bool(rng.integers(2))
        )
        done += check_module(f"LPPool{dims}d", x, rng, power, kernel, **arguments)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("adaptive", [False, True])
def test_indices_and_unpooling(adaptive: bool, dims: int) -> None:
    rng = np.random.default_rng(dims)
    for _ in range(CASES // 4):
        x = images(rng, dims)
        x[rng.random(x.shape) < rng.choice((0, 0, 0.2))] = rng.choice((np.nan, -np.inf, np.inf))
        size = rng.integers(1, 4)
        if adaptive:
            name, arguments = f"adaptive_max_pool{dims}d", {"output_size": int(size)}
        else:
            arguments = {"kernel_size": int(min(size, *x.shape[-dims:])), "ceil_mode": bool(rng.integers(2))}
            name = f"max_pool{dims}d"
        theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), return_indices=True, **arguments)
        ours = getattr(ops, name)(nbdl.from_numpy(x), return_indices=True, **arguments)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == str(b.dtype).removeprefix("torch.")
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=f"{name} {arguments} {x.shape}")
        if not adaptive and ours[0].numel():
            unpool, kernel = f"max_unpool{dims}d", arguments["kernel_size"]
            back = getattr(torch.nn.functional, unpool)(*theirs, kernel, output_size=x.shape[-dims:])
            ours_back = getattr(ops, unpool)(*ours, kernel, output_size=x.shape[-dims:])
            np.testing.assert_array_equal(ours_back.numpy(), back.numpy())


MODES = {
    1: ("nearest", "nearest-exact", "linear", "linear", "area"),
    2: ("nearest", "nearest-exact", "bilinear", "bilinear", "bicubic", "area"),
}


@pytest.mark.parametrize("dims", [1, 2])
def test_upsample(dims: int) -> None:
    rng, done = np.random.default_rng(dims), 0
    while done < CASES // 2:
        x = images(rng, dims, batched=True)
        arguments = new_size(rng, x.shape[2:], MODES[dims])
        if not is_ambiguous(x.shape[2:], arguments):
            done += check_module("Upsample", x, rng, **arguments)
    if dims == 2:
        for name in ("UpsamplingNearest2d", "UpsamplingBilinear2d"):
            assert check_module(name, x, rng, scale_factor=2)
            assert check_module(name, x, rng, size=(3, 7))


def new_size(rng: np.random.Generator, sizes: tuple[int, ...], modes: tuple[str, ...]) -> dict[str, Any]:
    """A size or a factor, and the options of a mode."""
    arguments: dict[str, Any] = {"mode": modes[rng.integers(len(modes))]}
    if rng.random() < 0.5:
        arguments["size"] = per_dimension(rng, len(sizes), 1, 13)
    else:
        factors = tuple(float(rng.choice((2, 0.5, 1.7, 3, rng.uniform(0.3, 3)))) for _ in sizes)
        arguments["scale_factor"] = factors if rng.random() < 0.5 else factors[0]
        arguments["recompute_scale_factor"] = [None, False, True][rng.integers(3)]
    if "linear" in arguments["mode"] or arguments["mode"] == "bicubic":
        arguments["align_corners"] = [None, False, True][rng.integers(3)]
    return arguments


def is_ambiguous(sizes: tuple[int, ...], arguments: dict[str, Any]) -> bool:
    """Whether PyTorch takes one pixel forward and another backward: twice the size by another factor than 2."""
    factor = arguments.get("scale_factor")
    if arguments["mode"] != "nearest" or factor is None or len(sizes) != 1:
        return False
    factor = factor[0] if isinstance(factor, tuple) else factor
    return int(sizes[0] * factor) in (sizes[0], 2 * sizes[0])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_antialiasing(mode: str) -> None:
    rng, done = np.random.default_rng(0), 0
    while done < CASES // 4:
        x = images(rng, 2, batched=True)
        arguments = {"size": tuple(int(size) for size in rng.integers(2, 13, 2)), "mode": mode, "antialias": True}
        if mode != "lanczos":
            arguments["align_corners"] = bool(rng.integers(2))
        a, b = torch.from_numpy(x.copy()).requires_grad_(), nbdl.from_numpy(x.copy()).requires_grad_()
        theirs, ours = torch.nn.functional.interpolate(a, **arguments), ops.interpolate(b, **arguments)
        cotangent = rng.standard_normal(tuple(theirs.shape))
        theirs.backward(torch.from_numpy(cotangent))
        ours.backward(nbdl.from_numpy(cotangent))
        for got, wanted in ((ours.detach(), theirs.detach()), (b.grad, a.grad)):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=1e-6, err_msg=f"{arguments} {x.shape}")
        done += 1


def test_shuffles() -> None:
    rng, done = np.random.default_rng(0), 0
    while done < CASES:
        r, outer = int(rng.integers(1, 4)), tuple(rng.integers(1, 3, rng.integers(0, 3)))
        channels, height, width = rng.integers(1, 5, 3)
        done += check_module("PixelShuffle", rng.standard_normal((*outer, channels * r * r, height, width)), rng, r)
        done += check_module("PixelUnshuffle", rng.standard_normal((*outer, channels, height * r, width * r)), rng, r)
        done += check_module("ChannelShuffle", rng.standard_normal((2, channels * r, height)), rng, r)
        check_module("PixelShuffle", rng.standard_normal((*outer, channels, height, width)), rng, r)
        check_module("ChannelShuffle", rng.standard_normal((2, channels, height)), rng, r)


@pytest.mark.parametrize("module", ["MaxUnpool1d(2)", "MaxUnpool2d((2, 3), 1, 1)", "MaxPool2d(2, return_indices=True)"])
def test_names(module: str) -> None:
    assert repr(eval(f"nn.{module}", {"nn": nn})) == repr(eval(f"nn.{module}", {"nn": torch.nn}))
