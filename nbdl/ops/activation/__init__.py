"""Activations: `rectifiers` of straight pieces, `smooth` ones, `gated` and learned ones, `swiglu`, `random_slopes`."""

from nbdl.ops.activation.gated import glu, prelu
from nbdl.ops.activation.random_slopes import rrelu
from nbdl.ops.activation.rectifiers import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    relu,
    relu6,
    softshrink,
    threshold,
)
from nbdl.ops.activation.smooth import (
    celu,
    elu,
    gelu,
    logsigmoid,
    mish,
    selu,
    silu,
    softplus,
    softsign,
    tanhshrink,
)
from nbdl.ops.activation.swiglu import swiglu

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "tanhshrink",
    "threshold",
]
