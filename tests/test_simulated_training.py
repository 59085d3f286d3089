"""`nbdl.train` with `device="cuda"` on a simulated GPU: loops, checkpoints, recipes' parts."""

import json

import numpy as np

import nbdl
from nbdl import cli, data, nn, ops, optim, train
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


def steps(device, count):
    """The losses of a small network with dropout, over so many steps."""
    nbdl.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2)).to(device)
    update = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = nbdl.tensor(X[:3, :2], device=device), nbdl.tensor(Y[:3], device=device)
    losses = []
    for _ in range(count):
        update.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        update.step()
        losses.append(loss.item())
    return losses


def test_a_hundred_losses_equal_those_on_the_cpu():
    """The same seed: the same weights, the same dropout masks, losses within 1e-4 from the first step to the last."""
    losses = steps("cpu", 100)
    with simulated.gpu():
        np.testing.assert_allclose(steps("cuda", 100), losses, rtol=0, atol=1e-4)
    assert len(set(losses)) > 50 and min(losses) < losses[0] / 2


def test_a_recipe_runs_on_the_device(tmp_path):
    """`nbdl train mlp-csv --device cuda` gives the metrics of the CPU."""
    table = tmp_path / "rows.csv"
    rows = [f"{a:.3f},{b:.3f},{'yes' if a + b > 0 else 'no'}" for a, b in np.random.default_rng(4).normal(size=(20, 2))]
    table.write_text("\n".join(["a,b,answer", *rows]) + "\n")
    words = ["train", "mlp-csv", "--data", str(table), "--target", "answer", "--hidden", "4", "--epochs", "2"]
    words += ["--batch-size", "8", "--dropout", "0.2"]
    assert cli.main([*words, "--out", str(tmp_path / "cpu"), "--device", "cpu"]) == 0
    with simulated.gpu() as machine:
        assert cli.main([*words, "--out", str(tmp_path / "cuda"), "--device", "cuda"]) == 0
    assert "gemm_cuda" in machine.launches
    lines = [(tmp_path / device / "metrics.jsonl").read_text().splitlines() for device in ("cpu", "cuda")]
    assert len(lines[0]) == len(lines[1]) > 1
    for ours, theirs in zip(*(map(json.loads, of) for of in lines), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() & {"loss", "validation_loss", "test_loss", "accuracy", "test_accuracy"}:
            np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4, err_msg=name)
