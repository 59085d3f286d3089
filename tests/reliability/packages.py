"""The package: built, installed from nothing, imported on the oldest and the newest of what it allows; no pickle."""

from __future__ import annotations

import ast
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
PYTHONS = ("python3.11", "python3.12", "python3.13")

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


def oldest() -> list[str]:
    """The dependencies at the lowest versions that pyproject.toml allows."""
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.sub(r"[,;].*", "", name).replace(">=", "==").strip() for name in required]


def install(python: str, package: Path, folder: Path, *more: str) -> str:
    """A fresh environment with the package in it; what the smoke test prints there."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, *more)
    return run(inside, "-c", SMOKE, cwd=folder)


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
        (wheel,) = built.glob("*.whl")
        figures["bytes of the wheel"] = wheel.stat().st_size
        tried = []
        for python in PYTHONS:
            if shutil.which(python):
                install(python, wheel, Path(temporary, python))
                tried.append(python)
        figures["installed into a fresh environment and trained"] = ", ".join(tried)
        install(tried[0], wheel, Path(temporary, "oldest"), *oldest())
        figures["oldest dependencies"] = ", ".join(oldest())
        run(sys.executable, "-m", "venv", Path(temporary, "audit"))
        inside = Path(temporary, "audit", "bin", "python")
        run(inside, "-m", "pip", "install", "--quiet", wheel)
        figures["newest dependencies"] = ", ".join(
            sorted(line for line in run(inside, "-m", "pip", "freeze").splitlines() if not line.startswith("nbdl"))
        )
    return figures


AREA = Area(
    "packages",
    "The wheel installs into fresh environments, on the oldest dependencies too; nothing reads pickles.",
    prove,
)
