"""Stateless mathematics: the functional namespace, and the one place where tensors get their operators and methods.

Each family is one file, read from equation to kernel. `METHODS` says which function a tensor's method or operator is.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops import activation, attributes, creation, distance, elementwise, indexing, ordering, reduction, scan, shape
from nbdl.ops import matmul as products
from nbdl.ops.activation import *  # noqa: F403
from nbdl.ops.attention import scaled_dot_product_attention  # noqa: F401
from nbdl.ops.convolution import *  # noqa: F403
from nbdl.ops.creation import meshgrid, tril, triu  # noqa: F401
from nbdl.ops.distance import *  # noqa: F403
from nbdl.ops.dropout import *  # noqa: F403
from nbdl.ops.elementwise import *  # noqa: F403
from nbdl.ops.elementwise import casting, in_place, operators
from nbdl.ops.embedding import embedding  # noqa: F401
from nbdl.ops.embedding_bag import embedding_bag  # noqa: F401
from nbdl.ops.fold import fold, unfold  # noqa: F401
from nbdl.ops.gumbel import gumbel_softmax  # noqa: F401
from nbdl.ops.indexing import *  # noqa: F403
from nbdl.ops.indexing import selection
from nbdl.ops.interpolation import interpolate  # noqa: F401
from nbdl.ops.loss import *  # noqa: F403
from nbdl.ops.matmul import *  # noqa: F403
from nbdl.ops.matmul import products as matrix_products
from nbdl.ops.normalization import *  # noqa: F403
from nbdl.ops.ordering import *  # noqa: F403
from nbdl.ops.padding import pad  # noqa: F401
from nbdl.ops.pixel_shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle  # noqa: F401
from nbdl.ops.pooling import *  # noqa: F403
from nbdl.ops.recurrent import *  # noqa: F403
from nbdl.ops.reduction import *  # noqa: F403
from nbdl.ops.rotary import rotary_embedding  # noqa: F401
from nbdl.ops.scan import *  # noqa: F403
from nbdl.ops.shape import *  # noqa: F403
from nbdl.ops.softmax import log_softmax, softmax, softmax2d, softmin  # noqa: F401
from nbdl.runtime.boundary import named_errors

METHODS: dict[str, Any] = {
    # elementwise
    **{name: getattr(elementwise, name) for name in elementwise.METHODS},
    **{f"{name}_": in_place.in_place(getattr(elementwise, name), over) for name, over in elementwise.IN_PLACE.items()},
    **casting.CASTS,
    "add_": in_place.add_,
    "copy_": in_place.copy_,
    "detach_": in_place.detach_,
    "div_": in_place.div_,
    "divide_": in_place.div_,
    "fill_": in_place.fill_,
    "mul_": in_place.mul_,
    "multiply_": in_place.mul_,
    "sub_": in_place.sub_,
    "subtract_": in_place.sub_,
    "type_as": casting.type_as,
    "where": lambda input, condition, other: elementwise.where(condition, input, other),
    "zero_": in_place.zero_,
    "__abs__": elementwise.abs,
    "__neg__": elementwise.neg,
    "__pos__": elementwise.positive,
    "__invert__": elementwise.bitwise_not,
    **operators.OPERATORS,
    # creation
    **creation.METHODS,
    **{f"{name}_": in_place.in_place(getattr(creation, name)) for name in ("tril", "triu")},
    # what it is, and where
    **attributes.METHODS,
    # reduction
    **{name: getattr(reduction, name) for name in reduction.METHODS},
    # scan
    **{name: getattr(scan, name) for name in scan.__all__},
    **{f"{name}_": in_place.in_place(getattr(scan, name)) for name in ("cumprod", "cumsum")},
    # ordering
    **{name: getattr(ordering, name) for name in ordering.__all__ if name not in ("bucketize", "searchsorted")},
    # shape
    "broadcast_to": shape.broadcast_to,
    "chunk": shape.chunk,
    "diag": shape.diag,
    "diag_embed": shape.diag_embed,
    "diagflat": shape.diagflat,
    "diagonal": shape.diagonal,
    "dsplit": shape.dsplit,
    "expand": shape.variadic(shape.expand),
    "expand_as": shape.expand_as,
    "flatten": shape.flatten,
    "flip": shape.variadic(shape.flip),
    "fliplr": shape.fliplr,
    "flipud": shape.flipud,
    "hsplit": shape.hsplit,
    "moveaxis": shape.moveaxis,
    "movedim": shape.movedim,
    "permute": shape.variadic(shape.permute),
    "ravel": shape.ravel,
    "repeat": shape.variadic(shape.repeat),
    "repeat_interleave": shape.repeat_interleave,
    "reshape": shape.variadic(shape.reshape),
    "reshape_as": shape.reshape_as,
    "roll": shape.roll,
    "rot90": shape.rot90,
    "split": shape.split,
    "split_with_sizes": shape.split,
    "squeeze": shape.squeeze,
    "swapaxes": shape.swapaxes,
    "swapdims": shape.swapdims,
    "t": shape.t,
    "tensor_split": shape.tensor_split,
    "tile": shape.variadic(shape.tile),
    "transpose": shape.transpose,
    "unbind": shape.unbind,
    "unflatten": shape.unflatten,
    "unsqueeze": shape.unsqueeze,
    "vsplit": shape.vsplit,
    "view": shape.variadic(shape.view),
    "view_as": shape.view_as,
    **{
        f"{name}_": in_place.become(getattr(shape, name))
        for name in ("squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze")
    },
    "T": property(shape.t),
    "mT": property(shape.matrix_transpose),
    "__iter__": lambda tensor: iter(shape.unbind(tensor)),
    # indexing
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "argwhere": indexing.argwhere,
    "diagonal_scatter": indexing.diagonal_scatter,
    "fill_diagonal_": indexing.fill_diagonal_,
    "gather": indexing.gather,
    "index_add": indexing.index_add,
    "index_copy": indexing.index_copy,
    "index_fill": indexing.index_fill,
    "index_put": indexing.index_put,
    "index_select": indexing.index_select,
    "masked_scatter": indexing.masked_scatter,
    "masked_select": indexing.masked_select,
    "narrow": indexing.narrow,
    "nonzero": indexing.nonzero,
    "put": indexing.put,
    "scatter": indexing.scatter,
    "scatter_add": indexing.scatter_add,
    "scatter_reduce": indexing.scatter_reduce,
    "select": indexing.select,
    "select_scatter": indexing.select_scatter,
    "slice_scatter": indexing.slice_scatter,
    "take": indexing.take,
    "take_along_dim": indexing.take_along_dim,
    "unfold": selection.unfold,
    "index_add_": in_place.in_place(indexing.index_add),
    "index_copy_": in_place.in_place(indexing.index_copy),
    "index_put_": in_place.in_place(indexing.index_put),
    "put_": in_place.in_place(indexing.put),
    "index_fill_": in_place.in_place(indexing.index_fill),
    "masked_scatter_": in_place.in_place(indexing.masked_scatter),
    "scatter_": in_place.in_place(indexing.scatter),
    "scatter_add_": in_place.in_place(indexing.scatter_add),
    "scatter_reduce_": in_place.in_place(indexing.scatter_reduce),
    # matmul
    **{name: getattr(products, name) for name in products.METHODS},
    **{f"{name}_": in_place.in_place(getattr(products, name)) for name in products.IN_PLACE},
    "__matmul__": operators.operator(matrix_products.at),
    "__rmatmul__": operators.reflected(matrix_products.at),
    # activation
    "hardshrink": activation.hardshrink,
    "prelu": activation.prelu,
    "relu": activation.relu,
    "relu_": activation.rectifiers.relu_,
    # distance
    "dist": distance.dist,
    # softmax
    "log_softmax": log_softmax,
    "softmax": softmax,
}

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function if _name in operators.OPERATORS else named_errors(_function))

for _name, _function in list(vars(Tensor).items()):
    if _name[0] != "_":
        setattr(Tensor, _name, named_errors(_function))

# Whoever calls from outside gets named errors; calls between the families, bound before this, take the short way.
_PUBLIC = [name for name, value in list(globals().items()) if name[0] != "_" and inspect.isfunction(value)]
for _module in [module for name, module in sys.modules.items() if name.rpartition(".")[0] == __name__]:
    for _name in getattr(_module, "__all__", _PUBLIC):
        _function = vars(_module).get(_name)
        if hasattr(_module, "__all__") or _function is globals()[_name]:  # a kernel's own `exp` is another function
            setattr(_module, _name, named_errors(_function))
globals().update({name: named_errors(globals()[name]) for name in _PUBLIC})
