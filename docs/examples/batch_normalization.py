"""Batch normalization: what deep networks do to their numbers, and what sets them right."""

# --8<-- [start:drift]
import numpy as np

import nbdl
from nbdl import data, nn, ops, optim

nbdl.set_num_threads(1)
train, test = data.digits()
images = nbdl.tensor(train.arrays[0][:256])


def deep(normalize, layers=12, width=64, spread=1.0):
    """Linear layers with ReLU, weights times `spread`, with or without normalization."""
    nbdl.manual_seed(0)
    modules = []
    for _ in range(layers):
        linear = nn.Linear(64 if not modules else width, width)
        nn.init.normal_(linear.weight, 0.0, spread * np.sqrt(2 / linear.in_features))
        modules += (
            [linear, nn.BatchNorm1d(width), nn.ReLU()] if normalize else [linear, nn.ReLU()]
        )
    return nn.Sequential(*modules, nn.Linear(width, 10))


def spreads(model):
    """The standard deviation after each ReLU."""
    found, h = [], images
    with nbdl.no_grad():
        for module in model:
            h = module(h)
            if isinstance(module, nn.ReLU):
                found.append(float(h.numpy().std()))
    return found


for spread in (0.7, 1.0, 1.4):
    plain, normalized = (
        spreads(deep(False, spread=spread)),
        spreads(deep(True, spread=spread)),
    )
    print(
        f"weights x {spread}: std {plain[-1]:8.4f} plain, {normalized[-1]:.4f} normalized"
    )
# --8<-- [end:drift]


# --8<-- [start:reference]
def batch_norm(x, gamma, beta, eps=1e-5):
    """x [N, D] -> y [N, D], and what the backward pass needs."""
    mean, variance = x.mean(axis=0), x.var(axis=0)
    rstd = 1 / np.sqrt(variance + eps)
    normal = (x - mean) * rstd
    return gamma * normal + beta, (normal, rstd)


def batch_norm_backward(dy, gamma, saved):
    normal, rstd = saved
    dgamma, dbeta = (dy * normal).sum(axis=0), dy.sum(axis=0)
    dx = gamma * rstd * (dy - dbeta / len(dy) - normal * dgamma / len(dy))
    return dx, dgamma, dbeta


rng = np.random.default_rng(0)
x, dy = rng.normal(3.0, 2.0, size=(32, 5)), rng.normal(size=(32, 5))
gamma, beta = rng.normal(size=5), rng.normal(size=5)
y, saved = batch_norm(x, gamma, beta)
gradients = batch_norm_backward(dy, gamma, saved)

tensors = [nbdl.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
result = ops.batch_norm(tensors[0], None, None, tensors[1], tensors[2], training=True)
result.backward(nbdl.tensor(dy))
print("y, error:", np.abs(result.detach().numpy() - y).max())
for name, ours, tensor in zip(("dx", "dgamma", "dbeta"), gradients, tensors, strict=True):
    print(f"{name}, error: {np.abs(ours - tensor.grad.numpy()).max():.1e}")
# --8<-- [end:reference]

# --8<-- [start:orthogonal]
dx = gradients[0]
print("sum of dx over the batch:          ", np.abs(dx.sum(axis=0)).max().round(12))
print(
    "sum of dx times the normalized x:  ",
    np.abs((dx * saved[0]).sum(axis=0)).max().round(4),
)
# --8<-- [end:orthogonal]


# --8<-- [start:train]
def learn(model, lr, batch=64, epochs=10):
    loader = data.DataLoader(train, batch, shuffle=True, seed=0, drop_last=True)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        for x, t in loader:
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(t))
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return losses


def accuracy(model, training=False):
    model.train(training)
    with nbdl.no_grad():
        scores = model(nbdl.tensor(test.arrays[0]))
    model.train()
    return (scores.numpy().argmax(axis=1) == test.arrays[1]).mean()


rates, curves = (0.01, 0.1, 1.0), {}
for normalize in (False, True):
    for rate in rates:
        model = deep(normalize)
        curves[normalize, rate] = learn(model, rate)
        name = "normalized" if normalize else "plain"
        print(f"{name:10} learning rate {rate:4}: test accuracy {accuracy(model):.3f}")
# --8<-- [end:train]

# --8<-- [start:running]
model = deep(True)
learn(model, 0.1)
layer, inputs = model[1], nbdl.tensor(train.arrays[0])
with nbdl.no_grad():
    z = model[0](
        inputs
    ).numpy()  # what the first normalization gets, for all training images
print(
    "running mean, error:    ",
    np.abs(layer.running_mean.numpy() - z.mean(axis=0)).max().round(3),
)
print(
    "running variance, error:",
    np.abs(layer.running_var.numpy() - z.var(axis=0)).max().round(3),
)
one = nbdl.tensor(test.arrays[0][:1])
model.eval()
alone = model(one).detach().numpy()
in_company = model(nbdl.tensor(test.arrays[0][:100])).detach().numpy()[:1]
print(
    "eval: an image alone and among others, difference:",
    np.abs(alone - in_company).max().round(6),
)
# --8<-- [end:running]


# --8<-- [start:small]
def with_layer_norm():
    model = deep(True, layers=6)
    for position, module in enumerate(model):
        if isinstance(module, nn.BatchNorm1d):
            model[position] = nn.LayerNorm(64)
    return model


for batch in (64, 8, 2):
    found = []
    for model in (deep(True, layers=6), with_layer_norm()):
        learn(model, 0.05, batch, epochs=5)
        found.append(accuracy(model))
    print(f"batches of {batch:2}: batch norm {found[0]:.3f}, layer norm {found[1]:.3f}")
# --8<-- [end:small]

# --8<-- [start:bias]
linear, norm = nn.Linear(64, 16), nn.BatchNorm1d(16)
(norm(linear(images)) ** 3).sum().backward()
print("largest gradient of a weight:", np.abs(linear.weight.grad.numpy()).max().round(1))
print("largest gradient of a bias:  ", np.abs(linear.bias.grad.numpy()).max().round(1))
# --8<-- [end:bias]

# --8<-- [start:scale]
outputs, sizes = [], []
for factor in (1.0, 10.0):
    nbdl.manual_seed(0)
    linear, norm = nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16)
    nn.init.normal_(linear.weight, 0.0, 0.2 * factor)
    result = norm(linear(images))
    (result**3).sum().backward()
    outputs.append(result.detach().numpy())
    sizes.append(float(np.linalg.norm(linear.weight.grad.numpy())))
print("change of the output:", np.abs(outputs[0] - outputs[1]).max().round(4))
print("gradient, ten times the weights: divided by", round(sizes[0] / sizes[1], 2))
# --8<-- [end:scale]

# --8<-- [start:fold]
convolution, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
for _ in range(20):
    norm(convolution(nbdl.randn(16, 3, 9, 9)))  # fills the running statistics
norm.eval()
scale = norm.weight / ops.sqrt(norm.running_var + norm.eps)
folded = nn.Conv2d(3, 8, 3)
folded.load_state_dict(
    {
        "weight": (convolution.weight * scale.reshape(8, 1, 1, 1)).detach(),
        "bias": ((convolution.bias - norm.running_mean) * scale + norm.bias).detach(),
    }
)
picture = nbdl.randn(1, 3, 9, 9)
difference = norm(convolution(picture)) - folded(picture)
print(
    "one layer instead of two, difference:",
    np.abs(difference.detach().numpy()).max().round(6),
)
# --8<-- [end:fold]
