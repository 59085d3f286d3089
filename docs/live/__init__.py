"""What runs in the reader's browser: models trained while the site is built, compiled to WebAssembly.

    python docs/live FOLDER

Each figure is a module of this package, whose `figure` makes programs of `nbdl.export`, and a script under
docs/theme/assets/live that draws and takes input. The numbers are the kernels'. All figures share one WebAssembly
module, since they share most of the kernels; a page fetches it and the weights of its own figures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from live import convolution, descent, digits, features, gan, gates, graph, kept, perceptron, writer
from nbdl.export import wasm

MODULE = "site"
FIGURES = {
    "digits": digits.figure,
    "writer": writer.figure,
    "graph": graph.figure,
    "descent": descent.figure,
    "perceptron": perceptron.figure,
    "convolution": convolution.figure,
    "features": features.figure,
    "gates": gates.figure,
    "gan": gan.figure,
}
KERNELS: wasm.Kernels = {**convolution.KERNELS, **perceptron.KERNELS, **gan.KERNELS}
_SOURCES = kept.digest(*sorted(Path(__file__).parent.glob("*.py")))  # as they are imported now


def build(folder: Path) -> None:
    """Puts everything into a folder. Builds of two languages at once, and later ones, share the work of the first."""
    shutil.copytree(kept.made(_make, f"site-{_SOURCES}"), folder, dirs_exist_ok=True)


def _make(folder: Path) -> None:
    """Trains, compiles and writes all figures."""
    figures = {name: make() for name, make in FIGURES.items()}
    programs = {name: figure.programs for name, figure in figures.items()}
    interfaces = wasm.export_together(folder, MODULE, programs, KERNELS)
    for name, figure in figures.items():
        description = json.dumps({**interfaces[name], **figure.extra})
        (folder / f"{name}.json").write_text(description, encoding="utf-8")
