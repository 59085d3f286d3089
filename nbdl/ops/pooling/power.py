r"""Power-average pooling: of each window the p-norm.

Forward, with $\mathcal W_o$ the window of output $o$:

$$
y_o = \Big( \sum_{i \in \mathcal W_o} x_i^p \Big)^{1/p}
$$

Backward:

$$
dx_i = \sum_{o :\, i \in \mathcal W_o} \Big( \frac{x_i}{y_o} \Big)^{p - 1} dy_o
$$

$p = 1$ gives sums, $p \to \infty$ maxima. As in PyTorch, the elements are not made positive: with an odd p a window may
have a negative sum, whose root is NaN unless p is 1. It is written with other operations: powers, the mean of each
window times the size of the kernel, and a root; their kernels do the work.

Source: Sermanet et al. (2012), "Convolutional Neural Networks Applied to House Numbers Digit Classification", section
2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.activation.rectifiers import relu
from nbdl.ops.elementwise import abs, mul, neg, pow, sign
from nbdl.ops.pooling.average import avg_pool1d, avg_pool1d_reference, avg_pool2d, avg_pool2d_reference
from nbdl.ops.pooling.max import max_pool1d, max_pool1d_reference, max_pool2d, max_pool2d_reference
from nbdl.ops.pooling.windows import check_image, per_dimension
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError

__all__ = ["lp_pool1d", "lp_pool2d"]

# ---------------------------------------------------------------- reference


def lp_pool_reference(input, norm_type, mean_of, largest_of, size):
    """The definition, in float64, from the mean and the largest element of each window of an array."""
    if math.isinf(norm_type):
        sign = math.copysign(1, norm_type)
        return sign * largest_of(sign * np.abs(input))
    return (mean_of(input**norm_type) * size) ** (1 / norm_type)


def lp_pool2d_reference(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """Windows that slide over [*, H, W]."""
    return lp_pool_reference(
        input,
        norm_type,
        lambda x: avg_pool2d_reference(x, kernel_size, stride, 0, ceil_mode),
        lambda x: max_pool2d_reference(x, kernel_size, stride, 0, 1, ceil_mode),
        kernel_size**2 if isinstance(kernel_size, int) else math.prod(kernel_size),
    )


def lp_pool1d_reference(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """Windows that slide over [*, L]."""
    return lp_pool_reference(
        input,
        norm_type,
        lambda x: avg_pool1d_reference(x, kernel_size, stride, 0, ceil_mode),
        lambda x: max_pool1d_reference(x, kernel_size, stride, 0, 1, ceil_mode),
        kernel_size if isinstance(kernel_size, int) else math.prod(kernel_size),
    )


# ---------------------------------------------------------------- public


def _lp_pool(input: Tensor, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: bool, dims: int) -> Tensor:
    """Either of the functions below."""
    check_image("input", input, dims)
    if isinstance(norm_type, bool) or not isinstance(norm_type, (int, float, np.number)):
        raise ArgumentTypeError(f"norm_type: expected a number, got {type(norm_type).__name__}")
    if norm_type == 0 or math.isnan(norm_type):
        raise ArgumentError(f"norm_type: expected a number other than 0, got {norm_type}")
    size = math.prod(per_dimension("kernel_size", kernel_size, 1, dims))
    avg_pool, max_pool = (avg_pool1d, max_pool1d) if dims == 1 else (avg_pool2d, max_pool2d)
    if norm_type == math.inf:
        return max_pool(abs(input), kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == -math.inf:
        return neg(max_pool(neg(abs(input)), kernel_size, stride, 0, 1, ceil_mode))
    mean = avg_pool(pow(input, float(norm_type)), kernel_size, stride, 0, ceil_mode)
    # sign times absolute value leaves a mean as it is; where it is 0, it makes the gradient 0
    return pow(mul(mul(sign(mean), relu(abs(mean))), size), 1 / norm_type)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    r"""The p-norm of each window along the last dimension.

    $y_o = \big( \sum_k x_{o s + k}^p \big)^{1/p}$ for $0 \le k < K$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64; N may be 0.
        norm_type: The power p, not 0; inf gives the largest absolute value.
        kernel_size: Elements of a window, K.
        stride: Step from window to window, s; the kernel size when None.
        ceil_mode: Also take a last window that is not whole; its sum is scaled to K elements.

    Returns:
        [N, C, OL] or [C, OL] with $OL = \lfloor (L - K) / s \rfloor + 1$, rounded up instead in ceil mode.

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions, or the kernel does not fit into it.
        DTypeError: The input is not floating point.
        ArgumentError: The power is 0 or NaN, or a size or stride is not positive.

    Gradient:
        For input: (x / y)^(p-1) dy, summed over windows.

    Example:
        >>> nbdl.ops.lp_pool1d(nbdl.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
        tensor([[ 5., 10.]])
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    r"""The p-norm of each window of an image, channel by channel.

    $y_{ij} = \big( \sum_{k, l} x_{i s + k,\; j s + l}^p \big)^{1/p}$ for $0 \le k, l < K$.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64; N may be 0.
        norm_type: The power p, not 0; inf gives the largest absolute value.
        kernel_size: Rows and columns of a window, K; one number for both or a pair.
        stride: Step from window to window, s; the kernel size when None.
        ceil_mode: Also take last windows that are not whole; their sums are scaled to the size of a whole one.

    Returns:
        [N, C, OH, OW] or [C, OH, OW] with $OH = \lfloor (H - K) / s \rfloor + 1$, rounded up instead in ceil mode, and
        OW likewise.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions, or the kernel does not fit into it.
        DTypeError: The input is not floating point.
        ArgumentError: The power is 0 or NaN, or a size or stride is not positive.

    Gradient:
        For input: (x / y)^(p-1) dy, summed over windows.

    Example:
        >>> nbdl.ops.lp_pool2d(nbdl.ones(1, 2, 2), 2, 2)
        tensor([[[2.]]])

    Source:
        Sermanet et al. (2012), "Convolutional Neural Networks Applied to House Numbers Digit Classification".
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)
