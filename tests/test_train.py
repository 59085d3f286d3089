"""The training floor: checkpoints that survive anything, runs that resume bit for bit, and errors with a way out."""

import doctest
import importlib
import json
import os
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import nbdl
from nbdl import data, nn, optim, serialization, train
from nbdl.models import MLP
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.train import checkpoint

# ---------------------------------------------------------------- checkpoints

STATE = {
    "model": {"0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "0.bias": np.zeros(0)},
    "optimizer": {
        "state": {0: {"step": 3, "exp_avg": np.float32(0.1)}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}],
    },
    "best": float("inf"),
    "none": None,
    "text": '"sha256":"' + "0" * 64 + '"',
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "flags": np.array([True, False]),
}


@pytest.fixture(autouse=True)
def interruptible():
    """Python's own handler of Ctrl-C, which a shell takes away from what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def assert_same(got, expected):
    assert type(got) is type(expected) or isinstance(got, np.ndarray)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray | np.generic):
        assert got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()
    else:
        assert got == expected


def test_checkpoint_brings_everything_back(tmp_path):
    path = tmp_path / "state.safetensors"
    train.save_checkpoint(path, STATE)
    assert_same(train.load_checkpoint(path), STATE)
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_is_an_ordinary_safetensors_file(tmp_path):
    path = tmp_path / "state.safetensors"
    train.save_checkpoint(path, STATE)
    tensors = safetensors.numpy.load_file(path)
    assert np.array_equal(tensors["model.0.weight"], STATE["model"]["0.weight"])


def test_checkpoint_keeps_names_apart(tmp_path):
    state = {"a.b": np.zeros(2), "a": {"b": np.ones(2)}}
    train.save_checkpoint(tmp_path / "state", state)
    assert_same(train.load_checkpoint(tmp_path / "state"), state)


def test_every_damaged_byte_is_found(tmp_path):
    path = tmp_path / "state.safetensors"
    train.save_checkpoint(path, {"epoch": 3, "x": np.arange(3.0)})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(train.CheckpointError, match=r"state\.safetensors: expected"):
            train.load_checkpoint(path)
    for length in (0, 4, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(train.CheckpointError, match=r"state\.safetensors: expected"):
            train.load_checkpoint(path)


def test_other_files_are_no_checkpoints(tmp_path):
    with pytest.raises(train.CheckpointError, match="no such file"):
        train.load_checkpoint(tmp_path / "none")
    with pytest.raises(train.CheckpointError, match="is a directory"):
        train.load_checkpoint(tmp_path)
    safetensors.numpy.save_file({"x": np.zeros(2)}, tmp_path / "weights")
    with pytest.raises(train.CheckpointError, match="damaged or another file"):
        train.load_checkpoint(tmp_path / "weights")
    (tmp_path / "bomb").write_bytes(b"\xff" * 8 + b"[" * 100_000)
    with pytest.raises(train.CheckpointError):
        train.load_checkpoint(tmp_path / "bomb")


@pytest.mark.parametrize("value", [object(), {1.5: 2}, {None: 1}, {"deep": [{"er": {1, 2}}]}])
def test_only_plain_values_go_into_a_checkpoint(tmp_path, value):
    with pytest.raises(train.CheckpointError, match="expected"):
        train.save_checkpoint(tmp_path / "state", {"value": value})
    assert not list(tmp_path.iterdir())


class Crash(BaseException):
    pass


class CrashingSystem:
    """Stands for the module os: the n-th call that touches the disk crashes, and so does every later one."""

    def __init__(self, crash_at):
        self.calls, self.crash_at = 0, crash_at

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in ("replace", "fsync", "open"):
            return real

        def call(*arguments):
            self.calls += 1
            if self.calls > self.crash_at:
                raise Crash
            return real(*arguments)

        return call


def test_a_crash_at_any_point_of_saving_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    folder = train.CheckpointFolder(tmp_path)
    finished, crash_at = False, 0
    while not finished:
        folder.clear()
        folder.save({"epoch": 1})
        folder.save({"epoch": 2})
        with monkeypatch.context() as patch:
            system = CrashingSystem(crash_at)
            patch.setattr(checkpoint, "os", system)
            patch.setattr(serialization, "os", system)
            try:
                folder.save({"epoch": 3})
                finished = True
            except Crash:
                crash_at += 1
        assert folder.load()[0]["epoch"] in ((3,) if finished else (2, 3))
    assert crash_at >= 5


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = train.CheckpointFolder(tmp_path)
    folder.save({"epoch": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.save({"epoch": 2})
    assert folder.load()[0] == {"epoch": 1}


def test_the_previous_checkpoint_stands_in_for_a_damaged_one(tmp_path):
    folder = train.CheckpointFolder(tmp_path)
    assert not folder.exists()
    for epoch in (1, 2, 3):
        folder.save({"epoch": epoch})
    assert folder.load() == ({"epoch": 3}, folder.newest)
    folder.newest.write_bytes(folder.newest.read_bytes()[:-1])
    assert folder.load() == ({"epoch": 2}, folder.previous)
    folder.previous.unlink()
    with pytest.raises(train.CheckpointError, match=r"damaged.*no such file"):
        folder.load()


# ---------------------------------------------------------------- the loop


def make_run(optimizer="AdamW", dropout=0.3, samples=50, batch_size=8, **options):
    """A small classification run with everything that has a state: dropout, moments, schedule, order."""
    nbdl.manual_seed(11)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)
    model = MLP(6, [16], 3, dropout=dropout)
    moves = {"lr": 0.02, "momentum": 0.9} if optimizer == "SGD" else {"lr": 0.02}
    steps = getattr(optim, optimizer)(model.parameters(), **moves)
    options.setdefault("schedule", optim.lr_scheduler.CosineAnnealingLR(steps, 40))
    return train.Trainer(
        model,
        data.DataLoader(data.ArrayDataset(x, y), batch_size, shuffle=True, seed=3),
        steps,
        nn.CrossEntropyLoss(),
        validation=data.DataLoader(data.ArrayDataset(x[:20], y[:20]), 20),
        metrics={"accuracy": train.accuracy},
        **options,
    )


def weights(trainer):
    return b"".join(np.array(value.detach()).tobytes() for value in trainer.model.state_dict().values())


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def test_training_lowers_the_loss_and_keeps_records():
    trainer = make_run(dropout=0.0)
    history = trainer.run(12)
    assert [record["epoch"] for record in history] == list(range(1, 13))
    assert history[-1]["step"] == trainer.step == 12 * 7
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["validation_accuracy"] > 0.8
    assert set(history[0]) == {
        "epoch",
        "step",
        "loss",
        "learning_rate",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    }
    assert history[5]["learning_rate"] < history[0]["learning_rate"] == 0.02


class StopAfter(train.Callback):
    """Sends Ctrl-C to this very process after a number of batches."""

    def __init__(self, batches, number=signal.SIGINT):
        self.batches, self.number = batches, number

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.batches:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("batches", [1, 6, 7, 8, 20, 21])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, batches, optimizer):
    whole = make_run(optimizer)
    whole.keep_in(tmp_path / "whole")
    expected = whole.run(4)

    first = make_run(optimizer, callbacks=[StopAfter(batches), train.EarlyStopping(patience=3)])
    first.keep_in(tmp_path / "parts")
    with pytest.raises(train.TrainingInterrupted) as caught:
        first.run(4)
    assert caught.value.checkpoint == tmp_path / "parts" / "checkpoint.safetensors"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler is put back"

    nbdl.rand(5)  # whatever happens between the parts
    second = make_run(optimizer, callbacks=[train.EarlyStopping(patience=3, restore_best=False)])
    second.keep_in(tmp_path / "parts", resume=True)
    assert second.step == batches
    history = second.run(4)
    assert without_seconds(history) == without_seconds(expected)
    assert weights(second) == weights(whole)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert without_seconds(lines) == without_seconds(expected)


def test_a_finished_run_can_go_on_for_longer(tmp_path):
    whole = make_run()
    whole.run(5)
    for epochs in (2, 2, 5):  # the second finds nothing to do
        part = make_run()
        part.keep_in(tmp_path, resume=epochs != 2 or (tmp_path / "checkpoint.safetensors").exists())
        part.run(epochs)
        assert part.epoch == epochs
    assert weights(part) == weights(whole)


def test_killed_between_checkpoints(tmp_path):
    """Killed without warning, a run goes on from its last epoch and ends with the same weights."""
    whole = make_run()
    whole.run(4)

    class Die(train.Callback):
        def on_batch_end(self, trainer, loss):
            if trainer.step == 18:
                raise Crash

    first = make_run(callbacks=[Die()])
    first.keep_in(tmp_path)
    with pytest.raises(Crash):
        first.run(4)
    second = make_run()
    second.keep_in(tmp_path, resume=True)
    assert (second.epoch, second.step) == (2, 14)
    second.run(4)
    assert weights(second) == weights(whole)


def test_long_epochs_are_saved_on_the_way(tmp_path):
    trainer = make_run(callbacks=[StopAfter(10)], checkpoint_seconds=-1)
    trainer.keep_in(tmp_path)
    saved = []
    save = trainer.checkpoints.save
    trainer.checkpoints.save = lambda state: saved.append(state["step"]) or save(state)
    with pytest.raises(train.TrainingInterrupted):
        trainer.run(2)
    assert saved == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_sigterm_saves_too(tmp_path):
    trainer = make_run(callbacks=[StopAfter(3, signal.SIGTERM)])
    trainer.keep_in(tmp_path)
    with pytest.raises(train.TrainingInterrupted) as caught:
        trainer.run(2)
    assert caught.value.signal == signal.SIGTERM and train.CheckpointFolder(tmp_path).load()[0]["step"] == 3


def test_without_a_folder_control_c_is_left_alone():
    with pytest.raises(KeyboardInterrupt) as caught:
        make_run(callbacks=[StopAfter(2)]).run(1)
    assert type(caught.value) is KeyboardInterrupt


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    trainer = make_run()
    trainer.keep_in(tmp_path)
    trainer.run(1)
    with pytest.raises(train.CheckpointError, match="batch_size"):
        make_run(batch_size=4).keep_in(tmp_path, resume=True)
    other = make_run()
    other.model = MLP(6, [8], 3)
    with pytest.raises(train.CheckpointError, match="expected the state of a run like this one"):
        other.keep_in(tmp_path, resume=True)
    with pytest.raises(train.CheckpointError, match="no such file"):
        make_run().keep_in(tmp_path / "empty", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Spoil(train.Callback):
        def on_epoch_start(self, trainer):
            if trainer.epoch == 2:
                trainer.loader.dataset.arrays[0][7, 3] = np.nan

    trainer = make_run(callbacks=[Spoil()])
    trainer.keep_in(tmp_path)
    with pytest.raises(
        train.DivergedError, match=r"loss: expected a finite number, got nan in epoch 3.*last good checkpoint"
    ):
        trainer.run(5)
    state, _ = train.CheckpointFolder(tmp_path).load()
    assert state["epoch"] == 2 and all(np.isfinite(value).all() for value in state["model"].values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    class Spoil(train.Callback):
        def on_epoch_end(self, trainer, record):
            if record["epoch"] == 2:
                next(trainer.model.parameters()).detach().numpy()[0, 0] = np.inf

    trainer = make_run(callbacks=[Spoil()])
    trainer.keep_in(tmp_path)
    with pytest.raises(train.DivergedError, match=r"0\.weight: expected finite weights"):
        trainer.run(5)
    assert train.CheckpointFolder(tmp_path).load()[0]["epoch"] == 1


def test_early_stopping_ends_and_brings_back_the_best(tmp_path):
    class Worsen(train.Callback):
        """Replaces the loss by one that falls and then rises; the first callback sees the record before the others."""

        losses = (3.0, 2.0, 1.0, 1.5, 1.0, 2.0, 3.0, 4.0)

        def __init__(self):
            self.weights = {}

        def on_epoch_end(self, trainer, record):
            record["validation_loss"] = self.losses[record["epoch"] - 1]
            self.weights[record["epoch"]] = weights(trainer)

    worsen = Worsen()
    trainer = make_run(callbacks=[worsen, train.EarlyStopping(patience=3)])
    assert len(trainer.run(8)) == 6
    assert weights(trainer) == worsen.weights[3] != worsen.weights[6]


def test_early_stopping_refuses(tmp_path):
    with pytest.raises(ArgumentError, match="patience"):
        train.EarlyStopping(patience=0)
    with pytest.raises(ArgumentError, match="min_delta"):
        train.EarlyStopping(min_delta=-1)
    with pytest.raises(ArgumentError, match=r"monitor: expected one of .*validation_accuracy.* got 'f1'"):
        make_run(callbacks=[train.EarlyStopping("f1")]).run(1)


def test_reduce_on_plateau_and_schedules_of_batches():
    trainer = make_run(schedule=None)
    trainer.schedule = optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer, patience=0, threshold=10.0)
    history = trainer.run(3)
    assert history[2]["learning_rate"] < history[0]["learning_rate"]
    trainer = make_run(schedule=None, schedule_each="batch")
    trainer.schedule = optim.lr_scheduler.LinearLR(trainer.optimizer, 0.1, 1.0, total_iters=14)
    assert trainer.run(2)[-1]["learning_rate"] == pytest.approx(0.02)


def test_regression_and_several_inputs():
    class Adder(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, left, right):
            return self.left(left) + self.right(right)

    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 40, 2)).astype(np.float32)
    target = (left[:, :1] - right[:, 1:]).astype(np.float32)
    nbdl.manual_seed(0)
    model = Adder()
    loader = data.DataLoader(data.ArrayDataset(left, right, target), 10, shuffle=True)
    history = train.fit(model, loader, optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(), epochs=60)
    assert history[-1]["loss"] < 1e-4


def test_fit_needs_a_folder_to_resume_from():
    trainer = make_run()
    with pytest.raises(train.CheckpointError, match="folder"):
        train.fit(trainer.model, trainer.loader, trainer.optimizer, trainer.loss, epochs=1, resume=True)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(checkpoint.tempfile, "TemporaryFile", refuse)  # the superuser may write anywhere
    with pytest.raises(train.OutputFolderError, match="expected a folder to write to, got permission denied"):
        make_run().keep_in(tmp_path / "run")


def test_an_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(train.OutputFolderError, match="expected a folder to write to"):
            make_run().keep_in(path)


# ---------------------------------------------------------------- the curve


def test_curve_is_well_formed_and_says_what_it_shows(tmp_path):
    trainer = make_run()
    trainer.keep_in(tmp_path, title='digits & "letters" <1>')
    trainer.run(3)
    root = ElementTree.fromstring((tmp_path / "curve.svg").read_text())
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {'digits & "letters" <1>', "loss", "validation loss", "validation accuracy", "epoch"} <= set(texts)
    curves = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(curves) == 3 and all(len(curve.get("points").split()) == 3 for curve in curves)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "history",
    [
        [{"epoch": 1, "loss": 1.0}],
        [{"epoch": 1, "loss": 0.0}, {"epoch": 2, "loss": 0.0}],
        [{"epoch": e, "loss": 10.0 ** (3 - e)} for e in range(1, 8)],
        [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": 1e30}],
        [{"epoch": e, "loss": -e * 1e-9, "accuracy": 1.0} for e in range(1, 200)],
    ],
)
def test_curve_stays_inside_the_drawing(history):
    root = ElementTree.fromstring(train.draw_curve(history, "t"))
    *_, width, height = map(float, root.get("viewBox").split())
    for curve in root.iter("{http://www.w3.org/2000/svg}polyline"):
        for point in curve.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width and 0 <= y <= height


# ---------------------------------------------------------------- recipes


def test_recipe_digits_reaches_its_bar(tmp_path):
    result = train.run_recipe("mlp-digits", out=tmp_path / "digits")
    assert result.metrics["test_accuracy"] >= 0.97
    names = {path.name for path in Path(result.folder).iterdir()}
    assert {"metrics.jsonl", "curve.svg", "checkpoint.safetensors", "model.safetensors", "result.json"} <= names
    model = MLP(64, [256, 128], 10, dropout=0.3)
    model.load_state_dict(safetensors.numpy.load_file(result.folder / "model.safetensors"))
    _, test = data.digits()
    images, labels = test.arrays
    model.eval()
    assert train.accuracy(model(nbdl.tensor(images)), nbdl.tensor(labels)) == result.metrics["test_accuracy"]


@pytest.mark.parametrize(
    ("outputs", "targets", "named"),
    [((3, 2), (3, 1), "targets"), ((3, 2), (2,), "targets"), ((3,), (3,), "outputs"), ((0, 2), (0,), "outputs")],
)
def test_accuracy_of_other_shapes_is_refused(outputs, targets, named):
    with pytest.raises(ShapeError, match=f"^{named}: expected"):
        train.accuracy(nbdl.zeros(outputs), nbdl.zeros(targets, dtype=nbdl.int64))


@pytest.mark.parametrize("batch_size", [1, 64, "full"])
def test_one_argument_chooses_the_form_of_descent(tmp_path, batch_size):
    result = train.run_recipe(
        "mlp-digits", out=tmp_path, epochs=1, batch_size=batch_size, hidden="16", optimizer="sgd", learning_rate=0.02
    )
    steps = {1: 1293, 64: 21, "full": 1}[batch_size]
    assert result.history[0]["step"] == steps


def test_recipes_refuse(tmp_path):
    for options, message in [
        ({"name": "mlp-digit"}, "recipe: expected one of .*mlp-digits, mlp-csv.*, got 'mlp-digit'"),
        ({"name": "mlp-digits", "colour": 1}, "option: expected one of epochs"),
        ({"name": "mlp-digits", "epochs": 0}, "epochs: expected a whole number from 1 up, got 0"),
        ({"name": "mlp-digits", "learning_rate": float("nan")}, "learning_rate: expected a number above 0"),
        ({"name": "mlp-digits", "optimizer": "lbfgs"}, "optimizer: expected one of sgd"),
        ({"name": "mlp-digits", "batch_size": "half"}, "batch_size: expected a whole number from 1 up, or"),
        ({"name": "mlp-digits", "hidden": "64,x"}, "hidden: expected whole numbers"),
        ({"name": "mlp-csv", "data": "x.csv"}, "target: expected the column to predict"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            train.run_recipe(**options, out=tmp_path / "out")


def test_resuming_a_recipe_keeps_its_settings(tmp_path):
    options = {"name": "mlp-digits", "hidden": "16", "batch_size": 128}
    whole = train.run_recipe(**options, out=tmp_path / "whole", epochs=3)
    with pytest.raises(train.TrainingInterrupted):
        train.run_recipe(**options, out=tmp_path / "parts", epochs=3, callbacks=[StopAfter(15)])
    parts = train.run_recipe("mlp-digits", out=tmp_path / "parts", resume=True)
    assert without_seconds(parts.history) == without_seconds(whole.history) and parts.metrics == whole.metrics
    with pytest.raises(train.CheckpointError, match="batch_size: expected 128 as in the run to resume, got 32"):
        train.run_recipe("mlp-digits", out=tmp_path / "parts", batch_size=32, resume=True)
    with pytest.raises(train.CheckpointError, match="recipe: expected 'mlp-digits'"):
        train.run_recipe("mlp-csv", out=tmp_path / "parts", resume=True)


@pytest.fixture
def flowers(tmp_path):
    """Two classes that a line parts."""
    rng = np.random.default_rng(1)
    points = rng.standard_normal((200, 2))
    rows = [f"{1000 + 50 * a:.3f},{b / 100:.5f},{'rose' if a + b > 0 else 'lily'}" for a, b in points]
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(["length,width,kind", *rows]))
    return path


def test_recipe_csv_classification(tmp_path, flowers):
    result = train.run_recipe("mlp-csv", out=tmp_path / "out", data=str(flowers), target="kind", epochs=40)
    assert result.metrics["test_accuracy"] > 0.9 > 0.7 > result.metrics["baseline_accuracy"]
    flowers.write_text(flowers.read_text() + "\n1,1,rose")
    with pytest.raises(train.CheckpointError, match="has changed since"):
        train.run_recipe("mlp-csv", out=tmp_path / "out", resume=True)


def test_recipe_csv_regression(tmp_path, flowers):
    lines = [f"{a},{b},{3 * a - b + 100}" for a, b in np.random.default_rng(2).standard_normal((300, 2))]
    flowers.write_text("a,b,y\n" + "\n".join(lines))
    result = train.run_recipe("mlp-csv", out=tmp_path / "out", data=str(flowers), target="y", epochs=60)
    assert result.metrics["test_r2"] > 0.95 and result.metrics["test_rmse"] < 0.7


def test_recipe_csv_of_few_rows_has_no_validation(tmp_path, flowers):
    flowers.write_text("a,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(12)))
    result = train.run_recipe("mlp-csv", out=tmp_path / "out", data=str(flowers), target="y", epochs=2)
    assert set(result.history[0]) == {"epoch", "step", "loss", "learning_rate", "seconds"}


@pytest.mark.parametrize("name", ["nbdl.models.mlp", "nbdl.train.loop", "nbdl.train.recipes.run"])
def test_docstring_examples(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name), extraglobs={"nbdl": nbdl}).failed == 0
