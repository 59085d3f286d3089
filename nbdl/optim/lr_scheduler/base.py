"""The base of schedules: it counts steps and sets the groups' rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from nbdl.optim.optimizer import Optimizer
from nbdl.runtime import looking
from nbdl.runtime.checks import check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, StateError


class LRScheduler:
    """Base of schedules: a subclass implements `get_lr`, and `closed_form` where the rate follows from t alone.

    Args:
        optimizer: The optimizer whose groups are scheduled.
        last_epoch: The number of steps already made; -1 for a new run: each group's rate is its initial one.

    Raises:
        ArgumentTypeError: The optimizer is none.
        StateError: last_epoch is given and a group has no "initial_lr".

    Attributes:
        last_epoch: t, the number of steps made.
        base_lrs: Each group's initial rate.
    """

    _hidden: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(f"optimizer: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise StateError(f"last_epoch: param_groups[{number}] has no 'initial_lr' to continue from")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._is_initial = False
        self._initial_step()

    def _initial_step(self) -> None:
        """Sets the rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`, from the rate it has now."""
        raise NotImplementedError

    def closed_form(self) -> list[float]:
        """The rate of each group at `last_epoch`, whatever it is now."""
        return self.get_lr()

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Goes on to the next epoch, or to a given one, and sets the rates."""
        looking.refuse_in_graph("a schedule's step()")
        self._step_count += 1
        self._move(epoch)

    def _move(self, epoch: int | None) -> None:
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            rates = self.closed_form()
        self._set(rates)

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name not in self._hidden}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state dict was taken."""
        self.__dict__.update(state_dict)


def for_groups(name: str, value: float | Sequence[float], optimizer: Optimizer) -> list[float]:
    """One number for each group."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [check_number(name, value)] * groups
    if len(value) != groups:
        raise ArgumentError(f"{name}: expected {groups} numbers, one for each group, got {len(value)}")
    return [check_number(name, number) for number in value]


def attributes_of(function: Callable[..., Any] | None) -> dict[str, Any] | None:
    """What a state dict keeps of a function: the attributes of an object that is called, nothing of plain ones."""
    if isinstance(function, FunctionType) or not hasattr(function, "__dict__"):
        return None
    return dict(function.__dict__)


def saved_list(state_dict: Mapping[str, Any], name: str, count: int) -> Sequence[Any]:
    """The entry of a state dict that holds one value for each part of a schedule.

    Raises:
        ArgumentTypeError: state_dict is no dictionary.
        StateError: There is no such entry, or it is of another length.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(f"state_dict: expected a dictionary, got {type(state_dict).__name__}")
    kept = state_dict.get(name)
    if not isinstance(kept, (list, tuple)) or len(kept) != count:
        got = "none" if kept is None else f"{len(kept)}" if isinstance(kept, (list, tuple)) else repr(kept)
        raise StateError(f"state_dict: expected {count} values in the entry {name!r}, got {got}")
    return kept
