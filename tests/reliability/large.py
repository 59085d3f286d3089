"""Arrays of more than 2^31 elements: every family that the memory can hold finds its last element."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import Tensor, ops, optim
from tests.reliability.area import Area, BrokenPromiseError

ROOT = Path(__file__).parents[2]
OVER = 2**31 + 100
"""Elements of an array whose last places no signed number of 32 bits reaches."""
WIDE = 1024
ROWS = OVER // WIDE + 1
GIB = 2**30

# ---------------------------------------------------------------- one function a family: whether the far end is right


def _bytes() -> Tensor:
    x = np.zeros(OVER, np.uint8)
    x[-1] = 3
    return Tensor(x)


def _floats() -> Tensor:
    x = np.zeros(OVER, np.float32)
    x[-1] = 3
    return Tensor(x)


def _rows() -> Tensor:
    """[ROWS, WIDE] zeros; the last row counts 0, 1, ..."""
    x = np.zeros((ROWS, WIDE), np.float32)
    x[-1] = np.arange(WIDE)
    return Tensor(x)


def elementwise() -> bool:
    y = (_floats() + 1).numpy()
    return bool(y[-1] == 4 and y[0] == 1 and y[OVER // 2] == 1)


def comparison() -> bool:
    y = (_floats() == 3).numpy()
    return bool(y[-1] and not y[:-1].any())


def reduction() -> bool:
    x = _floats()
    return float(x.sum()) == 3 and float(x.max()) == 3 and int(x.argmax()) == OVER - 1


def slicing() -> bool:
    return int(_bytes()[2**31 :].sum()) == 3


def selection() -> bool:
    places = nbdl.tensor([0, OVER - 1, 2**31])
    return ops.index_select(_bytes(), 0, places).tolist() == [0, 3, 0]


def gathering() -> bool:
    return ops.gather(_bytes(), 0, nbdl.tensor([OVER - 1, 1])).tolist() == [3, 0]


def scattering() -> bool:
    y = _bytes()
    y[nbdl.tensor([OVER - 2])] = nbdl.tensor([7], dtype=nbdl.uint8)
    return y[-3:].tolist() == [0, 7, 3]


def joining() -> bool:
    half = np.zeros(OVER // 2, np.uint8)
    half[-1] = 5
    y = ops.cat([Tensor(half), Tensor(half)])
    return y.shape == (2 * (OVER // 2),) and int(y[-1]) == 5 and int(y[OVER // 2 - 1]) == 5


def turning() -> bool:
    y = ops.flip(_bytes(), (0,))
    return int(y[0]) == 3 and int(y[-1]) == 0


def transposing() -> bool:
    x = np.zeros((2, OVER // 2), np.uint8)
    x[1, -1] = 9
    y = Tensor(x).t().contiguous()
    return int(y[OVER // 2 - 1, 1]) == 9 and int(y[0, 0]) == 0


def random() -> bool:
    tail = nbdl.rand(OVER)[2**31 :].numpy()
    return bool((tail >= 0).all() and (tail < 1).all() and len(np.unique(tail)) > 90)


def product() -> bool:
    y = _rows() @ nbdl.ones(WIDE, 1)
    return float(y[-1, 0]) == WIDE * (WIDE - 1) / 2 and float(y[0, 0]) == 0


def product_gradient() -> bool:
    weight = nbdl.zeros(WIDE, 1, requires_grad=True)
    (_rows() @ weight).sum().backward()
    return weight.grad.numpy()[:, 0].tolist() == list(range(WIDE))


def embedding() -> bool:
    y = ops.embedding(nbdl.tensor([ROWS - 1, 0]), _rows())
    return float(y[0, -1]) == WIDE - 1 and float(y[1, -1]) == 0


def pooling() -> bool:
    y = ops.max_pool1d(_floats()[None, None], 100)
    return (
        float(y[0, 0, (OVER // 100) - 1]) in (0.0, 3.0) and float(y.max()) in (0.0, 3.0) and y.shape[2] == OVER // 100
    )


def softmax() -> bool:
    y = ops.softmax(_rows(), 1)
    return abs(float(y[-1].sum()) - 1) < 1e-5 and abs(float(y[0, 0]) - 1 / WIDE) < 1e-7


def normalization() -> bool:
    y = ops.layer_norm(_rows(), (WIDE,))
    return abs(float(y[-1].mean())) < 1e-4 and float(y[0].abs().max()) == 0 and float(y[-1, -1]) > 1


def activation() -> bool:
    y = ops.sigmoid(_floats())
    return float(y[0]) == 0.5 and float(y[-1]) > 0.95


def convolution() -> bool:
    y = ops.conv1d(_floats()[None, None], nbdl.tensor([[[1.0, 10.0]]]))
    return float(y[0, 0, -1]) == 30 and float(y[0, 0, 0]) == 0


def optimizer() -> bool:
    weight = _floats()
    weight.requires_grad_()
    weight.grad = nbdl.ones(OVER)
    optim.SGD([weight], lr=1).step()
    return float(weight.detach()[-1]) == 2 and float(weight.detach()[0]) == -1


FAMILIES: dict[Callable[[], bool], int] = {
    elementwise: 18, comparison: 12, reduction: 9, slicing: 3, selection: 3, gathering: 3, scattering: 3, joining: 5,
    turning: 5, transposing: 5, random: 9, product: 9, product_gradient: 9, embedding: 9, pooling: 10, softmax: 18,
    normalization: 18, activation: 18, convolution: 18, optimizer: 18,
}  # fmt: skip
"""Families, and GiB that each takes."""


def available() -> int:
    """GiB of memory that a process can still get."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024 // GIB
    return 0


def prove(share: float) -> dict[str, Any]:
    """Each family in a process of its own, so that its memory is given back. A share under 1 takes the smallest."""
    code = "import sys; from tests.reliability import large; print(getattr(large, sys.argv[1])())"
    right, too_large = 0, []
    for family, size in FAMILIES.items():
        if size > (available() - 1 if share >= 1 else 3):
            too_large.append(f"{family.__name__} ({size} GiB)")
            continue
        command = [sys.executable, "-c", code, family.__name__]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.stdout.strip() != "True":
            raise BrokenPromiseError(f"{family.__name__} of {OVER:,} elements: {done.stdout}{done.stderr[-800:]}")
        right += 1
    return {
        "elements of an array": OVER,
        "families that find its end": right,
        "families larger than the memory": ", ".join(too_large) or "none",
    }


AREA = Area(
    "large", "Arrays of more than 2^31 elements are indexed correctly in every family that 20 GB can hold.", prove
)
