"""Pooling: each window of an image becomes one number.

`windows` says where windows lie; `max` takes their largest elements, `average` their means, `power` their norms;
`adaptive` lays windows so that the output has a wanted size; `unpooling` puts largest elements back to their places.
"""

from nbdl.ops.pooling.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_max_pool1d, adaptive_max_pool2d
from nbdl.ops.pooling.average import avg_pool1d, avg_pool2d
from nbdl.ops.pooling.max import max_pool1d, max_pool2d
from nbdl.ops.pooling.power import lp_pool1d, lp_pool2d
from nbdl.ops.pooling.unpooling import max_unpool1d, max_unpool2d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_unpool1d",
    "max_unpool2d",
]
