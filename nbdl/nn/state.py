"""State dicts: a module's parameters and persistent buffers by name, written out and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nbdl.autograd import Tensor
from nbdl.nn.parameter import Parameter
from nbdl.runtime import arrays, placement
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import ArgumentTypeError, StateError

if TYPE_CHECKING:
    from nbdl.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` returns: the names that one side has and the other lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


EXTRA = "_extra_state"
"""The name of what `get_extra_state` gives."""


def collect(module: Module, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Adds the module's own entries, and then its children's, to the dictionary."""
    hooks = module._hooks
    for hook in tuple(hooks.before_state_dict) if hooks else ():
        hook.function(module, prefix, keep_vars)
    for name, tensor in persistent(module):
        destination[prefix + name] = tensor if keep_vars else tensor.detach()
    if module._has_extra_state():
        destination[prefix + EXTRA] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in tuple(hooks.after_state_dict) if hooks else ():
        hook.function(module, destination, prefix, {})


def persistent(module: Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and persistent buffers that the module itself holds."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers:
            yield name, buffer


def load(module: Module, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copies the entries into the module. Nothing is changed unless all shapes and types fit.

    Hooks that run after loading may forgive missing and unexpected names, so that with them these are looked at last.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(f"state_dict: expected a mapping, got {type(state_dict).__name__}")
    modules = [(f"{name}." if name else "", owner) for name, owner in module.named_modules(remove_duplicate=False)]
    owners = {
        f"{prefix}{name}": (owner, name, tensor) for prefix, owner in modules for name, tensor in persistent(owner)
    }
    extras = {prefix + EXTRA: owner for prefix, owner in modules if owner._has_extra_state()}
    missing: list[str] = []
    unexpected: list[str] = []
    problems: list[str] = []
    state_dict = dict(state_dict)
    for prefix, owner in modules:
        for hook in tuple(owner._hooks.before_load) if owner._hooks else ():
            hook.function(owner, state_dict, prefix, {}, strict, missing, unexpected, problems)
    missing += [
        key for key, (owner, name, _) in owners.items() if key not in state_dict and name not in owner.optional_state
    ]
    missing += [key for key in extras if key not in state_dict]
    unexpected += [key for key in state_dict if key not in owners and key not in extras]
    afterwards = [(owner, hook) for _, owner in reversed(modules) if owner._hooks for hook in owner._hooks.after_load]
    if strict and not afterwards:  # which may strike names from the lists
        problems += _mismatches(missing, unexpected)
    values: dict[str, Any] = {}
    for key, (_, _, tensor) in owners.items():
        if key not in state_dict:
            continue
        try:
            values[key] = as_array(state_dict[key])
        except ArgumentTypeError as error:
            problems.append(f"{key}: {error}.")
            continue
        if values[key].shape != tensor.shape:
            problems.append(
                f"size mismatch for {key}: copying a param with shape {list(values[key].shape)} from the state dict, "
                f"the shape in current model is {list(tensor.shape)}."
            )
        elif assign and tensor.requires_grad and values[key].dtype.kind != "f":
            problems.append(f"{key}: a parameter with gradients needs floating-point values, got {values[key].dtype}.")
    _refuse(module, problems)
    for key, array in values.items():
        owner, name, tensor = owners[key]
        if assign:
            _replace(owner, name, tensor, state_dict[key], array)
        else:
            write(tensor, array)
    for key, owner in extras.items():
        if key in state_dict:
            owner.set_extra_state(state_dict[key])
    incompatible = IncompatibleKeys(missing, unexpected)
    for owner, hook in afterwards:
        hook.function(owner, incompatible)
    if strict:
        _refuse(module, _mismatches(missing, unexpected))
    return incompatible


def _mismatches(missing: list[str], unexpected: list[str]) -> list[str]:
    """A line for each list that is not empty."""
    lists = (("Missing", missing), ("Unexpected", unexpected))
    return [
        f"{which} key(s) in state_dict: " + ", ".join(f'"{key}"' for key in keys) + "." for which, keys in lists if keys
    ]


def _refuse(module: Module, problems: list[str]) -> None:
    """Raises StateError if there are problems."""
    if problems:
        listed = "\n\t".join(problems)
        raise StateError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}")


def as_array(value: Any) -> Any:
    """The array of an nbdl tensor, a NumPy array or number, or a PyTorch tensor."""
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return np.asarray(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        try:
            return value.numpy()
        except TypeError:  # a PyTorch dtype that NumPy lacks, such as bfloat16
            return value.float().numpy()
    raise ArgumentTypeError(f"expected a tensor or an array, got {type(value).__name__}")


def write(tensor: Tensor, array: Any) -> None:
    """Copies the array into the tensor's memory, in the tensor's dtype."""
    target = tensor._array
    if array.dtype == target.dtype:
        arrays.copy_into(target, array)
    elif placement.active and DeviceArray in (type(target), type(array)):
        host = array.host() if type(array) is DeviceArray else array
        arrays.copy_into(target, host.astype(target.dtype))
    else:
        target[...] = array
    tensor._version[0] += 1


def _replace(owner: Module, name: str, tensor: Tensor, value: Any, array: Any) -> None:
    """Puts the loaded tensor itself in the place of the module's."""
    if not isinstance(value, Tensor):
        value = Tensor(np.array(array))
    if isinstance(tensor, Parameter):
        value = value if isinstance(value, Parameter) else Parameter(value, tensor.requires_grad)
        value.requires_grad = tensor.requires_grad
    setattr(owner, name, value)
