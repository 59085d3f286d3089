"""Figures of the pages: Matplotlib's SVG, drawn in the colours of the reader's theme.

Text stays text (the reader's font, selectable, Hangul included). Colours are placeholders that become CSS variables, so
that a figure follows the page from light to dark.
"""

from __future__ import annotations

import base64
import html
import io
import re
import warnings
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#0a0b0c", "#0a0b0d"  # text and axes; grid
SERIES = ["#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"]
_VARIABLES = {INK: "var(--nb-ink)", FAINT: "var(--nb-faint)"} | {
    colour: f"var(--nb-series-{i})" for i, colour in enumerate(SERIES, start=1)
}

matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.prop_cycle": matplotlib.cycler(color=SERIES),
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "figure.figsize": (7.2, 3.4),
        "figure.constrained_layout.use": True,
    }
)


def svg(figure: Figure, caption: str) -> str:
    """The figure as an HTML `<figure>` with a caption that also describes it to a screen reader; closes the figure."""
    buffer = io.StringIO()
    # The salt makes the names of clips and marks the same in every build. Glyphs are the reader's, not Matplotlib's.
    with matplotlib.rc_context({"svg.hashsalt": caption}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)  # its style would reach the whole page
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', text, count=1)
    text = re.sub(r'<g id="[\w.]+_\d+"', "<g", text)  # ids that every figure of a page would repeat
    text = text.replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return f'<figure class="nb-figure">{_shorter(text)}<figcaption>{html.escape(caption)}</figcaption></figure>'


def _shorter(text: str) -> str:
    """The same drawing in less than half of the bytes: hundredths of a pixel, and a style that points share, once."""

    def grouped(points: re.Match[str]) -> str:
        styles = set(re.findall(r'style="[^"]*"', points[0]))
        if len(styles) > 1:
            return points[0]
        (style,) = styles
        return f"<g {style}>{points[0].replace(f' {style}', '')}</g>"

    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), text)  # not what is written
    text = re.sub(r"\n\s*", "\n", text)
    return re.sub(r'(?:<use [^>]*style="[^"]*"/>\n){2,}', grouped, text)


def drawing(text: str, caption: str) -> str:
    """A drawing that the library made, the text of an SVG file, as an HTML `<figure>`.

    It is an image of its own, so that its style stays inside; its colours follow the page's scheme all the same.
    """
    address = "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
    label = html.escape(caption, quote=True)
    return f'<figure class="nb-figure"><img src="{address}" alt="{label}"><figcaption>{label}</figcaption></figure>'
