"""Matrix products [M, K] by [K, N], float32, through the public functions; T marks a transposed operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "64x64x64",
    "128x128x128",
    "256x256x256",
    "512x512x512",
    "1024x1024x1024",
    "2048x2048x2048",
    "512x512x512 T.",
    "512x512x512 .T",
    "512x512x512 TT",
    "64x256x784",
    "64x256x784 .T",
    "256x784x64 T.",
    "64x10x256 .T",
    "4096x64x64",
    "64x4096x64",
    "64x64x4096",
    "1x1024x1024",
    "1024x1x1024",
    "2048x128x512",
    "1000x1000x100",
)


def _operands(case: str) -> tuple[np.ndarray, np.ndarray, str]:
    """A as [M, K] or, marked T, as [K, M]; B as [K, N] or [N, K]."""
    sizes, _, marks = case.partition(" ")
    m, n, k = map(int, sizes.split("x"))
    marks = marks or ".."
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if marks[0] == "T" else (m, k)).astype(np.float32)
    b = rng.standard_normal((n, k) if marks[1] == "T" else (k, n)).astype(np.float32)
    return a, b, marks


def _views(a: Any, b: Any, marks: str) -> tuple[Any, Any]:
    return a.T if marks[0] == "T" else a, b.T if marks[1] == "T" else b


def nbdl_step(case: str) -> Callable[[], Any]:
    import nbdl

    a, b, marks = _operands(case)
    a, b = _views(nbdl.tensor(a), nbdl.tensor(b), marks)
    return lambda: nbdl.matmul(a, b)


def torch_step(case: str) -> Callable[[], Any]:
    import torch

    a, b, marks = _operands(case)
    a, b = _views(torch.tensor(a), torch.tensor(b), marks)
    return lambda: torch.matmul(a, b)
