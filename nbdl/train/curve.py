"""The learning curve of a run as an SVG drawing: what the loss and the metrics did, epoch by epoch."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from nbdl.svg import drawing

WIDTH, PANEL_HEIGHT = 720, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 132, 40, 44
COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed")
NOT_DRAWN = {"epoch", "step", "seconds", "learning_rate"}
LOG_RATIO = 30  # losses that span more than this are drawn on a logarithmic axis

STYLE = """
  .grid { stroke: #e5e7eb }
  .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
  @media (prefers-color-scheme: dark) { .grid { stroke: #374151 } }
"""


def draw_curve(history: Sequence[dict[str, Any]], title: str) -> str:
    """Draws one panel of losses and, when there are other metrics, one panel of them below.

    Args:
        history: One record an epoch, as in metrics.jsonl; numbers that are missing or not finite leave a gap.
        title: Heading, and the name that screen readers say.

    Returns:
        The text of an SVG file, readable on light and on dark pages.
    """
    names = [name for name in dict.fromkeys(key for record in history for key in record) if name not in NOT_DRAWN]
    losses = [name for name in names if name.endswith("loss")]
    others = [name for name in names if not name.endswith("loss")]
    panels = [panel for panel in (losses, others) if panel]
    height = PANEL_HEIGHT * max(len(panels), 1)
    parts = [
        part
        for position, panel in enumerate(panels)
        for part in _panel(history, panel, position, position == len(panels) - 1)
    ]
    return drawing(WIDTH, height, title, parts, STYLE, LEFT)


def _panel(history: Sequence[dict[str, Any]], names: Sequence[str], place: int, last: bool) -> Iterable[str]:
    """One pair of axes with a curve a name, labelled at its right end; `place` counts the panels above."""
    top = PANEL_HEIGHT * place
    epochs = [int(record["epoch"]) for record in history]
    curves = {name: [_finite(record.get(name)) for record in history] for name in names}
    values = [value for curve in curves.values() for value in curve if value is not None]
    ticks, to_y = _value_axis(values, top + TOP, top + PANEL_HEIGHT - BOTTOM)
    first, span = epochs[0], max(epochs[-1] - epochs[0], 1)

    def to_x(epoch: float) -> float:
        return LEFT + (epoch - first) / span * (WIDTH - LEFT - RIGHT)

    for tick in ticks:
        y = to_y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for epoch in _epoch_ticks(epochs[0], epochs[-1]):
        yield f'<text x="{to_x(epoch):.1f}" y="{top + PANEL_HEIGHT - BOTTOM + 18}" text-anchor="middle">{epoch}</text>'
    if last:
        yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{top + PANEL_HEIGHT - 8}" text-anchor="middle">epoch</text>'

    labels = []
    for position, (name, curve) in enumerate(curves.items(), start=place):
        color = COLORS[position % len(COLORS)]
        points = [(to_x(epoch), to_y(value)) for epoch, value in zip(epochs, curve, strict=True) if value is not None]
        if not points:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline class="curve" stroke="{color}" points="{path}"/>'
        yield f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3" fill="{color}"/>'
        labels.append((points[-1][1], f'style="fill:{color}">{escape(name.replace("_", " "))}'))
    lowest = -math.inf
    for y, label in sorted(labels):
        lowest = max(y + 4, lowest + 15)  # labels that would overlap move down
        yield f'<text x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}" {label}</text>'


def _finite(value: Any) -> float | None:
    """The value as a float, or None when it is no finite number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _value_axis(values: Sequence[float], top: float, bottom: float) -> tuple[list[float], Any]:
    """Round ticks that enclose the values, and the function from a value to its height in the drawing."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low > 0 and high / low > LOG_RATIO:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [10.0**exponent for exponent in exponents]
        scale = math.log10
    else:
        step = _round_step((high - low) / 4 or abs(high) / 4 or 1.0)
        start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [round(step * multiple, 12) for multiple in range(start, max(stop, start + 1) + 1)]
        scale = float
    bottom_value, range_of_values = scale(ticks[0]), scale(ticks[-1]) - scale(ticks[0])

    def to_y(value: float) -> float:
        return bottom - (scale(value) - bottom_value) / range_of_values * (bottom - top)

    return ticks, to_y


def _round_step(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _epoch_ticks(first: int, last: int) -> list[int]:
    """Up to nine whole epochs, the first and round ones after it."""
    step = max(int(_round_step((last - first) / 8)), 1) if last > first else 1
    return [first, *range(first - first % step + step, last + 1, step)]
