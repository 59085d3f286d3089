r"""Adagrad, RMSprop, Adadelta: steps divided by what the gradient of each element has been like.

$$
\begin{aligned}
\text{Adagrad:}\quad & s \leftarrow s + g^2, &
  x &\leftarrow x - \frac{\gamma}{1 + (t-1)\eta}\, \frac{g}{\sqrt{s} + \varepsilon} \\
\text{RMSprop:}\quad & s \leftarrow \alpha s + (1-\alpha) g^2, &
  x &\leftarrow x - \gamma\, \frac{g}{\sqrt{s - a^2} + \varepsilon} \\
\text{Adadelta:}\quad & s \leftarrow \rho s + (1-\rho) g^2, \quad
  d = \frac{\sqrt{u + \varepsilon}}{\sqrt{s + \varepsilon}}\, g,
  \quad u \leftarrow \rho u + (1-\rho) d^2, &
  x &\leftarrow x - \gamma d
\end{aligned}
$$

In all of them $g \leftarrow g + \lambda x$ first. In RMSprop $a$ is the running mean of g when centered, else 0; with
momentum $\mu$ the step goes through a buffer, $b \leftarrow \mu b + g / (\dots)$, $x \leftarrow x - \gamma b$.

Sources: Duchi, Hazan and Singer (2011), "Adaptive subgradient methods"; Hinton (2012), lecture 6e; Graves (2013),
"Generating sequences with recurrent neural networks", equations 38-41 (centered); Zeiler (2012), "ADADELTA".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nbdl.optim.optimizer import Optimizer, equal_rows, execution_options
from nbdl.optim.table import GRADIENT, PARAMETER, STATE, ParameterTable, chunk_kernel
from nbdl.runtime.addresses import array_at
from nbdl.runtime.checks import check_number
from nbdl.runtime.cuda.primitives import fetch4, put4
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_device, cuda_kernel

# ---------------------------------------------------------------- references


def adagrad_reference(x, g, s, t, lr, lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False):
    """Step t = 1, 2, ... in float64: returns the new x and s."""
    g = (-g if maximize else g) + weight_decay * x
    s = s + g * g
    return x - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps), s


def rmsprop_reference(
    x, g, s, mean, buffer, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False
):
    """One step in float64: returns the new x, s, running mean and buffer."""
    g = (-g if maximize else g) + weight_decay * x
    s = alpha * s + (1 - alpha) * g * g
    mean = alpha * mean + (1 - alpha) * g
    step = g / (np.sqrt(s - mean * mean if centered else s) + eps)
    buffer = momentum * buffer + step
    return x - lr * (buffer if momentum else step), s, mean, buffer


def adadelta_reference(x, g, s, u, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    """One step in float64: returns the new x, s and u."""
    g = (-g if maximize else g) + weight_decay * x
    s = rho * s + (1 - rho) * g * g
    d = np.sqrt(u + eps) / np.sqrt(s + eps) * g
    return x - lr * d, s, rho * u + (1 - rho) * d * d


class _Adaptive(Optimizer):
    """What the adaptive optimizers share.

    Attributes:
        at_least_zero: The hyperparameters that must not be negative.
    """

    at_least_zero: tuple[str, ...] = ()

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in self.at_least_zero:
            check_number(name, group[name], 0)


# ---------------------------------------------------------------- Adagrad


@cpu_kernel
def _adagrad_cpu(like, addresses, chunks, coefficients, start, stop):
    """One task a chunk of one parameter. State: s. Coefficients: step size, sign, weight decay, eps."""
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        x = array_at(addresses[p, PARAMETER] + skipped, n, like)
        dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
        total = array_at(addresses[p, STATE] + skipped, n, like)
        lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
        decay, eps = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
        for i in range(n):
            g = sign * dx[i] + decay * x[i]
            s = total[i] + g * g
            total[i] = s
            x[i] -= lr * g / (math.sqrt(s) + eps)


@cuda_device
def _adagrad_moved(x, dx, total, lr, sign, decay, eps):
    """An element of the parameter and of the sum after the step."""
    g = sign * dx + decay * x
    s = total + g * g
    return x - lr * g / (math.sqrt(s) + eps), s


@cuda_kernel
def _adagrad_cuda(like, addresses, chunks, coefficients):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    x = array_at(addresses[p, PARAMETER] + skipped, n, like)
    dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
    total = array_at(addresses[p, STATE] + skipped, n, like)
    lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
    decay, eps = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
    zero, wide = like.dtype.type(0), is_aligned(x) and is_aligned(dx)
    for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
        whole = wide and i + 4 <= n
        x0, x1, x2, x3 = fetch4(x, i, whole, zero)
        g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
        s0, s1, s2, s3 = fetch4(total, i, whole, zero)
        x0, s0 = _adagrad_moved(x0, g0, s0, lr, sign, decay, eps)
        x1, s1 = _adagrad_moved(x1, g1, s1, lr, sign, decay, eps)
        x2, s2 = _adagrad_moved(x2, g2, s2, lr, sign, decay, eps)
        x3, s3 = _adagrad_moved(x3, g3, s3, lr, sign, decay, eps)
        put4(total, i, whole, s0, s1, s2, s3)
        put4(x, i, whole, x0, x1, x2, x3)


adagrad_step = chunk_kernel(_adagrad_cpu, _adagrad_cuda)


class Adagrad(_Adaptive):
    r"""Adagrad: steps divided by the root of the sum of all squared gradients.

    $s \leftarrow s + g^2$, $x \leftarrow x - \frac{\gamma}{1 + (t - 1) \eta}\, g / (\sqrt{s} + \varepsilon)$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        lr_decay: How the learning rate falls with the number of updates, at least 0.
        weight_decay: L2 penalty, at least 0.
        initial_accumulator_value: What s starts from, at least 0.
        eps: Added to the denominator, at least 0.
        foreach: Accepted, without effect: every step is one kernel launch. So is fused.
        maximize: Step along the gradient instead of against it.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> optimizer = nbdl.optim.Adagrad([nbdl.tensor([1.0], requires_grad=True)])
        >>> optimizer.param_groups[0]["lr"]
        0.01

    Source:
        Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and stochastic optimization".
    """

    states = ("sum",)
    at_least_zero = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    coefficients = 4

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = execution_options(foreach, False, differentiable, fused)
        del options["capturable"]
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            **options,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for table in self._group_tables(len(self.param_groups) - 1):  # Adagrad's state exists from the start
            table.require("sum", self.param_groups[-1]["initial_accumulator_value"])
            for number, parameter in enumerate(table.parameters):
                self.state[parameter] = {"step": table.step_count(number), "sum": table.state(number, "sum")}

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        sign = -1.0 if group["maximize"] else 1.0
        table.require("sum", group["initial_accumulator_value"])
        table.fill_coefficients(
            [
                (group["lr"] / (1.0 + (t - 1.0) * group["lr_decay"]), sign, group["weight_decay"], group["eps"])
                for t in equal_rows(table.count_step())
            ]
        )
        adagrad_step(table.like, table.addresses, table.chunks, table.coefficients)


# ---------------------------------------------------------------- RMSprop


@cpu_kernel
def _rmsprop_cpu(like, addresses, chunks, coefficients, momentum, centered, start, stop):
    """One task a chunk of one parameter. States: s, buffer, running mean. Coefficients: lr, sign, decay, alpha, eps."""
    one = like.dtype.type(1)
    mu = like.dtype.type(momentum)
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        x = array_at(addresses[p, PARAMETER] + skipped, n, like)
        dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
        square = array_at(addresses[p, STATE] + skipped, n, like)
        lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
        decay, alpha = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
        eps = like.dtype.type(coefficients[p, 4])
        # The two options touch memory of their own; without them their loops run over the square itself, unwritten.
        buffer = array_at(addresses[p, STATE + 1 if momentum != 0 else STATE] + skipped, n, like)
        mean = array_at(addresses[p, STATE + 2 if centered else STATE] + skipped, n, like)
        for i in range(n):
            g = sign * dx[i] + decay * x[i]
            s = alpha * square[i] + (one - alpha) * g * g
            square[i] = s
            if centered:
                a = alpha * mean[i] + (one - alpha) * g
                mean[i] = a
                s -= a * a
            step = g / (math.sqrt(s) + eps)
            if momentum != 0:
                step += mu * buffer[i]
                buffer[i] = step
            x[i] -= lr * step


@cuda_device
def _rmsprop_moved(x, dx, square, buffer, mean, lr, sign, decay, alpha, eps, mu, centered):
    """An element of the parameter, of both averages and of the momentum after the step."""
    rest = alpha.dtype.type(1) - alpha
    g = sign * dx + decay * x
    s = alpha * square + rest * g * g
    variance = s
    if centered:
        mean = alpha * mean + rest * g
        variance -= mean * mean
    step = g / (math.sqrt(variance) + eps)
    if mu != 0:
        buffer = mu * buffer + step
        step = buffer
    return x - lr * step, s, buffer, mean


@cuda_kernel
def _rmsprop_cuda(like, addresses, chunks, coefficients, momentum, centered):
    """As the CPU twin. One block a chunk."""
    mu = like.dtype.type(momentum)
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    x = array_at(addresses[p, PARAMETER] + skipped, n, like)
    dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
    square = array_at(addresses[p, STATE] + skipped, n, like)
    lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
    decay, alpha = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
    eps = like.dtype.type(coefficients[p, 4])
    buffer = array_at(addresses[p, STATE + 1 if momentum != 0 else STATE] + skipped, n, like)
    mean = array_at(addresses[p, STATE + 2 if centered else STATE] + skipped, n, like)
    zero, wide = like.dtype.type(0), is_aligned(x) and is_aligned(dx)
    for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
        whole = wide and i + 4 <= n
        x0, x1, x2, x3 = fetch4(x, i, whole, zero)
        g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
        s0, s1, s2, s3 = fetch4(square, i, whole, zero)
        b0, b1, b2, b3 = fetch4(buffer, i, whole, zero)  # the squares again, where there is none
        a0, a1, a2, a3 = fetch4(mean, i, whole, zero)  # likewise
        x0, s0, b0, a0 = _rmsprop_moved(x0, g0, s0, b0, a0, lr, sign, decay, alpha, eps, mu, centered)
        x1, s1, b1, a1 = _rmsprop_moved(x1, g1, s1, b1, a1, lr, sign, decay, alpha, eps, mu, centered)
        x2, s2, b2, a2 = _rmsprop_moved(x2, g2, s2, b2, a2, lr, sign, decay, alpha, eps, mu, centered)
        x3, s3, b3, a3 = _rmsprop_moved(x3, g3, s3, b3, a3, lr, sign, decay, alpha, eps, mu, centered)
        put4(square, i, whole, s0, s1, s2, s3)
        if momentum != 0:
            put4(buffer, i, whole, b0, b1, b2, b3)
        if centered:
            put4(mean, i, whole, a0, a1, a2, a3)
        put4(x, i, whole, x0, x1, x2, x3)


rmsprop_step = chunk_kernel(_rmsprop_cpu, _rmsprop_cuda)


class RMSprop(_Adaptive):
    r"""RMSprop: steps divided by the root of a running mean of squared gradients.

    $s \leftarrow \alpha s + (1 - \alpha) g^2$, $x \leftarrow x - \gamma\, g / (\sqrt{s} + \varepsilon)$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        alpha: What the running mean keeps of itself, at least 0.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.
        momentum: What is kept of the buffer, at least 0; no buffer when 0.
        centered: Divide by the root of the running variance instead of the running square.
        capturable: Accepted, without effect: every step is one kernel launch. So is foreach.
        maximize: Step along the gradient instead of against it.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> optimizer = nbdl.optim.RMSprop([nbdl.tensor([1.0], requires_grad=True)])
        >>> optimizer.param_groups[0]["alpha"]
        0.99

    Source:
        Hinton (2012), "Neural networks for machine learning", lecture 6e; Graves (2013), equations 38-41.
    """

    states = ("square_avg", "momentum_buffer", "grad_avg")
    at_least_zero = ("lr", "alpha", "eps", "weight_decay", "momentum")
    coefficients = 5

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = execution_options(foreach, capturable, differentiable, None)
        del options["fused"]
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **options,
        }
        super().__init__(params, defaults)

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        momentum, centered = group["momentum"], bool(group["centered"])
        table.require("square_avg")
        if momentum != 0:
            table.require("momentum_buffer")
        if centered:
            table.require("grad_avg")
        table.count_step()
        sign = -1.0 if group["maximize"] else 1.0
        table.fill_coefficients([(group["lr"], sign, group["weight_decay"], group["alpha"], group["eps"])])
        rmsprop_step(table.like, table.addresses, table.chunks, table.coefficients, float(momentum), centered)


# ---------------------------------------------------------------- Adadelta


@cpu_kernel
def _adadelta_cpu(like, addresses, chunks, coefficients, start, stop):
    """One task a chunk of one parameter. States: s, u. Coefficients: lr, sign, weight decay, rho, eps."""
    one = like.dtype.type(1)
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        x = array_at(addresses[p, PARAMETER] + skipped, n, like)
        dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
        square = array_at(addresses[p, STATE] + skipped, n, like)
        deltas = array_at(addresses[p, STATE + 1] + skipped, n, like)
        lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
        decay, rho = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
        eps = like.dtype.type(coefficients[p, 4])
        for i in range(n):
            g = sign * dx[i] + decay * x[i]
            s = rho * square[i] + (one - rho) * g * g
            d = math.sqrt((deltas[i] + eps) / (s + eps)) * g
            square[i] = s
            deltas[i] = rho * deltas[i] + (one - rho) * d * d
            x[i] -= lr * d


@cuda_device
def _adadelta_moved(x, dx, square, delta, lr, sign, decay, rho, eps):
    """An element of the parameter and of both averages after the step."""
    rest = rho.dtype.type(1) - rho
    g = sign * dx + decay * x
    s = rho * square + rest * g * g
    d = math.sqrt((delta + eps) / (s + eps)) * g
    return x - lr * d, s, rho * delta + rest * d * d


@cuda_kernel
def _adadelta_cuda(like, addresses, chunks, coefficients):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    x = array_at(addresses[p, PARAMETER] + skipped, n, like)
    dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
    square = array_at(addresses[p, STATE] + skipped, n, like)
    deltas = array_at(addresses[p, STATE + 1] + skipped, n, like)
    lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
    decay, rho = like.dtype.type(coefficients[p, 2]), like.dtype.type(coefficients[p, 3])
    eps = like.dtype.type(coefficients[p, 4])
    zero, wide = like.dtype.type(0), is_aligned(x) and is_aligned(dx)
    for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
        whole = wide and i + 4 <= n
        x0, x1, x2, x3 = fetch4(x, i, whole, zero)
        g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
        s0, s1, s2, s3 = fetch4(square, i, whole, zero)
        d0, d1, d2, d3 = fetch4(deltas, i, whole, zero)
        x0, s0, d0 = _adadelta_moved(x0, g0, s0, d0, lr, sign, decay, rho, eps)
        x1, s1, d1 = _adadelta_moved(x1, g1, s1, d1, lr, sign, decay, rho, eps)
        x2, s2, d2 = _adadelta_moved(x2, g2, s2, d2, lr, sign, decay, rho, eps)
        x3, s3, d3 = _adadelta_moved(x3, g3, s3, d3, lr, sign, decay, rho, eps)
        put4(square, i, whole, s0, s1, s2, s3)
        put4(deltas, i, whole, d0, d1, d2, d3)
        put4(x, i, whole, x0, x1, x2, x3)


adadelta_step = chunk_kernel(_adadelta_cpu, _adadelta_cuda)


class Adadelta(_Adaptive):
    r"""Adadelta: steps in the units of the parameters, the ratio of running means of past steps and gradients.

    $d = \sqrt{u + \varepsilon} / \sqrt{s + \varepsilon}\; g$, $x \leftarrow x - \gamma d$, with running means s of
    $g^2$ and u of $d^2$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Factor of the step, at least 0.
        rho: What the running means keep of themselves, in [0, 1].
        eps: Added under the roots, at least 0.
        weight_decay: L2 penalty, at least 0.
        foreach: Accepted, without effect: every step is one kernel launch. So is capturable.
        maximize: Step along the gradient instead of against it.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> optimizer = nbdl.optim.Adadelta([nbdl.tensor([1.0], requires_grad=True)])
        >>> optimizer.param_groups[0]["rho"]
        0.9

    Source:
        Zeiler (2012), "ADADELTA: an adaptive learning rate method", algorithm 1.
    """

    states = ("square_avg", "acc_delta")
    at_least_zero = ("lr", "eps", "weight_decay")
    coefficients = 5

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = execution_options(foreach, capturable, differentiable, None)
        del options["fused"]
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **options,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_number("rho", group["rho"], 0, 1)

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        table.require("square_avg")
        table.require("acc_delta")
        table.count_step()
        sign = -1.0 if group["maximize"] else 1.0
        table.fill_coefficients([(group["lr"], sign, group["weight_decay"], group["rho"], group["eps"])])
        adadelta_step(table.like, table.addresses, table.chunks, table.coefficients)
