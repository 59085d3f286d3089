"""Activations as modules: each holds the options of a function of `nbdl.ops`."""

from __future__ import annotations

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module


class ReLU(Module):
    r"""$\max(0, x)$, element by element.

    Args:
        inplace: Write the result into the input's memory.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """[*] -> [*]."""
        return ops.relu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
