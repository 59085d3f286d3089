"""Processes and threads: nbdl beside whatever else a program does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.reliability.area import Area, BrokenPromiseError, part

ROOT = Path(__file__).parents[2]
LAUNCHES = 1_000
THREADS = 8
PATIENCE = 300
"""Seconds after which a process counts as hanging."""

FORK = """
import os
import nbdl
nbdl.set_num_threads(2)
a = nbdl.randn(600, 600)
expected = float((a @ a).sum())
child = os.fork()
if child == 0:
    right = float((a @ a).sum()) == expected and nbdl.get_num_threads() == 1
    try:
        nbdl.set_num_threads(2)
    except nbdl.StateError as error:
        os._exit(0 if right and "spawn" in str(error) else 3)
    os._exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

SPAWN = """
import multiprocessing
import nbdl

def square(n):
    return float((nbdl.full((n, n), 2.0) @ nbdl.full((n, n), 1.0)).sum())

if __name__ == "__main__":
    nbdl.set_num_threads(2)
    here = [square(n) for n in (100, 300)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(here == pool.map(square, (100, 300)))
"""

THREADED = """
import sys, threading
import numpy as np
import nbdl
from nbdl import nn, ops

nbdl.set_num_threads(2)
launches = int(sys.argv[1])
rng = np.random.default_rng(0)
inputs = [rng.standard_normal((48, 64)).astype(np.float32) for _ in range(8)]
weight = rng.standard_normal((64, 64)).astype(np.float32)

def gradients(number):
    x, w = nbdl.tensor(inputs[number]), nbdl.tensor(weight, requires_grad=True)
    ops.softmax(ops.gelu(x @ w), 1).square().sum().backward()
    return w.grad.numpy().tobytes()

expected = [gradients(number) for number in range(8)]
wrong = []

def work(number):
    for _ in range(launches // 10):  # about ten launches a call
        if gradients(number) != expected[number]:
            wrong.append(number)

threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(wrong))
"""

NEIGHBOURS = """
import importlib.util
import numpy as np
from sklearn.linear_model import LogisticRegression
from scipy import linalg
torch = None
if importlib.util.find_spec("torch"):
    import torch
import nbdl
nbdl.set_num_threads(2)
rng = np.random.default_rng(0)
x = rng.standard_normal((400, 400))
expected = x @ x
for _ in range(20):
    assert np.allclose((nbdl.tensor(x) @ nbdl.tensor(x)).numpy(), expected)
    assert np.allclose(linalg.inv(x) @ x, np.eye(400), atol=1e-6)
    assert LogisticRegression().fit(x[:, :5], x[:, 5] > 0).score(x[:, :5], x[:, 5] > 0) > 0.4
    if torch is not None:
        assert np.allclose((torch.from_numpy(x) @ torch.from_numpy(x)).numpy(), expected)
print("PyTorch too" if torch is not None else "without PyTorch")
"""


def run(code: str, *arguments: str) -> str:
    """What a program prints; it must end, and end well."""
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary, "program.py")
        program.write_text(code)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            done = subprocess.run(
                [sys.executable, str(program), *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise BrokenPromiseError(f"a process hangs:\n{code}") from None
    if done.returncode:
        raise BrokenPromiseError(f"a process ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout.strip()


def interrupt() -> dict[str, int]:
    """Ctrl-C to a training: it ends within the batch and leaves a checkpoint from which it goes on."""
    from nbdl.train import CheckpointFolder

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nbdl", "train", "mlp-digits", "--epochs", "500", "--out", folder]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        epochs = Path(folder, "metrics.jsonl")
        while process.poll() is None and not (epochs.exists() and epochs.read_text().count("\n") >= 2):
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        if process.returncode != 130 or "interrupted: saved" not in said:
            raise BrokenPromiseError(f"Ctrl-C: ended with {process.returncode}: {said[-300:]}")
        state, _ = CheckpointFolder(folder).load()
        if state["epoch"] < 2:
            raise BrokenPromiseError("Ctrl-C: the checkpoint is older than the epochs that were done")
    return {"Ctrl-C: ended, checkpoint loads": 1}


def prove(share: float) -> dict[str, Any]:
    launches = part(LAUNCHES, share)
    if run(FORK) != "0":
        raise BrokenPromiseError("a forked process computes something else, or does not say what it cannot do")
    if run(SPAWN) != "True":
        raise BrokenPromiseError("a spawned process computes something else")
    if run(THREADED, str(launches)) != "0":
        raise BrokenPromiseError("Python threads that compute at the same time get other results")
    beside = run(NEIGHBOURS)
    return {
        "forked after use: right results on one thread": 1,
        "spawned: right results": 1,
        f"launches in each of {THREADS} Python threads": launches,
        f"beside NumPy, SciPy, scikit-learn ({beside})": 1,
        **interrupt(),
    }


AREA = Area(
    "processes",
    "Forked, spawned, threaded, interrupted, beside other libraries: right results or a clear error.",
    prove,
)
