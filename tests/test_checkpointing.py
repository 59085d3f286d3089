"""Checkpointed functions: the same bits as without, and less memory, by as much as was counted."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.nn.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    """Everything that keeps something for the way back in one way or another."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(0.3)
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x, scale=1.0):
        return x + scale * self.drop(self.second(ops.gelu(self.first(self.norm(x)))))


def gradients(run, model, x):
    model.zero_grad()
    leaf = x.detach().requires_grad_()
    y = run(leaf)
    y.square().mean().backward()
    return y.detach().numpy(), [leaf.grad.numpy()] + [parameter.grad.numpy() for parameter in model.parameters()]


def same(plain, other):
    np.testing.assert_array_equal(plain[0], other[0])
    for a, b in zip(plain[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_the_same_bits_with_dropout(use_reentrant, threads):
    before = nbdl.get_num_threads()
    nbdl.set_num_threads(threads)
    try:
        nbdl.manual_seed(0)
        blocks = nn.Sequential(*[Block(16) for _ in range(4)])
        x = nbdl.randn(32, 16)

        def checkpointed(value):
            for block in blocks:
                value = checkpoint(block, value, use_reentrant=use_reentrant)
            return value

        results = []
        for run in (
            blocks,
            checkpointed,
            lambda value: checkpoint(blocks, value),
            lambda value: checkpoint_sequential(blocks, 2, value),
            lambda value: checkpoint_sequential(blocks, 3, value, use_reentrant=use_reentrant),
        ):
            nbdl.manual_seed(7)
            results.append(gradients(run, blocks, x))
            after = nbdl.randn(3).numpy()
            results[-1][1].append(after)  # the stream goes on where it would have been
        for other in results[1:]:
            same(results[0], other)
    finally:
        nbdl.set_num_threads(before)


def test_the_same_bits_for_every_kind_of_layer():
    nbdl.manual_seed(1)
    image = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 3, 2, stride=2), nn.GroupNorm(1, 3), nn.SiLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(3 * 16, 5), nn.LogSoftmax(1),
    )  # fmt: skip
    x = nbdl.randn(6, 2, 8, 8)
    same(gradients(image, image, x), gradients(lambda value: checkpoint(image, value), image, x))

    recurrent = nn.ModuleList([nn.LSTM(3, 8, 2, dropout=0.2), nn.GRU(8, 4, bidirectional=True)])

    def sequence(value):
        value, (h, _) = recurrent[0](value)
        value, _ = recurrent[1](value + h[-1])
        return value

    x = nbdl.randn(5, 4, 3)
    results = []
    for run in (sequence, lambda value: checkpoint(sequence, value)):
        nbdl.manual_seed(3)
        results.append(gradients(run, recurrent, x))
    same(*results)

    attention = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
    x = nbdl.randn(3, 7, 8)
    results = []
    for run in (
        lambda value: attention(value, value, value, need_weights=False)[0],
        lambda value: checkpoint(attention, value, value, value, need_weights=False)[0],
    ):
        nbdl.manual_seed(3)
        results.append(gradients(run, attention, x))
    same(*results)


def test_checkpoints_in_checkpoints():
    nbdl.manual_seed(0)
    blocks = nn.Sequential(*[Block(8) for _ in range(4)])
    x = nbdl.randn(16, 8)

    def inner(value):
        value = checkpoint(blocks[1], value)
        return checkpoint(lambda v: checkpoint(blocks[3], blocks[2](v), scale=0.5), value)

    def outer(value):
        return checkpoint(inner, checkpoint(blocks[0], value))

    def plain(value):
        return blocks[3](blocks[2](blocks[1](blocks[0](value))), scale=0.5)

    results = []
    for run in (plain, outer):
        nbdl.manual_seed(5)
        results.append(gradients(run, blocks, x))
    same(*results)


def test_several_inputs_and_outputs_and_what_is_not_used():
    weight = nbdl.randn(4, 4, requires_grad=True)

    def function(pair, ids, *, factor):
        a, b = pair
        return {"sum": (a @ weight)[ids] * factor, "other": ops.tanh(b), "unused": a.exp(), "count": 3}

    a, b = nbdl.randn(5, 4, requires_grad=True), nbdl.randn(5, 4, requires_grad=True)
    ids = nbdl.tensor([0, 2, 2])
    found = []
    for run in (function, lambda *args, **kwargs: checkpoint(function, *args, **kwargs)):
        result = run((a, b), ids, factor=2.0)
        assert result["count"] == 3
        total = result["sum"].sum() + result["other"].square().sum()
        found.append([g.numpy() for g in nbdl.grad(total, [a, b, weight])])
        assert a.grad is None
    for plain, again in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, again)


def test_parameters_learn_where_no_input_wants_gradients():
    layer, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nbdl.randn(5, 3)
    checkpoint(layer, x).sum().backward()
    got = [parameter.grad.numpy() for parameter in layer.parameters()]
    layer.zero_grad()
    layer(x).sum().backward()
    for again, parameter in zip(got, layer.parameters(), strict=True):
        np.testing.assert_array_equal(again, parameter.grad.numpy())


def test_hooks_run_once_and_backward_twice():
    layer = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = nbdl.randn(5, 3, requires_grad=True)
    seen = []
    layer[1].register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_output[0].shape))
    calls = []
    y = checkpoint(lambda value: (calls.append(1), layer(value))[1], x)
    assert len(calls) == 1
    y.sum().backward(retain_graph=True)
    first = x.grad.numpy().copy()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * first, rtol=1e-6)
    assert len(calls) == 2 and seen == [(5, 4)] * 2
    with pytest.raises(nbdl.GradientError, match="second time"):
        y.sum().backward()


def test_without_gradients_it_is_a_call():
    layer, x = nn.Linear(3, 2), nbdl.randn(4, 3)
    with nbdl.no_grad():
        y = checkpoint(layer, x)
    assert y.grad_fn is None
    layer.requires_grad_(False)
    assert checkpoint(layer, x).grad_fn is None


def test_random_numbers_that_are_not_preserved():
    drop, x = nn.Dropout(0.5), nbdl.ones(64, 64, requires_grad=True)
    y = checkpoint(drop, x, preserve_rng_state=False)
    y.sum().backward()
    assert (x.grad.numpy() != y.detach().numpy()).mean() > 0.3
    x.grad = None
    y = checkpoint(drop, x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_contexts():
    import contextlib

    order = []

    @contextlib.contextmanager
    def named(name):
        order.append(name)
        yield
        order.append(f"end of {name}")

    x = nbdl.randn(3, requires_grad=True)
    checkpoint(ops.exp, x, context_fn=lambda: (named("first"), named("second"))).sum().backward()
    assert order == ["first", "end of first", "second", "end of second"]


# ---------------------------------------------------------------- refusals


def test_a_function_that_does_something_else_is_refused():
    state = {"calls": 0}

    def fickle(x):
        state["calls"] += 1
        return x.exp() if state["calls"] == 1 else x.exp().tanh()

    x = nbdl.randn(3, requires_grad=True)
    with pytest.raises(nbdl.GradientError, match="did something else"):
        checkpoint(fickle, x).sum().backward()

    def other(x):
        state["calls"] += 1
        return x.exp() if state["calls"] % 2 else x.tanh()

    state["calls"] = 0
    with pytest.raises(nbdl.GradientError, match=r"was ExpBackward.* now TanhBackward"):
        checkpoint(other, x).sum().backward()

    def raising(x):
        state["calls"] += 1
        if state["calls"] % 2 == 0:
            raise ZeroDivisionError
        return x.exp()

    state["calls"] = 0
    with pytest.raises(ZeroDivisionError):
        checkpoint(raising, x).sum().backward()
    assert checkpoint(ops.exp, x).grad_fn is not None


def test_changes_in_place_are_refused():
    layer, x = nn.Linear(3, 3), nbdl.randn(4, 3, requires_grad=True)
    for changed in (layer.weight, x):
        y = checkpoint(lambda v: layer(v).exp(), x)
        with nbdl.no_grad():
            changed.mul_(2.0)
        with pytest.raises(nbdl.GradientError, match="changed in place"):
            y.sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: checkpoint(3, x), nbdl.ArgumentTypeError, "function"),
        (lambda x: checkpoint(ops.exp, x, determinism_check="some"), nbdl.ArgumentError, "determinism_check"),
        (lambda x: checkpoint_sequential([ops.exp], 2, x), nbdl.ArgumentError, "segments"),
        (lambda x: checkpoint_sequential([ops.exp], 1, x, color=1), nbdl.ArgumentError, "color"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call(nbdl.randn(3, requires_grad=True))


# ---------------------------------------------------------------- memory


def test_memory_falls_as_predicted():
    """Layers of one size: kept are the results of the segments and, while it runs again, the inside of one."""
    nbdl.manual_seed(0)
    layers, rows, width = 12, 2048, 16
    model = nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(width, width), nn.Tanh())])
    x = nbdl.randn(rows, width)
    unit = rows * width * 4  # a layer keeps its tanh's output, which is the next one's input
    passing = 2  # the gradient that comes to a layer, and the one that it hands on

    def measured(run):
        gc.collect()
        with nbdl.profile() as profile:
            y = run(x)
            held = profile.live_bytes
            y.sum().backward()
        model.zero_grad()
        return held / unit, profile.peak_bytes / unit

    measured(model)
    assert nn.summary(model, x).kept_bytes == layers * unit
    held, most = measured(model)
    assert held == pytest.approx(layers, rel=0.01)
    assert most == pytest.approx(layers + passing, rel=0.07)
    for segments in (2, 3, 4, 6):
        length = layers // segments

        def run(value, length=length):
            for first in range(0, layers, length):
                value = checkpoint(model[2 * first : 2 * (first + length)], value)
            return value

        held, most = measured(run)
        assert held == pytest.approx(segments, rel=0.01)
        assert most == pytest.approx(segments + length + passing, rel=0.02)
