r"""The simple recurrent layer: the state is a nonlinear function of the input and the state before.

Forward, in step t, for a row $x$ of the input and the state $h$ [H] of the step before, with $\phi$ = tanh or ReLU:

$$y = h' = \phi(W_{ih}\, x + b_{ih} + W_{hh}\, h + b_{hh})$$

Backward, from the last step to the first, where $\bar h = dy + dh'$ is the gradient of the step's result from outside
and from the step to come:

$$
dz = \bar h \odot \phi', \qquad \phi' = 1 - y^2 \text{ (tanh)}, \quad [y > 0] \text{ (ReLU)}, \qquad
dh = W_{hh}^\top dz
$$

and over all rows at once $dX = dZ\, W_{ih}$, $dW_{ih} = dZ^\top X$, $dW_{hh} = dZ^\top H$, $db = \sum dz$.

How the work is shared out is described in `lstm`.

Letters: T steps, N sequences, R rows of all steps, I features, H hidden features.

Source: Elman (1990), "Finding Structure in Time".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.matmul.linear import sum_columns
from nbdl.ops.recurrent.gates import tanh as gate_tanh
from nbdl.ops.recurrent.layers import run_cell, run_layers, run_layers_reference
from nbdl.ops.recurrent.products import add_row, copy_row, multiply_rows, pack_columns, pack_rows, packed_dot, padded
from nbdl.ops.recurrent.schedule import ACTIVE, BEFORE, FIRST, NEXT, REMAIN, Schedule
from nbdl.runtime import arrays, memory
from nbdl.runtime.gemm import gemm, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import pointer
from nbdl.runtime.vecmath import tanh

# ---------------------------------------------------------------- reference


def _step_reference(phi):
    def step(x, state, weight_ih, weight_hh, bias_ih=0, bias_hh=0):
        return (phi(weight_ih @ x + bias_ih + weight_hh @ state[0] + bias_hh),)

    return step


rnn_tanh_step_reference = _step_reference(np.tanh)
rnn_relu_step_reference = _step_reference(lambda z: np.maximum(z, 0))


def rnn_tanh_reference(
    input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first=False, batch_sizes=None
):
    """The definition, in float64, without dropout."""
    return run_layers_reference(
        rnn_tanh_step_reference, input, hx, params, has_biases, num_layers, bidirectional, batch_first, batch_sizes
    )


def rnn_relu_reference(
    input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first=False, batch_sizes=None
):
    """The definition, in float64, without dropout."""
    return run_layers_reference(
        rnn_relu_step_reference, input, hx, params, has_biases, num_layers, bidirectional, batch_first, batch_sizes
    )


def rnn_tanh_cell_reference(input, hx, w_ih, w_hh, b_ih=0.0, b_hh=0.0):
    """The definition, in float64."""
    return np.tanh(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh)


def rnn_relu_cell_reference(input, hx, w_ih, w_hh, b_ih=0.0, b_hh=0.0):
    """The definition, in float64."""
    return np.maximum(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh, 0)


# ---------------------------------------------------------------- forward


@cpu_function
def _tanh_rows(y, size):
    for j in range(size):
        y[j] = gate_tanh(y[j])


@cpu_kernel
def _rnn_forward_cpu(y, h0, weight, bias, states, h, relu, steps, shares, start, stop):
    """y [R, H]: W_ih x + b_ih on entry, the results on exit. h0, h [N, H]; weight: W_hh packed; bias [H] or empty.

    states [R, stride]: the state before each row. One task a share of the sequences.
    """
    size, stride = h0.shape[1], states.shape[1]
    for task in range(start, stop):
        for s in range(steps.shape[0]):
            first, follows = steps[s, FIRST], steps[s, NEXT]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            for b in range(max(low, steps[s, BEFORE]), high):
                copy_row(pointer(h0, b * size), pointer(states, (first + b) * stride), size)
            if low >= high:
                continue
            multiply_rows(
                high - low, size, pointer(states, (first + low) * stride), stride, pointer(weight, 0), weight.shape[2],
                pointer(bias, 0), bias.shape[0] > 0, pointer(y, (first + low) * size), size, 1.0,
                0.0 if relu else -np.inf, size,
            )  # fmt: skip
            if not relu:
                _tanh_rows(pointer(y, (first + low) * size), (high - low) * size)
            for b in range(low, high):
                goes_on = b < steps[s, REMAIN]
                target = pointer(states, (follows + b) * stride) if goes_on else pointer(h, b * size)
                copy_row(pointer(y, (first + b) * size), target, size)


@cuda_kernel
def _rnn_forward_cuda(y, h0, weight, bias, states, h, relu, steps, shares):
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size = h0.shape[1]
    b = cuda.blockIdx.x
    for s in range(steps.shape[0]):
        if b < steps[s, ACTIVE]:
            row, next_row = steps[s, FIRST] + b, steps[s, NEXT] + b
            if b >= steps[s, BEFORE]:
                for j in range(cuda.threadIdx.x, size, BLOCK):
                    states[row, j] = h0[b, j]
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                value = y[row, j] + packed_dot(states, row, size, weight, j, 0)
                if bias.shape[0] > 0:
                    value += bias[j]
                if not relu:
                    value = tanh(value)
                elif value < y.dtype.type(0):
                    value = y.dtype.type(0)
                y[row, j] = value
                if b < steps[s, REMAIN]:
                    states[next_row, j] = value
                else:
                    h[b, j] = value


rnn_forward = Kernel(
    cpu=_rnn_forward_cpu,
    cuda=_rnn_forward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda y, h0, *_: h0.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- backward


@cpu_function
def _through_tanh(y, dh, dz, size, one):
    for j in range(size):
        dz[j] = dh[j] * (one - y[j] * y[j])


@cpu_function
def _through_relu(y, dh, dz, size, zero):
    for j in range(size):
        dz[j] = zero if y[j] <= zero else dh[j]


@cpu_kernel
def _rnn_backward_cpu(y, dy, weight, dh, dz, relu, steps, shares, start, stop):
    """y, dy [R, H]; dh [N, H]: of the final state on entry, of the first on exit; dz [R, stride] is set.

    weight: W_hh packed for products with dz. One task a share of the sequences.
    """
    size, stride = dh.shape[1], dz.shape[1]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for task in range(start, stop):
        for s in range(steps.shape[0] - 1, -1, -1):
            first = steps[s, FIRST]
            low, high = shares[task], min(shares[task + 1], steps[s, ACTIVE])
            if low >= high:
                continue
            for b in range(low, high):
                result, total, target = (
                    pointer(y, (first + b) * size),
                    pointer(dh, b * size),
                    pointer(dz, (first + b) * stride),
                )
                add_row(pointer(dy, (first + b) * size), total, size)
                if relu:
                    _through_relu(result, total, target, size, zero)
                else:
                    _through_tanh(result, total, target, size, one)
            multiply_rows(
                high - low, size, pointer(dz, (first + low) * stride), stride, pointer(weight, 0), weight.shape[2],
                pointer(dy, 0), False, pointer(dh, low * size), size, 0.0, -np.inf, size,
            )  # fmt: skip


@cuda_kernel
def _rnn_backward_cuda(y, dy, weight, dh, dz, relu, steps, shares):
    """As the CPU twin. One block a sequence; a thread owns the columns threadIdx.x, + BLOCK, ..."""
    size = dh.shape[1]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    b = cuda.blockIdx.x
    for s in range(steps.shape[0] - 1, -1, -1):
        if b < steps[s, ACTIVE]:
            row = steps[s, FIRST] + b
            for j in range(cuda.threadIdx.x, size, BLOCK):
                total, result = dh[b, j] + dy[row, j], y[row, j]
                if relu:
                    dz[row, j] = zero if result <= zero else total
                else:
                    dz[row, j] = total * (one - result * result)
            cuda.syncthreads()
            for j in range(cuda.threadIdx.x, size, BLOCK):
                dh[b, j] = packed_dot(dz, row, size, weight, j, 0)


rnn_backward = Kernel(
    cpu=_rnn_backward_cpu,
    cuda=_rnn_backward_cuda,
    tasks=lambda *arguments: arguments[-1].shape[0] - 1,
    work=lambda *arguments: arguments[-1].shape[0] * PARALLEL_WORK,
    blocks=lambda y, dy, weight, dh, *_: dh.shape[0],
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- autograd


class RNNOp(Op):
    """One layer in one direction: x [R, I], h0 [N, H] -> y [R, H], h [N, H]."""

    @staticmethod
    def forward(ctx: Context, x, h0, weight_ih, weight_hh, bias_ih, bias_hh, relu: bool, plan: Schedule):
        dtype, rows = x.dtype, x.shape[0]
        batch, size = h0.shape
        y, h = memory.empty((rows, size), dtype), memory.empty((batch, size), dtype)
        states = memory.empty((rows, padded(size, dtype.itemsize)), dtype)
        gemm(x, weight_ih.T, y, None if bias_ih is None else arrays.contiguous(bias_ih))
        if batch:
            rnn_forward(
                y,
                arrays.contiguous(h0),
                pack_rows(weight_hh),
                memory.empty((0,), dtype) if bias_hh is None else arrays.contiguous(bias_hh),
                *(states, h, relu, plan.steps, plan.shares(size * size)),
            )
        ctx.plan, ctx.biased, ctx.relu = plan, bias_ih is not None, relu
        ctx.save(x, weight_ih, weight_hh, y, states)
        return y, h

    @staticmethod
    def backward(ctx: Context, dy, dh):
        x, weight_ih, weight_hh, y, states = ctx.saved
        wants_dx, _, wants_dweight_ih, wants_dweight_hh, *_ = ctx.needs_input_grad
        dtype, (batch, size) = x.dtype, dh.shape
        dz_rows = memory.empty((x.shape[0], padded(size, dtype.itemsize)), dtype)
        dh0 = memory.empty(dh.shape, dtype)
        arrays.copy_into(dh0, dh)
        if batch:
            packed = pack_columns(arrays.contiguous(weight_hh))
            shares = ctx.plan.shares(size * size)
            rnn_backward(y, arrays.contiguous(dy), packed, dh0, dz_rows, ctx.relu, ctx.plan.steps, shares)
        dz = dz_rows[:, :size]
        dx = dweight_ih = dweight_hh = dbias = None
        if wants_dx:
            dx = memory.empty(x.shape, dtype)
            gemm(dz, weight_ih, dx)
        if wants_dweight_ih:
            dweight_ih = memory.empty(weight_ih.shape, dtype)
            gemm(dz.T, x, dweight_ih)
        if wants_dweight_hh:
            dweight_hh = memory.empty(weight_hh.shape, dtype)
            gemm(dz.T, states[:, :size], dweight_hh)
        if ctx.biased:
            dbias = sum_columns(dz_rows)[:size]
        return dx, dh0, dweight_ih, dweight_hh, dbias, dbias, None, None


def rnn_tanh_layer(x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], plan: Schedule) -> Any:
    """One layer in one direction: the result of every row, and the final state."""
    y, h = RNNOp.apply(x, *state, *weights, False, plan)
    return y, (h,)


def rnn_relu_layer(x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], plan: Schedule) -> Any:
    """One layer in one direction: the result of every row, and the final state."""
    y, h = RNNOp.apply(x, *state, *weights, True, plan)
    return y, (h,)


# ---------------------------------------------------------------- public


def rnn_tanh(
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
    r"""Layers of simple recurrent units with tanh over whole sequences; `nn.RNN` holds the weights.

    In each step $h' = \tanh(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input: [T, N, I], float32 or float64; [N, T, I] with batch_first; [R, I] with batch_sizes.
        hx: The first states [L D, N, H], L layers, D directions.
        params: For each layer and direction W_ih [H, I or D H], W_hh [H, H], with biases b_ih [H] and
            b_hh [H].
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
        >>> layer = nbdl.nn.RNN(3, 2)
        >>> zeros = nbdl.zeros(1, 4, 2)
        >>> y, h = nbdl.ops.rnn_tanh(nbdl.ones(5, 4, 3), zeros, list(layer.parameters()), True, 1, 0, True, False)
        >>> y.shape, h.shape
        ((5, 4, 2), (1, 4, 2))

    Source:
        Elman (1990), "Finding Structure in Time".
    """
    return run_layers(  # type: ignore[return-value]
        rnn_tanh_layer,
        1,
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


def rnn_relu(
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
    r"""Layers of simple recurrent units with ReLU over whole sequences; `nn.RNN` holds the weights.

    In each step $h' = \mathrm{ReLU}(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input: [T, N, I], float32 or float64; [N, T, I] with batch_first; [R, I] with batch_sizes.
        hx: The first states [L D, N, H], L layers, D directions.
        params: For each layer and direction W_ih [H, I or D H], W_hh [H, H], with biases b_ih [H] and
            b_hh [H].
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
        >>> layer = nbdl.nn.RNN(3, 2, nonlinearity="relu")
        >>> zeros = nbdl.zeros(1, 4, 2)
        >>> y, h = nbdl.ops.rnn_relu(nbdl.ones(5, 4, 3), zeros, list(layer.parameters()), True, 1, 0, True, False)
        >>> y.shape, h.shape
        ((5, 4, 2), (1, 4, 2))

    Source:
        Elman (1990), "Finding Structure in Time".
    """
    return run_layers(  # type: ignore[return-value]
        rnn_relu_layer,
        1,
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


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    r"""One step of a simple recurrent unit: $h' = \tanh(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input: [N, I], float32 or float64.
        hx: The state [N, H].
        w_ih: [H, I].
        w_hh: [H, H].
        b_ih: [H], or None.
        b_hh: [H], or None, as b_ih.

    Returns:
        The next state [N, H].

    Raises:
        ShapeError: Sizes do not agree.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: One bias alone is given.

    Gradient:
        For all arguments.

    Example:
        >>> nbdl.ops.rnn_tanh_cell(nbdl.ones(1, 1), nbdl.ones(1, 1), nbdl.tensor([[3.0]]), nbdl.tensor([[-2.0]]))
        tensor([[0.7616]])
    """
    return run_cell(rnn_tanh_layer, 1, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    r"""One step of a simple recurrent unit: $h' = \mathrm{ReLU}(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input: [N, I], float32 or float64.
        hx: The state [N, H].
        w_ih: [H, I].
        w_hh: [H, H].
        b_ih: [H], or None.
        b_hh: [H], or None, as b_ih.

    Returns:
        The next state [N, H].

    Raises:
        ShapeError: Sizes do not agree.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: One bias alone is given.

    Gradient:
        For all arguments.

    Example:
        >>> nbdl.ops.rnn_relu_cell(nbdl.ones(1, 1), nbdl.ones(1, 1), nbdl.tensor([[3.0]]), nbdl.tensor([[-2.0]]))
        tensor([[1.]])
    """
    return run_cell(rnn_relu_layer, 1, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
