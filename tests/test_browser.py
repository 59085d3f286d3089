"""Every built page in a browser: both languages, light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SITE, watch
from site_audit import DESKTOP, PHONE, SCHEMES, Auditor, start_figures, unfold

pytestmark = pytest.mark.site

PAGES = sorted(path.parent.relative_to(SITE).as_posix() + "/" for path in SITE.rglob("index.html"))


@pytest.fixture(scope="module")
def walker(browser: Any, address: str) -> Iterator[tuple[Any, list[str], Auditor]]:
    """One page for the whole walk, with axe-core in it, the list of its faults, and who judges it."""
    axe = pytest.importorskip("axe_playwright_python", reason="NOT CHECKED: the browser group is not installed")
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(120_000)
    context.add_init_script(path=Path(axe.__file__).parent / "axe.min.js")
    page = context.new_page()
    yield page, watch(page, address), Auditor()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound(walker: tuple[Any, list[str], Auditor], address: str, path: str) -> None:
    """Figures running, solutions open: nothing cut off on a phone, no error, no request elsewhere, axe-core content."""
    page, faults, auditor = walker
    faults.clear()
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/{path}")
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")  # no colour halfway to another
    unfold(page)
    start_figures(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"on a phone the page is {width} pixels wide"
    page.set_viewport_size(DESKTOP)
    assert list(auditor.faults(page)) == []
    assert faults == []


def test_axe_sees_a_fault(walker: tuple[Any, list[str], Auditor], address: str) -> None:
    """The walk can fail: grey on grey and a link like its text, in light and in dark, and a field without a name."""
    page, *_ = walker
    page.goto(address)
    style = "color: #777; background: #888"
    link = '<a href="#" style="color: #808080; text-decoration: none">hidden</a>'
    wrong = f'<p style="{style}">pale</p><p style="color: #777">text {link} text</p><input>'
    page.evaluate("html => { document.querySelector('article').innerHTML = html }", wrong)
    found = " ".join(Auditor().faults(page))
    for scheme in SCHEMES:
        assert f"{scheme}: color-contrast: <p" in found
        assert f"{scheme}: link-in-text-block: <a" in found
    assert "label: <input" in found


# ---------------------------------------------------------------- search

SEARCHES = {
    "": {
        "backpropagation": "concepts/backpropagation/",
        "gradient descent": "concepts/gradient-descent/",
        "LayerNorm": "reference/ops/normalization/",
        "softmax": "reference/ops/softmax/",
    },
    "ko/": {
        "역전파": "concepts/backpropagation/",
        "역전파를": "concepts/backpropagation/",  # with a particle
        "순전파와": "concepts/forward-propagation/",
        "전파": "concepts/forward-propagation/",  # inside compounds
        "하강법": "concepts/gradient-descent/",
        "경사하강법": "concepts/gradient-descent/",  # the page writes it with a space
        "경사 하강법으로": "concepts/gradient-descent/",
        "확률적경사하강법": "concepts/gradient-descent/",
        "합성곱신경망": "concepts/convolutional-networks/",
        "softmax함수": "concepts/forward-propagation/",
        "softmax 함수의": "concepts/forward-propagation/",
    },
}


@pytest.mark.parametrize("language", SEARCHES)
def test_search_finds(page: Any, address: str, language: str) -> None:
    page.goto(f"{address}/{language}")
    box = "[data-md-component=search-query]"
    for words, wanted in SEARCHES[language].items():
        page.fill(box, "")
        page.press(box, "End")  # the theme listens to keys
        page.wait_for_function("!document.querySelector('.md-search-result__item')")
        page.keyboard.insert_text(words)
        page.press(box, "End")
        page.wait_for_selector(".md-search-result__item")
        links = page.eval_on_selector_all(
            ".md-search-result__item a:first-child", "found => found.map(a => a.href.split(/[?#]/)[0])"
        )
        pages = list(dict.fromkeys(link.removeprefix(f"{address}/{language}") for link in links))
        assert wanted in pages[:4], f"{words}: {pages[:8]}"
    page.fill(box, "없는말" if language else "nosuchword")
    page.press(box, "End")
    page.wait_for_function("!document.querySelector('.md-search-result__item')")


# ---------------------------------------------------------------- switches


def test_the_language_switch_stays_on_the_page(page: Any, address: str) -> None:
    page.goto(f"{address}/concepts/backpropagation/")
    page.hover(".md-select")
    page.click("a.md-select__link[hreflang=ko]")
    page.wait_for_url(f"{address}/ko/concepts/backpropagation/")
    page.hover(".md-select")
    page.click("a.md-select__link[hreflang=en]")
    page.wait_for_url(f"{address}/concepts/backpropagation/")


def test_the_scheme_follows_the_reader_and_their_choice(browser: Any, address: str) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"
    page.click("label[for=__palette_0]")
    page.goto(f"{address}/ko/")
    page.goto(address)
    assert page.evaluate("document.body.dataset.mdColorScheme") == "default"
    context.close()
