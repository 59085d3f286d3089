"""The NVIDIA GPU: is there one, and what to do if there is not."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

from nbdl.runtime.errors import DeviceError

_INSTALL = "pip install 'nbdl[cuda13]' (driver 580 or newer), or 'nbdl[cuda12]' (driver 525 or newer)"

_driver: Any = None
"""The GPU's driver, once somebody asked for it."""


class _Ready(threading.local):
    driver: Any = None


_ready = _Ready()
"""Each thread tells CUDA once which GPU it works with."""


def require_package() -> Any:
    """The module `numba.cuda`, from the package numba-cuda. Numba's own, which is older, will not do."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"CUDA needs the package numba-cuda: {_INSTALL}")
    return importlib.import_module("numba.cuda")


def driver() -> Any:
    """The driver of the GPU. Raises DeviceError, with the remedy in it, unless there is a GPU to run on."""
    global _driver
    if _driver is None:
        from nbdl.runtime.cuda import installation

        reason = installation.why_unavailable()
        if reason is not None:
            raise DeviceError(reason)
        require_package()
        api = importlib.import_module("cuda.bindings.driver")
        from nbdl.runtime.cuda import compiler
        from nbdl.runtime.cuda.driver import Driver

        _driver = Driver(api, compiler.load)
    if _ready.driver is not _driver:
        _driver.use_in_this_thread()
        _ready.driver = _driver
    return _driver


def use(replacement: Any) -> Any:
    """Makes another driver the GPU's; None looks for the real one again. Returns the one before."""
    global _driver
    before, _driver = _driver, replacement
    return before


def why_unavailable() -> str | None:
    """What keeps CUDA from working, with the remedy; None if it works."""
    try:
        driver()
    except DeviceError as error:
        return str(error)
    return None


def is_available() -> bool:
    """Whether kernels can run on a GPU here."""
    return why_unavailable() is None


def device_count() -> int:
    """The number of usable GPUs; 0 without CUDA."""
    return int(driver()._call("cuDeviceGetCount")) if is_available() else 0


def require_device() -> None:
    """Raises DeviceError, with the remedy in it, unless there is a GPU to run on."""
    driver()


def compute_capability() -> tuple[int, int]:
    """The GPU's compute capability: (9, 0) for Hopper."""
    capability: tuple[int, int] = driver().capability
    return capability


def synchronize() -> None:
    """Waits until all launches so far are done."""
    driver().synchronize()
