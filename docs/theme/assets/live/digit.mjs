// Draw a digit: the network of the page, its kernels compiled to WebAssembly, reads it while you draw, and learns.
import { load } from "./nbdl.mjs";

const WORDS = {
  en: { grid: "Drawing, 8 by 8 pixels", read: "It reads", clear: "Clear", teach: "This is a", reset: "Forget",
    help: "Draw with the mouse or a finger; or move with the arrow keys and press the space bar." },
  ko: { grid: "그림, 가로세로 8픽셀", read: "읽은 결과", clear: "지우기", teach: "정답은", reset: "배운 것 잊기",
    help: "마우스나 손가락으로 그리거나, 화살표로 움직이며 스페이스 바를 누르세요." },
}[document.documentElement.lang.slice(0, 2)];
const SIDE = 8;

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  for (const [name, value] of Object.entries(properties)) if (name.includes("-") || name === "role") made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Figure {
  constructor(place, network) {
    this.network = network;
    this.pixels = new Float32Array(SIDE * SIDE);
    this.cells = [...this.pixels.keys()].map((k) =>
      element("div", { role: "gridcell", className: "nb-pixel", tabIndex: k ? -1 : 0, "aria-label": this.name(k) }));
    const rows = [...Array(SIDE).keys()].map((y) =>
      element("div", { role: "row" }, ...this.cells.slice(y * SIDE, (y + 1) * SIDE)));
    this.grid = element("div", { role: "grid", className: "nb-drawing", "aria-label": WORDS.grid }, ...rows);
    this.bars = [...Array(10).keys()].map((digit) => {
      const bar = element("span", { className: "nb-bar" });
      const share = element("output", { className: "nb-share" });
      return { bar, share, row: element("li", {}, element("b", { textContent: digit }), bar, share) };
    });
    const list = element("ol", { className: "nb-shares", start: 0, "aria-label": WORDS.read }, ...this.bars.map(({ row }) => row));
    const teach = [...Array(10).keys()].map((digit) => this.button(digit, () => this.learn(digit), `${WORDS.teach} ${digit}`));
    const buttons = element("div", { className: "nb-buttons" }, this.button(WORDS.clear, () => this.clear()),
      this.button(WORDS.reset, () => { this.network.reset(); this.read(); }), element("span", { textContent: `${WORDS.teach} ` }), ...teach);
    place.replaceChildren(element("p", { textContent: WORDS.help }), element("div", { className: "nb-digit-body" }, this.grid, list), buttons);
    this.listen();
    this.read();
    place.dataset.ready = "true";
  }

  name(k) { return `${Math.floor(k / SIDE) + 1}, ${(k % SIDE) + 1}`; }

  button(text, action, label = String(text)) {
    return element("button", { type: "button", textContent: text, className: "md-button", onclick: action, "aria-label": label });
  }

  listen() {
    const paint = (event) => {
      const k = this.cells.indexOf(document.elementFromPoint(event.clientX, event.clientY));
      if (k >= 0) this.paint(k);
    };
    this.grid.addEventListener("pointerdown", (event) => { event.preventDefault(); this.grid.setPointerCapture(event.pointerId); paint(event); });
    this.grid.addEventListener("pointermove", (event) => { if (event.buttons) paint(event); });
    this.grid.addEventListener("keydown", (event) => {
      const k = this.cells.indexOf(document.activeElement);
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE }[event.key];
      if (step !== undefined && k + step >= 0 && k + step < SIDE * SIDE) {
        this.cells[k].tabIndex = -1;
        this.cells[k + step].tabIndex = 0;
        this.cells[k + step].focus();
      } else if (event.key === " ") this.paint(k);
      else if (step === undefined) return;
      event.preventDefault();
    });
  }

  // A pen as wide as the strokes of the training images: the pixel, and a little of its neighbours.
  paint(k) {
    const x = k % SIDE;
    this.pixels[k] = 1;
    for (const [other, beside] of [[k - 1, x > 0], [k + 1, x < SIDE - 1], [k - SIDE, k >= SIDE], [k + SIDE, k < SIDE * (SIDE - 1)]])
      if (beside) this.pixels[other] = Math.max(this.pixels[other], 0.3);
    this.read();
  }

  clear() { this.pixels.fill(0); this.read(); }

  learn(digit) {
    const { learn } = this.network;
    learn.pixels.set(this.pixels);
    learn.label.set([BigInt(digit)]);
    for (let step = 0; step < 5; step++) learn();
    this.read();
  }

  read() {
    const { predict } = this.network;
    predict.pixels.set(this.pixels);
    predict();
    const shares = [...predict.output];
    const best = shares.indexOf(Math.max(...shares));
    this.bars.forEach(({ bar, share, row }, digit) => {
      bar.style.setProperty("--share", shares[digit]);
      share.textContent = `${(100 * shares[digit]).toFixed(1)} %`;
      row.classList.toggle("nb-best", digit === best);
    });
    this.cells.forEach((cell, k) => {
      cell.style.setProperty("--ink", this.pixels[k]);
      cell.setAttribute("aria-selected", this.pixels[k] > 0.5);
    });
  }
}

for (const place of document.querySelectorAll(".nb-digit")) {
  const files = (file) => fetch(new URL(file, import.meta.url)).then((answer) => answer.arrayBuffer());
  load("digits", files).then((network) => new Figure(place, network));
}
