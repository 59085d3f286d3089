// Squares of cells that the reader walks through with the arrow keys, and draws in with a mouse, a finger or the space bar.
import { element } from "./figure.mjs";

export class Grid {
  // `enter(k)` is called for the cell under the pointer or in focus; null when there is none.
  constructor(label, enter = () => {}) {
    this.node = element("div", { role: "grid", className: "nb-drawing", "aria-label": label });
    this.enter = enter;
    this.node.addEventListener("focusin", () => this.enter(this.cells.indexOf(document.activeElement)));
    this.node.addEventListener("pointermove", (event) => { const k = this.at(event); if (k >= 0) this.enter(k); });
    this.node.addEventListener("pointerleave", () => this.enter(null));
    this.node.addEventListener("keydown", (event) => this.press(event));
  }

  // Cells in rows, with a frame of zeros around them that nobody can go to.
  build(side, frame = 0) {
    this.side = side;
    this.node.style.setProperty("--side", side + 2 * frame);
    const cell = (k) => element("div", { role: "gridcell", className: "nb-pixel", tabIndex: k ? -1 : 0 });
    this.cells = [...Array(side * side).keys()].map(cell);
    this.frame = new Map();
    const rows = [];
    for (let y = -frame; y < side + frame; y++) {
      const row = element("div", { role: "row" });
      for (let x = -frame; x < side + frame; x++) {
        const inside = x >= 0 && y >= 0 && x < side && y < side;
        if (!inside) this.frame.set(`${y} ${x}`, element("div", { role: "presentation", className: "nb-pixel nb-outside" }));
        row.append(inside ? this.cells[y * side + x] : this.frame.get(`${y} ${x}`));
      }
      if (y < 0 || y >= side) row.setAttribute("role", "presentation");
      rows.push(row);
    }
    this.node.replaceChildren(...rows);
  }

  name(k) { return `${Math.floor(k / this.side) + 1}, ${(k % this.side) + 1}`; }

  at(event) { return this.cells.indexOf(document.elementFromPoint(event.clientX, event.clientY)); }

  // The cell at a row and column, or that of the frame.
  cell(y, x) { return this.frame.get(`${y} ${x}`) ?? this.cells[y * this.side + x]; }

  press(event) {
    const k = this.cells.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.side, ArrowDown: this.side }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (!this.cells[k + step]) return;
    this.cells[k].tabIndex = -1;
    this.cells[k + step].tabIndex = 0;
    this.cells[k + step].focus();
  }
}

export class Drawing extends Grid {
  // `change()` is called when the pixels, numbers from 0 to 1, are others.
  constructor(side, label, change, frame = 0) {
    super(label);
    this.change = change;
    this.pixels = new Float32Array(side * side);
    this.build(side, frame);
    this.node.classList.add("nb-pen");
    this.node.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.node.setPointerCapture(event.pointerId);
      this.stroke(event, event);
    });
    this.node.addEventListener("pointermove", (event) => { if (event.buttons) this.stroke(this.last ?? event, event); });
    this.node.addEventListener("pointerup", () => { this.last = null; });
  }

  build(side, frame = 0) { super.build(side, frame); this.show(); }

  press(event) {
    if (event.key !== " ") { super.press(event); return; }
    event.preventDefault();
    this.paint(this.cells.indexOf(document.activeElement));
  }

  // A line from one place to another: a quick hand is seen at few places between.
  stroke(from, to) {
    const { clientX: x, clientY: y } = to;
    const steps = Math.max(1, Math.ceil(Math.hypot(x - from.clientX, y - from.clientY) / (this.cells[0].offsetWidth / 2)));
    for (let step = 1; step <= steps; step++) {
      const part = step / steps;
      const k = this.at({ clientX: from.clientX + part * (x - from.clientX), clientY: from.clientY + part * (y - from.clientY) });
      if (k >= 0 && this.pixels[k] < 1) this.paint(k);
    }
    this.last = { clientX: x, clientY: y };
  }

  // A pen as wide as the strokes of the training images: the pixel, and a little of its neighbours.
  paint(k) {
    const { side, pixels } = this, x = k % side;
    pixels[k] = 1;
    for (const [other, beside] of [[k - 1, x > 0], [k + 1, x < side - 1], [k - side, k >= side], [k + side, k < side * (side - 1)]])
      if (beside) pixels[other] = Math.max(pixels[other], 0.3);
    this.show();
    this.change();
  }

  set(pixels) { this.pixels.set(pixels); this.show(); this.change(); }

  clear() { this.set(new Float32Array(this.pixels.length)); }

  show() {
    this.cells.forEach((cell, k) => {
      cell.style.setProperty("--ink", this.pixels[k]);
      cell.setAttribute("aria-selected", this.pixels[k] > 0.5);
      cell.setAttribute("aria-label", `${this.name(k)}: ${this.pixels[k].toFixed(2)}`);
    });
  }
}
