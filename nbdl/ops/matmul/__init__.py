"""Matrix products: `products` in all ranks, `linear` maps, and `einsum` for every other contraction."""

from nbdl.ops.matmul.einsum import einsum
from nbdl.ops.matmul.linear import bilinear, linear, linear_relu
from nbdl.ops.matmul.products import bmm, dot, matmul, mm, mv, outer

__all__ = ["bilinear", "bmm", "dot", "einsum", "linear", "linear_relu", "matmul", "mm", "mv", "outer"]
