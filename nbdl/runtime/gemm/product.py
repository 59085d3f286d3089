"""The matrix product of arrays: strides and blocks for the kernel pair."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from nbdl.runtime import arrays, memory, threads
from nbdl.runtime.cuda import device
from nbdl.runtime.gemm.bending import bending_address
from nbdl.runtime.gemm.blocks import _gemm_cpu
from nbdl.runtime.gemm.panel import register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK, plan_blocks, prefers_turned
from nbdl.runtime.gemm.tensor_tiles import gemm_bfloat16_cuda, gemm_float16_cuda, gemm_tf32_cuda
from nbdl.runtime.gemm.tiles import SIDE, corner_of, gemm_tiles_cuda
from nbdl.runtime.jit import Kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.precision import get_precision

TILE = 64
"""Rows and columns of C that a CUDA block computes."""

PIECE = (16, TILE + 1)
"""Shape of what a CUDA block loads at once, elements of K first; a column to spare spreads its columns over banks."""

STEP = PIECE[0]

PARTS = (4, 4)
"""Rows and columns of C that a CUDA thread computes: 16 threads a side."""

PART = PARTS[0]

THREADS = 256


@scalar
def _straight(x):
    return x, type(x)(1)


def _gemm_on_cuda(curve: Any) -> Any:
    """The CUDA kernel of the product with a curve."""

    def gemm_cuda(a, b, c, bias, workspace, sizes, beta, floor):
        """As the CPU twin, without its blocks and packing. One block a tile of C.

        The threads load a piece of A and of B into shared memory, neighbours in memory by neighbouring threads; each
        then adds its part of the tile in registers: eight loads for sixteen multiply-adds.
        """
        m, n, k = sizes[1], sizes[2], sizes[3]
        c_size = sizes[0] * m * n
        a_batch, a_row, a_inner = sizes[4], sizes[5], sizes[6]
        b_batch, b_inner, b_column = sizes[7], sizes[8], sizes[9]
        c_row, c_column, bias_row, bias_column = sizes[10], sizes[11], sizes[12], sizes[13]
        left, top, item = corner_of(cuda.blockIdx.x, m, n, TILE, TILE)
        a_piece = cuda.shared.array(PIECE, a.dtype)
        b_piece = cuda.shared.array(PIECE, a.dtype)
        sums = cuda.local.array(PARTS, a.dtype)
        for i in range(PART):
            for j in range(PART):
                sums[i, j] = a.dtype.type(0)
        own_row = cuda.threadIdx.x // STEP * PART
        own_column = cuda.threadIdx.x % STEP * PART
        inside = top + own_row < m and left + own_column < n

        for start in range(0, k, STEP):
            for element in range(cuda.threadIdx.x, TILE * STEP, THREADS):
                row, inner = (element // STEP, element % STEP) if a_inner == 1 else (element % TILE, element // TILE)
                value = a.dtype.type(0)
                if top + row < m and start + inner < k:
                    value = a[item * a_batch + (top + row) * a_row + (start + inner) * a_inner]
                a_piece[inner, row] = value
                column, inner = (element // STEP, element % STEP) if b_inner == 1 else (element % TILE, element // TILE)
                value = a.dtype.type(0)
                if left + column < n and start + inner < k:
                    value = b[item * b_batch + (start + inner) * b_inner + (left + column) * b_column]
                b_piece[inner, column] = value
            cuda.syncthreads()
            if inside:
                for inner in range(min(STEP, k - start)):
                    for i in range(PART):
                        value = a_piece[inner, own_row + i]
                        for j in range(PART):
                            sums[i, j] += value * b_piece[inner, own_column + j]
            cuda.syncthreads()

        if inside:
            for place in range(PART * PART):
                row, column = top + own_row + place // PART, left + own_column + place % PART
                if row < m and column < n:
                    value = sums[0, 0]
                    at = item * m * n + row * c_row + column * c_column
                    if bias.shape[0] > 0:
                        value += bias[row * bias_row + column * bias_column]
                    if beta != a.dtype.type(0):
                        value += beta * c[at]
                    value, slope = curve(floor if floor > value else value)
                    c[at] = value
                    if c.shape[0] > c_size:
                        c[at + c_size] = slope
                # Registers have no numbers that a loop could count: the next sum moves to where this one was.
                for i in range(PART):
                    for j in range(PART - 1):
                        sums[i, j] = sums[i, j + 1]
                    if i + 1 < PART:
                        sums[i, PART - 1] = sums[i + 1, 0]

    gemm_cuda.__name__ = f"_gemm{'' if curve is _straight else curve.py_func.__name__}_cuda"
    return cuda_kernel(gemm_cuda)


def _kernel(twin: Any, side: int = TILE) -> Kernel:
    """The kernels of a product whose CUDA twin computes tiles of side x side."""

    def tiles(a: Any, b: Any, c: Any, bias: Any, workspace: Any, sizes: Any, *_: Any) -> int:
        batch, m, n = (int(size) for size in sizes[:3])
        return batch * -(-m // side) * -(-n // side)

    return Kernel(
        cpu=_gemm_cpu,
        cuda=twin,
        tasks=lambda a, b, c, bias, workspace, *_: workspace.shape[0],
        work=lambda a, b, c, bias, workspace, *_: workspace.shape[0] * PARALLEL_WORK,
        blocks=tiles,
        threads=THREADS,
        requires=register_tile_driver,
    )


gemm_kernel = _kernel(_gemm_on_cuda(_straight))
gemm_large_kernel = _kernel(gemm_tiles_cuda, SIDE)
gemm_tf32_kernel = _kernel(gemm_tf32_cuda, SIDE)

gemm_word_kernels = {"float16": _kernel(gemm_float16_cuda, SIDE), "bfloat16": _kernel(gemm_bfloat16_cuda, SIDE)}
"""Products of numbers of 16 bits, which kernels see as words; float32 multiplies them on the CPU (ops/matmul)."""

ENOUGH_TILES = 66
"""Large tiles from which on they keep at least half of the multiprocessors of an H100 busy."""


def choose_on_cuda(batch: int, m: int, n: int, dtype: np.dtype, rounded: bool) -> Kernel:
    """The kernel of a product on a GPU, by one rule.

    1. Small tiles serve where there are few results, and float64.
    2. Large tiles fetch each number half as often; they are taken if there are enough of them to share out, and none
       of them is mostly empty.
    3. Tensor cores are several times as fast, but read float32 with 10 bits of fraction: only where
       `set_precision("medium")` allows it, on GPUs of compute capability 8.0 or newer.

    Args:
        batch, m, n: Sizes of the result.
        dtype: Of the operands, float32 or float64.
        rounded: Whether operands may be rounded, and the GPU can multiply them then.
    """
    if dtype != np.float32 or min(m, n) <= SIDE // 2 or batch * -(-m // SIDE) * -(-n // SIDE) < ENOUGH_TILES:
        return gemm_kernel
    return gemm_tf32_kernel if rounded else gemm_large_kernel


def _may_round() -> bool:
    return get_precision() == "medium" and device.driver().capability >= (8, 0)


class ProductCurve:
    """What a product's results may go through: a scalar function that gives a value and its slope.

    Attributes:
        function: The function.
        kernel: The kernels of a product with it.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.kernel = _kernel(_gemm_on_cuda(function))


class Call(NamedTuple):
    """What a launch needs besides its arrays; prepared once for each combination of sizes and strides."""

    copy: bool  # an operand runs backwards through memory, or its elements do not lie a whole number of them apart
    dense: tuple[bool, bool]  # the elements of a, of b, fill their memory without gaps
    turned: bool  # b and a change places
    workspace: tuple[int, int]
    none: Any  # an array of no elements, [0]
    no_workspace: Any  # [tasks, 0]
    numbers: tuple[Any, Any, Any]  # sizes, beta, floor


def gemm(
    a: Any,
    b: Any,
    c: Any,
    bias: Any = None,
    beta: float = 0.0,
    floor: float = -math.inf,
    curve: ProductCurve | None = None,
) -> None:
    """Sets c = max(floor, beta c + a b + bias), the bias added to each row; floor = 0 is a fused ReLU.

    Args:
        a: [M, K] or [batch, M, K], any strides.
        b: [K, N] or [batch, K, N], any strides, of the dtype of a.
        c: [M, N] or [batch, M, N], C-contiguous. With beta = 0 what it held is not read.
        bias: [N], C-contiguous, or None.
        beta: Factor of what c held.
        floor: Smallest result. NaN passes.
        curve: What the results go through. With one, c may be [2, M, N] or [2, batch, M, N]: the second half takes
            the curve's slopes.
    """
    call = prepare_gemm(a.shape, a.strides, b.shape, b.strides, c.dtype, beta, floor, curve, threads._threads)
    if call is None:
        return
    copy, dense, turned, workspace, none, no_workspace, numbers = call
    if copy:
        gemm(arrays.contiguous(a), arrays.contiguous(b), c, bias, beta, floor, curve)
        return
    flat_a = a.ravel("K") if dense[0] else _flat(a)
    flat_b = b.ravel("K") if dense[1] else _flat(b)
    if turned:
        flat_a, flat_b = flat_b, flat_a
    kernel = gemm_kernel if curve is None else curve.kernel
    if curve is None and not isinstance(c, np.ndarray):
        batch, m, n = (int(size) for size in numbers[0][:3])
        kernel = choose_on_cuda(batch, m, n, c.dtype, _may_round())
    kernel(
        flat_a,
        flat_b,
        c.ravel("K"),
        none if bias is None else bias,
        memory.empty(workspace, c.dtype) if workspace[1] else no_workspace,
        *numbers,
    )


@functools.lru_cache(maxsize=4096)
def prepare_gemm(
    a_shape: tuple[int, ...], a_strides: tuple[int, ...], b_shape: tuple[int, ...], b_strides: tuple[int, ...],
    dtype: np.dtype, beta: float, floor: float, curve: ProductCurve | None, threads: int,
) -> Call | None:  # fmt: skip
    """The launch for operands of these shapes and strides, the strides in bytes; None where c has no elements."""
    batch = a_shape[0] if len(a_shape) == 3 else 1
    m, k = a_shape[-2:]
    n = b_shape[-1]
    if not batch * m * n:
        return None
    steps_a, dense_a = _steps(a_shape, a_strides, dtype.itemsize)
    steps_b, dense_b = _steps(b_shape, b_strides, dtype.itemsize)
    (a_batch, a_row, a_inner), (b_batch, b_inner, b_column) = steps_a, steps_b
    c_row, c_column, bias_row, bias_column = n, 1, 0, 1
    turned = n == 1 or (beta == 0 and prefers_turned(m, n, b_inner, b_column, dtype.itemsize))
    if turned:  # the transposed of the product is the product of the transposed, in the other order
        a_batch, a_row, a_inner, b_batch, b_inner, b_column = b_batch, b_column, b_inner, a_batch, a_inner, a_row
        m, n, c_row, c_column, bias_row, bias_column = n, m, c_column, c_row, bias_column, bias_row
    *blocks, tasks, elements = plan_blocks(
        batch, m, n, k, a_row, a_inner, b_inner, b_column, c_column, dtype.itemsize, threads
    )
    sizes = (
        *(batch, m, n, k, a_batch, a_row, a_inner, b_batch, b_inner, b_column),
        *(c_row, c_column, bias_row, bias_column, *blocks),
        0 if curve is None else bending_address(curve.function, dtype),
    )
    return Call(
        min(*steps_a, *steps_b) < 0 or any(stride % dtype.itemsize for stride in (*a_strides, *b_strides)),
        (dense_a, dense_b),
        turned,
        (tasks, elements),
        np.empty(0, dtype),
        np.empty((tasks, 0), dtype),
        (np.array(sizes, np.int64), dtype.type(beta), dtype.type(floor)),
    )


def _steps(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[tuple[int, int, int], bool]:
    """The strides of batch, rows and columns in elements, and whether the elements lie without gaps.

    Dimensions of size 1 have the strides of a contiguous array: NumPy leaves those as they came.
    """
    if 0 in shape:
        return (0, 0, 0), True
    steps = [0, 0, 0]
    expected = 1
    dense = True
    # From the innermost dimension outwards.
    for size, stride, axis in sorted(
        zip(shape, strides, range(3 - len(shape), 3), strict=True), key=lambda item: (item[1], -item[2])
    ):
        steps[axis] = expected if size == 1 else stride // itemsize
        dense = dense and (size == 1 or stride == expected * itemsize)
        expected *= size
    return (steps[0], steps[1], steps[2]), dense


def _flat(x: Any) -> Any:
    """The memory of x from its first element to its last, as one dimension. The strides are not negative."""
    extent = sum((size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    return arrays.strided(x, (extent,), (x.itemsize,))
