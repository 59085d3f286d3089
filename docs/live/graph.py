"""Forward and backward through the smallest network, with the reader's numbers."""

from __future__ import annotations

import numpy as np

import nbdl
from live.figure import Figure
from nbdl import ops
from nbdl.export import trace

LEAVES = {"x": 2.0, "w": 0.5, "b": 0.25, "v": -1.5, "t": 1.0}


def run(*leaves: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """Every value of L = (v relu(w x + b) - t)^2, and the slope of L along each of them."""
    x, w, b, v, t = (leaf.detach().requires_grad_() for leaf in leaves)
    p = w * x
    z = p + b
    h = ops.relu(z)
    y = v * h
    e = y - t
    loss = e * e
    values = {"p": p, "z": z, "h": h, "y": y, "e": e}
    for value in values.values():
        value.retain_grad()
    loss.sum().backward()
    slopes = {f"d{name}": value.grad for name, value in {"x": x, "w": w, "b": b, "v": v, "t": t, **values}.items()}
    return {name: value.detach() for name, value in {**values, "L": loss}.items()} | slopes


def figure() -> Figure:
    """`run` works out all numbers of the graph."""
    examples = [np.array([value], np.float32) for value in LEAVES.values()]
    return Figure({"run": trace(run, *examples, names=list(LEAVES))}, {"leaves": LEAVES})
