"""Hypothesis profiles, and the browser that looks at the site.

Profiles: `ci` repeats exactly, `nightly` draws fresh seeds, `mutants` is `ci` that stops at a failure.
"""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the processors: a thread that waits must not spin while others have work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25, suppress_health_check=_QUIET)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("nightly", deadline=None, max_examples=10_000, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("NBDL_HYPOTHESIS_PROFILE", "ci"))


# ---------------------------------------------------------------- the built site in a browser

SITE = Path(__file__).parent.parent / "site"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The built site, served on this machine."""
    handler = functools.partial(_Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a process, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="NOT CHECKED: the browser group is not installed")
    if CHROMIUM is None:
        pytest.skip("NOT CHECKED: no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def watch(page: Any, address: str) -> list[str]:
    """A list that fills with what a page must not do: errors, missing files, requests to another host."""
    faults: list[str] = []

    def message(entry: Any) -> None:
        if entry.type in ("error", "warning"):
            faults.append(f"console {entry.type}: {entry.text}")

    def request(entry: Any) -> None:
        if not entry.url.startswith((address, "data:", "blob:")):
            faults.append(f"outside request: {entry.url}")

    def response(entry: Any) -> None:
        if entry.status >= 400:
            faults.append(f"{entry.status}: {entry.url}")

    page.on("console", message)
    page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
    page.on("request", request)
    page.on("response", response)
    return faults


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A fresh page of desktop size; the test fails if it logs an error or asks another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    faults = watch(page, address)
    yield page
    context.close()
    assert not faults
