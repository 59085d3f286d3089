"""Normalizations beside PyTorch, over random arguments: values, gradients, running moments, refusals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

from tests.parity.beside_torch import EXACT, SINGLE  # noqa: E402

pytestmark = pytest.mark.parity

CASES = 200
"""Configurations of a family, those that both refuse not counted."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch starts its threads for the smallest batch normalization: half a minute of waiting in all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(rng: np.random.Generator, shape: tuple[int, ...], channels: int = 1) -> np.ndarray:
    """Numbers around some mean, in channels-first, channels-last or strided memory."""
    x = rng.standard_normal(shape) * rng.choice([0.1, 1.0, 10.0]) + rng.choice([0.0, 1.0, -20.0])
    layout = rng.integers(4)
    if layout == 0:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, channels, -1)), -1, channels)
    if layout == 1:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x


def reference_tensor(x: np.ndarray) -> Any:
    """Always channels-first for PyTorch: for some strides of dimensions of size 1 its batch gradients are wrong."""
    return torch.from_numpy(np.array(x, order="C"))


def compare(title: str, got: Any, wanted: Any, bound: float) -> None:
    got, wanted = np.asarray(got), wanted.detach().numpy()
    assert got.shape == wanted.shape, title
    assert np.abs(got - wanted).max(initial=0) <= bound * np.abs(wanted).max(initial=1), title


def check_phases(name: str, x: np.ndarray, rng: np.random.Generator, /, *args: Any, **kwargs: Any) -> bool:
    """Two batches in training and one in evaluation, in both; everything must agree. False if both refuse."""
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    for parameter in theirs.parameters():
        parameter.data = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)))
    ours = getattr(nn, name)(*args, **kwargs).double()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, False):
        title = f"{name}{args}{kwargs} of {x.shape}, {'training' if training else 'evaluation'}"
        leaf, our_leaf = reference_tensor(x).requires_grad_(), nbdl.from_numpy(x).requires_grad_()
        theirs.train(training).zero_grad()
        ours.train(training).zero_grad()
        try:
            wanted = theirs(leaf)
        except (RuntimeError, ValueError) as error:
            with pytest.raises(NbdlError):
                ours(our_leaf)
                pytest.fail(f"{title}: PyTorch refuses: {error}")
            return False
        got = ours(our_leaf)
        cotangent = rng.standard_normal(tuple(wanted.shape))
        wanted.backward(torch.from_numpy(cotangent))
        got.backward(nbdl.from_numpy(cotangent))
        compare(f"{title}: result", got.detach(), wanted, EXACT)
        compare(f"{title}: gradient of x", our_leaf.grad, leaf.grad, EXACT)
        for (which, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            compare(f"{title}: gradient of {which}", p.grad, q.grad, EXACT)
        for which, buffer in theirs.state_dict().items():
            compare(f"{title}: {which}", ours.state_dict()[which], buffer, EXACT)
    return True


def options(rng: np.random.Generator, **choices: list[Any]) -> dict[str, Any]:
    """Some of the options, each with one of its values."""
    return {name: values[rng.integers(len(values))] for name, values in choices.items() if rng.random() < 0.6}


def sizes(rng: np.random.Generator, rank: int, most: int = 5) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, most + 1, rank))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_batch_norm_modules(rank: int) -> None:
    rng, done = np.random.default_rng(rank), 0
    while done < CASES // 2:
        channels = int(rng.choice([1, 2, 3, 5, 16, 40]))
        places = () if rank == 1 and rng.random() < 0.4 else sizes(rng, rank)
        x = images(rng, (int(rng.choice([0, 1, 2, 5, 33])), channels, *places))
        chosen = options(
            rng,
            eps=[1e-5, 0.1],
            momentum=[None, 0.0, 0.3, 1.0],
            affine=[True, False],
            track_running_stats=[True, False],
            bias=[True, False],
        )
        done += check_phases(f"BatchNorm{rank}d", x, rng, channels, **chosen)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_instance_norm_modules(rank: int) -> None:
    rng, done = np.random.default_rng(rank), 0
    while done < CASES // 2:
        channels = int(rng.choice([1, 2, 3, 16]))
        batch = () if rng.random() < 0.3 else (int(rng.choice([1, 2, 5])),)
        x = images(rng, (*batch, channels, *sizes(rng, rank)), len(batch))
        chosen = options(
            rng,
            eps=[1e-5, 0.1],
            momentum=[None, 0.0, 0.3, 1.0],
            affine=[True, False],
            track_running_stats=[True, False],
            bias=[True, False],
        )
        done += check_phases(f"InstanceNorm{rank}d", x, rng, channels, **chosen)


def test_group_norm_modules() -> None:
    rng, done = np.random.default_rng(0), 0
    while done < CASES:
        groups, size = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        x = images(rng, (int(rng.choice([0, 1, 2, 5])), groups * size, *sizes(rng, int(rng.integers(0, 4)))))
        chosen = options(rng, eps=[1e-5, 0.1], affine=[True, False], bias=[True, False])
        done += check_phases("GroupNorm", x, rng, groups, groups * size, **chosen)


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_row_norm_modules(name: str) -> None:
    rng, done = np.random.default_rng(len(name)), 0
    while done < CASES:
        row = tuple(int(n) for n in rng.integers(1, 7, rng.integers(1, 4)))
        lead = tuple(int(n) for n in rng.choice([0, 1, 2, 5, 70], rng.integers(0, 3), p=[0.1, 0.2, 0.4, 0.2, 0.1]))
        x = images(rng, (*lead, *row), 0)
        chosen = options(rng, eps=[1e-5, 0.1], elementwise_affine=[True, False], bias=[True, False])
        if name == "RMSNorm":
            chosen.pop("bias", None)
        shape: Any = row[0] if len(row) == 1 and rng.random() < 0.5 else row
        done += check_phases(name, x, rng, shape, **chosen)


def test_local_response_norm_modules() -> None:
    rng, done = np.random.default_rng(0), 0
    while done < CASES:
        shape = (int(rng.choice([0, 1, 3])), int(rng.choice([1, 2, 5, 20])), *sizes(rng, int(rng.integers(1, 4))))
        chosen = options(rng, alpha=[1e-4, 0.5, 3.0], beta=[0.75, 0.5, 2.0, -1.0], k=[1.0, 2.0, 0.1])
        done += check_phases("LocalResponseNorm", images(rng, shape), rng, int(rng.integers(1, 9)), **chosen)


# ---------------------------------------------------------------- functions


def check_function(ours: Callable[..., Any], theirs: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    """The same arguments in both: results, gradients of floating-point arrays, and moved running moments."""
    running = ("running_mean", "running_var")
    a, b = dict(arguments), dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            a[name] = nbdl.from_numpy(value.copy() if name in running else value)
            b[name] = reference_tensor(value)
            if name not in running:
                a[name].requires_grad_()
                b[name].requires_grad_()
    title = f"{ours.__name__}: " + str({k: getattr(v, "shape", v) for k, v in arguments.items()})
    try:
        z = theirs(**b)
    except (RuntimeError, ValueError) as error:
        with pytest.raises(NbdlError):
            ours(**a)
            pytest.fail(f"{title}: PyTorch refuses: {error}")
        return False
    y = ours(**a)
    cotangent = np.random.default_rng(0).standard_normal(tuple(z.shape))
    y.backward(nbdl.from_numpy(cotangent))
    z.backward(torch.from_numpy(cotangent))
    compare(title, y.detach(), z, EXACT)
    for name, value in a.items():
        if isinstance(value, nbdl.Tensor):
            if name in running:
                compare(f"{title}: {name}", value, b[name], EXACT)
            else:
                compare(f"{title}: gradient of {name}", value.grad, b[name].grad, EXACT)
    return True


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_functions_with_running_moments(name: str) -> None:
    rng, done = np.random.default_rng(len(name)), 0
    flag = "training" if name == "batch_norm" else "use_input_stats"
    while done < CASES:
        channels = int(rng.integers(1, 5))
        arguments: dict[str, Any] = {
            "input": images(rng, (int(rng.integers(1, 5)), channels, *sizes(rng, int(rng.integers(0, 4)), 3))),
            "running_mean": rng.standard_normal(channels) if rng.random() < 0.8 else None,
            "running_var": rng.uniform(0.5, 2.0, 2 * channels)[::2] if rng.random() < 0.8 else None,
            "weight": rng.standard_normal(channels) if rng.random() < 0.7 else None,
            "bias": rng.standard_normal(channels) if rng.random() < 0.7 else None,
            flag: bool(rng.random() < 0.6),
            "momentum": float(rng.choice([0.0, 0.1, 1.0, 2.0])),
            "eps": float(rng.choice([1e-5, 0.1])),
        }
        done += check_function(getattr(ops, name), getattr(torch.nn.functional, name), arguments)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda n: n.BatchNorm1d(7), (300, 7)),
        (lambda n: n.BatchNorm2d(40), (5, 40, 6, 7)),
        (lambda n: n.InstanceNorm2d(3, affine=True), (2, 3, 9, 9)),
        (lambda n: n.GroupNorm(4, 16), (3, 16, 5, 5)),
        (lambda n: n.LayerNorm(100), (70, 100)),
        (lambda n: n.RMSNorm(100), (70, 100)),
        (lambda n: n.LocalResponseNorm(5, alpha=1.0), (2, 9, 4, 4)),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_float32_is_near_float64(layer: Callable[[Any], Any], shape: tuple[int, ...], last: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) + 1).astype(np.float32)
    leaf = torch.from_numpy(x).double().requires_grad_()
    if last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    our_leaf = nbdl.from_numpy(x).requires_grad_()
    cotangent = rng.standard_normal(shape).astype(np.float32)
    theirs, ours = layer(torch.nn).double(), layer(nn)
    wanted, got = theirs(leaf), ours(our_leaf)
    wanted.backward(torch.from_numpy(cotangent).double())
    got.backward(nbdl.from_numpy(cotangent))
    compare("result", got.detach(), wanted, SINGLE / 10)
    compare("gradient of x", our_leaf.grad, leaf.grad, SINGLE / 10)
    for (which, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        compare(f"gradient of {which}", p.grad, q.grad, SINGLE / 10)


def test_means_far_from_zero_cost_no_digits() -> None:
    """float32, a mean of a thousand: as near to float64 as the input's own rounding allows."""
    rng = np.random.default_rng(0)
    for shape in ((256, 3), (16, 8, 9, 9), (300, 64)):
        x = (rng.standard_normal(shape) + 1000).astype(np.float32)
        for array in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)):
            y = ops.batch_norm(nbdl.from_numpy(array), None, None, training=True)
            wanted = torch.nn.functional.batch_norm(torch.from_numpy(x).double(), None, None, training=True)
            compare(f"{shape}", y, wanted, 1e-4)


def test_old_state_dicts_without_a_counter() -> None:
    theirs = torch.nn.BatchNorm2d(3)
    state = {name: value for name, value in theirs.state_dict().items() if name != "num_batches_tracked"}
    torch.nn.BatchNorm2d(3).load_state_dict(state)
    assert not nn.BatchNorm2d(3).load_state_dict(state).missing_keys


def test_instances_of_another_number_of_channels_warn() -> None:
    layer, x = nn.InstanceNorm1d(4), nbdl.randn(2, 3, 5)
    with pytest.warns(UserWarning, match="num_features"):
        y = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = torch.nn.InstanceNorm1d(4)(torch.from_numpy(x.numpy()))
    compare("InstanceNorm1d", y, reference, 1e-5)
    assert math.isclose(float(y.mean()), 0, abs_tol=1e-6)
