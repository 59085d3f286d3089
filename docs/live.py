"""What runs in the reader's browser: models trained while the site is built, compiled to WebAssembly.

    python docs/live.py FOLDER

Each figure is a program of `nbdl.export` and a script under docs/theme/assets/live that draws and takes input. The
numbers are the kernels'.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import nbdl
from nbdl import data, models, nn, ops, optim
from nbdl.export import trace, wasm

SIDE = 8
CONTEXT, STEPS = 64, 1000
FILES = (*(f"{name}.{kind}" for name in ("digits", "writer") for kind in ("wasm", "json", "weights")), "nbdl.mjs")


# ---------------------------------------------------------------- a network that reads digits


def _moved(images: np.ndarray) -> np.ndarray:
    """Images [N, 64] and the same, moved by one pixel to each side: a reader does not draw in the middle."""
    squares = images.reshape(-1, SIDE, SIDE)
    padded = np.pad(squares, ((0, 0), (1, 1), (1, 1)))
    places = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return np.concatenate([padded[:, y : y + SIDE, x : x + SIDE] for y, x in places]).reshape(-1, SIDE * SIDE)


def blank_reader() -> nn.Module:
    """A perceptron for drawings of 8 x 8 pixels."""
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def reader() -> nn.Module:
    """One that knows handwritten digits, after a few seconds."""
    nbdl.manual_seed(0)
    train, _ = data.digits()
    images, labels = _moved(train.arrays[0]), np.tile(train.arrays[1], 5)
    network = blank_reader()
    optimizer = optim.AdamW(network.parameters(), lr=3e-3)
    for epoch in range(8):
        for x, y in data.DataLoader(data.ArrayDataset(images, labels), batch_size=64, shuffle=True, seed=epoch):
            loss = ops.cross_entropy(network(nbdl.tensor(x)), nbdl.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def build_digits(folder: Path) -> dict[str, Any]:
    """Writes the digit figure's module: `predict` names the probabilities of a drawing, `learn` takes one step."""
    network = reader()
    optimizer = optim.SGD(network.parameters(), lr=0.1)

    def predict(pixels: nbdl.Tensor) -> nbdl.Tensor:
        with nbdl.no_grad():
            return ops.softmax(network(pixels), -1)

    def learn(pixels: nbdl.Tensor, label: nbdl.Tensor) -> nbdl.Tensor:
        optimizer.zero_grad()
        loss = ops.cross_entropy(network(pixels), label)
        loss.backward()
        optimizer.step()
        return loss

    pixels, label = np.linspace(0, 1, 64, dtype=np.float32)[None], np.array([3])
    state = [network, optimizer]
    programs = {
        "predict": trace(predict, pixels, state=state, names=["pixels"]),
        "learn": trace(learn, pixels, label, state=state, names=["pixels", "label"]),
    }
    return wasm.export(folder, "digits", programs)


# ---------------------------------------------------------------- a GPT that goes on with a text


def blank_writer(vocabulary: int) -> models.GPT:
    """A GPT of two layers that has read nothing yet."""
    sizes = {"vocabulary": vocabulary, "context": CONTEXT, "width": 64, "layers": 2, "heads": 4}
    return models.GPT(models.GPTConfig.modern(**sizes, key_value_heads=2))


def writer() -> tuple[models.GPT, data.CharacterTokenizer]:
    """One that has read Python's documentation."""
    nbdl.manual_seed(0)
    text = "".join(topics.values())
    tokenizer = data.CharacterTokenizer.of(text)
    model = blank_writer(tokenizer.size)
    optimizer = optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, cycle_momentum=False)
    windows = data.TokenWindows(tokenizer.encode(text), CONTEXT, stride=16)
    loader = data.DataLoader(windows, batch_size=16, shuffle=True)
    for _, (inputs, targets) in zip(range(STEPS), loader, strict=False):
        scores = model(nbdl.tensor(inputs)).reshape(-1, tokenizer.size)
        loss = ops.cross_entropy(scores, nbdl.tensor(targets.reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval(), tokenizer


def build_writer(folder: Path) -> None:
    """Writes the module of the figure that goes on with a text: `predict` scores the next character at every place."""
    model, tokenizer = writer()

    def predict(tokens: nbdl.Tensor) -> nbdl.Tensor:
        with nbdl.no_grad():
            return model(tokens)[0]

    program = trace(predict, np.arange(CONTEXT)[None] % tokenizer.size, state=[model], names=["tokens"])
    interface = wasm.export(folder, "writer", {"predict": program})
    interface["characters"] = [tokenizer.decode([k]) for k in range(tokenizer.size)]
    (folder / "writer.json").write_text(json.dumps(interface), encoding="utf-8")


# ---------------------------------------------------------------- all


def build(folder: Path, built: Path | None = None) -> None:
    """Puts everything into a folder; copies it from another one where it was built before."""
    folder.mkdir(parents=True, exist_ok=True)
    if built is not None and all((built / name).exists() for name in FILES):
        for name in FILES:
            shutil.copyfile(built / name, folder / name)
    else:
        build_digits(folder)
        build_writer(folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
