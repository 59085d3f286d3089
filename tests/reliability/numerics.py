"""Numbers: the same bits everywhere, finite where the result is, exact where many are added."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import Tensor, nn, ops, optim
from tests.reliability.area import Area, BrokenPromiseError, part

ROOT = Path(__file__).parents[2]
MANY = 10_000_000
LARGEST_RELATIVE_ERROR = 1e-6
"""Of a float32 reduction of ten million elements, relative to the sum of their sizes: 17 units of rounding."""


def trained(steps: int = 5) -> str:
    """A digest of all losses and weights of a training with every kind of layer."""
    nbdl.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2))
    sequence, attention = nn.GRU(32, 24, batch_first=True), nn.MultiheadAttention(24, 3, batch_first=True)
    head = nn.Sequential(nn.LayerNorm(24), nn.GELU(), nn.Dropout(0.2), nn.Linear(24, 5))
    model = nn.ModuleList([image, sequence, attention, head])
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    x, target = nbdl.randn(64, 1, 16, 16), nbdl.randint(0, 5, (64,))
    digest = hashlib.sha256()
    for _ in range(steps):
        hidden, _ = sequence(ops.reshape(image(x), (64, 16, 32)))
        hidden, _ = attention(hidden, hidden, hidden, need_weights=False)
        loss = ops.cross_entropy(head(hidden[:, -1]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        digest.update(loss.detach().numpy().tobytes())
    for value in model.state_dict().values():
        digest.update(np.asarray(value._array).tobytes())
    return digest.hexdigest()


def same_bits() -> dict[str, Any]:
    """Over threads in this process, over runs, and in processes of their own."""
    before, digests = nbdl.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 2):
            nbdl.set_num_threads(threads)
            digests.add(trained())
    finally:
        nbdl.set_num_threads(before)
    code = "from tests.reliability.numerics import trained; print(trained())"
    for threads in ("1", "2"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout.strip())
    if len(digests) != 1:
        raise BrokenPromiseError(f"{len(digests)} different results of one training")
    return {"trainings over threads, runs and processes, equal bits": 6}


EXTREMES = np.array([-1e4, -88.8, -20.0, -1e-30, -1e-42, 0.0, 1e-42, 1e-38, 1e-30, 20.0, 88.8, 1e4], np.float32)
"""Also denormal numbers, and where the exponential leaves float32."""


def _keys(x: Tensor) -> Tensor:
    """Keys of ordinary size: with extreme ones two scores may differ by less than float32 knows."""
    return Tensor(np.random.default_rng(2).standard_normal((1, *x.shape)).astype(x.dtype))


STABLE = {
    "softmax": lambda x: ops.softmax(x, 1),
    "log_softmax": lambda x: ops.log_softmax(x, 1),
    "logsumexp": lambda x: ops.logsumexp(x, 1),
    "sigmoid": ops.sigmoid,
    "logsigmoid": ops.logsigmoid,
    "softplus": ops.softplus,
    "tanh": ops.tanh,
    "gelu": ops.gelu,
    "silu": ops.silu,
    "mish": ops.mish,
    "elu": ops.elu,
    "selu": ops.selu,
    "erf": ops.erf,
    "layer_norm": lambda x: ops.layer_norm(x, (x.shape[1],)),
    "rms_norm": lambda x: ops.rms_norm(x, (x.shape[1],)),
    "batch_norm": lambda x: ops.batch_norm(x, None, None, training=True),
    "cross_entropy": lambda x: ops.cross_entropy(x, nbdl.zeros(x.shape[0], dtype=nbdl.int64), reduction="none"),
    "binary_cross_entropy_with_logits": lambda x: ops.binary_cross_entropy_with_logits(x, nbdl.zeros_like(x)),
    "normalize": lambda x: ops.normalize(x, dim=1),
    "attention": lambda x: ops.scaled_dot_product_attention(x[None], _keys(x), _keys(x)),
}
"""Operations that are finite for finite inputs, and have finite gradients."""


def stable() -> dict[str, Any]:
    """float32 on extreme inputs: finite, gradients too, and near what float64 gives."""
    rng = np.random.default_rng(0)
    x = rng.choice(EXTREMES, (40, 12)).astype(np.float32)
    for name, function in STABLE.items():
        single, double = Tensor(x.copy(), requires_grad=True), Tensor(x.astype(np.float64), requires_grad=True)
        y, exact = function(single), function(double)
        cotangent = rng.standard_normal(y.shape)
        y.backward(Tensor(cotangent.astype(np.float32)))
        exact.backward(Tensor(cotangent))
        for what, values, wanted in (("result", y.detach(), exact.detach()), ("gradient", single.grad, double.grad)):
            found, right = values.numpy(), wanted.numpy()
            if not np.isfinite(found).all():
                raise BrokenPromiseError(f"{name}: a {what} is not finite")
            scale = np.abs(right).max() + 1e-30
            if np.abs(found - right).max() > 1e-3 * scale:
                raise BrokenPromiseError(f"{name}: a {what} is off by {np.abs(found - right).max() / scale:.2e}")
    return {"operations on inputs of +-1e4 and denormals, finite and right": len(STABLE)}


def long_sums(count: int) -> dict[str, Any]:
    """float32 reductions of many elements against exact sums in float64."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(count).astype(np.float32) + np.float32(0.5)
    y = rng.random(count, np.float32)
    exact, t, u = x.astype(np.float64), Tensor(x), Tensor(y)
    magnitude = np.abs(exact).sum()
    pairs = {
        "sum": (float(ops.sum(t)), exact.sum(), magnitude),
        "mean": (float(ops.mean(t)), exact.mean(), magnitude / count),
        "var": (float(ops.var(t)), exact.var(ddof=1), exact.var()),
        "norm": (float(ops.norm(t)), math.sqrt((exact**2).sum()), math.sqrt((exact**2).sum())),
        "dot": (float(ops.dot(t, u)), float(exact @ y.astype(np.float64)), float(np.abs(exact) @ y.astype(np.float64))),
        "logsumexp": (float(ops.logsumexp(t, 0)), math.log(np.exp(exact).sum()), math.log(np.exp(exact).sum())),
        "mse_loss": (float(ops.mse_loss(t, u)), ((exact - y) ** 2).mean(), ((exact - y) ** 2).mean()),
        "last of cumsum": (float(ops.cumsum(t, 0)[-1]), exact.sum(), magnitude),
    }
    worst = 0.0
    for name, (found, right, scale) in pairs.items():
        error = abs(found - right) / scale
        if error > LARGEST_RELATIVE_ERROR:
            raise BrokenPromiseError(f"{name} of {count:,} elements is off by {error:.1e} of their size")
        worst = max(worst, error)
    return {"elements of a long reduction": count, "largest error, of the sum of sizes": f"{worst:.1e}"}


def found_at_once() -> dict[str, Any]:
    """A NaN planted in each layer of a network is found in that step, and the layer named."""
    layers = 4
    for planted in range(layers):
        model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(layers)))
        with nbdl.no_grad():
            model[planted].weight[2, 3] = math.nan
        try:
            with nbdl.detect_anomaly():
                model(nbdl.randn(5, 6)).sum().backward()
        except nbdl.NumericalError as error:
            if f"in {planted} (Linear)" not in str(error):
                raise BrokenPromiseError(f"a NaN in layer {planted}: {error}") from None
        else:
            raise BrokenPromiseError(f"a NaN in layer {planted} was not found")
    return {"layers with a planted NaN, found and named": layers}


def prove(share: float) -> dict[str, Any]:
    return {**same_bits(), **stable(), **long_sums(part(MANY, share)), **found_at_once()}


AREA = Area(
    "numerics", "Equal bits everywhere; finite and right at extremes; long sums within 1e-6 of their size.", prove
)
