"""Whatever a public function is given, it answers with a named error or a valid result: a sample of the calls."""

import sys

import numpy as np
import pytest

import nbdl
from nbdl import data, nn, ops
from nbdl.data import DataError
from nbdl.runtime.boundary import named_errors
from nbdl.runtime.errors import NbdlError
from tests.reliability import bad_input, bad_subjects


def test_a_sample_of_all_functions():
    names = [subject.name for subject in bad_subjects.subjects()][::9]
    counts, findings = bad_input.run(names, 4, seed=10_000)
    assert not findings
    assert counts["refused"] + counts["answered"] == 4 * len(names) and counts["refused"] > len(names)


def test_crashes_hangs_and_other_errors_are_seen(monkeypatch):
    """The proof itself: a function that ends its process, one that hangs, one with an error of no name."""

    def planted(name):
        return [sys.executable, "-c", PLANTED.format(name=name)]

    real = bad_input.subprocess.Popen
    monkeypatch.setattr(bad_input, "PATIENCE", 60)
    for name, said in (("crash", "ended with code -11"), ("hang", "ended with code -9"), ("error", "KeyError")):
        if name == "hang":
            monkeypatch.setattr(bad_input, "PATIENCE", 15)
        monkeypatch.setattr(
            bad_input.subprocess, "Popen", lambda command, name=name, **options: real(planted(name), **options)
        )
        _, findings = bad_input.run([name], 1, seed=0)
        assert len(findings) == 1 and said in findings[0][2], findings


PLANTED = """
import json, os, signal, sys, time
print(json.dumps(["{name}", 0]), flush=True)
if "{name}" == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if "{name}" == "hang":
    time.sleep(600)
print(json.dumps(["wrong", "KeyError: deep inside"]), flush=True)
"""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.bmm([1], nbdl.ones(1, 1, 1)), "input: expected Tensor, got list"),
        (lambda: ops.cat([nbdl.ones(2), len]), "tensors"),
        (lambda: ops.amax(nbdl.ones(2), slice(1)), "dim"),
        (lambda: nn.Linear(2, 3)("text"), "input: expected a Tensor, got str"),
        (lambda: nn.BatchNorm1d(2**62), r"BatchNorm|num_features|__init__"),
        (lambda: nn.BatchNorm1d(4, dtype=(1, 2)), "dtype"),
        (lambda: nbdl.grad(object(), nbdl.ones(2)), "outputs"),
        (lambda: nbdl.optim.lr_scheduler.LinearLR(None), "optimizer"),
        (lambda: nbdl.zeros(2**62), r"sizes|size"),
    ],
)
def test_errors_from_deep_inside_name_the_argument(call, message):
    with pytest.raises(NbdlError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.read_idx(3), r"path: expected str .*Path, got int 3"),
        (lambda: data.DataLoader(7), r"DataLoader|dataset|__init__"),
        (lambda: data.CharacterTokenizer("ab").encode(5), "text: expected str, got int 5"),
    ],
)
def test_the_data_floor_has_its_own_errors(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_what_the_caller_wrote_passes_unchanged():
    def distance(a, b):
        return a.no_such_attribute

    with pytest.raises(AttributeError, match="no_such_attribute") as caught:
        ops.triplet_margin_with_distance_loss(*[nbdl.ones(2, 2)] * 3, distance_function=distance)
    assert not isinstance(caught.value, NbdlError)

    class Own(nn.Module):
        def forward(self, x):
            return {}["key"]

    with pytest.raises(KeyError, match="key") as caught:
        Own()(nbdl.ones(2))
    assert not isinstance(caught.value, NbdlError)
    with pytest.raises(TypeError, match="unexpected keyword") as caught:
        ops.relu(nbdl.ones(2), speed=3)
    assert not isinstance(caught.value, NbdlError)


def test_what_the_caller_typed_in_passes_unchanged():
    """Code without a file, as an interpreter or a notebook runs it."""
    scope = {"nn": nn, "__name__": "__main__"}
    exec("class Own(nn.Module):\n    def forward(self, x):\n        return {}['key']", scope)
    with pytest.raises(KeyError, match="key") as caught:
        scope["Own"]()(nbdl.ones(2))
    assert not isinstance(caught.value, NbdlError)
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_what_the_compiler_does_not_know_is_named():
    complex_numbers = nbdl.Tensor(np.ones(3, np.complex64))
    with pytest.raises(NbdlError, match=r"unique: cannot take input=Tensor complex64\[3\]"):
        nbdl.unique(complex_numbers)


def test_named_functions_stay_themselves():
    assert nbdl.relu is ops.relu and named_errors(ops.relu) is ops.relu
    assert ops.relu.__name__ == "relu" and ops.relu.__module__ == "nbdl.ops.activation.rectifiers"
