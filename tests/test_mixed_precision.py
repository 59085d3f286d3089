"""float16 tensors, autocast and loss scaling."""

import contextlib
import copy

import numpy as np
import pytest

import nbdl
from nbdl import amp, models, nn, optim
from nbdl.ops import mixed
from nbdl.optim.scaling import unscale_reference
from nbdl.testing import on_gpu, simt, simulated
from nbdl.testing.draw import seeded
from nbdl.testing.specs import all_specs


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---------------------------------------------------------------- float16


@pytest.mark.filterwarnings("ignore:overflow")
def test_storage_rounds_to_nearest():
    x = np.concatenate([drawn(100), np.float32([0, -0.0, 1e-8, 65504, 65520, 1e9, -np.inf, np.nan])])
    narrow = nbdl.tensor(x).to(nbdl.float16)
    assert narrow.dtype == nbdl.float16
    assert narrow.element_size() == 2
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(narrow.numpy().view(np.uint16)[:-1], x.astype(np.float16).view(np.uint16)[:-1])
    assert np.isnan(narrow.numpy()[-1])
    np.testing.assert_array_equal(narrow.float().numpy(), narrow.numpy().astype(np.float32))
    assert nbdl.tensor(x).half().dtype == nbdl.tensor(x.astype(np.float16)).dtype == nbdl.float16
    assert nbdl.tensor([3, 4]).to(nbdl.float16).tolist() == [3.0, 4.0]
    assert narrow[:2].to(nbdl.int64).dtype == nbdl.int64
    assert narrow[:3].double().dtype == nbdl.float64


def test_arithmetic_is_rounded_float32():
    a, b = (nbdl.tensor(drawn(4, 5, seed=seed)).half() for seed in (1, 2))
    wide_a, wide_b = a.numpy().astype(np.float32), b.numpy().astype(np.float32)
    for got, wanted in (
        (a + b, wide_a + wide_b),
        (a * 3, wide_a * 3),
        (a / b, wide_a / wide_b),
        (nbdl.exp(a), np.exp(wide_a)),
        (a @ b.T, wide_a @ wide_b.T),
        (a.sum(dim=1), wide_a.sum(axis=1)),
        (nbdl.cat([a, b]), np.concatenate([wide_a, wide_b])),
        (a.T.contiguous(), wide_a.T),
    ):
        assert got.dtype == nbdl.float16
        np.testing.assert_allclose(got.float().numpy(), wanted.astype(np.float16).astype(np.float32), rtol=1e-3)
    assert (a + nbdl.tensor(drawn(4, 5))).dtype == nbdl.float32
    assert (a > b).dtype == nbdl.bool
    assert a.argmax(dim=1).tolist() == wide_a.argmax(axis=1).tolist()
    assert a[a > 0].dtype == nbdl.float16


def test_gradients_have_the_dtype_of_what_they_belong_to():
    layer = nn.Linear(3, 2).half()
    x = nbdl.tensor(drawn(4, 3)).half().requires_grad_()
    (layer(x).sum() + x.sum() * 2).backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {nbdl.float16}
    weight = layer.weight.detach().float().numpy()
    np.testing.assert_allclose(x.grad.float().numpy(), np.tile(weight.sum(axis=0) + 2, (4, 1)), rtol=2e-3)
    before = layer.bias.grad.float().numpy().copy()
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.bias.grad.float().numpy(), 2 * before)


def test_numbers_are_not_rounded_to_integers():
    half = nbdl.tensor([1.0, 2.0, 3.0]).half()
    for got, wanted in (
        (half * 0.5, [0.5, 1.0, 1.5]),
        (half + 0.25, [1.25, 2.25, 3.25]),
        (2.5 - half, [1.5, 0.5, -0.5]),
        (half.clamp(max=1.5), [1.0, 1.5, 1.5]),
        (half**0.5, [1.0, 1.4140625, 1.732421875]),
    ):
        assert got.dtype == nbdl.float16
        assert got.tolist() == wanted


def test_what_is_written_to_float16_stays_there():
    half = nbdl.tensor([1.0, 2.0, 3.0]).half()
    half[0] = 7.0
    half[half > 2.5] = 0.5
    assert half.tolist() == [0.5, 2.0, 0.5]
    half[nbdl.tensor([0, 2])] = nbdl.tensor([4.0, 5.0])
    half += 1
    half.mul_(0.5)
    assert half.tolist() == [2.5, 1.5, 3.0]
    taken = nbdl.zeros(3).half().requires_grad_()
    written = taken * 1.0
    written[1] = 2.5
    (written * half).sum().backward()
    assert written.tolist() == [0.0, 2.5, 0.0] and taken.grad.tolist() == [2.5, 0.0, 3.0]
    assert half.uniform_().min() >= 0 and 0 < half.exponential_().max() < 100
    x = nbdl.tensor(drawn(6, 3) + 1)
    for layer, shown in ((nn.BatchNorm1d(3), x), (nn.InstanceNorm1d(3, track_running_stats=True), x.T[None])):
        narrow = copy.deepcopy(layer).half()
        layer(shown), narrow(shown.half())
        assert narrow.running_mean.dtype == nbdl.float16
        np.testing.assert_allclose(narrow.running_mean.numpy(), layer.running_mean.numpy(), atol=1e-3)
        np.testing.assert_allclose(narrow.running_var.numpy(), layer.running_var.numpy(), atol=2e-3)


def test_a_language_model_of_float16_writes():
    model = models.GPT(models.GPTConfig(vocabulary=11, context=8, width=16, heads=2, layers=1)).half()
    assert model.generate(np.array([[1, 2]]), 3, seed=0).shape == (1, 5)


def test_float16_on_the_device():
    """As `make gpu` checks it on a GPU: against float64, within the tolerance of the dtype."""
    chosen = ("add", "softmax", "count_nonzero", "searchsorted", "rotary_embedding")
    with simulated.gpu():
        for spec in all_specs():
            if spec.name in chosen:
                on_gpu.check(spec, spec.inputs(seeded(0)), np.float16)
    assert all_specs()[0].tolerance.keys() >= {"float16", "float32", "float64"}


def test_float16_in_the_interpreter():
    with simt.target():
        x = nbdl.tensor(drawn(7)).half()
        total = (x * 2 + 1).float()
    np.testing.assert_allclose(total.numpy(), 2 * x.float().numpy() + 1, rtol=2e-3)


# ---------------------------------------------------------------- autocast


def test_autocast_lowers_products_and_keeps_losses_wide():
    layer, x = nn.Linear(6, 4), nbdl.tensor(drawn(3, 6))
    plain = layer(x)
    with nbdl.autocast("cpu"):
        assert nbdl.is_autocast_enabled()
        y = layer(x)
        assert y.dtype == nbdl.float16
        assert nbdl.relu(y).dtype == nbdl.float16
        assert (y + x[:, :4]).dtype == nbdl.float32
        assert nbdl.softmax(y, dim=1).dtype == nbdl.float32
        assert nbdl.sigmoid(y).dtype == nbdl.float16
        assert nbdl.ops.mse_loss(y, nbdl.zeros(3, 4)).dtype == nbdl.float32
        loss = nbdl.ops.cross_entropy(y, nbdl.tensor([0, 1, 2]))
        assert loss.dtype == nbdl.float32
        assert (y @ nbdl.ones(4, 2)).dtype == nbdl.float16
        images = nbdl.tensor(drawn(1, 2, 5, 5)).half()
        assert nn.Conv2d(2, 3, 3)(images).dtype == nbdl.float16
        assert nn.LSTM(5, 3)(images[0])[0].dtype == nbdl.float16
        assert nn.MultiheadAttention(4, 2)(y[None], y[None], y[None])[0].dtype == nbdl.float16
        with nbdl.autocast("cpu", enabled=False):
            assert layer(x).dtype == nbdl.float32
    assert not nbdl.is_autocast_enabled()
    assert layer(x).dtype == nbdl.float32
    np.testing.assert_allclose(y.detach().float().numpy(), plain.detach().numpy(), rtol=1e-2, atol=2e-3)
    loss.backward()
    assert layer.weight.grad.dtype == nbdl.float32
    reference = nn.Linear(6, 4)
    reference.load_state_dict(layer.state_dict())
    nbdl.ops.cross_entropy(reference(x), nbdl.tensor([0, 1, 2])).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), reference.weight.grad.numpy(), rtol=2e-2, atol=2e-3)


def test_autocast_as_a_decorator_and_its_bad_input():
    @nbdl.autocast("cpu")
    def product(a):
        return a @ a

    assert product(nbdl.ones(2, 2)).dtype == nbdl.float16
    with pytest.raises(nbdl.DTypeError, match="float16"):
        nbdl.autocast("cpu", dtype=nbdl.float64)
    with pytest.raises(ZeroDivisionError), nbdl.autocast("cpu"):
        raise ZeroDivisionError
    assert not nbdl.is_autocast_enabled()


def test_every_lowered_operation_is_known():
    assert all(mixed._family(op) == "lower" for op in mixed.LOWER)


# ---------------------------------------------------------------- loss scaling


def problem(value=2.0):
    x = nbdl.tensor([1.0, value], requires_grad=True)
    return x, optim.SGD([x], lr=0.1)


def test_a_scaled_step_is_the_step():
    x, optimizer = problem()
    other, plain = problem()
    scaler = amp.GradScaler(init_scale=128.0)
    for _ in range(3):
        optimizer.zero_grad()
        plain.zero_grad()
        scaler.scale((x * x).sum()).backward()
        (other * other).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), 128 * other.grad.numpy())
        scaler.step(optimizer)
        scaler.update()
        plain.step()
        np.testing.assert_array_equal(x.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("target", [None, "simt"])
def test_a_gradient_that_is_not_finite_skips_the_step(bad, target):
    x, optimizer = problem()
    scaler = amp.GradScaler(init_scale=8.0, growth_interval=2)
    x.grad = nbdl.tensor([1.0, bad])
    before = x.detach().numpy().copy()
    if target:
        with simt.target():
            scaler.step(optimizer)
    else:
        scaler.step(optimizer)
    scaler.update()
    np.testing.assert_array_equal(x.detach().numpy(), before)
    assert scaler.get_scale() == 4.0
    for _ in range(2):
        x.grad = nbdl.tensor([1.0, 1.0])
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 8.0
    assert not np.array_equal(x.detach().numpy(), before)


@pytest.mark.parametrize("target", [contextlib.nullcontext, simt.target])
@pytest.mark.parametrize("bad", [None, 0, -1])
def test_gradients_are_unscaled_as_the_reference_says(target, bad):
    """Some over several chunks; the one that is not finite is first, last or none."""
    rng = np.random.default_rng(0)
    parameters = [nbdl.zeros(n, requires_grad=True) for n in (3, 20_000, 1)]
    given = [rng.standard_normal(p.shape).astype(np.float32) for p in parameters]
    if bad is not None:
        given[bad][-1] = np.inf
    for parameter, gradient in zip(parameters, given, strict=True):
        parameter.grad = nbdl.tensor(gradient)
    optimizer, scaler = optim.SGD(parameters, lr=1.0), amp.GradScaler(init_scale=3.0)
    wanted, found = unscale_reference([gradient.astype(np.float64) for gradient in given], 3.0)
    with target():
        scaler.unscale_(optimizer)
    for parameter, gradient in zip(parameters, wanted, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=3e-7)
    scaler.step(optimizer)
    assert found == all(not p.detach().numpy().any() for p in parameters) == (bad is not None)


def test_order_of_calls():
    x, optimizer = problem()
    scaler = amp.GradScaler(init_scale=4.0)
    x.grad = nbdl.tensor([4.0, 8.0])
    with pytest.raises(nbdl.StateError, match="update: expected"):
        scaler.update()
    scaler.unscale_(optimizer)
    np.testing.assert_array_equal(x.grad.numpy(), [1, 2])
    with pytest.raises(nbdl.StateError, match="called twice"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(nbdl.StateError, match="step: called twice"):
        scaler.step(optimizer)
    with pytest.raises(nbdl.StateError, match=r"after step\(\)"):
        scaler.unscale_(optimizer)
    scaler.update(new_scale=2.0)
    assert scaler.get_scale() == 2.0
    with pytest.raises(nbdl.ArgumentError, match="closure"):
        scaler.step(optimizer, closure=lambda: 0)


def test_state_and_switch():
    scaler = amp.GradScaler(init_scale=4.0, growth_interval=7)
    other = amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    with pytest.raises(nbdl.StateError, match="missing"):
        other.load_state_dict({})
    off = amp.GradScaler(enabled=False)
    x, optimizer = problem()
    x.grad = nbdl.tensor([1.0, 1.0])
    assert off.scale(x) is x
    off.step(optimizer)
    off.update()
    assert off.state_dict() == {}
    np.testing.assert_allclose(x.detach().numpy(), [0.9, 1.9])
    assert [y.item() for y in scaler.scale([nbdl.tensor(1.0), nbdl.tensor(2.0)])] == [4.0, 8.0]
    for arguments in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"init_scale": 0.0}, {"growth_interval": 0}):
        with pytest.raises(nbdl.ArgumentError, match=next(iter(arguments))):
            amp.GradScaler(**arguments)
    assert scaler.is_enabled() and not off.is_enabled()
    for name, value, wrong in (("growth_factor", 3.0, 1.0), ("backoff_factor", 0.25, 0.0), ("growth_interval", 9, 0)):
        getattr(scaler, f"set_{name}")(value)
        assert getattr(scaler, f"get_{name}")() == scaler.state_dict()[name] == value
        with pytest.raises(nbdl.ArgumentError, match=r"^new_"):
            getattr(scaler, f"set_{name}")(wrong)


def test_mixed_training_learns():
    nbdl.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer, scaler = optim.Adam(model.parameters(), lr=0.02), amp.GradScaler(init_scale=1024.0)
    x = drawn(64, 4)
    y = nbdl.tensor((x.sum(axis=1) > 0).astype(np.int64))
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        with nbdl.autocast("cpu"):
            loss = nbdl.ops.cross_entropy(model(nbdl.tensor(x)), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parity
def test_pytorch_scales_alike():
    torch = pytest.importorskip("torch")
    theirs = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    ours = amp.GradScaler(init_scale=64.0, growth_interval=2)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    their_optimizer = torch.optim.SGD([x], lr=0.1)
    mine, optimizer = problem()
    for step in range(12):
        factor = float("inf") if step in (3, 7, 8) else 1.0
        their_optimizer.zero_grad()
        optimizer.zero_grad()
        theirs.scale((x * x).sum() * factor).backward()
        ours.scale((mine * mine).sum() * factor).backward()
        theirs.step(their_optimizer)
        ours.step(optimizer)
        theirs.update()
        ours.update()
        assert ours.get_scale() == theirs.get_scale()
        np.testing.assert_allclose(mine.detach().numpy(), x.detach().numpy(), rtol=1e-6)
    assert set(ours.state_dict()) == set(theirs.state_dict())
