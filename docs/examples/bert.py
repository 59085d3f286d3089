"""BERT: an encoder that learns by filling in what is hidden."""

# --8<-- [start:words]
import re

import numpy as np
from pydoc_data.topics import topics

PAD, BEGIN, MASK, SPECIAL = 0, 1, 2, 3  # and then the letters
text = " ".join(topics.values()).lower()
words = sorted(set(re.findall(r"\b[a-z]{4,11}\b", text)))
order = np.random.default_rng(0).permutation(len(words))
held_out, known = [words[i] for i in order[:300]], [words[i] for i in order[300:]]


def tokens_of(some):
    """[N, 12]: a token to begin with, then the letters."""
    rows = np.full((len(some), 12), PAD, np.int64)
    rows[:, 0] = BEGIN
    for row, word in zip(rows, some, strict=True):
        row[1 : len(word) + 1] = [ord(letter) - ord("a") + SPECIAL for letter in word]
    return rows


def word_of(row):
    return "".join(
        "_" if t == MASK else chr(t - SPECIAL + ord("a")) for t in row if t >= MASK
    )


print(f"{len(known)} words to learn from, {len(held_out)} held out, 26 letters")
# --8<-- [end:words]


# --8<-- [start:mask]
def hide(windows, rng, share=0.15, always=False):
    """BERT's rule: of the chosen tokens 80 % become [MASK], 10 % another one, 10 % stay."""
    shown = windows.copy()
    chosen = (rng.random(windows.shape) < share) & (windows >= SPECIAL)
    fate = rng.random(windows.shape)
    shown[chosen & ((fate < 0.8) | always)] = MASK
    other = chosen & (fate >= 0.8) & (fate < 0.9) & (not always)
    shown[other] = rng.integers(SPECIAL, SPECIAL + 26, other.sum())
    return shown, np.flatnonzero(chosen), windows[chosen]


rng = np.random.default_rng(0)
shown, places, targets = hide(tokens_of(held_out[:6]), rng)
print("  ".join(word_of(row) for row in shown))
print("to be told:", word_of(targets))
# --8<-- [end:mask]

# --8<-- [start:count]
train, test = tokens_of(known), tokens_of(held_out)
judged = hide(test, np.random.default_rng(1), always=True)


def told_by_counts(sides):
    """How often the letter most seen with such neighbours in the known words is right."""
    table = {}
    for row in train:
        for place in range(1, 11):
            if row[place] >= SPECIAL:
                context = tuple(row[place + side] for side in sides)
                table.setdefault(context, np.zeros(SPECIAL + 26))[row[place]] += 1
    overall = sum(table.values())
    flat = judged[0].reshape(-1)
    told = [
        table.get(tuple(flat[place + side] for side in sides), overall).argmax()
        for place in judged[1]
    ]
    return np.mean(told == judged[2])


for name, sides in (
    ("the commonest letter", ()),
    ("the letter before", (-1,)),
    ("both neighbours", (-1, 1)),
):
    print(f"{name:22} {told_by_counts(sides):6.1%}")
# --8<-- [end:count]

# --8<-- [start:train]
from time import perf_counter

import nbdl
from nbdl import models, ops, optim

nbdl.set_num_threads(1)


def pretrain(steps=2000):
    nbdl.manual_seed(0)
    sizes = {"width": 64, "layers": 2, "heads": 4, "dropout": 0.0, "attention_dropout": 0.0}
    config = models.BERTConfig(
        SPECIAL + 26, 12, **sizes, token_types=1, initial_deviation=0.05
    )
    model = models.BERTForMaskedLM(models.BERT(config))
    optimizer = optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, cycle_momentum=False
    )
    rng = np.random.default_rng(0)
    for _ in range(steps):
        shown, places, targets = hide(train[rng.integers(0, len(train), 64)], rng)
        scores = model(
            nbdl.from_numpy(shown),
            nbdl.from_numpy(shown != PAD),
            places=nbdl.from_numpy(places),
        )
        loss = ops.cross_entropy(scores, nbdl.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def told(shown, seen, places):
    """The likeliest token at each place of the batch, of what is seen of it."""
    with nbdl.no_grad():
        scores = bert(
            nbdl.from_numpy(shown), nbdl.from_numpy(seen), places=nbdl.from_numpy(places)
        )
    return scores.numpy().argmax(1)


start = perf_counter()
bert = pretrain()
shown, places, targets = judged
print(f"{bert}, {perf_counter() - start:.0f} s")
print(f"{'BERT':22} {np.mean(told(shown, shown != PAD, places) == targets):6.1%}")
# --8<-- [end:train]


# --8<-- [start:left]
rows = shown[places // 12]  # a copy of its word for each hidden letter
left = np.arange(12) <= (places % 12)[:, None]
own = np.arange(len(rows)) * 12 + places % 12
print(f"seeing the left only   {np.mean(told(rows, left, own) == targets):6.1%}")
# --8<-- [end:left]


# --8<-- [start:gradient]
scores = bert(nbdl.from_numpy(shown), nbdl.from_numpy(shown != PAD))
scores.retain_grad()
flat = scores.reshape(-1, SPECIAL + 26)[nbdl.from_numpy(places)]
ops.cross_entropy(flat, nbdl.from_numpy(targets)).backward()
gradient = scores.grad.numpy().reshape(-1, SPECIAL + 26)

shares = np.exp(flat.detach().numpy())
shares /= shares.sum(axis=1, keepdims=True)
by_hand = (shares - np.eye(SPECIAL + 26)[targets]) / len(places)
elsewhere = np.delete(gradient, places, axis=0)
print(
    f"at the chosen places, largest difference {abs(gradient[places] - by_hand).max():.0e}"
)
print(f"at the others, largest gradient {abs(elsewhere).max():.0e}")
# --8<-- [end:gradient]
assert abs(gradient[places] - by_hand).max() < 1e-6

# --8<-- [start:places]
both = told(shown, shown != PAD, places) == targets
behind = told(rows, left, own) == targets
column = places % 12  # the how-many-eth letter of its word
by_place = {
    name: [right[column == letter].mean() for letter in range(1, 9)]
    for name, right in (("both sides", both), ("left only", behind))
}
for name, shares in by_place.items():
    print(f"{name:11}", "  ".join(f"{share:4.0%}" for share in shares))
# --8<-- [end:places]


# --8<-- [start:fill]
def fill(question):
    """The likeliest letters for the _ of a word."""
    row = tokens_of([question.replace("_", "a")])
    row[0, 1 : len(question) + 1][[letter == "_" for letter in question]] = MASK
    with nbdl.no_grad():
        scores = bert(nbdl.from_numpy(row), nbdl.from_numpy(row != PAD)).numpy()[0]
    for place in np.flatnonzero(row[0] == MASK):
        shares = np.exp(scores[place, SPECIAL:] - scores[place].max())
        best = np.argsort(-shares)[:3]
        letters = ", ".join(
            f"{chr(b + ord('a'))} {shares[b] / shares.sum():.0%}" for b in best
        )
        print(f"{question:14} {letters}")


for question in ("functi_n", "stateme_t", "att_ibute", "stri__"):
    fill(question)
# --8<-- [end:fill]

# --8<-- [start:exercise_rule]
shown, places, targets = hide(np.tile(train, (20, 1)), np.random.default_rng(3))
flat = shown.reshape(-1)[places]
print(
    f"[MASK] {np.mean(flat == MASK):.3f}, the token itself {np.mean(flat == targets):.3f}"
)
# --8<-- [end:exercise_rule]
