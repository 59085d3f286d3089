"""Matrix products of the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime import arrays, memory, threads
from nbdl.runtime.gemm.blocks import _gemm_cpu
from nbdl.runtime.gemm.panel import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.plan import plan_blocks
from nbdl.runtime.jit import Kernel, cuda_kernel

__all__ = ["gemm", "multiply_panel", "register_tile_driver"]


@cuda_kernel
def _gemm_cuda(a):
    pass


gemm_kernel = Kernel(
    cpu=_gemm_cpu,
    cuda=_gemm_cuda,
    tasks=lambda a, b, c, bias, workspace, *_: workspace.shape[0],
    work=lambda a, b, c, bias, workspace, *_: workspace.shape[0] << 20,
    requires=register_tile_driver,
)

_NO_BIAS = {np.dtype(t): np.empty(0, t) for t in (np.float32, np.float64)}


def gemm(a, b, c, bias=None, beta=0.0, floor=-math.inf):
    if a.ndim == 2:
        m, k = a.shape
        batch, n = 1, b.shape[1]
        itemsize = a.itemsize
        a_batch, b_batch, c_batch = 0, 0, 0
        a_row, a_inner = a.strides
        b_inner, b_column = b.strides
    flat_a, a_row, a_inner = _flat(a)
    flat_b, b_inner, b_column = _flat(b)
    c_row = n
    plan = plan_blocks(batch, m, n, k, a_row, a_inner, b_inner, b_column, itemsize, threads._threads)
    workspace = memory.empty((plan.tasks, plan.workspace), c.dtype)
    gemm_kernel(flat_a, flat_b, c.reshape(-1), _NO_BIAS[c.dtype] if bias is None else bias, workspace, m, n, k, a_batch, a_row, a_inner, b_batch, b_inner, b_column, c_batch, c_row, beta, floor, plan.units, plan.row_blocks, plan.column_blocks, plan.block_rows, plan.block_columns, plan.depth, plan.rows_at_once, plan.pack_a, plan.pack_b)

def _flat(x):
    flags = x.flags
    if flags.c_contiguous:
        return x.reshape(-1), x.shape[1], 1
    if flags.f_contiguous:
        return x.T.reshape(-1), 1, x.shape[0]
    raise 1
