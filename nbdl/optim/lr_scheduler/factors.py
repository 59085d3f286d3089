"""Schedules that multiply the rate by a factor."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbdl.optim.lr_scheduler.base import LRScheduler, attributes_of, saved_list
from nbdl.optim.optimizer import Optimizer
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError


class _FunctionLR(LRScheduler):
    """Base of schedules whose factor is the caller's function of t, or one function for each group."""

    _hidden = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        if isinstance(lr_lambda, (list, tuple)):
            if len(lr_lambda) != groups:
                raise ArgumentError(f"lr_lambda: expected {groups} functions, one for each group, got {len(lr_lambda)}")
            self.lr_lambdas = list(lr_lambda)
        else:
            self.lr_lambdas = [lr_lambda] * groups
        for function in self.lr_lambdas:
            if not callable(function):
                raise ArgumentTypeError(f"lr_lambda: expected a function, got {type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions; objects that are called give their attributes."""
        return {**super().state_dict(), "lr_lambdas": [attributes_of(function) for function in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state dict was taken."""
        kept = saved_list(state_dict, "lr_lambdas", len(self.lr_lambdas))
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, attributes in zip(self.lr_lambdas, kept, strict=True):
            if attributes is not None:
                function.__dict__.update(attributes)


class LambdaLR(_FunctionLR):
    r"""The rate by a function of t: $\gamma_t = f(t)\, \gamma_0$.

    Args:
        optimizer: The optimizer.
        lr_lambda: f, or one for each group.
        last_epoch: The number of steps already made; -1 for a new run.

    Raises:
        ArgumentError: There is another number of functions than of groups.
        ArgumentTypeError: lr_lambda cannot be called.
    """

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_FunctionLR):
    r"""The rate times a function of t, again at each step: $\gamma_t = f(t)\, \gamma_{t-1}$.

    Args:
        optimizer: The optimizer.
        lr_lambda: f, or one for each group; it is first asked at t = 1.
        last_epoch: The number of steps already made; -1 for a new run.

    Raises:
        ArgumentError: There is another number of functions than of groups.
        ArgumentTypeError: lr_lambda cannot be called.

    Example:
        >>> optimizer = nbdl.optim.SGD([nbdl.tensor([1.0], requires_grad=True)], lr=1.0)
        >>> schedule = nbdl.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda t: 1 / t)
        >>> for epoch in range(4):
        ...     schedule.step()
        >>> round(24 * schedule.get_last_lr()[0], 6)
        1.0
    """

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        return [rate * function(self.last_epoch) for function, rate in zip(self.lr_lambdas, self._rates(), strict=True)]


class StepLR(LRScheduler):
    r"""The rate times gamma every step_size epochs.

    Args:
        optimizer: The optimizer.
        step_size: Epochs between two changes.
        gamma: The factor.
        last_epoch: The number of steps already made; -1 for a new run.

    Example:
        >>> optimizer = nbdl.optim.SGD([nbdl.tensor([1.0], requires_grad=True)], lr=1.0)
        >>> schedule = nbdl.optim.lr_scheduler.StepLR(optimizer, step_size=2)
        >>> rates = []
        >>> for epoch in range(4):
        ...     rates += schedule.get_last_lr()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = check_int("step_size", step_size, 1)
        self.gamma = check_number("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def closed_form(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times gamma at each milestone.

    Args:
        optimizer: The optimizer.
        milestones: The epochs; one named twice counts twice.
        gamma: The factor.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = check_number("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch not in self.milestones:
            return self._rates()
        return [rate * self.gamma ** self.milestones[self.last_epoch] for rate in self._rates()]

    def closed_form(self) -> list[float]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """The rate times factor for total_iters epochs, then as it was.

    Args:
        optimizer: The optimizer.
        factor: The factor, in [0, 1].
        total_iters: The number of epochs.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = check_number("factor", factor, 0, 1)
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        return [rate * (1.0 / self.factor) for rate in self._rates()]

    def closed_form(self) -> list[float]:
        factor = 1 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    """A factor that goes from start_factor to end_factor in total_iters epochs, and stays: a warm-up, as a rule.

    Args:
        optimizer: The optimizer.
        start_factor: The first factor, in (0, 1].
        end_factor: The last factor, in [0, 1].
        total_iters: The number of epochs.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = check_number("start_factor", start_factor, 0, 1, open_low=True)
        self.end_factor = check_number("end_factor", end_factor, 0, 1)
        self.total_iters = check_number("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        growth = 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)
        return [rate * growth for rate in self._rates()]

    def closed_form(self) -> list[float]:
        rise = self.end_factor - self.start_factor
        part = min(self.total_iters, self.last_epoch) / self.total_iters if self.total_iters else 0.0
        factor = self.start_factor + rise * part
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times gamma every epoch.

    Args:
        optimizer: The optimizer.
        gamma: The factor.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = check_number("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def closed_form(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """A factor (1 - t / total_iters) ** power, zero from total_iters on.

    Args:
        optimizer: The optimizer.
        total_iters: The number of epochs.
        power: The exponent.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = check_int("total_iters", total_iters, 1)
        self.power = check_number("power", power)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        left = 1.0 - self.last_epoch / self.total_iters
        factor = (left / (1.0 - (self.last_epoch - 1) / self.total_iters)) ** self.power
        return [rate * factor for rate in self._rates()]

    def closed_form(self) -> list[float]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]
