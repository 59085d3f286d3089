"""Convolutional networks: the layout of torchvision, shapes, initial values, what they say of themselves."""

import doctest
import importlib

import numpy as np
import pytest

import nbdl
from nbdl import models, nn, ops, optim
from nbdl.runtime.errors import ArgumentError


def resnet_layout(bottleneck, layers, classes):
    """Names and shapes of a ResNet's state dict as torchvision lays them out, written down from its source."""
    layout = {}

    def conv(name, outputs, inputs, size):
        layout[f"{name}.weight"] = (outputs, inputs, size, size)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            layout[f"{name}.{part}"] = (channels,)
        layout[f"{name}.num_batches_tracked"] = ()

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    inputs = 64
    for stage, (count, planes) in enumerate(zip(layers, (64, 128, 256, 512), strict=True), start=1):
        outputs = 4 * planes if bottleneck else planes
        for block in range(count):
            name = f"layer{stage}.{block}"
            sizes = [(planes, inputs, 1), (planes, planes, 3), (outputs, planes, 1)]
            for number, size in enumerate(sizes if bottleneck else [(planes, inputs, 3), (planes, planes, 3)], start=1):
                conv(f"{name}.conv{number}", *size)
                norm(f"{name}.bn{number}", size[0])
            if block == 0 and (stage > 1 or inputs != outputs):
                conv(f"{name}.downsample.0", outputs, inputs, 1)
                norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    layout["fc.weight"], layout["fc.bias"] = (classes, inputs), (classes,)
    return layout


def layout_of(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "bottleneck", "layers", "parameters"),
    [
        ("resnet18", False, (2, 2, 2, 2), 11_689_512),
        ("resnet34", False, (3, 4, 6, 3), 21_797_672),
        ("resnet50", True, (3, 4, 6, 3), 25_557_032),
    ],
)
def test_resnets_are_laid_out_as_in_torchvision(name, bottleneck, layers, parameters):
    model = getattr(models, name)()
    expected = resnet_layout(bottleneck, layers, 1000)
    assert list(layout_of(model).items()) == list(expected.items())
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert f"{parameters:,} parameters" in repr(model)


def test_a_foreign_state_dict_loads_unchanged():
    layout = resnet_layout(False, (2, 2, 2, 2), 7)
    rng = np.random.default_rng(0)
    state = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in layout.items()}
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(5, dtype=np.int64)
    model = models.resnet18(num_classes=7)
    model.load_state_dict(state)
    assert np.array_equal(model.layer3[0].downsample[0].weight.detach().numpy(), state["layer3.0.downsample.0.weight"])
    assert np.array_equal(model.layer1[1].bn2.running_var.numpy(), state["layer1.1.bn2.running_var"])


def image(*shape):
    return nbdl.tensor(np.random.default_rng(1).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(
    ("make", "shape", "outputs"),
    [
        (lambda: models.LeNet5(), (2, 1, 28, 28), 10),
        (lambda: models.LeNet5(7, in_channels=3, side=32, activation="relu"), (1, 3, 32, 32), 7),
        (lambda: models.VGG([4, "M", 8, 8, "M"], 5, True, in_channels=2, small_input=True), (2, 2, 9, 12), 5),
        (lambda: models.ResNet(models.BasicBlock, [1, 1, 1, 1], 6), (1, 3, 40, 33), 6),
        (lambda: models.ResNet(models.BasicBlock, [1, 1, 1, 1], 6, in_channels=1, small_input=True), (2, 1, 9, 9), 6),
        (lambda: models.ResNet(models.Bottleneck, [1, 1, 1, 1], 6, small_input=True), (2, 3, 8, 8), 6),
        (
            lambda: models.ResNet(
                models.Bottleneck,
                [1, 1, 1, 2],
                6,
                groups=2,
                width_per_group=16,
                replace_stride_with_dilation=[False, True, True],
            ),
            (1, 3, 32, 32),
            6,
        ),
    ],
)
def test_shapes_and_gradients(make, shape, outputs):
    nbdl.manual_seed(0)
    model = make()
    x = image(*shape)
    scores = model(x)
    assert scores.shape == (shape[0], outputs)
    ops.cross_entropy(scores, nbdl.zeros(shape[0], dtype=nbdl.int64)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and np.isfinite(parameter.grad.numpy()).all(), name
    model.eval()
    assert np.array_equal(model(x).detach().numpy(), model(x).detach().numpy())


def test_dilation_keeps_the_image_and_strides_do_not():
    options = {"block": models.Bottleneck, "layers": [1, 1, 1, 1], "num_classes": 2}
    dilated = models.ResNet(**options, replace_stride_with_dilation=[False, True, True])
    assert dilated.layer4[0].conv2.stride == (1, 1) and dilated.layer4[0].conv2.dilation == (2, 2)
    assert models.ResNet(**options).layer4[0].conv2.stride == (2, 2)


def test_initial_values():
    nbdl.manual_seed(0)
    model = models.ResNet(models.BasicBlock, [1, 1, 1, 1], zero_init_residual=True)
    weight = model.layer3[0].conv2.weight.detach().numpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.02)
    assert not model.layer3[0].bn2.weight.detach().numpy().any() and model.bn1.weight.detach().numpy().all()
    vgg = models.VGG([8, "M"], small_input=True, num_classes=1000)
    assert vgg.classifier[1].weight.detach().numpy().std() == pytest.approx(0.01, rel=0.05)
    assert not vgg.features[0].bias.detach().numpy().any()


def test_vgg_is_laid_out_as_in_torchvision():
    model = models.VGG([4, "M", 6], 3, batch_norm=True, in_channels=1)
    convolutions = {name: shape for name, shape in layout_of(model).items() if name.startswith("features.")}
    assert convolutions == {
        "features.0.weight": (4, 1, 3, 3),
        "features.0.bias": (4,),
        **{f"features.1.{part}": (4,) for part in ("weight", "bias", "running_mean", "running_var")},
        "features.1.num_batches_tracked": (),
        "features.4.weight": (6, 4, 3, 3),
        "features.4.bias": (6,),
        **{f"features.5.{part}": (6,) for part in ("weight", "bias", "running_mean", "running_var")},
        "features.5.num_batches_tracked": (),
    }
    last = [name for name in layout_of(model) if name.startswith("classifier.")]
    assert last == [f"classifier.{i}.{part}" for i in (0, 3, 6) for part in ("weight", "bias")]


def test_what_models_say_of_themselves():
    assert repr(models.LeNet5()) == "LeNet5(28 x 28 x 1, tanh, 10 classes, 61,706 parameters)"
    vgg = models.VGG([8, "M"], 2, True, in_channels=1, small_input=True)
    assert repr(vgg) == "VGG(8-M, batch norm, 2 classes, 114 parameters)"
    resnet = models.resnet18(num_classes=10, small_input=True)
    assert repr(resnet) == "ResNet(BasicBlock 2-2-2-2, small input, 10 classes, 11,173,962 parameters)"


def test_a_resnet_learns():
    nbdl.manual_seed(0)
    model = models.ResNet(models.BasicBlock, [1, 1, 1, 1], 2, in_channels=1, small_input=True)
    x = image(8, 1, 8, 8)
    target = nbdl.tensor(np.arange(8) % 2)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(4):
        loss = ops.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_threads_do_not_change_a_bit():
    def trained(threads):
        nbdl.set_num_threads(threads)
        nbdl.manual_seed(0)
        model = models.VGG([16, "M", 32], 4, batch_norm=True, in_channels=1, small_input=True)
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(3):
            loss = ops.cross_entropy(model(image(12, 1, 14, 14)), nbdl.tensor(np.arange(12) % 4))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return b"".join(np.array(value.detach()).tobytes() for value in model.state_dict().values())

    before = nbdl.get_num_threads()
    try:
        assert trained(1) == trained(2) == trained(3)
    finally:
        nbdl.set_num_threads(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.LeNet5(0), "num_classes"),
        (lambda: models.LeNet5(side=30), "side: expected one of 28, 32, got 30"),
        (lambda: models.LeNet5(activation="elu"), "activation"),
        (lambda: models.VGG("F"), "configuration: expected one of A, B, D, E, or a sequence, got 'F'"),
        (lambda: models.VGG(["M", 4]), "configuration: expected a convolution first"),
        (lambda: models.VGG([4, 0]), "configuration"),
        (lambda: models.VGG([]), "configuration"),
        (lambda: models.VGG([4], dropout=1.0), "dropout"),
        (lambda: models.resnet18(num_classes=0), "num_classes"),
        (lambda: models.resnet18(in_channels=-1), "in_channels"),
        (lambda: models.resnet18(groups=2), "groups: expected 1 in a BasicBlock, got 2"),
        (lambda: models.resnet18(width_per_group=32), "base_width"),
        (lambda: models.ResNet(models.BasicBlock, [2, 2, 2]), "layers: expected the blocks of 4 stages"),
        (lambda: models.ResNet(models.BasicBlock, [2, 2, 2, 0]), "layers"),
        (lambda: models.resnet50(replace_stride_with_dilation=[True]), "replace_stride_with_dilation"),
        (lambda: models.resnet18(replace_stride_with_dilation=[False, True, False]), "dilation: expected 1"),
    ],
)
def test_models_refuse(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_other_norms():
    model = models.ResNet(models.BasicBlock, [1, 1, 1, 1], 2, norm_layer=lambda channels: nn.GroupNorm(4, channels))
    assert isinstance(model.layer2[0].downsample[1], nn.GroupNorm)
    assert model(image(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("name", ["lenet", "vgg", "resnet"])
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(f"nbdl.models.cnn.{name}")).failed == 0


@pytest.mark.parity
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn"])
def test_the_outputs_of_torchvision(name):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    theirs = getattr(torchvision.models, name)(num_classes=9).double()
    ours = getattr(models, name)(num_classes=9).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64))
    for mode in ("train", "eval"):  # the second with the running statistics of the first
        if mode == "train" and name.startswith("vgg"):
            continue  # dropout draws other numbers
        expected = getattr(theirs, mode)()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(getattr(ours, mode)()(nbdl.from_numpy(x)).detach().numpy(), expected, atol=1e-6)
