"""The figures that readers play with: driven by mouse and keyboard in a browser, their numbers compared with nbdl's."""

from __future__ import annotations

import gzip
import importlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
from live_figures import opened

import nbdl
from nbdl import nn, ops, optim
from nbdl.runtime import philox

descent, graph, perceptron = (importlib.import_module(f"live.{name}") for name in ("descent", "graph", "perceptron"))

pytestmark = pytest.mark.site

LANGUAGES = pytest.mark.parametrize("language", ["", "ko/"])
MOST_BYTES = 500_000


def read(figure: Any, expression: str) -> Any:
    """What a JavaScript expression of the figure, `f`, is."""
    return figure.evaluate(f"place => {{ const f = place.figure; return {expression}; }}")


def press(figure: Any, name: str | int, times: int = 1) -> None:
    """Presses a button by keyboard: by its number in the figure, since names are the language's."""
    button = (
        figure.get_by_role("button").nth(name) if isinstance(name, int) else figure.get_by_role("button", name=name)
    )
    for _ in range(times):
        button.focus()
        button.press("Enter")


# ---------------------------------------------------------------- the graph


def graph_of(**leaves: float) -> dict[str, float]:
    given = {**graph.LEAVES, **leaves}
    values = graph.run(*(nbdl.tensor([number]) for number in given.values()))
    return {**given, "dL": 1.0, **{name: float(value.item()) for name, value in values.items()}}


@LANGUAGES
def test_the_graph_by_keyboard(page: Any, address: str, language: str) -> None:
    figure = opened(page, address, "stepper", language)
    assert figure.locator(".nb-node-slope", has_text="dL").count() == 0
    press(figure, 1, times=7)
    assert figure.locator(".nb-node-slope", has_text="dL").count() == 1
    assert figure.locator(".nb-node-slope", has_text="dw").count() == 0
    press(figure, 1, times=6)
    assert figure.locator("[data-node=w] .nb-node-slope").text_content() == "dw 17.25"
    assert read(figure, "f.numbers") == graph_of()  # one operation a number: bit for bit
    press(figure, 0, times=2)
    assert figure.locator(".nb-node-slope", has_text="dw").count() == 0


@LANGUAGES
def test_the_graph_by_mouse(page: Any, address: str, language: str) -> None:
    figure = opened(page, address, "stepper", language)
    figure.get_by_role("button").nth(2).click()
    figure.locator("input[name=b]").fill("-2")
    off = read(figure, "f.numbers")
    assert off == graph_of(b=-2.0)
    assert off["dw"] == off["dz"] == 0 and off["dt"] != 0
    figure.locator("input[name=x]").fill("0.3")
    figure.locator("input[name=b]").fill("0.7")
    found, wanted = read(figure, "f.numbers"), graph_of(x=0.3, b=0.7)
    assert {name: np.float32(found[name]) for name in wanted} == {name: np.float32(wanted[name]) for name in wanted}


# ---------------------------------------------------------------- the descent


def race(surface: str, start: list[float], batch: int, steps: int) -> dict[str, np.ndarray]:
    """Where nbdl's optimizers are after some steps, with the figure's batches and learning rates."""
    ends = {}
    for name in ("plain", "momentum", "adam"):
        point = nbdl.tensor(np.array([start], np.float32), requires_grad=True)
        rule: Any = {
            "plain": lambda p: optim.SGD([p], lr=0.1),
            "momentum": lambda p: optim.SGD([p], lr=0.03, momentum=0.9),
            "adam": lambda p: optim.Adam([p], lr=0.1),
        }[name](point)
        generator, left = philox.Generator(0), []
        for _ in range(steps):
            chosen = list(range(descent.SAMPLES))
            if batch < descent.SAMPLES:
                if len(left) < batch:
                    left = nbdl.randperm(descent.SAMPLES, generator=generator).tolist()
                chosen, left = left[:batch], left[batch:]
            weights = np.zeros((1, descent.SAMPLES), np.float32)
            weights[0, chosen] = 1 / batch
            point.grad = descent.look(surface, point, nbdl.tensor(weights))["gradient"]
            rule.step()
        ends[name] = point.detach().numpy()[0]
    return ends


def runners(figure: Any) -> dict[str, np.ndarray]:
    return dict(read(figure, "f.runners.map(({name, point}) => [name, [...point.values]])"))


@pytest.mark.parametrize(("language", "surface", "batch"), [("ko/", "line", 32), ("", "chain", 4), ("ko/", "wave", 1)])
def test_the_race_by_keyboard(page: Any, address: str, language: str, surface: str, batch: int) -> None:
    figure = opened(page, address, "descent", language)
    model, size = figure.get_by_role("combobox").nth(0), figure.get_by_role("combobox").nth(1)
    model.select_option(surface)
    size.select_option(str(batch))
    a, b = figure.locator("input[min='-3']").all()
    a.fill("-0.5")
    b.fill("1.5")
    press(figure, 0, times=30)
    for name, wanted in race(surface, [-0.5, 1.5], batch, 30).items():
        np.testing.assert_allclose(runners(figure)[name], wanted, rtol=0, atol=2e-5, err_msg=name)


def test_the_race_by_mouse(page: Any, address: str) -> None:
    figure = opened(page, address, "descent")
    canvas = figure.locator("canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.75, "y": box["height"] * 0.25})
    start = read(figure, "f.from")
    np.testing.assert_allclose(start, [1.5, 1.5], atol=0.03)
    sliders = figure.locator("input[type=range]")
    sliders.nth(0).evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    before = read(figure, "f.look.loss[0]")
    figure.get_by_role("button").nth(0).click()
    moved = np.subtract(runners(figure)["plain"], start)
    assert 0 < math.hypot(*moved) < 0.02, "the learning rate is 0.001 now"
    figure.get_by_role("button").nth(1).click()
    page.wait_for_function("document.querySelector('.nb-descent').figure.taken > 20")
    figure.get_by_role("button").nth(1).click()
    assert read(figure, "f.look.loss[0]") < before
    figure.get_by_role("button").nth(2).click()
    assert read(figure, "f.taken") == 0


def test_the_map_is_the_loss(page: Any, address: str) -> None:
    figure = opened(page, address, "descent")
    heights = np.array(read(figure, "[...f.heights]")).reshape(descent.POINTS, descent.POINTS)
    along = np.linspace(-3, 3, descent.POINTS)
    weights = np.full((1, descent.SAMPLES), 1 / descent.SAMPLES, np.float32)
    for row in (0, 20, 47):
        points = np.stack([along, np.full_like(along, along[row])], 1).astype(np.float32)
        wanted = descent.look("line", nbdl.tensor(points), nbdl.tensor(weights))["loss"].numpy()[:, 0]
        np.testing.assert_allclose(heights[row], wanted, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- the network of points

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def blank(sizes: list[int], activation: str, initial: str, dropout: float) -> nn.Sequential:
    """A network as the figure makes it, from the default generator."""
    nbdl.manual_seed(0)
    parts: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        offset = philox.default_generator.offset
        layer = nn.Linear(inputs, outputs)
        if initial != "default":
            philox.default_generator.offset = offset
            nn.init.zeros_(layer.bias)
            if initial == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
        parts.append(layer)
        if k + 2 < len(sizes):
            parts += [ACTIVATIONS[activation](), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*parts)


def train(
    rows: list[list[float]], sizes: list[int], options: dict[str, Any], epochs: int
) -> tuple[nn.Sequential, list[float]]:
    """What nbdl makes of the same points with the same choices: the network, and the losses over all points."""
    table = np.array(rows)
    x, labels = table[:, :2].astype(np.float32), table[:, 2].astype(np.int64)
    model = blank(sizes, options["activation"], options["initial"], options["dropout"])
    rule: Any = {
        "adam": lambda p: optim.Adam(p, lr=options["rate"]),
        "momentum": lambda p: optim.SGD(p, lr=options["rate"], momentum=0.9),
        "sgd": lambda p: optim.SGD(p, lr=options["rate"]),
    }[options["rule"]](model.parameters())
    generator, losses = philox.Generator(1), []
    size = min(options["batch"], len(rows))
    for _ in range(epochs):
        order = nbdl.randperm(len(rows), generator=generator).numpy() if size < len(rows) else np.arange(len(rows))
        for start in range(0, len(rows) - size + 1, size):
            chosen = order[start : start + size]
            rule.zero_grad()
            ops.cross_entropy(model(nbdl.tensor(x[chosen])), nbdl.tensor(labels[chosen])).backward()
            rule.step()
        model.eval()
        with nbdl.no_grad():
            losses.append(float(ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(labels)).item()))
        model.train()
    return model.eval(), losses


CHOICES = [
    {},
    {"depth": 3, "width": 8, "activation": "tanh", "initial": "xavier", "rule": "momentum", "batch": 32, "rate": 0.1},
    {"depth": 1, "width": 32, "dropout": 0.25, "initial": "he", "rule": "sgd", "batch": 8, "rate": 0.1},
    {"depth": 6, "width": 3, "activation": "sigmoid", "batch": 64, "rate": 0.03},
    {"depth": 0, "batch": 128},
]


@pytest.mark.parametrize(
    ("language", "choices"), [*zip(itertools.cycle(["", "ko/"]), CHOICES, strict=False)], ids=range(len(CHOICES))
)
def test_training_is_nbdls(page: Any, address: str, language: str, choices: dict[str, Any]) -> None:
    """By keyboard: every choice, then four epochs; losses, weights and the surface against nbdl."""
    figure = opened(page, address, "perceptron", language)
    figure.get_by_role("combobox").nth(0).select_option("spiral")
    for name, value in choices.items():
        figure.locator(f"select[name={name}]").select_option(str(value))
    options = read(figure, "f.settings")
    assert options.items() >= choices.items()
    press(figure, 1, times=4)
    sizes = read(figure, "f.network.sizes")
    assert sizes == [2, *[options["width"]] * options["depth"], 2]
    model, losses = train(read(figure, "f.points"), sizes, options, 4)
    np.testing.assert_allclose(read(figure, "f.losses.slice(1)"), losses, rtol=0, atol=2e-6)
    found = read(figure, "f.network.layers.map(({weight}) => [...weight.values])")
    wanted = [part.weight.detach().numpy().ravel() for part in model if isinstance(part, nn.Linear)]
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5)
    places = np.array(read(figure, "[...f.grid.input.values]"), np.float32).reshape(-1, 2)
    with nbdl.no_grad():
        shares = ops.softmax(model(nbdl.tensor(places)), -1).numpy().ravel()
    np.testing.assert_allclose(read(figure, "[...f.grid.shares.values]"), shares, rtol=0, atol=2e-5)


def test_own_points_by_mouse_and_keyboard(page: Any, address: str) -> None:
    figure = opened(page, address, "perceptron")
    canvas = figure.locator("canvas").first
    figure.get_by_role("button", name="Remove all").click()
    assert "at least 4 points" in figure.locator(".nb-said").inner_text()
    box = canvas.bounding_box()
    for across, down in ((0.2, 0.2), (0.3, 0.25)):
        canvas.click(position={"x": box["width"] * across, "y": box["height"] * down})
    np.testing.assert_allclose(read(figure, "f.points"), [[-0.6, 0.6, 0], [-0.4, 0.5, 0]], atol=0.02)
    figure.get_by_label("Class of new points").select_option(label="2")
    canvas.focus()
    for key in ["ArrowRight"] * 6 + ["ArrowDown"] * 8 + [" ", "ArrowRight", " "]:
        canvas.press(key)
    np.testing.assert_allclose(read(figure, "f.points.slice(2)"), [[0.3, -0.4, 1], [0.35, -0.4, 1]], atol=1e-9)
    figure.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("document.querySelector('.nb-perceptron').figure.epoch >= 60")
    figure.get_by_role("button", name="Pause").click()
    assert read(figure, "f.isRight") == 4
    canvas.press("Backspace")
    assert read(figure, "f.points.length") == 3


def test_own_table(page: Any, address: str) -> None:
    figure = opened(page, address, "perceptron")
    figure.locator("summary").click()
    text, use = figure.locator("textarea"), figure.get_by_role("button", name="Use it")
    text.fill("length,height,kind\n1,10,b\n3,20,a\n2;30;b\n")
    use.click()
    np.testing.assert_allclose(read(figure, "f.points"), [[-0.9, -0.9, 1], [0.9, 0.0, 0], [0.0, 0.9, 1]], atol=1e-12)
    refusal = figure.get_by_role("alert")
    for wrong, said in (
        ("1,2,a\n1,two,b", "Line 2"),
        ("1,2,a\n3,4", "Line 2"),
        ("\n".join(f"1,2,{k}" for k in range(6)), "More than 5 classes"),
        ("1,2,a\n" * 1001, "More than 1,000"),
    ):
        text.fill(wrong)
        use.click()
        assert said in refusal.inner_text()
        assert read(figure, "f.points.length") == 3
    file = {"name": "mine.csv", "mimeType": "text/csv", "buffer": b"1,2,x\n2,1,y\n1,1,x\n2,2,y\n"}
    figure.locator("input[type=file]").set_input_files([file])
    page.wait_for_function("document.querySelector('.nb-perceptron').figure.points.length === 4")
    assert refusal.inner_text() == ""


def test_extremes_of_the_network(page: Any, address: str) -> None:
    """Numbers that run away are said to, and a hundred networks one after the other fit into memory."""
    figure = opened(page, address, "perceptron")
    for name, value in {"depth": "6", "width": "64", "initial": "large", "rule": "sgd", "rate": "1"}.items():
        figure.locator(f"select[name={name}]").select_option(value)
    press(figure, 1, times=3)
    assert "run away" in figure.locator(".nb-said").inner_text()
    figure.evaluate("place => { for (let k = 0; k < 100; k++) place.figure.rebuild(); }")
    assert read(figure, "f.model.array('float32', [1]).address") < 32 << 20


# ---------------------------------------------------------------- weight


@pytest.mark.parametrize("path", ["backpropagation", "gradient-descent", "multilayer-perceptron"])
def test_a_page_is_light_before_its_figure(page: Any, address: str, path: str) -> None:
    """What a browser fetches before the figure begins: the page, styles, scripts, compressed as web servers do."""
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(f"{address}/concepts/{path}/", wait_until="load")
    counted = [item for item in responses if "/assets/live/" not in item.url and "/search/" not in item.url]
    sizes = {item.url: len(gzip.compress(item.body())) for item in counted}
    assert f"{address}/concepts/{path}/" in sizes
    assert sum(sizes.values()) <= MOST_BYTES, sizes
