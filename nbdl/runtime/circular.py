r"""Circular functions and their inverses for float32, as straight lines that LLVM turns into vector code.

The argument is brought into $[-\frac\pi4, \frac\pi4]$, and a polynomial takes it from there. Near 0 the multiple of
$\frac\pi2$ is subtracted in three parts (Cody and Waite, 1980), each with one rounding. Beyond $2^{21}$ that would lose
digits, so there the argument $x = M\, 2^e$, M an integer, is reduced in integers (Payne and Hanek, 1983): a turn is
$2^{64}$ steps, $F$ the 64 bits of $\frac{1}{2\pi}$ that follow bit e, and $M F$ modulo $2^{64}$, which is what the
machine's product gives, is the angle. Both ways are taken for every element and one is kept.

float64 goes to the C library: there it serves gradient checks, not speed.

Sources: Cody and Waite (1980), "Software Manual for the Elementary Functions"; Payne and Hanek (1983), "Radian
reduction for trigonometric functions"; the Cephes library (Moshier, 1989) for the coefficients.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import binary_exponent, copysign, fma, times_two_to

_SHIFT = np.float32(1.5 * 2**23)
"""Added and subtracted again, it rounds to an integer."""

_QUARTERS = np.float32(2 / math.pi)
_FIRST, _SECOND, _THIRD = (
    np.float32(1.5707963705062866),
    np.float32(-4.371138828673793e-08),
    np.float32(-1.7151245100058819e-15),
)
"""pi / 2 in three parts."""

_FAR = np.float32(2**21)
_STEP = np.float32(math.pi / 2 / 2**64)
_BITS_0, _BITS_1, _BITS_2 = (np.uint64(b) for b in (0x0028BE60DB939105, 0x4A7F09D5F47D4D37, 0x7036D8A5664F10E4))
"""The first 192 bits of 1 / (2 pi), behind eight zeros: e begins at -3."""

_WORD = np.uint64(64)
_EIGHTH, _TOP, _TWO = np.uint64(1 << 61), np.uint64(62), np.uint64(2)

_HALF, _ONE, _DOUBLE, _FOUR, _QUARTER = np.float32(0.5), np.float32(1), np.float32(2), np.float32(4), np.float32(0.25)
_ZERO, _NAN, _INFINITY = np.float32(0), np.float32(math.nan), np.float32(math.inf)
_MANTISSA = np.float32(24)
_SMALL = np.float32(2.0**-12)
"""Under this the sine and the tangent round to their argument."""

_SIN = np.float32(-1.9515295891e-4), np.float32(8.3321608736e-3), np.float32(-1.6666654611e-1)
_COS = np.float32(2.443315711809948e-5), np.float32(-1.388731625493765e-3), np.float32(4.166664568298827e-2)

_ATAN = tuple(np.float32(c) for c in (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1))
_ASIN = tuple(
    np.float32(c) for c in (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1)
)
_EIGHTH_TANGENT = np.float32(math.tan(math.pi / 8))
_PI, _HALF_PI, _QUARTER_PI = np.float32(math.pi), np.float32(math.pi / 2), np.float32(math.pi / 4)
_HALF_PI_REST, _PI_REST = np.float32(-4.371138828673793e-08), np.float32(-8.742277657347586e-08)
"""What pi / 2 and pi lose when they are rounded to float32."""


@exact
def is_float32(x):
    """Whether the number's type is float32; known when a kernel is compiled, so only one way is."""
    return type(x)(1 + 2.0**-40) == type(x)(1)


# ---------------------------------------------------------------- reduction


@exact
def _far_angle(x):
    """(rest, quarter): the angle of a float32 of at least 2^21 in size, by integers."""
    size = abs(x)
    exponent = binary_exponent(size) - _MANTISSA
    mantissa = np.uint64(np.int64(times_two_to(size, _SHIFT - exponent)))
    skipped = np.int64(exponent) + 8
    high = _BITS_1 if skipped >= 64 else _BITS_0
    low = _BITS_2 if skipped >= 64 else _BITS_1
    offset = np.uint64(skipped & 63)
    window = (high << offset) | ((low >> np.uint64(1)) >> (np.uint64(63) - offset))
    turn = mantissa * window
    turn = np.uint64(0) - turn if x < _ZERO else turn
    quarter = np.float32(np.int64((turn + _EIGHTH) >> _TOP))
    return np.float32(np.int64(turn << _TWO)) * _STEP, quarter


@exact
def _angle(x):
    """(rest, quarter) of a float32: x = rest + quarter pi / 2 and a number of turns, rest within pi / 4 of 0."""
    quarters = fma(x, _QUARTERS, _SHIFT) - _SHIFT
    rest = fma(-quarters, _THIRD, fma(-quarters, _SECOND, fma(-quarters, _FIRST, x)))
    quarter = fma(fma(quarters, _QUARTER, _SHIFT) - _SHIFT, -_FOUR, quarters)  # -2, -1, 0, 1 or 2
    quarter = quarter + _FOUR if quarter < _ZERO else quarter
    far_rest, far_quarter = _far_angle(x)
    is_far = abs(x) >= _FAR
    rest = far_rest if is_far else rest
    quarter = far_quarter if is_far else quarter
    return rest, quarter


# ---------------------------------------------------------------- sine, cosine, tangent


@exact
def _sine(r):
    z = r * r
    return fma(r * z, fma(fma(_SIN[0], z, _SIN[1]), z, _SIN[2]), r)


@exact
def _cosine(r):
    z = r * r
    return fma(z * z, fma(fma(_COS[0], z, _COS[1]), z, _COS[2]), fma(z, -_HALF, _ONE))


@exact
def _sin32(x):
    rest, quarter = _angle(x)
    odd = quarter == _ONE or quarter == _ONE + _DOUBLE
    y = _cosine(rest) if odd else _sine(rest)
    y = -y if quarter >= _DOUBLE else y
    y = x if abs(x) < _SMALL else y
    return y if abs(x) < _INFINITY else _NAN


@exact
def _cos32(x):
    rest, quarter = _angle(x)
    odd = quarter == _ONE or quarter == _ONE + _DOUBLE
    y = _sine(rest) if odd else _cosine(rest)
    y = -y if _HALF < quarter < _DOUBLE + _HALF else y
    return y if abs(x) < _INFINITY else _NAN


@exact
def _tan32(x):
    rest, quarter = _angle(x)
    sine, cosine = _sine(rest), _cosine(rest)
    odd = quarter == _ONE or quarter == _ONE + _DOUBLE
    y = (-cosine if odd else sine) / (sine if odd else cosine)
    y = x if abs(x) < _SMALL else y
    return y if abs(x) < _INFINITY else _NAN


@exact
def sine(x):
    """The sine of an angle in radians."""
    if is_float32(x):
        return type(x)(_sin32(np.float32(x)))
    return type(x)(math.sin(x))


@exact
def cosine(x):
    """The cosine of an angle in radians."""
    if is_float32(x):
        return type(x)(_cos32(np.float32(x)))
    return type(x)(math.cos(x))


@exact
def tangent(x):
    """The tangent of an angle in radians."""
    if is_float32(x):
        return type(x)(_tan32(np.float32(x)))
    return type(x)(math.tan(x))


# ---------------------------------------------------------------- inverse functions


@exact
def _atan_ratio(a, b):
    """The arc tangent of a / b for float32 numbers with 0 <= a <= b: the middle of the range is turned to 0."""
    middle = a > b * _EIGHTH_TANGENT
    t = (a - b if middle else a) / (a + b if middle else b)  # one division serves both
    z = t * t
    p = fma(fma(fma(_ATAN[0], z, _ATAN[1]), z, _ATAN[2]), z, _ATAN[3])
    return fma(t * z, p, t) + (_QUARTER_PI if middle else _ZERO)


@exact
def _atan32(x):
    a = abs(x)
    steep = a > _ONE
    y = _atan_ratio(_ONE if steep else a, a if steep else _ONE)
    y = (_HALF_PI - y) + _HALF_PI_REST if steep else y
    y = _HALF_PI if a == _INFINITY else y
    return copysign(y, x)


@exact
def _atan2_32(a, b):
    rise, run = abs(a), abs(b)
    steep = rise > run
    small, large = run if steep else rise, rise if steep else run
    both = small == large  # also 0 / 0 and infinity / infinity
    y = _atan_ratio(_ONE if both else small, _ONE if both else large)
    y = _ZERO if large == _ZERO else y
    y = _ZERO if large == _INFINITY and small < _INFINITY else y
    y = (_HALF_PI - y) + _HALF_PI_REST if steep else y
    y = (_PI - y) + _PI_REST if copysign(_ONE, b) < _ZERO else y
    y = copysign(y, a)
    return a + b if a != a or b != b else y


@exact
def _asin_part(a):
    """The arc sine of a float32 in [0, 1/2]."""
    z = a * a
    p = fma(fma(fma(fma(_ASIN[0], z, _ASIN[1]), z, _ASIN[2]), z, _ASIN[3]), z, _ASIN[4])
    return fma(a * z, p, a)


@exact
def _asin32(x):
    a = abs(x)
    high = a > _HALF
    part = _asin_part(np.float32(math.sqrt(_HALF * (_ONE - a))) if high else a)
    y = (_HALF_PI - (part + part)) + _HALF_PI_REST if high else part
    return copysign(y, x) if a <= _ONE else _NAN


@exact
def _acos32(x):
    a = abs(x)
    high = a > _HALF
    part = _asin_part(np.float32(math.sqrt(_HALF * (_ONE - a))) if high else a)
    near_one = part + part if x > _ZERO else (_PI - (part + part)) + _PI_REST
    y = near_one if high else (_HALF_PI - copysign(part, x)) + _HALF_PI_REST
    return y if a <= _ONE else _NAN


@exact
def arc_sine(x):
    """The angle in [-pi / 2, pi / 2] whose sine is x; NaN outside of [-1, 1]."""
    if is_float32(x):
        return type(x)(_asin32(np.float32(x)))
    return type(x)(math.asin(x)) if abs(x) <= type(x)(1) else x * type(x)(math.nan)


@exact
def arc_cosine(x):
    """The angle in [0, pi] whose cosine is x; NaN outside of [-1, 1]."""
    if is_float32(x):
        return type(x)(_acos32(np.float32(x)))
    return type(x)(math.acos(x)) if abs(x) <= type(x)(1) else x * type(x)(math.nan)


@exact
def arc_tangent(x):
    """The angle in [-pi / 2, pi / 2] whose tangent is x."""
    if is_float32(x):
        return type(x)(_atan32(np.float32(x)))
    return type(x)(math.atan(x))


@exact
def angle(a, b):
    """The angle of the point (b, a) in [-pi, pi]."""
    if is_float32(a):
        return type(a)(_atan2_32(np.float32(a), np.float32(b)))
    return type(a)(math.atan2(a, b))
