"""How a kernel works: a loop in Python, compiled, vectorised, split over threads."""

# --8<-- [start:define]
from nbdl.runtime.jit import cpu_function


@cpu_function
def square(x, y, start, stop):
    """x, y [N]. One task an element; no two tasks write one element."""
    for i in range(start, stop):
        y[i] = x[i] * x[i]


# --8<-- [end:define]

# --8<-- [start:time]
from time import perf_counter

import numba
import numpy as np

x = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
y = np.empty_like(x)


def seconds(action, repeats):
    times = []
    for _ in range(repeats):
        start = perf_counter()
        action()
        times.append(perf_counter() - start)
    return min(times)


start = perf_counter()
fresh = numba.njit(nogil=True)(
    square.py_func
)  # past the cache, to see what compiling costs
fresh(x, y, 0, len(x))
compiling = perf_counter() - start
square(x, y, 0, len(x))
compiled = seconds(lambda: square(x, y, 0, len(x)), 50)
python = seconds(lambda: square.py_func(x, y, 0, 20_000), 1) * len(x) / 20_000
print(f"the same loop in Python  {python * 1e3:8.2f} ms")
print(f"a first call, compiling  {compiling * 1e3:8.2f} ms")
print(f"compiled                 {compiled * 1e3:8.2f} ms")
print(f"the compiled loop is {python / compiled:,.0f} times as fast")
# --8<-- [end:time]
assert (y == x * x).all()

# --8<-- [start:assembly]
import re

(assembly,) = fresh.inspect_asm().values()
products = [
    line.split("#")[0].split()
    for line in assembly.splitlines()
    if re.search(r"\bv?mul[ps]s\b|\bfmul\b", line)
]
for instruction in products[:4]:
    print(" ".join(instruction))
widest = "zmm" if "zmm" in str(products) else "ymm" if "ymm" in str(products) else "xmm"
print(
    {"zmm": "16 products", "ymm": "8 products", "xmm": "up to 4 products"}[widest],
    "an instruction",
)
# --8<-- [end:assembly]

# --8<-- [start:chunks]
from nbdl.runtime.jit import chunk_size

for n in (10_000, 100_000, 1_000_000, 10_000_000):
    grain = chunk_size(tasks=n, work=n)
    print(f"{n:>10,} elements: chunks of {grain:>7,}, {-(-n // grain):3} of them")
# --8<-- [end:chunks]

# --8<-- [start:threads]
import nbdl
from nbdl import ops

rows = nbdl.tensor(np.random.default_rng(1).standard_normal((2000, 300)).astype(np.float32))
results = []
for threads in (1, 2, 4):
    nbdl.set_num_threads(threads)
    results.append(ops.softmax(rows, dim=1).sum().item())
    print(threads, "threads:", results[-1].hex())
# --8<-- [end:threads]
assert len(set(results)) == 1


# --8<-- [start:carried]
@cpu_function
def all_squares(x, y):
    for i in range(x.shape[0]):
        y[i] = x[i] * x[i]


@cpu_function
def running_sum(x, y):
    """y[i] = x[0] + ... + x[i]: each iteration needs the one before."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        total += x[i]
        y[i] = total


near = np.linspace(0, 1, 4096, dtype=np.float32)  # it stays in the first cache
target = np.empty_like(near)
for name, kernel in (("squares", all_squares), ("running sum", running_sum)):
    fresh = numba.njit(nogil=True)(kernel.py_func)
    fresh(near, target)
    (assembly,) = fresh.inspect_asm().values()
    whole = len(re.findall(r"\bv?(?:add|mul)ps\b|\bf(?:add|mul)\s+v\d", assembly))
    single = len(re.findall(r"\bv?(?:add|mul)ss\b|\bf(?:add|mul)\s+s\d", assembly))
    time = seconds(lambda fresh=fresh: fresh(near, target), 500) / len(near)
    print(f"{name:12} instructions on registers {whole:2}, on single numbers {single:2},")
    print(f"{'':12} {time * 1e9:.2f} ns an element")
# --8<-- [end:carried]
