"""Training gives the same bits for any number of threads and in every run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nbdl
from tests.reliability.numerics import trained

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def digest():
    """Of a training with every kind of layer, as in the runs of reliability."""
    return trained()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_training_is_bit_identical_for_any_number_of_threads(digest, threads):
    before = nbdl.get_num_threads()
    try:
        nbdl.set_num_threads(threads)
        assert trained() == digest
    finally:
        nbdl.set_num_threads(before)


def test_training_is_bit_identical_in_another_process(digest):
    result = subprocess.run(
        [sys.executable, "-c", "from tests.reliability.numerics import trained; print(trained())"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest


GRU = """
import hashlib, nbdl
nbdl.manual_seed(0)
layer, x = nbdl.nn.GRU(6, 24), nbdl.randn(4, 16, 6)
layer(x)[0].sum().backward()
print(*(hashlib.sha256(parameter.grad.numpy().tobytes()).hexdigest() for parameter in layer.parameters()))
"""


def test_a_process_that_loads_its_kernels_computes_as_the_one_that_compiled_them(tmp_path):
    """Its backward pass calls functions that stand, compiled each for its caller, in several kernels."""
    environment = {**os.environ, "NBDL_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", GRU], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert list(tmp_path.iterdir())
    assert said[0].stdout == said[1].stdout


def test_the_digest_notices_a_changed_bit(digest):
    assert trained(steps=4) != digest
