"""Matrix products: `products` in all ranks, `affine` and `linear` maps, `contractions`, `einsum` for all others.

`perceptron` makes one operation of linear maps and activations in a row.
"""

from nbdl.ops.matmul.affine import addbmm, addmm, addmv, addr, baddbmm
from nbdl.ops.matmul.contractions import chain_matmul, cross, inner, kron, matrix_power, tensordot, trace
from nbdl.ops.matmul.einsum import einsum
from nbdl.ops.matmul.linear import bilinear, linear, linear_gelu, linear_leaky_relu, linear_relu, linear_silu
from nbdl.ops.matmul.perceptron import perceptron
from nbdl.ops.matmul.products import bmm, dot, ger, matmul, mm, mv, outer, vdot

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bilinear",
    "bmm",
    "chain_matmul",
    "cross",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "linear",
    "linear_gelu",
    "linear_leaky_relu",
    "linear_relu",
    "linear_silu",
    "matmul",
    "matrix_power",
    "mm",
    "mv",
    "outer",
    "perceptron",
    "tensordot",
    "trace",
    "vdot",
]

_FUNCTIONS = (
    "bilinear",
    "chain_matmul",
    "einsum",
    "linear",
    "linear_gelu",
    "linear_leaky_relu",
    "linear_relu",
    "linear_silu",
    "perceptron",
)

METHODS = tuple(name for name in __all__ if name not in _FUNCTIONS)
"""The functions that tensors have as methods."""

IN_PLACE = ("addbmm", "addmm", "addmv", "addr", "baddbmm")
"""Those that have a method in place, named with an underscore behind."""
