"""What a reader takes away from a page: a notebook and a script that run without the site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SITE

pytestmark = pytest.mark.site

DOCS = Path(__file__).parent.parent / "docs"
RUNS = re.compile(r'^ *```python exec="true"', re.MULTILINE)
PAGES = sorted(
    f"{'ko/' if page.parts[0] == 'ko' else ''}{page.with_suffix('').relative_to(page.parts[0]).as_posix()}"
    for page in (path.relative_to(DOCS) for path in DOCS.glob("??/**/*.md"))
    if page.parts[1] in ("concepts", "do", "inside") and RUNS.search((DOCS / page).read_text(encoding="utf-8"))
)
QUICK = ("concepts/backpropagation", "concepts/since-then", "inside/kernels", "ko/concepts/forward-propagation")


def folder(page: str) -> Path:
    return SITE / page.removesuffix("/index")


def published(page: str, kind: str) -> Path:
    return folder(page) / f"{page.rsplit('/', 1)[-1]}.{kind}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_notebook_and_a_script(page: str) -> None:
    nbformat = pytest.importorskip("nbformat", reason="NOT CHECKED: the browser group is not installed")
    notebook = nbformat.read(published(page, "ipynb"), as_version=4)
    nbformat.validate(notebook)
    source = DOCS / ("ko" if page.startswith("ko/") else "en") / f"{page.removeprefix('ko/')}.md"
    blocks = len(RUNS.findall(source.read_text(encoding="utf-8")))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) - blocks in (0, 1), f"{len(code)} cells of {blocks} blocks and the preparation"
    assert any(cell.outputs for cell in code)
    script = published(page, "py").read_text(encoding="utf-8")
    compile(script, page, "exec")
    text = (folder(page) / "index.html").read_text(encoding="utf-8")
    assert re.search(r"runs in about \d+ s|실행하는 데 약 \d+초", text), "no running time"
    for kind in ("ipynb", "py"):
        assert f'href="{published(page, kind).name}"' in text


@pytest.mark.parametrize("page", QUICK)
def test_a_script_runs_by_itself(page: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONUTF8": "1"}
    command = [sys.executable, str(published(page, "py"))]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip()
