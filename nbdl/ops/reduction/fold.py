r"""Folding a dimension: the loop behind sum, mean, prod, amax, any, norms and logsumexp, written once.

A fold turns $x$ [O, R, I] into $y$ [O, I],

$$y_{oi} = \mathrm{finish}\Big(\bigoplus_r \mathrm{lift}(x_{oir})\Big),$$

with an associative $\oplus$ (`combine`), its neutral element (`identity`) and two scalar functions. Rows of I = 1 are
folded along contiguous memory, in blocks of 1,024 elements whose results are combined in order; columns (I > 1) four
rows at a time. A long dimension is first cut into at most 1,024 chunks, folded independently of each other, and then
the chunks' results are folded. So the order of the additions depends on the shape alone, and the error of a float32
sum of $10^7$ numbers is at most about $1{,}024 + 10 + 1{,}024 = 2{,}058$ units of rounding of $\sum |x|$ (one after the
other it would be $10^7$ units).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from nbdl.ops.reduction.arrangement import arrange, drop_dims
from nbdl.runtime import arrays
from nbdl.runtime.cuda.primitives import ALL_LANES, WARP
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_device, cuda_kernel, scalar

BLOCK_ROWS = 1024
"""Elements that are added one after the other."""

COLUMNS = 256
"""Columns of a task: their results stay in the nearest cache."""

LONGEST_ROW = 4096
LONGEST_COLUMN = 1024
"""Longer dimensions are cut into chunks."""

MOST_CHUNKS = 1024

NARROW = 64
"""Columns under which several rows are folded side by side."""

unsigned = np.uint64
"""Marks an index that is never negative: without the test for negative indices an inner loop becomes vectors."""

# ---------------------------------------------------------------- scalar functions


@scalar
def plain(x):
    return x


@scalar
def add(a, b):
    return a + b


@scalar
def multiply(a, b):
    return a * b


@scalar
def untouched(total, count):
    return total


@scalar
def divide(total, count):
    return total / count


@scalar
def greater(a, b):
    """The greater of two values; a NaN wins."""
    return b if b > a or b != b else a


@scalar
def lesser(a, b):
    """The lesser of two values; a NaN wins."""
    return b if b < a or b != b else a


def _emit_extremum(name, context, builder, arguments):
    kind = arguments[0].type
    suffix = "f32" if isinstance(kind, ir.FloatType) else "f64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind, kind]), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, arguments)


@intrinsic
def maximum(typing_context, a, b):
    """`greater` for floating-point numbers on the CPU, as the instruction that LLVM makes vectors of."""
    return a(a, a), lambda context, builder, signature, arguments: _emit_extremum(
        "maximum", context, builder, arguments
    )


@intrinsic
def minimum(typing_context, a, b):
    """`lesser` for floating-point numbers on the CPU."""
    return a(a, a), lambda context, builder, signature, arguments: _emit_extremum(
        "minimum", context, builder, arguments
    )


# ---------------------------------------------------------------- kernels


def rows_kernel(name: str, lift: Any, combine: Any, identity: Any, finish: Any, combine_cuda: Any) -> Kernel:
    """The kernel that folds contiguous rows."""

    def rows_cpu(x, y, rows, count, start, stop):
        """x [O, R]; y [O, C], the fold of `rows` elements each. One task an element of y."""
        chunks = y.shape[1]
        for task in range(start, stop):
            o = task // chunks if chunks > 1 else task
            c = task - o * chunks
            first = c * rows
            last = min(first + rows, x.shape[1])
            total = y.dtype.type(identity)
            for block in range(first, last, BLOCK_ROWS):
                part = y.dtype.type(identity)
                for r in range(unsigned(block), unsigned(min(block + BLOCK_ROWS, last))):
                    part = combine(part, y.dtype.type(lift(x[o, r])))
                total = combine(total, part)
            y[o, c] = finish(total, y.dtype.type(count))

    @cuda_device
    def warp_fold(value):
        step = 16
        while step > 0:
            value = combine_cuda(value, cuda.shfl_xor_sync(ALL_LANES, value, step))
            step //= 2
        return value

    def rows_cuda(x, y, rows, count):
        """As the CPU twin. One warp an element of y."""
        chunks = y.shape[1]
        o = cuda.blockIdx.x // chunks
        c = cuda.blockIdx.x - o * chunks
        first = c * rows
        last = min(first + rows, x.shape[1])
        total = y.dtype.type(identity)
        for r in range(first + cuda.threadIdx.x, last, WARP):
            total = combine_cuda(total, y.dtype.type(lift(x[o, r])))
        total = warp_fold(total)
        if cuda.threadIdx.x == 0:
            y[o, c] = finish(total, y.dtype.type(count))

    rows_cpu.__name__, rows_cuda.__name__ = f"_{name}_rows_cpu", f"_{name}_rows_cuda"
    return Kernel(
        cpu=cpu_kernel(rows_cpu),
        cuda=cuda_kernel(rows_cuda),
        tasks=lambda x, y, rows, count: y.size,
        work=lambda x, y, rows, count: x.size,
        threads=WARP,
    )


def columns_kernel(name: str, lift: Any, combine: Any, identity: Any, finish: Any, combine_cuda: Any) -> Kernel:
    """The kernel that folds a dimension with others behind it."""

    def columns_cpu(x, y, rows, count, start, stop):
        """x [O, R, I]; y [O, C, I], the fold of `rows` rows each. One task a block of columns of one chunk."""
        _, chunks, inner = y.shape
        blocks = (inner + COLUMNS - 1) // COLUMNS
        for task in range(start, stop):
            o = task // (chunks * blocks)
            c = task // blocks % chunks
            left = unsigned(task % blocks * COLUMNS)
            right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
            first = c * rows
            last = min(first + rows, x.shape[1])
            for i in range(left, right):
                y[o, c, i] = identity
            fours = first + (last - first) // 4 * 4
            for r in range(first, fours, 4):
                for i in range(left, right):
                    a = combine(y.dtype.type(lift(x[o, r, i])), y.dtype.type(lift(x[o, r + 1, i])))
                    b = combine(y.dtype.type(lift(x[o, r + 2, i])), y.dtype.type(lift(x[o, r + 3, i])))
                    y[o, c, i] = combine(y[o, c, i], y.dtype.type(combine(a, b)))
            for r in range(fours, last):
                for i in range(left, right):
                    y[o, c, i] = combine(y[o, c, i], y.dtype.type(lift(x[o, r, i])))
            for i in range(left, right):
                y[o, c, i] = finish(y[o, c, i], y.dtype.type(count))

    def columns_cuda(x, y, rows, count):
        """As the CPU twin. One block 32 columns of one chunk, one thread a column."""
        _, chunks, inner = y.shape
        blocks = (inner + WARP - 1) // WARP
        o = cuda.blockIdx.x // (chunks * blocks)
        c = cuda.blockIdx.x // blocks % chunks
        i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
        if i < inner:
            total = y.dtype.type(identity)
            for r in range(c * rows, min((c + 1) * rows, x.shape[1])):
                total = combine_cuda(total, y.dtype.type(lift(x[o, r, i])))
            y[o, c, i] = finish(total, y.dtype.type(count))

    columns_cpu.__name__, columns_cuda.__name__ = f"_{name}_columns_cpu", f"_{name}_columns_cuda"
    return Kernel(
        cpu=cpu_kernel(columns_cpu),
        cuda=cuda_kernel(columns_cuda),
        tasks=lambda x, y, rows, count: y.shape[0] * y.shape[1] * (-(-y.shape[2] // COLUMNS)),
        work=lambda x, y, rows, count: x.size,
        blocks=lambda x, y, rows, count: y.shape[0] * y.shape[1] * (-(-y.shape[2] // WARP)),
        threads=WARP,
    )


class Fold:
    """One fold: its two kernels, and the folds of the two steps that a long dimension takes.

    Args:
        name: Stem of the kernels' names.
        lift: What an element contributes.
        combine: The associative operation.
        identity: Its neutral element.
        finish: (total, count) -> result.
        combine_cuda: The operation on a GPU, where it is written differently.
        chunks: The fold of one chunk of a long dimension; this one when None.
        merge: The fold of the chunks' results; this one when None. Its own `chunks` merges without finishing.
    """

    def __init__(
        self,
        name: str,
        lift: Any,
        combine: Any,
        identity: Any,
        finish: Any = untouched,
        combine_cuda: Any = None,
        chunks: Fold | None = None,
        merge: Fold | None = None,
    ) -> None:
        parts = (name, lift, combine, identity, finish, combine_cuda or combine)
        self._rows = rows_kernel(*parts)
        self._columns = columns_kernel(*parts)
        self._chunks = chunks or self
        self._merge = merge or self

    def __call__(self, x: Any, count: int = 1, dtype: Any = None) -> Any:
        """x [O, R, I] contiguous -> [O, I], of x's dtype unless another is given."""
        outer, length, inner = x.shape
        dtype = dtype or x.dtype
        if 1 < inner < NARROW and length > 2 * NARROW:
            together = math.gcd(length, NARROW)  # rows side by side: a vector's worth of columns
            if together > 1:
                wide = x.reshape(outer, length // together, together * inner)
                partial = self._chunks(wide, dtype=dtype).reshape(outer, together, inner)
                return self._merge(partial, count, dtype)
        chunks = chunk_count(length, inner)
        if chunks == 1:
            return self._launch(x, 1, length, count, dtype).reshape(outer, inner)
        partial = self._chunks._launch(x, chunks, -(-length // chunks), 1, dtype)
        return self._merge._launch(partial, 1, chunks, count, dtype).reshape(outer, inner)

    def over(self, x: Any, dims: tuple[int, ...], keepdim: bool, count: int = 1, dtype: Any = None) -> Any:
        """Folds the given dimensions of any array: those that are neighbours at once, the others one after another."""
        rank = x.ndim
        if len(dims) == rank and x.flags.c_contiguous:
            y = self(x.reshape(1, x.size, 1), count, dtype)
            return y.reshape((1,) * rank if keepdim else ())
        groups = neighbours(dims)
        if len(groups) == 1 or not x.flags.c_contiguous:
            x, arrangement = arrange(x, dims)
            return arrangement.reduced(self(x, count, dtype), keepdim)
        y = self._chunks.over(x, groups[-1], True, 1, dtype)
        for group in groups[-2:0:-1]:
            y = self._merge._chunks.over(y, group, True, 1, dtype)
        y = self._merge.over(y, groups[0], True, count, dtype)
        return y if keepdim else drop_dims(y, dims)

    def _launch(self, x: Any, chunks: int, rows: int, count: int, dtype: Any) -> Any:
        outer, length, inner = x.shape
        y = arrays.empty_beside(x, (outer, chunks, inner), dtype)
        if inner == 1:
            self._rows(x.reshape(outer, length), y.reshape(outer, chunks), rows, count)
        else:
            self._columns(x, y, rows, count)
        return y


def chunk_count(length: int, inner: int) -> int:
    """How many chunks a dimension is cut into."""
    longest = LONGEST_ROW if inner == 1 else LONGEST_COLUMN
    return 1 if length <= longest else min(-(-length // longest), MOST_CHUNKS)


def neighbours(dims: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The dimensions in order, those that follow each other together: (0, 2, 3) -> [(0,), (2, 3)]."""
    groups: list[tuple[int, ...]] = []
    for dim in sorted(dims):
        if groups and groups[-1][-1] + 1 == dim:
            groups[-1] += (dim,)
        else:
            groups.append((dim,))
    return groups
