"""Schedules that go down along a cosine, or up and down, once or again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nbdl.optim.lr_scheduler.base import LRScheduler, attributes_of, for_groups
from nbdl.optim.optimizer import Optimizer
from nbdl.runtime import looking
from nbdl.runtime.checks import check_choice, check_int, check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max epochs; it rises again afterwards.

    Args:
        optimizer: The optimizer.
        T_max: Epochs of half a period.
        eta_min: The lowest rate.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = check_number("T_max", T_max, 0, open_low=True)
        self.eta_min = check_number("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        if self._step_count == 1 and self.last_epoch > 0:
            return self.closed_form()
        low, angle = self.eta_min, math.pi / self.T_max
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom the recurrence divides by zero
            rise = (1 - math.cos(angle)) / 2
            return [rate + (base - low) * rise for rate, base in zip(self._rates(), self.base_lrs, strict=True)]
        factor = (1 + math.cos(angle * self.last_epoch)) / (1 + math.cos(angle * (self.last_epoch - 1)))
        return [factor * (rate - low) + low for rate in self._rates()]

    def closed_form(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to eta_min, again and again, each time T_mult as long.

    Args:
        optimizer: The optimizer.
        T_0: Epochs of the first fall, at least 1.
        T_mult: How much longer each next one is, at least 1.
        eta_min: The lowest rate.
        last_epoch: The number of steps already made; -1 for a new run.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = check_int("T_0", T_0, 1)
        self.T_mult = check_int("T_mult", T_mult, 1)
        self.eta_min = check_number("eta_min", eta_min)
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Goes on by one epoch, or to a given one, which may be a fraction."""
        looking.refuse_in_graph("a schedule's step()")
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            check_number("epoch", epoch, 0)
            restarts = 0
            if self.T_mult == 1:
                self.T_cur = epoch % self.T_0
            else:
                if epoch >= self.T_0:
                    restarts = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
                self.T_cur = epoch - self.T_0 * (self.T_mult**restarts - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**restarts
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())


class _MomentumCycle(LRScheduler):
    """Base of schedules that move the momentum, or Adam's beta1, against the rate."""

    def _choose_momentum(self, optimizer: Optimizer, cycle_momentum: bool) -> None:
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ArgumentError("cycle_momentum: the optimizer has neither momentum nor betas; pass False")

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def _start_momentum(self, optimizer: Optimizer, low: Sequence[float], high: Sequence[float]) -> None:
        for number, group in enumerate(optimizer.param_groups):
            self._set_momentum(group, high[number])
            group["max_momentum"], group["base_momentum"] = high[number], low[number]


class CyclicLR(_MomentumCycle):
    r"""Up from base_lr to max_lr and down again, in straight lines, over and over; call it after each update.

    With $T$ the updates of a cycle, $c = \lfloor 1 + t / T \rfloor$ its number and $h_t$ the height in it, which rises
    from 0 to 1 and falls to 0,

    $$\gamma_t = \gamma_{\text{base}} + (\gamma_{\max} - \gamma_{\text{base}})\, h_t\, s$$

    where $s$ is 1 ("triangular"), $2^{1 - c}$ ("triangular2"), $g^t$ ("exp_range"), or scale_fn of $c$ or $t$. The
    momentum is $\mu_{\max} - (\mu_{\max} - \mu_{\text{base}})\, h_t\, s$.

    Args:
        optimizer: The optimizer.
        base_lr: The lowest rate, or one for each group.
        max_lr: The highest rate, or one for each group.
        step_size_up: Updates of a rise.
        step_size_down: Updates of a fall; those of a rise when None.
        mode: "triangular", "triangular2" or "exp_range"; without meaning when scale_fn is given.
        gamma: g of "exp_range".
        scale_fn: A function of one number for s.
        scale_mode: What scale_fn is asked with: "cycle" for c, from 1, or "iterations" for t, from 0.
        cycle_momentum: Whether the momentum (or beta1) falls and rises too.
        base_momentum: The lowest momentum, or one for each group.
        max_momentum: The highest momentum, or one for each group.
        last_epoch: The number of steps already made; -1 for a new run.

    Raises:
        ArgumentError: A number is out of range, a list has not one number for each group, the mode is unknown, or the
            optimizer has no momentum to cycle.
        ArgumentTypeError: scale_fn cannot be called.

    Example:
        >>> optimizer = nbdl.optim.SGD([nbdl.tensor([1.0], requires_grad=True)], lr=1.0)
        >>> schedule = nbdl.optim.lr_scheduler.CyclicLR(optimizer, 1.0, 3.0, step_size_up=2)
        >>> rates = []
        >>> for update in range(5):
        ...     rates += schedule.get_last_lr()
        ...     schedule.step()
        >>> rates
        [1.0, 2.0, 3.0, 2.0, 1.0]

    Source:
        Smith (2017), "Cyclical learning rates for training neural networks", section 3.
    """

    _hidden = ("optimizer", "_scale_fn_custom")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: float = 2000,
        step_size_down: float | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        lowest, self.max_lrs, self.base_momentums, self.max_momentums = (
            [check_number(name, number, 0) for number in for_groups(name, value, optimizer)]
            for name, value in (
                ("base_lr", base_lr),
                ("max_lr", max_lr),
                ("base_momentum", base_momentum),
                ("max_momentum", max_momentum),
            )
        )
        up = float(check_number("step_size_up", step_size_up, 0, open_low=True))
        down = up if step_size_down is None else float(check_number("step_size_down", step_size_down, 0))
        self.total_size, self.step_ratio = up + down, up / (up + down)
        if not (scale_fn is None or callable(scale_fn)):
            raise ArgumentTypeError(f"scale_fn: expected a function or None, got {type(scale_fn).__name__}")
        self._scale_fn_custom = scale_fn
        self.mode = mode if scale_fn else check_choice("mode", mode, ("triangular", "triangular2", "exp_range"))
        self.gamma = check_number("gamma", gamma)
        self.scale_mode = check_choice("scale_mode", scale_mode, ("cycle", "iterations"))
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self._choose_momentum(optimizer, cycle_momentum)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, lowest, strict=True):
                group["lr"] = rate
            if cycle_momentum:
                self._start_momentum(optimizer, self.base_momentums, self.max_momentums)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def scale_fn(self, x: float) -> float:
        """s of the cycle or update number x."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        part = 1.0 + self.last_epoch / self.total_size - cycle
        height = part / self.step_ratio if part <= self.step_ratio else (part - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            limits = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, limits, strict=True):
                self._set_momentum(group, high - (high - low) * height * scale)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and a plain function as scale_fn; an object that is called gives attributes."""
        return {**super().state_dict(), "_scale_fn_custom": attributes_of(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues where the state dict was taken."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom", None)
        super().load_state_dict(state)
        if attributes is not None:
            self._scale_fn_custom.__dict__.update(attributes)


class OneCycleLR(_MomentumCycle):
    """One rise to max_lr and a fall far below the start, the momentum the other way round; call it after each update.

    Args:
        optimizer: The optimizer.
        max_lr: The highest rate, or one for each group.
        total_steps: The number of updates; or give epochs and steps_per_epoch.
        epochs: The number of epochs.
        steps_per_epoch: Updates an epoch.
        pct_start: The part of the updates in which the rate rises, in [0, 1].
        anneal_strategy: "cos" or "linear".
        cycle_momentum: Whether the momentum (or beta1) falls and rises too.
        base_momentum: The lowest momentum, or one for each group.
        max_momentum: The highest momentum, or one for each group.
        div_factor: The start is max_lr / div_factor.
        final_div_factor: The end is the start / final_div_factor.
        three_phase: Fall back to the start as fast as it rose, then below it.
        last_epoch: The number of steps already made; -1 for a new run.

    Raises:
        ArgumentError: Neither total_steps nor epochs and steps_per_epoch are given, or a number is out of range, or
            more steps are made than planned.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is not None:
            self.total_steps = check_int("total_steps", total_steps, 1)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = check_int("epochs", epochs, 1) * check_int("steps_per_epoch", steps_per_epoch, 1)
        else:
            raise ArgumentError("total_steps: expected it, or epochs and steps_per_epoch")
        check_number("pct_start", pct_start, 0, 1)
        self.anneal_strategy = check_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        rise = float(pct_start * self.total_steps) - 1
        # Each phase: its last step, the rates and the momenta between which it goes, by their names in the group.
        up, down = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
        if three_phase:
            back = float(2 * pct_start * self.total_steps) - 2
            self._phases = [
                (rise, "initial_lr", "max_lr", *up),
                (back, "max_lr", "initial_lr", *down),
                (self.total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._phases = [
                (rise, "initial_lr", "max_lr", *up),
                (self.total_steps - 1, "max_lr", "min_lr", *down),
            ]
        self._choose_momentum(optimizer, cycle_momentum)
        if last_epoch == -1:
            highest = [check_number("max_lr", rate, 0) for rate in for_groups("max_lr", max_lr, optimizer)]
            check_number("div_factor", div_factor, 0, open_low=True)
            check_number("final_div_factor", final_div_factor, 0, open_low=True)
            low, high = (
                for_groups("base_momentum", base_momentum, optimizer),
                for_groups("max_momentum", max_momentum, optimizer),
            )
            for number, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = highest[number] / div_factor
                group["max_lr"] = highest[number]
                group["min_lr"] = group["initial_lr"] / final_div_factor
            if cycle_momentum:
                self._start_momentum(optimizer, low, high)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)
        return (end - start) * part + start

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ArgumentError(f"step: the schedule was made for {self.total_steps} steps, this is number {step}")
        begin = 0.0
        for phase in self._phases:
            end, from_lr, to_lr, from_momentum, to_momentum = phase
            if step <= end or phase is self._phases[-1]:
                break
            begin = end
        part = (step - begin) / (end - begin) if end > begin else 1.0  # with pct_start=1 the last phase has no steps
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[from_lr], group[to_lr], part))
            if self.cycle_momentum:
                self._set_momentum(group, self._between(group[from_momentum], group[to_momentum], part))
        return rates
