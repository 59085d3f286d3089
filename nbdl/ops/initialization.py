r"""Initial values that need more than a fill: the truncated normal distribution, and orthogonal matrices.

**Truncated normal** by rejection: numbers are drawn until one is accepted. Proposals are normal where the interval
$[a, b]$ catches enough of them, else uniform on the interval, accepted with the chance

$$\frac{\varphi(x)}{\varphi(m)} = e^{(m^2 - x^2) / 2}, \qquad m \text{ the point of the interval nearest to } 0.$$

Attempt $t$ for element $i$ has the counter $(i, t)$, so the values do not depend on threads or device.

**Orthogonal** rows by modified Gram-Schmidt: each row, normalized, is taken out of all rows below,

$$q_i = v_i / \lVert v_i \rVert, \qquad v_j \leftarrow v_j - (q_i \cdot v_j)\, q_i \quad (j > i),$$

the whole twice: rounding in the first pass leaves the rows almost orthogonal, the second finishes them ("twice is
enough"). From normal rows it gives matrices uniformly distributed, as the QR factorization does whose R has a
positive diagonal.

These functions work on arrays; `nbdl.nn.init` is their public face. Sources: Robert (1995), "Simulation of truncated
normal variables"; Giraud, Langou and Rozloznik (2005), "The loss of orthogonality in the Gram-Schmidt process".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.philox import (
    Generator,
    default_generator,
    normal_pair_float32,
    normal_pair_float64,
    philox4x32,
    uniform_float32,
    uniform_float64,
)
from nbdl.runtime.vecmath import exp, fma

ATTEMPTS = 4096
"""After so many rejections the last number is moved into the interval: one in 10^40 at an acceptance of 2 %."""

_FAR = 80.0
"""Where (x^2 - m^2) / 2 exceeds half of this, the density is 10^-17 of its peak and the interval is cut."""

# ---------------------------------------------------------------- truncated normal


@scalar
def _normal_float32(a, b, c, d):
    return normal_pair_float32(a, b)[0]


@scalar
def _normal_float64(a, b, c, d):
    return normal_pair_float64(a, b, c, d)[0]


@scalar
def _uniform_and_chance_float32(a, b, c, d):
    return uniform_float32(a), uniform_float32(b)


@scalar
def _uniform_and_chance_float64(a, b, c, d):
    return uniform_float64(a, b), uniform_float64(c, d)


def _truncated_kernel(name: str, normal: Any, uniform_and_chance: Any) -> Kernel:
    @scalar
    def draw(i, key0, key1, offset0, offset1, mean, deviation, low, high, peak, by_normal):
        x = low
        for attempt in range(ATTEMPTS):
            a, b, c, d = philox4x32(np.uint32(i), np.uint32(attempt), offset0, offset1, key0, key1)
            if by_normal:
                x = fma(normal(a, b, c, d), deviation, mean)
                if low <= x and x <= high:
                    return x
            else:
                share, chance = uniform_and_chance(a, b, c, d)
                x = fma(share, high - low, low)
                z = (x - mean) / deviation
                if chance <= exp(peak - type(z)(0.5) * z * z):
                    break
        return min(max(x, low), high)

    def truncated_cpu(y, key0, key1, offset0, offset1, mean, deviation, low, high, peak, by_normal, start, stop):
        """Fills y [N]. One task an element."""
        for i in range(start, stop):
            y[i] = draw(i, key0, key1, offset0, offset1, mean, deviation, low, high, peak, by_normal)

    def truncated_cuda(y, key0, key1, offset0, offset1, mean, deviation, low, high, peak, by_normal):
        """As the CPU twin. One thread an element."""
        i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if i < y.shape[0]:
            y[i] = draw(i, key0, key1, offset0, offset1, mean, deviation, low, high, peak, by_normal)

    truncated_cpu.__name__, truncated_cuda.__name__ = f"_truncated_normal_{name}_cpu", f"_truncated_normal_{name}_cuda"
    return Kernel(
        cpu=cpu_kernel(truncated_cpu),
        cuda=cuda_kernel(truncated_cuda),
        tasks=lambda y, *_: y.shape[0],
        work=lambda y, *_: 128 * y.shape[0],
        blocks=lambda y, *_: -(-y.shape[0] // BLOCK),
    )


_truncated_float32 = _truncated_kernel("float32", _normal_float32, _uniform_and_chance_float32)
_truncated_float64 = _truncated_kernel("float64", _normal_float64, _uniform_and_chance_float64)


def truncated_normal(
    y: Any, mean: float, deviation: float, low: float, high: float, generator: Generator | None = None
) -> None:
    """Fills a contiguous float32 or float64 array with normal numbers of [low, high]."""
    below, above = (low - mean) / deviation, (high - mean) / deviation
    by_normal = _normal_share(below, above) > 0.3
    nearest = max(below, min(0.0, above))
    if not by_normal:
        reach = math.sqrt(nearest * nearest + _FAR)
        low, high = mean + max(below, -reach) * deviation, mean + min(above, reach) * deviation
    words = (default_generator if generator is None else generator).next()
    kernel = _truncated_float32 if y.dtype == np.float32 else _truncated_float64
    with np.errstate(over="ignore"):  # a bound beyond the dtype's range is an infinity
        numbers = np.array([mean, deviation, low, high, nearest * nearest / 2]).astype(y.dtype)
    kernel(y.reshape(-1), *words, *numbers, by_normal)


def _normal_share(low: float, high: float) -> float:
    """The share of standard normal numbers in [low, high]."""
    return (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2


# ---------------------------------------------------------------- orthogonal rows


@cpu_kernel
def _orthogonalize_cpu(v, length, start, stop):
    """Makes the rows of v [R, D], R at most D, orthogonal, of one length. One task in all: a row waits for others."""
    rows, d = v.shape
    for _ in range(start, stop):
        for i in range(2 * rows):
            i %= rows
            squares = v.dtype.type(0)
            for j in range(d):
                squares += v[i, j] * v[i, j]
            norm = math.sqrt(squares)
            for j in range(d):
                v[i, j] /= norm
            for k in range(i + 1, rows):
                product = v.dtype.type(0)
                for j in range(d):
                    product += v[i, j] * v[k, j]
                for j in range(d):
                    v[k, j] -= product * v[i, j]
        for i in range(rows):
            for j in range(d):
                v[i, j] *= length


@cuda_kernel
def _orthogonalize_cuda(v, length):
    """As the CPU twin. One block in all; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    rows, d = v.shape
    for i in range(2 * rows):
        i %= rows
        squares = v.dtype.type(0)
        for j in range(cuda.threadIdx.x, d, BLOCK):
            squares += v[i, j] * v[i, j]
        norm = math.sqrt(block_sum(squares))
        for j in range(cuda.threadIdx.x, d, BLOCK):
            v[i, j] /= norm
        for k in range(i + 1, rows):
            product = v.dtype.type(0)
            for j in range(cuda.threadIdx.x, d, BLOCK):
                product += v[i, j] * v[k, j]
            product = block_sum(product)
            for j in range(cuda.threadIdx.x, d, BLOCK):
                v[k, j] -= product * v[i, j]
    for i in range(rows):
        for j in range(cuda.threadIdx.x, d, BLOCK):
            v[i, j] *= length


orthogonalize = Kernel(
    cpu=_orthogonalize_cpu,
    cuda=_orthogonalize_cuda,
    tasks=lambda *_: 1,
)
