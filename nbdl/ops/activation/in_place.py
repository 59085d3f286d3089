"""The option `inplace=True`: the result of an activation replaces its input, in memory and in the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbdl.autograd import Tensor, is_grad_enabled, wrap
from nbdl.runtime import arrays, memory
from nbdl.runtime.errors import GradientError


def in_place(input: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Writes `function(input)` into the input's memory and gives the input the result's place in the graph.

    Raises:
        GradientError: Gradients are recorded and the input is a leaf that requires them, or a view.
    """
    array = input._array
    if not (is_grad_enabled() and input.requires_grad):
        arrays.copy_into(array, function(input)._array)
        input._version[0] += 1
        return input
    if input._node is None:
        raise GradientError("inplace: a leaf tensor that requires gradients cannot be changed in place")
    if type(array.base) is np.ndarray:
        raise GradientError("inplace: a view cannot be changed in place while gradients are recorded; clone() it first")
    before = wrap(memory.empty(array.shape, array.dtype))  # backward may need the input as it was
    arrays.copy_into(before._array, array)
    before.requires_grad, before._node, before._output = True, input._node, input._output
    result = function(before)
    arrays.copy_into(array, result._array)
    input._version[0] += 1
    input._node, input._output = result._node, result._output
    return input
