r"""Stochastic gradient descent: a step against the gradient, with momentum on request.

With weight decay $\lambda$, momentum $\mu$, dampening $\tau$ and learning rate $\gamma$:

$$
g \leftarrow g + \lambda x, \qquad
b \leftarrow \mu b + (1 - \tau) g \quad (b = g \text{ at first}), \qquad
x \leftarrow x - \gamma \begin{cases} g & \mu = 0 \\ g + \mu b & \text{Nesterov} \\ b & \text{else} \end{cases}
$$

Source: Sutskever, Martens, Dahl and Hinton (2013), "On the importance of initialization and momentum in deep
learning", equations 1-4, in PyTorch's form: the learning rate stands outside the buffer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nbdl.optim.optimizer import Optimizer, execution_options
from nbdl.optim.table import GRADIENT, PARAMETER, STATE, ParameterTable, chunk_kernel
from nbdl.runtime.addresses import array_at
from nbdl.runtime.checks import check_number
from nbdl.runtime.cuda.primitives import fetch4, put4
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_device, cuda_kernel

# ---------------------------------------------------------------- reference


def sgd_reference(x, g, buffer, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """One step in float64: returns the new x and buffer; the buffer before the first step is None."""
    g = (-g if maximize else g) + weight_decay * x
    if momentum == 0:
        return x - lr * g, buffer
    buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
    return x - lr * (g + momentum * buffer if nesterov else buffer), buffer


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _sgd_cpu(like, addresses, chunks, coefficients, momentum, nesterov, start, stop):
    """One task a chunk of one parameter. Coefficients: lr, sign, weight decay, kept of the buffer, taken of g."""
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        x = array_at(addresses[p, PARAMETER] + skipped, n, like)
        dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
        lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
        decay = like.dtype.type(coefficients[p, 2])
        kept, taken = like.dtype.type(coefficients[p, 3]), like.dtype.type(coefficients[p, 4])
        mu = like.dtype.type(momentum)
        if momentum == 0:
            for i in range(n):
                x[i] -= lr * (sign * dx[i] + decay * x[i])
        else:
            buffer = array_at(addresses[p, STATE] + skipped, n, like)
            for i in range(n):
                g = sign * dx[i] + decay * x[i]
                b = kept * buffer[i] + taken * g
                buffer[i] = b
                x[i] -= lr * (g + mu * b if nesterov else b)


@cuda_device
def _moved(x, dx, buffer, lr, sign, decay, kept, taken, mu, nesterov):
    """An element of the parameter and of the momentum after the step."""
    g = sign * dx + decay * x
    b = kept * buffer + taken * g
    return x - lr * (g + mu * b if nesterov else b), b


@cuda_kernel
def _sgd_cuda(like, addresses, chunks, coefficients, momentum, nesterov):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    x = array_at(addresses[p, PARAMETER] + skipped, n, like)
    dx = array_at(addresses[p, GRADIENT] + skipped, n, like)
    lr, sign = like.dtype.type(coefficients[p, 0]), like.dtype.type(coefficients[p, 1])
    decay = like.dtype.type(coefficients[p, 2])
    kept, taken = like.dtype.type(coefficients[p, 3]), like.dtype.type(coefficients[p, 4])
    mu = like.dtype.type(momentum)
    zero, wide = like.dtype.type(0), is_aligned(x) and is_aligned(dx)
    if momentum == 0:
        for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
            whole = wide and i + 4 <= n
            x0, x1, x2, x3 = fetch4(x, i, whole, zero)
            g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
            x0, x1 = x0 - lr * (sign * g0 + decay * x0), x1 - lr * (sign * g1 + decay * x1)
            x2, x3 = x2 - lr * (sign * g2 + decay * x2), x3 - lr * (sign * g3 + decay * x3)
            put4(x, i, whole, x0, x1, x2, x3)
    else:
        buffer = array_at(addresses[p, STATE] + skipped, n, like)
        for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):
            whole = wide and i + 4 <= n
            x0, x1, x2, x3 = fetch4(x, i, whole, zero)
            g0, g1, g2, g3 = fetch4(dx, i, whole, zero)
            b0, b1, b2, b3 = fetch4(buffer, i, whole, zero)
            x0, b0 = _moved(x0, g0, b0, lr, sign, decay, kept, taken, mu, nesterov)
            x1, b1 = _moved(x1, g1, b1, lr, sign, decay, kept, taken, mu, nesterov)
            x2, b2 = _moved(x2, g2, b2, lr, sign, decay, kept, taken, mu, nesterov)
            x3, b3 = _moved(x3, g3, b3, lr, sign, decay, kept, taken, mu, nesterov)
            put4(buffer, i, whole, b0, b1, b2, b3)
            put4(x, i, whole, x0, x1, x2, x3)


sgd_step = chunk_kernel(_sgd_cpu, _sgd_cuda)

# ---------------------------------------------------------------- public


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum, dampening, Nesterov momentum and weight decay.

    $b \leftarrow \mu b + (1 - \tau)(g + \lambda x)$, $x \leftarrow x - \gamma b$

    Args:
        params: Tensors, pairs (name, tensor), or dictionaries for groups.
        lr: Learning rate, at least 0.
        momentum: What is kept of the buffer, at least 0; no buffer when 0.
        dampening: What is left out of the gradient that enters the buffer.
        weight_decay: L2 penalty, at least 0.
        nesterov: Look ahead along the buffer; needs momentum and no dampening.
        maximize: Step along the gradient instead of against it.
        foreach: Accepted, without effect: every step is one kernel launch. So is fused.
        differentiable: True is refused.

    Raises:
        ArgumentError: A hyperparameter is out of range or not finite, or a parameter occurs twice.

    Example:
        >>> x = nbdl.tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = nbdl.optim.SGD([x], lr=0.5)
        >>> x.grad = nbdl.tensor([2.0, 2.0])
        >>> optimizer.step()
        >>> x
        tensor([0., 1.], requires_grad=True)

    Source:
        Sutskever, Martens, Dahl and Hinton (2013), "On the importance of initialization and momentum in deep
        learning", equations 1-4.
    """

    states = ("momentum_buffer",)
    coefficients = 5
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = execution_options(foreach, False, differentiable, fused)
        del options["capturable"]
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                **options,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_number("lr", group["lr"], 0)
        check_number("momentum", group["momentum"], 0)
        check_number("dampening", group["dampening"])
        check_number("weight_decay", group["weight_decay"], 0)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ArgumentError("nesterov: expected a momentum above 0 and a dampening of 0 with it")

    def _update(self, table: ParameterTable, group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        first = (group["lr"], -1.0 if group["maximize"] else 1.0, group["weight_decay"], 0.0, 1.0)
        rows = [first]
        if momentum != 0:
            table.require("momentum_buffer")
            later = (*first[:3], momentum, 1.0 - group["dampening"])
            rows = [later]
            if not table.started.issuperset(table.active):  # a buffer starts as the first gradient
                rows = [later if number in table.started else first for number in table.active]
                table.started.update(table.active)
        table.fill_coefficients(rows)
        sgd_step(
            table.like,
            table.addresses,
            table.chunks,
            table.coefficients,
            float(momentum),
            bool(group["nesterov"]),
        )
