"""The optimizer: groups of parameters with their hyperparameters, what it remembers of each, and its state dict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, enable_grad
from nbdl.optim.table import ParameterTable
from nbdl.runtime import arrays, placement
from nbdl.runtime.checks import check_float
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError, StateError

FLAGS = ("amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov")
"""Hyperparameters that are true or false."""


class Optimizer:
    """Base of all optimizers.

    A subclass names its states and coefficients and implements `_update`, one kernel launch for a table of parameters.

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries with "params" and hyperparameters of their own.
        defaults: The hyperparameters of groups that do not set them.

    Attributes:
        param_groups: A dictionary for each group: "params" and the hyperparameters, which may be changed at any time.
        state: For each parameter that was updated, a dictionary of what the optimizer remembers of it.
    """

    states: tuple[str, ...] = ()
    """Names of the tensors of a parameter's shape that may be remembered for it."""

    coefficients = 0
    """How many numbers the kernel takes for a parameter."""

    counts_steps = True
    """Whether the number of updates of a parameter is part of its state."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise ArgumentTypeError("params: expected an iterable of tensors or dictionaries, got one Tensor")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        self._tables: list[list[ParameterTable] | None] = []
        listed = list(params)
        if not listed:
            raise ArgumentError("params: expected at least one parameter, got an empty list")
        for group in listed if isinstance(listed[0], dict) else [{"params": listed}]:
            self.add_param_group(group)

    # -- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters with hyperparameters of its own; what it does not set is the default.

        Raises:
            ArgumentTypeError: The group is no dictionary, or a parameter no tensor.
            ArgumentError: A hyperparameter is out of range, or a parameter occurs twice.
            StateError: There is no entry "params".
            DTypeError: A parameter is not floating-point.
            GradientError: A parameter is the result of an operation.
        """
        if not isinstance(param_group, dict):
            raise ArgumentTypeError(f"param_group: expected a dictionary, got {type(param_group).__name__}")
        group = dict(param_group)
        if "params" not in group:
            raise StateError(f"param_group: expected the entry 'params', got {sorted(group)}")
        given = group["params"]
        if isinstance(given, (set, frozenset)):
            raise ArgumentTypeError("params: a set has no order that lasts; pass a list")
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            group["param_names"] = [name for name, _ in members]
            members = [parameter for _, parameter in members]
        for position, parameter in enumerate(members):
            if not isinstance(parameter, Tensor):
                raise ArgumentTypeError(f"params[{position}]: expected a Tensor, got {type(parameter).__name__}")
            check_float(f"params[{position}]", parameter)
            if not parameter.is_leaf:
                raise GradientError(
                    f"params[{position}]: only leaves can be optimized, this is the result of an operation"
                )
        known = {id(parameter) for other in self.param_groups for parameter in other["params"]}
        if len({id(parameter) for parameter in members} - known) != len(members):
            raise ArgumentError("params: expected each parameter once, in one group")
        group["params"] = members
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self._check(group)
        self.param_groups.append(group)
        self._tables.append(None)

    def _check(self, group: dict[str, Any]) -> None:
        """Raises unless the group's hyperparameters are in range."""
        for name in FLAGS:
            if not isinstance(group.get(name, False), (int, np.bool_)):
                raise ArgumentTypeError(f"{name}: expected True or False, got {type(group[name]).__name__}")

    def _group_tables(self, number: int) -> list[ParameterTable]:
        """The group's parameters as tables, one for each dtype and device."""
        tables = self._tables[number]
        members = self.param_groups[number]["params"]
        if tables is None or sum(len(table.parameters) for table in tables) != len(members):
            alike: dict[Any, list[Tensor]] = {}
            for parameter in members:
                alike.setdefault((parameter.dtype, placement.kind_of(parameter._array)), []).append(parameter)
            tables = [ParameterTable(listed, self.states, self.coefficients) for listed in alike.values()]
            self._tables[number] = tables
        return tables

    # -- steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or fills them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter._grad
                if gradient is None:
                    continue
                if set_to_none:
                    parameter._grad = None
                else:
                    with placement.beside(gradient._array):
                        gradient._array = arrays.full(gradient.shape, 0, gradient.dtype)
                    gradient._version[0] += 1

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: Computes the loss and its gradients again; called once, before the update.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            for table in self._group_tables(number):
                changed = table.load()
                if not table.active:
                    continue
                buffers = len(table.buffers)
                self._update(table, group)
                table.finish()
                if changed or len(table.buffers) != buffers:
                    self._register(table)
        return loss

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        """Gives the states it needs their buffers and launches the update of the parameters with gradients."""
        raise NotImplementedError

    def _register(self, table: ParameterTable) -> None:
        """Shows in `state` what is remembered of parameters that are updated for the first time."""
        if not self.counts_steps and not table.buffers:
            return
        for number in table.active:
            entries = self.state.setdefault(table.parameters[number], {})
            if self.counts_steps and "step" not in entries:
                entries["step"] = table.step_count(number)
            for name in table.buffers:
                if name not in entries:
                    entries[name] = table.state(number, name)

    # -- state dict

    def state_dict(self) -> dict[str, Any]:
        """What is needed to continue: {"state": {index: {name: tensor}}, "param_groups": [...]}, as in PyTorch.

        The tensors are the optimizer's own memory; save them or copy them before the next step.
        """
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                index[id(parameter)] = len(index)
            packed = {name: value for name, value in group.items() if name != "params"}
            groups.append({**packed, "params": [index[id(parameter)] for parameter in group["params"]]})
        state = {index[id(parameter)]: dict(entries) for parameter, entries in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over hyperparameters and state; arrays may be nbdl's, NumPy's or PyTorch's.

        Raises:
            ArgumentTypeError: state_dict is no dictionary.
            StateError: An entry is missing or unknown, or the groups differ in number or size.
            ShapeError: A state has another shape than its parameter; nothing was changed.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"state_dict: expected a dictionary, got {type(state_dict).__name__}")
        absent = sorted({"param_groups", "state"} - set(state_dict))
        if absent:
            raise StateError(f"state_dict: expected the entries 'param_groups' and 'state', {absent} missing")
        saved = state_dict["param_groups"]
        if [len(group["params"]) for group in saved] != [len(group["params"]) for group in self.param_groups]:
            raise StateError(
                f"param_groups: expected groups of {[len(group['params']) for group in self.param_groups]} parameters, "
                f"got {[len(group['params']) for group in saved]}"
            )
        taken = []
        for group, old in zip(self.param_groups, saved, strict=True):
            merged = {**group, **{name: value for name, value in old.items() if name != "params"}}
            self._check(merged)
            taken.append(merged)
        numbers = {saved_id: None for group in saved for saved_id in group["params"]}
        unknown = [saved_id for saved_id in state_dict["state"] if saved_id not in numbers]
        if unknown:
            raise StateError(f"state: the entries {unknown} belong to no parameter of param_groups")
        for group, old in zip(taken, saved, strict=True):
            for parameter, saved_id in zip(group["params"], old["params"], strict=True):
                self._check_entries(parameter, state_dict["state"].get(saved_id) or {})
        self.param_groups = taken
        self.state = {}
        self._tables = [None] * len(taken)
        for number, (group, old) in enumerate(zip(taken, saved, strict=True)):
            places = {
                id(parameter): (table, row)
                for table in self._group_tables(number)
                for row, parameter in enumerate(table.parameters)
            }
            for parameter, saved_id in zip(group["params"], old["params"], strict=True):
                entries = state_dict["state"].get(saved_id)
                if entries is not None:
                    self._restore(*places[id(parameter)], entries)

    def _check_entries(self, parameter: Tensor, entries: Mapping[str, Any]) -> None:
        """Raises unless what is remembered of a parameter has its shape."""
        for name in self.states:
            value = entries.get(name)
            if value is not None and tuple(np.shape(value)) != parameter.shape:
                raise ShapeError(f"state {name}: expected shape {list(parameter.shape)}, got {list(np.shape(value))}")

    def _restore(self, table: ParameterTable, number: int, entries: dict[str, Any]) -> None:
        """Takes over what a state dict remembers of one parameter."""
        own = self.state.setdefault(table.parameters[number], {})
        for name, value in entries.items():
            if value is None:
                continue
            if name == "step":
                table.steps[number] = float(value)
                own[name] = table.step_count(number)
            elif name in self.states:
                table.require(name)
                target = table.state(number, name)
                source = value._array if isinstance(value, Tensor) else np.asarray(value)
                if placement.active and DeviceArray in (type(target._array), type(source)):
                    arrays.copy_into(target._array, _of_dtype(source, target.dtype))
                else:
                    target._array[...] = source
                own[name] = target
                table.started.add(number)
            else:
                self._restore_scalar(table, number, name, float(value))

    def _restore_scalar(self, table: ParameterTable, number: int, name: str, value: float) -> None:
        """Takes over a number that is remembered of a parameter."""
        raise StateError(f"state: {type(self).__name__} keeps no {name!r}")

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {number}"] if number == 0 else ["", f"Parameter Group {number}"]
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def _of_dtype(source: Any, dtype: Any) -> Any:
    """A state in its parameter's dtype, for a copy to or from a GPU."""
    if source.dtype == dtype:
        return source
    return (source.host() if type(source) is DeviceArray else source).astype(dtype)


def equal_rows(steps: Sequence[float]) -> Sequence[float]:
    """The step counts, one for all where they are equal: then one row of coefficients serves every parameter."""
    return steps[:1] if steps.count(steps[0]) == len(steps) else steps


def execution_options(
    foreach: bool | None, capturable: bool, differentiable: bool, fused: bool | None
) -> dict[str, Any]:
    """PyTorch's choices of implementation, kept in the groups for its state dicts; every step here is one kernel.

    Raises:
        GradientError: differentiable is True: steps are not recorded.
    """
    if differentiable:
        raise GradientError("differentiable=True: steps of an optimizer are not recorded for backward()")
    return {"foreach": foreach, "capturable": capturable, "differentiable": False, "fused": fused}
