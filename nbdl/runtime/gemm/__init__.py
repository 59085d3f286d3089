"""Matrix products: `gemm` over arrays, and for kernels of other families the tile driver, `multiply_panel`."""

from nbdl.runtime.gemm.panel import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.product import gemm

__all__ = ["gemm", "multiply_panel", "register_tile_driver"]
