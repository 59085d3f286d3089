"""Modules: parameters, and calls into `nbdl.ops`, with the names, arguments and state dicts of PyTorch."""

from nbdl import ops as functional
from nbdl.nn import init
from nbdl.nn.activation import ReLU
from nbdl.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from nbdl.nn.linear import Bilinear, Identity, Linear
from nbdl.nn.module import Module
from nbdl.nn.parameter import Buffer, Parameter

__all__ = [
    "Bilinear",
    "Buffer",
    "Identity",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "functional",
    "init",
]
