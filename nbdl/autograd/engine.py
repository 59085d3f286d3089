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
    _run(tensors, gradients, retain_graph, wanted=None)


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
    wanted = {_place(tensor): None for tensor in inputs}
    _run(outputs, grad_outputs, bool(retain_graph), wanted)
    found = [wanted[_place(tensor)] for tensor in inputs]
    for position, array in enumerate(found):
        if array is None and not allow_unused:
            raise GradientError(f"inputs[{position}] was not used in the graph; pass allow_unused=True to get None")
    return tuple(None if array is None else wrap(array) for array in found)


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
        return arrays.full(tensor._array.shape, 1, tensor._array.dtype)
    if not isinstance(gradient, Tensor):
        raise ArgumentTypeError(f"gradient: expected a Tensor, got {type(gradient).__name__}")
    if gradient.shape != tensor.shape:
        raise ShapeError(f"gradient: expected shape {list(tensor.shape)}, got {list(gradient.shape)}")
    if gradient.dtype != tensor.dtype:
        raise DTypeError(f"gradient: expected {tensor.dtype}, got {gradient.dtype}")
    return gradient._array


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
    flow = _Flow()
    roots: dict[Context, None] = {}
    foreign: set[int] = set()  # owners of arrays that must not become a .grad: they are someone else's
    for tensor, gradient in zip(tensors, given, strict=True):
        seed = _seed(tensor, gradient)
        if gradient is not None:
            foreign.add(id(arrays.owner(seed)))
        if tensor._node is None:
            flow.to_leaf(tensor, seed)
        else:
            flow.to_node(tensor._node, tensor._output, seed)
            roots[tensor._node] = None

    waiting = _count_uses(roots)
    ready = [node for node in roots if waiting[node] == 0]
    while ready:
        node = ready.pop()
        outgoing = _step(node, flow.take(node), retain_graph, wanted)
        for number, edge in enumerate(node.edges):
            if edge is None:
                continue
            array = outgoing[number] if outgoing is not None else None
            if type(edge) is tuple:
                parent, output = edge
                if array is not None:
                    flow.to_node(parent, output, array)
                waiting[parent] -= 1
                if waiting[parent] == 0:
                    ready.append(parent)
            elif array is not None:
                flow.to_leaf(edge, array)

    for leaf, array in flow.leaves.values():
        array = _call_hooks(leaf._hooks, array)
        if wanted is None:
            _store(leaf, array, foreign)
        elif id(leaf) in wanted:
            wanted[id(leaf)] = array


class _Flow:
    """The gradients on their way. An array that backward was handed may be shared, so sums go to arrays made here."""

    def __init__(self) -> None:
        self.leaves: dict[int, tuple[Tensor, Array]] = {}
        self._nodes: dict[Context, list[Array | None]] = {}
        self._sums: set[int] = set()  # identities of arrays made here, while they are on their way

    def to_node(self, node: Context, output: int, array: Array) -> None:
        places = self._nodes.get(node)
        if places is None:
            places = self._nodes[node] = [None] * len(node.outputs)
        before = places[output]
        places[output] = array if before is None else self._add(before, array)

    def to_leaf(self, leaf: Tensor, array: Array) -> None:
        before = self.leaves.get(id(leaf))
        self.leaves[id(leaf)] = leaf, array if before is None else self._add(before[1], array)

    def take(self, node: Context) -> list[Array | None] | None:
        places = self._nodes.pop(node, None)
        if places is not None and self._sums:
            self._sums.difference_update(map(id, places))
        return places

    def _add(self, before: Array, array: Array) -> Array:
        if id(before) in self._sums:
            arrays.accumulate(before.reshape(-1), arrays.contiguous(array).reshape(-1))
            return before
        total = arrays.add_arrays(before, array)
        self._sums.add(id(total))
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
) -> tuple[Array | None, ...] | None:
    """Runs one node's backward: the gradients of its inputs, or None when none of its outputs has a gradient."""
    if incoming is None:
        return None
    if any(array is None for array in incoming):
        for number, (shape, dtype) in enumerate(node.outputs):
            if incoming[number] is None and dtype.kind == "f" and number not in node._non_differentiable:
                incoming[number] = arrays.full(shape, 0, dtype)
    if node.hooks is not None:
        for number, hooks in node.hooks.items():
            if incoming[number] is not None:
                incoming[number] = _call_hooks(hooks, incoming[number])
    if wanted is not None:
        for number, array in enumerate(incoming):
            if (node, number) in wanted:
                wanted[node, number] = array
    outgoing = node.op.backward(node, *incoming)
    if not retain_graph:
        node.free()
    if type(outgoing) is not tuple:
        outgoing = (outgoing,)
    if len(outgoing) != len(node.edges):
        raise GradientError(
            f"{node.op.__name__}.backward returned {len(outgoing)} gradients for {len(node.edges)} inputs"
        )
    return outgoing


def _call_hooks(hooks: Iterable[Callable[..., Any]] | None, array: Array) -> Array:
    for hook in tuple(hooks or ()):
        result = hook(wrap(array))
        if result is not None:
            if not isinstance(result, Tensor) or result.shape != array.shape:
                raise GradientError(f"hook: expected None or a Tensor of shape {list(array.shape)}, got {result!r}")
            array = result._array
    return array


def _store(leaf: Tensor, array: Array, foreign: set[int]) -> None:
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
    if not array.flags.c_contiguous or not array.flags.writeable or owner in foreign:
        copy = memory.empty(array.shape, array.dtype)
        arrays.copy_into(copy, array)
        array = copy
    foreign.add(id(arrays.owner(array)))
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
