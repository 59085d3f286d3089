r"""Elementary functions as polynomials: the same source, and the same bits, on the CPU, on a GPU and in Python.

A call of `math.exp` in a loop goes to the C library, one element at a time. The functions here are straight lines of
multiplications and additions, with selections in place of branches, so that LLVM works on a whole vector at once.
They are used inside kernels and `scalar` functions, for float32 and float64:

    from nbdl.runtime.vecmath import exp
    y[i] = exp(x[i])

Three ideas carry all of them.

1. Range reduction. $e^x = 2^n e^r$ with $n = \mathrm{round}(x / \ln 2)$ and $|r| \le \tfrac12 \ln 2$;
   $\ln x = k \ln 2 + \ln m$ with $x = 2^k m$ and $\tfrac23 \le m < \tfrac43$. Then a short polynomial suffices. The
   products $n \ln 2$ are taken with $\ln 2$ in two parts (Cody and Waite, 1980), so that no digit is lost.
2. Rounding by addition. Adding $1.5 \cdot 2^{23}$ (float64: $1.5 \cdot 2^{52}$) rounds to an integer and leaves that
   integer in the low bits: a power of two is then one shift and one integer addition away.
3. Minimax coefficients, found with the Remez exchange algorithm for the error relative to the result.

Callers may be compiled with reassociation allowed; the bodies here never are, because (t + shift) - shift must not
become t. No product is left next to a sum, which one compiler fuses and another does not: where the rounding of a
product may be saved it is saved by `fma`. So an element's result depends on its value alone, not on its place in a
vector, nor on the target.

Largest errors, in units in the last place, and special values are held by tests/test_vecmath.py. NaN gives NaN.
Results of `exp` under the smallest normal number (1.2e-38, 2.2e-308) are flushed to zero; subnormal arguments count.

Sources: Cody and Waite (1980), "Software Manual for the Elementary Functions"; Tang (1990); the Cephes library
(Moshier, 1989) for the coefficients of tanh; fdlibm (Sun Microsystems, 1993) for the form of log.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import templates as numba_templates

from nbdl.runtime.jit import cpu_function

# ---------------------------------------------------------------- primitives, by bits


class _Layout(NamedTuple):
    """The bits of an IEEE 754 format."""

    bits: int
    fraction: int
    """Bits of the fraction; the exponent begins above them."""
    one: int
    two_thirds: int
    shift: int
    """2^fraction, whose low bits count units."""


_LAYOUTS = {
    32: _Layout(32, 23, 0x3F800000, 0x3F2AAAAB, 0x4B000000),
    64: _Layout(64, 52, 0x3FF0000000000000, 0x3FE5555555555555, 0x4330000000000000),
}


def _as_integer(builder: Any, value: Any, layout: _Layout) -> Any:
    return builder.bitcast(value, ir.IntType(layout.bits))


def _emit_fma(builder: Any, layout: _Layout, x: Any, y: Any, z: Any) -> Any:
    return builder.fma(x, y, z)


def _emit_times_two_to(builder: Any, layout: _Layout, x: Any, t: Any) -> Any:
    integer = ir.IntType(layout.bits)
    power = builder.shl(_as_integer(builder, t, layout), integer(layout.fraction))
    return builder.bitcast(builder.add(_as_integer(builder, x, layout), power), x.type)


def _emit_binary_exponent(builder: Any, layout: _Layout, x: Any) -> Any:
    integer = ir.IntType(layout.bits)
    offset = builder.add(_as_integer(builder, x, layout), integer(layout.one - layout.two_thirds))
    biased = builder.lshr(offset, integer(layout.fraction))
    counted = builder.bitcast(builder.or_(biased, integer(layout.shift)), x.type)
    bias = layout.one >> layout.fraction
    return builder.fsub(counted, ir.Constant(x.type, float((1 << layout.fraction) + bias)))


def _emit_copysign(builder: Any, layout: _Layout, x: Any, sign: Any) -> Any:
    integer = ir.IntType(layout.bits)
    top = 1 << (layout.bits - 1)
    magnitude = builder.and_(_as_integer(builder, x, layout), integer(top - 1))
    bit = builder.and_(_as_integer(builder, sign, layout), integer(top))
    return builder.bitcast(builder.or_(magnitude, bit), x.type)


def fma(x: Any, y: Any, z: Any) -> Any:
    """Returns x * y + z, rounded once."""
    return _in_python(fma, x, y, z)


def times_two_to(x: Any, t: Any) -> Any:
    """Returns x * 2^n for the integer n in the low bits of t = n + shift. The exponent must not leave its range."""
    return _in_python(times_two_to, x, t)


def binary_exponent(x: Any) -> Any:
    """The k for which x / 2^k lies in [2/3, 4/3), for positive normal x, as a number of x's type."""
    return _in_python(binary_exponent, x)


def copysign(x: Any, sign: Any) -> Any:
    """The magnitude of x with the sign bit of another number."""
    return _in_python(copysign, x, sign)


def polynomial(x: Any, coefficients: tuple[Any, ...]) -> Any:
    """The polynomial at x by Horner's rule, the highest coefficient first."""
    return _in_python(polynomial, x, coefficients)


# ---------------------------------------------------------------- constants


class _Constants(NamedTuple):
    """What the functions need to know about a format. All numbers are of that format."""

    zero: Any
    quarter: Any
    half: Any
    one: Any
    two: Any
    four: Any
    inf: Any
    nan: Any
    shift: Any
    tiny: Any
    """Under this, x - x^2 rounds to x."""
    smallest_normal: Any
    subnormal_scale: Any
    subnormal_exponent: Any
    log2_e: Any
    ln2_high: Any
    ln2_low: Any
    exp_lowest: Any
    """The least x whose exponential is a normal number."""
    exp_highest: Any
    """The greatest x whose exponential is finite."""
    exp: tuple[Any, ...]
    r"""$(e^r - 1 - r) / r^2$."""
    expm1_lowest: Any
    """Under this, e^x - 1 rounds to -1."""
    expm1_large: Any
    """Over this, e^x - 1 rounds to e^x."""
    log: tuple[Any, ...]
    r"""$(\ln(1+f)/s - 2)/z$ in $z = s^2$, $s = f/(2+f)$."""
    tanh_split: Any
    tanh_numerator: tuple[Any, ...]
    tanh_denominator: tuple[Any, ...]
    erf_split: Any
    erf_one: Any
    """Over this, erf rounds to 1."""
    erf_near: tuple[Any, ...]
    r"""$\mathrm{erf}(x)/x - 1$ in $x^2$."""
    erf_far: tuple[Any, ...]
    r"""$\ln(1 - \mathrm{erf}(x)) / x$."""
    erfcx_pole: Any
    erfcx: tuple[Any, ...]
    r"""$e^{x^2} \mathrm{erfc}(x) (1 + px)$ in $(1 - px) / (1 + px)$, p the pole's inverse."""
    two_pi: Any
    sin: tuple[Any, ...]
    r"""$(\sin r - r)/r^3$ in $r^2$."""
    cos: tuple[Any, ...]
    r"""$(\cos r - 1)/r^2$ in $r^2$."""


def _constants(dtype: Callable[[float], Any], **values: Any) -> _Constants:
    shared = {
        "zero": 0.0, "quarter": 0.25, "half": 0.5, "one": 1.0, "two": 2.0, "four": 4.0, "inf": np.inf, "nan": np.nan,
        "log2_e": 1.4426950408889634, "two_pi": 6.283185307179586, "tanh_split": 0.625,
    }  # fmt: skip
    return _Constants(
        **{
            name: tuple(map(dtype, value)) if isinstance(value, tuple) else dtype(value)
            for name, value in (shared | values).items()
        }
    )


_FLOAT32 = _constants(
    np.float32,
    shift=1.5 * 2.0**23,
    tiny=2.0**-26,
    smallest_normal=2.0**-126,
    subnormal_scale=2.0**24,
    subnormal_exponent=24.0,
    ln2_high=0.693145751953125,
    ln2_low=1.428606765330187e-06,
    exp_lowest=-87.33654,
    exp_highest=88.72283,
    exp=(1.98460461e-4, 1.39406871e-3, 8.33338965e-3, 4.16663587e-2, 1.66666657e-1, 0.5),
    expm1_lowest=-18.0,
    expm1_large=50.0,
    log=(0.240972519, 0.285073072, 0.400008529, 0.666666627),
    tanh_numerator=(-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1),
    tanh_denominator=(1.0,),
    erf_split=0.93,
    erf_one=4.0,
    erf_near=(
        8.31677535e-05, -0.000813001301, 0.00519990688, -0.0268589407, 0.112836875, -0.376126319, 0.128379166,
    ),
    erf_far=(
        -1.12312709e-05, 0.000322803535, -0.00364245777, 0.0237620603, -0.106236875, -0.635151327, -1.12864852,
    ),
    erfcx_pole=0.4,
    erfcx=(
        -2.91685828e-05, -1.07462365e-05, 0.000266488321, 0.000165441525, -0.00192138203, -0.00335315522, 0.0113435471,
        0.0684997663, 0.181565702, 0.32186076, 0.42161274,
    ),
    sin=(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
    cos=(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5),
)  # fmt: skip

_FLOAT64 = _constants(
    np.float64,
    shift=1.5 * 2.0**52,
    tiny=2.0**-55,
    smallest_normal=2.0**-1022,
    subnormal_scale=2.0**53,
    subnormal_exponent=53.0,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    exp_lowest=-708.396418532264,
    exp_highest=709.782712893384,
    exp=(
        2.0875505010389525e-09, 2.5109059774759843e-08, 2.755740227518081e-07, 2.755724417089482e-06,
        2.4801587172776796e-05, 0.00019841269886135748, 0.0013888888888962307, 0.00833333333332164,
        0.04166666666666651, 0.16666666666666677, 0.5,
    ),
    expm1_lowest=-40.0,
    expm1_large=50.0,
    log=(
        0.13835423442777853, 0.13174884369522374, 0.153910233371497, 0.181816690811468, 0.2222222423162973,
        0.2857142855654814, 0.40000000000052727, 0.6666666666666661,
    ),
    tanh_numerator=(-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3),
    tanh_denominator=(1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3),
    erf_split=1.0,
    erf_one=6.0,
    erf_near=(
        -7.779467514513352e-10, 1.371097985910681e-08, -1.6206313629787028e-07, 1.6447131553918166e-06,
        -1.492471230055812e-05, 0.00012055293576822932, -0.0008548325929311841, 0.005223977606118418,
        -0.02686617064311146, 0.11283791670944185, -0.3761263890318352, 0.12837916709551256,
    ),
    erf_far=(
        -2.0216588785415206e-13, 9.997834461520525e-12, -2.32977758911718e-10, 3.400944873372095e-09,
        -3.4851919778713093e-08, 2.6597379255846426e-07, -1.5615009584415065e-06, 7.154905489143493e-06,
        -2.547272887282817e-05, 6.784227070133386e-05, -0.00011720596487027622, 3.2807677349163615e-05,
        0.0005377685741585953, -0.0016592593539481277, 0.00018903359883521063, 0.01913664852582055,
        -0.10277494309465718, -0.6366193550644667, -1.1283792020774643,
    ),
    erfcx_pole=0.25,
    erfcx=(
        1.9860046213777094e-11, 3.0140315157436664e-10, -1.8056061492473584e-10, -3.8163851917190945e-09,
        7.955304769237317e-11, 3.062640513773187e-08, 1.858538071376256e-08, -2.1090510064839227e-07,
        -3.5587254786027525e-07, 1.1730894595205767e-06, 4.715155967402764e-06, -9.085474539335742e-07,
        -4.420318895616758e-05, -0.00011376324412131493, 7.023971404404158e-05, 0.001528013927356252,
        0.00659251333528659, 0.0190953787258951, 0.04350273430997378, 0.08271289696958106, 0.13521345782830899,
        0.19330217556630763, 0.2441371822702205, 0.27399891525012277,
    ),
    sin=(
        1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6,
        -1.98412698295895385996e-4, 8.33333333332211858878e-3, -1.66666666666666307295e-1,
    ),
    cos=(
        -1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7,
        2.48015872888517045348e-5, -1.38888888888730564116e-3, 4.16666666666665929218e-2, -0.5,
    ),
)  # fmt: skip

# ---------------------------------------------------------------- machinery

_PRIMITIVES: dict[Any, Callable[..., Any]] = {
    fma: _emit_fma,
    times_two_to: _emit_times_two_to,
    binary_exponent: _emit_binary_exponent,
    copysign: _emit_copysign,
}

_ELEMENTARY: dict[Any, dict[int, Callable[..., Any]]] = {}
"""Function: its body for each width."""


def _elementary(define: Callable[[_Constants], Callable[..., Any]]) -> Callable[[Any], Any]:
    """Makes a function of `define`, which gives the body for one format's constants."""

    def function(x: Any) -> Any:
        return _in_python(function, x)

    function.__name__, function.__qualname__, function.__doc__ = define.__name__, define.__name__, define.__doc__
    _ELEMENTARY[function] = {32: define(_FLOAT32), 64: define(_FLOAT64)}
    return function


def _in_python(function: Callable[..., Any], x: Any, *rest: Any) -> Any:
    """The function outside a kernel: the CPU's compiled code, so that the SIMT interpreter sees the CPU's bits."""
    dtype = np.float32 if isinstance(x, np.float32) else np.float64
    return dtype(_callable(function, 1 + len(rest))(x, *rest))


@functools.cache
def _callable(function: Callable[..., Any], arity: int) -> Any:
    if arity == 1:
        return cpu_function(lambda x: function(x))
    if arity == 2:
        return cpu_function(lambda x, y: function(x, y))
    return cpu_function(lambda x, y, z: function(x, y, z))


def _primitive_typer(function: Callable[..., Any], emit: Callable[..., Any]) -> Callable[..., Any]:
    def typer(context: Any, *operands: Any) -> Any:
        x = operands[0]
        if not isinstance(x, types.Float) or x.bitwidth not in _LAYOUTS or any(other != x for other in operands):
            return None

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit(builder, _LAYOUTS[x.bitwidth], *values)

        return x(*operands), generate

    # Numba passes *operands as one tuple unless the signature names them.
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typer.__signature__ = inspect.Signature([context, *inspect.signature(function).parameters.values()])  # type: ignore
    return typer


def _polynomial_typer(context: Any, x: Any, coefficients: Any) -> Any:
    if any(coefficient != x for coefficient in coefficients.types):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        argument, coefficient_tuple = values
        first, *rest = cgutils.unpack_tuple(builder, coefficient_tuple)
        return functools.reduce(lambda total, coefficient: builder.fma(total, argument, coefficient), rest, first)

    return x(x, coefficients), generate


def _elementary_chooser(bodies: dict[int, Callable[..., Any]]) -> Callable[..., Any]:
    def choose(x: Any) -> Any:
        return bodies.get(x.bitwidth) if isinstance(x, types.Float) else None

    return choose


def register(templates: Any, **options: Any) -> None:
    """Teaches a compiler this module: Numba at import, numba-cuda when it is first used.

    Args:
        templates: The compiler's module `typing.templates`.
        options: How it compiles the bodies.
    """

    def add(function: Any, template: Any) -> None:
        templates.infer(template)
        templates.infer_global(function, types.Function(template))

    for function, emit in _PRIMITIVES.items():
        add(function, templates.make_intrinsic_template(function, _primitive_typer(function, emit), function.__name__))
    add(polynomial, templates.make_intrinsic_template(polynomial, _polynomial_typer, "polynomial"))
    for function, bodies in _ELEMENTARY.items():
        chooser = _elementary_chooser(bodies)
        add(function, templates.make_overload_template(function, chooser, options, strict=False, inline="never"))


# ---------------------------------------------------------------- exponential


@_elementary
def exp(c: _Constants) -> Callable[..., Any]:
    """The exponential. Over 88.72 (float32) or 709.78 infinity, under -87.34 or -708.40 zero."""

    def exp_of(x):
        t = fma(x, c.log2_e, c.shift)
        n = t - c.shift
        r = fma(n, -c.ln2_low, fma(n, -c.ln2_high, x))
        y = times_two_to(fma(r * r, polynomial(r, c.exp), r) + c.one, t)
        y = y if x >= c.exp_lowest else c.zero
        return y if x <= c.exp_highest else x + c.inf  # a NaN fails every comparison

    return exp_of


@_elementary
def expm1(c: _Constants) -> Callable[..., Any]:
    """e^x - 1, accurate where x is near 0."""

    def expm1_of(x):
        t = fma(x, c.log2_e, c.shift)
        n = t - c.shift
        r = fma(n, -c.ln2_low, fma(n, -c.ln2_high, x))
        p = fma(r * r, polynomial(r, c.exp), r)
        scale = times_two_to(c.one, t)
        y = fma(scale, p, scale - c.one)
        y = times_two_to(p + c.one, t) if x > c.expm1_large else y  # 2^128 is infinite, 2^128 (1 + p) need not be
        y = y if x >= c.expm1_lowest else -c.one
        y = x if abs(x) < c.tiny else y
        return y if x <= c.exp_highest else x + c.inf

    return expm1_of


# ---------------------------------------------------------------- logarithm


@_elementary
def log(c: _Constants) -> Callable[..., Any]:
    """The natural logarithm. Zero gives minus infinity, a negative number NaN."""

    def log_of(x):
        subnormal = x < c.smallest_normal
        normal = x * c.subnormal_scale if subnormal else x
        k = binary_exponent(normal)
        f = times_two_to(normal, c.shift - k) - c.one
        k = k - c.subnormal_exponent if subnormal else k
        s = f / (f + c.two)
        z = s * s
        half = c.half * f
        tail = fma(s, fma(z, polynomial(z, c.log), half * f), k * c.ln2_low)
        y = fma(k, c.ln2_high, f - fma(half, f, -tail))
        y = y if x < c.inf else x
        y = y if x >= c.zero else c.nan
        return y if x != c.zero else -c.inf

    return log_of


@_elementary
def log1p(c: _Constants) -> Callable[..., Any]:
    """ln(1 + x), accurate where x is near 0. Minus one gives minus infinity, less gives NaN."""

    def log1p_of(x):
        k = binary_exponent(x + c.one)
        t = c.shift - k
        # (1 + x) / 2^k - 1 without rounding 1 + x; 4 / 2^k is normal even where 1 / 2^k is not.
        f = times_two_to(x, t) + fma(c.quarter, times_two_to(c.four, t), -c.one)
        s = f / (f + c.two)
        z = s * s
        half = c.half * f
        tail = fma(s, fma(z, polynomial(z, c.log), half * f), k * c.ln2_low)
        y = fma(k, c.ln2_high, f - fma(half, f, -tail))
        y = x if abs(x) < c.tiny else y
        y = y if x < c.inf else x
        y = y if x >= -c.one else c.nan
        return y if x != -c.one else -c.inf

    return log1p_of


@_elementary
def softplus(c: _Constants) -> Callable[..., Any]:
    """ln(1 + e^x) without overflow."""

    def softplus_of(x):
        return (x if x > c.zero else c.zero) + log1p(exp(-abs(x)))

    return softplus_of


# ---------------------------------------------------------------- sigmoids


@_elementary
def sigmoid(c: _Constants) -> Callable[..., Any]:
    """1 / (1 + e^-x), with all digits also where it is nearly 0."""

    def sigmoid_of(x):
        e = exp(-abs(x))
        whole = c.one + e
        lost = e - (whole - c.one)  # what rounding took from 1 + e
        y = (c.one if x >= c.zero else e) / whole
        return fma(lost * y, y - c.one if x < c.zero else -y, y)

    return sigmoid_of


@_elementary
def tanh(c: _Constants) -> Callable[..., Any]:
    """The hyperbolic tangent: a rational function near 0, 1 - 2 / (e^2x + 1) beyond."""

    def tanh_of(x):
        a = abs(x)
        z = x * x
        near = a < c.tanh_split
        numerator = z * polynomial(z, c.tanh_numerator) if near else c.two
        denominator = polynomial(z, c.tanh_denominator) if near else exp(a + a) + c.one
        quotient = numerator / denominator  # one division serves both
        return copysign(fma(a, quotient, a) if near else c.one - quotient, x)

    return tanh_of


@_elementary
def erf(c: _Constants) -> Callable[..., Any]:
    """The error function: an odd polynomial near 0, 1 - e^(a polynomial) beyond."""

    def erf_of(x):
        a = abs(x)
        near = fma(a, polynomial(x * x, c.erf_near), a)
        limited = c.erf_one if a > c.erf_one else a
        far = c.one - exp(limited * polynomial(limited, c.erf_far))
        return copysign(near if a < c.erf_split else far, x)

    return erf_of


@_elementary
def erfcx(c: _Constants) -> Callable[..., Any]:
    """e^(x^2) (1 - erf(x)) for x of at least 0: how the tail of the normal distribution differs from its density."""

    def erfcx_of(x):
        share = c.one / fma(c.erfcx_pole, x, c.one)
        return share * polynomial(fma(c.two, share, -c.one), c.erfcx)

    return erfcx_of


# ---------------------------------------------------------------- circular functions


@_elementary
def sin_turn(c: _Constants) -> Callable[..., Any]:
    """sin(2 pi x), for |x| up to 2^20: the angle in turns, so that its reduction is exact."""

    def sin_turn_of(x):
        quarters = fma(x, c.four, c.shift) - c.shift
        r = fma(quarters, -c.quarter, x) * c.two_pi
        z = r * r
        sine = fma(r * z, polynomial(z, c.sin), r)
        cosine = fma(z, polynomial(z, c.cos), c.one)
        quadrant = fma(fma(quarters, c.quarter, c.shift) - c.shift, -c.four, quarters)  # -2, -1, 0, 1 or 2
        y = sine if quadrant == c.zero else -sine
        y = cosine if quadrant == c.one else y
        return -cosine if quadrant == -c.one else y

    return sin_turn_of


@_elementary
def cos_turn(c: _Constants) -> Callable[..., Any]:
    """cos(2 pi x), for |x| up to 2^20."""

    def cos_turn_of(x):
        quarters = fma(x, c.four, c.shift) - c.shift
        r = fma(quarters, -c.quarter, x) * c.two_pi
        z = r * r
        sine = fma(r * z, polynomial(z, c.sin), r)
        cosine = fma(z, polynomial(z, c.cos), c.one)
        quadrant = fma(fma(quarters, c.quarter, c.shift) - c.shift, -c.four, quarters)
        y = cosine if quadrant == c.zero else -cosine
        y = -sine if quadrant == c.one else y
        return sine if quadrant == -c.one else y

    return cos_turn_of


register(numba_templates, fastmath=False, error_model="numpy", forceinline=True)

FUNCTIONS = frozenset([*_PRIMITIVES, polynomial, *_ELEMENTARY])
"""Every function of this module that kernels may call."""
