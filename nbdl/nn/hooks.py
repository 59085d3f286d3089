"""Hooks of modules: functions called before and after forward, when gradients cross a module, and for its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdl.autograd import Context, Op, RemovableHandle, Tensor, wrap
from nbdl.runtime.errors import ArgumentTypeError

if TYPE_CHECKING:
    from nbdl.nn.module import Module

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Hook:
    """A function, and how to call it. Two registrations of one function are two hooks."""

    function: Function
    with_kwargs: bool = False
    always_call: bool = False


class Hooks:
    """The hooks of one module. A module without any has no such object, and its call goes straight to forward."""

    def __init__(self) -> None:
        self.before_forward: list[Hook] = []
        self.after_forward: list[Hook] = []
        self.before_backward: list[Hook] = []
        self.after_backward: list[Hook] = []
        self.before_state_dict: list[Hook] = []
        self.after_state_dict: list[Hook] = []
        self.before_load: list[Hook] = []
        self.after_load: list[Hook] = []

    def __bool__(self) -> bool:
        """Whether there is any: those that were registered may have been removed."""
        return any(vars(self).values())

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`module(*args, **kwargs)` with everything that was registered."""
        for hook in tuple(self.before_forward):
            args, kwargs = _changed_inputs(hook, module, args, kwargs)
        backward = _Crossing(module, self) if self.before_backward or self.after_backward else None
        if backward is not None:
            args = backward.watch_inputs(args)
        called: set[Hook] = set()
        try:
            result = module.forward(*args, **kwargs)
            for hook in tuple(self.after_forward):
                called.add(hook)
                result = _changed_output(hook, module, args, kwargs, result)
        except Exception:
            for hook in tuple(self.after_forward):
                if hook.always_call and hook not in called:
                    _changed_output(hook, module, args, kwargs, None)
            raise
        return result if backward is None else backward.watch_outputs(result)


def add(hooks: list[Hook], hook: Hook, prepend: bool) -> RemovableHandle:
    """Puts the hook at the end of the list, or at its start."""
    hooks.insert(0 if prepend else len(hooks), hook)
    return RemovableHandle(hooks, hook)


def _changed_inputs(
    hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hook.with_kwargs:
        result = hook.function(module, args, kwargs)
        if result is None:
            return args, kwargs
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ArgumentTypeError(f"forward pre-hook: expected None or (args, kwargs), got {result!r}")
        return result
    result = hook.function(module, args)
    if result is None:
        return args, kwargs
    return (result if isinstance(result, tuple) else (result,)), kwargs


def _changed_output(hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    if hook.with_kwargs:
        result = hook.function(module, args, kwargs, output)
    else:
        result = hook.function(module, args, output)
    return output if result is None else result


# ---------------------------------------------------------------- gradients that cross a module


class _BoundaryOp(Op):
    """y = x for several tensors at once. Its backward tells `arrived` all their gradients, and may replace them."""

    @staticmethod
    def forward(ctx: Context, arrived: Function, *arrays: Any) -> Any:
        ctx.arrived = arrived
        return tuple(array.reshape(array.shape) for array in arrays)

    @staticmethod
    def backward(ctx: Context, *gradients: Any) -> Any:
        return (None, *ctx.arrived(gradients))


class _Crossing:
    """One call of a module with backward hooks: a boundary at its outputs and one at its inputs."""

    def __init__(self, module: Module, hooks: Hooks) -> None:
        self.module, self.hooks = module, hooks
        self.grad_output: tuple[Tensor | None, ...] = ()
        self.inputs_watched = False

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not any(isinstance(value, Tensor) and value.requires_grad for value in args):
            return args
        self.inputs_watched = True
        return _through_boundary(args, self._inputs_reached)

    def watch_outputs(self, result: Any) -> Any:
        several = isinstance(result, (tuple, list))
        outputs = _through_boundary(tuple(result) if several else (result,), self._outputs_reached)
        return type(result)(outputs) if several else outputs[0]

    def _outputs_reached(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        self.grad_output = tuple(None if array is None else wrap(array) for array in gradients)
        for hook in tuple(self.hooks.before_backward):
            self.grad_output = _replaced(hook.function(self.module, self.grad_output), self.grad_output, "grad_output")
        if not self.inputs_watched:
            for hook in tuple(self.hooks.after_backward):
                hook.function(self.module, (None,), self.grad_output)
        return tuple(None if tensor is None else tensor._array for tensor in self.grad_output)

    def _inputs_reached(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        grad_input = tuple(None if array is None else wrap(array) for array in gradients)
        for hook in tuple(self.hooks.after_backward):
            grad_input = _replaced(hook.function(self.module, grad_input, self.grad_output), grad_input, "grad_input")
        return tuple(None if tensor is None else tensor._array for tensor in grad_input)


def _through_boundary(values: tuple[Any, ...], arrived: Function) -> tuple[Any, ...]:
    """The values, their tensors led through one boundary."""
    places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]
    if not places:
        return values
    passed = _BoundaryOp.apply(arrived, *(values[place] for place in places))
    result = list(values)
    for place, tensor in zip(places, passed, strict=True):
        result[place] = tensor
    return tuple(result)


def _replaced(result: Any, gradients: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if result is None:
        return gradients
    listed = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if len(listed) != len(gradients):
        raise ArgumentTypeError(f"backward hook: expected {len(gradients)} gradients for {name}, got {len(listed)}")
    return listed
