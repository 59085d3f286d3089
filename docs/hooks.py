"""MkDocs hooks: what makes the site trustworthy.

- Every Python block says whether it runs: `exec="true"` or `exec="false"`. An unmarked one stops the build.
- A block that runs must print something, or say `quiet="true"`. One that fails, or is silent, stops the build.
- So does a check that stands behind a section in `docs/examples`, and a section that nothing runs (`docs/sections.py`).
- A page without its twin, exercises out of order, and an image without a description stop the build.
- A code fence in a language that the highlighter does not know stops the build.
- Formulas become HTML and MathML here, by KaTeX, so that a bad formula stops the build and readers load no script.
- A page that would make a reader's browser ask another host for anything stops the build.
- What runs in the reader's browser is trained and compiled here (`docs/live`).
- A page whose blocks run can be downloaded as a notebook and as a script (`docs/downloads.py`).
- The language switch leads to the same page in the other language.
"""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import io
import json
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import quickjs
from markdown_exec._internal.formatters import python as markdown_exec_python
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

import nbdl
from nbdl import ops

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # for the imports below; MkDocs takes it away again

import downloads  # noqa: E402
import korean_words  # noqa: E402
import sections  # noqa: E402

FENCE = re.compile(r"^[ \t>]*(?P<ticks>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)(?P<options>[^\n]*)$", re.MULTILINE)
QUIET = "quiet"
PYTHON = {"python", "py", "python3", "pycon"}
FAMILY = re.compile(r"^!family ([\w.]+)$", re.MULTILINE)
MEMBERS = re.compile(r"^!members ([\w.]+)$", re.MULTILINE)
FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">(?P<formula>.*?)</(?P=tag)>', re.DOTALL)
OUTSIDE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect|prefetch))[^>]*\bhref=["']?(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""",
    re.IGNORECASE,
)
LIVE = "assets/live/"  # in the address of a figure's script
EXERCISE = re.compile(r"^\*\*(\d+)\.\*\*", re.MULTILINE)
UNDESCRIBED = re.compile(r"<img\b(?![^>]*\balt=)[^>]*>", re.IGNORECASE)
# Names, blanks, line numbers, operators and punctuation; then two pieces of one colour beside each other.
UNCOLOURED = re.compile(r'<span class="(?:n|w|o|p|normal)">([^<]*)</span>')
SAME_COLOUR = re.compile(r'(<span class="(\w+)">[^<]*)</span>(\s*)<span class="\2">')
VERBATIM = re.compile(r"(<(pre|textarea|script|style)\b.*?</\2>)", re.DOTALL)
BLANK = re.compile(r"\s*\n\s*")
SOURCE = '<details class="mkdocstrings-source"'
OBJECT_NAME = re.compile(r'(?<=<span class="doc doc-object-name )[\w -]+">[\w.]+(?=</span>)')
KOREAN_SECTIONS = {"Gradient": "기울기", "Source": "출처", "Sources": "출처", "Shape": "모양"}
EMPTY_HEADING = re.compile(r"<th([^>]*)></th>")

DOWNLOADED = ("concepts/", "do/", "inside/")  # pages with a notebook and a script

_log = get_plugin_logger("nbdl")
CONTENTS = re.compile(r'<nav class="md-nav" aria-label="([^"]*)">')

_faults: list[str] = []
_live: set[str] = set()  # the pages with a figure that computes in the browser
_ran: list[downloads.Ran] = []  # the blocks of the page that is being built
_checks = sections.Checks()


# ---------------------------------------------------------------- code blocks


def _watched_run(run: Any) -> Any:
    """Wraps the function that executes a block: notes a failure or a silence, and never lets a block end the build."""

    def watched(code: str, **options: Any) -> str:
        started = time.perf_counter()
        try:
            output = run(code, **options)
            seconds = time.perf_counter() - started
            if checks := _checks.after(code):
                if "session" not in options:
                    raise ValueError(f"without a session nothing can be checked after the block:\n{checks}")
                run(checks, session=options["session"])
        except BaseException as error:  # a block may even call sys.exit()
            cause = error.__cause__ or error
            _faults.append("".join(traceback.format_exception(cause)) + "\nin the block\n" + code)
            return "failed"
        if not output.strip() and options.get("id") != QUIET:
            _faults.append('a block printed nothing and does not say quiet="true":\n' + code)
        _ran.append(downloads.Ran(code, output, seconds))
        return output

    return watched


def _print(buffer: io.StringIO, *values: Any, file: Any = None, **options: Any) -> None:
    """What `print` is in a block. That of markdown-exec knows no `sep` and no `file`."""
    print(*values, file=buffer if file is None else file, **options)


def on_startup(command: str, dirty: bool) -> None:
    """Puts the watch on the execution of code blocks, and `figure` and `listing` within their reach."""
    sys.path.insert(0, str(DOCS))
    markdown_exec_python._buffer_print = _print
    markdown_exec_python._run_python = _watched_run(markdown_exec_python._run_python)


def check_fences(markdown: str, where: str) -> None:
    """Raises PluginError for a fence of an unknown language, or a Python fence that does not say whether it runs."""
    closing = ""
    for fence in FENCE.finditer(markdown):
        ticks, language, options = fence["ticks"], fence["language"], fence["options"]
        if closing:
            if ticks.startswith(closing) and not language and not options.strip():
                closing = ""
            continue
        closing = ticks
        line = markdown.count("\n", 0, fence.start()) + 1
        if not language:
            raise PluginError(f"{where}:{line}: a code fence names no language")
        try:
            get_lexer_by_name(language)
        except ClassNotFound:
            raise PluginError(f"{where}:{line}: the highlighter knows no language {language!r}") from None
        if language in PYTHON and not re.search(r'\bexec="(true|false)"', options):
            raise PluginError(f'{where}:{line}: a Python fence says neither exec="true" nor exec="false"')
    if closing:
        raise PluginError(f"{where}: a code fence is not closed")


def check_exercises(markdown: str, where: str) -> None:
    """Raises PluginError if the exercises of a page are not numbered 1, 2, 3."""
    numbers = [int(number) for number in EXERCISE.findall(markdown)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise PluginError(f"{where}: exercises out of order: {numbers}")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Checks the fences of a page before anything runs, and fills in the operations of a family."""
    _ran.clear()
    if config.theme["language"] == "ko" and page.file.src_uri.startswith("reference/"):
        page.meta.setdefault("search", {"boost": 0.01})  # its titles are plain words (함수): explanations come first
    check_fences(markdown, page.file.src_uri)
    check_exercises(markdown, page.file.src_uri)
    markdown = markdown.replace(' quiet="true"', f' id="{QUIET}"')  # an option that markdown-exec hands through
    markdown = MEMBERS.sub(lambda match: members_reference(match[1]), markdown)
    return FAMILY.sub(lambda match: family_reference(match[1]), markdown)


def family_reference(family: str) -> str:
    """The reference entries of a family: of each file, the functions that `nbdl` or `nbdl.ops` makes public."""
    members: dict[str, list[str]] = {}
    for name, function in {**vars(nbdl), **vars(ops)}.items():
        module = getattr(function, "__module__", "")
        if inspect.isfunction(function) and f"{module}.".startswith(f"nbdl.ops.{family}.") and not name.startswith("_"):
            members.setdefault(module, []).append(function.__name__)
    if not members:
        raise PluginError(f"no public operation in nbdl.ops.{family}")
    return "\n".join(
        f"::: {module}\n    options:\n      members: {json.dumps(sorted(set(names)))}\n"
        for module, names in sorted(members.items())
    )


def members_reference(module: str) -> str:
    """The reference entries of what a package, such as `nbdl.nn`, makes public of one of its modules."""
    package = importlib.import_module(".".join(module.split(".")[:2]))
    homes = {name: getattr(getattr(package, name), "__module__", "") for name in package.__all__}
    names = [name for name, home in homes.items() if f"{home}.".startswith(f"{module}.")]
    if not names:
        raise PluginError(f"{package.__name__} makes nothing of {module} public")
    return "\n".join(f"::: {package.__name__}.{name}\n" for name in names)


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Stops at the page whose blocks failed, and renders its formulas."""
    if _faults:
        first, count = _faults[0], len(_faults)
        _faults.clear()
        raise PluginError(f"{page.file.src_uri}: {count} code block(s) failed; the first:\n{first}")
    content = EMPTY_HEADING.sub(r"<td\1></td>", content)  # a corner that heads nothing is no heading
    content = lighter(render_formulas(content, page.file.src_uri))
    if page.file.src_uri.startswith("reference/"):
        content = finish_reference(content, config.theme["language"] == "ko")
    if _ran and page.file.src_uri.startswith(DOWNLOADED):
        content = add_downloads(content, page, config)
    return content


def lighter(content: str) -> str:
    """The same to look at in fewer bytes: marks in code that have no colour of their own, and listings unsearched.

    A page of the reference shows thousands of lines; what is around their names is more than half of it.
    """
    content = UNCOLOURED.sub(r"\1", content)
    while (joined := SAME_COLOUR.sub(r"\1\3", content)) != content:
        content = joined
    return content.replace(SOURCE, f"{SOURCE} data-search-exclude")


def finish_reference(content: str, korean: bool) -> str:
    """Long names break at their dots; on Korean pages the headings that only nbdl's docstrings have are Korean too."""
    content = OBJECT_NAME.sub(lambda name: name[0].replace(".", ".<wbr>"), content)
    for section, word in KOREAN_SECTIONS.items() if korean else ():
        content = content.replace(f"<strong>{section}:</strong>", f"<strong>{word}:</strong>")
    return content


def without_indentation(output: str) -> str:
    """A page without the empty lines and the indentation of its templates: a third of its bytes, and nothing to see."""
    parts = VERBATIM.split(output)  # text, an element that stays as it is, its tag, text, ...
    parts[::3] = [BLANK.sub("\n", part) for part in parts[::3]]
    del parts[2::3]
    return "".join(parts)


def add_downloads(content: str, page: Any, config: Any) -> str:
    """Writes the page's notebook and script beside it, and links them under its title."""
    parts = downloads.cells(page.markdown, _ran)
    stem = Path(page.file.src_uri).stem
    folder = Path(config.site_dir) / page.url
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.ipynb").write_text(downloads.notebook(parts), encoding="utf-8")
    (folder / f"{stem}.py").write_text(downloads.script(parts), encoding="utf-8")
    line = downloads.links(stem, sum(block.seconds for block in _ran), config.theme["language"] == "ko")
    return content.replace("</h1>", f"</h1>\n{line}", 1)


# ---------------------------------------------------------------- formulas

# The result goes through JSON because the engine hands over only strings that lie in one piece.
_TYPESET = """
globalThis.typeset = (formula, displayMode) => JSON.stringify(
    katex.renderToString(formula, {displayMode, throwOnError: true, strict: "error"}));
0
"""


@functools.cache
def _katex() -> Any:
    """KaTeX, ready to typeset, and the engine that must stay alive with it."""
    engine = quickjs.Context()
    engine.eval((DOCS / "katex" / "katex.min.js").read_text(encoding="utf-8"))
    engine.eval(_TYPESET)
    return engine.get("typeset"), engine


def render_formulas(content: str, where: str) -> str:
    """Replaces the formulas that arithmatex marked by KaTeX's HTML and MathML."""
    typeset, _ = _katex()

    def render(match: re.Match[str]) -> str:
        formula = html.unescape(match["formula"]).strip()  # \(...\) in a line, \[...\] on its own
        try:
            return str(json.loads(typeset(formula[2:-2], formula.startswith(r"\["))))
        except quickjs.JSException as error:
            raise PluginError(f"{where}: bad formula {formula}\n{str(error).splitlines()[0]}") from None

    return FORMULA.sub(render, content)


# ---------------------------------------------------------------- languages and outside requests


def other_language(config: Any) -> Path:
    """The folder with the pages of the other language."""
    here = Path(config.docs_dir)
    return here.parent / ("en" if here.name == "ko" else "ko")


def on_files(files: Any, config: Any) -> None:
    """Warns, which ends a strict build, of pages without a twin. Reads the examples, which may have changed."""
    _checks.begin()
    other = other_language(config)
    if other.is_dir():
        for file in files.documentation_pages():
            if not (other / file.src_uri).exists():
                _log.warning(f"{file.src_uri}: no such page in {other.name}")


def link_languages(output: str, page: Any, config: Any) -> str:
    """Points the language switch at this page's counterpart."""
    korean = Path(config.docs_dir).name == "ko"
    link = "../" * page.url.count("/") + ("../" if korean else "ko/") + page.url
    english_link, korean_link = (link, "./") if korean else ("./", link)
    output = re.sub(r'<link rel="alternate"[^>]*>', "", output)  # the theme's script would ask for more site maps
    return output.replace('href="#in-english"', f'href="{english_link}"').replace(
        'href="#in-korean"', f'href="{korean_link}"'
    )


def on_post_build(config: Any) -> None:
    """Trains and compiles what runs in the pages, once for both languages. Extends the Korean search."""
    site = Path(config.site_dir)
    if other_language(config).parent == DOCS and (unrun := _checks.unrun()):
        raise PluginError(f"no block runs these sections, nor what checks them: {unrun}")
    if _live:
        import live  # it takes a while, and trains

        live.build(site / "assets" / "live")
    if config.theme["language"] == "ko":
        korean_words.extend_index(site / "search" / "search_index.json")


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Links the languages, and refuses a page that loads anything from another host."""
    output = link_languages(output, page, config)
    label = "검색" if config.theme["language"] == "ko" else "Search"
    output = output.replace('role="dialog"', f'role="dialog" aria-label="{label}"')
    if config.theme["language"] == "ko":
        output = output.replace('title="Permanent link"', 'title="이 제목의 주소"')
    # A part of this page's table of contents may be called as a part of the site is: two places need two names.
    here = "이 페이지" if config.theme["language"] == "ko" else "this page"
    output = CONTENTS.sub(rf'<nav class="md-nav" aria-label="\1, {here}">', output)
    if found := OUTSIDE.search(output):
        raise PluginError(f"{page.file.src_uri}: the page asks another host: {found[0]}")
    if found := UNDESCRIBED.search(output):
        raise PluginError(f"{page.file.src_uri}: an image without a description: {found[0][:200]}")
    if LIVE in output:
        _live.add(page.file.src_uri)
    return without_indentation(output)
