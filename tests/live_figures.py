"""A figure in the browser, on its page, and what its module holds, as nbdl sees it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))  # `live`, where the figures are made

PAGES = {
    "stepper": "backpropagation",
    "descent": "gradient-descent",
    "perceptron": "multilayer-perceptron",
    "digit": "multilayer-perceptron",
    "convolution": "convolutional-networks",
    "features": "convolutional-networks",
    "gates": "recurrent-networks",
    "writer": "gpt",
    "gan": "generative-adversarial-networks",
}


def opened(page: Any, address: str, figure: str, language: str = "") -> Any:
    """The figure on its page, started."""
    page.goto(f"{address}/{language}concepts/{PAGES[figure]}/")
    place = page.locator(f".nb-{figure}")
    place.evaluate("place => place.scrollIntoView()")
    page.wait_for_selector(f".nb-{figure}[data-ready]")
    page.wait_for_load_state("networkidle")  # another figure nearby moves this one
    place.evaluate("place => place.scrollIntoView()")
    return place


def array(place: Any, expression: str) -> np.ndarray:
    """An array of the figure's module, by an expression of JavaScript."""
    found = place.evaluate(
        f"""place => {{
            const {{ figure }} = place, {{ model }} = figure, found = {expression};
            return {{ values: [...found].map(Number), shape: found.shape, strides: found.strides }};
        }}"""
    )
    values = np.array(found["values"], np.float64)
    if found.get("shape") is None:
        return values
    return np.lib.stride_tricks.as_strided(values, found["shape"], [8 * step for step in found["strides"]])


def with_weights(place: Any, model: nn.Module, prefix: str = "") -> nn.Module:
    """The model with the weights that the page has."""
    for name, parameter in model.named_parameters():
        values = array(place, f"model.state['{prefix}{name}']").astype(np.float32)
        parameter.detach().copy_(nbdl.from_numpy(np.ascontiguousarray(values)))
    return model.eval()
