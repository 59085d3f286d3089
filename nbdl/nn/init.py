r"""Initial values of parameters, in the schemes of PyTorch.

A layer $y = W x$ keeps the variance of its input when $\mathrm{Var}[W] = 1 / I$, with $I$ the number of inputs of a
unit (fan in), and the variance of gradients when it is $1 / O$ (fan out). Xavier's scheme takes the mean of the two,
Kaiming's takes one and a gain for the nonlinearity that follows.

Every function writes into the tensor, outside the graph, and returns it. Random values come from `nbdl.manual_seed`'s
generator.

Sources: Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks"; He et
al. (2015), "Delving Deep into Rectifiers"; Saxe et al. (2014), "Exact solutions to the nonlinear dynamics of learning
in deep linear neural networks"; Martens (2010), "Deep learning via Hessian-free optimization".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import initialization
from nbdl.runtime import arrays, philox
from nbdl.runtime.checks import check_choice, check_float, check_int, check_number
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.philox import Generator

_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)), "sigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a layer before this nonlinearity should scale its standard deviation.

    Args:
        nonlinearity: "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d", "sigmoid", "tanh",
            "relu", "leaky_relu" or "selu".
        param: The negative slope of "leaky_relu"; 0.01 when None.

    Returns:
        The factor, a float.

    Raises:
        ArgumentError: The nonlinearity has no known gain.

    Example:
        >>> nbdl.nn.init.calculate_gain("tanh")
        1.6666666666666667
    """
    check_choice("nonlinearity", nonlinearity, (*_LINEAR, "tanh", "relu", "leaky_relu", "selu"))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else check_number("param", param)
        return math.sqrt(2.0 / (1 + slope**2))
    return {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}.get(nonlinearity, 1.0)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Fan in and fan out of a weight: inputs to, and outputs from, one unit.

    Args:
        tensor: [out, in, *kernel], at least 2 dimensions.

    Returns:
        Fan in, in times the size of the kernel, and fan out, out times the size of the kernel.

    Raises:
        ShapeError: Fewer than 2 dimensions.

    Example:
        >>> nbdl.nn.init.fans(nbdl.zeros(16, 8, 3, 3))
        (72, 144)
    """
    if tensor.ndim < 2:
        raise ShapeError(f"tensor: fan in and fan out need at least 2 dimensions, got shape {list(tensor.shape)}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


# ---------------------------------------------------------------- constants


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills the tensor with a value.

    Args:
        tensor: Any shape and dtype.
        val: A finite number.

    Returns:
        The tensor.

    Raises:
        ArgumentError: The value is not finite.

    Example:
        >>> nbdl.nn.init.constant_(nbdl.empty(3), 0.5)
        tensor([0.5000, 0.5000, 0.5000])
    """
    return _write(tensor, np.full(tensor.shape, check_number("val", val)))


def ones_(tensor: Tensor) -> Tensor:
    """Fills the tensor with 1.

    Args:
        tensor: Any shape and dtype.

    Returns:
        The tensor.
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills the tensor with 0.

    Args:
        tensor: Any shape and dtype.

    Returns:
        The tensor.
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fills a matrix with the identity: as many inputs as possible pass unchanged.

    Args:
        tensor: [out, in].

    Returns:
        The tensor.

    Raises:
        ShapeError: It does not have 2 dimensions.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"tensor: expected 2 dimensions, got shape {list(tensor.shape)}")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills a convolution's weight [O, I, *kernel] so that input channels pass unchanged, in each group.

    Args:
        tensor: A weight of 3, 4 or 5 dimensions.
        groups: Groups of the convolution; divides the output channels. Default: 1.

    Returns:
        The tensor.

    Raises:
        ShapeError: It does not have 3, 4 or 5 dimensions.
        ArgumentError: The groups do not divide the output channels.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"tensor: expected 3, 4 or 5 dimensions, got shape {list(tensor.shape)}")
    check_int("groups", groups, low=1)
    outputs, inputs, *kernel = tensor.shape
    if outputs % groups:
        raise ArgumentError(f"groups: expected a divisor of {outputs} output channels, got {groups}")
    values = np.zeros(tensor.shape)
    for output in range(outputs):
        channel = output % (outputs // groups)
        if channel < inputs:
            values[(output, channel, *(size // 2 for size in kernel))] = 1
    return _write(tensor, values)


# ---------------------------------------------------------------- random values


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    r"""Fills the tensor with values uniformly distributed in $[a, b)$.

    Args:
        tensor: Any shape, float32 or float64.
        a: The lowest value. Default: 0.
        b: The bound above, at least a. Default: 1.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        DTypeError: The tensor is not float32 or float64.
        ArgumentError: A bound is not finite, or b is less than a.
    """
    check_float("tensor", tensor)
    check_number("a", a)
    check_number("b", b, low=a)
    return _fill(tensor, lambda values: philox.uniform(values, a, b, generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with normally distributed values.

    Args:
        tensor: Any shape, float32 or float64.
        mean: Default: 0.
        std: Standard deviation, at least 0. Default: 1.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        DTypeError: The tensor is not float32 or float64.
        ArgumentError: A number is not finite, or the standard deviation is negative.
    """
    check_float("tensor", tensor)
    check_number("mean", mean)
    check_number("std", std, low=0)
    return _fill(tensor, lambda values: philox.normal(values, mean, std, generator))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    r"""Fills the tensor with normally distributed values, those outside $[a, b]$ drawn again.

    Args:
        tensor: Any shape, float32 or float64.
        mean: Mean of the normal distribution before it is cut. Default: 0.
        std: Its standard deviation, positive. Default: 1.
        a: The lowest value, in the units of the values and not of `std`. Default: -2.
        b: The highest, at least a. Default: 2.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        DTypeError: The tensor is not float32 or float64.
        ArgumentError: A number is not finite, the standard deviation is not positive, or b is less than a.
    """
    check_float("tensor", tensor)
    check_number("mean", mean)
    check_number("std", std, low=0, open_low=True)
    check_number("a", a)
    check_number("b", b, low=a)
    return _fill(tensor, lambda values: initialization.truncated_normal(values, mean, std, a, b, generator))


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fills a weight [out, *] with a random matrix whose rows, or columns if they are fewer, are orthonormal.

    Args:
        tensor: At least 2 dimensions, float32 or float64; the dimensions after the first are taken as one.
        gain: Multiplies the matrix. Default: 1.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        DTypeError: The tensor is not float32 or float64.
        ShapeError: Fewer than 2 dimensions.
    """
    check_float("tensor", tensor)
    if tensor.ndim < 2:
        raise ShapeError(f"tensor: expected at least 2 dimensions, got shape {list(tensor.shape)}")
    check_number("gain", gain)
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    vectors = arrays.empty_beside(tensor._array, (min(rows, columns), max(rows, columns)))
    philox.normal(vectors, generator=generator)
    initialization.orthogonalize(vectors, vectors.dtype.type(gain))
    return _write(tensor, (vectors if rows <= columns else vectors.T).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fills a matrix with normal values, a share of each column set to 0.

    Args:
        tensor: 2 dimensions, float32 or float64.
        sparsity: The share of zeros in each column, in [0, 1]; their number is rounded up.
        std: Standard deviation of the other elements. Default: 0.01.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        ShapeError: It does not have 2 dimensions.
        DTypeError: The tensor is not float32 or float64.
        ArgumentError: The share is outside [0, 1], or the standard deviation is negative.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"tensor: expected 2 dimensions, got shape {list(tensor.shape)}")
    check_number("sparsity", sparsity, 0, 1)
    normal_(tensor, 0.0, std, generator)
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    values = arrays.on_host(tensor._array)
    for column in range(columns):
        values[philox.permutation(rows, generator)[:zeros], column] = 0
    return tensor if values is tensor._array else _write(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    r"""Uniform in $(-a, a)$ with $a = \text{gain} \sqrt{6 / (I + O)}$: Xavier's scheme.

    $I$ and $O$ are the fan in and the fan out, see `fans`.

    Args:
        tensor: [out, in, *kernel], at least 2 dimensions, float32 or float64.
        gain: See `calculate_gain`. Default: 1.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        ShapeError: Fewer than 2 dimensions.
        DTypeError: The tensor is not float32 or float64.

    Source:
        Glorot and Bengio (2010), equation 16.
    """
    bound = math.sqrt(3.0) * _xavier_deviation(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    r"""Normal with standard deviation $\text{gain} \sqrt{2 / (I + O)}$: Xavier's scheme.

    $I$ and $O$ are the fan in and the fan out, see `fans`.

    Args:
        tensor: [out, in, *kernel], at least 2 dimensions, float32 or float64.
        gain: See `calculate_gain`. Default: 1.
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor.

    Raises:
        ShapeError: Fewer than 2 dimensions.
        DTypeError: The tensor is not float32 or float64.

    Source:
        Glorot and Bengio (2010), equation 12.
    """
    return normal_(tensor, 0.0, _xavier_deviation(tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    r"""Uniform in $(-b, b)$ with $b = \text{gain} \sqrt{3 / \text{fan}}$: Kaiming He's scheme.

    Args:
        tensor: [out, in, *kernel], at least 2 dimensions, float32 or float64.
        a: The negative slope of the leaky ReLU that follows. Default: 0.
        mode: "fan_in" keeps the variance of the forward pass, "fan_out" that of the backward pass.
        nonlinearity: What follows; see `calculate_gain`. Default: "leaky_relu".
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor. One without elements is left as it is, with a warning.

    Raises:
        ArgumentError: The mode or the nonlinearity is unknown.
        ShapeError: Fewer than 2 dimensions.
        DTypeError: The tensor is not float32 or float64.
    """
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_deviation(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    r"""Normal with standard deviation $\text{gain} / \sqrt{\text{fan}}$: Kaiming He's scheme.

    Args:
        tensor: [out, in, *kernel], at least 2 dimensions, float32 or float64.
        a: The negative slope of the leaky ReLU that follows. Default: 0.
        mode: "fan_in" keeps the variance of the forward pass, "fan_out" that of the backward pass.
        nonlinearity: What follows; see `calculate_gain`. Default: "leaky_relu".
        generator: Where random numbers come from; None: the generator that `nbdl.manual_seed` seeds.

    Returns:
        The tensor. One without elements is left as it is, with a warning.

    Raises:
        ArgumentError: The mode or the nonlinearity is unknown.
        ShapeError: Fewer than 2 dimensions.
        DTypeError: The tensor is not float32 or float64.
    """
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_deviation(tensor, a, mode, nonlinearity), generator)


def _xavier_deviation(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = fans(tensor)
    check_number("gain", gain)
    return gain * math.sqrt(2.0 / max(fan_in + fan_out, 1))


def _kaiming_deviation(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    check_choice("mode", mode, ("fan_in", "fan_out"))
    fan_in, fan_out = fans(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _is_empty(tensor: Tensor) -> bool:
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def _write(tensor: Tensor, values: Any) -> Tensor:
    if type(tensor._array) is np.ndarray:
        tensor._array[...] = values
    else:
        known = np.asarray(values, tensor.dtype) if isinstance(values, np.ndarray) else values
        arrays.copy_into(tensor._array, known)
    tensor._version[0] += 1
    return tensor


def _fill(tensor: Tensor, fill: Callable[[Any], None]) -> Tensor:
    """Lets a function write into the tensor's memory, which it expects contiguous."""
    array = tensor._array
    values = array if array.flags.c_contiguous else arrays.empty_beside(array, array.shape)
    fill(values)
    if values is not array:
        arrays.copy_into(array, values)
    tensor._version[0] += 1
    return tensor
