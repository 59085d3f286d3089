r"""Linear and bilinear maps of the last dimension.

Linear, for each row $x$ of the input:

$$y_o = \sum_i W_{oi}\, x_i + b_o, \qquad Y = X W^\top + b$$

Backward: $dX = dY\, W$, $\;dW = dY^\top X$, and $db_o = \sum_{\text{rows}} dy_o$, since b is added to every row.
A ReLU that follows is applied where the product is written; its backward, $dY$ where $Y > 0$, is one pass with $db$.

Bilinear: $y_o = \sum_{ij} x_{1,i}\, W_{oij}\, x_{2,j} + b_o$, a product of matrices for each of the two sums.

Letters: N rows (all leading dimensions), I input features, O output features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.matmul.products import as_shape, matmul
from nbdl.ops.shape.views import permute, reshape
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_rank, check_same_dtype, check_shape
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.gemm import gemm
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def linear_reference(input, weight, bias=None):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return input @ weight.T + (0 if bias is None else bias)


def linear_relu_reference(input, weight, bias=None):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return np.maximum(linear_reference(input, weight, bias), 0)


def bilinear_reference(input1, input2, weight, bias=None):
    """The definition, in float64: input1 [*, I], input2 [*, J], weight [O, I, J], bias [O] -> [*, O]."""
    return np.einsum("...i,oij,...j->...o", input1, weight, input2) + (0 if bias is None else bias)


# ---------------------------------------------------------------- sum of the columns

ROWS = 128
"""Rows summed into one partial result: fixed, so that the order of additions is."""


@cpu_kernel
def _sum_columns_cpu(x, partial, start, stop):
    """Sums x [N, D] into partial [ceil(N / ROWS), D]. One task a chunk of ROWS rows."""
    n, d = x.shape
    for chunk in range(start, stop):
        for j in range(d):
            partial[chunk, j] = x[chunk * ROWS, j]
        for row in range(chunk * ROWS + 1, min(n, (chunk + 1) * ROWS)):
            for j in range(d):
                partial[chunk, j] += x[row, j]


@cuda_kernel
def _sum_columns_cuda(x, partial):
    """As the CPU twin. One block a chunk; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    n, d = x.shape
    chunk = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, d, BLOCK):
        total = x[chunk * ROWS, j]
        for row in range(chunk * ROWS + 1, min(n, (chunk + 1) * ROWS)):
            total += x[row, j]
        partial[chunk, j] = total


sum_columns_kernel = Kernel(
    cpu=_sum_columns_cpu,
    cuda=_sum_columns_cuda,
    tasks=lambda x, partial: partial.shape[0],
    work=lambda x, partial: x.size,
)


def sum_columns(x: Any) -> Any:
    """[N, D] -> [D]: the sum of the rows, in an order that depends on N alone."""
    if not x.shape[0]:
        return arrays.full(x.shape[1:], 0, x.dtype)
    partial = memory.empty((-(-x.shape[0] // ROWS), x.shape[1]), x.dtype)
    sum_columns_kernel(x, partial)
    return partial.reshape(-1) if partial.shape[0] == 1 else arrays.sum_rows(partial)


# ---------------------------------------------------------------- backward of a ReLU, and that sum


@cpu_kernel
def _relu_backward_and_sum_cpu(dy, y, masked, partial, start, stop):
    """masked [N, D] = dy where y > 0; its columns summed into partial as above. One task a chunk of ROWS rows."""
    n, d = y.shape
    zero = y.dtype.type(0)
    for chunk in range(start, stop):
        for j in range(d):
            partial[chunk, j] = zero
        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
            for j in range(d):
                value = zero if y[row, j] <= zero else dy[row, j]
                masked[row, j] = value
                partial[chunk, j] += value


@cuda_kernel
def _relu_backward_and_sum_cuda(dy, y, masked, partial):
    """As the CPU twin. One block a chunk; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    n, d = y.shape
    zero = y.dtype.type(0)
    chunk = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, d, BLOCK):
        total = zero
        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
            value = zero if y[row, j] <= zero else dy[row, j]
            masked[row, j] = value
            total += value
        partial[chunk, j] = total


relu_backward_and_sum_kernel = Kernel(
    cpu=_relu_backward_and_sum_cpu,
    cuda=_relu_backward_and_sum_cuda,
    tasks=lambda dy, y, masked, partial: partial.shape[0],
    work=lambda dy, y, masked, partial: y.size,
)


def relu_backward_and_sum(dy: Any, y: Any) -> tuple[Any, Any]:
    """dy [N, D] where the ReLU's result y is not 0, and the sum of its rows [D]."""
    masked = memory.empty(dy.shape, dy.dtype)
    if not dy.shape[0]:
        return masked, arrays.full(dy.shape[1:], 0, dy.dtype)
    partial = memory.empty((-(-dy.shape[0] // ROWS), dy.shape[1]), dy.dtype)
    relu_backward_and_sum_kernel(dy, y, masked, partial)
    return masked, partial.reshape(-1) if partial.shape[0] == 1 else arrays.sum_rows(partial)


# ---------------------------------------------------------------- autograd


class LinearOp(Op):
    """y = x W^T + b, or its ReLU, made where the product is written. Saves x and W, and y for the ReLU."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, relu):
        rows = _as_rows(x)
        y = memory.empty((rows.shape[0], weight.shape[0]), x.dtype)
        if bias is not None and not bias.flags.c_contiguous:
            bias = arrays.contiguous(bias)
        gemm(rows, weight.T, y, bias, floor=0.0 if relu else -math.inf)
        if x.ndim != 2:
            y = y.reshape(*x.shape[:-1], weight.shape[0])
        if relu:
            ctx.save(x, weight, y)
        else:
            ctx.save(x, weight)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, weight, *y = ctx.saved
        wants_dx, wants_dweight, wants_dbias, _ = ctx.needs_input_grad
        dy = _as_rows(dy)
        dx = dweight = dbias = None
        if y:
            dy, dbias = relu_backward_and_sum(arrays.contiguous(dy), _as_rows(y[0]))
        elif wants_dbias:
            dbias = sum_columns(arrays.contiguous(dy))
        if wants_dx:
            dx = memory.empty(x.shape, x.dtype)
            gemm(dy, weight, _as_rows(dx))
        if wants_dweight:
            dweight = memory.empty(weight.shape, x.dtype)
            gemm(dy.T, _as_rows(x), dweight)
        return dx, dweight, dbias if wants_dbias else None, None


def _as_rows(x: Any) -> Any:
    """[*, D] as [N, D]."""
    return x if x.ndim == 2 else as_shape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


# ---------------------------------------------------------------- public


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Maps the last dimension linearly: $y = x W^\top + b$.

    Args:
        input: [*, I], float32 or float64.
        weight: [O, I], dtype of the input.
        bias: [O], dtype of the input, or None.

    Returns:
        [*, O], dtype of the input.

    Raises:
        ShapeError: The input has no dimension, or the sizes of input, weight and bias do not agree.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.

    Gradient:
        For input, weight and bias: $dX = dY W$, $dW = dY^\top X$, $db = \sum dY$.

    Example:
        >>> nbdl.ops.linear(nbdl.tensor([1.0, 2.0]), nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]), nbdl.tensor([0.0, 5.0]))
        tensor([3., 4.])
    """
    _check_linear(input, weight, bias)
    return LinearOp.apply(input, weight, bias, False)


def linear_relu(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""The positive part of a linear map, $y = \max(0, x W^\top + b)$, in one pass over the result.

    Args, Raises: As `linear`.

    Returns:
        [*, O], dtype of the input; what `relu(linear(input, weight, bias))` is.

    Gradient:
        For input, weight and bias, as `linear`, from $dY$ where $Y > 0$.

    Example:
        >>> nbdl.ops.linear_relu(nbdl.tensor([1.0, 2.0]), nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]))
        tensor([3., 0.])
    """
    _check_linear(input, weight, bias)
    return LinearOp.apply(input, weight, bias, True)


def _check_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    check_same_dtype("weight", check_rank("weight", weight, 2), "input", check_float("input", input))
    outputs, inputs = weight.shape
    shape = input.shape
    if not shape or shape[-1] != inputs:
        raise ShapeError(f"input: expected shape [*, {inputs}] for weight {[outputs, inputs]}, got {list(shape)}")
    if bias is not None:
        check_same_dtype("bias", check_shape("bias", bias, (outputs,)), "input", input)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Joins the last dimensions of two inputs: $y_o = x_1^\top W_o\, x_2 + b_o$.

    Args:
        input1: [*, I], float32 or float64.
        input2: [*, J], the same leading dimensions and dtype.
        weight: [O, I, J], dtype of the inputs.
        bias: [O], dtype of the inputs, or None.

    Returns:
        [*, O].

    Raises:
        ShapeError: The leading dimensions differ, or the sizes of inputs, weight and bias do not agree.
        DTypeError: The inputs are not floating point, or a dtype differs.

    Gradient:
        For both inputs, weight and bias.

    Example:
        >>> nbdl.ops.bilinear(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0]), nbdl.tensor([[[1.0], [1.0]]]))
        tensor([9.])
    """
    check_same_dtype("input2", input2, "input1", check_float("input1", input1))
    check_same_dtype("weight", check_rank("weight", weight, 3), "input1", input1)
    outputs, first, second = weight.shape
    check_shape("input1", input1, (..., first))
    check_shape("input2", input2, (*input1.shape[:-1], second))
    if bias is not None:
        check_same_dtype("bias", check_shape("bias", bias, (outputs,)), "input1", input1)
    rows = math.prod(input1.shape[:-1])
    # [N, I] by [I, O J], then for each row [O, J] by [J].
    halfway = linear(reshape(input1, (rows, first)), reshape(permute(weight, (0, 2, 1)), (outputs * second, first)))
    y = matmul(reshape(halfway, (rows, outputs, second)), reshape(input2, (rows, second, 1)))
    y = reshape(y, (*input1.shape[:-1], outputs))
    return y if bias is None else y + bias
