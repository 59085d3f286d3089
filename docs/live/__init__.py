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

from live import convolution, descent, digits, features, gan, gates, graph, perceptron, writer
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
FILES = (f"{MODULE}.wasm", "nbdl.mjs", *(f"{name}.{kind}" for name in FIGURES for kind in ("json", "weights")))


def build(folder: Path, built: Path | None = None) -> None:
    """Puts everything into a folder; copies it from another one where it was built before."""
    folder.mkdir(parents=True, exist_ok=True)
    if built is not None and all((built / name).exists() for name in FILES):
        for name in FILES:
            shutil.copyfile(built / name, folder / name)
        return
    figures = {name: make() for name, make in FIGURES.items()}
    programs = {name: figure.programs for name, figure in figures.items()}
    interfaces = wasm.export_together(folder, MODULE, programs, KERNELS)
    for name, figure in figures.items():
        description = json.dumps({**interfaces[name], **figure.extra})
        (folder / f"{name}.json").write_text(description, encoding="utf-8")
