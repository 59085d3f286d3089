"""Normalization: activations brought to one scale, over the batch, over features, over groups or among neighbours.

`batch_columns` holds the steps of batch normalization on channels-last memory, `layout` how images reach the kernels.
"""

from nbdl.ops.normalization.batch_norm import batch_norm
from nbdl.ops.normalization.group_norm import group_norm, instance_norm
from nbdl.ops.normalization.layer_norm import layer_norm
from nbdl.ops.normalization.local_response_norm import local_response_norm
from nbdl.ops.normalization.residual import residual_layer_norm, residual_rms_norm
from nbdl.ops.normalization.rms_norm import rms_norm

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "residual_layer_norm",
    "residual_rms_norm",
    "rms_norm",
]
