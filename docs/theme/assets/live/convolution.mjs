// A convolution to play with: which pixels make each number of the result, and what weights and settings change.
import { Drawing, Grid } from "./drawing.mjs";
import { begin, button, choice, element, largest, wordsOf } from "./figure.mjs";

const WORDS = wordsOf({
  en: { picture: "Picture", kernel: "Kernel", result: "Result", weight: "Weight", clear: "Clear", digit: "Digit", stride: "Stride",
    padding: "Padding", dilation: "Dilation", place: (y, x) => `Row ${y}, column ${x} of the result`,
    help: "Draw in the picture, change the weights, and point at a number of the result; or walk with the arrow keys.",
    presets: ["own", "identity", "upright edges", "level edges", "outline", "blur", "sharpen", "emboss"] },
  ko: { picture: "그림", kernel: "커널", result: "결과", weight: "가중치", clear: "지우기", digit: "숫자", stride: "스트라이드",
    padding: "패딩", dilation: "팽창", place: (y, x) => `결과의 ${y}행 ${x}열`,
    help: "그림을 그리고 가중치를 바꾼 뒤 결과의 칸을 가리켜 보세요. 화살표로도 움직일 수 있습니다.",
    presets: ["직접 입력", "항등", "세로 윤곽", "가로 윤곽", "외곽선", "흐리게", "선명하게", "엠보스"] },
});
const PRESETS = [null, [0, 0, 0, 0, 1, 0, 0, 0, 0], [-1, 0, 1, -2, 0, 2, -1, 0, 1], [-1, -2, -1, 0, 0, 0, 1, 2, 1],
  [-1, -1, -1, -1, 8, -1, -1, -1, -1], Array(9).fill(0.11), [0, -1, 0, -1, 5, -1, 0, -1, 0], [-2, -1, 0, -1, 1, 1, 0, 1, 2]];
const KERNEL = 3;

class Explorer {
  constructor(place, model) {
    this.model = model;
    const { side, plans, pictures } = model.description;
    this.plans = plans;
    this.options = { stride: 1, padding: 0, dilation: 1 };
    this.makeArrays(side);
    this.picture = new Drawing(side, WORDS.picture, () => this.run());
    this.result = new Grid(WORDS.result, (k) => this.point(k));
    this.weights = [...Array(KERNEL * KERNEL).keys()].map((k) => element("input", { type: "number", step: 0.1, value: 0,
      className: "nb-weight", oninput: () => { this.presets.list.value = 0; this.run(); },
      "aria-label": `${WORDS.weight} ${Math.floor(k / KERNEL) + 1}, ${(k % KERNEL) + 1}` }));
    this.presets = choice(WORDS.kernel, WORDS.presets.map((text, k) => [k, text]), (k) => this.use(k));
    this.text = element("output", { className: "nb-sum", "aria-live": "polite" });
    const options = ["stride", "padding", "dilation"].map((name) => choice(WORDS[name], [0, 1, 2, 3].filter((size) =>
      Object.keys(plans).some((key) => Number(key.split(" ")[Object.keys(this.options).indexOf(name)]) === size)).map((size) => [size, size]),
    (size) => { this.options[name] = Number(size); this.run(); }));
    options.forEach(({ list }, k) => { list.value = Object.values(this.options)[k]; });
    const digits = Object.entries(pictures).map(([digit, pixels]) => button(digit, () => this.picture.set(pixels), `${WORDS.digit} ${digit}`));
    const column = (title, ...inside) => element("div", { className: "nb-column" }, element("b", { textContent: title }), ...inside);
    place.replaceChildren(
      element("p", { textContent: WORDS.help }),
      element("div", { className: "nb-columns" },
        column(WORDS.picture, this.picture.node, element("div", { className: "nb-buttons" }, ...digits, button(WORDS.clear, () => this.picture.clear()))),
        column(WORDS.kernel, this.presets.node, element("div", { className: "nb-weights" }, ...this.weights),
          ...options.map(({ node }) => node)),
        column(WORDS.result, this.result.node)),
      this.text);
    this.use(2);
    this.picture.set(Object.values(pictures).at(-1));
  }

  // Memory for the largest setting; a smaller one uses its beginning.
  makeArrays(side) {
    const most = (size) => Math.max(...Object.values(this.plans).map(size));
    const make = (dtype, size) => this.model.array(dtype, [size]);
    this.arrays = {
      x: make("float32", side * side), weight: make("float32", KERNEL * KERNEL), none: make("float32", 0),
      packed: make("float32", most(({ packed }) => packed)), y: make("float32", most((plan) => plan.side ** 2)),
      workspace: make("float32", most(({ workspace }) => workspace[0] * workspace[1])),
      sizes: make("int64", most(({ sizes }) => sizes.length)), phases: make("int64", most(({ phases }) => phases.flat().length)),
    };
  }

  use(preset) {
    this.presets.list.value = preset;
    if (PRESETS[preset]) this.weights.forEach((input, k) => { input.value = PRESETS[preset][k]; });
    this.run();
  }

  get plan() { return this.plans[Object.values(this.options).join(" ")]; }

  // nbdl's kernels, as its conv2d launches them: one puts the weights in order, one convolves.
  convolve() {
    const { plan, arrays, model } = this;
    const { x, weight, none } = arrays;
    const part = (name, ...shape) => ({ address: arrays[name].address, shape });
    x.values.set(this.picture.pixels);
    weight.values.set(this.weights.map((input) => Number(input.value)));
    arrays.sizes.values.set(plan.sizes.map(BigInt));
    arrays.phases.values.set(plan.phases.flat().map(BigInt));
    const sizes = part("sizes", plan.sizes.length), phases = part("phases", plan.phases.length, plan.phases[0].length);
    const packed = part("packed", plan.packed);
    model.pack_weights(weight, packed, sizes, phases, plan.phases.length);
    model.correlate(x, packed, none, part("y", plan.side ** 2), part("workspace", ...plan.workspace), sizes, phases, -Infinity, plan.workspace[0]);
    return arrays.y.values.slice(0, plan.side ** 2);
  }

  run() {
    if (!this.result) return;
    const { side } = this.plan, { padding } = this.options;
    if (this.padding !== padding) { this.padding = padding; this.picture.build(this.picture.side, padding); }
    if (this.result.side !== side) this.result.build(side);
    this.y = this.convolve();
    const most = largest(this.y);
    this.result.cells.forEach((cell, k) => {
      cell.style.setProperty("--value", Math.abs(this.y[k]) / most);
      cell.classList.toggle("nb-negative", this.y[k] < 0);
      cell.classList.add("nb-signed");
      cell.setAttribute("aria-label", `${this.result.name(k)}: ${this.y[k].toFixed(2)}`);
    });
    this.point(Math.min(this.pointed ?? (side + 1) * Math.floor(side / 2), side * side - 1));
  }

  // Marks what one number of the result is made of.
  point(k) {
    if (k === null || k < 0) return;
    this.pointed = k;
    for (const marked of this.marked ?? []) marked.classList.remove("nb-read");
    const { side } = this.plan, { stride, padding, dilation } = this.options;
    const [y, x] = [Math.floor(k / side), k % side];
    const terms = [];
    this.marked = [this.result.cells[k]];
    for (let r = 0; r < KERNEL; r++) {
      for (let s = 0; s < KERNEL; s++) {
        const [row, column] = [y * stride - padding + r * dilation, x * stride - padding + s * dilation];
        const cell = this.picture.cell(row, column);
        this.marked.push(cell);
        const weight = Number(this.weights[r * KERNEL + s].value);
        const pixel = cell.classList.contains("nb-outside") ? 0 : this.picture.pixels[row * this.picture.side + column];
        if (weight && pixel) terms.push(`${weight} · ${pixel.toFixed(2)}`);
      }
    }
    for (const cell of this.marked) cell.classList.add("nb-read");
    const sum = (terms.join(" + ") || "0").replaceAll("+ -", "− ").replaceAll("-", "−");
    this.text.textContent = `${WORDS.place(y + 1, x + 1)}: ${sum} = ${this.y[k].toFixed(3).replace("-", "−")}`;
  }
}

begin(".nb-convolution", "convolution", (place, model) => new Explorer(place, model));
