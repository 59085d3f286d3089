# ruff: noqa: N802  CUDA's names
"""`nbdl doctor` on CUDA: each condition is planted, and the remedy is what one would type."""

import importlib.metadata
import importlib.util
import types

import pytest

from nbdl.runtime import diagnosis
from nbdl.runtime.cuda import device, installation
from nbdl.runtime.cuda.installation import Installation
from nbdl.runtime.errors import DeviceError

CUDA13 = {"nvidia-cuda-nvrtc": "13.0.88", "nvidia-nvvm": "13.0.88", "cuda-bindings": "13.0.1"}
CUDA12 = {"nvidia-cuda-nvrtc-cu12": "12.9.86", "nvidia-nvjitlink-cu12": "12.9.86", "cuda-bindings": "12.9.4"}
GOOD = {"driver": 13000, "devices": 1, "numba_cuda": "0.30.4", "packages": CUDA13}

CONDITIONS = {
    "no driver": (
        Installation(**GOOD | {"driver": None, "devices": 0}),
        "CUDA finds no driver of NVIDIA's",
        "install it; then pip install 'nbdl[cuda13]' (driver 580 or newer), or 'nbdl[cuda12]' (driver 525 or newer)",
    ),
    "driver too old": (
        Installation(**GOOD | {"driver": 11080}),
        "the driver is too old: it knows CUDA 11.8, nbdl needs 12.0",
        "update NVIDIA's driver to 525 or newer (580 for CUDA 13); then pip install 'nbdl[cuda12]'",
    ),
    "packages newer than the driver": (
        Installation(**GOOD | {"driver": 12040}),
        "the packages are CUDA 13's, the driver knows CUDA 12.4",
        "update NVIDIA's driver to 580 or newer, or pip uninstall -y cuda-bindings nvidia-cuda-nvrtc nvidia-nvvm && "
        "pip install 'nbdl[cuda12]'",
    ),
    "two CUDA majors": (
        Installation(**GOOD | {"packages": CUDA13 | CUDA12}),
        "packages of 2 CUDA versions are installed (CUDA 12: cuda-bindings, nvidia-cuda-nvrtc-cu12, "
        "nvidia-nvjitlink-cu12; CUDA 13: nvidia-cuda-nvrtc, nvidia-nvvm)",
        "pip uninstall -y cuda-bindings nvidia-cuda-nvrtc-cu12 nvidia-nvjitlink-cu12 nvidia-cuda-nvrtc nvidia-nvvm && "
        "pip install 'nbdl[cuda13]'",
    ),
    "no numba-cuda": (
        Installation(**GOOD | {"numba_cuda": None, "driver": 12080}),
        "CUDA needs the package numba-cuda",
        "pip install 'nbdl[cuda12]'",
    ),
    "no compilers": (
        Installation(**GOOD | {"packages": {}}),
        "CUDA's compilers are not installed",
        "pip install 'nbdl[cuda13]'",
    ),
    "no GPU": (Installation(**GOOD | {"devices": 0}), "CUDA finds no GPU", "`nvidia-smi` lists what the driver sees"),
    "driver and its libraries differ": (
        Installation(**GOOD | {"error": 803, "devices": 0}),
        "NVIDIA's driver and its libraries are of different versions (error 803)",
        "restart the machine: the driver was updated while the old one ran",
    ),
    "driver does not start": (
        Installation(**GOOD | {"error": 999, "devices": 0}),
        "the driver does not start (error 999)",
        "`sudo modprobe nvidia-uvm`, or restart the machine",
    ),
}


@pytest.fixture
def plant(monkeypatch):
    def planted(found):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(installation, "look", lambda: found)
        monkeypatch.setattr(device, "_driver", None)

    return planted


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_condition_has_its_remedy(plant, condition):
    found, what, remedy = CONDITIONS[condition]
    plant(found)
    first, *_ = installation.problems(found)
    assert (first.what, first.remedy) == (what, remedy)
    finding = diagnosis._cuda()
    assert finding.verdict == "note"
    assert remedy in finding.advice
    assert not device.is_available()
    with pytest.raises(DeviceError) as caught:  # what a program meets says the same
        device.require_device()
    assert str(caught.value) == f"{what}: {remedy}"


@pytest.mark.parametrize(
    "found",
    [Installation(**GOOD), Installation(**GOOD | {"packages": CUDA12}), Installation(**GOOD | {"driver": 13020})],
    ids=["CUDA 13", "CUDA 12 on a newer driver", "newer driver"],
)
def test_what_fits_is_no_problem(plant, found):
    plant(found)
    assert installation.problems(found) == []
    assert diagnosis._cuda().verdict == "ok"


def test_a_hidden_gpu_is_named(plant, monkeypatch):
    plant(CONDITIONS["no GPU"][0])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES is '7': unset it" in str(installation.problems(installation.look())[0])


class Library:
    """A libcuda that answers as it is told."""

    def __init__(self, version, error, devices):
        self.version, self.error, self.devices = version, error, devices

    def cuDriverGetVersion(self, number):
        number._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.error

    def cuDeviceGetCount(self, count):
        count._obj.value = self.devices
        return 0


def test_the_driver_is_asked(monkeypatch):
    monkeypatch.setattr(installation.ctypes, "CDLL", lambda name: Library(12040, 0, 2))
    assert installation._ask_driver() == (12040, 0, 2)
    monkeypatch.setattr(installation.ctypes, "CDLL", lambda name: Library(12040, 100, 0))
    assert installation._ask_driver() == (12040, 100, 0)

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(installation.ctypes, "CDLL", missing)
    assert installation._ask_driver() == (None, 0, 0)


def test_packages_are_found_by_name(monkeypatch):
    listed = {**CUDA12, "numpy": "2.4", "Cuda_Toolkit": "12.9.1", "nvidia-cublas-cu12": "12.9"}
    distributions = [types.SimpleNamespace(metadata={"Name": name}, version=v) for name, v in listed.items()]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: distributions)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = installation.look()
    assert found.numba_cuda is None
    assert found.packages == {**CUDA12, "cuda-toolkit": "12.9.1"}
    assert set(found.majors) == {12}
