"""The places where a running program can be watched, or led another way, from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from nbdl.autograd import Op, Tensor, engine, graph
from nbdl.optim import Optimizer
from nbdl.runtime import jit, memory

layer_class: list[type] = []
"""The class whose calls are layers: `nbdl.nn`, which stands above this floor, enters `Module`."""

watchers: list[object] = []
"""One entry for each `watching` that runs: then layers run apart, so that each can be seen."""

_READINGS = ("numpy", "item", "tolist", "__index__", "__bool__")

Wrapper = Callable[[Any], Any]
"""Gets the function that stood there, and returns the one that stands there now."""


@contextlib.contextmanager
def watching(
    operation: Wrapper | None = None,
    gradient: Wrapper | None = None,
    backward: Wrapper | None = None,
    update: Wrapper | None = None,
    layer: Wrapper | None = None,
    kernel: Wrapper | None = None,
    allocation: Wrapper | None = None,
    record: Wrapper | None = None,
    reading: Wrapper | None = None,
    leaf: Wrapper | None = None,
    reset: Wrapper | None = None,
    held: Wrapper | None = None,
) -> Iterator[None]:
    """Puts wrappers around what a training step consists of, until the end of the block.

    Args:
        operation: Around `apply(op, *inputs)`, the forward pass of an operation.
        gradient: Around `step(node, incoming, retain_graph, wanted)`, its backward pass.
        backward: Around `run(tensors, gradients, retain_graph, wanted)`, a whole backward pass.
        update: Around `step(optimizer, closure)`.
        layer: Around `call(module, *args, **kwargs)`.
        kernel: Instead of a kernel's launch: gets the launch that was chosen before, usually None, and returns
            `launch(kernel, arguments)`, which may give NotImplemented back: then it is launched as usual.
        allocation: Around `empty(shape, dtype)`, the memory of a result.
        record: Around `record(node, inputs, outputs)`, which gives a node its place in the graph.
        reading: Around each method of a tensor that shows its values to Python, `item(tensor)` for one.
        leaf: Around `store(leaf, array, foreign)`, which adds to a leaf's `.grad`.
        reset: Around `zero_grad(owner, set_to_none)` of optimizers and modules.
        held: Around the property `grad` of tensors.
    """
    with contextlib.ExitStack() as restored:
        watchers.append(restored)
        restored.callback(watchers.remove, restored)

        def put(owner: Any, name: str, value: Any) -> None:
            restored.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, value)

        if operation is not None:
            put(Op, "apply", classmethod(operation(vars(Op)["apply"].__func__)))
        if gradient is not None:
            put(engine, "_step", gradient(engine._step))
        if backward is not None:
            put(engine, "_run", backward(engine._run))
        if update is not None:
            put(Optimizer, "step", update(Optimizer.step))
        if layer is not None:
            for owner in layer_class:
                put(owner, "__call__", layer(vars(owner)["__call__"]))
        if kernel is not None:
            put(jit, "launch_override", kernel(jit.launch_override))
        if allocation is not None:
            put(memory, "empty", allocation(memory.empty))
        if record is not None:
            put(graph, "_record", record(graph._record))
        if reading is not None:
            for name in _READINGS:
                put(Tensor, name, reading(vars(Tensor)[name]))
        if leaf is not None:
            put(engine, "_store", leaf(engine._store))
        if reset is not None:
            for owner in (Optimizer, *layer_class):
                put(owner, "zero_grad", reset(vars(owner)["zero_grad"]))
        if held is not None:
            put(Tensor, "grad", held(vars(Tensor)["grad"]))
        yield
