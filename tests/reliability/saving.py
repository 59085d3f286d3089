"""Crashes: a process that dies while it saves loses nothing that was saved; a resumed run ends with the same bits."""

from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import data, nn, optim, serialization, train
from tests.reliability.area import Area, BrokenPromiseError, part

KILLS = 200
WHOLE_FILES = {f"checkpoint{which}.safetensors" for which in ("", "-previous", "-next")}
CUTS = 20
EPOCHS = 3

SAVING = """
import sys
import numpy as np
from nbdl.train import CheckpointFolder
folder = CheckpointFolder(sys.argv[1])
epoch = folder.load()[0]["epoch"] if folder.exists() else 0
print("ready", flush=True)
while True:
    epoch += 1
    folder.save({"epoch": epoch, "weights": np.full(200_000, epoch, np.float32)})
    print(epoch, flush=True)
"""


def kill_while_saving(count: int) -> dict[str, int]:
    """SIGKILL at random instants to a process that does nothing but save."""
    rng = random.Random(0)
    in_the_middle = previous = 0
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(count):
            command = [sys.executable, "-c", SAVING, temporary]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            process.stdout.readline()  # the first one is whole
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in process.communicate()[0].split()]
            folder = train.CheckpointFolder(temporary)
            in_the_middle += any(Path(temporary).glob("*.partial"))
            state, path = folder.load()
            previous += path == folder.previous
            if not (state["weights"] == state["epoch"]).all():
                raise BrokenPromiseError(f"kill {number}: the checkpoint mixes two epochs")
            if acknowledged and state["epoch"] < acknowledged[-1]:
                raise BrokenPromiseError(
                    f"kill {number}: epoch {acknowledged[-1]} was saved, but {state['epoch']} came back"
                )
            folder.sweep()
            left = {path.name for path in Path(temporary).iterdir()} - WHOLE_FILES
            if left:
                raise BrokenPromiseError(f"kill {number}: {sorted(left)} stayed behind")
    return {
        "kill -9 while saving": count,
        "of them in the middle of a file": in_the_middle,
        "of them loaded from the previous checkpoint": previous,
        "checkpoints that could not be read": 0,
    }


class Stop(train.Callback):
    """Sends Ctrl-C to this process after some batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_batch_end(self, trainer: Any, loss: float) -> None:
        if trainer.step == self.batches:
            signal.raise_signal(signal.SIGINT)


def run(folder: Path, callbacks: list[Any], resume: bool = False) -> train.Trainer:
    """A training with all that has a state: dropout, batch normalization, moments, a schedule, shuffling, noise."""
    nbdl.manual_seed(11)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((52, 1, 6, 6)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0).astype(np.int64)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 2))
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    trainer = train.Trainer(
        model,
        data.DataLoader(data.ArrayDataset(x, y), 8, shuffle=True, seed=3),
        optimizer,
        nn.CrossEntropyLoss(),
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
        callbacks=callbacks,
    )
    trainer.keep_in(folder, resume=resume)
    trainer.run(EPOCHS)
    return trainer


def digest(trainer: train.Trainer) -> bytes:
    """Everything that a checkpoint holds of a finished run, except the time it took."""
    states = [trainer.model.state_dict(), trainer.optimizer.state_dict()]
    return serialization.to_bytes({"states": states, "losses": [record["loss"] for record in trainer.history]})


def resume_at(count: int) -> dict[str, int]:
    """A run cut after 1, 2, ... batches and resumed, against one that was left alone."""
    batches = 7 * EPOCHS
    cuts = sorted(random.Random(0).sample(range(1, batches), min(count, batches - 1)))
    with tempfile.TemporaryDirectory() as temporary:
        whole = digest(run(Path(temporary, "whole"), []))
        for cut in cuts:
            folder = Path(temporary, str(cut))
            try:
                run(folder, [Stop(cut)])
                raise BrokenPromiseError(f"the run was not stopped after {cut} batches")
            except train.TrainingInterrupted:
                nbdl.rand(5)  # whatever happens between the parts
            if digest(run(folder, [], resume=True)) != whole:
                raise BrokenPromiseError(f"resumed after {cut} batches, the run ends with other bits")
    return {"runs cut, resumed, equal to the last bit": len(cuts)}


FULL = """
import resource, signal, sys
import nbdl
nbdl.save({"w": nbdl.zeros(10)}, sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    nbdl.save({"w": nbdl.ones(100_000)}, sys.argv[1])
except OSError as error:
    print(error.errno)
"""


def full_disk_and_closed_folder() -> dict[str, int]:
    """A file that the system does not let grow, and a folder that takes no files."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "weights.safetensors")
        done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
        if done.stdout.split() != [str(errno.EFBIG)]:
            raise BrokenPromiseError(f"a full disk: expected an OSError, got {done.stdout!r} {done.stderr!r}")
        if nbdl.load(path)["w"].shape != (10,) or [entry.name for entry in Path(temporary).iterdir()] != [path.name]:
            raise BrokenPromiseError("a full disk damaged the old file, or left something behind")
    try:
        train.CheckpointFolder("/proc/nowhere").save({"epoch": 1})
        raise BrokenPromiseError("a folder that cannot be written to was not noticed")
    except OSError:
        pass
    return {"full disk: old file whole, nothing left behind": 1, "closed folder: refused": 1}


def prove(share: float) -> dict[str, Any]:
    return {
        **kill_while_saving(part(KILLS, share)),
        **resume_at(part(CUTS, share)),
        **full_disk_and_closed_folder(),
    }


AREA = Area(
    "saving", "A crash while saving loses nothing that was saved; a resumed run ends with the same bits.", prove
)
