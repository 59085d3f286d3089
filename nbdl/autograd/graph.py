"""The graph: operations, and the nodes that they leave behind for the backward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdl.autograd.mode import mode
from nbdl.autograd.tensor import Tensor, wrap
from nbdl.runtime import arrays, memory, placement
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import DeviceError, GradientError

Array = Any
"""A NumPy array on the CPU, a device array on a GPU."""


by_precision: Callable[[type[Op], tuple[Any, ...]], Any] | None = None
"""Once tensors of 16 bits are in use: gives an operation's result where one takes part, else None."""


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
        if by_precision is not None:
            result = by_precision(cls, inputs)
            if result is not None:
                return result
        before = None
        if placement.active:
            before = placement.where.kind
            inputs = _on_one_device(cls, inputs)
        try:
            ctx = Context(cls)
            values = list(inputs)
            tensors: list[Tensor] = []
            edges: list[Any] | None = None
            for place, value in enumerate(inputs):
                if isinstance(value, Tensor):
                    tensors.append(value)
                    values[place] = value._array
                    if value._seen < value._version[1] and mode.enabled:
                        refresh(value)
                    if value.requires_grad and mode.enabled:
                        if edges is None:
                            edges = [None] * len(inputs)
                        edges[place] = value if value._node is None else (value._node, value._output)
            if edges is None:
                ctx.needs_input_grad = (False,) * len(inputs)
            else:
                ctx.edges = edges
                ctx.needs_input_grad = tuple([edge is not None for edge in edges])
            result = cls.forward(ctx, *values)
        finally:
            if before is not None:
                placement.where.kind = before
        if type(result) is tuple:
            outputs = tuple([_output(array, tensors) for array in result])
            if edges is not None:
                _record(ctx, tensors, outputs)
            return outputs
        output = _output(result, tensors)
        if edges is not None:
            _record(ctx, tensors, (output,))
        return output


def _on_one_device(op: type[Op], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Says where the operation's new arrays go; numbers on the CPU, tensors of no dimension, go to the others' GPU."""
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    if not tensors:
        return inputs
    kind = placement.meet(op.__name__.removesuffix("Op").lower(), [tensor._array for tensor in tensors])
    placement.where.kind = kind
    if kind == "cpu" or all(type(tensor._array) is not np.ndarray for tensor in tensors):
        return inputs
    return tuple(
        [_sent(value) if isinstance(value, Tensor) and type(value._array) is np.ndarray else value for value in inputs]
    )


def _sent(number: Tensor) -> Tensor:
    """A tensor of no dimension on the GPU."""
    from nbdl.runtime.cuda import memory as cuda_memory

    if number.requires_grad:
        raise DeviceError('a number on the CPU that requires gradients meets tensors of the GPU: move it, .to("cuda")')
    return wrap(cuda_memory.constant(number._array))


def _output(array: Array, inputs: list[Tensor]) -> Tensor:
    """The tensor of a result. A view counts changes together with the input whose memory it shows."""
    output = wrap(array)
    if type(array.base) is np.ndarray or (placement.active and type(array.base) is DeviceArray):
        owner = arrays.owner(array)
        for tensor in inputs:
            if arrays.owner(tensor._array) is owner:
                output._version = tensor._version
                output._is_view = True
                if tensor._seen:
                    output._seen = tensor._seen
                break
    return output


def refresh(tensor: Tensor) -> None:
    """Gives a view its place in the graph anew, after a recorded operation has changed the memory that it shows."""
    stale: list[Tensor] = []
    base: Tensor | None = tensor
    while base is not None and base._seen < base._version[1]:
        stale.append(base)
        base = base._base
    if base is None:
        raise GradientError(
            "a view of a tensor that required no gradients then, and has since been changed in place by a recorded "
            "operation, stands for other numbers now: take the view again"
        )
    for view in reversed(stale):
        old: Any = view._node
        view._node = node = copy.copy(old)
        place = base if base._node is None else (base._node, base._output)
        node.edges = [None if edge is None else place for edge in old.edges]
        node.hooks = None  # they wait for the gradient of what the view was
        view._seen = view._version[1]
        base = view


def _record(ctx: Context, inputs: list[Tensor], outputs: tuple[Tensor, ...]) -> None:
    """Gives the outputs their place in the graph, and notes the versions of what forward saved."""
    described: list[tuple[tuple[int, ...], np.dtype]] = []
    ctx.outputs = described
    for output in outputs:
        array = output._array
        dtype = array.dtype
        number = len(described)
        if dtype.kind == "f" and number not in ctx._non_differentiable:
            output.requires_grad = True
            output._node = ctx
            output._output = number
            if output._is_view and ctx.op.is_view:
                output._base = next(tensor for tensor in inputs if tensor._version is output._version)
        described.append((array.shape, dtype))
    if ctx._saved:
        tensors = (*inputs, *outputs)
        ctx._versions = versions = []
        for saved in ctx._saved:
            for tensor in tensors:
                if tensor._array is saved:  # most of the time, and views of one memory share their version
                    versions.append((tensor._version, tensor._version[0]))
                    break
            else:
                _note_versions(saved, tensors, versions)


def _note_versions(saved: Array, tensors: tuple[Tensor, ...], versions: list[tuple[list[int], int]]) -> None:
    """The versions of the tensors whose memory a saved array shows."""
    if isinstance(saved, (np.ndarray, DeviceArray)):
        owner = arrays.owner(saved)
        for tensor in tensors:
            if arrays.owner(tensor._array) is owner:
                versions.append((tensor._version, tensor._version[0]))
