"""Convolutions in one and two dimensions."""

from nbdl.ops.convolution.direct import conv1d, conv2d

__all__ = ["conv1d", "conv2d"]
