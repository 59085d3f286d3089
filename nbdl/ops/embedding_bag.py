r"""Embedding bags: the sum, the mean or the largest of the vectors of several ids, without keeping the vectors.

Bag b holds the places $k$ from $o_b$ to $o_{b+1} - 1$ of the ids $t$; places with the padding id do not count.

$$
\text{sum:}\; y_b = \sum_k w_k W_{t_k}, \qquad
\text{mean:}\; y_b = \tfrac{1}{n_b} \sum_k W_{t_k}, \qquad
\text{max:}\; y_{bj} = \max_k W_{t_k j}
$$

with $n_b$ the places that count; an empty bag gives 0. Backward:

$$
dW_v = \sum_{k : t_k = v} c_k\, dy_{b(k)}, \quad c_k = w_k \text{ or } 1 / n_b, \qquad
dw_k = W_{t_k} \cdot dy_{b(k)}
$$

and for the maximum each $dy_{bj}$ goes to the row that gave it, the first of equals.

Letters: K ids, B bags, V vocabulary, D features.
Source: Joulin, Grave, Bojanowski and Mikolov (2017), "Bag of Tricks for Efficient Text Classification".
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.embedding import divide_rows, limit_norms
from nbdl.ops.indexing.rows import add_rows, row_numbers
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_float, check_int, check_rank, check_same_dtype
from nbdl.runtime.cuda.primitives import WARP, warp_sum
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

SUM, MEAN, MAX = 0, 1, 2
MODES = {"sum": SUM, "mean": MEAN, "max": MAX}

NO_WEIGHTS = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}
"""An empty array stands for absent weights, so that a kernel has one signature."""

# ---------------------------------------------------------------- reference


def embedding_bag_reference(
    input,
    weight,
    offsets=None,
    mode="mean",
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
    scale_grad_by_freq=False,
):
    """The definition, in float64: bag by bag."""
    ids = input.reshape(-1)
    if input.ndim == 2:
        edges = np.arange(len(input) + 1) * input.shape[1]
    else:
        edges = offsets if include_last_offset else np.append(offsets, len(ids))
    scale = np.ones(len(ids)) if per_sample_weights is None else per_sample_weights.reshape(-1)
    y = np.zeros((len(edges) - 1, weight.shape[1]))
    for b, (first, last) in enumerate(itertools.pairwise(edges)):
        places = [k for k in range(first, last) if padding_idx is None or ids[k] != padding_idx % len(weight)]
        if places:
            rows = weight[ids[places]] * scale[places][:, None]
            y[b] = {"sum": rows.sum(0), "mean": rows.mean(0), "max": rows.max(0)}[mode]
    return y


# ---------------------------------------------------------------- forward


@cpu_kernel
def _bag_forward_cpu(weight, ids, edges, scale, mode, padding, y, counts, best, start, stop):
    """weight [V, D]; ids [K]; edges [B + 1]; scale [K] or [0]; y [B, D]; counts [B]; best [B, D] for the maximum,
    else [0, 0]. One task a bag.
    """
    d = weight.shape[1]
    for b in range(start, stop):
        count = 0
        for j in range(d):
            y[b, j] = 0
        if mode == MAX:
            for j in range(d):
                best[b, j] = -1
        for k in range(edges[b], edges[b + 1]):
            row = ids[k]
            if row == padding:
                continue
            count += 1
            if mode == MAX:
                for j in range(d):
                    if best[b, j] < 0 or weight[row, j] > y[b, j]:
                        y[b, j] = weight[row, j]
                        best[b, j] = row
            else:
                factor = scale[k] if scale.shape[0] > 0 else weight.dtype.type(1)
                for j in range(d):
                    y[b, j] += factor * weight[row, j]
        if mode == MEAN and count > 0:
            for j in range(d):
                y[b, j] /= weight.dtype.type(count)
        counts[b] = count


@cuda_kernel
def _bag_forward_cuda(weight, ids, edges, scale, mode, padding, y, counts, best):
    """As the CPU twin. One block a bag; a thread owns its columns."""
    b = cuda.blockIdx.x
    count = 0
    for k in range(edges[b], edges[b + 1]):
        if ids[k] != padding:
            count += 1
    for j in range(cuda.threadIdx.x, weight.shape[1], BLOCK):
        value = weight.dtype.type(0)
        chosen = -1
        for k in range(edges[b], edges[b + 1]):
            row = ids[k]
            if row != padding:
                if mode == MAX:
                    if chosen < 0 or weight[row, j] > value:
                        value = weight[row, j]
                        chosen = row
                else:
                    value += (scale[k] if scale.shape[0] > 0 else weight.dtype.type(1)) * weight[row, j]
        if mode == MEAN and count > 0:
            value /= weight.dtype.type(count)
        if mode == MAX:
            best[b, j] = chosen
        y[b, j] = value
    if cuda.threadIdx.x == 0:
        counts[b] = count


bag_forward = Kernel(
    cpu=_bag_forward_cpu,
    cuda=_bag_forward_cuda,
    tasks=lambda weight, ids, edges, *_: edges.shape[0] - 1,
    work=lambda weight, ids, *_: ids.shape[0] * weight.shape[1],
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _bag_rows_cpu(dy, edges, scale, counts, mode, rows, start, stop):
    """dy [B, D]; edges [B + 1]; scale [K] or [0]; counts [B]; rows [K, D]: each place's share. One task a bag."""
    for b in range(start, stop):
        share = dy.dtype.type(1) / dy.dtype.type(max(counts[b], 1)) if mode == MEAN else dy.dtype.type(1)
        for k in range(edges[b], edges[b + 1]):
            factor = share * scale[k] if scale.shape[0] > 0 else share
            for j in range(dy.shape[1]):
                rows[k, j] = factor * dy[b, j]


@cuda_kernel
def _bag_rows_cuda(dy, edges, scale, counts, mode, rows):
    """As the CPU twin. One block a bag."""
    b = cuda.blockIdx.x
    share = dy.dtype.type(1) / dy.dtype.type(max(counts[b], 1)) if mode == MEAN else dy.dtype.type(1)
    for k in range(edges[b], edges[b + 1]):
        factor = share * scale[k] if scale.shape[0] > 0 else share
        for j in range(cuda.threadIdx.x, dy.shape[1], BLOCK):
            rows[k, j] = factor * dy[b, j]


bag_rows = Kernel(
    cpu=_bag_rows_cpu,
    cuda=_bag_rows_cuda,
    tasks=lambda dy, edges, *_: edges.shape[0] - 1,
    work=lambda dy, edges, scale, counts, mode, rows: rows.size,
)


@cpu_kernel
def _bag_best_cpu(dy, best, dweight, start, stop):
    """dy, best [B, D]; dweight [V, D]: what goes to the rows of the maxima. One task a column."""
    for b in range(dy.shape[0]):
        for j in range(start, stop):
            if best[b, j] >= 0:
                dweight[best[b, j], j] += dy[b, j]


@cuda_kernel
def _bag_best_cuda(dy, best, dweight):
    """As the CPU twin. One thread a column."""
    j = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if j < dy.shape[1]:
        for b in range(dy.shape[0]):
            if best[b, j] >= 0:
                dweight[best[b, j], j] += dy[b, j]


bag_best = Kernel(
    cpu=_bag_best_cpu,
    cuda=_bag_best_cuda,
    tasks=lambda dy, best, dweight: dy.shape[1],
    work=lambda dy, best, dweight: dy.size,
    blocks=lambda dy, best, dweight: -(-dy.shape[1] // BLOCK),
)


@cpu_kernel
def _bag_scale_cpu(dy, weight, ids, edges, padding, dscale, start, stop):
    """dy [B, D]; weight [V, D]; ids, dscale [K]; edges [B + 1]: how much each weight of a place counts. One task a
    bag.
    """
    for b in range(start, stop):
        for k in range(edges[b], edges[b + 1]):
            total = dy.dtype.type(0)
            if ids[k] != padding:
                for j in range(dy.shape[1]):
                    total += dy[b, j] * weight[ids[k], j]
            dscale[k] = total


@cuda_kernel
def _bag_scale_cuda(dy, weight, ids, edges, padding, dscale):
    """As the CPU twin. One warp a bag."""
    b = cuda.blockIdx.x
    for k in range(edges[b], edges[b + 1]):
        total = dy.dtype.type(0)
        if ids[k] != padding:
            for j in range(cuda.threadIdx.x, dy.shape[1], WARP):
                total += dy[b, j] * weight[ids[k], j]
        total = warp_sum(total)
        if cuda.threadIdx.x == 0:
            dscale[k] = total


bag_scale = Kernel(
    cpu=_bag_scale_cpu,
    cuda=_bag_scale_cuda,
    tasks=lambda dy, weight, ids, edges, *_: edges.shape[0] - 1,
    work=lambda dy, weight, ids, *_: ids.shape[0] * dy.shape[1],
    threads=WARP,
)

# ---------------------------------------------------------------- autograd


class EmbeddingBagOp(Op):
    """Saves the table only where the weights of places have gradients."""

    @staticmethod
    def forward(ctx: Context, weight, scale, ids, edges, mode, padding, by_frequency):
        table = arrays.contiguous(weight)
        bags, d = len(edges) - 1, weight.shape[1]
        y, counts = memory.empty((bags, d), weight.dtype), memory.empty(bags, np.int64)
        best = memory.empty((bags, d) if mode == MAX else (0, 0), np.int64)
        factors = NO_WEIGHTS[weight.dtype] if scale is None else arrays.contiguous(scale).reshape(-1)
        bag_forward(table, ids, edges, factors, mode, padding, y, counts, best)
        ctx.save(*([table, factors] if scale is not None else []))
        ctx.options = ids, edges, mode, padding, by_frequency, counts, best
        ctx.shapes = weight.shape, None if scale is None else scale.shape
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        ids, edges, mode, padding, by_frequency, counts, best = ctx.options
        (v, d), scale_shape = ctx.shapes
        dy = arrays.contiguous(dy)
        factors = NO_WEIGHTS[dy.dtype] if scale_shape is None else ctx.saved[1]
        dweight = dscale = None
        if ctx.needs_input_grad[0]:
            dweight = arrays.full((v, d), 0, dy.dtype)
            if mode == MAX:
                bag_best(dy, best, dweight)
            elif len(ids):
                rows = memory.empty((len(ids), d), dy.dtype)
                bag_rows(dy, edges, factors, counts, mode, rows)
                if by_frequency:
                    divide_rows(rows, ids, np.bincount(ids, minlength=v), rows)
                add_rows(rows.reshape(1, -1, d), ids, dweight.reshape(1, v, d), skip=padding)
        if ctx.needs_input_grad[1]:
            dscale = memory.empty(len(ids), dy.dtype)
            bag_scale(dy, ctx.saved[0], ids, edges, padding, dscale)
            dscale = dscale.reshape(scale_shape)
        return dweight, dscale, None, None, None, None, None


# ---------------------------------------------------------------- public


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    r"""Sums, averages or maximizes the vectors of the ids of each bag: one vector a bag.

    $y_b = \sum_k w_k W_{t_k}$, the mean, or the elementwise maximum, over the places k of bag b.

    Args:
        input: [B, K] ids, one bag a row; or [K] ids with `offsets`. Integers in [0, V).
        weight: [V, D], float32 or float64: the table.
        offsets: [B] integers, ascending from 0: where each bag begins in [K]. Equal neighbours make an empty bag.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it, in the table itself.
        norm_type: The order of that norm; infinity for the largest element, minus infinity for the smallest, 0 for the
            number of elements other than 0.
        scale_grad_by_freq: Divide each row's gradient by how often its id occurs in the input; not for the maximum.
        mode: "sum", "mean" or "max".
        sparse: Not available: gradients are dense.
        per_sample_weights: Weights of the shape of input and the dtype of the table, for "sum" only.
        include_last_offset: Whether offsets [B + 1] end with the end of the last bag.
        padding_idx: An id whose places do not count; negative ones count from the end.

    Returns:
        [B, D], dtype of the table; 0 for empty bags.

    Raises:
        DTypeError: Ids or offsets are not integers, or the dtypes of table and weights are not floating-point and one.
        ShapeError: A shape does not fit, or offsets are missing for [K] or given for [B, K].
        IndexRangeError: An id is out of range; negative ids are.
        ArgumentError: Offsets do not ascend from 0 to at most K, or options that do not go together.

    Gradient:
        For weight and per_sample_weights.

    Example:
        >>> table = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> nbdl.ops.embedding_bag(nbdl.tensor([[0, 1], [1, 1]]), table)
        tensor([[2., 3.],
                [3., 4.]])

    Source:
        Joulin, Grave, Bojanowski and Mikolov (2017), "Bag of Tricks for Efficient Text Classification".
    """
    for name, value in (("input", input), ("weight", weight)):
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    check_rank("weight", check_float("weight", weight), 2)
    check_rank("input", input, 1, 2)
    number = MODES[check_choice("mode", mode, MODES)]
    if sparse:
        raise ArgumentError("sparse: expected False, gradients are dense")
    if scale_grad_by_freq and number == MAX:
        raise ArgumentError("scale_grad_by_freq: expected False with mode 'max', got True")
    if per_sample_weights is not None:
        if number != SUM:
            raise ArgumentError(f"per_sample_weights: expected mode 'sum' with weights, got mode {mode!r}")
        check_same_dtype("per_sample_weights", check_float("per_sample_weights", per_sample_weights), "weight", weight)
        if per_sample_weights.shape != input.shape:
            got = list(per_sample_weights.shape)
            raise ShapeError(f"per_sample_weights: expected shape {list(input.shape)}, the input's, got {got}")
    v = weight.shape[0]
    padding = -1 if padding_idx is None else check_int("padding_idx", padding_idx, -v, v - 1) % v
    edges = _edges(input, offsets, include_last_offset)
    ids = row_numbers("input", input._array, v)
    if max_norm is not None:
        limit_norms(weight, ids, max_norm, norm_type)
    return EmbeddingBagOp.apply(weight, per_sample_weights, ids, edges, number, padding, bool(scale_grad_by_freq))


def _edges(input: Tensor, offsets: Any, include_last: bool) -> np.ndarray:
    """Where each bag begins and the last one ends, int64 [B + 1]."""
    if input.ndim == 2:
        if offsets is not None:
            raise ShapeError("offsets: expected None for an input of two dimensions, whose rows are the bags")
        return np.arange(input.shape[0] + 1) * input.shape[1]
    if not isinstance(offsets, Tensor):
        raise ArgumentTypeError(f"offsets: expected a Tensor for an input of one dimension, got {offsets!r}")
    if offsets.dtype.kind not in "iu":
        raise DTypeError(f"offsets: expected integers, got {offsets.dtype}")
    begins = np.asarray(check_rank("offsets", offsets, 1).detach().to("cpu")).astype(np.int64)
    if include_last and len(begins) == 0:
        raise ShapeError("offsets: expected at least one with include_last_offset, got none")
    edges = begins if include_last else np.append(begins, input.shape[0])
    if len(begins) and (begins[0] != 0 or (np.diff(edges) < 0).any() or edges[-1] > input.shape[0]):
        expected = f"integers that ascend from 0 to at most {input.shape[0]}, the number of ids"
        raise ArgumentError(f"offsets: expected {expected}, got {begins.tolist()}")
    return edges
