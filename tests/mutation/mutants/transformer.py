"""Bugs in attention layers, the Transformer's layers, positions, and the model of tokens."""

from __future__ import annotations

from tests.mutation.mutant import bugs

LAYERS = "tests/test_transformer.py"

TRANSFORMER = (
    *bugs(
        "nn/attention.py",
        ("constant", "math.sqrt(1 / self.head_dim)", "math.sqrt(1 / self.embed_dim)", f"{LAYERS} -k definition"),
        ("wrong axis", "weights = ops.mean(weights, 1)", "weights = ops.mean(weights, 0)", f"{LAYERS} -k definition"),
        ("sign", "                mask = ops.logical_not(mask)\n", "                pass\n", f"{LAYERS} -k both_ways"),
        ("missing term", "mask = ops.logical_or(mask, padding)", "mask = padding", f"{LAYERS} -k both_ways"),
        (
            "missing term",
            "_as_scores(mask, query.dtype) + _as_scores(padding, query.dtype)",
            "_as_scores(mask, query.dtype)",
            f"{LAYERS} -k both_ways",
        ),
        (
            "index",
            "order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)",
            "order = (0, 2, 1, 3)",
            f"{LAYERS} -k one_sequence",
        ),
        (
            "wrong axis",
            "(0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)",
            "(0, 2, 1, 3) if self.batch_first else (0, 2, 1, 3)",
            f"{LAYERS} -k one_sequence",
        ),
        (
            "index",
            "mask = ops.cat([mask, shown], -1)",
            "mask = ops.cat([shown, mask], -1)",
            f"{LAYERS} -k added_keys",
        ),
        (
            "missing term",
            "only_causal = is_causal and key_padding_mask is None and not need_weights",
            "only_causal = is_causal and not need_weights",
            f"{LAYERS} -k a_hint_reads",
        ),
    ),
    *bugs(
        "nn/transformer/layers.py",
        (
            "missing term",
            "return x + dropout(sublayer(norm(x)))",
            "return dropout(sublayer(norm(x)))",
            f"{LAYERS} -k their_parts",
        ),
        (
            "index",
            "return self._add(2, x, self._feed_forward)",
            "return self._add(1, x, self._feed_forward)",
            f"{LAYERS} -k their_parts",
        ),
        ("bound", "dtype=dtype, device=device), 1)", "dtype=dtype, device=device), 0)", f"{LAYERS} -k the_causal_mask"),
        (
            "sign",
            "ops.reshape(ops.logical_not(memory_key_padding_mask)",
            "ops.reshape(ops.positive(memory_key_padding_mask)",
            f"{LAYERS} -k step_by_step",
        ),
        ("constant", "return bool(is_causal)", "return True", f"{LAYERS} -k padding_changes"),
    ),
    *bugs(
        "nn/positions.py",
        (
            "wrong axis",
            "pairs = ops.stack([ops.sin(angles), ops.cos(angles)], 2)",
            "pairs = ops.stack([ops.sin(angles), ops.cos(angles)], 1)",
            f"{LAYERS} -k sinusoidal",
        ),
        (
            "index",
            "return x + self.weight[start : self._end(x, start)]",
            "return x + self.weight[: self._end(x, 0)]",
            f"{LAYERS} -k learned_positions",
        ),
        ("bound", "if end > self.max_length:", "if end > self.max_length + 1:", f"{LAYERS} -k positions_refuse"),
    ),
    *bugs(
        "nn/swiglu.py",
        (
            "index",
            "ops.swiglu(self.gate(input), self.up(input))",
            "ops.swiglu(self.up(input), self.gate(input))",
            f"{LAYERS} -k swiglu",
        ),
    ),
    *bugs(
        "models/transformer.py",
        ("index", "self.target_embedding, len(columns))", "self.target_embedding, 0)", f"{LAYERS} -k likeliest"),
        (
            "missing term",
            "states = decoder.start(memory, length, hidden)",
            "states = decoder.start(memory, length)",
            f"{LAYERS} -k likeliest",
        ),
        ("bound", "done |= tokens[:, 0] == end", "done |= tokens[:, 0] == begin", f"{LAYERS} -k likeliest"),
    ),
)
