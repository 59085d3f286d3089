"""Launches on the GPU: a Kernel's CUDA twin, compiled when it first sees the types of its arguments."""

from __future__ import annotations

from typing import Any

from nbdl.runtime import jit
from nbdl.runtime.cuda.compiler import kernel
from nbdl.runtime.cuda.device import require_device


def launch(pair: jit.Kernel, arguments: tuple[Any, ...]) -> None:
    """Runs the CUDA twin on device arrays and numbers. Returns at once: the GPU works through its stream in order."""
    require_device()
    blocks = pair.blocks(*arguments)
    if blocks:
        kernel(pair.cuda.py_func)[blocks, pair.threads](*arguments)
