r"""Adam and its relatives: steps scaled by running moments of the gradient, each element by its own.

With $\beta_1, \beta_2$ and the update count $t$ (bias corrections $c_i = 1 - \beta_i^t$):

$$
m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
s \leftarrow \beta_2 s + (1 - \beta_2) g^2, \qquad
x \leftarrow x - \frac{\gamma}{c_1} \frac{m}{\sqrt{s / c_2} + \varepsilon}
$$

- **Adam** adds weight decay to the gradient, $g \leftarrow g + \lambda x$; **AdamW** shrinks the parameter itself,
  $x \leftarrow (1 - \gamma \lambda) x$, so that the decay is not divided by the moments.
- **AMSGrad** divides by the largest $s$ so far.
- **NAdam** looks ahead along the momentum: with $\mu_t = \beta_1 (1 - \tfrac12\, 0.96^{t \psi})$ and
  $M_t = \prod_{i \le t} \mu_i$ it steps by
  $\gamma \big( \frac{1 - \mu_t}{1 - M_t} g + \frac{\mu_{t+1}}{1 - M_{t+1}} m \big) / (\sqrt{s / c_2} + \varepsilon)$.

All of them are one kernel: the step is $(a\,g + b\,m) / (\sqrt{s}\, r + \varepsilon)$ with numbers $a$, $b$, $r$ that
depend on $t$ alone.

Sources: Kingma and Ba (2015), "Adam", algorithm 1; Loshchilov and Hutter (2019), "Decoupled weight decay
regularization", algorithm 2; Reddi, Kale and Kumar (2018), "On the convergence of Adam and beyond", algorithm 2;
Dozat (2016), "Incorporating Nesterov momentum into Adam".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import wrap
from nbdl.optim.optimizer import Optimizer, equal_rows, execution_options
from nbdl.optim.table import GRADIENT, PARAMETER, STATE, ParameterTable, chunk_kernel
from nbdl.runtime.addresses import array_at
from nbdl.runtime.checks import check_number
from nbdl.runtime.cuda.primitives import fetch4, put4
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def adam_reference(
    x, g, m, s, largest, t, lr, betas, eps, weight_decay, amsgrad=False, maximize=False, decoupled_weight_decay=False
):
    """Step t = 1, 2, ... in float64: returns the new x, m, s and largest s."""
    beta1, beta2 = betas
    g = -g if maximize else g
    if decoupled_weight_decay:
        x = x * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * x
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g * g
    largest = np.maximum(largest, s)
    denominator = np.sqrt((largest if amsgrad else s) / (1 - beta2**t)) + eps
    return x - lr / (1 - beta1**t) * m / denominator, m, s, largest


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _adam_cpu(like, addresses, chunks, coefficients, amsgrad, start, stop):
    """One task a chunk of one parameter. States: m, s, largest s.

    Coefficients: sign of g, weight decay into g, factor of x, beta1, beta2, a, b, r, eps (see the equations above).
    """
    one = like.dtype.type(1)
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        x = array_at(addresses[p, PARAMETER] + skipped, n, like)
        dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
        mean = array_at(addresses[p, STATE] + skipped, n, like)
        square = array_at(addresses[p, STATE + 1] + skipped, n, like)
        sign, decay = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
        factor = like.dtype.type(coefficients[p, 2])
        beta1, beta2 = like.dtype.type(coefficients[p, 3]), like.dtype.type(coefficients[p, 4])
        a, b = like.dtype.type(coefficients[p, 5]), like.dtype.type(coefficients[p, 6])
        r, eps = like.dtype.type(coefficients[p, 7]), like.dtype.type(coefficients[p, 8])
        if amsgrad:
            largest = array_at(addresses[p, STATE + 2] + skipped, n, like)
            for i in range(n):
                g = sign * dx[i] + decay * x[i]
                m = beta1 * mean[i] + (one - beta1) * g
                s = beta2 * square[i] + (one - beta2) * g * g
                top = max(largest[i], s)
                mean[i], square[i], largest[i] = m, s, top
                x[i] = factor * x[i] - (a * g + b * m) / (math.sqrt(top) * r + eps)
        else:
            for i in range(n):
                g = sign * dx[i] + decay * x[i]
                m = beta1 * mean[i] + (one - beta1) * g
                s = beta2 * square[i] + (one - beta2) * g * g
                mean[i], square[i] = m, s
                x[i] = factor * x[i] - (a * g + b * m) / (math.sqrt(s) * r + eps)


@cuda_kernel
def _adam_cuda(like, addresses, chunks, coefficients, amsgrad):
    """As the CPU twin. One block a chunk."""
    one = like.dtype.type(1)
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    x = array_at(addresses[p, PARAMETER] + skipped, n, like)
    dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
    mean = array_at(addresses[p, STATE] + skipped, n, like)
    square = array_at(addresses[p, STATE + 1] + skipped, n, like)
    sign, decay = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
    factor = like.dtype.type(coefficients[p, 2])
    beta1, beta2 = like.dtype.type(coefficients[p, 3]), like.dtype.type(coefficients[p, 4])
    a, b = like.dtype.type(coefficients[p, 5]), like.dtype.type(coefficients[p, 6])
    r, eps = like.dtype.type(coefficients[p, 7]), like.dtype.type(coefficients[p, 8])
    zero, wide = like.dtype.type(0), is_aligned(x) and is_aligned(dx)
    largest = array_at(addresses[p, STATE + 2] + skipped, n, like) if amsgrad else square
    for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
        whole = wide and i + 4 <= n
        x0, x1, x2, x3 = fetch4(x, i, whole, zero)
        g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
        m0, m1, m2, m3 = fetch4(mean, i, whole, zero)
        s0, s1, s2, s3 = fetch4(square, i, whole, zero)
        g0, g1 = sign * g0 + decay * x0, sign * g1 + decay * x1
        g2, g3 = sign * g2 + decay * x2, sign * g3 + decay * x3
        m0, m1 = beta1 * m0 + (one - beta1) * g0, beta1 * m1 + (one - beta1) * g1
        m2, m3 = beta1 * m2 + (one - beta1) * g2, beta1 * m3 + (one - beta1) * g3
        s0, s1 = beta2 * s0 + (one - beta2) * g0 * g0, beta2 * s1 + (one - beta2) * g1 * g1
        s2, s3 = beta2 * s2 + (one - beta2) * g2 * g2, beta2 * s3 + (one - beta2) * g3 * g3
        put4(mean, i, whole, m0, m1, m2, m3)
        put4(square, i, whole, s0, s1, s2, s3)
        if amsgrad:
            t0, t1, t2, t3 = fetch4(largest, i, whole, zero)
            s0, s1, s2, s3 = max(t0, s0), max(t1, s1), max(t2, s2), max(t3, s3)
            put4(largest, i, whole, s0, s1, s2, s3)
        x0 = factor * x0 - (a * g0 + b * m0) / (math.sqrt(s0) * r + eps)
        x1 = factor * x1 - (a * g1 + b * m1) / (math.sqrt(s1) * r + eps)
        x2 = factor * x2 - (a * g2 + b * m2) / (math.sqrt(s2) * r + eps)
        x3 = factor * x3 - (a * g3 + b * m3) / (math.sqrt(s3) * r + eps)
        put4(x, i, whole, x0, x1, x2, x3)


adam_step = chunk_kernel(_adam_cpu, _adam_cuda)

# ---------------------------------------------------------------- public


class _AdamFamily(Optimizer):
    """What Adam, AdamW and NAdam share: checks, and the launch once the coefficients a and b are known."""

    states: tuple[str, ...] = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    coefficients = 9

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_number("lr", group["lr"], 0)
        check_number("eps", group["eps"], 0)
        check_number("weight_decay", group["weight_decay"], 0)
        if len(group["betas"]) != 2:
            raise ArgumentError(f"betas: expected two numbers, got {group['betas']!r}")
        for position, beta in enumerate(group["betas"]):
            check_number(f"betas[{position}]", beta, 0, 1, open_high=True)

    def _launch(
        self, table: ParameterTable, group: dict[str, Any], steps: Sequence[float], mixes: Sequence[tuple[float, float]]
    ) -> None:
        """Updates the table, given step counts and (a, b): one for all parameters or one for each."""
        beta1, beta2 = group["betas"]
        decay = group["weight_decay"]
        decoupled = group["decoupled_weight_decay"]
        amsgrad = bool(group.get("amsgrad", False))
        table.require("exp_avg")
        table.require("exp_avg_sq")
        if amsgrad:
            table.require("max_exp_avg_sq")
        head = (
            -1.0 if group["maximize"] else 1.0,
            0.0 if decoupled else decay,
            1.0 - group["lr"] * decay if decoupled else 1.0,
            beta1,
            beta2,
        )
        eps = group["eps"]
        table.fill_coefficients(
            [(*head, *mix, 1.0 / math.sqrt(1.0 - beta2**t), eps) for t, mix in zip(steps, mixes, strict=True)]
        )
        adam_step(table.like, table.addresses, table.chunks, table.coefficients, amsgrad)


class Adam(_AdamFamily):
    r"""Adam: steps along the running mean of the gradient, divided by the root of its running square.

    $x \leftarrow x - \frac{\gamma}{1 - \beta_1^t}\, m \,/\, (\sqrt{s / (1 - \beta_2^t)} + \varepsilon)$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        betas: What the running mean and square keep of themselves, in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.
        amsgrad: Divide by the largest running square so far.
        foreach: Accepted, without effect: every step is one kernel launch. So are capturable and fused.
        maximize: Step along the gradient instead of against it.
        differentiable: True is refused.
        decoupled_weight_decay: Shrink the parameters instead of adding to the gradient, as AdamW.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> x = nbdl.tensor([1.0], requires_grad=True)
        >>> optimizer = nbdl.optim.Adam([x], lr=0.5)
        >>> x.grad = nbdl.tensor([3.0])
        >>> optimizer.step()
        >>> x
        tensor([0.5000], requires_grad=True)

    Source:
        Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            **execution_options(foreach, capturable, differentiable, fused),
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        beta1, lr = group["betas"][0], group["lr"]
        steps = equal_rows(table.count_step())
        self._launch(table, group, steps, [(0.0, lr / (1.0 - beta1**t)) for t in steps])


class AdamW(Adam):
    r"""Adam with decoupled weight decay: the parameters shrink by a factor at each step.

    $x \leftarrow (1 - \gamma \lambda) x - \frac{\gamma}{1 - \beta_1^t}\, m \,/\,
    (\sqrt{s / (1 - \beta_2^t)} + \varepsilon)$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        betas: What the running mean and square keep of themselves, in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: The decay, at least 0; it is multiplied by the learning rate.
        amsgrad: Divide by the largest running square so far.
        maximize: Step along the gradient instead of against it.
        foreach: Accepted, without effect: every step is one kernel launch. So are capturable and fused.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> x = nbdl.tensor([1.0], requires_grad=True)
        >>> optimizer = nbdl.optim.AdamW([x], lr=0.5, weight_decay=0.0)
        >>> x.grad = nbdl.tensor([3.0])
        >>> optimizer.step()
        >>> x
        tensor([0.5000], requires_grad=True)

    Source:
        Loshchilov and Hutter (2019), "Decoupled weight decay regularization", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )


class NAdam(_AdamFamily):
    r"""Adam with Nesterov momentum.

    $x \leftarrow x - \gamma \big( \frac{1 - \mu_t}{1 - M_t} g + \frac{\mu_{t+1}}{1 - M_{t+1}} m \big) /
    (\sqrt{s / (1 - \beta_2^t)} + \varepsilon)$ with $\mu_t = \beta_1 (1 - \tfrac12\, 0.96^{t \psi})$,
    $M_t = \prod_{i \le t} \mu_i$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        betas: What the running mean and square keep of themselves, in [0, 1).
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, or the decay of the parameters when decoupled; at least 0.
        momentum_decay: How fast the momentum approaches beta1, at least 0.
        decoupled_weight_decay: Shrink the parameters instead of adding to the gradient.
        foreach: Accepted, without effect: every step is one kernel launch. So is capturable.
        maximize: Step along the gradient instead of against it.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> optimizer = nbdl.optim.NAdam([nbdl.tensor([1.0], requires_grad=True)])
        >>> optimizer.param_groups[0]["lr"]
        0.002

    Source:
        Dozat (2016), "Incorporating Nesterov momentum into Adam".
    """

    states = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = execution_options(foreach, capturable, differentiable, None)
        del options["fused"]
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            **options,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_number("momentum_decay", group["momentum_decay"], 0)

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        beta1, psi, lr = group["betas"][0], group["momentum_decay"], group["lr"]
        mixes = []
        steps = table.count_step()
        for number, t in zip(table.active, steps, strict=True):
            mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * psi))
            mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * psi))
            product = self._mu_product(table, number)
            product *= np.float32(mu)  # one number a parameter, float32 as in PyTorch
            now = float(product)
            mixes.append((lr * (1.0 - mu) / (1.0 - now), lr * mu_next / (1.0 - now * mu_next)))
        self._launch(table, group, steps, mixes)

    def _mu_product(self, table: ParameterTable, number: int) -> np.ndarray:
        """The product of all momenta so far, part of the parameter's state."""
        entries = self.state.setdefault(table.parameters[number], {})
        if "mu_product" not in entries:
            entries["step"] = table.step_count(number)
            entries["mu_product"] = wrap(np.ones((), np.float32))
        array: np.ndarray = entries["mu_product"]._array
        return array

    def _restore_scalar(self, table: ParameterTable, number: int, name: str, value: float) -> None:
        if name != "mu_product":
            super()._restore_scalar(table, number, name, value)
        self._mu_product(table, number)[...] = value
