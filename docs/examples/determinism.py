"""Determinism: the same bits for any number of threads, and random numbers by counting."""

# --8<-- [start:order]
import numpy as np

generator = np.random.default_rng(0)
x = generator.standard_normal(1_000_000).astype(np.float32)


def in_parts(parts):
    """Each part summed by itself, in float32; then the sums."""
    total = np.float32(0)
    for part in np.array_split(x, parts):
        total += np.cumsum(part, dtype=np.float32)[-1]
    return total


print("(1e8 + 1) - 1e8 =", np.float32(1e8) + np.float32(1) - np.float32(1e8))
print("1 + (1e8 - 1e8) =", np.float32(1) + (np.float32(1e8) - np.float32(1e8)))
for parts in (1, 2, 4, 8):
    print(f"a sum in {parts} parts: {in_parts(parts):.4f}")
print(f"in float64:       {x.sum(dtype=np.float64):.4f}")
# --8<-- [end:order]
assert in_parts(1) != in_parts(4)

# --8<-- [start:chunks]
import nbdl
from nbdl.runtime.jit import chunk_size

available = nbdl.get_num_threads()
rows = nbdl.tensor(x)
for threads in (1, 2, 3, 4):
    nbdl.set_num_threads(threads)
    print(f"{threads} threads: sum {rows.sum().item().hex()}")
nbdl.set_num_threads(available)
grain = chunk_size(tasks=1_000_000, work=1_000_000)
print(f"chunks of {grain:,} elements, {-(-1_000_000 // grain)} of them, on any machine")
# --8<-- [end:chunks]

# --8<-- [start:train]
import hashlib

from nbdl import data, nn, ops, optim

train, _ = data.digits()
images, labels = (nbdl.tensor(array) for array in train.arrays)


def trained(steps):
    """Last loss and digest of the weights of a network with dropout, on real digits."""
    nbdl.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.LayerNorm(128),
        nn.Linear(128, 10),
    )
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = ops.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = b"".join(
        parameter.detach().numpy().tobytes() for parameter in model.parameters()
    )
    return loss.item(), hashlib.sha256(weights).hexdigest()[:16]


digests = []
for threads in (1, 2):
    nbdl.set_num_threads(threads)
    loss, digest = trained(30)
    digests.append(digest)
    print(f"{threads} threads: loss {loss:.9f}, SHA-256 of all weights {digest}...")
nbdl.set_num_threads(1)
# --8<-- [end:train]
assert digests[0] == digests[1]


# --8<-- [start:chaos]
def path(learning_rate, nudge, steps=200):
    """All weights of a network after each step; one of them is nudged before the first."""
    nbdl.manual_seed(0)
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers)
    with nbdl.no_grad():
        model[0].weight[0, 28] += nudge
    optimizer = optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    visited = []
    for _ in range(steps):
        loss = ops.cross_entropy(model(images[:256]), labels[:256])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights = [parameter.detach().numpy().ravel() for parameter in model.parameters()]
        visited.append(np.concatenate(weights))
    return np.array(visited)


distances = {}
for learning_rate in (0.1, 0.5):
    apart = abs(path(learning_rate, 0.0) - path(learning_rate, 1e-8)).max(axis=1)
    distances[learning_rate] = apart
    shown = "  ".join(f"{step}: {apart[step - 1]:.0e}" for step in (1, 20, 50, 200))
    print(f"learning rate {learning_rate}: largest difference after step {shown}")
nbdl.set_num_threads(available)
# --8<-- [end:chaos]

# --8<-- [start:philox]
from nbdl.runtime.philox import philox4x32

zero = np.uint32(0)
words = philox4x32.py_func(zero, zero, zero, zero, zero, zero)
print("counter 0, key 0:", " ".join(f"{word:08x}" for word in words))

one = philox4x32.py_func(np.uint32(1), zero, zero, zero, zero, zero)
print("counter 1, key 0:", " ".join(f"{word:08x}" for word in one))
changed = sum(int(a ^ b).bit_count() for a, b in zip(words, one, strict=True))
print(f"one bit of the counter changed {changed} of 128 bits")
# --8<-- [end:philox]
assert f"{words[0]:08x}" == "6627e8d5"  # Salmon et al.'s own test value

# --8<-- [start:index]
nbdl.manual_seed(7)
few = nbdl.randn(10)
nbdl.manual_seed(7)
many = nbdl.randn(1_000_000)
print("the first ten of a million are those of ten:", np.array_equal(few, many[:10]))

from nbdl.testing import simt

nbdl.manual_seed(7)
with simt.target():
    on_cuda = nbdl.randn(10)
print("and those of the CUDA kernel:", np.array_equal(few, on_cuda))
# --8<-- [end:index]
assert np.array_equal(few, many[:10])
assert np.array_equal(few, on_cuda)

# --8<-- [start:state]
state = nbdl.get_rng_state()
first = ops.dropout(nbdl.ones(12), 0.5)
second = ops.dropout(nbdl.ones(12), 0.5)
nbdl.set_rng_state(state)
again = ops.dropout(nbdl.ones(12), 0.5)
print("seed and fills made:", state.numpy().view(np.uint64))
print("a mask    ", first.numpy())
print("the next  ", second.numpy())
print("the first again:", np.array_equal(first, again))
# --8<-- [end:state]
assert np.array_equal(first, again)

# --8<-- [start:exercise]
nbdl.manual_seed(0)
numbers = nbdl.rand(4000, 2).numpy()
inside = (numbers**2).sum(axis=1) < 1
print(f"pi is about {4 * inside.mean():.3f}")
pieces = []
for start in range(0, 4000, 1000):  # as four machines would, each with its own piece
    nbdl.manual_seed(0)
    pieces.append(nbdl.rand(4000, 2).numpy()[start : start + 1000])
print("the same numbers in four pieces:", np.array_equal(np.concatenate(pieces), numbers))
# --8<-- [end:exercise]
