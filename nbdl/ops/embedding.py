r"""Embedding: a table of vectors, one for each id, looked up by id.

$$y_n = W_{t_n}, \qquad dW_v = \sum_{n : t_n = v,\; v \ne \text{padding}} dy_n$$

Forward and backward are the gather and the scatter of rows (nbdl.ops.indexing.rows): a row of the gradient is summed
by one task, in the order of the ids, so training is reproducible to the last bit for any number of threads.

Letters: N ids, V vocabulary, D features.
Source: Bengio, Ducharme, Vincent and Jauvin (2003), "A neural probabilistic language model", section 2.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Context, Op, Tensor, is_grad_enabled, no_grad
from nbdl.ops.elementwise.casting import cast, widened
from nbdl.ops.indexing.rows import add_rows, gather_rows, row_numbers
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_int, check_number, check_rank
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

# ---------------------------------------------------------------- reference


def embedding_reference(input, weight, padding_idx=None, scale_grad_by_freq=False):
    """The rows of the table; padding and scaling concern the gradient alone."""
    return weight[input]


# ---------------------------------------------------------------- scaling by frequency


@cpu_kernel
def _divide_rows_cpu(dy, ids, counts, scaled, start, stop):
    """dy, scaled [N, D]; ids [N]; counts [V]: each row divided by how often its id occurs. One task a row."""
    for n in range(start, stop):
        count = dy.dtype.type(counts[ids[n]])
        for j in range(dy.shape[1]):
            scaled[n, j] = dy[n, j] / count


@cuda_kernel
def _divide_rows_cuda(dy, ids, counts, scaled):
    """As the CPU twin. One block a row."""
    n = cuda.blockIdx.x
    count = dy.dtype.type(counts[ids[n]])
    for j in range(cuda.threadIdx.x, dy.shape[1], BLOCK):
        scaled[n, j] = dy[n, j] / count


divide_rows = Kernel(
    cpu=_divide_rows_cpu,
    cuda=_divide_rows_cuda,
    tasks=lambda dy, *_: dy.shape[0],
    work=lambda dy, *_: dy.size,
)

# ---------------------------------------------------------------- largest norm


@scalar
def _limit_row(weight, row, max_norm, order):
    total = weight.dtype.type(math.inf) if order == -math.inf else weight.dtype.type(0)
    for j in range(weight.shape[1]):
        size = abs(weight[row, j])
        if order == 2.0:
            total += size * size
        elif order == math.inf:
            total = max(total, size)
        elif order == -math.inf:
            total = min(total, size)
        elif order == 0.0:
            total += weight.dtype.type(1) if size != 0 else weight.dtype.type(0)
        else:
            total += size ** weight.dtype.type(order)
    norm = total
    if order == 2.0:
        norm = math.sqrt(total)
    elif order != 0.0 and order != math.inf and order != -math.inf:
        norm = total ** (weight.dtype.type(1) / weight.dtype.type(order))
    if norm > weight.dtype.type(max_norm):
        factor = weight.dtype.type(max_norm) / (norm + weight.dtype.type(1e-7))
        for j in range(weight.shape[1]):
            weight[row, j] *= factor


@cpu_kernel
def _limit_rows_cpu(weight, ids, max_norm, order, start, stop):
    """weight [V, D]; ids [U], each once: rows whose norm exceeds max_norm are scaled to it. One task a row."""
    for u in range(start, stop):
        _limit_row(weight, ids[u], max_norm, order)


@cuda_kernel
def _limit_rows_cuda(weight, ids, max_norm, order):
    """As the CPU twin. One thread a row."""
    u = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if u < ids.shape[0]:
        _limit_row(weight, ids[u], max_norm, order)


limit_rows = Kernel(
    cpu=_limit_rows_cpu,
    cuda=_limit_rows_cuda,
    tasks=lambda weight, ids, *_: ids.shape[0],
    work=lambda weight, ids, *_: ids.shape[0] * weight.shape[1],
    blocks=lambda weight, ids, *_: -(-ids.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- autograd


class EmbeddingOp(Op):
    """y = the rows of W with these ids; keeps the ids alone."""

    @staticmethod
    def forward(ctx: Context, weight, ids, shape, padding, scaled):
        ctx.ids, ctx.padding, ctx.scaled = ids, padding, scaled
        ctx.shape = weight.shape
        y = memory.empty((*shape, weight.shape[1]), weight.dtype)
        if y.size:
            table = arrays.contiguous(weight)
            gather_rows(table.reshape(1, *table.shape), ids, y.reshape(1, len(ids), -1))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        v, d = ctx.shape
        dweight = arrays.full(ctx.shape, 0, dy.dtype)
        if dy.size:
            rows = arrays.contiguous(dy).reshape(-1, d)
            if ctx.scaled:
                shares = memory.empty(rows.shape, rows.dtype)
                divide_rows(rows, ctx.ids, np.bincount(ctx.ids, minlength=v), shares)
                rows = shares
            add_rows(rows.reshape(1, -1, d), ctx.ids, dweight.reshape(1, v, d), skip=ctx.padding)
        return dweight, None, None, None, None


# ---------------------------------------------------------------- public


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    r"""Looks up the vectors of ids in a table.

    $y_n = W_{t_n}$

    Args:
        input: [*] integers in [0, V): the ids.
        weight: [V, D], float32 or float64: the table.
        padding_idx: An id whose row gets no gradient; negative ones count from the end.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it, in the table itself.
        norm_type: The order of that norm; infinity for the largest element, minus infinity for the smallest, 0 for the
            number of elements other than 0.
        scale_grad_by_freq: Divide each row's gradient by how often its id occurs in the input.
        sparse: Not available: gradients are dense.

    Returns:
        [*, D], dtype of the table.

    Raises:
        DTypeError: The ids are not integers, or the table is not floating-point.
        ShapeError: The table has not two dimensions.
        IndexRangeError: An id is out of range; negative ids are.
        ArgumentError: padding_idx is out of range, sparse is set, max_norm is not finite, or norm_type is NaN.
        GradientError: max_norm is given while gradients of a table that is no leaf are recorded.

    Gradient:
        For weight: the sum of dy over the places where each id stood.

    Example:
        >>> table = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> nbdl.ops.embedding(nbdl.tensor([1, 0]), table)
        tensor([[3., 4.],
                [1., 2.]])

    Source:
        Bengio, Ducharme, Vincent and Jauvin (2003), "A neural probabilistic language model", section 2.
    """
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    check_rank("weight", check_float("weight", weight), 2)
    if sparse:
        raise ArgumentError("sparse: expected False, gradients are dense")
    v = weight._array.shape[0]
    padding = -1
    if padding_idx is not None:
        padding = check_int("padding_idx", padding_idx, -v, v - 1) % v
    ids = row_numbers("input", input._array, v)
    if max_norm is not None:
        limit_norms(weight, ids, max_norm, norm_type)
    return EmbeddingOp.apply(weight, ids, input._array.shape, padding, bool(scale_grad_by_freq))


def limit_norms(weight: Tensor, ids: np.ndarray, max_norm: float, norm_type: float) -> None:
    """Scales down, in place, the rows with these ids whose norm is too large.

    Raises:
        ArgumentError: max_norm is not finite, or norm_type is NaN.
        ArgumentTypeError: norm_type is no number.
        GradientError: Gradients of a table that is no leaf are recorded.
    """
    check_number("max_norm", max_norm)
    if isinstance(norm_type, bool) or not isinstance(norm_type, (int, float, np.number)):
        raise ArgumentTypeError(f"norm_type: expected a number, got {type(norm_type).__name__}")
    if math.isnan(norm_type):
        raise ArgumentError("norm_type: expected a number or an infinity, got nan")
    if is_grad_enabled() and weight.requires_grad and not weight.is_leaf:
        raise GradientError(
            "max_norm: the table is changed in place, so it must be a leaf while gradients are recorded"
        )
    if ids.size:
        with no_grad():
            array = weight._array
            table = arrays.contiguous(widened(array))
            limit_rows(table, np.unique(ids), float(max_norm), float(norm_type))
            if table is not array:
                arrays.copy_into(array, cast(table, array.dtype))
            weight._version[0] += 1
