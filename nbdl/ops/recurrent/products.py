"""Matrix products inside the kernels of recurrent layers: weights packed once, rows multiplied in every step."""

from __future__ import annotations

from typing import Any

from nbdl.runtime import arrays, memory
from nbdl.runtime.gemm import multiply_panel
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_device, cuda_kernel
from nbdl.runtime.simd import advance, null_pointer, pointer, transpose_square, vector_lanes, vector_unit

# ---------------------------------------------------------------- packing


@cpu_kernel
def _pack_columns_cpu(matrix, packed, start, stop):
    """matrix [K, N] -> packed [panel][k][column]; columns beyond N are not written. One task a panel."""
    depth, columns = matrix.shape
    width = packed.shape[2]
    for panel in range(start, stop):
        many = min(width, columns - panel * width)
        source, target = pointer(matrix, panel * width), pointer(packed, panel * depth * width)
        for k in range(depth):
            row, line = advance(source, k * columns), advance(target, k * width)
            for j in range(many):
                line[j] = row[j]


@cuda_kernel
def _pack_columns_cuda(matrix, packed):
    """As the CPU twin. One block a panel."""
    depth, columns = matrix.shape
    width = packed.shape[2]
    panel = cuda.blockIdx.x
    for item in range(cuda.threadIdx.x, depth * width, BLOCK):
        k, j = item // width, item % width
        if panel * width + j < columns:
            packed[panel, k, j] = matrix[k, panel * width + j]


@cpu_kernel
def _pack_rows_cpu(matrix, packed, first, start, stop):
    """matrix [N, K] -> packed [panel][first + k][row]; rows beyond N are not written. One task a panel."""
    rows, depth = matrix.shape
    width = packed.shape[2]
    lanes = vector_lanes(pointer(matrix, 0))
    squares = depth // lanes * lanes
    for panel in range(start, stop):
        for left in range(0, min(width, rows - panel * width), lanes):
            many = min(lanes, rows - panel * width - left)
            source = pointer(matrix, (panel * width + left) * depth)
            target = pointer(packed, (panel * packed.shape[1] + first) * width + left)
            for k in range(0, squares, lanes):
                transpose_square(advance(source, k), depth, many, advance(target, k * width), width)
            for k in range(squares, depth):
                for i in range(many):
                    target[k * width + i] = source[i * depth + k]


@cuda_kernel
def _pack_rows_cuda(matrix, packed, first):
    """As the CPU twin. One block a panel."""
    rows, depth = matrix.shape
    width = packed.shape[2]
    panel = cuda.blockIdx.x
    for item in range(cuda.threadIdx.x, depth * width, BLOCK):
        k, j = item // width, item % width
        if panel * width + j < rows:
            packed[panel, first + k, j] = matrix[panel * width + j, k]


pack_columns_kernel = Kernel(
    cpu=_pack_columns_cpu,
    cuda=_pack_columns_cuda,
    tasks=lambda matrix, packed: packed.shape[0],
    work=lambda matrix, packed: packed.size,
)

pack_rows_kernel = Kernel(
    cpu=_pack_rows_cpu,
    cuda=_pack_rows_cuda,
    tasks=lambda matrix, packed, first: packed.shape[0],
    work=lambda matrix, packed, first: matrix.size,
)


def pack_columns(matrix: Any) -> Any:
    """A contiguous [K, N] in panels of two vectors of columns, [ceil(N / width), K, width]."""
    width = panel_width(matrix.itemsize)
    packed = memory.empty((-(-matrix.shape[1] // width), matrix.shape[0], width), matrix.dtype)
    pack_columns_kernel(matrix, packed)
    return packed


def pack_rows(*matrices: Any) -> Any:
    """The same of the transposed of matrices [N, K], side by side: [ceil(N / width), sum of K, width]."""
    rows, dtype = matrices[0].shape[0], matrices[0].dtype
    width = panel_width(dtype.itemsize)
    packed = memory.empty((-(-rows // width), sum([matrix.shape[1] for matrix in matrices]), width), dtype)
    first = 0
    for matrix in matrices:
        pack_rows_kernel(arrays.contiguous(matrix), packed, first)
        first += matrix.shape[1]
    return packed


def panel_width(itemsize: int) -> int:
    """Elements of two vectors, the width of a register tile."""
    return 2 * vector_unit().bytes // itemsize


def padded(columns: int, itemsize: int) -> int:
    """A row stride of an odd number of cache lines: rows of one column then lie in different sets of the cache."""
    lines = -(-columns * itemsize // 64)
    return (lines | 1) * 64 // itemsize


# ---------------------------------------------------------------- in the kernels


@cpu_function
def multiply_rows(rows, depth, a, a_row, packed, width, bias, has_bias, c, c_row, beta, floor, columns):
    """c [rows, columns] = max(floor, beta c + a [rows, depth] B + bias), B packed in panels."""
    for left in range(0, columns, width):
        multiply_panel(
            rows, 1, depth, a, 0, a_row, 1, advance(packed, left * depth), 0, width,
            advance(bias, left) if has_bias else null_pointer(bias), floor,
            advance(c, left), c_row, beta, min(width, columns - left),
        )  # fmt: skip


@cpu_function
def copy_row(source, target, size):
    """target [size] = source."""
    for j in range(size):
        target[j] = source[j]


@cpu_function
def add_row(x, total, size):
    """total [size] += x."""
    for j in range(size):
        total[j] += x[j]


@cuda_device
def packed_dot(x, row, depth, packed, column, first):
    """The product of x[row, first: first + depth] and a column of a packed matrix."""
    width = packed.shape[2]
    panel, lane = column // width, column % width
    total = x.dtype.type(0)
    for k in range(depth):
        total += x[row, first + k] * packed[panel, k, lane]
    return total
