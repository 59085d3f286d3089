"""Vector instructions for kernels: what the compiler's own vectoriser does not find.

Two things of a matrix product need vectors by hand: the register tile, whose accumulators must stay in registers
for the whole inner loop, and the transpose of a square of elements by shuffles. Both are emitted here as LLVM IR for
the vector unit of the CPU that Numba compiles for; a kernel calls them like functions, on pointers.

Pointers come from `pointer(array, index)` and `advance(pointer, elements)`; `p[i]` reads and writes through them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

# ---------------------------------------------------------------- the vector unit


@dataclass(frozen=True)
class VectorUnit:
    """What a register tile depends on: bytes of a vector register, and rows of a tile two vectors wide.

    A tile keeps 2 * rows accumulators, two vectors of B and one element of A in registers.
    """

    name: str
    bytes: int
    rows: int


AVX512 = VectorUnit("avx512", 64, 14)  # 32 registers
AVX2 = VectorUnit("avx2", 32, 6)  # 16 registers
NEON = VectorUnit("neon", 16, 8)  # 32 registers
PORTABLE = VectorUnit("portable", 16, 4)  # SSE2 has 16 registers and no fused multiply-add


@functools.cache
def vector_unit() -> VectorUnit:
    """The vector unit of the CPU that Numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may name.

    A list of features does not say what a named CPU has, so LLVM is asked: it compiles one multiply-add of 512 bits,
    and the assembly shows the registers that it takes.
    """
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    vector = ir.VectorType(ir.FloatType(), 16)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(vector, [vector] * 3), "probe")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.call(_declare(module, "llvm.fmuladd.v16f32", vector, [vector] * 3), function.args))
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2)
    assembly = target.emit_assembly(llvm.parse_assembly(str(module)))
    if "zmm" in assembly:
        return AVX512
    if "ymm" in assembly and "fmadd" in assembly:
        return AVX2
    if "fmla" in assembly:
        return NEON
    return PORTABLE


def lanes(dtype: types.Float) -> int:
    """Elements of a vector register."""
    return vector_unit().bytes * 8 // dtype.bitwidth


# ---------------------------------------------------------------- pointers


@intrinsic
def pointer(typing_context, array, index):
    """The address of `array.flat[index]` in a contiguous array."""
    signature = types.CPointer(array.dtype)(array, types.int64)

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return signature, codegen


@intrinsic
def advance(typing_context, address, elements):
    """The pointer moved by a number of elements."""
    signature = address(address, types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return signature, codegen


@intrinsic
def null_pointer(typing_context, address):
    """The null pointer of the pointer's type."""

    def codegen(context, builder, signature, arguments):
        return ir.Constant(arguments[0].type, None)

    return address(address), codegen


@intrinsic
def vector_lanes(typing_context, address):
    """Elements of a vector register of the pointer's type: a constant of the compiled code."""
    count = lanes(address.dtype)

    def codegen(context, builder, signature, arguments):
        return ir.Constant(_INT, count)

    return types.int64(address), codegen


@intrinsic
def tile_rows(typing_context, address):
    """Rows of the register tile: a constant of the compiled code."""
    count = vector_unit().rows

    def codegen(context, builder, signature, arguments):
        return ir.Constant(_INT, count)

    return types.int64(address), codegen


# ---------------------------------------------------------------- IR in short

_INT = ir.IntType(64)
_INT32 = ir.IntType(32)
_GROUP = 3  # rows of a tile that share a base address


def _declare(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    return cgutils.get_or_insert_function(module, ir.FunctionType(result, arguments), name)


def _integer(value: int) -> ir.Constant:
    return ir.Constant(_INT, value)


def _at(builder: ir.IRBuilder, address: ir.Value, elements: int | ir.Value) -> ir.Value:
    return builder.gep(address, [_integer(elements) if isinstance(elements, int) else elements])


def _opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The same address, of which the optimiser knows nothing: an empty piece of assembly stands between."""
    return builder.call(ir.InlineAsm(ir.FunctionType(value.type, [value.type]), "", "=r,0"), [value])


def _splat(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    """A vector of one repeated value."""
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, count), [0] * count))


def _load(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType) -> ir.Value:
    """A vector from any address of an element."""
    value = builder.load(builder.bitcast(address, vector.as_pointer()), typ=vector)
    value.align = _element_bytes(vector)
    return value


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = _element_bytes(value.type)


def _element_bytes(vector: ir.VectorType) -> int:
    return 8 if isinstance(vector.element, ir.DoubleType) else 4


def _suffix(vector: ir.VectorType) -> str:
    """The vector type's name in the names of LLVM's intrinsics."""
    return f"v{vector.count}f{_element_bytes(vector) * 8}"


def _masked_load(builder: ir.IRBuilder, address: ir.Value, mask: ir.Value, vector: ir.VectorType) -> ir.Value:
    """The lanes of the mask from memory, zero in the others; no lane outside the mask is touched."""
    arguments = [
        builder.bitcast(address, vector.as_pointer()),
        ir.Constant(_INT32, _element_bytes(vector)),
        mask,
        ir.Constant(vector, [0.0] * vector.count),
    ]
    name = f"llvm.masked.load.{_suffix(vector)}.p0"
    return builder.call(_declare(builder.module, name, vector, [a.type for a in arguments]), arguments)


def _masked_store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, mask: ir.Value) -> None:
    arguments = [
        value,
        builder.bitcast(address, value.type.as_pointer()),
        ir.Constant(_INT32, _element_bytes(value.type)),
        mask,
    ]
    name = f"llvm.masked.store.{_suffix(value.type)}.p0"
    builder.call(_declare(builder.module, name, ir.VoidType(), [a.type for a in arguments]), arguments)


def _prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Asks for a cache line, as if to read it: asking for the right to write held up the loads that follow."""
    byte = builder.bitcast(address, ir.IntType(8).as_pointer())
    arguments = [byte, *(ir.Constant(_INT32, flag) for flag in (0, 3, 1))]  # to read, keep in all caches, data
    name = "llvm.prefetch.p0"
    builder.call(_declare(builder.module, name, ir.VoidType(), [a.type for a in arguments]), arguments)


# ---------------------------------------------------------------- moving elements


@intrinsic
def prefetch(typing_context, address):
    """Asks for the cache line of an address, which need not be valid."""

    def codegen(context, builder, signature, arguments):
        _prefetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(address), codegen


@intrinsic
def copy_vector(typing_context, source, target):
    """Copies one vector register's worth of elements."""

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), lanes(signature.args[0].dtype))
        _store(builder, _load(builder, arguments[0], vector), arguments[1])
        return context.get_dummy_value()

    return types.void(source, target), codegen


@intrinsic
def transpose_square(typing_context, source, source_row, rows, target, target_row):
    """target[j * target_row + i] = source[i * source_row + j] for a square of `vector_lanes` elements a side.

    Where the source has fewer `rows`, its last one stands for those that are missing.
    A butterfly: at distance d = lanes/2, ..., 2, 1, rows i and i + d swap the blocks of d elements that lie off the
    diagonal.
    """

    def codegen(context, builder, signature, arguments):
        source, source_row, source_rows, target, target_row = arguments
        count = lanes(signature.args[0].dtype)
        vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), count)
        last = builder.sub(source_rows, _integer(1))
        rows = []
        for i in range(count):
            row = builder.select(builder.icmp_signed("<", _integer(i), last), _integer(i), last)
            rows.append(_load(builder, _at(builder, source, builder.mul(source_row, row)), vector))
        distance = count // 2
        while distance:
            upper = [count + (lane ^ distance) if lane & distance else lane for lane in range(count)]
            lower = [count + lane if lane & distance else lane ^ distance for lane in range(count)]
            for i in range(count):
                if not i & distance:
                    rows[i], rows[i + distance] = (
                        builder.shuffle_vector(
                            rows[i], rows[i + distance], ir.Constant(ir.VectorType(_INT32, count), choice)
                        )
                        for choice in (upper, lower)
                    )
            distance //= 2
        for i in range(count):
            _store(builder, rows[i], _at(builder, target, builder.mul(target_row, _integer(i))))
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, target, types.int64), codegen


# ---------------------------------------------------------------- the register tile


@intrinsic
def multiply_tile(
    typing_context,
    rows,
    outer,
    inner,
    a,
    a_outer,
    a_row,
    a_inner,
    b,
    b_outer,
    b_inner,
    bias,
    floor,
    c,
    c_row,
    beta,
    columns,
):
    """One tile of a matrix product, kept in registers: for i in range(rows), j in range(columns),

        c[i * c_row + j] = max(floor, beta * c[i * c_row + j] + bias[j]
            + sum over t in range(outer), k in range(inner) of
              a[t * a_outer + i * a_row + k * a_inner] * b[t * b_outer + k * b_inner + j])

    `rows` goes from 1 to `tile_rows`, `columns` from 1 to two vectors. Rows of b are read in whole vectors, past
    `columns`. With beta = 0, c is not read. A null `bias` stands for zeros. NaN passes through the maximum.
    """
    integer, element = types.int64, a.dtype
    signature = types.void(
        *(integer,) * 3,
        *(a, integer, integer, integer),
        *(b, integer, integer),
        bias,
        element,
        c,
        integer,
        element,
        integer,
    )

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(context.get_value_type(element), lanes(element))
        builder.call(_tile_switch(builder.module, vector, [value.type for value in arguments]), arguments)
        return context.get_dummy_value()

    return signature, codegen


def _function(module: ir.Module, name: str, argument_types: Sequence[ir.Type]) -> ir.Function:
    """A function shared by all that the module is linked with, and never inlined."""
    function = _declare(module, name, ir.VoidType(), argument_types)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    return function


def _tile_switch(module: ir.Module, vector: ir.VectorType, argument_types: Sequence[ir.Type]) -> ir.Function:
    """The function that picks the tile for a number of rows and columns."""
    unit = vector_unit()
    stem = f"nbdl_{unit.name}_tile_{_suffix(vector)}"
    function = _function(module, stem, argument_types)
    if function.blocks:
        return function
    builder = ir.IRBuilder(function.append_basic_block())
    rows, columns = function.args[0], function.args[-1]
    wide = builder.zext(builder.icmp_signed(">", columns, _integer(vector.count)), _INT)
    done = function.append_basic_block()
    choice = builder.switch(builder.add(builder.mul(wide, _integer(unit.rows)), rows), done)
    for vectors in (1, 2):
        for count in range(1, unit.rows + 1):
            tile = _function(module, f"{stem}_{count}x{vectors}", argument_types[1:])
            _emit_tile(tile, vector, count, vectors)
            block = function.append_basic_block()
            choice.add_case(_integer((vectors - 1) * unit.rows + count), block)
            builder.position_at_end(block)
            builder.call(tile, function.args[1:])
            builder.ret_void()
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _emit_tile(function: ir.Function, vector: ir.VectorType, rows: int, vectors: int) -> None:
    """The body of a tile of `rows` times `vectors` vectors."""
    builder = ir.IRBuilder(function.append_basic_block())
    outer, inner, a, a_outer, a_row, a_inner, b, b_outer, b_inner, bias, floor, c, c_row, beta, columns = function.args
    count = vector.count
    zeros = ir.Constant(vector, [0.0] * count)
    multiply_add = _declare(builder.module, f"llvm.fmuladd.{_suffix(vector)}", vector, [vector] * 3)
    tile = [(i, j) for i in range(rows) for j in range(vectors)]

    lane = ir.Constant(ir.VectorType(_INT, count), list(range(count)))
    masks = [
        builder.icmp_signed("<", lane, _splat(builder, builder.sub(columns, _integer(j * count)), count))
        for j in range(vectors)
    ]

    # C's lines arrive while the sums are formed.
    for i, j in tile:
        _prefetch(builder, _at(builder, c, builder.add(builder.mul(c_row, _integer(i)), _integer(j * count))))

    # Accumulators are variables here; the optimiser keeps them in registers.
    sums = {position: cgutils.alloca_once(builder, vector) for position in tile}
    has_bias = builder.icmp_unsigned("!=", builder.ptrtoint(bias, _INT), _integer(0))
    with builder.if_else(has_bias) as (then, otherwise):
        with then:
            first = [_masked_load(builder, _at(builder, bias, j * count), masks[j], vector) for j in range(vectors)]
            for i, j in tile:
                builder.store(first[j], sums[i, j])
        with otherwise:
            for position in tile:
                builder.store(zeros, sums[position])

    bases = [builder.mul(a_row, _integer(i)) for i in range(0, rows, _GROUP)]
    steps = [builder.mul(a_row, _integer(i)) for i in range(_GROUP)]
    with cgutils.for_range(builder, outer) as outer_loop:
        a_address = cgutils.alloca_once_value(builder, _at(builder, a, builder.mul(outer_loop.index, a_outer)))
        b_address = cgutils.alloca_once_value(builder, _at(builder, b, builder.mul(outer_loop.index, b_outer)))
        with cgutils.for_range(builder, inner):
            a_now, b_now = builder.load(a_address), builder.load(b_address)
            b_row = [_load(builder, _at(builder, b_now, j * count), vector) for j in range(vectors)]
            # An address of a is the base of its group of rows plus 0, 1 or 2 row strides: two registers and a scale.
            # Were the bases not opaque, the optimiser would reach row after row by a chain of additions, as long as
            # the arithmetic, or keep an offset a row, more than there are registers.
            groups = [_opaque(builder, _at(builder, a_now, base)) for base in bases]
            for i in range(rows):
                address = _at(builder, groups[i // _GROUP], steps[i % _GROUP])
                element = _splat(builder, builder.load(address, typ=vector.element), count)
                for j in range(vectors):
                    total = builder.load(sums[i, j], typ=vector)
                    builder.store(builder.call(multiply_add, [element, b_row[j], total]), sums[i, j])
            builder.store(_at(builder, a_now, a_inner), a_address)
            builder.store(_at(builder, b_now, b_inner), b_address)

    floors, betas = _splat(builder, floor, count), _splat(builder, beta, count)

    def write(masked: bool, accumulate: bool) -> None:
        for i, j in tile:
            address = _at(builder, c, builder.add(builder.mul(c_row, _integer(i)), _integer(j * count)))
            value = builder.load(sums[i, j], typ=vector)
            if accumulate:
                old = _masked_load(builder, address, masks[j], vector) if masked else _load(builder, address, vector)
                value = builder.call(multiply_add, [betas, old, value])
            value = builder.select(builder.fcmp_ordered(">", floors, value), floors, value)
            if masked:
                _masked_store(builder, value, address, masks[j])
            else:
                _store(builder, value, address)

    whole = builder.icmp_signed(">=", columns, _integer(vectors * count))
    keeps = builder.fcmp_unordered("!=", beta, ir.Constant(vector.element, 0.0))
    with builder.if_else(whole) as (then, otherwise):
        with then, builder.if_else(keeps) as (old, new):
            with old:
                write(masked=False, accumulate=True)
            with new:
                write(masked=False, accumulate=False)
        with otherwise, builder.if_else(keeps) as (old, new):
            with old:
                write(masked=True, accumulate=True)
            with new:
                write(masked=True, accumulate=False)
    builder.ret_void()
