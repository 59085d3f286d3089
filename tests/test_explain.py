"""Explanations: each against its definition, computed another way, and all of them against random weights."""

from __future__ import annotations

import struct
import xml.etree.ElementTree
import zlib

import numpy as np
import pytest

import nbdl
from nbdl import data, explain, nn, ops, optim
from nbdl.nn import fusion

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def digits():
    """A small convolutional network that has learned a little, and twelve examples of the test set."""
    nbdl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )
    train, test = data.digits(flatten=False)
    images, labels = train.arrays
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for first in range(0, len(images), 128):
            loss = ops.cross_entropy(
                model(nbdl.tensor(images[first : first + 128])), nbdl.tensor(labels[first : first + 128])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    examples = nbdl.tensor(test.arrays[0][:12])
    with nbdl.no_grad():
        hits = model.eval()(examples).numpy().argmax(1) == test.arrays[1][:12]
    assert hits.mean() > 0.8
    return model.train(), examples


def smooth_model() -> nn.Module:
    nbdl.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()


# ---------------------------------------------------------------- gradients


def test_saliency_is_the_gradient():
    model, x = smooth_model(), nbdl.tensor(RNG.normal(size=(4, 6)))
    got = explain.saliency(model, x, target=[0, 1, 2, 1], absolute=False).numpy()
    for row, column in enumerate([0, 1, 2, 1]):
        for i in range(6):
            nudged = x.numpy().repeat(2, 0)[2 * row : 2 * row + 2]
            nudged[:, i] += [1e-6, -1e-6]
            above, below = model(nbdl.tensor(nudged)).detach().numpy()[:, column]
            assert got[row, i] == pytest.approx((above - below) / 2e-6, abs=1e-8)
    magnitudes = explain.saliency(model, x, target=nbdl.tensor([0, 1, 2, 1])).numpy()
    np.testing.assert_array_equal(magnitudes, np.abs(got))


def test_targets():
    model, x = smooth_model(), nbdl.tensor(RNG.normal(size=(4, 6)))
    best = model(x).detach().numpy().argmax(1)
    chosen = explain.saliency(model, x).numpy()
    np.testing.assert_array_equal(chosen, explain.saliency(model, x, target=best).numpy())
    np.testing.assert_array_equal(
        explain.saliency(model, x, target=1).numpy(), explain.saliency(model, x, target=lambda y: y[:, 1]).numpy()
    )
    one = nn.Linear(6, 1).double()
    np.testing.assert_allclose(
        explain.saliency(one, x).numpy(), np.abs(one.weight.detach().numpy()).repeat(4, 0), atol=1e-15
    )


def test_the_model_is_left_as_it_was(digits):
    model, images = digits
    model[0].eval()
    model[3].weight.requires_grad = False
    try:
        for method in (explain.saliency, explain.smooth_grad, explain.integrated_gradients, explain.occlusion):
            method(model, images[:2])
        explain.grad_cam(model, images[:2], "3")
        with pytest.raises(nbdl.IndexRangeError):
            explain.saliency(model, images[:2], target=10)
        assert [module.training for module in model] == [False] + [True] * 7
        assert [p.requires_grad for p in model.parameters()] == [True, True, False, True, True, True]
        assert not images.requires_grad and images.grad is None
        assert fusion.fused(model[3], model[4]) is not None  # no hook is left between them
    finally:
        model.train().requires_grad_()


def test_smooth_grad_averages_noisy_maps():
    model, x = smooth_model(), nbdl.tensor(RNG.normal(size=(3, 6)))
    np.testing.assert_allclose(
        explain.smooth_grad(model, x, noise=0.0, samples=3).numpy(), explain.saliency(model, x).numpy(), rtol=1e-12
    )
    maps = []
    for batch_size in (1, 7, 256):
        nbdl.manual_seed(9)
        maps.append(explain.smooth_grad(model, x, target=0, samples=5, batch_size=batch_size).numpy())
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-12)
    np.testing.assert_allclose(maps[0], maps[2], rtol=1e-12)
    nbdl.manual_seed(9)
    spread = 0.15 * (x.numpy().max(1) - x.numpy().min(1))[:, None]
    by_hand = np.mean(
        [
            explain.saliency(model, x + nbdl.tensor(spread) * nbdl.randn(3, 6, dtype=nbdl.float64), target=0).numpy()
            for _ in range(5)
        ],
        0,
    )
    np.testing.assert_allclose(maps[0], by_hand, rtol=1e-12)


# ---------------------------------------------------------------- integrated gradients


def test_attributions_add_up_to_the_difference(digits):
    model, images = digits
    found = explain.integrated_gradients(model, images)
    model.eval()
    best = model(images).detach().numpy().argmax(1)
    rows = np.arange(len(images))
    difference = (model(images) - model(images * 0)).detach().numpy()[rows, best]
    model.train()
    np.testing.assert_allclose(found.difference.numpy(), difference, rtol=1e-5)
    sums = found.attributions.numpy().sum((1, 2, 3))
    np.testing.assert_allclose(sums - difference, found.delta.numpy(), atol=1e-4)
    assert (np.abs(sums / difference - 1) <= 0.01).all()


@pytest.mark.parametrize("seed", range(4))
def test_integrated_gradients_converge(seed):
    nbdl.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    x, start = nbdl.randn(5, 6, dtype=nbdl.float64), nbdl.randn(1, 6, dtype=nbdl.float64)
    gaps = []
    for steps in (10, 90, 810):
        found = explain.integrated_gradients(model, x, 0, start, steps=steps, tolerance=None)
        assert found.steps == steps
        gaps.append(np.abs(found.delta.numpy()).max())
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] < 1e-3
    refined = explain.integrated_gradients(model, x, 0, start, steps=10, tolerance=0.0, max_steps=810)
    assert refined.steps == 810
    np.testing.assert_allclose(refined.attributions.numpy(), found.attributions.numpy(), rtol=1e-9, atol=1e-12)
    exact = explain.integrated_gradients(lambda x: x[:, 0] * 3, x, steps=1)
    np.testing.assert_allclose(exact.delta.numpy(), 0, atol=1e-14)
    small = explain.integrated_gradients(model, x, 0, start, steps=90, tolerance=None, batch_size=7)
    large = explain.integrated_gradients(model, x, 0, start, steps=90, tolerance=None)
    np.testing.assert_allclose(small.attributions.numpy(), large.attributions.numpy(), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- Grad-CAM and occlusion


@pytest.mark.parametrize("lines", [False, True])
def test_grad_cam_is_its_definition(lines):
    nbdl.manual_seed(1)
    convolution, pool, places = (nn.Conv1d, nn.AvgPool1d, 8) if lines else (nn.Conv2d, nn.AvgPool2d, 64)
    model = nn.Sequential(
        convolution(2, 3, 3, padding=1),
        nn.ReLU(),
        pool(2),
        nn.Flatten(),
        nn.Linear(3 * places // (2 if lines else 4), 2),
    ).double()
    x = nbdl.tensor(RNG.normal(size=(4, 2, 8) if lines else (4, 2, 8, 8)))
    maps = model[1](model[0](x)).detach().requires_grad_()
    model[4](model[3](model[2](maps)))[:, 1].sum().backward()
    over = tuple(range(2, maps.ndim))
    weights = maps.grad.numpy().mean(over, keepdims=True)
    expected = (weights * maps.detach().numpy()).sum(1)
    np.testing.assert_allclose(explain.grad_cam(model, x, "1", 1, relu=False).numpy(), expected, atol=1e-14)
    np.testing.assert_allclose(explain.grad_cam(model, x, model[1], 1).numpy(), expected.clip(0), atol=1e-14)
    coarse = explain.grad_cam(model, x, model[2], 1, upsample=False)
    assert coarse.shape == ((4, 4) if lines else (4, 4, 4))
    assert explain.grad_cam(model, x, model[2], 1).shape == ((4, 8) if lines else (4, 8, 8))


@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [((2, 1, 5, 6), 2, 1), ((2, 3, 5, 6), (3, 2), (2, 3)), ((3, 2, 7), 3, 2), ((2, 5), 1, 1), ((2, 5), 2, 3)],
)
def test_occlusion_asks_again_with_every_window_covered(shape, window, stride):
    weight = nbdl.tensor(RNG.normal(size=(1, *shape[1:])))
    x = nbdl.tensor(RNG.normal(size=shape))

    def model(x):
        return ops.tanh((x * weight).reshape(len(x), -1).sum(1))

    places = shape[1:] if len(shape) == 2 else shape[2:]
    sides = (window,) * len(places) if isinstance(window, int) else window
    steps = (stride,) * len(places) if isinstance(stride, int) else stride
    starts = [
        sorted({*range(0, length - side + 1, step), length - side})
        for length, side, step in zip(places, sides, steps, strict=True)
    ]
    total, count = np.zeros((shape[0], *places)), np.zeros(places)
    for corner in np.array(np.meshgrid(*starts)).reshape(len(places), -1).T:
        region = tuple(slice(a, a + side) for a, side in zip(corner, sides, strict=True))
        covered = x.numpy().copy()
        covered[(..., *region)] = 0.25
        fall = (model(x) - model(nbdl.tensor(covered))).numpy()
        total[(slice(None), *region)] += fall.reshape(-1, *[1] * len(places))
        count[region] += 1
    for batch_size in (2, 5, 256):
        got = explain.occlusion(model, x, window=window, stride=stride, baseline=0.25, batch_size=batch_size).numpy()
        np.testing.assert_allclose(got, total / np.maximum(count, 1), atol=1e-14)


# ---------------------------------------------------------------- attention and tables


def test_rollout_multiplies_the_layers():
    weights = RNG.random((3, 2, 4, 5, 5))
    weights /= weights.sum(-1, keepdims=True)
    for heads, merge in (("mean", np.mean), ("max", np.max), ("min", np.min)):
        expected = np.eye(5)
        for layer in weights:
            mixed = merge(layer, 1) + np.eye(5)
            expected = mixed / mixed.sum(-1, keepdims=True) @ expected
        for given in (list(weights), [nbdl.tensor(layer) for layer in weights]):
            got = explain.attention_rollout(given, heads).numpy()
            np.testing.assert_allclose(got, expected, atol=1e-14)
            np.testing.assert_allclose(got.sum(-1), 1, atol=1e-14)
    plain = explain.attention_rollout([layer.mean(1) for layer in weights], residual=False).numpy()
    np.testing.assert_allclose(plain, weights[2].mean(1) @ weights[1].mean(1) @ weights[0].mean(1), atol=1e-14)


def test_attention_maps_are_the_weights_that_a_layer_used():
    nbdl.manual_seed(2)
    layers = nn.ModuleList([nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True) for _ in range(2)]).double()
    x, mask = nbdl.randn(3, 5, 8, dtype=nbdl.float64), nbdl.tensor(np.triu(np.ones((5, 5), bool), 1))

    def model(x):
        for layer in layers:
            x = x + layer(x, x, x, need_weights=False, attn_mask=mask)[0]
        return x

    maps = explain.attention_maps(model, x)
    assert [weights.shape for weights in maps] == [(3, 2, 5, 5)] * 2
    layers.eval()
    first = layers[0](x, x, x, attn_mask=mask, average_attn_weights=False)[1].detach().numpy()
    np.testing.assert_allclose(maps[0].numpy(), first, atol=1e-12)
    assert explain.attention_rollout(maps).shape == (3, 5, 5)
    causal = explain.attention_maps(ops.scaled_dot_product_attention, x, x, x, is_causal=True)[0].numpy()
    np.testing.assert_allclose(np.triu(causal, 1), 0)
    with pytest.raises(nbdl.ArgumentError, match="it computed no attention"):
        explain.attention_maps(nn.Linear(8, 2).double(), x)


def test_permutation_importance_finds_the_columns_that_are_used():
    table = RNG.normal(size=(300, 4))
    labels = (table[:, 1] > 0).astype(np.int64)

    def model(x):
        return ops.stack([-x[:, 1], x[:, 1] + 0 * x[:, 3]], 1)

    found = explain.permutation_importance(model, table, labels, repeats=5)
    assert found.score == 1.0
    np.testing.assert_array_equal(found.mean[[0, 2, 3]], 0)
    assert 0.4 < found.mean[1] < 0.6 and 0 < found.deviation[1] < 0.1
    again = explain.permutation_importance(model, nbdl.tensor(table), labels, repeats=5, batch_size=70)
    np.testing.assert_array_equal(found.mean, again.mean)
    groups = explain.permutation_importance(model, table, labels, columns=[[0, 1], 2], repeats=5)
    assert groups.mean.shape == (2,) and groups.mean[0] > 0.4 and groups.mean[1] == 0
    own = explain.permutation_importance(model, table, labels, lambda output, truth: output[0, 0], repeats=2)
    assert own.score == pytest.approx(-table[0, 1])


# ---------------------------------------------------------------- random weights


def test_explanations_depend_on_what_was_learned(digits):
    model, images = digits

    def looked_at(model, x, target):
        return explain.grad_cam(model, x, "4", target)

    def attributed(model, x, target):
        return explain.integrated_gradients(model, x, target, tolerance=None)

    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    for method in (explain.saliency, explain.occlusion, looked_at):
        found = explain.randomization_check(method, model, images[:6])
        assert found.layers == ["7", "3", "0"]
        assert found.passes, (method, found)
    shares = explain.randomization_check(attributed, model, images[:6], absolute=False)
    assert shares.passes
    for of_the_input in (attributed, lambda model, x, target: x):  # zero where the image is: no knowledge of the model
        found = explain.randomization_check(of_the_input, model, images[:6])
        assert found.similarity[-1] > 0.8 and not found.passes
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_the_check_does_not_touch_the_random_stream():
    model = smooth_model()
    x = nbdl.tensor(RNG.normal(size=(2, 6)))
    nbdl.manual_seed(4)
    expected = nbdl.randn(3).numpy()
    nbdl.manual_seed(4)
    explain.randomization_check(explain.saliency, model, x)
    np.testing.assert_array_equal(nbdl.randn(3).numpy(), expected)


def test_rank_correlation():
    a = RNG.normal(size=(3, 4, 5))
    np.testing.assert_allclose(explain.rank_correlation(a, np.exp(a)), 1)
    np.testing.assert_allclose(explain.rank_correlation(a, -a), -1)
    ties = explain.rank_correlation(np.array([[1, 1, 2, 3]]), np.array([[1, 2, 2, 4]]))
    assert ties[0] == pytest.approx(5 / 6)  # ranks 1.5 1.5 3 4 and 1 2.5 2.5 4
    assert explain.rank_correlation(np.zeros((1, 3)), np.arange(3.0)[None])[0] == 0


# ---------------------------------------------------------------- pictures


def decoded(png: bytes) -> np.ndarray:
    width, height, _, color = struct.unpack(">IIBB", png[16:26])
    start = png.index(b"IDAT")
    (size,) = struct.unpack(">I", png[start - 4 : start])
    channels = {0: 1, 2: 3, 6: 4}[color]
    rows = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + size]), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, channels).transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png(channels):
    image = RNG.integers(0, 256, (channels, 5, 7))
    np.testing.assert_array_equal(decoded(explain.encode_png(image / 255)), image)


def test_pictures(digits):
    model, images = digits
    heat = explain.saliency(model, images[:2])
    text = explain.draw_attributions(images[:2], {"a < b": heat, "signed": -heat.numpy()[:, 0]}, "maps", ["one", "two"])
    root = xml.etree.ElementTree.fromstring(text)
    assert len(root.findall(".//{*}image")) == 6
    pale = explain.colored(-np.ones((4, 4)), np.ones((4, 4)))
    np.testing.assert_allclose(pale[:3, 0, 0], explain.picture.AGAINST)
    assert explain.colored(np.zeros((2, 3, 3))).shape == (4, 3, 3)


# ---------------------------------------------------------------- refusals

IMAGES = nbdl.zeros(2, 1, 6, 6)
MODEL = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: explain.saliency(MODEL, np.zeros((2, 1, 6, 6), np.int64)), nbdl.DTypeError, "input: expected float32"),
        (lambda: explain.saliency(MODEL, nbdl.zeros(6)), nbdl.ShapeError, "input: expected a batch"),
        (lambda: explain.saliency(MODEL, IMAGES, target=3), nbdl.IndexRangeError, r"target: expected ids in \[0, 2\]"),
        (lambda: explain.saliency(MODEL, IMAGES, target=-1), nbdl.IndexRangeError, "target"),
        (lambda: explain.saliency(MODEL, IMAGES, target=[0, 1, 2]), nbdl.ShapeError, "target: expected one class id"),
        (lambda: explain.saliency(MODEL, IMAGES, target=0.5), nbdl.ArgumentTypeError, "target: expected class ids"),
        (lambda: explain.saliency(MODEL, IMAGES, target=lambda y: y), nbdl.ShapeError, "target: expected a function"),
        (lambda: explain.saliency(lambda x: x.sum(), IMAGES), nbdl.ShapeError, "model: expected an output"),
        (
            lambda: explain.saliency(lambda x: (x, x), IMAGES),
            nbdl.ArgumentTypeError,
            "model: expected one that returns",
        ),
        (lambda: explain.saliency(lambda x: x.detach().sum((1, 2, 3)), IMAGES), nbdl.GradientError, "no gradient"),
        (lambda: explain.saliency(lambda x: x.sum((1, 2, 3)), IMAGES, 0), nbdl.ArgumentError, "target: expected None"),
        (lambda: explain.smooth_grad(MODEL, IMAGES, samples=0), nbdl.ArgumentError, "samples"),
        (lambda: explain.smooth_grad(MODEL, IMAGES, noise=-1), nbdl.ArgumentError, "noise"),
        (lambda: explain.integrated_gradients(MODEL, IMAGES, steps=0), nbdl.ArgumentError, "steps"),
        (lambda: explain.integrated_gradients(MODEL, IMAGES, max_steps=5), nbdl.ArgumentError, "max_steps"),
        (
            lambda: explain.integrated_gradients(MODEL, IMAGES, baseline=nbdl.zeros(3, 1, 6, 6)),
            nbdl.ShapeError,
            "baseline: expected a shape that fits",
        ),
        (
            lambda: explain.integrated_gradients(MODEL, IMAGES, baseline=nbdl.zeros(1, dtype=nbdl.float64)),
            nbdl.DTypeError,
            "baseline",
        ),
        (lambda: explain.grad_cam(MODEL, IMAGES, "9"), nbdl.ArgumentError, "layer: expected one of '0', '1'"),
        (lambda: explain.grad_cam(MODEL, IMAGES, nn.ReLU()), nbdl.ArgumentError, "layer: expected a module of"),
        (lambda: explain.grad_cam(MODEL, IMAGES, "3"), nbdl.ShapeError, "layer: expected an output of"),
        (lambda: explain.grad_cam(lambda x: x, IMAGES, "3"), nbdl.ArgumentTypeError, "model: expected a Module"),
        (lambda: explain.occlusion(MODEL, IMAGES, window=7), nbdl.ArgumentError, "window: expected at most"),
        (lambda: explain.occlusion(MODEL, IMAGES, stride=0), nbdl.ArgumentError, "stride"),
        (lambda: explain.occlusion(MODEL, IMAGES, window=(1, 2, 3)), nbdl.ArgumentError, "window"),
        (lambda: explain.attention_rollout([]), nbdl.ArgumentError, "weights"),
        (lambda: explain.attention_rollout([np.zeros((2, 3))]), nbdl.ShapeError, r"weights\[0\]"),
        (lambda: explain.attention_rollout([np.eye(2), np.eye(3)]), nbdl.ShapeError, r"weights\[1\]"),
        (lambda: explain.attention_rollout([np.eye(2)], heads="sum"), nbdl.ArgumentError, "heads"),
        (lambda: explain.permutation_importance(MODEL, np.zeros(3), np.zeros(3)), nbdl.ShapeError, "table"),
        (lambda: explain.permutation_importance(MODEL, np.zeros((3, 2)), np.zeros(2)), nbdl.ShapeError, "labels"),
        (
            lambda: explain.permutation_importance(MODEL, np.zeros((3, 2)), np.zeros(3), columns=[2]),
            nbdl.ArgumentError,
            "columns",
        ),
        (lambda: explain.randomization_check(explain.saliency, len, IMAGES), nbdl.ArgumentTypeError, "model"),
        (
            lambda: explain.randomization_check(explain.saliency, nn.Flatten(), nbdl.zeros(2, 3)),
            nbdl.ArgumentError,
            "parameters",
        ),
        (lambda: explain.encode_png(np.zeros((2, 3, 3))), nbdl.ShapeError, "image"),
        (lambda: explain.draw_attributions(IMAGES, {"a": np.zeros((2, 5, 5))}, "t"), nbdl.ShapeError, "maps"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
