"""A series and the forecasts of several models as an SVG drawing: one panel for each place where forecasts begin."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from nbdl.svg import drawing
from nbdl.train.curve import COLORS, STYLE

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 720, 190, 52, 16, 64, 28
BEFORE = 33  # values shown before the forecasts begin

LINES = """
  .truth { fill: none; stroke: #6b7280; stroke-width: 1.5 }
  .forecast { fill: none; stroke-width: 2; stroke-linejoin: round }
  .start { stroke: #9ca3af; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) { .truth { stroke: #9ca3af } }
"""


def draw_forecasts(
    times: np.ndarray,
    values: np.ndarray,
    shown: Sequence[tuple[int, Mapping[str, np.ndarray]]],
    title: str,
) -> str:
    """Draws what was expected beside what came.

    Args:
        times: [T], whole numbers one after the other.
        values: [T], what came.
        shown: For each panel the time of the first forecast value, and the forecasts by model.
        title: Heading, and the name that screen readers say.

    Returns:
        The text of an SVG file, readable on light and on dark pages.
    """
    height = TOP + PANEL * len(shown)
    names = list(shown[0][1])
    highest = 1.05 * max(float(values.max()), *(float(f.max()) for _, said in shown for f in said.values()))
    parts = [f'<text x="{LEFT}" y="46">what came</text>']
    for place, name in enumerate(names):
        parts.append(f'<text x="{LEFT + 90 + 130 * place}" y="46" style="fill:{COLORS[place]}">{escape(name)}</text>')
    for place, (start, said) in enumerate(shown):
        top = TOP + PANEL * place
        steps = len(next(iter(said.values())))
        first, last = start - BEFORE, start + steps - 1

        def x(time: float, first: int = first, last: int = last) -> float:
            return LEFT + (time - first) / (last - first) * (WIDTH - LEFT - RIGHT)

        def y(value: float, top: int = top) -> float:
            return top + PANEL - BOTTOM - value / highest * (PANEL - BOTTOM - 12)

        for tick in (0, 100):
            if tick < highest:
                parts.append(
                    f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
                )
                parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
        for tick in range(first - first % 10 + 10, last + 1, 10):
            parts.append(f'<text x="{x(tick):.1f}" y="{top + PANEL - 8}" text-anchor="middle">{tick}</text>')
        parts.append(
            f'<line class="start" x1="{x(start - 0.5):.1f}" x2="{x(start - 0.5):.1f}" '
            f'y1="{y(highest):.1f}" y2="{y(0):.1f}"/>'
        )
        inside = (times >= first) & (times <= last)
        parts.append(_line("truth", "", [(x(t), y(v)) for t, v in zip(times[inside], values[inside], strict=True)]))
        for color, forecast in zip(COLORS, said.values(), strict=False):
            points = [(x(start + step), y(float(value))) for step, value in enumerate(forecast)]
            parts.append(_line("forecast", f' stroke="{color}"', points))
    return drawing(WIDTH, height, title, parts, STYLE + LINES, LEFT)


def _line(kind: str, attributes: str, points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}"{attributes} points="{path}"/>'
