"""Elementary functions: accuracy over the whole range, special values, equal bits everywhere, vector instructions."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from nbdl.runtime import vecmath
from nbdl.runtime.jit import FASTMATH, scalar

DTYPES = [np.float32, np.float64]

FUNCTIONS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "softplus": lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
    "sigmoid": lambda x: np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x))),
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin_turn": lambda x: _sin_quarter(x, 0),
    "cos_turn": lambda x: _sin_quarter(x, 1),
}
"""Name: the definition, evaluated in a format with more digits."""

_PI = np.longdouble("3.14159265358979323846264338327950288")


def _sin_quarter(x, quarters):
    """sin(2 pi (x + quarters / 4)), the angle brought near 0 while it is still exact."""
    quadrant = np.round(4 * x)
    angle = 2 * _PI * (x - quadrant / 4)
    quadrant = (quadrant + quarters) % 4
    return np.where(quadrant >= 2, -1, 1) * np.where(quadrant % 2 == 0, np.sin(angle), np.cos(angle))


LARGEST_ERROR = 2.0
"""Units in the last place; the module promises 2 for float32 and holds it for float64."""


def elementwise(function):
    @njit(fastmath=FASTMATH, error_model="numpy")
    def apply(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return apply


KERNELS = {name: elementwise(getattr(vecmath, name)) for name in FUNCTIONS}


def evaluate(name, x):
    y = np.empty_like(x)
    KERNELS[name](x, y)
    return y


def arguments(name, dtype):
    """Values over the whole range of the function: uniform, near zero or one, of every magnitude, at the thresholds."""
    rng = np.random.default_rng(0)
    size = 100_000 if dtype is np.float32 else 20_000
    largest = {np.float32: 87.3, np.float64: 708.3}[dtype]
    magnitudes = np.exp(rng.uniform(-80, 4, size)) * rng.choice([-1, 1], size)
    x = np.concatenate([rng.uniform(-largest, largest, size), rng.standard_normal(size), magnitudes])
    if name == "log":
        x = np.concatenate([np.abs(x), 1 + 1e-3 * rng.standard_normal(size), np.exp(rng.uniform(-87, 88, size))])
    if name == "log1p":
        x = np.concatenate(
            [np.abs(x), x[x > -1], np.exp(rng.uniform(0, 88, size)), -1 + np.exp(-np.abs(x[np.abs(x) > 0.1]))]
        )
        x = x[x > -1]
    if name.endswith("_turn"):
        x = np.clip(x, -3, 3)
    x = x.astype(dtype)
    return x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(name, dtype):
    x = arguments(name, dtype)
    y = evaluate(name, x)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name](x.astype(np.longdouble))
    normal = np.isfinite(exact) & (np.abs(exact) >= np.finfo(dtype).smallest_normal)
    error = np.abs(y - exact)[normal] / np.spacing(np.abs(exact[normal]).astype(dtype))
    assert error.max() <= LARGEST_ERROR, f"{error.max():.2f} ulp at {x[normal][error.argmax()]!r}"


def test_exponential_and_logarithm_hold_for_every_float32_exponent():
    x = np.arange(0, 0x7F800000, 4099, dtype=np.uint32).view(np.float32)  # subnormals included
    x = x[x > 0]
    error = np.abs(evaluate("log", x) - np.log(x.astype(np.float64))) / np.spacing(np.abs(np.log(x)))
    assert error.max() <= LARGEST_ERROR
    inside = np.concatenate([x, -x])
    inside = inside[(inside > np.float32(-87.33654)) & (inside < np.float32(88.72283))]
    exact = np.exp(inside.astype(np.float64))
    assert (np.abs(evaluate("exp", inside) - exact) / np.spacing(exact.astype(np.float32))).max() <= LARGEST_ERROR


INF, NAN = math.inf, math.nan
SPECIAL_VALUES = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1e4, INF), (-1e4, 0), (1e30, INF), (-1e30, 0)],
    "expm1": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (1e4, INF), (-1e4, -1), (1e-30, 1e-30)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (-1, NAN), (-INF, NAN), (INF, INF), (NAN, NAN), (-1e-40, NAN)],
    "log1p": [(0, 0), (-0.0, -0.0), (-1, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF), (NAN, NAN), (1e-30, 1e-30)],
    "softplus": [(INF, INF), (-INF, 0), (NAN, NAN), (200, 200), (-1e30, 0)],
    "sigmoid": [(0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN), (1e30, 1), (-1e30, 0)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (1e30, 1), (1e-30, 1e-30), (-1e-42, -1e-42)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (-1e30, -1)],
    "sin_turn": [(0, 0), (0.25, 1), (0.5, 0), (-0.25, -1), (NAN, NAN), (INF, NAN), (1000.25, 1)],
    "cos_turn": [(0, 1), (0.25, 0), (0.5, -1), (-0.25, 0), (NAN, NAN), (INF, NAN), (1000.5, -1)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name, dtype):
    x, expected = np.array(SPECIAL_VALUES[name], dtype).T.copy()
    y = evaluate(name, x)
    np.testing.assert_array_equal(y, expected)
    if not name.endswith("_turn"):
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(y[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_and_underflow_happen_at_the_last_representable_exponential(dtype):
    limits = np.finfo(dtype)
    highest, lowest = dtype(math.log(float(limits.max))), dtype(math.log(float(limits.smallest_normal)))
    while np.exp(np.longdouble(highest)) > limits.max:
        highest = np.nextafter(highest, dtype(0))
    x = np.array([highest, np.nextafter(highest, dtype(INF)), lowest + dtype(1e-3), lowest - dtype(1e-3)], dtype)
    y = evaluate("exp", x)
    assert np.isfinite(y[0]) and np.isinf(y[1])
    assert y[2] >= limits.smallest_normal and y[3] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_the_place_in_a_vector(name, dtype):
    values = np.random.default_rng(1).uniform(0.01, 3, 83).astype(dtype)
    together = evaluate(name, values)
    for offset in range(7):
        np.testing.assert_array_equal(evaluate(name, values[offset:].copy()), together[offset:])
    alone = np.array([evaluate(name, values[i : i + 1])[0] for i in range(values.size)])
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log1p", "tanh", "sin_turn"])
def test_bits_do_not_depend_on_the_flags_of_the_caller(name, dtype):
    function = getattr(vecmath, name)

    @scalar
    def through_scalar(x):
        return function(x)

    @njit
    def strict(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    @njit(fastmath=True)
    def fast(x, y):
        for i in range(x.size):
            y[i] = through_scalar(x[i])

    x = np.random.default_rng(2).uniform(0.01, 3, 50).astype(dtype)
    expected = evaluate(name, x)
    for kernel in (strict, fast):
        y = np.empty_like(x)
        kernel(x, y)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "erf"])
def test_plain_python_gives_the_same_bits_and_type(name, dtype):
    x = np.random.default_rng(3).uniform(0.01, 3, 5).astype(dtype)
    results = [getattr(vecmath, name)(value) for value in x]
    assert all(type(result) is dtype for result in results)
    np.testing.assert_array_equal(np.array(results), evaluate(name, x))


def test_primitives_in_plain_python():
    one, shift = np.float32(1), np.float32(1.5 * 2**23)
    assert vecmath.fma(np.float32(3), np.float32(4), one) == 13
    assert vecmath.times_two_to(one, shift - np.float32(3)) == 0.125
    assert [vecmath.binary_exponent(np.float64(x)) for x in (0.6, 1.0, 1.3, 1.4, 5.0)] == [-1, 0, 0, 1, 2]
    assert vecmath.polynomial(np.float64(2), (np.float64(3), np.float64(4), np.float64(5))) == 25
    assert vecmath.copysign(one, np.float32(-0.0)) == -1


VECTORISED = ["exp", "log", "tanh", "erf"]

_COUNT = """
import re, sys
from numba import njit, types
from nbdl.runtime import vecmath
from nbdl.runtime.jit import FASTMATH
for name in {names!r}:
    function = getattr(vecmath, name)
    def apply(x, y):
        for i in range(x.size):
            y[i] = function(x[i])
    for dtype in (types.float32, types.float64):
        array = types.Array(dtype, 1, "C")
        kernel = njit((array, array), fastmath=FASTMATH, error_model="numpy")(apply)
        (code,) = kernel.inspect_asm().values()
        print(name, dtype, len(re.findall(r"vfn?m(?:add|sub)\\w+\\s.*{register}", code)), "callq\\t" + name in code)
"""


@pytest.mark.parametrize(("cpu", "register"), [("haswell", "ymm"), ("skylake-avx512", "zmm|ymm")])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads x86 assembly")
def test_loops_become_vector_instructions(cpu, register):
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_DISABLE_JIT": "0"}
    code = _COUNT.format(names=VECTORISED, register=f"(?:{register})")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == 2 * len(VECTORISED)
    assert not [row for row in rows if int(row[2]) < 3 or row[3] == "True"]


_DIGEST = """
import hashlib
import numpy as np
from numba import njit
from nbdl.runtime import vecmath
from nbdl.runtime.jit import FASTMATH
digest = hashlib.sha256()
for name in {names!r}:
    function = getattr(vecmath, name)
    @njit(fastmath=FASTMATH, error_model="numpy")
    def apply(x, y):
        for i in range(x.size):
            y[i] = function(x[i])
    for dtype in (np.float32, np.float64):
        x = np.linspace(-20, 20, 10_001).astype(dtype)
        y = np.empty_like(x)
        apply(x, y)
        digest.update(np.nan_to_num(y, nan=7).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names x86 processors")
def test_bits_do_not_depend_on_the_processor():
    """The running one, and one without vector registers of 256 bits or fused multiply-add."""
    digests = set()
    for cpu in ("", "generic"):
        environment = os.environ | ({"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""} if cpu else {})
        code = _DIGEST.format(names=VECTORISED)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_tail(dtype):
    """erfcx against erfc where that is normal, and against its limit 1 / (x sqrt(pi)) far out."""
    near = np.linspace(0, 5, 20_001).astype(dtype)
    far = np.exp(np.linspace(20, 60, 1_001)).astype(dtype)
    apply = elementwise(vecmath.erfcx)
    for x, wanted in (
        (near, [math.exp(v * v) * math.erfc(v) for v in near.astype(np.float64)]),
        (far, 1 / (far.astype(np.float64) * math.sqrt(math.pi))),
    ):
        y = np.empty_like(x)
        apply(x, y)
        # the reference itself is exact to about 25 units of float64: the rounding of x^2
        assert np.abs(y / np.asarray(wanted) - 1).max() < (8 if dtype is np.float32 else 40) * np.finfo(dtype).eps
    special = np.array([0, np.inf, np.nan], dtype)
    apply(special.copy(), special)
    assert np.array_equal(special, np.array([1, 0, np.nan], dtype), equal_nan=True)
