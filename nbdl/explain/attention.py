r"""Attention: what each layer of a Transformer takes from where, and the rollout through all of them.

Attention is a mean of values: $y_i = \sum_j a_{ij} v_j$. Asked with the unit vectors as values, a layer answers with
its weights $a_{ij}$ themselves, whatever mask, scale and kernel it uses.

A layer's weights say what its positions took from the positions below, which already are mixtures. With the residual
connection, half of a position is what it was before: $\hat A^{(l)} = \tfrac12 A^{(l)} + \tfrac12 I$, the rows scaled to
sum 1. The mixtures of layers multiply:

$$R = \hat A^{(L)} \cdots \hat A^{(2)} \hat A^{(1)}$$

Row i of R is a distribution over the inputs. It knows nothing of what the values hold and of the layers between.

Source: Abnar and Zuidema (2020), "Quantifying Attention Flow in Transformers", section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.explain.target import evaluating
from nbdl.ops.attention.scaled_dot_product import ScaledDotProductAttentionOp
from nbdl.ops.creation import eye
from nbdl.profiling.seams import watching
from nbdl.runtime.checks import FLOATS, check_choice
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError

HEADS = ("mean", "max", "min")


def attention_maps(model: Callable[..., Any], *inputs: Any, **keywords: Any) -> list[Tensor]:
    """The weights of every attention that a model computes, in the order in which it does.

    Args:
        model: A module, run in evaluation mode, or a function; its attention is `scaled_dot_product_attention`, which
            `nn.MultiheadAttention` uses when it need not return weights.
        inputs: What it is called with.
        keywords: What it is called with by name.

    Returns:
        For each call [*, T, S]: how much of each key's value each query took. Rows add up to 1; rows without any key
        are 0.

    Raises:
        ArgumentError: The model computed no attention.

    Example:
        >>> query = nbdl.randn(2, 4, 5, 8)
        >>> (weights,) = nbdl.explain.attention_maps(nbdl.ops.scaled_dot_product_attention, query, query, query)
        >>> weights.shape, bool((weights.sum(-1) - 1).abs().max() < 1e-5)
        ((2, 4, 5, 5), True)
    """
    found: list[Tensor] = []

    def ask(apply: Callable[..., Any]) -> Callable[..., Any]:
        def answered(op: Any, *arguments: Any) -> Any:
            if op is ScaledDotProductAttentionOp:
                query, key, _, mask, _, *options = arguments
                units = eye(key.shape[-2], dtype=key.dtype).expand(*key.shape[:-1], key.shape[-2])
                found.append(apply(op, query, key, units, mask, 0.0, *options))
            return apply(op, *arguments)

        return answered

    with no_grad(), evaluating(model), watching(operation=ask):
        model(*inputs, **keywords)
    if not found:
        raise ArgumentError("model: expected one that calls scaled_dot_product_attention; it computed no attention")
    return found


def attention_rollout(weights: Sequence[Tensor | np.ndarray], heads: str = "mean", residual: bool = True) -> Tensor:
    r"""Multiplies the attention of all layers: $R = \hat A^{(L)} \cdots \hat A^{(1)}$.

    Args:
        weights: For each layer, the first first, its attention weights: [N, heads, T, T], or [N, T, T] or [T, T] when
            the heads are averaged already. float32 or float64.
        heads: How the heads of a layer become one: 'mean', 'max' or 'min'.
        residual: Count half of each position as passed by the layer.

    Returns:
        [N, T, T] (or [T, T]): row i says how much position i of the last layer draws on each input; rows add up to 1.

    Raises:
        ArgumentError: No layers, or an unknown value of `heads`.
        DTypeError: Weights that are not float32 or float64.
        ShapeError: Weights that are not square, or layers of different shapes.

    Example:
        >>> first, second = nbdl.tensor([[1.0, 0.0], [1.0, 0.0]]), nbdl.tensor([[0.0, 1.0], [0.0, 1.0]])
        >>> nbdl.explain.attention_rollout([first, second])
        tensor([[0.7500, 0.2500],
                [0.5000, 0.5000]])

    Source: Abnar and Zuidema (2020), equation 1.
    """
    check_choice("heads", heads, HEADS)
    if len(weights) == 0:
        raise ArgumentError("weights: expected those of at least one layer")
    layers = [_merged(f"weights[{place}]", layer, heads) for place, layer in enumerate(weights)]
    result: Tensor | None = None
    with no_grad():
        for place, layer in enumerate(layers):
            if layer.shape != layers[0].shape or layer.dtype != layers[0].dtype:
                raise ShapeError(
                    f"weights[{place}]: expected {list(layers[0].shape)} of {layers[0].dtype}, as in the first layer, "
                    f"got {list(layer.shape)} of {layer.dtype}"
                )
            if residual:
                layer = layer + eye(layer.shape[-1], dtype=layer.dtype)
            layer = layer / layer.sum(-1, keepdim=True)
            result = layer if result is None else layer @ result
    assert result is not None
    return result


def _merged(name: str, layer: Any, heads: str) -> Tensor:
    """One layer's weights with one head, if they are square."""
    if not isinstance(layer, Tensor):
        layer = wrap(np.ascontiguousarray(layer))
    layer = layer.detach()
    if layer.dtype not in FLOATS:
        raise DTypeError(f"{name}: expected float32 or float64, got {layer.dtype}")
    if layer.ndim not in (2, 3, 4) or layer.shape[-1] != layer.shape[-2]:
        raise ShapeError(f"{name}: expected [N, heads, T, T], [N, T, T] or [T, T], got {list(layer.shape)}")
    if layer.ndim < 4:
        return layer
    with no_grad():
        return {"mean": layer.mean, "max": layer.amax, "min": layer.amin}[heads](1)
