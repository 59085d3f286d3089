"""A copy of a model whose weights are an average of those that the model had while it was trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad
from nbdl.nn.module import Module
from nbdl.optim.averaging import AverageFunction, get_swa_multi_avg_fn
from nbdl.runtime.errors import ArgumentError


class AveragedModel(Module):
    r"""Keeps the average of a model's weights; call `update_parameters(model)` after each step of its optimizer.

    $\bar\theta \leftarrow \theta$ at the first update; after it $\bar\theta + (\theta - \bar\theta) / (n + 1)$, or what
    the function says. It is `torch.optim.swa_utils.AveragedModel`.

    Args:
        model: What to average; it is copied.
        device: Where the copy goes; where the model is when None.
        avg_fn: (average, value, n) -> the new average of one tensor.
        multi_avg_fn: (averages, values, n) -> None, in place for all tensors at once, as from
            `nbdl.optim.get_ema_multi_avg_fn(0.999)`.
        use_buffers: Average the buffers as well, such as the running statistics of batch normalization; they are copied
            otherwise.

    Attributes:
        module: The copy, with the averaged weights.
        n_averaged: How many times weights were averaged, a buffer.

    Raises:
        ArgumentError: Both functions are given.

    Example:
        >>> model = nbdl.nn.Linear(3, 1)
        >>> averaged = nbdl.nn.AveragedModel(model, multi_avg_fn=nbdl.optim.get_ema_multi_avg_fn(0.999))
        >>> averaged.update_parameters(model)
        >>> averaged(nbdl.ones(2, 3)).shape
        (2, 1)

    Source:
        Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization".
    """

    module: Module
    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        multi_avg_fn: AverageFunction | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("avg_fn: expected one of avg_fn and multi_avg_fn, got both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device=device)
        self.register_buffer("n_averaged", Tensor(np.array(0)))
        self.avg_fn, self.use_buffers = avg_fn, use_buffers
        self.multi_avg_fn = get_swa_multi_avg_fn() if multi_avg_fn is None else multi_avg_fn

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the weights of the model into the average."""
        with no_grad():
            own, theirs = _tensors(self.module, self.use_buffers), _tensors(model, self.use_buffers)
            if int(self.n_averaged.item()) == 0:
                _copy_all(own, theirs)
            else:
                self._average(own, theirs)
            if not self.use_buffers:
                _copy_all(list(self.module.buffers()), list(model.buffers()))
            self.n_averaged.copy_(self.n_averaged + 1)

    def _average(self, own: list[Tensor], theirs: list[Tensor]) -> None:
        if self.avg_fn is not None:
            for average, value in zip(own, theirs, strict=True):
                average.copy_(self.avg_fn(average, value, self.n_averaged))
            return
        pairs = list(zip(own, theirs, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.multi_avg_fn([average for average, _ in floats], [value for _, value in floats], self.n_averaged)
        for average, value in pairs:
            if not average.is_floating_point():  # a number of batches: averaged exactly, and cut to a whole number
                exact = average.to(np.float64)
                self.multi_avg_fn([exact], [value.to(np.float64)], self.n_averaged)
                average.copy_(exact)


def _tensors(module: Module, with_buffers: bool) -> list[Tensor]:
    parameters: list[Tensor] = [parameter.detach() for parameter in module.parameters()]
    return [*parameters, *module.buffers()] if with_buffers else parameters


def _copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source.detach())
