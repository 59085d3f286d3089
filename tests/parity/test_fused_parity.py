"""Fused operations beside PyTorch's separate ones, over random arguments: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from torch.nn import functional  # noqa: E402

from tests.parity.beside_torch import EXACT, SINGLE  # noqa: E402

pytestmark = pytest.mark.parity

CASES = 200


def check(title: str, ours: Callable[..., Any], theirs: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    """The results of both functions of the arrays, one or several, and all gradients under random cotangents."""
    wanted = values(theirs, [torch.from_numpy(np.array(x)).requires_grad_() for x in arrays], torch.from_numpy)
    for dtype, bound in ((np.float64, EXACT), (np.float32, SINGLE)):
        leaves = [nbdl.from_numpy(x.astype(dtype)).requires_grad_() for x in arrays]
        for got, right in zip(values(ours, leaves, nbdl.from_numpy), wanted, strict=True):
            assert got.shape == right.shape, title
            assert np.abs(got - right).max(initial=0) <= bound * np.abs(right).max(initial=1), f"{title} [{dtype}]"


def values(function: Callable[..., Any], leaves: list[Any], tensor: Callable[[np.ndarray], Any]) -> list[np.ndarray]:
    results = function(*leaves)
    results = results if isinstance(results, tuple) else (results,)
    rng = np.random.default_rng(0)
    loss: Any = 0
    for y in results:
        cotangent = rng.standard_normal(tuple(y.shape)).astype(leaves[0].detach().numpy().dtype)
        loss = loss + (y * tensor(cotangent)).sum()
    loss.backward()
    return [y.detach().numpy() for y in results] + [x.grad.numpy() for x in leaves]


def lead(rng: np.random.Generator, most: int = 3) -> tuple[int, ...]:
    """Leading dimensions; a batch is empty now and then."""
    return tuple(int(n) for n in rng.integers(0 if rng.integers(8) == 0 else 1, 5, rng.integers(0, most)))


def test_linear_maps_with_activations() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        inputs, outputs = (int(n) for n in rng.integers(1, 40, 2))
        approximate = ("none", "tanh")[int(rng.integers(2))]
        arrays = [rng.standard_normal((*lead(rng), inputs)), rng.standard_normal((outputs, inputs))]
        if rng.integers(2):
            arrays.append(rng.standard_normal(outputs))
        if rng.integers(3):
            check(
                f"linear_gelu {seed}",
                lambda *leaves: ops.linear_gelu(*leaves, approximate=approximate),  # noqa: B023
                lambda *leaves: functional.gelu(functional.linear(*leaves), approximate=approximate),  # noqa: B023
                arrays,
            )
        else:
            check(
                f"linear_silu {seed}",
                ops.linear_silu,
                lambda *leaves: functional.silu(functional.linear(*leaves)),
                arrays,
            )


def test_sequentials_with_activations() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        theirs = torch.nn.Sequential(
            torch.nn.Linear(7, 33), torch.nn.GELU(), torch.nn.Linear(33, 5), torch.nn.SiLU(), torch.nn.Linear(5, 3),
            torch.nn.LeakyReLU(0.3), torch.nn.Linear(3, 3), torch.nn.LeakyReLU(-0.3),
        ).double()  # fmt: skip
        ours = nn.Sequential(
            nn.Linear(7, 33), nn.GELU(), nn.Linear(33, 5), nn.SiLU(), nn.Linear(5, 3),
            nn.LeakyReLU(0.3), nn.Linear(3, 3), nn.LeakyReLU(-0.3),
        ).double()  # fmt: skip
        ours.load_state_dict(theirs.state_dict())
        x = rng.standard_normal((4, 7))
        assert (
            np.abs(ours(nbdl.from_numpy(x)).detach().numpy() - theirs(torch.from_numpy(x)).detach().numpy()).max()
            < 1e-9
        )


def test_gates() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        shape = lead(rng, 4)
        arrays = [rng.uniform(-9, 9, (*shape, 3)), rng.standard_normal((*shape, 3))]
        check(f"swiglu {seed}", ops.swiglu, lambda gate, up: functional.silu(gate) * up, arrays)


def test_sums_with_norms() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        row = tuple(int(n) for n in rng.integers(4, 9, rng.integers(1, 3)))
        shape = (*lead(rng), *row)
        arrays = [rng.standard_normal(shape), rng.standard_normal(shape) + rng.choice([0.0, 2.0])]
        arrays += [rng.standard_normal(row) for _ in range(rng.integers(0, 3))]
        eps = float(rng.choice([1e-5, 0.1]))

        def layer(x: Any, h: Any, *parameters: Any, row: Any = row, eps: float = eps) -> Any:
            return x + h, functional.layer_norm(x + h, row, *parameters, eps=eps)

        def rms(x: Any, h: Any, *parameters: Any, row: Any = row) -> Any:
            return x + h, functional.rms_norm(x + h, row, *parameters)

        check(
            f"residual_layer_norm {seed}",
            lambda x, h, *parameters: ops.residual_layer_norm(x, h, row, *parameters, eps=eps),  # noqa: B023
            layer,
            arrays,
        )
        check(
            f"residual_rms_norm {seed}",
            lambda x, h, *parameters: ops.residual_rms_norm(x, h, row, *parameters),  # noqa: B023
            rms,
            arrays[:3],
        )


def rotated(x: Any, positions: np.ndarray, base: float, interleaved: bool) -> Any:
    """Rotary positions as published models compute them: x cos + rotate_half(x) sin."""
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.from_numpy(positions).double()[..., None] * rates
    if angles.ndim == 3:
        angles = angles.reshape(len(angles), *(1,) * (x.ndim - 3), *angles.shape[1:])
    if interleaved:
        angles = angles.repeat_interleave(2, -1)
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).reshape(x.shape)
    else:
        angles = torch.cat((angles, angles), -1)
        turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * angles.cos() + turned * angles.sin()


def test_rotary_positions() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        shape = (*(int(n) for n in rng.integers(1, 5, rng.integers(1, 4))), 2 * int(rng.integers(1, 9)))
        length = shape[-2]
        kind = rng.integers(4 if len(shape) > 2 else 3)
        given: Any = [None, int(rng.integers(0, 5000)), rng.integers(0, 5000, length), None][kind]
        if kind == 3:
            given = rng.integers(0, 5000, (shape[0], length))
        places = given if isinstance(given, np.ndarray) else np.arange(length) + (given or 0)
        base, interleaved = float(rng.choice([10000.0, 500000.0])), bool(rng.integers(2))
        check(
            f"rotary_embedding {seed}",
            lambda x: ops.rotary_embedding(
                x,
                nbdl.from_numpy(given) if isinstance(given, np.ndarray) else given,  # noqa: B023
                base=base,  # noqa: B023
                interleaved=interleaved,  # noqa: B023
            ),
            lambda x: rotated(x, places, base, interleaved),  # noqa: B023
            [rng.standard_normal(shape)],
        )
