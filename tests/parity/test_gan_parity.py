"""Normalized weights, averaged weights and a game between two players beside PyTorch, over random arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import models, nn, optim

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

pytestmark = pytest.mark.parity

CASES = 200
"""Configurations of a family."""

EXACT = 1e-6
SINGLE = 1e-4


def layer_pair(rng: np.random.Generator) -> tuple[Any, Any, np.ndarray]:
    """A layer of random kind and size in both libraries, in float64, and an input for it."""
    inputs, outputs, batch = (int(rng.integers(1, 6)) for _ in range(3))
    name = ("Linear", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Embedding")[rng.integers(6)]
    if name == "Embedding":
        theirs, ours = (library.Embedding(inputs, outputs).double() for library in (torch.nn, nn))
        return ours, theirs, rng.integers(0, inputs, (batch, 3))
    rank = 0 if name == "Linear" else int(name[-2])
    kernel = () if rank == 0 else (int(rng.integers(1, 4)),)
    bias = bool(rng.integers(2))
    theirs, ours = (getattr(library, name)(inputs, outputs, *kernel, bias=bias).double() for library in (torch.nn, nn))
    return ours, theirs, rng.standard_normal((batch, inputs, *(5,) * rank))


def tensors(x: np.ndarray) -> tuple[Any, Any]:
    if x.dtype.kind == "i":
        return nbdl.from_numpy(x), torch.from_numpy(x.copy())
    return nbdl.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()


def compare(ours: Any, theirs: Any, x: np.ndarray, rng: np.random.Generator, bound: float = EXACT) -> None:
    """Results, gradients and the state afterwards."""
    mine, other = tensors(x)
    y, wanted = ours(mine), theirs(other)
    cotangent = rng.standard_normal(tuple(wanted.shape))
    ours.zero_grad()
    theirs.zero_grad()
    y.backward(nbdl.from_numpy(cotangent))
    wanted.backward(torch.from_numpy(cotangent))
    pairs = [(y.detach(), wanted.detach())]
    pairs += [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    pairs += [(ours.state_dict()[name], value) for name, value in theirs.state_dict().items()]
    if x.dtype.kind == "f":
        pairs.append((mine.grad, other.grad))
    for got, want in pairs:
        close(got, want, bound)


def close(got: Any, want: Any, bound: float = EXACT) -> None:
    got, want = np.asarray(got), want.numpy()
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= bound * np.abs(want).max(initial=1)


@pytest.mark.parametrize("seed", range(4))
def test_spectral_norm(seed):
    rng = np.random.default_rng(seed)
    for _ in range(CASES // 4):
        ours, theirs, x = layer_pair(rng)
        rank = theirs.weight.ndim
        options = {
            "n_power_iterations": int(rng.integers(1, 4)),
            "eps": float(rng.choice([1e-12, 0.1])),
            "dim": [None, int(rng.integers(0, rank))][rng.integers(2)],
        }
        theirs, ours = torch.nn.utils.spectral_norm(theirs, **options), nn.utils.spectral_norm(ours, **options)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
        ours.load_state_dict(theirs.state_dict())
        for training in (True, False):
            ours.train(training)
            theirs.train(training)
            compare(ours, theirs, x, rng)
        nn.utils.remove_spectral_norm(ours)
        torch.nn.utils.remove_spectral_norm(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        close(ours.weight.detach(), theirs.weight.detach())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_weight_norm(seed):
    rng = np.random.default_rng(seed)
    for _ in range(CASES // 4):
        ours, theirs, x = layer_pair(rng)
        dim = [None, -1, int(rng.integers(0, theirs.weight.ndim))][rng.integers(3)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            theirs = torch.nn.utils.weight_norm(theirs, dim=dim)
        ours = nn.utils.weight_norm(ours, dim=dim)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict(theirs.state_dict())
        compare(ours, theirs, x, rng)
        nn.utils.remove_weight_norm(ours)
        torch.nn.utils.remove_weight_norm(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        close(ours.weight.detach(), theirs.weight.detach())


def test_averaged_model():
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        use_buffers, decay = bool(rng.integers(2)), float(rng.choice([0.0, 0.3, 0.5, 0.9, 0.999, 1.0]))
        kind = rng.integers(3)
        own_options, their_options = (
            {"use_buffers": use_buffers}
            | (
                {}
                if kind == 0
                else {"multi_avg_fn": library.get_ema_multi_avg_fn(decay)}
                if kind == 1
                else {"avg_fn": lambda average, value, n: average + 0.25 * (value - average)}
            )
            for library in (optim, torch.optim.swa_utils)
        )
        theirs, ours = (
            library.Sequential(library.Linear(2, 3), library.BatchNorm1d(3)).double() for library in (torch.nn, nn)
        )
        ours.load_state_dict(theirs.state_dict())
        averaged = nn.AveragedModel(ours, **own_options)
        wanted = torch.optim.swa_utils.AveragedModel(theirs, **their_options)
        assert list(averaged.state_dict()) == list(wanted.state_dict())
        for _ in range(4):
            with torch.no_grad():
                for tensor in theirs.state_dict().values():
                    tensor.add_(torch.from_numpy(rng.integers(1, 9, tuple(tensor.shape))))
            ours.load_state_dict(theirs.state_dict())
            averaged.update_parameters(ours)
            wanted.update_parameters(theirs)
        for name, value in wanted.state_dict().items():
            if use_buffers and name.endswith("num_batches_tracked"):  # cut off after roundings of different sums
                assert abs(int(averaged.state_dict()[name].item()) - int(value)) <= 4
            else:
                close(averaged.state_dict()[name], value)


def their_players(nz: int, channels: int, features: int) -> tuple[Any, Any]:
    """A DCGAN for images of 16 x 16 as PyTorch's tutorial writes it."""
    t = torch.nn
    generator = t.Sequential(
        t.ConvTranspose2d(nz, 2 * features, 4, 1, 0, bias=False),
        t.BatchNorm2d(2 * features),
        t.ReLU(),
        t.ConvTranspose2d(2 * features, features, 4, 2, 1, bias=False),
        t.BatchNorm2d(features),
        t.ReLU(),
        t.ConvTranspose2d(features, channels, 4, 2, 1, bias=False),
        t.Tanh(),
    )
    discriminator = t.Sequential(
        t.Conv2d(channels, features, 4, 2, 1, bias=False),
        t.LeakyReLU(0.2),
        t.Conv2d(features, 2 * features, 4, 2, 1, bias=False),
        t.BatchNorm2d(2 * features),
        t.LeakyReLU(0.2),
        t.Conv2d(2 * features, 1, 4, 1, 0, bias=False),
    )
    return generator, discriminator


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounds_of_a_dcgan(dtype):
    rng = np.random.default_rng(0)
    theirs = [player.double() for player in their_players(6, 2, 4)]
    ours = [models.DCGANGenerator(6, 2, 4, 16), models.DCGANDiscriminator(2, 4, 16)]
    for mine, other in zip(ours, theirs, strict=True):
        mine.main.load_state_dict(other.state_dict())
        mine.to(dtype=dtype)
    their_adam = [torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999)) for player in theirs]
    adam = [optim.Adam(player.parameters(), 2e-4, (0.5, 0.999)) for player in ours]
    game, loss = models.NonSaturatingGame(), torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(3):
        noise, real = rng.standard_normal((5, 6)), rng.standard_normal((5, 2, 16, 16))
        fake = theirs[0](torch.from_numpy(noise)[:, :, None, None])
        their_adam[1].zero_grad()
        scores = [theirs[1](x).flatten(1) for x in (torch.from_numpy(real), fake.detach())]
        value = loss(scores[0], torch.ones(5, 1)) + loss(scores[1], torch.zeros(5, 1))
        value.backward()
        their_adam[1].step()
        their_adam[0].zero_grad()
        loss(theirs[1](fake).flatten(1), torch.ones(5, 1).double()).backward()
        their_adam[0].step()

        made = ours[0](nbdl.tensor(noise.astype(dtype)))
        adam[1].zero_grad()
        own = game.discriminator_loss(ours[1](nbdl.tensor(real.astype(dtype))), ours[1](made.detach()))
        own.backward()
        adam[1].step()
        adam[0].zero_grad()
        game.generator_loss(ours[1](made)).backward()
        adam[0].step()
        assert own.item() == pytest.approx(value.item(), abs=EXACT if dtype is np.float64 else SINGLE)
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in other.state_dict().items():
            close(mine.main.state_dict()[name], value, EXACT if dtype is np.float64 else 5 * SINGLE)
