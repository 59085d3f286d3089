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
from nbdl.runtime.simd import advance, pointer

STREAMS = 16
"""Places far apart that are read, or written, in turn: as many as the first cache holds when they share its sets."""

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
        begin = phases[phase, OFFSET] + (group * panels + panel) * taps * across * inputs * width
        # The taps in the inner loops and a few columns at a time: a line of the weight is read once.
        for left in range(0, columns, STREAMS):
            for c in range(inputs):
                for r in range(taps):
                    row = (phases[phase, WEIGHT] + r * phases[phase, WEIGHT_STEP]) * sizes[KERNEL_WIDTH]
                    for s in range(across):
                        place = row + phases[phase, COLUMNS + WEIGHT] + s * phases[phase, COLUMNS + WEIGHT_STEP]
                        place += group * group_step + (panel * width + left) * output_step + c * input_step
                        source = pointer(weight, place)
                        target = pointer(packed, begin + ((r * across + s) * inputs + c) * width + left)
                        for j in range(min(STREAMS, columns - left)):
                            target[j] = source[j * output_step]
        for row in range(taps * across * inputs):
            for j in range(columns, width):
                packed[begin + row * width + j] = 0


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
def _fold_gradient_cpu(partial, dweight, workspace, start, stop):
    """partial [chunks, groups, taps, C / groups, K / groups] -> dweight [K, C / groups, taps].

    The chunks are added in order. One task STREAMS input channels of a group, and as many output channels at a time, by
    way of its row of workspace [tasks, elements]: read and written directly, their lines would share few sets of a
    cache and evict one another.
    """
    chunks, _, taps, inputs, outputs = partial.shape
    blocks = (inputs + STREAMS - 1) // STREAMS
    chunk_step = partial.size // chunks
    for task in range(start, stop):
        group, top = task // blocks, task % blocks * STREAMS
        rows = (min(inputs, top + STREAMS) - top) * taps
        own = pointer(workspace, task * workspace.shape[1])
        for first in range(0, outputs, STREAMS):
            columns = min(STREAMS, outputs - first)
            for row in range(rows):
                c, tap = top + row // taps, row % taps
                source = pointer(partial, ((group * taps + tap) * inputs + c) * outputs + first)
                target = advance(own, row * STREAMS)
                for k in range(columns):
                    target[k] = source[k]
                for chunk in range(1, chunks):
                    for k in range(columns):
                        target[k] += source[chunk * chunk_step + k]
            for k in range(columns):
                target = pointer(dweight, ((group * outputs + first + k) * inputs + top) * taps)
                for row in range(rows):
                    target[row] = own[row * STREAMS + k]


@cuda_kernel
def _fold_gradient_cuda(partial, dweight, workspace):
    """As the CPU twin. One thread a weight, neighbours on neighbouring output channels."""
    chunks, groups, taps, inputs, outputs = partial.shape
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < groups * taps * inputs * outputs:
        column, c = element % outputs, element // outputs % inputs
        tap, group = element // (outputs * inputs) % taps, element // (outputs * inputs * taps)
        total = partial[0, group, tap, c, column]
        for chunk in range(1, chunks):
            total += partial[chunk, group, tap, c, column]
        dweight[group * outputs + column, c, tap] = total


fold_gradient = Kernel(
    cpu=_fold_gradient_cpu,
    cuda=_fold_gradient_cuda,
    tasks=lambda partial, dweight, workspace: workspace.shape[0],
    work=lambda partial, dweight, workspace: partial.size,
    blocks=lambda partial, dweight, workspace: -(-dweight.size // BLOCK),
)
