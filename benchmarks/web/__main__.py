"""Training in a page, against plain JavaScript: `python -m benchmarks.web` prints a table measured in Chromium."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from live import perceptron  # noqa: E402 - on the path only now

from nbdl.export import wasm  # noqa: E402

PAGE = """<!doctype html><title>benchmark</title><script type="module">
import { compare } from "./compare.mjs";
window.result = await compare((name) => fetch(name).then((answer) => answer.arrayBuffer()));
</script>"""


def measure(folder: Path) -> list[dict[str, object]]:
    """What `compare.mjs` measures in Chromium."""
    wasm.export_together(folder, "site", {"perceptron": {}}, perceptron.KERNELS)
    for script in (*Path(__file__).parent.glob("*.mjs"), *(ROOT / "docs/theme/assets/live").glob("*.mjs")):
        shutil.copy(script, folder)
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_function("window.result", timeout=300_000)
        found = page.evaluate("JSON.stringify(window.result)")
        browser.close()
        server.shutdown()
    rows: list[dict[str, object]] = json.loads(found)
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print("| network, rows | nbdl | plain JavaScript | ratio |\n|---|---|---|---|")
        for row in measure(Path(folder)):
            sizes = "-".join(map(str, row["sizes"]))  # type: ignore[call-overload]
            assert row["difference"] < 1e-5, row  # type: ignore[operator]
            print(
                f"| {sizes}, {row['rows']} | {row['nbdl']:.1f} us | {row['plain']:.1f} us "
                f"| **{row['ratio']:.2f}** ({row['least']:.2f} to {row['most']:.2f}) |"
            )
