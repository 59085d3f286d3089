r"""Convolution: one small linear map, its weights shared by all places of an image.

Forward, for output channel k at place (i, j), with stride s, padding p and dilation d along each axis:

$$
y_{n k i j} = b_k + \sum_{c, r, t} W_{k c r t}\; x_{n,\, c,\; i s - p + r d,\; j s - p + t d}
$$

where x is zero outside of the image. (Deep learning calls this convolution; without a mirrored kernel it is a
cross-correlation.) With g groups, output channels of group q see the input channels of group q only.

Backward: $x_{c h w}$ was read by every output whose window covered it, and each weight by every output:

$$
dx_{n c h w} = \sum_{k, r, t} W_{k c r t}\; dy_{n,\, k,\; (h + p - r d) / s,\; (w + p - t d) / s}, \qquad
dW_{k c r t} = \sum_{n, i, j} dy_{n k i j}\; x_{n,\, c,\; i s - p + r d,\; j s - p + t d}, \qquad
db_k = \sum_{n, i, j} dy_{n k i j}
$$

the first over those r, t for which the quotients are whole numbers and inside.

Letters: N images, C input channels, H and W their size, K output channels, R and S (r, t) the size of the kernel.
The kernels are in `correlation` and `weight_gradient`. Source: LeCun et al. (1998), "Gradient-Based Learning Applied
to Document Recognition", section II; Dumoulin and Visin (2016), "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.convolution.geometry import as_padding, as_sizes, output_sizes
from nbdl.ops.convolution.products import forward, input_gradient, parameter_gradients
from nbdl.ops.matmul.linear import relu_backward_and_sum, sum_columns
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_float, check_int, check_rank, check_same_dtype, check_shape
from nbdl.runtime.errors import ShapeError

# ---------------------------------------------------------------- reference


def conv2d_reference(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The definition, in float64: input [N, C, H, W] or [C, H, W], weight [K, C / groups, R, S], bias [K]."""
    if input.ndim == 3:
        return conv2d_reference(input[None], weight, bias, stride, padding, dilation, groups)[0]
    pair = lambda value: tuple(value) * (2 // len(value)) if isinstance(value, (tuple, list)) else (value, value)  # noqa: E731
    (rows, columns), (down, across) = pair(stride), pair(dilation)
    outputs, inputs, height, width = weight.shape
    if padding == "same":
        total = down * (height - 1), across * (width - 1)
        edges = [(size // 2, size - size // 2) for size in total]
    else:
        edges = [(size, size) for size in pair(0 if padding == "valid" else padding)]
    x = np.pad(input.astype(np.float64), [(0, 0), (0, 0), *edges])
    y = np.zeros(
        (
            len(x),
            outputs,
            (x.shape[2] - down * (height - 1) - 1) // rows + 1,
            (x.shape[3] - across * (width - 1) - 1) // columns + 1,
        )
    )
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            top, left = i * rows, j * columns
            window = x[
                :, :, top : top + down * (height - 1) + 1 : down, left : left + across * (width - 1) + 1 : across
            ]
            for group in range(groups):
                own = slice(group * outputs // groups, (group + 1) * outputs // groups)
                seen = window[:, group * inputs : (group + 1) * inputs]
                y[:, own, i, j] = np.einsum("ncrs,kcrs->nk", seen, weight[own])
    return y if bias is None else y + bias[:, None, None]


def conv2d_relu_reference(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The definition, in float64: arguments as `conv2d_reference`."""
    return np.maximum(conv2d_reference(input, weight, bias, stride, padding, dilation, groups), 0)


def conv1d_reference(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The definition, in float64: one row of `conv2d_reference`."""
    one = lambda value, rest: value if isinstance(value, str) else (rest, value[0] if np.ndim(value) else value)  # noqa: E731
    y = conv2d_reference(
        input[..., None, :], weight[:, :, None], bias, one(stride, 1), one(padding, 0), one(dilation, 1), groups
    )
    return y[..., 0, :]


# ---------------------------------------------------------------- autograd


class ConvolutionOp(Op):
    """y = x * W + b, or its ReLU, in one or two dimensions. Saves x, channels last, W, and y where it is a ReLU."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, size, stride, padding, dilation, groups, relu):
        ctx.shape = x.shape
        ctx.options = stride, padding, dilation, groups
        rank = len(size)
        batched = x if x.ndim == rank + 2 else x.reshape(1, *x.shape)
        rows = _as_image(arrays.channels_last(batched))
        kernel = weight if rank == 2 else weight.reshape(*weight.shape[:2], 1, weight.shape[2])
        floor = 0.0 if relu else -math.inf
        y = forward(rows, kernel, bias, _pair(size, 1), *_two(*ctx.options), floor)
        if relu:
            ctx.save(rows, kernel, y)
        else:
            ctx.save(rows, kernel)
        return _shown(y, rank, x.ndim)

    @staticmethod
    def backward(ctx: Context, dy):
        x, weight, *y = ctx.saved
        wants_dx, wants_dweight, wants_dbias, *_ = ctx.needs_input_grad
        rank = len(ctx.options[0])
        batched = dy if dy.ndim == rank + 2 else dy.reshape(1, *dy.shape)
        dy = _as_image(arrays.channels_last(batched))
        options = _two(*ctx.options)
        dx = dweight = dbias = None
        if y:
            pixels, dbias = relu_backward_and_sum(*(array.reshape(-1, dy.shape[3]) for array in (dy, y[0])))
            dy = pixels.reshape(dy.shape)
        elif wants_dbias and not wants_dweight:
            dbias = sum_columns(dy.reshape(-1, dy.shape[3]))
        if wants_dx:
            dx = _shown(input_gradient(dy, weight, x.shape[1:3], *options), rank, len(ctx.shape))
        if wants_dweight:
            sums = wants_dbias and dbias is None
            dweight, of_bias = parameter_gradients(x, dy, weight.shape[2:], *options, sums)
            dbias = of_bias if sums else dbias
            if rank == 1:
                dweight = dweight.reshape(*dweight.shape[:2], dweight.shape[3])
        return dx, dweight, dbias if wants_dbias else None, None, None, None, None, None, None


def _pair(values: tuple[int, ...], first: int) -> tuple[int, int]:
    """The same for two axes, where one dimension is the second of two."""
    return (first, values[0]) if len(values) == 1 else (values[0], values[1])


def _two(
    stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
    return _pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), groups


def _as_image(x: Any) -> Any:
    """[N, L, C] as [N, 1, L, C]."""
    return x if x.ndim == 4 else x.reshape(x.shape[0], 1, *x.shape[1:])


def _shown(y: Any, rank: int, dimensions: int) -> Any:
    """[N, H, W, C] as [N, C, H, W], or without the dimensions that the input lacks."""
    y = arrays.channels_first(y if rank == 2 else y.reshape(y.shape[0], *y.shape[2:]))
    return y if dimensions == rank + 2 else y[0]


# ---------------------------------------------------------------- public


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Slides a kernel along a sequence: $y_{k i} = b_k + \sum_{c, r} W_{k c r}\, x_{c,\, i s - p + r d}$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64.
        weight: [K, C / groups, R], dtype of the input.
        bias: [K], dtype of the input, or None.
        stride: Steps between two places of the kernel; positive.
        padding: Zeros on both sides, 'valid' for none, or 'same' for as many outputs as inputs (stride 1 only).
        dilation: Steps between two taps of the kernel; positive.
        groups: Groups of channels that do not see each other; divides C and K.

    Returns:
        [N, K, L'] or [K, L'], $L' = \lfloor (L + 2p - d (R - 1) - 1) / s \rfloor + 1$.

    Raises:
        ShapeError: The sizes do not agree, groups do not divide them, or the kernel is larger than the padded input.
        ArgumentError: stride, padding, dilation or groups is out of range, or padding is 'same' with a stride.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.conv1d(nbdl.tensor([[1.0, 2.0, 4.0]]), nbdl.tensor([[[-1.0, 1.0]]]))
        tensor([[1., 2.]])

    Source:
        Waibel et al. (1989), "Phoneme Recognition Using Time-Delay Neural Networks".
    """
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Slides a kernel over an image.

    $$y_{k i j} = b_k + \sum_{c, r, t} W_{k c r t}\, x_{c,\; i s - p + r d,\; j s - p + t d}$$

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64. Channels-last memory is read as it lies.
        weight: [K, C / groups, R, S], dtype of the input.
        bias: [K], dtype of the input, or None.
        stride: Steps between two places of the kernel; an integer, or one for each axis.
        padding: Zeros on both sides of each axis, 'valid' for none, or 'same' for as many outputs as inputs
            (stride 1 only; an odd number of zeros puts one more behind).
        dilation: Steps between two taps of the kernel; an integer, or one for each axis.
        groups: Groups of channels that do not see each other; divides C and K. groups = C is a depthwise convolution.

    Returns:
        [N, K, H', W'] or [K, H', W'] in channels-last memory, each size
        $\lfloor (H + 2p - d (R - 1) - 1) / s \rfloor + 1$.

    Raises:
        ShapeError: The sizes do not agree, groups do not divide them, or the kernel is larger than the padded input.
        ArgumentError: stride, padding, dilation or groups is out of range, or padding is 'same' with a stride.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.conv2d(nbdl.ones(1, 1, 3, 3), nbdl.ones(1, 1, 2, 2))
        tensor([[[[4., 4.],
                  [4., 4.]]]])

    Source:
        LeCun et al. (1998), "Gradient-Based Learning Applied to Document Recognition", section II.
    """
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    r"""The positive part of a convolution, $\max(0, W * x + b)$, in one pass over the result.

    Args, Raises: As `conv2d`.

    Returns:
        What `relu(conv2d(...))` is.

    Gradient:
        For input, weight and bias, as `conv2d`, from $dY$ where $Y > 0$.

    Example:
        >>> nbdl.ops.conv2d_relu(nbdl.ones(1, 1, 2, 2), -nbdl.ones(1, 1, 2, 2))
        tensor([[[[0.]]]])
    """
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups, relu=True)


def _convolve(
    rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    groups: int, relu: bool = False,
) -> Tensor:  # fmt: skip
    """Checks the arguments and runs the operation."""
    check_rank("input", check_float("input", input), rank + 1, rank + 2)
    check_same_dtype("weight", check_rank("weight", weight, rank + 2), "input", input)
    groups = check_int("groups", groups, low=1)
    outputs, inputs, *sizes = weight.shape
    kernel = tuple(sizes)
    channels = input.shape[-rank - 1]
    if outputs % groups:
        raise ShapeError(f"weight: expected a number of output channels that groups={groups} divides, got {outputs}")
    if channels != inputs * groups:
        raise ShapeError(
            f"input: expected {inputs * groups} channels for weight {list(weight.shape)} and groups={groups}, "
            f"got {channels} in shape {list(input.shape)}"
        )
    if bias is not None:
        check_same_dtype("bias", check_shape("bias", bias, (outputs,)), "input", input)
    stride = as_sizes("stride", stride, rank, low=1)
    dilation = as_sizes("dilation", dilation, rank, low=1)
    edges = as_padding(padding, kernel, stride, dilation)
    size = output_sizes(input.shape[-rank:], kernel, stride, edges, dilation)
    before = tuple(pair[0] for pair in edges)
    return ConvolutionOp.apply(input, weight, bias, size, stride, before, dilation, groups, relu)
