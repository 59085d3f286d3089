r"""Gumbel-softmax: a draw from classes in a form that has gradients.

With noise $g_i = -\log e_i$, the $e_i$ exponentially distributed, the class $\arg\max_i (x_i + g_i)$ is a draw with the
probabilities $\mathrm{softmax}(x)$. Softmax at a temperature $\tau$ in place of the maximum gives

$$y = \mathrm{softmax}\big((x + g) / \tau\big),$$

which nears that draw as $\tau \to 0$ and whose gradient is that of softmax.

Source: Jang, Gu and Poole (2017), "Categorical Reparameterization with Gumbel-Softmax", equation 2.
"""

from __future__ import annotations

from nbdl.autograd import Tensor
from nbdl.ops.creation import empty_like, exponential_, zeros_like
from nbdl.ops.elementwise import clamp, log
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.indexing import scatter
from nbdl.ops.reduction.extremes import argmax
from nbdl.ops.softmax import softmax
from nbdl.runtime.checks import check_dim, check_float, check_number
from nbdl.runtime.dtypes import FLOAT16, FLOAT32

LEAST_EXPONENTIAL = 1e-8
"""Under the least positive number that is drawn, over 0: its logarithm is finite."""


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    r"""A draw from the classes in a form that has gradients: softmax of scores plus Gumbel noise.

    $y = \mathrm{softmax}\big((x + g) / \tau\big)$ with $g = -\log(-\log u)$, u uniform in (0, 1).

    Args:
        logits: [*] scores x, float32 or float64.
        tau: The temperature, over 0: the lower, the closer to one class.
        hard: Return the greatest class as 1 and the others as 0, with the gradients of the soft draw.
        eps: Not used, as in PyTorch.
        dim: The dimension of the classes.

    Returns:
        [*], dtype of the logits; adds up to 1 along `dim`.

    Raises:
        DTypeError: The logits are not floating point.
        IndexRangeError: The logits have no such dimension.
        ArgumentError: A temperature of 0 or less.

    Gradient:
        For logits, that of the soft draw.

    Example:
        >>> nbdl.ops.gumbel_softmax(nbdl.zeros(4, 3), hard=True).sum(1)
        tensor([1., 1., 1., 1.])

    Source:
        Jang, Gu and Poole (2017), "Categorical Reparameterization with Gumbel-Softmax", equation 2.
    """
    check_float("logits", logits)
    check_number("tau", tau, 0.0, open_low=True)
    dim = check_dim("dim", dim, logits.ndim)
    if logits.dtype == FLOAT16:  # the least waiting time is no number of 16 bits
        return to_dtype(gumbel_softmax(to_dtype(logits, FLOAT32), tau, hard, eps, dim), FLOAT16)
    waiting = clamp(exponential_(empty_like(logits)), min=LEAST_EXPONENTIAL)
    soft = softmax((logits - log(waiting)) / tau, dim)
    if not hard:
        return soft
    chosen = scatter(zeros_like(logits), dim, argmax(soft, dim, keepdim=True), 1.0)
    return chosen - soft.detach() + soft
