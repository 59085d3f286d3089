"""Cost lab: time and memory of training steps, and what is gained and lost by each way to save some.

Memory and differences are counted and come out the same each time. Times are measured, a repetition in the place of a
seed: on another machine they are others.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nbdl
from nbdl import nn, ops, optim
from nbdl.autograd import Tensor

from .experiment import Outcome, Run, experiment, watched


def _deep(layers: int, width: int) -> nn.Sequential:
    nbdl.manual_seed(0)
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(width, width), nn.Tanh())])


def _convolutional() -> nn.Sequential:
    nbdl.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 10)),
    )


def _milliseconds(step: Callable[[], Any], times: int = 3) -> float:
    """Of the fastest of a few steps."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def _peak_megabytes(step: Callable[[], Any]) -> float:
    """Most memory of results during a step, in millions of bytes."""
    gc.collect()
    with nbdl.profile(kernels=False) as measured:
        step()
    return measured.peak_bytes / 1e6


def _gradients(model: nn.Module) -> np.ndarray:
    return np.concatenate([parameter.grad.numpy().reshape(-1) for parameter in model.parameters()])


# ---------------------------------------------------------------- checkpoints


@experiment("cost-checkpointing", seeds=7)
def checkpointing(run: Run) -> Outcome:
    """Memory and time of a deep network in segments that are computed again, and the memory that was predicted."""
    layers, width, rows = 24, 64, 2048
    model, x = _deep(layers, width), nbdl.randn(rows, width)
    unit = rows * width * 4 / 1e6  # what a layer keeps

    def step(segments: int) -> None:
        length = layers // segments
        value = x
        for first in range(0, layers, length) if segments > 1 else ():
            value = nbdl.checkpoint(model[2 * first : 2 * (first + length)], value)
        if segments == 1:
            value = model(value)
        model.zero_grad(set_to_none=False)  # their memory stays: what is measured is the step's own
        value.sum().backward()

    counts = [1, 2, 3, 4, 6, 8, 12, 24]
    step(1)
    expected = _gradients(model).copy()
    passing = 2 * unit  # the gradient that comes to a layer, and the one that it hands on
    values: dict[str, Any] = {}
    for segments in run.cases(counts):
        peak = _peak_megabytes(lambda segments=segments: step(segments))
        kept = layers if segments == 1 else segments + layers // segments
        predicted = kept * unit + passing
        values[str(segments)] = {
            "predicted megabytes": [predicted] * len(run.seeds),
            "peak megabytes": [peak] * len(run.seeds),
            "gradients differ by": [float(np.abs(_gradients(model) - expected).max())] * len(run.seeds),
            "milliseconds": [],
        }
    for _ in watched(run.seeds, "checkpoints"):
        for segments in run.cases(counts):
            values[str(segments)]["milliseconds"].append(_milliseconds(lambda segments=segments: step(segments)))
    return {"layers": layers, "width": width, "rows": rows, "unit": unit}, values


# ---------------------------------------------------------------- accumulation


@experiment("cost-accumulation", seeds=7)
def accumulation(run: Run) -> Outcome:
    """One batch of 2,048 images in pieces whose gradients are added: memory, time, and what changes."""
    batch = 2048
    nbdl.manual_seed(1)
    images, labels = nbdl.randn(batch, 64), nbdl.tensor(np.arange(batch) % 10)
    nbdl.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))

    def step(pieces: int) -> None:
        model.zero_grad(set_to_none=False)  # their memory stays: what is measured is the step's own
        size = batch // pieces
        for first in range(0, batch, size):
            part = slice(first, first + size)
            (ops.cross_entropy(model(images[part]), labels[part]) / pieces).backward()

    counts = [1, 2, 4, 8, 16, 32]
    step(1)
    whole = _gradients(model)
    values: dict[str, Any] = {}
    for pieces in run.cases(counts):
        peak = _peak_megabytes(lambda pieces=pieces: step(pieces))
        values[str(pieces)] = {
            "peak megabytes": [peak] * len(run.seeds),
            "relative difference": [float(np.linalg.norm(_gradients(model) - whole) / np.linalg.norm(whole)) * 1e6]
            * len(run.seeds),
            "milliseconds": [],
        }
    for _ in watched(run.seeds, "accumulation"):
        for pieces in run.cases(counts):
            values[str(pieces)]["milliseconds"].append(_milliseconds(lambda pieces=pieces: step(pieces)))
    return {"batch": batch, "relative difference in": "millionths"}, values


# ---------------------------------------------------------------- precision and threads


def _image_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = optim.SGD(model.parameters(), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        ops.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


@experiment("cost-precision", seeds=7)
def precision(run: Run) -> Outcome:
    """A convolutional network with fewer digits: time of a step, memory, and the error of its results."""
    batch = 32
    nbdl.manual_seed(1)
    images, labels = nbdl.randn(batch, 3, 32, 32), nbdl.tensor(np.arange(batch) % 10)
    exact_model = _convolutional().double()
    with nbdl.no_grad():
        exact = exact_model(images.double()).numpy()
    before = nbdl.get_precision()
    values: dict[str, Any] = {}
    cases = {"float64": "high", "highest": "highest", "high": "high", "medium": "medium"}
    steps: dict[str, Callable[[], None]] = {}
    try:
        for name, level in cases.items():
            nbdl.set_precision(level)
            double = name == "float64"
            model = exact_model if double else _convolutional()
            given = images.double() if double else images
            with nbdl.no_grad():
                error = float(np.abs(model(given).numpy() - exact).max() / np.abs(exact).max())
            steps[name] = _image_step(model, given, labels)
            steps[name]()
            peak = _peak_megabytes(steps[name])
            values[name] = {
                "error in millionths": [1e6 * error] * len(run.seeds),
                "peak megabytes": [peak] * len(run.seeds),
                "milliseconds": [],
            }
        for _ in watched(run.seeds, "precision"):
            for name, level in cases.items():
                nbdl.set_precision(level)
                values[name]["milliseconds"].append(_milliseconds(steps[name]))
    finally:
        nbdl.set_precision(before)
    return {"batch": batch}, values


@experiment("cost-threads", seeds=7)
def threads(run: Run) -> Outcome:
    """A training step on one thread, two and more: time, and whether the gradients keep their bits."""
    most = os.cpu_count() or 1
    counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= most and not (run.quick and count > 1)]
    nbdl.manual_seed(1)
    images, labels = nbdl.randn(64, 3, 32, 32), nbdl.tensor(np.arange(64) % 10)
    model = _convolutional()
    step = _image_step(model, images, labels)
    before = nbdl.get_num_threads()
    values: dict[str, Any] = {str(count): {"milliseconds": [], "gradients differ by": []} for count in counts}
    try:
        nbdl.set_num_threads(1)
        step()
        expected = _gradients(model)
        for _ in watched(run.seeds, "threads"):
            for count in counts:
                nbdl.set_num_threads(count)
                values[str(count)]["milliseconds"].append(_milliseconds(step))
                values[str(count)]["gradients differ by"].append(float(np.abs(_gradients(model) - expected).max()))
    finally:
        nbdl.set_num_threads(before)
    return {"batch": 64, "processors": most}, values


# ---------------------------------------------------------------- Python between the kernels


@experiment("cost-graph", seeds=7)
def graph(run: Run) -> Outcome:
    """Networks of several widths as written and as a graph: time of a step, and whether the weights keep their bits."""
    rows, warm = 32, 5
    values: dict[str, Any] = {}
    ways = {"as written": lambda step: step, "as a graph": nbdl.graph}
    steps: dict[str, dict[str, Callable[[], Any]]] = {}
    for width in run.cases([8, 32, 128, 512]):
        weights = []
        steps[str(width)] = {}
        for name, way in ways.items():
            nbdl.manual_seed(0)
            x, y = nbdl.randn(rows, 8), nbdl.randn(rows, 1)
            model = nn.Sequential(
                *(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
            )
            step = steps[str(width)][name] = way(_regression_step(model, x, y))
            for _ in range(warm):
                step()
            weights.append(np.concatenate([parameter.detach().numpy().ravel() for parameter in model.parameters()]))
        difference = float(np.abs(weights[0] - weights[1]).max())
        values[str(width)] = {"as written": [], "as a graph": [], "weights differ by": [difference] * len(run.seeds)}
    for _ in watched(run.seeds, "graph"):
        for width, both in steps.items():
            for name, step in both.items():
                values[width][name].append(_milliseconds(step, 2 if run.quick else 50))
    return {"rows": rows}, values


def _regression_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = ops.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---------------------------------------------------------------- profiles


@experiment("cost-profile", seeds=7)
def overhead(run: Run) -> Outcome:
    """What a profile itself costs: a step with and without it, in turn."""
    nbdl.manual_seed(1)
    images, labels = nbdl.randn(64, 3, 32, 32), nbdl.tensor(np.arange(64) % 10)
    step = _image_step(_convolutional(), images, labels)
    values: dict[str, Any] = {"plain milliseconds": [], "profiled milliseconds": []}
    step()
    for _ in watched(run.seeds, "profile"):
        plain, profiled = [], []
        for _ in range(2 if run.quick else 20):
            plain.append(_milliseconds(step, 1))
            with nbdl.profile():
                profiled.append(_milliseconds(step, 1))
        values["plain milliseconds"].append(min(plain))
        values["profiled milliseconds"].append(min(profiled))
    return {"batch": 64}, values
