"""A SIMT interpreter: runs CUDA kernels on NumPy arrays, without a GPU, and finds the mistakes a GPU hides.

    from nbdl.testing import simt

    simt.launch(kernel, blocks, threads, x, y)      # one CUDA kernel
    with simt.target():                             # every Kernel launch inside runs its CUDA twin here
        y = nbdl.ops.layer_norm(x, (3,))

Each CUDA thread is a Python generator that runs alone until it reaches a barrier or an operation of its warp; there
it yields and the next thread runs. So one Python thread interprets a block, the order is known, and every run with
the same arguments gives the same bits. What a GPU leaves undefined is an error here:

| mistake | what happens |
|---|---|
| an index outside the array, a negative one included | BoundsError: kernel, array, index, thread |
| threads of a block wait at different barriers, or some have returned | BarrierError |
| lanes named by a mask do not come to the same warp operation | BarrierError |
| two threads touch one element, one of them writing, with no barrier between | RaceError |
| shared or local memory is read before it is written | NaN (integers: -1 or the largest), and so in `empty` buffers |
| a Python float, which CUDA takes for a float64, meets float32 arithmetic and is stored | PrecisionError |

Order: threads run in the order of their numbers, or in a `shuffled` one; a kernel that is right does not notice.

Limits: kernels are read from their source, so they must come from a file; no slices, lambdas or comprehensions in
them; warps are 32 lanes; arithmetic on signed integers does not overflow; `math` functions are NumPy's, which may
differ from CUDA's in the last place (the functions of runtime/vecmath are exactly the CPU's).
"""

from nbdl.testing.simt.arrays import BoundsError, PrecisionError, RaceError, SimtError
from nbdl.testing.simt.launch import launch, target
from nbdl.testing.simt.schedule import BarrierError

__all__ = ["BarrierError", "BoundsError", "PrecisionError", "RaceError", "SimtError", "launch", "target"]
