"""Explanations as drawings: maps laid over the examples that they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.explain.png import png_address
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.svg import drawing

FOR, AGAINST = (0.851, 0.467, 0.024), (0.145, 0.388, 0.922)
"""Colours of what speaks for the score and, in signed maps, of what speaks against it."""

TILE, GAP, MARGIN, NAMES = 96, 10, 12, 74

STYLE = """
  .frame { fill: none; stroke: #e5e7eb }
  image { image-rendering: pixelated }
  @media (prefers-color-scheme: dark) { .frame { stroke: #374151 } }
"""


def colored(attributions: Any, image: Any = None) -> np.ndarray:
    """A map as a picture, laid over the example if one is given.

    The strength of the colour is the magnitude, relative to the 99th percentile of the map, so that one pixel does not
    pale all others. Blue speaks against the score, in maps that have negative numbers.

    Args:
        attributions: [H, W], or [C, H, W]: the channel with the largest magnitude counts.
        image: [C, H, W] with one channel or three, or [H, W], values from 0 to 1, shown pale under the map.

    Returns:
        [4, H, W], red, green, blue and opacity from 0 to 1: what `encode_png` takes.

    Raises:
        ShapeError: The map or the image has another shape.

    Example:
        >>> nbdl.explain.colored(np.array([[0.0, 1.0], [0.0, -1.0]]))[3]
        array([[0., 1.],
               [0., 1.]])
    """
    values = _array(attributions)
    if values.ndim == 3:
        strongest = np.abs(values).argmax(0)
        values = np.take_along_axis(values, strongest[None], 0)[0]
    if values.ndim != 2:
        raise ShapeError(f"attributions: expected [H, W] or [C, H, W], got {list(values.shape)}")
    magnitude = np.abs(np.nan_to_num(values))
    largest = np.percentile(magnitude, 99) or magnitude.max() or 1.0
    opacity = np.minimum(magnitude / largest, 1)
    color = np.where(values >= 0, np.reshape(FOR, (3, 1, 1)), np.reshape(AGAINST, (3, 1, 1)))
    if image is None:
        return np.concatenate([color, opacity[None]])
    under = _array(image)
    under = under[None] if under.ndim == 2 else under
    if under.shape[0] not in (1, 3) or under.shape[1:] != values.shape:
        raise ShapeError(f"image: expected [C, {values.shape[0]}, {values.shape[1]}], got {list(under.shape)}")
    pale = 0.62 + 0.38 * np.broadcast_to(np.clip(under, 0, 1), (3, *values.shape))
    return np.concatenate([pale * (1 - opacity) + color * opacity, np.ones((1, *values.shape))])


def draw_attributions(
    images: Any, maps: Mapping[str, Any], title: str, names: Sequence[str] | None = None, ink: bool = True
) -> str:
    """Draws examples, a row each, and beside each its maps.

    Args:
        images: [N, C, H, W] with one channel or three, values from 0 to 1.
        maps: For each column a heading, and [N, H, W] or [N, C, H, W].
        title: What screen readers say.
        names: N words, written before the rows.
        ink: A value of 1 is ink on paper, not light.

    Returns:
        The text of an SVG file, readable on light and on dark pages. The pictures are in it.

    Raises:
        ArgumentError: The number of names is another.
        ShapeError: A map or the images have another shape.

    Example:
        >>> svg = nbdl.explain.draw_attributions(np.zeros((2, 1, 8, 8)), {"saliency": np.ones((2, 8, 8))}, "two maps")
        >>> svg.count("<image")
        4
    """
    shown = _array(images)
    if shown.ndim != 4 or shown.shape[1] not in (1, 3):
        raise ShapeError(f"images: expected [N, 1 or 3, H, W], got {list(shown.shape)}")
    shown = 1 - shown if ink else shown
    arrays = {heading: _array(values) for heading, values in maps.items()}
    for heading, values in arrays.items():
        if values.shape[:1] != shown.shape[:1] or values.shape[-2:] != shown.shape[-2:]:
            raise ShapeError(
                f"maps[{heading!r}]: expected one for each image {list(shown.shape)}, got {list(values.shape)}"
            )
    if names is not None and len(names) != len(shown):
        raise ArgumentError(f"names: expected {len(shown)}, one for each image, got {len(names)}")
    left = MARGIN + (NAMES if names else 0)
    height_of = round(TILE * shown.shape[2] / shown.shape[3])
    width = left + (len(arrays) + 1) * (TILE + GAP) + MARGIN - GAP
    height = 30 + len(shown) * (height_of + GAP) + MARGIN - GAP
    parts = []
    for column, heading in enumerate(arrays, start=1):
        x = left + column * (TILE + GAP) + TILE / 2
        parts.append(f'<text x="{x:.0f}" y="20" text-anchor="middle">{escape(heading)}</text>')
    for row, image in enumerate(shown):
        y = 30 + row * (height_of + GAP)
        if names:
            parts.append(f'<text x="{MARGIN}" y="{y + height_of / 2 + 4:.0f}">{escape(names[row])}</text>')
        pictures = [image, *(colored(values[row], image) for values in arrays.values())]
        for column, picture in enumerate(pictures):
            place = f'x="{left + column * (TILE + GAP)}" y="{y}" width="{TILE}" height="{height_of}"'
            parts.append(f'<image {place} href="{png_address(picture)}"/><rect class="frame" {place}/>')
    return drawing(width, height, title, parts, STYLE)


def _array(values: Any) -> np.ndarray:
    return values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)
