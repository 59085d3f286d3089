"""Stateless mathematics: the functional namespace, and the one place where tensors get their operators and methods.

Each family is one file, read from equation to kernel. `METHODS` says which function a tensor's method or operator is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbdl.autograd import Tensor

METHODS: dict[str, Callable[..., Any]] = {
    # elementwise
    # reduction
    # shape
    # indexing
    # matmul
    # activation
    # softmax
}

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
