"""Scaled dot-product attention beside PyTorch, over random arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

attention = torch.nn.functional.scaled_dot_product_attention

pytestmark = pytest.mark.parity

CASES = 250
EXACT = 1e-6
SINGLE = 1e-4


def sizes(rng: np.random.Generator) -> tuple[int, ...]:
    """Queries, keys, features, columns; at times more than a block has, at times none."""
    large = rng.random() < 0.15
    queries, keys = (int(n) for n in rng.integers(1, 150 if large else 7, 2))
    queries = 1 if rng.random() < 0.2 else queries
    features, columns = (int(n) for n in rng.integers(1, 9, 2))
    if rng.random() < 0.1:
        keys = 0
    return queries, keys, features, columns


def shapes(rng: np.random.Generator, grouped: bool, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Of query, key and value."""
    queries, keys, features, columns = size
    if grouped:
        heads, of_keys, of_values = [(4, 2, 2), (4, 1, 1), (6, 3, 2), (2, 2, 1), (3, 3, 3)][rng.integers(5)]
        batch = [(), (1,), (2,), (2, 1)][rng.integers(4)]
        leads = [(*batch, heads), (*batch, of_keys), (*batch, of_values)]
    else:
        lead = [(), (2,), (2, 3), (1, 2), (0, 2), (2, 1, 2)][rng.integers(6)]
        leads = [lead] * 3
        if rng.random() < 0.3 and keys and 0 not in lead:  # where nothing is to be added, PyTorch does not broadcast
            leads = [tuple(1 if rng.random() < 0.3 else n for n in lead)[rng.integers(len(lead) + 1) :] for _ in leads]
    rows = ((queries, features), (keys, features), (keys, columns))
    return [(*lead, *row) for lead, row in zip(leads, rows, strict=True)]


def mask_of(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Truth values or numbers, with infinities among them, of a shape that broadcasts."""
    first = int(rng.integers(len(shape) - 1)) if rng.random() < 0.5 else 0
    own = tuple(1 if rng.random() < 0.25 else size for size in shape)[first:]
    if rng.random() < 0.5:
        return rng.random(own) < 0.6
    mask = rng.standard_normal(own)
    if rng.random() < 0.5:
        mask[rng.random(own) < 0.4] = -np.inf
    return mask


def leaf(library: Any, array: np.ndarray, wants_gradient: bool = True) -> Any:
    tensor = library.from_numpy(array.copy())
    return tensor.requires_grad_() if wants_gradient and array.dtype.kind == "f" else tensor


def test_arguments() -> None:
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        grouped = rng.random() < 0.25
        arrays = [rng.standard_normal(shape) for shape in shapes(rng, grouped, sizes(rng))]
        options: dict[str, Any] = {"enable_gqa": grouped, "scale": [None, 1.5, -0.3, 0.0][rng.integers(4)]}
        kind = rng.random()
        if kind < 0.35:
            options["is_causal"] = True
            options["scale"] = [None, 1.5][rng.integers(2)]  # with others PyTorch's fast path gives NaN
        elif kind < 0.75:
            query, key = arrays[:2]
            lead = query.shape[:-2] if grouped else np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
            arrays.append(mask_of(rng, (*lead, query.shape[-2], key.shape[-2])))
        title = f"{[x.shape for x in arrays]} {options}"

        theirs = [leaf(torch, x) for x in arrays]
        wanted = attention(*theirs[:3], *theirs[3:], **options)
        cotangent = rng.standard_normal(tuple(wanted.shape))
        wanted.backward(torch.from_numpy(cotangent))
        # Of a sum over no keys PyTorch leaves gradients out.
        found = [torch.zeros_like(x) if x.grad is None else x.grad for x in theirs if x.requires_grad]
        references = [wanted.detach(), *found]
        for dtype, bound in ((np.float64, EXACT), (np.float32, SINGLE)):
            ours = [leaf(nbdl, x.astype(dtype) if x.dtype.kind == "f" else x) for x in arrays]
            got = ops.scaled_dot_product_attention(*ours[:3], *ours[3:], **options)
            assert got.shape == tuple(wanted.shape), title
            got.backward(nbdl.from_numpy(cotangent.astype(dtype)))
            values = [got.detach(), *(x.grad for x in ours if x.requires_grad)]
            for number, (value, reference) in enumerate(zip(values, references, strict=True)):
                expected = reference.numpy()
                size = np.abs(expected).max(initial=1)
                assert np.abs(value.numpy() - expected).max(initial=0) <= bound * size, f"{title} [{dtype}]: {number}"


def test_views_of_one_projection() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        batch, length, heads, width = (int(n) for n in rng.integers(1, 6, 4))
        array = rng.standard_normal((batch, length, 3 * heads * width))
        cotangent = rng.standard_normal((batch, length, heads * width))
        gradients = []
        for library, function in ((nbdl, ops.scaled_dot_product_attention), (torch, attention)):
            x = leaf(library, array)
            parts = [
                part.reshape(batch, length, heads, width).transpose(1, 2) for part in x.split(heads * width, dim=2)
            ]
            y = function(*parts, is_causal=True).transpose(1, 2).reshape(batch, length, heads * width)
            y.backward(library.from_numpy(cotangent))
            gradients.append((y.detach().numpy(), x.grad.numpy()))
        for got, wanted in zip(*gradients, strict=True):
            np.testing.assert_allclose(got, wanted, atol=EXACT)


def test_special_values() -> None:
    """NaN and infinities in the query, and in a mask of numbers or of truth values."""
    rng = np.random.default_rng(2)
    for _ in range(100):
        query, key, value = (rng.standard_normal((n, 3)) for n in (4, 5, 5))
        query[rng.integers(4), rng.integers(3)] = [np.nan, np.inf, -np.inf][rng.integers(3)]
        mask = mask_of(rng, (4, 5))
        if mask.dtype.kind == "f":
            mask[rng.random(mask.shape) < 0.1] = np.inf
        inputs = (query, key, value, mask)
        got = ops.scaled_dot_product_attention(*(nbdl.from_numpy(x) for x in inputs)).numpy()
        wanted = attention(*(torch.from_numpy(x) for x in inputs)).numpy()
        np.testing.assert_allclose(got, wanted, atol=EXACT)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_dropout_at_its_ends(dropout: float) -> None:
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((2, 2, 3, 4)) for _ in range(3)]
    got = ops.scaled_dot_product_attention(*(nbdl.from_numpy(x) for x in arrays), dropout_p=dropout)
    wanted = attention(*(torch.from_numpy(x) for x in arrays), dropout_p=dropout)
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=EXACT)


def test_both_refuse() -> None:
    query, key, value = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 5, 6))
    mask = np.ones((3, 5), bool)
    wrong: list[tuple[list[Any], dict[str, Any]]] = [
        ([query[0, 0], key, value], {}),
        ([query, key[..., :3], value], {}),
        ([query, key, value[:, :4]], {}),
        ([query, np.ones((3, 5, 4)), value], {}),
        ([query, key.astype(np.float32), value], {}),
        ([query, key, value, mask], {"is_causal": True}),
        ([query, key, value, mask.T.copy()], {}),
        ([query, key, value, np.ones((1, 2, 3, 5))], {}),
        ([query, key, value, mask.astype(np.int64)], {}),
        ([query, key, value], {"dropout_p": 1.5}),
        ([np.ones((3, 3, 4)), key, value], {"enable_gqa": True}),
        ([query[0], key[0], value[0]], {"enable_gqa": True}),
    ]
    for number, (arrays, options) in enumerate(wrong):
        with pytest.raises((RuntimeError, IndexError, ValueError)):
            attention(*(torch.from_numpy(x) for x in arrays), **options)
            pytest.fail(f"PyTorch takes case {number}")
        with pytest.raises(NbdlError):
            ops.scaled_dot_product_attention(*(nbdl.from_numpy(x) for x in arrays), **options)
            pytest.fail(f"nbdl takes case {number}")


def test_a_long_sequence() -> None:
    """float32 against PyTorch's float64 over several blocks."""
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal((1, 2, 1100, 64)) for _ in range(3)]
    cotangent = rng.standard_normal((1, 2, 1100, 64))
    theirs = [leaf(torch, x) for x in arrays]
    wanted = attention(*theirs, is_causal=True)
    wanted.backward(torch.from_numpy(cotangent))
    ours = [leaf(nbdl, x.astype(np.float32)) for x in arrays]
    got = ops.scaled_dot_product_attention(*ours, is_causal=True, scale=1 / math.sqrt(64))
    got.backward(nbdl.from_numpy(cotangent.astype(np.float32)))
    np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), atol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=2e-5)
