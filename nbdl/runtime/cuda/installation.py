"""What of CUDA is installed, whether the parts fit each other, and what to type where they do not."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from dataclasses import dataclass, field
from importlib import metadata

OLDEST_DRIVER = {12: "525", 13: "580"}
"""For each CUDA that nbdl works with: the oldest driver that runs it."""

_TOOLKIT = re.compile(
    r"^(nvidia-cuda-nvrtc|nvidia-nvvm|nvidia-nvjitlink|nvidia-cuda-nvcc|nvidia-cuda-runtime)(-cu\d+)?$"
)
"""Packages of CUDA's compilers and libraries; those of CUDA 12 carry its number in their names."""

_NUMBER_AHEAD = ("cuda-bindings", "cuda-toolkit")
"""Packages whose versions start with CUDA's."""


@dataclass(frozen=True)
class Installation:
    """What was found.

    Attributes:
        driver: The newest CUDA that the driver knows, 13000 for 13.0; None without a driver.
        error: The number of the error with which the driver refuses to start; 0 if it starts.
        devices: How many GPUs it shows.
        numba_cuda: The version of the package numba-cuda; None without it.
        packages: CUDA's packages by name, with their versions.
    """

    driver: int | None
    error: int = 0
    devices: int = 0
    numba_cuda: str | None = None
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def majors(self) -> dict[int, list[str]]:
        """The packages of each major version of CUDA."""
        found: dict[int, list[str]] = {}
        for name, version in sorted(self.packages.items()):
            found.setdefault(major_of(name, version), []).append(name)
        return found


@dataclass(frozen=True)
class Problem:
    """What keeps CUDA from working, and the remedy.

    Attributes:
        what: One sentence.
        remedy: What to do, with the commands.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def major_of(package: str, version: str) -> int:
    """The major version of CUDA that a package belongs to."""
    number = re.search(r"-cu(\d+)$", package)
    return int(number[1]) if number else int(version.split(".")[0])


def look() -> Installation:
    """Asks the driver and the installed packages. Starts no CUDA context."""
    driver, error, devices = _ask_driver()
    packages = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in _NUMBER_AHEAD or _TOOLKIT.match(name):
            packages[name] = distribution.version
    package = importlib.util.find_spec("numba_cuda")
    return Installation(driver, error, devices, None if package is None else _version("numba-cuda"), packages)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _ask_driver() -> tuple[int | None, int, int]:
    """The driver's CUDA version, the number of the error with which it starts, and how many GPUs it shows."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        number, devices = ctypes.c_int(), ctypes.c_int()
        driver.cuDriverGetVersion(ctypes.byref(number))
        error = driver.cuInit(0)
        if error == 0:
            driver.cuDeviceGetCount(ctypes.byref(devices))
        return number.value, error, devices.value
    return None, 0, 0


def problems(found: Installation) -> list[Problem]:
    """All that keeps kernels from running here, the first to mend first."""
    listed = []
    if found.driver is None:
        listed.append(Problem("CUDA finds no driver of NVIDIA's", f"install it; then {_install_for(None)}"))
    elif found.driver < 12000:
        listed.append(
            Problem(
                f"the driver is too old: it knows CUDA {in_words(found.driver)}, nbdl needs 12.0",
                f"update NVIDIA's driver to {OLDEST_DRIVER[12]} or newer (580 for CUDA 13); then {_install_for(12000)}",
            )
        )
    elif found.error == 100 or (found.error == 0 and found.devices == 0):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        remedy = "`nvidia-smi` lists what the driver sees"
        if hidden is not None:
            remedy = f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it, or name a GPU that {remedy}"
        listed.append(Problem("CUDA finds no GPU", remedy))
    elif found.error:
        listed.append(_refused(found.error))
    if found.numba_cuda is None:
        listed.append(Problem("CUDA needs the package numba-cuda", _install_for(found.driver)))
        return listed
    listed += _mismatches(found)
    return listed


def _refused(error: int) -> Problem:
    """The driver does not start."""
    if error in (803, 804):
        return Problem(
            f"NVIDIA's driver and its libraries are of different versions (error {error})",
            "restart the machine: the driver was updated while the old one ran",
        )
    if error == 999:
        return Problem("the driver does not start (error 999)", "`sudo modprobe nvidia-uvm`, or restart the machine")
    return Problem(f"the driver does not start (error {error})", "look at `nvidia-smi` and at the output of `dmesg`")


def _mismatches(found: Installation) -> list[Problem]:
    """Packages that do not fit each other or the driver."""
    majors = found.majors
    fitting = 13 if found.driver is None or found.driver >= 13000 else 12
    if len(majors) > 1:
        parts = "; ".join(f"CUDA {major}: {', '.join(names)}" for major, names in sorted(majors.items()))
        every = " ".join(name for names in majors.values() for name in names)
        return [
            Problem(
                f"packages of {len(majors)} CUDA versions are installed ({parts})",
                f"pip uninstall -y {every} && pip install 'nbdl[cuda{fitting}]'",
            )
        ]
    if not majors:
        return [Problem("CUDA's compilers are not installed", f"pip install 'nbdl[cuda{fitting}]'")]
    (major, names), *_ = majors.items()
    if found.driver is not None and major > found.driver // 1000 >= 12:
        return [
            Problem(
                f"the packages are CUDA {major}'s, the driver knows CUDA {in_words(found.driver)}",
                f"update NVIDIA's driver to {OLDEST_DRIVER.get(major, 'the newest')} or newer, or "
                f"pip uninstall -y {' '.join(names)} && pip install 'nbdl[cuda{fitting}]'",
            )
        ]
    return []


def _install_for(driver: int | None) -> str:
    if driver is None:
        return f"pip install 'nbdl[cuda13]' (driver {OLDEST_DRIVER[13]} or newer), or 'nbdl[cuda12]' " + (
            f"(driver {OLDEST_DRIVER[12]} or newer)"
        )
    return f"pip install 'nbdl[cuda{13 if driver >= 13000 else 12}]'"


def in_words(number: int) -> str:
    """The driver's number of a CUDA version as people write it: 12.4 for 12040."""
    return f"{number // 1000}.{number % 1000 // 10}"


def why_unavailable() -> str | None:
    """What keeps CUDA from working, with the remedy; None if nothing is known that does."""
    found = problems(look())
    return str(found[0]) if found else None
