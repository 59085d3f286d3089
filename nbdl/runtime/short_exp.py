r"""The exponential of numbers up to 0, where what counts is its size beside 1: with fewer operations in float32.

$e^x = 2^y$ with $y = x \log_2 e$, and $2^y = 2^n 2^f$ with $n = \mathrm{round}(y)$. `vecmath.exp` takes $n \ln 2$ from
x in two parts, so that no digit is lost; here y is rounded, which costs an error of $|y|$ times half a unit in the last
place: beside 1, $2^y |y|$ of them, never more than 3e-8. Softmax and GELU add such numbers to one of the order of 1.
"""

from __future__ import annotations

import math

from nbdl.runtime.circular import is_float32
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import exp, fma, times_two_to

LOG2_E = 1 / math.log(2)

_ROUND = 1.5 * 2.0**23
_POWERS = (0.0013276470, 0.0096755410, 0.055507135, 0.24022120, 0.69314694, 1.0000001)
"""Of 2^f for |f| up to a half: minimax, an error of 7e-8."""


@exact
def short_two_to(y):
    """2^y for float32 y up to 0; 0 below the smallest normal number and for NaN."""
    rounded = y + type(y)(_ROUND)
    f = y - (rounded - type(y)(_ROUND))
    power = type(y)(_POWERS[0])
    for coefficient in _POWERS[1:]:
        power = fma(power, f, type(y)(coefficient))
    return times_two_to(power, rounded) if y >= type(y)(-126) else type(y)(0)


@exact
def short_exp(x):
    """e^x for x up to 0. NaN gives 0 in float32: callers see to it."""
    return short_two_to(x * type(x)(LOG2_E)) if is_float32(x) else exp(x)
