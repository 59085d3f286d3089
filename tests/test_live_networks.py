"""The figures of networks: driven by mouse and keyboard, and every number that they show is nbdl's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from live_figures import array, opened, with_weights

import nbdl
from nbdl import ops
from nbdl.runtime import philox

convolution, features, gan, gates, writer = (
    importlib.import_module(f"live.{name}") for name in ("convolution", "features", "gan", "gates", "writer")
)

pytestmark = pytest.mark.site

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def said(place: Any, selector: str = ".nb-sum") -> str:
    return place.locator(selector).text_content().replace("−", "-")


# ---------------------------------------------------------------- all


def test_nothing_is_fetched_before_the_reader_comes_near(page: Any, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/concepts/gpt/", wait_until="networkidle")
    assert [url for url in asked if "/assets/live/" in url and not url.endswith(".mjs")] == []
    assert any(url.endswith("writer.mjs") for url in asked)
    page.locator(".nb-writer").evaluate("place => place.scrollIntoView()")
    page.wait_for_selector(".nb-writer[data-ready]")
    assert any(url.endswith("writer.weights") for url in asked)


# ---------------------------------------------------------------- the convolution explorer


def convolved(place: Any, stride: int, padding: int, dilation: int) -> np.ndarray:
    """What nbdl makes of the picture and the weights that the figure shows."""
    pixels = array(place, "figure.picture.pixels").astype(np.float32)
    weights = [float(place.locator(".nb-weight").nth(k).input_value()) for k in range(9)]
    x, weight = pixels.reshape(1, 1, convolution.SIDE, -1), np.array(weights, np.float32).reshape(1, 1, 3, 3)
    y: np.ndarray = ops.conv2d(nbdl.tensor(x), nbdl.tensor(weight), None, stride, padding, dilation).numpy()[0, 0]
    return y


@pytest.mark.parametrize("options", [(1, 0, 1), (2, 1, 1), (1, 2, 3), (3, 2, 2), (3, 0, 3)])
def test_a_convolution(page: Any, address: str, options: tuple[int, int, int]) -> None:
    place = opened(page, address, "convolution")
    for name, size in zip(("Stride", "Padding", "Dilation"), options, strict=True):
        place.get_by_label(name).select_option(str(size))
    place.get_by_label("Kernel").select_option(label="emboss")
    place.get_by_label("Weight 1, 3").fill("0.7")
    wanted = convolved(place, *options)
    cells = place.get_by_role("grid", name="Result").get_by_role("gridcell")
    labels = [cells.nth(k).get_attribute("aria-label") for k in range(cells.count())]
    found = [float(label.rpartition(" ")[2]) for label in labels if label]
    assert len(found) == wanted.size
    np.testing.assert_allclose(found, wanted.ravel(), rtol=0, atol=0.00501)
    np.testing.assert_allclose(array(place, "figure.y"), wanted.ravel(), **CLOSE)


def test_what_a_number_is_made_of(page: Any, address: str) -> None:
    """The pointer and the keyboard choose a number; the pixels that it was computed from are marked."""
    place = opened(page, address, "convolution")
    place.get_by_label("Stride").select_option("2")
    place.get_by_label("Padding").select_option("1")
    cells = place.get_by_role("grid", name="Result").get_by_role("gridcell")
    side = convolution.result_side(2, 1, 1)
    cells.nth(2 * side + 3).hover()
    assert said(place).startswith("Row 3, column 4 of the result")
    assert float(said(place).rpartition("= ")[2]) == pytest.approx(convolved(place, 2, 1, 1)[2, 3], abs=5.01e-4)
    cells.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert said(place).startswith("Row 2, column 2 of the result")
    marked = place.evaluate(
        "({ figure }) => figure.picture.cells.flatMap((cell, k) => (cell.classList.contains('nb-read') ? [k] : []))"
    )
    image = nbdl.zeros(1, 1, convolution.SIDE, convolution.SIDE, requires_grad=True)
    ops.conv2d(image, nbdl.ones(1, 1, 3, 3), None, 2, 1)[0, 0, 1, 1].backward()
    assert marked == np.flatnonzero(image.grad.numpy()).tolist()


def test_drawing_by_mouse_and_by_keyboard(page: Any, address: str) -> None:
    place = opened(page, address, "convolution")
    place.get_by_role("button", name="Clear").click()
    grid = place.get_by_role("grid", name="Picture")
    box = grid.bounding_box()
    step = box["width"] / convolution.SIDE
    page.mouse.move(box["x"] + 2.5 * step, box["y"] + 4.5 * step)
    page.mouse.down()
    page.mouse.move(box["x"] + 6.5 * step, box["y"] + 4.5 * step, steps=8)
    page.mouse.up()
    grid.get_by_role("gridcell").nth(0).focus()
    for key in ("ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    pixels = array(place, "figure.picture.pixels").reshape(convolution.SIDE, -1)
    assert np.argwhere(pixels == 1).tolist() == [[1, 1], *([4, column] for column in range(2, 7))]
    np.testing.assert_allclose(array(place, "figure.y"), convolved(place, 1, 0, 1).ravel(), **CLOSE)


# ---------------------------------------------------------------- feature maps and saliency


def test_maps_and_slopes(page: Any, address: str) -> None:
    """Every number that is painted, for the likeliest class and for one that the reader chooses."""
    place = opened(page, address, "features")
    place.get_by_role("button", name="Clear").click()
    grid = place.get_by_role("grid")
    grid.get_by_role("gridcell").nth(3).focus()
    for key in ("Space", "ArrowDown", "Space", "ArrowDown", "ArrowDown", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.8 * box["height"])
    model = with_weights(place, features.blank_network())
    pixels = array(place, "figure.drawing.pixels").astype(np.float32).reshape(1, 1, 8, 8)
    assert np.count_nonzero(pixels == 1) == 5
    for digit in (None, 7):
        if digit is not None:
            place.get_by_role("combobox").select_option(str(digit))
        with nbdl.no_grad():
            likeliest = int(model(nbdl.tensor(pixels)).numpy().argmax())
        chosen = np.eye(10, dtype=np.float32)[[likeliest if digit is None else digit]]
        wanted = features.look(model, nbdl.tensor(pixels), nbdl.tensor(chosen))
        for name, tensor in wanted.items():
            np.testing.assert_allclose(array(place, f"model.look.{name}"), tensor.numpy(), rtol=1e-4, atol=1e-5)
        shown = [float(text.rstrip(" %")) for text in place.locator(".nb-share").all_text_contents()]
        np.testing.assert_allclose(shown, 100 * wanted["shares"].numpy()[0], rtol=0, atol=0.0501)


# ---------------------------------------------------------------- gates


def test_gates_of_the_readers_text(page: Any, address: str) -> None:
    text = "if x in seen:\n    return seen[x]"
    place = opened(page, address, "gates")
    place.get_by_label("Your text").fill(text + "\u2603")  # a snowman: it has never seen one
    assert "\u2603" in place.locator("p").first.text_content()
    characters = place.evaluate("({ figure }) => figure.characters")
    model = with_weights(place, gates.blank_reader(len(characters)))
    tokens = np.array([characters.index(letter) for letter in text])
    wanted = {name: tensor.numpy() for name, tensor in gates.read(model, nbdl.tensor(tokens)).items()}
    for name in ("gates", "cells", "shares"):
        np.testing.assert_allclose(array(place, f"model.read.{name}")[: len(text)], wanted[name], rtol=1e-4, atol=1e-5)
    place.get_by_role("group").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    column, cell = len(text) - 3, place.evaluate("({ figure }) => figure.order[3]")
    hidden = gates.HIDDEN
    numbers = [wanted["gates"][column, block * hidden + cell] for block in (0, 1, 3)]
    numbers.append(wanted["cells"][column + 1, cell])
    spoken = said(place).partition(": ")[2].partition(". ")[0]
    found = [float(part.split()[1]) for part in spoken.split(", ")]
    np.testing.assert_allclose(found, numbers, rtol=0, atol=5.1e-4)
    place.locator(".nb-trace").nth(1).hover(position={"x": 2, "y": 2})
    assert "(1), cell 1:" in said(place)


# ---------------------------------------------------------------- attention


def test_where_a_gpt_looks(page: Any, address: str) -> None:
    text = "the value of the expression"
    place = opened(page, address, "writer")
    place.get_by_label("Your text").fill(text)
    characters = place.evaluate("({ figure }) => figure.characters")
    model = with_weights(place, writer.blank_writer(len(characters)))
    tokens = np.array([[characters.index(letter) for letter in text]])
    wanted = {name: tensor.numpy() for name, tensor in writer.predict(model, nbdl.tensor(tokens)).items()}
    count = len(text)
    np.testing.assert_allclose(array(place, "model.predict.output")[:count], wanted["output"], rtol=1e-4, atol=1e-5)
    scores = wanted["output"][-1].astype(float) / 0.7  # the temperature that the page begins with
    shares = np.exp(scores - scores.max())
    shown = [float(share.rstrip(" %")) for share in place.locator(".nb-share").all_text_contents()]
    np.testing.assert_allclose(shown, 100 * np.sort(shares / shares.sum())[::-1][: len(shown)], rtol=0, atol=0.0501)
    for layer in ("attention0", "attention1"):
        found = array(place, f"model.predict.{layer}")[:, :, :count, :count]
        np.testing.assert_allclose(found, wanted[layer], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=0, atol=1e-5)
    place.get_by_role("button", name="layer 2, head 3").focus()
    page.keyboard.press("Enter")
    place.locator(".nb-passage").focus()
    page.keyboard.press("ArrowLeft")
    weights = wanted["attention1"][0, 2, count - 2]
    at, share = said(place).partition("at ")[2].partition(" %")[0].split(" (")[1].split(") ")
    assert int(at) - 1 == weights.argmax()
    assert float(share) == pytest.approx(100 * weights.max(), abs=0.0501)
    place.locator(".nb-passage span").nth(4).click()
    assert f"looks from {text[4]} (5)" in said(place)


# ---------------------------------------------------------------- a GAN through its training


def test_a_gan_through_its_training(page: Any, address: str) -> None:
    """The slider's moments, by keyboard; the same noise as `randn` gives; points as they are drawn."""
    place = opened(page, address, "gan")
    places = nbdl.tensor(gan.grid())
    slider = place.get_by_role("slider")
    seen = []
    for seed, key in ((0, "End"), (0, "Home"), (1, "ArrowRight"), (1, "ArrowRight")):
        if seed and len(seen) == 2:
            place.get_by_role("button", name="New noise").click()
        slider.press(key)
        players = with_weights(place, gan.blank_players(), prefix="0.")
        noise = nbdl.randn(gan.SAMPLES, 2, generator=philox.Generator(seed))
        np.testing.assert_allclose(array(place, "model.play.noise"), noise.numpy(), rtol=0, atol=1e-6)
        wanted = {name: tensor.numpy() for name, tensor in gan.play(players, noise, places).items()}
        for name, values in wanted.items():
            np.testing.assert_allclose(array(place, f"model.play.{name}"), values, rtol=1e-4, atol=1e-5)
        dots = place.evaluate("({ figure }) => figure.dots.map(({ cx, cy }) => [cx.baseVal.value, cy.baseVal.value])")
        drawn = (np.array(dots) / 160 - 1) * [gan.EXTENT, -gan.EXTENT]
        np.testing.assert_allclose(drawn, wanted["points"], rtol=0, atol=0.002)
        seen.append(place.locator("output").text_content())
    assert seen == ["1,600", "0", "25", "50"]
