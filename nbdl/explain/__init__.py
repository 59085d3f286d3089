"""What a network looks at: explanations of single predictions and of tables, and a check of the explanations.

Each method answers a question of its own; none of them says why. The page "The black box" shows where they mislead.
"""

from nbdl.explain.attention import attention_maps, attention_rollout
from nbdl.explain.grad_cam import grad_cam
from nbdl.explain.gradients import IntegratedGradients, integrated_gradients, saliency, smooth_grad
from nbdl.explain.occlusion import occlusion
from nbdl.explain.permutation import PermutationImportance, permutation_importance
from nbdl.explain.picture import colored, draw_attributions
from nbdl.explain.png import encode_png
from nbdl.explain.sanity import RandomizationCheck, randomization_check, rank_correlation

__all__ = [
    "IntegratedGradients",
    "PermutationImportance",
    "RandomizationCheck",
    "attention_maps",
    "attention_rollout",
    "colored",
    "draw_attributions",
    "encode_png",
    "grad_cam",
    "integrated_gradients",
    "occlusion",
    "permutation_importance",
    "randomization_check",
    "rank_correlation",
    "saliency",
    "smooth_grad",
]
