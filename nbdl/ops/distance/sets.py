r"""The distances of every vector of one set from every vector of another.

$$y_{ij} = \Big( \sum_d |\delta_{ijd}|^p \Big)^{1/p}, \qquad \delta_{ijd} = a_{id} - b_{jd},$$

for $p = 0$ the number of elements that differ, for $p = \infty$ the largest $|\delta|$. Backward:

$$
da_{id} = \sum_j dy_{ij}\, s_{ijd}, \qquad db_{jd} = -\sum_i dy_{ij}\, s_{ijd}, \qquad
s_{ijd} = \operatorname{sign}(\delta_{ijd}) \Big( \frac{|\delta_{ijd}|}{y_{ij}} \Big)^{p - 1},
$$

0 where $y_{ij} = 0$; for $p = 0$ always 0, for $p = \infty$ the sign wherever $|\delta_{ijd}| = y_{ij}$. Differences
are made where they are used and never lie in memory: there are P R D of them.

Letters: B pairs of sets, P and R vectors, D the size of a vector.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.layout import broadcast_shape, repeated, sum_to
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_choice, check_float, check_number, check_rank, check_same_dtype
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

__all__ = ["cdist", "pdist"]

# ---------------------------------------------------------------- reference


def cdist_reference(x1, x2, p=2.0):
    """The definition, in float64: x1 [*, P, D], x2 [*, R, D] -> [*, P, R]."""
    return np.linalg.norm(x1[..., :, None, :] - x2[..., None, :, :], p, axis=-1)


def pdist_reference(input, p=2.0):
    """The definition, in float64: [N, D] -> [N (N - 1) / 2]."""
    first, second = np.triu_indices(input.shape[0], 1)
    return np.linalg.norm(input[first] - input[second], p, axis=-1)


# ---------------------------------------------------------------- the norms: a term, the root, and the slope


@scalar
def _sign(x):
    return type(x)(1) if x > type(x)(0) else type(x)(-1) if x < type(x)(0) else x


@scalar
def _add_unequal(total, difference, p):
    return total + (type(total)(1) if difference != type(total)(0) else type(total)(0))


@scalar
def _add_size(total, difference, p):
    return total + abs(difference)


@scalar
def _add_square(total, difference, p):
    return total + difference * difference


@scalar
def _add_power(total, difference, p):
    return total + abs(difference) ** p


@scalar
def _add_larger(total, difference, p):
    size = abs(difference)
    return size if size > total or size != size else total  # NaN stays


@scalar
def _total(total, p):
    return total


@scalar
def _square_root(total, p):
    return math.sqrt(total)


@scalar
def _root(total, p):
    return total ** (type(total)(1) / p)


@scalar
def _slope_0(difference, distance, p):
    return type(difference)(0)


@scalar
def _slope_1(difference, distance, p):
    return _sign(difference)


@scalar
def _slope_2(difference, distance, p):
    return difference / distance


@scalar
def _slope_power(difference, distance, p):
    if difference == type(difference)(0):
        return type(difference)(0)
    return _sign(difference) * (abs(difference) / distance) ** (p - type(p)(1))


@scalar
def _slope_largest(difference, distance, p):
    return _sign(difference) if abs(difference) == distance else type(difference)(0)


# ---------------------------------------------------------------- kernels


def _forward_kernel(name: str, add: Any, root: Any) -> Kernel:
    def forward_cpu(x1, x2, p, y, start, stop):
        """x1 [B, P, D], x2 [B, R, D], y [B, P, R]. One task a vector of x1."""
        for task in range(start, stop):
            batch, i = task // x1.shape[1], task % x1.shape[1]
            for j in range(x2.shape[1]):
                total = x1.dtype.type(0)
                for d in range(x1.shape[2]):
                    total = add(total, x1[batch, i, d] - x2[batch, j, d], p)
                y[batch, i, j] = root(total, p)

    def forward_cuda(x1, x2, p, y):
        """As the CPU twin. One thread a distance."""
        index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if index < y.size:
            vector, j = index // y.shape[2], index % y.shape[2]
            batch, i = vector // y.shape[1], vector % y.shape[1]
            total = x1.dtype.type(0)
            for d in range(x1.shape[2]):
                total = add(total, x1[batch, i, d] - x2[batch, j, d], p)
            y[batch, i, j] = root(total, p)

    forward_cpu.__name__, forward_cuda.__name__ = f"_cdist_{name}_cpu", f"_cdist_{name}_cuda"
    return Kernel(
        cpu=cpu_kernel(forward_cpu),
        cuda=cuda_kernel(forward_cuda),
        tasks=lambda x1, x2, p, y: y.shape[0] * y.shape[1],
        work=lambda x1, x2, p, y: y.size * x1.shape[2],
        blocks=lambda x1, x2, p, y: -(-y.size // BLOCK),
    )


def _backward_kernel(name: str, slope: Any) -> Kernel:
    def backward_cpu(dy, y, x1, x2, p, dx, start, stop):
        """dy, y [B, P, R]; x1, dx [B, P, D]; x2 [B, R, D]. One task a vector of x1."""
        for task in range(start, stop):
            batch, i = task // x1.shape[1], task % x1.shape[1]
            for d in range(x1.shape[2]):
                dx[batch, i, d] = 0
            for j in range(x2.shape[1]):
                weight, distance = dy[batch, i, j], y[batch, i, j]
                if distance != type(distance)(0):
                    for d in range(x1.shape[2]):
                        dx[batch, i, d] += weight * slope(x1[batch, i, d] - x2[batch, j, d], distance, p)

    def backward_cuda(dy, y, x1, x2, p, dx):
        """As the CPU twin. One thread an element of dx."""
        index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if index < dx.size:
            vector, d = index // dx.shape[2], index % dx.shape[2]
            batch, i = vector // dx.shape[1], vector % dx.shape[1]
            total = x1.dtype.type(0)
            for j in range(x2.shape[1]):
                distance = y[batch, i, j]
                if distance != type(distance)(0):
                    total += dy[batch, i, j] * slope(x1[batch, i, d] - x2[batch, j, d], distance, p)
            dx[batch, i, d] = total

    backward_cpu.__name__, backward_cuda.__name__ = f"_cdist_{name}_backward_cpu", f"_cdist_{name}_backward_cuda"
    return Kernel(
        cpu=cpu_kernel(backward_cpu),
        cuda=cuda_kernel(backward_cuda),
        tasks=lambda dy, y, x1, *_: x1.shape[0] * x1.shape[1],
        work=lambda dy, y, x1, *_: dy.size * x1.shape[2],
        blocks=lambda dy, y, x1, *_: -(-x1.size // BLOCK),
    )


def _kernels(name: str, add: Any, root: Any, slope: Any) -> tuple[Kernel, Kernel]:
    return _forward_kernel(name, add, root), _backward_kernel(name, slope)


with_power = _kernels("power", _add_power, _root, _slope_power)
by_exponent = {
    0.0: _kernels("unequal", _add_unequal, _total, _slope_0),
    1.0: _kernels("size", _add_size, _total, _slope_1),
    2.0: _kernels("square", _add_square, _square_root, _slope_2),
    math.inf: _kernels("largest", _add_larger, _total, _slope_largest),
}

# ---------------------------------------------------------------- autograd


class CdistOp(Op):
    """y = cdist(x1, x2) of sets [B, P, D] and [B, R, D]. Saves both and y."""

    @staticmethod
    def forward(ctx: Context, x1, x2, p):
        ctx.lead = broadcast_shape(x1.shape[:-2], x2.shape[:-2])
        ctx.shapes, ctx.p = (x1.shape, x2.shape), x1.dtype.type(p)
        forward_kernel, ctx.backward_kernel = by_exponent.get(float(p), with_power)
        x1, x2 = _sets(x1, ctx.lead), _sets(x2, ctx.lead)
        y = ctx.empty(len(x1), x1.shape[1], x2.shape[1], dtype=x1.dtype)
        if y.size:
            forward_kernel(x1, x2, ctx.p, y)
        ctx.save(x1, x2, y)
        return y.reshape(*ctx.lead, *y.shape[1:])

    @staticmethod
    def backward(ctx: Context, dy):
        x1, x2, y = ctx.saved
        dy = arrays.contiguous(dy).reshape(y.shape)
        dx1 = dx2 = None
        if ctx.needs_input_grad[0]:
            dx1 = _gradient(ctx, dy, y, x1, x2, ctx.shapes[0])
        if ctx.needs_input_grad[1]:  # the second set's distances from the first are the same ones
            dy, y = (arrays.contiguous(array.transpose(0, 2, 1)) for array in (dy, y))
            dx2 = _gradient(ctx, dy, y, x2, x1, ctx.shapes[1])
        return dx1, dx2, None


def _sets(x: Any, lead: tuple[int, ...]) -> Any:
    """[*, N, D] as [B, N, D], repeated to the leading sizes."""
    return repeated(x, (*lead, *x.shape[-2:])).reshape(math.prod(lead), *x.shape[-2:])


def _gradient(ctx: Context, dy: Any, y: Any, x1: Any, x2: Any, shape: tuple[int, ...]) -> Any:
    dx = ctx.empty_like(x1)
    if dx.size:
        ctx.backward_kernel(dy, y, x1, x2, ctx.p, dx)
    return sum_to(dx.reshape(*ctx.lead, *dx.shape[1:]), shape)


# ---------------------------------------------------------------- public

COMPUTE_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    r"""The distances of every vector of one set from every vector of another: $y_{ij} = \lVert a_i - b_j \rVert_p$.

    Args:
        x1: [*, P, D], float32 or float64.
        x2: [*, R, D], dtype of x1; the leading sizes broadcast to each other.
        p: The exponent of the norm, at least 0.
        compute_mode: Accepted for PyTorch's sake: distances are always computed from differences, which keeps every
            digit of small ones.

    Returns:
        [*, P, R].

    Raises:
        ShapeError: A tensor has fewer than two dimensions, the vectors' sizes differ, or the shapes do not broadcast.
        DTypeError: The dtypes differ, or are not floating point.
        ArgumentError: p is negative.

    Gradient:
        For x1 and x2; 0 where the distance is 0.

    Example:
        >>> nbdl.cdist(nbdl.tensor([[0.0, 0.0]]), nbdl.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[5., 1.]])
    """
    check_same_dtype("x2", x2, "x1", check_float("x1", x1))
    _check_exponent(p)
    check_choice("compute_mode", compute_mode, (*COMPUTE_MODES, None))
    for name, x in (("x1", x1), ("x2", x2)):
        if x.ndim < 2:
            raise ShapeError(f"{name}: expected at least 2 dimensions, got shape {list(x.shape)}")
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"x2: expected vectors of {x1.shape[-1]} elements, as in x1, got shape {list(x2.shape)}")
    return CdistOp.apply(x1, x2, p)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    r"""The distances of every two vectors of one set: $\lVert a_i - a_j \rVert_p$ for all $i < j$, row by row.

    Args:
        input: [N, D], float32 or float64.
        p: The exponent of the norm, at least 0.

    Returns:
        [N (N - 1) / 2].

    Raises:
        ShapeError: The input has not two dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: p is negative.

    Gradient:
        For input; 0 where the distance is 0.

    Example:
        >>> nbdl.ops.pdist(nbdl.tensor([[0.0], [1.0], [3.0]]))
        tensor([1., 3., 2.])
    """
    count = check_rank("input", check_float("input", input), 2).shape[0]
    _check_exponent(p)
    first, second = np.triu_indices(count, 1)
    return CdistOp.apply(input, input, p).reshape(count * count).index_select(0, Tensor(first * count + second))


def _check_exponent(p: float) -> None:
    if p != math.inf:
        check_number("p", p, 0)
