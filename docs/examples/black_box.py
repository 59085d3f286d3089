"""The black box: what explanations show of a network, and where they mislead."""

# --8<-- [start:network]
import numpy as np

import nbdl
from nbdl import data, explain, nn, ops, optim

nbdl.set_num_threads(1)
nbdl.manual_seed(0)
train, test = data.digits(flatten=False)
model = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
)
optimizer = optim.AdamW(model.parameters(), lr=2e-3)
for _ in range(8):
    for images, labels in data.DataLoader(train, 64, shuffle=True, seed=1):
        loss = ops.cross_entropy(model(nbdl.tensor(images)), nbdl.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model.eval()
images, labels = test.arrays
with nbdl.no_grad():
    answers = model(nbdl.tensor(images)).numpy().argmax(axis=1)
parameters = sum(parameter.numel() for parameter in model.parameters())
print(f"{(answers == labels).mean():.1%} right, {parameters:,} numbers to read")
# --8<-- [end:network]
assert (answers == labels).mean() > 0.94

# --8<-- [start:saliency]
shown = nbdl.tensor(images[[list(labels).index(digit) for digit in (0, 3, 4, 7)]])

pixel = shown.detach().requires_grad_()
scores = model(pixel)
best = scores.detach().numpy().argmax(axis=1)
ops.gather(scores, 1, nbdl.tensor(best[:, None])).sum().backward()
by_hand = np.abs(pixel.grad.numpy())

saliency = explain.saliency(model, shown)
print("largest difference:", np.abs(by_hand - saliency.numpy()).max())
# --8<-- [end:saliency]
assert np.abs(by_hand - saliency.numpy()).max() < 1e-6

# --8<-- [start:saturated]
x = nbdl.tensor([[0.5], [0.9], [1.5], [2.0]])


def saturated(x):
    """Rises with x until 1, and says 1 from there on."""
    return (1 - ops.relu(1 - x)).sum(1)


whole = explain.integrated_gradients(saturated, x)
slopes = explain.saliency(saturated, x).numpy()[:, 0]
shares = whole.attributions.numpy()[:, 0]
for value, slope, share in zip(x.numpy()[:, 0], slopes, shares, strict=True):
    print(f"x = {value:.1f}: gradient {slope:.0f}, integrated gradient {share:.2f}")
# --8<-- [end:saturated]
assert slopes.tolist() == [1, 1, 0, 0]
assert np.abs(shares - [0.5, 0.9, 1, 1]).max() < 0.01

# --8<-- [start:complete]
found = explain.integrated_gradients(model, nbdl.tensor(images[:100]))
difference, delta = found.difference.numpy(), found.delta.numpy()
print(f"{found.steps} points on the way from black to the image")
print(f"sum of the shares, image 0: {found.attributions.numpy()[0].sum():.4f}")
print(f"score minus score of black: {difference[0]:.4f}")
print(f"largest error of 100 images: {np.abs(delta / difference).max():.2%}")
# --8<-- [end:complete]
assert np.abs(delta / difference).max() < 0.01

# --8<-- [start:maps]
maps = {
    "saliency": saliency,
    "SmoothGrad": explain.smooth_grad(model, shown),
    "integrated": explain.integrated_gradients(model, shown).attributions,
    "Grad-CAM": explain.grad_cam(model, shown, layer="3"),
    "occlusion": explain.occlusion(model, shown, window=2),
}
picture = explain.draw_attributions(shown, maps, "what five methods see in four digits")
# --8<-- [end:maps]
assert picture.count("<image") == 24

# --8<-- [start:black]
background = shown.numpy() == 0
on_black = maps["integrated"].numpy()[background]
covered = explain.occlusion(model, shown, window=1, baseline=1.0).numpy()[background[:, 0]]
print(f"{background.mean():.0%} of the pixels are black")
print(f"their integrated gradients: at most {np.abs(on_black).max():.1f}")
print(f"make one of them white: the score falls by up to {covered.max():.1f}")
# --8<-- [end:black]
assert np.abs(on_black).max() == 0 and covered.max() > 1

# --8<-- [start:check]
trained = nbdl.tensor(images[:32])
for name, method in {"saliency": explain.saliency, "the image": lambda m, x, t: x}.items():
    result = explain.randomization_check(method, model, trained)
    layers = "  ".join(
        f"{layer}: {similarity:.2f}"
        for layer, similarity in zip(result.layers, result.similarity, strict=True)
    )
    print(f"{name:10} {layers}   {'passes' if result.passes else 'fails'}")
# --8<-- [end:check]

# --8<-- [start:reader]
places = 8


class Reader(nn.Module):
    """Which digit is the marked one? The answer is read at place 0."""

    def __init__(self):
        super().__init__()
        self.digits, self.marks = nn.Embedding(10, 32), nn.Embedding(2, 32)
        self.places = nn.Embedding(places + 1, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.answer = nn.Linear(32, 10)

    def forward(self, digits, marks):
        read = self.digits(digits) + self.marks(marks)
        blank = nbdl.zeros(read.shape[0], 1, 32)
        return self.answer(
            self.encoder(ops.cat([blank, read], 1) + self.places.weight)[:, 0]
        )


random = np.random.default_rng(0)


def draw(count):
    digits, marked = (
        random.integers(0, 10, (count, places)),
        random.integers(0, places, count),
    )
    marks = (np.arange(places) == marked[:, None]).astype(np.int64)
    return nbdl.tensor(digits), nbdl.tensor(marks), marked, digits[np.arange(count), marked]


nbdl.manual_seed(0)
reader = Reader()
optimizer = optim.Adam(reader.parameters(), lr=3e-3)
for _ in range(120):
    digits, marks, _, truth = draw(64)
    loss = ops.cross_entropy(reader(digits, marks), nbdl.tensor(truth))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

digits, marks, marked, truth = draw(500)
layers = explain.attention_maps(reader, digits, marks)
rollout = explain.attention_rollout(layers)
with nbdl.no_grad():
    right = (reader.eval()(digits, marks).numpy().argmax(axis=1) == truth).mean()
print(f"right: {right:.1%}; place 0 looks at the marked digit with")
for name, weights in (
    ("layer 1", layers[0].mean(1)),
    ("layer 2", layers[1].mean(1)),
    ("rollout", rollout),
):
    share = weights.numpy()[np.arange(500), 0, marked + 1].mean()
    print(f"  {name}: {share:.2f} of its attention; chance is {1 / (places + 1):.2f}")
# --8<-- [end:reader]
assert right > 0.95

# --8<-- [start:baseline]
for value in (0.0, 0.5, 1.0):
    found = explain.integrated_gradients(model, shown, baseline=value)
    size = np.abs(found.attributions.numpy())
    bright, black = (
        size[part].sum() / size.sum() for part in (shown.numpy() > 0.5, background)
    )
    print(f"baseline {value}: {bright:.0%} on bright pixels, {black:.0%} on black ones")
# --8<-- [end:baseline]

# --8<-- [start:target]
seven = nbdl.tensor(images[labels == 7][:1])
with nbdl.no_grad():
    likely = np.argsort(-model(seven).numpy()[0])[:3]
reasons = [
    explain.integrated_gradients(model, seven, int(digit)).attributions for digit in likely
]
for digit, reason in zip(likely, reasons, strict=True):
    size, size_of_first = np.abs(reason.numpy()), np.abs(reasons[0].numpy())
    same = explain.rank_correlation(size, size_of_first)[0]
    print(f"why {digit}? its map is like that for {likely[0]} by {same:.2f}")
# --8<-- [end:target]

# --8<-- [start:window]
for window in (1, 2, 4):
    fall = explain.occlusion(model, shown, window=window).numpy()
    helpful = (fall > 0.5).mean()
    print(f"window {window}: falls by up to {fall.max():.1f}; {helpful:.0%} of places help")
# --8<-- [end:window]
