r"""Long short-term memory: a recurrent layer whose cell state passes through the steps almost unchanged.

Forward, in step t, for a row $x$ of the input, the state $h$ [P] and the cell state $c$ [H] of the step before:

$$
\begin{aligned}
\tilde z = (\tilde i, \tilde f, \tilde g, \tilde o) &= W_{ih}\, x + b_{ih} + W_{hh}\, h + b_{hh} \in \mathbb{R}^{4H} \\
i = \sigma(\tilde i),\quad f &= \sigma(\tilde f),\quad g = \tanh \tilde g,\quad o = \sigma(\tilde o) \\
c' = f \odot c + i \odot g, \qquad m &= o \odot \tanh c', \qquad h' = y = m, \text{ or } W_{hr}\, m
\text{ with a projection}
\end{aligned}
$$

Backward, from the last step to the first, where $\bar h = dy + dh'$ is the gradient of the step's result from outside
and from the step to come, and $\bar m = \bar h$ or $W_{hr}^\top \bar h$:

$$
\begin{aligned}
\bar c &= dc' + \bar m \odot o \odot (1 - \tanh^2 c'), & dc &= \bar c \odot f \\
d\tilde i &= \bar c \odot g \odot i (1 - i), & d\tilde f &= \bar c \odot c \odot f (1 - f) \\
d\tilde g &= \bar c \odot i \odot (1 - g^2), & d\tilde o &= \bar m \odot \tanh c' \odot o (1 - o) \\
dh &= W_{hh}^\top d\tilde z, & d\tilde z &= (d\tilde i, d\tilde f, d\tilde g, d\tilde o)
\end{aligned}
$$

and over all rows at once $dX = d\tilde Z W_{ih}$, $dW_{ih} = d\tilde Z^\top X$, $dW_{hh} = d\tilde Z^\top H$,
$db = \sum d\tilde z$, $dW_{hr} = \bar H^\top M$.

What depends on the step before runs in one kernel for the whole sequence. Threads share out the sequences: none waits
for another. The weights' gradients are one product over all steps. So is $W_{ih} X$ where the weights are large; small
ones stay in the cache, and one product a step with $(W_{hh}, W_{ih}, b_{ih}, b_{hh})$ and rows $(h, x, 1, 1)$ does all.

Letters: T steps, N sequences, R rows of all steps, I features, H hidden features, P features of the state.

Sources: Hochreiter and Schmidhuber (1997), "Long Short-Term Memory"; Gers, Schmidhuber and Cummins (2000), "Learning to
Forget" (the gate f); Sak, Senior and Beaufays (2014), "Long Short-Term Memory Based Recurrent Neural Network
Architectures" (the projection).
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
from nbdl.ops.recurrent.products import (
    add_row,
    copy_row,
    multiply_rows,
    pack_columns,
    pack_rows,
    packed_dot,
    padded,
)
from nbdl.ops.recurrent.schedule import ACTIVE, BEFORE, FIRST, NEXT, REMAIN, Schedule
from nbdl.runtime import arrays, memory
from nbdl.runtime.errors import ArgumentTypeError
from nbdl.runtime.gemm import gemm, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import advance, pointer
from nbdl.runtime.vecmath import sigmoid, tanh

JOINED_BYTES = 1 << 19
"""Bytes of W_hh, W_ih and biases side by side up to which one product a step does for all: the second cache keeps them.
Larger ones are read once for all steps, where that is possible."""

# ---------------------------------------------------------------- reference


def lstm_step_reference(x, state, weight_ih, weight_hh, bias_ih=0, bias_hh=0, weight_hr=None):
    """One step in float64: x [I], state (h [P], c [H]) -> the next state."""
    h, c = state
    i, f, g, o = np.split(weight_ih @ x + bias_ih + weight_hh @ h + bias_hh, 4)
    c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    m = np.tanh(c) / (1 + np.exp(-o))
    return m if weight_hr is None else weight_hr @ m, c


def lstm_reference(
    input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first=False, batch_sizes=None
):
    """The definition, in float64, without dropout."""
    return run_layers_reference(
        lstm_step_reference, input, hx, params, has_biases, num_layers, bidirectional, batch_first, batch_sizes
    )


def lstm_cell_reference(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The definition, in float64."""
    biases = () if b_ih is None else (b_ih, b_hh)
    steps = [lstm_step_reference(x, (h, c), w_ih, w_hh, *biases) for x, h, c in zip(input, *hx, strict=True)]
    return tuple(np.array([step[k] for step in steps]).reshape(hx[k].shape) for k in (0, 1))


# ---------------------------------------------------------------- forward


@cpu_function
def _activate(gates, hidden):
    """gates [4H] of one row, each through its nonlinearity, in place."""
    for j in range(2 * hidden):
        gates[j] = gate_sigmoid(gates[j])
    candidate = advance(gates, 2 * hidden)
    for j in range(hidden):
        candidate[j] = gate_tanh(candidate[j])
    output = advance(gates, 3 * hidden)
    for j in range(hidden):
        output[j] = gate_sigmoid(output[j])


@cpu_function
def _update(gates, hidden, cell, next_cell, result):
    """From activated gates [4H] and the cell state [H]: the next one, and m."""
    f, g, o = advance(gates, hidden), advance(gates, 2 * hidden), advance(gates, 3 * hidden)
    for j in range(hidden):
        value = f[j] * cell[j] + gates[j] * g[j]
        next_cell[j] = value
        result[j] = o[j] * gate_tanh(value)


@cpu_function
def _append_input(state, x, features, ones, one):
    """state = x [I], then some ones."""
    copy_row(x, state, features)
    for k in range(ones):
        state[features + k] = one


@cpu_kernel
def _lstm_forward_cpu(
    x, ones, gates, h0, c0, weight, bias, projection, y, states, cells, hidden, h, c, steps, shares, start, stop
):  # fmt: skip
    """gates [R, 4H]: activated on exit. y [R, P]; h0, h [N, P]; c0, c [N, H].

    x [R, I]: weight is W_hh, W_ih and `ones` biases side by side, packed. Or x is empty: gates are W_ih x + b_ih on
    entry, weight is W_hh alone, and bias [4H] is its bias, or empty. projection: W_hr packed, or empty.
    states [R, stride], cells [R, H]: the state before each row, in `states` followed by x and the ones; hidden [R, H]:
    m before the projection, unused without one. One task a share of the sequences.
    """
    size, p, features = c0.shape[1], h0.shape[1], x.shape[1]
    stride, depth, width = states.shape[1], weight.shape[1], weight.shape[2]
    joined, projected = x.shape[0] > 0, projection.shape[0] > 0
    one = gates.dtype.type(1)
    for task in range(start, stop):
        for s in range(steps.shape[0]):
            first, follows = steps[s, FIRST], steps[s, NEXT]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            for b in range(max(low, steps[s, BEFORE]), high):
                copy_row(pointer(h0, b * p), pointer(states, (first + b) * stride), p)
                copy_row(pointer(c0, b * size), pointer(cells, (first + b) * size), size)
            if low >= high:
                continue
            if joined:
                for row in range(first + low, first + high):
                    _append_input(pointer(states, row * stride + p), pointer(x, row * features), features, ones, one)
            multiply_rows(
                high - low, depth, pointer(states, (first + low) * stride), stride, pointer(weight, 0), width,
                pointer(bias, 0), bias.shape[0] > 0, pointer(gates, (first + low) * 4 * size), 4 * size,
                0.0 if joined else 1.0, -np.inf, 4 * size,
            )  # fmt: skip
            for b in range(low, high):
                row = first + b
                goes_on = b < steps[s, REMAIN]
                next_cell = pointer(cells, (follows + b) * size) if goes_on else pointer(c, b * size)
                result = pointer(hidden, row * size) if projected else pointer(y, row * size)
                _activate(pointer(gates, row * 4 * size), size)
                _update(pointer(gates, row * 4 * size), size, pointer(cells, row * size), next_cell, result)
            if projected:
                multiply_rows(
                    high - low, size, pointer(hidden, (first + low) * size), size, pointer(projection, 0), width,
                    pointer(bias, 0), False, pointer(y, (first + low) * p), p, 0.0, -np.inf, p,
                )  # fmt: skip
            for b in range(low, high):
                goes_on = b < steps[s, REMAIN]
                target = pointer(states, (follows + b) * stride) if goes_on else pointer(h, b * p)
                copy_row(pointer(y, (first + b) * p), target, p)


@cuda_kernel
def _lstm_forward_cuda(
    x, ones, gates, h0, c0, weight, bias, projection, y, states, cells, hidden, h, c, steps, shares
):  # fmt: skip
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size, p, features = c0.shape[1], h0.shape[1], x.shape[1]
    joined = x.shape[0] > 0
    b = cuda.blockIdx.x
    for s in range(steps.shape[0]):
        if b < steps[s, ACTIVE]:
            row, next_row = steps[s, FIRST] + b, steps[s, NEXT] + b
            goes_on = b < steps[s, REMAIN]
            if b >= steps[s, BEFORE]:
                for j in range(cuda.threadIdx.x, p, BLOCK):
                    states[row, j] = h0[b, j]
                for j in range(cuda.threadIdx.x, size, BLOCK):
                    cells[row, j] = c0[b, j]
            if joined:
                for j in range(cuda.threadIdx.x, features, BLOCK):
                    states[row, p + j] = x[row, j]
                for j in range(cuda.threadIdx.x, ones, BLOCK):
                    states[row, p + features + j] = 1
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, 4 * size, BLOCK):
                value = packed_dot(states, row, weight.shape[1], weight, j, 0)
                if not joined:
                    value += gates[row, j]
                if bias.shape[0] > 0:
                    value += bias[j]
                gates[row, j] = tanh(value) if 2 * size <= j and j < 3 * size else sigmoid(value)
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                value = gates[row, size + j] * cells[row, j] + gates[row, j] * gates[row, 2 * size + j]
                result = gates[row, 3 * size + j] * tanh(value)
                if goes_on:
                    cells[next_row, j] = value
                else:
                    c[b, j] = value
                if projection.shape[0] > 0:
                    hidden[row, j] = result
                else:
                    y[row, j] = result
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, p, BLOCK):
                if projection.shape[0] > 0:
                    y[row, j] = packed_dot(hidden, row, size, projection, j, 0)
                if goes_on:
                    states[next_row, j] = y[row, j]
                else:
                    h[b, j] = y[row, j]


lstm_forward = Kernel(
    cpu=_lstm_forward_cpu,
    cuda=_lstm_forward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda x, ones, gates, h0, *_: h0.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- backward


@cpu_function
def _cell_backward(gates, hidden, cell, dm, dc, dgates, one):
    """Of one row: dgates [4H] from activated gates [4H], the cell state [H] before it, and dm [H]; dc [H] in place."""
    f, g, o = advance(gates, hidden), advance(gates, 2 * hidden), advance(gates, 3 * hidden)
    df, dg, do = advance(dgates, hidden), advance(dgates, 2 * hidden), advance(dgates, 3 * hidden)
    for j in range(hidden):  # in a loop of its own: with all the products below it would not fit into the registers
        do[j] = gate_tanh(f[j] * cell[j] + gates[j] * g[j])
    for j in range(hidden):
        squashed = do[j]
        total = dc[j] + dm[j] * o[j] * (one - squashed * squashed)
        dgates[j] = total * g[j] * gates[j] * (one - gates[j])
        df[j] = total * cell[j] * f[j] * (one - f[j])
        dg[j] = total * gates[j] * (one - g[j] * g[j])
        do[j] = dm[j] * squashed * o[j] * (one - o[j])
        dc[j] = total * f[j]


@cpu_kernel
def _lstm_backward_cpu(
    gates, dy, cells, weight, projection, dh, dc, dgates, totals, dhidden, wants_dh, steps, shares, start, stop
):  # fmt: skip
    """gates [R, 4H] activated; dy [R, P]; dh [N, P], dc [N, H]: of the final states on entry, of the first on exit.

    cells [R, H] of the forward pass; weight: W_hh packed for products with dgates [R, stride]. With a projection,
    packed, totals [R, P] is the gradient of every result and dhidden [N, H] is room for dm. Unless wants_dh, the
    gradient of the first state is left out. One task a share of the sequences.
    """
    size, p = dc.shape[1], dh.shape[1]
    stride, width = dgates.shape[1], weight.shape[2]
    projected = projection.shape[0] > 0
    one = gates.dtype.type(1)
    for task in range(start, stop):
        for s in range(steps.shape[0] - 1, -1, -1):
            first = steps[s, FIRST]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            if low >= high:
                continue
            for b in range(low, high):
                add_row(pointer(dy, (first + b) * p), pointer(dh, b * p), p)
                if projected:
                    copy_row(pointer(dh, b * p), pointer(totals, (first + b) * p), p)
            if projected:
                multiply_rows(
                    high - low, p, pointer(dh, low * p), p, pointer(projection, 0), width, pointer(dy, 0), False,
                    pointer(dhidden, low * size), size, 0.0, -np.inf, size,
                )  # fmt: skip
            for b in range(low, high):
                row = first + b
                dm = pointer(dhidden, b * size) if projected else pointer(dh, b * size)
                _cell_backward(
                    pointer(gates, row * 4 * size), size, pointer(cells, row * size), dm, pointer(dc, b * size),
                    pointer(dgates, row * stride), one,
                )  # fmt: skip
            if s or wants_dh:
                multiply_rows(
                    high - low, 4 * size, pointer(dgates, (first + low) * stride), stride, pointer(weight, 0), width,
                    pointer(dy, 0), False, pointer(dh, low * p), p, 0.0, -np.inf, p,
                )  # fmt: skip


@cuda_kernel
def _lstm_backward_cuda(
    gates, dy, cells, weight, projection, dh, dc, dgates, totals, dhidden, wants_dh, steps, shares
):  # fmt: skip
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size, p = dc.shape[1], dh.shape[1]
    one = gates.dtype.type(1)
    b = cuda.blockIdx.x
    for s in range(steps.shape[0] - 1, -1, -1):
        if b < steps[s, ACTIVE]:
            row = steps[s, FIRST] + b
            for j in range(cuda.threadIdx.x, p, BLOCK):
                dh[b, j] += dy[row, j]
                if projection.shape[0] > 0:
                    totals[row, j] = dh[b, j]
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                dm = packed_dot(dh, b, p, projection, j, 0) if projection.shape[0] > 0 else dh[b, j]
                i, f = gates[row, j], gates[row, size + j]
                g, o = gates[row, 2 * size + j], gates[row, 3 * size + j]
                squashed = tanh(f * cells[row, j] + i * g)
                total = dc[b, j] + dm * o * (one - squashed * squashed)
                dgates[row, j] = total * g * i * (one - i)
                dgates[row, size + j] = total * cells[row, j] * f * (one - f)
                dgates[row, 2 * size + j] = total * i * (one - g * g)
                dgates[row, 3 * size + j] = dm * squashed * o * (one - o)
                dc[b, j] = total * f
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, p, BLOCK):
                dh[b, j] = packed_dot(dgates, row, 4 * size, weight, j, 0)


lstm_backward = Kernel(
    cpu=_lstm_backward_cpu,
    cuda=_lstm_backward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda gates, dy, cells, weight, projection, dh, *_: dh.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- autograd


class LSTMOp(Op):
    """One layer in one direction: x [R, I], h0 [N, P], c0 [N, H] -> y [R, P], h [N, P], c [N, H]."""

    @staticmethod
    def forward(ctx: Context, x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, plan: Schedule):
        dtype, (rows, features), (batch, p), size = x.dtype, x.shape, h0.shape, c0.shape[1]
        ones = 0 if bias_ih is None else 2
        ctx.joined = joined = (p + features + ones) * 4 * size * dtype.itemsize <= JOINED_BYTES
        gates, none = memory.empty((rows, 4 * size), dtype), memory.empty((0,), dtype)
        weight_hh = arrays.contiguous(weight_hh)
        if joined:
            biases = [] if bias_ih is None else [bias_ih.reshape(-1, 1), bias_hh.reshape(-1, 1)]
            x = arrays.contiguous(x)
            packed = pack_rows(weight_hh, weight_ih, *biases)
        else:
            gemm(x, weight_ih.T, gates, None if bias_ih is None else arrays.contiguous(bias_ih))
            packed = pack_rows(weight_hh)
        projection = memory.empty((0, 0, 0), dtype) if weight_hr is None else pack_rows(weight_hr)
        y, h, c = (memory.empty(shape, dtype) for shape in ((rows, p), (batch, p), (batch, size)))
        states = memory.empty((rows, padded(packed.shape[1], dtype.itemsize)), dtype)
        cells = memory.empty((rows, size), dtype)
        hidden = memory.empty((0 if weight_hr is None else rows, size), dtype)
        if batch:
            lstm_forward(
                x if joined else memory.empty((0, features), dtype),
                *(ones, gates, arrays.contiguous(h0), arrays.contiguous(c0), packed),
                none if joined or bias_hh is None else arrays.contiguous(bias_hh),
                *(projection, y, states, cells, hidden, h, c, plan.steps, plan.shares(4 * size * p)),
            )
        ctx.plan, ctx.projected = plan, weight_hr is not None
        ctx.save(x, weight_ih, weight_hh, gates, states, cells, hidden, *([weight_hr] if ctx.projected else []))
        return y, h, c

    @staticmethod
    def backward(ctx: Context, dy, dh, dc):
        x, weight_ih, weight_hh, gates, states, cells, hidden, *rest = ctx.saved
        wants_dx, wants_dh0, _, *wants_dweights, _ = ctx.needs_input_grad
        wants_dbias = any(wants_dweights[2:4])
        dtype, (rows, features), (batch, p), size = x.dtype, x.shape, dh.shape, dc.shape[1]
        dgates = memory.empty((rows, padded(4 * size, dtype.itemsize)), dtype)
        dh0, dc0 = memory.empty(dh.shape, dtype), memory.empty(dc.shape, dtype)
        arrays.copy_into(dh0, dh)
        arrays.copy_into(dc0, dc)
        totals = memory.empty((rows if ctx.projected else 0, p), dtype)
        if batch:
            lstm_backward(
                *(gates, arrays.contiguous(dy), cells, pack_columns(weight_hh)),
                pack_columns(arrays.contiguous(rest[0])) if ctx.projected else memory.empty((0, 0, 0), dtype),
                *(dh0, dc0, dgates, totals, memory.empty((batch if ctx.projected else 0, size), dtype)),
                *(wants_dh0, ctx.plan.steps, ctx.plan.shares(4 * size * p)),
            )
        dz = dgates[:, : 4 * size]
        dx = dweight_ih = dweight_hh = dbias_ih = dbias_hh = dweight_hr = None
        if wants_dx:
            dx = memory.empty(x.shape, dtype)
            gemm(dz, weight_ih, dx)
        if ctx.joined and any(wants_dweights):
            ones = 2 * wants_dbias
            dweights = memory.empty((4 * size, p + features + ones), dtype)
            gemm(dz.T, states[:, : p + features + ones], dweights)
            dweight_hh, dweight_ih = dweights[:, :p], dweights[:, p : p + features]
            if ones:
                dbias_ih = dbias_hh = dweights[:, p + features]
        else:
            if wants_dweights[0]:
                dweight_ih = memory.empty(weight_ih.shape, dtype)
                gemm(dz.T, x, dweight_ih)
            if wants_dweights[1]:
                dweight_hh = memory.empty(weight_hh.shape, dtype)
                gemm(dz.T, states[:, :p], dweight_hh)
            if wants_dbias:
                dbias_ih = dbias_hh = sum_columns(dgates)[: 4 * size]
        if ctx.projected:
            dweight_hr = memory.empty(rest[0].shape, dtype)
            gemm(totals.T, hidden, dweight_hr)
        return dx, dh0 if wants_dh0 else None, dc0, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_hr, None


def lstm_layer(x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], plan: Schedule) -> Any:
    """One layer in one direction: the result of every row, and the final states."""
    w_ih, w_hh, b_ih, b_hh, *w_hr = weights
    y, *final = LSTMOp.apply(x, *state, w_ih, w_hh, b_ih, b_hh, w_hr[0] if w_hr else None, plan)
    return y, tuple(final)


# ---------------------------------------------------------------- public


def lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Layers of long short-term memory over whole sequences; `nn.LSTM` holds the weights.

    In each step $c' = f \odot c + i \odot g$ and $h' = o \odot \tanh c'$, with the gates
    $(i, f, g, o) = (\sigma, \sigma, \tanh, \sigma)(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$; with a projection
    $h' = W_{hr} (o \odot \tanh c')$.

    Args:
        input: [T, N, I], float32 or float64; [N, T, I] with batch_first; [R, I] with batch_sizes.
        hx: The first states (h [L D, N, P], c [L D, N, H]), L layers, D directions; P is H without a projection.
        params: For each layer and direction W_ih [4H, I or D P], W_hh [4H, P], with biases b_ih [4H] and b_hh [4H],
            with a projection W_hr [P, H]. Blocks of rows in the order i, f, g, o.
        has_biases: Whether there are biases.
        num_layers: L.
        dropout: Probability with which elements between layers are set to 0 in training.
        train: Whether this is training.
        bidirectional: Whether each layer also runs from the end to the beginning: D is 2.
        batch_first: Whether the batch is the first dimension of input and result.
        batch_sizes: Sequences in each step, [T], if the input holds sequences of several lengths, packed.

    Returns:
        The result of the last layer [T, N, D P] ([N, T, D P], [R, D P]), and the final states, shaped as the first.

    Raises:
        ShapeError: Sizes do not agree, or the sequences have no step.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: num_layers, dropout or batch_sizes is out of its range.

    Gradient:
        For input, both first states and all weights.

    Example:
        >>> layer = nbdl.nn.LSTM(3, 2)
        >>> zeros = nbdl.zeros(1, 4, 2)
        >>> weights = list(layer.parameters())
        >>> y, h, c = nbdl.ops.lstm(nbdl.ones(5, 4, 3), (zeros, zeros), weights, True, 1, 0, True, False)
        >>> y.shape, h.shape, c.shape
        ((5, 4, 2), (1, 4, 2), (1, 4, 2))

    Source:
        Hochreiter and Schmidhuber (1997), "Long Short-Term Memory".
    """
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise ArgumentTypeError(f"hx: expected the two tensors (h, c), got {type(hx).__name__}")
    return run_layers(  # type: ignore[return-value]
        lstm_layer,
        4,
        input,
        hx,
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
        batch_sizes,
    )


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""One step of long short-term memory: $c' = f \odot c + i \odot g$, $h' = o \odot \tanh c'$.

    Args:
        input: [N, I], float32 or float64.
        hx: The state (h [N, H], c [N, H]).
        w_ih: [4H, I]; blocks of rows in the order i, f, g, o.
        w_hh: [4H, H].
        b_ih: [4H], or None.
        b_hh: [4H], or None, as b_ih.

    Returns:
        The next state (h', c'), each [N, H].

    Raises:
        ShapeError: Sizes do not agree.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: One bias alone is given.

    Gradient:
        For all arguments.

    Example:
        >>> state = nbdl.zeros(1, 1), nbdl.ones(1, 1)
        >>> h, c = nbdl.ops.lstm_cell(nbdl.zeros(1, 2), state, nbdl.zeros(4, 2), nbdl.zeros(4, 1))
        >>> c
        tensor([[0.5000]])
    """
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise ArgumentTypeError(f"hx: expected the two tensors (h, c), got {type(hx).__name__}")
    return run_cell(lstm_layer, 4, input, hx, w_ih, w_hh, b_ih, b_hh)  # type: ignore[return-value]
