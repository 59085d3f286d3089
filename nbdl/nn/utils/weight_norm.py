r"""Weight normalization: the length of a weight's vectors learned apart from their direction.

$$w = g\, \frac{v}{\lVert v \rVert}$$

with a norm for each slice along `dim` (for each unit of a layer), or one for the whole weight.

Source: Salimans and Kingma (2016), "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep
Neural Networks", equation 2.
"""

from __future__ import annotations

from typing import Any, TypeVar

from nbdl import ops
from nbdl.autograd import Tensor, no_grad
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter
from nbdl.nn.utils.reparametrization import Reparametrization, attach, detach, take_parameter
from nbdl.runtime.checks import check_dim

ModuleType = TypeVar("ModuleType", bound=Module)

WHOLE = -1
"""The dimension that stands for one norm of the whole weight, as in PyTorch."""


class WeightNorm(Reparametrization):
    """The hook that computes a module's weight before each forward pass."""

    def __init__(self, name: str, dim: int) -> None:
        super().__init__(name)
        self.dim = dim

    def length(self, weight: Tensor) -> Tensor:
        """The norms of the slices along `dim`, with that dimension kept; one norm [] of the whole."""
        if self.dim == WHOLE:
            return ops.vector_norm(weight)
        others = tuple(d for d in range(weight.ndim) if d != self.dim)
        return ops.vector_norm(weight, dim=others, keepdim=True) if others else ops.abs(weight)

    def weight(self, module: Any) -> Tensor:
        """The weight to use."""
        v = getattr(module, f"{self.name}_v")
        return v * (getattr(module, f"{self.name}_g") / self.length(v))

    def names(self) -> tuple[str, ...]:
        """What it gave the module in the place of the weight: lengths and directions."""
        return f"{self.name}_g", f"{self.name}_v"


def weight_norm(module: ModuleType, name: str = "weight", dim: int | None = 0) -> ModuleType:
    r"""Makes a weight of a module the product of learned lengths and learned directions.

    $w = g\, v / \lVert v \rVert$, computed before each forward pass from the parameters NAME_g and NAME_v

    Args:
        module: The module, which is changed.
        name: Its parameter.
        dim: The dimension along which each slice has a length of its own: 0 gives one for each output; None gives one
            for the whole weight.

    Returns:
        The module.

    Raises:
        ArgumentError: The weight is already normalized so.
        IndexRangeError: The weight has no such dimension.
        StateError: The module has no parameter of that name.

    Gradient:
        $dg = \langle dw, v \rangle / \lVert v \rVert$ and $dv = \frac{g}{\lVert v \rVert} dw - \frac{g\, dg}{\lVert v
        \rVert^2} v$, which is at right angles to $v$.

    Example:
        >>> layer = nbdl.nn.utils.weight_norm(nbdl.nn.Linear(20, 40))
        >>> layer.weight_g.shape, layer.weight_v.shape
        ((40, 1), (40, 20))

    Source:
        Salimans and Kingma (2016), "Weight Normalization".
    """
    weight = take_parameter(module, name, WeightNorm)
    hook = WeightNorm(name, WHOLE if dim is None or dim == WHOLE else check_dim("dim", dim, weight.ndim))
    with no_grad():
        length = hook.length(weight.detach())
    attach(hook, module, Parameter(length), f"{name}_g")
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    object.__setattr__(module, name, hook.weight(module))
    return module


def remove_weight_norm(module: ModuleType, name: str = "weight") -> ModuleType:
    """Makes the normalized weight an ordinary parameter again.

    Args:
        module: The module, which is changed.
        name: Its parameter.

    Returns:
        The module.

    Raises:
        ArgumentError: The parameter is not normalized.

    Example:
        >>> layer = nbdl.nn.utils.weight_norm(nbdl.nn.Linear(20, 40))
        >>> [name for name, _ in nbdl.nn.utils.remove_weight_norm(layer).named_parameters()]
        ['bias', 'weight']
    """
    detach(module, name, WeightNorm)
    return module
