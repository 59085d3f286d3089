"""The floors of the library hold: a module imports only from below, and every module stands on a floor."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
MOST_LINES = 660  # "about 600"


def lint_imports(configuration: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run(
        [*command, "--no-cache", "--config", str(configuration)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_go_down() -> None:
    result = lint_imports(ROOT / "pyproject.toml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_order_is_caught(tmp_path: Path) -> None:
    """The contract turned upside down must fail, or the test above would pass whatever the imports are."""
    configuration = tmp_path / "upside-down.toml"
    configuration.write_text(
        "[tool.importlinter]\nroot_package = 'nbdl'\n[[tool.importlinter.contracts]]\nname = 'upside down'\n"
        "type = 'layers'\nlayers = ['nbdl.runtime', 'nbdl.autograd', 'nbdl.ops']\n",
        encoding="utf-8",
    )
    assert lint_imports(configuration).returncode == 1


def test_every_module_stands_on_a_floor() -> None:
    floors = next(contract for contract in CONTRACTS if contract["id"] == "floors")["layers"]
    placed = {name.strip(" ()") for layer in floors for name in layer.replace("|", ":").split(":")} | {"nbdl.data"}
    present = grimp.build_graph("nbdl", cache_dir=None).find_children("nbdl")
    assert present <= placed, f"no floor in pyproject.toml for {sorted(present - placed)}"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_module_for_everything(name: str) -> None:
    assert not list((ROOT / "nbdl").rglob(f"{name}.py"))


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "nbdl").rglob("*.py")}
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines, split by family: {long}"
