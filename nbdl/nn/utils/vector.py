"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.runtime.checks import check_rank
from nbdl.runtime.errors import ShapeError


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters in one vector, in order.

    Args:
        parameters: Tensors of one dtype.

    Returns:
        [N].

    Gradient:
        For every parameter: its part of dy.

    Example:
        >>> layer = nbdl.nn.Linear(3, 2)
        >>> nbdl.nn.utils.parameters_to_vector(layer.parameters()).shape
        (8,)
    """
    return ops.cat([ops.reshape(parameter, (-1,)) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes the parts of a vector the values of parameters, in order. They share the vector's memory.

    Args:
        vec: [N].
        parameters: Tensors with N elements in all.

    Raises:
        ShapeError: The numbers of elements differ.
    """
    listed = list(parameters)
    check_rank("vec", vec, 1)
    total = sum(parameter.numel() for parameter in listed)
    if vec.numel() != total:
        raise ShapeError(f"vec: expected {total} elements, one for each of the parameters', got {vec.numel()}")
    start = 0
    for parameter in listed:
        stop = start + parameter.numel()
        parameter.data = Tensor(vec._array[start:stop].reshape(parameter.shape))
        start = stop
