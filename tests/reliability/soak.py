"""A long training, interrupted again and again, against one that was left alone: the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.reliability.area import Area, BrokenPromiseError

ROOT = Path(__file__).parents[2]
MINUTES = 30
APART = 2
"""Minutes of training, and between two interruptions."""


def command(folder: Path, epochs: int) -> list[str]:
    return [sys.executable, "-m", "nbdl", "train", "gpt-text", "--epochs", str(epochs), "--out", str(folder)]


def prove(share: float) -> dict[str, Any]:
    """First one training of as many epochs as fit into the minutes, then the same in pieces."""
    budget, apart = 60 * MINUTES * share, 60 * APART * min(1.0, 4 * share)
    with tempfile.TemporaryDirectory() as temporary:
        trial, whole, parts = Path(temporary, "trial"), Path(temporary, "whole"), Path(temporary, "parts")
        start = time.perf_counter()
        subprocess.run(command(trial, 1), cwd=ROOT, check=True, capture_output=True)
        epochs = max(1, round(budget / (time.perf_counter() - start)))
        subprocess.run(command(whole, epochs), cwd=ROOT, check=True, capture_output=True)
        stops = 0
        while True:
            words = command(parts, epochs) + (["--resume"] if stops else [])
            process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                process.communicate(timeout=apart)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate()
                if process.returncode != 130:
                    raise BrokenPromiseError(f"interrupted, the run ended with {process.returncode}: {said}") from None
                stops += 1
        if process.returncode:
            raise BrokenPromiseError(f"the resumed run ended with {process.returncode}")
        if (whole / "model.safetensors").read_bytes() != (parts / "model.safetensors").read_bytes():
            raise BrokenPromiseError(f"after {stops} interruptions the weights differ")
    return {"epochs of gpt-text": epochs, "interruptions": stops, "bytes of weights that differ": 0}


AREA = Area(
    "soak", "Half an hour of gpt-text, resumed every two minutes, equals the uninterrupted run bit for bit.", prove
)
