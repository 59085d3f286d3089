"""`nbdl.train` with `device="cuda"` on a simulated GPU: loops, checkpoints, recipes' parts."""

import numpy as np

import nbdl
from nbdl import data, nn, optim, train
from nbdl.testing import simulated

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 2, 12)


def parts(device):
    nbdl.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 2)).to(device)
    update = optim.AdamW(model.parameters(), lr=0.05)
    loader = data.DataLoader(data.ArrayDataset(X[:8], Y[:8]), batch_size=4, shuffle=True)
    kept = data.DataLoader(data.ArrayDataset(X[8:], Y[8:]), batch_size=4)
    options = {
        "validation": kept,
        "metrics": {"accuracy": train.accuracy},
        "schedule": optim.lr_scheduler.StepLR(update, 1, 0.5),
        "clip_norm": 1.0,
        "device": device,
    }
    return (model, loader, update, nn.CrossEntropyLoss()), options


def fit(device, folder, epochs, resume=False):
    given, options = parts(device)
    history = train.fit(*given, epochs=epochs, folder=folder, resume=resume, **options)
    return history, {name: value.cpu().numpy() for name, value in given[0].state_dict().items()}


def test_training_with_checkpoints_equals_that_on_the_cpu(tmp_path):
    history, weights = fit("cpu", tmp_path / "cpu", 3)
    with simulated.gpu():
        on_gpu, gpu_weights = fit("cuda", tmp_path / "cuda", 3)
        fit("cuda", tmp_path / "parts", 1)
        resumed, resumed_weights = fit("cuda", tmp_path / "parts", 3, resume=True)
    for ours, theirs in zip(on_gpu, history, strict=True):
        for name in ("loss", "validation_loss", "validation_accuracy"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, err_msg=name)
    assert [record["loss"] for record in resumed] == [record["loss"] for record in on_gpu]
    for name, value in weights.items():
        np.testing.assert_allclose(gpu_weights[name], value, atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(resumed_weights[name], gpu_weights[name], err_msg=name)


def test_a_model_of_the_gpu_goes_on_without_one(tmp_path):
    with simulated.gpu():
        fit("cuda", tmp_path / "run", 1)
    history, _ = fit("cpu", tmp_path / "run", 2, resume=True)
    assert len(history) == 2
