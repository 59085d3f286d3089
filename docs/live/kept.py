"""What took long to train is kept in `build/live`, until a source of the library or of the figure changes."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path

import nbdl
from nbdl import nn

FOLDER = Path(__file__).parent.parent.parent / "build" / "live"


def trained(model: nn.Module, learn: Callable[[nn.Module], None], data: str) -> nn.Module:
    """The model after `learn`, which sees `data`: from the file of an earlier build, or trained now."""
    library = Path(nbdl.__file__).parent
    digest = hashlib.sha256(data.encode())
    for source in (Path(inspect.getfile(learn)), *sorted(library.rglob("*.py"))):
        digest.update(source.read_bytes())
    path = FOLDER / f"{type(model).__name__}-{digest.hexdigest()[:20]}.safetensors"
    if path.exists():
        model.load_state_dict(nbdl.load(path))
    else:
        learn(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbdl.save(model.state_dict(), path)
    return model.eval()
