"""Operations that do the work of two: equal to the two apart, for sizes and places that the spec rows leave out."""

import math

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.ops.rotary import rotary_embedding_reference
from nbdl.runtime import threads
from nbdl.runtime.jit import cpu_function
from nbdl.runtime.short_exp import short_exp

FLOATS = (np.float32, np.float64)


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(values):
    return nbdl.tensor(values).requires_grad_()


# ---------------------------------------------------------------- linear maps with an activation

ACTIVATIONS = {
    "gelu": (ops.linear_gelu, ops.gelu),
    "tanh": (lambda *a: ops.linear_gelu(*a, approximate="tanh"), lambda x: ops.gelu(x, "tanh")),
    "silu": (ops.linear_silu, ops.silu),
    "leaky_relu": (lambda *a: ops.linear_leaky_relu(*a, negative_slope=0.2), lambda x: ops.leaky_relu(x, 0.2)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    ("rows", "outputs", "inputs"), [(1, 700, 33), (90, 1, 20), (300, 70, 1500), (64, 520, 131), (400, 33, 5), (2, 5, 0)]
)
def test_a_linear_map_and_its_activation_are_those_apart(rows, outputs, inputs, name, dtype):
    fused, plain = ACTIVATIONS[name]
    scale = 1 / math.sqrt(inputs + 1)
    values = numbers(rows, inputs, dtype=dtype), numbers(outputs, inputs, dtype=dtype) * dtype(scale)
    results = []
    for function in (fused, lambda x, weight, bias: plain(ops.linear(x, weight, bias))):
        leaves = [leaf(v) for v in (*values, numbers(outputs, dtype=dtype))]
        y = function(*leaves)
        y.backward(nbdl.tensor(numbers(rows, outputs, dtype=dtype, seed=1)))
        with nbdl.no_grad():
            bare = function(*leaves)
        results.append([y.detach().numpy(), bare.numpy(), *(x.grad.numpy() for x in leaves)])
    for got, wanted in zip(*results, strict=True):
        tolerance = 1e-5 if dtype is np.float32 else 1e-13
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * math.sqrt(rows))


@pytest.mark.parametrize("shape", [(64, 520, 300), (700, 40, 30), (1, 3000, 300)])
def test_bits_of_an_activation_do_not_depend_on_the_number_of_threads(shape):
    rows, outputs, inputs = shape
    x, weight = nbdl.tensor(numbers(rows, inputs)), nbdl.tensor(numbers(outputs, inputs))
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 5):
            threads.set_num_threads(count)
            results.append(ops.linear_gelu(x, weight).numpy())
        assert all(np.array_equal(results[0], result) for result in results)
    finally:
        threads.set_num_threads(before)


def test_a_sequential_fuses_what_nobody_looks_at():
    model = nn.Sequential(nn.Linear(6, 5), nn.GELU("tanh"), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3), nn.SiLU())
    x = nbdl.tensor(numbers(2, 6))
    fused = model(x)
    assert fused.grad_fn.name() == "LinearCurveBackward"
    seen = []
    for module in model:
        module.register_forward_hook(lambda module, inputs, output: seen.append(module))
    apart = model(x)
    assert len(seen) == 6
    np.testing.assert_allclose(fused.detach().numpy(), apart.detach().numpy(), rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- rotary positions


@pytest.mark.parametrize("interleaved", [False, True])
def test_products_of_rotated_rows_depend_on_their_distance_alone(interleaved):
    query, key = numbers(1, 8, dtype=np.float64), numbers(1, 8, dtype=np.float64, seed=1)

    def product(p, q):
        turned = [
            ops.rotary_embedding(nbdl.tensor(row), place, interleaved=interleaved).numpy()
            for row, place in ((query, p), (key, q))
        ]
        return float((turned[0] * turned[1]).sum())

    for p, q in ((3, 1), (70, 50), (0, 9)):
        assert product(p, q) == pytest.approx(product(p + 1000, q + 1000), abs=1e-10)
    assert product(3, 1) != pytest.approx(product(1, 3), abs=1e-3)


@pytest.mark.parametrize("interleaved", [False, True])
def test_offsets_lines_and_batches_of_positions_agree(interleaved):
    x = nbdl.tensor(numbers(3, 2, 7, 6))
    whole = ops.rotary_embedding(x, interleaved=interleaved).numpy()
    later = ops.rotary_embedding(x[:, :, 4:], 4, interleaved=interleaved).numpy()
    np.testing.assert_array_equal(whole[:, :, 4:], later)
    line = nbdl.tensor(np.arange(7))
    np.testing.assert_array_equal(whole, ops.rotary_embedding(x, line, interleaved=interleaved).numpy())
    batch = nbdl.tensor(np.arange(7) + 10 * np.arange(3)[:, None])
    each = ops.rotary_embedding(x, batch, interleaved=interleaved).numpy()
    for item in range(3):
        wanted = ops.rotary_embedding(x[item], 10 * item, interleaved=interleaved).numpy()
        np.testing.assert_array_equal(each[item], wanted)


def test_far_positions_keep_their_digits_in_float32():
    x = numbers(4, 64)
    for first in (0, 100_000, 4_000_000):
        wanted = rotary_embedding_reference(x.astype(np.float64), first)
        np.testing.assert_allclose(ops.rotary_embedding(nbdl.tensor(x), first).numpy(), wanted, rtol=0, atol=2e-6)


def test_a_rotation_keeps_the_memory_order():
    x = nbdl.tensor(numbers(2, 5, 3, 4)).permute(0, 2, 1, 3)  # [B, T, H, D] seen as [B, H, T, D]
    assert ops.rotary_embedding(x).stride() == x.stride()


# ---------------------------------------------------------------- sums with a norm


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 131])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_sum_with_a_norm_is_the_two_apart(rows, kind):
    values = [numbers(rows, 40, seed=seed) for seed in range(2)] + [numbers(40, seed=seed) for seed in (2, 3)]
    arrived = [nbdl.tensor(numbers(rows, 40, seed=seed)) for seed in (4, 5)]
    results = []
    for together in (True, False):
        x, residual, weight, bias = map(leaf, values)
        parameters = (weight, bias) if kind == "layer" else (weight,)
        if together:
            function = ops.residual_layer_norm if kind == "layer" else ops.residual_rms_norm
            total, y = function(x, residual, (40,), *parameters)
        else:
            total = x + residual
            y = (ops.layer_norm if kind == "layer" else ops.rms_norm)(total, (40,), *parameters)
        ((total * arrived[0]).sum() + (y * arrived[1]).sum()).backward()
        leaves = (x, residual, *parameters)
        results.append([total.detach().numpy(), y.detach().numpy(), *(one.grad.numpy() for one in leaves)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_either_result_alone_has_gradients():
    for which in (0, 1):
        x, residual = leaf(numbers(3, 4)), leaf(numbers(3, 4, seed=1))
        ops.residual_layer_norm(x, residual, (4,))[which].square().sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), residual.grad.numpy())
        assert x.grad is not residual.grad


# ---------------------------------------------------------------- gates, and the exponential under them


def test_gates_of_any_size():
    gate = nbdl.tensor(np.array([-1e4, -100.0, 0.0, 100.0, 1e30], np.float32)).requires_grad_()
    up = nbdl.tensor(np.full(5, 2, np.float32)).requires_grad_()
    y = ops.swiglu(gate, up)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), [0, 0, 0, 200, 2e30], atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(gate.grad.numpy(), [0, 0, 1, 2, 2], atol=1e-6)


def test_the_short_exponential():
    compiled = cpu_function(lambda x: short_exp(x))
    x = -np.linspace(0, 90, 1001).astype(np.float32)
    got, wanted = np.array([compiled(value) for value in x]), np.exp(x.astype(np.float64))
    assert np.abs(got - wanted).max() < 1.5e-7
    assert (np.abs(got / wanted - 1)[wanted > 2e-38]).max() < 6e-6
    assert compiled(np.float32(-np.inf)) == 0
    assert compiled(-1.0) == pytest.approx(math.exp(-1), rel=1e-15)


def test_gelu_has_digits_in_its_tail():
    x = np.linspace(-12, 12, 4001).astype(np.float32)
    wanted = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    np.testing.assert_allclose(ops.gelu(nbdl.tensor(x)).numpy(), wanted, rtol=1e-5, atol=0)


def test_softmax_of_infinities_in_rows_of_every_length():
    for columns in (3, 16, 103, 512, 515):
        scores = numbers(4, columns)
        scores[0, 1], scores[1, 1], scores[2], scores[3, 0] = np.nan, np.inf, -np.inf, -np.inf
        y = ops.softmax(nbdl.tensor(scores), -1).numpy()
        assert np.isnan(y[:3]).all()
        assert y[3, 0] == 0
        assert y[3].sum() == pytest.approx(1, abs=1e-6)
