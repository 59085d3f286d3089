"""Activations as modules: each holds the options of a function of `nbdl.ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.runtime.checks import check_int, check_number

# ---------------------------------------------------------------- without options


class _Plain(Module):
    """An activation without options."""

    _function: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input)


class Sigmoid(_Plain):
    r"""$1 / (1 + e^{-x})$, element by element. Shape: [*] to [*]."""

    _function = staticmethod(ops.sigmoid)


class Tanh(_Plain):
    r"""$\tanh x$, element by element. Shape: [*] to [*]."""

    _function = staticmethod(ops.tanh)


class LogSigmoid(_Plain):
    r"""$-\ln(1 + e^{-x})$, element by element. Shape: [*] to [*]."""

    _function = staticmethod(ops.logsigmoid)


class Softsign(_Plain):
    r"""$x / (1 + |x|)$, element by element. Shape: [*] to [*]."""

    _function = staticmethod(ops.softsign)


class Tanhshrink(_Plain):
    r"""$x - \tanh x$, element by element. Shape: [*] to [*]."""

    _function = staticmethod(ops.tanhshrink)


# ---------------------------------------------------------------- with the option to work in place


class _InPlace(Module):
    """An activation whose one option is to write the result into the input's memory."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    r"""$\max(0, x)$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.relu)


class ReLU6(_InPlace):
    r"""$\min(\max(0, x), 6)$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.relu6)


class SELU(_InPlace):
    r"""The self-normalizing exponential linear unit, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.selu)


class SiLU(_InPlace):
    r"""$x\, \sigma(x)$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.silu)


class Mish(_InPlace):
    r"""$x \tanh(\ln(1 + e^x))$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.mish)


class Hardswish(_InPlace):
    r"""$x \min(\max(0, x + 3), 6) / 6$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.hardswish)

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_InPlace):
    r"""$\min(\max(0, x + 3), 6) / 6$, element by element. Shape: [*] to [*].

    Args:
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.hardsigmoid)

    def extra_repr(self) -> str:
        return ""


# ---------------------------------------------------------------- with numbers


class LeakyReLU(_InPlace):
    r"""$\max(0, x) + s \min(0, x)$, element by element. Shape: [*] to [*].

    Args:
        negative_slope: The factor s.
        inplace: Write the result into the input's memory.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return ops.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class RReLU(_InPlace):
    r"""A leaky ReLU whose slope is drawn for each negative element in training, and their mean in evaluation.

    Shape: [*] to [*].

    Args:
        lower: The smallest slope.
        upper: The largest slope.
        inplace: Write the result into the input's memory.
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.lower = lower
        self.upper = upper

    def forward(self, input: Tensor) -> Tensor:
        return ops.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class ELU(_InPlace):
    r"""$x$ where $x > 0$, else $\alpha (e^x - 1)$, element by element. Shape: [*] to [*].

    Args:
        alpha: How far below 0 large negative elements go.
        inplace: Write the result into the input's memory.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return ops.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(_InPlace):
    r"""$x$ where $x > 0$, else $\alpha (e^{x/\alpha} - 1)$, element by element. Shape: [*] to [*].

    Args:
        alpha: How far below 0 large negative elements go.
        inplace: Write the result into the input's memory.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return ops.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Hardtanh(_InPlace):
    r"""$\min(\max(l, x), h)$, element by element. Shape: [*] to [*].

    Args:
        min_val: The lower end l.
        max_val: The upper end h, above l.
        inplace: Write the result into the input's memory.

    Raises:
        ArgumentError: max_val is not above min_val.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val = check_number("min_val", min_val)
        self.max_val = check_number("max_val", max_val, min_val, open_low=True)

    def forward(self, input: Tensor) -> Tensor:
        return ops.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class Threshold(_InPlace):
    r"""$x$ where $x > t$, else $v$, element by element. Shape: [*] to [*].

    Args:
        threshold: The threshold t.
        value: The replacement v.
        inplace: Write the result into the input's memory.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return ops.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    r"""$x\, \Phi(x)$, $\Phi$ the normal distribution, element by element. Shape: [*] to [*].

    Args:
        approximate: "none", or "tanh" for an approximation.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return ops.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    r"""$\tfrac1\beta \ln(1 + e^{\beta x})$, element by element. Shape: [*] to [*].

    Args:
        beta: The sharpness of the bend.
        threshold: Where beta x exceeds it, the result is x.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return ops.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    r"""$\mathrm{sign}(x) \max(0, |x| - \lambda)$, element by element. Shape: [*] to [*].

    Args:
        lambd: How far elements move towards 0.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return ops.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Module):
    r"""$x$ where $|x| > \lambda$, else 0, element by element. Shape: [*] to [*].

    Args:
        lambd: The limit.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return ops.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


# ---------------------------------------------------------------- over a dimension


class _AlongDimension(Module):
    """What the functions along a dimension share."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GLU(_AlongDimension):
    r"""$a\, \sigma(b)$, where a and b are the halves of the input along a dimension. Shape: [*, 2N, *] to [*, N, *].

    Args:
        dim: The dimension.
    """

    _function = staticmethod(ops.glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)


class Softmax(_AlongDimension):
    r"""$e^{x_i} / \sum_j e^{x_j}$ along a dimension. Shape: [*] to [*].

    Args:
        dim: The dimension whose elements sum to 1.
    """

    _function = staticmethod(ops.softmax)


class LogSoftmax(_AlongDimension):
    r"""$\ln(e^{x_i} / \sum_j e^{x_j})$ along a dimension. Shape: [*] to [*].

    Args:
        dim: The dimension.
    """

    _function = staticmethod(ops.log_softmax)


class Softmin(_AlongDimension):
    r"""$e^{-x_i} / \sum_j e^{-x_j}$ along a dimension. Shape: [*] to [*].

    Args:
        dim: The dimension whose elements sum to 1.
    """

    _function = staticmethod(ops.softmin)


class Softmax2d(_Plain):
    """Softmax over the channels at each place. Shape: [N, C, H, W] or [C, H, W] to the same."""

    _function = staticmethod(ops.softmax2d)


class PReLU(Module):
    r"""A leaky ReLU whose slopes are learned: $\max(0, x) + w \min(0, x)$. Shape: [N, C, *] to the same.

    Args:
        num_parameters: 1, or one slope for each of C channels.
        init: The first value of the slopes.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [num_parameters].
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = check_int("num_parameters", num_parameters, low=1)
        self.init = init
        self.weight = new_parameter((num_parameters,), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets all slopes to their first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return ops.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
