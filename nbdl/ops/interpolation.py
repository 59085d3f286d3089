r"""Interpolation: images grown or shrunk to another size.

Every mode is linear and treats rows and columns alike, so it is two small matrices, $A$ for the rows and $B$ for the
columns:

$$
y_{ij} = \sum_{h, w} A_{ih}\, B_{jw}\, x_{hw}, \qquad dx_{hw} = \sum_{i, j} A_{ih}\, B_{jw}\, dy_{ij}
$$

The gradient is the same map with the matrices transposed, so that one kernel serves both passes. A row of $A$ has few
elements that are not 0: one for the nearest neighbour, 2 for linear, 4 for cubic interpolation; those of row $i$ stand
one after the other in a list.

Pixels are squares, output $i$ of $O$ has its centre at $u_i = (i + \frac12) \frac{I}{O} - \frac12$ in units of the
input, with aligned corners at $u_i = i \frac{I - 1}{O - 1}$. Then

$$
\text{nearest: } A_{ih} = [h = \lfloor i I / O \rfloor], \qquad
\text{linear: } A_{ih} = \max(0, 1 - |u_i - h|), \qquad
\text{cubic: } A_{ih} = k(u_i - h)
$$

with Keys' cubic $k$ for $a = -\frac34$; beyond the border its last pixel goes on. Antialiasing stretches the linear or
cubic function by $I / O$ when an image shrinks, so that every input pixel has its part.

Letters: N images, H rows and W columns of pixels, C channels. Source: Keys (1981), "Cubic Convolution Interpolation for
Digital Image Processing"; Duchon (1979), "Lanczos Filtering in One and Two Dimensions".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.pooling.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d
from nbdl.ops.pooling.windows import as_images, check_image, from_images
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime.checks import check_choice, check_int, check_number
from nbdl.runtime.dtypes import kernel_dtype
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "lanczos", "area")

CACHED = 256
"""Matrices that are kept."""

# ---------------------------------------------------------------- reference


def matrix_reference(size, count, scale, mode, align_corners, antialias):
    """The matrix A of one dimension, [count, size]."""
    if align_corners and mode not in ("nearest", "nearest-exact"):
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / scale if scale else size / count
    h = np.arange(size)
    rows = []
    for i in range(count):
        if mode in ("nearest", "nearest-exact"):
            shift = 0.5 if mode == "nearest-exact" else 0.0
            rows.append(h == min(math.floor((i + shift) * step), size - 1))
            continue
        if antialias:
            stretch = max(step, 1.0)
            row = np.array([_stretched_reference(mode, (k + 0.5 - (i + 0.5) * step) / stretch) for k in h])
            rows.append(row / row.sum())
            continue
        centre = i * step if align_corners else (i + 0.5) * step - 0.5
        if mode == "bicubic":
            row = np.zeros(size)
            for k in range(math.floor(centre) - 1, math.floor(centre) + 3):
                row[min(max(k, 0), size - 1)] += _keys_reference(centre - k, -0.75)
            rows.append(row)
        else:
            rows.append(np.maximum(0, 1 - np.abs(min(max(centre, 0.0), size - 1.0) - h)))
    return np.array(rows, float)


def _stretched_reference(mode, u):
    if mode == "bicubic":
        return _keys_reference(u, -0.5)
    return max(0.0, 1 - abs(u)) if mode == "bilinear" else float(np.sinc(u) * np.sinc(u / 3)) if abs(u) < 3 else 0.0


def _keys_reference(u, a):
    u = abs(u)
    if u <= 1:
        return (a + 2) * u**3 - (a + 3) * u**2 + 1
    return a * u**3 - 5 * a * u**2 + 8 * a * u - 4 * a if u < 2 else 0.0


def interpolate_reference(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """The definition, in float64."""
    sizes = input.shape[2:]
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * len(sizes)
    wanted = size if isinstance(size, tuple) else (size,) * len(sizes)
    for dim, (length, factor, count) in enumerate(zip(sizes, factors, wanted, strict=True)):
        count = math.floor(length * factor) if count is None else count
        if mode == "area":
            bounds = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
            matrix = np.array([[(a <= h < b) / (b - a) for h in range(length)] for a, b in bounds])
        else:
            scale = None if recompute_scale_factor else factor
            matrix = matrix_reference(length, count, scale, mode, align_corners, antialias)
        input = np.moveaxis(np.tensordot(matrix, input, (1, dim + 2)), 0, dim + 2)
    return input


# ---------------------------------------------------------------- matrices


class Matrix(NamedTuple):
    """A matrix [O, I] with few elements that are not 0, as lists by output and, for its transpose, by input.

    Attributes:
        input_ends: [O + 1]: row i has its elements in columns `inputs[input_ends[i]:input_ends[i + 1]]`.
        inputs: The columns of all elements, row by row.
        input_weights: The elements, row by row.
        output_ends: [I + 1], as input_ends, by column.
        outputs: The rows of all elements, column by column.
        output_weights: The elements, column by column.
    """

    input_ends: np.ndarray
    inputs: np.ndarray
    input_weights: np.ndarray
    output_ends: np.ndarray
    outputs: np.ndarray
    output_weights: np.ndarray


def _sparse(places: np.ndarray, weights: np.ndarray, size: int, dtype: Any) -> Matrix:
    """The matrix, from columns and elements of each row, [O, K] both; columns of -1 are left out."""
    kept = places >= 0
    inputs, input_weights = places[kept], weights[kept].astype(dtype)
    lengths = kept.sum(axis=1)
    by_input = np.argsort(inputs, kind="stable")
    return Matrix(
        np.concatenate([[0], np.cumsum(lengths)]),
        inputs,
        input_weights,
        np.searchsorted(inputs[by_input], np.arange(size + 1)),
        np.repeat(np.arange(len(places)), lengths)[by_input],
        input_weights[by_input],
    )


@functools.lru_cache(CACHED)
def _matrix(
    size: int, count: int, scale: float | None, mode: str, align_corners: bool, antialias: bool, dtype: Any
) -> Matrix:
    """The matrix of one dimension, `size` to `count` pixels; the scale is the ratio of sizes unless it is given."""
    if mode in ("nearest", "nearest-exact"):
        places = _nearest(size, count, scale, mode)
        return _sparse(places, np.ones(places.shape), size, dtype)
    if align_corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / scale if scale else size / count
    if antialias:
        places, weights = _stretched(size, count, step, mode)
    else:
        outputs = np.arange(count)
        centres = outputs * step if align_corners else (outputs + 0.5) * step - 0.5
        places, weights = _cubic(centres, size) if mode == "bicubic" else _linear(centres, size)
    return _sparse(places, weights, size, dtype)


def _nearest(size: int, count: int, scale: float | None, mode: str) -> np.ndarray:
    """In float32, as PyTorch does: a place that falls between two pixels must fall to the same side."""
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
    places = np.floor((np.arange(count, dtype=np.float32) + shift) * step).astype(np.int64)
    return np.minimum(places, size - 1)[:, None]


def _linear(centres: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    centres = np.maximum(centres, 0.0)
    left = np.minimum(centres.astype(np.int64), size - 1)
    part = np.minimum(centres - left, 1.0)
    return np.stack([left, np.minimum(left + 1, size - 1)], axis=1), np.stack([1 - part, part], axis=1)


def _cubic(centres: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.floor(centres).astype(np.int64)[:, None] + np.arange(-1, 3)
    return np.clip(places, 0, size - 1), _keys(centres[:, None] - places, -0.75)


def _stretched(size: int, count: int, step: float, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights that are a function, stretched when the image shrinks, and scaled to add up to 1."""
    function, reach = _STRETCHED[mode]
    stretch = max(step, 1.0)
    centres = (np.arange(count) + 0.5) * step
    first = np.maximum((centres - reach * stretch + 0.5).astype(np.int64), 0)
    stop = np.minimum((centres + reach * stretch + 0.5).astype(np.int64), size)
    places = first[:, None] + np.arange((stop - first).max())
    inside = places < stop[:, None]
    weights = np.where(inside, function((places + 0.5 - centres[:, None]) / stretch), 0.0)
    return np.where(inside, places, -1), weights / weights.sum(axis=1, keepdims=True)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic: 1 at 0, 0 at the other integers, with a continuous slope."""
    u = np.abs(distance)
    near, far = ((a + 2) * u - (a + 3)) * u * u + 1, ((u - 5) * u + 8) * u * a - 4 * a
    return np.where(u <= 1, near, np.where(u < 2, far, 0.0))


def _hat(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(distance))


def _lanczos(distance: np.ndarray) -> np.ndarray:
    """A sinc, faded out by another that is three times as wide."""
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


_STRETCHED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "bilinear": (_hat, 1),
    "bicubic": (lambda distance: _keys(distance, -0.5), 2),
    "lanczos": (_lanczos, 3),
}
"""The functions of antialiasing and where they end. As in PyTorch and Pillow, the cubic is another one than without."""

# ---------------------------------------------------------------- kernel of both passes


@cpu_kernel
def _resample_cpu(x, row_ends, rows, row_weights, column_ends, columns, column_weights, y, start, stop):
    """x [N, H, W, C]; y [N, OH, OW, C]; a sparse matrix for rows and one for columns. One task a row of y."""
    _, out_height, out_width, channels = y.shape
    for task in range(start, stop):
        n, i = task // out_height, task % out_height
        for j in range(out_width):
            is_first = True
            for r in range(row_ends[i], row_ends[i + 1]):
                h = rows[r]
                for s in range(column_ends[j], column_ends[j + 1]):
                    w = columns[s]
                    weight = row_weights[r] * column_weights[s]
                    if is_first:
                        for c in range(unsigned(channels)):
                            y[n, i, j, c] = weight * x[n, h, w, c]
                        is_first = False
                    else:
                        for c in range(unsigned(channels)):
                            y[n, i, j, c] += weight * x[n, h, w, c]
            if is_first:  # on the way back: a pixel that no output used
                for c in range(unsigned(channels)):
                    y[n, i, j, c] = 0


@cuda_kernel
def _resample_cuda(x, row_ends, rows, row_weights, column_ends, columns, column_weights, y):
    """As the CPU twin. One thread an element of y."""
    images, out_height, out_width, channels = y.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, i, j = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width
    if n < images:
        total = y.dtype.type(0)
        for r in range(row_ends[i], row_ends[i + 1]):
            for s in range(column_ends[j], column_ends[j + 1]):
                total += row_weights[r] * column_weights[s] * x[n, rows[r], columns[s], c]
        y[n, i, j, c] = total


resample = Kernel(
    cpu=_resample_cpu,
    cuda=_resample_cuda,
    tasks=lambda x, row_ends, rows, row_weights, column_ends, columns, column_weights, y: y.shape[0] * y.shape[1],
    work=lambda x, row_ends, rows, row_weights, column_ends, columns, column_weights, y: 2 * (x.size + y.size),
    blocks=lambda x, row_ends, rows, row_weights, column_ends, columns, column_weights, y: -(-y.size // BLOCK),
)

# ---------------------------------------------------------------- autograd


class ResampleOp(Op):
    """y = A x B^T, channel by channel: saves nothing, the gradient does not depend on x."""

    @staticmethod
    def forward(ctx: Context, x, rows: Matrix, columns: Matrix):
        ctx.rank, ctx.matrices = x.ndim, (rows, columns)
        images = as_images(x, x.ndim - 2)
        ctx.image_shape = images.shape
        shape = (images.shape[0], len(rows.input_ends) - 1, len(columns.input_ends) - 1, images.shape[3])
        y = ctx.empty(*shape, dtype=x.dtype)
        if y.size:
            resample(images, *rows[:3], *columns[:3], y)
        return from_images(y, ctx.rank - 2, ctx.rank)

    @staticmethod
    def backward(ctx: Context, dy):
        rows, columns = ctx.matrices
        dx = ctx.empty(*ctx.image_shape, dtype=dy.dtype)
        if dx.size:
            resample(as_images(dy, ctx.rank - 2), *rows[3:], *columns[3:], dx)
        return from_images(dx, ctx.rank - 2, ctx.rank), None, None


# ---------------------------------------------------------------- public


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    r"""Grows or shrinks images, or lines, to another size.

    $y_{ij} = \sum_{h, w} A_{ih} B_{jw} x_{hw}$ with a matrix for the rows and one for the columns that the mode names.

    Args:
        input: [N, C, L] or [N, C, H, W], float32 or float64; N may be 0.
        size: The new size: one number for all dimensions or one for each. Either this or `scale_factor`.
        scale_factor: The new size divided by the old one, rounded down.
        mode: 'nearest'; 'nearest-exact', which rounds without a shift; 'linear' for lines; 'bilinear' and 'bicubic' for
            images; 'lanczos' for images, with antialias; 'area', the mean of the pixels that an output covers.
        align_corners: Whether the centres of the corner pixels stay in place, rather than the corners of the image.
            For linear, bilinear and bicubic; None means False.
        recompute_scale_factor: Compute positions with the ratio of the whole sizes, not with `scale_factor` as given.
        antialias: When shrinking, let every pixel have its part. For bilinear, bicubic and lanczos.

    Returns:
        [N, C, OL] or [N, C, OH, OW], dtype of the input.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions, an empty dimension besides N, or the new size is 0.
        DTypeError: The input is not floating point.
        ArgumentError: The mode is unknown or of another rank, or the arguments contradict each other.

    Gradient:
        For input: the transposed map.

    Example:
        >>> nbdl.ops.interpolate(nbdl.tensor([[[1.0, 3.0]]]), scale_factor=2)
        tensor([[[1., 1., 3., 3.]]])
        >>> nbdl.ops.interpolate(nbdl.tensor([[[1.0, 3.0]]]), size=3, mode="linear", align_corners=True)
        tensor([[[1., 2., 3.]]])

    Source:
        Keys (1981), "Cubic Convolution Interpolation for Digital Image Processing".
    """
    check_choice("mode", mode, MODES)
    check_image("input", input, 1 if getattr(input, "ndim", 0) == 3 else 2)
    _check_mode(mode, input.ndim - 2, align_corners, antialias)
    sizes = input.shape[2:]
    counts, factors = _new_sizes(sizes, size, scale_factor, recompute_scale_factor, least=0 if mode == "area" else 1)
    if mode == "area":
        return (adaptive_avg_pool1d if len(sizes) == 1 else adaptive_avg_pool2d)(input, tuple(counts))
    plain = (1,) if antialias else _PLAIN_RATIOS.get(f"{mode}{len(sizes)}d", ())
    dtype = kernel_dtype(input.dtype)
    matrices = [
        _matrix(
            length,
            count,
            None if count / length in plain else factor,
            mode,
            bool(align_corners),
            bool(antialias),
            dtype,
        )
        for length, count, factor in zip(sizes, counts, factors, strict=True)
    ]
    if len(matrices) == 1:
        matrices.insert(0, _matrix(1, 1, None, "nearest", False, False, dtype))
    return ResampleOp.apply(input, *matrices)


_PLAIN_RATIOS = {"nearest2d": (1, 2), "linear1d": (1,), "bilinear2d": (1,)}
"""Ratios of the whole sizes at which the scale factor as given is not looked at, as in PyTorch's forward pass."""


def _check_mode(mode: str, dims: int, align_corners: bool | None, antialias: bool) -> None:
    """Raises ArgumentError unless mode, rank and options go together."""
    if (mode == "linear" and dims != 1) or (mode in ("bilinear", "bicubic", "lanczos") and dims != 2):
        names = "'linear' for [N, C, L], or 'bilinear', 'bicubic' or 'lanczos' for [N, C, H, W]"
        raise ArgumentError(f"mode: expected {names}, got {mode!r} for an input of {dims + 2} dimensions")
    if align_corners is not None and mode not in ("linear", "bilinear", "bicubic", "lanczos"):
        raise ArgumentError(f"align_corners: expected None for mode {mode!r}, got {align_corners}")
    if antialias and mode not in ("bilinear", "bicubic", "lanczos"):
        raise ArgumentError(f"antialias: expected mode 'bilinear', 'bicubic' or 'lanczos', got {mode!r}")
    if mode == "lanczos" and not antialias:
        raise ArgumentError("antialias: expected True for mode 'lanczos', got False")
    if mode == "lanczos" and align_corners:
        raise ArgumentError("align_corners: expected None or False for mode 'lanczos', got True")


def _new_sizes(
    sizes: tuple[int, ...], size: Any, scale_factor: Any, recompute_scale_factor: bool | None, least: int
) -> tuple[list[int], list[float | None]]:
    """The new size of each dimension, and the scale factors that positions are computed with, if any."""
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"size: expected either size or scale_factor, got {size} and {scale_factor}")
    given = size if scale_factor is None else scale_factor
    name = "size" if scale_factor is None else "scale_factor"
    values = list(given) if isinstance(given, (tuple, list)) else [given] * len(sizes)
    if len(values) != len(sizes):
        raise ArgumentError(f"{name}: expected {len(sizes)} numbers or one, got {given}")
    factors: list[float | None] = [None] * len(sizes)
    if scale_factor is None:
        if recompute_scale_factor:
            raise ArgumentError("recompute_scale_factor: expected None or False when the size is given, got True")
        counts = [check_int(name, count) for count in values]
    else:
        scales = [float(check_number(name, factor)) for factor in values]
        counts = [math.floor(length * factor) for length, factor in zip(sizes, scales, strict=True)]
        if not recompute_scale_factor:
            factors = list(scales)
    if min(counts) < least:
        raise ShapeError(f"{name}: expected an output of at least {least} pixels, got sizes {counts}")
    return counts, factors
