"""nbdl: a small deep-learning engine whose every floating-point operation is a Numba kernel that a person can read."""

from __future__ import annotations

import importlib as _importlib
import math as _math
from typing import Any as _Any

import numpy as _np

from nbdl import nn, ops, optim, profiling
from nbdl.autograd import Tensor, enable_grad, grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from nbdl.graphs import graph
from nbdl.nn.checkpoint import checkpoint, checkpoint_sequential
from nbdl.ops.activation import celu, hardshrink, prelu, relu, rrelu, selu, threshold
from nbdl.ops.attributes import (
    finfo,
    iinfo,
    is_complex,
    is_floating_point,
    is_nonzero,
    is_same_size,
    is_signed,
    is_tensor,
    numel,
    result_type,
)
from nbdl.ops.creation import *
from nbdl.ops.distance import *
from nbdl.ops.dropout import alpha_dropout, dropout, feature_alpha_dropout
from nbdl.ops.elementwise import *
from nbdl.ops.indexing import *
from nbdl.ops.matmul import (
    addbmm,
    addmm,
    addmv,
    addr,
    baddbmm,
    bmm,
    chain_matmul,
    cross,
    dot,
    einsum,
    ger,
    inner,
    kron,
    matmul,
    matrix_power,
    mm,
    mv,
    outer,
    tensordot,
    trace,
    vdot,
)
from nbdl.ops.mixed import autocast, is_autocast_enabled
from nbdl.ops.ordering import *
from nbdl.ops.reduction import *
from nbdl.ops.scan import *
from nbdl.ops.shape import *
from nbdl.ops.softmax import log_softmax, softmax
from nbdl.profiling import detect_anomaly, profile
from nbdl.runtime.boundary import named_errors as _named_errors
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    DeviceError,
    DTypeError,
    FileFormatError,
    GradientError,
    IndexRangeError,
    NbdlError,
    NumericalError,
    RecordingError,
    ShapeError,
    StateError,
)
from nbdl.runtime.precision import get_precision, set_precision
from nbdl.runtime.threads import get_num_threads, set_num_threads
from nbdl.serialization import load, save

__version__ = "0.1.0"

float16 = _np.dtype(_np.float16)
float32 = _np.dtype(_np.float32)
float64 = _np.dtype(_np.float64)
int8 = _np.dtype(_np.int8)
int16 = _np.dtype(_np.int16)
int32 = _np.dtype(_np.int32)
int64 = _np.dtype(_np.int64)
uint8 = _np.dtype(_np.uint8)
bool = _np.dtype(_np.bool_)  # PyTorch's name

inf = _math.inf
nan = _math.nan
pi = _math.pi
e = _math.e


for _name, _value in list(globals().items()):
    if _name[0] != "_":
        globals()[_name] = _named_errors(_value)


def __getattr__(name: str) -> _Any:
    """Floors that a program may not need are imported when they are first named."""
    if name in ("amp", "cuda", "data", "explain", "export", "interop", "models", "testing", "train"):
        return _importlib.import_module(f"nbdl.{name}")
    raise AttributeError(f"module 'nbdl' has no attribute {name!r}")
