"""A convolutional network: one kernel for all places, and the features that it finds."""

# --8<-- [start:edges]
import numpy as np

import nbdl
from nbdl import data, nn, ops, optim

nbdl.set_num_threads(1)  # images this small gain nothing from more

train, test = data.digits(flatten=False)
seven = nbdl.tensor(test.arrays[0][test.arrays[1] == 7][:1])  # [1, 1, 8, 8]

upright = nbdl.tensor([[[[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]]])
level = nbdl.tensor(upright.numpy().transpose(0, 1, 3, 2).copy())
upright_edges = ops.conv2d(seven, upright)
level_edges = ops.conv2d(seven, level)
print("image", seven.shape, "kernel", upright.shape, "result", upright_edges.shape)
# --8<-- [end:edges]


# --8<-- [start:reference]
def convolve(x, weight, bias, stride=1, padding=0, dilation=1):
    """x [C, H, W], weight [K, C, R, S], bias [K] -> y [K, H', W']."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    channels, rows, columns = weight.shape[1:]
    height = (x.shape[1] - dilation * (rows - 1) - 1) // stride + 1
    width = (x.shape[2] - dilation * (columns - 1) - 1) // stride + 1
    y = np.zeros((len(weight), height, width))
    for k in range(len(weight)):
        for i in range(height):
            for j in range(width):
                y[k, i, j] = bias[k]
                for c in range(channels):
                    for r in range(rows):
                        for s in range(columns):
                            at = i * stride + r * dilation, j * stride + s * dilation
                            y[k, i, j] += weight[k, c, r, s] * x[c, *at]
    return y


rng = np.random.default_rng(0)
x, weight, bias = (
    rng.normal(size=(2, 7, 6)),
    rng.normal(size=(3, 2, 3, 3)),
    rng.normal(size=3),
)
for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)):
    ours = convolve(x, weight, bias, stride, padding, dilation)
    kernel = ops.conv2d(
        nbdl.tensor(x), nbdl.tensor(weight), nbdl.tensor(bias), stride, padding, dilation
    )
    error = np.abs(ours - kernel.numpy()).max()
    options = f"stride {stride}, padding {padding}, dilation {dilation}"
    print(f"{options}: {ours.shape}, error {error:.0e}")
# --8<-- [end:reference]


# --8<-- [start:seen]
def seen(i, j, **options):
    """How often the output at (i, j) reads each pixel of a 7 x 7 image: its gradient."""
    image = nbdl.zeros(1, 1, 7, 7, requires_grad=True)
    output = ops.conv2d(image, nbdl.ones(1, 1, 3, 3), **options)
    output[0, 0, i, j].backward()
    return image.grad.numpy()[0, 0].astype(int), output.shape[2:]


variants = [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}]
for options in variants:
    (pixels, size), (corner, _) = seen(1, 1, **options), seen(0, 0, **options)
    reads = f"the corner reads {corner.sum()} pixels, (1, 1) reads {pixels.sum()}"
    print(f"{options!s:15} result {size}; {reads}")
# --8<-- [end:seen]


# --8<-- [start:groups]
def connected(groups):
    """Which of 6 input channels each of 6 output channels reads."""
    reads = np.zeros((6, 6), dtype=int)
    for k in range(6):
        image = nbdl.zeros(1, 6, 3, 3, requires_grad=True)
        output = ops.conv2d(image, nbdl.ones(6, 6 // groups, 3, 3), groups=groups)
        output[0, k].sum().backward()
        reads[k] = image.grad.numpy()[0].any(axis=(1, 2))
    return reads


for groups in (1, 2, 6):
    count = 6 * 6 // groups * 9
    print(
        f"groups={groups}, {count} weights; rows: output channels, columns: input channels"
    )
    print(connected(groups))
# --8<-- [end:groups]

# --8<-- [start:gradients]
image = nbdl.tensor(rng.normal(size=(1, 1, 5, 5)), requires_grad=True)
filters = nbdl.tensor(rng.normal(size=(1, 1, 3, 3)), requires_grad=True)
y = ops.conv2d(image, filters)
dy = rng.normal(size=y.shape)
y.backward(nbdl.tensor(dy))

x, w = image.detach().numpy()[0, 0], filters.detach().numpy()[0, 0]
dx, dw = np.zeros((5, 5)), np.zeros((3, 3))
for i in range(3):
    for j in range(3):
        dx[i : i + 3, j : j + 3] += dy[0, 0, i, j] * w  # what the output read, it pays back
        dw += dy[0, 0, i, j] * x[i : i + 3, j : j + 3]
turned = convolve(dy[0], w[None, None, ::-1, ::-1], [0.0], padding=2)[
    0
]  # the same, read the other way
print("dx, error: ", np.abs(dx - image.grad.numpy()[0, 0]).max())
print("dx as a convolution with the turned kernel, error:", np.abs(turned - dx).max())
print("dW, error: ", np.abs(dw - filters.grad.numpy()[0, 0]).max())
# --8<-- [end:gradients]


# --8<-- [start:network]
def cnn():
    nbdl.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10),
    )


def mlp():
    nbdl.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 10))


for name, model in (("CNN", cnn()), ("MLP", mlp())):
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {count:,} parameters")
# --8<-- [end:network]


# --8<-- [start:train]
def accuracy(model, images, labels):
    with nbdl.no_grad():
        return (model(nbdl.tensor(images)).numpy().argmax(axis=1) == labels).mean()


def learn(model, images, labels, epochs=20, test_images=test.arrays[0]):
    loader = data.DataLoader(data.ArrayDataset(images, labels), 32, shuffle=True, seed=0)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    curve = []
    for _ in range(epochs):
        for x, t in loader:
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(t))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        curve.append(accuracy(model, test_images, test.arrays[1]))
    return curve


network, perceptron = cnn(), mlp()
cnn_curve = learn(network, *train.arrays)
mlp_curve = learn(perceptron, *train.arrays)
print(f"CNN: test accuracy {cnn_curve[-1]:.3f}")
print(f"MLP: test accuracy {mlp_curve[-1]:.3f}")
# --8<-- [end:train]
assert cnn_curve[-1] > mlp_curve[-1]

# --8<-- [start:maps]
image = test.arrays[0][test.arrays[1] == 5][0]
with nbdl.no_grad():
    first = network[1](network[0](nbdl.tensor(image[None])))
    second = network[4](network[3](network[2](first)))
filters = network[0].weight.detach().numpy()[:, 0]  # [16, 3, 3]
first_maps, second_maps = first.numpy()[0], second.numpy()[0]
print("filters", filters.shape, "first maps", first_maps.shape, "second", second_maps.shape)
# --8<-- [end:maps]

# --8<-- [start:excite]
images = test.arrays[0]
with nbdl.no_grad():
    hidden = network[:5](nbdl.tensor(images)).numpy()  # [360, 32, 4, 4]
strongest = np.argsort(-hidden.max(axis=(0, 2, 3)))[:5]  # the five channels that react most
favourites = {}
for channel in strongest:
    peak = hidden[:, channel].reshape(len(images), -1)
    favourites[int(channel)] = np.argsort(-peak.max(axis=1))[:8]
    digits = test.arrays[1][favourites[int(channel)]]
    print(f"channel {channel:2} reacts most to images of {digits}")
# --8<-- [end:excite]

# --8<-- [start:shuffled]
order = rng.permutation(64)  # one order of pixels for all images


def shuffle(images):
    return images.reshape(len(images), 64)[:, order].reshape(images.shape).copy()


shuffled_train, shuffled_test = shuffle(train.arrays[0]), shuffle(test.arrays[0])
for name, make, plain in (("CNN", cnn, cnn_curve), ("MLP", mlp, mlp_curve)):
    curve = learn(make(), shuffled_train, train.arrays[1], test_images=shuffled_test)
    print(f"{name}: {plain[-1]:.3f} on images, {curve[-1]:.3f} on shuffled pixels")
# --8<-- [end:shuffled]

# --8<-- [start:moved]
moved = data.RandomShift(1)(
    test.arrays[0], data.RandomStream(seed=0)
)  # one pixel, any direction
for name, model in (("CNN", network), ("MLP", perceptron)):
    plain, shifted = (accuracy(model, x, test.arrays[1]) for x in (test.arrays[0], moved))
    print(f"{name}: {plain:.3f} where they were, {shifted:.3f} moved by up to a pixel")
augmented = cnn()
loader = data.DataLoader(train, 32, shuffle=True, augment=data.RandomShift(1))
optimizer = optim.AdamW(augmented.parameters(), lr=3e-3)
for _ in range(20):
    for x, t in loader:
        loss = ops.cross_entropy(augmented(nbdl.tensor(x)), nbdl.tensor(t))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
plain, shifted = (accuracy(augmented, x, test.arrays[1]) for x in (test.arrays[0], moved))
print(f"CNN, trained on moved images: {plain:.3f}, {shifted:.3f}")
# --8<-- [end:moved]

# --8<-- [start:field]
layers = nn.Sequential(
    nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3)
)
for depth in range(1, 5):
    picture = nbdl.zeros(1, 1, 21, 21, requires_grad=True)
    out = layers[:depth](picture)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    reads = picture.grad.numpy()[0, 0].any(axis=0)
    print(f"after {depth} layers one output sees {reads.sum()} x {reads.sum()} pixels")
# --8<-- [end:field]

# --8<-- [start:pointwise]
x = nbdl.randn(2, 5, 4, 4)
one_by_one = nn.Conv2d(5, 3, 1)
linear = nn.Linear(5, 3)
linear.load_state_dict(
    {"weight": one_by_one.weight.detach().reshape(3, 5), "bias": one_by_one.bias.detach()}
)
pixels = linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
print("difference:", np.abs((one_by_one(x) - pixels).detach().numpy()).max())
# --8<-- [end:pointwise]

# --8<-- [start:stride]
strided = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, stride=2),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, stride=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 2 * 2, 10),
)
print(f"strides: test accuracy {learn(strided, *train.arrays)[-1]:.3f}")
print(f"pooling: test accuracy {cnn_curve[-1]:.3f}")
# --8<-- [end:stride]
