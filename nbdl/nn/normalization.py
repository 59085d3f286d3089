"""Normalization layers: scales, shifts and running moments, and calls into `nbdl.ops.normalization`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.runtime import looking
from nbdl.runtime.checks import check_int, check_number, check_rank
from nbdl.runtime.errors import ArgumentError, ShapeError

# ---------------------------------------------------------------- weight and bias


class _Affine(Module):
    """A layer that may scale and shift what it has normalized."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], affine: bool, bias: bool, device: Any, dtype: Any) -> None:
        self.register_parameter("weight", new_parameter(shape, device, dtype) if affine else None)
        self.register_parameter("bias", new_parameter(shape, device, dtype) if affine and bias else None)

    def reset_parameters(self) -> None:
        """Weights of 1 and biases of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Running(_Affine):
    """A layer with one scale and shift a channel, which may follow the moments of its inputs."""

    _ranks: tuple[int, ...]

    optional_state = frozenset({"num_batches_tracked"})  # state dicts from before PyTorch 0.4.1 have none

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_int("num_features", num_features, low=0)
        self.eps = check_number("eps", eps)
        self.momentum = None if momentum is None else check_number("momentum", momentum)
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_parameters((num_features,), affine, bias, device, dtype)
        for name in ("running_mean", "running_var"):
            moments = new_parameter((num_features,), device, dtype).detach() if track_running_stats else None
            self.register_buffer(name, moments)
        self.register_buffer("num_batches_tracked", ops.creation.tensor(0) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Running moments of 0 and 1, as if no batch had been seen."""
        if self.track_running_stats:
            for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
                if buffer is not None:
                    buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Weights of 1, biases of 0, running moments as if no batch had been seen."""
        self.reset_running_stats()
        super().reset_parameters()

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


# ---------------------------------------------------------------- over the batch


class _BatchNorm(_Running):
    def forward(self, input: Tensor) -> Tensor:
        check_rank("input", input, *self._ranks)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            batches = self.num_batches_tracked
            if looking.waits(batches._array):
                batches.add_(1)
            else:  # without a launch
                batches._array[...] += 1
                batches._version[0] += 1
            if self.momentum is None:
                factor = 1 / int(batches.item())
        follows = not self.training or self.track_running_stats
        return ops.batch_norm(
            input,
            self.running_mean if follows else None,
            self.running_var if follows else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            factor,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    r"""Brings each feature to mean 0 and variance 1 over the batch, then scales and shifts it.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$. In training the moments are the
    batch's, and the running moments follow them; in evaluation they are the running ones. Shape: [N, C] or [N, C, L]
    to the same.

    Args:
        num_features: Number of features or channels C.
        eps: Added to the variance.
        momentum: How far the running moments move towards the batch's, $\bar\mu \leftarrow (1 - \alpha) \bar\mu +
            \alpha \mu$; None for the average over all batches.
        affine: Whether there are a weight and a bias.
        track_running_stats: Whether there are running moments; without them the batch's serve in evaluation too.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.
        bias: Whether there is a bias beside the weight.

    Attributes:
        weight: [C], or None.
        bias: [C], or None.
        running_mean: [C], or None.
        running_var: [C], or None.
        num_batches_tracked: [], how many batches the running moments have followed, or None.

    Raises:
        ShapeError: The input has another rank or number of channels, or in training one value a channel only.

    Example:
        >>> nbdl.nn.BatchNorm1d(2)(nbdl.tensor([[1.0, 10.0], [3.0, 30.0]])).detach()
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  1.0000]])
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    r"""Brings each channel of images to mean 0 and variance 1 over the batch, then scales and shifts it.

    As `BatchNorm1d`, of whose arguments, attributes and errors it has all. Shape: [N, C, H, W] to the same.

    Example:
        >>> layer = nbdl.nn.BatchNorm2d(3)
        >>> layer(nbdl.randn(8, 3, 5, 5)).shape
        (8, 3, 5, 5)
        >>> layer.num_batches_tracked
        tensor(1)
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    r"""Brings each channel of volumes to mean 0 and variance 1 over the batch, then scales and shifts it.

    As `BatchNorm1d`, of whose arguments, attributes and errors it has all. Shape: [N, C, D, H, W] to the same.

    Example:
        >>> nbdl.nn.BatchNorm3d(3)(nbdl.randn(2, 3, 4, 5, 5)).shape
        (2, 3, 4, 5, 5)
    """

    _ranks = (5,)


# ---------------------------------------------------------------- over the places of a sample


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        check_rank("input", input, *self._ranks)
        unbatched = input.ndim == self._ranks[0]
        channels = input.shape[0 if unbatched else 1]
        if channels != self.num_features:
            if self.affine:
                raise ShapeError(f"input: expected {self.num_features} channels, got shape {list(input.shape)}")
            warnings.warn(
                f"input: {channels} channels for num_features={self.num_features}, which affine=False leaves unused",
                stacklevel=2,
            )
        y = ops.instance_norm(
            ops.unsqueeze(input, 0) if unbatched else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return ops.squeeze(y, 0) if unbatched else y


class InstanceNorm1d(_InstanceNorm):
    r"""Brings each channel of each sample to mean 0 and variance 1, then may scale and shift it.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over the places
    of one channel of one sample. Shape: [N, C, L] or [C, L] to the same.

    Args:
        num_features: Number of channels C.
        eps: Added to the variance.
        momentum: How far the running moments move towards the means of the instances'.
        affine: Whether there are a weight and a bias.
        track_running_stats: Whether there are running moments, which take the place of the input's in evaluation.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.
        bias: Whether there is a bias beside the weight.

    Attributes:
        weight: [C], or None.
        bias: [C], or None.
        running_mean: [C], or None.
        running_var: [C], or None.
        num_batches_tracked: [], always 0 as in PyTorch, or None.

    Raises:
        ShapeError: The input has another rank or number of channels, or one place only.

    Example:
        >>> nbdl.nn.InstanceNorm1d(2)(nbdl.tensor([[1.0, 3.0], [10.0, 30.0]]))
        tensor([[-1.0000,  1.0000],
                [-1.0000,  1.0000]])
    """

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    r"""Brings each channel of each image to mean 0 and variance 1, then may scale and shift it.

    As `InstanceNorm1d`, of whose arguments, attributes and errors it has all. Shape: [N, C, H, W] or [C, H, W] to the
    same.

    Example:
        >>> nbdl.nn.InstanceNorm2d(3)(nbdl.randn(8, 3, 5, 5)).shape
        (8, 3, 5, 5)
    """

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    r"""Brings each channel of each volume to mean 0 and variance 1, then may scale and shift it.

    As `InstanceNorm1d`, of whose arguments, attributes and errors it has all. Shape: [N, C, D, H, W] or [C, D, H, W] to
    the same.

    Example:
        >>> nbdl.nn.InstanceNorm3d(3)(nbdl.randn(2, 3, 4, 5, 5)).shape
        (2, 3, 4, 5, 5)
    """

    _ranks = (4, 5)


class GroupNorm(_Affine):
    r"""Brings groups of channels of each sample to mean 0 and variance 1, then scales and shifts each channel.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over the
    channels of a group and all places. Shape: [N, C, *] to the same.

    Args:
        num_groups: Number of groups; it divides num_channels.
        num_channels: Number of channels C.
        eps: Added to the variance.
        affine: Whether there are a weight and a bias.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.
        bias: Whether there is a bias beside the weight.

    Attributes:
        weight: [C], or None.
        bias: [C], or None.

    Raises:
        ArgumentError: num_groups does not divide num_channels.

    Example:
        >>> nbdl.nn.GroupNorm(2, 4)(nbdl.tensor([[1.0, 3.0, 10.0, 30.0]])).detach()
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = check_int("num_groups", num_groups, low=1)
        self.num_channels = check_int("num_channels", num_channels, low=0)
        if num_channels % num_groups:
            raise ArgumentError(f"num_channels: expected a multiple of num_groups={num_groups}, got {num_channels}")
        self.eps = check_number("eps", eps)
        self.affine = affine
        self._make_parameters((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


# ---------------------------------------------------------------- over features


def _sizes(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The dimensions that form one row."""
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    return tuple(check_int("normalized_shape", size, low=0) for size in sizes)


class LayerNorm(_Affine):
    r"""Brings the last dimensions, as one row, to mean 0 and variance 1, then scales and shifts them.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over each row.
    Shape: [*, *normalized_shape] to the same.

    Args:
        normalized_shape: Sizes of the last dimensions; a number for one.
        eps: Added to the variance.
        elementwise_affine: Whether there are a weight and a bias.
        bias: Whether there is a bias beside the weight.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [*normalized_shape], or None.
        bias: [*normalized_shape], or None.

    Example:
        >>> nbdl.nn.LayerNorm(3)(nbdl.tensor([[1.0, 2.0, 3.0]])).detach()
        tensor([[-1.2247,  0.0000,  1.2247]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = check_number("eps", eps)
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    r"""Divides the last dimensions, as one row, by the root of the mean of their squares, then scales them.

    $y = \frac{x}{\sqrt{\mathrm{E}[x^2] + \varepsilon}} \cdot w$, the mean taken over each row. Shape:
    [*, *normalized_shape] to the same.

    Args:
        normalized_shape: Sizes of the last dimensions; a number for one.
        eps: Added to the mean of the squares; the dtype's machine epsilon when None.
        elementwise_affine: Whether there is a weight.
        device: Where the parameter lives.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [*normalized_shape], or None.

    Example:
        >>> nbdl.nn.RMSNorm(2)(nbdl.tensor([[1.0, 7.0]])).detach()
        tensor([[0.2000, 1.4000]])
    """

    bias = None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = None if eps is None else check_number("eps", eps)
        self.elementwise_affine = elementwise_affine
        self.register_parameter(
            "weight", new_parameter(self.normalized_shape, device, dtype) if elementwise_affine else None
        )
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return ops.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


# ---------------------------------------------------------------- among neighbours


class LocalResponseNorm(Module):
    r"""Divides each element by a power of the squares of its neighbours in other channels.

    $y_c = x_c \Big( k + \tfrac{\alpha}{\text{size}} \sum_j x_j^2 \Big)^{-\beta}$, the sum over `size` channels around
    c. Shape: [N, C, *] to the same.

    Args:
        size: Number of channels in a window.
        alpha: Weight of the mean of the squares.
        beta: The exponent.
        k: Added to the mean of the squares.

    Example:
        >>> nbdl.nn.LocalResponseNorm(2)(nbdl.randn(32, 5, 24, 24)).shape
        (32, 5, 24, 24)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return ops.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
