"""Numbers of 16 bits: float16 and bfloat16 as words, and their way from and to float32.

Kernels calculate in float32. Two bytes a number are for memory and for tensor cores: half the bytes to move. So kernels
see arrays of uint16, whose words these functions make numbers of, by the same integer arithmetic on every target.

    float16     1 sign, 5 exponent, 10 fraction     6e-8 .. 65504, about 3 digits
    bfloat16    1 sign, 8 exponent,  7 fraction     the range of float32, about 2 digits

Conversion to 16 bits rounds to nearest, halves to even; what is too large becomes infinity, NaN stays NaN.

Source: Giesen (2012), "Float to half conversion done quick"; IEEE 754-2008 for float16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing import templates as numba_templates

from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- bits of a float32


def bits_of(x: Any) -> int:
    """The bits of a float32, as an integer that is not negative."""
    return int(np.array([x], np.float32).view(np.uint32)[0])


def number_of(bits: Any) -> Any:
    """The float32 of 32 bits."""
    return np.array([int(bits) & 0xFFFFFFFF], np.uint32).view(np.float32)[0]


def _type_bits_of(_typing: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(32)), ir.IntType(64))

    return types.int64(types.float32), generate


def _type_number_of(_typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.trunc(values[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.int64), generate


def register(templates: Any) -> None:
    """Teaches a compiler the two: Numba at import, numba-cuda when it is first used."""
    typers: dict[Any, Callable[..., Any]] = {bits_of: _type_bits_of, number_of: _type_number_of}
    for function, typer in typers.items():
        template = templates.make_intrinsic_template(function, typer, function.__name__)
        templates.infer(template)
        templates.infer_global(function, types.Function(template))


register(numba_templates)

FUNCTIONS = frozenset([bits_of, number_of])
"""Every function of this module that a compiler is taught."""

# ---------------------------------------------------------------- words

_SIGN = 1 << 15
_INFINITY = 0xFF << 23
_HALF = 126 << 23  # 0.5, whose last place is that of the smallest float16
_LARGE = 143 << 23  # 65536
_SMALL = 113 << 23  # 2^-14, the smallest normal float16
_BIAS = 112 << 23  # the exponents' biases differ by 112


@exact
def to_bfloat16(x):
    """The word of the bfloat16 nearest to a float32."""
    bits = bits_of(x)
    if bits & 0x7FFFFFFF > _INFINITY:
        return np.uint16(bits >> 16 | 0x40)
    return np.uint16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


@exact
def from_bfloat16(word):
    """The float32 of a bfloat16's word."""
    return number_of(np.int64(word) << 16)


@exact
def to_float16(x):
    """The word of the float16 nearest to a float32."""
    bits = bits_of(x)
    sign = bits >> 16 & _SIGN
    bits &= 0x7FFFFFFF
    if bits > _INFINITY:
        return np.uint16(sign | 0x7E00)
    if bits >= _LARGE:
        return np.uint16(sign | 0x7C00)
    if bits < _SMALL:  # the addition rounds to multiples of the smallest float16
        return np.uint16(sign | (bits_of(number_of(bits) + number_of(_HALF)) - _HALF))
    return np.uint16(sign | (bits - _BIAS + 0xFFF + (bits >> 13 & 1)) >> 13)


@exact
def from_float16(word):
    """The float32 of a float16's word."""
    wide = np.int64(word)
    sign = (wide & _SIGN) << 16
    bits = (wide & 0x7FFF) << 13
    if bits >= 0x7C00 << 13:  # infinity or NaN
        return number_of(sign | bits + 2 * _BIAS)
    if bits < 0x400 << 13:  # subnormal
        return number_of(sign | bits_of(number_of(bits + _SMALL) - number_of(_SMALL)))
    return number_of(sign | bits + _BIAS)
