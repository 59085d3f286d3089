// What every figure needs: elements, words in the page's language, its model, colours, and the moment to begin.
import { load } from "./nbdl.mjs";

export const wordsOf = (words) => words[document.documentElement.lang.slice(0, 2)];

export function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  for (const [name, value] of Object.entries(properties)) if (name.includes("-") || name === "role") made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(text, action, label = String(text)) {
  return element("button", { type: "button", textContent: text, className: "md-button", onclick: action, "aria-label": label });
}

// A list of choices with a name in front of it; the action gets the value chosen.
export function choice(name, options, action) {
  const list = element("select", { onchange: () => action(list.value) },
    ...options.map(([value, text]) => element("option", { value, textContent: text })));
  return { list, node: element("label", { className: "nb-choice" }, `${name} `, list) };
}

// Fetches a figure's model and starts it once the reader comes near: until then a page costs nothing for its figures.
export function begin(selector, name, start) {
  const fetchFile = (file) => fetch(new URL(file, import.meta.url)).then((answer) => answer.arrayBuffer());
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      load(name, fetchFile).then((model) => {
        target.figure = start(target, model);
        target.dataset.ready = "true";
      });
    }
  }, { rootMargin: "300px" });
  for (const place of document.querySelectorAll(selector)) watcher.observe(place);
}

// Rows of coloured cells: of each value its size is the colour's strength, its sign the colour. One pixel a cell.
export function paint(canvas, columns, rows, valueAt, scale = 1) {
  Object.assign(canvas, { width: columns, height: rows }); // which also clears it
  const style = getComputedStyle(canvas);
  const [positive, negative] = ["--nb-series-1", "--nb-series-2"].map((name) => style.getPropertyValue(name));
  const context = canvas.getContext("2d");
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = valueAt(row, column) / scale;
      context.globalAlpha = Math.min(Math.abs(value), 1);
      context.fillStyle = value < 0 ? negative : positive;
      context.fillRect(column, row, 1, 1);
    }
  }
}

// Calls back when the reader switches between light and dark.
export function onScheme(action) {
  new MutationObserver(action).observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
}

export const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);

export const visible = (character) => ({ " ": "␣", "\n": "⏎" })[character] ?? character;

// Shares as bars: `rows` of a name and a number of per cent, which `show` fills.
export function shareList(count, label, names = []) {
  const rows = [...Array(count).keys()].map((k) => {
    const [name, bar, share] = [element("b", { textContent: names[k] ?? "" }), element("span", { className: "nb-bar" }), element("output", { className: "nb-share" })];
    const row = element("li", {}, name, bar, share);
    const show = (value, text = name.textContent) => {
      name.textContent = text;
      bar.style.setProperty("--share", value);
      share.textContent = `${(100 * value).toFixed(1)} %`;
    };
    return { row, show };
  });
  const node = element("ol", { className: "nb-shares", start: 0, "aria-label": label }, ...rows.map(({ row }) => row));
  return { node, rows };
}
