"""The convolution explorer: nbdl's kernels by themselves, and the plan of every setting that the reader can choose."""

from __future__ import annotations

import itertools

import numpy as np

from live.figure import Figure
from nbdl import data
from nbdl.ops.convolution.correlation import correlate
from nbdl.ops.convolution.plan import Correlation, plan_correlation
from nbdl.ops.convolution.weights import pack_weights

SIDE, KERNEL = 12, 3
STRIDES, PADDINGS, DILATIONS = (1, 2, 3), (0, 1, 2), (1, 2, 3)
SHOWN = (7, 3, 0)
"""The digits to choose from."""

FLAT, SIZES, PHASES = "float32[:]", "int64[:]", "int64[:, :]"


def result_side(stride: int, padding: int, dilation: int) -> int:
    """Rows and columns of the result."""
    return (SIDE + 2 * padding - dilation * (KERNEL - 1) - 1) // stride + 1


def plan(stride: int, padding: int, dilation: int) -> Correlation:
    """What nbdl decides before it launches the kernel."""
    side = result_side(stride, padding, dilation)
    both = [(number, number) for number in (SIDE, side, KERNEL, stride, padding, dilation)]
    source, result, *options = both
    return plan_correlation(False, 1, source, 1, result, 1, *options, groups=1, itemsize=4, threads=1)


def pictures() -> dict[str, list[float]]:
    """A digit each, in the middle of the picture."""
    _, test = data.digits(flatten=False)
    images, labels = test.arrays
    edge = (SIDE - images.shape[2]) // 2
    first = {digit: images[labels == digit][0, 0] for digit in SHOWN}
    return {str(digit): np.pad(image, edge).ravel().round(4).tolist() for digit, image in first.items()}


KERNELS = {
    "pack_weights": (pack_weights, [FLAT, FLAT, SIZES, PHASES]),
    "correlate": (correlate, [FLAT, FLAT, FLAT, FLAT, "float32[:, :]", SIZES, PHASES, "float32"]),
}
"""One puts the weights in the order of the inner loop, one convolves."""


def figure() -> Figure:
    """No program: the sizes of one are fixed. The page calls the kernels, with what nbdl decided for each setting."""
    plans = {}
    for options in itertools.product(STRIDES, PADDINGS, DILATIONS):
        decided = plan(*options)
        plans[" ".join(map(str, options))] = {
            "side": result_side(*options),
            "packed": decided.packed,
            "workspace": list(decided.workspace),
            "sizes": decided.sizes.tolist(),
            "phases": decided.phases.tolist(),
        }
    return Figure({}, {"side": SIDE, "plans": plans, "pictures": pictures()})
