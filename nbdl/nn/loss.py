"""Losses as modules: each holds the options of a function of `nbdl.ops`.

Every loss takes (input, target), the network's output first. `reduction` is "mean", "sum" or "none"; `size_average` and
`reduce` are its older form and override it when they are given.
"""

from __future__ import annotations

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module
from nbdl.ops.loss.arguments import chosen_reduction


class _Loss(Module):
    """A loss with a reduction."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = chosen_reduction(reduction, size_average, reduce)


class _WeightedLoss(_Loss):
    """A loss whose terms have weights: a buffer, so that it moves with the module and is saved with it."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


# ---------------------------------------------------------------- regression


class MSELoss(_Loss):
    r"""The squared error, $(x - y)^2$. Shapes: input and target [*].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".

    Example:
        >>> nbdl.nn.MSELoss()(nbdl.tensor([1.0, 2.0]), nbdl.tensor([1.0, 4.0]))
        tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    r"""The absolute error, $|x - y|$. Shapes: input and target [*].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    r"""$(x - y)^2 / 2\beta$ up to an error of $\beta$, $|x - y| - \beta / 2$ beyond. Shapes: input and target [*].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
        beta: Where the parabola becomes a line; 0 is the absolute error.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    r"""$(x - y)^2 / 2$ up to an error of $\delta$, $\delta (|x - y| - \delta / 2)$ beyond. Shapes: input, target [*].

    Args:
        reduction: "mean", "sum" or "none".
        delta: Where the parabola becomes a line.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


# ---------------------------------------------------------------- yes or no


class BCELoss(_WeightedLoss):
    r"""Binary cross-entropy of probabilities, $-y \ln x - (1 - y) \ln(1 - x)$, in nats. Shapes: input and target [*].

    Args:
        weight: Factors of the terms, broadcast to the input.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy of scores before the sigmoid, in nats. Shapes: input and target [*].

    Args:
        weight: Factors of the terms, broadcast to the input.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
        pos_weight: Factors of the terms of positive targets, broadcast to the input.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


# ---------------------------------------------------------------- classes and distributions


class NLLLoss(_WeightedLoss):
    """The negative logarithm of the right class's probability. Shapes: input [N, C, *] or [C], target [N, *] or [].

    Args:
        weight: [C], factors of the classes.
        size_average: Older form of `reduction`.
        ignore_index: A target to leave out.
        reduce: Older form of `reduction`.
        reduction: "mean" (over the weights of the targets), "sum" or "none".
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of scores before the softmax, in nats. Shapes: input [N, C, *] or [C], target [N, *] or [].

    A floating-point target of the input's shape holds probabilities of the classes.

    Args:
        weight: [C], factors of the classes.
        size_average: Older form of `reduction`.
        ignore_index: A target to leave out.
        reduce: Older form of `reduction`.
        reduction: "mean" (over the weights of the targets), "sum" or "none".
        label_smoothing: The share of the target that is spread over all classes, in [0, 1].

    Example:
        >>> loss = nbdl.nn.CrossEntropyLoss()
        >>> loss(nbdl.tensor([[2.0, 0.0], [0.0, 2.0]]), nbdl.tensor([0, 1]))
        tensor(0.1269)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class KLDivLoss(_Loss):
    r"""The Kullback-Leibler divergence $y (\ln y - x)$ of log-probabilities x, in nats. Shapes: input and target [*].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "batchmean" (the sum over the first dimension's size), "sum" or "none".
        log_target: Whether the target holds log-probabilities.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, "mean" if reduction == "batchmean" else reduction)
        if reduction == "batchmean":
            self.reduction = reduction
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
