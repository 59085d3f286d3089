r"""Grad-CAM: where a convolutional network looks, at the resolution of one of its layers.

Let $A_k$ be the maps of a layer, one a channel. The gradient of the score, averaged over the places, says how much
each channel speaks for the class; the map is the sum of the channels with these weights, where it is positive:

$$\alpha_k = \frac{1}{|P|} \sum_{p \in P} \frac{\partial S}{\partial A_{k p}}, \qquad
  L_p = \operatorname{ReLU}\Big(\sum_k \alpha_k A_{k p}\Big)$$

Source: Selvaraju et al. (2017), "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
equations 1 and 2.
"""

from __future__ import annotations

from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor, enable_grad, grad, no_grad
from nbdl.explain.target import Target, TargetLike, check_input, evaluating, output_of
from nbdl.nn import Module
from nbdl.ops.creation import ones_like
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError


def grad_cam(
    model: Module,
    input: Tensor,
    layer: Module | str,
    target: TargetLike = None,
    relu: bool = True,
    upsample: bool = True,
) -> Tensor:
    """The places that speak for a class, seen from a layer: its channels, weighted by their mean gradients.

    Args:
        model: A module that contains the layer.
        input: [N, C, H, W] or [N, C, L], float32 or float64.
        layer: The layer, or its dotted name; its output has the input's rank. Usually the last convolution.
        target: As in `saliency`.
        relu: Keep only what speaks for the class.
        upsample: Enlarge the map to the input's H and W (or L), linearly.

    Returns:
        [N, H, W] or [N, L]; without `upsample`, of the size of the layer's output.

    Raises:
        ArgumentError: The model has no such layer, or did not use it.
        ShapeError: The layer's output is no map; otherwise as `saliency`.
        GradientError: The score does not depend on the layer.

    Example:
        >>> nn = nbdl.nn
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> nbdl.explain.grad_cam(model, nbdl.randn(5, 1, 4, 4), layer="1").shape
        (5, 4, 4)
    """
    input = check_input(input)
    watched = _find(model, layer)
    seen: list[Tensor] = []

    def keep(module: Module, arguments: Any, output: Any) -> Tensor:
        """Puts a leaf in the place of the layer's output: the way back ends here."""
        if not isinstance(output, Tensor) or output.ndim != input.ndim or input.ndim < 3:
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ShapeError(f"layer: expected an output of the input's {input.ndim} dimensions, 3 or 4, got {got}")
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    with no_grad(), evaluating(model):
        settled = Target(model, input, target)
        with watched.register_forward_hook(keep), enable_grad():
            scores = settled.scores(output_of(model, input), len(input))
        if not seen:
            raise ArgumentError("layer: the model did not use it")
        maps = seen[-1]
        if not scores.requires_grad:
            raise GradientError("layer: the score does not depend on its output")
        (slopes,) = grad(scores, maps, ones_like(scores.detach()))
        assert slopes is not None
        places = tuple(range(2, maps.ndim))
        result = (maps.detach() * slopes.mean(places, keepdim=True)).sum(1)
        if relu:
            result = ops.relu(result)
        if upsample and result.shape[1:] != input.shape[2:]:
            mode = "linear" if input.ndim == 3 else "bilinear"
            enlarged = ops.interpolate(result.unsqueeze(1), input.shape[2:], mode=mode, align_corners=False)
            result = enlarged.squeeze(1)
    return result


def _find(model: Any, layer: Module | str) -> Module:
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"model: expected a Module, got {type(model).__name__}")
    if isinstance(layer, str):
        try:
            return model.get_submodule(layer)
        except AttributeError:
            names = ", ".join(repr(name) for name, _ in model.named_modules() if name)
            raise ArgumentError(f"layer: expected one of {names}, got {layer!r}") from None
    if not isinstance(layer, Module):
        raise ArgumentTypeError(f"layer: expected a Module or its name, got {type(layer).__name__}")
    if all(module is not layer for module in model.modules()):
        raise ArgumentError(f"layer: expected a module of the model, got {layer}")
    return layer
