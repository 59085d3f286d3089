r"""The engine: tensors that remember how they were made, and backpropagation through that memory.

An operation is an `Op`: `forward(ctx, ...)` computes arrays from arrays, `backward(ctx, ...)` turns the gradient of
its outputs into the gradients of its inputs. `Op.apply` runs the forward pass and, when an input requires gradients,
leaves a `Context` behind: one node of the graph, with an edge to each input's node. `backward` walks the nodes from
the outputs to the leaves, each after all nodes that used its outputs, and applies the chain rule

$$\frac{\partial L}{\partial x} = \sum_{y \text{ made from } x}
  \Big(\frac{\partial y}{\partial x}\Big)^{\!\top} \frac{\partial L}{\partial y}.$$

The walk is a loop, not a recursion, so a graph may be as deep as memory allows. Gradients are arrays, not graphs:
there is no second derivative by calling backward twice.
"""

from nbdl.autograd.engine import backward, grad, retain_grad, tensor_backward
from nbdl.autograd.graph import Context, Op
from nbdl.autograd.mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from nbdl.autograd.tensor import RemovableHandle, Tensor, wrap

# The engine stands above the tensor, so the two methods that need it are bound here.
Tensor.backward = tensor_backward  # type: ignore[attr-defined]
Tensor.retain_grad = retain_grad  # type: ignore[attr-defined]

__all__ = [
    "Context",
    "Op",
    "RemovableHandle",
    "Tensor",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "wrap",
]
