"""Attention: each query's mean of values, weighted by how well their keys fit."""

from nbdl.ops.attention.scaled_dot_product import scaled_dot_product_attention

__all__ = ["scaled_dot_product_attention"]
