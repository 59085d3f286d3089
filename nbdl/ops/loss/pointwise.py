r"""Losses that compare a prediction with a target element by element, summed or averaged in the same pass.

A loss is a scalar function $f(x, t)$ with its two derivatives. Over N elements

$$\ell_i = f(x_i, t_i), \qquad \ell = \frac1N \sum_i \ell_i$$

(the mean; the sum leaves $1/N$ out, 'none' returns the $\ell_i$). Backward: $dx_i = g_i\, \partial f / \partial x$ and
$dt_i = g_i\, \partial f / \partial t$ at $(x_i, t_i)$, with $g_i = d\ell / N$ for the mean.

The sum is taken in fixed pieces of 8,192 elements, whose sums are folded in a second step.
"""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Context, Op
from nbdl.ops.elementwise.maps import Map2
from nbdl.ops.loss.arguments import refuse_nan_of
from nbdl.ops.reduction.fold import unsigned
from nbdl.ops.reduction.sums import sum_fold
from nbdl.runtime import arrays, memory
from nbdl.runtime.cuda.primitives import WARP, warp_sum
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact

PIECE = 8192
"""Elements of a task."""


@exact
def _product(g, derivative):
    """Rounded as written, so that an element has the same bits in a vector and in the rest behind it."""
    return g * derivative


def _total_kernel(name: str, function: Any) -> Kernel:
    """The kernel that adds the losses of each piece."""

    def total_cpu(x, t, numbers, count, partial, start, stop):
        """x, t [N]; partial [P], the sums divided by `count`. One task a piece of 8,192 elements."""
        for piece in range(start, stop):
            total = x.dtype.type(0)
            for i in range(unsigned(piece * PIECE), unsigned(min(piece * PIECE + PIECE, x.shape[0]))):
                total += function(x[i], t[i], *numbers)
            partial[piece] = total / x.dtype.type(count)

    def total_cuda(x, t, numbers, count, partial):
        """As the CPU twin. One warp a piece."""
        piece = cuda.blockIdx.x
        total = x.dtype.type(0)
        for i in range(piece * PIECE + cuda.threadIdx.x, min(piece * PIECE + PIECE, x.shape[0]), WARP):
            total += function(x[i], t[i], *numbers)
        total = warp_sum(total)
        if cuda.threadIdx.x == 0:
            partial[piece] = total / x.dtype.type(count)

    total_cpu.__name__, total_cuda.__name__ = f"_{name}_total_cpu", f"_{name}_total_cuda"
    return Kernel(
        cpu=cpu_kernel(total_cpu),
        cuda=cuda_kernel(total_cuda),
        tasks=lambda x, t, numbers, count, partial: partial.shape[0],
        work=lambda x, t, numbers, count, partial: 2 * x.size,
        threads=WARP,
    )


def _gradient_kernel(name: str, derivative: Any) -> Kernel:
    """The kernel that multiplies a derivative by the incoming gradient."""

    def gradient_cpu(dy, count, x, t, numbers, dx, start, stop):
        """dy [N] or [1], divided by `count`; x, t, dx [N]. One task an element."""
        if dy.shape[0] == 1:
            g = dy[0] / x.dtype.type(count)
            for i in range(start, stop):
                dx[i] = _product(g, derivative(x[i], t[i], *numbers))
        else:
            for i in range(start, stop):
                dx[i] = _product(dy[i], derivative(x[i], t[i], *numbers))

    def gradient_cuda(dy, count, x, t, numbers, dx):
        """As the CPU twin. One thread an element."""
        i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if i < dx.shape[0]:
            g = dy[0 if dy.shape[0] == 1 else i] / x.dtype.type(count)
            dx[i] = _product(g, derivative(x[i], t[i], *numbers))

    gradient_cpu.__name__, gradient_cuda.__name__ = f"_{name}_cpu", f"_{name}_cuda"
    return Kernel(
        cpu=cpu_kernel(gradient_cpu),
        cuda=cuda_kernel(gradient_cuda),
        tasks=lambda dy, count, x, t, numbers, dx: dx.shape[0],
        work=lambda dy, count, x, t, numbers, dx: 2 * dx.shape[0],
        blocks=lambda dy, count, x, t, numbers, dx: -(-dx.shape[0] // BLOCK),
    )


class PointwiseLoss:
    """One loss: its function, its two derivatives and their kernels.

    Args:
        name: Stem of the kernels' names.
        function: f(x, t, *numbers).
        by_input: Its derivative with respect to x.
        by_target: Its derivative with respect to t.
    """

    def __init__(self, name: str, function: Any, by_input: Any, by_target: Any) -> None:
        self.values = Map2(function)
        self.total = _total_kernel(name, function)
        self.by_input = _gradient_kernel(f"{name}_backward", by_input)
        self.by_target = _gradient_kernel(f"{name}_target_backward", by_target)


class PointwiseLossOp(Op):
    """A pointwise loss with its reduction: saves input and target."""

    loss: PointwiseLoss

    @classmethod
    def forward(cls, ctx: Context, x, t, numbers, reduction):
        ctx.shape = x.shape
        flat, wanted = arrays.contiguous(x).reshape(-1), arrays.contiguous(t).reshape(-1)
        ctx.save(flat, wanted)
        count = x.size if reduction == "mean" else 1
        ctx.options = numbers, count
        if reduction == "none":
            y = cls.loss.values(flat, wanted, *numbers)
            total = sum_fold(y.reshape(1, -1, 1))
        else:
            pieces = max(-(-flat.size // PIECE), 1)
            partial = memory.empty((1, pieces, 1), x.dtype)
            cls.loss.total(flat, wanted, numbers, count, partial.reshape(-1))
            total = partial if pieces == 1 else sum_fold(partial)
        refuse_nan_of(total, t)
        return y.reshape(x.shape) if reduction == "none" else total.reshape(())

    @classmethod
    def backward(cls, ctx: Context, dy):
        x, t = ctx.saved
        numbers, count = ctx.options
        dy = arrays.contiguous(dy).reshape(-1)
        gradients: list[Any] = []
        for kernel, wanted in zip((cls.loss.by_input, cls.loss.by_target), ctx.needs_input_grad, strict=False):
            if wanted:
                gradient = memory.empty(ctx.shape, x.dtype)
                kernel(dy, count, x, t, numbers, gradient.reshape(-1))
                gradients.append(gradient)
            else:
                gradients.append(None)
        return (*gradients, None, None)
