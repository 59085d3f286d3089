"""Operations that do the work of two: equal to the two apart, for sizes and places that the spec rows leave out."""

import itertools
import math

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.ops.rotary import rotary_embedding_reference
from nbdl.runtime import jit, threads
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError
from nbdl.runtime.jit import cpu_function
from nbdl.runtime.short_exp import short_exp
from nbdl.testing import simt

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
    assert fused.grad_fn.name() == "PerceptronBackward"
    assert model[:2](x).grad_fn.name() == "LinearCurveBackward"
    seen = []
    for module in model:
        module.register_forward_hook(lambda module, inputs, output: seen.append(module))
    apart = model(x)
    assert len(seen) == 6
    np.testing.assert_allclose(fused.detach().numpy(), apart.detach().numpy(), rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- linear maps in a row

ONE_BY_ONE = {
    "none": lambda x, w, b: ops.linear(x, w, b),
    "relu": ops.linear_relu,
    "leaky_relu": lambda x, w, b: ops.linear_leaky_relu(x, w, b, 0.2),
    "gelu": ops.linear_gelu,
    "gelu_tanh": lambda x, w, b: ops.linear_gelu(x, w, b, "tanh"),
    "silu": ops.linear_silu,
    "tanh": lambda x, w, b: ops.tanh(ops.linear(x, w, b)),
    "sigmoid": lambda x, w, b: ops.sigmoid(ops.linear(x, w, b)),
}

ROWS_OF_LAYERS = (
    # rows, widths, activations, layers that have a bias
    ((64,), (2, 128, 128, 1), ("leaky_relu", "leaky_relu", "none"), (0, 1, 2)),
    ((64,), (784, 256, 10), ("relu", "none"), (0, 1)),
    ((3, 5), (7, 33, 20, 4, 9), ("silu", "none", "gelu", "relu"), (1, 3)),
    ((128,), (40, 300), ("gelu_tanh",), ()),
    ((), (17, 5, 5), ("none", "leaky_relu"), (0,)),
    ((1,), (300, 700, 600), ("relu", "gelu"), (1,)),
    ((2, 64), (64, 512, 64), ("gelu", "silu"), (0, 1)),
    ((90,), (33, 800, 50, 3), ("tanh", "sigmoid", "tanh"), (0, 2)),
)


def operands_of_layers(rows, widths, biased, dtype):
    x = leaf(numbers(*rows, widths[0], dtype=dtype))
    weights = [leaf(numbers(o, i, dtype=dtype, seed=o) / dtype(math.sqrt(i))) for i, o in itertools.pairwise(widths)]
    biases = [leaf(numbers(o, dtype=dtype, seed=o + 1)) if l in biased else None for l, o in enumerate(widths[1:])]
    return x, weights, biases


def in_a_row(x, weights, biases, activations):
    return ops.perceptron(x, weights, biases, activations, negative_slope=0.2)


def one_by_one(x, weights, biases, activations):
    for weight, bias, activation in zip(weights, biases, activations, strict=True):
        x = ONE_BY_ONE[activation](x, weight, bias)
    return x


def values_and_gradients(function, x, weights, biases, activations):
    """Also of a forward pass that nobody records."""
    leaves = [tensor for tensor in (x, *weights, *biases) if tensor is not None]
    for tensor in leaves:
        tensor.grad = None
    y = function(x, weights, biases, activations)
    if y.requires_grad:
        y.backward(nbdl.tensor(numbers(*y.shape, dtype=y.dtype.type, seed=9)))
    with nbdl.no_grad():
        bare = function(x, weights, biases, activations)
    return [y.detach(), bare, *(tensor.grad for tensor in leaves)]


def assert_the_same_bits(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("rows", "widths", "activations", "biased"), ROWS_OF_LAYERS)
def test_layers_in_a_row_have_the_bits_of_layers_one_by_one(rows, widths, activations, biased, dtype, count):
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(count)
        operands = operands_of_layers(rows, widths, biased, dtype)
        row = values_and_gradients(in_a_row, *operands, activations)
        assert_the_same_bits(row, values_and_gradients(one_by_one, *operands, activations))
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=5)))
def test_layers_in_a_row_give_the_gradients_that_are_wanted(wanted):
    x, weights, biases = operands_of_layers((6,), (15, 257, 16), (0, 1), np.float32)
    for tensor, wants in zip((x, weights[0], biases[0], weights[1], biases[1]), wanted, strict=True):
        tensor.requires_grad_(wants)
    for activations in (
        ("relu", "none"),
        ("none", "silu"),
        ("gelu_tanh", "leaky_relu"),
        ("silu", "gelu"),
        ("tanh", "sigmoid"),
    ):
        row = values_and_gradients(in_a_row, x, weights, biases, activations)
        assert_the_same_bits(row, values_and_gradients(one_by_one, x, weights, biases, activations))


def test_a_row_of_layers_is_one_operation_where_it_can_be():
    x, weights, biases = operands_of_layers((6,), (5, 7, 4), (0, 1), np.float32)

    def name(x=x, weights=weights):
        return ops.perceptron(x, weights, biases).grad_fn.name()

    assert name() == "PerceptronBackward"
    assert name(x=nbdl.tensor(numbers(129, 5))) == "LinearBackward"  # little to save
    assert name(x=nbdl.tensor(numbers(5, 6)).T) == "LinearBackward"  # a program knows no gaps
    assert name(x=nbdl.tensor(numbers(0, 5))) == "LinearBackward"


def test_mixed_precision_takes_the_layers_of_a_row_one_by_one():
    x, weights, biases = operands_of_layers((6,), (5, 7, 4), (0, 1), np.float32)
    with nbdl.autocast():
        row, wanted = ops.perceptron(x, weights, biases), one_by_one(x, weights, biases, ("relu", "none"))
    assert row.dtype == wanted.dtype == nbdl.float16
    np.testing.assert_array_equal(row.detach().numpy(), wanted.detach().numpy())
    halves = [[None if t is None else t.detach().half() for t in tensors] for tensors in ([x], weights, biases)]
    assert ops.perceptron(halves[0][0], *halves[1:]).dtype == nbdl.float16
    assert ops.perceptron(x, weights, biases).grad_fn.name() == "PerceptronBackward"  # outside, all is as before


@pytest.mark.parametrize(("rows", "widths", "activations", "biased"), [*ROWS_OF_LAYERS[:3], ROWS_OF_LAYERS[-1]])
def test_who_watches_launches_sees_those_of_a_row_with_the_same_bits(rows, widths, activations, biased):
    operands = operands_of_layers(rows, widths, biased, np.float32)
    wanted = values_and_gradients(in_a_row, *operands, activations)
    launched = []

    def watch(kernel, arguments):
        launched.append(kernel.name)
        return NotImplemented

    jit.launch_override = watch
    try:
        assert_the_same_bits(values_and_gradients(in_a_row, *operands, activations), wanted)
    finally:
        jit.launch_override = None
    assert launched.count("gemm") == 4 * len(activations)  # forward twice, then two for each layer


@pytest.mark.parametrize("activation", ONE_BY_ONE)
def test_a_row_of_layers_runs_the_cuda_twins_of_its_steps(activation):
    operands = operands_of_layers((6,), (5, 7, 4), (0,), np.float32)
    with nbdl.no_grad():
        operands[0].mul_(5.0)  # far enough from 0 that a curve is not a line
    wanted = values_and_gradients(in_a_row, *operands, (activation, "none"))
    with simt.target():
        got = values_and_gradients(in_a_row, *operands, (activation, "none"))
    for one, other in zip(got, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_a_row_of_layers_may_meet_a_weight_twice_and_run_backward_twice():
    x, (weight,), (bias,) = operands_of_layers((6,), (5, 5), (0,), np.float32)
    weights, biases, activations = [weight] * 3, [bias, None, bias], ("relu", "silu", "none")
    assert_the_same_bits(
        values_and_gradients(in_a_row, x, weights, biases, activations),
        values_and_gradients(one_by_one, x, weights, biases, activations),
    )
    weight.grad = None
    y = in_a_row(x, weights, biases, activations).sum()
    y.backward(retain_graph=True)
    once = weight.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(weight.grad.numpy(), once + once)
    with pytest.raises(GradientError, match="second time"):
        y.backward()


@pytest.mark.parametrize("last", ["relu", "tanh"])
@pytest.mark.parametrize("changed", ["input", "weight", "result"])
def test_a_row_of_layers_notices_what_was_changed_before_backward(changed, last):
    x, weights, biases = operands_of_layers((6,), (5, 7, 4), (0, 1), np.float32)
    y = ops.perceptron(x, weights, biases, ("relu", last))
    with nbdl.no_grad():
        {"input": x, "weight": weights[0], "result": y.detach()}[changed].mul_(2.0)
    with pytest.raises(GradientError, match="changed in place"):
        y.sum().backward()


def test_a_result_without_activation_may_be_changed():
    x, weights, biases = operands_of_layers((6,), (5, 7, 4), (0, 1), np.float32)
    y = ops.perceptron(x, weights, biases)
    y.detach().zero_()
    y.sum().backward()
    assert weights[0].grad is not None


def test_a_sequential_makes_a_row_of_its_linear_layers():
    nbdl.manual_seed(0)
    layers = [
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.LeakyReLU(0.2),
        nn.Linear(5, 4),
        nn.Tanh(),
        nn.Linear(4, 3),
        nn.Softplus(),
    ]
    model, x = nn.Sequential(*layers), nbdl.tensor(numbers(2, 2, 3))
    results = []
    for watched in (False, True):
        if watched:
            for layer in layers:
                layer.register_forward_hook(lambda *_: None)
        model.zero_grad()
        y = model(x)
        y.sum().backward()
        results.append([y.detach(), *(parameter.grad for parameter in model.parameters())])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("slope", [0.1, -0.1])
def test_a_negative_slope_below_zero_stays_a_module_of_its_own(slope):
    model = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(slope), nn.Linear(5, 4))
    x = nbdl.tensor(numbers(3, 6))
    y = model(x)
    hidden = ops.leaky_relu(ops.linear(x, model[0].weight, model[0].bias), slope)
    np.testing.assert_allclose(y.detach().numpy(), ops.linear(hidden, model[2].weight, model[2].bias).detach().numpy())
    assert (y.grad_fn.name() == "PerceptronBackward") == (slope > 0)


@pytest.mark.parametrize(
    ("activation", "mentions"),
    [(nn.GELU("exact"), "approximate"), (nn.LeakyReLU("steep"), "negative_slope"), (nn.LeakyReLU([0.1]), "negative")],
)
def test_a_row_does_not_hide_an_activation_s_bad_argument(activation, mentions):
    model = nn.Sequential(nn.Linear(6, 5), activation, nn.Linear(5, 4))
    with pytest.raises((ArgumentError, ArgumentTypeError), match=mentions):
        model(nbdl.tensor(numbers(3, 6)))


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
