"""Recurrent networks: one step again and again, its gradients, and what it remembers."""

# --8<-- [start:reference]
import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(x, h, w_ih, w_hh, b):
    return np.tanh(w_ih @ x + w_hh @ h + b)


def lstm_step(x, h, c, w_ih, w_hh, b):
    i, f, g, o = np.split(w_ih @ x + w_hh @ h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, w_ih, w_hh, b_ih, b_hh):
    r, z, n = np.split(w_ih @ x + b_ih, 3)
    r_h, z_h, n_h = np.split(w_hh @ h + b_hh, 3)
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    return (1 - z) * np.tanh(n + r * n_h) + z * h


# --8<-- [end:reference]

# --8<-- [start:same]
import nbdl
from nbdl import data, models, nn, ops, optim

nbdl.set_num_threads(1)
nbdl.manual_seed(0)
layer = nn.LSTM(3, 5).double()
w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in layer.parameters())
sequence = np.random.default_rng(0).normal(size=(7, 3))

h, c = np.zeros(5), np.zeros(5)
for x in sequence:
    h, c = lstm_step(x, h, c, w_ih, w_hh, b_ih + b_hh)

y, (last_h, last_c) = layer(nbdl.tensor(sequence))
print("largest difference:", np.abs(y[-1].detach().numpy() - h).max())
# --8<-- [end:same]
assert np.abs(y[-1].detach().numpy() - h).max() < 1e-12


# --8<-- [start:bptt]
def loss_and_gradients(xs, target, w_ih, w_hh, b):
    """A plain layer over xs [T, I], the squared error of its last state, all gradients."""
    states = [np.zeros(len(b))]
    for x in xs:  # forward: left to right
        states.append(rnn_step(x, states[-1], w_ih, w_hh, b))
    loss = ((states[-1] - target) ** 2).sum()

    dw_ih, dw_hh, db = np.zeros_like(w_ih), np.zeros_like(w_hh), np.zeros_like(b)
    dh = 2 * (states[-1] - target)
    for t in reversed(range(len(xs))):  # backward: right to left
        da = dh * (1 - states[t + 1] ** 2)  # through tanh
        dw_ih += np.outer(da, xs[t])  # the same weights in every step: sum
        dw_hh += np.outer(da, states[t])
        db += da
        dh = w_hh.T @ da  # one step further into the past
    return loss, (dw_ih, dw_hh, db)


# --8<-- [end:bptt]

# --8<-- [start:check]
plain = nn.RNN(3, 5).double()
w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in plain.parameters())
target = np.linspace(-1, 1, 5)
loss, by_hand = loss_and_gradients(sequence, target, w_ih, w_hh, b_ih + b_hh)

_, last = plain(nbdl.tensor(sequence))
ours = ((last[0] - nbdl.tensor(target)) ** 2).sum()
ours.backward()
print(f"loss by hand {loss:.12f}\nloss by nbdl {ours.item():.12f}")
for name, mine, parameter in zip(
    ["w_ih", "w_hh", "b"], by_hand, plain.parameters(), strict=False
):
    gap = np.abs(mine - parameter.grad.numpy()).max()
    print(f"d{name:5} largest difference {gap:.1e}")
# --8<-- [end:check]
for mine, parameter in zip(by_hand, plain.parameters(), strict=False):
    assert np.abs(mine - parameter.grad.numpy()).max() < 1e-12


# --8<-- [start:vanish]
def gradient_norms(layer, steps=100, batch=32):
    """How strongly the last step's output depends on the input of each step."""
    rng = np.random.default_rng(0)
    xs = nbdl.tensor(rng.normal(size=(steps, batch, 32)), requires_grad=True)
    ys, _ = layer(xs)
    (ys[-1] * nbdl.tensor(rng.normal(size=ys.shape[1:]))).sum().backward()
    return np.sqrt((xs.grad.numpy() ** 2).sum(axis=(1, 2)))


nbdl.manual_seed(0)
layers = {
    "RNN": nn.RNN(32, 64),
    "GRU": nn.GRU(32, 64),
    "LSTM": nn.LSTM(32, 64),
    "LSTM, forget bias 3": nn.LSTM(32, 64),
}
with nbdl.no_grad():
    layers["LSTM, forget bias 3"].bias_ih_l0[64:128] = 3.0

norms = {name: gradient_norms(layer.double()) for name, layer in layers.items()}
for name, norm in norms.items():
    far = "  ".join(f"{norm[-1 - k] / norm[-1]:9.1e}" for k in (10, 20, 50, 99))
    print(f"{name:20} {far}")
# --8<-- [end:vanish]
assert norms["RNN"][0] < norms["LSTM, forget bias 3"][0]

# --8<-- [start:explode]
for scale in (1.0, 2.0, 4.0):
    nbdl.manual_seed(0)
    wild = nn.RNN(32, 64, nonlinearity="relu").double()
    with nbdl.no_grad():
        wild.weight_hh_l0.mul_(scale)
    norm = gradient_norms(wild, steps=60)
    print(f"recurrent weights x {scale:g}: gradient 50 steps back {norm[9]:.1e}")
# --8<-- [end:explode]

# --8<-- [start:text]
text = data.corpus("topics")
tokenizer = data.CharacterTokenizer.of(text)
ids = tokenizer.encode(text)
split = len(ids) * 9 // 10
print(f"{len(ids):,} characters, {tokenizer.size} different ones")

for order in (1, 2, 3, 5):
    loss = data.NgramModel(ids[:split], order, tokenizer.size).loss(ids[split:])
    print(f"{data.ngram_name(order):8} {loss:.3f} nats per character")
# --8<-- [end:text]

# --8<-- [start:train]
nbdl.manual_seed(0)
model = models.RecurrentLanguageModel(tokenizer.size, 32, hidden_size=128)
loader = data.StreamLoader(ids[:split], batch_size=32, steps=64)
optimizer = optim.AdamW(model.parameters(), lr=5e-3)


def loss_of(first, inputs, targets, state):
    state = None if first else tuple(part.detach() for part in state)
    scores, state = model(nbdl.tensor(inputs), state)
    scores = scores.reshape(-1, tokenizer.size)
    return ops.cross_entropy(scores, nbdl.tensor(targets.reshape(-1))), state


def held_out():
    total, count, state = 0.0, 0, None
    with nbdl.no_grad():
        for first, inputs, targets in data.StreamLoader(ids[split:], 8, 256):
            loss, state = loss_of(first, inputs, targets, state)
            total, count = total + loss.item() * targets.size, count + targets.size
    return total / count


state = None
for epoch in range(2):
    for first, inputs, targets in loader:
        loss, state = loss_of(first, inputs, targets, state)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(f"epoch {epoch + 1}: {held_out():.3f} nats per character on the held-out text")
# --8<-- [end:train]
assert held_out() < 2.2

# --8<-- [start:sample]
prompt = tokenizer.encode("The assert statement ")
written = models.generate(model, prompt, length=300, temperature=0.5, seed=1)
print(tokenizer.decode(list(written)))
# --8<-- [end:sample]

# --8<-- [start:gates]
passage = text[split : split + 110]
w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in model.cells.parameters())
vectors = model.embedding.weight.detach().numpy()

h, c = np.zeros(128), np.zeros(128)
forget, memory = [], []
for token in tokenizer.encode(passage):
    gates = w_ih @ vectors[token] + w_hh @ h + b_ih + b_hh
    forget.append(sigmoid(gates[128:256]))
    h, c = lstm_step(vectors[token], h, c, w_ih, w_hh, b_ih + b_hh)
    memory.append(c)
forget, memory = np.array(forget), np.array(memory)

half_life = np.log(0.5) / np.log(forget.mean(axis=0).clip(1e-6, 1 - 1e-6))
print("half-lives of the cells, in characters:")
print(
    "shortest",
    np.sort(half_life)[:4].round(2),
    " longest",
    np.sort(half_life)[-4:].round(1),
)

longest = np.argsort(-half_life)[:24]
blank = np.array([symbol in " \n" for symbol in passage])
open_at = [forget[np.ix_(where, longest)].mean() for where in (blank, ~blank)]
print("forget gates of the longest: {:.2f} at blanks, {:.2f} elsewhere".format(*open_at))
# --8<-- [end:gates]

# --8<-- [start:temperature]
for temperature in (0.0, 0.3, 1.0, 1.5):
    ids_written = models.generate(model, prompt, 60, temperature, seed=3)
    print(f"{temperature:3.1f}  {tokenizer.decode(list(ids_written))!r}")
# --8<-- [end:temperature]

# --8<-- [start:windows]
for steps in (1, 2, 4, 8, 16, 64, 256):
    total, count = 0.0, 0
    with nbdl.no_grad():
        for _, inputs, targets in data.StreamLoader(ids[split:], 4096 // steps, steps):
            loss, _ = loss_of(True, inputs, targets, None)
            total, count = total + loss.item() * targets.size, count + targets.size
    print(f"memory wiped every {steps:3} characters: {total / count:.3f}")
# --8<-- [end:windows]
