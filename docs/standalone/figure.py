"""Takes the place of docs/figure.py in a notebook or script that a reader downloads: shows or writes what it draws."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#3c444d", "#e4dfd3"  # text and axes; grid
SERIES = ["#1f6fb2", "#c8641b", "#2b8a5a", "#9a4bb0", "#8a7420"]

matplotlib.rcParams.update(
    {
        "axes.prop_cycle": matplotlib.cycler(color=SERIES),
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "legend.frameon": False,
        "figure.figsize": (7.2, 3.4),
        "figure.constrained_layout.use": True,
    }
)

_numbers = itertools.count(1)


def _next_file() -> Path:
    return Path(f"{Path(sys.argv[0]).stem or 'page'}-{next(_numbers)}.svg")


def svg(figure: Figure, caption: str) -> str:
    """Shows the figure in a notebook, or writes it to a file beside a script; returns the caption."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(figure)
        plt.close(figure)
        return caption
    file = _next_file()
    figure.savefig(file)
    plt.close(figure)
    return f"{file}: {caption}"


def drawing(text: str, caption: str) -> str:
    """The same for a drawing that is the text of an SVG file."""
    if "ipykernel" in sys.modules:
        from IPython.display import SVG, display

        display(SVG(text))
        return caption
    file = _next_file()
    file.write_text(text, encoding="utf-8")
    return f"{file}: {caption}"
