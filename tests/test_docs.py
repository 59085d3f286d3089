"""What the documentation promises: its scripts and the README's example run, and the built site is whole."""

from __future__ import annotations

import html.parser
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.parse
from pathlib import Path
from types import ModuleType

import pytest

import nbdl
from nbdl import cuda, data, explain, export, interop, models, nn, ops, optim, profiling, testing, train
from nbdl.testing.specs import all_specs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SITE = ROOT / "site"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = sorted(DOCS.glob("??/**/*.md"))
INCLUDE = re.compile(r'--8<-- "([\w./-]+):([\w-]+)"')
SECTION_TITLE = re.compile(r'<span class="doc-section-title">([^<]*)</span>')
PACKAGES = (
    *(cuda, data, explain, export, interop, models, nn, nn.utils),
    *(optim, optim.lr_scheduler, profiling, testing, train),
)


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A process of one thread: results are the same, and threads of tests side by side would wait for each other."""
    path = os.pathsep.join([str(ROOT), str(DOCS)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- sources


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("sections")


def test_example_runs() -> None:
    """The one with a main part. The build of the site runs the sections of all, and the checks behind them."""
    (script,) = [path for path in EXAMPLES if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
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


def test_every_section_is_closed_and_shown(sections: ModuleType) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(INCLUDE.findall(text))
    for section in sections.Checks().sections:
        assert (section.script, section.name) in shown, f"{section.script}: no page shows the section {section.name}"


def test_all_of_an_example_is_a_section_or_a_check_behind_one(sections: ModuleType) -> None:
    """Nothing in a script is left out by the build of the site."""
    for script in EXAMPLES:
        lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
        taken = [part for section in sections.sections_of(script) for part in (section.code, section.checks)]
        main = [line for line in lines if line == sections.MAIN]
        code = [line for line in lines[1:] if not line.startswith("# --8<--")]
        assert [line for part in taken for line in part.splitlines() if line.strip()] == (
            code[: code.index(sections.MAIN)] if main else code
        ), script.name


def test_a_check_runs_after_its_section(sections: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def section(name: str, code: str) -> str:
        return f"# --8<-- [start:{name}]\n{code}\n# --8<-- [end:{name}]\n"

    (tmp_path / "two.py").write_text(
        '"""Two."""\n\n' + section("one", "x = 1\nprint(x)") + "assert x == 1\n\n" + section("other", "y = 2"),
        encoding="utf-8",
    )
    (tmp_path / "json.py").write_text('"""Imported."""\n\n' + section("all", "z = 3"), encoding="utf-8")
    monkeypatch.setattr(sections, "EXAMPLES", tmp_path)
    checks = sections.Checks()
    assert checks.unrun() == ["two.py:one", "two.py:other"]
    assert checks.after("print(2)") == checks.after("xx = 1\nprint(x)") == ""
    assert checks.after("import sys\nx = 1\nprint(x)\nprint(3)\n") == "assert x == 1"
    assert checks.unrun() == ["two.py:other"]
    assert checks.after("y = 2") == ""
    assert checks.unrun() == []
    for wrong in (section("one", "x = 1").replace("[end:one]", "[end:other]"), "x = 0\n" + section("one", "x = 1")):
        (tmp_path / "two.py").write_text(f'"""Two."""\n\n{wrong}', encoding="utf-8")
        with pytest.raises(ValueError, match=r"two\.py"):
            sections.Checks()


def test_both_languages_have_the_same_pages() -> None:
    english, korean = (
        {page.relative_to(DOCS / name) for page in PAGES if page.is_relative_to(DOCS / name)} for name in ("en", "ko")
    )
    assert english == korean


def test_the_reference_lists_the_same_in_both_languages() -> None:
    """The entries are made of docstrings; a page in Korean has those of its twin, with the same options."""
    entry = re.compile(r"^(?:!\w+ |::: |    \S|      ).*$", re.MULTILINE)
    for page in PAGES:
        if page.is_relative_to(DOCS / "en" / "reference"):
            twin = DOCS / "ko" / page.relative_to(DOCS / "en")
            ours, theirs = (
                entry.findall(re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL))
                for file in (page, twin)
            )
            assert ours == theirs, twin


def test_every_term_of_the_glossary_stands_on_the_page_that_it_names() -> None:
    """In both languages: what a reader looks up is called on the page what the glossary calls it."""
    absent = []
    for group in tomllib.loads((DOCS / "terms.toml").read_text(encoding="utf-8"))["group"]:
        for english, korean, _, _, page in group["terms"]:
            for language, terms in (("en", english), ("ko", korean)):
                text = (DOCS / language / f"{page}.md").read_text(encoding="utf-8")
                text += "".join(
                    (DOCS / "examples" / file).read_text(encoding="utf-8") for file, _ in INCLUDE.findall(text)
                )
                flat = re.sub(r"[\s*-]+", " ", text).lower()
                for term in re.sub(r"\([^)]*\)", "", terms).split(","):
                    if re.sub(r"[\s-]+", " ", term).strip().lower() not in flat:
                        absent.append(f"{language}/{page}: {term}")
    assert not absent


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
    for path in (SITE / "ko" / "reference").rglob("index.html"):
        for title in set(SECTION_TITLE.findall(path.read_text(encoding="utf-8"))):
            assert re.search("[가-힣]", title), f"{path}: a section is called {title!r}"


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
@pytest.mark.parametrize("language", ["", "ko"])
def test_the_reference_has_everything_public(site: dict[Path, Page], language: str) -> None:
    reference = SITE / language / "reference"
    anchors = set().union(*(page.anchors for path, page in site.items() if path.is_relative_to(reference)))
    for package in PACKAGES:
        public = {name: getattr(package, name) for name in package.__all__}
        missing = [
            name
            for name, thing in public.items()
            if callable(thing)
            and anchors.isdisjoint((f"{package.__name__}.{name}", f"{thing.__module__}.{thing.__qualname__}"))
        ]
        assert not missing, package.__name__
    named = {anchor.rpartition(".")[2] for anchor in anchors}
    things = [thing for name, thing in vars(nbdl).items() if not name.startswith("_")]
    assert not {thing.__name__ for thing in things if inspect.isfunction(thing) or inspect.isclass(thing)} - named
    functions = {
        f"{function.__module__}.{function.__name__}"
        for name, function in vars(ops).items()
        if inspect.isfunction(function) and not name.startswith("_") and function.__module__.startswith("nbdl.ops.")
    }
    assert not functions - anchors


MOST_BYTES = 500_000


@pytest.mark.site
def test_every_page_is_light(site: dict[Path, Page]) -> None:
    """A page, uncompressed, with the drawings in it and what it alone loads; without its figures' models, and without
    the styles, scripts and fonts that all pages share."""
    weights = {}
    for path, page in site.items():
        files = {(path.parent / load).resolve() for load in page.loads if not load.startswith("data:")}
        own = [file for file in files if not any(folder.name == "assets" for folder in file.parents)]
        weights[path.relative_to(SITE)] = path.stat().st_size + sum(file.stat().st_size for file in own)
    assert not {path: weight for path, weight in weights.items() if weight > MOST_BYTES}


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
    "a check that fails": (
        '```python exec="true" session="a"\nimport numpy as np\n--8<-- "backpropagation.py:bug"\nwrong = right\n```',
        "AssertionError",
    ),
    "a check without a session": (
        '```python exec="true"\nimport numpy as np\n--8<-- "backpropagation.py:bug"\n```',
        "without a session",
    ),
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
def test_every_fault_stops_the_build(tmp_path: Path) -> None:
    """And the same page without a fault is built."""
    sound = '$x^2$\n\n```python exec="true" result="text"\nprint("six", "seven", sep="\\n")\n```'
    pages = {"no fault": {"en/index.md": f"# Page\n\n{sound}\n"}}
    pages |= {fault: {"en/index.md": f"# Page\n\n{markdown}\n"} for fault, (markdown, _) in FAULTS.items()}
    pages |= {fault: {"en/index.md": "# Page\n\nText.\n", **files} for fault, (files, _) in MISPLACED.items()}
    outcomes = dict(zip(pages, build([write_site(tmp_path / fault, pages[fault]) for fault in pages]), strict=True))
    status, said = outcomes.pop("no fault")
    assert status == 0, said
    assert "<code>six\nseven\n</code>" in (tmp_path / "no fault" / "site" / "index.html").read_text(encoding="utf-8")
    messages = {fault: message for fault, (_, message) in (FAULTS | MISPLACED).items()}
    built = [fault for fault, (status, _) in outcomes.items() if status == 0]
    assert not built, "built in spite of these"
    unsaid = {fault: said for fault, (_, said) in outcomes.items() if messages[fault] not in said}
    assert not unsaid


def write_site(folder: Path, files: dict[str, str]) -> Path:
    """A site of a few pages with the project's own settings: its configuration."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    configuration = folder / "mkdocs.yml"
    configuration.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {folder / 'en'}\nsite_dir: {folder / 'site'}\n"
        f"theme: {{custom_dir: {DOCS / 'theme'}}}\nnav: [index.md]\nhooks: [{DOCS / 'hooks.py'}]\n"
        f"plugins: {{mkdocstrings: {{custom_templates: {DOCS / 'templates'}}}}}\n",
        encoding="utf-8",
    )
    return configuration


def build(configurations: list[Path]) -> list[tuple[int, str]]:
    """Of each site the exit status of its build, and what the build said."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "small_sites.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        input="\n".join(map(str, configurations)),
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    return [(status, said) for status, said in json.loads(result.stdout)]
