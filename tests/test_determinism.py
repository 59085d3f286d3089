"""Training gives the same bits for any number of threads and in every run."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nbdl
from nbdl import nn, ops, optim

ROOT = Path(__file__).parents[1]


def trained(steps: int = 50) -> str:
    """A digest of all losses and of the weights after some steps of a network with dropout."""
    nbdl.manual_seed(3)
    model = nn.Sequential(nn.Linear(300, 128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 10))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    x = nbdl.randn(200, 300)
    target = nbdl.randint(0, 10, (200,))
    digest = hashlib.sha256()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        digest.update(loss.detach().numpy().tobytes())
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture
def restore_threads():
    before = nbdl.get_num_threads()
    yield
    nbdl.set_num_threads(before)


def test_training_is_bit_identical_for_1_2_and_4_threads(restore_threads):
    digests = set()
    for threads in (1, 2, 4):
        nbdl.set_num_threads(threads)
        digests.add(trained())
    assert len(digests) == 1


def test_training_is_bit_identical_over_5_runs():
    assert len({trained() for _ in range(5)}) == 1


def test_training_is_bit_identical_in_another_process():
    result = subprocess.run(
        [sys.executable, "-c", "from tests.test_determinism import trained; print(trained())"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == trained()


def test_the_digest_notices_a_changed_bit():
    nbdl.manual_seed(3)
    assert trained(49) != trained(50)
