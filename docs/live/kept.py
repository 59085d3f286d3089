"""What took long to train or to compile is kept in `build/live`, until a source of the library or a figure changes."""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbdl
from nbdl import nn

FOLDER = Path(__file__).parent.parent.parent / "build" / "live"


def digest(*own: Path, data: str = "") -> str:
    """Names the sources of the library and some of the documentation's own, and data."""
    found = hashlib.sha256(data.encode())
    for source in (*own, *sorted(Path(nbdl.__file__).parent.rglob("*.py"))):
        found.update(source.read_bytes())
    return found.hexdigest()[:20]


def trained(model: nn.Module, learn: Callable[[nn.Module], None], data: str) -> nn.Module:
    """The model after `learn`, which sees `data`: from the file of an earlier build, or trained now."""
    path = FOLDER / f"{type(model).__name__}-{digest(Path(inspect.getfile(learn)), data=data)}.safetensors"
    if path.exists():
        model.load_state_dict(nbdl.load(path))
    else:
        learn(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbdl.save(model.state_dict(), path)
    return model.eval()


def made(make: Callable[[Path], None], name: str) -> Path:
    """The folder that `make` fills, made once: of processes that ask at once one makes it, and the others wait."""
    folder = FOLDER / name
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, even of a process that is killed
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=FOLDER))
            try:
                make(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(folder)  # whole or not at all
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder
