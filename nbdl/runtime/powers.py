r"""Powers $a^b$ as straight lines that LLVM turns into vector code: for float32 and float64, on the CPU and on a GPU.

$a^b = 2^{b \log_2 a}$. An error of the exponent is one of the result relative to it, and the exponent reaches 150
(float64: 1100): $\log_2 a$ needs seven (ten) bits more than a number has. So it is kept as a sum of two numbers, high
and low, whose rounding errors `fma` and differences recover (Dekker, 1971).

1. $a = 2^k m$ with $\tfrac{11}{12} \le m < \tfrac{11}6$; c is 1 or, for $m > \tfrac54$, $\tfrac32$. With
   $s = (m - c) / (m + c)$ and $z = s^2 \le \tfrac1{81}$: $\log_2 a = k + \log_2 c + s\,(C_0 + C_1 z + z^2 Q(z))$,
   $C_0 = 2 / \ln 2$, $C_1 = C_0 / 3$. Only $z^2 Q(z)$, at most $2^{-15}$ of the sum, may be rounded like any number.
2. $b \log_2 a = n + r$ with n an integer and $|r| \le \tfrac12$, $2^r = 1 + r \ln 2 + r^2 R(r)$. The one rounding that
   counts is the last: whatever a format holds exactly, $3^4$ say, is given exactly.

Q and R are minimax polynomials. $2^n$ is multiplied in two halves, so that subnormal results are rounded as they should
be. Errors stay under 0.8 units in the last place; special values are those of IEEE 754 and C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nbdl.runtime.circular import is_float32
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import binary_exponent, copysign, fma, polynomial, times_two_to


class _Format(NamedTuple):
    """What the power needs to know about a format. All numbers are of that format."""

    zero: Any
    half: Any
    one: Any
    inf: Any
    nan: Any
    even: Any
    """From here on every number is an even integer."""
    shift: Any
    smallest_normal: Any
    subnormal_scale: Any
    subnormal_exponent: Any
    rescale: Any
    """What brings the range of `binary_exponent` to [11/12, 11/6)."""
    split: Any
    """Beyond it, logarithms are taken from `centre`."""
    centre: Any
    log_centre: Any
    """log2 of it, with so few digits that its sum with an integer is exact."""
    log_centre_low: Any
    limit: Any
    """Exponents beyond it, either way, give infinity or zero."""
    c0: Any
    c0_low: Any
    c1: Any
    c1_low: Any
    q: tuple[Any, ...]
    ln2: Any
    ln2_low: Any
    r: tuple[Any, ...]


def _format(dtype: Callable[[float], Any], **values: Any) -> _Format:
    shared = {
        "zero": 0.0,
        "half": 0.5,
        "one": 1.0,
        "rescale": 8 / 11,
        "split": 1.25,
        "centre": 1.5,
        "inf": math.inf,
        "nan": math.nan,
    }
    return _Format(
        **{
            name: tuple(map(dtype, value)) if isinstance(value, tuple) else dtype(value)
            for name, value in (shared | values).items()
        }
    )


_FLOAT32 = _format(
    np.float32,
    even=2.0**24,
    shift=1.5 * 2.0**23,
    smallest_normal=2.0**-126,
    subnormal_scale=2.0**24,
    subnormal_exponent=24.0,
    limit=200.0,
    c0=2.885390043258667,
    c0_low=3.851926067000022e-08,
    c1=0.9617967009544373,
    c1_low=-7.028461812552678e-09,
    log_centre=0.5849609375,
    log_centre_low=1.5632211898264359e-06,
    q=(0.41844586359063285, 0.5770493087908214),
    ln2=0.6931471824645996,
    ln2_low=-1.9046542121259336e-09,
    r=(
        0.00015471865329526156, 0.0013390460121219896, 0.00961802267737363, 0.05550361616786637, 0.24022651153541277,
    ),
)  # fmt: skip

_FLOAT64 = _format(
    np.float64,
    even=2.0**53,
    shift=1.5 * 2.0**52,
    smallest_normal=2.0**-1022,
    subnormal_scale=2.0**53,
    subnormal_exponent=53.0,
    limit=1200.0,
    c0=2.8853900817779268,
    c0_low=4.0710547481862066e-17,
    c1=0.9617966939259756,
    c1_low=5.0577616648125907e-17,
    log_centre=0.584962500720394,
    log_centre_low=7.621628819151085e-13,
    q=(
        0.20049752882905536, 0.2217999940197799, 0.2623096406651296, 0.32059889073414966, 0.4121985831288495,
        0.5770780163555692,
    ),
    ln2=0.6931471805599453,
    ln2_low=2.3190468138462996e-17,
    r=(
        4.457208976082647e-10, 7.073850125001114e-09, 1.0178047977086244e-07, 1.3215434891384688e-06,
        1.5252733862614004e-05, 0.00015403530457886832, 0.0013333558146386595, 0.009618129107593536,
        0.05550410866482169, 0.24022650695910133,
    ),
)  # fmt: skip

# ---------------------------------------------------------------- parts


def _logarithm(c: _Format) -> Any:
    @exact
    def logarithm(size):
        """log2 of a number of at least 0, as a high and a low part."""
        subnormal = size < c.smallest_normal
        normal = size * c.subnormal_scale if subnormal else size
        k = binary_exponent(normal * c.rescale)
        m = times_two_to(normal, c.shift - k)
        k = k - c.subnormal_exponent if subnormal else k
        upper = m > c.split
        centre = c.centre if upper else c.one
        f, t = m - centre, m + centre
        inverse = c.one / t
        s = f * inverse
        s_low = fma(-s, m - (t - centre), fma(-s, t, f)) * inverse
        z = s * s
        z_low = fma(s + s, s_low, fma(s, s, -z))
        term = c.c1 * z
        term_low = fma(c.c1, z, -term) + fma(c.c1, z_low, fma(c.c1_low, z, z * z * polynomial(z, c.q)))
        factor = c.c0 + term
        factor_low = (term - (factor - c.c0)) + (term_low + c.c0_low)
        log = s * factor
        log_low = fma(s, factor, -log) + fma(s, factor_low, s_low * factor)
        known = k + (c.log_centre if upper else c.zero)
        log_low = log_low + (c.log_centre_low if upper else c.zero)
        rough = known + log
        rest = (log - (rough - known)) + log_low  # holds z^2 Q(z), so it is not small beside the last place
        high = rough + rest
        low = rest - (high - rough)
        high = high if size < c.inf else c.inf
        return high if size != c.zero else -c.inf, low

    return logarithm


def _two_to(c: _Format) -> Any:
    @exact
    def two_to(high, low):
        """2^(high + low); NaN gives anything."""
        inside = abs(high) < c.limit
        low = low if inside else c.zero
        high = high if inside else copysign(c.limit, high)
        n = (high + c.shift) - c.shift
        rest = high - n
        r = rest + low
        linear = c.ln2 * rest
        linear_low = fma(c.ln2, rest, -linear) + fma(c.ln2, low, fma(c.ln2_low, rest, r * r * polynomial(r, c.r)))
        whole = c.one + linear
        y = whole + ((linear - (whole - c.one)) + linear_low)
        half = fma(n, c.half, c.shift)
        return times_two_to(y, half) * times_two_to(c.one, (n - (half - c.shift)) + c.shift)

    return two_to


def _exponential(c: _Format) -> Any:
    two_to = _two_to(c)

    @exact
    def exponential(a, high, low, b):
        """a^b from the two parts of log2 |a|."""
        exponent = b * high
        y = two_to(exponent, fma(b, high, -exponent) + b * low)
        size, steps = abs(a), abs(b)
        left = abs((steps + c.even) - c.even - steps)  # 0 if b is even, 1 if it is odd
        left = left if steps < c.even else c.zero
        y = copysign(y, a) if left == c.one else y
        y = c.nan if a < c.zero and size < c.inf and left != c.zero and left != c.one else y
        y = y if a == a and b == b else c.nan
        return c.one if b == c.zero or a == c.one or (size == c.one and steps == c.inf) else y

    return exponential


# ---------------------------------------------------------------- powers


_logarithm32, _exponential32 = _logarithm(_FLOAT32), _exponential(_FLOAT32)
_logarithm64, _exponential64 = _logarithm(_FLOAT64), _exponential(_FLOAT64)


@exact
def _powers32(a, b):
    high, low = _logarithm32(abs(a))
    log = high * _FLOAT32.ln2 if a >= _FLOAT32.zero else _FLOAT32.nan
    return _exponential32(a, high, low, b), _exponential32(a, high, low, b - _FLOAT32.one), log


@exact
def _powers64(a, b):
    high, low = _logarithm64(abs(a))
    log = high * _FLOAT64.ln2 if a >= _FLOAT64.zero else _FLOAT64.nan
    return _exponential64(a, high, low, b), _exponential64(a, high, low, b - _FLOAT64.one), log


@exact
def powers(a, b):
    """a^b, a^(b - 1) and ln a for two numbers of one type, from one logarithm."""
    if is_float32(a):
        y, below, log = _powers32(np.float32(a), np.float32(b))
        return type(a)(y), type(a)(below), type(a)(log)
    y64, below64, log64 = _powers64(np.float64(a), np.float64(b))
    return type(a)(y64), type(a)(below64), type(a)(log64)


@exact
def power(a, b):
    """a^b for two numbers of one type; NaN for a negative number to a power that is no integer."""
    y, _, _ = powers(a, b)  # what is not used is not computed
    return y
