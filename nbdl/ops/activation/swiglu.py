r"""SwiGLU: one half of a feed-forward layer gates the other through the sigmoid linear unit.

$$
y = \mathrm{silu}(g)\, u = g\, \sigma(g)\, u, \qquad
dg = dy\, u\, \sigma(g) \big(1 + g (1 - \sigma(g))\big), \qquad
du = dy\, g\, \sigma(g)
$$

One kernel each way: apart, silu and the product would each read and write memory of the size of the layer once more.
Backward computes the sigmoid again, which costs less than reading it.

Letters: N elements, g the gate, u the values that it lets through (`up`, the layer's upward projection).
Source: Shazeer (2020), "GLU Variants Improve Transformer", equation 5.
"""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.activation.smooth import silu_reference
from nbdl.ops.elementwise.layout import dense_order, in_order, inverse
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_same_dtype, check_shape
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact
from nbdl.runtime.vecmath import exp, fma

# ---------------------------------------------------------------- reference


def swiglu_reference(gate, up):
    """The definition, in float64: gate, up [*] -> [*]."""
    return silu_reference(gate) * up


# ---------------------------------------------------------------- forward


@exact
def _swiglu(gate, up):
    """Rounded as written, as is `_swiglu_slopes`: an element's place in a vector must not matter."""
    return gate / (type(gate)(1) + exp(-gate)) * up


@cpu_kernel
def _swiglu_forward_cpu(gate, up, y, start, stop):
    """gate, up, y [N]. One task an element."""
    for i in range(start, stop):
        y[i] = _swiglu(gate[i], up[i])


@cuda_kernel
def _swiglu_forward_cuda(gate, up, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < y.size:
        y[i] = _swiglu(gate[i], up[i])


EXP_WORK = 8
"""Scalar operations that an element costs, about."""

swiglu_forward = Kernel(
    cpu=_swiglu_forward_cpu,
    cuda=_swiglu_forward_cuda,
    tasks=lambda gate, *_: gate.size,
    work=lambda gate, *_: EXP_WORK * gate.size,
    blocks=lambda gate, *_: -(-gate.size // BLOCK),
)

# ---------------------------------------------------------------- backward


@exact
def _swiglu_slopes(gate, up):
    sigmoid = type(gate)(1) / (type(gate)(1) + exp(-gate))
    silu = gate * sigmoid
    return up * fma(silu, type(gate)(1) - sigmoid, sigmoid), silu


@cpu_kernel
def _swiglu_backward_cpu(dy, gate, up, dgate, dup, start, stop):
    """dy, gate, up, dgate, dup [N]. One task an element."""
    for i in range(start, stop):
        to_gate, to_up = _swiglu_slopes(gate[i], up[i])
        dgate[i] = dy[i] * to_gate
        dup[i] = dy[i] * to_up


@cuda_kernel
def _swiglu_backward_cuda(dy, gate, up, dgate, dup):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < dy.size:
        to_gate, to_up = _swiglu_slopes(gate[i], up[i])
        dgate[i] = dy[i] * to_gate
        dup[i] = dy[i] * to_up


swiglu_backward = Kernel(
    cpu=_swiglu_backward_cpu,
    cuda=_swiglu_backward_cuda,
    tasks=lambda dy, *_: dy.size,
    work=lambda dy, *_: EXP_WORK * dy.size,
    blocks=lambda dy, *_: -(-dy.size // BLOCK),
)

# ---------------------------------------------------------------- autograd


def _in_memory_order(array: Any, order: tuple[int, ...] | None) -> Any:
    """The elements, contiguous in an order of the axes, as one dimension."""
    return arrays.contiguous(array if order is None else array.transpose(order)).reshape(-1)


class SwigluOp(Op):
    """y = silu(gate) up, in the memory order of the gate. Saves gate and up."""

    @staticmethod
    def forward(ctx: Context, gate, up):
        ctx.order = None if gate.flags.c_contiguous else dense_order(gate)
        ctx.save(gate, up)
        shape = gate.shape if ctx.order is None else tuple([gate.shape[axis] for axis in ctx.order])
        y = memory.empty(shape, gate.dtype)
        if y.size:
            swiglu_forward(_in_memory_order(gate, ctx.order), _in_memory_order(up, ctx.order), y.reshape(-1))
        return in_order(y, None if ctx.order is None else inverse(ctx.order))

    @staticmethod
    def backward(ctx: Context, dy):
        inputs = (dy, *ctx.saved)
        shape = dy.shape if ctx.order is None else tuple([dy.shape[axis] for axis in ctx.order])
        dgate, dup = memory.empty(shape, dy.dtype), memory.empty(shape, dy.dtype)
        if dy.size:
            flat = [_in_memory_order(array, ctx.order) for array in inputs]
            swiglu_backward(*flat, dgate.reshape(-1), dup.reshape(-1))
        back = None if ctx.order is None else inverse(ctx.order)
        return in_order(dgate, back), in_order(dup, back)


# ---------------------------------------------------------------- public


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    r"""The product of one tensor with the sigmoid linear unit of another: $y = g\, \sigma(g)\, u$.

    Between the two projections into a feed-forward layer and the one out of it, this is the layer of Llama.

    Args:
        gate: [*], float32 or float64.
        up: The shape and dtype of the gate.

    Returns:
        [*], dtype and memory order of the gate.

    Raises:
        ShapeError: The shapes differ.
        DTypeError: The gate is not floating point, or the dtypes differ.

    Gradient:
        For gate: $dy\, u\, \sigma(g) (1 + g (1 - \sigma(g)))$. For up: $dy\, g\, \sigma(g)$.

    Example:
        >>> nbdl.ops.swiglu(nbdl.tensor([-1.0, 0.0, 2.0]), nbdl.tensor([1.0, 2.0, 3.0]))
        tensor([-0.2689,  0.0000,  5.2848])

    Source:
        Shazeer (2020), "GLU Variants Improve Transformer", equation 5.
    """
    check_same_dtype("up", check_shape("up", up, check_float("gate", gate).shape), "gate", gate)
    return SwigluOp.apply(gate, up)
