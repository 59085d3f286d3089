"""Matrix products: `products` in all ranks, `affine` and `linear` maps, `contractions`, `einsum` for all others."""

from nbdl.ops.matmul.affine import addbmm, addmm, addmv, addr, baddbmm
from nbdl.ops.matmul.contractions import chain_matmul, cross, inner, kron, matrix_power, tensordot, trace
from nbdl.ops.matmul.einsum import einsum
from nbdl.ops.matmul.linear import bilinear, linear, linear_relu
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
    "linear_relu",
    "matmul",
    "matrix_power",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
    "vdot",
]

METHODS = tuple(name for name in __all__ if name not in ("bilinear", "chain_matmul", "einsum", "linear", "linear_relu"))
"""The functions that tensors have as methods."""

IN_PLACE = ("addbmm", "addmm", "addmv", "addr", "baddbmm")
"""Those that have a method in place, named with an underscore behind."""
