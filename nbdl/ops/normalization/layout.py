"""How images reach the kernels: channels first or last, as their memory lies.

A kernel that works on planes takes contiguous arrays [N, C, S], one that works on columns takes [N, S, C]; S stands
for all places of an image. A result comes back in the order of its input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_same_dtype, check_shape


def lies_last(x: Any) -> bool:
    """Whether [N, C, ...] is worked on with its channels last: unless its memory is that of planes."""
    return not x.flags.c_contiguous or x.size == x.shape[0] * x.shape[1]


def arranged(x: Any, last: bool) -> Any:
    """[N, C, ...] as a contiguous [N, S, C], or [N, C, S]: a copy only where the memory does not lie so."""
    n, c = x.shape[:2]
    places = math.prod(x.shape[2:])
    if last:
        return arrays.channels_last(x).reshape(n, places, c)
    return arrays.contiguous(x).reshape(n, c, places)


def restored(y: Any, shape: tuple[int, ...], last: bool) -> Any:
    """[N, S, C] or [N, C, S] in the shape [N, C, ...], its memory unchanged."""
    if not last:
        return y.reshape(shape)
    return arrays.channels_first(y.reshape(shape[0], *shape[2:], shape[1]))


def given_or(parameter: Any, value: float, size: int, dtype: Any) -> Any:
    """The parameter's elements as one contiguous row; the repeated value where there is no parameter."""
    if parameter is None:
        return arrays.full((size,), value, dtype)
    if parameter.ndim == 1 and parameter.flags.c_contiguous:
        return parameter
    return arrays.contiguous(parameter).reshape(size)


def check_parameters(input: Tensor, shape: tuple[int, ...], **parameters: Tensor | None) -> None:
    """Raises unless each parameter that is given has the shape, and the dtype of the input."""
    for name, parameter in parameters.items():
        if parameter is not None:
            check_same_dtype(name, check_shape(name, parameter, shape), "input", input)


def zeros(*shape: int, dtype: Any) -> Any:
    """Gradients of parameters that took no part: those of empty inputs."""
    return arrays.full(shape, 0, np.dtype(dtype))
