"""Recurrent layers and packed sequences beside PyTorch, over random arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.nn.utils import rnn
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from torch.nn.utils import rnn as torch_rnn  # noqa: E402

pytestmark = pytest.mark.parity

CASES = 200
"""Configurations of a family."""

EXACT = 1e-6
SINGLE = 1e-4


def options(rng: np.random.Generator, name: str) -> dict[str, Any]:
    """Random arguments of a layer."""
    chosen: dict[str, Any] = {
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.integers(2)),
        "batch_first": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
    }
    if name == "RNN":
        chosen["nonlinearity"] = ["tanh", "relu"][rng.integers(2)]
    return chosen


def pair(name: str, *sizes: int, **chosen: Any) -> tuple[Any, Any]:
    """The same module in both libraries, in float64."""
    theirs = getattr(torch.nn, name)(*sizes, **chosen).double()
    ours = getattr(nn, name)(*sizes, **chosen).double()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def flat(outputs: Any) -> list[Any]:
    """The tensors of a result, in order."""
    return [outputs] if hasattr(outputs, "backward") else [y for part in outputs for y in flat(part)]


def compare(ours: Any, theirs: Any, leaves: list[np.ndarray], call: Any, rng: np.random.Generator, title: str) -> None:
    """Results and gradients of `call(module, library, *leaves)`, in float64, and ours in float32."""
    inputs = [torch.from_numpy(np.array(x)).requires_grad_() for x in leaves]
    wanted = flat(call(theirs, torch_rnn, *inputs))
    cotangents = [rng.standard_normal(tuple(y.shape)) for y in wanted]
    theirs.zero_grad()
    torch.autograd.backward(wanted, [torch.from_numpy(v) for v in cotangents])
    references = [y.detach() for y in wanted] + [x.grad for x in inputs] + [p.grad for p in theirs.parameters()]
    for dtype, bound in ((np.float64, EXACT), (np.float32, SINGLE)):
        ours = ours.to(dtype=dtype)
        ours.zero_grad()
        own = [nbdl.from_numpy(np.array(x, dtype)).requires_grad_() for x in leaves]
        got = flat(call(ours, rnn, *own))
        assert [y.shape for y in got] == [tuple(y.shape) for y in wanted], title
        nbdl.autograd.backward(got, [nbdl.from_numpy(v.astype(dtype)) for v in cotangents])
        values = [y.detach() for y in got] + [x.grad for x in own] + [p.grad for p in ours.parameters()]
        for number, (value, reference) in enumerate(zip(values, references, strict=True)):
            size = np.abs(reference.numpy()).max(initial=1)
            assert np.abs(value.numpy() - reference.numpy()).max(initial=0) <= bound * size, f"{title}: {number}"


def first_states(rng: np.random.Generator, name: str, chosen: dict[str, Any], hidden: int, batch: Any) -> list[Any]:
    count = chosen["num_layers"] * (1 + chosen["bidirectional"])
    sizes = (chosen.get("proj_size") or hidden, hidden) if name == "LSTM" else (hidden,)
    return [rng.standard_normal((count, *batch, size)) for size in sizes]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_layers(name: str) -> None:
    rng = np.random.default_rng(len(name))
    for _ in range(CASES):
        features, hidden, steps = (int(n) for n in rng.integers(1, 7, 3))
        chosen = options(rng, name)
        if name == "LSTM" and hidden > 1 and rng.random() < 0.5:
            chosen["proj_size"] = int(rng.integers(1, hidden))
        batch = [(), (0,), (1,), (3,)][rng.integers(4)]
        shape = (*batch, steps, features) if chosen["batch_first"] else (steps, *batch, features)
        leaves = [rng.standard_normal(shape)]
        if rng.random() < 0.5:
            leaves += first_states(rng, name, chosen, hidden, batch)

        def call(module: Any, _: Any, x: Any, *states: Any) -> Any:
            return module(x, states if len(states) == 2 else states[0]) if states else module(x)

        ours, theirs = pair(name, features, hidden, **chosen)
        compare(ours, theirs, leaves, call, rng, f"{name} {chosen} {shape}")


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed(name: str) -> None:
    rng = np.random.default_rng(10 + len(name))
    for _ in range(CASES):
        features, hidden = (int(n) for n in rng.integers(1, 5, 2))
        chosen = options(rng, name)
        lengths = rng.integers(1, 7, int(rng.integers(1, 6))).tolist()
        is_sorted = bool(rng.integers(2))
        if is_sorted:
            lengths.sort(reverse=True)
        batch, steps, first = len(lengths), max(lengths) + int(rng.integers(2)), chosen["batch_first"]
        leaves = [rng.standard_normal((batch, steps, features) if first else (steps, batch, features))]
        if rng.random() < 0.5:
            leaves += first_states(rng, name, chosen, hidden, (batch,))
        padding = {"padding_value": -1.5, "total_length": steps}

        def call(
            module: Any, library: Any, x: Any, *states: Any, lengths=lengths, first=first, padding=padding,
            is_sorted=is_sorted,
        ) -> Any:  # fmt: skip
            packed = library.pack_padded_sequence(x, lengths, first, enforce_sorted=is_sorted)
            hx = (states if len(states) == 2 else states[0],) if states else ()
            y, last = module(packed, *hx)
            padded, found = library.pad_packed_sequence(y, first, **padding)
            assert found.tolist() == lengths
            return padded, last

        ours, theirs = pair(name, features, hidden, **chosen)
        compare(ours, theirs, leaves, call, rng, f"{name} {chosen} {lengths}")


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed_is_each_sequence_alone(name: str) -> None:
    rng = np.random.default_rng(20 + len(name))
    for _ in range(500):
        chosen = options(rng, name) | {"batch_first": False}
        layer = getattr(nn, name)(2, 3, **chosen).double()
        sequences = [rng.standard_normal((int(n), 2)) for n in rng.integers(1, 6, int(rng.integers(1, 5)))]
        packed = rnn.pack_sequence([nbdl.from_numpy(x) for x in sequences], enforce_sorted=False)
        with nbdl.no_grad():
            y, last = layer(packed)
            results = rnn.unpack_sequence(y)
            for number, x in enumerate(sequences):
                alone, states = layer(nbdl.from_numpy(x))
                np.testing.assert_allclose(results[number].numpy(), alone.numpy(), rtol=0, atol=1e-14)
                for state, wanted in zip(flat(last), flat(states), strict=True):
                    np.testing.assert_allclose(state.numpy()[:, number], wanted.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name: str) -> None:
    rng = np.random.default_rng(30 + len(name))
    for _ in range(CASES):
        features, hidden = (int(n) for n in rng.integers(1, 6, 2))
        chosen: dict[str, Any] = {"bias": bool(rng.integers(2))}
        if name == "RNNCell":
            chosen["nonlinearity"] = ["tanh", "relu"][rng.integers(2)]
        batch = [(), (0,), (1,), (3,)][rng.integers(4)]
        leaves = [rng.standard_normal((*batch, features))]
        if rng.random() < 0.7:
            leaves += [rng.standard_normal((*batch, hidden)) for _ in range(1 + (name == "LSTMCell"))]

        def call(module: Any, _: Any, x: Any, *states: Any) -> Any:
            return module(x, states if len(states) == 2 else states[0]) if states else module(x)

        ours, theirs = pair(name, features, hidden, **chosen)
        compare(ours, theirs, leaves, call, rng, f"{name} {chosen} {batch}")


def test_dropout_between_layers_keeps_what_it_should() -> None:
    """All dropped, the second layer sees zeros in training, and everything in evaluation."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = pair("LSTM", 3, 4, num_layers=2, dropout=1.0)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        got, wanted = ours(nbdl.from_numpy(x))[0], theirs(torch.from_numpy(x))[0]
        np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_pad_sequence(side: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rest = tuple(int(n) for n in rng.integers(1, 3, int(rng.integers(3))))
        sequences = [rng.standard_normal((int(n), *rest)) for n in rng.integers(0, 5, int(rng.integers(1, 5)))]
        first, value = bool(rng.integers(2)), float(rng.integers(2))
        got = rnn.pad_sequence([nbdl.from_numpy(x) for x in sequences], first, value, side)
        wanted = torch_rnn.pad_sequence([torch.from_numpy(x) for x in sequences], first, value, side)
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_both_refuse() -> None:
    x, state = np.ones((5, 2, 3)), np.ones((1, 2, 4))
    wrong: list[Any] = [
        lambda n, t: n.RNN(3, 4, nonlinearity="sigmoid"),
        lambda n, t: n.LSTM(3, 4, dropout=1.5),
        lambda n, t: n.LSTM(3, 4, proj_size=4),
        lambda n, t: n.LSTM(3, 4, proj_size=-1),
        lambda n, t: n.GRU(3, 0),
        lambda n, t: n.GRU(0, 3),
        lambda n, t: n.GRU(3, 4, 0),
        lambda n, t: n.GRU(4, 4).double()(t(x)),
        lambda n, t: n.GRU(3, 4)(t(x)),
        lambda n, t: n.GRU(3, 4).double()(t(x[:0])),
        lambda n, t: n.GRU(3, 4).double()(t(x[None])),
        lambda n, t: n.GRU(3, 4).double()(t(x), t(np.ones((1, 3, 4)))),
        lambda n, t: n.GRU(3, 4).double()(t(x), t(np.ones((2, 4)))),
        lambda n, t: n.GRU(3, 4).double()(t(x[:, 0]), t(state)),
        lambda n, t: n.LSTM(3, 4).double()(t(x), (t(state), t(np.ones((1, 3, 4))))),
        lambda n, t: n.LSTMCell(3, 4).double()(t(np.ones((2, 4)))),
        lambda n, t: n.LSTMCell(3, 4).double()(t(x)),
        lambda n, t: n.GRUCell(3, 4).double()(t(x[0]), t(np.ones((3, 4)))),
        lambda n, t: n.utils.rnn.pack_padded_sequence(t(x), [2, 5]),
        lambda n, t: n.utils.rnn.pack_padded_sequence(t(x), [5, 0]),
        lambda n, t: n.utils.rnn.pack_padded_sequence(t(x), [5]),
        lambda n, t: n.utils.rnn.pack_padded_sequence(t(x[:, :0]), []),
        lambda n, t: n.utils.rnn.pack_sequence([t(x[:2]), t(x)]),
        lambda n, t: n.utils.rnn.pad_sequence([]),
        lambda n, t: n.utils.rnn.pad_packed_sequence(n.utils.rnn.pack_padded_sequence(t(x), [5, 2]), total_length=4),
    ]
    for number, call in enumerate(wrong):
        with pytest.raises((RuntimeError, ValueError)):
            call(torch.nn, torch.from_numpy)
            pytest.fail(f"PyTorch takes case {number}")
        with pytest.raises(NbdlError):
            call(nn, nbdl.from_numpy)
            pytest.fail(f"nbdl takes case {number}")


def test_longer_than_the_padding() -> None:
    """PyTorch reads beyond the padding; here it is an error."""
    with pytest.raises(NbdlError, match="lengths"):
        rnn.pack_padded_sequence(nbdl.ones(5, 2, 3), [6, 5])
