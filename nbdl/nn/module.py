"""Module: the base of everything with parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from nbdl.autograd import RemovableHandle, Tensor
from nbdl.nn import hooks, state
from nbdl.nn.parameter import Buffer, Parameter
from nbdl.runtime.boundary import name_error
from nbdl.runtime.checks import FLOATS
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, StateError

_REGISTERS = ("_parameters", "_buffers", "_modules")
_ABOVE_BUFFERS = ("_parameters", "_modules")
"""The registers whose names a buffer cannot take over."""


class Module:
    """The base class of all modules: a tree of parameters, buffers and other modules, with a forward pass.

    A subclass calls `super().__init__()` first, assigns parameters and modules to attributes, which registers them,
    and defines `forward`. Calling the module runs `forward` and the hooks.

    Attributes:
        training: Whether the module is in training mode (dropout and batch normalization differ). Set by `train()`.

    Example:
        >>> class Scale(nbdl.nn.Module):
        ...     def __init__(self, features):
        ...         super().__init__()
        ...         self.weight = nbdl.nn.Parameter(nbdl.ones(features))
        ...
        ...     def forward(self, input):
        ...         return input * self.weight
        >>> Scale(2)(nbdl.tensor([3.0, 4.0]))
        tensor([3., 4.], grad_fn=<MulBackward>)
    """

    # A registered tensor or module is an ordinary attribute as well, so reading it costs no search. The registers
    # hold the order and tell the kinds apart; register_* and __setattr__ keep both in step.
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers: set[str]
    _hooks: hooks.Hooks | None

    optional_state: frozenset[str] = frozenset()
    """Entries of a class's own that a state dict may lack: the module keeps what it has."""

    def __init__(self) -> None:
        self.__dict__.update(
            training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent_buffers=set(), _hooks=None
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; every subclass defines its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return self._hooks.call(self, args, kwargs)
        except Exception as error:
            named = name_error(error, self.forward, args, kwargs)
            if named is None:
                raise
            raise named from error

    # ---------------------------------------------------------------- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module) and name not in attributes.get("_parameters", ()):
            self._forget(name, "_modules")
            self._modules[name] = value
            attributes[name] = value
        elif isinstance(value, Buffer) and not any(name in attributes.get(held, ()) for held in _ABOVE_BUFFERS):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif "_parameters" in attributes and (register := self._register_of(name)) is not None:
            if value is not None and not (register == "_buffers" and isinstance(value, Tensor)):
                expected = {
                    "_parameters": "Parameter or None",
                    "_modules": "Module or None",
                    "_buffers": "Tensor or None",
                }[register]
                raise ArgumentTypeError(
                    f"cannot assign {type(value).__name__!r} as {register[1:-1]} {name!r} ({expected} expected)"
                )
            attributes[register][name] = value
            attributes[name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if self._register_of(name) is None:
            object.__delattr__(self, name)
        else:
            self._forget(name)

    def _register_of(self, name: str) -> str | None:
        for register in _REGISTERS:
            if name in self.__dict__[register]:
                return register
        return None

    def _forget(self, name: str, keep: str = "") -> None:
        """Takes the name out of the attributes and registers, unless it is in `keep` and may stay in its place."""
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        if keep and name in self.__dict__[keep]:
            return
        self.__dict__.pop(name, None)
        self._non_persistent_buffers.discard(name)
        for register in _REGISTERS:
            self.__dict__[register].pop(name, None)

    def _check_name(self, kind: str, name: Any, register: dict[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before registering a {kind}")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"name: expected a string, got {type(name).__name__}")
        if not name or "." in name:
            raise StateError(f'name: the name of a {kind} must not be empty or contain ".", got {name!r}')
        if hasattr(self, name) and name not in register:
            raise StateError(f"name: attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; None reserves the name for an absent one.

        Raises:
            StateError: The name is empty, has a dot or is taken.
            ArgumentTypeError: param is neither a Parameter nor None.
        """
        registers = self.__dict__.get("_parameters", {})
        self._check_name("parameter", name, registers)
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentTypeError(f"param: expected a Parameter or None, got {type(param).__name__}")
        registers[name] = param
        self.__dict__[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that belongs to the state but is not learned, such as a running mean.

        Args:
            name: The attribute to reach it by.
            tensor: The buffer; None reserves the name for an absent one.
            persistent: Whether `state_dict()` contains it.

        Raises:
            StateError: The name is empty, has a dot or is taken.
            ArgumentTypeError: tensor is neither a Tensor nor None.
        """
        buffers = self.__dict__.get("_buffers", {})
        self._check_name("buffer", name, buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"tensor: expected a Tensor or None, got {type(tensor).__name__}")
        buffers[name] = tensor
        self.__dict__[name] = tensor
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under a name."""
        children = self.__dict__.get("_modules", {})
        self._check_name("module", name, children)
        if module is not None and not isinstance(module, Module):
            raise ArgumentTypeError(f"module: expected a Module or None, got {type(module).__name__}")
        children[name] = module
        self.__dict__[name] = module

    add_module = register_module

    # ---------------------------------------------------------------- walking the tree

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """All modules of the tree with their dotted names, this one first, each once unless told otherwise."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """All modules of the tree, this one first."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The immediate children with their names."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The immediate children."""
        for _, child in self.named_children():
            yield child

    def _named_members(
        self, register: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for owner_name, owner in owners:
            for name, member in owner.__dict__[register].items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield f"{owner_name}.{name}" if owner_name else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; one that several modules share comes once."""
        yield from self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, of the children too unless `recurse` is False."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, of the children too unless `recurse` is False."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; this one for the empty name."""
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r} (looking for {target!r})")
            module = child
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module in the place of a dotted name, in that of another module or as a new one.

        Args:
            target: The dotted name; all modules on the way to it must exist.
            module: The module.
            strict: Refuse to make a new one.

        Raises:
            ArgumentError: The name is empty.
            ArgumentTypeError: It is no module.
            AttributeError: A module on the way is missing, the name is that of something else, or, when strict, of
                nothing.
        """
        if not target:
            raise ArgumentError("target: expected the dotted name of a module, got an empty one")
        if not isinstance(module, Module):
            raise ArgumentTypeError(f"module: expected a Module, got {type(module).__name__}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(getattr(parent, name, None), Module):
            raise AttributeError(f"{type(parent).__name__} has no submodule {name!r} (looking for {target!r})")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return self._get_tensor("_parameters", target)  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        return self._get_tensor("_buffers", target)

    def _get_tensor(self, register: str, target: str) -> Tensor:
        parent, _, name = target.rpartition(".")
        owner = self.get_submodule(parent)
        tensor: Tensor | None = owner.__dict__[register].get(name)
        if tensor is None:
            raise AttributeError(f"{type(owner).__name__} has no {register[1:-1]} {name!r} (looking for {target!r})")
        return tensor

    # ---------------------------------------------------------------- modes and conversions

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Calls `fn(module)` for every module of the tree, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switches the whole tree to training mode, or to evaluation mode."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"mode: expected True or False, got {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switches the whole tree to evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switches gradients of all parameters on or off."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.detach().zero_()

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Moves all parameters and buffers to a device, and floating-point ones to a dtype. Works in place.

        Accepts `to(device)`, `to(dtype)`, `to(device, dtype)` and `to(tensor)`, positional or by name.

        Raises:
            DTypeError: The dtype is not float32 or float64.
        """
        del non_blocking
        for value in args:
            if isinstance(value, Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, str):
                device = value
            elif value is not None:
                dtype = value
        if dtype is not None:
            dtype = _float_dtype("dtype", dtype)

        def convert(tensor: Tensor) -> Tensor:
            wanted = dtype if tensor.is_floating_point() else None
            moved: Tensor = tensor.detach()
            if wanted is not None and wanted != tensor.dtype:
                moved = moved.to(wanted)
            if device is not None and device != tensor.device:
                moved = moved.to(device)
            return moved

        return self._change(convert)

    def _change(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Replaces the memory of every parameter and buffer of the tree, those that are shared once."""
        converted: set[int] = set()
        for module in self.modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and id(tensor) not in converted:
                    converted.add(id(tensor))
                    _convert(tensor, convert)
        return self

    def float(self) -> Self:
        """Converts all floating-point parameters and buffers to float32."""
        return self.to(dtype=np.float32)

    def half(self) -> Self:
        """Converts all floating-point parameters and buffers to float16."""
        return self.to(dtype=np.float16)

    def type(self, dst_type: Any) -> Self:
        """Converts all parameters and buffers, integers too, to a floating-point dtype."""
        dtype = _float_dtype("dst_type", dst_type)
        return self._change(lambda tensor: tensor.detach().to(dtype))

    def double(self) -> Self:
        """Converts all floating-point parameters and buffers to float64."""
        return self.to(dtype=np.float64)

    def cpu(self) -> Self:
        """Moves all parameters and buffers to the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> Self:
        """Moves all parameters and buffers to a GPU."""
        return self.to(device="cuda" if device is None else device)

    # ---------------------------------------------------------------- state

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted name, sharing memory with the module.

        Args:
            destination: A dictionary to add to.
            prefix: Put before every name.
            keep_vars: Give the parameters themselves instead of detached tensors.
        """
        destination = {} if destination is None else destination
        state.collect(self, destination, prefix, keep_vars)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copies values into the parameters and persistent buffers.

        Args:
            state_dict: Dotted names to nbdl tensors, NumPy arrays or PyTorch tensors. Values are cast to the dtype
                of the module's tensor.
            strict: Refuse missing and unexpected names.
            assign: Put the given tensors in the place of the module's, keeping their dtype.

        Returns:
            `missing_keys` and `unexpected_keys`.

        Raises:
            StateError: Names (when strict) or shapes do not fit. The message lists all of them; nothing was changed.
        """
        return state.load(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What a subclass wants in its state dict besides tensors: anything that `set_extra_state` takes back."""
        raise NotImplementedError(f"{type(self).__name__}: define get_extra_state() together with set_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Takes back what `get_extra_state` gave."""
        raise NotImplementedError(f"{type(self).__name__}: define set_extra_state() together with get_extra_state()")

    def _has_extra_state(self) -> bool:
        return type(self).get_extra_state is not Module.get_extra_state

    # ---------------------------------------------------------------- hooks

    def _own_hooks(self) -> hooks.Hooks:
        if self._hooks is None:
            self._hooks = hooks.Hooks()
        return self._hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args)` before forward; what it returns, if anything, replaces the arguments.

        With `with_kwargs` the call is `hook(module, args, kwargs)` and the answer None or `(args, kwargs)`.
        """
        return hooks.add(self._own_hooks().before_forward, hooks.Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls `hook(module, args, output)` after forward; what it returns, if anything, replaces the output.

        With `with_kwargs` the call is `hook(module, args, kwargs, output)`; with `always_call` it happens even when
        forward raises.
        """
        return hooks.add(self._own_hooks().after_forward, hooks.Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_output)` when the gradients of the outputs are known; it may replace them."""
        return hooks.add(self._own_hooks().before_backward, hooks.Hook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_input, grad_output)` when the gradients of the inputs are known.

        What it returns, if anything, replaces the gradients of the inputs.
        """
        return hooks.add(self._own_hooks().after_backward, hooks.Hook(hook), prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, prefix, keep_vars)` before the module's entries are written to a state dict."""
        return hooks.add(self._own_hooks().before_state_dict, hooks.Hook(hook), False)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata)` when the module's entries, and its children's, are
        in the state dict. It may change them.
        """
        return hooks.add(self._own_hooks().after_state_dict, hooks.Hook(hook), False)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        before a state dict is read. It may change the entries, a copy of the caller's dictionary, and add messages.
        """
        return hooks.add(self._own_hooks().before_load, hooks.Hook(hook), False)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, incompatible_keys)` when a state dict was read. It may strike names from both lists."""
        return hooks.add(self._own_hooks().after_load, hooks.Hook(hook), False)

    # ---------------------------------------------------------------- printing

    def extra_repr(self) -> str:
        """What a subclass wants to see between the brackets of its repr."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if not children and len(extra) <= 1:
            return f"{self._get_name()}({''.join(extra)})"
        return self._get_name() + "(\n  " + "\n  ".join([*extra, *children]) + "\n)"


def indented(text: str) -> str:
    """The text with every line but the first moved right by two."""
    return text.replace("\n", "\n  ")


def _float_dtype(name: str, dtype: Any) -> np.dtype:
    """The dtype, if modules can have it."""
    try:
        known = np.dtype(dtype)
    except TypeError:
        raise ArgumentTypeError(f"{name}: expected a dtype, got {dtype!r}") from None
    if known not in FLOATS:
        raise DTypeError(f"{name}: expected float32 or float64, got {known}")
    return known


def _convert(tensor: Tensor, convert: Callable[[Tensor], Tensor]) -> None:
    """Changes the tensor's memory, and its gradient's: optimizers keep the object they know."""
    gradient = tensor.grad
    tensor.grad = None
    tensor.data = convert(tensor)
    if gradient is not None:
        tensor.grad = convert(gradient)
