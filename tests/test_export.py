"""Exported models: what `trace` writes down and what it refuses, and that WebAssembly computes what nbdl does."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.export import ExportError, trace, wasm
from nbdl.models import GPT
from nbdl.models.gpt import GPTConfig
from nbdl.runtime import jit
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError

RNG = np.random.default_rng(0)
MOST_BYTES = 60_000  # of code, for every kind of model that the site shows


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def inference(model: nn.Module) -> Any:
    model.eval()

    def run(*inputs: nbdl.Tensor) -> Any:
        with nbdl.no_grad():
            return model(*inputs)

    return run


# ---------------------------------------------------------------- trace


class Training:
    """A network of two layers and a step of its optimizer."""

    def __init__(self, optimizer: Any) -> None:
        nbdl.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.optimizer = optimizer(self.model.parameters())
        self.x, self.labels = floats(5, 4), np.array([0, 1, 2, 1, 0])

    def step(self, x: nbdl.Tensor, labels: nbdl.Tensor) -> nbdl.Tensor:
        self.optimizer.zero_grad()
        loss = ops.cross_entropy(self.model(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def trace(self) -> Any:
        return trace(self.step, self.x, self.labels, state=[self.model, self.optimizer], names=["x", "labels"])


SGD = functools.partial(nbdl.optim.SGD, lr=0.1, momentum=0.9)
ADAM = functools.partial(nbdl.optim.AdamW, lr=0.01)


@pytest.mark.parametrize("optimizer", [SGD, ADAM])
def test_a_trace_leaves_everything_as_it_was(optimizer: Any) -> None:
    traced, untouched = Training(optimizer), Training(optimizer)
    traced.x = untouched.x
    program = traced.trace()
    for training in (traced, untouched):
        for _ in range(3):
            training.step(nbdl.from_numpy(training.x), nbdl.from_numpy(training.labels))
    for mine, theirs in zip(traced.model.parameters(), untouched.model.parameters(), strict=True):
        assert np.array_equal(mine.detach().numpy(), theirs.detach().numpy())
    assert [*program.inputs] == ["x", "labels"] and [*program.outputs] == ["output"]
    assert any("coefficients" in name for name in program.controls)


def test_checks_are_left_out() -> None:
    """Labels are looked at before the loss; no result depends on it."""
    program = Training(SGD).trace()
    assert not any("range" in launch.kernel.name for launch in program.launches)
    assert program.launches[-1].kernel.name == "sgd"


def test_what_python_works_out_is_refused() -> None:
    x = floats(3, 4)
    with pytest.raises(ExportError, match=r"kernel multiply_number.*Python worked it out"):
        trace(lambda x: x * float(x.sum().item()), x)
    with pytest.raises(ExportError, match=r"kernel multiply_number.*Python worked it out"):
        trace(lambda x: x * float(x.max().item()), x)
    with pytest.raises(ExportError, match="other kernels in the second run"):
        trace(
            lambda x: x.exp() if float(x[0, 0].item()) > 0 else x.tanh(), np.array([[1.0, -1.0]], np.float32)
        )  # the second run sees them reversed
    with pytest.raises(ExportError, match="random state"):
        trace(nn.Dropout(0.5), x)
    with pytest.raises(ExportError, match="random state"):
        trace(lambda x: x + nbdl.from_numpy(RNG.standard_normal(4).astype(np.float32)), x)


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentTypeError, match="expected a result of tensors, got float"):
        trace(lambda x: float(x.sum().item()), floats(2))
    with pytest.raises(ArgumentError, match="expected 1 names"):
        trace(nn.ReLU(), floats(2), names=["a", "b"])
    with pytest.raises(ArgumentTypeError, match="expected modules, optimizers or tensors, got int"):
        trace(nn.ReLU(), floats(2), state=[3])
    with pytest.raises(ArgumentError, match="'exp' cannot name a function"):
        wasm.export("anywhere", "model", {"exp": trace(nn.ReLU(), floats(2))})
    with pytest.raises(ArgumentTypeError, match="expected a Program for run, got Linear"):
        wasm.export("anywhere", "model", {"run": nn.Linear(1, 1)})  # type: ignore[dict-item]
    assert jit.launch_override is None


# ---------------------------------------------------------------- WebAssembly


class Host:
    """An exported module outside the browser."""

    def __init__(self, folder: Path, name: str) -> None:
        import wasmtime

        self.store = wasmtime.Store()
        self.description = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        module = wasmtime.Module.from_file(self.store.engine, str(folder / f"{self.description['module']}.wasm"))
        assert not module.imports, "the module needs nothing of its surroundings"
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.memory, self.base = self.exports["memory"], self.exports["nbdl_arena"].value(self.store)
        self.memory.write(self.store, (folder / f"{name}.weights").read_bytes(), self.base)

    def run(self, program: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        shown = self.description["programs"][program]
        for name, array in inputs.items():
            place = shown["inputs"][name]
            assert (list(array.shape), array.dtype.name) == (place["shape"], place["dtype"])
            self.memory.write(self.store, array.tobytes(), self.base + place["offset"])
        refused = self.exports[shown["function"]](self.store)
        if refused:
            raise IndexError([*shown["ranges"]][refused - 1])
        return {name: self.read(place) for name, place in shown["outputs"].items()}

    def read(self, place: dict[str, Any]) -> np.ndarray:
        dtype = np.dtype(place["dtype"])
        extent = 1 + sum((n - 1) * step for n, step in zip(place["shape"], place["strides"], strict=True))
        start = self.base + place["offset"]
        flat = np.frombuffer(self.memory.read(self.store, start, start + extent * dtype.itemsize), dtype)
        return np.lib.stride_tricks.as_strided(
            flat, place["shape"], [step * dtype.itemsize for step in place["strides"]]
        )


def models() -> dict[str, tuple[nn.Module, tuple[np.ndarray, ...]]]:
    nbdl.manual_seed(1)
    cnn = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )
    gpt = GPT(GPTConfig(vocabulary=50, context=32, layers=2, heads=2, width=32))
    return {
        "cnn": (cnn, (floats(1, 1, 8, 8),)),
        "lstm": (nn.LSTM(8, 32), (floats(5, 1, 8),)),
        "gpt": (gpt, (RNG.integers(0, 50, (1, 32)),)),
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Training, Any]:
    """One module with a network that trains and predicts, a CNN, an LSTM and a GPT."""
    folder = tmp_path_factory.mktemp("wasm")
    training, shown = Training(SGD), models()
    programs = {
        "train": training.trace(),
        "predict": trace(inference(training.model), training.x, state=[training.model], names=["x"]),
        **{name: trace(inference(model), *inputs, state=[model]) for name, (model, inputs) in shown.items()},
    }
    softmax = next(kernel for kernel in jit.KERNELS if kernel.name == "sum_rows")
    wasm.export(folder, "site", programs, {"sum_rows": (softmax, ["float32[:, :]", "float32[:]"])})
    return folder, training, shown


@pytest.mark.wasm
@pytest.mark.parametrize("name", ["cnn", "lstm", "gpt"])
def test_models_compute_the_same(site: tuple[Path, Training, Any], name: str) -> None:
    folder, _, shown = site
    model, inputs = shown[name]
    host = Host(folder, "site")
    for attempt in range(2):  # the second run finds the memory as the first left it
        given = [array if attempt else array[..., ::-1].copy() for array in inputs]
        found = host.run(name, **{f"input{k}": array for k, array in enumerate(given)})
        wanted = inference(model)(*map(nbdl.from_numpy, given))
        tensors = [wanted] if isinstance(wanted, nbdl.Tensor) else [wanted[0], *wanted[1]]
        for mine, tensor in zip(found.values(), tensors, strict=True):
            np.testing.assert_allclose(mine, tensor.numpy(), rtol=0, atol=1e-6)


@pytest.mark.wasm
def test_bit_for_bit_where_nothing_is_fused(tmp_path: Path) -> None:
    """Single operations, forward and backward, and a step of SGD without momentum from them."""

    def run(x: nbdl.Tensor, y: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        z = ops.relu(x * y) / (y.abs() + 1.5)
        z.sum().backward()
        return {"z": z.detach(), "dx": x.grad, "dy": y.grad, "highest": z.detach().amax(-1)}

    x, y = floats(6, 37), floats(6, 37)
    wasm.export(tmp_path, "exact", {"run": trace(run, x, y, names=["x", "y"])})
    found = Host(tmp_path, "exact").run("run", x=x, y=y)
    wanted = run(nbdl.from_numpy(x), nbdl.from_numpy(y))
    assert {*found} == {*wanted}
    for name, tensor in wanted.items():
        assert np.array_equal(found[name], tensor.numpy()), name


@pytest.mark.wasm
def test_training_in_webassembly_follows_nbdl(site: tuple[Path, Training, Any]) -> None:
    folder, training, _ = site
    host = Host(folder, "site")
    x, labels = nbdl.from_numpy(training.x), nbdl.from_numpy(training.labels)
    first = float(training.step(x, labels).item())
    losses = [first] + [float(training.step(x, labels).item()) for _ in range(99)]
    found = [float(host.run("train", x=training.x, labels=training.labels)["output"]) for _ in range(100)]
    np.testing.assert_allclose(found, losses, rtol=0, atol=1e-6)
    assert losses[-1] < 0.1 * losses[0]
    np.testing.assert_allclose(  # the programs share their state
        host.run("predict", x=training.x)["output"], inference(training.model)(x).numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.wasm
def test_a_control_is_the_learning_rate(site: tuple[Path, Training, Any]) -> None:
    folder, training, _ = site
    host = Host(folder, "site")
    (place,) = host.description["programs"]["train"]["controls"].values()
    rows = host.read(place).copy()
    assert np.all(rows[:, 0] == 0.1)
    rows[:, 0] = 0
    host.memory.write(host.store, rows.tobytes(), host.base + place["offset"])
    losses = [float(host.run("train", x=training.x, labels=training.labels)["output"]) for _ in range(3)]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.wasm
def test_a_single_kernel(site: tuple[Path, Training, Any]) -> None:
    folder, _, _ = site
    host = Host(folder, "site")
    x = floats(7, 5)
    allocate = host.exports["nbdl_allocate"]
    source, target = (allocate(host.store, size) for size in (x.nbytes, 20))
    host.memory.write(host.store, x.tobytes(), source)
    host.exports["sum_rows"](host.store, source, 7, 5, target, 5, 5)
    found = np.frombuffer(host.memory.read(host.store, target, target + 20), np.float32)
    np.testing.assert_allclose(found, x.sum(0), rtol=1e-6)


@pytest.mark.wasm
@pytest.mark.parametrize("strange", [50, -1, -(2**40), 2**62])
def test_ids_out_of_range_are_refused(site: tuple[Path, Training, Any], strange: int) -> None:
    """Nothing is read or written outside of the table, and the next run is as it should be."""
    folder, training, shown = site
    host = Host(folder, "site")
    tokens = shown["gpt"][1][0]
    before = host.run("gpt", input0=tokens)["output"].copy()
    tokens = tokens.copy()
    tokens[0, 7] = strange
    with pytest.raises(IndexError, match="input0"):
        host.run("gpt", input0=tokens)
    assert np.array_equal(host.run("gpt", input0=shown["gpt"][1][0])["output"], before)
    labels = training.labels.copy()
    labels[3] = strange
    with pytest.raises(IndexError, match="labels"):
        host.run("train", x=training.x, labels=labels)


@pytest.mark.wasm
def test_an_id_to_ignore_is_no_error(site: tuple[Path, Training, Any]) -> None:
    folder, training, _ = site
    labels = training.labels.copy()
    labels[3] = -100
    assert np.isfinite(Host(folder, "site").run("train", x=training.x, labels=labels)["output"])


@pytest.mark.wasm
def test_vectors_are_used(site: tuple[Path, Training, Any]) -> None:
    """Four multiplications and four additions at once: `f32x4.mul`, `f32x4.add` of the module's code."""
    code = (site[0] / "site.wasm").read_bytes()
    assert code.count(b"\xfd\xe6\x01") > 50 and code.count(b"\xfd\xe4\x01") > 50


@pytest.mark.wasm
def test_models_share_a_module(tmp_path: Path) -> None:
    """Each model has its own weights; what both call is compiled once."""
    nbdl.manual_seed(2)
    first, second = nn.Linear(4, 3), nn.Linear(4, 3)
    x = floats(2, 4)
    programs = {
        name: {"run": trace(inference(model), x, state=[model])}
        for name, model in {"first": first, "second": second}.items()
    }
    wasm.export_together(tmp_path, "both", programs)
    for name, model in {"first": first, "second": second}.items():
        description = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert description["module"] == "both"
        host = Host(tmp_path, name)
        np.testing.assert_allclose(
            host.run("run", input0=x)["output"], inference(model)(nbdl.from_numpy(x)).numpy(), rtol=0, atol=1e-6
        )
    alone = wasm.export(tmp_path, "alone", programs["first"])
    assert alone["module"] == "alone"
    assert (tmp_path / "both.wasm").stat().st_size < 1.5 * (tmp_path / "alone.wasm").stat().st_size


@pytest.mark.wasm
def test_the_code_is_small(site: tuple[Path, Training, Any]) -> None:
    assert (site[0] / "site.wasm").stat().st_size < MOST_BYTES


@pytest.mark.wasm
def test_the_loader_shows_arrays(site: tuple[Path, Training, Any]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NOT CHECKED: the loader needs Node here; the site's tests run it in a browser")
    folder, training, _ = site
    script = f"""
      import {{ load }} from "./nbdl.mjs";
      import {{ readFile }} from "node:fs/promises";
      const model = await load("site",
        (name) => readFile(name).then((file) => new Uint8Array(file).buffer));
      model.train.x.set({training.x.ravel().tolist()});
      model.train.labels.set({training.labels.tolist()}.map(BigInt));
      const losses = [];
      for (let k = 0; k < 5; k++) {{ model.train(); losses.push(model.train.output[0]); }}
      model.reset(); model.train(); losses.push(model.train.output[0]);
      model.train.labels.set([77n], 1);
      try {{ model.train(); }} catch (error) {{ losses.push(error.message); }}
      console.log(JSON.stringify(losses));
    """
    (folder / "run.mjs").write_text(script, encoding="utf-8")
    result = subprocess.run([node, "run.mjs"], cwd=folder, capture_output=True, text=True, check=True)
    losses = json.loads(result.stdout)
    host = Host(folder, "site")
    found = [float(host.run("train", x=training.x, labels=training.labels)["output"]) for _ in range(5)]
    assert losses[:5] == found and losses[5] == losses[0]
    assert losses[6] == "nbdl: train: labels: expected ids in [0, 2], got 77 at 1"
