"""Attention: one query, many queries, masks, heads, and a map that can be read."""

# --8<-- [start:one]
import numpy as np

rng = np.random.default_rng(0)
keys = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.7, 0.7]])  # what each place offers
values = np.array([[10.0], [20.0], [30.0], [40.0]])  # what it says
query = np.array([0.0, 2.0])  # what is wanted

scores = keys @ query
weights = np.exp(scores - scores.max())
weights /= weights.sum()
print("scores ", scores.round(2))
print("weights", weights.round(3))
print("answer ", (weights @ values).round(2))
# --8<-- [end:one]


# --8<-- [start:reference]
def attention(q, k, v, allowed=None):
    """q [L, D], k [S, D], v [S, E] -> [L, E]; allowed [L, S]: who may look where."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ v, weights


# --8<-- [end:reference]

# --8<-- [start:same]
import nbdl
from nbdl import models, nn, ops, optim

nbdl.set_num_threads(1)
q, k, v = (rng.standard_normal(shape) for shape in ((5, 8), (7, 8), (7, 3)))
ours = ops.scaled_dot_product_attention(*map(nbdl.from_numpy, (q, k, v)))
difference = np.abs(ours.numpy() - attention(q, k, v)[0]).max()
print(f"largest difference to the kernel: {difference:.1e}")
# --8<-- [end:same]

# --8<-- [start:scale]
print("features   deviation of a score   largest weight of 16, mean")
print("             plain   divided        plain   divided")
for d in (4, 16, 64, 256):
    many_q, many_k = rng.standard_normal((2000, d)), rng.standard_normal((16, d))
    plain = many_q @ many_k.T
    both = [plain, plain / np.sqrt(d)]
    shares = [np.exp(s - s.max(1, keepdims=True)) for s in both]
    largest = [(e.max(1) / e.sum(1)).mean() for e in shares]
    print(f"{d:8} {plain.std():11.1f} {both[1].std():8.1f}", end="")
    print(f" {largest[0]:13.2f} {largest[1]:8.2f}")
# --8<-- [end:scale]


# --8<-- [start:backward]
def attention_backward(dy, q, k, v):
    """The gradients of q, k and v."""
    y, p = attention(q, k, v)
    dv = p.T @ dy
    dp = dy @ v.T
    ds = p * (dp - (dy * y).sum(1, keepdims=True)) / np.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, dv


dy = rng.standard_normal((5, 3))
tensors = [nbdl.tensor(x, requires_grad=True) for x in (q, k, v)]
ops.scaled_dot_product_attention(*tensors).backward(nbdl.from_numpy(dy))
for name, tensor, mine in zip("qkv", tensors, attention_backward(dy, q, k, v), strict=True):
    print(f"d{name}: largest difference {np.abs(tensor.grad.numpy() - mine).max():.1e}")

from nbdl.testing import gradcheck

gradcheck(ops.scaled_dot_product_attention, tensors)
print("and finite differences agree")
# --8<-- [end:backward]


# --8<-- [start:memory]
def peak_of(action):
    """The most memory that arrays took at once while it ran, in MB."""
    with nbdl.profile() as profile:
        action()
    return profile.peak_bytes / 1e6


print("tokens   weights written out   in blocks   (MB, forward and backward)")
for length in (256, 512, 1024, 2048):
    x = nbdl.randn(1, length, 64, requires_grad=True)

    def written_out(x=x):
        scores = x @ x.transpose(1, 2) / 8
        (ops.softmax(scores, -1) @ x).sum().backward()

    def in_blocks(x=x):
        ops.scaled_dot_product_attention(x, x, x).sum().backward()

    print(f"{length:6} {peak_of(written_out):21.1f} {peak_of(in_blocks):11.1f}")
# --8<-- [end:memory]

# --8<-- [start:masks]
import figure
import matplotlib.pyplot as plt

length = 8
everything = np.ones((length, length), bool)
causal = np.tri(length, dtype=bool)
padding = np.tile(np.arange(length) < 6, (length, 1))
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.8))
titles = ("encoder", "decoder: causal", "encoder: two places of padding")
for ax, allowed, title in zip(axes, (everything, causal, padding), titles, strict=True):
    _, map_ = attention(
        np.zeros((length, 4)), np.zeros((length, 4)), np.zeros((length, 1)), allowed
    )
    ax.imshow(map_, cmap="Greys", vmin=0, vmax=1)
    ax.set(title=title, xlabel="key", xticks=[], yticks=[])
    ax.grid(False)
axes[0].set_ylabel("query")
print(
    figure.svg(
        fig, "Who looks where when all scores are equal: the darker, the larger the weight."
    )
)
# --8<-- [end:masks]

# --8<-- [start:zero]
nothing = nbdl.zeros(5, 7, dtype=nbdl.bool)
nothing[1:] = True  # the first query may look nowhere
answer = ops.scaled_dot_product_attention(
    *map(nbdl.from_numpy, (q, k, v)), attn_mask=nothing
)
print(answer[:2])
# --8<-- [end:zero]

# --8<-- [start:heads]
layer = nn.MultiheadAttention(embed_dim=8, num_heads=2, batch_first=True).double()
x = nbdl.from_numpy(rng.standard_normal((1, 6, 8)))
y, maps = layer(x, x, x, average_attn_weights=False)

projected = x.numpy()[0] @ layer.in_proj_weight.detach().numpy().T  # queries, keys, values
heads = []
for head in range(2):
    own = slice(4 * head, 4 * head + 4)
    heads.append(attention(*(part[:, own] for part in np.split(projected, 3, axis=1)))[0])
by_hand = np.concatenate(heads, axis=1) @ layer.out_proj.weight.detach().numpy().T
print(
    f"{list(maps.shape)} weights, largest difference",
    f"{np.abs(y.detach().numpy()[0] - by_hand).max():.1e}",
)
# --8<-- [end:heads]

# --8<-- [start:places]
encoding = nn.SinusoidalPositions(64, max_length=100)
places = encoding(nbdl.zeros(1, 100, 64)).numpy()[0]  # the vectors that it adds
for first, second in ((0, 3), (40, 43), (96, 99), (0, 30)):
    print(f"places {first:2} and {second:2}: {places[first] @ places[second]:.4f}")
# --8<-- [end:places]
assert abs(places[0] @ places[3] - places[96] @ places[99]) < 1e-3


# --8<-- [start:residual]
def slope_that_arrives(depth, residual):
    """Length of the gradient at the bottom of layers on layers, for length 1 at the top."""
    nbdl.manual_seed(0)
    x = y = nbdl.randn(8, 32, requires_grad=True)
    for _ in range(depth):
        change = ops.tanh(nn.Linear(32, 32)(y))
        y = y + change if residual else change
    y.backward(nbdl.ones_like(y) / y.numel() ** 0.5)
    return np.linalg.norm(x.grad.numpy())


for depth in (1, 8, 32):
    alone, beside = (slope_that_arrives(depth, residual) for residual in (False, True))
    print(f"{depth:2} layers: {alone:.1e} without, {beside:.1f} with residual connections")
# --8<-- [end:residual]
assert alone < 1e-6 and beside > 0.1

# --8<-- [start:words]
import re

from pydoc_data.topics import topics

found = sorted(set(re.findall(r"\b[a-z]{4,10}\b", " ".join(topics.values()))))
order = np.random.default_rng(0).permutation(len(found))
words = [found[i] for i in order]
held_out, known = words[:200], words[200:]
PAD, BEGIN, END = 0, 1, 2
print(
    f"{len(known)} words to learn from, {len(held_out)} held out: {', '.join(held_out[:4])}"
)


def tokens_of(some):
    """Source: the letters. Target: the same from the end to the beginning."""
    source, target = np.full((len(some), 10), PAD), np.full((len(some), 12), PAD)
    for row, word in enumerate(some):
        letters = [ord(letter) - ord("a") + 3 for letter in word]
        source[row, : len(word)] = letters
        target[row, : len(word) + 2] = [BEGIN, *letters[::-1], END]
    return source, target


# --8<-- [end:words]

# --8<-- [start:train]
from time import perf_counter

nbdl.manual_seed(0)
model = models.Seq2SeqTransformer(
    29, 29, d_model=48, heads=4, layers=1, max_length=12, padding=PAD
)
optimizer = optim.AdamW(model.parameters(), 3e-3, betas=(0.9, 0.98))
schedule = optim.lr_scheduler.OneCycleLR(
    optimizer, 3e-3, total_steps=900, cycle_momentum=False
)
source, target = tokens_of(known)
start = perf_counter()
for _ in range(900):
    rows = rng.integers(0, len(source), 64)
    x, y = nbdl.from_numpy(source[rows]), target[rows]
    scores = model(x, nbdl.from_numpy(y[:, :-1]))
    answers = nbdl.from_numpy(y[:, 1:].reshape(-1))
    loss = ops.cross_entropy(scores.reshape(-1, 29), answers, ignore_index=PAD)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
seconds = perf_counter() - start


def write(some):
    rows = model.write(nbdl.from_numpy(tokens_of(some)[0]), BEGIN, END, 12)
    return ["".join(chr(t - 3 + ord("a")) for t in row.tolist() if t > END) for row in rows]


model.eval()
written = write(held_out)
right = np.mean([mine == word[::-1] for mine, word in zip(written, held_out, strict=True)])
print(
    f"{model}\n{seconds:.0f} s; {right:.1%} of words it has never seen are reversed right"
)
print(
    ", ".join(
        f"{word} -> {mine}" for word, mine in zip(held_out[:4], written, strict=False)
    )
)
# --8<-- [end:train]


# --8<-- [start:map]
def cross_attention(word):
    """[heads, letters written, letters read]: where the decoder looks while it writes."""
    seen = {}
    attention_layer = model.transformer.decoder.layers[0].multihead_attn
    handle = attention_layer.register_forward_pre_hook(
        lambda _, inputs: seen.update(inputs=inputs[:3])
    )
    source, target = tokens_of([word])
    length = len(word)
    with nbdl.no_grad():
        model(nbdl.from_numpy(source[:, :length]), nbdl.from_numpy(target[:, : length + 1]))
        handle.remove()
        return attention_layer(*seen["inputs"], average_attn_weights=False)[1].numpy()[0]


word = max(held_out, key=len)
maps = cross_attention(word)
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.6))
for head, ax in enumerate(axes):
    ax.imshow(maps[head, : len(word)], cmap="Greys", vmin=0, vmax=1)
    ax.set_xticks(range(len(word)), word)
    ax.set_yticks(range(len(word)), word[::-1] if head == 0 else [])
    ax.set_title(f"head {head + 1}")
    ax.grid(False)
axes[0].set_ylabel("written")
print(
    figure.svg(
        fig,
        "Where each head looks in the word (below) while it writes it from the end (left).",
    )
)
# --8<-- [end:map]

# --8<-- [start:exercise_order]
shuffled = rng.permutation(6)
layer.eval()
x = nbdl.from_numpy(rng.standard_normal((1, 6, 8)))
there = layer(x, x, x)[0].detach().numpy()[:, shuffled]
moved = nbdl.from_numpy(x.numpy()[:, shuffled])
back = layer(moved, moved, moved)[0].detach().numpy()
print(f"shuffle first or last: difference {np.abs(there - back).max():.1e}")
# --8<-- [end:exercise_order]

# --8<-- [start:exercise_entropy]
maps = np.concatenate(
    [cross_attention(w)[:, : len(w)].reshape(4, -1, len(w)).max(2) for w in held_out[:50]],
    1,
)
print("mean of the largest weight, by head:", maps.mean(1).round(2))
# --8<-- [end:exercise_entropy]
