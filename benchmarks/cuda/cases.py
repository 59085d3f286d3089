"""What is timed: memory-bound operations, products of matrices, and training steps, for each library alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cuda.libraries import Library


@dataclass(frozen=True)
class Sizes:
    """How large everything is: as on a GPU, or tiny, for a simulated one."""

    elements: int = 1 << 25
    row: int = 1024
    products: tuple[int, ...] = (1024, 2048, 4096, 8192)
    rotated: int = 256 << 20
    """Bytes of all inputs of an operation together: several times what a GPU's cache holds."""
    batches: int = 4
    rounds: int = 50
    scale: int = 1


TINY = Sizes(elements=1 << 8, row=16, products=(8,), rotated=0, batches=1, rounds=1, scale=256)


@dataclass(frozen=True)
class MemoryBound:
    """An operation whose time is that of reading and writing.

    Attributes:
        name: For the table.
        shape: Of its tensors, from the sizes.
        inputs: How many tensors it takes.
        passes: How often so many elements are read or written, all inputs and results together.
        function: The operation, for a library; None where the library has none.
    """

    name: str
    shape: Callable[[Sizes], tuple[int, ...]]
    inputs: int
    passes: int
    function: Callable[[Library], Callable[..., Any] | None]


def _rows(sizes: Sizes) -> tuple[int, ...]:
    return sizes.elements // sizes.row, sizes.row


def _functional(name: str, *options: Any) -> Callable[[Library], Callable[..., Any] | None]:
    """A function of nbdl.ops and torch.nn.functional."""

    def find(library: Library) -> Callable[..., Any] | None:
        if library.name == "CuPy":
            return None
        functions = library.module.ops if library.name == "nbdl" else library.module.nn.functional
        return lambda *tensors: getattr(functions, name)(*tensors, *options)

    return find


def _layer_norm(library: Library) -> Callable[..., Any] | None:
    if library.name == "CuPy":
        return None
    functions = library.module.ops if library.name == "nbdl" else library.module.nn.functional
    return lambda x: functions.layer_norm(x, (x.shape[-1],))


MEMORY_BOUND = (
    MemoryBound("x + y", lambda sizes: (sizes.elements,), 2, 3, lambda library: lambda x, y: x + y),
    MemoryBound("relu", lambda sizes: (sizes.elements,), 1, 2, _functional("relu")),
    MemoryBound("gelu", lambda sizes: (sizes.elements,), 1, 2, _functional("gelu")),
    MemoryBound("sum over everything", lambda sizes: (sizes.elements,), 1, 1, lambda library: lambda x: x.sum()),
    MemoryBound("softmax of rows", _rows, 1, 2, _functional("softmax", -1)),
    MemoryBound("layer norm of rows", _rows, 1, 2, _layer_norm),
)


# ---------------------------------------------------------------- training steps


def _perceptron(nn: Any, sizes: Sizes) -> tuple[Any, tuple[int, ...], str, int]:
    width = max(2048 // sizes.scale, 4)
    layers = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)]
    return nn.Sequential(*layers), (max(256 // sizes.scale, 2), width), "numbers", 10


def _convolutions(nn: Any, sizes: Sizes) -> tuple[Any, tuple[int, ...], str, int]:
    channels = max(64 // sizes.scale, 1)
    model = nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.BatchNorm2d(2 * channels), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, 10),
    )  # fmt: skip
    side = max(32 // sizes.scale, 4)
    return model, (max(128 // sizes.scale, 2), 3, side, side), "numbers", 10


def _recurrent(nn: Any, sizes: Sizes) -> tuple[Any, tuple[int, ...], str, int]:
    width, vocabulary = max(512 // sizes.scale, 4), max(1024 // sizes.scale, 8)

    class Reader(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table, self.lstm = nn.Embedding(vocabulary, width), nn.LSTM(width, width, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.table(tokens))[0])

    return Reader(), (max(64 // sizes.scale, 2), max(128 // sizes.scale, 3)), "tokens", vocabulary


def _transformer(nn: Any, sizes: Sizes) -> tuple[Any, tuple[int, ...], str, int]:
    width, vocabulary = max(512 // sizes.scale, 8), max(4096 // sizes.scale, 8)
    length, layers = max(512 // sizes.scale, 4), 6 if sizes.scale == 1 else 1

    class Writer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            layer = nn.TransformerEncoderLayer(
                width, max(width // 64, 2), 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
            self.head = nn.Linear(width, vocabulary)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

        def forward(self, tokens: Any) -> Any:
            return self.head(self.blocks(self.tokens(tokens) + self.places.weight, self.mask, is_causal=True))

    return Writer(), (max(16 // sizes.scale, 2), length), "tokens", vocabulary


STEPS: dict[str, Callable[[Any, Sizes], tuple[Any, tuple[int, ...], str, int]]] = {
    "MLP": _perceptron, "CNN": _convolutions, "LSTM": _recurrent, "GPT": _transformer,
}  # fmt: skip


def training_step(library: Library, name: str, sizes: Sizes, faster: bool) -> tuple[Callable[..., Any], list[Any]]:
    """A step of AdamW on a model, and the batches that take turns.

    Args:
        library: nbdl or PyTorch.
        name: Of the model.
        sizes: How large.
        faster: With a graph in nbdl, with torch.compile in PyTorch.
    """
    nn = library.module.nn
    library.module.manual_seed(0)
    model, shape, kind, classes = STEPS[name](nn, sizes)
    model = model.to("cuda")
    functions = library.module.ops if library.name == "nbdl" else nn.functional
    options = {} if library.name == "nbdl" else {"fused": True}
    optimizer = library.module.optim.AdamW(model.parameters(), lr=1e-3, **options)
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(sizes.batches):
        x = rng.standard_normal(shape).astype(np.float32) if kind == "numbers" else rng.integers(0, classes, shape)
        y = rng.integers(0, classes, shape[:1] if kind == "numbers" else shape)
        batches.append((library.send(x), library.send(y)))
    if faster and library.name != "nbdl":
        model = library.module.compile(model)

    def loss_and_gradients(x: Any, y: Any) -> Any:
        scores = model(x)
        loss = functions.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
        loss.backward()
        return loss

    run = library.module.cuda.graph(loss_and_gradients) if faster and library.name == "nbdl" else loss_and_gradients

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = run(x, y)
        optimizer.step()
        return loss

    return step, batches
