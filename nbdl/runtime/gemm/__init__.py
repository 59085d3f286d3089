"""Matrix products: `gemm` over arrays, and for kernels of other families what it is made of, `multiply_panel` first."""

from nbdl.runtime.gemm.blocks import pack_columns, pack_rows
from nbdl.runtime.gemm.panel import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.product import ProductCurve, gemm, gemm_kernel, prepare_gemm
from nbdl.runtime.gemm.vector import multiply_row

__all__ = [
    "ProductCurve",
    "gemm",
    "gemm_kernel",
    "multiply_panel",
    "multiply_row",
    "pack_columns",
    "pack_rows",
    "prepare_gemm",
    "register_tile_driver",
]
