r"""Randomized leaky ReLU: every negative element gets a slope of its own while a network learns.

$$y_i = \begin{cases} x_i & x_i > 0 \\ r_i x_i & \text{else} \end{cases}, \qquad
  r_i \sim U(l, u) \text{ in training}, \quad r_i = \tfrac12 (l + u) \text{ otherwise};$$

backward: $dx_i = dy_i$ where $x_i > 0$, else $r_i\, dy_i$.

The slopes are a function of the generator's key and offset and of the index (runtime/philox.py): they are not stored,
and the backward pass computes them anew. Element $i$ has the slope that word $i \bmod 4$ of group $\lfloor i/4 \rfloor$
gives, as a uniform fill would.

Letters: N elements. Source: Xu et al. (2015), "Empirical Evaluation of Rectified Activations in Convolution Network".
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.activation.rectifiers import leaky_relu, leaky_relu_reference
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.runtime import arrays, philox
from nbdl.runtime.checks import check_float, check_number
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.philox import random_group, uniform_float32

# ---------------------------------------------------------------- reference


def rrelu_reference(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """The definition, in float64."""
    if not training:
        return leaky_relu_reference(input, (lower + upper) / 2)
    shares = np.empty(input.shape, np.float32)
    philox.uniform(shares)
    return leaky_relu_reference(input, lower + (upper - lower) * shares.astype(np.float64))


# ---------------------------------------------------------------- kernels


@scalar
def _sloped(value, x, word, lower, width):
    slope = lower + width * type(x)(uniform_float32(word))
    return value if x > type(x)(0) else value * slope


@cpu_kernel
def _random_slopes_cpu(value, x, key0, key1, offset0, offset1, lower, width, y, start, stop):
    """value, x, y [N]: y = value where x is positive, else value times a slope. One task a group of four elements.

    Forward, the values are x; backward, dy.
    """
    n = x.shape[0]
    whole = min(stop, n // 4)
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        i = 4 * group
        y[i] = _sloped(value[i], x[i], a, lower, width)
        y[i + 1] = _sloped(value[i + 1], x[i + 1], b, lower, width)
        y[i + 2] = _sloped(value[i + 2], x[i + 2], c, lower, width)
        y[i + 3] = _sloped(value[i + 3], x[i + 3], d, lower, width)
    for group in range(max(start, whole), stop):
        words = random_group(group, key0, key1, offset0, offset1)
        for i in range(4 * group, n):
            y[i] = _sloped(value[i], x[i], words[i % 4], lower, width)


@cuda_kernel
def _random_slopes_cuda(value, x, key0, key1, offset0, offset1, lower, width, y):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    words = random_group(group, key0, key1, offset0, offset1)
    for i in range(4 * group, min(4 * group + 4, x.shape[0])):
        y[i] = _sloped(value[i], x[i], words[i % 4], lower, width)


random_slopes = Kernel(
    cpu=_random_slopes_cpu,
    cuda=_random_slopes_cuda,
    tasks=lambda value, *_: -(-value.shape[0] // 4),
    work=lambda value, *_: 32 * value.shape[0],
    blocks=lambda value, *_: -(-value.shape[0] // (4 * BLOCK)),
)

# ---------------------------------------------------------------- autograd


class RreluOp(Op):
    """y = x, negative elements times random slopes. Saves x, and key and offset of the random numbers."""

    @staticmethod
    def forward(ctx: Context, x, lower, upper):
        number = x.dtype.type
        ctx.numbers = (*philox.default_generator.next(), number(lower), number(upper - lower))
        x = arrays.contiguous(x)
        y = ctx.empty_like(x)
        random_slopes(x.reshape(-1), x.reshape(-1), *ctx.numbers, y.reshape(-1))
        ctx.save(x)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        (x,) = ctx.saved
        dx = ctx.empty_like(x)
        random_slopes(arrays.contiguous(dy).reshape(-1), x.reshape(-1), *ctx.numbers, dx.reshape(-1))
        return dx, None, None


# ---------------------------------------------------------------- public


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    r"""Shrinks negative elements by random slopes: $y = \max(0, x) + r \min(0, x)$ with $r \sim U(l, u)$.

    Args:
        input: [*], float32 or float64.
        lower: The smallest slope l.
        upper: The largest slope u.
        training: Whether slopes are random; if not, all of them are the mean of l and u.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: lower exceeds upper.

    Gradient:
        For input: dy where x > 0, else r dy with the same r.

    Example:
        >>> nbdl.ops.rrelu(nbdl.tensor([-2.0, 3.0]), 0.25, 0.75)
        tensor([-1.,  3.])
    """
    check_float("input", input)
    if check_number("lower", lower) > check_number("upper", upper):
        raise ArgumentError(f"lower: expected at most upper = {upper}, got {lower}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    if inplace:
        return overwrite(input, RreluOp.apply, lower, upper)
    return RreluOp.apply(input, lower, upper)
