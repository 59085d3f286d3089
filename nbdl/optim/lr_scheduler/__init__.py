r"""Schedules of the learning rate: call `step()` after each epoch, or each update, as the schedule is meant.

A schedule multiplies each group's own rate, $\gamma_t = f_t\, \gamma_0$, with $\gamma_0$ the rate it found when it was
made. It works by recurrence, $\gamma_t$ from $\gamma_{t-1}$, so that a rate which someone else changed meanwhile stays
changed, and several schedules may work on one optimizer.

$$
\begin{aligned}
\text{StepLR} && f_t &= g^{\lfloor t / s \rfloor} \\
\text{ExponentialLR} && f_t &= g^t \\
\text{LinearLR} && f_t &= a + (b - a) \min(t, T) / T \\
\text{PolynomialLR} && f_t &= (1 - \min(t, T) / T)^p \\
\text{CosineAnnealingLR} && \gamma_t &= \gamma_{\min} + \tfrac12 (\gamma_0 - \gamma_{\min}) (1 + \cos(\pi t / T))
\end{aligned}
$$

Sources: Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts"; Smith and Topin (2019),
"Super-convergence".
"""

from __future__ import annotations

from nbdl.optim.lr_scheduler.base import LRScheduler
from nbdl.optim.lr_scheduler.composition import ReduceLROnPlateau, SequentialLR
from nbdl.optim.lr_scheduler.cycles import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR
from nbdl.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from nbdl.runtime.boundary import named_constructor

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

for _name in __all__:
    named_constructor(globals()[_name])
