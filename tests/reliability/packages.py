"""The package: built, installed from nothing on each Python here, on the oldest of what it allows; audited."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tests.reliability.area import Area, BrokenPromiseError

ROOT = Path(__file__).parents[2]
SUPPORTED = ("3.11", "3.12", "3.13")

SMOKE = """
import nbdl
from nbdl import nn, optim
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = optim.Adam(model.parameters())
losses = []
for _ in range(5):
    loss = nn.functional.cross_entropy(model(nbdl.ones(3, 4)), nbdl.tensor([0, 1, 1]))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(float(loss))
assert losses[-1] < losses[0]
print(nbdl.__version__)
"""

PICKLES = {"nbdl/runtime/cache.py", "nbdl/data/errors.py"}
"""Where the word may stand: Numba keeps compiled code as pickles, in a folder that is private to the user and under a
checksum; errors say how they travel between processes."""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise BrokenPromiseError(f"{' '.join(map(str, command))}:\n{done.stdout[-800:]}{done.stderr[-1200:]}")
    return done.stdout.strip()


def interpreters() -> dict[str, str]:
    """The supported versions of Python that this machine has: on the path, or installed by pyenv."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = {}
    for version in SUPPORTED:
        for python in [f"python{version}", *sorted(installed.glob(f"{version}.*/bin/python{version}"))]:
            if shutil.which(python) and not subprocess.run([python, "-c", ""], capture_output=True).returncode:
                found[version] = str(python)
                break
    return found


def oldest() -> list[str]:
    """The dependencies at the lowest versions that pyproject.toml allows."""
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.sub(r"[,;].*", "", name).replace(">=", "==").strip() for name in required]


def environment(python: str, folder: Path, *packages: str | Path) -> Path:
    """The interpreter of a fresh environment that has the packages."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return inside


def install(python: str, package: Path, folder: Path, *more: str) -> str:
    """What the smoke test prints in a fresh environment with the package."""
    return run(environment(python, folder, package, *more), "-c", SMOKE, cwd=folder)


def audited(python: Path) -> str:
    """What the advisory service says of the packages of an environment."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit")
    command = [python, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    packages = json.loads(done.stdout)["dependencies"] if done.stdout else []
    known = [package for package in packages if "vulns" in package]
    if not known:
        return "no answer from the advisory service"
    flawed = sorted(package["name"] for package in known if package["vulns"])
    if flawed:
        raise BrokenPromiseError(f"pip-audit knows vulnerabilities of {', '.join(flawed)}")
    return f"{len(known)} of {len(packages)} packages known to the advisory service, none vulnerable"


def imports_of_pickle() -> list[str]:
    """Modules that import something that reads pickles."""
    found = []
    for path in sorted((ROOT / "nbdl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"pickle", "marshal", "shelve", "dill", "joblib"}:
                found.append(path.relative_to(ROOT).as_posix())
    return found


def prove(share: float) -> dict[str, Any]:
    strangers = set(imports_of_pickle()) - PICKLES
    if strangers:
        raise BrokenPromiseError(f"pickles may be read in {', '.join(sorted(strangers))}")
    figures: dict[str, Any] = {"modules that read pickles of others": 0}
    if share < 1:
        return figures
    with tempfile.TemporaryDirectory() as temporary:
        built = Path(temporary, "built")
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", built, ROOT)
        builder = environment(sys.executable, Path(temporary, "builder"), "hatchling")
        run(builder, "-m", "hatchling", "build", "--target", "sdist", "--directory", built)
        (wheel,), (sources,) = built.glob("*.whl"), built.glob("*.tar.gz")
        figures["bytes of the wheel"] = wheel.stat().st_size
        figures["bytes of the source distribution"] = sources.stat().st_size
        pythons = interpreters()
        for version, python in pythons.items():
            install(python, wheel, Path(temporary, f"wheel{version}"))
            install(python, sources, Path(temporary, f"sources{version}"))
        figures["wheel and sources installed into fresh environments and trained"] = ", ".join(pythons)
        install(next(iter(pythons.values())), wheel, Path(temporary, "oldest"), *oldest())
        figures["oldest dependencies"] = ", ".join(oldest())
        newest = Path(temporary, f"wheel{next(iter(pythons))}", "bin", "python")
        figures["newest dependencies"] = ", ".join(
            sorted(line for line in run(newest, "-m", "pip", "freeze").splitlines() if not line.startswith("nbdl"))
        )
        figures["pip-audit"] = audited(newest)
    return figures


AREA = Area(
    "packages",
    "Wheel and sources install into fresh environments, on the oldest dependencies too; nothing reads pickles.",
    prove,
)
