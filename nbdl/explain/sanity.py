"""A check of explanations themselves: do they depend on what the model has learned?

Layer by layer, from the output down, the weights are drawn anew. What an explanation then shows cannot be knowledge of
the model. A map that stays as it was shows the input, its edges for instance, and would look as convincing for a
network that knows nothing.

Source: Adebayo et al. (2018), "Sanity Checks for Saliency Maps", section 3.1, cascading randomization.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.explain.target import Target, TargetLike, check_input, evaluating
from nbdl.nn import Module, init
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.runtime.philox import default_generator


@dataclass(frozen=True)
class RandomizationCheck:
    """What `randomization_check` found.

    Attributes:
        layers: Names of the layers, from the output down; each was drawn anew besides those before it.
        similarity: [layers], rank correlation of the map then with the map of the trained model, the mean over the
            examples: 1 for the same order of all places, about 0 for none in common.
        deviation: [layers], its standard deviation over the examples.
        threshold: What counts as not similar.
    """

    layers: list[str]
    similarity: np.ndarray
    deviation: np.ndarray
    threshold: float

    @property
    def passes(self) -> bool:
        """Whether nothing but noise is left of the map when all layers are random."""
        return bool(abs(self.similarity[-1]) < self.threshold)


def randomization_check(
    method: Callable[[Any, Tensor, Any], Any],
    model: Module,
    input: Tensor,
    target: TargetLike = None,
    absolute: bool = True,
    threshold: float = 0.5,
    seed: int = 0,
) -> RandomizationCheck:
    """Compares an explanation with that of a model whose layers lose their weights one after the other.

    The weights of a copy of the model are drawn anew, the last layer's first: by the module's `reset_parameters`, or
    from a normal distribution of the same standard deviation.

    Args:
        method: `method(model, input, target)`, returns a tensor [N, ...], or an object with `attributions`.
        model: The trained model; it stays as it is.
        input: [N, ...], float32 or float64.
        target: As in `saliency`. The classes are settled with the trained weights.
        absolute: Compare magnitudes, as most pictures show; without it, signed numbers. Where a method multiplies by
            the input, the magnitudes follow the input, whatever the weights are.
        threshold: A rank correlation under which two maps count as different.
        seed: Of the random weights. The stream of `nbdl.manual_seed` goes on as if nothing had happened.

    Returns:
        `RandomizationCheck`: for each layer the similarity that is left, and whether the method passes.

    Raises:
        ArgumentError: The model has no parameters, or a number is out of range; otherwise as `saliency`.

    Example:
        >>> model = nbdl.nn.Sequential(nbdl.nn.Linear(64, 16), nbdl.nn.ReLU(), nbdl.nn.Linear(16, 2))
        >>> found = nbdl.explain.randomization_check(nbdl.explain.saliency, model, nbdl.randn(8, 64))
        >>> found.layers, found.passes
        (['2', '0'], True)
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"model: expected a Module, got {type(model).__name__}")
    input = check_input(input)
    check_number("threshold", threshold, 0, 1)
    check_int("seed", seed, low=0)
    with evaluating(model):
        settled = Target(model, input, target)
        fixed = target if settled.ids is None else wrap(settled.ids)
        original = _maps(method, model, input, fixed, absolute)
    random = copy.deepcopy(model)
    layers = _layers(random, input)
    similarity, deviation = np.empty(len(layers)), np.empty(len(layers))
    state = default_generator.get_state()
    default_generator.manual_seed(seed)
    try:
        for place, name in enumerate(layers):
            _draw_anew(random.get_submodule(name))
            ranks = rank_correlation(original, _maps(method, random, input, fixed, absolute))
            similarity[place], deviation[place] = ranks.mean(), ranks.std()
    finally:
        default_generator.set_state(state)
    return RandomizationCheck(layers, similarity, deviation, threshold)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of two batches of maps, row by row: that of the ranks of their entries.

    Args:
        first: [N, ...].
        second: [N, ...], of the same shape.

    Returns:
        [N], from -1 to 1; 0 where a map is constant.

    Example:
        >>> nbdl.explain.rank_correlation(np.array([[1, 2, 3]]), np.array([[10, 20, 15]]))
        array([0.5])
    """
    if first.shape != second.shape:
        raise ShapeError(f"second: expected shape {list(first.shape)}, as first, got {list(second.shape)}")
    result = np.zeros(len(first))
    for row, (a, b) in enumerate(zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)):
        a, b = _ranks(a), _ranks(b)
        length = np.sqrt((a @ a) * (b @ b))
        result[row] = a @ b / length if length else 0.0
    return result


def _ranks(values: np.ndarray) -> np.ndarray:
    """The ranks of the values less their mean; equal values share theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group] - (len(values) + 1) / 2


def _maps(method: Callable[..., Any], model: Module, input: Tensor, target: Any, absolute: bool) -> np.ndarray:
    """The explanation [N, ...]."""
    found = method(model, input, target)
    found = getattr(found, "attributions", found)
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(input):
        got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError(f"method: expected a map for each of {len(input)} examples, got {got}")
    maps = found.detach().numpy()
    return np.abs(maps) if absolute else maps


def _layers(model: Module, input: Tensor) -> list[str]:
    """Names of the modules with parameters of their own, the last one that ran first."""
    names = {module: name for name, module in model.named_modules() if module._parameters}
    ran: dict[str, None] = {}

    def note(module: Module, arguments: Any) -> None:
        ran.pop(names[module], None)
        ran[names[module]] = None

    handles = [module.register_forward_pre_hook(note) for module in names]
    with no_grad(), evaluating(model):
        model(input)
    for handle in handles:
        handle.remove()
    if not ran:
        raise ArgumentError("model: expected one with parameters that it uses")
    return list(reversed(ran))


def _draw_anew(layer: Module) -> None:
    """New random weights for one module."""
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
        return
    for parameter in layer._parameters.values():
        if parameter is not None:
            init.normal_(parameter, std=float(np.std(parameter.detach().numpy())))
