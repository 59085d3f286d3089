r"""Sums of products that have names of their own: tensordot, inner, kron, trace, cross and matrix powers.

$$\text{tensordot: } Y_{ij} = \sum_k A_{ik} B_{kj}, \quad i, j, k \text{ any dimensions}, \qquad
\text{kron: } Y_{(ij)(kl)} = A_{ik} B_{jl}, \qquad
\text{cross: } y = (a_2 b_3 - a_3 b_2,\; a_3 b_1 - a_1 b_3,\; a_1 b_2 - a_2 b_1)$$

They are made of `matmul`, products of elements and views, and the gradients come from those. The references are NumPy's
functions of the same names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops.creation.matrices import eye
from nbdl.ops.elementwise.arithmetic import mul, sub
from nbdl.ops.matmul.products import matmul
from nbdl.ops.reduction.sums import sum
from nbdl.ops.shape.diagonals import diagonal
from nbdl.ops.shape.rearranging import roll
from nbdl.ops.shape.views import broadcast_tensors, expand, permute, reshape
from nbdl.runtime.checks import check_dim, check_dims, check_float, check_int, check_rank, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ShapeError

# ---------------------------------------------------------------- contractions


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over several dimensions of two tensors.

    Args:
        a: [*], float32 or float64.
        b: [*], dtype of a.
        dims: How many of the last dimensions of a meet the first of b; or two lists, the dimensions of a and of b.

    Returns:
        The remaining dimensions of a, then those of b.

    Raises:
        ShapeError: Sizes of dimensions that meet differ and neither is 1.
        ArgumentError: The lists differ in length, or a number is negative or too large.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.tensordot(nbdl.ones(2, 3, 4), nbdl.ones(4, 3, 5), dims=([1, 2], [1, 0])).shape
        (2, 5)
    """
    check_same_dtype("b", b, "a", check_float("a", a))
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (tuple, list)) and len(dims) == 2:
        of_a, of_b = (_dims(name, given, x) for name, given, x in (("dims[0]", dims[0], a), ("dims[1]", dims[1], b)))
    else:
        count = check_int("dims", dims[0] if isinstance(dims, (tuple, list)) else dims, 0, min(a.ndim, b.ndim))
        of_a, of_b = tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    if len(of_a) != len(of_b):
        raise ArgumentError(f"dims: expected two lists of one length, got {list(of_a)} and {list(of_b)}")
    for i, j in zip(of_a, of_b, strict=True):
        if a.shape[i] != b.shape[j]:
            if 1 not in (a.shape[i], b.shape[j]):
                raise ShapeError(
                    f"b: expected size {a.shape[i]} in dimension {j}, that of dimension {i} of a, got {list(b.shape)}"
                )
            if a.shape[i] == 1:  # one element times all of them: their sum
                b = sum(b, j, keepdim=True)
            else:
                a = sum(a, i, keepdim=True)
    free_a = [i for i in range(a.ndim) if i not in of_a]
    free_b = [j for j in range(b.ndim) if j not in of_b]
    shape = [a.shape[i] for i in free_a] + [b.shape[j] for j in free_b]
    inner = math.prod(a.shape[i] for i in of_a)
    left = reshape(permute(a, (*free_a, *of_a)), (math.prod(a.shape[i] for i in free_a), inner))
    right = reshape(permute(b, (*of_b, *free_b)), (inner, math.prod(b.shape[j] for j in free_b)))
    return reshape(matmul(left, right), shape)


def _dims(name: str, dims: Any, x: Tensor) -> tuple[int, ...]:
    listed = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    return check_dims(name, listed, x.ndim) if listed else ()


def inner(input: Tensor, other: Tensor) -> Tensor:
    r"""The sums of products over the last dimension of two tensors: $y_{ij} = \sum_k a_{ik} b_{jk}$.

    Args:
        input: [*, K], float32 or float64; without dimensions it is a factor.
        other: [*, K], dtype of the input.

    Returns:
        The leading dimensions of the input, then those of other.

    Raises:
        ShapeError: The last sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.inner(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]), nbdl.tensor([1.0, 1.0]))
        tensor([3., 7.])
    """
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(f"other: expected {input.shape[-1]} elements in the last dimension, got {list(other.shape)}")
    return tensordot(input, other, ([-1], [-1]))


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of one tensor replaced by itself times the whole of the other.

    Args:
        input: [*], any dtype.
        other: [*], any dtype; the lower rank gets leading dimensions of size 1.

    Returns:
        The product of the sizes in each dimension; the dtype that both promote to.

    Gradient:
        For both.

    Example:
        >>> nbdl.kron(nbdl.tensor([1, 2]), nbdl.tensor([1, 10]))
        tensor([ 1, 10,  2, 20])
    """
    rank = max(input.ndim, other.ndim)
    a, b = ((1,) * (rank - x.ndim) + tuple(x.shape) for x in (input, other))
    spread = reshape(input, [size for n in a for size in (n, 1)])
    repeated = reshape(other, [size for n in b for size in (1, n)])
    return reshape(mul(spread, repeated), [n * m for n, m in zip(a, b, strict=True)])


def trace(input: Tensor) -> Tensor:
    r"""The sum of the elements on the diagonal of a matrix, $\sum_i x_{ii}$.

    Args:
        input: [N, M], any dtype.

    Returns:
        [], int64 for integers.

    Raises:
        ShapeError: The input is no matrix.

    Gradient:
        For input: dy on the diagonal, zero elsewhere.

    Example:
        >>> nbdl.trace(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(5.)
    """
    return sum(diagonal(check_rank("input", input, 2)))


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    r"""The cross product of vectors of three elements, at right angles to both.

    Args:
        input: [*, 3, *], any dtype.
        other: A shape that broadcasts with the input.
        dim: The dimension of the vectors; when None the first one of size 3.

    Returns:
        [*, 3, *], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The dimension has another size, the ranks differ, or the shapes do not broadcast.
        IndexRangeError: There is no such dimension.

    Gradient:
        For both: $da = b \times dy$ and $db = dy \times a$.

    Example:
        >>> nbdl.cross(nbdl.tensor([1.0, 0.0, 0.0]), nbdl.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise ShapeError(f"other: expected {input.ndim} dimensions, as input has, got shape {list(other.shape)}")
    if dim is None:
        if 3 not in input.shape:
            raise ShapeError(f"input: expected a dimension of size 3, got shape {list(input.shape)}")
        dim = tuple(input.shape).index(3)
    dim = check_dim("dim", dim, input.ndim)
    for name, x in (("input", input), ("other", other)):
        if x.shape[dim : dim + 1] != (3,):
            raise ShapeError(f"{name}: expected size 3 in dimension {dim}, got shape {list(x.shape)}")
    a, b = broadcast_tensors(input, other)
    return sub(mul(roll(a, -1, dim), roll(b, -2, dim)), mul(roll(a, -2, dim), roll(b, -1, dim)))


# ---------------------------------------------------------------- products of many matrices


def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices multiplied by themselves: n factors, found by repeated squaring.

    Args:
        input: [*, N, N], float32 or float64.
        n: How many factors, at least 0; with 0 the identity.

    Returns:
        [*, N, N].

    Raises:
        ShapeError: The matrices are not square.
        ArgumentError: n is negative.
        DTypeError: The input is not floating point.

    Gradient:
        For input.

    Example:
        >>> nbdl.matrix_power(nbdl.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
        tensor([[1., 3.],
                [0., 1.]])
    """
    check_float("input", input)
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise ShapeError(f"input: expected square matrices [*, N, N], got shape {list(input.shape)}")
    n = check_int("n", n, 0)
    result: Tensor | None = None
    square = input
    while n:
        if n % 2:
            result = square if result is None else matmul(result, square)
        n //= 2
        square = matmul(square, square) if n else square
    return expand(eye(input.shape[-1], dtype=input.dtype), input.shape).clone() if result is None else result


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, multiplied in the cheapest order.

    Args:
        matrices: [N_0, N_1], [N_1, N_2], ..., float32 or float64, of one dtype.

    Returns:
        [N_0, N_k].

    Raises:
        ShapeError: An operand is no matrix, or neighbouring sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For all.

    Example:
        >>> nbdl.chain_matmul(nbdl.ones(1, 2), nbdl.ones(2, 3), nbdl.ones(3, 1))
        tensor([[6.]])
    """
    if not matrices:
        raise ArgumentError("matrices: expected at least one matrix, got none")
    for position, matrix in enumerate(matrices):
        check_float(f"matrices[{position}]", check_rank(f"matrices[{position}]", matrix, 2))
    return _multiplied(
        matrices, 0, len(matrices), _cheapest_cuts([m.shape[0] for m in matrices] + [matrices[-1].shape[1]])
    )


def _cheapest_cuts(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """For each run of matrices [first, last), where to cut it in two; matrix k is [sizes[k], sizes[k + 1]]."""
    count = len(sizes) - 1
    cost = {(k, k + 1): 0 for k in range(count)}
    cuts = {}
    for length in range(2, count + 1):
        for first in range(count - length + 1):
            last = first + length
            costs = {
                cut: cost[first, cut] + cost[cut, last] + sizes[first] * sizes[cut] * sizes[last]
                for cut in range(first + 1, last)
            }
            cuts[first, last] = min(costs, key=costs.__getitem__)
            cost[first, last] = costs[cuts[first, last]]
    return cuts


def _multiplied(matrices: Sequence[Tensor], first: int, last: int, cuts: dict[tuple[int, int], int]) -> Tensor:
    if last - first == 1:
        return matrices[first]
    cut = cuts[first, last]
    return matmul(_multiplied(matrices, first, cut, cuts), _multiplied(matrices, cut, last, cuts))
