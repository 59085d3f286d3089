"""What a model consists of, layer by layer: shapes, parameters, operations and bytes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, enable_grad
from nbdl.nn.module import Module
from nbdl.profiling import seams
from nbdl.profiling.work import describe, forward_work
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentTypeError

seams.layer_class.append(Module)


@dataclass
class LayerSummary:
    """One module of a model, with everything in it.

    Attributes:
        name: Its dotted name; empty for the model itself.
        type: The name of its class.
        depth: How many modules it lies in.
        output_shape: Of its last call's result, a list of shapes when it returned several tensors; None if not called.
        parameters: Numbers in its parameters, each once.
        trainable: Those of them that want gradients.
        flops: Floating-point operations of a forward pass.
        kept_bytes: Bytes that its operations keep for the backward pass, besides parameters and the input.
        calls: How often it was called.
        used_by_others: Whether modules in it were called, though it was not: a `ModuleList`, say.
    """

    name: str
    type: str
    depth: int
    output_shape: Any = None
    parameters: int = 0
    trainable: int = 0
    flops: int = 0
    kept_bytes: int = 0
    calls: int = 0
    used_by_others: bool = False


@dataclass
class ModelSummary:
    """What `summary` found: `print` shows it as a table.

    Attributes:
        layers: A `LayerSummary` for each module, the model itself first.
        parameter_bytes: Bytes of all parameters.
    """

    layers: list[LayerSummary]
    parameter_bytes: int
    _depth: int | None = field(default=None, repr=False)

    @property
    def parameters(self) -> int:
        return self.layers[0].parameters

    @property
    def flops(self) -> int:
        return self.layers[0].flops

    @property
    def kept_bytes(self) -> int:
        return self.layers[0].kept_bytes

    def __str__(self) -> str:
        shown = [layer for layer in self.layers if self._depth is None or layer.depth <= self._depth]
        cells = [("layer", "output", "parameters", "FLOP", "kept bytes")]
        for layer in shown:
            own = layer.name.rpartition(".")[2]
            name = "  " * layer.depth + (f"{own}: {layer.type}" if own else layer.type)
            shape = "" if layer.used_by_others else str(layer.output_shape) if layer.calls else "not called"
            cells.append((name, shape, f"{layer.parameters:,}", f"{layer.flops:,}", f"{layer.kept_bytes:,}"))
        widths = [max(len(row[column]) for row in cells) for column in range(5)]
        lines = [
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        model = self.layers[0]
        fixed = model.parameters - model.trainable
        lines.insert(1, "-" * max(map(len, lines)))
        lines.append(lines[1])
        lines.append(f"{model.parameters:,} parameters{f', {fixed:,} of them fixed' if fixed else ''}, ")
        lines[-1] += f"{_short(self.parameter_bytes)}B; {_short(model.flops)}FLOP forward; "
        lines[-1] += f"{_short(model.kept_bytes)}B kept for the way back"
        return "\n".join(lines)


def _short(number: float) -> str:
    """The number with three digits and a prefix: 9640 as '9.64 k'."""
    power = min(int(math.log10(max(number, 1))) // 3, 4)
    return f"{number / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}"


def summary(model: Module, *inputs: Any, depth: int | None = None, **keywords: Any) -> ModelSummary:
    """Runs a model once and counts, module by module, what it consists of and what it does.

    Floating-point operations are counted from the shapes of what was really computed, functions without a module
    included: an addition, a multiplication, a comparison or a function of one number is one each. A module's numbers
    contain those of the modules in it. Running statistics, dropout and random numbers take the run as any other.

    Args:
        model: The model, in the mode in which it is to be counted.
        inputs: What it is called with.
        depth: Show modules only up to this depth; None for all. 0 is the model itself.
        keywords: What it is called with by name.

    Returns:
        `ModelSummary`, a table when printed.

    Raises:
        ArgumentTypeError: The model is no module.
        ArgumentError: depth is negative.

    Example:
        >>> model = nbdl.nn.Sequential(nbdl.nn.Linear(64, 32), nbdl.nn.ReLU(), nbdl.nn.Linear(32, 10))
        >>> print(nbdl.nn.summary(model, nbdl.zeros(1, 64)))
        layer        output   parameters   FLOP  kept bytes
        ---------------------------------------------------
        Sequential   (1, 10)       2,410  4,810         128
          0: Linear  (1, 32)       2,080  4,128           0
          1: ReLU    (1, 32)           0     32         128
          2: Linear  (1, 10)         330    650           0
        ---------------------------------------------------
        2,410 parameters, 9.64 kB; 4.81 kFLOP forward; 128 B kept for the way back
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"model: expected a Module, got {type(model).__name__}")
    if depth is not None:
        check_int("depth", depth, low=0)
    layers: dict[Module, LayerSummary] = {}
    for name, module in model.named_modules():
        layers[module] = layer = LayerSummary(name, type(module).__name__, name.count(".") + 1 if name else 0)
        own = {id(parameter): parameter for parameter in module.parameters()}.values()
        layer.parameters = sum(parameter.numel() for parameter in own)
        layer.trainable = sum(parameter.numel() for parameter in own if parameter.requires_grad)
    counter = _Counter(model, layers, (inputs, keywords))
    with seams.watching(operation=counter.operation), counter.following(), enable_grad():
        model(*inputs, **keywords)
    for module, layer in reversed(layers.items()):
        if not layer.calls:  # a list of modules: its members were called by somebody else
            members = [layers[child] for child in module.children()]
            layer.flops = sum(member.flops for member in members)
            layer.kept_bytes = sum(member.kept_bytes for member in members)
            layer.used_by_others = any(member.calls or member.used_by_others for member in members)
    nbytes = sum(parameter._array.nbytes for parameter in model.parameters())
    return ModelSummary(list(layers.values()), nbytes, depth)


class _Counter:
    """Charges each operation, and each array kept for the way back, to the modules that it happens in."""

    def __init__(self, model: Module, layers: dict[Module, LayerSummary], inputs: Any) -> None:
        self._layers = layers
        self._open: list[LayerSummary] = []
        self._known = {_owner(tensor._array) for tensor in (*model.parameters(), *model.buffers(), *_tensors(inputs))}
        self._held: list[Any] = []  # so that no new array gets the identity of one that is counted

    def operation(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        def counted(op: Any, *inputs: Any) -> Any:
            described = tuple(map(describe, inputs))
            result = apply(op, *inputs)
            outputs = result if type(result) is tuple else (result,)
            flops = forward_work(op, described, tuple(map(describe, outputs))).total
            node = outputs[0]._node
            kept = self._kept(node) if node is not None and node.op is op else 0
            for layer in self._open:
                layer.flops += flops
                layer.kept_bytes += kept
            return result

        return counted

    def _kept(self, node: Any) -> int:
        """Bytes of the arrays that a node holds on to, and nobody before it did."""
        nbytes = 0
        for value in (*(node._saved or ()), *node.__dict__.values()):
            for array in value if type(value) is tuple else (value,):
                if isinstance(array, np.ndarray) and _owner(array) not in self._known:
                    self._known.add(_owner(array))
                    self._held.append(array)
                    nbytes += array.nbytes
        return nbytes

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Notes in which modules the program is. A module with a forward of its own is called by itself, not fused."""
        with contextlib.ExitStack() as restored:
            for module, layer in self._layers.items():
                if "forward" in module.__dict__:
                    restored.callback(module.__dict__.__setitem__, "forward", module.__dict__["forward"])
                else:
                    restored.callback(module.__dict__.pop, "forward")
                module.__dict__["forward"] = self._followed(module.forward, layer)
            yield

    def _followed(self, forward: Callable[..., Any], layer: LayerSummary) -> Callable[..., Any]:
        def followed(*args: Any, **kwargs: Any) -> Any:
            self._open.append(layer)
            try:
                result = forward(*args, **kwargs)
            finally:
                self._open.pop()
            shapes = [tensor.shape for tensor in _tensors(result)]
            layer.output_shape = shapes[0] if len(shapes) == 1 else shapes
            layer.calls += 1
            return result

        return followed


def _owner(array: Any) -> int:
    return id(arrays.owner(array)) if isinstance(array, np.ndarray) else id(array)


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in a structure of tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (tuple, list)) else []
