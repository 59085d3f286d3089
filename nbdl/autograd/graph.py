"""The graph: operations, and the nodes that they leave behind for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdl.autograd.mode import mode
from nbdl.autograd.tensor import Tensor, wrap
from nbdl.runtime import arrays, memory
from nbdl.runtime.errors import GradientError

Array = Any
"""A NumPy array on the CPU, a device array on a GPU."""


class Context:
    """One node of the graph: what an Op's backward needs, and the edges along which gradients flow on.

    Attributes:
        op: The Op class.
        edges: For each input, where its gradient goes: (Context, output number), a leaf Tensor, or None.
        needs_input_grad: For each input, whether its gradient is wanted.
        saved: The arrays that forward saved.
    """

    # Most nodes keep most of these: as class attributes they cost a new node nothing.
    needs_input_grad: tuple[bool, ...] = ()
    edges: Sequence[Any] = ()
    outputs: Sequence[tuple[tuple[int, ...], np.dtype]] = ()
    hooks: dict[int, list[Callable[..., Any]]] | None = None
    _saved: tuple[Array, ...] | None = ()
    _versions: Sequence[tuple[list[int], int]] = ()
    _non_differentiable: tuple[int, ...] = ()

    if TYPE_CHECKING:  # an operation may keep what it likes

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, op: type[Op]) -> None:
        self.op = op

    def save(self, *saved: Array) -> None:
        """Keeps arrays for backward, which raises if one of an input or output has been changed in place since."""
        self._saved = saved

    @property
    def saved(self) -> tuple[Array, ...]:
        if self._saved is None:
            raise GradientError(
                f"backward through {self.op.__name__} a second time: its saved arrays were freed. "
                "Pass retain_graph=True to the first backward()"
            )
        for version, value in self._versions:
            if version[0] != value:
                raise GradientError(
                    f"{self.op.__name__}: a tensor that backward needs was changed in place "
                    f"(version {version[0]}, expected {value}). Use the out-of-place form, or clone() it first"
                )
        return self._saved

    def mark_non_differentiable(self, *outputs: int) -> None:
        """Numbers of outputs that never carry gradients (integer outputs need no mark)."""
        self._non_differentiable = outputs

    @staticmethod
    def empty(*shape: int, dtype: Any = np.float32) -> Array:
        """An uninitialised array."""
        return memory.empty(shape, dtype)

    @staticmethod
    def empty_like(x: Array, dtype: Any = None) -> Array:
        """An uninitialised C-contiguous array of the shape and dtype of x."""
        return memory.empty(x.shape, x.dtype if dtype is None else dtype)

    def free(self) -> None:
        """Drops the saved arrays."""
        self._saved = None

    def name(self) -> str:
        """The operation's name, as `grad_fn` shows it."""
        return self.op.__name__.removesuffix("Op") + "Backward"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that this node's gradients go to, for drawing graphs."""
        return tuple(edge if isinstance(edge, tuple) else (edge, 0) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class Op:
    """An operation: subclass it with static `forward(ctx, ...)` and `backward(ctx, ...)` over arrays.

    `forward` gets the inputs as given to `apply`, tensors replaced by their arrays, and returns one array or a tuple.
    `backward` gets one gradient per output, contiguous or not, and returns one gradient, or None, per input. It must
    not write to what it is given, and returns fresh arrays or views of the incoming gradients.

    Attributes:
        is_view: Whether the output may show its input's memory.
    """

    is_view = False

    @staticmethod
    def forward(ctx: Context, *inputs: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *gradients: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Runs forward on the inputs' arrays and wraps the results; records the operation if gradients may be asked."""
        ctx = Context(cls)
        values = [value._array if isinstance(value, Tensor) else value for value in inputs]
        if mode.enabled:
            needs = [isinstance(value, Tensor) and value.requires_grad for value in inputs]
            record = True in needs
            if record:
                ctx.needs_input_grad = tuple(needs)
        else:
            record = False
        if not record:
            ctx.needs_input_grad = (False,) * len(inputs)
        result = cls.forward(ctx, *values)
        if type(result) is tuple:
            tensors = [wrap(array) for array in result]
            for tensor in tensors:
                if type(tensor._array.base) is np.ndarray:
                    _share_version(tensor, inputs)
            if record:
                _record(ctx, inputs, tensors)
            return tuple(tensors)
        tensor = wrap(result)
        if type(result.base) is np.ndarray:
            _share_version(tensor, inputs)
        if record:
            _record(ctx, inputs, (tensor,))
        return tensor


def _share_version(tensor: Tensor, inputs: Iterable[Any]) -> None:
    """A view counts changes together with the tensor whose memory it shows."""
    owner = arrays.owner(tensor._array)
    for value in inputs:
        if isinstance(value, Tensor) and arrays.owner(value._array) is owner:
            tensor._version = value._version
            return


def _record(ctx: Context, inputs: tuple[Any, ...], tensors: Sequence[Tensor]) -> None:
    """Gives the context its edges and the outputs their place in the graph."""
    ctx.edges = [
        (None if not needed else value if value._node is None else (value._node, value._output))
        for value, needed in zip(inputs, ctx.needs_input_grad)  # noqa: B905 (a tenth of a microsecond)
    ]
    outputs: list[Any] = []
    ctx.outputs = outputs
    for tensor in tensors:
        dtype = tensor._array.dtype
        if dtype.kind == "f" and len(outputs) not in ctx._non_differentiable:
            tensor.requires_grad = True
            tensor._node = ctx
            tensor._output = len(outputs)
        outputs.append((tensor._array.shape, dtype))
    if ctx._saved:
        owners = [arrays.owner(array) for array in ctx._saved if isinstance(array, np.ndarray)]
        versions = []
        for value in (*inputs, *tensors):
            if isinstance(value, Tensor):
                owner = arrays.owner(value._array)
                for other in owners:
                    if owner is other:
                        versions.append((value._version, value._version[0]))
                        break
        ctx._versions = versions
