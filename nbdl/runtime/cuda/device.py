"""The NVIDIA GPU: is there one, and what to do if there is not."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from nbdl.runtime.errors import DeviceError

_INSTALL = "pip install 'nbdl[cuda13]' (driver 580 or newer), or 'nbdl[cuda12]' (driver 525 or newer)"


def require_package() -> Any:
    """The module `numba.cuda`, from the package numba-cuda. Numba's own, which is older, will not do."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"CUDA needs the package numba-cuda: {_INSTALL}")
    return importlib.import_module("numba.cuda")


def why_unavailable() -> str | None:
    """What keeps CUDA from working, with the remedy; None if it works."""
    try:
        cuda = require_package()
    except DeviceError as error:
        return str(error)
    try:
        if len(cuda.gpus) > 0:
            return None
    except Exception as error:  # whatever a driver or its absence raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"CUDA finds no driver ({reason}): install NVIDIA's driver, then {_INSTALL}"
    return "CUDA finds no GPU: look at nvidia-smi and at CUDA_VISIBLE_DEVICES"


def is_available() -> bool:
    """Whether kernels can run on a GPU here."""
    return why_unavailable() is None


def device_count() -> int:
    """The number of usable GPUs; 0 without CUDA."""
    return len(require_package().gpus) if is_available() else 0


def require_device() -> None:
    """Raises DeviceError, with the remedy in it, unless there is a GPU to run on."""
    reason = why_unavailable()
    if reason is not None:
        raise DeviceError(reason)


def synchronize() -> None:
    """Waits until all launches so far are done."""
    require_device()
    require_package().synchronize()
