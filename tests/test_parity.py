"""nbdl beside PyTorch: the same weights and batches give the same losses."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops, optim

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

OPTIMIZERS = [
    ("AdamW", {"lr": 1e-3, "weight_decay": 0.01}),
    ("Adam", {"lr": 1e-3, "amsgrad": True}),
    ("SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    ("RMSprop", {"lr": 1e-3, "centered": True, "momentum": 0.5}),
    ("Adagrad", {"lr": 1e-2}),
    ("Adadelta", {}),
    ("NAdam", {"lr": 1e-3}),
]


def models():
    ours = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 5))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.Tanh(), torch.nn.Linear(16, 5)
    )
    return ours, theirs


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_losses_of_100_steps(name, options, dtype, tolerance):
    ours, theirs = models()
    theirs = theirs.to(getattr(torch, dtype))
    ours = ours.to(dtype=getattr(nbdl, dtype))
    ours.load_state_dict(theirs.state_dict())
    our_optimizer = getattr(optim, name)(ours.parameters(), **options)
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), **options)
    rng = np.random.default_rng(0)
    for step in range(100):
        x = rng.standard_normal((16, 20)).astype(dtype)
        target = rng.integers(0, 5, 16)
        our_optimizer.zero_grad()
        loss = ops.cross_entropy(ours(nbdl.from_numpy(x)), nbdl.from_numpy(target))
        loss.backward()
        our_optimizer.step()
        their_optimizer.zero_grad()
        reference = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(target))
        reference.backward()
        their_optimizer.step()
        assert abs(loss.item() - reference.item()) <= tolerance * abs(reference.item()), f"step {step}"
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_state_dicts_travel_both_ways():
    ours, theirs = models()
    theirs.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((7, 20)).astype(np.float32)
    np.testing.assert_allclose(
        ours(nbdl.from_numpy(x)).detach().numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
