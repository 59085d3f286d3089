r"""Rotary position embedding: pairs of features turned by an angle that grows with the position.

A row $x$ of D features at position p is $D/2$ points of the plane, point i turned by $p\,\theta_i$:

$$
\theta_i = b^{-2i/D}, \qquad
\begin{pmatrix} y_{i} \\ y_{i'} \end{pmatrix} =
\begin{pmatrix} \cos p\theta_i & -\sin p\theta_i \\ \sin p\theta_i & \cos p\theta_i \end{pmatrix}
\begin{pmatrix} x_{i} \\ x_{i'} \end{pmatrix}
$$

The base $b$ is 10,000. The partner of feature i is $i' = i + D/2$ in the layout of GPT-NeoX and Llama, and in the
interleaved one of the original the points are the pairs (0, 1), (2, 3), and so on. A rotation keeps lengths, and the
product of a query at p and a key at q depends on $p - q$ alone:

$$(R_p\, q)^\top (R_q\, k) = q^\top R_{q-p}\, k$$

Backward: the inverse of a rotation is the rotation by the opposite angle, $dx = R_{-p}\, dy$; the same kernel does it.

Angles are counted in turns, $p\,\theta_i / 2\pi$, whose fraction is found without rounding: at position 100,000 a
float32 angle has two decimals left, this one all of them.

Letters: B batch, H heads, T time, D features. Source: Su, Lu, Pan, Wen and Liu (2021), "RoFormer: Enhanced Transformer
with Rotary Position Embedding", equations 15 and 34.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.runtime import arrays, memory
from nbdl.runtime.arrays import dense_order, inverse
from nbdl.runtime.checks import check_float, check_int, check_integer, check_number
from nbdl.runtime.dtypes import kernel_dtype
from nbdl.runtime.errors import IndexRangeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact
from nbdl.runtime.vecmath import cos_turn, fma, sin_turn

FARTHEST = 1 << 22
"""Positions are smaller: float32 holds their integers and the fraction of a turn beside them."""

RECENT = 16
"""Tables of angles that are kept: layers ask for the same ones again and again."""

# ---------------------------------------------------------------- reference


def rotary_embedding_reference(x, positions=None, base=10000.0, interleaved=False):
    """The definition, in float64: complex numbers times $e^{i p \\theta}$."""
    length, half = x.shape[-2], x.shape[-1] // 2
    if positions is None or np.ndim(positions) == 0:
        positions = np.arange(length) + (0 if positions is None else int(positions))
    angles = np.asarray(positions)[..., None] * base ** (-np.arange(half) / max(half, 1))
    if angles.ndim == 3:  # one list of positions for each item of the batch, whatever lies between
        angles = angles.reshape(len(angles), *(1,) * (x.ndim - 3), length, half)
    first, second = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = (first + 1j * second) * np.exp(1j * angles)
    if interleaved:
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape)
    return np.concatenate([turned.real, turned.imag], -1)


# ---------------------------------------------------------------- angles


@exact
def _fraction_of_turns(position, high, low):
    """position (high + low), less its whole turns: the product's rounding error is found by `fma` and added back."""
    turns = position * high
    rest = fma(position, high, -turns)
    return (turns - type(turns)(math.floor(turns))) + fma(position, low, rest)


@cpu_kernel
def _rotary_angles_cpu(positions, high, low, cosine, sine, start, stop):
    """positions [P]; high, low [K], turns a position in two parts; cosine, sine [P, K]. One task a position."""
    k = np.uint64(high.shape[0])
    for p in range(start, stop):
        position = high.dtype.type(positions[p])
        for i in range(k):
            turn = _fraction_of_turns(position, high[i], low[i])
            cosine[p, i] = cos_turn(turn)
            sine[p, i] = sin_turn(turn)


@cuda_kernel
def _rotary_angles_cuda(positions, high, low, cosine, sine):
    """As the CPU twin. One block a position."""
    p = cuda.blockIdx.x
    position = high.dtype.type(positions[p])
    for i in range(cuda.threadIdx.x, high.shape[0], BLOCK):
        turn = _fraction_of_turns(position, high[i], low[i])
        cosine[p, i] = cos_turn(turn)
        sine[p, i] = sin_turn(turn)


rotary_angles = Kernel(
    cpu=_rotary_angles_cpu,
    cuda=_rotary_angles_cuda,
    tasks=lambda positions, *_: positions.shape[0],
    work=lambda positions, high, *_: 32 * positions.shape[0] * high.shape[0],
)


@functools.lru_cache(maxsize=RECENT)
def _rates(half: int, base: float, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Turns a position of each point, as a number of the dtype and what is missing."""
    exactly = [base ** (-i / half) / (2 * math.pi) for i in range(half)]
    high = np.array(exactly, dtype)
    return high, np.array([rate - float(rounded) for rate, rounded in zip(exactly, high, strict=True)], dtype)


def _table(positions: Any, half: int, base: float, dtype: np.dtype) -> tuple[Any, Any]:
    """The cosines and sines for positions [P], both [P, half]."""
    cosine, sine = memory.empty((2, len(positions), half), dtype)
    if cosine.size:
        rotary_angles(positions, *_rates(half, base, dtype), cosine, sine)
    return cosine, sine


@functools.lru_cache(maxsize=RECENT)
def _consecutive_table(first: int, length: int, half: int, base: float, dtype: np.dtype) -> tuple[Any, Any]:
    return _table(np.arange(first, first + length), half, base, dtype)


# ---------------------------------------------------------------- rotation, forward and backward

(A, B, T, HALF, X_A, X_B, X_T, Y_A, Y_B, Y_T, TABLE_A, INTERLEAVED) = range(12)
"""What `sizes` holds: sizes of x, its steps and those of y in elements, rows of the table between items of a batch."""


@cpu_kernel
def _rotate_cpu(x, cosine, sine, sign, y, sizes, start, stop):
    """x, y flat, rows of D features in [A, B, T, D]; cosine, sine [P, D/2]; sign -1 turns back. One task a row.

    Indices are unsigned: a signed one might be negative, count from the end, and the loop would not vectorise.
    """
    half, interleaved, middle, length = np.uint64(sizes[HALF]), sizes[INTERLEAVED] != 0, sizes[B], sizes[T]
    x_a, x_b, x_t, y_a, y_b, y_t = sizes[X_A], sizes[X_B], sizes[X_T], sizes[Y_A], sizes[Y_B], sizes[Y_T]
    table_a = sizes[TABLE_A]
    for task in range(start, stop):
        a, b, t = task // length // middle, task // length % middle, task % length
        source = np.uint64(a * x_a + b * x_b + t * x_t)
        target = np.uint64(a * y_a + b * y_b + t * y_t)
        row = np.uint64(a * table_a + t)
        if interleaved:
            for i in range(half):
                c, s = cosine[row, i], sign * sine[row, i]
                left, right = x[source + i + i], x[source + i + i + np.uint64(1)]
                y[target + i + i] = left * c - right * s
                y[target + i + i + np.uint64(1)] = right * c + left * s
        else:
            for i in range(half):
                c, s = cosine[row, i], sign * sine[row, i]
                left, right = x[source + i], x[source + half + i]
                y[target + i] = left * c - right * s
                y[target + half + i] = right * c + left * s


@cuda_kernel
def _rotate_cuda(x, cosine, sine, sign, y, sizes):
    """As the CPU twin. One block a row."""
    task = cuda.blockIdx.x
    half = sizes[HALF]
    a, b, t = task // (sizes[B] * sizes[T]), task // sizes[T] % sizes[B], task % sizes[T]
    source = a * sizes[X_A] + b * sizes[X_B] + t * sizes[X_T]
    target = a * sizes[Y_A] + b * sizes[Y_B] + t * sizes[Y_T]
    row = a * sizes[TABLE_A] + t
    step, apart = (2, 1) if sizes[INTERLEAVED] else (1, half)
    for i in range(cuda.threadIdx.x, half, BLOCK):
        c, s = cosine[row, i], sign * sine[row, i]
        left, right = x[source + step * i], x[source + step * i + apart]
        y[target + step * i] = left * c - right * s
        y[target + step * i + apart] = right * c + left * s


rotate = Kernel(
    cpu=_rotate_cpu,
    cuda=_rotate_cuda,
    tasks=lambda x, cosine, sine, sign, y, sizes: int(sizes[A] * sizes[B] * sizes[T]),
    work=lambda x, cosine, sine, sign, y, sizes: 2 * y.size,
)


def rotated(x: Any, table: tuple[Any, Any], sign: int, interleaved: bool) -> Any:
    """x [..., T, D] turned by the angles of a table, or back; the result lies in memory in the order of x.

    The table has a row for each place in time, or a list of those for each item of the first dimension.
    """
    order = None if x.flags.c_contiguous else dense_order(x)
    if order is not None and order[-1] == x.ndim - 1:
        y = memory.empty(tuple([x.shape[axis] for axis in order]), x.dtype).transpose(inverse(order))
    else:
        y = memory.empty(x.shape, x.dtype)
    if not y.size:
        return y
    sizes, x_steps, y_steps = _four_dimensions(x, y)
    if sizes is None:
        x = arrays.contiguous(x)
        return rotated(x, table, sign, interleaved)
    rows, half = table[0].shape
    numbers = (*sizes, half, *x_steps, *y_steps, 0 if rows == sizes[2] else sizes[2], interleaved)
    rotate(_flat(x), *table, x.dtype.type(sign), _flat(y), np.array(numbers, np.int64))
    return y


def _four_dimensions(x: Any, y: Any) -> tuple[Any, ...]:
    """Sizes A, B and T and the steps of both arrays along them, in elements; None if x does not lie so."""
    item = x.itemsize
    if x.strides[-1] != item or any(step < 0 or step % item for step in x.strides):
        return None, None, None
    middle, steps = arrays.collapse(x.shape[1:-2], x.strides[1:-2], y.strides[1:-2])
    if len(middle) > 1:
        return None, None, None
    batch = x.shape[0] if x.ndim > 2 else 1
    listed = [
        [
            array.strides[0] // item if array.ndim > 2 else 0,
            between[0] // item if between else 0,
            array.strides[-2] // item,
        ]
        for array, between in zip((x, y), steps, strict=True)
    ]
    return (batch, middle[0] if middle else 1, x.shape[-2]), *listed


def _flat(x: Any) -> Any:
    """The memory of x from its first element to its last, as one dimension. The strides are not negative."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    extent = sum((size - 1) * step for size, step in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    return arrays.strided(x, (extent,), (x.itemsize,))


# ---------------------------------------------------------------- autograd


class RotaryOp(Op):
    """y = x turned by the angles of a table: keeps the table alone."""

    @staticmethod
    def forward(ctx: Context, x, table, interleaved):
        ctx.table, ctx.interleaved = table, interleaved
        return rotated(x, table, 1, interleaved)

    @staticmethod
    def backward(ctx: Context, dy):
        return rotated(dy, ctx.table, -1, ctx.interleaved), None, None


# ---------------------------------------------------------------- public


def rotary_embedding(
    x: Tensor,
    positions: Tensor | int | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> Tensor:
    r"""Turns pairs of features by angles that grow with the position, each pair at its own rate.

    $(y_i, y_{i'})$ is $(x_i, x_{i'})$ turned by $p\, b^{-2i/D}$ for position $p$. Applied to queries and keys, it makes
    attention see how far apart two places are, not where they are.

    Args:
        x: [*, T, D], float32 or float64, D even; any strides, such as [B, T, H, D] seen as [B, H, T, D].
        positions: The position of each place in time: integers [T]; [B, T] for each item of the first dimension of x
            by itself; an integer, the position of the first place (what a KV cache already holds); None for 0.
        base: Each pair turns more slowly than the one before by a factor of base to the power of 2 / D.
        interleaved: The pairs are (0, 1), (2, 3), ... as in RoFormer, not (i, i + D / 2) as in Llama.

    Returns:
        [*, T, D], dtype and memory order of x.

    Raises:
        ShapeError: x has fewer than 2 dimensions or an odd last one, or positions have another shape.
        DTypeError: x is not floating point, or positions are not integers.
        IndexRangeError: A position is $2^{22}$ or more from 0.
        ArgumentError: base is not a positive number.

    Gradient:
        For x: dy turned back by the same angles.

    Example:
        >>> x = nbdl.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> nbdl.ops.rotary_embedding(x)
        tensor([[1.0000, 0.0000],
                [0.5403, 0.8415]])

    Source:
        Su, Lu, Pan, Wen and Liu (2021), "RoFormer: Enhanced Transformer with Rotary Position Embedding", equation 34.
    """
    check_float("x", x)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(f"x: expected shape [*, T, D] with an even D, got {list(x.shape)}")
    base = float(check_number("base", base, 0, open_low=True))
    length, half = x.shape[-2], x.shape[-1] // 2
    dtype = kernel_dtype(x.dtype)
    if isinstance(positions, Tensor):
        rows = _checked_positions(positions, x)
        return RotaryOp.apply(x, _table(rows, half, base, dtype), bool(interleaved))
    first = 0 if positions is None else check_int("positions", positions)
    _check_range(first, first + max(length, 1) - 1)
    return RotaryOp.apply(x, _consecutive_table(first, length, half, base, dtype), bool(interleaved))


def _checked_positions(positions: Tensor, x: Tensor) -> Any:
    """The positions as int64 [T] or [B T]."""
    check_integer("positions", positions)
    shapes = [(x.shape[-2],)] + ([(x.shape[0], x.shape[-2])] if x.ndim > 2 else [])
    if tuple(positions.shape) not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ShapeError(f"positions: expected shape {expected}, got {list(positions.shape)}")
    rows = np.ascontiguousarray(arrays.on_host(positions._array), np.int64).reshape(-1)
    if rows.size:
        _check_range(int(rows.min()), int(rows.max()))
    return rows


def _check_range(lowest: int, highest: int) -> None:
    if lowest <= -FARTHEST or highest >= FARTHEST:
        wrong = lowest if lowest <= -FARTHEST else highest
        raise IndexRangeError(f"positions: expected integers in ({-FARTHEST}, {FARTHEST}), got {wrong}")
