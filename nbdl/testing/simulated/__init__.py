"""A simulated GPU: `device="cuda"` on a machine that has none.

    from nbdl.testing import simulated

    with simulated.gpu() as machine:
        model = nn.Linear(3, 2).to("cuda")
        loss = model(nbdl.randn(4, 3, device="cuda")).square().mean()
        loss.backward()
    machine.launches                    # the kernels that ran

What it stands in for is the driver: nbdl's runtime packs arguments, orders streams and keeps its pool as on a GPU, and
the calls of CUDA's driver API end here. Its memory can be reached by kernels and by copies that the driver is asked
for; kernels are interpreted thread by thread (`nbdl.testing.simt`). It is as lazy as a GPU may be: a stream does its
work when somebody waits for it, so what forgets to wait sees memory that nobody has written, NaN.
"""

from nbdl.testing.simulated.machine import Machine, gpu

__all__ = ["Machine", "gpu"]
