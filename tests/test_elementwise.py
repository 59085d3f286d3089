"""Elementwise operations beyond the properties of their rows: dtypes, special values, memory, operators, in place."""

import itertools
import math
import operator

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.ops.elementwise import comparison
from nbdl.runtime import jit

DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float32", "float64")
FEW_ULPS = {"float32": 4e-7, "float64": 1e-15}
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, 1.5, -2.5, 1e-30, 1e30, 700.0, -700.0])

# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("bool", "uint8", "uint8"),
        ("uint8", "int8", "int16"),
        ("int64", "float32", "float32"),
        ("int32", "float64", "float64"),
        ("float32", "float64", "float64"),
        ("bool", "float32", "float32"),
    ],
)
def test_tensors_promote_to_the_larger_kind(left, right, result):
    a, b = nbdl.ones(2, dtype=left), nbdl.ones(2, dtype=right)
    assert (a + b).dtype == (b + a).dtype == nbdl.promote_types(left, right) == np.dtype(result)


@pytest.mark.parametrize(
    ("dtype", "number", "result"),
    [
        ("float32", 2.5, "float32"),
        ("float32", 2, "float32"),
        ("int64", 2.5, "float32"),
        ("uint8", 2, "uint8"),
        ("bool", 2, "int64"),
        ("bool", True, "bool"),
        ("bool", 0.5, "float32"),
        ("int8", 1000, "int8"),
    ],
)
def test_numbers_weigh_less_than_tensors(dtype, number, result):
    tensor = nbdl.ones(2, dtype=dtype)
    assert (tensor * number).dtype == (number * tensor).dtype == np.dtype(result)
    assert (nbdl.tensor(1, dtype=dtype) * number).dtype == np.dtype(result)


def test_tensors_without_dimensions_weigh_less_than_those_with():
    assert (nbdl.ones(2) + nbdl.tensor(1.0, dtype="float64")).dtype == nbdl.float32
    assert (nbdl.ones(2, dtype="int8") + nbdl.tensor(1)).dtype == nbdl.int8
    assert (nbdl.ones(2, dtype="int64") + nbdl.tensor(1.0, dtype="float64")).dtype == nbdl.float64
    assert (nbdl.tensor(1.0, dtype="float64") + nbdl.tensor(1)).dtype == nbdl.float64


def test_integers_are_divided_in_the_default_dtype():
    assert (nbdl.tensor([3]) / 2).dtype == nbdl.float32
    nbdl.set_default_dtype("float64")
    try:
        assert (nbdl.tensor([3]) / 2).dtype == nbdl.tensor(0.5).dtype == nbdl.tensor([1]).sqrt().dtype == nbdl.float64
    finally:
        nbdl.set_default_dtype(nbdl.float32)
    with pytest.raises(nbdl.DTypeError, match="d: expected float32 or float64"):
        nbdl.set_default_dtype("int64")


def test_small_integers_wrap_around():
    assert (nbdl.tensor([250, 3], dtype="uint8") + 10).tolist() == [4, 13]
    assert (-nbdl.tensor([1], dtype="uint8")).tolist() == [255]
    assert (nbdl.tensor([100], dtype="int8") * nbdl.tensor([2], dtype="int8")).tolist() == [-56]
    assert nbdl.tensor([-1.7, 3.9]).to("int32").tolist() == [-1, 3]


def test_the_gradient_of_a_cast_is_cast_back():
    x = nbdl.tensor([1.0, 2.0], requires_grad=True)
    y = x * nbdl.tensor([3.0, 4.0], dtype="float64")
    y.backward(nbdl.ones(2, dtype="float64"))
    assert y.dtype == nbdl.float64 and x.grad.dtype == nbdl.float32 and x.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("function", [ops.neg, ops.abs, ops.floor, ops.round])
def test_bool_is_refused_where_it_means_nothing(function):
    with pytest.raises(nbdl.DTypeError, match="bool"):
        function(nbdl.tensor([True]))
    with pytest.raises(nbdl.DTypeError, match="bool"):
        nbdl.tensor([1.0]) - True


# ---------------------------------------------------------------- tails


@pytest.mark.parametrize("activation", [ops.elu, ops.celu, ops.selu])
def test_small_slopes_keep_their_digits(activation):
    x = nbdl.tensor([-8.0, -16.0, -40.0], requires_grad=True)
    activation(x).sum().backward()
    wide = nbdl.tensor([-8.0, -16.0, -40.0], dtype="float64", requires_grad=True)
    activation(wide).sum().backward()
    scale = {ops.selu: 1.0507009873554805 * 1.6732632423543772}.get(activation, 1)
    np.testing.assert_allclose(x.grad.numpy(), scale * np.exp([-8, -16, -40]), rtol=1e-6)
    np.testing.assert_allclose(wide.grad.numpy(), scale * np.exp([-8, -16, -40]), rtol=1e-14)


def test_the_gradient_of_a_rest_counts_the_quotient_right():
    """-10824.12 / -1.4591696 is under 7418, and is 7418 when rounded to float32."""
    b = nbdl.tensor([-1.4591696], requires_grad=True)
    ops.remainder(nbdl.tensor([-10824.12]), b).backward()
    assert b.grad.tolist() == [-7417.0]


@pytest.mark.parametrize("dtype", FEW_ULPS)
def test_erfc_keeps_its_digits_where_it_is_small(dtype):
    x = np.linspace(-4, 9, 1001).astype(dtype)
    exact = np.array([math.erfc(float(value)) for value in x])
    np.testing.assert_allclose(ops.erfc(nbdl.Tensor(x)).numpy(), exact, rtol=FEW_ULPS[dtype])


@pytest.mark.parametrize("dtype", FEW_ULPS)
def test_erfinv_up_to_the_last_number_under_1(dtype):
    """The slope of erf takes error for error there: what erf gives back has to be judged by its complement."""
    bits = 23 if dtype == "float32" else 52
    complement = 2.0 ** -np.arange(1, bits + 2)
    y = ops.erfinv(nbdl.Tensor((1 - complement).astype(dtype))).numpy()
    back = np.array([math.erfc(float(value)) for value in y])
    slope = 2 * y * np.exp(-(y.astype(float) ** 2)) / math.sqrt(math.pi)  # of erfc, by a relative change of y
    assert np.all(np.abs(back - complement) <= 4 * np.finfo(dtype).eps * (slope + complement))


# ---------------------------------------------------------------- values


def test_quotients_are_exact():
    """No multiplication by a rounded reciprocal: n / n is 1, and floor never slips below."""
    n = nbdl.arange(1, 200).float()
    for k in range(1, 200):
        assert (n / k).numpy()[k - 1] == 1 and (n // k).numpy()[k - 1] == 1
    assert (nbdl.tensor([1.0], dtype="float64") // 0.1).item() == 9 == 1.0 // 0.1


def test_rounding_special_values():
    x = nbdl.tensor([0.5, 1.5, 2.5, -0.5, 4.6e15, -1e30, math.inf, 8388609.0], dtype="float64")
    assert x.round().tolist() == [0, 2, 2, 0, 4.6e15, -1e30, math.inf, 8388609]
    assert math.copysign(1, x.round()[3].item()) == -1
    assert x.float().floor().tolist()[:4] == [0, 1, 2, -1]
    assert math.isnan(nbdl.tensor(math.nan).round().item())


def test_powers_at_the_edge():
    x = nbdl.tensor([0.0, 2.0], requires_grad=True)
    (x**0).backward(nbdl.ones(2))
    assert x.grad.tolist() == [0, 0]
    base, exponent = nbdl.tensor([0.0, 0.0, 2.0], requires_grad=True), nbdl.tensor([0.0, 2.0, 3.0], requires_grad=True)
    (base**exponent).backward(nbdl.ones(3))
    assert base.grad.tolist() == [0, 0, 12] and exponent.grad.tolist()[:2] == [0, 0]
    assert (nbdl.tensor([2, -1, 3]) ** nbdl.tensor([10, -3, -1])).tolist() == [1024, -1, 0]


def test_ties_share_the_gradient():
    a, b = nbdl.tensor([1.0, 2.0], requires_grad=True), nbdl.tensor([1.0, 0.0], requires_grad=True)
    ops.maximum(a, b).backward(nbdl.ones(2))
    assert a.grad.tolist() == [0.5, 1] and b.grad.tolist() == [0.5, 0]


def test_nan_wins_or_loses():
    a, b = nbdl.tensor([math.nan, 1.0]), nbdl.tensor([1.0, math.nan])
    assert np.isnan(ops.maximum(a, b).numpy()).all() and ops.fmax(a, b).tolist() == [1, 1]
    assert np.isnan(a.clamp(0, 2).numpy()).tolist() == [True, False]
    assert np.isnan(b.clamp(math.nan, 2).numpy()).all()


def test_division_by_zero():
    with pytest.raises(nbdl.NumericalError, match="other"):
        nbdl.tensor([1]) // 0
    with pytest.raises(nbdl.NumericalError, match="other"):
        7 % nbdl.tensor([1, 0])
    assert (nbdl.tensor([1.0, -1.0]) / 0).tolist() == [math.inf, -math.inf]


# ---------------------------------------------------------------- shapes and memory


@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((4, 1), (1, 5)), ((), (2, 2)), ((0, 3), (1, 3)), ((1,), ())])
def test_broadcasting(shapes):
    a, b = (np.arange(math.prod(s), dtype=np.float32).reshape(s) + 1 for s in shapes)
    assert np.array_equal((nbdl.tensor(a) * nbdl.tensor(b)).numpy(), a * b)


def test_broadcasting_over_more_dimensions_than_the_kernel_has():
    a, b = np.random.rand(2, 1, 3, 1, 2, 1), np.random.rand(1, 2, 1, 3, 1, 2)
    x, y = nbdl.tensor(a, requires_grad=True), nbdl.tensor(b, requires_grad=True)
    z = x * y
    z.backward(nbdl.ones_like(z))
    assert np.allclose(z.detach().numpy(), a * b)
    assert np.allclose(x.grad.numpy(), b.sum() * np.ones_like(a)) and np.allclose(y.grad.numpy(), a.sum())


def test_shapes_that_do_not_broadcast():
    with pytest.raises(nbdl.ShapeError, match=r"other: .*\[2, 3\] and \[4\]"):
        nbdl.ones(2, 3) + nbdl.ones(4)


def test_memory_order_is_kept():
    nhwc = nbdl.rand(2, 4, 5, 3).permute(0, 3, 1, 2)
    bias = nbdl.rand(1, 3, 1, 1)
    for y in (nhwc.exp(), nhwc + nhwc, nhwc + bias, bias * nhwc, nhwc * 2, nhwc.clone(), nhwc > 0.5):
        assert y.stride() == nhwc.stride()
    assert np.allclose((nhwc + bias).numpy(), nhwc.numpy() + bias.numpy())


def test_repeated_operands_are_read_in_place():
    x = nbdl.rand(1, 4).expand(3, 4)
    assert np.array_equal((x + x).numpy(), 2 * x.numpy()) and np.allclose(x.exp().numpy(), np.exp(x.numpy()))


def test_a_number_costs_no_array():
    seen = []
    x = nbdl.ones(3)
    jit.launch_override = lambda kernel, arguments: seen.append([np.ndim(a) for a in arguments])
    try:
        _ = x * 2, 2 / x, x.clamp(0, 1)
    finally:
        jit.launch_override = None
    assert [[rank for rank in ranks if rank == 1 and isinstance(rank, int)][:2] for ranks in seen] == [[1, 1]] * 3
    assert all(len(ranks) == 3 for ranks in seen)


# ---------------------------------------------------------------- operators


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"])
def test_operators_with_numbers_and_arrays_on_either_side(name):
    function = getattr(operator, name)
    values = np.array([1.5, 2.0, 3.25])
    x = nbdl.tensor(values)
    for other in (2, 2.5, np.float64(1.5), np.array([2.0, 3.0, 0.5])):
        assert np.allclose(function(x, other).numpy(), function(values, other))
        assert np.allclose(function(other, x).numpy(), function(other, values))
        assert isinstance(function(other, x), nbdl.Tensor)


def test_comparisons_give_tensors_and_tensors_hash():
    x = nbdl.tensor([1.0, 2.0])
    assert (x == 1).tolist() == [True, False] and (x != 1).tolist() == [False, True]
    assert (x < 2).tolist() == [True, False] and (x >= nbdl.tensor([1.5])).tolist() == [False, True]
    assert {x: "found"}[x] == "found" and (x == "one") is False


def test_bits():
    x = nbdl.tensor([5, 6])
    assert (x & 3).tolist() == [1, 2] and (1 | x).tolist() == [5, 7] and (~x).tolist() == [-6, -7]
    assert (x << 1).tolist() == [10, 12] and (x >> 1).tolist() == [2, 3] and (x ^ x).tolist() == [0, 0]
    assert (~nbdl.tensor([True])).tolist() == [False]
    with pytest.raises(nbdl.DTypeError, match="bits"):
        nbdl.tensor([1.0]) & 1


def test_strangers_are_refused():
    with pytest.raises(TypeError):
        nbdl.ones(2) + "one"
    with pytest.raises(nbdl.ArgumentTypeError, match="other"):
        ops.add(nbdl.ones(2), None)
    with pytest.raises(nbdl.ArgumentTypeError, match="input"):
        ops.add(1, 2)


# ---------------------------------------------------------------- in place


def test_in_place_writes_to_the_same_memory():
    x = nbdl.tensor([1.0, 4.0, 9.0])
    memory, view = x.data_ptr(), x[1:]
    x += 1
    x.sub_(nbdl.ones(3)).mul_(2).div_(2).sqrt_()
    assert x.data_ptr() == memory and x.tolist() == [1, 2, 3] and view.tolist() == [2, 3]
    x.clamp_(max=2.5).neg_().fill_(7).zero_()
    assert x.tolist() == [0, 0, 0]
    x.copy_(nbdl.tensor(5))
    assert x.tolist() == [5, 5, 5]
    nbdl.zeros(2, 3).t().add_(nbdl.ones(3, 2))
    y = nbdl.zeros(2, 3)
    y.t().add_(1)
    y[:, ::2].mul_(nbdl.tensor([[2.0], [3.0]]))
    assert y.tolist() == [[2, 1, 2], [3, 1, 3]]


def test_in_place_on_overlapping_memory():
    x = nbdl.arange(5)
    x[1:].copy_(x[:-1])
    assert x.tolist() == [0, 0, 1, 2, 3]
    y = nbdl.arange(5).float()
    y[1:].add_(y[:-1])
    assert y.tolist() == [0, 1, 3, 5, 7]
    with pytest.raises(nbdl.ArgumentError, match="input"):
        nbdl.zeros(1).expand(3).add_(1)


def test_in_place_takes_part_in_the_graph():
    x = nbdl.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.mul_(y)
    y += x
    y.exp_()
    y.backward(nbdl.ones(2))
    expected = np.exp(9 * np.array([1.0, 4.0]) + [1, 2]) * (18 * np.array([1.0, 2.0]) + 1)
    assert np.allclose(x.grad.numpy(), expected, rtol=1e-5)


def test_in_place_refusals():
    leaf = nbdl.ones(2, requires_grad=True)
    for change in (lambda: leaf.add_(1), lambda: leaf.zero_(), lambda: leaf.exp_(), lambda: leaf.copy_(nbdl.ones(2))):
        with pytest.raises(nbdl.GradientError, match="leaf"):
            change()
    with pytest.raises(nbdl.GradientError, match="view"):
        nbdl.zeros(2)[:1].mul_(leaf[:1])
    with pytest.raises(nbdl.ShapeError, match="input"):
        nbdl.ones(1).add_(nbdl.ones(3))
    with pytest.raises(nbdl.DTypeError, match="float32"):
        nbdl.tensor([1]).add_(0.5)
    squared = leaf * 2
    product = squared * squared
    squared.add_(1)
    with pytest.raises(nbdl.GradientError, match="changed in place"):
        product.backward(nbdl.ones(2))
    with nbdl.no_grad():
        leaf.add_(1).mul_(nbdl.full((2,), 3.0))
    assert leaf.tolist() == [6, 6] and leaf.requires_grad


# ---------------------------------------------------------------- devices


def test_devices():
    x = nbdl.ones(2)
    assert x.to("cpu") is x and x.device == "cpu" and x.device.type == "cpu" and x.to(nbdl.device("cpu")) is x
    assert x.to("cpu", nbdl.float64).dtype == nbdl.float64 and x.to(nbdl.zeros(1, dtype="int64")).dtype == nbdl.int64
    assert nbdl.device("cuda:1").index == 1 and x.to(nbdl.float32, copy=True) is not x
    with pytest.raises(nbdl.ArgumentError, match="device"):
        x.to(device="tpu")


# ---------------------------------------------------------------- PyTorch

UNARY = [
    "neg",
    "abs",
    "sign",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "logit",
    "erf",
    "erfc",
    "erfinv",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "isnan",
    "isinf",
    "isfinite",
    "nan_to_num",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "pow",
    "atan2",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "hypot",
    "logaddexp",
    "xlogy",
    "copysign",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
]


def _check(name, torch, arrays, gradient=True, **options):
    """Values, dtypes and gradients of the function of both libraries."""
    grad = gradient and name != "floor_divide"
    ours = [nbdl.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]
    try:
        expected = getattr(torch, name)(*theirs, **options)
    except (RuntimeError, NotImplementedError):
        with pytest.raises(nbdl.NbdlError):
            getattr(ops, name)(*ours, **options)
        return
    result = getattr(ops, name)(*ours, **options)
    assert str(result.dtype) == str(expected.dtype).removeprefix("torch."), (name, [a.dtype for a in arrays])
    close = {"rtol": 3e-6, "atol": 1e-30, "equal_nan": True}
    if result.dtype == nbdl.float64:
        close = {"rtol": 1e-11, "atol": 1e-30, "equal_nan": True}
    np.testing.assert_allclose(result.detach().numpy(), expected.detach().numpy(), **close, err_msg=name)
    if expected.requires_grad:
        cotangent = np.random.default_rng(0).standard_normal(expected.shape).astype(result.dtype)
        result.backward(nbdl.tensor(cotangent))
        expected.backward(torch.tensor(cotangent))
        for a, b in zip(ours, theirs, strict=True):
            if b.grad is not None:
                close["atol"] = 1e-12
                got, wanted = (np.where(np.isinf(g), np.inf, g) for g in (a.grad.numpy(), b.grad.numpy()))
                np.testing.assert_allclose(got, wanted, **close, err_msg=f"gradient of {name}")


@pytest.mark.parity
@pytest.mark.parametrize("name", UNARY)
def test_one_operand_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    for dtype in ("float64", "float32"):
        _check(name, torch, [SPECIAL.astype(dtype)])
    for dtype in DTYPES[:5]:
        _check(name, torch, [np.array([0, 1, 1]).astype(dtype)])


@pytest.mark.parity
@pytest.mark.parametrize("name", BINARY)
def test_two_operands_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    numbers = np.array([0.5, -0.5, 1.0, 2.0, 3.5, -2.0]) if name not in ("pow", "xlogy") else np.array([0.5, 1.0, 2.5])
    _check(name, torch, [a.copy() for a in np.meshgrid(numbers, numbers)])
    for left, right in itertools.product(DTYPES, DTYPES):
        if left == right == "bool" and name in ("remainder", "fmod", "floor_divide", "pow"):
            continue  # they raise, whatever the values
        _check(name, torch, [np.array([1, 2, 3]).astype(left), np.array([2, 1, 2]).astype(right)], gradient=False)


@pytest.mark.parity
@pytest.mark.parametrize("bounds", [{"min": 0.5}, {"max": 1}, {"min": -1, "max": 1}, {"min": 2, "max": -2}])
def test_clamp_as_in_pytorch(bounds):
    torch = pytest.importorskip("torch")
    for dtype in DTYPES:
        _check("clamp", torch, [np.array([0, 1, 2]).astype(dtype)], **bounds)
    _check("clamp", torch, [SPECIAL], **bounds)


# ---------------------------------------------------------------- angles


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 3e-6), ("float64", 1e-11)])
def test_small_arguments_of_sinc(dtype, bound):
    """The quotient of the derivative loses its digits near 0, its series does not; they meet at |x| = 0.16."""
    x = np.array([0.0, 1e-8, -1e-3, 0.01, 0.05, 0.159, -0.16, 0.2], dtype)
    tensor = nbdl.tensor(x, requires_grad=True)
    ops.sinc(tensor).sum().backward()
    t = math.pi * x.astype(np.longdouble)
    t2 = t * t
    slope = (
        -math.pi * t * (1 / 3 - t2 * (1 / 30 - t2 * (1 / 840 - t2 * (1 / 45360 - t2 * (1 / 3991680 - t2 / 518918400)))))
    )
    np.testing.assert_allclose(tensor.grad.numpy(), slope.astype(np.float64), rtol=bound, atol=0)


def test_equal_looks_at_every_element():
    x = np.arange(3 * comparison.PIECE // 2, dtype=np.float32)
    for place in (0, comparison.PIECE - 1, comparison.PIECE, x.size - 1):
        other = x.copy()
        assert nbdl.equal(nbdl.tensor(x), nbdl.tensor(other))
        other[place] += 1
        assert not nbdl.equal(nbdl.tensor(x), nbdl.tensor(other))
        other[place] = np.nan
        assert not nbdl.equal(nbdl.tensor(other), nbdl.tensor(other))
    rows = nbdl.tensor(x.reshape(3, -1))
    assert nbdl.equal(rows, rows.t().contiguous().t())
    assert nbdl.equal(nbdl.zeros(0), nbdl.zeros(0, dtype=nbdl.int64))
    assert not nbdl.equal(nbdl.zeros(0), nbdl.zeros(0, 1))
