// Draw a digit: the network of the page, its kernels compiled to WebAssembly, reads it while you draw, and learns.
import { Drawing } from "./drawing.mjs";
import { begin, button, element, shareList, wordsOf } from "./figure.mjs";

const WORDS = wordsOf({
  en: { grid: "Drawing, 8 by 8 pixels", read: "It reads", clear: "Clear", teach: "This is a", reset: "Forget",
    help: "Draw with the mouse or a finger; or move with the arrow keys and press the space bar." },
  ko: { grid: "그림, 가로세로 8픽셀", read: "읽은 결과", clear: "지우기", teach: "정답은", reset: "배운 것 잊기",
    help: "마우스나 손가락으로 그리거나, 화살표로 움직이며 스페이스 바를 누르세요." },
});
const SIDE = 8, STEPS = 5;
const DIGITS = [...Array(10).keys()];
const EXAMPLE = [[1, 2], [1, 3], [1, 4], [2, 5], [3, 5], [4, 4], [5, 3], [6, 2], [6, 3], [6, 4], [6, 5]]; // a two

class Reader {
  constructor(place, model) {
    this.model = model;
    this.drawing = new Drawing(SIDE, WORDS.grid, () => this.read());
    this.shares = shareList(10, WORDS.read, DIGITS);
    const teach = DIGITS.map((digit) => button(digit, () => this.learn(digit), `${WORDS.teach} ${digit}`));
    const buttons = element("div", { className: "nb-buttons" }, button(WORDS.clear, () => this.drawing.clear()),
      button(WORDS.reset, () => { this.model.reset(); this.read(); }), element("span", { textContent: `${WORDS.teach} ` }), ...teach);
    place.replaceChildren(element("p", { textContent: WORDS.help }),
      element("div", { className: "nb-digit-body" }, this.drawing.node, this.shares.node), buttons);
    for (const [y, x] of EXAMPLE) this.drawing.paint(y * SIDE + x);
    this.untouched = true;
    this.drawing.node.addEventListener("pointerdown", () => this.begin(), true);
    this.drawing.node.addEventListener("keydown", (event) => { if (event.key === " ") this.begin(); }, true);
  }

  // The reader's first stroke wipes the example away.
  begin() {
    if (this.untouched) this.drawing.clear();
    this.untouched = false;
  }

  learn(digit) {
    const { learn } = this.model;
    learn.pixels.set(this.drawing.pixels);
    learn.label.set([BigInt(digit)]);
    for (let step = 0; step < STEPS; step++) learn();
    this.read();
  }

  read() {
    const { predict } = this.model;
    predict.pixels.set(this.drawing.pixels);
    predict();
    const shares = [...predict.output];
    const best = shares.indexOf(Math.max(...shares));
    this.shares.rows.forEach(({ row, show }, digit) => {
      show(shares[digit]);
      row.classList.toggle("nb-best", digit === best);
    });
  }
}

begin(".nb-digit", "digits", (place, model) => new Reader(place, model));
