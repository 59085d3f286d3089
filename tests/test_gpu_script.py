"""`make gpu`, on a simulated GPU: every part runs and reports; without a GPU it says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cuda import __main__ as script
from benchmarks.cuda import correctness
from benchmarks.cuda.budget import Budget
from nbdl.runtime.cuda import device
from nbdl.testing import simulated

ROOT = Path(__file__).parent.parent


@pytest.fixture
def alone(monkeypatch):
    """No other library takes part: they would need a GPU."""
    monkeypatch.setattr(script, "others", list)


def test_without_a_gpu_it_says_so():
    if device.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.cuda"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == script.NO_GPU
    assert "nothing was measured: " in done.stderr
    assert "pip install 'nbdl[cuda13]'" in done.stderr


def test_it_measures_and_reports_every_part(alone, tmp_path, capsys):
    words = ["--tiny", "--examples", "1", "--no-sanitizer", "--out", str(tmp_path / "R.md"), "add", "embedding"]
    with simulated.gpu():
        assert script.main(words) == 0
    text = (tmp_path / "R.md").read_text(encoding="utf-8")
    assert "GPU: Simulated GPU, compute capability 9.0" in text
    assert "against float64: 0 failed" in text
    for line in ("x + y", "gelu", "softmax of rows", "8 x 8 x 8", "MLP", "CNN", "LSTM", "GPT"):
        (row,) = [row for row in text.splitlines() if row.startswith(f"| {line} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
        assert "-" not in cells, f"{row}\n{text}"
    assert "nbdl, graph" in text
    assert str(tmp_path) in capsys.readouterr().out


def test_a_wrong_operation_is_named(alone, tmp_path, monkeypatch):
    from nbdl.ops.elementwise import arithmetic

    right = arithmetic.AddOp.value
    monkeypatch.setattr(arithmetic.AddOp, "value", arithmetic.SubOp.value)
    assert right is not arithmetic.AddOp.value
    with simulated.gpu():
        words = ["--only", "correctness", "--examples", "1", "--no-sanitizer", "--no-write", "add"]
        assert script.main(words) == script.WRONG


def test_what_there_is_no_time_for_is_named():
    verdict = correctness.check_operations(1, ("add", "relu"), Budget(0))
    assert verdict.operations == 0
    assert {"add", "relu"} <= {name.split(":")[0] for name in verdict.left_out}
