"""Losses as modules: each holds the options of a function of `nbdl.ops`.

Every loss takes (input, target), the network's output first. `reduction` is "mean", "sum" or "none"; `size_average` and
`reduce` are its older form and override it when they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.distance import PairwiseDistance
from nbdl.nn.module import Module
from nbdl.ops.loss.arguments import chosen_reduction
from nbdl.runtime.checks import check_choice, check_number


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


class PoissonNLLLoss(_Loss):
    r"""The negative log-likelihood of counts, $e^x - y x$, in nats. Shapes: input and target [*].

    Args:
        log_input: Whether the input is the logarithm of the rate; if not, the loss is $x - y \ln(x + \varepsilon)$.
        full: Add Stirling's approximation of $\ln y!$.
        size_average: Older form of `reduction`.
        eps: The $\varepsilon$ above.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return ops.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    r"""The negative log-likelihood of normal numbers, $\tfrac12 (\ln v + (x - y)^2 / v)$, in nats.

    Shapes: input and target [*], var [*] or one variance for each row.

    Args:
        full: Add the constant $\tfrac12 \ln 2\pi$.
        eps: Variances under this count as this.
        reduction: "mean", "sum" or "none".
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return ops.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    r"""$\ln(1 + e^{-y x})$ for targets of -1 and 1. Shapes: input and target [*].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.soft_margin_loss(input, target, reduction=self.reduction)


# ---------------------------------------------------------------- rankings and similarities


class _MarginLoss(_Loss):
    """A loss with a margin."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class MarginRankingLoss(_MarginLoss):
    r"""$\max(0, -y (x_1 - x_2) + m)$: the target 1 wants the first larger, -1 the second. Shapes: [*].

    Args:
        margin: By how much, m.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return ops.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_MarginLoss):
    r"""The distance itself for the target 1, $\max(0, m - x)$ for -1. Shapes: input and target [*].

    Args:
        margin: The distance m that different things should have.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    r"""$1 - \cos(x_1, x_2)$ for the target 1, $\max(0, \cos(x_1, x_2) - m)$ for -1. Shapes: inputs [N, D] or [D].

    Args:
        margin: The cosine m that different things may have.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return ops.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class TripletMarginLoss(_MarginLoss):
    r"""$\max(0, d(a, p) - d(a, n) + m)$ for an anchor, a positive and a negative. Shapes: [N, D] or [D].

    Args:
        margin: By how much nearer the positive should be, m.
        p: The exponent of the norm in d.
        eps: Added to every difference.
        swap: Use the distance of positive and negative where it is the smaller one.
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return ops.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    r"""`TripletMarginLoss` with any distance d. Shapes: [N, *] each.

    Args:
        distance_function: d, of two tensors; `PairwiseDistance()` when None.
        margin: By how much nearer the positive should be, m.
        swap: Use the distance of positive and negative where it is the smaller one.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = check_number("margin", margin, 0, open_low=True)
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return ops.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


# ---------------------------------------------------------------- margins between classes


class MultiMarginLoss(_WeightedLoss):
    r"""How far the right class falls short of standing above every other by a margin. Shapes: input [N, C], target [N].

    Args:
        p: The exponent, 1 or 2.
        margin: The margin.
        weight: A factor for the samples of each class, [C].
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.p = check_choice("p", p, (1, 2))
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """How far each right class falls short of standing above each wrong one by 1. Shapes: input and target [N, C].

    Args:
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross-entropy of scores, averaged over the classes; in nats. Shapes: input and target [N, C].

    Args:
        weight: A factor for each class, [C].
        size_average: Older form of `reduction`.
        reduce: Older form of `reduction`.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ops.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


# ---------------------------------------------------------------- sequences


class CTCLoss(Module):
    r"""The loss of label sequences whose places in time are not known. Shapes: log_probs [T, N, C] or [T, C], targets
    [N, S] or [sum of target_lengths], lengths [N].

    Args:
        blank: The class that means "no label".
        reduction: "mean", "sum" or "none".
        zero_infinity: Make losses of targets longer than their sequence can spell 0, and their gradients.

    Example:
        >>> log_probs = nbdl.ops.log_softmax(nbdl.zeros(5, 2, 3), -1)
        >>> nbdl.nn.CTCLoss()(log_probs, nbdl.tensor([[1, 2], [2, 2]]), (5, 5), (2, 2)).ndim
        0
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank = blank
        self.reduction = chosen_reduction(reduction, None, None)
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return ops.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
