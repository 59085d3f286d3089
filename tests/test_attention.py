"""Attention beyond the properties of its rows: several blocks, special values, memory, layouts, threads, decoding."""

import math

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.attention import plan
from nbdl.runtime import arrays, memory
from nbdl.testing import properties, simt
from nbdl.testing.draw import seeded
from nbdl.testing.specs import find_specs

RNG = np.random.default_rng(0)


def leaves(*shapes, dtype=np.float64):
    return [Tensor(RNG.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]


def composed(query, key, value, attn_mask=None, is_causal=False):
    """The same from other operations, with all scores in memory."""
    scores = ops.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
    if is_causal:
        attn_mask = Tensor(np.tri(*scores.shape[-2:], dtype=bool))
    if attn_mask is not None and attn_mask.dtype == np.bool_:
        scores = ops.where(attn_mask, scores, nbdl.full((), -np.inf, dtype=scores.dtype))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return ops.matmul(ops.softmax(scores, -1), value)


def results(function, *inputs, cotangent, **options):
    for leaf in inputs:
        leaf.grad = None
    y = function(*inputs, **options)
    y.backward(cotangent)
    return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in inputs)]


# ---------------------------------------------------------------- several blocks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("lead", "queries", "keys", "features", "columns"),
    [((2,), 130, 700, 24, 40), ((1, 2), 333, 333, 32, 32), ((), 600, 250, 8, 16)],
)
@pytest.mark.parametrize("kind", ["all", "causal", "mask", "additive"])
def test_several_blocks(dtype, lead, queries, keys, features, columns, kind):
    inputs = leaves((*lead, queries, features), (*lead, keys, features), (*lead, keys, columns), dtype=dtype)
    options = {"is_causal": kind == "causal"}
    if kind == "mask":
        options["attn_mask"] = Tensor(RNG.random((queries, keys)) < 0.7)
    if kind == "additive":
        inputs += leaves((queries, keys), dtype=dtype)
    cotangent = Tensor(RNG.standard_normal((*lead, queries, columns)).astype(dtype))
    got = results(ops.scaled_dot_product_attention, *inputs, cotangent=cotangent, **options)
    wanted = results(composed, *inputs, cotangent=cotangent, **options)
    bound = 1e-12 if dtype == np.float64 else 1e-4
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        np.testing.assert_allclose(a, b, atol=bound, rtol=bound, err_msg=f"result {number}")


def test_grouped_queries_are_repeated_keys():
    query, key, value = leaves((2, 6, 150, 16), (2, 2, 150, 16), (2, 2, 150, 16))
    cotangent = Tensor(RNG.standard_normal(query.shape))
    got = results(
        lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
        query, key, value, cotangent=cotangent,
    )  # fmt: skip
    wanted = results(
        lambda q, k, v: composed(q, ops.repeat_interleave(k, 3, 1), ops.repeat_interleave(v, 3, 1), is_causal=True),
        query, key, value, cotangent=cotangent,
    )  # fmt: skip
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("is_causal", [False, True])
def test_parts_take_turns(monkeypatch, is_causal):
    """More blocks of keys than parts: each part has several."""
    monkeypatch.setattr(plan, "BACKWARD_KEYS", 64)
    monkeypatch.setattr(plan, "UNITS", 3)
    plan.backward_plan.cache_clear()
    inputs = leaves((1, 400, 8), (1, 400, 8), (1, 400, 8))
    cotangent = Tensor(RNG.standard_normal((1, 400, 8)))
    try:
        got = results(ops.scaled_dot_product_attention, *inputs, cotangent=cotangent, is_causal=is_causal)
    finally:
        plan.backward_plan.cache_clear()
    wanted = results(composed, *inputs, cotangent=cotangent, is_causal=is_causal)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_parts_of_one_item(monkeypatch):
    """Where there are few items, the backward pass adds up parts of dq, on the CPU and in its twin."""
    monkeypatch.setattr(plan, "BACKWARD_KEYS", 64)
    monkeypatch.setattr(plan, "UNIT_WORK", 1)
    plan.backward_plan.cache_clear()
    try:
        for row in find_specs(["scaled_dot_product_attention"]):
            if row.variant == "long":
                for seed in range(6):
                    case = row.inputs(seeded(seed))
                    properties.check_gradients(row, case)
                    properties.check_threads(row, case)
                    if seed < 3:
                        properties.check_twin(row, case, lambda seed=seed: simt.target(seed=seed))
    finally:
        plan.backward_plan.cache_clear()


# ---------------------------------------------------------------- special values


@pytest.mark.parametrize("queries", [1, 3])
def test_a_query_that_may_look_at_nothing_is_zero(queries):
    for mask in (np.zeros((queries, 3), bool), np.full((queries, 3), -np.inf)):
        query, key, value = leaves((queries, 4), (3, 4), (3, 4))
        leaf = Tensor(mask, requires_grad=mask.dtype != bool)
        y = ops.scaled_dot_product_attention(query, key, value, attn_mask=leaf)
        y.backward(nbdl.ones(queries, 4, dtype=nbdl.float64))
        for array in (y, query.grad, key.grad, value.grad, *([leaf.grad] if leaf.requires_grad else [])):
            assert not array.detach().numpy().any()


@pytest.mark.parametrize("queries", [1, 4])
def test_nan_and_infinity_stay_in_their_query(queries):
    query, key, value = (RNG.standard_normal((n, 4)) for n in (queries, 5, 5))
    query[0, 0] = np.nan
    mask = np.ones((queries, 5), bool)
    mask[0, 1:] = False
    y = ops.scaled_dot_product_attention(Tensor(query), Tensor(key), Tensor(value), Tensor(mask)).numpy()
    assert np.isnan(y[0]).all() and np.isfinite(y[1:]).all()
    additive = np.zeros((queries, 5))
    additive[0, 2] = np.inf
    query[0, 0] = 0
    y = ops.scaled_dot_product_attention(Tensor(query), Tensor(key), Tensor(value), Tensor(additive)).numpy()
    assert np.isnan(y[0]).all() and np.isfinite(y[1:]).all()


def test_large_scores_do_not_overflow():
    query, key, value = leaves((40, 8), (600, 8), (600, 8), dtype=np.float32)
    y = ops.scaled_dot_product_attention(query, key, value, scale=1e4)
    best = np.argmax(query.detach().numpy() @ key.detach().numpy().T, axis=1)
    np.testing.assert_allclose(y.detach().numpy(), value.detach().numpy()[best], atol=1e-3)
    y.sum().backward()
    assert np.isfinite(query.grad.numpy()).all()


def test_a_mask_in_float32_beside_float64():
    query, key, value = leaves((3, 4), (5, 4), (5, 4))
    mask = Tensor(RNG.standard_normal((3, 5)).astype(np.float32), requires_grad=True)
    y = ops.scaled_dot_product_attention(query, key, value, mask)
    assert y.dtype == np.float64
    y.sum().backward()
    assert mask.grad.dtype == np.float32


# ---------------------------------------------------------------- causality


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_later_token_leaves_every_earlier_result_bit_for_bit(dtype):
    query, key, value = (RNG.standard_normal((2, 2, 700, 16)).astype(dtype) for _ in range(3))
    before = ops.scaled_dot_product_attention(Tensor(query), Tensor(key), Tensor(value), is_causal=True).numpy().copy()
    for changed in (699, 513, 512, 511, 60, 1):
        k, v = key.copy(), value.copy()
        k[:, :, changed:], v[:, :, changed:] = 3, -7
        after = ops.scaled_dot_product_attention(Tensor(query), Tensor(k), Tensor(v), is_causal=True).numpy()
        np.testing.assert_array_equal(after[:, :, :changed], before[:, :, :changed])
        assert not np.array_equal(after, before)


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_last_query_alone_is_the_last_row(dtype, heads):
    """One query over a cache, which is a view of a larger buffer, and heads that share it."""
    cache = RNG.standard_normal((2, 1, heads, 100, 20)).astype(dtype)
    query = RNG.standard_normal((1, 4, 70, 20)).astype(dtype)
    key, value = (Tensor(buffer)[:, :, :70] for buffer in cache)
    whole = ops.scaled_dot_product_attention(Tensor(query), key, value, is_causal=True, enable_gqa=True)
    for position in (0, 1, 33, 69):
        alone = ops.scaled_dot_product_attention(
            Tensor(query[:, :, position : position + 1]), key[:, :, : position + 1], value[:, :, : position + 1],
            enable_gqa=True,
        )  # fmt: skip
        np.testing.assert_allclose(
            alone.numpy()[:, :, 0], whole.numpy()[:, :, position], atol=1e-12 if dtype == np.float64 else 1e-5
        )


# ---------------------------------------------------------------- memory


def allocated(function):
    """Bytes of all arrays that a call asks for."""
    total, empty = 0, memory.empty

    def counting(shape, dtype):
        nonlocal total
        array = empty(shape, dtype)
        total += array.nbytes
        return array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "empty", counting)
        function()
    return total


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.5}])
def test_memory_grows_with_the_length_not_with_its_square(options):
    def step(length):
        inputs = leaves((1, 2, length, 16), (1, 2, length, 16), (1, 2, length, 16), dtype=np.float32)
        return lambda: ops.scaled_dot_product_attention(*inputs, **options).sum().backward()

    short, long = allocated(step(500)), allocated(step(2000))
    assert long < 4.5 * short
    assert long < 2 * 2000 * 2000 * 4 / 4  # a quarter of the scores of both heads


def test_heads_are_joined_without_a_copy():
    """Of views of one projection, results and gradients lie as the projection does."""
    projection = Tensor(RNG.standard_normal((2, 10, 3, 4, 8)), requires_grad=True)
    parts = [part.transpose(1, 2) for part in projection.unbind(2)]
    y = ops.scaled_dot_product_attention(*parts)
    joined = y.transpose(1, 2).reshape(2, 10, 32)
    assert np.shares_memory(joined.detach().numpy(), y.detach().numpy())
    gradients = nbdl.autograd.grad(y, parts, nbdl.ones(2, 4, 10, 8, dtype=nbdl.float64), retain_graph=True)
    for gradient, part in zip(gradients, parts, strict=True):
        assert gradient.numpy().strides == part.detach().numpy().strides
        assert gradient.numpy().base is gradients[0].numpy().base
    copies = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "copy_into", lambda *arguments: copies.append(arguments))
        joined.backward(nbdl.ones(2, 10, 32, dtype=nbdl.float64))
    assert not copies
    contiguous = leaves((2, 4, 10, 8))[0]
    ops.scaled_dot_product_attention(contiguous, contiguous, contiguous).sum().backward()
    assert contiguous.grad.numpy().flags.c_contiguous


# ---------------------------------------------------------------- threads and chance


@pytest.mark.parametrize("shape", [(1, 1, 700, 16), (1, 3, 260, 32), (8, 2, 70, 8)])
@pytest.mark.parametrize("options", [{"is_causal": True}, {}, {"dropout_p": 0.25}])
def test_the_same_bits_for_any_number_of_threads(shape, options):
    kept, runs = nbdl.get_num_threads(), []
    inputs = leaves(shape, shape, shape, dtype=np.float32)
    cotangent = Tensor(RNG.standard_normal(shape).astype(np.float32))
    try:
        for threads in (1, 2, 4):
            nbdl.set_num_threads(threads)
            nbdl.manual_seed(1)
            arrays = results(ops.scaled_dot_product_attention, *inputs, cotangent=cotangent, **options)
            runs.append([array.tobytes() for array in arrays])
    finally:
        nbdl.set_num_threads(kept)
    assert runs[0] == runs[1] == runs[2]


def test_dropout_keeps_the_expected_value():
    nbdl.manual_seed(0)
    query, key = (Tensor(np.zeros((1, 400, 4), np.float32)) for _ in range(2))
    value = nbdl.eye(400).unsqueeze(0)
    weights = ops.scaled_dot_product_attention(query, key, value, dropout_p=0.25).numpy() * 400
    assert set(np.round(np.unique(weights), 4)) == {np.float32(0), np.float32(1.3333)}
    assert abs((weights == 0).mean() - 0.25) < 0.005
    again = ops.scaled_dot_product_attention(query, key, value, dropout_p=0.25).numpy() * 400
    assert not np.array_equal(weights, again)
