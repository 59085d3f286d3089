r"""Explanations by gradients: how the score of a class answers to small changes of the input.

Let $S$ be the score. A first-order expansion, $S(x + \delta) \approx S(x) + \nabla S(x) \cdot \delta$, gives
the **saliency map** $|\partial S / \partial x_i|$. It looks at one point, and where the score is certain already it is
flat.

**SmoothGrad** averages the map over inputs with a little noise, because the gradient of a network with ReLUs jumps from
one linear piece to the next.

**Integrated gradients** follow the straight line from a baseline $x'$, which stands for "nothing there", to $x$:

$$a_i = (x_i - x'_i) \int_0^1 \frac{\partial S}{\partial x_i}\big(x' + \alpha (x - x')\big)\, d\alpha, \qquad
  \sum_i a_i = S(x) - S(x')$$

The right side is the fundamental theorem of calculus along the line: nothing is lost, nothing is invented. The integral
is a sum of midpoints, and what is missing to the right side tells how good that sum is.

Sources: Simonyan, Vedaldi and Zisserman (2013), "Deep Inside Convolutional Networks"; Smilkov et al. (2017),
"SmoothGrad: removing noise by adding noise"; Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep
Networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.explain.target import Model, Target, TargetLike, check_input, evaluating, gradient, scores_of
from nbdl.ops.creation import full_like, randn
from nbdl.runtime.checks import check_int, check_number, check_same_dtype
from nbdl.runtime.errors import ShapeError

REFINEMENT = 3
"""A third of a step has its midpoint where the step had it: of three times as many points, a third is known."""


def saliency(model: Model, input: Tensor, target: TargetLike = None, absolute: bool = True) -> Tensor:
    r"""How much the score changes with each number of the input: $|\partial S / \partial x_i|$.

    Args:
        model: A module, which is explained in evaluation mode, or a function of a batch.
        input: [N, ...], float32 or float64.
        target: The class, one for all examples or [N]; None for the one that the model chooses; or a function of the
            output that gives one score an example.
        absolute: Return magnitudes, not signed gradients.

    Returns:
        [N, ...], the shape of the input.

    Raises:
        ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError: An argument or the model's output
            does not fit.
        GradientError: The output has no gradient for the input.

    Example:
        >>> model = lambda x: nbdl.stack([3 * x[:, 0] - x[:, 1], x[:, 2]], 1)
        >>> nbdl.explain.saliency(model, nbdl.ones(1, 3), target=0)
        tensor([[3., 1., 0.]])

    Source: Simonyan, Vedaldi and Zisserman (2013).
    """
    input = check_input(input)
    with evaluating(model):
        result = gradient(model, input, Target(model, input, target))
    return result.abs() if absolute else result


def smooth_grad(
    model: Model,
    input: Tensor,
    target: TargetLike = None,
    samples: int = 32,
    noise: float = 0.15,
    absolute: bool = True,
    batch_size: int = 256,
) -> Tensor:
    r"""The mean of the saliency maps of noisy copies: $\frac1n \sum_k |\nabla S(x + \epsilon_k)|$.

    Args:
        model: A module or a function of a batch.
        input: [N, ...], float32 or float64.
        target: As in `saliency`; the class is chosen without noise.
        samples: n, copies of each example.
        noise: Standard deviation of the noise, as a share of the example's span from smallest to largest number.
        absolute: Average magnitudes, not signed gradients.
        batch_size: Rows that go through the model at once.

    Returns:
        [N, ...], the shape of the input. The noise comes from the stream that `nbdl.manual_seed` starts.

    Raises:
        ArgumentError: samples, noise or batch_size is out of range; otherwise as `saliency`.

    Example:
        >>> nbdl.explain.smooth_grad(lambda x: (2 * x).sum(1), nbdl.ones(1, 3))
        tensor([[2., 2., 2.]])

    Source: Smilkov et al. (2017).
    """
    input = check_input(input)
    check_int("samples", samples, low=1)
    check_number("noise", noise, low=0)
    check_int("batch_size", batch_size, low=1)
    rows = input.reshape(len(input), -1)
    total: Tensor | None = None
    with no_grad(), evaluating(model):
        settled = Target(model, input, target)
        spread = (rows.amax(1) - rows.amin(1)) * noise
        spread = spread.reshape(-1, *[1] * (input.ndim - 1))
        for count in _portions(samples, len(input), batch_size):
            noise_of = [randn(*input.shape, dtype=input.dtype) for _ in range(count)]  # the same for every batch_size
            noisy = input + spread * ops.stack(noise_of)
            slopes = gradient(model, noisy.reshape(-1, *input.shape[1:]), settled)
            if absolute:
                slopes = slopes.abs()
            part = slopes.reshape(count, *input.shape).sum(0)
            total = part if total is None else total + part
    assert total is not None
    return total / samples


@dataclass(frozen=True)
class IntegratedGradients:
    """What `integrated_gradients` found.

    Attributes:
        attributions: [N, ...], the share of each number of the input in the difference.
        difference: [N], score of the input minus score of the baseline.
        delta: [N], sum of the attributions minus the difference: what the integral missed.
        steps: Points at which the gradient was taken.
    """

    attributions: Tensor
    difference: Tensor
    delta: Tensor
    steps: int


def integrated_gradients(
    model: Model,
    input: Tensor,
    target: TargetLike = None,
    baseline: Tensor | float = 0.0,
    steps: int = 20,
    tolerance: float | None = 0.01,
    max_steps: int = 2000,
    batch_size: int = 256,
) -> IntegratedGradients:
    r"""Shares the difference between the scores of the input and of a baseline among the numbers of the input.

    $$a_i = (x_i - x'_i)\, \frac1n \sum_{k=0}^{n-1} \frac{\partial S}{\partial x_i}
      \Big(x' + \tfrac{k + 1/2}{n} (x - x')\Big)$$

    The number of points is tripled, a third of the work being done already, until the attributions of every example add
    up to the difference of its scores within the tolerance.

    Args:
        model: A module or a function of a batch.
        input: x, [N, ...], float32 or float64.
        target: As in `saliency`.
        baseline: x', a number or a tensor that fits the input's shape: what stands for "nothing there".
        steps: n, the first number of points.
        tolerance: Largest relative error; None takes `steps` points, whatever comes of it. A difference under a
            thousandth of the scores counts as that.
        max_steps: No more points than these, even if the tolerance is not met: see `delta`.
        batch_size: Rows that go through the model at once.

    Returns:
        `IntegratedGradients`: attributions, the difference that they explain, and by how much they miss it.

    Raises:
        ArgumentError: A number is out of range.
        ShapeError: The baseline does not fit the input; otherwise as `saliency`.

    Example:
        >>> found = nbdl.explain.integrated_gradients(lambda x: x[:, 0] * x[:, 1], nbdl.tensor([[2.0, 3.0]]))
        >>> found.attributions, found.difference
        (tensor([[3., 3.]]), tensor([6.]))

    Source: Sundararajan, Taly and Yan (2017), equation 1 and proposition 1.
    """
    input = check_input(input)
    check_int("steps", steps, low=1)
    check_int("max_steps", max_steps, low=steps)
    check_int("batch_size", batch_size, low=1)
    if tolerance is not None:
        check_number("tolerance", tolerance, low=0)
    with no_grad(), evaluating(model):
        start = _baseline(baseline, input)
        settled = Target(model, input, target)
        at_input = scores_of(model, input, settled, batch_size)
        at_start = scores_of(model, start, settled, batch_size)
        difference, path = at_input - at_start, input - start
        floor = ops.maximum(at_input.abs(), at_start.abs()) * 1e-3
        allowed = ops.maximum(difference.abs(), floor) * (0.0 if tolerance is None else tolerance)
        places = (np.arange(steps) + 0.5) / steps
        slopes = _slopes(model, start, path, places, settled, batch_size)
        while True:
            attributions = path * (slopes / steps)
            delta = attributions.reshape(len(input), -1).sum(1) - difference
            if tolerance is None or steps * REFINEMENT > max_steps or bool((delta.abs() <= allowed).all()):
                return IntegratedGradients(attributions, difference, delta, steps)
            steps *= REFINEMENT
            places = (np.arange(steps) + 0.5) / steps
            new = places[np.arange(steps) % REFINEMENT != REFINEMENT // 2]
            slopes = slopes + _slopes(model, start, path, new, settled, batch_size)


def _baseline(baseline: Tensor | float, input: Tensor) -> Tensor:
    """The baseline as a tensor of the input's shape."""
    if not isinstance(baseline, Tensor):
        return full_like(input, check_number("baseline", baseline))
    check_same_dtype("baseline", baseline, "input", input)
    try:
        return baseline.detach().expand(input.shape).contiguous()
    except ShapeError:
        raise ShapeError(
            f"baseline: expected a shape that fits {list(input.shape)}, the input's, got {list(baseline.shape)}"
        ) from None


def _slopes(model: Model, start: Tensor, path: Tensor, places: np.ndarray, target: Target, batch_size: int) -> Tensor:
    """The sum of the gradients at places from 0 to 1 on the way from start to start + path."""
    total: Tensor | None = None
    first = 0
    for count in _portions(len(places), len(start), batch_size):
        alphas = wrap(places[first : first + count].astype(path.dtype).reshape(count, *[1] * path.ndim))
        points = (start + alphas * path).reshape(-1, *path.shape[1:])
        part = gradient(model, points, target).reshape(count, *path.shape).sum(0)
        total = part if total is None else total + part
        first += count
    assert total is not None
    return total


def _portions(copies: int, examples: int, batch_size: int) -> list[int]:
    """How many copies of a batch go through the model at a time."""
    most = max(batch_size // max(examples, 1), 1)
    return [min(most, copies - first) for first in range(0, copies, most)]
