r"""Spectral normalization: a weight divided by the largest factor by which it can stretch a vector.

The weight as a matrix $W$ [O, I], its rows the slices along `dim`. Vectors $u$ [O] and $v$ [I] are kept from call to
call; each forward pass in training turns them a little further towards the first singular vectors (power iteration):

$$
v \leftarrow \frac{W^\top u}{\max(\lVert W^\top u \rVert, \varepsilon)}, \qquad
u \leftarrow \frac{W v}{\max(\lVert W v \rVert, \varepsilon)}, \qquad
\sigma = u^\top W v, \qquad W_\text{SN} = W / \sigma
$$

The gradient goes through $\sigma$ with $u$ and $v$ held constant: $\partial \sigma / \partial W = u v^\top$. With
$\sigma$ the largest singular value the layer is 1-Lipschitz: no input pair moves apart.

Source: Miyato, Kataoka, Koyama and Yoshida (2018), "Spectral Normalization for Generative Adversarial Networks",
algorithm 1.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

from nbdl import ops
from nbdl.autograd import Tensor, no_grad
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter
from nbdl.nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d
from nbdl.nn.utils.reparametrization import Reparametrization, attach, detach, take_parameter
from nbdl.ops import creation
from nbdl.runtime.checks import check_dim, check_int, check_number

ModuleType = TypeVar("ModuleType", bound=Module)

TRANSPOSED = (ConvTranspose1d, ConvTranspose2d)
"""Layers whose weight has the outputs in its second dimension."""


class SpectralNorm(Reparametrization):
    """The hook that computes a module's weight before each forward pass."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__(name)
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as [O, I]: the slices along `dim` as rows."""
        if self.dim != 0:
            weight = ops.permute(weight, (self.dim, *(d for d in range(weight.ndim) if d != self.dim)))
        return ops.reshape(weight, (weight.shape[0], math.prod(weight.shape[1:])))

    def weight(self, module: Any) -> Tensor:
        """The weight to use, after a few power iterations if the module is in training."""
        return self.normalized(module, turns=self.n_power_iterations if module.training else 0)

    def normalized(self, module: Any, turns: int) -> Tensor:
        """The weight divided by its spectral norm, after so many power iterations."""
        original = getattr(module, f"{self.name}_orig")
        kept_u, kept_v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        rows = self.matrix(original)
        u, v = kept_u, kept_v
        if turns:
            with no_grad():
                flat = rows.detach()
                for _ in range(turns):
                    v = ops.normalize(ops.mv(flat.T, u), dim=0, eps=self.eps)
                    u = ops.normalize(ops.mv(flat, v), dim=0, eps=self.eps)
                kept_u.copy_(u)
                kept_v.copy_(v)
        return original / ops.dot(u, ops.mv(rows, v))

    def removed(self, module: Any) -> Tensor:
        """The weight to keep when the normalization is taken away: no further iteration."""
        with no_grad():
            return self.normalized(module, turns=0)

    def names(self) -> tuple[str, ...]:
        """What it gave the module: in the place of the weight, its original and the two vectors."""
        return f"{self.name}_orig", f"{self.name}_u", f"{self.name}_v"


def spectral_norm(
    module: ModuleType,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> ModuleType:
    r"""Normalizes a weight of a module by its spectral norm, before each forward pass.

    $W_\text{SN} = W / \sigma(W)$, $\sigma$ the largest singular value as the power iteration knows it

    The module's parameter NAME becomes NAME_orig; the buffers NAME_u and NAME_v hold the vectors of the iteration. The
    layer cannot stretch any input by more than about 1, which keeps the discriminator of a GAN smooth.

    Args:
        module: The module, which is changed.
        name: Its parameter.
        n_power_iterations: Power iterations in each forward pass in training, at least 1.
        eps: Least norm to divide by.
        dim: The dimension of the outputs: 0, but 1 for transposed convolutions, when None.

    Returns:
        The module.

    Raises:
        ArgumentError: n_power_iterations is under 1, or the weight is already normalized.
        StateError: The module has no parameter of that name.

    Gradient:
        $dW = (dY_W - \langle dY_W, W_\text{SN} \rangle\, u v^\top) / \sigma$, with $dY_W$ that of $W_\text{SN}$.

    Example:
        >>> layer = nbdl.nn.utils.spectral_norm(nbdl.nn.Linear(20, 40))
        >>> [name for name, _ in layer.named_parameters()]
        ['bias', 'weight_orig']

    Source:
        Miyato, Kataoka, Koyama and Yoshida (2018), "Spectral Normalization for Generative Adversarial Networks".
    """
    check_int("n_power_iterations", n_power_iterations, 1)
    check_number("eps", eps, 0)
    weight = take_parameter(module, name, SpectralNorm)
    if dim is None:
        dim = 1 if isinstance(module, TRANSPOSED) else 0
    hook = SpectralNorm(name, n_power_iterations, check_dim("dim", dim, weight.ndim), eps)
    attach(hook, module, Parameter(weight.detach(), weight.requires_grad), f"{name}_orig")
    with no_grad():
        height, width = hook.matrix(weight.detach()).shape
        for letter, length in (("u", height), ("v", width)):
            vector = creation.randn(length, dtype=weight.dtype)
            if weight.device != "cpu":
                vector = vector.to(weight.device)
            module.register_buffer(f"{name}_{letter}", ops.normalize(vector, dim=0, eps=eps))
    return module


def remove_spectral_norm(module: ModuleType, name: str = "weight") -> ModuleType:
    """Makes the normalized weight an ordinary parameter again.

    Args:
        module: The module, which is changed.
        name: Its parameter.

    Returns:
        The module.

    Raises:
        ArgumentError: The parameter is not normalized.

    Example:
        >>> layer = nbdl.nn.utils.spectral_norm(nbdl.nn.Linear(20, 40))
        >>> [name for name, _ in nbdl.nn.utils.remove_spectral_norm(layer).named_parameters()]
        ['bias', 'weight']
    """
    detach(module, name, SpectralNorm)
    return module
