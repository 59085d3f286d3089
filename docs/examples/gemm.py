"""The matrix product, from three loops to the rate of the machine."""

# --8<-- [start:naive]
from time import perf_counter

import numpy as np

import nbdl
from nbdl.runtime.jit import cpu_function

available = nbdl.get_num_threads()
nbdl.set_num_threads(1)  # until the last step


@cpu_function
def naive(a, b, c):
    """a [M, K], b [K, N], c [M, N]: the definition."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total = c.dtype.type(0)
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            c[i, j] = total


# --8<-- [end:naive]

# --8<-- [start:measure]
generator = np.random.default_rng(0)


def square(side):
    return generator.standard_normal((side, side), dtype=np.float32)


def rate(multiply, side, seconds=0.12):
    """GFLOP/s of the fastest run, after a first that compiles and is compared."""
    a, b, c = square(side), square(side), square(side)
    multiply(a, b, c)
    assert np.allclose(c, a @ b, atol=1e-2)
    best, end = np.inf, perf_counter() + seconds
    while perf_counter() < end or best == np.inf:
        start = perf_counter()
        multiply(a, b, c)
        best = min(best, perf_counter() - start)
    return 2 * side**3 / best / 1e9


rates = {"three loops in Python": rate(naive.py_func, 24, seconds=0)}
rates["three loops, compiled"] = rate(naive, 256)
for name, value in rates.items():
    print(f"{name:24} {value:8.3f} GFLOP/s")
# --8<-- [end:measure]

# --8<-- [start:peak]
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbdl.runtime.simd import vector_unit

CHAINS = 12
unit = vector_unit()
lanes = unit.bytes // 4


@intrinsic
def multiply_adds(typing_context, steps, x):
    """Twelve chains v = v x + x in vector registers, for so many steps."""

    def emit(context, builder, signature, arguments):
        steps, x = arguments
        vector = ir.VectorType(x.type, lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        index = ir.IntType(32)
        xs = builder.insert_element(undefined, x, ir.Constant(index, 0))
        xs = builder.shuffle_vector(
            xs, undefined, ir.Constant(ir.VectorType(index, lanes), [0] * lanes)
        )
        chains = [cgutils.alloca_once_value(builder, xs) for _ in range(CHAINS)]
        shape = ir.FunctionType(vector, [vector] * 3)
        fused = cgutils.get_or_insert_function(
            builder.module, shape, f"llvm.fmuladd.v{lanes}f32"
        )
        with cgutils.for_range(builder, steps):
            for chain in chains:
                value = builder.call(fused, [builder.load(chain), xs, xs])
                builder.store(value, chain)
        total = builder.load(chains[0])
        for chain in chains[1:]:
            total = builder.fadd(total, builder.load(chain))
        return builder.extract_element(total, ir.Constant(index, 0))

    return types.float32(types.int64, types.float32), emit


@cpu_function
def spin(steps, x):
    return multiply_adds(steps, x)


def measure_peak(steps=100_000, repeats=200):
    half, best = np.float32(0.5), np.inf
    spin(steps, half)
    for _ in range(repeats):
        start = perf_counter()
        spin(steps, half)
        best = min(best, perf_counter() - start)
    return 2 * CHAINS * lanes * steps / best / 1e9


peak = measure_peak()
print(f"{unit.name}: {lanes} float32 a register")
print(f"one core, multiply-adds only: {peak:.0f} GFLOP/s")
print(f"the three loops reach {rates['three loops, compiled'] / peak:.1%} of it")
# --8<-- [end:peak]


# --8<-- [start:order]
@cpu_function
def rows_inside(a, b, c):
    """As `naive`, its two inner loops exchanged: b and c are walked along their rows."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = 0
        for k in range(a.shape[1]):
            for j in range(c.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


rates["loops exchanged"] = rate(rows_inside, 256)
print(f"{rates['loops exchanged']:.1f} GFLOP/s")
# --8<-- [end:order]


# --8<-- [start:blocked]
@cpu_function
def blocked(a, b, c):
    """Four rows of c and four of b at a time; M and K are multiples of four."""
    for i in range(0, c.shape[0], 4):
        for row in range(i, i + 4):
            for j in range(c.shape[1]):
                c[row, j] = 0
        for k in range(0, a.shape[1], 4):
            for row in range(i, i + 4):
                a0, a1, a2, a3 = a[row, k], a[row, k + 1], a[row, k + 2], a[row, k + 3]
                for j in range(c.shape[1]):
                    c[row, j] += (a0 * b[k, j] + a1 * b[k + 1, j]) + (
                        a2 * b[k + 2, j] + a3 * b[k + 3, j]
                    )


rates["blocks of four"] = rate(blocked, 256)
print(f"{rates['blocks of four']:.1f} GFLOP/s")
# --8<-- [end:blocked]

# --8<-- [start:tile]
from nbdl.runtime.gemm import multiply_panel, register_tile_driver
from nbdl.runtime.simd import null_pointer, pointer

register_tile_driver()  # the compiled tiles; from the disk cache after the first time
width = 2 * lanes


@cpu_function
def tiled(a, b, c):
    """Panels two vectors wide; the driver under `multiply_panel` cuts each into tiles."""
    m, k = a.shape
    n = b.shape[1]
    for left in range(0, n, width):
        multiply_panel(
            m, 1, k,
            pointer(a, 0), 0, k, 1,  # a: outer, row and inner stride
            pointer(b, left), 0, n,  # b: outer and inner stride
            null_pointer(pointer(c, 0)), np.float32(-np.inf),  # no bias, no ReLU
            pointer(c, left), n, np.float32(0), min(width, n - left),
        )  # fmt: skip


rates["tiles in registers"] = rate(tiled, 256)
print(
    f"{rates['tiles in registers']:.1f} GFLOP/s, {rates['tiles in registers'] / peak:.0%}"
)
# --8<-- [end:tile]

# --8<-- [start:assembly]
import re

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from nbdl.runtime import simd


def tile_assembly(rows, vectors):
    """The machine code of one tile, as text: the instructions of its innermost loop."""
    module = ir.Module()
    number, one = ir.IntType(64), ir.FloatType()
    vector = ir.VectorType(one, lanes)
    place = one.as_pointer()
    of_a, of_b, of_c = [place, *[number] * 3], [place, number, number], [place, number]
    arguments = [number, number, *of_a, *of_b, place, one, *of_c, one, number]
    tile = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "tile")
    simd._emit_tile(tile, vector, rows, vectors)
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3
    )
    code = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(code, passes)
    loops = re.split(r"^\.?\w*BB\d+_\d+:.*$", machine.emit_assembly(code), flags=re.M)
    fused = r"fmadd|fmla|fmuladd|mulps"
    hottest = max(loops, key=lambda text: len(re.findall(fused, text)))
    lines = [line.split("#")[0].split() for line in hottest.splitlines()]
    return [" ".join(line) for line in lines if line and not line[0].startswith(".")]


instructions = tile_assembly(unit.rows, 2)
kinds = [line.split()[0] for line in instructions]
for kind in sorted(set(kinds), key=kinds.count, reverse=True):
    print(f"{kinds.count(kind):3} {kind}")
print("\nIt begins:")
print("\n".join(instructions[:8]))
# --8<-- [end:assembly]

# --8<-- [start:packed]
from nbdl.runtime.gemm import pack_columns, pack_rows

DEPTH = 512
ROW = DEPTH + 3 * lanes  # an odd number of vectors: no two rows of a tile in the same set


@cpu_function
def packed(a, b, c, rows, panel):
    """As `tiled`, DEPTH of K at a time; what the tiles will read is copied side by side."""
    m, k = a.shape
    n = b.shape[1]
    for top in range(0, k, DEPTH):
        depth = min(DEPTH, k - top)
        pack_rows(pointer(a, top), k, 1, m, depth, pointer(rows, 0), ROW, 1)
        for left in range(0, n, width):
            columns = min(width, n - left)
            pack_columns(
                pointer(b, top * n + left), n, 1, depth, columns, width, pointer(panel, 0)
            )
            multiply_panel(
                m, 1, depth,
                pointer(rows, 0), 0, ROW, 1,
                pointer(panel, 0), 0, width,
                null_pointer(pointer(c, 0)), np.float32(-np.inf),
                pointer(c, left), n, np.float32(1 if top else 0), columns,
            )  # fmt: skip


rows, panel = np.empty(1024 * ROW, np.float32), np.empty(DEPTH * width, np.float32)


def packed_product(a, b, c):
    packed(a, b, c, rows, panel)


for side in (256, 1024):
    rounds = [(rate(tiled, side), rate(packed_product, side)) for _ in range(3)]
    straight, copied = np.max(rounds, axis=0)
    print(f"{side:5}: read in place {straight:6.1f}   packed {copied:6.1f} GFLOP/s")
# --8<-- [end:packed]

# --8<-- [start:plan]
from nbdl.runtime.gemm.plan import plan_blocks

for threads in (1, 2, 4):
    plan = plan_blocks(1, 1024, 1024, 1024, 1024, 1, 1024, 1, 1, 4, threads)
    print(
        f"{threads} threads: {plan.tasks} blocks of",
        f"{plan.block_rows} x {plan.block_columns}, {plan.depth} of K at a time,",
        f"pack A {plan.pack_a}, pack B {plan.pack_b}",
    )
# --8<-- [end:plan]

# --8<-- [start:all]
from threadpoolctl import threadpool_limits

from nbdl.runtime.gemm import gemm

rates["nbdl's gemm"] = rate(gemm, 256)
with threadpool_limits(1):
    rates["NumPy"] = rate(lambda a, b, c: np.matmul(a, b, out=c), 256)
for name, value in rates.items():
    print(f"{name:24} {value:8.2f} GFLOP/s  {value / peak:6.1%}")
# --8<-- [end:all]

# --8<-- [start:sizes]
sides = [32, 64, 128, 256, 512, 768, 1024]
slow = [side for side in sides if side <= 256]
curves = {
    "three loops": (slow, [rate(naive, side, 0.02) for side in slow]),
    "blocks of four": (sides, [rate(blocked, side, 0.02) for side in sides]),
    "tiles in registers": (sides, [rate(tiled, side, 0.03) for side in sides]),
    "nbdl's gemm": (sides, [rate(gemm, side, 0.05) for side in sides]),
}
print(f"{'side':>20}", *(f"{side:6}" for side in sides))
for name, (_, values) in curves.items():
    print(f"{name:>20}", *(f"{value:6.1f}" for value in values))
# --8<-- [end:sizes]

# --8<-- [start:threads]
a, b = square(1024), square(1024)
results = []
for threads in (1, 2):
    nbdl.set_num_threads(threads)
    c = np.empty((1024, 1024), np.float32)
    gemm(a, b, c)
    results.append(c)
    print(f"{threads} threads: {rate(gemm, 1024):6.1f} GFLOP/s")
nbdl.set_num_threads(available)
print("the same bits:", np.array_equal(*results))
# --8<-- [end:threads]
assert np.array_equal(*results)

# --8<-- [start:intensity]
for rows, vectors in ((1, 1), (4, 1), (4, 2), (6, 2), (14, 2), (28, 1), (30, 1)):
    multiply_adds_a_step = rows * vectors
    loads = rows + vectors  # a number of A for each row, a vector of B for each column
    registers = rows * vectors + vectors + 1
    print(
        f"{rows:2} x {vectors}: {multiply_adds_a_step:2} multiply-adds, {loads:2} loads,"
        f" {multiply_adds_a_step / loads:4.1f} a load, {registers:2} registers"
    )
# --8<-- [end:intensity]

# --8<-- [start:chain]
x, y = generator.standard_normal((2, 4096), dtype=np.float32)
exact = np.dot(x.astype(np.float64), y.astype(np.float64))
one_chain = np.float32(0)
for product in x * y:
    one_chain += product
sixteen = (x * y).reshape(-1, 16)
lane_sums = np.zeros(16, np.float32)
for products in sixteen:
    lane_sums += products
print(f"one chain       {abs(one_chain - exact):.1e}")
print(f"sixteen chains  {abs(lane_sums.sum() - exact):.1e}")
# --8<-- [end:chain]

# --8<-- [start:column]
tall = square(256)[:, :1].copy()
a = square(256)
c = np.empty((256, 1), np.float32)
gemm(a, tall, c)
best = np.inf
for _ in range(500):
    start = perf_counter()
    gemm(a, tall, c)
    best = min(best, perf_counter() - start)
print(f"{2 * 256**2 / best / 1e9:.1f} GFLOP/s, {a.nbytes / best / 1e9:.0f} GB/s of A read")
# --8<-- [end:column]
