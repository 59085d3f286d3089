"""Numba's kernels, compiled for WebAssembly: run in a process of its own, `python -m nbdl.export.cross REQUEST`.

WebAssembly is made Numba's target from the first instruction of LLVM's intermediate code on, not translated to in the
end, so that addresses have 32 bits and vectors 128. Numba has no such target; this module takes the place of its
processor's code generator, which changes every compilation of the process. Hence a process of its own. It touches
private parts of Numba, whose version `pyproject.toml` pins.

A request is a JSON file (see `nbdl.export.wasm`). Each of its programs becomes a function without arguments, which
calls kernels one after the other on arrays at fixed places of one block of memory, the arena; each of its kernels
becomes a function of addresses, sizes and numbers.

    layout of the memory   stack | constants, arena | what `nbdl_allocate` gives out, until `nbdl_release`
"""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit
from numba.core import cgutils, codegen, fastmathpass, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.registry import cpu_target
from numba.np.arrayobj import populate_array

from nbdl.runtime import jit, lowering, simd
from nbdl.runtime.cache import StampedCache
from nbdl.runtime.gemm import bending, panel
from nbdl.runtime.simd import advance, lanes, multiply_tile, tile_rows

TRIPLE = "wasm32-unknown-unknown"

FEATURES = "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext,+mutable-globals"
"""What every browser since 2021 has (Safari: 2023)."""

STACK_BYTES = 1 << 16

MOST_BYTES = 1 << 30

_BYTE = ir.IntType(8)
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)

# ---------------------------------------------------------------- the target


class _Library(codegen.AOTCodeLibrary):  # type: ignore[misc]
    """Keeps plain intermediate code until all of it is together."""

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        pass

    def get_pointer_to_function(self, name):
        return 0


class _Codegen(codegen.CPUCodegen):  # type: ignore[misc]
    _library_class = _Library

    def _init(self, module):
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        self._tm_features = FEATURES
        self._tm = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=3, features=FEATURES)
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)
        self._loopvect, self._opt_level = True, 3

    def _create_empty_module(self, name):
        module = ir.Module(cgutils.normalize_ir_text(name))
        module.triple = TRIPLE
        if self._data_layout:
            module.data_layout = self._data_layout
        return module

    def _add_module(self, module):
        pass

    def set_env(self, *_):
        pass

    def insert_unresolved_ref(self, builder, function_type, name):  # recursion: a plain call
        return cgutils.get_or_insert_function(builder.module, function_type, name)

    def magic_tuple(self):
        return TRIPLE, "", FEATURES


def install() -> None:
    """Makes WebAssembly the target of every kernel that this process compiles."""
    context = cpu_target.target_context
    context._internal_codegen = _Codegen("numba.wasm")
    context.address_size = 32
    CPUContext.add_dynamic_addr = _no_address
    # Nothing runs here: what stands for the compiled function only has to be of its own for each.
    CPUContext.get_executable = lambda self, library, description, environment: [].index
    CPUContext.create_cpython_wrapper = lambda self, *_, **__: None
    CPUContext.create_cfunc_wrapper = lambda self, *_, **__: None
    CPUContext.post_lowering = _without_reference_counts
    lowering.OwnLibrary = _Library  # type: ignore[assignment,misc]
    simd._tile_switch = _tile_switch
    StampedCache.load_overload = lambda self, *_: None  # type: ignore[method-assign]
    StampedCache.save_overload = lambda self, *_: None  # type: ignore[method-assign]


def _no_address(self, builder, address, info):
    if not info.endswith("Dispatcher"):  # a compiled function as a value is never followed
        raise TypeError(f"constant too large for a WebAssembly module: {info}")
    return ir.Constant(_BYTE.as_pointer(), None)


def _without_reference_counts(self, module, library):
    """What Numba does after lowering, but for the code that frees arrays: kernels own none."""
    if self.fastmath:
        fastmathpass.rewrite_module(module, self.fastmath)


# ---------------------------------------------------------------- kernels


def find_kernel(module: str, *steps: Any) -> jit.Kernel:
    """The kernel at the end of a path: attributes by name, items of tables, variables that a function closes over."""
    found: Any = importlib.import_module(module)
    for step in steps:
        if isinstance(step, str):
            found = inspect.getattr_static(found, step) if isinstance(found, type) else getattr(found, step)
        elif "item" in step:
            found = found[step["item"]]
        else:
            found = found.__closure__[found.__code__.co_freevars.index(step["closure"])].cell_contents
    return found


def _compiled(dispatcher: Any, arguments: tuple[types.Type, ...]) -> Any:
    if arguments not in dispatcher.overloads:
        dispatcher.compile(arguments)
    return dispatcher.overloads[arguments]


def _number_type(name: str) -> Any:
    return types.boolean if name == "bool" else getattr(types, name)


def _type_of(argument: dict[str, Any]) -> Any:
    """Numba's type of a request's argument."""
    kind = argument["kind"]
    if kind == "array":
        element = _number_type(argument["dtype"])
        return types.Array(element, len(argument["shape"]), argument["layout"])  # all of the arena may be written
    if kind == "tuple":
        items = tuple(map(_type_of, argument["items"]))
        return types.containers.BaseTuple.from_types(items)
    return types.none if kind == "none" else _number_type(argument["type"])


class _Entries:
    """The functions that the outside calls, in a module of their own."""

    def __init__(self) -> None:
        self.context = cpu_target.target_context
        self.module = self.context._internal_codegen._create_empty_module("entries")
        self.libraries: list[Any] = []
        self.arena: ir.GlobalVariable | None = None

    def call(
        self, builder: ir.IRBuilder, dispatcher: Any, signature: tuple[types.Type, ...], values: list[Any]
    ) -> None:
        result = _compiled(dispatcher, signature)
        if result.library not in self.libraries:
            self.libraries.append(result.library)
        function = self.context.declare_function(self.module, result.fndesc)
        self.context.call_conv.call_function(builder, function, result.signature.return_type, signature, values)

    # -- programs

    def add_arena(self, nbytes: int) -> None:
        kind = ir.ArrayType(_BYTE, max(nbytes, 1))
        self.arena = ir.GlobalVariable(self.module, kind, "nbdl_arena")
        self.arena.initializer = ir.Constant(kind, None)
        self.arena.align = 64

    def add_program(self, name: str, program: dict[str, Any], kernels: list[jit.Kernel]) -> None:
        """A function `name()` that runs the launches of a program and returns 0.

        If input number k holds an id that its range does not allow, the function returns k, from 1 on, at once.
        """
        function = ir.Function(self.module, ir.FunctionType(_INT32, []), name)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        for number, ids in enumerate(program["ranges"], 1):
            with builder.if_then(self._is_outside(builder, ids), likely=False):
                builder.ret(ir.Constant(_INT32, number))
        for launch in program["launches"]:
            for piece in launch["fill"]:
                self._fill(builder, piece)
            body = kernels[launch["kernel"]].cpu
            signature = (*map(_type_of, launch["arguments"]), types.int64, types.int64)
            values = [self._value(builder, argument) for argument in launch["arguments"]]
            values += [ir.Constant(_INT64, 0), ir.Constant(_INT64, launch["tasks"])]
            self.call(builder, body, signature, values)
        builder.ret(ir.Constant(_INT32, 0))

    def _is_outside(self, builder: ir.IRBuilder, ids: dict[str, Any]) -> Any:
        """Whether any of an input's ids lies outside its range."""
        wide = ids["dtype"] == "int64"
        element = _INT64 if wide else _INT32
        check = cgutils.get_or_insert_function(
            self.module,
            ir.FunctionType(ir.IntType(1), [element.as_pointer(), _INT32, element, element, element]),
            f"nbdl_outside_{ids['dtype']}",
        )
        also = ids["lowest"] if ids["also"] is None else ids["also"]
        count = math.prod(ids["shape"])
        place = builder.bitcast(self._place(builder, ids["offset"]), element.as_pointer())
        limits = [ir.Constant(element, value) for value in (ids["lowest"], ids["highest"] - ids["lowest"], also)]
        return builder.call(check, [place, ir.Constant(_INT32, count), *limits])

    def _place(self, builder: ir.IRBuilder, offset: int) -> Any:
        zero = ir.Constant(_INT32, 0)
        return builder.gep(self.arena, [zero, ir.Constant(_INT32, offset)], inbounds=True)

    def _fill(self, builder: ir.IRBuilder, piece: dict[str, Any]) -> None:
        """Puts a constant where it belongs: a table of numbers, or of addresses in the arena."""
        target = self._place(builder, piece["offset"])
        if "places" in piece:
            slots = builder.bitcast(target, _INT64.as_pointer())
            for k, place in enumerate(piece["places"]):
                if place is not None:
                    address = builder.ptrtoint(self._place(builder, place), _INT64)
                    builder.store(address, builder.gep(slots, [ir.Constant(_INT32, k)]))
            return
        if "curve" in piece:
            address = builder.ptrtoint(self._curve(piece), _INT64)
            builder.store(address, builder.bitcast(target, _INT64.as_pointer()))
            return
        content = base64.b64decode(piece["content"])
        if not any(content):
            cgutils.memset(builder, target, ir.Constant(_INT32, len(content)), 0)
            return
        source = cgutils.global_constant(builder, "constant", cgutils.make_bytearray(content))
        source.align = 8
        size = ir.Constant(_INT32, len(content))
        cgutils.raw_memcpy(builder, target, builder.bitcast(source, _BYTE.as_pointer()), size, 1)

    def _curve(self, piece: dict[str, Any]) -> ir.Function:
        """The function by which a matrix product bends its results."""
        module, name = piece["curve"]
        symbol = f"{module}.{name}.{piece['dtype']}"
        if symbol not in self.module.globals:
            signature = bending._signature(_number_type(piece["dtype"]))
            inputs = [self.context.get_value_type(kind) for kind in signature.args]
            function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), inputs), symbol)
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            curve = getattr(importlib.import_module(module), name)
            body = njit(error_model="numpy", fastmath=jit.FASTMATH)(bending._bending(curve))
            self.call(inner, body, signature.args, list(function.args))
            inner.ret_void()
        return self.module.globals[symbol]

    def _value(self, builder: ir.IRBuilder, argument: dict[str, Any]) -> Any:
        kind, kind_type = argument["kind"], _type_of(argument)
        if kind == "array":
            data = builder.bitcast(
                self._place(builder, argument["offset"]),
                self.context.get_data_type(kind_type.dtype).as_pointer(),
            )
            shape = [ir.Constant(_INT64, size) for size in argument["shape"]]
            strides = [ir.Constant(_INT64, step) for step in argument["strides"]]
            return self._array(builder, kind_type, data, shape, strides)
        if kind == "tuple":
            return self.context.make_tuple(
                builder, kind_type, [self._value(builder, item) for item in argument["items"]]
            )
        if kind == "none":
            return self.context.get_dummy_value()
        return self.context.get_constant(kind_type, argument["value"])

    def _array(self, builder: ir.IRBuilder, kind: Any, data: Any, shape: list[Any], strides: list[Any]) -> Any:
        array = self.context.make_array(kind)(self.context, builder)
        itemsize = ir.Constant(_INT64, kind.dtype.bitwidth // 8 if kind.dtype != types.boolean else 1)
        populate_array(array, data, shape, strides, itemsize, meminfo=None)
        return array._getvalue()

    # -- single kernels

    def add_kernel(self, name: str, kernel: jit.Kernel, arguments: list[str]) -> None:
        """A function of an address and the sizes for each array, and of a number for each number; then the tasks."""
        kinds: list[Any] = []
        for text in arguments:
            match = re.fullmatch(r"(\w+)\[([:, ]*)\]", text)
            if match:
                kinds.append(types.Array(_number_type(match[1]), match[2].count(":"), "C"))
            else:
                kinds.append(_number_type(text))
        inputs: list[ir.Type] = []
        for kind in kinds:
            if isinstance(kind, types.Array):
                inputs += [self.context.get_data_type(kind.dtype).as_pointer(), *[_INT32] * kind.ndim]
            else:
                inputs.append(_boundary_type(kind))
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [*inputs, _INT32]), name)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        given = list(function.args)
        values: list[Any] = []
        for kind in kinds:
            values.append(self._from_outside(builder, kind, given))
        tasks = builder.zext(given.pop(0), _INT64)
        self.call(builder, kernel.cpu, (*kinds, types.int64, types.int64), [*values, ir.Constant(_INT64, 0), tasks])
        builder.ret_void()

    def _from_outside(self, builder: ir.IRBuilder, kind: Any, given: list[Any]) -> Any:
        value = given.pop(0)
        if isinstance(kind, types.Array):
            shape = [builder.zext(given.pop(0), _INT64) for _ in range(kind.ndim)]
            strides: list[Any] = [ir.Constant(_INT64, kind.dtype.bitwidth // 8)]
            for size in reversed(shape[1:]):
                strides.insert(0, builder.mul(strides[0], size))
            return self._array(builder, kind, value, shape, strides)
        if isinstance(kind, types.Boolean):
            return builder.icmp_unsigned("!=", value, ir.Constant(_INT32, 0))
        if isinstance(kind, types.Integer):
            wanted = self.context.get_value_type(kind)
            if wanted.width == 32:
                return value
            return builder.sext(value, wanted) if kind in types.signed_domain else builder.zext(value, wanted)
        return value


def _boundary_type(kind: types.Type) -> ir.Type:
    """How a number crosses the boundary; integers of 64 bits would be JavaScript's BigInt."""
    return {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(kind, _INT32)


# ---------------------------------------------------------------- the module

_OUTSIDE = r"""
; Whether some of `count` ids are neither in [lowest, lowest + span] nor `also`.
define i1 @nbdl_outside_intBITS(ptr %ids, i32 %count, iBITS %lowest, iBITS %span, iBITS %also) noinline {
entry:
  br label %check
check:
  %k = phi i32 [ 0, %entry ], [ %next, %look ]
  %more = icmp ult i32 %k, %count
  br i1 %more, label %look, label %done
look:
  %place = getelementptr iBITS, ptr %ids, i32 %k
  %id = load iBITS, ptr %place
  %above = sub iBITS %id, %lowest
  %fits = icmp ule iBITS %above, %span
  %other = icmp eq iBITS %id, %also
  %fine = or i1 %fits, %other
  %next = add i32 %k, 1
  br i1 %fine, label %check, label %done
done:
  %found = phi i1 [ false, %check ], [ true, %look ]
  ret i1 %found
}
"""

_RUNTIME = r"""
@__heap_base = external global i8
@nbdl_top = internal global i32 0
declare i32 @llvm.wasm.memory.size.i32(i32)
declare i32 @llvm.wasm.memory.grow.i32(i32, i32)
declare float @llvm.sqrt.f32(float)
declare double @llvm.sqrt.f64(double)

define i32 @nbdl_allocate(i32 %bytes) {
  %top = load i32, ptr @nbdl_top
  %is_first = icmp eq i32 %top, 0
  %base = ptrtoint ptr @__heap_base to i32
  %from = select i1 %is_first, i32 %base, i32 %top
  %above = add i32 %from, 63
  %start = and i32 %above, -64
  %end = add i32 %start, %bytes
  %past = add i32 %end, 65535
  %needed = lshr i32 %past, 16
  %have = call i32 @llvm.wasm.memory.size.i32(i32 0)
  %short = icmp ugt i32 %needed, %have
  br i1 %short, label %grow, label %done
grow:
  %more = sub i32 %needed, %have
  %got = call i32 @llvm.wasm.memory.grow.i32(i32 0, i32 %more)
  %failed = icmp eq i32 %got, -1
  br i1 %failed, label %refused, label %done
refused:
  ret i32 0
done:
  store i32 %end, ptr @nbdl_top
  ret i32 %start
}
define void @nbdl_release() {
  store i32 0, ptr @nbdl_top
  ret void
}
define void @NRT_incref(ptr %array) alwaysinline { ret void }
define void @NRT_decref(ptr %array) alwaysinline { ret void }

; A view of contiguous memory in another shape: its strides, from the last dimension on. 0 where memory is no such.
define i32 @numba_attempt_nocopy_reshape(i64 %rank, ptr %shape, ptr %strides, i64 %new_rank, ptr %new_shape,
                                         ptr %new_strides, i64 %itemsize, i32 %fortran) {
entry:
  %is_fortran = icmp ne i32 %fortran, 0
  br i1 %is_fortran, label %refused, label %check
check:
  %left = phi i64 [ %rank, %entry ], [ %axis, %contiguous ]
  %expected = phi i64 [ %itemsize, %entry ], [ %extent, %contiguous ]
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %compare, label %place
compare:
  %axis = sub i64 %left, 1
  %size_at = getelementptr i64, ptr %shape, i64 %axis
  %size = load i64, ptr %size_at
  %stride_at = getelementptr i64, ptr %strides, i64 %axis
  %stride = load i64, ptr %stride_at
  %extent = mul i64 %expected, %size
  %fits = icmp eq i64 %stride, %expected
  %is_one = icmp eq i64 %size, 1
  %is_fine = or i1 %fits, %is_one
  br i1 %is_fine, label %contiguous, label %refused
contiguous:
  br label %check
place:
  %rest = phi i64 [ %new_rank, %check ], [ %new_axis, %store ]
  %step = phi i64 [ %itemsize, %check ], [ %next, %store ]
  %again = icmp sgt i64 %rest, 0
  br i1 %again, label %store, label %done
store:
  %new_axis = sub i64 %rest, 1
  %new_size_at = getelementptr i64, ptr %new_shape, i64 %new_axis
  %new_size = load i64, ptr %new_size_at
  %new_stride_at = getelementptr i64, ptr %new_strides, i64 %new_axis
  store i64 %step, ptr %new_stride_at
  %next = mul i64 %step, %new_size
  br label %place
done:
  ret i32 1
refused:
  ret i32 0
}
define float @sqrtf(float %x) alwaysinline {
  %y = call float @llvm.sqrt.f32(float %x)
  ret float %y
}
define double @sqrt(double %x) alwaysinline {
  %y = call double @llvm.sqrt.f64(double %x)
  ret double %y
}
"""


def _panel(rows, outer, inner, a, a_outer, a_row, a_inner, b, b_outer, b_inner, bias, floor, c, c_row, beta, columns):
    """As the driver of `nbdl.runtime.gemm.panel`, with tiles of two heights only: the others are 8 kB of code."""
    most = tile_rows(a)
    row = 0
    while row < rows:
        height = most if rows - row >= most else 1
        multiply_tile(
            height, outer, inner, advance(a, row * a_row), a_outer, a_row, a_inner, b, b_outer, b_inner,
            bias, floor, advance(c, row * c_row), c_row, beta, columns,
        )  # fmt: skip
        row += height


def _tile_switch(module: ir.Module, vector: ir.VectorType, argument_types: Sequence[ir.Type]) -> ir.Function:
    """As in `nbdl.runtime.simd`: picks one of the tiles that `_panel` uses."""
    stem = f"nbdl_tile_{simd._suffix(vector)}"
    function = simd._function(module, stem, argument_types)
    if function.blocks:
        return function
    builder = ir.IRBuilder(function.append_basic_block())
    is_high = builder.icmp_signed("!=", function.args[0], ir.Constant(_INT64, 1))
    is_wide = builder.icmp_signed(">", function.args[-1], ir.Constant(_INT64, vector.count))
    for height, high in ((simd.vector_unit().rows, is_high), (1, builder.not_(is_high))):
        for vectors, wide in ((2, is_wide), (1, builder.not_(is_wide))):
            tile = simd._function(module, f"{stem}_{height}x{vectors}", argument_types[1:])
            simd._emit_tile(tile, vector, height, vectors)
            with builder.if_then(builder.and_(high, wide)):
                builder.call(tile, function.args[1:])
    builder.ret_void()
    return function


def _add_tile_driver(entries: _Entries, element: Any) -> None:
    """Defines the tile driver that kernels call by symbol (see `nbdl.runtime.gemm.panel`).

    Matrices may have been packed for the wider vectors of the machine that traced the program, so a panel is cut into
    pieces of this target's width.
    """
    signature = panel._signature(element)
    names = _panel.__code__.co_varnames
    context, module = entries.context, entries.module
    inputs = [context.get_value_type(kind) for kind in signature.args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), inputs), panel._symbol(element))
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    given = dict(zip(names, function.args, strict=False))
    driver = njit(error_model="numpy")(_panel)
    width = ir.Constant(_INT64, 2 * lanes(element))
    zero = ir.Constant(_INT64, 0)
    with cgutils.for_range_slice(builder, zero, given["columns"], width, _INT64) as (left, _):
        rest = builder.sub(given["columns"], left)
        many = builder.select(builder.icmp_signed("<", rest, width), rest, width)
        no_bias = builder.icmp_unsigned("==", given["bias"], ir.Constant(given["bias"].type, None))
        bias = builder.select(no_bias, given["bias"], builder.gep(given["bias"], [left]))
        moved = {name: builder.gep(given[name], [left]) for name in ("b", "c")}
        values = list({**given, **moved, "bias": bias, "columns": many}.values())
        entries.call(builder, driver, signature.args, values)
    builder.ret_void()


@global_compiler_lock
def build(request: dict[str, Any], target: Path) -> None:
    """Compiles a request into a WebAssembly module."""
    kernels = [find_kernel(*key) for key in request["uses"]]
    entries = _Entries()
    entries.add_arena(request["arena"])
    for name, program in request["programs"].items():
        entries.add_program(name, program, kernels)
    for name, entry in request["kernels"].items():
        entries.add_kernel(name, kernels[entry["kernel"]], entry["arguments"])
    exported = [*request["programs"], *request["kernels"], "nbdl_allocate", "nbdl_release", "nbdl_arena"]
    for element in panel.FLOATS:
        if any(panel._symbol(element) in str(library._get_module_for_linking()) for library in entries.libraries):
            _add_tile_driver(entries, element)
    _link(_optimized(entries, exported, request["programs"]), exported, target)


def _optimized(entries: _Entries, exported: list[str], programs: Collection[str]) -> bytes:
    """All code in one module, what nobody outside calls made private, as an object file.

    Kernels may grow where that makes them faster; the programs, which only call them, may not.
    """
    generator = entries.context._internal_codegen
    header = f'target datalayout = "{generator._data_layout}"\ntarget triple = "{TRIPLE}"\n'
    module = _parse(str(entries.module))
    for library in entries.libraries:
        module.link_in(_parse(str(library._get_module_for_linking())))
    module.link_in(
        llvm.parse_assembly(header + _RUNTIME + "".join(_OUTSIDE.replace("BITS", bits) for bits in ("32", "64")))
    )
    for variable in module.global_variables:
        if variable.linkage == llvm.Linkage.common:  # WebAssembly has none
            variable.linkage = "internal"
    for function in module.functions:
        if function.is_declaration:
            continue
        function.add_function_attribute("minsize" if function.name in programs else "optsize")
        if function.name not in exported:
            function.linkage = "internal"
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_unrolling = False  # a page waits longer for a copy of a loop than it gains by it
    builder = llvm.create_pass_builder(generator._tm, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(generator._tm.emit_object(module))


def _parse(text: str) -> Any:
    """A module in which a fused multiply-add may be two operations: the target has no such instruction."""
    return llvm.parse_assembly(cgutils.normalize_ir_text(text).replace("@llvm.fma.", "@llvm.fmuladd."))


def _link(code: bytes, exported: list[str], target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.o"
        path.write_bytes(code)
        command = [
            *_linker(),
            *("--no-entry", "-O3", "--strip-all", "--gc-sections", "-z", f"stack-size={STACK_BYTES}"),
            *(f"--max-memory={MOST_BYTES}", *(f"--export={name}" for name in exported)),
            *(str(path), "-o", str(target)),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        missing = sorted(set(re.findall(r"undefined symbol: (\S+)", result.stderr)))
        sys.exit("not for WebAssembly: " + (", ".join(missing) if missing else result.stderr.strip()))


def _linker() -> list[str]:
    """wasm-ld: LLVM's own, or the one in PyPI's ziglang."""
    found = shutil.which("wasm-ld")
    return [found] if found else [sys.executable, "-m", "ziglang", "wasm-ld"]


if __name__ == "__main__":
    install()
    source, target = map(Path, sys.argv[1:])
    build(json.loads(source.read_text(encoding="utf-8")), target)
