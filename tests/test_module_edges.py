"""Arguments of modules, optimizers, schedules and loaders at their edges: what is refused, and what must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nbdl
from nbdl import nn, optim
from nbdl.optim import lr_scheduler
from nbdl.runtime import memory
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError, StateError


def parameter(*values: float) -> nn.Parameter:
    """A parameter with a gradient of its own values."""
    made = nn.Parameter(nbdl.tensor(list(values)))
    made.grad = nbdl.tensor(list(values))
    return made


# ---------------------------------------------------------------- modules


def test_a_submodule_is_made_or_replaced():
    model = nn.Sequential(nn.Linear(2, 2))
    model.set_submodule("new", nn.ReLU())
    model.set_submodule("0", nn.Tanh(), strict=True)
    assert [type(module).__name__ for module in model] == ["Tanh", "ReLU"]
    for target, options in (("newer", {"strict": True}), ("missing.inner", {}), ("training", {})):
        with pytest.raises(AttributeError):
            model.set_submodule(target, nn.ReLU(), **options)
    with pytest.raises(ArgumentError, match="target"):
        model.set_submodule("", nn.ReLU())
    with pytest.raises(ArgumentTypeError, match="module"):
        model.set_submodule("0", 3)
    assert len(model) == 2


def test_assigned_integers_change_nothing():
    layer = nn.Linear(2, 2)
    weight, bias = layer.weight, layer.bias
    with pytest.raises(StateError, match="bias: a parameter with gradients needs floating-point values, got int64"):
        layer.load_state_dict({"weight": nbdl.ones(2, 2), "bias": nbdl.tensor([1, 2])}, assign=True)
    assert layer.weight is weight
    assert layer.bias is bias


def test_a_module_takes_no_nonsense_for_a_dtype():
    with pytest.raises(ArgumentTypeError, match=r"dtype: expected a dtype, got 3\.5"):
        nn.Linear(1, 1).to(3.5)


def test_hardtanh_needs_ends_apart():
    for ends in ((1.0, 1.0), (2.0, -2.0), (0.0, math.nan)):
        with pytest.raises(ArgumentError, match="max_val"):
            nn.Hardtanh(*ends)


@pytest.mark.parametrize(("reduction", "expected"), [("mean", math.nan), ("sum", 0.0)])
def test_ctc_of_no_sequence(reduction, expected):
    for _ in range(4):  # memory that is taken without being filled holds this
        memory.empty((1,), np.float64)[...] = 7.0
    scores = nbdl.zeros(5, 0, 3, dtype=nbdl.float64, requires_grad=True)
    none = nbdl.zeros(0, dtype=nbdl.int64)
    loss = nn.CTCLoss(reduction=reduction)(scores, nbdl.zeros(0, 2, dtype=nbdl.int64), none, none)
    assert np.array_equal(loss.item(), expected, equal_nan=True)
    loss.backward()
    assert scores.grad.shape == scores.shape


def test_packed_sequences_move():
    packed = nn.utils.rnn.pack_sequence([nbdl.ones(2, 3), nbdl.ones(1, 3)])
    assert packed.cpu().data.tolist() == packed.data.tolist()
    assert not packed.is_cuda
    if not nbdl.cuda.is_available():
        with pytest.raises(nbdl.runtime.errors.DeviceError):
            packed.cuda()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: nn.utils.vector_to_parameters([1.0], []), "vec"),
        (lambda: nn.utils.rnn.pad_sequence(3), "sequences"),
        (lambda: nn.utils.rnn.pack_padded_sequence(3, [1]), "input"),
        (lambda: nn.utils.weight_norm(3), "module"),
        (lambda: nn.utils.clip_grad_norm_([parameter(1.0)], 1.0, "a"), "norm_type"),
        (lambda: nbdl.interop.from_huggingface(3), "folder"),
        (lambda: optim.SGD([parameter(1.0)]).load_state_dict(3), "state_dict"),
        (lambda: optim.SGD([parameter(1.0)]).add_param_group({"params": 3}), "add_param_group"),
        (lambda: nbdl.amp.GradScaler().unscale_(3), "optimizer"),
        (lambda: nbdl.amp.GradScaler().step(3), "optimizer"),
        (lambda: nbdl.amp.GradScaler().load_state_dict(3), "state_dict"),
        (lambda: lr_scheduler.StepLR(optim.SGD([parameter(1.0)]), 2).load_state_dict(3), "state_dict"),
        (lambda: lr_scheduler.StepLR(optim.SGD([parameter(1.0)]), 2).step("a"), "epoch"),
        (lambda: lr_scheduler.ReduceLROnPlateau(optim.SGD([parameter(1.0)])).step("a"), "metrics"),
        (lambda: lr_scheduler.ReduceLROnPlateau(optim.SGD([parameter(1.0)]), patience="a"), "patience"),
    ],
)
def test_wrong_kinds_are_named(call, named):
    with pytest.raises(ArgumentTypeError, match=named):
        call()


# ---------------------------------------------------------------- optimizers and schedules


def test_an_infinite_norm_is_only_measured():
    weights = [parameter(3.0), parameter(-4.0)]
    assert nn.utils.clip_grad_norm_(weights, math.inf).item() == 5.0
    assert [weight.grad.item() for weight in weights] == [3.0, -4.0]
    for wrong in (-1.0, math.nan, -math.inf):
        with pytest.raises(ArgumentError, match="max_norm"):
            nn.utils.clip_grad_norm_(weights, wrong)


def test_a_refused_state_leaves_the_optimizer_alone():
    weight = parameter(1.0, 2.0)
    optimizer = optim.Adam([weight], lr=0.1)
    optimizer.step()
    before = np.array(optimizer.state[weight]["exp_avg"])
    state = optimizer.state_dict()
    wrong = {"state": {0: {**state["state"][0], "exp_avg": np.ones(3)}}, "param_groups": [{**state["param_groups"][0]}]}
    wrong["param_groups"][0]["lr"] = 5.0
    with pytest.raises(ShapeError, match=r"state exp_avg: expected shape \[2\], got \[3\]"):
        optimizer.load_state_dict(wrong)
    with pytest.raises(StateError, match="'params'"):
        optimizer.add_param_group({"lr": 0.1})
    for missing in ("state", "param_groups"):
        with pytest.raises(StateError, match=missing):
            optimizer.load_state_dict({name: entry for name, entry in state.items() if name != missing})
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert np.array_equal(optimizer.state[weight]["exp_avg"], before)


def test_phases_without_steps():
    optimizer = optim.SGD([parameter(1.0)], lr=1.0, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=4, pct_start=1.0)
    rates = []
    for _ in range(4):
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.28, 0.76, 1.0, 1 / 25 / 1e4], abs=1e-12)
    linear = lr_scheduler.LinearLR(optim.SGD([parameter(1.0)], lr=1.0), 0.5, total_iters=0)
    linear.step(3)
    assert linear.get_last_lr() == [0.5]
    for options in ({"max_lr": -1.0}, {"max_lr": 1.0, "div_factor": 0.0}, {"max_lr": 1.0, "final_div_factor": -1.0}):
        with pytest.raises(ArgumentError, match=list(options)[-1]):
            lr_scheduler.OneCycleLR(optimizer, total_steps=4, **options)
