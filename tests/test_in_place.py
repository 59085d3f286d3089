"""Operations in place: the values and gradients of the form that is not, and no memory besides the tensor's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Op
from nbdl.ops import elementwise
from nbdl.ops.elementwise.operands import UnaryOp
from nbdl.runtime import arrays, memory

NUMBERS: dict[str, tuple[Any, ...]] = {
    "clamp": (0.3, 0.6),
    "clamp_max": (0.5,),
    "clamp_min": (0.4,),
    "clip": (0.3, 0.6),
    "float_power": (2.0,),
    "pow": (2.0,),
}
OPERANDS = {"addcdiv": 2, "addcmul": 2, "lerp": 2}
INTEGERS = {"bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor"}
ELSEWHERE = {"float_power", "masked_fill"}  # the first gives float64, which a float32 tensor does not hold
NAMES = sorted(({*elementwise.IN_PLACE, "add", "sub", "mul", "div", "relu"}) - INTEGERS - ELSEWHERE)
WRITES_OVER = [name for name, when in elementwise.IN_PLACE.items() if when]
ALWAYS = [name for name, when in elementwise.IN_PLACE.items() if when == "always"]
PAIRS = {*NAMES} - {*ALWAYS} - {*OPERANDS} - {"deg2rad", "logical_not", "rad2deg", "relu"}


def values(*shape: int, seed: int = 0) -> nbdl.Tensor:
    return nbdl.tensor(np.random.default_rng(seed).uniform(0.2, 0.8, shape).astype(np.float32))


def operands(name: str, shape: tuple[int, ...]) -> tuple[Any, ...]:
    count = OPERANDS.get(name, 1 if name in PAIRS else 0)
    return NUMBERS.get(name) or tuple(values(*shape, seed=1 + number) for number in range(count))


def identical(a: nbdl.Tensor, b: nbdl.Tensor) -> bool:
    return np.array_equal(a.detach().numpy(), b.detach().numpy(), equal_nan=True)


LAYOUTS: dict[str, Callable[[], nbdl.Tensor]] = {
    "contiguous": lambda: values(3, 4, 5),
    "channels last": lambda: values(2, 3, 4, 5).permute(0, 3, 1, 2),
    "every other": lambda: values(3, 4, 10)[..., ::2],
    "a number": lambda: values(),
    "empty": lambda: values(0, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_the_other_form(name, layout):
    x, y = LAYOUTS[layout](), LAYOUTS[layout]()
    others = operands(name, tuple(x.shape))
    expected = getattr(x, name)(*others).to(x.dtype)
    memory_of_y = y._array
    assert getattr(y, f"{name}_")(*others) is y
    assert y._array is memory_of_y
    assert identical(y, expected)


@pytest.mark.parametrize("name", sorted(PAIRS | set(OPERANDS)))
def test_operands_may_be_the_tensor_itself_or_a_part_of_it(name):
    count = OPERANDS.get(name, 1)
    x, y = values(4, 4), values(4, 4)
    expected = getattr(x, name)(*[x] * count).to(x.dtype)
    assert identical(getattr(y, f"{name}_")(*[y] * count), expected)
    x, y = values(4, 4), values(4, 4)
    expected = getattr(x, name)(*[x[1]] * count).to(x.dtype)
    assert identical(getattr(y, f"{name}_")(*[y[1]] * count), expected)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_operands_are_repeated_as_in_the_other_form(name):
    for shape in ((5,), (4, 1), (1, 1)):
        x, y, other = values(3, 4, 5), values(3, 4, 5), values(*shape, seed=3)
        expected = getattr(x, name)(other).to(x.dtype)
        assert identical(getattr(y, f"{name}_")(other), expected)


def test_masked_fill():
    for mask in (values(3, 4, seed=1) > 0.5, values(3, 1, seed=1) > 0.5):
        x, y = values(3, 4), values(3, 4)
        assert identical(y.masked_fill_(mask, 0.25), x.masked_fill(mask, 0.25))


def test_alpha():
    x, other = values(3, 5), values(3, 5, seed=1)
    for name in ("add", "sub"):
        for second in (other, other[:1], other.t().contiguous().t()):
            expected = getattr(x, name)(second, alpha=0.3)
            assert identical(getattr(x.clone(), f"{name}_")(second, alpha=0.3), expected)
            two_steps = getattr(x, name)(second * 0.3)
            assert identical(expected, two_steps)


# ---------------------------------------------------------------- recorded


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize("name", [*ALWAYS, "relu", "add", "mul"])
def test_gradients_are_those_of_the_other_form(name, layout):
    weights = nbdl.tensor(np.random.default_rng(5).standard_normal(LAYOUTS[layout]().shape).astype(np.float32))
    gradients = []
    for suffix in ("", "_"):
        x = LAYOUTS[layout]().requires_grad_()
        y = (x * 1.0) if layout == "contiguous" else x.clone()
        result = getattr(y, name + suffix)(*operands(name, tuple(x.shape)))
        (result * weights).sum().backward()
        gradients.append(x.grad)
    assert identical(*gradients)


LIMITS = values(3, 4, 5, seed=3) * 0.5, values(3, 4, 5, seed=4)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("pow", (1.7,)),
        ("pow", (3,)),
        ("pow", LIMITS[:1]),
        ("clamp", LIMITS),
        ("clamp", (LIMITS[0], None)),
        ("clip", LIMITS),
        ("clamp_min", LIMITS[:1]),
        ("clamp_max", LIMITS[1:]),
        ("clamp_max", (LIMITS[1].numpy(),)),
        ("logit", (0.3,)),
        ("round", ()),
        ("addcmul", LIMITS),
        ("addcdiv", LIMITS),
        ("lerp", LIMITS),
        ("lerp", (LIMITS[0], 0.3)),
        ("xlogy", LIMITS[:1]),
        ("atan2", LIMITS[:1]),
        ("hypot", LIMITS[:1]),
        ("div", LIMITS[:1]),
        ("remainder", LIMITS[:1]),
        ("ldexp", LIMITS[:1]),
    ],
)
def test_gradients_with_other_operands(name, others):
    """Whichever operation the operands make of it: what it keeps of the tensor must outlive the writing."""
    gradients = []
    for suffix in ("", "_"):
        x = values(3, 4, 5).requires_grad_()
        given = [other.clone().requires_grad_() if isinstance(other, nbdl.Tensor) else other for other in others]
        y = getattr(x * 1.0, name + suffix)(*given)
        (y * values(3, 4, 5, seed=9)).sum().backward()
        gradients.append([x.grad, *(other.grad for other in given if isinstance(other, nbdl.Tensor))])
    for one, other in zip(*gradients, strict=True):
        assert identical(one, other)


ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "celu": (),
    "elu": (),
    "hardsigmoid": (),
    "hardswish": (),
    "hardtanh": (-0.5, 0.4),
    "leaky_relu": (-0.1,),
    "mish": (),
    "relu": (),
    "relu6": (),
    "selu": (),
    "silu": (),
    "threshold": (0.1, 0.2),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_in_place(name):
    data = np.random.default_rng(2).standard_normal((2, 5, 6, 3)).astype(np.float32)
    results, gradients = [], []
    for inplace in (False, True):
        x = nbdl.tensor(data, requires_grad=True)
        y = getattr(ops, name)(x * 2.0, *ACTIVATIONS[name], inplace=inplace)
        (y * y).sum().backward()
        results.append(y)
        gradients.append(x.grad)
    assert identical(*results)
    assert identical(*gradients)


def test_what_an_operation_keeps_of_its_result_must_stay_as_it_is():
    x = values(3).requires_grad_()
    y = (x * 2).relu_()
    y.mul_(3)
    with pytest.raises(nbdl.GradientError, match="changed in place"):
        y.sum().backward()
    z = x.exp()
    z.relu_()
    with pytest.raises(nbdl.GradientError, match="changed in place"):
        z.sum().backward()


@pytest.mark.parametrize("refused", [lambda y: y.clamp_("low"), lambda y: y.add_(values(7)), lambda y: y.pow_("two")])
def test_what_was_refused_has_changed_nothing(refused):
    x = values(3).requires_grad_()
    y = x.exp()
    before = y.detach().numpy().copy()
    with pytest.raises((nbdl.ShapeError, nbdl.ArgumentTypeError)):
        refused(y)
    assert np.array_equal(y.detach().numpy(), before)
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), before)


# ---------------------------------------------------------------- memory


@pytest.fixture
def arrays_made(monkeypatch):
    """The sizes of the arrays that are made from here on."""
    sizes: list[int] = []
    make = memory.empty

    def noted(shape, dtype):
        result = make(shape, dtype)
        sizes.append(result.size)
        return result

    monkeypatch.setattr(memory, "empty", noted)
    return sizes


@pytest.mark.parametrize("name", [*WRITES_OVER, "add", "sub", "mul", "div", "relu"])
def test_nothing_is_copied_outside_the_graph(name, arrays_made, monkeypatch):
    x = values(4, 6)
    others = operands(name, (4, 6))
    copies: list[Any] = []
    monkeypatch.setattr(arrays, "copy_into", lambda *pair: copies.append(pair))
    arrays_made.clear()
    getattr(x, f"{name}_")(*others)
    of_other_operands = {"ldexp": 1}  # 2 to their power
    assert len(arrays_made) == of_other_operands.get(name, 0)
    assert not copies


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "exp"])
def test_a_recorded_operation_that_keeps_its_result_needs_no_memory(name, arrays_made):
    y = values(4, 6).requires_grad_() * 2
    arrays_made.clear()
    getattr(y, f"{name}_")()
    assert not arrays_made


@pytest.mark.parametrize("name", [*ALWAYS, "relu"])
def test_what_writes_over_its_operand_is_one_operation(name, monkeypatch):
    applied: list[type[Op]] = []
    apply: Any = Op.apply.__func__
    monkeypatch.setattr(Op, "apply", classmethod(lambda cls, *inputs: (applied.append(cls), apply(cls, *inputs))[1]))
    getattr(values(3), name)(*NUMBERS.get(name, ()))
    assert len(applied) == 1
    assert issubclass(applied[0], UnaryOp)


def test_setting_all_elements():
    for x in (values(3, 4), values(3, 8)[:, ::2], values(4, 3).t(), values()):
        for number in (0.0, -0.0, 2.5, float("nan"), float("inf")):
            x.fill_(number)
            assert np.array_equal(x.numpy(), np.full(x.shape, number, np.float32), equal_nan=True)
            assert np.array_equal(np.signbit(x.numpy()), np.signbit(np.full(x.shape, number, np.float32)))
    for dtype in (nbdl.float16, nbdl.int8, nbdl.uint8, nbdl.int64, nbdl.bool):
        x = nbdl.zeros(5, dtype=dtype)
        assert x.fill_(1).tolist() == [1] * 5
        assert x.zero_().tolist() == [0] * 5


def test_a_view_that_has_been_changed_is_not_written_again(arrays_made):
    with nbdl.no_grad():
        x = values(4, 6)
        expected = x.numpy().copy()
        expected[1:3] += 1
        x[1:3] += 1.0
        assert np.array_equal(x.numpy(), expected)
        arrays_made.clear()
        x[1:3] += 1.0
        assert not arrays_made
