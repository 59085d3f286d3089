"""Backpropagation: from outputs to leaves, each node after all nodes that used its outputs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbdl.autograd.graph import Array, Context
from nbdl.autograd.tensor import Tensor, wrap
from nbdl.runtime import arrays, memory
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError, ShapeError


def backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None = None,
    retain_graph: bool = False,
) -> None:
    """Adds the gradients of the tensors to `.grad` of every leaf they depend on.

    Args:
        tensors: The outputs to start from; each must require gradients.
        gradients: For each output, the gradient of the loss with respect to it; None means 1 and needs one element.
        retain_graph: Keep what forward saved, so that backward can run again.

    Raises:
        GradientError: A tensor has no graph, the graph was freed, or a saved tensor was changed in place.
        ShapeError: A gradient's shape differs from its tensor's.
    """
    _run(tensors, gradients, retain_graph, leaves=None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs with respect to the inputs, returned and not stored in `.grad`.

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
    for position, tensor in enumerate(inputs):
        if not tensor.requires_grad:
            raise GradientError(f"inputs[{position}]: expected a tensor that requires gradients")
    wanted = {_target_key(tensor): None for tensor in inputs}
    _run(outputs, grad_outputs, bool(retain_graph), leaves=wanted)
    found = [wanted[_target_key(tensor)] for tensor in inputs]
    for position, array in enumerate(found):
        if array is None and not allow_unused:
            raise GradientError(f"inputs[{position}] was not used in the graph; pass allow_unused=True to get None")
    return tuple(None if array is None else wrap(array) for array in found)


def _target_key(tensor: Tensor) -> tuple[int, int]:
    return (id(tensor), 0) if tensor._node is None else (id(tensor._node), tensor._output)


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
        return arrays.full(tensor._array.shape, 1, tensor._array.dtype)
    if not isinstance(gradient, Tensor):
        raise ArgumentTypeError(f"gradient: expected a Tensor, got {type(gradient).__name__}")
    if gradient.shape != tensor.shape:
        raise ShapeError(f"gradient: expected shape {list(tensor.shape)}, got {list(gradient.shape)}")
    if gradient.dtype != tensor.dtype:
        raise DTypeError(f"gradient: expected {tensor.dtype}, got {gradient.dtype}")
    return gradient._array


class _Gradients:
    """The gradients in flight. An array that backward was handed may be shared, so sums go to arrays made here."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], Array] = {}
        self._owned: set[tuple[int, int]] = set()

    def add(self, key: tuple[int, int], array: Array) -> None:
        before = self._sums.get(key)
        if before is None:
            self._sums[key] = array
        elif key in self._owned:
            arrays.accumulate(before.reshape(-1), arrays.contiguous(array).reshape(-1))
        else:
            self._sums[key] = arrays.add_arrays(before, array)
            self._owned.add(key)

    def pop(self, key: tuple[int, int]) -> Array | None:
        self._owned.discard(key)
        return self._sums.pop(key, None)


def _run(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None,
    retain_graph: bool,
    leaves: dict[tuple[int, int], Array] | None,
) -> None:
    """Backpropagation from the tensors; into `.grad` of the leaves, or into `leaves` when a dictionary is given."""
    given = gradients if gradients is not None else [None] * len(tensors)
    if len(given) != len(tensors):
        raise ArgumentError(f"gradients: expected {len(tensors)}, one for each tensor, got {len(given)}")
    flow = _Gradients()
    leaf_tensors: dict[int, Tensor] = {}
    roots: list[Context] = []
    stored: set[int] = set()  # owners of arrays that must not become a .grad: they are someone else's
    for tensor, gradient in zip(tensors, given, strict=True):
        seed = _seed(tensor, gradient)
        if gradient is not None:
            stored.add(id(arrays.owner(seed)))
        flow.add(_target_key(tensor), seed)
        if tensor._node is None:
            leaf_tensors[id(tensor)] = tensor
        else:
            roots.append(tensor._node)

    waiting = _count_uses(roots)
    ready = [node for node in dict.fromkeys(roots) if waiting[node] == 0]
    while ready:
        node = ready.pop()
        _step(node, flow, retain_graph, leaf_tensors, leaves)
        for edge in node.edges:
            if type(edge) is tuple:
                waiting[edge[0]] -= 1
                if waiting[edge[0]] == 0:
                    ready.append(edge[0])

    for key, leaf in leaf_tensors.items():
        array = flow.pop((key, 0))
        if array is None:
            continue
        array = _call_hooks(leaf._hooks, array)
        if leaves is None:
            _store(leaf, array, stored)
        elif (key, 0) in leaves:
            leaves[key, 0] = array


def _count_uses(roots: list[Context]) -> dict[Context, int]:
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
    node: Context,
    flow: _Gradients,
    retain_graph: bool,
    leaf_tensors: dict[int, Tensor],
    leaves: dict[tuple[int, int], Array] | None,
) -> None:
    """Runs one node's backward and hands its results along the edges."""
    incoming = [flow.pop((id(node), number)) for number in range(len(node.outputs))]
    if all(array is None for array in incoming):
        return
    for number, (shape, dtype) in enumerate(node.outputs):
        array = incoming[number]
        if array is None:
            if dtype.kind == "f" and number not in node._non_differentiable:
                incoming[number] = arrays.full(shape, 0, dtype)
            continue
        if node.hooks is not None and number in node.hooks:
            incoming[number] = array = _call_hooks(node.hooks[number], array)
        if leaves is not None and (id(node), number) in leaves:
            leaves[id(node), number] = array
    outgoing = node.op.backward(node, *incoming)
    if not retain_graph:
        node.free()
    if type(outgoing) is not tuple:
        outgoing = (outgoing,)
    if len(outgoing) != len(node.edges):
        raise GradientError(
            f"{node.op.__name__}.backward returned {len(outgoing)} gradients for {len(node.edges)} inputs"
        )
    for edge, array in zip(node.edges, outgoing, strict=True):
        if edge is None or array is None:
            continue
        if type(edge) is tuple:
            flow.add((id(edge[0]), edge[1]), array)
        else:
            leaf_tensors[id(edge)] = edge
            flow.add((id(edge), 0), array)


def _call_hooks(hooks: Iterable[Callable[..., Any]] | None, array: Array) -> Array:
    for hook in tuple(hooks or ()):
        result = hook(wrap(array))
        if result is not None:
            if not isinstance(result, Tensor) or result.shape != array.shape:
                raise GradientError(f"hook: expected None or a Tensor of shape {list(array.shape)}, got {result!r}")
            array = result._array
    return array


def _store(leaf: Tensor, array: Array, stored: set[int]) -> None:
    """leaf.grad += array. The leaf gets memory of its own: no two gradients share an array."""
    if array.shape != leaf._array.shape:
        raise GradientError(f"a gradient of shape {list(array.shape)} for a leaf of shape {list(leaf.shape)}")
    if leaf._grad is not None:
        target = leaf._grad._array
        if target.flags.c_contiguous and target.flags.writeable:
            arrays.accumulate(target.reshape(-1), arrays.contiguous(array).reshape(-1))
        else:
            leaf._grad._array = arrays.add_arrays(target, array)
        leaf._grad._version[0] += 1
        return
    owner = id(arrays.owner(array))
    if not array.flags.c_contiguous or not array.flags.writeable or owner in stored:
        copy = memory.empty(array.shape, array.dtype)
        arrays.copy_into(copy, array)
        array = copy
    stored.add(id(arrays.owner(array)))
    leaf._grad = wrap(array)


# ---------------------------------------------------------------- methods of Tensor


def tensor_backward(
    self: Tensor, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Adds the gradient of this tensor to `.grad` of every leaf that it depends on.

    Args:
        gradient: [*] the gradient of the loss with respect to this tensor; 1 when None, for one element.
        retain_graph: Keep the graph for another backward().
        create_graph: Not available: gradients are arrays, not graphs.
    """
    if create_graph:
        raise GradientError("create_graph=True: nbdl's backward works on arrays, second derivatives are not available")
    backward([self], [gradient], retain_graph)


def retain_grad(self: Tensor) -> None:
    """Keeps this non-leaf tensor's gradient in `.grad` too."""
    if self._node is None:
        return
    reference = weakref.ref(self)

    def keep(gradient: Tensor) -> None:
        tensor = reference()
        if tensor is not None:
            _store(tensor, gradient._array, {id(arrays.owner(gradient._array))})

    self.register_hook(keep)
