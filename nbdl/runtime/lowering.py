"""How kernels become LLVM code: Numba's compiler, and three things that it does not know.

1. A kernel's `start` and `stop` are not negative.
2. In a map, no iteration reads what another has written.
3. Code calls its own copies of the functions that it calls, never another library's.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir as llvm_ir
from llvmlite.binding import Linkage
from llvmlite.ir.values import MDValue
from numba.core import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

_MOST_TASKS = (1 << 52) - 1

# ---------------------------------------------------------------- libraries


class OwnLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Compiled code that calls its own copies of the functions that it calls.

    Numba lets the linker choose between a function's copies in all that the process has loaded. They were optimised
    each where it is called, so that results could differ in the last bit between a process that compiles a kernel and
    one that loads it.
    """

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super()._optimize_final_module()


# ---------------------------------------------------------------- lowering


class _KernelLower(Lower):  # type: ignore[misc]
    """Tells LLVM that a kernel's `start` and `stop` are not negative.

    Numba lets negative indices count from the end. Where LLVM cannot rule them out, it fetches and stores the
    elements of a vector one by one, which is ten times slower.
    """

    def lower_assign(self, ty, inst):
        value = super().lower_assign(ty, inst)
        if isinstance(inst.value, ir.Arg) and inst.value.name in ("start", "stop"):
            value = self.builder.and_(value, value.type(_MOST_TASKS))
        return value


class _MapLower(_KernelLower):
    """Tells LLVM, too, that the iterations of a kernel's loops are independent.

    A result may lie where an operand lies, as in `x += y`. LLVM would compare the addresses first, and where they
    overlap go through the elements one by one, four to eight times slower.
    """

    def lower_function_body(self):
        entry = super().lower_function_body()
        group = _Distinct(self.module, [], name=str(len(self.module.metadata)))
        for block in self.function.blocks:
            for instruction in block.instructions:
                if instruction.opname in ("load", "store") and not _is_on_the_stack(instruction.operands[-1]):
                    instruction.set_metadata("llvm.access.group", group)
            if block.terminator is not None and block.terminator.opname == "br":
                block.terminator.set_metadata("llvm.loop", self._independent_loop(group))
        return entry

    def _independent_loop(self, group: Any) -> Any:
        """What the jump at a loop's end says of the loop; elsewhere nobody reads it."""
        text = llvm_ir.MetaDataString(self.module, "llvm.loop.parallel_accesses")
        accesses = self.module.add_metadata([text, group])
        loop = MDValue(self.module, [], name=str(len(self.module.metadata)))
        loop.operands = (loop, accesses)  # a loop's description starts with itself
        return loop


class _Distinct(MDValue):  # type: ignore[misc]
    """A node without contents that is equal to no other."""

    def descr(self, buf):
        buf += ("distinct !{}", "\n")


def _is_on_the_stack(address: Any) -> bool:
    """Whether a variable of the function lies there: iterations share those until they move to registers."""
    while isinstance(address, (llvm_ir.GEPInstr, llvm_ir.CastInstr)):
        address = address.operands[0]
    return isinstance(address, llvm_ir.AllocaInstr)


# ---------------------------------------------------------------- compilers


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    _name = "lowering_into_own_library"

    def run_pass(self, state):
        codegen = state.targetctx.codegen()
        name = state.func_id.func_qualname
        state.library = OwnLibrary(codegen, name)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(_Lowering):  # type: ignore[misc]
    _name = "kernel_lowering"
    lowering_class = _KernelLower


@register_pass(mutates_CFG=True, analysis_only=False)
class _MapLowering(_Lowering):  # type: ignore[misc]
    _name = "map_lowering"
    lowering_class = _MapLower


class Compiler(CompilerBase):  # type: ignore[misc]
    """Of functions that know nothing of tasks: the third alone."""

    lowering = _Lowering

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (self.lowering, name) if kind is NativeLowering else (kind, name) for kind, name in passes.passes
        ]
        passes.finalize()
        return [passes]


class KernelCompiler(Compiler):
    """Of kernels: the first and the third."""

    lowering = _KernelLowering


class MapCompiler(Compiler):
    """Of maps: all three."""

    lowering = _MapLowering
