r"""Linear and bilinear maps of the last dimension.

Linear, for each row $x$ of the input:

$$y_o = \sum_i W_{oi}\, x_i + b_o, \qquad Y = X W^\top + b$$

Backward: $dX = dY\, W$, $\;dW = dY^\top X$, and $db_o = \sum_{\text{rows}} dy_o$, since b is added to every row.
An activation $f$ that follows, $H = f(Y)$, is applied where the product is written: while a piece of Y is in the cache
it becomes H, and $f'(Y)$ is kept beside it (for a ReLU, H says enough). Its backward, $dY = dH \odot f'(Y)$, is one
pass with $db$.

Bilinear: $y_o = \sum_{ij} x_{1,i}\, W_{oij}\, x_{2,j} + b_o$, a product of matrices for each of the two sums.

Letters: N rows (all leading dimensions), I input features, O output features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.activation.rectifiers import LeakyReluOp, leaky_relu_reference, leaky_relu_slope
from nbdl.ops.activation.smooth import GeluOp, GeluTanhOp, SiluOp, gelu_reference, silu_reference
from nbdl.ops.elementwise.operands import typed_number
from nbdl.ops.matmul.products import as_shape, matmul
from nbdl.ops.shape.views import permute, reshape
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_float, check_number, check_rank, check_same_dtype, check_shape
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.gemm import gemm
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

# ---------------------------------------------------------------- reference


def linear_reference(input, weight, bias=None):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return input @ weight.T + (0 if bias is None else bias)


def linear_relu_reference(input, weight, bias=None):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return np.maximum(linear_reference(input, weight, bias), 0)


def linear_leaky_relu_reference(input, weight, bias=None, negative_slope=0.01):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return leaky_relu_reference(linear_reference(input, weight, bias), negative_slope)


def linear_gelu_reference(input, weight, bias=None, approximate="none"):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return gelu_reference(linear_reference(input, weight, bias), approximate)


def linear_silu_reference(input, weight, bias=None):
    """The definition, in float64: input [*, I], weight [O, I], bias [O] -> [*, O]."""
    return silu_reference(linear_reference(input, weight, bias))


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


# ---------------------------------------------------------------- backward of an activation, and that sum


@scalar
def _relu_backward(dh, h, _):
    return type(dh)(0) if h <= type(h)(0) else dh


@scalar
def _curve_backward(dh, slope, _):
    return dh * slope


def _backward_and_sum_kernel(chain: Any) -> Kernel:
    """The kernel of dy = chain(dh, what forward kept, a number) and of the sum of its columns."""

    def backward_and_sum_cpu(dh, kept, dy, partial, number, start, stop):
        """dh, kept, dy [N, D]; partial [ceil(N / ROWS), D], sums over ROWS rows each. One task a chunk of ROWS rows."""
        n, d = dh.shape
        for chunk in range(start, stop):
            for j in range(d):
                partial[chunk, j] = 0
            for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
                for j in range(d):
                    value = chain(dh[row, j], kept[row, j], number)
                    dy[row, j] = value
                    partial[chunk, j] += value

    def backward_and_sum_cuda(dh, kept, dy, partial, number):
        """As the CPU twin. One block a chunk; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
        n, d = dh.shape
        chunk = cuda.blockIdx.x
        for j in range(cuda.threadIdx.x, d, BLOCK):
            total = dh.dtype.type(0)
            for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
                value = chain(dh[row, j], kept[row, j], number)
                dy[row, j] = value
                total += value
            partial[chunk, j] = total

    stem = f"{chain.py_func.__name__}_and_sum"
    backward_and_sum_cpu.__name__, backward_and_sum_cuda.__name__ = f"{stem}_cpu", f"{stem}_cuda"
    return Kernel(
        cpu=cpu_kernel(backward_and_sum_cpu),
        cuda=cuda_kernel(backward_and_sum_cuda),
        tasks=lambda dh, kept, dy, partial, number: partial.shape[0],
        work=lambda dh, kept, dy, partial, number: dh.size,
    )


relu_backward_and_sum_kernel = _backward_and_sum_kernel(_relu_backward)
leaky_relu_backward_and_sum_kernel = _backward_and_sum_kernel(leaky_relu_slope)
curve_backward_and_sum_kernel = _backward_and_sum_kernel(_curve_backward)


def relu_backward_and_sum(dh: Any, h: Any) -> tuple[Any, Any]:
    """dh [N, D] where the ReLU's result h is not 0, and the sum of its rows [D]."""
    return _backward_and_sum(relu_backward_and_sum_kernel, dh, h)


def _backward_and_sum(kernel: Kernel, dh: Any, kept: Any, number: float = 0.0) -> tuple[Any, Any]:
    """dy [N, D] from dh, what forward kept and the activation's number, and the sum of its rows [D]."""
    dy = memory.empty(dh.shape, dh.dtype)
    if not dh.shape[0]:
        return dy, arrays.full(dh.shape[1:], 0, dh.dtype)
    partial = memory.empty((-(-dh.shape[0] // ROWS), dh.shape[1]), dh.dtype)
    kernel(dh, kept, dy, partial, dh.dtype.type(number))
    return dy, partial.reshape(-1) if partial.shape[0] == 1 else arrays.sum_rows(partial)


# ---------------------------------------------------------------- autograd


class LinearOp(Op):
    """y = x W^T + b, or its ReLU, made where the product is written. Saves x and W, and y for the ReLU."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, relu):
        y = _product(x, weight, bias, floor=0.0 if relu else -math.inf)
        if relu:
            ctx.save(x, weight, y)
        else:
            ctx.save(x, weight)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, weight, *y = ctx.saved
        dy = _as_rows(dy)
        dbias = None
        if y:
            dy, dbias = relu_backward_and_sum(arrays.contiguous(dy), _as_rows(y[0]))
        elif ctx.needs_input_grad[2]:
            dbias = sum_columns(arrays.contiguous(dy))
        return *_products_backward(ctx, x, weight, dy, dbias), None


class LinearLeakyReluOp(Op):
    """h = leaky_relu(x W^T + b), in the place of the product. Saves x, W and h, whose sign is the product's."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, slope):
        h = _product(x, weight, bias)
        LeakyReluOp.value.over(h, slope)
        ctx.save(x, weight, h)
        ctx.slope = slope
        return h

    @staticmethod
    def backward(ctx: Context, dh):
        x, weight, h = ctx.saved
        dh, h = arrays.contiguous(_as_rows(dh)), _as_rows(h)
        dy, dbias = _backward_and_sum(leaky_relu_backward_and_sum_kernel, dh, h, ctx.slope)
        return *_products_backward(ctx, x, weight, dy, dbias), None


class LinearCurveOp(Op):
    """h = f(x W^T + b), made where the product is written. Saves x, W, and f' of the product."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, curve):
        rows = _as_rows(x)
        shape = (rows.shape[0], weight.shape[0])
        if bias is not None:
            bias = arrays.contiguous(bias)
        if any(ctx.needs_input_grad):
            result = memory.empty((2, *shape), x.dtype)
            h = result[0]
            ctx.save(x, weight, result[1])
        else:
            result = h = memory.empty(shape, x.dtype)
        gemm(rows, weight.T, result, bias, curve=curve.of_product)
        return h if x.ndim == 2 else h.reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Context, dh):
        x, weight, slope = ctx.saved
        dy, dbias = _backward_and_sum(curve_backward_and_sum_kernel, arrays.contiguous(_as_rows(dh)), slope)
        return *_products_backward(ctx, x, weight, dy, dbias), None


def _product(x: Any, weight: Any, bias: Any, floor: float = -math.inf) -> Any:
    """max(floor, x W^T + b)."""
    rows = _as_rows(x)
    y = memory.empty((rows.shape[0], weight.shape[0]), x.dtype)
    if bias is not None and not bias.flags.c_contiguous:
        bias = arrays.contiguous(bias)
    gemm(rows, weight.T, y, bias, floor=floor)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], weight.shape[0])


def _products_backward(ctx: Context, x: Any, weight: Any, dy: Any, dbias: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, W and b, those that are wanted."""
    wants_dx, wants_dweight, wants_dbias, _ = ctx.needs_input_grad
    dx = dweight = None
    if wants_dx:
        dx = memory.empty(x.shape, x.dtype)
        gemm(dy, weight, _as_rows(dx))
    if wants_dweight:
        dweight = memory.empty(weight.shape, x.dtype)
        gemm(dy.T, _as_rows(x), dweight)
    return dx, dweight, dbias if wants_dbias else None


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


def linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, negative_slope: float = 0.01
) -> Tensor:
    r"""The leaky ReLU of a linear map, $h = \max(0, y) + s \min(0, y)$ with $y = x W^\top + b$, in the place of y.

    Args:
        input: [*, I], float32 or float64.
        weight: [O, I], dtype of the input.
        bias: [O], dtype of the input, or None.
        negative_slope: The factor s, at least 0: the sign of the result is then that of the linear map.

    Returns:
        [*, O], dtype of the input; what `leaky_relu(linear(input, weight, bias), negative_slope)` is.

    Raises:
        ShapeError: The input has no dimension, or the sizes of input, weight and bias do not agree.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.
        ArgumentError: negative_slope is negative or not finite.

    Gradient:
        For input, weight and bias, as `linear`, from $dY = dH$ where $H > 0$, else $s\, dH$.

    Example:
        >>> nbdl.ops.linear_leaky_relu(nbdl.tensor([1.0, 2.0]), nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]))
        tensor([ 3.0000, -0.0100])
    """
    _check_linear(input, weight, bias)
    slope = typed_number("negative_slope", check_number("negative_slope", negative_slope, 0), input.dtype)
    return LinearLeakyReluOp.apply(input, weight, bias, slope)


def linear_gelu(input: Tensor, weight: Tensor, bias: Tensor | None = None, approximate: str = "none") -> Tensor:
    r"""The Gaussian error linear unit of a linear map, $h = \mathrm{gelu}(x W^\top + b)$, in one pass over the result.

    The first half of a Transformer's feed-forward layer.

    Args:
        input: [*, I], float32 or float64.
        weight: [O, I], dtype of the input.
        bias: [O], dtype of the input, or None.
        approximate: "none", or "tanh" for the approximation that GPT-2 uses; see `gelu`.

    Returns:
        [*, O], dtype of the input; what `gelu(linear(input, weight, bias), approximate)` is.

    Raises:
        ShapeError: The input has no dimension, or the sizes of input, weight and bias do not agree.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.
        ArgumentError: approximate is something else.

    Gradient:
        For input, weight and bias, as `linear`, from $dY = dH \odot \mathrm{gelu}'(Y)$.

    Example:
        >>> nbdl.ops.linear_gelu(nbdl.tensor([1.0, 2.0]), nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]))
        tensor([ 2.9960, -0.1587])

    Source:
        Hendrycks and Gimpel (2016), "Gaussian Error Linear Units", section 2.
    """
    _check_linear(input, weight, bias)
    check_choice("approximate", approximate, ("none", "tanh"))
    return LinearCurveOp.apply(input, weight, bias, (GeluOp if approximate == "none" else GeluTanhOp).curve)


def linear_silu(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""The sigmoid linear unit of a linear map, $h = \mathrm{silu}(x W^\top + b)$, in one pass over the result.

    Args, Raises: As `linear`.

    Returns:
        [*, O], dtype of the input; what `silu(linear(input, weight, bias))` is.

    Gradient:
        For input, weight and bias, as `linear`, from $dY = dH \odot \mathrm{silu}'(Y)$.

    Example:
        >>> nbdl.ops.linear_silu(nbdl.tensor([1.0, 2.0]), nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]))
        tensor([ 2.8577, -0.2689])
    """
    _check_linear(input, weight, bias)
    return LinearCurveOp.apply(input, weight, bias, SiluOp.curve)


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
