r"""Dropout: elements, or whole channels, are left out at random while a network learns.

With a drop probability $p$ and independent $m_i$ that are 0 with probability $p$, else 1:

$$y_i = \frac{m_i}{1 - p}\, x_i, \qquad dx_i = \frac{m_i}{1 - p}\, dy_i.$$

The division keeps the expected value, so that nothing is to be done when the network is used. Alpha dropout, for
networks of `selu`, replaces elements by the value $\alpha' = -\lambda \alpha$ that selu approaches, and restores mean
0 and variance 1:

$$y_i = a \big(m_i x_i + (1 - m_i) \alpha'\big) + b, \qquad
  a = \big((1 - p)(1 + p\, \alpha'^2)\big)^{-1/2}, \qquad b = -a\, p\, \alpha'.$$

No mask is stored: $m_i$ is a function of the generator's key and offset and of the index $i$ (runtime/philox.py), and
the backward pass computes it anew. Element $i$ is dropped where a toss of that stream with probability $p$ gives 1.

Letters: N elements; R rows (channels of all samples) of S elements each, in channels-last memory B samples of S places
and C channels. Sources: Srivastava et al. (2014), "Dropout";
Tompson et al. (2015), "Efficient Object Localization Using Convolutional Networks" for channels; Klambauer et al.
(2017), "Self-Normalizing Neural Networks", for alpha dropout.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.activation.smooth import SELU_ALPHA, SELU_SCALE
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.runtime import arrays, memory, philox
from nbdl.runtime.checks import check_float, check_number
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.philox import random_group

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

# ---------------------------------------------------------------- reference


def kept_reference(shape, p):
    """The mask m of the next fill of the default generator."""
    tosses = np.empty(shape)
    philox.bernoulli(tosses, p)
    return 1 - tosses


def dropout_reference(input, p=0.5, training=True, inplace=False, mask_shape=None):
    """The definition, in float64; a mask of ones for trailing dimensions drops whole channels."""
    if not training or p == 0:
        return input
    if p == 1:
        return 0 * input
    return input * kept_reference(input.shape if mask_shape is None else mask_shape, p) / (1 - p)


def alpha_dropout_reference(input, p=0.5, training=False, inplace=False, mask_shape=None):
    """The definition, in float64."""
    if not training or p == 0:
        return input
    if p == 1:
        return 0 * input
    kept = kept_reference(input.shape if mask_shape is None else mask_shape, p)
    saturated = -SELU_ALPHA * SELU_SCALE
    a = ((1 - p) * (1 + p * saturated**2)) ** -0.5
    return a * (kept * input + (1 - kept) * saturated) - a * p * saturated


def dropout1d_reference(input, p=0.5, training=True, inplace=False):
    """One toss for each [L]."""
    return dropout_reference(input, p, training, mask_shape=(*input.shape[:-1], 1))


def dropout2d_reference(input, p=0.5, training=True, inplace=False):
    """One toss for each [H, W]."""
    return dropout_reference(input, p, training, mask_shape=_ones_after(input.shape, 2))


def dropout3d_reference(input, p=0.5, training=True, inplace=False):
    """One toss for each [D, H, W]."""
    return dropout_reference(input, p, training, mask_shape=_ones_after(input.shape, input.ndim - 3))


def feature_alpha_dropout_reference(input, p=0.5, training=False, inplace=False):
    """One toss for each channel of each sample."""
    return alpha_dropout_reference(input, p, training, mask_shape=_ones_after(input.shape, 2))


def _ones_after(shape, count):
    return shape[:count] + (1,) * (len(shape) - count)


# ---------------------------------------------------------------- kernels


@scalar
def _kept_or_dropped(x, word, threshold, scale, shift, dropped):
    kept = word >= threshold
    return x * (scale if kept else type(x)(0)) + (shift if kept else dropped)  # a NaN stays NaN, as in PyTorch


@cpu_kernel
def _drop_elements_cpu(x, key0, key1, offset0, offset1, threshold, scale, shift, dropped, y, start, stop):
    """x, y [N]: y = x * scale + shift where kept, else `dropped`. One task a group of four elements."""
    n = x.shape[0]
    whole = min(stop, n // 4)
    for group in range(start, whole):
        a, b, c, d = random_group(group, key0, key1, offset0, offset1)
        i = 4 * group
        y[i] = _kept_or_dropped(x[i], a, threshold, scale, shift, dropped)
        y[i + 1] = _kept_or_dropped(x[i + 1], b, threshold, scale, shift, dropped)
        y[i + 2] = _kept_or_dropped(x[i + 2], c, threshold, scale, shift, dropped)
        y[i + 3] = _kept_or_dropped(x[i + 3], d, threshold, scale, shift, dropped)
    for group in range(max(start, whole), stop):
        words = random_group(group, key0, key1, offset0, offset1)
        for i in range(4 * group, n):
            y[i] = _kept_or_dropped(x[i], words[i % 4], threshold, scale, shift, dropped)


@cuda_kernel
def _drop_elements_cuda(x, key0, key1, offset0, offset1, threshold, scale, shift, dropped, y):
    """As the CPU twin. One thread a group."""
    group = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    words = random_group(group, key0, key1, offset0, offset1)
    for i in range(4 * group, min(4 * group + 4, x.shape[0])):
        y[i] = _kept_or_dropped(x[i], words[i % 4], threshold, scale, shift, dropped)


drop_elements = Kernel(
    cpu=_drop_elements_cpu,
    cuda=_drop_elements_cuda,
    tasks=lambda x, *_: -(-x.shape[0] // 4),
    work=lambda x, *_: 32 * x.shape[0],
    blocks=lambda x, *_: -(-x.shape[0] // (4 * BLOCK)),
)


@cpu_kernel
def _drop_rows_cpu(x, key0, key1, offset0, offset1, threshold, scale, shift, dropped, y, start, stop):
    """x, y [R, S]: rows y = x * scale + shift where kept, else `dropped`. One task a row."""
    for row in range(start, stop):
        words = random_group(row // 4, key0, key1, offset0, offset1)
        word = words[row % 4]
        for i in range(x.shape[1]):
            y[row, i] = _kept_or_dropped(x[row, i], word, threshold, scale, shift, dropped)


@cuda_kernel
def _drop_rows_cuda(x, key0, key1, offset0, offset1, threshold, scale, shift, dropped, y):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    words = random_group(row // 4, key0, key1, offset0, offset1)
    word = words[row % 4]
    for i in range(cuda.threadIdx.x, x.shape[1], BLOCK):
        y[row, i] = _kept_or_dropped(x[row, i], word, threshold, scale, shift, dropped)


drop_rows = Kernel(
    cpu=_drop_rows_cpu,
    cuda=_drop_rows_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 100 * x.shape[0] + x.size,
)


@cpu_kernel
def _drop_channels_cpu(x, tosses, scale, shift, dropped, y, start, stop):
    """x, y [B, S, C]; tosses [B, C], 1 for channels to drop: y as above. One task a place [C]."""
    _, places, channels = x.shape
    source, target, tossed = x.reshape(x.size), y.reshape(y.size), tosses.reshape(tosses.size)
    for place in range(start, stop):
        first, sample = place * channels, place // places * channels
        for c in range(channels):
            kept = tossed[np.uint64(sample + c)] == 0
            i = np.uint64(first + c)
            target[i] = source[i] * (scale if kept else x.dtype.type(0)) + (shift if kept else dropped)


@cuda_kernel
def _drop_channels_cuda(x, tosses, scale, shift, dropped, y):
    """As the CPU twin. One thread an element."""
    index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    _, places, channels = x.shape
    if index < x.size:
        b, s, c = index // (places * channels), index // channels % places, index % channels
        kept = tosses[b, c] == 0
        y[b, s, c] = x[b, s, c] * (scale if kept else x.dtype.type(0)) + (shift if kept else dropped)


drop_channels = Kernel(
    cpu=_drop_channels_cpu,
    cuda=_drop_channels_cuda,
    tasks=lambda x, *_: x.shape[0] * x.shape[1],
    work=lambda x, *_: x.size,
    blocks=lambda x, *_: -(-x.size // BLOCK),
)

# ---------------------------------------------------------------- autograd


class DropoutOp(Op):
    """y = x * scale + shift where kept, else `dropped`. Saves key and offset of the random numbers, nothing else.

    The mask has one toss for each element, or for each index of the first `lead` dimensions: channels are the last of
    them. Channels-last memory stays so.
    """

    @staticmethod
    def forward(ctx: Context, x, lead, p, scale, shift, dropped):
        ctx.lead = lead
        ctx.words = philox.default_generator.next()
        ctx.threshold = np.uint64(round(p * 2**32))
        ctx.scale = x.dtype.type(scale)
        return _drop(ctx, x, x.dtype.type(shift), x.dtype.type(dropped))

    @staticmethod
    def backward(ctx: Context, dy):
        zero = dy.dtype.type(0)
        return _drop(ctx, dy, zero, zero), None, None, None, None, None


def _drop(ctx: Context, x: Any, shift: Any, dropped: Any) -> Any:
    lead = ctx.lead
    if lead and not x.flags.c_contiguous:
        moved = x.transpose(*range(lead - 1), *range(lead, x.ndim), lead - 1)
        if moved.flags.c_contiguous:
            y = ctx.empty_like(moved)
            if x.size:
                samples, channels = math.prod(x.shape[: lead - 1]), x.shape[lead - 1]
                tosses = memory.empty((samples, channels), x.dtype)
                philox.toss(tosses.reshape(-1), *ctx.words, ctx.threshold)
                places = (samples, -1, channels)
                drop_channels(moved.reshape(places), tosses, ctx.scale, shift, dropped, y.reshape(places))
            return y.transpose(*range(lead - 1), x.ndim - 1, *range(lead - 1, x.ndim - 1))
    x = arrays.contiguous(x)
    y = ctx.empty_like(x)
    if x.size:
        kernel, shape = (drop_rows, (math.prod(x.shape[:lead]), -1)) if lead else (drop_elements, (-1,))
        kernel(x.reshape(shape), *ctx.words, ctx.threshold, ctx.scale, shift, dropped, y.reshape(shape))
    return y


def _apply(input: Tensor, p: float, training: bool, inplace: bool, alpha: bool, lead: int = 0) -> Tensor:
    """Any of the functions below."""
    check_float("input", input)
    check_number("p", p, 0, 1)
    if not training or p == 0:
        return input
    scale, shift, dropped = _alpha_numbers(p) if alpha else (1 / (1 - p) if p < 1 else 0.0, 0.0, 0.0)
    if inplace:
        return overwrite(input, DropoutOp.apply, lead, p, scale, shift, dropped)
    return DropoutOp.apply(input, lead, p, scale, shift, dropped)


def _alpha_numbers(p: float) -> tuple[float, float, float]:
    """Scale and shift of kept elements, and what dropped ones become."""
    if p == 1:
        return 0.0, 0.0, 0.0
    saturated = -SELU_ALPHA * SELU_SCALE
    scale = 1 / math.sqrt((1 - p) * (1 + p * saturated**2))
    shift = -scale * p * saturated
    return scale, shift, scale * saturated + shift


# ---------------------------------------------------------------- public


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    r"""Sets elements to 0 at random and scales the others by $1 / (1 - p)$.

    Args:
        input: [*], float32 or float64.
        p: The probability that an element is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].

    Gradient:
        For input: dy / (1 - p) where the element was kept, else 0.

    Example:
        >>> _ = nbdl.manual_seed(0)
        >>> sorted(set(nbdl.ops.dropout(nbdl.ones(100), 0.75).tolist()))
        [0.0, 4.0]
    """
    return _apply(input, p, training, inplace, alpha=False)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    r"""Dropout that keeps mean 0 and variance 1: dropped elements become the value that selu approaches.

    Args:
        input: [*], float32 or float64.
        p: The probability that an element is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].

    Gradient:
        For input: a dy where the element was kept, else 0, with a the factor that restores the variance.

    Example:
        >>> x = nbdl.randn(10)
        >>> nbdl.ops.alpha_dropout(x, 0.5, training=False) is x
        True
    """
    return _apply(input, p, training, inplace, alpha=True)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Alpha dropout of whole channels.

    Args:
        input: [N, C, *], float32 or float64.
        p: The probability that a channel is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        [N, C, *], dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].
        ShapeError: The input has fewer than 2 dimensions.

    Gradient:
        For input: a dy where the channel was kept, else 0, with a the factor that restores the variance.
    """
    return _apply(input, p, training, inplace, alpha=True, lead=_channels(input))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    r"""Sets whole channels to 0 at random and scales the others by $1 / (1 - p)$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64.
        p: The probability that a channel is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        The shape and dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].
        ShapeError: The input has neither 2 nor 3 dimensions.

    Gradient:
        For input: dy / (1 - p) where the channel was kept, else 0.
    """
    if input.ndim not in (2, 3):
        raise ShapeError(f"input: expected [N, C, L] or [C, L], got shape {list(input.shape)}")
    return _apply(input, p, training, inplace, alpha=False, lead=input.ndim - 1)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    r"""Sets whole channels to 0 at random and scales the others by $1 / (1 - p)$.

    Args:
        input: [N, C, H, W] or, as in `dropout1d`, [N, C, L]; float32 or float64.
        p: The probability that a channel is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        The shape and dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].
        ShapeError: The input has fewer than 2 dimensions.

    Gradient:
        For input: dy / (1 - p) where the channel was kept, else 0.
    """
    lead = _channels(input)
    if input.ndim not in (3, 4):
        warnings.warn(f"input: expected [N, C, H, W], got shape {list(input.shape)}", stacklevel=2)
    return _apply(input, p, training, inplace, alpha=False, lead=lead)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    r"""Sets whole channels to 0 at random and scales the others by $1 / (1 - p)$.

    Args:
        input: [N, C, D, H, W] or [C, D, H, W], float32 or float64.
        p: The probability that a channel is dropped, in [0, 1].
        training: Whether anything is dropped; if not, the input itself is returned.
        inplace: Write the result into the input's memory.

    Returns:
        The shape and dtype of the input.

    Raises:
        ArgumentError: p lies outside [0, 1].
        ShapeError: The input has neither 4 nor 5 dimensions.

    Gradient:
        For input: dy / (1 - p) where the channel was kept, else 0.
    """
    if input.ndim not in (4, 5):
        raise ShapeError(f"input: expected [N, C, D, H, W] or [C, D, H, W], got shape {list(input.shape)}")
    return _apply(input, p, training, inplace, alpha=False, lead=input.ndim - 3)


def _channels(input: Tensor) -> int:
    """The number of dimensions before those of a channel: samples and channels."""
    if input.ndim < 2:
        raise ShapeError(f"input: expected samples and channels, [N, C, *], got shape {list(input.shape)}")
    return 2
