"""A network that reads the digit that a reader draws, and learns from being told."""

from __future__ import annotations

import numpy as np

import nbdl
from live.figure import Figure
from nbdl import data, nn, ops, optim
from nbdl.export import trace

SIDE = 8


def moved(images: np.ndarray) -> np.ndarray:
    """Images [N, 64] and the same, moved by one pixel to each side: a reader does not draw in the middle."""
    squares = images.reshape(-1, SIDE, SIDE)
    padded = np.pad(squares, ((0, 0), (1, 1), (1, 1)))
    places = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return np.concatenate([padded[:, y : y + SIDE, x : x + SIDE] for y, x in places]).reshape(-1, SIDE * SIDE)


def blank_reader() -> nn.Module:
    """A perceptron for drawings of 8 x 8 pixels."""
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def taught(network: nn.Module, shape: tuple[int, ...], epochs: int) -> nn.Module:
    """The network after some seconds with handwritten digits, each an array of this shape, and moved by a pixel."""
    train, _ = data.digits()
    images, labels = moved(train.arrays[0]).reshape(-1, *shape), np.tile(train.arrays[1], 5)
    optimizer = optim.AdamW(network.parameters(), lr=3e-3)
    for epoch in range(epochs):
        for x, y in data.DataLoader(data.ArrayDataset(images, labels), batch_size=64, shuffle=True, seed=epoch):
            loss = ops.cross_entropy(network(nbdl.tensor(x)), nbdl.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def figure() -> Figure:
    """`predict` names the probabilities of a drawing, `learn` takes one step."""
    nbdl.manual_seed(0)
    network = taught(blank_reader(), (SIDE * SIDE,), epochs=8)
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
    return Figure(
        {
            "predict": trace(predict, pixels, state=state, names=["pixels"]),
            "learn": trace(learn, pixels, label, state=state, names=["pixels", "label"]),
        }
    )
