"""The frame of every drawing that nbdl makes: an SVG file, readable on light and on dark pages.

This file imports nothing of nbdl; the floors that draw add their own styles to the one here.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #374151 } .title { font-size: 15px; font-weight: 600 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) { text { fill: #d1d5db } .paper { fill: #111827 } }
"""


def drawing(
    width: float, height: float, title: str, parts: Iterable[str], style: str, left: float | None = None
) -> str:
    """Elements on paper as the text of an SVG file.

    Args:
        width: Of the paper, in pixels; so is the height.
        height: Of the paper.
        title: What screen readers say.
        parts: The elements, in the order of drawing.
        style: Rules of CSS for them.
        left: Where the title is written as a heading; None: it is only said.
    """
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style>",
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
    ]
    if left is not None:
        head.append(f'<text class="title" x="{left}" y="24">{escape(title)}</text>')
    return "\n".join([*head, *parts, "</svg>", ""])
