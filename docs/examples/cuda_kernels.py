"""CUDA kernels without a GPU: in the interpreter, and as PTX."""

# --8<-- [start:lanes]
import sys

sys.path.insert(0, "docs/examples")

import cuda_sum
import numpy as np

import nbdl
from nbdl import ops
from nbdl.testing import simt

x = np.arange(32, dtype=np.float32)
steps = np.empty((6, 32), np.float32)
simt.launch(cuda_sum.butterfly, 1, 32, x, steps)

shown = [0, 1, 2, 3, 15, 16, 30, 31]
print("lane          ", *(f"{lane:4}" for lane in shown))
print("its number    ", *(f"{steps[0, lane]:4.0f}" for lane in shown))
for step, width in enumerate((16, 8, 4, 2, 1), start=1):
    print(f"+ lane xor {width:2} ", *(f"{steps[step, lane]:4.0f}" for lane in shown))
# --8<-- [end:lanes]
assert (steps[5] == x.sum()).all()

# --8<-- [start:run]
generator = np.random.default_rng(0)
rows = generator.standard_normal((5, 300), dtype=np.float32)
y = np.empty(5, np.float32)
simt.launch(cuda_sum.row_sums, 5, cuda_sum.THREADS, rows, y)
print("largest error:", abs(y - rows.sum(axis=1, dtype=np.float64)).max())
# --8<-- [end:run]
assert np.allclose(y, rows.sum(axis=1), atol=1e-4)

# --8<-- [start:order]
for seed in (1, 2, 3):
    again = np.empty_like(y)
    simt.launch(cuda_sum.row_sums, 5, cuda_sum.THREADS, rows, again, seed=seed)
    print(f"threads in random order {seed}: same bits {np.array_equal(y, again)}")
# --8<-- [end:order]
assert np.array_equal(y, again)


# --8<-- [start:forgotten]
import textwrap


def mistakes(kernel, **options):
    try:
        simt.launch(kernel, 1, cuda_sum.THREADS, rows[:2, :64].copy(), y64, **options)
    except simt.SimtError as error:
        print(textwrap.fill(f"{type(error).__name__}: {error}", 84) + "\n")
    else:
        print("nothing found")


y64 = np.empty(64, np.float32)
mistakes(cuda_sum.barrier_forgotten)
# --8<-- [end:forgotten]

# --8<-- [start:unlogged]
mistakes(cuda_sum.barrier_forgotten, races=False)
print("the sum:", y64[0])
# --8<-- [end:unlogged]
assert np.isnan(y64[0])

# --8<-- [start:others]
mistakes(cuda_sum.barrier_in_a_branch)
mistakes(cuda_sum.one_too_many)
mistakes(cuda_sum.wide_literal)
mistakes(cuda_sum.sum_without_atomics)
# --8<-- [end:others]

# --8<-- [start:in_turn]
mistakes(cuda_sum.rows_in_turn)
# --8<-- [end:in_turn]

# --8<-- [start:library]
values = generator.standard_normal((6, 300), dtype=np.float32)
weight = generator.standard_normal(300, dtype=np.float32)


def forward_and_backward():
    x = nbdl.tensor(values, requires_grad=True)
    w = nbdl.tensor(weight, requires_grad=True)
    y = ops.rms_norm(x, (300,), w)
    (y * y).sum().backward()
    return y.detach().numpy(), x.grad.numpy(), w.grad.numpy()


on_cpu = forward_and_backward()
with simt.target():  # every launch in here runs its CUDA twin
    on_cuda = forward_and_backward()
for name, ours, theirs in zip(("y", "dx", "dweight"), on_cpu, on_cuda, strict=True):
    print(f"{name:8} largest difference {abs(ours - theirs).max():.1e}")
# --8<-- [end:library]
assert all(
    np.allclose(ours, theirs, atol=1e-3)
    for ours, theirs in zip(on_cpu, on_cuda, strict=True)
)

# --8<-- [start:launches]
launches = []
with simt.target(observe=lambda kernel, arguments: launches.append((kernel, arguments))):
    forward_and_backward()
for kernel, arguments in launches:
    print(
        f"{kernel.name:22} {kernel.blocks(*arguments):3} blocks of {kernel.threads} threads"
    )
# --8<-- [end:launches]

# --8<-- [start:ptx]
import re
from collections import Counter
from pathlib import Path

ptx = Path("docs/examples/row_sums.ptx").read_text()
kinds = Counter(re.findall(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]+)\s.*;", ptx, re.M))
for wanted in (
    "ld.global",
    "shfl",
    "st.shared",
    "bar",
    "ld.shared",
    "add.f32",
    "add.rn.f32",
):
    for kind, count in sorted(kinds.items()):
        if kind.startswith(wanted):
            print(f"{count:3} {kind}")
print("instructions on float64:", sum(n for kind, n in kinds.items() if "f64" in kind))
# --8<-- [end:ptx]
