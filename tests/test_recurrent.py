"""Recurrent layers: long sequences, threads, states from window to window, what is not asked for."""

import sys

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.nn.utils import rnn
from nbdl.ops.recurrent import gates
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.runtime.jit import cpu_function
from nbdl.testing import properties, simt
from nbdl.testing.draw import seeded
from nbdl.testing.specs import find_specs

LAYERS = [nn.RNN, nn.LSTM, nn.GRU]


@cpu_function
def _gates(x, s, t, start, stop):
    for i in range(start, stop):
        s[i] = gates.sigmoid(x[i])
        t[i] = gates.tanh(x[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gates_are_exact_enough(dtype):
    x = np.concatenate([np.linspace(-100, 100, 100_001), np.linspace(-1e-3, 1e-3, 1001)]).astype(dtype)
    s, t = np.empty_like(x), np.empty_like(x)
    _gates(x, s, t, 0, x.size)
    wide, unit = x.astype(np.float64), np.finfo(dtype).eps
    np.testing.assert_allclose(s, 1 / (1 + np.exp(-wide)), rtol=3 * unit, atol=np.finfo(dtype).tiny)
    np.testing.assert_allclose(t, np.tanh(wide), rtol=4 * unit)
    special = np.array([np.nan, np.inf, -np.inf, 0], dtype)
    _gates(special, s, t, 0, 4)
    np.testing.assert_array_equal(s[:4], [np.nan, 1, 0, 0.5])
    np.testing.assert_allclose(t[:4], [np.nan, 1, -1, 0], rtol=2 * unit)


@pytest.mark.parametrize("layer", LAYERS)
def test_nan_stays_in_its_sequence(layer):
    x = np.zeros((3, 2, 4), np.float32)
    x[1, 0, 0] = np.nan
    y = layer(4, 5)(nbdl.from_numpy(x))[0].detach().numpy()
    assert np.isnan(y[1:, 0]).all()
    assert np.isfinite(y[:, 1]).all() and np.isfinite(y[0]).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_long_sequence_in_windows_is_the_whole(layer):
    """4096 steps at once, and in windows that hand on their state."""
    nbdl.manual_seed(0)
    module = layer(3, 8)
    x = nbdl.randn(4096, 2, 3)
    y, _ = module(x)
    y.sum().backward()
    assert all(np.isfinite(parameter.grad.numpy()).all() for parameter in module.parameters())
    state, parts = None, []
    with nbdl.no_grad():
        for start in range(0, 4096, 1024):
            part, state = module(x[start : start + 1024], state)
            parts.append(part.numpy())
    np.testing.assert_array_equal(np.concatenate(parts), y.detach().numpy())


@pytest.mark.parametrize("layer", LAYERS)
def test_threads_share_out_sequences_of_all_lengths(layer):
    """Work enough for several threads; the same bits for any number of them."""
    kept, runs = nbdl.get_num_threads(), []
    rng = np.random.default_rng(0)
    sequences = [nbdl.from_numpy(rng.standard_normal((int(n), 20), np.float32)) for n in rng.integers(1, 60, 37)]
    nbdl.manual_seed(0)
    module = layer(20, 70, bidirectional=True)
    try:
        for threads in (1, 2, 4):
            nbdl.set_num_threads(threads)
            module.zero_grad()
            y, _ = module(rnn.pack_sequence(sequences, enforce_sorted=False))
            y.data.sum().backward()
            runs.append([y.data.detach().numpy().tobytes(), *(p.grad.numpy().tobytes() for p in module.parameters())])
    finally:
        nbdl.set_num_threads(kept)
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("hidden", [3, 200])
def test_lstm_gradients_do_not_depend_on_what_else_is_asked_for(hidden):
    """Without gradients of the first state, of the input, or of a weight, the others stay what they are."""
    nbdl.manual_seed(0)
    module = nn.LSTM(4, hidden)
    x, states = nbdl.randn(5, 3, 4), (nbdl.randn(1, 3, hidden), nbdl.randn(1, 3, hidden))

    def gradients(*wanted):
        module.zero_grad()
        leaves = {"x": x, "h": states[0], "c": states[1]} | dict(module.named_parameters())
        for name, leaf in leaves.items():
            leaf.requires_grad_(name in wanted)
            leaf.grad = None
        y, (h, c) = module(x, states)
        (y.sum() + (h * c).sum()).backward()
        return {name: leaf.grad.numpy().copy() for name, leaf in leaves.items() if leaf.grad is not None}

    names = ("x", "h", "c", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    every = gradients(*names)
    assert set(every) == set(names)
    for name in names:
        alone = gradients(name)
        assert set(alone) == {name}
        np.testing.assert_allclose(alone[name], every[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["lstm", "lstm:packed", "lstm:projection", "lstm:two directions"])
def test_lstm_of_large_weights(variant, monkeypatch):
    """Where weights are large the input has a product of its own; here those of the spec table count as large."""
    monkeypatch.setattr(sys.modules["nbdl.ops.recurrent.lstm"], "JOINED_BYTES", 0)
    (spec,) = (row for row in find_specs(["lstm"]) if row.name == variant)
    for seed in range(8):
        case = spec.inputs(seeded(seed))
        properties.check_forward(spec, case, np.float32)
        properties.check_gradients(spec, case)
        properties.check_threads(spec, case)
        if seed < 2:
            properties.check_twin(spec, case, lambda seed=seed: simt.target(seed=seed))


def test_state_dict_has_the_usual_names():
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    shapes = {name: value.shape for name, value in layer.state_dict().items()}
    assert list(shapes)[:6] == [
        "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0", "weight_ih_l0_reverse",
    ]  # fmt: skip
    assert shapes["weight_ih_l1_reverse"] == (16, 4)
    assert repr(layer) == "LSTM(3, 4, proj_size=2, num_layers=2, bidirectional=True)"


def test_a_parameter_that_was_replaced_is_used():
    layer = nn.RNN(2, 2)
    layer.weight_ih_l0 = nn.Parameter(nbdl.zeros(2, 2))
    first, second = layer(nbdl.ones(3, 1, 2))[0], layer(nbdl.zeros(3, 1, 2))[0]
    np.testing.assert_array_equal(first.detach().numpy(), second.detach().numpy())


def test_dropout_of_a_single_layer_is_pointed_out():
    with pytest.warns(UserWarning, match="dropout"):
        nn.GRU(2, 2, dropout=0.5)


@pytest.mark.parametrize(
    ("call", "error", "mentions"),
    [
        (lambda: nn.LSTM(3, 4)(nbdl.ones(5, 2, 4)), ShapeError, "input"),
        (lambda: nn.LSTM(3, 4)(nbdl.ones(5, 2, 3, 1)), ShapeError, "input"),
        (lambda: nn.LSTM(3, 4)(nbdl.ones(5, 2, 3, dtype=nbdl.float64)), DTypeError, "input"),
        (lambda: nn.LSTM(3, 4)(nbdl.ones(5, 2, 3), nbdl.ones(1, 2, 4)), ArgumentTypeError, "hx"),
        (lambda: nn.GRU(3, 4)(nbdl.ones(5, 2, 3), nbdl.ones(2, 4)), ShapeError, "hx"),
        (lambda: nn.RNN(3, 4, nonlinearity="sine"), ArgumentError, "nonlinearity"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ArgumentError, "proj_size"),
        (lambda: nn.GRU(3, 4, dropout=2.0), ArgumentError, "dropout"),
        (lambda: nn.LSTMCell(3, 4)(nbdl.ones(2, 2, 3)), ShapeError, "input"),
        (lambda: rnn.pack_padded_sequence(nbdl.ones(5, 2), [2, 3]), ArgumentError, "lengths"),
        (lambda: rnn.pack_padded_sequence(nbdl.ones(5, 2), [6, 3]), ArgumentError, "lengths"),
        (lambda: rnn.pack_padded_sequence(nbdl.ones(5, 2), [3, 0]), ArgumentError, "lengths"),
        (lambda: rnn.pack_padded_sequence(nbdl.ones(5, 2), [3]), ShapeError, "lengths"),
        (lambda: rnn.pack_padded_sequence(nbdl.ones(5, 2), [3.0, 2.0]), DTypeError, "lengths"),
        (lambda: rnn.pad_packed_sequence(nbdl.ones(5, 2)), ArgumentTypeError, "sequence"),
        (lambda: rnn.pad_sequence([nbdl.ones(3, 2), nbdl.ones(3, 1)]), ShapeError, "sequences"),
        (lambda: rnn.pad_sequence([]), ShapeError, "sequences"),
    ],
)
def test_bad_arguments(call, error, mentions):
    with pytest.raises(error, match=mentions):
        call()


def test_cells_make_the_layer():
    nbdl.manual_seed(0)
    layer, cell = nn.LSTM(3, 4), nn.LSTMCell(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = nbdl.randn(5, 2, 3)
    y, (h, c) = layer(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        np.testing.assert_allclose(state[0].detach().numpy(), y[t].detach().numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(state[1].detach().numpy(), c[0].detach().numpy(), rtol=1e-6, atol=1e-7)
    assert ops.allclose(h[0], y[4])
