"""What this machine offers to nbdl, found out by looking, and what to do where something is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numba
from llvmlite import binding

from nbdl.runtime import cache, threads
from nbdl.runtime.cuda import installation

FEATURES = (("avx512f", "AVX-512", 16), ("avx2", "AVX2", 8), ("neon", "NEON", 4))
"""Vector instructions of CPUs, the widest first, and how many float32 one register holds."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What was looked at.
        verdict: "ok"; "note", nbdl works without it; or "fault", it must be mended.
        found: What there is.
        advice: What to do; empty when all is well.
    """

    topic: str
    verdict: str
    found: str
    advice: str = ""


def diagnose() -> Iterator[Finding]:
    """Looks at everything, one finding after the other."""
    yield _python()
    yield _packages()
    yield _cpu()
    yield _threads()
    yield _cache()
    yield _cuda()
    yield _data()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def _packages() -> Finding:
    packages = {package: _version(package) for package in ("numba", "llvmlite", "numpy", "safetensors", "tqdm")}
    missing = [package for package, found in packages.items() if found is None]
    found = ", ".join(f"{package} {found}" for package, found in packages.items() if found)
    if missing:
        return Finding("packages", "fault", found, f"pip install {' '.join(missing)}")
    return Finding("packages", "ok", found)


def _cpu() -> Finding:
    features = binding.get_host_cpu_features()
    name = numba.config.CPU_NAME or binding.get_host_cpu_name()
    for feature, title, lanes in FEATURES:
        if features.get(feature) or (feature == "neon" and platform.machine() in ("arm64", "aarch64")):
            fused = "" if feature == "neon" or features.get("fma") else ", no FMA"
            return Finding("CPU", "ok", f"{name}: {title}, {lanes} float32 an instruction{fused}")
    return Finding("CPU", "note", f"{name}: no wide vectors", "kernels are correct here, but slower than elsewhere")


def _threads() -> Finding:
    threads.start_pool()
    layer = numba.threading_layer()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = {"omp": "OpenMP", "tbb": "TBB", "workqueue": "Numba's work queue"}
    found = f"{threads.get_num_threads()} on {usable} processors, {names.get(layer, layer)}"
    if layer == "workqueue":
        return Finding("threads", "note", found, "install OpenMP (apt install libgomp1): a launch then costs a tenth")
    return Finding("threads", "ok", found)


def _cache() -> Finding:
    folder = cache.cache_folder()
    if cache._private_folder() is None:
        advice = "kernels are compiled anew by every run; set NBDL_CACHE_DIR to a folder that only you can write to"
        return Finding("cache", "note", f"{folder} cannot be used", advice)
    files = list(folder.glob("*.kernel"))
    size = sum(file.stat().st_size for file in files) / 1e6
    found = f"{folder}: {len(files):,} kernels, {size:.1f} MB"
    return Finding("cache", "ok", found, "" if files else "`nbdl warmup` compiles everything once, ahead of time")


def _cuda() -> Finding:
    looked = installation.look()
    problems = installation.problems(looked)
    versions = [] if looked.driver is None else [f"driver for CUDA {installation.in_words(looked.driver)}"]
    versions += [] if looked.numba_cuda is None else [f"numba-cuda {looked.numba_cuda}"]
    if looked.driver is None:
        return Finding(
            "CUDA", "note", "no NVIDIA driver", f"models train on the CPU; with an NVIDIA GPU, {problems[0].remedy}"
        )
    if problems:
        whats = "; ".join(problem.what for problem in problems)
        return Finding("CUDA", "note", ", ".join([whats, *versions]), "; then ".join(p.remedy for p in problems))
    return Finding("CUDA", "ok", ", ".join([*versions, f"{looked.devices} GPU{'s' * (looked.devices != 1)}"]))


def _data() -> Finding:
    if find_spec("sklearn") is None:
        return Finding("data", "note", "no scikit-learn", "the recipes of digits need it: pip install 'nbdl[examples]'")
    return Finding("data", "ok", f"handwritten digits of scikit-learn {_version('scikit-learn')}")
