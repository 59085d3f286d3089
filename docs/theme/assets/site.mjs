// What the theme leaves to do for those who read by keyboard or by ear. Nothing here computes.

const SCROLLING = ".katex-display, .md-typeset__scrollwrap, .md-typeset pre > code";

// A formula, table or listing that is wider than the screen can be reached by Tab, and then scrolled by the arrow keys.
function letScroll() {
  for (const box of document.querySelectorAll(SCROLLING)) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// The theme puts each copy button into a landmark without a name; it is no landmark.
function unmark(root) {
  for (const nav of root.querySelectorAll("nav.md-code__nav:not([role])")) nav.setAttribute("role", "presentation");
}

new MutationObserver(() => unmark(document)).observe(document.body, { childList: true, subtree: true });
new ResizeObserver(letScroll).observe(document.body);
unmark(document);
document.fonts.ready.then(letScroll);
