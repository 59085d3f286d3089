"""Recurrent layers and their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.recurrent.gru import gru, gru_cell, gru_cell_reference, gru_reference
from nbdl.ops.recurrent.lstm import lstm, lstm_cell, lstm_cell_reference, lstm_reference
from nbdl.ops.recurrent.rnn import (
    rnn_relu,
    rnn_relu_cell,
    rnn_relu_cell_reference,
    rnn_relu_reference,
    rnn_tanh,
    rnn_tanh_cell,
    rnn_tanh_cell_reference,
    rnn_tanh_reference,
)
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


# ---------------------------------------------------------------- layers


def _weights(
    draw: Draw, gates: int, features: int, hidden: int, layers: int, directions: int, biases: bool, p: int
) -> list[np.ndarray]:
    """The weights of all layers, small enough that states do not grow."""
    weights = []
    for number in range(layers * directions):
        inputs = features if number < directions else p * directions
        shapes: list[tuple[int, ...]] = [(gates * hidden, inputs), (gates * hidden, p)]
        shapes += [(gates * hidden,)] * (2 * biases)
        if p != hidden:
            shapes.append((p, hidden))
        weights += [draw.array(shape, -0.7, 0.7) for shape in shapes]
    return weights


def _layers(
    draw: Draw,
    gates: int,
    steps: int,
    batch: int,
    hidden: int,
    layers: int = 1,
    directions: int = 1,
    projection: int = 0,
    packed: bool = False,
) -> dict[str, Any]:
    features, biases, batch_first = draw.integer(1, 3), draw.boolean(), not packed and draw.boolean()
    p = projection or hidden
    case: dict[str, Any] = {}
    if packed:
        lengths = -np.sort(-draw.rng.integers(1, steps + 1, batch))
        sizes = np.count_nonzero(np.arange(lengths[0])[:, None] < lengths, axis=1)
        case["input"], case["batch_sizes"] = draw.array((int(sizes.sum()), features)), sizes
    else:
        case["input"] = draw.array((batch, steps, features) if batch_first else (steps, batch, features))
    states = tuple(draw.array((layers * directions, batch, size), -1, 1) for size in (p, hidden))
    return case | {
        "hx": states if gates == 4 else states[1],
        "params": _weights(draw, gates, features, hidden, layers, directions, biases, p),
        "has_biases": biases,
        "num_layers": layers,
        "dropout": 0.0,
        "train": draw.boolean(),
        "bidirectional": directions == 2,
        "batch_first": batch_first,
    }


def _small(gates: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: _layers(draw, gates, draw.integer(1, 4), draw.choice((2, 1, 3, 0)), draw.integer(1, 3))


def _stacked(gates: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: _layers(
        draw, gates, draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2), 2
    )


def _packed(gates: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: _layers(
        draw, gates, draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 3), 1, draw.integer(1, 2), packed=True
    )


def _projected(draw: Draw) -> dict[str, Any]:
    hidden = draw.integer(2, 4)
    return _layers(
        draw, 4, draw.integer(1, 3), draw.integer(1, 3), hidden, draw.integer(1, 2), draw.integer(1, 2),
        draw.integer(1, hidden - 1), draw.boolean(),
    )  # fmt: skip


def _many_sequences(gates: int) -> Callable[[Draw], dict[str, Any]]:
    """More sequences than a tile has rows."""
    return lambda draw: _layers(draw, gates, 2, draw.integer(15, 17), draw.integer(1, 2), packed=draw.boolean())


def _many_features(gates: int) -> Callable[[Draw], dict[str, Any]]:
    """More features than a tile has columns or a CUDA block threads."""
    return lambda draw: _layers(draw, gates, 1, 1, draw.choice((129, 17, 35) if gates == 1 else (45, 17, 35)))


def _ones(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return np.ones(shape, dtype)


def _refusal(error: type[NbdlError], mentions: str, arguments: dict[str, Any]) -> Refusal:
    """Of arguments whose tuples and lists hold arrays: checks make tensors of arrays that stand alone only."""

    def with_tensors() -> dict[str, Any]:
        return {
            name: type(value)(Tensor(member) for member in value) if isinstance(value, (list, tuple)) else value
            for name, value in arguments.items()
        }

    return Refusal(with_tensors, error, mentions)


def _refused(gates: int, error: type[NbdlError], mentions: str, **changes: Any) -> Refusal:
    """Three steps of two sequences of two features through a layer of two, something of them changed."""

    state = _ones(1, 2, 2)
    arguments = {
        "input": _ones(3, 2, 2),
        "hx": (state, state) if gates == 4 else state,
        "params": [_ones(2 * gates, 2), _ones(2 * gates, 2), _ones(2 * gates), _ones(2 * gates)],
        "has_biases": True,
        "num_layers": 1,
        "dropout": 0.0,
        "train": True,
        "bidirectional": False,
    }
    return _refusal(error, mentions, arguments | changes)


def _refusals(gates: int) -> tuple[Refusal, ...]:
    wrong_state = _ones(1, 3, 2)
    narrow = _ones(1, 2, 2, dtype=np.float32)
    return (
        _refused(gates, ShapeError, "input", input=_ones(3, 2)),
        _refused(gates, ShapeError, "input", input=_ones(0, 2, 2)),
        _refused(gates, DTypeError, "input", input=_ones(3, 2, 2, dtype=np.int64)),
        _refused(gates, ShapeError, "params", input=_ones(3, 2, 4)),
        _refused(gates, ShapeError, "params", has_biases=False),
        _refused(gates, ShapeError, "params", num_layers=2),
        _refused(gates, ShapeError, "hx", hx=(wrong_state, wrong_state) if gates == 4 else wrong_state),
        _refused(gates, DTypeError, "hx", hx=(narrow, narrow) if gates == 4 else narrow),
        _refused(gates, ArgumentTypeError, "hx", hx=_ones(1, 2, 2) if gates == 4 else (_ones(1, 2, 2),)),
        _refused(gates, ArgumentError, "num_layers", num_layers=0),
        _refused(gates, ArgumentError, "dropout", dropout=1.5),
        _refused(gates, ArgumentError, "batch_sizes", input=_ones(3, 2), batch_sizes=np.array([1, 2])),
        _refused(gates, ShapeError, "batch_sizes", input=_ones(3, 2), batch_sizes=np.array([2, 2])),
        _refused(gates, ArgumentTypeError, "batch_sizes", input=_ones(3, 2), batch_sizes=_ones(2)),
    )


def _benchmark(gates: int) -> Callable[[np.random.Generator], dict[str, Any]]:
    def arguments(rng: np.random.Generator) -> dict[str, Any]:
        shapes: tuple[tuple[int, ...], ...] = ((gates * 128, 28), (gates * 128, 128), (gates * 128,), (gates * 128,))
        state = np.zeros((1, 64, 128))
        return {
            "input": rng.standard_normal((28, 64, 28)),
            "hx": (state, state) if gates == 4 else state,
            "params": [rng.uniform(-0.09, 0.09, shape) for shape in shapes],
            "has_biases": True,
            "num_layers": 1,
            "dropout": 0.0,
            "train": True,
            "bidirectional": False,
        }

    return arguments


def _rows(function: Callable[..., Any], reference: Callable[..., Any], gates: int) -> list[OpSpec]:
    def row(inputs: Callable[[Draw], dict[str, Any]], variant: str = "", **options: Any) -> OpSpec:
        wanted = ("input", "hx", "params")
        return OpSpec(function, reference, inputs, wanted, TOLERANCE, variant=variant, **options)

    return [
        row(_small(gates), refusals=_refusals(gates), benchmark=_benchmark(gates)),
        row(_stacked(gates), "two directions"),
        row(_packed(gates), "packed"),
        row(_many_sequences(gates), "many sequences"),
        row(_many_features(gates), "many features"),
        *([row(_projected, "projection")] if gates == 4 else []),
    ]


# ---------------------------------------------------------------- cells


def _cell(gates: int) -> Callable[[Draw], dict[str, Any]]:
    def inputs(draw: Draw) -> dict[str, Any]:
        batch, features, hidden = draw.choice((2, 1, 3, 0)), draw.integer(1, 4), draw.integer(1, 4)
        states = tuple(draw.array((batch, hidden), -1, 1) for _ in range(2))
        case: dict[str, Any] = {
            "input": draw.array((batch, features)),
            "hx": states if gates == 4 else states[0],
            "w_ih": draw.array((gates * hidden, features), -0.7, 0.7),
            "w_hh": draw.array((gates * hidden, hidden), -0.7, 0.7),
        }
        if draw.boolean():
            case |= {name: draw.array((gates * hidden,)) for name in ("b_ih", "b_hh")}
        return case

    return inputs


def _cell_refused(gates: int, error: type[NbdlError], mentions: str, **changes: Any) -> Refusal:
    state = _ones(3, 2)
    arguments = {
        "input": _ones(3, 2),
        "hx": (state, state) if gates == 4 else state,
        "w_ih": _ones(2 * gates, 2),
        "w_hh": _ones(2 * gates, 2),
    }
    return _refusal(error, mentions, arguments | changes)


def _cell_row(function: Callable[..., Any], reference: Callable[..., Any], gates: int) -> OpSpec:
    wrong = _ones(2, 2)
    return OpSpec(
        function,
        reference,
        _cell(gates),
        ("input", "hx", "w_ih", "w_hh", "b_ih", "b_hh"),
        TOLERANCE,
        (
            _cell_refused(gates, ShapeError, "input", input=_ones(2)),
            _cell_refused(gates, DTypeError, "input", input=_ones(3, 2, dtype=np.int64)),
            _cell_refused(gates, ShapeError, "hx", hx=(wrong, wrong) if gates == 4 else wrong),
            _cell_refused(gates, ArgumentTypeError, "hx", hx=_ones(3, 2) if gates == 4 else (_ones(3, 2),)),
            _cell_refused(gates, ShapeError, "w_ih", w_ih=_ones(2 * gates, 3)),
            _cell_refused(gates, ShapeError, "w_hh", w_hh=_ones(2 * gates + 1, 2)),
            _cell_refused(gates, DTypeError, "w_hh", w_hh=_ones(2 * gates, 2, dtype=np.float32)),
            _cell_refused(gates, ArgumentError, "b_hh", b_ih=_ones(2 * gates)),
        ),
    )


SPECS = [
    *_rows(lstm, lstm_reference, 4),
    *_rows(gru, gru_reference, 3),
    *_rows(rnn_tanh, rnn_tanh_reference, 1),
    *_rows(rnn_relu, rnn_relu_reference, 1),
    _cell_row(lstm_cell, lstm_cell_reference, 4),
    _cell_row(gru_cell, gru_cell_reference, 3),
    _cell_row(rnn_tanh_cell, rnn_tanh_cell_reference, 1),
    _cell_row(rnn_relu_cell, rnn_relu_cell_reference, 1),
]
