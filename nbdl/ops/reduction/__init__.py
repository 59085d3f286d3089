"""Reductions: operations that fold dimensions to one number each.

`fold` holds the loops behind most of them, `spread` the loops behind their gradients, `arrangement` brings any
dimensions of any array into the form that both take. The other modules are the operations.
"""

from nbdl.ops.reduction.extremes import amax, amin, aminmax, argmax, argmin, max, min
from nbdl.ops.reduction.log_sum_exp import logsumexp
from nbdl.ops.reduction.moments import std, std_mean, var, var_mean
from nbdl.ops.reduction.norms import norm, normalize, vector_norm
from nbdl.ops.reduction.products import prod
from nbdl.ops.reduction.sums import count_nonzero, mean, nanmean, nansum, sum
from nbdl.ops.reduction.truth import all, any

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "min",
    "nanmean", "nansum", "norm", "normalize", "prod", "std", "std_mean", "sum", "var", "var_mean", "vector_norm",
]  # fmt: skip

METHODS = [name for name in __all__ if name not in ("normalize", "std_mean", "var_mean", "vector_norm")]
"""The functions that tensors have as methods."""
