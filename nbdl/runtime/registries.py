"""Numba's tables of known functions, filled when the first kernel is loaded, without importing SciPy.

Numba looks for SciPy's BLAS then, for the sake of `np.dot` in kernels. nbdl has no such kernel; where SciPy is
installed the look alone takes a tenth of a second and 15 MB. Kernels of other packages still find it: they ask when
they are compiled.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from typing import Any


@functools.cache
def prepare_registries() -> None:
    """Imports the module that looks for SciPy, the look put off."""
    if "numba.np.arraymath" in sys.modules or importlib.util.find_spec("scipy") is None:
        return
    linalg: Any = importlib.import_module("numba.np.linalg")
    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = ensure_blas
