r"""The gated recurrent unit: one gate mixes the old state with a new one, another one limits what the new one sees.

Forward, in step t, for a row $x$ of the input and the state $h$ [H] of the step before:

$$
\begin{aligned}
r &= \sigma(W_{ir}\, x + b_{ir} + W_{hr}\, h + b_{hr}), &
z &= \sigma(W_{iz}\, x + b_{iz} + W_{hz}\, h + b_{hz}), \\
q &= W_{hn}\, h + b_{hn}, &
n &= \tanh(W_{in}\, x + b_{in} + r \odot q), \qquad
y = h' = (1 - z) \odot n + z \odot h
\end{aligned}
$$

$W_{ih}$ is $W_{ir}, W_{iz}, W_{in}$ in blocks of rows, $W_{hh}$ likewise.

Backward, from the last step to the first, where $\bar h = dy + dh'$ is the gradient of the step's result from outside
and from the step to come:

$$
\begin{aligned}
d\tilde n &= \bar h \odot (1 - z) \odot (1 - n^2), & d\tilde z &= \bar h \odot (h - n) \odot z (1 - z), \\
d\tilde r &= d\tilde n \odot q \odot r (1 - r), & dq &= d\tilde n \odot r, \\
dh &= \bar h \odot z + W_{hh}^\top (d\tilde r, d\tilde z, dq)
\end{aligned}
$$

and over all rows at once, with $A = (d\tilde R, d\tilde Z, d\tilde N)$ and $B = (d\tilde R, d\tilde Z, dQ)$:
$dX = A W_{ih}$, $dW_{ih} = A^\top X$, $dW_{hh} = B^\top H$, $db_{ih} = \sum A$, $db_{hh} = \sum B$.

How the work is shared out is described in `lstm`.

Letters: T steps, N sequences, R rows of all steps, I features, H hidden features.

Source: Cho et al. (2014), "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation", in the form in which r acts on the product with $W_{hn}$.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.matmul.linear import sum_columns
from nbdl.ops.recurrent.gates import sigmoid as gate_sigmoid
from nbdl.ops.recurrent.gates import tanh as gate_tanh
from nbdl.ops.recurrent.layers import run_cell, run_layers, run_layers_reference
from nbdl.ops.recurrent.products import add_row, copy_row, multiply_rows, pack_columns, pack_rows, packed_dot, padded
from nbdl.ops.recurrent.schedule import ACTIVE, BEFORE, FIRST, NEXT, REMAIN, Schedule
from nbdl.runtime import arrays, memory
from nbdl.runtime.gemm import gemm, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import advance, pointer
from nbdl.runtime.vecmath import sigmoid, tanh

# ---------------------------------------------------------------- reference


def gru_step_reference(x, state, weight_ih, weight_hh, bias_ih=0.0, bias_hh=0.0):
    """One step in float64: x [I], state (h [H],) -> the next state."""
    (h,) = state
    ir, iz, in_ = np.split(weight_ih @ x + bias_ih, 3)
    hr, hz, q = np.split(weight_hh @ h + bias_hh, 3)
    r, z = 1 / (1 + np.exp(-ir - hr)), 1 / (1 + np.exp(-iz - hz))
    return ((1 - z) * np.tanh(in_ + r * q) + z * h,)


def gru_reference(
    input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first=False, batch_sizes=None
):
    """The definition, in float64, without dropout."""
    return run_layers_reference(
        gru_step_reference, input, hx, params, has_biases, num_layers, bidirectional, batch_first, batch_sizes
    )


def gru_cell_reference(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The definition, in float64."""
    biases = () if b_ih is None else (b_ih, b_hh)
    steps = [gru_step_reference(x, (h,), w_ih, w_hh, *biases)[0] for x, h in zip(input, hx, strict=True)]
    return np.array(steps).reshape(hx.shape)


# ---------------------------------------------------------------- forward


@cpu_function
def _update(gates, product, hidden, state, result, one):
    """From r and z before their nonlinearity and the input's share of n, [3H] in place, and q [H]: the next state."""
    for j in range(2 * hidden):
        gates[j] = gate_sigmoid(gates[j])
    z, n = advance(gates, hidden), advance(gates, 2 * hidden)
    for j in range(hidden):
        n[j] = gate_tanh(n[j] + gates[j] * product[j])
    for j in range(hidden):
        result[j] = (one - z[j]) * n[j] + z[j] * state[j]


@cpu_kernel
def _gru_forward_cpu(gates, h0, weight, weight_n, bias, y, states, products, h, steps, shares, start, stop):
    """gates [R, 3H]: W_ih x + b_ih on entry, r, z and n on exit. y, products (q) [R, H]; h0, h [N, H].

    weight, weight_n: packed, the rows of W_hh for r and z, and those for n; bias [3H] or empty. states [R, stride]: the
    state before each row. One task a share of the sequences.
    """
    size, stride, width = h0.shape[1], states.shape[1], weight.shape[2]
    biased = bias.shape[0] > 0
    one = gates.dtype.type(1)
    for task in range(start, stop):
        for s in range(steps.shape[0]):
            first, follows = steps[s, FIRST], steps[s, NEXT]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            for b in range(max(low, steps[s, BEFORE]), high):
                copy_row(pointer(h0, b * size), pointer(states, (first + b) * stride), size)
            if low >= high:
                continue
            top = first + low
            multiply_rows(
                high - low, size, pointer(states, top * stride), stride, pointer(weight, 0), width, pointer(bias, 0),
                biased, pointer(gates, top * 3 * size), 3 * size, 1.0, -np.inf, 2 * size,
            )  # fmt: skip
            multiply_rows(
                high - low, size, pointer(states, top * stride), stride, pointer(weight_n, 0), width,
                pointer(bias, 2 * size), biased, pointer(products, top * size), size, 0.0, -np.inf, size,
            )  # fmt: skip
            for b in range(low, high):
                row = first + b
                _update(
                    pointer(gates, row * 3 * size), pointer(products, row * size), size, pointer(states, row * stride),
                    pointer(y, row * size), one,
                )  # fmt: skip
                goes_on = b < steps[s, REMAIN]
                target = pointer(states, (follows + b) * stride) if goes_on else pointer(h, b * size)
                copy_row(pointer(y, row * size), target, size)


@cuda_kernel
def _gru_forward_cuda(gates, h0, weight, weight_n, bias, y, states, products, h, steps, shares):
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size = h0.shape[1]
    biased = bias.shape[0] > 0
    one = gates.dtype.type(1)
    b = cuda.blockIdx.x
    for s in range(steps.shape[0]):
        if b < steps[s, ACTIVE]:
            row, next_row = steps[s, FIRST] + b, steps[s, NEXT] + b
            if b >= steps[s, BEFORE]:
                for j in range(cuda.threadIdx.x, size, BLOCK):
                    states[row, j] = h0[b, j]
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                r = gates[row, j] + packed_dot(states, row, size, weight, j, 0)
                z = gates[row, size + j] + packed_dot(states, row, size, weight, size + j, 0)
                q = packed_dot(states, row, size, weight_n, j, 0)
                if biased:
                    r += bias[j]
                    z += bias[size + j]
                    q += bias[2 * size + j]
                r, z = sigmoid(r), sigmoid(z)
                n = tanh(gates[row, 2 * size + j] + r * q)
                gates[row, j], gates[row, size + j], gates[row, 2 * size + j] = r, z, n
                products[row, j] = q
                value = (one - z) * n + z * states[row, j]
                y[row, j] = value
                if b < steps[s, REMAIN]:
                    states[next_row, j] = value
                else:
                    h[b, j] = value


gru_forward = Kernel(
    cpu=_gru_forward_cpu,
    cuda=_gru_forward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda gates, h0, *_: h0.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- backward


@cpu_function
def _cell_backward(gates, product, hidden, state, dh, dgates, one):
    """Of one row: dgates [4H], of r, z, n and q, from r, z, n [3H], q [H] and the state before; dh [H] becomes dh z."""
    z, n = advance(gates, hidden), advance(gates, 2 * hidden)
    dz, dn, dq = advance(dgates, hidden), advance(dgates, 2 * hidden), advance(dgates, 3 * hidden)
    for j in range(hidden):
        through_n = dh[j] * (one - z[j]) * (one - n[j] * n[j])
        dgates[j] = through_n * product[j] * gates[j] * (one - gates[j])
        dz[j] = dh[j] * (state[j] - n[j]) * z[j] * (one - z[j])
        dn[j] = through_n
        dq[j] = through_n * gates[j]
        dh[j] *= z[j]


@cpu_kernel
def _gru_backward_cpu(gates, dy, states, products, weight, weight_n, dh, dgates, steps, shares, start, stop):
    """gates [R, 3H], products [R, H] and states [R, stride] of the forward pass; dy [R, H]; dgates [R, 4H or more].

    dh [N, H]: of the final state on entry, of the first on exit. weight, weight_n: packed for products with dgates.
    One task a share of the sequences.
    """
    size, stride, width = dh.shape[1], dgates.shape[1], weight.shape[2]
    one = gates.dtype.type(1)
    for task in range(start, stop):
        for s in range(steps.shape[0] - 1, -1, -1):
            first = steps[s, FIRST]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            if low >= high:
                continue
            for b in range(low, high):
                row = first + b
                add_row(pointer(dy, row * size), pointer(dh, b * size), size)
                _cell_backward(
                    pointer(gates, row * 3 * size), pointer(products, row * size), size,
                    pointer(states, row * states.shape[1]), pointer(dh, b * size), pointer(dgates, row * stride), one,
                )  # fmt: skip
            top = (first + low) * stride
            multiply_rows(
                high - low, 2 * size, pointer(dgates, top), stride, pointer(weight, 0), width, pointer(dy, 0), False,
                pointer(dh, low * size), size, 1.0, -np.inf, size,
            )  # fmt: skip
            multiply_rows(
                high - low, size, pointer(dgates, top + 3 * size), stride, pointer(weight_n, 0), width, pointer(dy, 0),
                False, pointer(dh, low * size), size, 1.0, -np.inf, size,
            )  # fmt: skip


@cuda_kernel
def _gru_backward_cuda(gates, dy, states, products, weight, weight_n, dh, dgates, steps, shares):
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size = dh.shape[1]
    one = gates.dtype.type(1)
    b = cuda.blockIdx.x
    for s in range(steps.shape[0] - 1, -1, -1):
        if b < steps[s, ACTIVE]:
            row = steps[s, FIRST] + b
            for j in range(cuda.threadIdx.x, size, BLOCK):
                r, z, n = gates[row, j], gates[row, size + j], gates[row, 2 * size + j]
                total = dh[b, j] + dy[row, j]
                through_n = total * (one - z) * (one - n * n)
                dgates[row, j] = through_n * products[row, j] * r * (one - r)
                dgates[row, size + j] = total * (states[row, j] - n) * z * (one - z)
                dgates[row, 2 * size + j] = through_n
                dgates[row, 3 * size + j] = through_n * r
                dh[b, j] = total * z
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                dh[b, j] += packed_dot(dgates, row, 2 * size, weight, j, 0)
                dh[b, j] += packed_dot(dgates, row, size, weight_n, j, 3 * size)


gru_backward = Kernel(
    cpu=_gru_backward_cpu,
    cuda=_gru_backward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda gates, dy, states, products, weight, weight_n, dh, *_: dh.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- autograd


class GRUOp(Op):
    """One layer in one direction: x [R, I], h0 [N, H] -> y [R, H], h [N, H]."""

    @staticmethod
    def forward(ctx: Context, x, h0, weight_ih, weight_hh, bias_ih, bias_hh, plan: Schedule):
        dtype, rows = x.dtype, x.shape[0]
        batch, size = h0.shape
        gates = memory.empty((rows, 3 * size), dtype)
        gemm(x, weight_ih.T, gates, None if bias_ih is None else arrays.contiguous(bias_ih))
        y, products, h = (memory.empty(shape, dtype) for shape in ((rows, size), (rows, size), (batch, size)))
        states = memory.empty((rows, padded(size, dtype.itemsize)), dtype)
        if batch:
            weight_hh = arrays.contiguous(weight_hh)
            gru_forward(
                gates,
                arrays.contiguous(h0),
                pack_rows(weight_hh[: 2 * size]),
                pack_rows(weight_hh[2 * size :]),
                memory.empty((0,), dtype) if bias_hh is None else arrays.contiguous(bias_hh),
                *(y, states, products, h, plan.steps, plan.shares(3 * size * size)),
            )
        ctx.plan, ctx.biased = plan, bias_ih is not None
        ctx.save(x, weight_ih, weight_hh, gates, states, products)
        return y, h

    @staticmethod
    def backward(ctx: Context, dy, dh):
        x, weight_ih, weight_hh, gates, states, products = ctx.saved
        wants_dx, _, wants_dweight_ih, wants_dweight_hh, *_ = ctx.needs_input_grad
        dtype, (batch, size) = x.dtype, dh.shape
        dgates = memory.empty((x.shape[0], padded(4 * size, dtype.itemsize)), dtype)
        dh0 = memory.empty(dh.shape, dtype)
        arrays.copy_into(dh0, dh)
        if batch:
            weight_hh = arrays.contiguous(weight_hh)
            gru_backward(
                gates,
                arrays.contiguous(dy),
                states,
                products,
                pack_columns(weight_hh[: 2 * size]),
                pack_columns(weight_hh[2 * size :]),
                *(dh0, dgates, ctx.plan.steps, ctx.plan.shares(3 * size * size)),
            )
        dx = dweight_ih = dweight_hh = dbias_ih = dbias_hh = None
        if wants_dx:
            dx = memory.empty(x.shape, dtype)
            gemm(dgates[:, : 3 * size], weight_ih, dx)
        if wants_dweight_ih:
            dweight_ih = memory.empty(weight_ih.shape, dtype)
            gemm(dgates[:, : 3 * size].T, x, dweight_ih)
        if wants_dweight_hh:
            dweight_hh = memory.empty(weight_hh.shape, dtype)
            gemm(dgates[:, : 2 * size].T, states[:, :size], dweight_hh[: 2 * size])
            gemm(dgates[:, 3 * size : 4 * size].T, states[:, :size], dweight_hh[2 * size :])
        if ctx.biased:
            sums = sum_columns(dgates)
            dbias_ih = sums[: 3 * size]
            dbias_hh = memory.empty((3 * size,), dtype)
            arrays.copy_into(dbias_hh[: 2 * size], sums[: 2 * size])
            arrays.copy_into(dbias_hh[2 * size :], sums[3 * size : 4 * size])
        return dx, dh0, dweight_ih, dweight_hh, dbias_ih, dbias_hh, None


def gru_layer(x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], plan: Schedule) -> Any:
    """One layer in one direction: the result of every row, and the final state."""
    y, h = GRUOp.apply(x, *state, *weights, plan)
    return y, (h,)


# ---------------------------------------------------------------- public


def gru(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Layers of gated recurrent units over whole sequences; `nn.GRU` holds the weights.

    In each step $h' = (1 - z) \odot n + z \odot h$, with the gates
    $(r, z) = \sigma(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$ and
    $n = \tanh(W_{in} x + b_{in} + r \odot (W_{hn} h + b_{hn}))$.

    Args:
        input: [T, N, I], float32 or float64; [N, T, I] with batch_first; [R, I] with batch_sizes.
        hx: The first states [L D, N, H], L layers, D directions.
        params: For each layer and direction W_ih [3H, I or D H], W_hh [3H, H], with biases b_ih [3H] and
            b_hh [3H]. Blocks of rows in the order r, z, n.
        has_biases: Whether there are biases.
        num_layers: L.
        dropout: Probability with which elements between layers are set to 0 in training.
        train: Whether this is training.
        bidirectional: Whether each layer also runs from the end to the beginning: D is 2.
        batch_first: Whether the batch is the first dimension of input and result.
        batch_sizes: Sequences in each step, [T], if the input holds sequences of several lengths, packed.

    Returns:
        The result of the last layer [T, N, D H] ([N, T, D H], [R, D H]), and the final states, shaped as the first.

    Raises:
        ShapeError: Sizes do not agree, or the sequences have no step.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: num_layers, dropout or batch_sizes is out of its range.

    Gradient:
        For input, the first states and all weights.

    Example:
        >>> layer = nbdl.nn.GRU(3, 2)
        >>> zeros = nbdl.zeros(1, 4, 2)
        >>> y, h = nbdl.ops.gru(nbdl.ones(5, 4, 3), zeros, list(layer.parameters()), True, 1, 0, True, False)
        >>> y.shape, h.shape
        ((5, 4, 2), (1, 4, 2))

    Source:
        Cho et al. (2014), "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation".
    """
    return run_layers(  # type: ignore[return-value]
        gru_layer,
        3,
        input,
        (hx,),
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
        batch_sizes,
    )


def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    r"""One step of a gated recurrent unit: $h' = (1 - z) \odot n + z \odot h$.

    Args:
        input: [N, I], float32 or float64.
        hx: The state [N, H].
        w_ih: [3H, I]; blocks of rows in the order r, z, n.
        w_hh: [3H, H].
        b_ih: [3H], or None.
        b_hh: [3H], or None, as b_ih.

    Returns:
        The next state [N, H].

    Raises:
        ShapeError: Sizes do not agree.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: One bias alone is given.

    Gradient:
        For all arguments.

    Example:
        >>> nbdl.ops.gru_cell(nbdl.zeros(1, 2), nbdl.ones(1, 1), nbdl.zeros(3, 2), nbdl.zeros(3, 1))
        tensor([[0.5000]])
    """
    return run_cell(gru_layer, 3, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
