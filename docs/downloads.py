"""Makes a notebook and a script of a page: its text, the blocks that ran, what they printed.

Both run by themselves where nbdl is installed. What a page uses beside nbdl (`figure`, `listing`, the experiments and
their results) is written out by the first cell; `docs/standalone` has what must behave differently there.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PLACES = (DOCS / "standalone", DOCS, DOCS / "examples")

_OPENING = re.compile(r"^ *(?P<ticks>`{3,}|~{3,}) *(?P<language>[\w+-]*)(?P<options>.*)$")
_FOLDED = re.compile(r'^(?:\?\?\?\+?|!!!|===) *\w* *"(?P<title>[^"]*)"')
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)[^)]*\)")
_ATTRIBUTES = re.compile(r" *\{:? *[.#][^}]*\}")


@dataclass(frozen=True)
class Ran:
    """A block that ran: its code with everything included, what it printed, how long it took in seconds."""

    code: str
    output: str
    seconds: float


@dataclass(frozen=True)
class Cell:
    """A piece of a page: text in Markdown, or code with its output."""

    text: str
    is_code: bool = False
    output: str = ""


# ---------------------------------------------------------------- a page in cells


def cells(markdown: str, ran: Iterable[Ran]) -> list[Cell]:
    """The page in its order. Figures that live in a browser, and links between pages, are left out."""
    found: list[Cell] = []
    text: list[str] = []
    remaining = iter(ran)
    lines = iter(markdown.splitlines())
    indented = False  # in a folded part, such as a solution
    for line in lines:
        if indented and line.strip() and not line.startswith("    "):
            indented = False
        line = line[4:] if indented else line
        if fence := _OPENING.match(line):
            body = _to_the_end(lines, fence["ticks"], indented)
            if 'exec="true"' in fence["options"]:
                found.append(Cell("\n".join(text).strip()))
                text = []
                block = next(remaining)
                found.append(
                    Cell(block.code.strip("\n"), True, "" if 'html="true"' in fence["options"] else block.output)
                )
            else:
                text += [fence["ticks"] + fence["language"], *body, fence["ticks"]]
        elif folded := _FOLDED.match(line):
            text.append(f"**{folded['title']}**")
            indented = True
        elif line.startswith("<"):
            while line.strip():  # HTML, to the next empty line
                line = next(lines, "")
        else:
            text.append(_ATTRIBUTES.sub("", _LINK.sub(r"\2", line)))
    found.append(Cell("\n".join(text).strip()))
    return [cell for cell in found if cell.text]


def _to_the_end(lines: Iterator[str], ticks: str, indented: bool) -> list[str]:
    """The lines of a fence, whose end is taken too."""
    body: list[str] = []
    for line in lines:
        line = line[4:] if indented else line
        if line.strip() == ticks:
            break
        body.append(line)
    return body


# ---------------------------------------------------------------- what a page uses beside nbdl


def companions(codes: Iterable[str]) -> dict[str, str]:
    """The documentation's own modules that some code imports, and the results that it loads: texts by file name."""
    found: dict[str, str] = {}
    waiting = list(codes)
    while waiting:
        tree = ast.parse(waiting.pop())
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                result = DOCS / "labs" / "results" / f"{node.value}.json"
                if re.fullmatch(r"[\w-]+", node.value) and result.exists():
                    found[f"labs/results/{result.name}"] = result.read_text(encoding="utf-8")
            for file, text in _modules(names):
                if file not in found:
                    found[file] = text
                    waiting.append(text)
    return dict(sorted(found.items()))


def _modules(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Of some imported names those that are files of the documentation, with the packages around them."""
    for name in names:
        parts = name.split(".")
        for file in (
            f"{'/'.join(parts)}.py",
            *(f"{'/'.join(parts[:k])}/__init__.py" for k in range(1, len(parts) + 1)),
        ):
            for place in PLACES:
                if (place / file).is_file():
                    yield file, (place / file).read_text(encoding="utf-8")
                    break


def preparation(codes: Iterable[str]) -> str:
    """The code of the first cell, or nothing."""
    files = companions(codes)
    if not files:
        return ""
    entries = "".join(f"    {name!r}: {_literal(text)},\n" for name, text in files.items())
    return (
        "# What this page uses beside nbdl: small modules of its documentation, and measured results.\n"
        "import sys\nimport tempfile\nfrom pathlib import Path\n\n"
        f"_files = {{\n{entries}}}\n"
        "_folder = Path(tempfile.mkdtemp())\n"
        "for _name, _text in _files.items():\n"
        "    (_folder / _name).parent.mkdir(parents=True, exist_ok=True)\n"
        '    (_folder / _name).write_text(_text, encoding="utf-8")\n'
        "sys.path.insert(0, str(_folder))"
    )


def _literal(text: str) -> str:
    """A text as a string of Python that can be read."""
    escaped = text.replace("\\", "\\\\").replace("'''", "\\'\\'\\'")
    return f"'''{escaped}'''"


# ---------------------------------------------------------------- files


def notebook(page: list[Cell]) -> str:
    """The page as a notebook (nbformat 4.5)."""
    entries: list[dict[str, Any]] = []
    first = preparation(cell.text for cell in page if cell.is_code)
    for cell in [page[0], *([Cell(first, True)] if first else []), *page[1:]]:
        entry: dict[str, Any] = {"id": f"cell-{len(entries)}", "metadata": {}, "source": cell.text}
        if cell.is_code:
            outputs = [{"output_type": "stream", "name": "stdout", "text": cell.output}] if cell.output.strip() else []
            entry |= {"cell_type": "code", "execution_count": None, "outputs": outputs}
            if cell.text == first:
                entry["metadata"] = {"jupyter": {"source_hidden": True}}
        else:
            entry["cell_type"] = "markdown"
        entries.append(entry)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    contents = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": entries}
    return json.dumps(contents, ensure_ascii=False, indent=1) + "\n"


def script(page: list[Cell]) -> str:
    """The page as a script, its text in comments; editors know the marks of its cells."""
    parts = []
    for cell in page:
        if cell.is_code:
            parts.append(f"# %%\n{cell.text}")
        else:
            comment = "\n".join(f"# {line}".rstrip() for line in cell.text.splitlines())
            parts.append(f"# %% [markdown]\n{comment}")
    if first := preparation(cell.text for cell in page if cell.is_code):
        parts.insert(1, f"# %%\n{first}")
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- on the page


def links(stem: str, seconds: float, korean: bool) -> str:
    """The line at the top of a page: both files, and how long its blocks took when the site was built."""
    whole = max(round(seconds), 1)
    if korean:
        names = ("노트북", "스크립트", f"전체를 실행하는 데 약 {whole}초 걸립니다")
    else:
        names = ("Notebook", "Script", f"runs in about {whole} s")
    return (
        f'<p class="nb-downloads" data-search-exclude><a href="{stem}.ipynb" download>{names[0]}</a> '
        f'<a href="{stem}.py" download>{names[1]}</a> <span>{names[2]}</span></p>'
    )
