"""Where a NaN or an infinity comes from: `nbdl.detect_anomaly`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nbdl.autograd import Context, Tensor, no_grad
from nbdl.autograd.tensor import wrap
from nbdl.ops.elementwise import isfinite, isnan
from nbdl.ops.reduction import all as all_of
from nbdl.ops.reduction import any as any_of
from nbdl.profiling.seams import watching
from nbdl.runtime.errors import NumericalError, StateError

_active: list[detect_anomaly] = []


@dataclass
class _Trace:
    """What is remembered of one operation.

    Attributes:
        layers: The modules whose calls it stood in, from the outside in.
        result: What is wrong with its result: 'NaN', 'infinity', or nothing.
        inputs: Numbers of the inputs that were not finite; looked at only if the result is not.
    """

    layers: tuple[Any, ...]
    result: str
    inputs: list[int]


class detect_anomaly:
    """Within the block, a loss or a gradient that is NaN or infinite raises an error that names operation and layer.

    Looked at are the tensors that a backward pass starts from, and every gradient that comes out of an operation. A
    loss that is not finite is traced back through the graph to the operation that made the first such value out of
    finite ones. An infinity that does not reach the loss, as in an attention mask, is left alone.

    Every result and gradient is read once more, so this is for finding faults and not for whole trainings.

    Args:
        check_nan: False looks at nothing: the block runs as if there were none.

    Raises:
        NumericalError: In `backward()`: a loss or gradient is not finite.
        StateError: Another such block is running: they do not nest.

    Example:
        >>> x = nbdl.tensor([4.0, 0.0], requires_grad=True)
        >>> with nbdl.detect_anomaly():
        ...     nbdl.sqrt(x).sum().backward()
        Traceback (most recent call last):
        nbdl.runtime.errors.NumericalError: backward of Sqrt: gradient of input 0, shape [2], holds infinity
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._stack = contextlib.ExitStack()
        self._calls: list[Any] = []
        self._looking = False

    def __enter__(self) -> None:
        if _active:
            raise StateError("detect_anomaly: another such block is running; they do not nest")
        _active.append(self)
        if self._check_nan:
            watched = watching(
                operation=self._operation, gradient=self._gradient, backward=self._backward, layer=self._layer
            )
            self._stack.enter_context(watched)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._calls.clear()
        _active.remove(self)

    # ---------------------------------------------------------------- wrappers

    def _layer(self, call: Any) -> Any:
        def watched(module: Any, *args: Any, **kwargs: Any) -> Any:
            self._calls.append(module)
            try:
                return call(module, *args, **kwargs)
            finally:
                self._calls.pop()

        return watched

    def _operation(self, apply: Any) -> Any:
        def watched(op: Any, *inputs: Any) -> Any:
            result = apply(op, *inputs)
            if self._looking:
                return result
            outputs = result if type(result) is tuple else (result,)
            node = outputs[0]._node
            if node is not None and node.op is op:
                fault = self._fault(outputs)
                tensors = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor)]
                bad = [i for i, x in tensors if self._fault([x])] if fault else []
                node.trace = _Trace(tuple(self._calls), fault, bad)
            return result

        return watched

    def _gradient(self, step: Any) -> Any:
        def watched(node: Any, incoming: Any, retain_graph: bool, wanted: Any) -> Any:
            outgoing = step(node, incoming, retain_graph, wanted)
            for number, array in enumerate(outgoing):
                if array is not None and (fault := self._fault([wrap(array)])):
                    raise NumericalError(
                        f"backward of {_name(node)}: gradient of input {number}, shape {list(array.shape)}, "
                        f"holds {fault}"
                    )
            return outgoing

        return watched

    def _backward(self, run: Any) -> Any:
        def watched(tensors: Sequence[Tensor], gradients: Any, retain_graph: bool, wanted: Any) -> Any:
            for tensor in tensors:
                if isinstance(tensor, Tensor) and (fault := self._fault([tensor])):
                    raise NumericalError(f"loss: expected finite numbers, got {fault}{_origin(tensor._node)}")
            for gradient in gradients or ():
                if gradient is not None and (fault := self._fault([gradient])):
                    raise NumericalError(f"gradient: expected finite numbers, got {fault}")
            return run(tensors, gradients, retain_graph, wanted)

        return watched

    def _fault(self, tensors: Iterable[Tensor]) -> str:
        """'NaN', 'infinity', or nothing if all elements are finite."""
        self._looking = True
        try:
            with no_grad():
                for tensor in tensors:
                    if tensor.dtype.kind == "f" and not bool(all_of(isfinite(tensor))):
                        return "NaN" if bool(any_of(isnan(tensor))) else "infinity"
        finally:
            self._looking = False
        return ""


# ---------------------------------------------------------------- words


def _name(node: Context) -> str:
    """The operation and the layer it stood in: "Linear in layers.2 (Linear)"."""
    name = node.op.__name__.removesuffix("Op")
    trace: _Trace | None = node.__dict__.get("trace")
    if trace is None or not trace.layers:
        return name
    outermost, innermost = trace.layers[0], trace.layers[-1]
    paths = {id(module): path for path, module in outermost.named_modules()}
    path, kind = paths.get(id(innermost), ""), type(innermost).__name__
    return f"{name} in {path} ({kind})" if path else f"{name} in {kind}"


def _origin(node: Context | None) -> str:
    """Where a result that is not finite comes from: the first operation, going back, whose tensors are still finite."""
    if node is None or "trace" not in node.__dict__:
        return ""
    while True:
        before = [edge[0] for edge in node.edges if type(edge) is tuple]
        worse = [parent for parent in before if parent.__dict__.get("trace") and parent.trace.result]
        if not worse:
            break
        node = worse[0]
    trace = node.trace
    if trace.inputs:
        which = "input" if len(trace.inputs) == 1 else "inputs"
        return f": {_name(node)} was given it, in {which} {', '.join(map(str, trace.inputs))}"
    return f": {_name(node)} made it, {trace.result}, out of finite numbers"
