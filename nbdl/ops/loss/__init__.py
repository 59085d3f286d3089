"""Losses: how wrong a prediction is, in one number, with its gradient.

`pointwise` holds the loops of losses that compare element by element; classes have kernels of their own.
"""

from nbdl.ops.loss.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from nbdl.ops.loss.cross_entropy import cross_entropy
from nbdl.ops.loss.ctc import ctc_loss
from nbdl.ops.loss.divergence import gaussian_nll_loss, kl_div, poisson_nll_loss, soft_margin_loss
from nbdl.ops.loss.margins import (
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
)
from nbdl.ops.loss.nll import nll_loss
from nbdl.ops.loss.ranking import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from nbdl.ops.loss.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
