r"""Spreading values per row or column over the elements they came from: the backward form of a fold.

$$dx_{oir} = f(x_{oir}, p_{oi}, q_{oi})$$

with $x$ [O, R, I] and two numbers $p$, $q$ [O, I] for each folded line, as a rule the fold's result and its gradient.
"""

from __future__ import annotations

from typing import Any

from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import memory
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_kernel

PIECE = 4096
"""Elements of a task."""


def rows_kernel(name: str, function: Any) -> Kernel:
    """The kernel for contiguous lines."""

    def rows_cpu(x, p, q, dx, start, stop):
        """x, dx [O, R]; p, q [O]. One task a piece of a row."""
        length = x.shape[1]
        pieces = (length + PIECE - 1) // PIECE
        for task in range(start, stop):
            o = task // pieces
            first = (task - o * pieces) * PIECE
            for r in range(unsigned(first), unsigned(min(first + PIECE, length))):
                dx[o, r] = function(x[o, r], p[o], q[o])

    def rows_cuda(x, p, q, dx):
        """As the CPU twin. One block a piece of a row."""
        length = x.shape[1]
        pieces = (length + PIECE - 1) // PIECE
        o = cuda.blockIdx.x // pieces
        first = (cuda.blockIdx.x - o * pieces) * PIECE
        for r in range(first + cuda.threadIdx.x, min(first + PIECE, length), cuda.blockDim.x):
            dx[o, r] = function(x[o, r], p[o], q[o])

    rows_cpu.__name__, rows_cuda.__name__ = f"_{name}_rows_cpu", f"_{name}_rows_cuda"
    return Kernel(
        cpu=cpu_kernel(rows_cpu),
        cuda=cuda_kernel(rows_cuda),
        tasks=lambda x, p, q, dx: x.shape[0] * (-(-x.shape[1] // PIECE)),
        work=lambda x, p, q, dx: x.size,
    )


def columns_kernel(name: str, function: Any) -> Kernel:
    """The kernel for lines with others beside them."""

    def columns_cpu(x, p, q, dx, start, stop):
        """x, dx [O, R, I]; p, q [O, I]. One task a row of I elements."""
        _, length, inner = x.shape
        for task in range(start, stop):
            o = task // length
            r = task - o * length
            for i in range(unsigned(inner)):
                dx[o, r, i] = function(x[o, r, i], p[o, i], q[o, i])

    def columns_cuda(x, p, q, dx):
        """As the CPU twin. One block a row of I elements."""
        _, length, inner = x.shape
        o = cuda.blockIdx.x // length
        r = cuda.blockIdx.x - o * length
        for i in range(cuda.threadIdx.x, inner, cuda.blockDim.x):
            dx[o, r, i] = function(x[o, r, i], p[o, i], q[o, i])

    columns_cpu.__name__, columns_cuda.__name__ = f"_{name}_columns_cpu", f"_{name}_columns_cuda"
    return Kernel(
        cpu=cpu_kernel(columns_cpu),
        cuda=cuda_kernel(columns_cuda),
        tasks=lambda x, p, q, dx: x.shape[0] * x.shape[1],
        work=lambda x, p, q, dx: x.size,
    )


class Spread:
    """One function f(x, p, q) and its two kernels."""

    def __init__(self, name: str, function: Any) -> None:
        self._rows = rows_kernel(name, function)
        self._columns = columns_kernel(name, function)

    def __call__(self, x: Any, p: Any, q: Any) -> Any:
        """x [O, R, I], p and q [O, I], all contiguous -> [O, R, I]."""
        dx = memory.empty(x.shape, p.dtype)
        if x.shape[2] == 1:
            rows = x.shape[:2]
            self._rows(x.reshape(rows), p.reshape(-1), q.reshape(-1), dx.reshape(rows))
        else:
            self._columns(x, p, q, dx)
        return dx
