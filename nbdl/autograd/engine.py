"""Backpropagation: from outputs to leaves, each node after all nodes that used its outputs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd.graph import Array, Context, refresh
from nbdl.autograd.tensor import Tensor, wrap
from nbdl.runtime import arrays, placement
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError, GradientError, ShapeError


def backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None = None,
    retain_graph: bool = False,
    *,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of the tensors to `.grad` of every leaf they depend on.

    Args:
        tensors: The outputs to start from; each must require gradients.
        gradients: For each output, the gradient of the loss with respect to it; None means 1 and needs one element.
        retain_graph: Keep what forward saved, so that backward can run again.
        inputs: The tensors, leaves or not, whose `.grad` alone is added to; None means all leaves.

    Raises:
        GradientError: A tensor has no graph, the graph was freed, a saved tensor was changed in place, or one of the
            inputs does not require gradients.
        ArgumentError: There are no inputs.
        ShapeError: A gradient's shape differs from its tensor's.
    """
    if isinstance(tensors, Tensor):
        tensors = (tensors,)
    if isinstance(gradients, Tensor):
        gradients = (gradients,)
    if inputs is None:
        _run(tensors, gradients, retain_graph, wanted=None)
        return
    chosen = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not chosen:
        raise ArgumentError("inputs: expected at least one tensor, got none")
    wanted = _wanted(chosen)
    _run(tensors, gradients, retain_graph, wanted)
    foreign = {id(arrays.owner(gradient._array)) for gradient in gradients or () if gradient is not None}
    for tensor in dict.fromkeys(chosen):
        array = wanted[_place(tensor)]
        if array is not None:
            _store(tensor, array, foreign)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    *,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs with respect to the inputs, returned and not stored in `.grad`.

    Args:
        outputs: The outputs to start from; each must require gradients.
        inputs: The tensors, leaves or not, whose gradients are wanted.
        grad_outputs: For each output, the gradient of the loss with respect to it; None means 1 and needs one element.
        retain_graph: Keep what forward saved, so that backward can run again.
        create_graph: Not available: gradients are arrays, not graphs.
        allow_unused: Give None for an input on which no output depends.
        materialize_grads: Give zeros for it.

    Raises:
        GradientError: create_graph is True (there are no second derivatives), or an input is not part of the graph
            and allow_unused is False.
    """
    if create_graph:
        raise GradientError("create_graph=True: nbdl's backward works on arrays, second derivatives are not available")
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is not None:
        grad_outputs = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
    wanted = _wanted(inputs)
    _run(outputs, grad_outputs, bool(retain_graph), wanted)
    found = [wanted[_place(tensor)] for tensor in inputs]
    for position, array in enumerate(found):
        if array is not None:
            continue
        if materialize_grads:
            with placement.beside(inputs[position]._array):
                found[position] = arrays.full(inputs[position].shape, 0, inputs[position].dtype)
        elif not allow_unused:
            raise GradientError(f"inputs[{position}] was not used in the graph; pass allow_unused=True to get None")
    return tuple(None if array is None else wrap(array) for array in found)


def _wanted(inputs: Sequence[Tensor]) -> dict[Any, Any]:
    """The places of the inputs, to be filled with their gradients."""
    for position, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"inputs[{position}]: expected a Tensor, got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise GradientError(f"inputs[{position}]: expected a tensor that requires gradients")
    return {_place(tensor): None for tensor in inputs}


def _place(tensor: Tensor) -> Any:
    """Where a tensor's gradient is looked up: its place among a node's outputs, or the identity of a leaf."""
    return id(tensor) if tensor._node is None else (tensor._node, tensor._output)


def _seed(tensor: Tensor, gradient: Tensor | None) -> Array:
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"tensors: expected Tensors, got {type(tensor).__name__}")
    if not tensor.requires_grad:
        raise GradientError("backward: the tensor does not require gradients and has no graph")
    if gradient is None:
        if tensor._array.size != 1:
            raise GradientError(
                f"backward: a gradient must be given for a tensor of shape {list(tensor.shape)}; "
                "only a tensor of one element has the implied gradient 1"
            )
        if type(tensor._array) is DeviceArray:
            return _one_on_gpu(tensor._array)
        return _one(tensor._array.dtype).reshape(tensor._array.shape)
    if not isinstance(gradient, Tensor):
        raise ArgumentTypeError(f"gradient: expected a Tensor, got {type(gradient).__name__}")
    if gradient.shape != tensor.shape:
        raise ShapeError(f"gradient: expected shape {list(tensor.shape)}, got {list(gradient.shape)}")
    if gradient.dtype != tensor.dtype:
        raise DTypeError(f"gradient: expected {tensor.dtype}, got {gradient.dtype}")
    if gradient.device != tensor.device:
        raise DeviceError(f"gradient: expected a tensor on device {str(tensor.device)!r}, got one on {gradient.device}")
    return gradient._array


@functools.cache
def _one(dtype: Any) -> Array:
    """The gradient of a loss with respect to itself. Read-only, so that no leaf takes it for its .grad."""
    one = np.ones((), dtype)
    one.flags.writeable = False
    return one


def _one_on_gpu(like: Any) -> Array:
    with placement.beside(like):
        one = arrays.full(like.shape, 1, like.dtype)
    one.flags.writeable = False
    return one


def _run(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None,
    retain_graph: bool,
    wanted: dict[Any, Array] | None,
) -> None:
    """Backpropagation from the tensors: into `.grad` of the leaves, or into `wanted` when a dictionary is given."""
    given = gradients if gradients is not None else [None] * len(tensors)
    if len(given) != len(tensors):
        raise ArgumentError(f"gradients: expected {len(tensors)}, one for each tensor, got {len(given)}")
    nodes: dict[Context, list[Array | None]] = {}  # gradients on their way, a place for each output
    leaves: dict[int, tuple[Tensor, Array]] = {}
    sums: set[int] = set()  # identities of arrays made here, while they are on their way
    roots: dict[Context, None] = {}
    foreign: set[int] = set()  # owners of arrays that must not become a .grad: they are someone else's
    for tensor, gradient in zip(tensors, given, strict=True):
        seed = _seed(tensor, gradient)
        if tensor._seen < tensor._version[1]:
            refresh(tensor)
        if gradient is not None:
            foreign.add(id(arrays.owner(seed)))
        node = tensor._node
        if node is None:
            _to_leaf(leaves, tensor, seed, sums)
        else:
            _to_node(nodes, node, tensor._output, seed, sums)
            roots[node] = None

    waiting = _count_uses(roots)
    ready = [node for node in roots if not waiting[node]]
    while ready:
        node = ready.pop()
        incoming = nodes.pop(node, None)
        if sums and incoming is not None:
            sums.difference_update(map(id, incoming))
        outgoing = _step(node, incoming, retain_graph, wanted)
        for edge, array in zip(node.edges, outgoing):  # noqa: B905 (_step has compared their lengths)
            if type(edge) is tuple:
                parent, output = edge
                if array is not None:
                    _to_node(nodes, parent, output, array, sums)
                waiting[parent] -= 1
                if not waiting[parent]:
                    ready.append(parent)
            elif edge is not None and array is not None:
                _to_leaf(leaves, edge, array, sums)

    for leaf, array in leaves.values():
        if leaf._hooks is not None:
            array = _call_hooks(leaf._hooks, array)
        if wanted is None:
            _store(leaf, array, foreign)
        elif id(leaf) in wanted:
            wanted[id(leaf)] = array


def _to_node(
    nodes: dict[Context, list[Array | None]], node: Context, output: int, array: Array, sums: set[int]
) -> None:
    """Adds a gradient to those that wait for a node, in the place of its output."""
    places = nodes.get(node)
    if places is None:
        places = nodes[node] = [None] * len(node.outputs)
    before = places[output]
    places[output] = array if before is None else _sum(before, array, sums)


def _to_leaf(leaves: dict[int, tuple[Tensor, Array]], leaf: Tensor, array: Array, sums: set[int]) -> None:
    """Adds a gradient to those of a leaf."""
    before = leaves.get(id(leaf))
    leaves[id(leaf)] = leaf, array if before is None else _sum(before[1], array, sums)


def _sum(before: Array, array: Array, sums: set[int]) -> Array:
    """before + array. What backward was handed may be shared, so a sum goes to an array made here: one of `sums`."""
    if id(before) in sums:
        arrays.add_to(before, array)
        return before
    total = arrays.add_arrays(before, array)
    sums.add(id(total))
    return total


def _count_uses(roots: Iterable[Context]) -> dict[Context, int]:
    """For each node that the roots reach, the number of edges to it: it runs when all of them have been served."""
    uses: dict[Context, int] = dict.fromkeys(roots, 0)
    pending = list(uses)
    while pending:
        for edge in pending.pop().edges:
            if type(edge) is tuple:
                node = edge[0]
                if node in uses:
                    uses[node] += 1
                else:
                    uses[node] = 1
                    pending.append(node)
    return uses


def _step(
    node: Context, incoming: list[Array | None] | None, retain_graph: bool, wanted: dict[Any, Array] | None
) -> Sequence[Array | None]:
    """Runs one node's backward: the gradients of its inputs, all None when none of its outputs has a gradient."""
    if incoming is None:
        return [None] * len(node.edges)
    if len(incoming) > 1:
        _fill_missing(node, incoming)
    if node.hooks is not None:
        for number, hooks in node.hooks.items():
            if incoming[number] is not None:
                incoming[number] = _call_hooks(hooks, incoming[number])
    if wanted is not None:
        for number, array in enumerate(incoming):
            if (node, number) in wanted:
                wanted[node, number] = array
    if placement.active:
        with placement.beside(next(array for array in incoming if array is not None)):
            outgoing = node.op.backward(node, *incoming)
    else:
        outgoing = node.op.backward(node, *incoming)
    if not retain_graph:
        node._saved = None
    if type(outgoing) is not tuple:
        outgoing = (outgoing,)
    if len(outgoing) != len(node.edges):
        raise GradientError(
            f"{node.op.__name__}.backward returned {len(outgoing)} gradients for {len(node.edges)} inputs"
        )
    return outgoing


def _fill_missing(node: Context, incoming: list[Array | None]) -> None:
    """Zeros for the outputs that the loss does not depend on."""
    for number, (shape, dtype) in enumerate(node.outputs):
        if incoming[number] is None and dtype.kind == "f" and number not in node._non_differentiable:
            with placement.beside(next(array for array in incoming if array is not None)):
                incoming[number] = arrays.full(shape, 0, dtype)


def _call_hooks(hooks: Iterable[Callable[..., Any]], array: Array) -> Array:
    for hook in tuple(hooks):
        result = hook(wrap(array))
        if result is not None:
            if not isinstance(result, Tensor) or result.shape != array.shape:
                raise GradientError(f"hook: expected None or a Tensor of shape {list(array.shape)}, got {result!r}")
            array = result._array
    return array


def _store(leaf: Tensor, array: Array, foreign: set[int]) -> None:
    """leaf.grad += array. The leaf gets memory of its own: no two gradients share an array."""
    if leaf._array.dtype.kind != "f":
        raise GradientError(f"requires_grad: only floating-point tensors have gradients, got a leaf of {leaf.dtype}")
    if array.shape != leaf._array.shape:
        raise GradientError(f"a gradient of shape {list(array.shape)} for a leaf of shape {list(leaf.shape)}")
    if leaf._grad is not None:
        target = leaf._grad._array
        if target.flags.writeable:
            arrays.add_to(target, array)
        else:
            leaf._grad._array = arrays.add_arrays(target, array)
        leaf._grad._version[0] += 1
        return
    # PyTorch's rule: a gradient lies in the order of its leaf, or in C's.
    ordered = array.flags.c_contiguous or array.strides == leaf._array.strides
    owner = id(arrays.owner(array))
    if not ordered or not array.flags.writeable or owner in foreign:
        array = arrays.copied(array)
        owner = id(arrays.owner(array))
    foreign.add(owner)
    leaf._grad = wrap(array)


# ---------------------------------------------------------------- methods of Tensor


def tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradient of this tensor to `.grad` of every leaf that it depends on.

    Args:
        gradient: [*] the gradient of the loss with respect to this tensor; 1 when None, for one element.
        retain_graph: Keep the graph for another backward().
        create_graph: Not available: gradients are arrays, not graphs.
        inputs: The tensors, leaves or not, whose `.grad` alone is added to; None means all leaves.
    """
    if create_graph:
        raise GradientError("create_graph=True: nbdl's backward works on arrays, second derivatives are not available")
    backward([self], [gradient], retain_graph, inputs=inputs)


def retain_grad(self: Tensor) -> None:
    """Keeps this non-leaf tensor's gradient in `.grad` too. GradientError when it requires none."""
    if not self.requires_grad:
        raise GradientError("retain_grad: the tensor does not require gradients")
    if self._node is None:
        return
    reference = weakref.ref(self)

    def keep(gradient: Tensor) -> None:
        tensor = reference()
        if tensor is not None:
            _store(tensor, gradient._array, {id(arrays.owner(gradient._array))})

    self.register_hook(keep)
