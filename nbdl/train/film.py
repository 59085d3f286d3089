"""What a generator makes, epoch by epoch, as SVG drawings: a strip of all epochs, and an animation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from nbdl.explain.png import png_address
from nbdl.serialization import write_durably
from nbdl.svg import drawing
from nbdl.train.callbacks import Callback
from nbdl.train.pictures import PICTURE_STYLE

MOST_FRAMES = 24
"""Epochs in strip and animation; when there are more, every second is left out."""

COLUMNS, GAP, CAPTION, HEADING = 6, 16, 22, 48
SECONDS, REST = 0.25, 6  # time of a frame, and how many times as long the last one stays
DOT_STYLE = """
  .dots { stroke: #2563eb; stroke-linecap: round; fill: none; stroke-opacity: .55 } .goal { fill: #9ca3af33 }
  @media (prefers-color-scheme: dark) { .dots { stroke: #60a5fa } .goal { fill: #9ca3af44 } }
"""


@dataclass(frozen=True)
class Frame:
    """One picture of a film.

    Attributes:
        width, height: Its size.
        body: SVG elements.
    """

    width: float
    height: float
    body: str


def image_frame(images: np.ndarray, columns: int, side: float = 240.0) -> Frame:
    """Images as one mosaic.

    Args:
        images: [N, C, H, W], one channel or three, values from 0 to 1.
        columns: Images in a row.
        side: Width of the drawing.
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    mosaic = np.ones((channels, rows * (height + 1) - 1, columns * (width + 1) - 1))
    for place, image in enumerate(images):
        top, left = place // columns * (height + 1), place % columns * (width + 1)
        mosaic[:, top : top + height, left : left + width] = image
    tall = side * mosaic.shape[1] / mosaic.shape[2]
    body = f'<image width="{side:g}" height="{tall:g}" preserveAspectRatio="none" href="{png_address(mosaic)}"/>'
    return Frame(side, tall, body)


def point_frame(points: np.ndarray, goals: np.ndarray, radius: float, extent: float, side: float = 160.0) -> Frame:
    """Points in the plane as dots, over circles around where they should be.

    Args:
        points: [N, 2].
        goals: [M, 2], the middles of the circles.
        radius: Theirs.
        extent: Largest coordinate that is shown; points beyond are drawn at the edge.
        side: Width and height of the drawing.
    """
    scale = side / (2 * extent)

    def place(point: np.ndarray) -> tuple[float, float]:
        x, y = np.clip(np.nan_to_num(point), -extent, extent)
        return (x + extent) * scale, (extent - y) * scale

    circles = "".join(
        f'<circle class="goal" cx="{x:.1f}" cy="{y:.1f}" r="{radius * scale:.1f}"/>' for x, y in map(place, goals)
    )
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in map(place, points))
    box = f'<rect class="frame" width="{side:g}" height="{side:g}"/>'
    return Frame(side, side, f'{box}{circles}<path class="dots" stroke-width="2.5" d="{dots}"/>')


def draw_strip(frames: Sequence[tuple[str, Frame]], title: str) -> str:
    """Frames side by side, each with its caption.

    Returns:
        The text of an SVG file, readable on light and on dark pages.
    """
    width, height = _cell(frames)
    columns, rows = min(COLUMNS, len(frames)), -(-len(frames) // COLUMNS)
    parts = []
    for place, (caption, frame) in enumerate(frames):
        x = GAP + place % COLUMNS * (width + GAP)
        y = HEADING + place // COLUMNS * (height + CAPTION + GAP)
        parts.append(f'<text class="small" x="{x:g}" y="{y + 6:g}">{escape(caption)}</text>')
        parts.append(f'<g transform="translate({x:g} {y + CAPTION - 8:g})">{frame.body}</g>')
    size = columns * (width + GAP) + GAP, HEADING + rows * (height + CAPTION + GAP)
    return drawing(*size, title, parts, PICTURE_STYLE + DOT_STYLE, GAP)


def draw_animation(frames: Sequence[tuple[str, Frame]], title: str) -> str:
    """Frames one after the other, without end; the last stays longest, and alone where motion is not wanted.

    Returns:
        The text of an SVG file that needs no script.
    """
    width, height = _cell(frames)
    last = len(frames) - 1
    total = SECONDS * (last + REST)
    share, rest = 100 * SECONDS / total, 100 * SECONDS * REST / total
    style = (
        f".still {{ visibility: hidden; animation: show {total:g}s step-end infinite }}"
        f" .last {{ animation-name: stay }}"
        f" @keyframes show {{ 0% {{ visibility: visible }} {share:.3f}% {{ visibility: hidden }} }}"
        f" @keyframes stay {{ 0% {{ visibility: visible }} {rest:.3f}% {{ visibility: hidden }} }}"
        " @media (prefers-reduced-motion: reduce) {"
        " .still { animation: none } .last { visibility: visible } }"
    )
    parts = []
    for number, (caption, frame) in enumerate(frames):
        kind = "still last" if number == last else "still"
        parts.append(
            f'<g class="{kind}" style="animation-delay:{number * SECONDS:g}s">'
            f'<text class="small" x="{GAP}" y="{HEADING + 6}">{escape(caption)}</text>'
            f'<g transform="translate({GAP} {HEADING + CAPTION - 8})">{frame.body}</g></g>'
        )
    size = width + 2 * GAP, HEADING + height + CAPTION + GAP
    return drawing(*size, title, parts, PICTURE_STYLE + DOT_STYLE + style, GAP)


def _cell(frames: Sequence[tuple[str, Frame]]) -> tuple[float, float]:
    return max(frame.width for _, frame in frames), max(frame.height for _, frame in frames)


class Film(Callback):
    """Keeps samples.svg, the strip of epochs, and animation.svg up to date (once a second at most).

    Args:
        folder: Where they go.
        title: Their heading.
        draw: The picture of now.
    """

    def __init__(self, folder: str | Path, title: str, draw: Callable[[], Frame]) -> None:
        self.folder, self.title, self.draw = Path(folder), title, draw
        self.frames: list[tuple[int, Frame]] = []
        self.stride = 1
        self._drawn_at = -math.inf

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        if len(self.frames) == MOST_FRAMES:
            self.stride *= 2
        kept = [(epoch, frame) for epoch, frame in self.frames if epoch == 1 or epoch % self.stride == 0]
        self.frames = [*kept, (record["epoch"], self.draw())]  # the newest is there in any case
        if trainer.seconds - self._drawn_at >= 1:
            self._drawn_at = trainer.seconds
            for name, drawing in self.drawings().items():
                write_durably(self.folder / name, drawing.encode())

    def drawings(self) -> dict[str, str]:
        """The texts of both files by their names."""
        captioned = [(f"epoch {epoch}", frame) for epoch, frame in self.frames]
        return {
            "samples.svg": draw_strip(captioned, self.title),
            "animation.svg": draw_animation(captioned, self.title),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"stride": self.stride, "frames": [[epoch, *_parts(frame)] for epoch, frame in self.frames]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stride = state["stride"]
        self.frames = [(epoch, Frame(*parts)) for epoch, *parts in state["frames"]]


def _parts(frame: Frame) -> Iterable[Any]:
    return frame.width, frame.height, frame.body
