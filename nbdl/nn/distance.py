"""Similarities and distances of vectors as modules."""

from __future__ import annotations

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module


class CosineSimilarity(Module):
    r"""$x_1 \cdot x_2 / (\lVert x_1 \rVert \lVert x_2 \rVert)$ along a dimension.

    Args:
        dim: The dimension of the vectors.
        eps: Norms under this count as this.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return ops.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    r"""$\lVert x_1 - x_2 + \varepsilon \rVert_p$ along the last dimension.

    Args:
        p: The norm's exponent.
        eps: Added to every difference, so that the gradient exists at distance 0.
        keepdim: Keep the last dimension with size 1.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return ops.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
