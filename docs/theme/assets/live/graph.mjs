// Step through a small network, forward and backward. All numbers come from nbdl's kernels, anew when one changes.
import { begin, button, element, wordsOf } from "./figure.mjs";
import { drawn, field, written } from "./plot.mjs";

const WORDS = wordsOf({
  en: { back: "Back", next: "Next", all: "To the end", restart: "Start again", graph: "The graph",
    begin: "The numbers of the leaves are given. Step forward.", once: "the chain begins with 1",
    passes: "z > 0: the gradient passes", stops: "z is not positive: the gradient stops here", step: "Step" },
  ko: { back: "뒤로", next: "다음", all: "끝까지", restart: "처음부터", graph: "계산 그래프",
    begin: "잎의 값은 주어져 있습니다. 한 단계씩 나아가 보세요.", once: "연쇄 법칙은 1에서 시작합니다",
    passes: "z > 0이므로 기울기가 그대로 지나갑니다", stops: "z가 양수가 아니므로 기울기가 여기서 멈춥니다", step: "단계" },
});

// Name, what it is, place along the chain and beside it.
const NODES = [["x", "x", 0, 1], ["w", "w", 1, 0], ["p", "w · x", 1, 1], ["b", "b", 2, 0], ["z", "p + b", 2, 1], ["h", "relu(z)", 3, 1],
  ["v", "v", 4, 0], ["y", "v · h", 4, 1], ["t", "t", 5, 0], ["e", "y − t", 5, 1], ["L", "e²", 6, 1]];
const EDGES = [["x", "p"], ["w", "p"], ["p", "z"], ["b", "z"], ["z", "h"], ["h", "y"], ["v", "y"], ["y", "e"], ["t", "e"], ["e", "L"]];

// What a step shows, and how its number comes about.
const FORWARD = [
  [["p"], (n, r) => `p = w · x = ${n.w} · ${n.x} = ${r.p}`],
  [["z"], (n, r) => `z = p + b = ${n.p} + ${n.b} = ${r.z}`],
  [["h"], (n, r) => `h = relu(z) = max(0, ${n.z}) = ${r.h}`],
  [["y"], (n, r) => `y = v · h = ${n.v} · ${n.h} = ${r.y}`],
  [["e"], (n, r) => `e = y − t = ${n.y} − ${n.t} = ${r.e}`],
  [["L"], (n, r) => `L = e² = ${n.e}² = ${r.L}`],
];
const BACKWARD = [
  [["L"], () => `dL = 1: ${WORDS.once}`],
  [["e"], (n, r) => `de = 2 e · dL = 2 · ${n.e} · 1 = ${r.de}`],
  [["y", "t"], (n, r) => `dy = 1 · de = ${r.dy},  dt = −1 · de = ${r.dt}`],
  [["h", "v"], (n, r) => `dh = v · dy = ${n.v} · ${n.dy} = ${r.dh},  dv = h · dy = ${n.h} · ${n.dy} = ${r.dv}`],
  [["z"], (n, r, positive) => `dz = [z > 0] · dh = ${positive ? 1 : 0} · ${n.dh} = ${r.dz}: ${positive ? WORDS.passes : WORDS.stops}`],
  [["p", "b"], (n, r) => `dp = 1 · dz = ${r.dp},  db = 1 · dz = ${r.db}`],
  [["x", "w"], (n, r) => `dx = w · dp = ${n.w} · ${n.dp} = ${r.dx},  dw = x · dp = ${n.x} · ${n.dp} = ${r.dw}`],
];
const STEPS = [...FORWARD, ...BACKWARD];
const [ACROSS, DOWN, WIDE, HIGH] = [120, 130, 92, 78];

class Stepper {
  constructor(place, network) {
    this.network = network;
    this.step = 0;
    this.leaves = Object.entries(network.description.leaves).map(([name, value]) => {
      const input = element("input", { type: "number", step: 0.25, value, name, oninput: () => this.compute() });
      return [name, input];
    });
    this.picture = drawn("svg", { role: "img", class: "nb-graph" });
    this.said = element("p", { className: "nb-said", "aria-live": "polite" });
    this.back = button(WORDS.back, () => this.go(this.step - 1));
    this.next = button(WORDS.next, () => this.go(this.step + 1));
    const buttons = element("div", { className: "nb-buttons" }, this.back, this.next,
      button(WORDS.all, () => this.go(STEPS.length)), button(WORDS.restart, () => this.go(0)));
    const inputs = element("div", { className: "nb-buttons" }, ...this.leaves.map(([name, input]) => field(name, input)));
    place.replaceChildren(inputs, this.picture, this.said, buttons);
    new ResizeObserver(() => this.layout(place.clientWidth < 620)).observe(place);
    this.layout(place.clientWidth < 620);
    this.compute();
  }

  // The chain runs from left to right, or on a narrow screen from top to bottom.
  layout(upright) {
    if (upright === this.upright) return;
    this.upright = upright;
    const [columns, rows] = upright ? [2, 7] : [7, 2];
    this.picture.setAttribute("viewBox", `0 0 ${columns * ACROSS} ${rows * DOWN - 24}`);
    this.picture.style.maxWidth = `${columns * ACROSS}px`;
    const middle = Object.fromEntries(NODES.map(([name, , along, beside]) => {
      const [column, row] = upright ? [1 - beside, along] : [along, beside];
      return [name, [(column + 0.5) * ACROSS, row * DOWN + 46]];
    }));
    const arrows = EDGES.map(([from, to]) => {
      const [[x1, y1], [x2, y2]] = [middle[from], middle[to]];
      const [dx, dy] = [x2 - x1, y2 - y1];
      const reach = Math.min(Math.abs(dx) ? WIDE / 2 / Math.abs(dx) : 9, Math.abs(dy) ? HIGH / 2 / Math.abs(dy) : 9);
      return drawn("line", { x1: x1 + dx * reach, y1: y1 + dy * reach, x2: x2 - dx * (reach + 0.04), y2: y2 - dy * (reach + 0.04),
        class: "nb-edge", "marker-end": "url(#nb-arrow)" });
    });
    const head = drawn("marker", { id: "nb-arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      drawn("path", { d: "M0 0 8 4 0 8z", class: "nb-arrow" }));
    this.nodes = {};
    const boxes = NODES.map(([name, formula, , beside]) => {
      const [x, y] = middle[name];
      const text = (dy, kind) => drawn("text", { x, y: y + dy, class: kind });
      const node = { box: drawn("rect", { x: x - WIDE / 2, y: y - HIGH / 2, width: WIDE, height: HIGH, rx: 6 }), title: text(-18, "nb-node-name"),
        value: text(6, "nb-node-value"), slope: text(29, "nb-node-slope") };
      node.title.textContent = beside && name !== "x" ? `${name} = ${formula}` : name;
      node.group = drawn("g", { class: "nb-node", "data-node": name }, ...Object.values(node));
      this.nodes[name] = node;
      return node.group;
    });
    this.picture.replaceChildren(drawn("defs", {}, head), ...arrows, ...boxes);
    if (this.numbers) this.draw();
  }

  compute() {
    const { run } = this.network;
    for (const [name, input] of this.leaves) run[name].set([Number(input.value)]);
    run();
    const names = [...this.leaves.map(([name]) => name), ...Object.keys(this.network.description.programs.run.outputs)];
    this.numbers = Object.fromEntries(names.map((name) => [name, run[name][0]]));
    this.numbers.dL = 1;
    this.draw();
  }

  go(step) {
    this.step = Math.max(0, Math.min(STEPS.length, step));
    this.draw();
  }

  draw() {
    const shown = new Set(this.leaves.map(([name]) => name));
    STEPS.slice(0, this.step).forEach(([names], k) => names.forEach((name) => shown.add(k < FORWARD.length ? name : `d${name}`)));
    const [now] = this.step ? STEPS[this.step - 1] : [[]];
    for (const [name, node] of Object.entries(this.nodes)) {
      node.value.textContent = shown.has(name) ? written(this.numbers[name]) : "";
      node.slope.textContent = shown.has(`d${name}`) ? `d${name} ${written(this.numbers[`d${name}`])}` : "";
      node.group.classList.toggle("nb-now", now.includes(name));
      node.group.classList.toggle("nb-backward", this.step > FORWARD.length);
    }
    const results = Object.fromEntries(Object.entries(this.numbers).map(([name, number]) => [name, written(number)]));
    const factors = Object.fromEntries(Object.entries(results).map(([name, text]) => [name, text.startsWith("−") ? `(${text})` : text]));
    const line = this.step ? STEPS[this.step - 1][1](factors, results, this.numbers.z > 0) : WORDS.begin;
    this.said.textContent = `${WORDS.step} ${this.step}/${STEPS.length}. ${line}`;
    this.picture.setAttribute("aria-label", `${WORDS.graph}: ${[...shown].map((name) => `${name} = ${written(this.numbers[name])}`).join(", ")}`);
    this.back.disabled = this.step === 0;
    this.next.disabled = this.step === STEPS.length;
  }
}

begin(".nb-stepper", "graph", (place, network) => new Stepper(place, network));
