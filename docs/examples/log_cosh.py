"""An operation of one's own: y = log cosh x, quadratic near zero and linear far away."""

# --8<-- [start:scalar]
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp, log1p, tanh

LOG_2 = 0.6931471805599453


@scalar
def log_cosh_value(x):
    """log cosh x = |x| + log(1 + e^(-2|x|)) - log 2, which cannot overflow."""
    return abs(x) + log1p(exp(type(x)(-2) * abs(x))) - type(x)(LOG_2)


@scalar
def log_cosh_slope(x):
    """Its derivative, tanh x."""
    return tanh(x)


# --8<-- [end:scalar]
# --8<-- [start:kernels]
@cpu_kernel
def _log_cosh_forward_cpu(x, y, start, stop):
    """x, y [N]. One task an element."""
    for i in range(start, stop):
        y[i] = log_cosh_value(x[i])


@cuda_kernel
def _log_cosh_forward_cuda(x, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        y[i] = log_cosh_value(x[i])


@cpu_kernel
def _log_cosh_backward_cpu(dy, x, dx, start, stop):
    """dy, x, dx [N]. One task an element."""
    for i in range(start, stop):
        dx[i] = dy[i] * log_cosh_slope(x[i])


@cuda_kernel
def _log_cosh_backward_cuda(dy, x, dx):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        dx[i] = dy[i] * log_cosh_slope(x[i])


def elements(x, *_):
    return x.shape[0]


def blocks(x, *_):
    return max(1, -(-x.shape[0] // BLOCK))


log_cosh_forward = Kernel(
    cpu=_log_cosh_forward_cpu, cuda=_log_cosh_forward_cuda, tasks=elements, blocks=blocks
)
log_cosh_backward = Kernel(
    cpu=_log_cosh_backward_cpu, cuda=_log_cosh_backward_cuda, tasks=elements, blocks=blocks
)

# --8<-- [end:kernels]
# --8<-- [start:op]
from nbdl.autograd import Op
from nbdl.runtime.checks import check_float


class LogCoshOp(Op):
    @staticmethod
    def forward(ctx, x):
        y = ctx.empty_like(x)
        log_cosh_forward(x.reshape(-1), y.reshape(-1))
        ctx.save(x)
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        dx = ctx.empty_like(x)
        log_cosh_backward(dy.reshape(-1), x.reshape(-1), dx.reshape(-1))
        return dx


def log_cosh(x):
    check_float("x", x)
    return LogCoshOp.apply(x)


# --8<-- [end:op]

if __name__ == "__main__":
    import numpy as np

    import nbdl
    from nbdl.testing import gradcheck

    x = nbdl.tensor(np.array([[-800.0, -1.0, 0.0], [0.5, 2.0, 30.0]]), requires_grad=True)
    assert np.allclose(log_cosh(x).detach().numpy()[1], np.log(np.cosh([0.5, 2.0, 30.0])))
    print(gradcheck(log_cosh, [x]))
