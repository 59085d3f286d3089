"""What axe-core says about a page, at a cost that a walk over every page can pay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SCHEMES = ("default", "slate")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FIGURES = ".nb-digit, .nb-play"  # those that compute in the page

# Colours take nearly all the time of an audit, and depend on a few things alone: colour, size, weight, what lies
# behind; for a link also the text around it and the line under it. Texts of a kind that was judged on an earlier page
# are not judged again; of each new kind three are marked.
_MARK_NEW_KINDS = """known => {
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
    function around(link) {
        const block = link.closest("p, li, td, dd, blockquote, div") ?? link.parentElement;
        const {textDecorationLine, borderBottom} = getComputedStyle(link);
        return [getComputedStyle(block).color, block.textContent.trim() !== link.textContent.trim(),
                textDecorationLine, borderBottom, link.parentElement.tagName];
    }
    const judged = new Set(known), seen = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT, element =>
        element.matches(".katex, script, style") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    while (walker.nextNode()) {
        const element = walker.currentNode;
        element.removeAttribute("data-kind");
        const field = element.matches("input, select, textarea");
        const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        const link = element.matches("a[href]");
        if (!(field || text || link) || !element.checkVisibility({visibilityProperty: true})) continue;
        const {color, fontSize, fontWeight} = getComputedStyle(element);
        const kind = [field, color, fontSize, fontWeight, ground(element), link && around(element)].join();
        if (judged.has(kind)) continue;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        if (seen.get(kind) <= 3) element.setAttribute("data-kind", "");
    }
    return [...seen.keys()];
}"""

# More than half of all elements is nothing to judge: the typeset halves of formulas and the insides of drawings, hidden
# from assistive technology; the parts of the MathML that is read; listings that are folded away. What a formula leaves
# is as large as it was.
_EMPTY = """() => {
    const typeset = [...document.querySelectorAll(".katex-html")];
    const sizes = typeset.map(element => element.getBoundingClientRect());
    typeset.forEach((element, k) => {
        element.replaceChildren();
        const {width, height} = sizes[k];
        element.style.cssText = `display: inline-block; width: ${width}px; height: ${height}px`;
    });
    for (const part of document.querySelectorAll("math, svg[aria-hidden=true]")) part.replaceChildren();
    for (const part of document.querySelectorAll("details:not([open]) > :not(summary)")) part.remove();
}"""

# The coloured pieces of code, once their colours are judged.
_UNCOLOUR = """() => {
    for (const code of document.querySelectorAll("pre > code:not(:has(a))")) code.textContent = code.textContent;
}"""

_AUDIT = """async options => {
    axe.configure({rules: [{id: "color-contrast", selector: "[data-kind]"},
                           {id: "link-in-text-block", selector: "a[href][data-kind]"}]});
    const {violations} = await axe.run({include: [document], exclude: [".katex-html"]},
                                       {...options, resultTypes: ["violations"]});
    return violations.flatMap(({id, nodes}) => nodes.map(node => `${id}: ${node.html.slice(0, 200)}`));
}"""


_OF_COLOURS = ("color-contrast", "link-in-text-block")


def use_scheme(page: Any, scheme: str) -> None:
    """Chooses light or dark, as the reader does."""
    page.evaluate(
        "scheme => document.querySelector(`input[name=__palette][data-md-color-scheme=${scheme}]`).click()", scheme
    )
    assert page.evaluate("document.body.dataset.mdColorScheme") == scheme


def unfold(page: Any) -> None:
    """Opens solutions and whatever else is folded; not the listings of the reference, which have thousands of lines."""
    page.evaluate("document.querySelectorAll('details:not(.mkdocstrings-source)').forEach(part => (part.open = true))")


def start_figures(page: Any) -> None:
    """Brings every figure of the page near, as a reader does, and waits until it has begun."""
    for figure in page.query_selector_all(FIGURES):
        figure.evaluate("figure => figure.scrollIntoView()")
        page.wait_for_function("figure => figure.dataset.ready", arg=figure)


class Auditor:
    """Remembers the kinds of text whose contrast it has judged. A page is of no use after its audit."""

    def __init__(self) -> None:
        self.judged: dict[str, set[str]] = {scheme: set() for scheme in SCHEMES}

    def faults(self, page: Any) -> Iterator[str]:
        """Contrast in light and in dark, then everything that does not depend on colours, once."""
        page.evaluate(_EMPTY)
        for scheme in SCHEMES:
            use_scheme(page, scheme)
            new = page.evaluate(_MARK_NEW_KINDS, list(self.judged[scheme]))
            if new:
                for fault in page.evaluate(_AUDIT, {"runOnly": list(_OF_COLOURS)}):
                    yield f"{scheme}: {fault}"
                self.judged[scheme].update(new)
        page.evaluate(_UNCOLOUR)
        yield from page.evaluate(_AUDIT, {"rules": {rule: {"enabled": False} for rule in _OF_COLOURS}})
