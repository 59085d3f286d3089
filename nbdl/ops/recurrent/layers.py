"""Layers of recurrent networks: their stack, its directions, its dropout, and the checks of its arguments.

A layer reads the results of the one below. With two directions each layer runs twice, forwards and backwards, with
weights of its own, and the results of both are put side by side. Between layers, dropout in training.

The three kinds of layers differ in one function, `layer(x, state, weights, plan)`: from the rows x [R, I], the first
state and the weights of one layer in one direction to the results of all rows and the final state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.dropout import dropout as drop
from nbdl.ops.recurrent.schedule import Schedule, schedule, uniform_schedule
from nbdl.ops.shape.joining import cat, stack, unbind
from nbdl.ops.shape.views import reshape, transpose
from nbdl.runtime.checks import check_float, check_int, check_number, check_rank, check_same_dtype, check_shape
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

Layer = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor | None], Schedule], tuple[Tensor, tuple[Tensor, ...]]]

# ---------------------------------------------------------------- reference


def run_layers_reference(
    step, input, hx, params, has_biases, num_layers, bidirectional, batch_first=False, batch_sizes=None
):
    """The definition, in float64: every sequence by itself, one step after the other."""
    states = hx if isinstance(hx, (tuple, list)) else (hx,)
    directions, batch = 1 + bidirectional, states[0].shape[1]
    if batch_sizes is None:
        sequences = list(input if batch_first else input.swapaxes(0, 1))
    else:
        starts = np.cumsum(batch_sizes) - batch_sizes
        sequences = [input[starts[batch_sizes > b] + b] for b in range(batch)]
    each = len(params) // (num_layers * directions)
    final: list[list[list[Any]]] = [[] for _ in states]
    for layer in range(num_layers):
        results = []
        for direction in range(directions):
            number = layer * directions + direction
            weights = list(params[number * each : (number + 1) * each])
            if not has_biases:
                weights[2:2] = [0, 0]
            ys, ends = [], []
            for b, x in enumerate(sequences):
                state, y = tuple(s[number, b] for s in states), []
                for row in x[::-1] if direction else x:
                    state = step(row, state, *weights)
                    y.append(state[0])
                ys.append(np.array(y[::-1] if direction else y))
                ends.append(state)
            results.append(ys)
            for k, kept in enumerate(final):
                kept.append([end[k] for end in ends])
        sequences = [np.concatenate(parts, axis=1) for parts in zip(*results, strict=True)]
    last = tuple(np.array(kept).reshape(s.shape) for kept, s in zip(final, states, strict=True))
    width = directions * states[0].shape[2]
    if batch_sizes is None:
        y = np.array(sequences).reshape(batch, input.shape[1 if batch_first else 0], width)
        return (y if batch_first else y.swapaxes(0, 1)), *last
    y = np.zeros((input.shape[0], width))
    for b, sequence in enumerate(sequences):
        y[starts[batch_sizes > b] + b] = sequence
    return y, *last


# ---------------------------------------------------------------- the stack


def run_layers(
    layer: Layer,
    gates: int,
    input: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: Tensor | None,
) -> tuple[Tensor, ...]:
    """The result of the last layer, and the final states of all. `gates` is the number of weights' blocks of rows."""
    directions = 2 if bidirectional else 1
    check_int("num_layers", num_layers, low=1)
    check_number("dropout", dropout, 0, 1)
    sizes = None if batch_sizes is None else _check_batch_sizes(batch_sizes, input)
    check_rank("input", check_float("input", input), 3 if sizes is None else 2)
    if batch_first and sizes is None:
        input = transpose(input, 0, 1)
    if input.shape[0] == 0:
        raise ShapeError(f"input: expected a sequence length of at least 1, got shape {list(input.shape)}")
    batch = input.shape[1] if sizes is None else sizes[0]
    weights = _check_weights(input, states, params, has_biases, num_layers * directions, directions, gates, batch)
    if sizes is None:
        steps, _, features = input.shape
        plans = [uniform_schedule(steps, batch, reverse) for reverse in (False, True)[:directions]]
        x = reshape(input, (steps * batch, features))
    else:
        plans = [schedule(sizes, reverse) for reverse in (False, True)[:directions]]
        x = input
    firsts: list[tuple[Tensor, ...]]
    if len(weights) == 1:
        firsts = [tuple([reshape(state, state.shape[1:]) for state in states])]
    else:
        firsts = list(zip(*(unbind(state) for state in states), strict=True))
    finals = []
    for number in range(0, len(weights), directions):
        if number and dropout and train:
            x = drop(x, dropout, True)
        results = []
        for direction, plan in enumerate(plans):
            y, final = layer(x, firsts[number + direction], weights[number + direction], plan)
            results.append(y)
            finals.append(final)
        x = results[0] if directions == 1 else cat(results, 1)
    if len(finals) == 1:
        last = [reshape(final, (1, *final.shape)) for final in finals[0]]
    else:
        last = [stack(kept) for kept in zip(*finals, strict=True)]
    if sizes is None:
        x = reshape(x, (steps, batch, x.shape[1]))
        if batch_first:
            x = transpose(x, 0, 1)
    return x, *last


def _check_batch_sizes(batch_sizes: Tensor, input: Tensor) -> tuple[int, ...]:
    if not isinstance(batch_sizes, Tensor) or batch_sizes.ndim != 1 or batch_sizes.dtype.kind not in "iu":
        raise ArgumentTypeError(f"batch_sizes: expected a tensor of integers of one dimension, got {batch_sizes!r}")
    sizes = tuple(batch_sizes.tolist())
    if not sizes or sizes[-1] < 1 or any(after > before for before, after in pairwise(sizes)):
        raise ArgumentError(f"batch_sizes: expected positive numbers that never grow, got {list(sizes)[:10]}")
    if sum(sizes) != input.shape[0]:
        raise ShapeError(f"batch_sizes: expected {input.shape[0]} rows in all, those of input, got {sum(sizes)}")
    return sizes


def _check_tensor(state: Any) -> Tensor:
    if not isinstance(state, Tensor):
        raise ArgumentTypeError(f"hx: expected a Tensor, got {type(state).__name__}")
    return state


def _check_weights(
    input: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    count: int,
    directions: int,
    gates: int,
    batch: int,
) -> list[list[Tensor | None]]:
    """The weights of each layer and direction: W_ih, W_hh, b_ih, b_hh, and W_hr where the state is a projection."""
    for state in states:
        check_rank("hx", check_same_dtype("hx", _check_tensor(state), "input", input), 3)
    p, hidden = states[0].shape[2], states[-1].shape[2]
    projected = p != hidden
    each = 2 + 2 * has_biases + projected
    if len(params) != count * each:
        raise ShapeError(f"params: expected {count} times {each} weights, got {len(params)}")
    for state, size in zip(states, (p, hidden), strict=False):
        check_shape("hx", state, (count, batch, size))
    weights = []
    features = input.shape[-1]
    for number in range(count):
        if number == directions:
            features = p * directions
        listed: list[Tensor | None] = list(params[number * each : (number + 1) * each])
        shapes = [(gates * hidden, features), (gates * hidden, p), *[(gates * hidden,)] * (2 * has_biases)]
        if projected:
            shapes.append((p, hidden))
        for place, (weight, shape) in enumerate(zip(listed, shapes, strict=True)):
            name = f"params[{number * each + place}]"
            check_same_dtype(name, check_shape(name, weight, shape), "input", input)
        if not has_biases:
            listed[2:2] = [None, None]
        weights.append(listed)
    return weights


# ---------------------------------------------------------------- one step


def run_cell(
    layer: Layer,
    gates: int,
    input: Tensor,
    states: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> tuple[Tensor, ...]:
    """One step of a layer for a batch: input [N, I], states [N, H] -> the next states."""
    check_rank("input", check_float("input", input), 2)
    batch, features = input.shape
    hidden = check_rank("w_hh", w_hh, 2).shape[1]
    for state in states:
        check_same_dtype("hx", check_shape("hx", _check_tensor(state), (batch, hidden)), "input", input)
    shapes = ((gates * hidden, features), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    for name, weight, shape in zip(("w_ih", "w_hh", "b_ih", "b_hh"), (w_ih, w_hh, b_ih, b_hh), shapes, strict=True):
        if weight is not None:
            check_same_dtype(name, check_shape(name, weight, shape), "input", input)
    if (b_ih is None) != (b_hh is None):
        raise ArgumentError("b_ih, b_hh: expected both or neither")
    return layer(input, states, (w_ih, w_hh, b_ih, b_hh), uniform_schedule(1, batch, False))[1]
