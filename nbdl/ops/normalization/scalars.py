"""Scalar mathematics of the family."""

from __future__ import annotations

import math

from nbdl.runtime.jit import exact


@exact
def reciprocal_root(x):
    """1 / sqrt(x), rounded as written: a CPU's own estimate would make NaN of infinity."""
    return type(x)(1) / math.sqrt(x)
