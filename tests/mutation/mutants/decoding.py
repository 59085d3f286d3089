"""Bugs in writing token by token: the block of a decoder, the cache, the choice."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, twins

GPT_TESTS = "tests/test_gpt.py -k "

DECODING = (
    *bugs(
        "ops/decoding.py",
        (
            "missing term",
            "    share = type(zero)(1) / np.sqrt(square / c + eps)",
            "    share = type(zero)(1) / np.sqrt(square / c)",
            forward("decoder_block"),
        ),
        (
            "sign",
            "            first[i] = a * rotation[i] - b * rotation[half + i]",
            "            first[i] = a * rotation[i] + b * rotation[half + i]",
            forward("decoder_block"),
        ),
        (
            "index",
            "            kept = (b * groups + h * groups // heads) * places * d",
            "            kept = (b * groups + h % groups) * places * d",
            forward("decoder_block"),
        ),
        (
            "constant",
            "    scale = one / np.sqrt(x.dtype.type(d))",
            "    scale = one / x.dtype.type(d)",
            forward("decoder_block"),
        ),
        (
            "bound",
            "        highest = max(highest, scores[s])\n    total = zero\n    for s in range(n):",
            "        highest = max(highest, scores[s])\n    total = zero\n    for s in range(n - 1):",
            forward("decoder_block"),
        ),
        (
            "index",
            "                own_value[i] = v[g * d + i]",
            "                own_value[i] = k[g * d + i]",
            forward("decoder_block"),
        ),
        (
            "wrong axis",
            "    turn = pointer(rotation, (position if rotary else 0) * d)",
            "    turn = pointer(rotation, 0)",
            forward("decoder_block"),
        ),
        (
            "missing term",
            "                q[j] = silu_and_slope(q[j])[0] * value[j]",
            "                q[j] = silu_and_slope(q[j])[0]",
            forward("decoder_block"),
        ),
        (
            "missing barrier",
            "        values[b, place // d, position, place % d] = workspace[b, v + place]\n    cuda.syncthreads()",
            "        values[b, place // d, position, place % d] = workspace[b, v + place]\n    cuda.syncwarp()",
            twins("decoder_block:wide"),
        ),
        (
            "index",
            "        g = h * groups // heads",
            "        g = h % groups",
            twins("decoder_block"),
        ),
        (
            "reduction",
            "        total = block_sum(total)\n        for i in range(thread, d, BLOCK):",
            "        for i in range(thread, d, BLOCK):",
            twins("decoder_block:wide"),
        ),
    ),
    *bugs(
        "nn/kv_cache.py",
        (
            "index",
            "        return wrap(array[:, :, : self.position])",
            "        return wrap(array[:, :, begin : self.position])",
            GPT_TESTS + "test_the_cache_gives",
        ),
    ),
    *bugs(
        "models/gpt/model.py",
        (
            "bound",
            "                    mask = Tensor(np.tri(length, before + length, before, dtype=bool))",
            "                    mask = Tensor(np.tri(length, before + length, before + 1, dtype=bool))",
            GPT_TESTS + "test_the_cache_gives",
        ),
        (
            "missing term",
            "            k = ops.rotary_embedding(k, begin, base=config.rotary_base)",
            "            k = ops.rotary_embedding(k, base=config.rotary_base)",
            GPT_TESTS + "test_the_cache_gives",
        ),
    ),
    *bugs(
        "models/sampling.py",
        (
            "bound",
            "            unlikely[:, -1] = False",
            "            unlikely[:, 0] = False",
            GPT_TESTS + "left_to_choose",
        ),
    ),
)
