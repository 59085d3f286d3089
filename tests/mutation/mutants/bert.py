"""Bugs in BERT, in masked tokens, in cloze models and in published checkpoints."""

from __future__ import annotations

from tests.mutation.mutant import bugs

DEFINITION = "tests/test_bert.py -k definition"
MASKING = "tests/test_masking.py -k "
INTEROP = "tests/test_interop.py -k "

BERT = (
    *bugs(
        "models/bert.py",
        (
            "missing term",
            "        return self.dropout(self.norm(self.words(input_ids) + (place + part)))",
            "        return self.dropout(self.norm(self.words(input_ids) + place))",
            DEFINITION,
        ),
        (
            "wrong axis",
            "        return self.out_proj(seen.transpose(1, 2).reshape(batch, length, width))",
            "        return self.out_proj(seen.reshape(batch, length, width))",
            DEFINITION,
        ),
        (
            "missing term",
            "seen = ops.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)",
            "seen = ops.scaled_dot_product_attention(query, key, value, dropout_p=dropout)",
            DEFINITION,
        ),
        (
            "sign",
            "    return (attention_mask != 0).reshape(shape[0], 1, 1, shape[1])",
            "    return (attention_mask == 0).reshape(shape[0], 1, 1, shape[1])",
            DEFINITION,
        ),
        (
            "index",
            "        return ops.tanh(self.pooler(vectors[:, 0]))",
            "        return ops.tanh(self.pooler(vectors[:, -1]))",
            "tests/test_bert.py -k first_token",
        ),
    ),
    *bugs(
        "data/masking.py",
        (
            "missing term",
            "    draws[windows < special] = 2.0  # comes last",
            "    draws[windows == mask] = 2.0  # comes last",
            MASKING + "special_tokens",
        ),
        (
            "constant",
            "np.where(fate < MASKED + DRAWN, drawn, targets)",
            "np.where(fate < DRAWN, drawn, targets)",
            MASKING + "eight_of_ten",
        ),
        (
            "index",
            "    places = (chosen + np.arange(count)[:, None] * length).reshape(-1)",
            "    places = (chosen + np.arange(count)[:, None] * (length - 1)).reshape(-1)",
            MASKING + "special_tokens",
        ),
        (
            "missing term",
            "                usable &= inside & (token != mask)",
            "                usable &= inside",
            MASKING + "passed_over",
        ),
        (
            "bound",
            "            for left, right in ((distance, distance - 1), (distance, distance))",
            "            for left, right in ((distance, distance - 1), (distance, distance - 1))",
            MASKING + "cloze",
        ),
    ),
    *bugs(
        "interop/architecture.py",
        (
            "wrong axis",
            "        return shape[::-1] if self.transposed else shape",
            "        return shape",
            INTEROP + "comes_back",
        ),
    ),
    *bugs(
        "interop/huggingface.py",
        (
            "index",
            "            file.copy_into(stored, target[number * rows : (number + 1) * rows], place.transposed)",
            "            file.copy_into(stored, target[:rows], place.transposed)",
            INTEROP + "comes_back",
        ),
        (
            "missing term",
            "                return part.T if place.transposed else part",
            "                return part",
            INTEROP + "comes_back",
        ),
    ),
    *bugs(
        "interop/tensor_file.py",
        (
            "bound",
            "            if entry.begin != reached:",
            "            if entry.begin > reached:",
            INTEROP + "entries",
        ),
        (
            "missing term",
            "        if reached != available:",
            "        if reached > available:",
            INTEROP + "after_its_end",
        ),
    ),
)
