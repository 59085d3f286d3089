r"""Mixed precision: tensors of 16 bits, and `autocast`, which chooses where they are used.

float16 is for memory and for tensor cores; kernels calculate in float32. An operation on float16 tensors runs on their
values as float32 and rounds its results, and so does its backward pass:

$$y = \mathrm{round}_{16}(f(x)), \qquad dx = \mathrm{round}_{16}(f'(x)\, dy).$$

Inside `autocast`, matrix products and convolutions round float32 operands to float16 first; operations that lose too
much there (exponentials, sums, norms, losses) get float32. The hook is set by the first tensor of 16 bits or the first
`autocast`: before that, operations do not look.

Source: Micikevicius et al. (2018), "Mixed precision training"; the lists are those of PyTorch's autocast on a GPU.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, graph
from nbdl.ops.attention.scaled_dot_product import ScaledDotProductAttentionOp
from nbdl.ops.convolution.direct import ConvolutionOp
from nbdl.ops.convolution.transposed import ConvTransposeOp
from nbdl.ops.elementwise.casting import ToDeviceOp, ToOp, cast
from nbdl.ops.indexing.subscript import AssignOp
from nbdl.ops.matmul.linear import LinearCurveOp, LinearLeakyReluOp, LinearOp
from nbdl.ops.matmul.products import MatmulOp
from nbdl.ops.normalization.batch_norm import BatchNormOp
from nbdl.ops.normalization.group_norm import GroupNormOp
from nbdl.runtime import arrays, dtypes
from nbdl.runtime.dtypes import FLOAT16, FLOAT32, as_dtype, mixing
from nbdl.runtime.errors import DTypeError

LOWER = (
    LinearOp, LinearLeakyReluOp, LinearCurveOp, MatmulOp, ConvolutionOp, ConvTransposeOp, ScaledDotProductAttentionOp,
)  # fmt: skip
"""Operations that autocast runs on float16."""

WIDE = (
    "nbdl.ops.loss", "nbdl.ops.normalization", "nbdl.ops.softmax", "nbdl.ops.reduction", "nbdl.ops.scan",
    "nbdl.ops.elementwise.exponential", "nbdl.ops.elementwise.power",
)  # fmt: skip
"""Modules whose operations autocast runs on float32, but for those that lose nothing."""

WRITTEN = {AssignOp: (0,), BatchNormOp: (1, 2), GroupNormOp: (1, 2)}
"""Operations that write to inputs, and to which: subscripts to the tensor, norms to their running moments."""

_LOSES_NOTHING = ("BatchNormOp", "SigmoidOp", "SqrtOp")


class _State(threading.local):
    inside = False
    """Whether an operation is already being run on float32."""


_state = _State()


@functools.cache
def _family(op: Any) -> str:
    """How autocast treats an operation: "lower", "wide" or ""."""
    if op in LOWER or op.__module__.startswith("nbdl.ops.recurrent"):
        return "lower"
    wide = any(op.__module__ == name or op.__module__.startswith(f"{name}.") for name in WIDE)
    return "wide" if wide and op.__name__ not in _LOSES_NOTHING else ""


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value._array.dtype.kind == "f"


def _run(op: type[Op], inputs: tuple[Any, ...]) -> Any:
    """The operation's result where 16 bits take part, else None: it runs as it is."""
    if _state.inside or op is ToOp or op is ToDeviceOp:
        return None
    floats = [value for value in inputs if _is_float(value)]
    family = _family(op) if mixing.allowed else ""  # type: ignore[arg-type]
    if family == "lower":
        inputs = tuple([_cast(value, FLOAT32, FLOAT16) for value in inputs])
    elif not any(value._array.dtype == FLOAT16 for value in floats):
        return None
    narrow = family == "lower" or (family != "wide" and all(value._array.dtype == FLOAT16 for value in floats))
    _state.inside = True
    try:
        if op.is_view:
            try:
                return _view(op, inputs)
            except NotImplementedError:  # an index by tensors is no view: a kernel copies, and kernels take no float16
                pass
        wide = [_widened(value) for value in inputs]
        result = op.apply(*wide)
        for place in WRITTEN.get(op, ()):
            if wide[place] is not inputs[place]:
                arrays.copy_into(inputs[place]._array, cast(wide[place]._array, FLOAT16))
    finally:
        _state.inside = False
    if not narrow:
        return result
    if type(result) is tuple:
        return tuple([_cast(output, FLOAT32, FLOAT16) for output in result])
    return _cast(result, FLOAT32, FLOAT16)


def _view(op: type[Op], inputs: tuple[Any, ...]) -> Any:
    """A view stays one; only its backward pass, which may add, runs on float32."""
    result = op.apply(*inputs)
    first = result[0] if type(result) is tuple else result
    if first._node is not None:
        first._node.op = _narrow(op)  # type: ignore[arg-type]
    return result


@functools.cache
def _narrow(op: Any) -> Any:
    """The operation on float16 gradients."""

    class Narrow(op):  # type: ignore[misc]
        @staticmethod
        def backward(ctx: Context, *gradients: Any) -> Any:
            result = op.backward(ctx, *[None if dy is None else cast(dy, FLOAT32) for dy in gradients])
            parts = result if type(result) is tuple else (result,)
            return tuple([None if dx is None else cast(dx, FLOAT16) for dx in parts])

    Narrow.__name__ = op.__name__
    return Narrow


def _widened(value: Any) -> Any:
    """An input of an operation, what is of float16 as float32."""
    if isinstance(value, Tensor):
        return _cast(value, FLOAT16, FLOAT32)
    if isinstance(value, np.float16):
        return np.float32(value)
    if isinstance(value, np.ndarray) and value.dtype == FLOAT16:
        return cast(value, FLOAT32)
    if type(value) is tuple:
        return tuple([_widened(item) for item in value])
    return value


def _cast(value: Any, before: Any, after: Any) -> Any:
    if isinstance(value, Tensor) and value._array.dtype == before:
        return ToOp.apply(value, after)
    return value


def _watch() -> None:
    graph.by_precision = _run


dtypes.on_float16.append(_watch)


class autocast:
    """Runs matrix products and convolutions on float16, what needs the range or the digits on float32.

    A context manager, or a decorator. Only the forward pass belongs into it: `backward` follows the dtypes that each
    operation had. Scale the loss with `nbdl.amp.GradScaler`, so that small gradients do not vanish in float16.

    Args:
        device_type: "cuda" or "cpu". On the CPU products run on float32, from rounded operands: it is as exact, not
            faster.
        dtype: float16.
        enabled: Whether anything changes; False also switches an outer autocast off.
        cache_enabled: Accepted, without effect.

    Raises:
        DTypeError: Another dtype than float16.

    Example:
        >>> x, w = nbdl.ones(2, 3), nbdl.ones(3, 4)
        >>> with nbdl.autocast("cpu"):
        ...     y = x @ w
        >>> y.dtype
        dtype('float16')

    Source:
        Micikevicius et al. (2018), "Mixed precision training".
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = device_type
        self.dtype = FLOAT16 if dtype is None else as_dtype(dtype)
        if self.dtype != FLOAT16:
            raise DTypeError(f"dtype: expected float16, got {self.dtype}")
        self.enabled = bool(enabled)
        self._before: list[bool] = []

    def __enter__(self) -> autocast:
        self._before.append(mixing.allowed)
        mixing.allowed = self.enabled
        if self.enabled:
            _watch()
        return self

    def __exit__(self, *_: object) -> None:
        mixing.allowed = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*arguments: Any, **keywords: Any) -> Any:
            with self:
                return function(*arguments, **keywords)

        return inside


def is_autocast_enabled() -> bool:
    """Whether this thread is inside `autocast`."""
    return mixing.allowed
