"""The figures that run in the reader's browser compute what nbdl computes."""

from __future__ import annotations

import functools
import http.server
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
from nbdl import ops

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
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


@pytest.fixture(scope="module")
def blank_shares() -> np.ndarray:
    """What the figure's network says of an empty drawing, computed here."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import live
    finally:
        sys.path.pop(0)
    with nbdl.no_grad():
        return ops.softmax(live.digit_network()(nbdl.zeros(1, 64)), -1).numpy()[0]


@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_module_is_built(language: str) -> None:
    folder = SITE / language / "assets" / "live"
    assert (folder / "digits.wasm").read_bytes()[:4] == b"\0asm"
    code = [path for path in folder.iterdir() if path.suffix != ".weights"]
    assert sum(path.stat().st_size for path in code) < 100_000  # weights aside


@pytest.mark.parametrize("language", ["", "ko/"])
def test_a_browser_computes_the_same(address: str, blank_shares: np.ndarray, language: str) -> None:
    if BROWSER is None:
        pytest.skip("NOT CHECKED: no Chromium on this machine")
    page = f"{address}/{language}concepts/multilayer-perceptron/"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=10000",
        "--dump-dom",
        page,
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = [float(text) for text in re.findall(r'<output class="nb-share">([\d.]+) %</output>', shown)]
    assert len(found) == 10, "the figure did not start"
    np.testing.assert_allclose(found, 100 * blank_shares, rtol=0, atol=0.0501)


@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_writer_knows_how_words_end(address: str, language: str) -> None:
    """What it expects after "iterate over the ele" is an m: the module runs, and the model has learned."""
    if BROWSER is None:
        pytest.skip("NOT CHECKED: no Chromium on this machine")
    page = f"{address}/{language}concepts/gpt/"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=10000",
        "--dump-dom",
        page,
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.findall(
        r'<b>(.)</b><span class="nb-bar"[^>]*></span><output class="nb-share">([\d.]+) %</output>', shown
    )
    assert found, "the figure did not start"
    assert found[0][0] == "m" and float(found[0][1]) > 50
