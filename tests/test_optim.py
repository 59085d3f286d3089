"""Optimizers, schedules and clipping: against float64 references, PyTorch's rules, and PyTorch itself."""

import copy
import math

import numpy as np
import pytest

import nbdl
from nbdl import optim
from nbdl.autograd import Tensor
from nbdl.optim import lr_scheduler
from nbdl.optim.adam import adam_reference
from nbdl.optim.adaptive import adadelta_reference, adagrad_reference, rmsprop_reference
from nbdl.optim.clipping import clip_grad_norm_reference
from nbdl.optim.sgd import sgd_reference
from nbdl.optim.table import CHUNK
from nbdl.testing import simt

SHAPES = ((3, 4), (5,), (), (0, 2), (CHUNK + 7,))

OPTIONS = {
    "SGD": [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "maximize": True},
    ],
    "Adam": [
        {},
        {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "AdamW": [{"lr": 0.01}, {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "amsgrad": True, "weight_decay": 0.3}],
    "NAdam": [
        {"lr": 0.01, "weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1, "maximize": True},
    ],
    "Adagrad": [
        {"lr": 0.1},
        {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True},
    ],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}],
    "RMSprop": [
        {},
        {"alpha": 0.9, "momentum": 0.9, "centered": True, "weight_decay": 0.1},
        {"centered": True, "maximize": True},
        {"momentum": 0.5},
    ],
}

CASES = [(name, options) for name, listed in OPTIONS.items() for options in listed]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
names = pytest.mark.parametrize("name", OPTIONS)


def parameters(dtype=np.float64, seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [Tensor(np.asarray(rng.standard_normal(shape), dtype), requires_grad=True) for shape in shapes]


def set_gradients(tensors, seed):
    rng = np.random.default_rng(seed)
    for tensor in tensors:
        tensor.grad = Tensor(np.asarray(rng.standard_normal(tensor.shape), tensor.dtype))


def run(name, options, steps=5, dtype=np.float64):
    tensors = parameters(dtype)
    optimizer = getattr(optim, name)(tensors, **options)
    for step in range(steps):
        set_gradients(tensors, step)
        optimizer.step()
    return tensors, optimizer


# ---------------------------------------------------------------- references


def reference_trajectory(name, options, x, gradients):
    """The parameter after each gradient, by the float64 reference of the optimizer."""
    options = dict(options)
    zero = np.zeros_like(x)
    if name == "SGD":
        buffer = None
        for g in gradients:
            x, buffer = sgd_reference(x, g, buffer, **options)
    elif name in ("Adam", "AdamW"):
        settings = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, **options}
        if name == "AdamW":
            settings = {**settings, "weight_decay": options.get("weight_decay", 0.01), "decoupled_weight_decay": True}
        m = s = largest = zero
        for t, g in enumerate(gradients, 1):
            x, m, s, largest = adam_reference(x, g, m, s, largest, t, **settings)
    elif name == "NAdam":
        return nadam_trajectory(x, gradients, **options)
    elif name == "Adagrad":
        s = zero + options.pop("initial_accumulator_value", 0.0)
        for t, g in enumerate(gradients, 1):
            x, s = adagrad_reference(x, g, s, t, **{"lr": 0.01, **options})
    elif name == "Adadelta":
        s = u = zero
        for g in gradients:
            x, s, u = adadelta_reference(x, g, s, u, **options)
    else:
        s = mean = buffer = zero
        for g in gradients:
            x, s, mean, buffer = rmsprop_reference(x, g, s, mean, buffer, **{"lr": 0.01, **options})
    return x


def nadam_trajectory(
    x, gradients, lr=2e-3, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False, maximize=False
):
    """Dozat's recurrence; the product of momenta in float32, as PyTorch keeps it."""
    m = s = np.zeros_like(x)
    product = np.float32(1)
    for t, g in enumerate(gradients, 1):
        g = -g if maximize else g
        if decoupled_weight_decay:
            x = x * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * x
        mu, mu_next = (0.9 * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
        product *= np.float32(mu)
        now = float(product)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        denominator = np.sqrt(s / (1 - 0.999**t)) + 1e-8
        x = x - lr * ((1 - mu) / (1 - now) * g + mu_next / (1 - now * mu_next) * m) / denominator
    return x


@cases
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_trajectory(name, options, dtype):
    steps = 8
    start = [tensor._array.astype(np.float64) for tensor in parameters(dtype)]
    tensors, _ = run(name, options, steps, dtype)
    drawn = []
    for step in range(steps):
        set_gradients(copied := parameters(dtype), step)
        drawn.append([tensor.grad._array.astype(np.float64) for tensor in copied])
    for number, tensor in enumerate(tensors):
        wanted = reference_trajectory(name, options, start[number], [gradients[number] for gradients in drawn])
        tolerance = 1e-12 if dtype is np.float64 else 2e-5
        np.testing.assert_allclose(tensor._array, wanted, rtol=tolerance, atol=tolerance)


@cases
def test_cuda_twins(name, options):
    wanted, _ = run(name, options, 2)
    small = parameters(shapes=SHAPES[:4])
    for step in range(2):
        set_gradients(small, step)
    with simt.target():
        got, _ = run(name, options, 2)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a._array, b._array, rtol=1e-12, atol=1e-14)


@cases
def test_threads(name, options):
    kept = nbdl.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 4):
            nbdl.set_num_threads(threads)
            results.append([tensor._array.tobytes() for tensor in run(name, options, 3, np.float32)[0]])
    finally:
        nbdl.set_num_threads(kept)
    assert results[0] == results[1] == results[2]


# ---------------------------------------------------------------- what a step leaves


@names
def test_parameters_without_gradient_stay(name):
    tensors = parameters()
    optimizer = getattr(optim, name)(tensors)
    set_gradients(tensors, 0)
    tensors[1].grad = None
    before = tensors[1]._array.copy()
    optimizer.step()
    assert np.array_equal(tensors[1]._array, before)
    assert tensors[1]._version[0] == 0
    assert tensors[0]._version[0] == 1
    assert name == "Adagrad" or tensors[1] not in optimizer.state


@names
def test_a_gradient_that_comes_later_starts_its_own_count(name):
    late, alone = parameters(shapes=((3,),)), parameters(shapes=((3,),))
    other = parameters(seed=1, shapes=((4,),))
    both, single = getattr(optim, name)(late + other), getattr(optim, name)(alone)
    for step in range(6):
        set_gradients(other, step)
        late[0].grad = None
        if step >= 3:
            set_gradients(late, step)
            set_gradients(alone, step)
            single.step()
        both.step()
    assert np.array_equal(late[0]._array, alone[0]._array)


def test_gradients_and_parameters_of_any_layout():
    plain = parameters(shapes=((4, 6),))[0]
    turned = Tensor(np.asfortranarray(plain._array), requires_grad=True)
    gradient = np.random.default_rng(3).standard_normal((4, 6))
    for tensor, layout in ((plain, np.array), (turned, lambda g: np.repeat(g, 2, axis=1)[:, ::2])):
        optimizer = optim.AdamW([tensor])
        for _ in range(3):
            tensor.grad = Tensor(layout(gradient))
            optimizer.step()
    assert turned._array.flags.f_contiguous
    assert np.array_equal(plain._array, turned._array)


def test_both_dtypes_in_one_group():
    tensors = parameters(np.float32, shapes=((3,),)) + parameters(np.float64, shapes=((3,),))
    optimizer = optim.Adam(tensors)
    set_gradients(tensors, 0)
    optimizer.step()
    assert [tensor.dtype for tensor in tensors] == [np.float32, np.float64]
    np.testing.assert_allclose(optimizer.state[tensors[0]]["exp_avg"]._array, 0.1 * tensors[0].grad._array, rtol=1e-6)


def test_a_replaced_memory_is_noticed():
    (tensor,) = parameters(shapes=((3,),))
    optimizer = optim.SGD([tensor], lr=1.0)
    tensor.grad = Tensor(np.ones(3))
    optimizer.step()
    tensor.data = Tensor(np.zeros(3))
    optimizer.step()
    assert tensor.tolist() == [-1.0, -1.0, -1.0]
    tensor.data = Tensor(np.zeros(4))
    tensor._grad = Tensor(np.ones(4))
    with pytest.raises(nbdl.ShapeError, match="parameter 0"):
        optimizer.step()
    tensor.data = Tensor(np.zeros(3, np.float32))
    with pytest.raises(nbdl.DTypeError, match="parameter 0"):
        optimizer.step()


def test_read_only_parameters_are_refused():
    array = np.zeros(3)
    array.flags.writeable = False
    tensor = Tensor(array, requires_grad=True)
    tensor.grad = Tensor(np.ones(3))
    with pytest.raises(nbdl.ArgumentError, match="read-only"):
        optim.SGD([tensor]).step()


def test_closure_and_zero_grad():
    (x,) = parameters(shapes=((3,),))
    optimizer = optim.SGD([x], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with nbdl.no_grad():
        loss = optimizer.step(closure)
    assert loss.requires_grad
    np.testing.assert_allclose(x._array, 0, atol=1e-15)
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    optimizer.zero_grad()
    assert x.grad is None


# ---------------------------------------------------------------- groups and state dicts


def test_groups_have_their_own_rates():
    a, b = parameters(shapes=((2,), (2,)))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.0}], lr=1.0)
    before = a._array.copy(), b._array.copy()
    set_gradients([a, b], 0)
    optimizer.step()
    assert np.array_equal(a._array, before[0] - a.grad._array)
    assert np.array_equal(b._array, before[1])
    optimizer.param_groups[1]["lr"] = 2.0
    optimizer.step()
    assert np.array_equal(b._array, before[1] - 2 * b.grad._array)
    (c,) = parameters(shapes=((2,),))
    optimizer.add_param_group({"params": c, "momentum": 0.5})
    assert optimizer.param_groups[2]["params"] == [c] and optimizer.param_groups[2]["lr"] == 1.0
    assert "lr: 2.0" in repr(optimizer) and "Parameter Group 2" in repr(optimizer)


def test_named_parameters():
    (x,) = parameters(shapes=((2,),))
    optimizer = optim.Adam([("weight", x)])
    assert optimizer.param_groups[0]["params"] == [x]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight"]


@cases
def test_resuming_continues_bit_for_bit(name, options):
    straight, _ = run(name, options, 6)
    tensors, optimizer = run(name, options, 3)
    saved = copy.deepcopy(
        {
            key: {n: np.array(v._array) if isinstance(v, Tensor) else v for n, v in entries.items()}
            for key, entries in optimizer.state_dict()["state"].items()
        }
    )
    groups = copy.deepcopy(optimizer.state_dict()["param_groups"])
    fresh = getattr(optim, name)(tensors)
    fresh.load_state_dict({"state": saved, "param_groups": groups})
    for step in range(3, 6):
        set_gradients(tensors, step)
        fresh.step()
    for a, b in zip(tensors, straight, strict=True):
        assert np.array_equal(a._array, b._array)


def test_state_dict_layout():
    _, optimizer = run("AdamW", {}, 2)
    state = optimizer.state_dict()
    assert list(state["state"]) == [0, 1, 2, 3, 4]
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][0]["step"].item() == 2.0 and state["state"][0]["exp_avg"].shape == (3, 4)
    assert state["param_groups"][0]["params"] == [0, 1, 2, 3, 4]
    assert run("SGD", {}, 1)[1].state_dict()["state"] == {}


def test_wrong_state_dicts_are_refused():
    tensors, optimizer = run("AdamW", {}, 1)
    state = optimizer.state_dict()
    with pytest.raises(nbdl.StateError, match="param_groups"):
        optim.AdamW(tensors[:2]).load_state_dict(state)
    wrong = {**state, "state": {0: {"exp_avg": np.zeros(3)}}}
    with pytest.raises(nbdl.ShapeError, match="exp_avg"):
        optim.AdamW(tensors).load_state_dict(wrong)
    with pytest.raises(nbdl.StateError, match="velocity"):
        optim.AdamW(tensors).load_state_dict({**state, "state": {0: {"velocity": 1.0}}})
    with pytest.raises(nbdl.StateError, match="77"):
        optim.AdamW(tensors).load_state_dict({**state, "state": {77: {}}})
    bad = copy.deepcopy(state["param_groups"])
    bad[0]["lr"] = math.nan
    with pytest.raises(nbdl.ArgumentError, match="lr"):
        optim.AdamW(tensors).load_state_dict({**state, "param_groups": bad})


@names
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_rates_out_of_range_are_refused(name, value):
    for option in ("lr", "weight_decay"):
        with pytest.raises(nbdl.ArgumentError, match=option):
            getattr(optim, name)(parameters(), **{option: value})


def test_wrong_arguments_are_refused():
    (x,) = parameters(shapes=((2,),))
    with pytest.raises(nbdl.ArgumentError, match="params"):
        optim.SGD([])
    with pytest.raises(nbdl.ArgumentTypeError, match="params"):
        optim.SGD(x)
    with pytest.raises(nbdl.ArgumentTypeError, match=r"params\[0\]"):
        optim.SGD([3])
    with pytest.raises(nbdl.ArgumentError, match="once"):
        optim.SGD([x, x])
    with pytest.raises(nbdl.GradientError, match=r"params\[0\]"):
        optim.SGD([x * 2])
    with pytest.raises(nbdl.DTypeError, match=r"params\[0\]"):
        optim.SGD([Tensor(np.arange(3))])
    with pytest.raises(nbdl.ArgumentError, match="nesterov"):
        optim.SGD([x], nesterov=True)
    with pytest.raises(nbdl.ArgumentError, match=r"betas\[1\]"):
        optim.Adam([x], betas=(0.9, 1.0))
    with pytest.raises(nbdl.GradientError, match="differentiable"):
        optim.Adam([x], differentiable=True)


# ---------------------------------------------------------------- clipping


@pytest.mark.parametrize("order", [2.0, 1.0, math.inf, 3.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clip_grad_norm(order, dtype):
    for limit in (0.5, 1e9):
        tensors = parameters(dtype)
        set_gradients(tensors, 1)
        tensors[0].grad = Tensor(np.asfortranarray(tensors[0].grad._array))
        before = [tensor.grad._array.astype(np.float64) for tensor in tensors]
        wanted, norm = clip_grad_norm_reference(before, limit, order)
        got = optim.clip_grad_norm_(iter(tensors), limit, order)
        tolerance = 1e-12 if dtype is np.float64 else 1e-5
        assert got.shape == () and got.dtype == dtype
        np.testing.assert_allclose(got.item(), norm, rtol=tolerance)
        for tensor, reference in zip(tensors, wanted, strict=True):
            np.testing.assert_allclose(tensor.grad._array, reference, rtol=tolerance)


def test_clip_grad_norm_twins():
    results = []
    for target in (None, simt.target()):
        tensors = parameters(shapes=((3, 4), (5,)))
        set_gradients(tensors, 1)
        if target is None:
            norms = [optim.clip_grad_norm_(tensors, 1.0, order).item() for order in (2.0, math.inf, 3.0)]
            optim.clip_grad_value_(tensors, 0.1)
        else:
            with target:
                norms = [optim.clip_grad_norm_(tensors, 1.0, order).item() for order in (2.0, math.inf, 3.0)]
                optim.clip_grad_value_(tensors, 0.1)
        results.append([*norms, *(tensor.grad._array for tensor in tensors)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_gradients_that_are_not_finite():
    (x,) = parameters(shapes=((3,),))
    for value in (math.nan, math.inf):
        for order in (2.0, math.inf, 1.0):
            x.grad = Tensor(np.array([1.0, value, 2.0]))
            with pytest.raises(nbdl.NumericalError, match="norm"):
                optim.clip_grad_norm_([x], 1.0, order, error_if_nonfinite=True)
            assert x.grad.tolist()[0] == 1.0
    assert optim.clip_grad_norm_([], 1.0).item() == 0.0
    with pytest.raises(nbdl.ArgumentError, match="norm_type"):
        optim.clip_grad_norm_([x], 1.0, 0)


def test_clip_grad_value():
    tensors = parameters()
    set_gradients(tensors, 1)
    before = [tensor.grad._array.copy() for tensor in tensors]
    optim.clip_grad_value_(tensors, 0.3)
    for tensor, gradient in zip(tensors, before, strict=True):
        assert np.array_equal(tensor.grad._array, np.clip(gradient, -0.3, 0.3))
    with pytest.raises(nbdl.ArgumentError, match="clip_value"):
        optim.clip_grad_value_(tensors, -1.0)


# ---------------------------------------------------------------- schedules

SCHEDULES = {
    "step": lambda module, o: module.StepLR(o, 3, 0.5),
    "milestones": lambda module, o: module.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "exponential": lambda module, o: module.ExponentialLR(o, 0.9),
    "constant": lambda module, o: module.ConstantLR(o, 0.4, 4),
    "linear": lambda module, o: module.LinearLR(o, 0.2, 0.9, 6),
    "polynomial": lambda module, o: module.PolynomialLR(o, 8, 1.7),
    "cosine": lambda module, o: module.CosineAnnealingLR(o, 5, 0.01),
    "restarts": lambda module, o: module.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "equal restarts": lambda module, o: module.CosineAnnealingWarmRestarts(o, 4),
    "function": lambda module, o: module.LambdaLR(o, lambda t: 1 / (t + 1)),
    "functions": lambda module, o: module.LambdaLR(o, [lambda t: 1 / (t + 1), lambda t: 0.5**t]),
    "one cycle": lambda module, o: module.OneCycleLR(o, 1.0, 25),
    "three phases": lambda module, o: module.OneCycleLR(
        o, [1.0, 2.0], epochs=5, steps_per_epoch=5, three_phase=True, anneal_strategy="linear", pct_start=0.2
    ),
    "multiplied": lambda module, o: module.MultiplicativeLR(o, lambda t: 1 - 0.5**t),
    "each multiplied": lambda module, o: module.MultiplicativeLR(o, (lambda t: 0.9, lambda t: 1 + 1 / t)),
    "triangles": lambda module, o: module.CyclicLR(o, 0.01, [0.1, 0.4], 3, 2),
    "lower triangles": lambda module, o: module.CyclicLR(
        o, [0.01, 0.02], 0.3, 2.5, mode="triangular2", base_momentum=[0.7, 0.6], max_momentum=0.99
    ),
    "damped triangles": lambda module, o: module.CyclicLR(o, 0.0, 1.0, 4, 0, "exp_range", 0.9, cycle_momentum=False),
    "scaled triangles": lambda module, o: module.CyclicLR(
        o, 0.1, 1.0, 3, mode="none", scale_fn=lambda c: 1 / c, base_momentum=0.5
    ),
    "updates scaled": lambda module, o: module.CyclicLR(
        o, 0.1, 1.0, 3, scale_fn=lambda t: 0.5 ** (t / 4), scale_mode="iterations"
    ),
    "chain": lambda module, o: module.ChainedScheduler(
        [module.ConstantLR(o, 0.2, 5), module.MultiStepLR(o, [4, 9]), module.ExponentialLR(o, 0.9)]
    ),
    "chain in a sequence": lambda module, o: module.SequentialLR(
        o, [module.ChainedScheduler([module.LinearLR(o), module.StepLR(o, 2)], o), module.ExponentialLR(o, 0.8)], [5]
    ),
    "sequence in a chain": lambda module, o: module.ChainedScheduler(
        (module.SequentialLR(o, [module.LinearLR(o), module.StepLR(o, 2)], [4]), module.ExponentialLR(o, 0.9)), o
    ),
    "sequence": lambda module, o: module.SequentialLR(
        o, [module.LinearLR(o, 0.1, 1, 4), module.CosineAnnealingLR(o, 6), module.ExponentialLR(o, 0.8)], [4, 10]
    ),
}


def scheduled(name="step"):
    optimizer = optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters(), (0.1, 0.3), strict=False)])
    return optimizer, SCHEDULES[name](lr_scheduler, optimizer)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_resume(name):
    optimizer, schedule = scheduled(name)
    rates = []
    for step in range(16):
        rates.append(schedule.get_last_lr())
        assert rates[-1] == [group["lr"] for group in optimizer.param_groups]
        if step == 7:
            states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
            optimizer, schedule = scheduled(name)
            optimizer.load_state_dict(states[0])
            schedule.load_state_dict(states[1])
        schedule.step()
    optimizer, schedule = scheduled(name)
    for expected in rates:
        assert schedule.get_last_lr() == expected
        schedule.step()


@pytest.mark.parametrize("name", ["step", "milestones", "exponential", "linear", "polynomial", "cosine"])
def test_recurrence_equals_closed_form(name):
    _, schedule = scheduled(name)
    for _ in range(14):
        np.testing.assert_allclose(schedule.get_last_lr(), schedule.closed_form(), rtol=1e-12, atol=1e-16)
        schedule.step()


def test_one_cycle_ends():
    optimizer = optim.SGD(parameters(), lr=0.1, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=4)
    peak = 0.0
    for _ in range(4):
        peak = max(peak, optimizer.param_groups[0]["lr"])
        schedule.step()
    assert peak == pytest.approx(1.0, rel=0.2)
    with pytest.raises(nbdl.ArgumentError, match="4 steps"):
        schedule.step()
    with pytest.raises(nbdl.ArgumentError, match="total_steps"):
        lr_scheduler.OneCycleLR(optimizer, 1.0)
    with pytest.raises(nbdl.ArgumentError, match="cycle_momentum"):
        lr_scheduler.OneCycleLR(optim.Adagrad(parameters()), 1.0, total_steps=4)


def test_plateau():
    optimizer = optim.SGD(parameters(), lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1)
    rates = []
    for loss in (3.0, 2.0, 2.0, Tensor(np.array(2.0)), 2.0, 2.0, 2.0, 1.0):
        schedule.step(loss)
        rates += schedule.get_last_lr()
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(nbdl.ArgumentError, match="factor"):
        lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0)


def test_wrong_schedules_are_refused():
    optimizer, schedule = scheduled()
    with pytest.raises(nbdl.ArgumentTypeError, match="optimizer"):
        lr_scheduler.StepLR(parameters(), 1)
    with pytest.raises(nbdl.ArgumentError, match="step_size"):
        lr_scheduler.StepLR(optimizer, 0)
    with pytest.raises(nbdl.StateError, match="initial_lr"):
        lr_scheduler.StepLR(optim.SGD(parameters()), 1, last_epoch=3)
    with pytest.raises(nbdl.ArgumentError, match="milestones"):
        lr_scheduler.SequentialLR(optimizer, [schedule], [3])
    with pytest.raises(nbdl.ArgumentError, match=r"schedulers\[0\]"):
        lr_scheduler.SequentialLR(optim.SGD(parameters()), [schedule], [])
    with pytest.raises(nbdl.ArgumentError, match=r"schedulers\[1\].*anew"):
        lr_scheduler.SequentialLR(optimizer, [schedule, lr_scheduler.ChainedScheduler([schedule])], [3])
    with pytest.raises(nbdl.ArgumentError, match="at least one schedule"):
        lr_scheduler.ChainedScheduler([])
    with pytest.raises(nbdl.ArgumentError, match=r"schedulers\[1\]"):
        lr_scheduler.ChainedScheduler([schedule, lr_scheduler.ReduceLROnPlateau(optimizer)])
    with pytest.raises(nbdl.ArgumentError, match=r"schedulers\[0\]"):
        lr_scheduler.ChainedScheduler([schedule], optim.SGD(parameters()))
    for kind in (lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR):
        with pytest.raises(nbdl.ArgumentTypeError, match="lr_lambda"):
            kind(optimizer, 0.5)
        with pytest.raises(nbdl.ArgumentError, match="lr_lambda: expected 2"):
            kind(optimizer, [abs])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_lr": -0.1}, "base_lr"),
        ({"max_lr": [0.1, 0.2, 0.3]}, "max_lr: expected 2"),
        ({"step_size_up": 0}, "step_size_up"),
        ({"step_size_down": -1}, "step_size_down"),
        ({"mode": "square"}, "mode"),
        ({"gamma": math.nan}, "gamma"),
        ({"scale_fn": 1.0}, "scale_fn"),
        ({"scale_mode": "epochs"}, "scale_mode"),
        ({"base_momentum": -1}, "base_momentum"),
        ({"max_momentum": math.inf}, "max_momentum"),
    ],
)
def test_wrong_cycles_are_refused(options, named):
    optimizer, _ = scheduled()
    rates = [group["lr"] for group in optimizer.param_groups]
    with pytest.raises((nbdl.ArgumentError, nbdl.ArgumentTypeError), match=named):
        lr_scheduler.CyclicLR(optimizer, **({"base_lr": 0.1, "max_lr": 1.0} | options))
    assert [group["lr"] for group in optimizer.param_groups] == rates
    with pytest.raises(nbdl.ArgumentError, match="cycle_momentum"):
        lr_scheduler.CyclicLR(optim.Adagrad(parameters()), 0.1, 1.0)


class Decay:
    """A function with a state of its own, which belongs to the state dict."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, t):
        return self.rate**t


@pytest.mark.parametrize(
    "make",
    [
        lambda o, f: lr_scheduler.MultiplicativeLR(o, f),
        lambda o, f: lr_scheduler.LambdaLR(o, [f, abs]),
        lambda o, f: lr_scheduler.CyclicLR(o, 0.1, 1.0, 2, scale_fn=f),
        lambda o, f: lr_scheduler.ChainedScheduler([lr_scheduler.MultiplicativeLR(o, f)]),
    ],
)
def test_states_hold_those_of_functions_that_are_objects(make):
    schedule, other = make(scheduled()[0], Decay(0.25)), make(scheduled()[0], Decay(0.75))
    other.load_state_dict(copy.deepcopy(schedule.state_dict()))
    for _ in range(3):
        schedule.step()
        other.step()
    assert other.get_last_lr() == pytest.approx(schedule.get_last_lr(), rel=1e-13)


def test_wrong_states_are_refused():
    optimizer, schedule = scheduled()
    chain, multiplied = lr_scheduler.ChainedScheduler([schedule]), lr_scheduler.MultiplicativeLR(optimizer, abs)
    for whole, name in ((chain, "_schedulers"), (multiplied, "lr_lambdas")):
        state = whole.state_dict()
        for wrong in ({}, {name: []}, {name: 3}):
            with pytest.raises(nbdl.StateError, match=name):
                whole.load_state_dict(wrong)
        with pytest.raises(nbdl.ArgumentTypeError, match="state_dict"):
            whole.load_state_dict(3)
        assert whole.state_dict() == state


# ---------------------------------------------------------------- PyTorch


@pytest.mark.parity
class TestParity:
    """The same hyperparameters, gradients and state dicts as PyTorch's optimizers."""

    torch = None

    @pytest.fixture(autouse=True)
    def _torch(self):
        TestParity.torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

    @cases
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_steps_and_state_dicts(self, name, options, dtype):
        torch = self.torch
        mine = parameters(dtype)
        theirs = [torch.tensor(tensor._array, requires_grad=True) for tensor in mine]

        def grouped(module, tensors, settings):
            return getattr(module, name)([{"params": tensors[:2]}, {"params": tensors[2:], "lr": 0.02}], **settings)

        ours, other = grouped(optim, mine, options), grouped(torch.optim, theirs, options)
        for step in range(20):
            set_gradients(mine, step)
            for a, b in zip(mine, theirs, strict=True):
                b.grad = torch.tensor(a.grad._array)
            if step < 3:
                mine[1].grad = theirs[1].grad = None
            if step == 8:
                ours = grouped(optim, mine, {})
                ours.load_state_dict(other.state_dict())
            if step == 12:
                assert self.as_torch(ours.state_dict())["param_groups"] == other.state_dict()["param_groups"]
                other.load_state_dict(self.as_torch(ours.state_dict()))
            ours.step()
            other.step()
        tolerance = 1e-10 if dtype is np.float64 else 1e-4
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a._array, b.detach().numpy(), rtol=tolerance, atol=tolerance)

    def as_torch(self, state):
        turned = {
            key: {name: self.torch.tensor(np.array(value._array)) for name, value in entries.items()}
            for key, entries in state["state"].items()
        }
        return {"state": turned, "param_groups": state["param_groups"]}

    @pytest.mark.filterwarnings("ignore:Detected call of")  # by PyTorch's own start of a chain in a sequence
    @pytest.mark.parametrize("name", SCHEDULES)
    @pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
    def test_schedules(self, name, optimizer):
        torch = self.torch
        options = {"momentum": 0.9} if optimizer == "SGD" else {}
        groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters(), (0.1, 0.3), strict=False)]
        ours = getattr(optim, optimizer)(groups, **options)
        their_groups = [
            {"params": [torch.tensor(group["params"][0]._array, requires_grad=True)], "lr": group["lr"]}
            for group in groups
        ]
        other = getattr(torch.optim, optimizer)(their_groups, **options)
        mine, theirs = SCHEDULES[name](lr_scheduler, ours), SCHEDULES[name](torch.optim.lr_scheduler, other)
        for step in range(20):
            np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-13, atol=1e-18)
            for a, b in zip(ours.param_groups, other.param_groups, strict=True):
                for momentum in {"momentum", "betas"} & set(a):
                    assert a[momentum] == pytest.approx(b[momentum], rel=1e-13)
            other.step()
            if step == 9 and "cycle" not in name and "phases" not in name:  # a rate changed by hand stays changed
                for group in (*ours.param_groups, *other.param_groups):
                    group["lr"] *= 2
            mine.step()
            theirs.step()

    @pytest.mark.parametrize(
        "make",
        [
            lambda module, o: module.CyclicLR(o, [0.05, 0.1], 1.0, 3, 2, "triangular2", last_epoch=6),
            lambda module, o: module.MultiplicativeLR(o, lambda t: 1 - 0.5**t, last_epoch=6),
        ],
    )
    def test_schedules_that_begin_later(self, make):
        torch = self.torch
        optimizers = []
        for module, zeros in ((optim, nbdl.zeros), (torch.optim, torch.zeros)):
            groups = [{"params": [zeros(1, requires_grad=True)], "lr": lr, "initial_lr": 0.2} for lr in (0.1, 0.3)]
            optimizers.append(module.SGD(groups, momentum=0.5))
        mine, theirs = make(lr_scheduler, optimizers[0]), make(torch.optim.lr_scheduler, optimizers[1])
        for _ in range(8):
            for ours, other in zip(optimizers[0].param_groups, optimizers[1].param_groups, strict=True):
                assert ours["lr"] == pytest.approx(other["lr"], rel=1e-13)
                assert ours["momentum"] == pytest.approx(other["momentum"], rel=1e-13)
            optimizers[1].step()
            mine.step()
            theirs.step()

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"mode": "max", "patience": 1},
            {"factor": 0.5, "patience": 2, "cooldown": 2, "threshold": 0.1, "threshold_mode": "abs", "min_lr": 0.01},
            {"mode": "max", "threshold_mode": "abs", "patience": 0},
        ],
    )
    def test_plateau(self, options):
        torch = self.torch
        ours = optim.SGD(parameters(), lr=0.1)
        other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        mine = lr_scheduler.ReduceLROnPlateau(ours, **options)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **options)
        rng = np.random.default_rng(0)
        for _ in range(60):
            metric = float(rng.standard_normal())
            mine.step(metric)
            theirs.step(metric)
            assert mine.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-13)
