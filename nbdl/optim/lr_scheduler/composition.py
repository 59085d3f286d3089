"""Schedules made of schedules, one after another or all at once, and one that follows a metric."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from nbdl.optim.lr_scheduler.base import LRScheduler, for_groups, saved_list
from nbdl.optim.optimizer import Optimizer
from nbdl.runtime import looking
from nbdl.runtime.checks import check_choice, check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError


class _ComposedLR(LRScheduler):
    """Base of schedules made of schedules: their state dict holds those of the parts."""

    _hidden = ("optimizer", "_schedulers")
    _schedulers: list[LRScheduler]

    def _compose(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        optimizer = getattr(schedulers[0], "optimizer", None) if optimizer is None else optimizer
        for number, scheduler in enumerate(schedulers):
            of_another_kind = not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau)
            if of_another_kind or scheduler.optimizer is not optimizer:
                raise ArgumentError(
                    f"schedulers[{number}]: expected a schedule of the same optimizer that steps without a metric"
                )
        self.optimizer = schedulers[0].optimizer
        self._schedulers = list(schedulers)

    def _take_back(self) -> None:
        for scheduler in self._schedulers:
            if isinstance(scheduler, _ComposedLR):
                scheduler._take_back()
            else:
                scheduler.last_epoch -= 1

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, the schedules as their own state dicts."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state dict was taken."""
        kept = saved_list(state_dict, "_schedulers", len(self._schedulers))
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, state in zip(self._schedulers, kept, strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_ComposedLR):
    """One schedule after another, each starting anew at its milestone.

    Args:
        optimizer: The optimizer.
        schedulers: The schedules, all of this optimizer.
        milestones: The epochs at which the second, third, ... take over.
        last_epoch: The number of steps already made; -1 for a new run.

    Raises:
        ArgumentError: There are no schedules, one belongs to another optimizer or is ReduceLROnPlateau, one after the
            first is made of schedules itself, or the number of milestones does not fit.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"milestones: expected one fewer than schedulers, got {len(milestones)} and {len(schedulers)}"
            )
        self._compose(schedulers, optimizer)
        for number, scheduler in enumerate(schedulers[1:], 1):
            if isinstance(scheduler, _ComposedLR):  # PyTorch's fails at the milestone
                raise ArgumentError(
                    f"schedulers[{number}]: expected one that can start anew at its milestone, a simple schedule, "
                    f"got {type(scheduler).__name__}"
                )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each of them made its first step when it was made: take the steps back, then begin with the first alone.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._take_back()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Goes on by one epoch."""
        looking.refuse_in_graph("a schedule's step()")
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self._milestones[number - 1] == self.last_epoch:
            scheduler._move(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_ComposedLR):
    r"""Several schedules at once: each step is a step of all, in their order, each on the rate that the last one left.

    Schedules that multiply give the product of their factors, $\gamma_t = \gamma_0 \prod_k f_t^{(k)}$.

    Args:
        schedulers: The schedules, all of one optimizer.
        optimizer: That optimizer; of the first schedule when None.

    Raises:
        ArgumentError: There are no schedules, or one belongs to another optimizer or is ReduceLROnPlateau.

    Example:
        >>> optimizer = nbdl.optim.SGD([nbdl.tensor([1.0], requires_grad=True)], lr=1.0)
        >>> warm_up = nbdl.optim.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=2)
        >>> decay = nbdl.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> schedule = nbdl.optim.lr_scheduler.ChainedScheduler([warm_up, decay])
        >>> for epoch in range(2):
        ...     schedule.step()
        >>> schedule.get_last_lr()
        [0.25]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not isinstance(schedulers, (list, tuple)) or not schedulers:
            raise ArgumentError(f"schedulers: expected a list of at least one schedule, got {schedulers!r}")
        self._compose(schedulers, optimizer)
        self._last_lr = self._rates()

    def step(self) -> None:  # type: ignore[override]
        """Goes on by one epoch in every schedule."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()


class ReduceLROnPlateau(LRScheduler):
    """The rate times factor when a metric has not improved for more than `patience` epochs.

    Args:
        optimizer: The optimizer.
        mode: "min" when smaller is better, "max" when larger is.
        factor: The factor, below 1.
        patience: How many epochs without improvement are let pass.
        threshold: How much counts as an improvement.
        threshold_mode: "rel" for a part of the best value, "abs" for a difference.
        cooldown: Epochs after a change in which nothing is counted.
        min_lr: The lowest rate, or one for each group.
        eps: Changes of the rate smaller than this are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(f"optimizer: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.mode = check_choice("mode", mode, ("min", "max"))
        self.threshold_mode = check_choice("threshold_mode", threshold_mode, ("rel", "abs"))
        self.factor = check_number("factor", factor, high=1, open_high=True)
        self.patience, self.cooldown = check_number("patience", patience), check_number("cooldown", cooldown)
        self.threshold, self.eps = check_number("threshold", threshold), check_number("eps", eps)
        self.min_lrs = for_groups("min_lr", min_lr, optimizer)
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs without improvement are not counted now."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            return sign * value > sign * self.best * (1.0 + sign * self.threshold)
        return sign * value > sign * (self.best + sign * self.threshold)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Takes the metric of the epoch that ended: a number or a tensor of one element.

        Raises:
            ArgumentTypeError: It is neither.
        """
        looking.refuse_in_graph("a schedule's step()")
        try:
            value = float(metrics)
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"metrics: expected a number, got {metrics!r}") from None
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                rate = max(group["lr"] * self.factor, lowest)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()
