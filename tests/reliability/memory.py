"""Memory: training and failing for long leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import nn, ops, optim
from tests.reliability.area import Area, BrokenPromiseError, part

STEPS = 10_000
ERRORS = 1_000
WARM = 500
"""Steps and errors until the pool of memory and the caches of the interpreter are filled."""
ALLOWED = 1.01


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def train_long(steps: int) -> tuple[int, int]:
    """A small network of every kind of layer that keeps something; bytes after the first steps and after all."""
    nbdl.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    recurrent, attention = nn.LSTM(16, 16, batch_first=True), nn.MultiheadAttention(16, 2, batch_first=True)
    head = nn.Sequential(nn.LayerNorm(16), nn.Dropout(0.1), nn.Linear(16, 3))
    model = nn.ModuleList([convolution, recurrent, attention, head])
    optimizer = optim.AdamW(model.parameters())
    x, target = nbdl.randn(8, 1, 8, 8), nbdl.tensor(np.arange(8) % 3)
    early = 0
    for step in range(WARM + steps):
        if step == WARM:
            gc.collect()
            early = resident()
        hidden = ops.permute(ops.flatten(convolution(x), 2), (0, 2, 1))
        hidden, _ = recurrent(ops.reshape(hidden, (8, 4, 16)))
        hidden, _ = attention(hidden, hidden, hidden, need_weights=False)
        loss = ops.cross_entropy(head(hidden.mean(1)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gc.collect()
    return early, resident()


def fail_long(count: int) -> tuple[int, int]:
    """Errors of many kinds, raised with a graph at hand."""
    weight = nbdl.randn(64, 64, requires_grad=True)

    def fail(kind: int) -> None:
        hidden = (nbdl.randn(32, 64) @ weight).relu()
        if kind == 0:
            hidden @ nbdl.zeros(3, 3)
        elif kind == 1:
            ops.cross_entropy(hidden, nbdl.full((32,), 64, dtype=nbdl.int64))
        elif kind == 2:
            hidden.backward()
        else:
            hidden[:, 99]

    early = 0
    for number in range(WARM + count):
        if number == WARM:
            gc.collect()
            early = resident()
        try:
            fail(number % 4)
        except nbdl.NbdlError:
            continue
        raise BrokenPromiseError(f"error {number % 4} was not raised")
    gc.collect()
    return early, resident()


def no_cycles() -> int:
    """Whether a graph ends with its last reference, without the cycle collector; bytes of it still alive."""
    gc.disable()
    try:
        x = nbdl.randn(10, 10, requires_grad=True)
        y = ops.softmax(ops.layer_norm(x @ x, (10,)), 1).sum()
        node = weakref.ref(y.grad_fn)
        y.backward()
        del y
        return int(node() is not None)
    finally:
        gc.enable()


PROGRAM = "import sys; from tests.reliability import memory; print(*getattr(memory, sys.argv[1])(int(sys.argv[2])))"


def in_a_process(name: str, count: int) -> float:
    """The growth of a fresh process, as a ratio."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(count)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late = map(int, done.stdout.split())
    return late / early


def prove(share: float) -> dict[str, Any]:
    steps, errors = part(STEPS, share), part(ERRORS, share)
    grown, failed = in_a_process("train_long", steps), in_a_process("fail_long", errors)
    if grown > ALLOWED or failed > ALLOWED:
        raise BrokenPromiseError(f"memory grew to {grown:.4f} over {steps} steps, to {failed:.4f} over {errors} errors")
    if no_cycles():
        raise BrokenPromiseError("a cycle keeps a graph alive")
    return {
        "training steps": steps,
        "memory after them, before = 1": round(grown, 4),
        "raised errors": errors,
        "memory after them, before = 1 ": round(failed, 4),
        "graphs kept alive by a cycle": 0,
    }


AREA = Area(
    "memory", "Memory stays within 1 % over 10,000 steps and 1,000 raised errors; no cycle keeps a graph.", prove
)
