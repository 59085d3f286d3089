"""A weight that is computed from other parameters, by a hook before each forward pass."""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Tensor
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter
from nbdl.runtime.errors import ArgumentError, StateError


class Reparametrization:
    """Base of the hooks that compute a weight.

    Attributes:
        name: The attribute of the module that holds the weight.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def weight(self, module: Any) -> Tensor:
        """The weight for a forward pass, as part of the graph."""
        raise NotImplementedError

    def removed(self, module: Any) -> Tensor:
        """The weight to keep when the reparametrization is taken away."""
        return self.weight(module).detach()

    def names(self) -> tuple[str, ...]:
        """The parameters and buffers that stand in the place of the weight."""
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        object.__setattr__(module, self.name, self.weight(module))


def find(module: Module, name: str, kind: type[Reparametrization]) -> Reparametrization | None:
    """The hook of that kind on a weight, if there is one."""
    for hook in module._hooks.before_forward if module._hooks is not None else ():
        if isinstance(hook.function, kind) and hook.function.name == name:
            return hook.function
    return None


def take_parameter(module: Module, name: str, kind: type[Reparametrization]) -> Parameter:
    """The parameter to compute from now on.

    Raises:
        ArgumentError: A hook of that kind computes it already.
        StateError: The module has no such parameter.
    """
    if find(module, name, kind) is not None:
        raise ArgumentError(f"module: expected no {kind.__name__} of {name!r} yet, got a second one")
    parameter = module._parameters.get(name)
    if parameter is None:
        raise StateError(f"name: expected a parameter of {type(module).__name__}, got {name!r}")
    return parameter


def attach(hook: Reparametrization, module: Module, parameter: Parameter, name: str) -> None:
    """Puts another parameter in the place of the weight, and the hook before the forward pass.

    The weight stays an attribute, of the values it had; it no longer is a parameter.
    """
    weight = module._parameters[hook.name]
    delattr(module, hook.name)
    module.register_parameter(name, parameter)
    object.__setattr__(module, hook.name, weight.detach() if weight is not None else None)
    module.register_forward_pre_hook(hook)


def detach(module: Module, name: str, kind: type[Reparametrization]) -> None:
    """Takes the hook away and makes the weight of now a parameter.

    Raises:
        ArgumentError: There is no hook of that kind.
    """
    hook = find(module, name, kind)
    if hook is None or module._hooks is None:
        raise ArgumentError(f"module: expected a {kind.__name__} of {name!r} to remove, got a module without it")
    weight = hook.removed(module)
    for part in hook.names():
        delattr(module, part)
    delattr(module, name)
    module.register_parameter(name, Parameter(weight))
    module._hooks.before_forward[:] = [kept for kept in module._hooks.before_forward if kept.function is not hook]
