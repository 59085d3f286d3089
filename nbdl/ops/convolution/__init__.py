"""Convolutions and transposed convolutions in one and two dimensions."""

from nbdl.ops.convolution.direct import conv1d, conv2d, conv2d_relu
from nbdl.ops.convolution.transposed import conv_transpose1d, conv_transpose2d

__all__ = ["conv1d", "conv2d", "conv2d_relu", "conv_transpose1d", "conv_transpose2d"]
