"""What all figures in the reader's browser share, and the first of them: a digit that is drawn, read and taught."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from conftest import SITE
from live_figures import array, opened, with_weights

import nbdl
from nbdl import ops, optim

digits = importlib.import_module("live.digits")

pytestmark = pytest.mark.site


@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_module_is_built(language: str) -> None:
    folder = SITE / language / "assets" / "live"
    assert (folder / "site.wasm").read_bytes()[:4] == b"\0asm"
    assert sum(path.stat().st_size for path in folder.glob("*.wasm")) <= 60_000  # of all figures; weights aside


@pytest.mark.parametrize("language", ["", "ko/"])
def test_a_browser_reads_and_learns_as_nbdl_does(page: Any, address: str, language: str) -> None:
    """The shares that are shown: of a drawing, after it was named, and after that was forgotten."""
    place = opened(page, address, "digit", language)
    network = with_weights(place, digits.blank_reader(), prefix="0.")
    grid = place.get_by_role("grid")
    box = grid.bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.8 * box["height"], steps=10)
    page.mouse.up()
    grid.get_by_role("gridcell").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    pixels = nbdl.tensor(array(place, "figure.drawing.pixels").astype(np.float32)[None])
    assert int((pixels == 1).sum().item()) == 7

    def agree() -> None:
        with nbdl.no_grad():
            wanted = 100 * ops.softmax(network(pixels), -1).numpy()[0]
        found = [float(text.rstrip(" %")) for text in place.locator(".nb-share").all_text_contents()]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.0501)

    agree()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = optim.SGD(network.parameters(), lr=0.1)
    place.get_by_role("button", name="4").click()
    for _ in range(5):
        optimizer.zero_grad()
        ops.cross_entropy(network(pixels), nbdl.tensor([4])).backward()
        optimizer.step()
    agree()
    place.get_by_role("button", name={"": "Forget", "ko/": "배운 것 잊기"}[language]).click()
    network.load_state_dict(before)
    agree()
