"""What the documentation promises: its scripts and the README's example run, and the built site is whole."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from nbdl import data, models, nn
from nbdl.testing.specs import all_specs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SITE = ROOT / "site"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = sorted(DOCS.glob("??/**/*.md"))
SECTION = re.compile(r"# --8<-- \[(start|end):([\w-]+)\]")
INCLUDE = re.compile(r'--8<-- "([\w./-]+):([\w-]+)"')


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(DOCS)]), "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(script: Path) -> None:
    result = run(sys.executable, str(script))
    assert result.returncode == 0, result.stdout + result.stderr


def test_readme_example_runs_and_learns() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 22
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    accuracy = re.fullmatch(r"test_accuracy=(0\.\d+)\n", result.stdout)
    assert accuracy is not None, result.stdout
    assert float(accuracy[1]) > 0.95


def test_readme_names_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in ("README.md", "CONTRIBUTING.md", "docs/en/install.md"):
        for target in re.findall(
            r"\bmake ([a-z][a-z-]+)\b(?=`|    | +#)", (ROOT / document).read_text(encoding="utf-8")
        ):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document}: no target {target}"


def test_every_section_is_closed_and_shown() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(INCLUDE.findall(text))
    for script in EXAMPLES:
        open_section = ""
        for mark, section in SECTION.findall(script.read_text(encoding="utf-8")):
            assert (mark == "start") == (not open_section), f"{script.name}: section {section} out of order"
            open_section = section if mark == "start" else ""
            assert (script.name, section) in shown, f"{script.name}: no page shows the section {section}"
        assert not open_section, f"{script.name}: section {open_section} is not closed"


def test_korean_pages_have_english_counterparts() -> None:
    english = {page.relative_to(DOCS / "en") for page in PAGES if page.is_relative_to(DOCS / "en")}
    korean = {page.relative_to(DOCS / "ko") for page in PAGES if page.is_relative_to(DOCS / "ko")}
    assert korean <= english


# ---------------------------------------------------------------- the built site


class Page(html.parser.HTMLParser):
    """Collects what a page links to, loads, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.images_without_text = 0
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if identifier := values.get("id") or values.get("name"):
            self.anchors.add(identifier)
        if tag == "html":
            self.language = values.get("lang") or ""
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loads.append(values.get("href") or "")
        if tag in ("script", "img", "iframe", "source", "video", "audio") and values.get("src"):
            self.loads.append(values["src"] or "")
        if tag == "img" and "alt" not in values:
            self.images_without_text += 1


@pytest.fixture(scope="module")
def site() -> dict[Path, Page]:
    assert (SITE / "index.html").exists(), "the site is not built: make docs"
    return {path: Page(path) for path in SITE.rglob("*.html") if path.name != "404.html"}


@pytest.mark.site
def test_links_and_anchors_lead_somewhere(site: dict[Path, Page]) -> None:
    broken = []
    for path, page in site.items():
        for link in page.links:
            target, fragment = urllib.parse.urldefrag(urllib.parse.unquote(link))
            if re.match(r"[a-z]+:", target):
                continue
            reached = (path.parent / target).resolve() if target else path
            reached = reached / "index.html" if reached.is_dir() else reached
            known = site.get(reached)
            if not reached.exists() or (fragment and known and fragment not in known.anchors):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert not broken


@pytest.mark.site
def test_nothing_is_loaded_from_another_host(site: dict[Path, Page]) -> None:
    loads = [(path, load) for path, page in site.items() for load in page.loads]
    assert loads
    assert not [(path, load) for path, load in loads if re.match(r"(?:https?:)?//", load)]
    for path, load in loads:
        file = (path.parent / urllib.parse.urlsplit(urllib.parse.unquote(load)).path).resolve()
        assert load.startswith("data:") or file.exists(), f"{path.relative_to(SITE)} loads {load}"
    for style in SITE.rglob("*.css"):
        outside = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)", style.read_text(encoding="utf-8"))
        assert not outside, f"{style.relative_to(SITE)}: {outside}"


@pytest.mark.site
def test_every_page_is_in_its_language(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert page.language == ("ko" if path.is_relative_to(SITE / "ko") else "en"), path
        assert page.images_without_text == 0, path


@pytest.mark.site
def test_a_drawing_is_short_and_says_the_same() -> None:
    """Points share their style; coordinates lose digits that nobody sees, but no label does."""
    sys.path.insert(0, str(ROOT / "docs"))
    import figure
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots()
    axes.scatter([k / 1000 for k in range(500)], [k**2 / 1e6 for k in range(500)])
    axes.text(0.1, 0.1, "0.12345")
    text = figure.svg(drawing, "Points")
    assert text.count("<use") >= 500 and "0.12345" in text
    assert len(text) < 40_000  # as Matplotlib writes it: more than 70,000


@pytest.mark.site
def test_the_reference_has_all_modules(site: dict[Path, Page]) -> None:
    anchors = set().union(*(page.anchors for path, page in site.items() if "reference" in path.parts))
    for package in (data, models, nn):
        public = [name for name in package.__all__ if callable(getattr(package, name))]
        missing = [name for name in public if f"{package.__name__}.{name}" not in anchors]
        assert not missing, package.__name__


@pytest.mark.site
def test_generated_tables_are_whole(site: dict[Path, Page]) -> None:
    for language in ("", "ko"):
        folder = SITE / language / "reference"
        rows = {
            name: (folder / name / "index.html").read_text(encoding="utf-8").count("<tr>")
            for name in ("support", "benchmarks", "gradient-checks", "glossary")
        }
        assert rows["support"] > len({spec.operation for spec in all_specs()})
        assert rows["gradient-checks"] > 400
        assert rows["benchmarks"] > 100
        assert rows["glossary"] > 90


@pytest.mark.site
def test_formulas_are_rendered() -> None:
    text = (SITE / "concepts" / "backpropagation" / "index.html").read_text(encoding="utf-8")
    assert text.count('class="katex-display"') > 5
    assert "arithmatex" not in text
    assert "katex-error" not in text


FAULTS = {
    "a block that raises": ('```python exec="true"\n1 / 0\n```', "ZeroDivisionError"),
    "a block that exits": ('```python exec="true"\nimport sys\nsys.exit(0)\n```', "SystemExit"),
    "a silent block": ('```python exec="true"\nx = 1\n```', "printed nothing"),
    "an unmarked block": ("```python\nprint(1)\n```", "neither"),
    "a fence without a language": ("```\ntext\n```", "names no language"),
    "a fence of an unknown language": ("```pyhton\nprint(1)\n```", "knows no language"),
    "a fence that is not closed": ('```python exec="true"\nprint(1)\n', "not closed"),
    "a bad formula": (r"$\frac{1}{$", "bad formula"),
    "an unknown command in a formula": (r"$\gradient x$", "bad formula"),
    "a broken link": ("[there](nowhere.md)", "nowhere.md"),
    "a broken anchor": ("[there](#nowhere)", "nowhere"),
    "a missing section": ('```python exec="true"\n--8<-- "home.py:nothing"\n```', "nothing"),
    "a missing script": ('```python exec="true"\n--8<-- "nothing.py"\n```', "nothing.py"),
    "a missing image": ("![a curve](curve.png)", "curve.png"),
    "an image without a description": (
        '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
        "without a description",
    ),
    "an image of another host": ('<img src="https://example.org/x.png" alt="x">', "another host"),
    "a script of another host": ('<script src="https://example.org/x.js"></script>', "another host"),
    "a style of another host": ("<style>p { background: url(https://example.org/x.png) }</style>", "another host"),
    "exercises out of order": ("**1.** Why?\n\n**3.** How?\n\n**2.** When?", "out of order"),
    "an unknown family": ("!family nothing", "no public operation"),
}
MISPLACED = {
    "a page outside the navigation": ({"en/lost.md": "# Lost", "ko/lost.md": "# Lost"}, "not included in the"),
    "a page without its twin": ({"ko/other.md": "# Other"}, "index.md: no such page in ko"),
}


@pytest.mark.site
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_the_build(fault: str, tmp_path: Path) -> None:
    markdown, message = FAULTS[fault]
    result = build(markdown, tmp_path)
    assert result.returncode != 0, f"built in spite of {fault}"
    assert message in result.stdout + result.stderr


@pytest.mark.site
@pytest.mark.parametrize("fault", MISPLACED)
def test_a_misplaced_page_stops_the_build(fault: str, tmp_path: Path) -> None:
    files, message = MISPLACED[fault]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = build("Text.", tmp_path)
    assert result.returncode != 0, f"built in spite of {fault}"
    assert message in result.stdout + result.stderr


@pytest.mark.site
def test_a_page_without_faults_is_built(tmp_path: Path) -> None:
    result = build('$x^2$\n\n```python exec="true"\nprint(6 * 7)\n```', tmp_path)
    assert result.returncode == 0, result.stderr
    assert "42" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def build(markdown: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds a site of one page with the project's own settings."""
    (folder / "en").mkdir(exist_ok=True)
    (folder / "en" / "index.md").write_text(f"# Page\n\n{markdown}\n", encoding="utf-8")
    (folder / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {folder / 'en'}\nsite_dir: {folder / 'site'}\n"
        f"theme: {{custom_dir: {DOCS / 'theme'}}}\nnav: [index.md]\nhooks: [{DOCS / 'hooks.py'}]\n",
        encoding="utf-8",
    )
    return run(sys.executable, "-m", "mkdocs", "build", "--config-file", str(folder / "mkdocs.yml"))
