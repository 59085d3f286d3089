"""CTC and embedding bags beside PyTorch, over random arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

pytestmark = pytest.mark.parity

EXACT, SINGLE = 1e-6, 1e-4


@pytest.fixture(autouse=True)
def one_thread():
    """Where other programs run, PyTorch's threads would wait for one another longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CASES = 250


def both(array: np.ndarray | None, dtype: Any = np.float64) -> tuple[Any, Any]:
    """Leaves with gradients in PyTorch (always float64) and in nbdl."""
    if array is None:
        return None, None
    return torch.tensor(array, requires_grad=True), nbdl.tensor(array.astype(dtype), requires_grad=True)


def close(ours: Any, theirs: Any, bound: float) -> bool:
    got, wanted = np.asarray(ours.detach(), np.float64), theirs.detach().numpy()
    return got.shape == wanted.shape and np.allclose(got, wanted, rtol=bound, atol=bound, equal_nan=True)


def lengths_as(kind: int, numbers: np.ndarray, tensor: Any) -> Any:
    return tuple(numbers.tolist()) if kind == 0 else tensor(numbers)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ctc_over_random_arguments(dtype):
    rng = np.random.default_rng(0)
    bound = EXACT if dtype is np.float64 else SINGLE
    for case in range(CASES):
        steps, batch, classes, longest = (int(rng.integers(1, high)) for high in (9, 5, 6, 5))
        classes += 1
        log_probs = torch.tensor(rng.standard_normal((steps, batch, classes))).log_softmax(2).numpy()
        sizes, lengths = rng.integers(0, longest + 1, batch), rng.integers(0, steps + 1, batch)
        blank, kind = int(rng.integers(0, classes)), int(rng.integers(0, 2))
        targets = rng.integers(0, classes - 1, (batch, longest))
        targets += targets >= blank
        if rng.integers(2):
            targets = np.concatenate([row[:size] for row, size in zip(targets, sizes, strict=True)])
        if batch == 1 and rng.integers(2):  # without a batch
            log_probs, targets = log_probs[:, 0], targets.reshape(-1)[: sizes[0]]
        options = (blank, ["mean", "sum", "none"][rng.integers(3)], bool(rng.integers(2)))
        x, y = both(log_probs, dtype)
        theirs = torch.nn.CTCLoss(*options)(
            x, torch.tensor(targets), *(lengths_as(kind, n, torch.tensor) for n in (lengths, sizes))
        )
        ours = nn.CTCLoss(*options)(
            y, nbdl.tensor(targets), *(lengths_as(kind, n, nbdl.tensor) for n in (lengths, sizes))
        )
        cotangent = rng.standard_normal(tuple(theirs.shape))
        theirs.backward(torch.tensor(cotangent))
        ours.backward(nbdl.from_numpy(np.array(cotangent, dtype)))
        title = f"case {case}: {options}, lengths {lengths}, targets {sizes}"
        assert close(ours, theirs, bound), title
        assert close(y.grad, x.grad, bound), title


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bags_over_random_arguments(dtype):
    """scale_grad_by_freq is left out: PyTorch's CPU kernel divides by the number of another id."""
    rng = np.random.default_rng(1)
    bound = EXACT if dtype is np.float64 else SINGLE
    for case in range(CASES):
        rows, features = (int(rng.integers(1, 6)) for _ in range(2))
        table = rng.integers(-3, 4, (rows, features)) * 0.5  # equal values occur
        options: dict[str, Any] = {"mode": ["mean", "sum", "max"][rng.integers(3)]}
        offsets = None
        if rng.integers(2):
            ids = rng.integers(0, rows, (rng.integers(0, 4), rng.integers(1, 4)))
        else:
            ids = rng.integers(0, rows, rng.integers(0, 7))
            offsets = np.concatenate([[0], np.sort(rng.integers(0, len(ids) + 1, rng.integers(0, 3)))])
            if rng.integers(2):
                options["include_last_offset"] = True
                offsets = np.append(offsets, len(ids))
        if rng.integers(2):
            options["padding_idx"] = int(rng.integers(-rows, rows))
        if rng.integers(3) == 0:
            options |= {"max_norm": 1.0, "norm_type": [2.0, 1.0][rng.integers(2)]}
        weighted = options["mode"] == "sum" and rng.integers(2)
        (x, y), (u, v) = both(table, dtype), both(rng.standard_normal(ids.shape) if weighted else None, dtype)
        starts = [None, None] if offsets is None else [torch.tensor(offsets), nbdl.tensor(offsets)]
        theirs = torch.nn.functional.embedding_bag(torch.tensor(ids), x, starts[0], per_sample_weights=u, **options)
        ours = ops.embedding_bag(nbdl.tensor(ids), y, starts[1], per_sample_weights=v, **options)
        cotangent = rng.standard_normal(tuple(theirs.shape))
        theirs.backward(torch.tensor(cotangent))
        ours.backward(nbdl.from_numpy(cotangent.astype(dtype)))
        title = f"case {case}: {options}, ids {ids.tolist()}, offsets {offsets}"
        assert close(ours, theirs, bound), title
        assert close(y, x, bound), title
        assert close(y.grad, x.grad, bound), title
        assert u is None or close(v.grad, u.grad, bound), title
