r"""Transposed convolution: the gradient of a convolution, used forwards, so that images grow.

Each input pixel lays the kernel, scaled by its value, on the output; the copies lie a stride apart and add up. For
output channel k, with stride s, padding p and dilation d along each axis:

$$
y_{n k h w} = b_k + \sum_{c, i, j, r, t} W_{c k r t}\; x_{n c i j}
\qquad \text{over all} \quad i s - p + r d = h, \quad j s - p + t d = w
$$

The result has $(H - 1)\, s - 2p + d (R - 1) + 1 + o$ rows: padding is cut off here, and the output padding $o$ says
which of the s sizes is meant that a convolution would bring to H. With g groups, input channels of group q reach the
output channels of group q only.

Backward, the convolution whose transpose this is, and its gradient for the weights with the parts exchanged:

$$
dx_{n c i j} = \sum_{k, r, t} W_{c k r t}\; dy_{n,\, k,\; i s - p + r d,\; j s - p + t d}, \qquad
dW_{c k r t} = \sum_{n, i, j} x_{n c i j}\; dy_{n,\, k,\; i s - p + r d,\; j s - p + t d}, \qquad
db_k = \sum_{n, h, w} dy_{n k h w}
$$

Letters: N images, C input channels, H and W their size, K output channels, R and S (r, t) the size of the kernel.
The kernels are those of convolution. Source: Zeiler, Krishnan, Taylor and Fergus (2010), "Deconvolutional Networks";
Dumoulin and Visin (2016), "A guide to convolution arithmetic for deep learning", chapter 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.convolution.geometry import as_sizes
from nbdl.ops.convolution.products import forward, input_gradient, weight_gradient
from nbdl.ops.matmul.linear import sum_columns
from nbdl.ops.shape import squeeze, unsqueeze
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_float, check_int, check_rank, check_same_dtype, check_shape
from nbdl.runtime.errors import ArgumentError, ShapeError

# ---------------------------------------------------------------- reference


def conv_transpose2d_reference(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The definition, in float64: input [N, C, H, W] or [C, H, W], weight [C, K / groups, R, S], bias [K]."""
    if input.ndim == 3:
        options = bias, stride, padding, output_padding, groups, dilation
        return conv_transpose2d_reference(input[None], weight, *options)[0]
    step, edge, more, spread = (np.broadcast_to(v, 2) for v in (stride, padding, output_padding, dilation))
    batch, inputs, *size = input.shape
    outputs = weight.shape[1]
    taps = np.array(weight.shape[2:])
    reach = (np.array(size) - 1) * step + 1
    whole = reach + spread * (taps - 1) + more
    y = np.zeros((batch, groups, outputs, *whole))
    x = input.reshape(batch, groups, inputs // groups, *size)
    w = weight.reshape(groups, inputs // groups, *weight.shape[1:])
    for r in range(taps[0]):
        for t in range(taps[1]):
            top, left = r * spread[0], t * spread[1]
            rows, columns = slice(top, top + reach[0], step[0]), slice(left, left + reach[1], step[1])
            y[..., rows, columns] += np.einsum("ngchw,gck->ngkhw", x, w[..., r, t])
    y = y[..., edge[0] : whole[0] - edge[0], edge[1] : whole[1] - edge[1]]
    y = y.reshape(batch, groups * outputs, *y.shape[3:])
    return y if bias is None else y + bias[:, None, None]


def conv_transpose1d_reference(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The definition, in float64: one row of `conv_transpose2d_reference`."""
    stride, dilation = ((1, np.squeeze(v)) for v in (stride, dilation))
    padding, output_padding = ((0, np.squeeze(v)) for v in (padding, output_padding))
    options = stride, padding, output_padding, groups, dilation
    return conv_transpose2d_reference(input[..., None, :], weight[:, :, None], bias, *options)[..., 0, :]


# ---------------------------------------------------------------- autograd


class ConvTransposeOp(Op):
    """y [N, K, *size] from x [N, C, H, W], W [C, K / groups, R, S] and b [K]. Saves x, channels last, and W."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, size, stride, padding, dilation, groups):
        ctx.options = stride, padding, dilation, groups
        rows = arrays.channels_last(x)
        ctx.save(rows, weight)
        return arrays.channels_first(input_gradient(rows, weight, size, stride, padding, dilation, groups, bias))

    @staticmethod
    def backward(ctx: Context, dy):
        x, weight = ctx.saved
        dy = arrays.channels_last(dy)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dx = arrays.channels_first(forward(dy, weight, None, x.shape[1:3], *ctx.options))
        if ctx.needs_input_grad[1]:
            dweight = weight_gradient(dy, x, weight.shape[2:], *ctx.options)
        if ctx.needs_input_grad[2]:
            dbias = sum_columns(dy.reshape(-1, dy.shape[3]))
        return dx, dweight, dbias, None, None, None, None, None


# ---------------------------------------------------------------- public


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    r"""Lays a kernel down for each element of a sequence, and adds up: a convolution backwards.

    $y_{k h} = b_k + \sum_{c, i, r} W_{c k r}\, x_{c i}$ over all $i s - p + r d = h$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64.
        weight: [C, K / groups, R], dtype of the input.
        bias: [K], dtype of the input, or None.
        stride: Steps between two copies of the kernel; positive.
        padding: Elements cut off on both sides.
        output_padding: Elements more at the end; less than the stride or the dilation.
        groups: Groups of channels that do not see each other; divides C and K.
        dilation: Steps between two taps of the kernel; positive.

    Returns:
        [N, K, L'] or [K, L'], $L' = (L - 1) s - 2p + d (R - 1) + 1 + o$.

    Raises:
        ShapeError: The sizes do not agree, groups do not divide them, or nothing would be left.
        ArgumentError: stride, padding, output_padding, dilation or groups is out of range.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.conv_transpose1d(nbdl.tensor([[1.0, 2.0]]), nbdl.tensor([[[1.0, 1.0, 1.0]]]), stride=2)
        tensor([[1., 1., 3., 2., 2.]])

    Source:
        Dumoulin and Visin (2016), "A guide to convolution arithmetic for deep learning", chapter 4.
    """
    return _convolve_transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    r"""Lays a kernel down for each pixel of an image, and adds up: a convolution backwards, whose result is larger.

    $y_{k h w} = b_k + \sum_{c, i, j, r, t} W_{c k r t}\, x_{c i j}$ over all $i s - p + r d = h$ and
    $j s - p + t d = w$.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64. Channels-last memory is read as it lies.
        weight: [C, K / groups, R, S], dtype of the input.
        bias: [K], dtype of the input, or None.
        stride: Steps between two copies of the kernel; an integer, or one for each axis.
        padding: Rows and columns cut off on both sides; an integer, or one for each axis.
        output_padding: Rows and columns more at the end; less than the stride or the dilation of the axis.
        groups: Groups of channels that do not see each other; divides C and K.
        dilation: Steps between two taps of the kernel; an integer, or one for each axis.

    Returns:
        [N, K, H', W'] or [K, H', W'] in channels-last memory, each size $(H - 1) s - 2p + d (R - 1) + 1 + o$.

    Raises:
        ShapeError: The sizes do not agree, groups do not divide them, or nothing would be left.
        ArgumentError: stride, padding, output_padding, dilation or groups is out of range.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.conv_transpose2d(nbdl.ones(1, 1, 2, 2), nbdl.ones(1, 1, 2, 2))
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])

    Source:
        Dumoulin and Visin (2016), "A guide to convolution arithmetic for deep learning", chapter 4.
    """
    return _convolve_transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _convolve_transposed(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    """Checks the arguments and runs the operation, a sequence as an image of one row."""
    check_rank("input", check_float("input", input), rank + 1, rank + 2)
    check_same_dtype("weight", check_rank("weight", weight, rank + 2), "input", input)
    groups = check_int("groups", groups, low=1)
    inputs, outputs, *kernel = weight.shape
    if inputs % groups:
        raise ShapeError(f"weight: expected a number of input channels that groups={groups} divides, got {inputs}")
    if input.shape[-rank - 1] != inputs:
        raise ShapeError(
            f"input: expected {inputs} channels for weight {list(weight.shape)}, got shape {list(input.shape)}"
        )
    if 0 in weight.shape or 0 in input.shape[-rank:]:
        name, empty = ("weight", weight) if 0 in weight.shape else ("input", input)
        raise ShapeError(f"{name}: expected elements in all dimensions but the batch, got shape {list(empty.shape)}")
    if bias is not None:
        check_same_dtype("bias", check_shape("bias", bias, (outputs * groups,)), "input", input)
    steps, spreads = as_sizes("stride", stride, rank, 1), as_sizes("dilation", dilation, rank, 1)
    edges, more = as_sizes("padding", padding, rank, 0), as_sizes("output_padding", output_padding, rank, 0)
    size = []
    for n, taps, step, edge, extra, spread in zip(
        input.shape[-rank:], kernel, steps, edges, more, spreads, strict=True
    ):
        if extra >= max(step, spread):
            raise ArgumentError(
                f"output_padding: expected less than the stride, {step}, or the dilation, {spread}, got {extra}"
            )
        size.append((n - 1) * step - 2 * edge + spread * (taps - 1) + 1 + extra)
    if min(size) < 1:
        raise ShapeError(f"padding: expected something to be left, got sizes {size} for input {list(input.shape)}")
    batched = input.ndim == rank + 2
    if not batched:
        input = unsqueeze(input, 0)
    if rank == 2:
        y = ConvTransposeOp.apply(input, weight, bias, tuple(size), steps, edges, spreads, groups)
    else:
        input, weight = unsqueeze(input, 2), unsqueeze(weight, 2)
        options = (1, *steps), (0, *edges), (1, *spreads), groups
        y = squeeze(ConvTransposeOp.apply(input, weight, bias, (1, *size), *options), 2)
    return y if batched else squeeze(y, 0)
