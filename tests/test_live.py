"""The figures that run in the reader's browser compute what nbdl computes."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
sys.path.insert(0, str(ROOT / "docs"))
digits = pytest.importorskip("live.digits")
writer = pytest.importorskip("live.writer")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.site


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The built site, served on this machine."""
    handler = functools.partial(_Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def published(model: nn.Module, name: str) -> nn.Module:
    """The model with the weights that the site has."""
    folder = SITE / "assets" / "live"
    places = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["state"]
    weights = (folder / f"{name}.weights").read_bytes()
    for key, parameter in model.named_parameters():
        place = places.get(key) or places[f"0.{key}"]
        size, start = parameter.numel(), place["offset"]
        values = np.frombuffer(weights, np.float32, size, start).reshape(place["shape"])
        parameter.detach().copy_(nbdl.from_numpy(values.copy()))
    return model.eval()


def shown_on(page: str) -> str:
    """The page's document after its scripts ran."""
    if BROWSER is None:
        pytest.skip("NOT CHECKED: no Chromium on this machine")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=10000",
        "--dump-dom",
        page,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_module_is_built(language: str) -> None:
    folder = SITE / language / "assets" / "live"
    assert (folder / "site.wasm").read_bytes()[:4] == b"\0asm"
    assert sum(path.stat().st_size for path in folder.glob("*.wasm")) <= 60_000  # of all figures; weights aside


@pytest.mark.parametrize("language", ["", "ko/"])
def test_a_browser_reads_as_nbdl_does(address: str, language: str) -> None:
    shown = shown_on(f"{address}/{language}concepts/multilayer-perceptron/")
    found = [float(text) for text in re.findall(r'<output class="nb-share">([\d.]+) %</output>', shown)]
    assert len(found) == 10, "the figure did not start"
    with nbdl.no_grad():
        wanted = ops.softmax(published(digits.blank_reader(), "digits")(nbdl.zeros(1, 64)), -1).numpy()[0]
    np.testing.assert_allclose(found, 100 * wanted, rtol=0, atol=0.0501)


@pytest.mark.parametrize("language", ["", "ko/"])
def test_a_browser_writes_as_nbdl_does(address: str, language: str) -> None:
    shown = shown_on(f"{address}/{language}concepts/gpt/")
    row = r'<b>(.)</b><span class="nb-bar"[^>]*></span><output class="nb-share">([\d.]+) %</output>'
    found = re.findall(row, shown)
    assert found, "the figure did not start"
    characters = json.loads((SITE / "assets" / "live" / "writer.json").read_text(encoding="utf-8"))["characters"]
    tokens = nbdl.tensor([[characters.index(letter) for letter in "The for statement is used to iterate over the ele"]])
    with nbdl.no_grad():
        scores = published(writer.blank_writer(len(characters)), "writer")(tokens).numpy()[0, -1].astype(float)
    shares = np.exp((scores - scores.max()) / 0.7)  # the temperature that the page begins with
    shares /= shares.sum()
    for letter, share in found[:3]:
        assert abs(float(share) - 100 * shares[characters.index(letter.replace("\u2423", " "))]) < 0.0501
