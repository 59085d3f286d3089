"""Counted operations equal those counted by hand; a profile sees everything and changes nothing."""

from __future__ import annotations

import gc
import xml.etree.ElementTree

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops, optim, profiling
from nbdl.autograd import Op
from nbdl.profiling import work
from nbdl.runtime import jit, memory

# ---------------------------------------------------------------- operations by hand, for each type of layer
# Images: 2 of 3 channels, 8 x 8. A term of a product is a multiplication and an addition: 2.

IMAGES = (2, 3, 8, 8)

BY_HAND = [
    # products
    (nn.Linear(7, 5), (4, 7), 2 * 4 * 7 * 5 + 4 * 5),
    (nn.Linear(7, 5, bias=False), (4, 6, 7), 2 * 4 * 6 * 7 * 5),
    (nn.Conv1d(3, 4, 5), (2, 3, 12), 2 * (2 * 4 * 8) * (3 * 5) + 2 * 4 * 8),
    (nn.Conv2d(3, 4, 3), IMAGES, 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3) + 2 * 4 * 6 * 6),
    (nn.Conv2d(3, 4, 3, bias=False, padding=1), IMAGES, 2 * (2 * 4 * 8 * 8) * 27),
    (nn.Conv2d(3, 6, (3, 5), stride=2, dilation=(1, 1)), IMAGES, (2 * 6 * 3 * 2) * (2 * 3 * 15 + 1)),
    (nn.Conv2d(4, 6, 3, groups=2, padding=1), (2, 4, 8, 8), (2 * 6 * 64) * (2 * 2 * 9 + 1)),  # 2 channels a group
    (nn.Conv2d(4, 4, 3, groups=4, padding=1), (2, 4, 8, 8), (2 * 4 * 64) * (2 * 1 * 9 + 1)),  # depthwise
    (nn.ConvTranspose1d(3, 4, 5), (2, 3, 12), 2 * (2 * 3 * 12) * (4 * 5) + 2 * 4 * 16),
    (nn.ConvTranspose2d(3, 4, 2, stride=2), IMAGES, 2 * (2 * 3 * 64) * (4 * 4) + 2 * 4 * 16 * 16),
    (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), (2, 4, 8, 8), 2 * (2 * 4 * 64) * (3 * 9)),
    # norms: sum, difference, square, sum, factor; weight and bias one each
    (nn.BatchNorm2d(3), IMAGES, 384 * 7),
    (nn.BatchNorm2d(3, affine=False), IMAGES, 384 * 5),
    (nn.BatchNorm1d(6).eval(), (4, 6), 24 * 4),
    (nn.LayerNorm(8), (2, 5, 8), 80 * 7),
    (nn.LayerNorm(8, bias=False), (2, 5, 8), 80 * 6),
    (nn.LayerNorm(8, elementwise_affine=False), (2, 5, 8), 80 * 5),
    (nn.RMSNorm(8), (2, 5, 8), 80 * 4),
    (nn.GroupNorm(2, 4), (2, 4, 8, 8), 512 * 7),
    (nn.InstanceNorm2d(3), IMAGES, 384 * 5),
    (nn.LocalResponseNorm(2), IMAGES, 384 * 6),
    # pooling: a comparison less than a window has inputs; an average divides once more
    (nn.MaxPool2d(2), IMAGES, 96 * 3),
    (nn.MaxPool2d(3, stride=1), IMAGES, 2 * 3 * 36 * 8),
    (nn.MaxPool2d(2, padding=1), (1, 1, 2, 2), 0),  # four windows with one input each
    (nn.MaxPool1d(4), (2, 3, 12), 2 * 3 * 3 * 3),
    (nn.AvgPool2d(2), IMAGES, 96 * 4),
    (nn.AvgPool1d(3), (2, 3, 12), 2 * 3 * 4 * 3),
    (nn.AdaptiveAvgPool2d(1), IMAGES, 2 * 3 * 64),
    (nn.AdaptiveMaxPool2d(2), IMAGES, 2 * 3 * 4 * 15),
    # recurrent, 5 steps of 2 sequences, 3 features, 4 cells: products, their sum, two biases, functions, mixtures
    (nn.RNN(3, 4), (5, 2, 3), 10 * (2 * 4 * (3 + 4)) + 40 * (1 + 2 + 1)),
    (nn.RNN(3, 4, bias=False), (5, 2, 3), 10 * (2 * 4 * 7) + 40 * 2),
    (nn.GRU(3, 4), (5, 2, 3), 10 * (2 * 12 * 7) + 40 * (3 + 6 + 3 + 1 + 4)),
    (nn.LSTM(3, 4), (5, 2, 3), 10 * (2 * 16 * 7) + 40 * (4 + 8 + 4 + 3 + 2)),
    (nn.LSTM(3, 4, bidirectional=True), (5, 2, 3), 2 * (10 * (2 * 16 * 7) + 40 * 21)),
    (nn.LSTM(3, 4, proj_size=2), (5, 2, 3), 10 * (2 * 16 * (3 + 2) + 2 * 4 * 2) + 40 * 21),
    # functions of one number, and rows
    *[
        (layer, IMAGES, 384)
        for layer in (nn.ReLU(), nn.LeakyReLU(), nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.Softplus())
    ],
    (nn.PReLU(), IMAGES, 384),
    (nn.GLU(), (2, 8), 2 * 4 * 2),
    (nn.Softmax(1), (4, 6), 24 * 5),
    (nn.LogSoftmax(1), (4, 6), 24 * 5),
    (nn.Dropout(0.5), (4, 6), 24),
    (nn.Dropout(0.5).eval(), (4, 6), 0),
    # what moves numbers and computes none
    (nn.Flatten(), IMAGES, 0),
    (nn.ZeroPad2d(1), IMAGES, 0),
    (nn.PixelShuffle(2), (1, 4, 3, 3), 0),
    (nn.Upsample(scale_factor=2), IMAGES, 0),
    (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (1, 1, 2, 2), 16 * (4 + 3)),
]


@pytest.mark.parametrize(
    ("layer", "shape", "expected"), BY_HAND, ids=[f"{i}-{type(row[0]).__name__}" for i, row in enumerate(BY_HAND)]
)
def test_operations_are_those_counted_by_hand(layer, shape, expected):
    found = nn.summary(layer, nbdl.randn(*shape))
    assert found.flops == expected
    with nbdl.profile(memory=False) as measured:
        layer(nbdl.randn(*shape))
    assert measured.flops("forward") == expected


def test_operations_of_ids_and_attention():
    ids = nbdl.tensor([[1, 2, 0], [3, 1, 1]])
    assert nn.summary(nn.Embedding(5, 4), ids).flops == 0
    assert nn.summary(nn.EmbeddingBag(5, 4), ids).flops == 6 * 4
    query, key = nbdl.randn(2, 3, 5, 8), nbdl.randn(2, 3, 7, 8)
    for keywords, pairs, each in (
        ({}, 5 * 7, 6),
        ({"attn_mask": nbdl.randn(5, 7)}, 5 * 7, 7),
        ({"is_causal": True}, 1 + 2 + 3 + 4 + 5, 6),
    ):
        with nbdl.profile() as measured:
            ops.scaled_dot_product_attention(query, key, key, **keywords)
        assert measured.flops() == 2 * 3 * pairs * (2 * 8 + 2 * 8 + each)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = nbdl.randn(3, 5, 8)
    products = 4 * (2 * 15 * 8 * 8) + 2 * (3 * 2 * 25 * 4) * 2  # four projections, scores, mixtures
    found = nn.summary(layer, x, x, x, need_weights=False)
    assert products <= found.flops <= products + 4 * 15 * 8 + 3 * 2 * 25 * 6


def test_operations_of_the_way_back():
    x, layer = nbdl.randn(4, 7), nn.Linear(7, 5)
    one = 2 * 4 * 7 * 5
    for wanted, products in ((False, 1), (True, 2)):
        with nbdl.profile() as measured:
            layer(x.detach().requires_grad_(wanted)).sum().backward()
        (back,) = [e for e in measured.events if e.phase == "backward" and e.name == "Linear"]
        assert back.work.products == products * one
    lstm, sequence = nn.LSTM(3, 4), nbdl.randn(5, 2, 3)
    for wanted, expected in ((False, 2 * 10 * 16 * (2 * 7 - 3)), (True, 2 * 2 * 10 * 16 * 7)):
        with nbdl.profile() as measured:
            lstm(sequence.detach().requires_grad_(wanted))[0].sum().backward()
        (back,) = [e for e in measured.events if e.phase == "backward" and e.name == "LSTM"]
        assert back.work.products == expected


def subclasses(op: type) -> list[type]:
    return [found for child in op.__subclasses__() for found in (child, *subclasses(child))]


def test_every_rule_counts_an_operation_that_exists():
    names = {op.__name__ for op in subclasses(Op)}
    assert set(work.RULES) | set(work.OPERANDS) | set(work.RECURRENT) <= names
    modules = {op.__module__ for op in subclasses(Op)}
    for family in work.FAMILIES:
        assert any(f"{module}.".startswith(f"{family}.") for module in modules), family


# What only moves numbers: everything else has a rule.
MOVES = "casting creation dropout embedding fold hooks indexing ordering padding pixel_shuffle selection shape"


def test_every_operation_is_counted_or_moves_numbers():
    uncounted = {
        f"{op.__module__}.{op.__name__}"
        for op in subclasses(Op)
        if op.__module__.startswith("nbdl.ops.")
        and op.__module__ != "nbdl.ops.mixed"  # made on demand, of one of the others, for float16
        and work.rule_of(op) is work._nothing
        and not set(op.__module__.split(".")) & set(MOVES.split())
    }
    assert not uncounted, f"no rule in nbdl/profiling/work.py for {sorted(uncounted)}"


# ---------------------------------------------------------------- summary


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.unused = nn.Linear(2, 2)
        self.unused.weight.requires_grad_(False)

    def forward(self, x):
        return x + ops.relu(self.linear(x)) + self.linear(x)


def test_summary_charges_modules_and_functions():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), Residual())
    found = nn.summary(model, nbdl.randn(4, 6))
    linear = 4 * 6 * 13
    rows = {layer.name: layer for layer in found.layers}
    assert list(rows) == ["", "0", "1", "2", "2.linear", "2.unused"]
    assert rows["0"].flops == linear and rows["1"].flops == 24
    assert rows["2.linear"].flops == 2 * linear and rows["2.linear"].calls == 2
    assert rows["2"].flops == 2 * linear + 3 * 24
    assert found.flops == linear + 24 + rows["2"].flops
    assert rows["2.unused"].output_shape is None and rows["2.unused"].flops == 0
    assert found.parameters == 42 + 42 + 6 and found.layers[0].trainable == 42 + 42 + 2
    assert found.parameter_bytes == 4 * 90
    assert rows["2"].output_shape == (4, 6)
    assert "not called" in str(found) and "4 of them fixed" in str(found)
    assert "linear" not in str(nn.summary(model, nbdl.randn(4, 6), depth=1))
    assert all("forward" not in module.__dict__ for module in model.modules())


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.spare = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_list_of_modules_counts_its_members():
    found = nn.summary(Stack(), nbdl.randn(4, 6))
    rows = {layer.name: layer for layer in found.layers}
    assert rows["layers"].flops == found.flops == 2 * 4 * 6 * 13
    assert rows["layers"].kept_bytes == found.kept_bytes > 0
    assert [line.split()[-4:-3] for line in str(found).splitlines() if "called" in line] == [["called"]] * 2


def test_kept_bytes_are_those_that_stay():
    nbdl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(72, 10)
    )
    x = nbdl.randn(64, 1, 8, 8)
    model(x)
    with nbdl.profile() as measured:
        y = model(x)
        gc.collect()
        held = measured.live_bytes - y.numel() * 4
    found = nn.summary(model, x)
    assert found.kept_bytes == pytest.approx(held, rel=0.02)


def test_summary_with_several_inputs_and_outputs():
    found = nn.summary(nn.LSTM(3, 4), nbdl.randn(5, 2, 3), (nbdl.zeros(1, 2, 4), nbdl.zeros(1, 2, 4)))
    assert found.layers[0].output_shape == [(5, 2, 4), (1, 2, 4), (1, 2, 4)]
    found = nn.summary(nn.Linear(3, 4), input=nbdl.zeros(2, 3))
    assert found.flops == 2 * 2 * 3 * 4 + 8
    with pytest.raises(nbdl.ArgumentTypeError, match="model: expected a Module"):
        nn.summary(len, nbdl.zeros(2))
    with pytest.raises(nbdl.ArgumentError, match="depth"):
        nn.summary(nn.ReLU(), nbdl.zeros(2), depth=-1)


# ---------------------------------------------------------------- profile


@pytest.fixture(scope="module")
def step():
    nbdl.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10))
    optimizer = optim.Adam(model.parameters())
    x, labels = nbdl.randn(256, 64), nbdl.tensor(np.arange(256) % 10)

    def run():
        loss = ops.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    run()
    return run


def test_a_profile_sees_a_training_step(step):
    with nbdl.profile() as measured:
        step()
    names = [(event.name, event.phase) for event in measured.events if event.kind == "operation"]
    forward = ["Linear", "Tanh", "Linear", "CrossEntropy"]
    if ("LinearCurve", "forward") in names:
        forward[:2] = ["LinearCurve"]
    assert names == [(name, "forward") for name in forward] + [(name, "backward") for name in reversed(forward)]
    layers = [(event.name, event.depth) for event in measured.events if event.kind == "layer"]
    assert layers[0] == ("Sequential", 0) and ("Linear", 1) in layers
    assert ("backward pass", 0) in layers and ("Adam.step", 0) in layers
    for event in measured.events:
        assert event.seconds >= 0 and event.kernel_seconds <= event.seconds + 1e-9
        if event.parent is not None:
            assert event.parent.start <= event.start and event.stop <= event.parent.stop + 1e-9
    updates = [event for event in measured.events if event.phase == "update" and event.kind == "kernel"]
    assert updates and all(event.parent.name == "Adam.step" for event in updates)
    kernels = [event for event in measured.events if event.kind == "kernel"]
    assert sum(event.seconds for event in kernels) <= measured.seconds
    total = sum(measured.phase_seconds(phase) for phase in ("forward", "backward", "update"))
    assert 0 < total <= measured.seconds
    expected = 256 * (2 * 64 * 128 + 128 + 128 + 2 * 128 * 10 + 10 + 50)
    assert measured.flops("forward") == expected
    assert measured.live_bytes <= measured.peak_bytes


def test_tables_and_drawings(step):
    with nbdl.profile() as measured:
        step()
    rows = measured.rows()
    assert [row["seconds"] for row in rows] == sorted((row["seconds"] for row in rows), reverse=True)
    assert sum(row["flops"] for row in rows) == measured.flops()
    assert str(measured).splitlines()[0].split()[:4] == ["operation", "phase", "calls", "ms"]
    assert "more" in measured.table(by="kernel", most=1)
    assert "Sequential" in measured.table(by="layer")
    root = xml.etree.ElementTree.fromstring(measured.flame("a < b"))
    drawn = root.findall(".//{*}g")
    assert 0 < len(drawn) <= len(measured.events)
    with pytest.raises(nbdl.ArgumentError, match="by: expected one of"):
        measured.rows("color")
    machine = profiling.Roofline(1e11, 1e10)
    assert machine.ridge == 10 and machine.attainable(1) == 1e10 and machine.attainable(100) == 1e11
    placed = machine.place(measured)
    assert {name for name, *_ in placed} >= {"Linear", "CrossEntropy"}
    picture = xml.etree.ElementTree.fromstring(machine.draw(measured))
    assert len(picture.findall(".//{*}circle")) == len(placed)


def test_nothing_stays_behind(step):
    apply, empty = vars(Op)["apply"], memory.empty
    with pytest.raises(ZeroDivisionError), nbdl.profile():
        1 / 0  # noqa: B018
    with nbdl.profile(), pytest.raises(nbdl.StateError, match="another one is running"), nbdl.profile():
        pass
    assert vars(Op)["apply"] is apply and memory.empty is empty and jit.launch_override is None


def test_a_profile_changes_no_result():
    results = []
    for profiled in (False, True):
        nbdl.manual_seed(1)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
        x = nbdl.randn(128, 64)
        if profiled:
            with nbdl.profile():
                model(x).square().sum().backward()
        else:
            model(x).square().sum().backward()
        results.append([parameter.grad.numpy() for parameter in model.parameters()])
    for plain, watched in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, watched)


def test_memory_is_counted_to_the_byte():
    with nbdl.profile() as measured:
        a = nbdl.zeros(64, 1024)
        b = a + 1
        view = b[:2]
        assert measured.live_bytes == 2 * 4 * 65536
        del b
        assert measured.live_bytes == 2 * 4 * 65536  # the view keeps its memory
        del view
        assert measured.live_bytes == 4 * 65536
        del a
        assert measured.live_bytes == 0
    assert measured.peak_bytes == 2 * 4 * 65536


def test_roofline_is_measured():
    machine = profiling.measure_roofline(side=256, megabytes=4, repeats=2)
    assert 1e8 < machine.bandwidth < 1e13 and 1e8 < machine.peak < 1e15
    with pytest.raises(nbdl.ArgumentError, match="side"):
        profiling.measure_roofline(side=0)
