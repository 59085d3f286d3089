r"""Arithmetic: sum, difference, product, quotient, negative, absolute value, sign and reciprocal.

With $y = f(a, b)$ the gradients are $da = dy\, \partial f / \partial a$ and $db = dy\, \partial f / \partial b$,
each summed over the dimensions in which its operand was repeated by broadcasting. Numbers take part without an array.

The references are NumPy's functions of the same names.
"""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.layout import sum_to
from nbdl.ops.elementwise.maps import Map1, Map2, MapN
from nbdl.ops.elementwise.operands import (
    BinaryOp,
    UnaryOp,
    apply_any,
    apply_float,
    apply_pair,
    as_operand,
    as_tensor_operand,
    typed_number,
)
from nbdl.runtime import memory
from nbdl.runtime.checks import check_choice
from nbdl.runtime.dtypes import FLOAT32, FLOAT64
from nbdl.runtime.errors import DTypeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact

magnitude = abs  # the built-in: further down `abs` is this module's own

# ---------------------------------------------------------------- scalar functions


@exact
def _add(a, b):
    return a + b


@exact
def _subtract(a, b):
    return a - b


@exact
def _subtract_from(x, number):
    return number - x


@exact
def _multiply(a, b):
    return a * b


@exact
def _divide(a, b):
    return a / b


@exact
def _divide_right(dy, y, b):
    return -dy * (y / b)


@exact
def _divide_number(x, number):
    return number / x


@exact
def _divide_number_slope(dy, x, number):
    return -dy * (number / x / x)


@exact
def _negative(x):
    return -x


@exact
def _absolute(x):
    return magnitude(x)


@exact
def _sign(x):
    y = type(x)(1) if x > type(x)(0) else type(x)(0)
    return type(x)(-1) if x < type(x)(0) else y


@exact
def _absolute_slope(dy, x):
    y = dy if x > type(x)(0) else type(x)(0)
    return -dy if x < type(x)(0) else y


@exact
def _reciprocal(x):
    return type(x)(1) / x


@exact
def _reciprocal_slope(dy, y):
    return -dy * y * y


@exact
def _add_scaled(a, b, alpha):
    return a + b * alpha


multiply_map = Map2(_multiply, broadcasts=True)
divide_map = Map2(_divide, broadcasts=True)
negative_map = Map1(_negative)

# ---------------------------------------------------------------- both gradients of a product


@cpu_kernel
def _product_gradients_cpu(dy, a, b, da, db, start, stop):
    """dy, a, b, da, db [N]: da = dy b, db = dy a, dy read once. One task an element."""
    for i in range(start, stop):
        gradient = dy[i]
        da[i] = gradient * b[i]
        db[i] = gradient * a[i]


@cuda_kernel
def _product_gradients_cuda(dy, a, b, da, db):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < dy.size:
        gradient = dy[i]
        da[i] = gradient * b[i]
        db[i] = gradient * a[i]


product_gradients = Kernel(
    cpu=_product_gradients_cpu,
    cuda=_product_gradients_cuda,
    tasks=lambda dy, *_: dy.size,
    work=lambda dy, *_: 2 * dy.size,
    blocks=lambda dy, *_: max(1, -(-dy.size // BLOCK)),
)

# ---------------------------------------------------------------- autograd


class AddOp(BinaryOp):
    """y = a + b. Nothing is saved."""

    value = Map2(_add, broadcasts=True)

    @classmethod
    def forward(cls, ctx: Context, a, b):
        ctx.shapes = a.shape, b.shape
        return cls.value(a, b)

    @classmethod
    def backward(cls, ctx: Context, dy):
        wants_a, wants_b = ctx.needs_input_grad
        a_shape, b_shape = ctx.shapes
        return sum_to(dy, a_shape) if wants_a else None, sum_to(dy, b_shape) if wants_b else None


AddOp.of_number = AddOp


class AddScaledOp(Op):
    """y = a + alpha b, alpha a number. Nothing is saved."""

    value = Map2(_add_scaled)

    @classmethod
    def forward(cls, ctx: Context, a, b, alpha):
        ctx.shapes, ctx.alpha = (a.shape, b.shape), alpha
        return cls.value(a, b, alpha)

    @classmethod
    def backward(cls, ctx: Context, dy):
        wants_a, wants_b, _ = ctx.needs_input_grad
        a_shape, b_shape = ctx.shapes
        da = sum_to(dy, a_shape) if wants_a else None
        return da, multiply_map(sum_to(dy, b_shape), ctx.alpha) if wants_b else None, None


class SubtractFromOp(UnaryOp):
    """y = number - x."""

    value = Map1(_subtract_from)

    @classmethod
    def forward(cls, ctx: Context, x, number):
        return cls.value(x, number)

    @classmethod
    def backward(cls, ctx: Context, dy):
        return negative_map(dy), None


class SubOp(AddOp):
    """y = a - b. Nothing is saved."""

    value = Map2(_subtract, broadcasts=True)
    of_number = SubtractFromOp

    @classmethod
    def backward(cls, ctx: Context, dy):
        wants_a, wants_b = ctx.needs_input_grad
        a_shape, b_shape = ctx.shapes
        return sum_to(dy, a_shape) if wants_a else None, negative_map(sum_to(dy, b_shape)) if wants_b else None


class MulOp(BinaryOp):
    """y = a b. Each factor is kept for the gradient of the other alone."""

    value = multiply_map

    @classmethod
    def forward(cls, ctx: Context, a, b):
        wants_a, wants_b = ctx.needs_input_grad
        ctx.save(a if wants_b else None, b if wants_a else None)
        ctx.shapes = a.shape, b.shape
        return multiply_map(a, b)

    @classmethod
    def backward(cls, ctx: Context, dy):
        a, b = ctx.saved
        a_shape, b_shape = ctx.shapes
        if b is None:
            return None, sum_to(multiply_map(dy, a), b_shape)
        if a is None:
            return sum_to(multiply_map(dy, b), a_shape), None
        same = a_shape == b_shape and dy.flags.c_contiguous and a.flags.c_contiguous and b.flags.c_contiguous
        if not same:
            return sum_to(multiply_map(dy, b), a_shape), sum_to(multiply_map(dy, a), b_shape)
        da, db = memory.empty(a.shape, a.dtype), memory.empty(b.shape, b.dtype)
        product_gradients(dy.ravel(), a.ravel(), b.ravel(), da.ravel(), db.ravel())
        return da, db


MulOp.of_number = MulOp


class DivideNumberOp(UnaryOp):
    """y = number / x."""

    value = Map1(_divide_number)
    slope = Map2(_divide_number_slope)


class DivOp(BinaryOp):
    """y = a / b. With db = -dy y / b the divisor comes after the sum over the dimensions in which b was repeated."""

    value = divide_map
    of_number = DivideNumberOp
    _right = MapN(_divide_right)

    @classmethod
    def forward(cls, ctx: Context, a, b):
        y = divide_map(a, b)
        ctx.save(b, y)
        ctx.shape = a.shape
        return y

    @classmethod
    def backward(cls, ctx: Context, dy):
        b, y = ctx.saved
        wants_a, wants_b = ctx.needs_input_grad
        da = sum_to(divide_map(dy, b), ctx.shape) if wants_a else None
        if not wants_b:
            return da, None
        if b.shape == dy.shape:
            return da, cls._right(dy, y, b)
        return da, negative_map(divide_map(sum_to(multiply_map(dy, y), b.shape), b))


class NegOp(UnaryOp):
    """y = -x."""

    value = negative_map

    @classmethod
    def forward(cls, ctx: Context, x):
        return negative_map(x)

    @classmethod
    def backward(cls, ctx: Context, dy):
        return negative_map(dy)


class AbsOp(UnaryOp):
    """y = |x|; the gradient at 0 is 0."""

    value = Map1(_absolute)
    slope = Map2(_absolute_slope)


class SignOp(UnaryOp):
    """y = -1, 0 or 1."""

    value = Map1(_sign)
    slope = None


class ReciprocalOp(UnaryOp):
    """y = 1 / x."""

    value = Map1(_reciprocal)
    slope = Map2(_reciprocal_slope)
    keeps = "y"


# ---------------------------------------------------------------- sum, difference


def add(input: Tensor | float, other: Tensor | float, *, alpha: float = 1) -> Tensor:
    r"""The sum, $y = a + \alpha b$.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.
        alpha: The factor of b.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: dy. For other: $\alpha\, dy$.

    Example:
        >>> nbdl.ops.add(nbdl.tensor([1.0, 2.0]), 10)
        tensor([11., 12.])
    """
    return apply_pair(AddOp, input, other) if alpha == 1 else _add_scaled_pair(input, other, alpha)


def sub(input: Tensor | float, other: Tensor | float, *, alpha: float = 1) -> Tensor:
    r"""The difference, $y = a - \alpha b$.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.
        alpha: The factor of b.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: An operand is bool.

    Gradient:
        For input: dy. For other: $-\alpha\, dy$.

    Example:
        >>> nbdl.ops.sub(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 5.0]))
        tensor([-2., -3.])
    """
    if _is_bool(input) or _is_bool(other):
        raise DTypeError("input, other: expected numbers, got bool; the difference of truth values is logical_xor")
    return apply_pair(SubOp, input, other) if alpha == 1 else _add_scaled_pair(input, other, -alpha)


def _is_bool(value: Any) -> bool:
    return value._array.dtype.kind == "b" if isinstance(value, Tensor) else value is True or value is False


def _add_scaled_pair(input: Any, other: Any, alpha: float) -> Tensor:
    """Input + alpha other; an integer operand takes an integer factor only, as in PyTorch."""
    input, other = as_operand("input", input), as_operand("other", other)
    is_float = other.dtype.kind == "f" if isinstance(other, Tensor) else isinstance(other, float)
    if isinstance(alpha, float) and not is_float:
        raise DTypeError(f"alpha: expected an integer for integer operands, got {alpha}")
    if isinstance(input, Tensor) and isinstance(other, Tensor) and isinstance(alpha, (int, float)):
        dtype = input.dtype
        if dtype == other.dtype and dtype in (FLOAT32, FLOAT64):
            return AddScaledOp.apply(input, other, typed_number("alpha", alpha, dtype))
    return apply_pair(AddOp, input, other * alpha)


# ---------------------------------------------------------------- product, quotient


def mul(input: Tensor | float, other: Tensor | float) -> Tensor:
    r"""The product, $y = a b$, element by element.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: $dy \cdot b$. For other: $dy \cdot a$.

    Example:
        >>> nbdl.ops.mul(nbdl.tensor([1.0, 2.0]), 0.5)
        tensor([0.5000, 1.0000])
    """
    return apply_pair(MulOp, input, other)


def div(input: Tensor | float, other: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    r"""The quotient, $y = a / b$, rounded on request.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.
        rounding_mode: None, "trunc" (towards zero) or "floor" (downwards). With None integers are divided in the
            default dtype; with a rounding they stay integers.

    Returns:
        [*], the common shape.

    Raises:
        ShapeError: The shapes do not broadcast.
        NumericalError: Integers are divided by 0 with a rounding.

    Gradient:
        For input: $dy / b$. For other: $-dy\, a / b^2$. Zero with a rounding.

    Example:
        >>> nbdl.ops.div(nbdl.tensor([7.0, -7.0]), 2, rounding_mode="floor")
        tensor([ 3., -4.])
    """
    if rounding_mode is None:
        return apply_pair(DivOp, input, other, floating=True)
    check_choice("rounding_mode", rounding_mode, (None, "trunc", "floor"))
    from nbdl.ops.elementwise.division import divide_rounded

    return divide_rounded(input, other, rounding_mode)


def true_divide(input: Tensor | float, other: Tensor | float) -> Tensor:
    """`div` without a rounding."""
    return div(input, other)


# ---------------------------------------------------------------- one operand


def neg(input: Tensor) -> Tensor:
    """The negative, $y = -x$.

    Args:
        input: [*], floating point or integers.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.

    Gradient:
        For input: -dy.

    Example:
        >>> nbdl.ops.neg(nbdl.tensor([1.0, -2.0]))
        tensor([-1.,  2.])
    """
    return apply_any(NegOp, input)


def positive(input: Tensor) -> Tensor:
    """The tensor itself; bool is refused, as by `neg`."""
    tensor = as_tensor_operand("input", input)
    if tensor.dtype.kind == "b":
        raise DTypeError("input: expected numbers, got bool")
    return tensor


def abs(input: Tensor) -> Tensor:
    """The absolute value.

    Args:
        input: [*], floating point or integers.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.

    Gradient:
        For input: dy times the sign of x, 0 at 0.

    Example:
        >>> nbdl.ops.abs(nbdl.tensor([1.0, -2.0]))
        tensor([1., 2.])
    """
    return apply_any(AbsOp, input)


def sign(input: Tensor) -> Tensor:
    """The sign: -1, 0 or 1.

    Args:
        input: [*], any dtype.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: 0.

    Example:
        >>> nbdl.ops.sign(nbdl.tensor([3.0, 0.0, -2.0]))
        tensor([ 1.,  0., -1.])
    """
    return apply_any(SignOp, input, allow_bool=True)


def reciprocal(input: Tensor) -> Tensor:
    """The reciprocal, $y = 1 / x$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $-dy \\cdot y^2$.

    Example:
        >>> nbdl.ops.reciprocal(nbdl.tensor([2.0, 4.0]))
        tensor([0.5000, 0.2500])
    """
    return apply_float(ReciprocalOp, input)
