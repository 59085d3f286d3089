"""The weights of a convolution in the order of its inner loop, and their gradient back in the public order.

The tile driver reads rows of up to two vectors of output channels. So `pack_weights` turns [K, C / groups, R, S] into
panels [phase][group][panel][r][s][c][column], the last ones filled up with zeros.
"""

from __future__ import annotations

from nbdl.ops.convolution.plan import (
    COLUMNS,
    GROUP_STEP,
    GROUPS,
    INPUT_STEP,
    INPUTS,
    KERNEL_WIDTH,
    OFFSET,
    OUTPUT_STEP,
    OUTPUTS,
    PANEL,
    TAPS,
    WEIGHT,
    WEIGHT_STEP,
)
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- packing


@cpu_kernel
def _pack_weights_cpu(weight, packed, sizes, phases, start, stop):
    """weight flat [K, C / groups, R, S]; packed flat panels. One task a panel of a group of a phase."""
    groups, inputs, outputs, width = sizes[GROUPS], sizes[INPUTS], sizes[OUTPUTS], sizes[PANEL]
    group_step, output_step, input_step = sizes[GROUP_STEP], sizes[OUTPUT_STEP], sizes[INPUT_STEP]
    panels = (outputs + width - 1) // width
    for task in range(start, stop):
        phase, group, panel = task // (groups * panels), task // panels % groups, task % panels
        taps, across = phases[phase, TAPS], phases[phase, COLUMNS + TAPS]
        columns = min(width, outputs - panel * width)
        target = phases[phase, OFFSET] + (group * panels + panel) * taps * across * inputs * width
        for r in range(taps):
            row = (phases[phase, WEIGHT] + r * phases[phase, WEIGHT_STEP]) * sizes[KERNEL_WIDTH]
            for s in range(across):
                place = row + phases[phase, COLUMNS + WEIGHT] + s * phases[phase, COLUMNS + WEIGHT_STEP]
                source = place + group * group_step + panel * width * output_step
                for c in range(inputs):
                    for j in range(columns):
                        packed[target + j] = weight[source + j * output_step + c * input_step]
                    for j in range(columns, width):
                        packed[target + j] = 0
                    target += width


@cuda_kernel
def _pack_weights_cuda(weight, packed, sizes, phases):
    """As the CPU twin. One block a task; each thread its rows of a panel."""
    groups, inputs, outputs, width = sizes[GROUPS], sizes[INPUTS], sizes[OUTPUTS], sizes[PANEL]
    group_step, output_step, input_step = sizes[GROUP_STEP], sizes[OUTPUT_STEP], sizes[INPUT_STEP]
    panels = (outputs + width - 1) // width
    task = cuda.blockIdx.x
    phase, group, panel = task // (groups * panels), task // panels % groups, task % panels
    taps, across = phases[phase, TAPS], phases[phase, COLUMNS + TAPS]
    columns = min(width, outputs - panel * width)
    begin = phases[phase, OFFSET] + (group * panels + panel) * taps * across * inputs * width
    for item in range(cuda.threadIdx.x, taps * across * inputs, BLOCK):
        r, s, c = item // (across * inputs), item // inputs % across, item % inputs
        row = (phases[phase, WEIGHT] + r * phases[phase, WEIGHT_STEP]) * sizes[KERNEL_WIDTH]
        place = row + phases[phase, COLUMNS + WEIGHT] + s * phases[phase, COLUMNS + WEIGHT_STEP]
        source = place + group * group_step + panel * width * output_step + c * input_step
        for j in range(columns):
            packed[begin + item * width + j] = weight[source + j * output_step]
        for j in range(columns, width):
            packed[begin + item * width + j] = 0


pack_weights = Kernel(
    cpu=_pack_weights_cpu,
    cuda=_pack_weights_cuda,
    tasks=lambda weight, packed, sizes, phases: (
        phases.shape[0] * int(sizes[GROUPS]) * -(-int(sizes[OUTPUTS]) // int(sizes[PANEL]))
    ),
    work=lambda weight, packed, sizes, phases: packed.shape[0],
)

# ---------------------------------------------------------------- the gradient


@cpu_kernel
def _fold_gradient_cpu(partial, dweight, start, stop):
    """partial [chunks, groups, taps, C / groups, K / groups] -> dweight [K, C / groups, taps].

    The chunks are added in order. One task an output channel.
    """
    chunks, _, taps, inputs, outputs = partial.shape
    for k in range(start, stop):
        group, column = k // outputs, k % outputs
        for c in range(inputs):
            for tap in range(taps):
                total = partial[0, group, tap, c, column]
                for chunk in range(1, chunks):
                    total += partial[chunk, group, tap, c, column]
                dweight[k, c, tap] = total


@cuda_kernel
def _fold_gradient_cuda(partial, dweight):
    """As the CPU twin. One block an output channel."""
    chunks, _, taps, inputs, outputs = partial.shape
    k = cuda.blockIdx.x
    group, column = k // outputs, k % outputs
    for item in range(cuda.threadIdx.x, inputs * taps, BLOCK):
        c, tap = item // taps, item % taps
        total = partial[0, group, tap, c, column]
        for chunk in range(1, chunks):
            total += partial[chunk, group, tap, c, column]
        dweight[k, c, tap] = total


fold_gradient = Kernel(
    cpu=_fold_gradient_cpu,
    cuda=_fold_gradient_cuda,
    tasks=lambda partial, dweight: dweight.shape[0],
    work=lambda partial, dweight: partial.size,
)
