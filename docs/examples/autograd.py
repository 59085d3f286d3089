"""Autograd: the graph, the way back through it, and what it looks after."""

# --8<-- [start:graph]
import numpy as np

import nbdl

x = nbdl.tensor([1.0, 2.0], requires_grad=True)
w = nbdl.tensor([3.0, -1.0], requires_grad=True)
h = x * w
loss = (h + h.exp()).sum()


def show(node, depth=0):
    """A node and, below it, where its gradients go."""
    if isinstance(node, nbdl.Tensor):
        print("   " * depth + f"leaf of shape {list(node.shape)}")
        return
    saved = [list(array.shape) for array in node._saved]
    print("   " * depth + f"{node.name()}, saved {saved}")
    for edge in node.edges:
        if edge is not None:
            show(edge[0] if isinstance(edge, tuple) else edge, depth + 1)


show(loss.grad_fn)
# --8<-- [end:graph]

# --8<-- [start:same]
print((h.grad_fn, 0) in h.exp().grad_fn.next_functions, h.is_leaf, x.is_leaf)
# --8<-- [end:same]


# --8<-- [start:engine]
def run_backward(root, gradient):
    """Backpropagation from a node; gradients of leaves by identity."""
    uses, pending = {root: 0}, [root]
    while pending:  # how many edges lead to each node?
        for node, _ in nodes_below(pending.pop()):
            if node not in uses:
                uses[node] = 0
                pending.append(node)
            uses[node] += 1

    incoming, leaves = {root: gradient}, {}
    ready = [root]
    while ready:
        node = ready.pop()
        outgoing = node.op.backward(node, incoming.pop(node))
        outgoing = outgoing if isinstance(outgoing, tuple) else (outgoing,)
        for edge, array in zip(node.edges, outgoing, strict=True):
            if isinstance(edge, tuple):  # its sum is complete when all have come
                below, _ = edge
                incoming[below] = incoming[below] + array if below in incoming else array
                uses[below] -= 1
                if uses[below] == 0:
                    ready.append(below)
            elif edge is not None:
                leaves[id(edge)] = leaves.get(id(edge), 0) + array
    return leaves


def nodes_below(node):
    return [edge for edge in node.edges if isinstance(edge, tuple)]


mine = run_backward(loss.grad_fn, np.ones((), np.float32))
loss.backward()
print("dx by hand", mine[id(x)], " by nbdl", x.grad.numpy())
print("dw by hand", mine[id(w)], " by nbdl", w.grad.numpy())
# --8<-- [end:engine]
assert np.array_equal(mine[id(x)], x.grad.numpy())


# --8<-- [start:paths]
def visits_of_recursion(node):
    """How often a recursive backward pass would enter nodes below this one."""
    return 1 + sum(visits_of_recursion(below) for below, _ in nodes_below(node))


def nodes_of(node):
    found, pending = {node}, [node]
    while pending:
        for below, _ in nodes_below(pending.pop()):
            if below not in found:
                found.add(below)
                pending.append(below)
    return len(found)


for depth in (1, 5, 10, 15):
    y = nbdl.tensor(1.0, requires_grad=True) * 1.0
    for _ in range(depth):
        y = y + y
    nodes, visits = nodes_of(y.grad_fn), visits_of_recursion(y.grad_fn)
    print(f"{depth:2} doublings: {nodes:2} nodes, {visits:6,} visits by recursion")
# --8<-- [end:paths]

# --8<-- [start:chain]
import tracemalloc


def chain(start, operations):
    for _ in range(operations):
        start = start * (1 + 2**-14)
    return start


start = nbdl.tensor(1.0, requires_grad=True)
y = chain(start, 100_000)
y.backward()
print("value   ", y.item(), " gradient", start.grad.item())
print("exactly ", (1 + 2**-14) ** 100_000)

tracemalloc.start()
short = chain(start, 1000)
held, _ = tracemalloc.get_traced_memory()
tracemalloc.stop()
print(f"held by the graph: {held / 1000:.0f} bytes an operation")
try:
    visits_of_recursion(y.grad_fn)
except RecursionError as error:
    print("recursion instead:", error)
# --8<-- [end:chain]
assert abs(start.grad.item() - (1 + 2**-14) ** 100_000) < 1
del y

# --8<-- [start:accumulate]
weight = nbdl.tensor([1.0, 2.0], requires_grad=True)
for batch in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]):
    (weight * nbdl.tensor(batch)).sum().backward()
    print(weight.grad.numpy())
weight.grad = None
# --8<-- [end:accumulate]

# --8<-- [start:hooks]
v = nbdl.tensor([1.0, 2.0, 3.0], requires_grad=True)
middle = v * 2
handle = middle.register_hook(lambda gradient: print("on the way:", gradient.numpy()))
middle.register_hook(lambda gradient: gradient.clamp(max=3.0))
(middle * middle).sum().backward()
print("at the leaf:", v.grad.numpy())
handle.remove()
# --8<-- [end:hooks]
assert v.grad.numpy().max() == 6.0

# --8<-- [start:version]
from nbdl import GradientError

p = nbdl.tensor([1.0, 2.0], requires_grad=True)
q = p.exp()
print("version", q._version[0])
with nbdl.no_grad():
    q.mul_(0.0)
print("version", q._version[0])
try:
    q.sum().backward()
except GradientError as error:
    print(error)
# --8<-- [end:version]

# --8<-- [start:freed]
z = (p * p).sum()
z.backward(retain_graph=True)
z.backward()
try:
    z.backward()
except GradientError as error:
    print(error)
try:
    nbdl.grad(z, p, create_graph=True)
except GradientError as error:
    print(error)
# --8<-- [end:freed]

# --8<-- [start:cycle]
import gc
import weakref

gc.collect()
gc.disable()
y = (nbdl.randn(100, 100, requires_grad=True) ** 2).sum()
node = weakref.ref(y.grad_fn)
del y
print("the graph is gone:", node() is None)
gc.enable()
# --8<-- [end:cycle]

# --8<-- [start:order]
a = nbdl.tensor(2.0, requires_grad=True)
b = a * 3
c = b.exp()
d = b + c
order = []
for name, tensor in (("b", b), ("c", c), ("d", d)):
    tensor.register_hook(lambda gradient, name=name: order.append((name, gradient.item())))
(d * d).backward()
for name, gradient in order:
    print(f"d loss / d{name} = {gradient:.1f}")
# --8<-- [end:order]
assert [name for name, _ in order] == ["d", "c", "b"]
