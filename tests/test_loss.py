"""Losses beyond the properties of their rows: bad targets, empty batches, old arguments, weights, PyTorch."""

import inspect
import itertools
import warnings

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops import loss as losses
from nbdl.runtime.errors import ArgumentError, IndexRangeError, ShapeError

RNG = np.random.default_rng(0)
REDUCTIONS = ("mean", "sum", "none")
PAIRED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")

# ---------------------------------------------------------------- bad targets, empty batches


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("classes", [3, 200])
@pytest.mark.parametrize("bad", [-1, -100_000, 1_000_000])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ids_out_of_range_are_named(name, classes, bad, reduction):
    target = np.array([0, 1, bad, 2])
    with pytest.raises(IndexRangeError, match=f"target.*{bad}"):
        getattr(ops, name)(nbdl.zeros(4, classes), Tensor(target), reduction=reduction)
    assert np.isfinite(getattr(ops, name)(nbdl.zeros(4, classes), Tensor(target), ignore_index=bad).item())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_ids_of_any_integer_dtype(dtype):
    x = Tensor(RNG.standard_normal((4, 3)))
    target = np.array([0, 1, 2, 1])
    wanted = ops.cross_entropy(x, Tensor(target)).item()
    assert ops.cross_entropy(x, Tensor(target.astype(dtype))).item() == wanted


@pytest.mark.parametrize("name", [*PAIRED, "binary_cross_entropy_with_logits", "kl_div", "soft_margin_loss"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nan_targets_are_named_and_nan_inputs_pass(name, reduction):
    function = getattr(ops, name)
    good, bad = np.ones((2, 3)), np.ones((2, 3))
    bad[1, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"target: expected numbers, got NaN at index \(1, 2\)"):
        function(Tensor(good), Tensor(bad), reduction=reduction)
    assert np.isnan(function(Tensor(bad), Tensor(good), reduction=reduction).numpy()).any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nan_probabilities_are_named(reduction):
    bad = np.full((2, 3), 1 / 3)
    bad[1, 0] = np.nan
    with pytest.raises(ArgumentError, match=r"target.*\(1, 0\)"):
        ops.cross_entropy(nbdl.zeros(2, 3, dtype=nbdl.float64), Tensor(bad), reduction=reduction)
    with pytest.raises(ArgumentError, match="input"):
        ops.binary_cross_entropy(Tensor(bad), Tensor(np.ones((2, 3))))


def test_the_mean_over_nothing_is_nan():
    x = nbdl.zeros(0, 3, requires_grad=True)
    for y in (
        ops.cross_entropy(x, nbdl.zeros(0, dtype=nbdl.int64)),
        ops.cross_entropy(x, nbdl.zeros(0, 3)),
        ops.mse_loss(x, nbdl.zeros(0, 3)),
        ops.cross_entropy(nbdl.zeros(2, 3), nbdl.tensor([-100, -100])),
    ):
        assert np.isnan(y.item())
    assert ops.mse_loss(x, nbdl.zeros(0, 3), reduction="sum").item() == 0.0


def test_ignored_rows_have_no_gradient():
    for classes in (4, 200):
        x = Tensor(RNG.standard_normal((3, classes)), requires_grad=True)
        ops.cross_entropy(x, nbdl.tensor([1, -100, 2])).backward()
        assert not x.grad.numpy()[1].any()
        assert x.grad.numpy()[0].any()


def test_large_scores_keep_their_digits():
    x = Tensor(np.array([[-739.0, -750.0]], np.float32), requires_grad=True)
    y = ops.cross_entropy(x, nbdl.tensor([0]))
    np.testing.assert_allclose(y.item(), np.log1p(np.exp(-11.0)), rtol=1e-2)  # 1 + e^-11 rounds
    y.backward()
    np.testing.assert_allclose(x.grad.numpy()[0, 1], 1 / (1 + np.exp(11.0)), rtol=1e-4)


def test_extreme_scores_do_not_overflow():
    x = Tensor(np.array([1e4, -1e4], np.float32), requires_grad=True)
    y = ops.binary_cross_entropy_with_logits(x, nbdl.tensor([0.0, 1.0]), reduction="none")
    assert y.tolist() == [1e4, 1e4]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, -1.0]
    certain = ops.binary_cross_entropy(nbdl.tensor([0.0, 1.0]), nbdl.tensor([1.0, 0.0]), reduction="none")
    assert certain.tolist() == [100.0, 100.0]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", PAIRED)
def test_shapes_that_broadcast_warn(name):
    with pytest.warns(UserWarning, match=r"target: shape \[3\] differs"):
        y = getattr(ops, name)(nbdl.zeros(2, 3), nbdl.ones(3), reduction="none")
    assert y.shape == (2, 3)
    with pytest.raises(ShapeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(ops, name)(nbdl.zeros(2, 3), nbdl.ones(2))


@pytest.mark.parametrize(
    ("size_average", "reduce", "reduction"),
    [(None, False, "none"), (False, None, "sum"), (False, True, "sum"), (True, True, "mean"), (True, False, "none")],
)
def test_old_flags(size_average, reduce, reduction):
    x, t = Tensor(RNG.standard_normal((2, 3))), Tensor(RNG.standard_normal((2, 3)))
    with_flags = ops.mse_loss(x, t, size_average, reduce).numpy()
    assert np.array_equal(with_flags, ops.mse_loss(x, t, reduction=reduction).numpy())


def test_unknown_reductions_are_refused():
    with pytest.raises(ArgumentError, match="reduction: expected one of 'mean', 'sum', 'none', got 'average'"):
        ops.l1_loss(nbdl.zeros(3), nbdl.zeros(3), reduction="average")


# ---------------------------------------------------------------- PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")


def same(torch, name, arrays, differentiable=None, **options):
    """Loss and gradients agree with PyTorch's."""
    wanted_names = arrays if differentiable is None else differentiable
    floats = {key for key in wanted_names if arrays[key].dtype.kind == "f"}
    ours = {key: Tensor(value, requires_grad=key in floats) for key, value in arrays.items()}
    theirs = {
        key: torch.from_numpy(np.array(value, order="C")).requires_grad_(key in floats) for key, value in arrays.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = getattr(ops, name)(**ours, **options)
        wanted = getattr(torch.nn.functional, name)(**theirs, **options)
    assert y.shape == tuple(wanted.shape)
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=1e-10, atol=1e-13)
    cotangent = np.asarray(RNG.standard_normal(y.shape))
    y.backward(Tensor(cotangent))
    wanted.backward(torch.from_numpy(cotangent))
    for key in floats:
        if ours[key].grad is not None and theirs[key].grad is not None:
            np.testing.assert_allclose(
                ours[key].grad.numpy(), theirs[key].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=key
            )


@pytest.mark.parity
@pytest.mark.parametrize("name", losses.__all__)
def test_arguments_are_those_of_pytorch(torch, name):
    ours = inspect.signature(getattr(ops, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(5, 7), (5, 200), (3, 4, 5), (2, 150, 3, 2), (0, 4), (6,), (1, 3)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_classes_as_in_pytorch(torch, shape, reduction):
    x = RNG.standard_normal(shape)
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = np.asarray(RNG.integers(0, classes, shape[:1] + shape[2:] if len(shape) > 1 else ()))
    weight = RNG.random(classes)
    for ignored, weighted in itertools.product((-100, 1), (False, True)):
        arrays = {"input": x, "target": target} | ({"weight": weight} if weighted else {})
        options = {"ignore_index": ignored, "reduction": reduction}
        same(torch, "nll_loss", arrays, ("input",), **options)
        for smoothing in (0.0, 0.1):
            same(torch, "cross_entropy", arrays, ("input",), label_smoothing=smoothing, **options)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(5, 7), (5, 200), (3, 4, 5), (0, 4), (6,)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_probabilities_as_in_pytorch(torch, shape, reduction):
    arrays = {"input": np.asfortranarray(RNG.standard_normal(shape)), "target": RNG.random(shape)}
    weight = {"weight": RNG.random(shape[1] if len(shape) > 1 else shape[0])}
    for weights, smoothing in itertools.product(({}, weight), (0.0, 0.1)):
        same(
            torch,
            "cross_entropy",
            arrays | weights,
            ("input", "target"),
            reduction=reduction,
            label_smoothing=smoothing,
        )


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 3), (5, 7, 3), (20_000,)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_regression_as_in_pytorch(torch, shape, reduction):
    arrays = {"input": np.asarray(RNG.standard_normal(shape) * 2), "target": np.asarray(RNG.standard_normal(shape))}
    weights = {"weight": np.asarray(RNG.random(shape))}
    equal = {"input": arrays["input"], "target": arrays["input"]}
    for name in ("mse_loss", "l1_loss"):
        for given in (arrays, equal, arrays | weights):
            same(torch, name, given, reduction=reduction)
    for beta in (0.0, 0.5):
        same(torch, "smooth_l1_loss", arrays, reduction=reduction, beta=beta)
    for delta in (0.5, 2.0):
        same(torch, "huber_loss", arrays, reduction=reduction, delta=delta)
        same(torch, "huber_loss", arrays | weights, reduction=reduction, delta=delta)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 3), (5, 7, 3)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_as_in_pytorch(torch, shape, reduction):
    target = np.asarray(RNG.random(shape))
    scores = {"input": np.asarray(RNG.standard_normal(shape) * 3), "target": target}
    weight = {"weight": np.asarray(RNG.random(shape))}
    positive = {"pos_weight": np.asarray(RNG.random(shape[-1:]))}
    probabilities = {"input": np.asarray(RNG.random(shape)), "target": target}
    same(torch, "binary_cross_entropy", probabilities, ("input",), reduction=reduction)
    same(torch, "binary_cross_entropy", probabilities | weight, ("input",), reduction=reduction)
    for extra in ({}, weight, positive, weight | positive):
        same(torch, "binary_cross_entropy_with_logits", scores | extra, ("input", "target"), reduction=reduction)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(3, 4), (4,), (0, 3)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_others_as_in_pytorch(torch, shape, reduction):
    x, t = RNG.standard_normal(shape), RNG.random(shape)
    signs, counts = np.where(t < 0.5, 1.0, -1.0), np.floor(5 * t)
    for log_target in (False, True):
        target = np.log(t) if log_target else t
        for chosen in (reduction, "batchmean"):
            same(torch, "kl_div", {"input": x, "target": target}, reduction=chosen, log_target=log_target)
    same(torch, "soft_margin_loss", {"input": x, "target": signs}, ("input",), reduction=reduction)
    for full in (False, True):
        given = {"input": x, "target": counts}
        same(torch, "poisson_nll_loss", given, ("input",), reduction=reduction, full=full)
        given = {"input": np.abs(x), "target": counts}
        same(torch, "poisson_nll_loss", given, ("input",), reduction=reduction, full=full, log_input=False)
        given = {"input": x, "target": t, "var": np.where(t < 0.2, 1e-9, t)}
        same(torch, "gaussian_nll_loss", given, reduction=reduction, full=full)
    given = {"input": x, "target": t, "var": RNG.random((*shape[:-1], 1))}
    same(torch, "gaussian_nll_loss", given, reduction=reduction)
    given = {"input1": x, "input2": t, "target": signs}
    same(torch, "margin_ranking_loss", given, ("input1", "input2"), reduction=reduction, margin=0.3)
    same(torch, "hinge_embedding_loss", {"input": x, "target": signs}, ("input",), reduction=reduction, margin=0.3)
    y, z = RNG.standard_normal(shape), RNG.standard_normal(shape)
    given = {"input1": x, "input2": y, "target": np.asarray(np.where(RNG.random(shape[:-1]) < 0.5, 1.0, -1.0))}
    same(torch, "cosine_embedding_loss", given, ("input1", "input2"), reduction=reduction, margin=0.1)
    for swap, p in itertools.product((False, True), (2.0, 1.0, 3.0)):
        given = {"anchor": x, "positive": y, "negative": z}
        same(torch, "triplet_margin_loss", given, reduction=reduction, swap=swap, p=p)
