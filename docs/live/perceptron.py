"""A multi-layer perceptron of any depth and width that learns to tell points apart, in the page.

Its shape is the reader's choice, so nothing is traced: the figure's script calls these kernels one after the other, as
`nbdl.nn.Sequential` and autograd would, with the reader's sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from live import descent
from live.figure import Figure
from nbdl.ops.dropout import drop_elements
from nbdl.ops.elementwise.exponential import SigmoidOp
from nbdl.ops.elementwise.trigonometric import TanhOp
from nbdl.ops.loss.cross_entropy import class_loss_total, cross_entropy_backward, cross_entropy_forward
from nbdl.ops.matmul.linear import relu_backward_and_sum_kernel, sum_columns_kernel
from nbdl.ops.softmax import softmax_short_rows
from nbdl.runtime import arrays, philox
from nbdl.runtime.gemm.product import gemm_kernel

POINTS = 160

_VECTOR, _MATRIX, _WORDS = "float32[:]", "float32[:, :]", ["uint32"] * 4
_IDS, _LOSS = ["int64[:]", _VECTOR, "int64"], ["int64[:]", _VECTOR, "int64", _VECTOR, _MATRIX]

KERNELS: dict[str, Any] = {
    **descent.KERNELS,
    "uniform": (philox._uniform_float32, [_VECTOR, *_WORDS, "float32", "float32"]),
    "normal": (philox._normal_float32, [_VECTOR, *_WORDS, "float32", "float32"]),
    "gemm": (gemm_kernel, [*[_VECTOR] * 4, _MATRIX, "int64[:]", "float32", "float32"]),
    "tanh_of": (TanhOp.value.plain, [_VECTOR, _VECTOR]),
    "tanh_slope": (TanhOp.slope.plain, [_VECTOR, _VECTOR, _VECTOR]),
    "sigmoid": (SigmoidOp.value.plain, [_VECTOR, _VECTOR]),
    "sigmoid_slope": (SigmoidOp.slope.plain, [_VECTOR, _VECTOR, _VECTOR]),
    "dropout": (drop_elements, [_VECTOR, *_WORDS, "uint64", "float32", "float32", "float32", _VECTOR]),
    "relu_backward": (relu_backward_and_sum_kernel, [*[_MATRIX] * 4, "float32"]),
    "sum_columns": (sum_columns_kernel, [_MATRIX, _MATRIX]),
    "sum_rows": (arrays.sum_rows_kernel, [_MATRIX, _VECTOR]),
    "softmax": (softmax_short_rows, [_MATRIX, _MATRIX]),
    "cross_entropy": (cross_entropy_forward, [_MATRIX, *_LOSS, _MATRIX]),
    "total": (class_loss_total, [_VECTOR, *_IDS, "int64", "bool", _VECTOR, _VECTOR]),
    "cross_entropy_backward": (
        cross_entropy_backward,
        [_VECTOR, _VECTOR, _MATRIX, "bool", *_LOSS, _MATRIX],
    ),
}


def points(name: str) -> list[list[float]]:
    """A data set: rows of two coordinates in [-1, 1] and a class."""
    rng = np.random.default_rng(3)
    classes = np.arange(POINTS) % (3 if name == "blobs" else 2)
    turn = rng.uniform(0, 2 * np.pi, POINTS)
    noise = rng.standard_normal((POINTS, 2))
    if name == "blobs":
        centres = np.array([[-0.5, -0.4], [0.5, -0.3], [0.0, 0.55]])
        places = centres[classes] + 0.17 * noise
    elif name == "circle":
        radius = np.where(classes == 0, 0.3 * np.sqrt(rng.uniform(0, 1, POINTS)), 0.72)
        places = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1) + 0.06 * noise
    elif name == "checkers":
        places = rng.uniform(-0.9, 0.9, (POINTS, 2))
        classes = (places[:, 0] * places[:, 1] > 0).astype(int)
    else:
        along = np.sqrt(rng.uniform(0.01, 1, POINTS))
        angle = 7.5 * along + np.pi * classes
        places = 0.85 * along[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.025 * noise
    rows = np.concatenate([places.clip(-1, 1).round(3), classes[:, None]], 1)
    return [[float(x), float(y), int(label)] for x, y, label in rows]


def figure() -> Figure:
    """No program: the kernels, and data to begin with."""
    return Figure({}, {"data": {name: points(name) for name in ("circle", "checkers", "spiral", "blobs")}})
