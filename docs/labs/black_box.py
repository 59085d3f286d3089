"""Black-box lab: what explanations show of a network, what they show of the input, and what they miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nbdl
from nbdl import data, explain, nn
from nbdl.autograd import Tensor

from .experiment import Outcome, Run, experiment, watched
from .training import Split, cnn, draw_split, learn, mlp, outputs

EXAMPLES, STEPS = 1000, 900
SHOWN = 32  # test images that are explained
CONVOLUTION = "3"  # the last one's ReLU, in `training.cnn`

Method = Callable[[Any, Tensor, Any], Tensor]


def _attributed(model: Any, images: Tensor, target: Any) -> Tensor:
    return explain.integrated_gradients(model, images, target, steps=60, tolerance=None).attributions


METHODS: dict[str, Method] = {
    "saliency": explain.saliency,
    "SmoothGrad": lambda model, images, target: explain.smooth_grad(model, images, target, samples=16),
    "integrated gradients": _attributed,
    "Grad-CAM": lambda model, images, target: explain.grad_cam(model, images, CONVOLUTION, target),
    "occlusion": lambda model, images, target: explain.occlusion(model, images, target, window=2),
    "the image itself": lambda model, images, target: images,
}


def _trained(seed: int, run: Run) -> tuple[nn.Module, Split]:
    split = draw_split(seed, EXAMPLES)
    return learn(cnn, split.train, seed=seed, steps=run.steps(STEPS)).model, split


@experiment("black-box-sanity", seeds=8)
def sanity(run: Run) -> Outcome:
    """How much of each explanation is left when the layers lose their weights? (Adebayo et al., 2018)"""
    values: dict[str, Any] = {name: {} for name in (*METHODS, "integrated gradients, signed")}
    for seed in watched(run.seeds, "random weights"):
        model, split = _trained(seed, run)
        images = nbdl.tensor(split.test.arrays[0][: 4 if run.quick else SHOWN])
        for name in values:
            method = METHODS[name.removesuffix(", signed")]
            found = explain.randomization_check(method, model, images, absolute="signed" not in name, seed=seed)
            for layer, similarity in zip(found.layers, found.similarity, strict=True):
                values[name].setdefault(layer, []).append(similarity)
    return {"examples": EXAMPLES, "steps": STEPS, "explained": SHOWN}, values


@experiment("black-box-deletion", seeds=8)
def deletion(run: Run) -> Outcome:
    """How fast is a network lost when the pixels that a map names first are deleted? (Samek et al., 2017)"""
    counts = [0, 2, 4, 8, 16, 32]
    values: dict[str, Any] = {name: {count: [] for count in counts} for name in (*METHODS, "random pixels")}
    for seed in watched(run.seeds, "deletion"):
        model, split = _trained(seed, run)
        images, labels = (array[: 16 if run.quick else None] for array in split.test.arrays)
        guesses = outputs(model, images).argmax(axis=1)
        random = data.RandomStream(seed, epoch=9).uniform(0, 1, images.size).reshape(len(images), -1)
        for name in values:
            if name == "random pixels":
                maps = random
            else:
                found = METHODS[name](model, nbdl.tensor(images), guesses).detach().numpy()
                maps = found.reshape(len(images), -1) if name != "saliency" else np.abs(found).reshape(len(images), -1)
            order = np.argsort(-maps, axis=1, kind="stable")
            for count in counts:
                deleted = images.reshape(len(images), -1).copy()
                np.put_along_axis(deleted, order[:, :count], 0.0, axis=1)
                right = outputs(model, deleted.reshape(images.shape)).argmax(axis=1) == labels
                values[name][count].append(right.mean())
    return {"examples": EXAMPLES, "steps": STEPS, "counts": counts}, values


# ---------------------------------------------------------------- a shortcut


def with_cue(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The images with a bright pixel in the top row, whose place tells the class: digits leave its ends empty."""
    marked = images.copy()
    marked[:, 0, 0, :] = 0.0
    marked[np.arange(len(images)), 0, labels // 8, labels % 8] = 1.0
    return marked


@experiment("black-box-shortcut", seeds=8)
def shortcut(run: Run) -> Outcome:
    """A network learns from images on which a pixel gives the class away: do the maps show that it cheats?"""
    values: dict[str, Any] = {
        kind: {"accuracy with the cue": [], "accuracy without": [], "share of the cue": []}
        for kind in ("cue", "no cue")
    }
    for seed in watched(run.seeds, "shortcut"):
        split = draw_split(seed, EXAMPLES)
        (images, labels), (test, truth) = split.train.arrays, split.test.arrays
        for kind, values_of_kind in values.items():
            learned = data.ArrayDataset(with_cue(images, labels) if kind == "cue" else images, labels)
            model = learn(mlp, learned, seed=seed, steps=run.steps(STEPS)).model
            marked = with_cue(test, truth)
            values_of_kind["accuracy with the cue"].append(np.mean(outputs(model, marked).argmax(axis=1) == truth))
            values_of_kind["accuracy without"].append(np.mean(outputs(model, test).argmax(axis=1) == truth))
            shares = np.abs(_attributed(model, nbdl.tensor(marked), truth).numpy())
            cue = shares[np.arange(len(truth)), 0, truth // 8, truth % 8]
            values_of_kind["share of the cue"].append(np.mean(cue / shares.sum(axis=(1, 2, 3))))
    return {"examples": EXAMPLES, "steps": STEPS}, values


# ---------------------------------------------------------------- tables


@experiment("black-box-twins", seeds=10)
def twins(run: Run) -> Outcome:
    """Permutation importance of a column, alone and beside columns that say the same."""
    rows, values = 600, {f"{copies} noisy copies": {"each": [], "together": []} for copies in (0, 1, 3)}
    for seed in watched(run.seeds, "twins"):
        for copies, values_of_kind in zip((0, 1, 3), values.values(), strict=True):
            random = np.random.default_rng(seed)
            cause = random.normal(size=(2 * rows, 1))
            noise = 0.05 * random.normal(size=(2 * rows, copies))
            table = np.concatenate([cause, cause + noise, random.normal(size=(2 * rows, 4))], axis=1).astype(np.float32)
            labels = (cause[:, 0] + 0.3 * random.normal(size=2 * rows) > 0).astype(np.int64)
            model = learn(
                lambda width=table.shape[1]: nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 2)),
                data.ArrayDataset(table[:rows], labels[:rows]),
                seed=seed,
                steps=run.steps(600),
                rate=1e-2,
            ).model
            same = list(range(1 + copies))
            found = explain.permutation_importance(
                model, table[rows:], labels[rows:], columns=[*same, same], repeats=5, seed=seed
            )
            values_of_kind["each"].append(found.mean[:-1].mean())
            values_of_kind["together"].append(found.mean[-1])
    return {"rows": rows, "columns without meaning": 4}, values
