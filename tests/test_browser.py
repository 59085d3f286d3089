"""Every built page in a browser: both languages, light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SITE, watch

pytestmark = pytest.mark.site

PAGES = sorted(path.parent.relative_to(SITE).as_posix() + "/" for path in SITE.rglob("index.html"))
SCHEMES = ("default", "slate")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

# Contrast takes nearly all the time of an audit, and depends on a few colours alone: three texts of each kind (colour,
# size, weight, what lies behind) are marked, and only these judged.
MARK_KINDS = """() => {
    const grounds = new Map([[null, ""]]);
    function ground(element) {
        if (!grounds.has(element)) {
            const {backgroundColor, backgroundImage, opacity} = getComputedStyle(element);
            const own = `${backgroundColor} ${backgroundImage} ${opacity}`;
            const below = ground(element.parentElement);
            grounds.set(element, own === "rgba(0, 0, 0, 0) none 1" ? below : `${below}|${own}`);
        }
        return grounds.get(element);
    }
    const seen = new Map();
    for (const element of document.querySelectorAll("body *")) {
        element.removeAttribute("data-kind");
        const field = element.matches("input, select, textarea");
        const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!(field || text)) continue;
        if (!element.checkVisibility({visibilityProperty: true}) || element.closest(".katex-html")) continue;
        const {color, fontSize, fontWeight} = getComputedStyle(element);
        const kind = [field, color, fontSize, fontWeight, ground(element)].join();
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        if (seen.get(kind) <= 3) element.setAttribute("data-kind", "");
    }
}"""

# The typeset halves of formulas are hidden from assistive technology: what is read is their MathML.
AUDIT = """async rules => {
    axe.configure({rules: [{id: "color-contrast", selector: "[data-kind]"}]});
    const options = {resultTypes: ["violations"], ...(rules.length ? {runOnly: rules} : {})};
    const {violations} = await axe.run({include: [document], exclude: [".katex-html"]}, options);
    return violations.flatMap(({id, nodes}) => nodes.map(node => `${id}: ${node.html.slice(0, 200)}`));
}"""


@pytest.fixture(scope="module")
def walker(browser: Any, address: str) -> Iterator[tuple[Any, list[str]]]:
    """One page for the whole walk, with axe-core in it, and the list of its faults."""
    axe = pytest.importorskip("axe_playwright_python", reason="NOT CHECKED: the browser group is not installed")
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(120_000)
    context.add_init_script(path=Path(axe.__file__).parent / "axe.min.js")
    page = context.new_page()
    yield page, watch(page, address)
    context.close()


def use_scheme(page: Any, scheme: str) -> None:
    """Chooses light or dark, as the reader does."""
    page.evaluate(
        "scheme => document.querySelector(`input[name=__palette][data-md-color-scheme=${scheme}]`).click()", scheme
    )
    assert page.evaluate("document.body.dataset.mdColorScheme") == scheme


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound(walker: tuple[Any, list[str]], address: str, path: str) -> None:
    page, faults = walker
    faults.clear()
    page.goto(f"{address}/{path}")
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")  # no colour halfway to another
    page.set_viewport_size(PHONE)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"on a phone the page is {width} pixels wide"
    page.set_viewport_size(DESKTOP)
    for scheme, rules in zip(SCHEMES, ([], ["color-contrast"]), strict=True):  # only colours differ between them
        use_scheme(page, scheme)
        page.evaluate(MARK_KINDS)
        assert page.evaluate(AUDIT, rules) == [], scheme
    assert faults == []


def test_axe_sees_a_fault(walker: tuple[Any, list[str]], address: str) -> None:
    """The walk can fail: grey on grey, and a field without a name, are found."""
    page, _ = walker
    page.goto(address)
    use_scheme(page, "default")
    page.evaluate("document.querySelector('article').innerHTML = '<p style=\"color: #ccc\">pale</p><input>'")
    page.evaluate(MARK_KINDS)
    found = " ".join(page.evaluate(AUDIT, []))
    assert "color-contrast: <p" in found
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
