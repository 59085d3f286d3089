r"""Schedules of the learning rate: call `step()` after each epoch, or each update, as the schedule is meant.

A schedule multiplies each group's own rate, $\gamma_t = f_t\, \gamma_0$, with $\gamma_0$ the rate it found when it was
made. It works by recurrence, $\gamma_t$ from $\gamma_{t-1}$, so that a rate which someone else changed meanwhile stays
changed, and several schedules may work on one optimizer.

$$
\begin{aligned}
\text{StepLR} && f_t &= g^{\lfloor t / s \rfloor} \\
\text{ExponentialLR} && f_t &= g^t \\
\text{LinearLR} && f_t &= a + (b - a) \min(t, T) / T \\
\text{MultiplicativeLR} && \gamma_t &= f(t)\, \gamma_{t-1} \\
\text{PolynomialLR} && f_t &= (1 - \min(t, T) / T)^p \\
\text{CosineAnnealingLR} && \gamma_t &= \gamma_{\min} + \tfrac12 (\gamma_0 - \gamma_{\min}) (1 + \cos(\pi t / T))
\end{aligned}
$$

Sources: Smith (2017), "Cyclical learning rates for training neural networks"; Loshchilov and Hutter (2017), "SGDR:
stochastic gradient descent with warm restarts"; Smith and Topin (2019), "Super-convergence".
"""

from __future__ import annotations

from nbdl.optim.lr_scheduler.base import LRScheduler
from nbdl.optim.lr_scheduler.composition import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from nbdl.optim.lr_scheduler.cycles import CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from nbdl.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from nbdl.runtime.boundary import named_constructor

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

for _name in __all__:
    named_constructor(globals()[_name])
