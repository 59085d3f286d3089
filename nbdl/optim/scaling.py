r"""Loss scaling: small gradients kept from vanishing in float16.

The loss is multiplied by a large number $s$ before the backward pass, and the gradients divided by it before the step.
If one of them is infinite or NaN, the step is left out and $s$ halved; after many steps without one, $s$ is doubled:

$$g \leftarrow g / s, \qquad
s \leftarrow \begin{cases} s\,\beta & \text{some } g \text{ is not finite} \\
s\,\gamma & \text{the last } n \text{ steps were taken} \end{cases}$$

Source: Micikevicius et al. (2018), "Mixed precision training", section 3.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.optim.clipping import gradient_tables
from nbdl.optim.optimizer import Optimizer
from nbdl.optim.table import chunk_kernel
from nbdl.runtime import arrays, looking, memory, placement
from nbdl.runtime.addresses import array_at
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, StateError
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def unscale_reference(gradients, scale):
    """The gradients divided by the scale, in float64, and whether one of them is not finite."""
    divided = [gradient / scale for gradient in gradients]
    return divided, not all(np.isfinite(gradient).all() for gradient in divided)


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _unscale_cpu(like, addresses, chunks, factor, found, start, stop):
    """Multiplies every gradient by a factor; found [C]: how many of a chunk's are not finite. One task a chunk."""
    for task in range(start, stop):
        n = chunks[task, 2]
        g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
        by = like.dtype.type(factor)
        count = 0
        for i in range(n):
            value = g[i] * by
            g[i] = value
            count += value - value != 0  # NaN for what is not finite
        found[task] = count


@cuda_kernel
def _unscale_cuda(like, addresses, chunks, factor, found):
    """As the CPU twin. One block a chunk; found is 1 where there are any."""
    task = cuda.blockIdx.x
    n = chunks[task, 2]
    g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
    by = like.dtype.type(factor)
    wrong = np.int32(0)
    for i in range(cuda.threadIdx.x, n, BLOCK):
        value = g[i] * by
        g[i] = value
        if value - value != like.dtype.type(0):
            wrong = np.int32(1)
    any_wrong = cuda.syncthreads_or(wrong)
    if cuda.threadIdx.x == 0:
        found[task] = any_wrong


unscale = chunk_kernel(_unscale_cpu, _unscale_cuda)

# ---------------------------------------------------------------- public

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Scales losses so that gradients do not vanish in float16, and leaves out steps whose gradients overflowed.

    Args:
        device: Accepted for PyTorch's order of arguments; gradients are looked at where they are.
        init_scale: The first factor.
        growth_factor: What the factor is multiplied by after `growth_interval` steps in a row; above 1.
        backoff_factor: What it is multiplied by when a gradient is not finite; between 0 and 1.
        growth_interval: Steps.
        enabled: False makes everything do nothing: `scale` returns its argument, `step` steps.

    Raises:
        ArgumentError: A factor is out of range.

    Example:
        >>> model = nbdl.nn.Linear(2, 1)
        >>> optimizer, scaler = nbdl.optim.SGD(model.parameters(), lr=0.1), nbdl.amp.GradScaler()
        >>> scaler.scale(model(nbdl.ones(4, 2)).mean()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> scaler.get_scale()
        65536.0

    Source:
        Micikevicius et al. (2018), "Mixed precision training".
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled)
        self._scale = float(check_number("init_scale", init_scale, 0, open_low=True))
        self._growth_factor = float(check_number("growth_factor", growth_factor, 1, open_low=True))
        self._backoff_factor = _fraction("backoff_factor", backoff_factor)
        self._growth_interval = check_int("growth_interval", growth_interval, low=1)
        self._taken = 0
        self._states: dict[int, str] = {}
        self._found: dict[int, bool] = {}

    def scale(self, outputs: Any) -> Any:
        """The loss, or each of several in a tuple or list, times the factor."""
        if not self._enabled:
            return outputs
        looking.refuse_in_graph("the factor of a GradScaler, which changes,")
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, (tuple, list)):
            return type(outputs)([self.scale(output) for output in outputs])
        raise ArgumentError(f"outputs: expected a Tensor or a tuple or list of them, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the factor, so that they can be clipped.

        Raises:
            StateError: It has been called since the last `update`, or after `step`.
        """
        if not self._enabled:
            return
        state = self._states.get(id(optimizer), _READY)
        if state == _UNSCALED:
            raise StateError("unscale_: called twice for this optimizer since the last update()")
        if state == _STEPPED:
            raise StateError("unscale_: called after step()")
        found = False
        for table in gradient_tables([p for group in optimizer.param_groups for p in group["params"]]):
            with placement.at(table.kind):
                counts = memory.empty((len(table.chunks),), np.int64)
            unscale(table.like, table.addresses, table.chunks, 1.0 / self._scale, counts)
            table.finish()
            found = found or bool(arrays.on_host(counts).any())
        self._found[id(optimizer)] = found
        self._states[id(optimizer)] = _UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Unscales, if that has not been done, and steps unless a gradient is not finite.

        Returns:
            What the optimizer's step returns; None where it is left out.

        Raises:
            StateError: It has been called since the last `update`.
            ArgumentError: A closure is passed: the loss it computes would not be scaled.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise ArgumentError("closure: expected none; a scaled step cannot compute the loss again")
        if self._states.get(id(optimizer), _READY) == _STEPPED:
            raise StateError("step: called twice for this optimizer since the last update()")
        if self._states.get(id(optimizer), _READY) == _READY:
            self.unscale_(optimizer)
        result = None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)
        self._states[id(optimizer)] = _STEPPED
        return result

    def update(self, new_scale: float | None = None) -> None:
        """Adapts the factor; once after the steps of all optimizers.

        Args:
            new_scale: The factor from now on.

        Raises:
            StateError: No gradients have been looked at since the last update.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(check_number("new_scale", new_scale, 0, open_low=True))
        elif not self._found:
            raise StateError("update: expected a step() or unscale_() since the last update()")
        elif any(self._found.values()):
            self._scale *= self._backoff_factor
            self._taken = 0
        else:
            self._taken += 1
            if self._taken == self._growth_interval:
                grown = np.float32(self._scale * self._growth_factor)
                self._scale = float(grown) if np.isfinite(grown) else self._scale
                self._taken = 0
        self._states, self._found = {}, {}

    def get_scale(self) -> float:
        """The factor; 1 when not enabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether anything is scaled."""
        return self._enabled

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by after `growth_interval` steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets what the factor is multiplied by after `growth_interval` steps."""
        self._growth_factor = float(check_number("new_factor", new_factor, 1, open_low=True))

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by when a gradient is not finite."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets what the factor is multiplied by when a gradient is not finite."""
        self._backoff_factor = _fraction("new_factor", new_factor)

    def get_growth_interval(self) -> int:
        """Steps in a row after which the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets after how many steps in a row the factor grows."""
        self._growth_interval = check_int("new_interval", new_interval, low=1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint needs; empty when not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._taken,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` returned.

        Raises:
            StateError: It is empty, of a scaler that was not enabled, or lacks an entry.
        """
        if not self._enabled:
            return
        missing = sorted(set(self.state_dict()) - set(state_dict))
        if missing:
            raise StateError(f"state_dict: expected the entries of an enabled scaler, {missing} are missing")
        self._scale = float(state_dict["scale"])
        self._growth_factor = float(state_dict["growth_factor"])
        self._backoff_factor = float(state_dict["backoff_factor"])
        self._growth_interval = int(state_dict["growth_interval"])
        self._taken = int(state_dict["_growth_tracker"])


def _fraction(name: str, value: float) -> float:
    return float(check_number(name, value, 0, 1, open_low=True, open_high=True))
