"""Tensor cores: the product of two small matrices, which the 32 threads of a warp hold together.

    c0, c1, c2, c3 = multiply_bfloat16(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3)

adds a [16, 16] times b [16, 8] to c [16, 8]. Sums are float32. Lane 4 g + p of the warp holds, with two neighbours of
K in each register of a and b (`multiply_tf32`: K = 8, one number in each):

    a0, a2   row g, columns 2p, 2p + 1 of the left half, of the right half      b0, b1   the same rows of column g
    a1, a3   row g + 8                                                          c0, c1   row g, columns 2p, 2p + 1
                                                                                c2, c3   row g + 8

All lanes must come together. Compute capability 8.0 or newer. The interpreter of nbdl.testing gathers the registers of
a warp and multiplies the matrices, so that a kernel that loads the wrong one is found without a GPU.

Source: NVIDIA, "Parallel Thread Execution ISA", section "Matrix Fragments for mma.m16n8k16".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.runtime.errors import DeviceError

# ---------------------------------------------------------------- what a register holds


def _two_float16(register: Any) -> np.ndarray:
    return np.array([register], np.uint32).view(np.float16).astype(np.float32)


def _two_bfloat16(register: Any) -> np.ndarray:
    return (np.array([register], np.uint32).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _one_tf32(register: Any) -> np.ndarray:
    return np.array([register], np.uint32).view(np.float32)


# ---------------------------------------------------------------- what kernels call


def _alone(name: str) -> DeviceError:
    return DeviceError(f"{name}: a product of a whole warp exists only inside a kernel")


def multiply_float16(
    a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any, c0: Any, c1: Any, c2: Any, c3: Any
) -> tuple[Any, Any, Any, Any]:
    """c + a b for float16 operands, two in a register."""
    raise _alone("multiply_float16")


def multiply_bfloat16(
    a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any, c0: Any, c1: Any, c2: Any, c3: Any
) -> tuple[Any, Any, Any, Any]:
    """c + a b for bfloat16 operands, two in a register."""
    raise _alone("multiply_bfloat16")


def multiply_tf32(
    a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any, c0: Any, c1: Any, c2: Any, c3: Any
) -> tuple[Any, Any, Any, Any]:
    """c + a b for float32 operands of 10 bits of fraction (see `to_tf32`)."""
    raise _alone("multiply_tf32")


def to_tf32(x: Any) -> Any:
    """The register that holds a float32 rounded to 10 bits of fraction, halves away from zero."""
    bits = int(np.array([x], np.float32).view(np.uint32)[0])
    if bits & 0x7F800000 == 0x7F800000:  # infinity and NaN stay
        return np.uint32(bits)
    return np.uint32((bits + 0x1000) & 0xFFFFE000)


def load_pair(x: Any, index: Any) -> Any:
    """Two neighbouring elements of 16 bits as one register, the first in the low bits."""
    after = (*index[:-1], index[-1] + 1) if isinstance(index, tuple) else index + 1
    return np.uint32(int(x[index]) | int(x[after]) << 16)


PRODUCTS: dict[Any, tuple[int, Callable[[Any], np.ndarray]]] = {
    multiply_float16: (16, _two_float16),
    multiply_bfloat16: (16, _two_bfloat16),
    multiply_tf32: (8, _one_tf32),
}
"""Each product: its K, and the numbers that a register of a or b holds."""

_INSTRUCTIONS = {
    multiply_float16: "m16n8k16.row.col.f32.f16.f16.f32",
    multiply_bfloat16: "m16n8k16.row.col.f32.bf16.bf16.f32",
    multiply_tf32: "m16n8k8.row.col.f32.tf32.tf32.f32",
}

FUNCTIONS = frozenset([*PRODUCTS, to_tf32, load_pair])
"""Every function of this module that kernels may call."""

# ---------------------------------------------------------------- what numba-cuda makes of them


def register() -> None:
    """Teaches numba-cuda the functions of this module."""
    from numba.cuda import types
    from numba.cuda.typing import templates

    def add(function: Any, typer: Callable[..., Any]) -> None:
        template = templates.make_intrinsic_template(function, typer, function.__name__)
        templates.infer(template)
        templates.infer_global(function, types.Function(template))

    for function, instruction in _INSTRUCTIONS.items():
        add(function, _product_typer(instruction))
    add(to_tf32, _type_to_tf32)
    add(load_pair, _type_load_pair)


def _product_typer(instruction: str) -> Callable[..., Any]:
    def typer(_typing: Any, a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any, c0: Any, c1: Any, c2: Any, c3: Any):  # type: ignore[no-untyped-def]
        from llvmlite import ir
        from numba.cuda import types

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            single, register = ir.FloatType(), ir.IntType(32)
            form = ir.FunctionType(ir.LiteralStructType([single] * 4), [register] * 6 + [single] * 4)
            text = f"mma.sync.aligned.{instruction} {{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, {{$10,$11,$12,$13}};"
            assembly = ir.InlineAsm(form, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=True)
            result = builder.call(assembly, values)
            return context.make_tuple(
                builder, signature.return_type, [builder.extract_value(result, place) for place in range(4)]
            )

        word, number = types.uint32, types.float32
        return types.UniTuple(number, 4)(*[word] * 6, *[number] * 4), generate

    return typer


def _type_to_tf32(_typing: Any, x: Any) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        form = ir.FunctionType(ir.IntType(32), [ir.FloatType()])
        return builder.call(ir.InlineAsm(form, "cvt.rna.tf32.f32 $0, $1;", "=r,f"), values)

    return types.uint32(types.float32), generate


def _type_load_pair(_typing: Any, x: Any, index: Any) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    from nbdl.runtime.cuda.vectors import element_pointer

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = element_pointer(context, builder, x, values[0], index, values[1])
        return builder.load(builder.bitcast(first, ir.IntType(32).as_pointer()), align=4)

    return types.uint32(x, index), generate
