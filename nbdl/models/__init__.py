"""Models: the architectures of the field, made of `nbdl.nn`."""

from nbdl.models.mlp import MLP

__all__ = ["MLP"]
