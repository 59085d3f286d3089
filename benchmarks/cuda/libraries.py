"""The libraries beside each other: how each makes tensors, waits and measures, and what its functions are called."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Library:
    """One library.

    Attributes:
        name: For the table.
        version: Its version.
        send: A NumPy array on the GPU.
        event: A new event that can be timed.
        between: Milliseconds between two recorded events, once both are over.
        module: Itself.
    """

    name: str
    version: str
    send: Callable[[np.ndarray], Any]
    event: Callable[[], Any]
    between: Callable[[Any, Any], float]
    module: Any


def nbdl_library() -> Library:
    import nbdl

    return Library(
        "nbdl", nbdl.__version__, lambda array: nbdl.tensor(array, device="cuda"),
        lambda: nbdl.cuda.Event(enable_timing=True), lambda start, end: start.elapsed_time(end), nbdl,
    )  # fmt: skip


def others() -> list[Library]:
    """PyTorch and CuPy, where they are installed and see the GPU."""
    found = []
    if importlib.util.find_spec("torch") is not None:
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            found.append(
                Library("PyTorch", torch.__version__, lambda array: torch.from_numpy(array).cuda(),
                        lambda: torch.cuda.Event(enable_timing=True), _torch_between, torch)
            )  # fmt: skip
    if importlib.util.find_spec("cupy") is not None:
        cupy = importlib.import_module("cupy")
        if cupy.cuda.is_available():
            found.append(
                Library("CuPy", cupy.__version__, cupy.asarray, cupy.cuda.Event, _cupy_between(cupy), cupy)
            )  # fmt: skip
    return found


def _torch_between(start: Any, end: Any) -> float:
    end.synchronize()
    return float(start.elapsed_time(end))


def _cupy_between(cupy: Any) -> Callable[[Any, Any], float]:
    def between(start: Any, end: Any) -> float:
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end))

    return between
