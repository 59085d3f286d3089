"""Training on `device="cuda"`, on a simulated GPU: the runtime is the real one, its driver ends in the interpreter."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops, optim
from nbdl.models import GPT, GPTConfig
from nbdl.runtime import placement
from nbdl.testing import simulated

rng = np.random.default_rng(0)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(27, 4))

    def forward(self, x):
        return self.head(self.features(x))


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.memory = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 7)

    def forward(self, tokens):
        y, _ = self.memory(self.table(tokens))
        return self.head(y).reshape(-1, 7)


def mlp():
    return nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Dropout(0.3), nn.LayerNorm(9), nn.Linear(9, 4))


def gpt():
    sizes = {"vocabulary": 7, "context": 3, "width": 4, "layers": 1, "heads": 2}
    return GPT(GPTConfig(**sizes, dropout=0.1, attention_dropout=0.1))


def class_loss(model, x, y):
    scores = model(x)
    return ops.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))


MODELS = {
    "mlp": (mlp, rng.standard_normal((5, 6)).astype(np.float32), rng.integers(0, 4, 5), optim.AdamW),
    "cnn": (Cnn, rng.standard_normal((3, 1, 6, 6)).astype(np.float32), rng.integers(0, 4, 3), optim.SGD),
    "lstm": (Reader, rng.integers(0, 7, (2, 5)), rng.integers(0, 7, (2, 5)), optim.Adam),
    "gpt": (gpt, rng.integers(0, 7, (2, 3)), rng.integers(0, 7, (2, 3)), optim.SGD),
}


def train(name, device, steps=2):
    """Losses, norms of the gradients and weights."""
    make, inputs, targets, optimizer = MODELS[name]
    nbdl.manual_seed(3)
    model = make().to(device)
    update = optimizer(model.parameters(), lr=0.05)
    x, y = nbdl.tensor(inputs, device=device), nbdl.tensor(targets, device=device)
    losses, norms = [], []
    for _ in range(steps):
        update.zero_grad()
        loss = class_loss(model, x, y)
        loss.backward()
        norms.append(optim.clip_grad_norm_(model.parameters(), 1.0))
        update.step()
        losses.append(loss)
    assert all(tensor.device == device for tensor in (*losses, *norms, *model.parameters(), *model.buffers()))
    weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    return [x.item() for x in losses], [x.item() for x in norms], weights


@pytest.mark.parametrize("name", MODELS)
def test_training_steps_equal_those_on_the_cpu(name):
    losses, norms, weights = train(name, "cpu")
    with simulated.gpu() as machine:
        cuda_losses, cuda_norms, cuda_weights = train(name, "cuda")
    assert machine.launches
    np.testing.assert_allclose(cuda_losses, losses, atol=1e-4)  # equal dropout masks among them
    np.testing.assert_allclose(cuda_norms, norms, rtol=1e-4)
    for name_ in weights:
        np.testing.assert_allclose(cuda_weights[name_], weights[name_], atol=1e-4, err_msg=name_)


def test_a_new_tensor_lies_where_its_inputs_do():
    with simulated.gpu():
        x = nbdl.zeros(2, 3, device="cuda")
        for y in (x + 1, x.sum(), x.argmax(), nbdl.zeros_like(x), nbdl.rand_like(x), x.new_zeros(2), x[0], x > 0):
            assert y.device == "cuda"
        assert nbdl.zeros(2).device == "cpu"
        assert (nbdl.zeros(2) + 1).device == "cpu"
        assert placement.where.kind == "cpu"


def test_what_looks_into_the_gpu_raises_or_copies():
    with simulated.gpu():
        x = nbdl.tensor([[1.0, 2.0]], device="cuda")
        with pytest.raises(nbdl.DeviceError, match=r"use \.cpu\(\)\.numpy\(\)"):
            x.numpy()
        with pytest.raises(nbdl.DeviceError, match=r"\.cpu\(\)"):
            np.asarray(x._array)
        with pytest.raises(nbdl.DeviceError, match=r"np\.sum"):
            np.sum(x._array)
        assert x.tolist() == [[1.0, 2.0]]
        assert repr(x) == "tensor([[1., 2.]], device='cuda')"
        np.testing.assert_array_equal(x.cpu().numpy(), [[1.0, 2.0]])
