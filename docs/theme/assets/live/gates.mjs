// The gates of an LSTM while it reads the reader's text: a column for each character, a row for each cell.
import { begin, element, largest, onScheme, paint, visible, wordsOf } from "./figure.mjs";

const WORDS = wordsOf({
  en: { text: "Your text", start: "def area(radius):\n    return pi * radius ** 2\n", unknown: "Characters it has never seen are left out:",
    help: "Point at a cell, or press the arrow keys.", traces: "Gates and cells, character by character",
    names: ["Input gate i", "Forget gate f", "Output gate o", "Cell c, after the character"], character: "After", cell: "cell",
    short: ["input", "forget", "output", "content"], next: "It expects" },
  ko: { text: "글", start: "def area(radius):\n    return pi * radius ** 2\n", unknown: "처음 보는 글자는 빼고 읽습니다:",
    help: "칸을 가리키거나 화살표를 누르세요.", traces: "글자마다의 게이트와 셀",
    names: ["입력 게이트 i", "망각 게이트 f", "출력 게이트 o", "글자를 읽은 뒤의 셀 c"], character: "읽은 글자", cell: "셀",
    short: ["입력", "망각", "출력", "셀 값"], next: "다음 글자 예측" },
});
// Where the gates i, f, o stand in a row of the kernel's result; between f and o lies the candidate.
const BLOCKS = [0, 1, 3];
const EXPECTED = 4;

class Traces {
  constructor(place, model) {
    this.model = model;
    const { characters, order, hidden } = model.description;
    Object.assign(this, { characters, order, hidden, length: model.read.tokens.shape[0] });
    this.text = element("textarea", { value: WORDS.start, rows: 3, className: "nb-text", oninput: () => this.read() });
    this.note = element("p", { "aria-live": "polite" });
    this.letters = element("div", { className: "nb-letters", "aria-hidden": "true" });
    this.maps = WORDS.names.map((name) => element("canvas", { className: "nb-trace", role: "img", "aria-label": name }));
    const rows = this.maps.flatMap((map, k) => [element("b", { textContent: WORDS.names[k] }), map]);
    this.marker = element("div", { className: "nb-marker" });
    this.traces = element("div", { className: "nb-traces" }, this.letters, ...rows, this.marker);
    this.window = element("div", { className: "nb-window", tabIndex: 0, role: "group", "aria-label": `${WORDS.traces}. ${WORDS.help}` }, this.traces);
    this.reading = element("output", { className: "nb-sum", "aria-live": "polite" });
    place.replaceChildren(element("label", { className: "nb-field" }, WORDS.text, this.text), this.note,
      element("p", { textContent: WORDS.help }), this.window, this.reading);
    this.listen();
    onScheme(() => this.show());
    this.read();
  }

  listen() {
    this.maps.forEach((map) => map.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = map.getBoundingClientRect();
      this.point(Math.floor((event.clientX - left) / width * this.ids.length), Math.floor((event.clientY - top) / height * this.order.length));
    }));
    this.window.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.point(this.column + step[0], this.row + step[1]);
    });
  }

  read() {
    const letters = [...this.text.value];
    const strange = new Set(letters.filter((letter) => !this.characters.includes(letter)));
    this.note.textContent = strange.size ? `${WORDS.unknown} ${[...strange].join(" ")}` : "";
    this.ids = letters.map((letter) => this.characters.indexOf(letter)).filter((id) => id >= 0).slice(-this.length);
    const { read } = this.model, tokens = read.tokens;
    tokens.fill(0n); // what stands after the text cannot change how it was read
    this.ids.forEach((id, k) => { tokens[k] = BigInt(id); });
    read();
    this.found = { gates: read.gates, cells: read.cells, last: read.last, shares: read.shares };
    this.show();
  }

  // What a map has at a character and a cell.
  value(map, column, row) {
    const { gates, cells, last } = this.found, { hidden } = this, cell = this.order[row];
    if (map < BLOCKS.length) return gates[(column * 4 + BLOCKS[map]) * hidden + cell];
    return column + 1 < this.length ? cells[(column + 1) * hidden + cell] : last[cell];
  }

  show() {
    const columns = this.ids.length, rows = this.order.length;
    this.traces.style.setProperty("--columns", columns);
    this.letters.replaceChildren(...this.ids.map((id) => element("span", { textContent: visible(this.characters[id]) })));
    const contents = [...Array(columns * rows).keys()].map((k) => this.value(BLOCKS.length, k % columns, Math.floor(k / columns)));
    this.maps.forEach((map, k) =>
      paint(map, Math.max(columns, 1), rows, (row, column) => (columns ? this.value(k, column, row) : 0), k < BLOCKS.length ? 1 : largest(contents)));
    this.point(this.column ?? columns - 1, this.row ?? 0);
  }

  point(column, row) {
    const columns = this.ids.length;
    this.marker.hidden = !columns;
    if (!columns) { this.reading.textContent = ""; return; }
    this.column = Math.min(Math.max(column, 0), columns - 1);
    this.row = Math.min(Math.max(row, 0), this.order.length - 1);
    this.marker.style.setProperty("--column", this.column);
    const size = this.characters.length;
    const shares = [...this.found.shares.subarray(this.column * size, (this.column + 1) * size)];
    const expected = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, EXPECTED)
      .map((id) => `${visible(this.characters[id])} ${(100 * shares[id]).toFixed(1)} %`);
    const numbers = WORDS.short.map((name, k) => `${name} ${this.value(k, this.column, this.row).toFixed(3)}`.replace("-", "−"));
    this.reading.textContent = `${WORDS.character} “${visible(this.characters[this.ids[this.column]])}” (${this.column + 1}), ${WORDS.cell} ${this.row + 1}: `
      + `${numbers.join(", ")}. ${WORDS.next}: ${expected.join(", ")}`;
  }
}

begin(".nb-gates", "gates", (place, model) => new Traces(place, model));
