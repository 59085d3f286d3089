"""An operation of one's own: the generalized mean of each row, its exponent learned."""

# --8<-- [start:reference]
import numpy as np


def generalized_mean_reference(x, p):
    """Rows x [N, D] of positive numbers, exponents p [1]: means [N]."""
    return (x ** p[0]).mean(axis=1) ** (1 / p[0])


# --8<-- [end:reference]

# --8<-- [start:kernels]
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp, log


@scalar
def power_sums(x, n, p):
    """The means of x^p and of x^p log x over row n."""
    total, logs, count = x.dtype.type(0), x.dtype.type(0), x.dtype.type(x.shape[1])
    for d in range(x.shape[1]):
        power = exp(p[0] * log(x[n, d]))
        total += power
        logs += power * log(x[n, d])
    return total / count, logs / count


@cpu_kernel
def _forward_cpu(x, p, y, start, stop):
    """x [N, D], p [1] -> y [N]. One task a row."""
    for n in range(start, stop):
        mean, _ = power_sums(x, n, p)
        y[n] = exp(log(mean) / p[0])


@cuda_kernel
def _forward_cuda(x, p, y):
    """As the CPU twin. One thread a row."""
    n = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if n < x.shape[0]:
        mean, _ = power_sums(x, n, p)
        y[n] = exp(log(mean) / p[0])


@cpu_kernel
def _backward_cpu(dy, x, p, y, dx, dp, start, stop):
    """dy, y [N], x, dx [N, D], p [1]; dp [N], a row's share each. One task a row."""
    for n in range(start, stop):
        mean, logs = power_sums(x, n, p)
        for d in range(x.shape[1]):
            power = exp(p[0] * log(x[n, d])) / x[n, d]
            dx[n, d] = dy[n] * y[n] * power / (mean * x.dtype.type(x.shape[1]))
        dp[n] = dy[n] * y[n] * (logs / (p[0] * mean) - log(mean) / (p[0] * p[0]))


@cuda_kernel
def _backward_cuda(dy, x, p, y, dx, dp):
    """As the CPU twin. One thread a row."""
    n = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if n < x.shape[0]:
        mean, logs = power_sums(x, n, p)
        for d in range(x.shape[1]):
            power = exp(p[0] * log(x[n, d])) / x[n, d]
            dx[n, d] = dy[n] * y[n] * power / (mean * x.dtype.type(x.shape[1]))
        dp[n] = dy[n] * y[n] * (logs / (p[0] * mean) - log(mean) / (p[0] * p[0]))


forward = Kernel(
    cpu=_forward_cpu,
    cuda=_forward_cuda,
    tasks=lambda x, p, y: x.shape[0],
    blocks=lambda x, p, y: -(-x.shape[0] // 128),
)
backward = Kernel(
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    tasks=lambda dy, x, p, y, dx, dp: x.shape[0],
    blocks=lambda dy, x, p, y, dx, dp: -(-x.shape[0] // 128),
)
# --8<-- [end:kernels]

# --8<-- [start:op]
from typing import Annotated

from nbdl import Tensor
from nbdl.autograd import Op
from nbdl.runtime.errors import ShapeError


class GeneralizedMeanOp(Op):
    @staticmethod
    def forward(ctx, x, p):
        y = ctx.empty(x.shape[0], dtype=x.dtype)
        forward(x, p, y)
        ctx.save(x, p, y)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, p, y = ctx.saved
        dx, dp = ctx.empty_like(x), ctx.empty(x.shape[0], dtype=x.dtype)
        backward(dy, x, p, y, dx, dp)
        return dx, dp.sum(keepdims=True)


def generalized_mean(
    x: Annotated[Tensor, "N D in 0.2..3"], p: Annotated[Tensor, "1 in 0.5..4"]
) -> Tensor:
    """Between the mean (p = 1) and the maximum (p -> infinity) of each row [N]."""
    if x.ndim != 2 or x.shape[1] == 0:
        raise ShapeError(f"x: expected [N, D] with D at least 1, got {list(x.shape)}")
    return GeneralizedMeanOp.apply(x.contiguous(), p)


generalized_mean.reference = generalized_mean_reference
# --8<-- [end:op]


# --8<-- [start:bug]
class ForgetfulOp(GeneralizedMeanOp):
    """One term of the derivative by p forgotten: log(mean) / p^2."""

    @staticmethod
    def backward(ctx, dy):
        x, p, y = ctx.saved
        dx, _ = GeneralizedMeanOp.backward(ctx, dy)
        powers = x ** p[0]
        dp = dy * y * (powers * np.log(x)).mean(axis=1) / (p[0] * powers.mean(axis=1))
        return dx, dp.sum(keepdims=True)


def forgetful_mean(
    x: Annotated[Tensor, "N D in 0.2..3"], p: Annotated[Tensor, "1 in 0.5..4"]
):
    return ForgetfulOp.apply(x.contiguous(), p)


# --8<-- [end:bug]
