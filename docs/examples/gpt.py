"""GPT: a Transformer that only looks back, trained to go on with a text."""

# --8<-- [start:reference]
import numpy as np


def norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def causal_attention(x, heads, w_qkv, b_qkv, w_out, b_out):
    """x [T, C]: each place asks those before it, and itself."""
    T, C = x.shape
    q, k, v = np.split(x @ w_qkv.T + b_qkv, 3, axis=1)
    q, k, v = (part.reshape(T, heads, -1).transpose(1, 0, 2) for part in (q, k, v))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(C // heads)  # [heads, T, T]
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)  # nothing from later
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return (weights @ v).transpose(1, 0, 2).reshape(T, C) @ w_out.T + b_out


def feed_forward(x, w_wide, b_wide, w_narrow, b_narrow):
    h = x @ w_wide.T + b_wide
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))  # GELU
    return h @ w_narrow.T + b_narrow


def block(x, heads, norm1, attention, norm2, feed):
    x = x + causal_attention(norm(x, *norm1), heads, *attention)
    return x + feed_forward(norm(x, *norm2), *feed)


# --8<-- [end:reference]

# --8<-- [start:same]
import nbdl
from nbdl import data, models, nn, ops, optim

nbdl.set_num_threads(1)
nbdl.manual_seed(0)
config = models.GPTConfig(vocabulary=50, context=16, width=24, layers=2, heads=3)
small = models.GPT(config).double()
tokens = np.random.default_rng(0).integers(0, 50, 10)

x = small.token_embedding.weight.detach().numpy()[tokens]
x = x + small.position_embedding.weight.detach().numpy()[:10]
for layer in small.blocks:
    parts = (
        layer.attention_norm,
        layer.attention,
        layer.feed_forward_norm,
        layer.feed_forward,
    )
    x = block(x, 3, *([p.detach().numpy() for p in part.parameters()] for part in parts))
x = norm(x, *(p.detach().numpy() for p in small.norm.parameters()))
scores = x @ small.token_embedding.weight.detach().numpy().T

ours = small(nbdl.tensor(tokens[None])).detach().numpy()[0]
print("largest difference:", np.abs(ours - scores).max())
# --8<-- [end:same]
assert np.abs(ours - scores).max() < 1e-12

# --8<-- [start:causal]
changed = tokens.copy()
changed[6] = 49
others = small(nbdl.tensor(changed[None])).detach().numpy()[0]
for place in range(10):
    same = (ours[place] == others[place]).all()
    print(place, "the same bits" if same else "other scores")
# --8<-- [end:causal]
assert (ours[:6] == others[:6]).all() and (ours[6:] != others[6:]).any(axis=1).all()

# --8<-- [start:text]
text = data.corpus("topics")
tokenizer = data.CharacterTokenizer.of(text)
ids = tokenizer.encode(text)
split = len(ids) * 9 // 10
for order in (2, 3, 5):
    loss = data.NgramModel(ids[:split], order, tokenizer.size).loss(ids[split:])
    print(f"{data.ngram_name(order):8} {loss:.3f} nats per character")
# --8<-- [end:text]

# --8<-- [start:train]
CONTEXT, STEPS = 64, 400
windows = data.TokenWindows(ids[:split], CONTEXT, stride=16)
judged = data.judging_windows(ids[: split + 8000], split, CONTEXT, stride=16)


def loss_of(model, inputs, targets):
    scores = model(nbdl.tensor(inputs)).reshape(-1, tokenizer.size)
    return ops.cross_entropy(scores, nbdl.tensor(targets.reshape(-1)))


def trained(config):
    nbdl.manual_seed(0)
    model = models.GPT(config)
    optimizer = optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, total_steps=STEPS, cycle_momentum=False
    )
    loader = data.DataLoader(windows, batch_size=16, shuffle=True)
    for _, (inputs, targets) in zip(range(STEPS), loader, strict=False):
        optimizer.zero_grad()
        loss_of(model, inputs, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def held_out(model):
    with nbdl.no_grad():
        return loss_of(model, *judged.arrays).item()


sizes = {
    "vocabulary": tokenizer.size,
    "context": CONTEXT,
    "width": 64,
    "layers": 2,
    "heads": 4,
}
gpt2 = trained(models.GPTConfig(**sizes))
print(gpt2)
print(f"{held_out(gpt2):.3f} nats per character on the held-out text")
# --8<-- [end:train]
assert held_out(gpt2) < 2.4

# --8<-- [start:modern]
modern = trained(models.GPTConfig.modern(**sizes, key_value_heads=2))
print(modern)
print(f"{held_out(modern):.3f} nats per character on the held-out text")
# --8<-- [end:modern]
assert held_out(modern) < held_out(gpt2)

# --8<-- [start:sample]
prompt = tokenizer.encode("The assert statement ")
for options in ({"temperature": 0}, {"temperature": 0.6}, {"top_k": 5}, {"top_p": 0.8}):
    written = modern.generate(prompt, 43, **options, seed=1)
    print(options, repr(tokenizer.decode(written.numpy()[0, len(prompt) :])))
# --8<-- [end:sample]

# --8<-- [start:cache]
passage = nbdl.tensor(ids[None, split : split + CONTEXT])
with nbdl.no_grad():
    whole = modern(passage).numpy()
    caches = modern.new_caches()
    one_by_one = [modern(passage[:, t : t + 1], caches).numpy() for t in range(CONTEXT)]
print(caches[0])
print("largest difference:", np.abs(np.concatenate(one_by_one, axis=1) - whole).max())
# --8<-- [end:cache]
assert np.abs(np.concatenate(one_by_one, axis=1) - whole).max() < 1e-4

# --8<-- [start:speed]
import time

for use_cache in (True, False):
    start = time.perf_counter()
    for _ in range(3):
        modern.generate(prompt, 43, temperature=0, use_cache=use_cache)
    seconds = (time.perf_counter() - start) / 3
    print(f"use_cache={use_cache}: {43 / seconds:.0f} tokens a second")
# --8<-- [end:speed]

# --8<-- [start:distance]
rotated = [
    ops.rotary_embedding(nbdl.tensor(np.random.default_rng(1).normal(size=(2, 1, 8))), at)
    for at in (0, 3, 50, 53)
]
for first, second, places in ((0, 1, "0 and 3"), (2, 3, "50 and 53"), (0, 2, "0 and 50")):
    product = (rotated[first][0] * rotated[second][1]).sum().item()
    print(f"query at {places:9} key: {product:.6f}")
# --8<-- [end:distance]

# --8<-- [start:places]
by_place = {}
for name, model in (("GPT-2", gpt2), ("modern", modern)):
    inputs, targets = data.TokenWindows(ids[split:], CONTEXT, CONTEXT).take(np.arange(128))
    with nbdl.no_grad():
        scores = model(nbdl.tensor(inputs)).reshape(-1, tokenizer.size)
        losses = ops.cross_entropy(
            scores, nbdl.tensor(targets.reshape(-1)), reduction="none"
        )
    by_place[name] = losses.numpy().reshape(128, CONTEXT).mean(axis=0)
    parts = [by_place[name][a:b].mean() for a, b in ((0, 1), (1, 4), (4, 16), (16, 64))]
    print(f"{name:7}", *(f"{part:6.3f}" for part in parts))
# --8<-- [end:places]
