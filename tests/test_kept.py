"""Models of the figures that are kept from one build to the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nbdl
from nbdl import nn

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))
kept = pytest.importorskip("live.kept")


def test_a_model_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "live")
    calls = []

    def learn(model: nn.Module) -> None:
        calls.append(model)
        model.weight.detach().copy_(nbdl.ones(2, 3))

    first, second = (kept.trained(nn.Linear(3, 2), learn, "some text") for _ in range(2))
    assert len(calls) == 1
    assert not second.training and np.array_equal(second.weight.detach().numpy(), np.ones((2, 3)))
    assert np.array_equal(first.bias.detach().numpy(), second.bias.detach().numpy())
    kept.trained(nn.Linear(3, 2), learn, "another text")
    assert len(calls) == 2


def test_processes_that_ask_at_once_make_it_once(tmp_path: Path) -> None:
    """As the builds of both languages do: one makes it, and the others wait until it is whole."""
    code = f"""if True:
        import sys, time
        from pathlib import Path
        sys.path.insert(0, {str(DOCS)!r})
        from live import kept
        kept.FOLDER = Path({str(tmp_path)!r})

        def make(folder):
            with open(kept.FOLDER / "made", "a") as file:
                file.write("x")
            (folder / "first").write_text("1")
            time.sleep(1)
            (folder / "second").write_text("2")

        print(sorted(path.name for path in kept.made(make, "figures").iterdir()))
    """
    asked = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in asked] == ["['first', 'second']\n"] * 2
    assert (tmp_path / "made").read_text() == "x"


def test_what_is_not_finished_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "live")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        kept.made(fail, "figures")
    folder = kept.made(lambda folder: (folder / "whole").touch() and None, "figures")
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["figures", "figures.lock"]
